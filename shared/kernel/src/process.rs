//! How every Recado process starts and stops.

use std::collections::BTreeMap;
use std::fmt;

use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::{dotenv, telemetry};

/// Reads `.env` and the environment, and starts logging and counting. `RUST_LOG` says what is logged, else `default_filter`.
///
/// # Errors
///
/// Every variable that is wrong. A `.env` that cannot be read to its end is an error too: the lines behind the bad one would
/// be missing without notice, and one of them may be what protects the API.
pub fn configure(default_filter: &str) -> Result<Config, ConfigError> {
    let lines = load_dotenv()?;
    let config = Config::from_env().map_err(|error| error.in_lines(&lines))?;
    telemetry::start_logging(config.log_json, config.log_filter.as_deref().unwrap_or(default_filter));
    telemetry::start_metrics();
    Ok(config)
}

/// Adds to the environment what the nearest `.env` says. Returns the line of each variable that comes from there.
fn load_dotenv() -> Result<BTreeMap<String, usize>, ConfigError> {
    #[expect(clippy::disallowed_methods, reason = "what is set outside of .env comes first")]
    let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    // A missing .env is the normal case in production.
    let found = std::env::current_dir().ok().and_then(|folder| dotenv::find(&folder));
    let Some(file) = found else { return Ok(BTreeMap::new()) };
    let unreadable = |reason: &dyn fmt::Display| ConfigError::in_dotenv(&file, &[reason]);
    let bytes = std::fs::read(&file).map_err(|error| unreadable(&error))?;
    let entries = dotenv::parse(&bytes, environment).map_err(|mistakes| ConfigError::in_dotenv(&file, &mistakes))?;
    let added = entries.iter().filter(|entry| environment(&entry.name).is_none());
    let lines = added.map(|entry| (entry.name.clone(), entry.line)).collect();
    // Its errors repeat what they read.
    dotenv::set(&entries).map_err(|_| unreadable(&"its variables cannot be set"))?;
    Ok(lines)
}

/// Cancelled at SIGTERM or Ctrl-C. A second signal ends the process at once.
pub fn until_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        signal().await;
        tracing::info!("stopping; a second signal ends at once");
        stopping.cancel();
        signal().await;
        std::process::exit(130);
    });
    stop
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
