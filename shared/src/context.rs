//! What every part of the program holds: the database, the queue, the clock, and the configuration.

use std::sync::Arc;

use crate::catalogue;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::process::explain;
use crate::queue::{Queue, QueueError, Ring};

/// Cheap to clone; all clones are the same thing.
#[derive(Clone)]
pub struct Context {
    pub config: Arc<Config>,
    pub db: Db,
    pub queue: Queue,
    pub clock: Clock,
    pub catalogue: catalogue::Cache,
}

/// The program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database cannot be opened; look at DATABASE_URL")]
    Database(#[from] sqlx::Error),
    #[error("the database cannot be migrated")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("REDIS_URL cannot be used")]
    Queue(#[from] QueueError),
}

impl Context {
    pub async fn open(config: Config, clock: Clock) -> Result<Self, StartError> {
        let db = Db::connect(&config).await?;
        let queue = Queue::connect(&config, &clock).await?;
        let catalogue = catalogue::Cache::new(config.template_strict_case);
        Ok(Self { config: Arc::new(config), db, queue, clock, catalogue })
    }

    /// Rings after a commit. Trouble is not the caller's: what is not rung now, the scheduler rings a few seconds later.
    pub async fn ring(&self, rings: &[Ring]) {
        if let Err(error) = self.queue.ring(rings).await {
            let error = explain(&error);
            metrics::counter!("recado_rings_lost_total").increment(rings.len() as u64);
            tracing::warn!(error, rings = rings.len(), "{} tasks are not rung yet: {error}", rings.len());
        }
    }
}
