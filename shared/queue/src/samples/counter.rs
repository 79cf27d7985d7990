//! What this process has counted and not written yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::db::{self, Db};
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;

use super::{Figures, Sample, floor, write};
use crate::lanes::Lane;

/// How a run of a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    Done,
    /// It goes on later, as it should: it waits for its turn or for a receipt.
    Later,
    /// It goes on later, because something failed.
    Retried,
    Dead,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempted {
    Sent,
    /// It will be tried again.
    Deferred,
    Failed,
}

/// Minutes that cannot be written are kept this long.
const KEPT_FOR: i64 = 60;

/// Lanes and accounts of one minute. Accounts are rows of a table, so their number is not ours to bound.
const MOST_ACCOUNTS: usize = 500;

/// Counts what happens, by minute, lane and account. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Counter(Arc<Inside>);

struct Inside {
    clock: Clock,
    /// Which process counts: rows of two never collide.
    process: String,
    minutes: Mutex<BTreeMap<i64, Minute>>,
    /// One at a time writes.
    writing: tokio::sync::Mutex<()>,
}

type Minute = HashMap<Lane, HashMap<String, Figures>>;

impl Counter {
    pub fn new(clock: Clock) -> Self {
        let id = Id::new(clock.now()).to_string();
        let process = format!("{}-{}", std::process::id(), &id[id.len() - 12..]);
        Self(Arc::new(Inside { clock, process, minutes: Mutex::default(), writing: tokio::sync::Mutex::default() }))
    }

    /// Tasks were written.
    pub fn accepted(&self, lane: Lane, tasks: usize) {
        self.count(lane, "", |figures| figures.accepted += i64::try_from(tasks).unwrap_or(i64::MAX));
    }

    /// A task ran: how long it had been due, and how long it took.
    pub fn ran(&self, lane: Lane, how: Ran, wait: Duration, took: Duration) {
        self.count(lane, "", |figures| {
            match how {
                Ran::Done => figures.done += 1,
                Ran::Later => {}
                Ran::Retried => figures.retried += 1,
                Ran::Dead => figures.dead += 1,
            }
            figures.waits.add(wait);
            figures.runs.add(took);
        });
    }

    /// A message was handed to its provider, or was not.
    pub fn attempted(&self, lane: Lane, account: &str, how: Attempted, took: Duration) {
        self.count(lane, account, |figures| {
            match how {
                Attempted::Sent => figures.sent += 1,
                Attempted::Deferred => figures.deferred += 1,
                Attempted::Failed => figures.failed += 1,
            }
            figures.sends.add(took);
        });
    }

    /// A receipt said that a message arrived.
    pub fn delivered(&self, lane: Lane, account: &str) {
        self.count(lane, account, |figures| figures.delivered += 1);
    }

    /// So much waits in the lane, and the oldest for so long.
    pub fn waits(&self, lane: Lane, depth: i64, oldest: Duration) {
        let oldest = i64::try_from(oldest.as_millis()).unwrap_or(i64::MAX);
        self.count(lane, "", |figures| {
            figures.depth = figures.depth.max(Some(depth));
            figures.oldest_ms = figures.oldest_ms.max(Some(oldest));
        });
    }

    fn count(&self, lane: Lane, account: &str, change: impl FnOnce(&mut Figures)) {
        let mut minutes = self.minutes();
        // Looked at under the lock: nothing is counted in a minute that was just written.
        let minute = minute_of(self.0.clock.now());
        let accounts = minutes.entry(minute).or_default().entry(lane).or_default();
        let name = if accounts.len() < MOST_ACCOUNTS || accounts.contains_key(account) { account } else { "…" };
        match accounts.get_mut(name) {
            Some(figures) => change(figures),
            None => change(accounts.entry(name.to_owned()).or_default()),
        }
    }

    fn minutes(&self) -> MutexGuard<'_, BTreeMap<i64, Minute>> {
        self.0.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was counted in the minutes that are over; in the one that is under way too when this is the last word.
    ///
    /// # Errors
    /// When the database does not do its part. What was counted is kept, and written the next time.
    pub async fn write(&self, db: &Db, is_last: bool) -> db::Result<()> {
        let _writing = self.0.writing.lock().await;
        let current = minute_of(self.0.clock.now());
        let samples = self.samples(if is_last { current } else { current - 1 });
        if !samples.is_empty() {
            let mut session = db.write().await?;
            write(&mut session, &samples).await?;
            session.commit().await?;
        }
        // Of the minute that is under way more may come: then its rows are written once more, as a whole.
        self.minutes().retain(|minute, _| *minute >= current);
        Ok(())
    }

    /// [`write`](Self::write) for a loop: an error is logged, and what has been waiting for too long is forgotten.
    pub async fn write_or_keep(&self, db: &Db, is_last: bool) {
        if let Err(error) = self.write(db, is_last).await {
            let oldest = minute_of(self.0.clock.now()) - KEPT_FOR;
            self.minutes().retain(|minute, _| *minute >= oldest);
            tracing::debug!(error = %explain(&error), "what was counted is written later");
        }
    }

    fn samples(&self, until: i64) -> Vec<Sample> {
        let minutes = self.minutes();
        let mut samples = Vec::new();
        for (minute, lanes) in minutes.range(..=until) {
            for (lane, accounts) in lanes {
                samples.extend(accounts.iter().map(|(account, figures)| Sample {
                    at: Timestamp::from_micros(minute * 60_000_000),
                    minutes: 1,
                    lane: lane.as_str().to_owned(),
                    account: account.clone(),
                    process: self.0.process.clone(),
                    figures: figures.clone(),
                }));
            }
        }
        samples
    }
}

fn minute_of(at: Timestamp) -> i64 {
    floor(at, 1).as_micros() / 60_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::SYNC;

    #[test]
    fn what_happens_is_counted_in_its_minute() {
        let clock = Clock::manual(Timestamp::from_micros(600_000_000));
        let counter = Counter::new(clock.clone());
        counter.accepted(SYNC, 3);
        counter.ran(SYNC, Ran::Retried, Duration::from_millis(7), Duration::from_millis(70));
        clock.advance(Duration::from_secs(60));
        counter.attempted(SYNC, "env", Attempted::Sent, Duration::from_millis(7));
        assert_eq!(counter.samples(10).len(), 1);
        let both = counter.samples(11);
        assert_eq!((both.len(), both[0].figures.accepted, both[0].figures.retried), (2, 3, 1));
        assert_eq!((both[1].account.as_str(), both[1].figures.sent), ("env", 1));
    }

    #[test]
    fn memory_is_bounded_whatever_accounts_are_called() {
        let counter = Counter::new(Clock::manual(Timestamp::from_micros(0)));
        for number in 0..2 * MOST_ACCOUNTS {
            counter.delivered(SYNC, &number.to_string());
        }
        let samples = counter.samples(0);
        assert_eq!(samples.len(), MOST_ACCOUNTS + 1);
        assert_eq!(samples.iter().map(|one| one.figures.delivered).sum::<i64>(), 2 * MOST_ACCOUNTS as i64);
    }
}
