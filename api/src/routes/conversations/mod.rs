//! A tour operator's WhatsApp (seed 003).

pub(super) mod codes;
pub(super) mod erasure;
pub(super) mod messages;
pub(super) mod requests;
pub(super) mod webhooks;
