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
mod bulk;
mod catalogue;
mod contract;
mod control;
mod customers;
mod delivery;
mod dispatch;
mod docs;
mod dry_run;
mod erasure;
mod failover;
mod fallback;
mod fleet;
mod health;
mod hostile;
mod notifications;
mod operators;
mod orchestration;
mod push;
mod quiet_hours;
mod rate_limit;
mod receipts;
mod recovery;
mod reminders;
mod schedules;
mod schema;
mod seed;
mod suppressions;
mod sync;
mod tasks;
mod templates;
mod throttle;
mod unsubscribe;
mod vehicles;
mod workshops;
