//! What the bridge has on record, brought into the database: chats, groups, the history of one chat.
