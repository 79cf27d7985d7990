-- Addresses to which nothing is sent any more, until staff lift it.
create table suppressions (
    id uuid primary key,
    channel text not null,
    -- As messages carry it: a mail address in lower case, a number in E.164.
    address text not null,
    -- A stable word: bounced, complained, unsubscribed, manual.
    reason text not null,
    -- What the provider said.
    detail text not null,
    notification_id uuid,
    created_at timestamptz not null,
    constraint suppressions_channel check (channel in ('email', 'whatsapp', 'push'))
);

create unique index suppressions_key on suppressions (channel, address);
-- The newest, of all channels and of one.
create index suppressions_created on suppressions (created_at, id);
create index suppressions_channel on suppressions (channel, created_at, id);

-- Suppressions that staff lifted within the last hour, so that it can be taken back.
create table lifted_suppressions (
    id uuid primary key,
    channel text not null,
    address text not null,
    reason text not null,
    detail text not null,
    notification_id uuid,
    created_at timestamptz not null,
    lifted_at timestamptz not null
);
