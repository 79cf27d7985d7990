-- The ledger: a job is a row here, written in the same transaction as the business rows that it belongs to.
-- What travels through Redis is its id. Every state that an operator sees is a state of this row.
create table tasks (
    id uuid primary key,
    -- What its system calls the kind of job, and its content.
    kind text not null,
    payload jsonb not null,
    -- 0 high, 1 default, 2 low.
    priority smallint not null,
    -- At most one task ever carries this key: the tick of a schedule, the due cycle of a reminder.
    unique_key text,
    correlation_id uuid,
    -- The schedule whose run it is, by its tick or by hand.
    schedule_id uuid,
    created_at timestamptz not null,

    -- From here on what changes. It stands behind the rest, because PostgreSQL writes of an update only what lies between the first
    -- and the last column that differ.
    -- `notifications.email`, `sync`, …: the lane that it is rung in. What stands before the dot is the queue.
    lane text not null,
    state text not null,
    -- Not before this moment.
    run_at timestamptz not null,
    -- When its id was last rung into the lane; a queued row whose ring was lost is rung again.
    rung_at timestamptz,
    -- Counts claims. It fences: the task is finished only by naming the number of the claim that is in force.
    attempt integer not null,
    -- Counts attempts of the job that ended in our own trouble; the retry policy looks at it.
    failures integer not null,
    -- Counts workers that fell silent while it was the one task that can have done it; the third time it is dead.
    lost_leases integer not null,
    -- A worker fell silent that may have begun it: at most so many such tasks begin together in a worker. 0: no suspicion.
    suspect_group integer not null,
    -- Of a task under suspicion: it has begun. Of others it is unknown, for a claim of thousands does not say which began.
    begun boolean not null,
    lease_until timestamptz,
    -- The last run ended without an answer: its worker died or stopped, or it took too long. What it did outside is unknown.
    cut_off boolean not null,
    -- The incarnation of the worker that holds it.
    worker text,
    started_at timestamptz,
    error text,
    result jsonb,
    finished_at timestamptz,
    constraint tasks_state check (state in ('scheduled', 'queued', 'started', 'success', 'dead', 'cancelled'))
);

create unique index tasks_unique_key on tasks (unique_key) where unique_key is not null;

-- A claim changes only what no index and no index's condition looks at (`state` stands in none of them), so that PostgreSQL
-- writes the new row on the same page and touches no index. Statements repeat these conditions.
--   scheduled: rung_at is null, finished_at is null · queued, started: rung_at is set, finished_at is null · ended: finished_at
create index tasks_due on tasks (run_at) where rung_at is null and finished_at is null;
create index tasks_open on tasks (lane, rung_at) where rung_at is not null and finished_at is null;
create index tasks_dead on tasks (id) where error is not null and finished_at is not null;

-- The runs of a schedule, newest first.
create index tasks_schedule on tasks (schedule_id, id) where schedule_id is not null;

-- The jobs that carry a person's data, by whom they are about. No claim changes what this index looks at.
create index tasks_about on tasks ((payload ->> 'customer_id')) where kind in ('sync_customer', 'sync_vehicle', 'dispatch_event');

-- Who works now: one row per process, renewed by its heartbeat.
create table workers (
    -- host:pid:random
    id text primary key,
    -- The lanes that it serves, separated by commas.
    queues text not null,
    concurrency integer not null,
    held integer not null,
    version text not null,
    started_at timestamptz not null,
    seen_at timestamptz not null,
    -- How many of the held tasks run, and those that have run longest: task, kind, lane, since.
    running integer not null,
    running_tasks jsonb not null,
    -- Since when it is asked to take nothing more; null: it works. Its heartbeat reads this.
    drain_since timestamptz,
    drain_by text,
    -- How far its host's clock was ahead of the database's, in milliseconds.
    clock_ahead_ms bigint not null
);

-- When recurring work is due. A tick becomes exactly one task, because its unique key names the schedule and the tick.
create table schedules (
    id uuid primary key,
    name text not null,
    -- Five fields: minute, hour, day of month, month, day of week.
    cron text not null,
    -- In which zone `cron` is read; null: in the installation's (TIME_ZONE).
    time_zone text,
    job text not null,
    description text not null,
    enabled boolean not null,
    -- What happens to ticks that passed while nothing ran: run_once makes up for the latest, skip for none.
    misfire text not null,
    last_run_at timestamptz,
    next_run_at timestamptz,
    -- The zone for which `next_run_at` was reckoned: a schedule follows TIME_ZONE when that changes.
    planned_zone text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint schedules_misfire check (misfire in ('run_once', 'skip'))
);

create unique index schedules_name_key on schedules (name);

-- An answer that was given once is given again for the same key.
create table idempotency_keys (
    -- The caller's identity and the header's value.
    key text primary key,
    -- SHA-256 of the request, so that the same key with another body is noticed.
    fingerprint text not null,
    -- Null while the first request is under way.
    status integer,
    response jsonb,
    created_at timestamptz not null
);

create index idempotency_keys_age on idempotency_keys (created_at);
