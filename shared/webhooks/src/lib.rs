//! Webhooks: signed requests to partners, and the proof that a request came from one.
//!
//! Other systems send through this one. It knows where a webhook goes, how it is signed, and when it is tried again; what is
//! in it and why belongs to the system that sends.

pub mod answers;
pub mod canonical;
pub mod debugger;
pub mod deliveries;
pub mod dialect;
pub mod endpoints;
pub mod health;
pub mod jobs;
pub mod labels;
pub mod notices;
pub mod operations;
pub mod portal;
pub mod replays;
pub mod retry;
pub mod signature;
pub mod system;
