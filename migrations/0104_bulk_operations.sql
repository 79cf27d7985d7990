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
    -- waiting, trying, running, stopped, done
    state text not null,
    -- How many there were when it was made, counted up to a limit.
    total integer not null,
    -- Tasks a minute; 0: as fast as it goes.
    pace integer not null,
    done integer not null,
    -- How many were passed over, by reason.
    skipped jsonb not null,
    -- How many were left out when it was made, by reason. They are no part of the total.
    left_out jsonb not null,
    -- So many are tried first, and what becomes of them decides about the rest; 0: none.
    trial integer not null,
    -- The tasks that were tried, when the last of them was, and how it ended: passed, failed, silent; null: not yet.
    tried jsonb not null,
    tried_at timestamptz,
    verdict text,
    -- The last task that was looked at.
    position uuid,
    -- The job that walks.
    task_id uuid not null,
    updated_at timestamptz not null,
    finished_at timestamptz
);

-- The tasks of an operation whose selection is a list of its own, which no filter finds again.
create table bulk_tasks (
    operation_id uuid not null,
    task_id uuid not null,
    primary key (operation_id, task_id)
);
