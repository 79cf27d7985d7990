//! How stories are told: a whole Recado in one test, its storage, the sample event, and the programs as processes.

pub(crate) mod answer;
pub(crate) mod app;
pub(crate) mod pair;
pub(crate) mod program;
pub(crate) mod sample;
