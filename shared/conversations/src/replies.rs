//! An operator's answer in a chat, pure: one word of few, and nothing else.
