//! The decision that Recado exists for: a provider has answered; what happens to the message now?

use std::time::Duration;

use crate::notifications::attempts::Outcome;
use recado_kernel::retry::{LONGEST_DELAY, RetryPolicy};

/// How a failed attempt is to be understood. The adapter of the provider says so, once, where the answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// It may work later: no connection, `4xx` of SMTP, `429`, `5xx` of HTTP.
    Transient,
    /// It will never work for this message on this channel: no such mailbox, not on WhatsApp, no device left.
    Permanent,
    /// Our settings are wrong or missing; every message would fail alike, so nothing is gained by trying again.
    Misconfigured,
    /// The answer never came: the message may have left. Ask before sending again (d27).
    Unknown,
}

impl FailureClass {
    /// How an attempt that failed like this ended.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Transient => Outcome::Transient,
            Self::Permanent => Outcome::Permanent,
            Self::Misconfigured => Outcome::Misconfigured,
            Self::Unknown => Outcome::Unknown,
        }
    }
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try the same channel again after this long.
    RetryIn(Duration),
    /// This channel is spent; try the person's next one at once.
    FallBack,
    /// No channel is left.
    GiveUp,
}

/// Decides what follows the `failures`-th failed attempt on a channel.
///
/// `retry_after` is the provider's own wish: it may only push an attempt later, never earlier.
pub fn decide(
    policy: RetryPolicy,
    class: FailureClass,
    failures: u32,
    retry_after: Option<Duration>,
    has_next_channel: bool,
    jitter: f64,
) -> Decision {
    let may_retry = matches!(class, FailureClass::Transient | FailureClass::Unknown) && failures < policy.max_attempts;
    match (may_retry, has_next_channel) {
        (true, _) => {
            let wished = retry_after.unwrap_or_default().min(LONGEST_DELAY);
            Decision::RetryIn(policy.delay(failures, jitter).max(wished))
        }
        (false, true) => Decision::FallBack,
        (false, false) => Decision::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 3, base: Duration::from_secs(60) };

    fn after(class: FailureClass, failures: u32, has_next: bool) -> Decision {
        decide(POLICY, class, failures, None, has_next, 0.0)
    }

    /// d11: two retries, after 60 s and 120 s, and the next channel right after the third failure.
    #[test]
    fn three_attempts_and_then_the_next_channel() {
        assert_eq!(after(FailureClass::Transient, 1, true), Decision::RetryIn(Duration::from_secs(60)));
        assert_eq!(after(FailureClass::Transient, 2, true), Decision::RetryIn(Duration::from_secs(120)));
        assert_eq!(after(FailureClass::Transient, 3, true), Decision::FallBack);
        assert_eq!(after(FailureClass::Transient, 3, false), Decision::GiveUp);
    }

    #[test]
    fn what_can_never_work_falls_back_at_once() {
        for class in [FailureClass::Permanent, FailureClass::Misconfigured] {
            assert_eq!(after(class, 1, true), Decision::FallBack);
            assert_eq!(after(class, 1, false), Decision::GiveUp);
        }
    }

    #[test]
    fn a_providers_wish_only_pushes_later() {
        let wish = |seconds| decide(POLICY, FailureClass::Transient, 1, Some(Duration::from_secs(seconds)), true, 0.0);
        assert_eq!(wish(5), Decision::RetryIn(Duration::from_secs(60)));
        assert_eq!(wish(600), Decision::RetryIn(Duration::from_secs(600)));
        assert_eq!(wish(u64::MAX), Decision::RetryIn(LONGEST_DELAY));
    }

    proptest::proptest! {
        #[test]
        fn delays_stay_within_a_fifth_of_the_schedule(failures in 1_u32..100, jitter in -5.0_f64..5.0) {
            let delay = POLICY.delay(failures, jitter).as_secs_f64();
            let exact = (60.0 * 2_f64.powi(failures as i32 - 1)).min(1e9);
            proptest::prop_assert!(delay <= LONGEST_DELAY.as_secs_f64());
            proptest::prop_assert!(delay >= (exact * 0.8).min(LONGEST_DELAY.as_secs_f64()) - 1e-6);
            proptest::prop_assert!(delay <= exact * 1.2 + 1e-6);
        }

        #[test]
        fn a_channel_is_never_tried_more_often_than_allowed(failures in 0_u32..10, next: bool, jitter in -1.0_f64..1.0) {
            let decision = decide(POLICY, FailureClass::Transient, failures, None, next, jitter);
            proptest::prop_assert_eq!(matches!(decision, Decision::RetryIn(_)), failures < POLICY.max_attempts);
        }
    }
}
