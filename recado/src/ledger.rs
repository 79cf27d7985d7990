//! How the operator's commands reach the ledger.

use recado_systems::SYSTEMS;
use std::io;
use std::path::PathBuf;

use recado_kernel::clock::Clock;
use recado_kernel::config::{Config, ConfigError};
use recado_kernel::process;
use recado_kernel::secret_key;
use recado_kernel::server_urls::DatabaseUrl;
use recado_queue::context::{Context, StartError};
use recado_queue::ring::Queue;

/// The ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the key that `recado up` made cannot be read: {0}")]
    SecretKey(#[source] io::Error),
    #[error("there is no database at {}; `recado up` and `recado migrate` make one, DATABASE_URL and RECADO_HOME say where", .0.display())]
    NoDatabase(PathBuf),
}

/// Reads `.env` and the environment. Commands for people log only what goes wrong; `RUST_LOG` says otherwise.
pub(crate) fn configure() -> Result<Config, ConfigError> {
    process::configure("warn")
}

/// Opens a ledger that exists already, so that a mistyped path is an error and not an empty ledger.
pub(crate) async fn open() -> Result<Context, OpenError> {
    let mut config = configure()?;
    if let Some(path) = embedded_file(&config).filter(|path| !path.exists()) {
        return Err(OpenError::NoDatabase(path));
    }
    // What the programs sealed is read with the key that they use. A command makes none: another host may have it.
    if config.home.join("secret.key").exists() {
        secret_key::ensure(&mut config).map_err(OpenError::SecretKey)?;
    }
    Ok(Context::open(config, Clock::system(), SYSTEMS).await?)
}

/// Says how soon a running `recado up` acts on a change. Its ring is in its own memory, so it reads the ledger in turns.
pub(crate) fn say_when_it_is_noticed(context: &Context) {
    if matches!(context.queue, Queue::Local(_)) {
        eprintln!("A running `recado up` notices within 10 seconds.");
    }
}

/// The file of the embedded database.
pub(crate) fn embedded_file(config: &Config) -> Option<PathBuf> {
    match &config.database_url {
        DatabaseUrl::Sqlite(file) => Some(file.clone()),
        DatabaseUrl::Postgres(_) => None,
    }
}
