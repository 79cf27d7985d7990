-- Partners, their verification, their integrations, and what is told of them. The names of the two tables that the registry
-- had before are kept, for the reports that read them.

create table partners (
    id uuid primary key,
    name text not null,
    -- As it was written, its domain in lower case; null for a partner that registered without one.
    email text,
    -- The same in lower case: two spellings of one address are one partner. A partner that is deleted keeps it.
    email_key text,
    -- Where people of the partner are reached. Several partners may have the same.
    contact_email text,
    phone text,
    address text,
    -- ACTIVO, INACTIVO, SUSPENDIDO, ELIMINADO
    status text not null,
    -- PENDIENTE, APROBADO, RECHAZADO, REQUIERE_DOCUMENTOS
    kyc_status text not null,
    -- An object: what was handed in for the verification, by name.
    kyc_documents jsonb not null,
    -- The names that a partner with webhooks has in URLs, e.g. partner_findyourwork and findyourwork; null: only its id.
    partner_id text,
    slug text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- Set exactly when it is ELIMINADO. The row stays.
    deleted_at timestamptz
);

create unique index partners_email_key on partners (email_key);
create unique index partners_partner_id_key on partners (partner_id);
create unique index partners_slug_key on partners (slug);

-- Every verification: who decided what, when, and why.
create table partner_kyc_history (
    id uuid primary key,
    partner_id uuid not null,
    at timestamptz not null,
    status_before text not null,
    status_after text not null,
    -- A list: names of the documents that came with it.
    documents jsonb not null,
    comments text,
    -- The beginning of the digest of the key that decided, or `anonymous`.
    decided_by text not null
);

create index partner_kyc_history_partner on partner_kyc_history (partner_id, id);

create table integraciones (
    id uuid primary key,
    partner_id uuid not null references partners (id),
    -- API, WEBHOOK, BATCH, REAL_TIME
    kind text not null,
    name text not null,
    description text,
    -- An object, with asterisks in the place of every secret.
    configuration jsonb not null,
    -- The secrets: an object of JSON pointers, sealed with SECRET_KEY for this row; null: there are none.
    secrets text,
    created_at timestamptz not null,
    -- Null: in force.
    revoked_at timestamptz,
    revocation_reason text
);

create index integraciones_partner on integraciones (partner_id, id);

-- How a partner and we exchange webhooks (seed 000). What goes out to it is an endpoint of the webhooks system.
create table partner_webhooks (
    partner uuid primary key references partners (id),
    -- The id of its integration, and of the endpoint.
    endpoint_id uuid not null,
    -- What it signs with, sealed for this partner. The secret that we sign with stands with the endpoint.
    inbound_secret text not null,
    -- The one before it, and until when it is still accepted.
    former_inbound_secret text,
    former_inbound_until timestamptz,
    -- True: only the bytes that arrived may be signed.
    strict_raw boolean not null,
    -- How old a signed time stamp may be; 0: any. Null: WEBHOOK_TOLERANCE_SECONDS for Standard Webhooks, and any for a time in
    -- the payload.
    tolerance_seconds bigint,
    -- Links to the portal carry this number; one that is higher makes all earlier links useless.
    portal_epoch bigint not null
);

create index partner_webhooks_endpoint on partner_webhooks (endpoint_id);

-- The outbox: what happened to partners, written together with the change.
create table partner_events (
    -- Also the id of the task that tells of it.
    id uuid primary key,
    -- PartnerCreado, PartnerActualizado, …
    type text not null,
    partner_id uuid not null,
    -- What receivers are told.
    data jsonb not null,
    created_at timestamptz not null,
    -- When its deliveries were written, in the same transaction; null: not yet.
    published_at timestamptz
);
