//! The CRM system (seed 004), one file per noun. Its URLs stand in `routes/mod.rs`.

pub(crate) mod appointments;
pub(crate) mod mapping;
pub(crate) mod presences;
pub(crate) mod test_webhook;
