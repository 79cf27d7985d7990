-- Texts that we gave to the bridge. Whether they come back tells whether its session can be believed.

create table whatsapp_sends (
    id uuid primary key,
    -- The session through which it went.
    session text not null,
    -- WhatsApp's id of the chat.
    chat_id text not null,
    -- Names the chat and the words, so that they are recognised when they come back.
    digest uuid not null,
    -- The message that was stored for it, if any.
    message uuid,
    sent_at timestamptz not null,
    -- The bridge has not answered yet: a place within the daily limit, and no evidence against the session.
    is_held boolean not null default false,
    -- It came back, or was reported on. Null: not yet.
    confirmed_at timestamptz
);

create index whatsapp_sends_waiting on whatsapp_sends (digest) where confirmed_at is null;
create index whatsapp_sends_sent on whatsapp_sends (session, sent_at);
