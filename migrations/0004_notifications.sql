-- What was sent, is being sent, or will be sent if the channel before it fails. Words and address were decided at the door.
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
    status text not null,
    recipient_address text not null,
    template_id uuid,
    template_name text not null,
    subject text not null,
    body text not null,
    -- The template is HTML: its variables were escaped, and an email sends it as such.
    is_html boolean not null,
    error_code text,
    error_reason text,
    -- Failed attempts on this channel.
    retry_count integer not null,
    max_retries integer not null,
    next_retry_at timestamptz,
    -- Since when an attempt without an answer is being looked up at the provider.
    unknown_since timestamptz,
    -- The moment that was reserved for it at a paced provider.
    paced_until timestamptz,
    -- The provider's own id, by which its receipts find this row.
    provider_message_id text,
    -- How often the sweep of failed notifications has tried it again.
    redrives integer not null,
    sent_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint notifications_status check (status in ('pending', 'queued', 'sent', 'delivered', 'read', 'bounced', 'failed', 'cancelled'))
);

create index notifications_task on notifications (task_id, fallback_order);
create index notifications_correlation on notifications (correlation_id);
create index notifications_customer on notifications (customer_id, created_at);
create index notifications_created on notifications (created_at);
create index notifications_failed on notifications (updated_at) where status = 'failed';
create index notifications_provider on notifications (provider_message_id) where provider_message_id is not null;

-- Every attempt, as the provider answered it.
create table attempts (
    id uuid primary key,
    notification_id uuid not null references notifications (id) on delete cascade,
    channel text not null,
    started_at timestamptz not null,
    duration_ms integer not null,
    -- sent, transient, permanent, misconfigured, unknown
    outcome text not null,
    error_code text,
    error_reason text,
    provider_status integer,
    provider_answer text
);

create index attempts_notification on attempts (notification_id, started_at);

-- The next free moment of a paced provider, e.g. one WhatsApp instance over all workers.
create table pacing (
    key text primary key,
    -- Microseconds since 1970, so that both engines can count on from it.
    next_free_us bigint not null
);
