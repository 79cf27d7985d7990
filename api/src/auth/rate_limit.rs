//! How many requests a caller may send (`API_RATE_LIMIT_PER_MINUTE`), so that one that runs wild does not crowd out the rest.
//!
//! Each process counts for itself: the limit is a fuse and no tariff. It is the generic cell rate algorithm: a caller may send
//! a minute's worth at once, and then as fast as the minute allows.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter, clock};
use recado_kernel::clock::Clock;

use crate::client::{CallerAddress, Client};
use crate::problem::Problem;

pub(crate) const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(crate) const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// After so many requests, callers whose minute is over are removed: memory holds the callers of about a minute.
const REQUESTS_BETWEEN_SWEEPS: u64 = 10_000;

/// The limits of all callers.
pub(crate) struct Limits {
    limiter: Option<Limiter>,
    clock: OurClock,
    per_minute: u32,
    requests: AtomicU64,
}

type Limiter = RateLimiter<String, DashMapStateStore<String>, OurClock, StateInformationMiddleware>;

/// What is left to a caller, for the headers of the answer.
#[derive(Clone, Copy)]
struct Left {
    limit: u32,
    remaining: u32,
}

tokio::task_local! {
    static LEFT: Cell<Option<Left>>;
}

impl Limits {
    /// `per_minute` 0: no limit.
    pub(crate) fn new(per_minute: u32, clock: &Clock) -> Self {
        let clock = OurClock(clock.clone());
        let limiter = NonZeroU32::new(per_minute).map(|limit| {
            let (quota, store) = (Quota::per_minute(limit), DashMapStateStore::default());
            Limiter::new(quota, store, clock.clone())
        });
        Self { limiter, clock, per_minute, requests: AtomicU64::new(0) }
    }

    /// Counts a request of this caller. `None` is a caller without a name, who is told apart by address.
    ///
    /// # Errors
    /// [`Problem::Throttled`] when the caller has sent too many.
    pub(crate) fn admit(&self, caller: Option<&str>, parts: &Parts) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let Some(caller) = caller.map(str::to_owned).or_else(|| address_of(parts)) else { return Ok(()) };
        if self.requests.fetch_add(1, Ordering::Relaxed) % REQUESTS_BETWEEN_SWEEPS == REQUESTS_BETWEEN_SWEEPS - 1 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        match limiter.check_key(&caller) {
            Ok(state) => {
                let left = Left { limit: self.per_minute, remaining: state.remaining_burst_capacity() };
                // Outside of `tell`, in tests, there is no answer to write it into.
                let _ = LEFT.try_with(|cell| cell.set(Some(left)));
                Ok(())
            }
            Err(until) => {
                let wait = until.wait_time_from(self.clock.now());
                let _ = LEFT.try_with(|cell| cell.set(Some(Left { limit: self.per_minute, remaining: 0 })));
                Err(Problem::Throttled { seconds: whole_seconds(wait) })
            }
        }
    }
}

/// Rounded up, because a caller who comes back a moment too early is refused again.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// A caller without a name by address; `None` for one on this machine.
fn address_of(parts: &Parts) -> Option<String> {
    let ip = Client::known(&parts.extensions)?;
    (!ip.is_loopback()).then(|| CallerAddress::of(ip).to_string())
}

/// Writes into the answer what is left to the caller.
pub(crate) async fn tell(serving: impl Future<Output = Response>) -> Response {
    LEFT.scope(Cell::new(None), async {
        let mut response = serving.await;
        if let Some(Left { limit, remaining }) = LEFT.with(Cell::get) {
            response.headers_mut().insert(LIMIT, HeaderValue::from(limit));
            response.headers_mut().insert(REMAINING, HeaderValue::from(remaining));
        }
        response
    })
    .await
}

/// Our clock, which tests may move, without what others set: an hour ahead and back must not refuse callers for an hour.
#[derive(Clone)]
struct OurClock(Clock);

impl clock::Clock for OurClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;
    use recado_kernel::clock::Timestamp;

    use super::*;

    fn parts(peer: &str) -> Parts {
        let (mut parts, ()) = axum::http::Request::new(()).into_parts();
        if !peer.is_empty() {
            parts.extensions.insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
        }
        parts
    }

    fn limits(per_minute: u32) -> (Limits, Clock) {
        let clock = Clock::manual(Timestamp::from_micros(1_768_919_400_000_000));
        (Limits::new(per_minute, &clock), clock)
    }

    #[test]
    fn a_minutes_worth_at_once_and_then_one_at_a_time() {
        let (limits, clock) = limits(6);
        let admit = |caller| limits.admit(Some(caller), &parts(""));
        for _ in 0..6 {
            admit("one").expect("within the limit");
        }
        assert!(matches!(admit("one"), Err(Problem::Throttled { seconds: 10 })));
        admit("other").expect("each caller has a limit of its own");
        clock.advance(Duration::from_millis(9_500));
        assert!(matches!(admit("one"), Err(Problem::Throttled { seconds: 1 })));
        clock.advance(Duration::from_millis(500));
        admit("one").expect("one more");
        assert!(admit("one").is_err());
    }

    /// After a jump of two hours ahead and back every key was a 429 with `Retry-After: 7134`.
    #[test]
    fn the_time_of_day_may_be_set_and_the_limit_stays() {
        let (limits, clock) = limits(6);
        let admit = || limits.admit(Some("one"), &parts(""));
        let began = clock.now();
        admit().expect("the first");
        clock.set(began + Duration::from_secs(7_200));
        admit().expect("the second");
        clock.set(began);
        for _ in 0..4 {
            admit().expect("within the limit");
        }
        clock.set(began + Duration::from_secs(7_200));
        assert!(matches!(admit(), Err(Problem::Throttled { seconds: 10 })), "no time has passed");
    }

    #[test]
    fn callers_without_a_name_are_told_apart_by_address_and_this_machine_is_not_limited() {
        let (limits, _) = limits(1);
        let admit = |peer| limits.admit(None, &parts(peer)).is_ok();
        assert!(admit("203.0.113.7:1000") && !admit("203.0.113.7:2000") && admit("203.0.113.8:1000"));
        assert!(!admit("[::ffff:203.0.113.8]:1"), "the same host in another spelling");
        assert!(admit("[2001:db8:0:1::1]:1") && !admit("[2001:db8:0:1::2]:1") && admit("[2001:db8:0:2::1]:1"));
        for here in ["127.0.0.1:1", "[::1]:1", ""] {
            assert!(admit(here) && admit(here), "{here}");
        }
    }

    #[test]
    fn no_limit_is_no_limit_and_memory_is_bounded() {
        let (unlimited, _) = limits(0);
        let (limits, clock) = limits(60);
        for number in 0..REQUESTS_BETWEEN_SWEEPS - 1 {
            unlimited.admit(Some("one"), &parts("")).expect("no limit");
            limits.admit(Some(&number.to_string()), &parts("")).expect("each its first");
        }
        let kept = |limits: &Limits| limits.limiter.as_ref().map_or(0, RateLimiter::len);
        assert_eq!((kept(&unlimited), kept(&limits)), (0, 9_999));
        clock.advance(Duration::from_secs(120));
        limits.admit(Some("last"), &parts("")).expect("admitted");
        assert_eq!(kept(&limits), 1);
    }
}
