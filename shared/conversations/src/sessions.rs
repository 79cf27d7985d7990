//! Sessions of WhatsApp: what the bridge says of them, and whether it can be believed.
