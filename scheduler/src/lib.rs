//! When things happen: recurring work, tasks that become due, and the recovery of what others lost.
//!
//! The scheduler runs no job and calls no provider: it moves rows and rings. Any number of them may run at once without a
//! leader: they pass over each other's rows (`for update skip locked`), and a tick of a schedule has a unique key.

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

/// After trouble with the database: 1 s, 2 s, 4 s, … up to this. What is due waits for it.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// What a scheduler is healthy by, and how long that may take.
const PASS: (&str, Duration) = ("pass", Duration::from_secs(30));

/// How long a pass that is under way may take when the scheduler stops.
const LAST_PASS_WITHIN: Duration = Duration::from_secs(3);

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
    let health = context.health.clone();
    let (pass, within) = PASS;
    health.expect(pass, within);
    let mut sweeper = Sweeper::new(context, intervals);
    let mut backoff = Duration::from_secs(1);
    while let Some(ended) = finish(sweeper.pass(), &stop).await {
        let wait = match ended {
            Ok(wait) => {
                health.done(pass);
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
    health.forget(pass);
    tracing::info!("the scheduler has stopped");
}

/// A pass that a stop finds half-way is seen through: between a commit and its rings it would leave tasks that no worker hears of
/// for a while. `None` when the stop came, or when it takes too long.
async fn finish<T>(pass: impl Future<Output = T>, stop: &CancellationToken) -> Option<T> {
    let mut pass = std::pin::pin!(pass);
    if stop.is_cancelled() {
        return None;
    }
    match stop.run_until_cancelled(&mut pass).await {
        None => tokio::time::timeout(LAST_PASS_WITHIN, pass).await.ok(),
        ended => ended,
    }
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
