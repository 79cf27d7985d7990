//! How an endpoint answered lately: how fast, and how often it failed.

use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;

/// The deliveries that are looked at: the newest of the endpoint.
const DELIVERIES: i64 = 200;

/// What the latest attempts say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lately {
    pub attempts: i64,
    pub failed: i64,
    /// 95 of 100 were answered, or given up, within so many milliseconds.
    pub p95_ms: Option<i32>,
}

impl Lately {
    fn of(mut durations: Vec<i32>, failed: i64) -> Self {
        durations.sort_unstable();
        let rank = (durations.len() * 95).div_ceil(100);
        Self { attempts: durations.len() as i64, failed, p95_ms: durations.get(rank.saturating_sub(1)).copied() }
    }

    /// Failures in 100 attempts; `None` where there was no attempt.
    pub fn failed_percent(self) -> Option<i64> {
        (self.attempts > 0).then(|| (100 * self.failed + self.attempts / 2) / self.attempts)
    }
}

/// What the attempts of its newest deliveries say.
pub async fn lately(session: &mut Session, endpoint: Id) -> Result<Lately> {
    let attempts: Vec<(i32, Option<String>)> = sql!(
        all(i32, Option<String>),
        session,
        "select a.duration_ms, a.error from webhook_attempts a
         where a.delivery_id in (select id from webhook_deliveries where endpoint_id = $1 order by id desc limit $2)",
        endpoint,
        DELIVERIES
    )?;
    let failed = attempts.iter().filter(|(_, error)| error.is_some()).count() as i64;
    Ok(Lately::of(attempts.into_iter().map(|(duration, _)| duration).collect(), failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_five_of_a_hundred_are_left_out() {
        let lately = Lately::of((1..=100).rev().collect(), 5);
        assert_eq!((lately.p95_ms, lately.failed_percent()), (Some(95), Some(5)));
        assert_eq!(Lately::of(vec![7], 1).p95_ms, Some(7));
        assert_eq!((Lately::of(Vec::new(), 0).p95_ms, Lately::default().failed_percent()), (None, None));
    }
}
