-- Lanes from which no worker takes tasks for a while. What waits there stays.
create table pauses (
    -- A lane, or a queue with all its lanes.
    queue text primary key,
    reason text not null,
    -- Who paused it: the name of a key, or a person at the command line.
    paused_by text not null,
    paused_at timestamptz not null,
    -- Then it ends by itself; null: when somebody resumes it.
    until timestamptz
);
