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

/// How long a delivery waits in its worker for room at an endpoint that answers quickly: postponing it would cost more than the
/// requests before it take. One whose requests take longer gets none of the worker's places to wait in.
const PATIENCE: Duration = Duration::from_millis(250);

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
    /// When a request last began or ended.
    moved_at: Option<Instant>,
    /// Where a rate is set: when the requests so far would have gone if they had been spread evenly.
    spread_until: Option<Timestamp>,
}

/// A request that is under way. Room for another comes when it is dropped.
pub(super) struct Entered {
    gate: Arc<Gate>,
}

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
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = gate.left.notified();
            tokio::pin!(left);
            // Registered before the look, so that one who leaves in between is not missed.
            left.as_mut().enable();
            match lock(&gate.state).enter(endpoint, now) {
                Ok(()) => return Ok(Entered { gate: gate.clone() }),
                Err(NoRoom::TooFast(wait)) => return Err(wait),
                Err(NoRoom::Full) => {}
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
        // While it is not known to answer again, one request at a time is the probe.
        let is_probe = endpoint.health.consecutive_failures >= FAILURES_UNTIL_OPEN;
        let room = if is_probe { 1 } else { endpoint.concurrency.max(1) as usize };
        if self.under_way >= room {
            return Err(NoRoom::Full);
        }
        if let Some(rate) = endpoint.rate_per_minute {
            let ahead = self.spread_until.unwrap_or(now).since(now);
            if ahead > BURST {
                return Err(NoRoom::TooFast(ahead - BURST));
            }
            self.spread_until = Some(now + ahead + Duration::from_secs(60) / rate.max(1).unsigned_abs());
        }
        self.under_way += 1;
        self.moved_at = Some(Instant::now());
        Ok(())
    }

    /// Whether a place is likely to come free soon.
    fn is_quick(&self) -> bool {
        self.moved_at.is_some_and(|moved| moved.elapsed() < PATIENCE)
    }

    fn is_ahead(&self, now: Timestamp) -> bool {
        self.spread_until.is_some_and(|until| now < until)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = lock(&self.gate.state);
        state.under_way -= 1;
        state.moved_at = Some(Instant::now());
        drop(state);
        self.gate.left.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
