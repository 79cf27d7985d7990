//! What follows an attempt, decided without any I/O.

use std::time::Duration;

/// How the endpoint took a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reception {
    /// It answered with this status code.
    Answered {
        status: u16,
        /// What `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// No answer came, or not in time; the reason is for people.
    Silent(String),
    /// We may not or cannot call it: an address that is not allowed, a secret that cannot be opened.
    Impossible(String),
}

impl Reception {
    /// Only 2xx is a success. A redirect is none and is not followed (d7).
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answered { status: 200..=299, .. })
    }

    /// 410: the endpoint wants nothing any more (Standard Webhooks).
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Answered { status: 410, .. })
    }

    /// In a few words, for people.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Answered { status: 200..=299, .. } => None,
            Self::Answered { status: status @ 300..=399, .. } => {
                Some(format!("HTTP {status}: redirects are not followed; register the final URL"))
            }
            Self::Answered { status, .. } => Some(format!("HTTP {status}")),
            Self::Silent(reason) | Self::Impossible(reason) => Some(reason.clone()),
        }
    }
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Delivered,
    RetryIn(Duration),
    /// The endpoint wants nothing any more.
    Gone,
    GiveUp,
}

/// No endpoint may ask for a longer wait.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Decides after the attempt with this number, 1 being the first.
///
/// `schedule` lists the waits between attempts, so that n of them allow n + 1 attempts. `jitter` in `[-1, 1]` moves a wait by
/// up to a fifth. A longer `Retry-After` of a 429 or 503 wins over the schedule.
pub fn after_attempt(reception: &Reception, number: u32, schedule: &[Duration], jitter: f64) -> Next {
    if reception.is_success() {
        return Next::Delivered;
    }
    if reception.is_gone() {
        return Next::Gone;
    }
    let Some(wait) = schedule.get(number.saturating_sub(1) as usize) else { return Next::GiveUp };
    let jittered = wait.mul_f64(1.0 + 0.2 * jitter.clamp(-1.0, 1.0));
    let asked = match reception {
        Reception::Answered { status: 429 | 503, retry_after: Some(asked) } => (*asked).min(LONGEST_WAIT),
        _ => Duration::ZERO,
    };
    Next::RetryIn(jittered.max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Reception {
        Reception::Answered { status, retry_after: None }
    }

    fn seconds(list: &[f64]) -> Vec<Duration> {
        list.iter().copied().map(Duration::from_secs_f64).collect()
    }

    #[test]
    fn n_waits_are_n_plus_one_attempts() {
        let schedule = seconds(&[0.4, 0.8, 1.6]);
        for (number, wait) in [(1, 0.4), (2, 0.8), (3, 1.6)] {
            let next = after_attempt(&answered(500), number, &schedule, 0.0);
            assert_eq!(next, Next::RetryIn(Duration::from_secs_f64(wait)));
        }
        assert_eq!(after_attempt(&answered(500), 4, &schedule, 0.0), Next::GiveUp);
        assert_eq!(after_attempt(&answered(500), 1, &[], 0.0), Next::GiveUp, "a test has one attempt");
    }

    /// d7
    #[test]
    fn only_2xx_is_a_success_and_410_ends_it() {
        let schedule = seconds(&[5.0]);
        for status in [200, 201, 204, 299] {
            assert_eq!(after_attempt(&answered(status), 1, &schedule, 0.0), Next::Delivered, "{status}");
        }
        for status in [199, 301, 308, 400, 401, 404, 408, 429, 500, 503] {
            assert_eq!(after_attempt(&answered(status), 1, &schedule, 0.0), Next::RetryIn(schedule[0]), "{status}");
        }
        assert_eq!(after_attempt(&answered(410), 1, &schedule, 0.0), Next::Gone);
        let silent = Reception::Silent("timed out".to_owned());
        assert_eq!(after_attempt(&silent, 1, &schedule, 0.0), Next::RetryIn(schedule[0]));
    }

    #[test]
    fn retry_after_counts_where_it_is_longer_and_means_something() {
        let schedule = seconds(&[5.0]);
        let asks = |status, asked| Reception::Answered { status, retry_after: Some(Duration::from_secs(asked)) };
        let wait = |reception| match after_attempt(&reception, 1, &schedule, 0.0) {
            Next::RetryIn(wait) => wait.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(asks(503, 60)), 60);
        assert_eq!(wait(asks(429, 60)), 60);
        assert_eq!(wait(asks(429, 1)), 5);
        assert_eq!(wait(asks(500, 60)), 5);
        assert_eq!(wait(asks(503, u64::MAX)), LONGEST_WAIT.as_secs());
    }

    #[test]
    fn jitter_moves_a_wait_by_a_fifth_at_most() {
        let schedule = seconds(&[10.0]);
        for (jitter, wait) in [(-9.0, 8.0), (-1.0, 8.0), (0.5, 11.0), (1.0, 12.0), (9.0, 12.0)] {
            let next = after_attempt(&answered(500), 1, &schedule, jitter);
            assert_eq!(next, Next::RetryIn(Duration::from_secs_f64(wait)));
        }
    }
}
