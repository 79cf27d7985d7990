//! How many requests an endpoint gets at a time, and how many per minute. Per worker: a slow endpoint holds up its own
//! deliveries and no others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_webhooks::endpoints::Endpoint;
use recado_webhooks::health::FAILURES_UNTIL_OPEN;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Gates of endpoints that have none of their requests under way are forgotten beyond this number.
const MOST_IDLE: usize = 1_000;

/// How long a delivery may expect to wait in its worker for room at an endpoint: postponing it would cost more than the requests
/// before it take. Beyond it would hold one of the worker's places, in which deliveries to others could go out.
const WORTH_WAITING: Duration = Duration::from_millis(50);

/// How long it waits when it takes longer than was expected.
const ROOM_TIMEOUT: Duration = Duration::from_millis(250);

/// The part of the last request in how long one usually takes.
const WEIGHT_OF_THE_LAST: f64 = 0.25;

/// How long a delivery is postponed that found no room.
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// How far ahead of its rate an endpoint may be: requests that come together need not be spread.
const BURST: Duration = Duration::from_secs(10);

/// The gates of all endpoints.
#[derive(Default)]
pub(super) struct Gates {
    open: Mutex<HashMap<Id, Arc<Gate>>>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    /// Somebody left.
    left: Notify,
}

#[derive(Default)]
struct State {
    under_way: usize,
    /// Deliveries that wait for room.
    waiting: usize,
    /// When a request last began or ended.
    moved_at: Option<Instant>,
    /// How long a request takes lately; `None` until one has ended.
    usual: Option<Duration>,
    /// Where a rate is set: when the requests so far would have gone if they had been spread evenly.
    spread_until: Option<Timestamp>,
}

/// A request that is under way. Room for another comes when it is dropped.
pub(super) struct Entered {
    gate: Arc<Gate>,
    began: Instant,
}

/// A delivery that waits for room, and is counted while it does.
struct Waiting<'g>(&'g Gate);

/// Why a request may not go now.
enum NoRoom {
    Full,
    /// Too many have gone lately; the wait until this one may.
    TooFast(Duration),
}

impl Gates {
    /// Lets a request through, soon if not at once, or says how long it is to be postponed.
    pub(super) async fn enter(&self, endpoint: &Endpoint, now: Timestamp) -> Result<Entered, Duration> {
        let gate = self.gate(endpoint.id, now);
        let deadline = Instant::now() + ROOM_TIMEOUT;
        let mut waiting = None;
        loop {
            let left = gate.left.notified();
            tokio::pin!(left);
            // Registered before the look, so that one who leaves in between is not missed.
            left.as_mut().enable();
            match lock(&gate.state).enter(endpoint, now) {
                Ok(()) => return Ok(Entered { gate: gate.clone(), began: Instant::now() }),
                Err(NoRoom::TooFast(wait)) => return Err(wait),
                Err(NoRoom::Full) => {}
            }
            if waiting.is_none() {
                waiting = Some(Waiting::begin(&gate, room(endpoint)).ok_or(BUSY_WAIT)?);
            }
            if !lock(&gate.state).is_quick() || timeout_at(deadline, left).await.is_err() {
                return Err(BUSY_WAIT);
            }
        }
    }

    fn gate(&self, endpoint: Id, now: Timestamp) -> Arc<Gate> {
        let mut open = lock(&self.open);
        if open.len() > MOST_IDLE {
            // One that somebody holds is in use: its count must stay one count.
            open.retain(|_, gate| Arc::strong_count(gate) > 1 || lock(&gate.state).is_ahead(now));
        }
        open.entry(endpoint).or_default().clone()
    }
}

impl State {
    fn enter(&mut self, endpoint: &Endpoint, now: Timestamp) -> Result<(), NoRoom> {
        if self.under_way >= room(endpoint) {
            return Err(NoRoom::Full);
        }
        if let Some(rate) = endpoint.rate_per_minute {
            let ahead = self.spread_until.unwrap_or(now).since(now);
            if ahead > BURST {
                return Err(NoRoom::TooFast(ahead.saturating_sub(BURST)));
            }
            self.spread_until = Some(now + ahead + Duration::from_secs(60) / rate.max(1).unsigned_abs());
        }
        self.under_way += 1;
        self.moved_at = Some(Instant::now());
        Ok(())
    }

    /// Whether a place is likely to come free soon.
    fn is_quick(&self) -> bool {
        self.moved_at.is_some_and(|moved| moved.elapsed() < ROOM_TIMEOUT)
    }

    /// Whether one more may wait where so many requests run at a time: those that wait come before it.
    fn is_worth_waiting(&self, room: usize) -> bool {
        let before = (self.waiting + 1) as f64 / room as f64;
        self.usual.is_none_or(|usual| usual.mul_f64(before) <= WORTH_WAITING)
    }

    fn took(&mut self, duration: Duration) {
        let usual = self
            .usual
            .map_or(duration, |usual| usual.mul_f64(1.0 - WEIGHT_OF_THE_LAST) + duration.mul_f64(WEIGHT_OF_THE_LAST));
        self.usual = Some(usual);
    }

    fn is_ahead(&self, now: Timestamp) -> bool {
        self.spread_until.is_some_and(|until| now < until)
    }
}

/// How many requests an endpoint gets at a time. While it is not known to answer again, one is the probe.
fn room(endpoint: &Endpoint) -> usize {
    let is_probe = endpoint.health.consecutive_failures >= FAILURES_UNTIL_OPEN;
    if is_probe { 1 } else { endpoint.concurrency.max(1) as usize }
}

impl<'g> Waiting<'g> {
    /// `None`: it would take too long.
    fn begin(gate: &'g Gate, room: usize) -> Option<Self> {
        let mut state = lock(&gate.state);
        state.is_worth_waiting(room).then(|| {
            state.waiting += 1;
            Self(gate)
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).waiting -= 1;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = lock(&self.gate.state);
        state.under_way -= 1;
        state.moved_at = Some(now);
        state.took(now.saturating_duration_since(self.began));
        drop(state);
        self.gate.left.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_wait_for_a_slow_endpoint_and_many_for_a_quick_one() {
        for (usual, room, waiters) in [(1, 8, 399), (100, 8, 4), (100, 1, 0), (49, 1, 1), (2_000, 8, 0)] {
            let mut state = State { usual: Some(Duration::from_millis(usual)), ..State::default() };
            while state.waiting < 399 && state.is_worth_waiting(room) {
                state.waiting += 1;
            }
            assert_eq!(state.waiting, waiters, "{usual} ms, {room} at a time");
        }
        assert!(State::default().is_worth_waiting(1), "nothing is known yet");
    }

    #[test]
    fn an_endpoint_that_becomes_slow_is_known_soon() {
        let mut state = State::default();
        state.took(Duration::from_millis(1));
        assert!(state.is_worth_waiting(1));
        state.took(Duration::from_millis(400));
        assert!(!state.is_worth_waiting(1));
    }
}
