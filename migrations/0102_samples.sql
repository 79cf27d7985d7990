-- What happened in each minute, by lane and account: counted in the memory of every process, written once a minute. Minutes are kept for
-- an hour, ten minutes for a day and hours for thirty days; the scheduler joins them.
create table samples (
    -- When it begins.
    at timestamptz not null,
    -- How long it is: 1, 10 or 60.
    minutes smallint not null,
    lane text not null,
    -- The account through which messages left; empty for what is counted of the lane's tasks.
    account text not null,
    -- The process that counted; empty when several were joined. What a process writes again replaces what it wrote before.
    process text not null,
    -- Of tasks: written, ended well, go on later because something failed, given up.
    accepted bigint not null,
    done bigint not null,
    retried bigint not null,
    dead bigint not null,
    -- Of attempts: taken by the provider, to be tried again, refused for good; and messages that a receipt says have arrived.
    sent bigint not null,
    deferred bigint not null,
    failed bigint not null,
    delivered bigint not null,
    -- Queued tasks, and how long the oldest had been due, in milliseconds. The highest of what was looked at; null where it was not looked at.
    depth bigint,
    oldest_ms bigint,
    -- How many of each length, in the buckets of shared/queue/src/samples: from due to begun, a run, an attempt.
    waits jsonb not null,
    runs jsonb not null,
    sends jsonb not null,
    primary key (at, minutes, lane, account, process)
);
