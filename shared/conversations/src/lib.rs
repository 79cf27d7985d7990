//! Conversations (seed 003): a tour operator's WhatsApp. Chats and groups as a bridge tells of them, the reservation codes that
//! customers write there, and the operators who answer.

pub mod bindings;
pub mod bridge;
pub mod chats;
pub mod codes;
pub mod contacts;
pub mod erasure;
pub mod evolution;
pub mod experiences;
pub mod health;
pub mod incoming;
pub mod jobs;
pub mod messages;
pub mod notices;
pub mod operations;
pub mod operators;
pub mod organizers;
pub mod pacing;
pub mod refresh;
pub mod replies;
pub mod requests;
pub mod sends;
pub mod sessions;
pub mod sync;
pub mod system;
