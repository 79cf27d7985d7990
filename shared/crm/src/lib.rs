//! Presences (seed 004): a CRM's appointment that took place becomes a Presencia in the commercial application.
//!
//! Recado plays either end. As the CRM it takes appointments in and tells of those that took place by webhook; as the
//! application it takes such webhooks and keeps the presences.

pub mod appointments;
pub mod commercial;
pub mod erasure;
pub mod mapping;
pub mod moments;
pub mod presences;
pub mod system;
