//! What every stand-in has: the messages that reached it, and the faults it has been told to have.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use crate::faults::{Fault, Faults, Rule};

/// How many messages a stand-in keeps unless told otherwise. Older ones make room, so that a sandbox that runs for a
/// month, or under a benchmark, does not fill the memory.
pub const KEEP: usize = 10_000;

/// The messages of one provider, and its faults. [`Smtp`](crate::Smtp), [`Evolution`](crate::Evolution) and
/// [`Push`](crate::Push) all dereference to it.
#[derive(Debug)]
pub struct StandIn<M, F> {
    arrivals: Mutex<Arrivals<M>>,
    arrived: Notify,
    faults: Mutex<Faults<F>>,
}

/// A message and its place among everything that arrived in this process, on all channels.
#[derive(Debug, Clone)]
pub(crate) struct Arrival<M> {
    pub(crate) order: u64,
    pub(crate) message: M,
}

#[derive(Debug)]
struct Arrivals<M> {
    kept: VecDeque<Arrival<M>>,
    keep: usize,
    /// Includes those that had to make room.
    total: usize,
}

impl<M: Clone, F: Fault> StandIn<M, F> {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            arrivals: Mutex::new(Arrivals { kept: VecDeque::new(), keep, total: 0 }),
            arrived: Notify::new(),
            faults: Mutex::new(Faults::default()),
        }
    }

    /// The messages that arrived and were accepted since the start or the last [`clear`](Self::clear), oldest first.
    pub fn messages(&self) -> Vec<M> {
        let arrivals = lock(&self.arrivals);
        arrivals.kept.iter().map(|arrival| arrival.message.clone()).collect()
    }

    /// How many messages arrived since the start or the last [`clear`](Self::clear), including those that are no
    /// longer kept.
    pub fn received(&self) -> usize {
        lock(&self.arrivals).total
    }

    /// Waits until at least `n` messages have arrived since the start or the last [`clear`](Self::clear), and returns
    /// them. After `timeout` it returns what there is, so that an assertion on it shows what was missing.
    pub async fn wait_for(&self, n: usize, timeout: Duration) -> Vec<M> {
        let deadline = Instant::now() + timeout;
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // Registered before the look at the count, so that an arrival in between is not missed.
            arrived.as_mut().enable();
            if self.received() >= n || tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return self.messages();
            }
        }
    }

    /// Forgets the messages; the faults stay.
    pub fn clear(&self) {
        let mut arrivals = lock(&self.arrivals);
        arrivals.kept.clear();
        arrivals.total = 0;
    }

    /// Misbehaves for all recipients, until told to [`behave`](Self::behave).
    pub fn misbehave(&self, fault: F) {
        self.plan(Rule::always(fault));
    }

    /// Misbehaves for all recipients on the next `times` occasions.
    pub fn misbehave_times(&self, fault: F, times: u32) {
        self.plan(Rule::always(fault).times(times));
    }

    /// Misbehaves for one recipient only, until told to [`behave`](Self::behave).
    pub fn misbehave_for(&self, recipient: &str, fault: F) {
        self.plan(Rule::always(fault).only(recipient));
    }

    /// Adds a rule in the place of the previous one about the same recipient.
    pub fn plan(&self, rule: Rule<F>) {
        lock(&self.faults).plan(rule);
    }

    /// Ends all faults.
    pub fn behave(&self) {
        lock(&self.faults).behave();
    }

    /// The faults that still apply.
    pub fn rules(&self) -> Vec<Rule<F>> {
        lock(&self.faults).rules()
    }

    pub(crate) fn record(&self, message: M) {
        let mut arrivals = lock(&self.arrivals);
        if arrivals.keep > 0 && arrivals.kept.len() >= arrivals.keep {
            arrivals.kept.pop_front();
        }
        arrivals.total += 1;
        if arrivals.keep > 0 {
            arrivals.kept.push_back(Arrival { order: next_order(), message });
        }
        drop(arrivals);
        self.arrived.notify_waiters();
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival<M>> {
        lock(&self.arrivals).kept.iter().cloned().collect()
    }

    /// Changes the newest kept message that `which` matches, and returns what `change` returned.
    pub(crate) fn update<R>(&self, which: impl Fn(&M) -> bool, change: impl FnOnce(&mut M) -> R) -> Option<R> {
        let mut arrivals = lock(&self.arrivals);
        let found = arrivals.kept.iter_mut().rev().find(|arrival| which(&arrival.message))?;
        Some(change(&mut found.message))
    }

    pub(crate) fn take_fault(&self, subjects: &[&str], applies: impl Fn(&Rule<F>) -> bool) -> Option<F> {
        lock(&self.faults).take(subjects, applies)
    }

    pub(crate) fn peek_fault(&self, subjects: &[&str], applies: impl Fn(&Rule<F>) -> bool) -> Option<F> {
        lock(&self.faults).peek(subjects, applies)
    }
}

/// The provider's clock.
#[expect(clippy::disallowed_methods, reason = "a provider has a clock of its own, which tests cannot move")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// An id of the provider.
#[expect(
    clippy::disallowed_methods,
    reason = "a provider's ids are opaque: its clients must not read a time out of them"
)]
pub(crate) fn new_id() -> Uuid {
    Uuid::new_v4()
}

/// A panic elsewhere does not make the messages wrong, so a poisoned lock is still good to use.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next_order() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Clone, Serialize, Deserialize)]
    struct NoFault;

    impl Fault for NoFault {
        fn subject(raw: &str) -> String {
            raw.to_owned()
        }

        fn check(&self) -> Result<(), String> {
            Ok(())
        }
    }

    fn stand_in(keep: usize) -> Arc<StandIn<u32, NoFault>> {
        Arc::new(StandIn::new(keep))
    }

    #[test]
    fn the_oldest_messages_make_room() {
        let stand_in = stand_in(3);
        for message in 0..5 {
            stand_in.record(message);
        }
        assert_eq!(stand_in.messages(), [2, 3, 4]);
        assert_eq!(stand_in.received(), 5);
        stand_in.clear();
        assert_eq!((stand_in.messages(), stand_in.received()), (vec![], 0));
    }

    #[test]
    fn a_stand_in_may_only_count() {
        let stand_in = stand_in(0);
        stand_in.record(7);
        assert_eq!((stand_in.messages(), stand_in.received()), (vec![], 1));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_message_that_was_missing() {
        let stand_in = stand_in(KEEP);
        stand_in.record(1);
        let waiting = tokio::spawn({
            let stand_in = Arc::clone(&stand_in);
            async move { stand_in.wait_for(2, Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        stand_in.record(2);
        assert_eq!(waiting.await.expect("no panic"), [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_gives_up_with_what_there_is() {
        let stand_in = stand_in(KEEP);
        stand_in.record(1);
        assert_eq!(stand_in.wait_for(2, Duration::from_secs(5)).await, [1]);
    }

    #[test]
    fn the_order_of_arrival_holds_across_stand_ins() {
        let (one, other) = (stand_in(KEEP), stand_in(KEEP));
        one.record(1);
        other.record(2);
        one.record(3);
        let (one, other) = (one.arrivals(), other.arrivals());
        assert!(one[0].order < other[0].order && other[0].order < one[1].order);
    }
}
