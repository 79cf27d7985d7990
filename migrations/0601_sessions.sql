-- The sessions of WhatsApp through which conversations come and go.

create table whatsapp_sessions (
    id uuid primary key,
    -- Which bridge: `bridge` for the Node service, else the name of an Evolution instance.
    name text not null,
    -- disconnected, qr_pending, connected, expired.
    status text not null,
    phone_number text,
    push_name text,
    -- The QR code that waits to be scanned; only while `qr_pending`.
    qr_code text,
    qr_at timestamptz,
    -- The bridge gave a sign of life: a webhook, or an answer.
    last_seen_at timestamptz,
    connected_at timestamptz,
    lost_at timestamptz,
    -- The latest message that came in, and the latest of ours that came back or was confirmed.
    last_inbound_at timestamptz,
    last_confirmed_at timestamptz,
    -- Connected by its own word, but messages do not leave: since when, and the evidence.
    zombie_since timestamptz,
    zombie_reason text,
    -- Up to where what was missed during an outage has been fetched.
    caught_up_at timestamptz,
    -- When an API that takes its webhooks was last there, and when the bridge's chats were last compared with ours.
    served_at timestamptz,
    compared_at timestamptz,
    -- How it stood when people and endpoints were last told: sound, silent, zombie, lost. Null: never.
    announced text,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create unique index whatsapp_sessions_name_key on whatsapp_sessions (name);
