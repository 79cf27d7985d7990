//! What a thing is: Recado's features, its ledger of tasks and its queue. No HTTP server, no mail client, no command line.
//!
//! The modules stand in layers, and a module only uses what stands below it.

// Use cases
pub mod dispatch;
pub mod erasure;
pub mod operations;
pub mod resend;
pub mod seed;
pub mod sync;

// Features: one noun, one file
pub mod addresses;
pub mod analytics;
pub mod api_keys;
pub mod catalogue;
pub mod channels;
pub mod customers;
pub mod fallback;
pub mod idempotency;
pub mod journal;
pub mod notifications;
pub mod orchestration;
pub mod provider_accounts;
pub mod push;
pub mod quiet_hours;
pub mod receipts;
pub mod reminders;
pub mod schedules;
pub mod suppressions;
pub mod templates;
pub mod timeline;
pub mod unsubscribe;
pub mod vehicles;
pub mod workshops;

// Work
pub mod queue;
pub mod tasks;
pub mod workers;

// Ground
pub mod clock;
pub mod config;
pub mod context;
pub mod db;
pub mod group;
pub mod ids;
pub mod outbound;
pub mod process;
pub mod sealed;
pub mod telemetry;
