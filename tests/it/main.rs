//! Stories through the front door: what callers, customers and operators see, over HTTP and at the providers.
//!
//! Every story is told twice, on PostgreSQL with Redis and on the embedded pair ([`pair::story`]), because two
//! implementations that are not held to the same stories drift apart. A story's comment names the lines of the contract
//! that it proves.

// How stories are told
mod answer;
mod app;
mod pair;
mod program;
mod sample;

// The stories, a noun each
mod access;
mod analytics;
mod catalogue;
mod customers;
mod delivery;
mod dispatch;
mod erasure;
mod failover;
mod fallback;
mod fleet;
mod health;
mod hostile;
mod operators;
mod orchestration;
mod push;
mod rate_limit;
mod recovery;
mod reminders;
mod schedules;
mod seed;
mod sync;
mod tasks;
mod templates;
mod vehicles;
mod workshops;
