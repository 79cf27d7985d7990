-- Decisions that no other row tells: why a message waits, which receipt came, who cancelled; and of an event that reached
-- no one, why each channel was skipped.
create table journal (
    id uuid primary key,
    at timestamptz not null,
    correlation_id uuid not null,
    customer_id text not null,
    -- Null when the event reached no one.
    task_id uuid,
    notification_id uuid,
    channel text,
    -- A stable word: skipped, deferred, throttled, fell_back, receipt, suppressed, cancelled, resent, …
    kind text not null,
    -- What the sentence is made of when somebody reads it, as JSON; which fields there are depends on `kind`.
    facts jsonb not null
);

create index journal_correlation on journal (correlation_id, at);
create index journal_task on journal (task_id) where task_id is not null;
create index journal_customer on journal (customer_id, at);
create index journal_at on journal (at);
