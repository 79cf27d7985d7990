-- Webhooks: where they go, what was sent, and how each attempt was answered.

-- A URL of a partner, with all that is needed to sign for it.
create table webhook_endpoints (
    -- Chosen by the system that sends to it, which has a row of its own for it.
    id uuid primary key,
    -- The system: partners, crm.
    system text not null,
    -- For people, logs and metrics.
    name text not null,
    url text not null,
    -- Event types that it gets, a JSON array; null: all.
    events jsonb,
    -- active; paused: deliveries wait; disabled: nothing goes out.
    status text not null,
    -- gone: it answered 410. failing: no success for days. owner: its system stopped it. Null unless disabled.
    disabled_reason text,
    status_changed_at timestamptz not null,
    -- When it was last disabled; stays when it is active again, for "replay all since then".
    disabled_at timestamptz,
    -- The secret in force, sealed.
    secret text not null,
    -- The secret before it, sealed, and until when it is still listed.
    former_secret text,
    former_secret_until timestamptz,
    -- python_default, compact or as_is.
    canonical text not null,
    -- What stands before the hexadecimal signature.
    signature_prefix text not null,
    -- Names of further headers with that signature, a JSON array.
    signature_headers jsonb not null,
    -- Headers that every request carries, sealed as one JSON object; null: none.
    headers text,
    timeout_seconds integer not null,
    -- Seconds between attempts, a JSON array; null: WEBHOOK_RETRY_SCHEDULE.
    retry_schedule jsonb,
    -- Requests at a time, per worker.
    concurrency integer not null,
    -- Requests per minute, per worker; null: no limit.
    rate_per_minute integer,
    -- Who is told when it is disabled.
    owner_email text,
    -- Networks in which it may be besides those of OUTBOUND_ALLOWED_NETWORKS, a JSON array; null: none.
    allowed_networks jsonb,
    -- Webhooks that arrived, and attempts that failed.
    sent_count bigint not null,
    failed_count bigint not null,
    last_attempt_at timestamptz,
    last_success_at timestamptz,
    -- Attempts that failed since the last success, and when the first of them was.
    consecutive_failures integer not null,
    failing_since timestamptz,
    -- The circuit breaker: no attempt before this moment; how often it opened since the last success.
    open_until timestamptz,
    times_opened integer not null,
    -- When its owner was told that it takes nothing; null since it was last well.
    warned_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint webhook_endpoints_status check (status in ('active', 'paused', 'disabled')),
    constraint webhook_endpoints_canonical check (canonical in ('python_default', 'compact', 'as_is'))
);

create index webhook_endpoints_system on webhook_endpoints (system, id);

-- One webhook to one endpoint, however often it is tried.
create table webhook_deliveries (
    -- Also the id of its task; a delivery that was skipped has no task.
    id uuid primary key,
    endpoint_id uuid not null,
    -- The header webhook-id: the same for all attempts, and when it is sent again.
    message_id uuid not null,
    event_type text not null,
    -- What it is about in its system's words, e.g. a reservation; for searching.
    subject text,
    -- The bytes that travel and that are signed; null after their retention.
    body text,
    status text not null,
    -- Why it was skipped, failed or cancelled, or what the last attempt met.
    reason text,
    -- False: one attempt and no more.
    retries boolean not null,
    -- A test goes out whatever the endpoint subscribed.
    is_test boolean not null,
    attempts integer not null,
    last_status_code integer,
    next_attempt_at timestamptz,
    -- The delivery that this one repeats.
    replay_of uuid,
    created_at timestamptz not null,
    finished_at timestamptz,
    -- When its body and its answers were erased, because they named a person who was forgotten.
    erased_at timestamptz,
    constraint webhook_deliveries_status check (status in ('pending', 'delivered', 'failed', 'cancelled', 'skipped'))
);

create index webhook_deliveries_endpoint on webhook_deliveries (endpoint_id, id);
create index webhook_deliveries_open on webhook_deliveries (endpoint_id, id) where status = 'pending';
create index webhook_deliveries_unsent on webhook_deliveries (endpoint_id, id) where status in ('failed', 'cancelled');
create index webhook_deliveries_finished on webhook_deliveries (finished_at) where finished_at is not null;

-- Every request, as it was sent and answered.
create table webhook_attempts (
    delivery_id uuid not null,
    id uuid not null,
    -- 1 is the first of its delivery.
    number integer not null,
    started_at timestamptz not null,
    duration_ms integer not null,
    -- Null: no answer came.
    status_code integer,
    -- Why it failed; null: it did not.
    error text,
    -- As sent, a JSON object; secret values are masked.
    request_headers jsonb not null,
    -- The beginning of the answer; null after its retention.
    response text,
    primary key (delivery_id, id)
);

-- What an endpoint's owner is told of it, once each: written together with the change that it tells of.
create table webhook_notices (
    -- Also the id of the task that tells of it.
    id uuid primary key,
    endpoint_id uuid not null,
    -- disabled, failing, recovered, enabled.
    kind text not null,
    -- Why it was disabled: gone or failing.
    reason text,
    -- Since when it took nothing.
    since timestamptz,
    -- How it answered last: the status code, or why there was no answer.
    last_status_code integer,
    last_error text,
    at timestamptz not null,
    -- When mail and events were written, in the same transaction; null: not yet.
    published_at timestamptz
);

create index webhook_notices_endpoint on webhook_notices (endpoint_id, id);

-- Many deliveries sent again. What was made after the order is never among them.
create table webhook_replays (
    -- Also the id of its task.
    id uuid primary key,
    endpoint_id uuid not null,
    -- Which deliveries, as a JSON object: status, event_type, created_from, created_until, finished_from.
    conditions jsonb not null,
    -- The last delivery that was sent again; null at the beginning.
    position uuid,
    replayed integer not null,
    created_at timestamptz not null,
    finished_at timestamptz
);

create index webhook_replays_endpoint on webhook_replays (endpoint_id, id);
