//! What cannot be seen from inside a request: whether work can be written and rung, and how much waits. Asked for at most every
//! few seconds, by one reader for all.

use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use recado_conversations::sessions::{self, BRIDGE};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Outage};
use recado_kernel::errors::explain;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::tasks::{self, Count, State};
use recado_webhooks::endpoints::{self, Circuit};
use recado_webhooks::labels;

use crate::sampled::Sampled;

/// How long a check may take: a probe wants an answer soon.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// A check that writes is made at most so often, however many ask.
const WRITE_EVERY: Duration = Duration::from_secs(2);

/// Figures are as old as this at most, unless counting takes long.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// What a dispatch is written into.
const WRITTEN: [&str; 2] = ["tasks", "notifications"];

/// The checks of a process.
pub(crate) struct Checks {
    context: Context,
    database: Sampled<Result<(), Outage>>,
    queue: Sampled<Result<(), String>>,
    figures: Sampled<Arc<Figures>>,
    whatsapp: Sampled<Option<bool>>,
    queue_lost_at: Mutex<Option<Instant>>,
}

/// How much waits. What could not be asked is not there.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) tasks: Option<Vec<Count>>,
    pub(crate) depths: Option<Vec<(Lane, u64)>>,
    pub(crate) circuits: Option<Vec<Circuit>>,
}

impl Figures {
    /// For how long the oldest task that is queued has been due.
    pub(crate) fn oldest_queued(&self, now: Timestamp) -> Duration {
        let queued = self.tasks.iter().flatten().filter(|count| count.state == State::Queued);
        queued.filter_map(|count| count.oldest).min().map_or(Duration::ZERO, |oldest| now.since(oldest))
    }
}

impl Checks {
    pub(crate) fn new(context: Context) -> Self {
        let clock = &context.clock;
        Self {
            database: Sampled::every(WRITE_EVERY, clock),
            queue: Sampled::every(WRITE_EVERY, clock),
            figures: Sampled::every(COUNT_EVERY, clock),
            whatsapp: Sampled::when_costly(clock),
            queue_lost_at: Mutex::default(),
            context,
        }
    }

    /// Whether a dispatch can be written.
    pub(crate) async fn database(&self) -> Result<(), Outage> {
        if let Some(outcome) = self.context.db.last_write() {
            return outcome;
        }
        let write = async {
            let written = self.context.db.can_write(&WRITTEN, self.context.clock.now());
            tokio::time::timeout(CHECK_TIMEOUT, written).await.unwrap_or(Err(Outage::Unavailable))
        };
        self.database.get(write).await
    }

    /// Whether tasks can be rung.
    pub(crate) async fn queue(&self) -> Result<(), String> {
        let writing = async { self.context.queue.can_write().await.map(drop) };
        self.queue.get(check(writing)).await
    }

    /// For how long the queue has not been there, as far as anybody has asked.
    pub(crate) fn queue_lost_for(&self, is_there: bool) -> Duration {
        let mut lost_at = self.queue_lost_at.lock().unwrap_or_else(PoisonError::into_inner);
        if is_there {
            *lost_at = None;
            return Duration::ZERO;
        }
        lost_at.get_or_insert_with(Instant::now).elapsed()
    }

    /// Whether a message would leave through the WhatsApp bridge, as far as is known. `None`: it could not be asked.
    pub(crate) async fn whatsapp(&self) -> Option<bool> {
        let ask = async {
            let asked = async {
                sessions::is_connected(&mut self.context.db.read().await?, BRIDGE, self.context.clock.now()).await
            };
            asked
                .await
                .inspect_err(|error| tracing::warn!(%error, "the WhatsApp session could not be read: {error}"))
                .ok()
        };
        self.whatsapp.get(ask).await
    }

    /// How much waits.
    pub(crate) async fn figures(&self) -> Arc<Figures> {
        self.figures.get(self.count()).await
    }

    async fn count(&self) -> Arc<Figures> {
        let tasks = self.count_tasks().await;
        let tasks = tasks.inspect_err(|error| tracing::warn!(%error, "tasks could not be counted: {error}"));
        let depths = check(self.context.queue.depths()).await;
        let circuits = self.circuits().await;
        let circuits = circuits.inspect_err(|error| tracing::warn!(%error, "endpoints could not be read: {error}"));
        Arc::new(Figures { tasks: tasks.ok(), depths: depths.ok(), circuits: circuits.ok() })
    }

    async fn circuits(&self) -> db::Result<Vec<Circuit>> {
        endpoints::circuits(&mut self.context.db.read().await?, labels::MOST as i64).await
    }

    async fn count_tasks(&self) -> db::Result<Vec<Count>> {
        tasks::count_unfinished(&mut self.context.db.read().await?, &self.context.systems.lanes()).await
    }
}

/// Asks, within a time limit. The error is public, so it names no cause; the cause is in the log.
pub(crate) async fn check<T, E: Error>(asking: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    check_within(CHECK_TIMEOUT, asking).await
}

async fn check_within<T, E: Error>(limit: Duration, asking: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(limit, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a health check failed: {}", explain(&error));
            Err("no responde como debe; la causa está en el registro del servicio".to_owned())
        }
        Err(_) => Err(format!("no responde en {} s", limit.as_secs_f64())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_tells_no_secrets() {
        let failing = async { Err::<(), _>(std::io::Error::other("password=hunter2")) };
        let error = check(failing).await.expect_err("it failed");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn a_check_does_not_wait_for_ever() {
        let silent = std::future::pending::<Result<(), std::io::Error>>();
        let error = check_within(Duration::from_millis(1), silent).await.expect_err("silent");
        assert_eq!(error, "no responde en 0.001 s");
    }
}
