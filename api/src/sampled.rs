//! What many ask for and costs something to find out: found out at most every few seconds, by one reader for all.

use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, Instant};

use recado_kernel::clock::Clock;
use tokio::sync::Mutex;

/// A sample may cost a twentieth of the time: one that took long is used for longer.
const AGE_PER_COST: u32 = 20;

/// What is found out faster than this is cheap.
const CHEAP: Duration = Duration::from_millis(100);

/// A value that is looked at by many.
pub(crate) struct Sampled<T> {
    /// For so long a sample is used at least.
    period: Duration,
    /// What a sample costs is counted by the product's clock. It stands still in a story, where nothing is costly because the machine
    /// was busy.
    clock: Clock,
    last: Mutex<Option<Sample<T>>>,
}

struct Sample<T> {
    value: T,
    taken: Instant,
    cost: Duration,
}

impl<T: Clone> Sampled<T> {
    pub(crate) fn every(period: Duration, clock: &Clock) -> Self {
        Self { period, clock: clock.clone(), last: Mutex::default() }
    }

    /// As often as it is asked for, unless it is costly.
    pub(crate) fn when_costly(clock: &Clock) -> Self {
        Self::every(Duration::ZERO, clock)
    }

    /// The last sample; a new one where it is too old. Who asks meanwhile waits for that one.
    pub(crate) async fn get(&self, take: impl Future<Output = T>) -> T {
        let take = async { Ok::<T, Infallible>(take.await) };
        self.try_get(take, |_| true).await.unwrap_or_else(|never| match never {})
    }

    /// The same of something that may fail, which is no sample, and that may be of no use any more.
    pub(crate) async fn try_get<E>(
        &self,
        take: impl Future<Output = Result<T, E>>,
        is_of_use: impl Fn(&T) -> bool,
    ) -> Result<T, E> {
        let mut last = self.last.lock().await;
        if let Some(sample) = &*last
            && sample.taken.elapsed() < lifetime(self.period, sample.cost)
            && is_of_use(&sample.value)
        {
            return Ok(sample.value.clone());
        }
        let began = self.clock.elapsed();
        let value = take.await?;
        let cost = self.clock.elapsed().saturating_sub(began);
        *last = Some(Sample { value: value.clone(), taken: Instant::now(), cost });
        Ok(value)
    }
}

fn lifetime(period: Duration, cost: Duration) -> Duration {
    if cost < CHEAP { period } else { period.max(cost * AGE_PER_COST) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    /// Twenty readers of `/metrics` made a dispatch take seconds, because each counted for itself.
    #[tokio::test]
    async fn many_readers_cost_as_much_as_one() {
        let sampled = Sampled::every(Duration::from_secs(3600), &Clock::system());
        let taken = AtomicUsize::new(0);
        let take = || async {
            tokio::task::yield_now().await;
            taken.fetch_add(1, Ordering::SeqCst)
        };
        assert_eq!(join_all((0..20).map(|_| sampled.get(take()))).await, [0; 20]);
        assert_eq!(taken.load(Ordering::SeqCst), 1);
    }

    /// What took an hour is used for twenty. A clock that stands still says that nothing takes time, however long it took.
    #[tokio::test]
    async fn a_cost_is_counted_by_the_clock() {
        let clock = Clock::manual(Clock::system().now());
        for (hours, expected) in [(1, [0, 0]), (0, [0, 1])] {
            let sampled = Sampled::when_costly(&clock);
            let taken = AtomicUsize::new(0);
            let take = || async {
                clock.advance(Duration::from_secs(hours * 3600));
                taken.fetch_add(1, Ordering::SeqCst)
            };
            assert_eq!([sampled.get(take()).await, sampled.get(take()).await], expected, "{hours} h");
        }
    }

    #[test]
    fn what_takes_long_is_asked_for_less_often() {
        let period = Duration::from_secs(5);
        assert_eq!(lifetime(period, Duration::from_millis(10)), period);
        assert_eq!(lifetime(period, Duration::from_secs(2)), Duration::from_secs(40));
        assert_eq!(lifetime(Duration::ZERO, Duration::from_millis(10)), Duration::ZERO);
        assert_eq!(lifetime(Duration::ZERO, Duration::from_millis(800)), Duration::from_secs(16));
    }
}
