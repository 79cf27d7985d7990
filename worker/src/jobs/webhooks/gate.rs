//! How many requests an endpoint gets at a time, and how many per minute. Per worker: a slow endpoint holds up its own
//! deliveries and no others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_webhooks::endpoints::Endpoint;
use recado_webhooks::health::FAILURES_UNTIL_OPEN;

/// Gates of endpoints that have none of their requests under way are forgotten beyond this number.
const MOST_IDLE: usize = 1_000;

/// How long a delivery waits that found no room.
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// How far ahead of its rate an endpoint may be: requests that come together need not be spread.
const BURST: Duration = Duration::from_secs(10);

/// The gates of all endpoints.
#[derive(Default)]
pub(super) struct Gates {
    open: Mutex<HashMap<Id, Gate>>,
}

#[derive(Default)]
struct Gate {
    under_way: Arc<()>,
    /// Where a rate is set: when the requests so far would have gone if they had been spread evenly.
    spread_until: Option<Timestamp>,
}

/// A request that is under way. Room for another comes when it is dropped.
pub(super) struct Entered(#[expect(dead_code, reason = "it is counted while it lives")] Arc<()>);

impl Gates {
    /// Lets a request through, or says how long it is to wait.
    pub(super) fn enter(&self, endpoint: &Endpoint, now: Timestamp) -> Result<Entered, Duration> {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if open.len() > MOST_IDLE {
            open.retain(|_, gate| gate.is_busy() || gate.spread_until.is_some_and(|until| now < until));
        }
        open.entry(endpoint.id).or_default().enter(endpoint, now)
    }
}

impl Gate {
    fn enter(&mut self, endpoint: &Endpoint, now: Timestamp) -> Result<Entered, Duration> {
        // While it is not known to answer again, one request at a time is the probe.
        let is_probe = endpoint.health.consecutive_failures >= FAILURES_UNTIL_OPEN;
        let room = if is_probe { 1 } else { endpoint.concurrency.max(1) as usize };
        if Arc::strong_count(&self.under_way) > room {
            return Err(BUSY_WAIT);
        }
        if let Some(rate) = endpoint.rate_per_minute {
            let ahead = self.spread_until.unwrap_or(now).since(now);
            if ahead > BURST {
                return Err(ahead - BURST);
            }
            self.spread_until = Some(now + ahead + Duration::from_secs(60) / rate.max(1).unsigned_abs());
        }
        Ok(Entered(self.under_way.clone()))
    }

    fn is_busy(&self) -> bool {
        Arc::strong_count(&self.under_way) > 1
    }
}
