-- What was sent, counted by day, so that a summary reads hundreds of rows and not a million. Today is counted as it is asked.

-- The days that are counted, as the workshops' calendar cuts them.
create table analytics_days (
    day date primary key,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    counted_at timestamptz not null
);

create table analytics_counts (
    day date not null,
    channel text not null,
    status text not null,
    event_type text not null,
    total bigint not null,
    -- How many of them have left, and how long they took together, from the event to the last good news.
    timed bigint not null,
    seconds double precision not null,
    primary key (day, channel, status, event_type)
);
