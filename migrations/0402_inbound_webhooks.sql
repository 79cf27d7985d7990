-- What partners tell us: their webhooks as they came, and what follows from them.

create table partner_inbound_events (
    -- Also the id of its task; one of a type that we do not know has no task.
    id uuid primary key,
    partner uuid not null,
    -- The sender's `webhook-id` where that is signed, else the SHA-256 of the body: the same webhook is taken once.
    dedupe_key text not null,
    event_type text not null,
    -- The bytes that were verified; null after their retention.
    body text,
    -- How it was signed, in words.
    dialect text not null,
    received_at timestamptz not null,
    -- When it took effect; null: it waits, or its type means nothing to us.
    processed_at timestamptz
);

create unique index partner_inbound_events_dedupe_key on partner_inbound_events (partner, dedupe_key);

-- The itinerary of an event: the services that a partner sold for it, as its webhooks told.
create table partner_event_services (
    id uuid primary key,
    partner uuid not null,
    -- Our own reservation, in the partner's words.
    external_event_id text not null,
    -- The partner's id of the service as text, or its name where there is none.
    service_key text not null,
    -- JSON, because partners write numbers and texts. Not `jsonb`: SQLite would keep a number as a number.
    service_id text,
    name text,
    provider text,
    price text,
    time text,
    status text,
    -- The time stamp of the latest webhook about it: an older one that comes late changes nothing that is known.
    told_at timestamptz not null
);

create unique index partner_event_services_key on partner_event_services (partner, external_event_id, service_key);
