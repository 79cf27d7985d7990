-- What was sent, or is being sent. Words and addresses were decided at intake.

-- A chain is one event for one person: the channels on which it is tried, one after the other. Its first message is the
-- chain's own row, and carries those that wait in reserve; one of them becomes a row when it has its turn. Ids of a chain
-- differ in their last three bits alone: the first has place 0, and so every message finds its chain by the primary key.
--
-- The update that follows a delivery changes only what no index looks at, and pages have room for it (see
-- `db/dialect.rs`): so PostgreSQL writes the row's next version on its own page and touches no index.
create table notifications (
    id uuid primary key,
    -- One event; in `all` mode several chains share it.
    correlation_id uuid not null,
    -- The task that delivers this chain. It outlives the task's row.
    task_id uuid not null,
    event_type text not null,
    customer_id text not null,
    taller_id text,
    target text not null,
    channel text not null,
    -- Its place in the chain; 0 is tried first.
    fallback_order integer not null,
    recipient_address text not null,
    -- The template, and its number in `template_versions`; null where the caller brought the words.
    template_id uuid,
    template_version integer,
    template_name text not null,
    subject text not null,
    body text not null,
    -- The words are HTML: variables were escaped, and an email sends them as such.
    is_html boolean not null,
    max_retries integer not null,
    -- Without this receipt so many seconds after it was sent, the next channel is tried. Both or none.
    await_receipt text,
    await_seconds integer,
    -- The priority that the customer gave the channel; null: none, and the order is the matrix's own.
    preferred integer,
    -- Passes quiet hours and throttles.
    critical boolean not null,
    -- When the caller wanted it to leave; null: at once.
    send_at timestamptz,
    -- The notification that this one repeats on request.
    resend_of uuid,
    -- Of a chain's own row: the messages in reserve, in their order, as JSON; null: none. Those that had their turn stay.
    reserve text,
    -- Of a chain's own row: channels that are not used, each with the code of its reason, as JSON; null: none.
    skipped text,
    -- Of a chain's own row: the matrix and the phase whose cells chose its channels, and the event's subtype. Null where none did:
    -- the caller brought the words, or it repeats another message.
    config_id uuid,
    phase_id uuid,
    subtype_id uuid,
    created_at timestamptz not null,

    -- From here on what changes. It stands behind the rest, because PostgreSQL writes of an update only what lies between the first
    -- and the last column that differ: not the words again.
    status text not null,
    error_code text,
    error_reason text,
    -- Failed attempts on this channel.
    retry_count integer not null,
    next_retry_at timestamptz,
    -- Since when an attempt without an answer is being looked up at the provider.
    unknown_since timestamptz,
    -- Until when that is done again and again. Null with `unknown_since` set: that time is over, and the provider is asked
    -- once more before anything is sent again.
    unknown_until timestamptz,
    -- The moment that was reserved for it at a paced provider.
    paced_until timestamptz,
    -- The provider's own id. Its receipts find this row through the attempt that got it.
    provider_message_id text,
    -- Which of the channel's accounts took it: `env`, or the name of a provider account.
    provider text,
    -- How often the sweep of failed notifications has tried it again.
    redrives integer not null,
    -- What became of all that still wait there: pending, cancelled or failed, and why.
    reserve_status text not null,
    reserve_reason text,
    -- Its place among the messages of its customer, where RECIPIENT_THROTTLE_PER_HOUR counts them; it may lie ahead.
    admitted_at timestamptz,
    sent_at timestamptz,
    -- Receipts. They only move forward: sent, delivered, read.
    delivered_at timestamptz,
    read_at timestamptz,
    -- When it ended without being sent: failed, bounced or cancelled.
    closed_at timestamptz,
    -- When its words, address and the providers' answers were erased; null: they are there. An erased message is never sent.
    erased_at timestamptz,
    updated_at timestamptz not null,
    constraint notifications_status check (status in ('pending', 'queued', 'sent', 'delivered', 'read', 'bounced', 'failed', 'cancelled')),
    constraint notifications_await check (await_receipt in ('delivered', 'read'))
);

create index notifications_task on notifications (task_id);
create index notifications_correlation on notifications (correlation_id);
create index notifications_customer on notifications (customer_id, created_at);
-- With the channel: the newest of one are found here, however few it has.
create index notifications_created on notifications (created_at, channel);
create index notifications_event on notifications (event_type, created_at);
-- Of messages without a workshop it holds nothing.
create index notifications_workshop on notifications (taller_id, created_at) where taller_id is not null;
-- The rare ends, newest first. What is sent as usual enters neither.
create index notifications_closed on notifications (created_at) where closed_at is not null;
-- Those that met this error, newest first. What is sent as usual never enters.
create index notifications_error on notifications (error_code, created_at) where error_code is not null;
-- Chains whose messages in reserve were cancelled or failed.
create index notifications_reserve_closed on notifications (created_at) where reserve_status <> 'pending';
create index notifications_arrived on notifications (created_at) where delivered_at is not null;

-- Every attempt, as the provider answered it. No foreign key: its check would lock the message's row for each attempt.
create table attempts (
    notification_id uuid not null,
    id uuid not null,
    -- Its place among the attempts of one run, from 1: on a coarse clock they begin in the same moment.
    number integer not null,
    channel text not null,
    started_at timestamptz not null,
    duration_ms integer not null,
    -- sent, transient, permanent, misconfigured, unknown
    outcome text not null,
    error_code text,
    error_reason text,
    -- The code of HTTP or SMTP.
    provider_status integer,
    provider_answer text,
    -- Which of the channel's accounts was tried: `env`, or the name of a provider account; null when there was none.
    provider text,
    -- The name that the provider gave the message, where receipts will use it. It is searched here and not in the message's
    -- row, because an index there would be written with every delivery.
    provider_message_id text,
    primary key (notification_id, id)
);

-- Messages that a provider has on record and of which no attempt got an answer: each belongs to one of our messages, for the
-- same words may have been sent to the same person twice.
create table found_messages (
    provider_message_id text primary key,
    notification_id uuid not null
);

create index found_messages_notification on found_messages (notification_id);

create index attempts_provider on attempts (provider_message_id) where provider_message_id is not null;

-- The next free moment of a paced provider, e.g. one WhatsApp instance over all workers.
create table pacing (
    key text primary key,
    -- Microseconds since 1970, so that both engines can count on from it.
    next_free_us bigint not null,
    -- When it was last asked for. It lies in the future when the clock was set back since.
    asked_us bigint not null
);
