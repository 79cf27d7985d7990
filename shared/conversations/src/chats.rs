//! Chats of WhatsApp: people, people of whom only a LID is known, and groups.
