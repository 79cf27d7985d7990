-- Reservation codes, and the requests that customers make by naming them.

create table reservation_codes (
    id uuid primary key,
    code text not null,
    experience_id text not null,
    -- What the checkout knew when it was issued.
    checkout_data jsonb not null,
    expires_at timestamptz not null,
    created_at timestamptz not null
);

create unique index reservation_codes_code_key on reservation_codes (code);

create table reservation_requests (
    id uuid primary key,
    -- One request per code, for ever.
    code text not null,
    -- Null: the code was not issued here.
    experience_id text,
    operator uuid,
    -- Where it was asked for, and with which message.
    chat uuid not null,
    message uuid not null,
    -- Digits; null: only a LID is known.
    customer_phone text,
    passengers integer not null,
    -- received, processing, operator_notified, availability_confirmed, confirmed, rejected, timeout.
    status text not null,
    -- How the operator is told: group, number, phone, email; and where: a chat id of WhatsApp, or an address.
    told_by text,
    told_to text,
    -- The words were about to leave, and what became of them is not known.
    telling_since timestamptz,
    -- Names the words, so that they are recognised when they come back as a message of ours.
    notice_digest uuid,
    -- Attempts by the present means that did not work, and the means that are used up, between commas.
    tell_failures integer not null,
    means_spent text not null,
    -- WhatsApp's id of the notice, once it is known: a quoted answer names it.
    notice_whatsapp_id text,
    notified_at timestamptz,
    answered_at timestamptz,
    -- When it becomes `timeout` without an answer.
    timeout_at timestamptz not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create unique index reservation_requests_code_key on reservation_requests (code);
create index reservation_requests_status on reservation_requests (status, id);
create index reservation_requests_told on reservation_requests (told_to, status);

-- Its story, as facts; words are made where it is read.
create table reservation_request_events (
    id uuid primary key,
    request uuid not null,
    what text not null,
    facts jsonb not null,
    at timestamptz not null
);

create index reservation_request_events_request on reservation_request_events (request, id);
