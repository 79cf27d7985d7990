-- What became of a message after a provider took it, and what people decided about it.

-- Passes quiet hours and throttles.
alter table notifications add column critical boolean not null default false;
-- When the caller wanted it to leave; null: at once.
alter table notifications add column send_at timestamptz;
-- The notification that this one repeats on request.
alter table notifications add column resend_of uuid;
-- Receipts. They only move forward: sent, delivered, read.
alter table notifications add column delivered_at timestamptz;
alter table notifications add column read_at timestamptz;
-- Copied from the matrix at the door: without this receipt so many seconds after it was sent, the next channel is tried.
alter table notifications add column await_receipt text check (await_receipt in ('delivered', 'read'));
alter table notifications add column await_seconds integer;
-- Which of the channel's accounts took it: `env`, or the name of a provider account.
alter table notifications add column provider text;

alter table phase_channel_configs add column await_receipt text check (await_receipt in ('delivered', 'read'));
alter table phase_channel_configs add column await_seconds integer;

-- Decisions that no other row tells: why a channel was skipped, why a message waits, which receipt came, who cancelled.
create table journal (
    id uuid primary key,
    at timestamptz not null,
    correlation_id uuid not null,
    customer_id text not null,
    -- Null when the event reached nobody.
    task_id uuid,
    notification_id uuid,
    channel text,
    -- A stable word: skipped, deferred, throttled, fell_back, receipt, suppressed, cancelled, resent, …
    kind text not null,
    detail text not null
);

create index journal_correlation on journal (correlation_id, at);
create index journal_task on journal (task_id) where task_id is not null;
create index journal_at on journal (at);

-- Addresses to which nothing is sent any more, until staff lift it.
create table suppressions (
    id uuid primary key,
    channel text not null,
    -- As messages carry it: a mail address in lower case, a number in E.164.
    address text not null,
    -- A stable word: bounced, complained, unsubscribed, manual.
    reason text not null,
    -- What the provider said.
    detail text not null,
    notification_id uuid,
    created_at timestamptz not null,
    constraint suppressions_channel check (channel in ('email', 'whatsapp', 'push'))
);

create unique index suppressions_key on suppressions (channel, address);
