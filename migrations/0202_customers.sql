-- People, their vehicles and devices: projections of what the Core service owns, and what they told us about channels.

create table customers (
    id uuid primary key,
    -- The caller's own identifier, an opaque text of at most 100 characters.
    customer_id text not null,
    first_name text not null,
    last_name text not null,
    email text,
    -- E.164.
    phone text,
    whatsapp text,
    -- Grows; an older sync is acknowledged and ignored.
    sync_version bigint,
    -- When the customer does not want to be disturbed. Both ends are local times `HH:MM`, or both are null; a span may cross
    -- midnight.
    quiet_from text,
    quiet_until text,
    -- IANA name; null: the workshop's, or else TIME_ZONE.
    time_zone text,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create unique index customers_customer_id_key on customers (customer_id);

create table channel_preferences (
    id uuid primary key,
    customer_id text not null references customers (customer_id) on delete cascade,
    channel text not null,
    -- False is an opt-out. No fallback ever overrides it.
    enabled boolean not null,
    -- 1 is tried first.
    priority integer not null,
    constraint channel_preferences_channel check (channel in ('email', 'whatsapp', 'push'))
);

create unique index channel_preferences_key on channel_preferences (customer_id, channel);

-- Browsers that a customer allowed to show pushes (RFC 8030).
create table push_subscriptions (
    id uuid primary key,
    -- Not a foreign key: a PWA may subscribe before the customer is synced.
    customer_id text not null,
    endpoint text not null,
    p256dh text not null,
    auth text not null,
    user_agent text,
    -- Since when no push has reached it, and how many of those failed in a way that speaks against the device itself.
    failing_since timestamptz,
    failures integer not null default 0,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create unique index push_subscriptions_endpoint_key on push_subscriptions (endpoint);
create index push_subscriptions_customer on push_subscriptions (customer_id);

create table vehicles (
    id uuid primary key,
    -- The Core service's own identifier, where it has one.
    vehicle_id text,
    -- Not a foreign key: a vehicle may be synced before its owner.
    customer_id text not null,
    brand text not null,
    model text not null,
    year integer,
    plate text not null,
    current_kilometers integer,
    last_service_date date,
    next_service_kilometers integer,
    image_url text,
    sync_version bigint,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create unique index vehicles_plate_key on vehicles (plate);
create unique index vehicles_vehicle_id_key on vehicles (vehicle_id) where vehicle_id is not null;
create index vehicles_customer on vehicles (customer_id);

create table reminders (
    id uuid primary key,
    vehicle_id uuid not null references vehicles (id) on delete cascade,
    kind text not null,
    description text not null,
    target_kilometers integer,
    target_date date,
    -- Channels, as JSON; empty means the customer's own preferences.
    notify_via jsonb not null,
    status text not null,
    notify_before_days integer not null,
    notify_before_km integer not null,
    -- The first day on which it is due by its date: that many days before it. Null where its date does not count.
    due_on date,
    -- Counts how often it became due; a cycle is announced once.
    due_cycle integer not null,
    last_notified_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint reminders_kind check (kind in ('kilometers', 'date', 'both')),
    constraint reminders_status check (status in ('pending', 'notified', 'overdue', 'completed', 'cancelled'))
);

create index reminders_vehicle on reminders (vehicle_id);
create index reminders_open on reminders (target_date) where status in ('pending', 'notified');
-- Whom we write to on which morning; and those that kilometres may make due.
create index reminders_due on reminders (due_on, id) where status = 'pending';
create index reminders_distance on reminders (id) where status = 'pending' and kind <> 'date';
-- The newest of a status.
create index reminders_status on reminders (status, id);
