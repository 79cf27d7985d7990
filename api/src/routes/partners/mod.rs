//! The registry of partners (seed 001), a file per noun. Its clients have an envelope of their own ([`crate::envelope`]), and
//! words of their own for what they look for.

pub(crate) mod integrations;
pub(crate) mod registry;
