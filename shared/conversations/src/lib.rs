//! Conversations (seed 003): a tour operator's WhatsApp. Chats and groups as a bridge tells of them, the reservation codes that
//! customers write there, and the operators who answer.

pub mod bindings;
pub mod bridge;
pub mod chats;
pub mod codes;
pub mod erasure;
pub mod experiences;
pub mod incoming;
pub mod jobs;
pub mod messages;
pub mod notices;
pub mod operators;
pub mod organizers;
pub mod replies;
pub mod requests;
pub mod sessions;
pub mod sync;
pub mod system;
