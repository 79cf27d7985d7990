//! Partners: who they are, whether they are verified, and how their systems are connected with ours (seed 001).
//!
//! One noun, one file. [`registry`] has what can be done with them, each in one transaction; the other files have the tables
//! and the pure decisions.

pub mod connections;
pub mod erasure;
pub mod events;
pub mod gate;
pub mod inbound;
pub mod integrations;
pub mod itinerary;
pub mod jobs;
pub mod kyc;
pub mod masking;
pub mod partners;
pub mod payload;
pub mod portal;
pub mod registration;
pub mod registry;
pub mod rejected;
pub mod standing;
pub mod system;
