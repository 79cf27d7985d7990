-- A text that staff send to themselves to see how it arrives. It is no notification: no list, count or failure knows it.
create table test_sends (
    -- The id of its task too.
    id uuid primary key,
    template_id uuid not null,
    channel text not null,
    -- Whose accounts it leaves through.
    taller_id text,
    -- Whose devices a push goes to; null on other channels.
    customer_id text,
    -- Where it goes, and its words: emptied when it has ended.
    address text not null,
    subject text not null,
    body text not null,
    is_html boolean not null,
    -- As the audit log names them.
    sent_by text not null,
    -- The moment that was reserved for it at a paced provider.
    paced_until timestamptz,
    created_at timestamptz not null,
    ended_at timestamptz,
    is_sent boolean not null,
    -- The account that took or refused it last.
    account text,
    code text,
    reason text
);

-- How many a person has sent lately, and the newest of a template.
create index test_sends_by on test_sends (sent_by, created_at);
create index test_sends_of on test_sends (template_id, id);
create index test_sends_created on test_sends (created_at);
