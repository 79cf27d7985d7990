-- Chats of WhatsApp and what was said in them.

create table whatsapp_chats (
    id uuid primary key,
    -- WhatsApp's own: 593991234567@c.us, 1203630@g.us, 998877@lid.
    chat_id text not null,
    -- individual or group.
    kind text not null,
    -- As the address book of the telephone has it.
    name text,
    -- As staff call it.
    nickname text,
    -- As the person calls herself.
    whatsapp_name text,
    profile_picture_url text,
    -- Digits. Null: a group, or a person of whom only the LID is known (d31).
    phone text,
    description text,
    -- Of a group, as the bridge lists them.
    participants jsonb not null,
    is_active boolean not null,
    assigned_operator uuid,
    tags jsonb not null,
    last_message_at timestamptz,
    last_message_preview text,
    message_count integer not null,
    unread_count integer not null,
    -- The chat of the same person under her number, when her LID and her number turned out to be one.
    merged_into uuid,
    -- When the bridge last listed it.
    synced_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create unique index whatsapp_chats_chat_id_key on whatsapp_chats (chat_id);
create index whatsapp_chats_latest on whatsapp_chats (last_message_at desc, id desc) where merged_into is null;

create table whatsapp_messages (
    id uuid primary key,
    -- WhatsApp's own, of any form.
    whatsapp_id text not null,
    chat uuid not null,
    -- in or out.
    direction text not null,
    content text not null,
    -- The sender's clock.
    sent_at timestamptz not null,
    sender_name text,
    -- Digits.
    sender_phone text,
    media_type text,
    reply_to_whatsapp_id text,
    -- The first code in its text.
    reservation_code text,
    -- The request that it made, or answered.
    request uuid,
    -- When it took effect. Null: a sync stored it, and its webhook may still come.
    processed_at timestamptz,
    created_at timestamptz not null
);

create unique index whatsapp_messages_whatsapp_id_key on whatsapp_messages (whatsapp_id);
create index whatsapp_messages_chat on whatsapp_messages (chat, sent_at desc, id desc);
