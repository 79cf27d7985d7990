//! What was said in a chat, each message once by WhatsApp's own id (S003-24).
