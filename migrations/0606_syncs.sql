-- Syncs with the bridge: how far they are, and where one that is cut off goes on.

create table whatsapp_syncs (
    -- The task that runs it; of a command, an id of its own.
    id uuid primary key,
    -- chats, groups, messages (the history of one chat), histories (those of all chats).
    what text not null,
    -- Of `messages`: WhatsApp's id of the chat.
    chat_id text,
    -- How many messages of each chat at most. Null: none are fetched.
    message_limit integer,
    -- Of `histories`: the chats whose history is fetched, how many of them are done, and WhatsApp's id of the last of those.
    chats_total integer not null,
    chats_done integer not null,
    last_chat_id text,
    -- What was written, and of how many things the bridge told.
    created bigint not null,
    updated bigint not null,
    total bigint not null,
    -- What went wrong last; a sync that goes on has none.
    problem text,
    started_at timestamptz not null,
    updated_at timestamptz not null,
    -- Null: it runs, waits for its next try, or was cut off.
    finished_at timestamptz
);
