//! The ground that every system stands on: time and ids, the database, configuration, logs, and limits for
//! input from outside. Knows no queue and no feature.

pub mod addresses;
pub mod api_keys;
pub mod audit;
pub mod clock;
pub mod config;
pub mod db;
mod dotenv;
pub mod errors;
pub mod fields;
pub mod group_commit;
pub mod health;
pub mod host_names;
pub mod ids;
pub mod language;
pub mod login_codes;
pub mod networks;
pub mod outbound;
pub mod passwords;
pub mod person;
pub mod process;
pub mod qr;
pub mod retry;
pub mod saved_views;
pub mod sealed;
pub mod secret_key;
pub mod server_urls;
pub mod sessions;
pub mod telemetry;
pub mod time_of_day;
pub mod tls;
pub mod users;
pub mod words;
