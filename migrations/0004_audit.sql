-- What was changed, and by whom. Rows are only added, and deleted when they are past their retention.
create table audit (
    -- Sorts by time.
    id uuid primary key,
    at timestamptz not null,
    -- person, key, command, schedule, anonymous
    actor_kind text not null,
    -- Name of the user, of the key, of the command, or of the schedule.
    actor text not null,
    -- From where it was asked; empty where it was not asked over a network.
    address text not null,
    -- What was done: `retry`, `cancel`, `log_in`.
    action text not null,
    -- To what: a noun of the program and its identifier. Never an address of a person.
    subject_kind text not null,
    subject text not null,
    -- What changed, as objects: only fields that did, no secret and no address.
    before jsonb,
    after jsonb,
    -- Empty where there was no request.
    request_id text not null
);

create index audit_subject on audit (subject_kind, subject, id);
create index audit_actor on audit (actor, id);
create index audit_action on audit (action, id);
