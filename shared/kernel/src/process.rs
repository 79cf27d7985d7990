//! How every Recado process starts and stops.

use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::telemetry;

/// Reads `.env` and the environment, and starts logging and counting. `RUST_LOG` says what is logged, else `default_filter`.
///
/// # Errors
///
/// Every variable that is wrong. A `.env` that cannot be read to its end is an error too: the lines behind the bad one would
/// be missing without notice, and one of them may be what protects the API.
pub fn configure(default_filter: &str) -> Result<Config, ConfigError> {
    match dotenvy::dotenv() {
        Err(error) if !error.not_found() => return Err(ConfigError::in_dotenv(&error)),
        // A missing .env is the normal case in production.
        _ => {}
    }
    let config = Config::from_env()?;
    telemetry::start_logging(config.log_json, default_filter);
    telemetry::start_metrics();
    Ok(config)
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
