//! What every part of the program holds: the configuration, the database, the queue, the clock, and the systems.

use std::sync::Arc;
use std::time::Duration;

use recado_kernel::clock::Clock;
use recado_kernel::config::{Config, ConfigError};
use recado_kernel::db::{self, Db};
use recado_kernel::errors::explain;
use recado_kernel::health::Health;
use recado_kernel::secret_key;

use crate::ring::{Queue, QueueError, Ring};
use crate::samples::Counter;
use crate::systems::Systems;

/// More often than a heartbeat at the usual lease: what a worker writes about its leases is of the time that a scheduler knows.
const FOLLOW_TIME_EVERY: Duration = Duration::from_secs(5);

/// What is counted of a minute is written when it is over, up to this much later: not by all processes at the same second.
const WRITE_SAMPLES_EVERY: Duration = Duration::from_secs(60);

/// How long a process that stops tries to write what it counted last.
const LAST_SAMPLES_WITHIN: Duration = Duration::from_secs(3);

/// Cheap to clone; all clones are the same thing.
#[derive(Clone)]
pub struct Context {
    pub config: Arc<Config>,
    pub db: Db,
    pub queue: Queue,
    pub clock: Clock,
    pub systems: Systems,
    /// Of this process; for those that serve no requests.
    pub health: Health,
    /// What happens in this process, by the minute.
    pub samples: Counter,
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
        let (health, samples) = (Health::default(), Counter::new(clock.clone()));
        let context = Self { config: Arc::new(config), db, queue, clock, systems, health, samples };
        context.follow_time().await?;
        if !context.clock.is_manual() {
            tokio::spawn(context.clone().keep_following_time());
            tokio::spawn(context.clone().keep_writing_samples());
        }
        Ok(context)
    }

    /// Has the clock say what the database's says. Hosts need not agree on the time then: there is one.
    ///
    /// # Errors
    /// When the database cannot be asked; the clock goes on by itself.
    pub async fn follow_time(&self) -> db::Result<()> {
        if self.clock.is_manual() {
            return Ok(());
        }
        let asked = self.clock.elapsed();
        let answered = self.db.now().await?;
        // It said so some time between the question and now.
        let uncertainty = self.clock.elapsed().saturating_sub(asked) / 2;
        if let Some(jump) = self.clock.follow(answered + uncertainty, uncertainty) {
            let seconds = jump.as_secs();
            tracing::warn!(jump_s = seconds, "the database's clock has jumped by {seconds} s; ours follows");
        }
        Ok(())
    }

    async fn keep_following_time(self) {
        while !self.db.is_closed() {
            tokio::time::sleep(FOLLOW_TIME_EVERY).await;
            if let Err(error) = self.follow_time().await {
                tracing::debug!(error = %explain(&error), "the database does not tell its time; ours goes on");
            }
        }
    }

    async fn keep_writing_samples(self) {
        while !self.db.is_closed() {
            tokio::time::sleep(WRITE_SAMPLES_EVERY).await;
            self.samples.write_or_keep(&self.db, false).await;
        }
    }

    /// The end of a process that served no worker to the end: the last minute is written, then the database is closed.
    pub async fn close(&self) {
        let last = self.samples.write_or_keep(&self.db, true);
        // What was counted is worth no longer wait: the database may be why we stop.
        let _ = tokio::time::timeout(LAST_SAMPLES_WITHIN, last).await;
        self.db.close().await;
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
        let context = Self::open(config, Clock::system(), systems).await?;
        context.greet_queue().await?;
        Ok(context)
    }

    /// Asks Redis for a first answer. One that is away may come later, and is waited for: the ledger has what is to be rung. One
    /// that refuses us will go on refusing, while everything looks well.
    async fn greet_queue(&self) -> Result<(), StartError> {
        match self.queue.can_write().await {
            Ok(_) => Ok(()),
            Err(error) if error.is_refusal() => Err(error.into()),
            Err(error) => {
                let error = explain(&error);
                tracing::warn!(error, "Redis does not answer, work waits until it does: {error}");
                Ok(())
            }
        }
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
