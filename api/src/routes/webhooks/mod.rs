//! The webhooks system, one file per noun. Its URLs stand in `routes/mod.rs`.

pub(crate) mod deliveries;
pub(crate) mod endpoint_settings;
pub(crate) mod endpoints;
pub(crate) mod outcome;
pub(crate) mod portal;
pub(crate) mod verify;
