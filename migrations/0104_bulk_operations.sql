-- One action on many tasks. What it acts on is frozen when it is made; a job walks through it in chunks, by id, and notes in
-- the transaction of each chunk how far it has come. So it goes on after a crash where it was, and hits nothing twice.
create table bulk_operations (
    id uuid primary key,
    -- retry, cancel
    action text not null,
    -- The filter and its upper bound, or the ids, as `bulk.rs: Selection` writes it.
    selection jsonb not null,
    -- Who asked for it.
    actor text not null,
    created_at timestamptz not null,
    -- waiting, running, stopped, done
    state text not null,
    -- How many there were when it was made, counted up to a limit.
    total integer not null,
    -- Tasks a minute; 0: as fast as it goes.
    pace integer not null,
    done integer not null,
    -- How many were passed over, by reason.
    skipped jsonb not null,
    -- The last task that was looked at.
    position uuid,
    -- The job that walks.
    task_id uuid not null,
    updated_at timestamptz not null,
    finished_at timestamptz
);
