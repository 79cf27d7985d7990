//! What every part of the program holds: the configuration, the database, the queue, the clock, and the systems.

use std::sync::Arc;

use recado_kernel::clock::Clock;
use recado_kernel::config::{Config, ConfigError};
use recado_kernel::db::Db;
use recado_kernel::errors::explain;
use recado_kernel::secret_key;

use crate::ring::{Queue, QueueError, Ring};
use crate::systems::Systems;

/// Cheap to clone; all clones are the same thing.
#[derive(Clone)]
pub struct Context {
    pub config: Arc<Config>,
    pub db: Db,
    pub queue: Queue,
    pub clock: Clock,
    pub systems: Systems,
}

/// The program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the database cannot be opened; look at DATABASE_URL")]
    Database(#[from] sqlx::Error),
    #[error("the database cannot be migrated")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("SECRET_KEY is not set, and none can be kept in RECADO_HOME")]
    SecretKey(#[source] std::io::Error),
    #[error("REDIS_URL cannot be used")]
    Queue(#[from] QueueError),
    #[error(
        "REDIS_URL is not set. The queue would live in this process, where no other could reach it: set REDIS_URL, or run `recado up`, which holds everything in one process"
    )]
    NoRedis,
}

impl Context {
    pub async fn open(config: Config, clock: Clock, systems: Systems) -> Result<Self, StartError> {
        let db = Db::connect(&config).await?;
        let queue = Queue::connect(&config, &clock, systems.lanes()).await?;
        Ok(Self { config: Arc::new(config), db, queue, clock, systems })
    }

    /// Opens what one of several processes needs: they can only meet in Redis.
    pub async fn open_for_fleet(mut config: Config, systems: Systems) -> Result<Self, StartError> {
        if config.redis_url.is_none() {
            return Err(StartError::NoRedis);
        }
        if config.secret_key.is_none() {
            secret_key::ensure(&mut config).map_err(StartError::SecretKey)?;
            tracing::warn!(
                "SECRET_KEY is not set: secrets are sealed with the key in RECADO_HOME, which only this host has"
            );
        }
        Self::open(config, Clock::system(), systems).await
    }

    /// Rings after a commit. An error is not returned to the caller: what is not rung now, the scheduler rings a few seconds later.
    pub async fn ring(&self, rings: &[Ring]) {
        if let Err(error) = self.queue.ring(rings).await {
            let error = explain(&error);
            metrics::counter!("recado_rings_lost_total").increment(rings.len() as u64);
            tracing::warn!(error, rings = rings.len(), "{} tasks are not rung yet: {error}", rings.len());
        }
    }
}
