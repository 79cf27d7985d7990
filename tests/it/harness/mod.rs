//! How stories are told: a whole Recado in one test, its storage, the sample event, the programs as processes, a real browser,
//! and a proxy that loses connections.

pub(crate) mod answer;
pub(crate) mod app;
pub(crate) mod browser;
pub(crate) mod chromium;
pub(crate) mod pair;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod sample;
