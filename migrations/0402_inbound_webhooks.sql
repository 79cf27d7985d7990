-- What partners tell us: their webhooks as they came, and what follows from them.

create table partner_inbound_events (
    -- Also the id of its task; one of a type that we do not know has no task.
    id uuid primary key,
    partner uuid not null,
    -- The sender's `webhook-id`, where that is signed: the same one is taken once.
    message_id text,
    -- SHA-256 of the payload in one form: without a signed id, the same one is taken once. Null when an earlier webhook with
    -- another id had the same payload.
    payload_sha256 text,
    event_type text not null,
    -- The bytes that were verified; null after their retention.
    body text,
    -- How it was signed, in words.
    dialect text not null,
    received_at timestamptz not null,
    -- When it took effect; null: it waits, or its type means nothing to us.
    processed_at timestamptz
);

create unique index partner_inbound_events_message on partner_inbound_events (partner, message_id);
create unique index partner_inbound_events_payload on partner_inbound_events (partner, payload_sha256);

-- Webhooks that were refused: the newest of each partner, so that it can be told what its sender does wrong.
create table partner_rejected_webhooks (
    id uuid primary key,
    partner uuid not null,
    -- missing, differing, wrong or stale.
    refusal text not null,
    -- A list of pairs of name and value. Credentials that are no signature are masked.
    headers jsonb not null,
    -- The bytes in base64; null when they were too many to be kept.
    body text,
    body_bytes integer not null,
    received_at timestamptz not null
);

create index partner_rejected_webhooks_partner on partner_rejected_webhooks (partner, id);
create index partner_rejected_webhooks_received on partner_rejected_webhooks (received_at);

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
