//! Organizers of another system, and those who have no operator yet.
