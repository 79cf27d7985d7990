//! The decision that Recado exists for: a message of a chain has failed; what happens now?

use std::time::Duration;

use crate::notifications::attempts::Outcome;
use recado_kernel::retry::{LONGEST_DELAY, RetryPolicy};

use crate::notifications::{Notification, Status};

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

/// How a message of a chain failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Failure {
    /// An attempt failed, or its outcome stayed unknown until the look-ups ended.
    Attempt(FailedAttempt),
    /// Permission was withdrawn after the event was accepted. No attempt was made.
    NotPermitted,
    /// It was sent, and the receipt that is awaited did not come in time. It stays sent.
    NoReceipt,
    /// It was sent, and a receipt says that the provider refused it after all.
    FailedReceipt,
}

/// A failed attempt, and what is known about the next one on the same channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailedAttempt {
    pub class: FailureClass,
    /// How many attempts on this channel have failed, this one included if it [counts](FailedAttempt::counts).
    pub failures: u32,
    /// The provider was there and took no messages, for so long now.
    pub unavailable_for: Option<Duration>,
    /// The provider's own wish: it may only push an attempt later, never earlier.
    pub retry_after: Option<Duration>,
    pub policy: RetryPolicy,
    /// From -1 to 1: spreads the delays, so that messages that failed together do not return together.
    pub jitter: f64,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try the same channel again after this long.
    RetryIn(Duration),
    /// This channel is spent; the message at this position of the chain has its turn at once.
    FallBack { next: usize },
    /// No channel is left, but a provider took the message at this position. A retry would send it twice, so the chain
    /// counts as sent.
    KeepSent { sent: usize },
    /// No channel is left, and nothing was sent.
    GiveUp,
    /// Another message of the chain is under way or has arrived; that one decides.
    Nothing,
}

/// Decides what follows when the message at position `failed` of its chain has failed. The only place where this is
/// decided: for attempts, refusals, outcomes that stayed unknown, and receipts alike.
pub fn after_failure(chain: &[Notification], failed: usize, failure: Failure) -> Decision {
    if let Failure::Attempt(attempt) = failure
        && attempt.may_retry()
    {
        return Decision::RetryIn(attempt.delay());
    }
    // The task of a message that was sent may have gone on already.
    if failure == Failure::FailedReceipt && chain.iter().any(is_under_way) {
        return Decision::Nothing;
    }
    let is_next = |(position, other): (usize, &Notification)| position != failed && other.status.is_open();
    let next = chain.iter().enumerate().position(is_next);
    let sent = chain.iter().position(|notification| notification.status.is_sent());
    match (next, sent) {
        (Some(next), _) => Decision::FallBack { next },
        (None, Some(sent)) => Decision::KeepSent { sent },
        (None, None) => Decision::GiveUp,
    }
}

/// For how many first delays a provider that takes no messages costs no attempt: five minutes with the usual policy. Then the next
/// channel must have its chance.
const SPARED_DELAYS: u32 = 5;

impl FailedAttempt {
    /// Whether it is one of the attempts that a message has. Where a provider took no messages, this one was not asked about.
    pub fn counts(&self) -> bool {
        self.unavailable_for.is_none_or(|duration| duration >= self.policy.base * SPARED_DELAYS)
    }

    fn may_retry(&self) -> bool {
        let may_pass = matches!(self.class, FailureClass::Transient | FailureClass::Unknown);
        may_pass && (self.failures < self.policy.max_attempts || !self.counts())
    }

    fn delay(&self) -> Duration {
        let wished = self.retry_after.unwrap_or_default().min(LONGEST_DELAY);
        self.policy.delay(self.failures.max(1), self.jitter).max(wished)
    }
}

/// It has its turn, or it arrived as far as is awaited.
fn is_under_way(notification: &Notification) -> bool {
    notification.status == Status::Queued || (notification.status.is_sent() && notification.waits_for().is_none())
}

#[cfg(test)]
pub(crate) mod tests {
    use recado_kernel::clock::Timestamp;
    use recado_kernel::ids::Id;

    use super::*;
    use crate::channels::Channel;
    use crate::orchestration::{Awaited, AwaitedReceipt};
    use crate::targets::Target;

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 3, base: Duration::from_secs(60) };

    pub(crate) fn message(status: Status) -> Notification {
        let now = Timestamp::from_micros(0);
        Notification {
            id: Id::of_name("notification"),
            correlation_id: Id::of_name("correlation"),
            task_id: Id::of_name("task"),
            event_type: "custom".to_owned(),
            customer_id: "customer-001".to_owned(),
            taller_id: None,
            target: Target::Clients,
            channel: Channel::Whatsapp,
            fallback_order: 0,
            status,
            recipient_address: String::new(),
            template_name: String::new(),
            subject: String::new(),
            body: String::new(),
            is_html: false,
            error_code: None,
            error_reason: None,
            retry_count: 0,
            max_retries: 3,
            next_retry_at: None,
            unknown_since: None,
            unknown_until: None,
            paced_until: None,
            provider_message_id: None,
            provider: None,
            redrives: 0,
            awaits: None,
            preferred: None,
            resend_of: None,
            template_id: None,
            template_version: None,
            critical: false,
            send_at: None,
            admitted_at: None,
            sent_at: status.is_sent().then_some(now),
            delivered_at: None,
            read_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    fn chain(statuses: &[Status]) -> Vec<Notification> {
        statuses.iter().copied().map(message).collect()
    }

    fn attempt(class: FailureClass, failures: u32) -> FailedAttempt {
        FailedAttempt { class, failures, unavailable_for: None, retry_after: None, policy: POLICY, jitter: 0.0 }
    }

    /// After the first of two channels, or the only one.
    fn after(class: FailureClass, failures: u32, has_next: bool) -> Decision {
        let statuses = if has_next { &[Status::Queued, Status::Pending][..] } else { &[Status::Queued] };
        after_failure(&chain(statuses), 0, Failure::Attempt(attempt(class, failures)))
    }

    /// d11: two retries, after 60 s and 120 s, and the next channel right after the third failure.
    #[test]
    fn three_attempts_and_then_the_next_channel() {
        for class in [FailureClass::Transient, FailureClass::Unknown] {
            assert_eq!(after(class, 1, true), Decision::RetryIn(Duration::from_secs(60)));
            assert_eq!(after(class, 2, true), Decision::RetryIn(Duration::from_secs(120)));
            assert_eq!(after(class, 3, true), Decision::FallBack { next: 1 });
            assert_eq!(after(class, 3, false), Decision::GiveUp);
        }
    }

    #[test]
    fn what_can_never_work_falls_back_at_once() {
        for class in [FailureClass::Permanent, FailureClass::Misconfigured] {
            assert_eq!(after(class, 1, true), Decision::FallBack { next: 1 });
            assert_eq!(after(class, 1, false), Decision::GiveUp);
        }
    }

    #[test]
    fn what_follows_is_the_same_for_everything_that_cannot_be_tried_again() {
        use Status::{Bounced, Cancelled, Failed, Pending, Queued, Sent};
        let spent = Failure::Attempt(attempt(FailureClass::Permanent, 1));
        let table = [
            (spent, &[Queued, Pending, Pending][..], 0, Decision::FallBack { next: 1 }),
            (spent, &[Failed, Queued, Pending], 1, Decision::FallBack { next: 2 }),
            (spent, &[Queued, Cancelled, Pending], 0, Decision::FallBack { next: 2 }),
            (spent, &[Bounced, Failed, Queued], 2, Decision::GiveUp),
            // Revived in the middle of its chain: the message that has its turn may be one that waited.
            (spent, &[Pending, Pending], 0, Decision::FallBack { next: 1 }),
            (spent, &[Failed, Pending], 1, Decision::GiveUp),
            // The receipt of the first never came, and it was sent all the same.
            (spent, &[Sent, Queued], 1, Decision::KeepSent { sent: 0 }),
            (Failure::NotPermitted, &[Queued, Pending], 0, Decision::FallBack { next: 1 }),
            (Failure::NotPermitted, &[Queued], 0, Decision::GiveUp),
            (Failure::NotPermitted, &[Sent, Queued], 1, Decision::KeepSent { sent: 0 }),
            (Failure::NoReceipt, &[Sent, Pending], 0, Decision::FallBack { next: 1 }),
            (Failure::NoReceipt, &[Sent, Failed], 0, Decision::KeepSent { sent: 0 }),
            (Failure::FailedReceipt, &[Failed, Pending], 0, Decision::FallBack { next: 1 }),
            (Failure::FailedReceipt, &[Failed, Failed], 0, Decision::GiveUp),
            (Failure::FailedReceipt, &[Failed, Queued, Pending], 0, Decision::Nothing),
            (Failure::FailedReceipt, &[Failed, Sent, Pending], 0, Decision::Nothing),
        ];
        for (failure, statuses, failed, expected) in table {
            assert_eq!(after_failure(&chain(statuses), failed, failure), expected, "{failure:?} {statuses:?}");
        }
    }

    /// A message that waits for its receipt has not arrived, so a refusal of another one is not settled by it.
    #[test]
    fn a_message_that_awaits_its_receipt_settles_nothing() {
        let mut waiting = message(Status::Sent);
        waiting.awaits = Some(Awaited { receipt: AwaitedReceipt::Delivered, seconds: 60 });
        let chain = [message(Status::Failed), waiting.clone(), message(Status::Pending)];
        assert_eq!(after_failure(&chain, 0, Failure::FailedReceipt), Decision::FallBack { next: 2 });
        assert_eq!(after_failure(&chain[..2], 0, Failure::FailedReceipt), Decision::KeepSent { sent: 1 });
        waiting.status = Status::Delivered;
        let chain = [message(Status::Failed), waiting, message(Status::Pending)];
        assert_eq!(after_failure(&chain, 0, Failure::FailedReceipt), Decision::Nothing);
    }

    #[test]
    fn a_providers_wish_only_pushes_later() {
        let wish = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            let failed = FailedAttempt { retry_after, ..attempt(FailureClass::Transient, 1) };
            after_failure(&chain(&[Status::Queued, Status::Pending]), 0, Failure::Attempt(failed))
        };
        assert_eq!(wish(5), Decision::RetryIn(Duration::from_secs(60)));
        assert_eq!(wish(600), Decision::RetryIn(Duration::from_secs(600)));
        assert_eq!(wish(u64::MAX), Decision::RetryIn(LONGEST_DELAY));
    }

    #[test]
    fn a_provider_that_serves_no_one_costs_no_attempt_for_a_while() {
        let after = |failures, seconds| {
            let unavailable_for = Some(Duration::from_secs(seconds));
            let failed = FailedAttempt { unavailable_for, ..attempt(FailureClass::Transient, failures) };
            after_failure(&chain(&[Status::Queued, Status::Pending]), 0, Failure::Attempt(failed))
        };
        assert_eq!(after(0, 0), Decision::RetryIn(Duration::from_secs(60)));
        assert_eq!(after(3, 299), Decision::RetryIn(Duration::from_secs(240)));
        assert_eq!(after(3, 300), Decision::FallBack { next: 1 });
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
            let failed = FailedAttempt { jitter, ..attempt(FailureClass::Transient, failures) };
            let statuses = if next { &[Status::Queued, Status::Pending][..] } else { &[Status::Queued] };
            let decision = after_failure(&chain(statuses), 0, Failure::Attempt(failed));
            proptest::prop_assert_eq!(matches!(decision, Decision::RetryIn(_)), failures < POLICY.max_attempts);
        }
    }
}
