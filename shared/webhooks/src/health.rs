//! Whether an endpoint still answers: its circuit breaker, and when it is given up. Pure.

use std::time::Duration;

use recado_kernel::clock::Timestamp;

/// Attempts in a row that fail before the circuit opens.
pub const FAILURES_UNTIL_OPEN: i32 = 5;

/// How long the circuit stays open, the first time and later ones: then one delivery is the probe.
const PROBE_AFTER: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)];

/// An endpoint without one success for so long is disabled. Two failures lie so far apart, so a short outage with many
/// attempts does not count as a long one.
pub const DISABLED_AFTER: Duration = Duration::from_secs(5 * 24 * 60 * 60);

/// Its owner is told when it has taken nothing for so long. It goes on being tried.
pub const WARNED_AFTER: Duration = Duration::from_secs(60 * 60);

/// What is known of an endpoint's answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Health {
    pub sent_count: i64,
    pub failed_count: i64,
    pub last_attempt_at: Option<Timestamp>,
    pub last_success_at: Option<Timestamp>,
    /// Since the last success.
    pub consecutive_failures: i32,
    /// The first failure since the last success.
    pub failing_since: Option<Timestamp>,
    /// No attempt before this moment.
    pub open_until: Option<Timestamp>,
    pub times_opened: i32,
    /// When its owner was told that it takes nothing.
    pub warned_at: Option<Timestamp>,
}

impl Health {
    /// After an attempt that ended at `now`.
    #[must_use]
    pub fn after(mut self, succeeded: bool, now: Timestamp) -> Self {
        self.last_attempt_at = Some(now);
        if succeeded {
            return Self {
                sent_count: self.sent_count + 1,
                last_success_at: Some(now),
                consecutive_failures: 0,
                failing_since: None,
                open_until: None,
                times_opened: 0,
                warned_at: None,
                ..self
            };
        }
        self.failed_count += 1;
        self.consecutive_failures += 1;
        self.failing_since = self.failing_since.or(Some(now));
        // Attempts that were under way when it opened tell nothing new.
        let is_open = self.open_until.is_some_and(|until| now < until);
        if self.consecutive_failures >= FAILURES_UNTIL_OPEN && !is_open {
            let step = usize::try_from(self.times_opened).unwrap_or(0).min(PROBE_AFTER.len() - 1);
            self.open_until = Some(now + PROBE_AFTER[step]);
            self.times_opened += 1;
        }
        self
    }

    /// Whether its owner is to be told that it takes nothing: its circuit has been open, with probes, for long enough.
    pub fn is_worth_a_warning(&self, now: Timestamp) -> bool {
        let is_long = self.failing_since.is_some_and(|since| now.since(since) >= WARNED_AFTER);
        self.warned_at.is_none() && self.times_opened > 0 && is_long
    }

    /// Whether it failed for so long that it is given up.
    pub fn is_hopeless(&self, now: Timestamp) -> bool {
        self.failing_since.is_some_and(|since| now.since(since) >= DISABLED_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Duration::from_secs(seconds)
    }

    fn failed(mut health: Health, times: &[u64]) -> Health {
        for &seconds in times {
            health = health.after(false, at(seconds));
        }
        health
    }

    #[test]
    fn the_fifth_failure_opens_the_circuit_and_probes_become_rarer() {
        let health = failed(Health::default(), &[0, 1, 2, 3]);
        assert_eq!(health.open_until, None);
        let health = failed(health, &[4]);
        assert_eq!(health.open_until, Some(at(64)));
        let health = failed(health, &[5, 6]);
        assert_eq!((health.open_until, health.times_opened), (Some(at(64)), 1), "those were under way");
        let health = failed(health, &[64]);
        assert_eq!(health.open_until, Some(at(364)));
        let health = failed(health, &[400]);
        assert_eq!(health.open_until, Some(at(1_300)));
        let health = failed(health, &[1_300]);
        assert_eq!(health.open_until, Some(at(2_200)), "no rarer than every 15 minutes");
        assert_eq!(health.failed_count, 10);
    }

    #[test]
    fn one_success_mends_everything() {
        let health = failed(Health::default(), &[0, 1, 2, 3, 4]).after(true, at(64));
        assert_eq!(health.sent_count, 1);
        assert_eq!(health.failed_count, 5);
        assert_eq!((health.consecutive_failures, health.failing_since), (0, None));
        assert_eq!((health.open_until, health.times_opened), (None, 0));
        assert_eq!(health.last_success_at, Some(at(64)));
    }

    #[test]
    fn an_owner_is_warned_once_per_outage() {
        let hour = 60 * 60;
        let health = failed(Health::default(), &[0, 1, 2, 3]);
        assert!(!health.is_worth_a_warning(at(hour)), "the circuit is closed");
        let health = failed(health, &[4]);
        assert!(!health.is_worth_a_warning(at(hour - 1)));
        assert!(health.is_worth_a_warning(at(hour)));
        let warned = Health { warned_at: Some(at(hour)), ..health };
        assert!(!failed(warned.clone(), &[2 * hour]).is_worth_a_warning(at(2 * hour)));
        assert_eq!(warned.after(true, at(3 * hour)).warned_at, None, "the next outage is another one");
    }

    #[test]
    fn five_days_without_a_success_are_the_end() {
        let day = 24 * 60 * 60;
        let health = failed(Health::default(), &[0, 5 * day]);
        assert!(!health.is_hopeless(at(5 * day - 1)));
        assert!(health.is_hopeless(at(5 * day)));
        assert!(!Health::default().is_hopeless(at(5 * day)), "one that was never tried");
        assert!(!health.after(true, at(5 * day)).is_hopeless(at(50 * day)));
    }
}
