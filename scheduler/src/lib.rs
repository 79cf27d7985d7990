//! When things happen: recurring work, tasks that become due, and the recovery of what others lost.
//!
//! The scheduler only enqueues and rings. Any number of them may run at once without a leader: they pass over each other's
//! rows (`for update skip locked`), and a tick of a schedule has a unique key.

pub mod cli;
mod sweep;

use std::time::Duration;

use recado_kernel::db;
use recado_kernel::errors;
use recado_queue::context::Context;
use tokio_util::sync::CancellationToken;

use crate::sweep::Sweeper;
pub use crate::sweep::Swept;

/// The shortest pause between two passes: what becomes due within it is promoted together.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// After trouble with the database: 1 s, 2 s, 4 s, … up to this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// How often the scheduler does what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// The longest pause between two looks at what is due. A task that is written while the scheduler waits is at most
    /// this late.
    pub longest_wait: Duration,
    /// Between two looks for lost leases and lost rings.
    pub recover: Duration,
    /// Between two clearances of workers that are gone.
    pub forget_workers: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            longest_wait: Duration::from_secs(1),
            recover: Duration::from_secs(5),
            forget_workers: Duration::from_secs(600),
        }
    }
}

impl Intervals {
    /// The defaults, but looking often enough that a first retry after `retry_base` is not late by more than half of it.
    pub fn punctual_for(retry_base: Duration) -> Self {
        let defaults = Self::default();
        Self { longest_wait: (retry_base / 2).clamp(SHORTEST_WAIT, defaults.longest_wait), ..defaults }
    }
}

/// Schedules until told to stop. An error is logged and waited out; it never ends the loop.
pub async fn run(context: Context, stop: CancellationToken) {
    let intervals = Intervals::punctual_for(context.config.retry.base);
    run_with(context, intervals, stop).await;
}

/// [`run`] with intervals of your own.
pub async fn run_with(context: Context, intervals: Intervals, stop: CancellationToken) {
    tracing::info!("the scheduler is running");
    let mut sweeper = Sweeper::new(context, intervals);
    let mut backoff = Duration::from_secs(1);
    // A pass that is dropped half-way loses nothing: its transaction is rolled back, or its rings are found lost later.
    while let Some(pass) = stop.run_until_cancelled(sweeper.pass()).await {
        let wait = match pass {
            Ok(wait) => {
                backoff = Duration::from_secs(1);
                wait
            }
            Err(error) => {
                metrics::counter!("recado_scheduler_errors_total").increment(1);
                let reason = errors::explain(&error);
                tracing::error!(error = %reason, "the scheduler waits {} s: {reason}", backoff.as_secs());
                let wait = backoff;
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
                wait
            }
        };
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            break;
        }
    }
    tracing::info!("the scheduler has stopped");
}

/// One pass over everything, whether its interval has passed or not.
///
/// # Errors
/// When the database does not do its part. An error of the queue is waited out: the ledger knows what was to be rung.
pub async fn sweep(context: &Context) -> db::Result<Swept> {
    Sweeper::new(context.clone(), Intervals::default()).everything().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_looks_often_enough_for_the_shortest_retry() {
        let longest_wait = |base| Intervals::punctual_for(base).longest_wait;
        assert_eq!(longest_wait(Duration::from_secs(60)), Duration::from_secs(1));
        assert_eq!(longest_wait(Duration::from_millis(200)), Duration::from_millis(100));
        assert_eq!(longest_wait(Duration::from_millis(1)), SHORTEST_WAIT);
    }
}
