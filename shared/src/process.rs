//! How every Recado process starts and stops.

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::context::{Context, StartError};
use crate::telemetry;

/// The process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(
        "REDIS_URL is not set. The queue would live in this process and nobody else could reach it: set REDIS_URL, or run `recado up`, which holds everything in one process"
    )]
    NoRedis,
}

/// Reads `.env` and the environment, and starts logging and counting. `RUST_LOG` says what is logged, else `default_filter`.
///
/// # Errors
///
/// Every variable that is wrong. A `.env` that cannot be read to its end is an error too: the lines behind the bad one would
/// be missing without a word, and one of them may be what keeps strangers out.
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

/// Opens what one of several processes needs: they can only meet in Redis.
pub async fn open_for_fleet(config: Config) -> Result<Context, ProcessError> {
    if config.redis_url.is_none() {
        return Err(ProcessError::NoRedis);
    }
    Ok(Context::open(config, Clock::system()).await?)
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

/// An error with its causes, for the one line that a person reads.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
