//! What follows a step, as an outcome of the task and changes of the chain. What happens after a failure is decided in
//! [`after_failure`], and only carried out here.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::fallback::{Decision, FailedAttempt, Failure, FailureClass, after_failure};
use recado_notifications::journal::{Entry, Fact, FallbackReason};
use recado_notifications::notifications::{Awaits, Change, Notification, Status};
use recado_notifications::orchestration::{Awaited, AwaitedReceipt};
use recado_notifications::suppressions::Bounce;
use serde_json::{Value, json};

use super::Delivery;
use super::chain::reasons;
use super::effects::Delivered;
use crate::channels::{Account, SendFailure, SendReceipt, cut_off};
use crate::registry::Outcome;

/// About a dozen look-ups in the window: every 5 s in the default 60.
fn look_up_interval(window: Duration) -> Duration {
    (window / 12).max(Duration::from_millis(50))
}

/// What of a failure decides how its message goes on.
#[derive(Clone, Copy)]
struct Verdict {
    class: FailureClass,
    retry_after: Option<Duration>,
    unavailable_for: Option<Duration>,
}

impl Verdict {
    const UNKNOWN: Self = Self { class: FailureClass::Unknown, retry_after: None, unavailable_for: None };
}

impl Delivery<'_> {
    /// The task goes on at this time, on the same channel.
    pub(super) fn later(&self, at: Timestamp, because: Option<String>, changes: Vec<Change>) -> Delivered {
        Delivered::new(Outcome::Later { at, lane: self.lane(), because }, changes)
    }

    /// The provider took it. Where a receipt is awaited, the task goes on when its time is up, or when it comes.
    pub(super) fn sent(&self, account: &Account, receipt: SendReceipt, ended: Timestamp) -> Delivered {
        let current = self.current();
        let SendReceipt { provider_message_id, devices, .. } = receipt;
        let mut delivered = match self.awaits_since(ended) {
            Some(Awaits { until, .. }) => self.later(until, None, Vec::new()),
            None => {
                let result = result(current.id, current.channel, provider_message_id.as_deref());
                Delivered::new(Outcome::Done(result), Vec::new())
            }
        };
        delivered.rows.devices = devices;
        delivered.rows.changes.push(Change {
            status: Status::Sent,
            error_code: None,
            error_reason: None,
            provider_message_id,
            provider: Some(account.name.clone()),
            sent_at: Some(ended),
            ..Change::of(current, ended)
        });
        delivered
    }

    /// What this message waits for when it is sent at this time, and the chain has another channel to go on with.
    fn awaits_since(&self, sent_at: Timestamp) -> Option<Awaits> {
        let is_next = |(position, other): (usize, &Notification)| position != self.position && other.status.is_open();
        let has_next = self.chain.iter().enumerate().any(is_next);
        let current = self.current();
        if !has_next || current.awaits.is_none() {
            return None;
        }
        Notification { status: Status::Sent, sent_at: Some(sent_at), ..current.clone() }.waits_for()
    }

    /// The message whose outcome was unknown did leave.
    pub(super) fn found(&self, account: &Arc<Account>, receipt: SendReceipt) -> Delivered {
        let attempt = self.record(Some(account), &Ok(receipt.clone()), self.now, self.now);
        self.sent(account, receipt, self.now).with_attempts(vec![attempt])
    }

    /// The chain is done with this message. What had its turn meanwhile is not needed any more.
    pub(super) fn arrived(&self) -> Delivered {
        let begun = self.chain.iter().filter(|notification| notification.status == Status::Queued);
        let changes = begun.map(|other| Change { status: Status::Pending, ..Change::of(other, self.now) }).collect();
        Delivered::new(Outcome::Done(result_of(self.current())), changes)
    }

    /// An attempt failed, and this is the answer of the last account.
    pub(super) fn failed(
        &self,
        account: Option<&Arc<Account>>,
        failure: SendFailure,
        started: Timestamp,
        ended: Timestamp,
    ) -> Delivered {
        let SendFailure {
            class,
            code,
            reason,
            retry_after,
            unavailable_for,
            devices,
            bounced,
            not_bounced,
            answer,
            ..
        } = failure;
        let failed = Notification {
            error_code: Some(code.to_owned()),
            error_reason: Some(reason.clone()),
            provider: account.map(|account| account.name.clone()),
            // An earlier doubt is settled: it was looked up before this attempt.
            unknown_since: None,
            ..self.current().clone()
        };
        let window = self.notifier.system.context.config.unknown_outcome_window;
        let mut delivered = if class == FailureClass::Unknown && !window.is_zero() {
            // d27: perhaps it left. Ask the provider before it is sent again.
            let at = ended + look_up_interval(window);
            let change = Change {
                next_retry_at: Some(at),
                // What an earlier attempt sent may still come to light.
                unknown_since: Some(self.current().unknown_since.unwrap_or(started)),
                unknown_until: Some(ended + window),
                // The look-ups need no place of their own in the provider's pace.
                paced_until: Some(started),
                ..Change::of(&failed, ended)
            };
            self.later(at, Some(format!("{code} {reason}")), vec![change])
        } else {
            self.attempt_failed(&failed, Verdict { class, retry_after, unavailable_for }, ended)
        };
        delivered.rows.devices = devices;
        let refused = not_bounced.into_iter().flat_map(|in_a_row| in_a_row.0);
        delivered.rows.not_bounced = refused.map(|bounced| (bounced.notification_id, bounced.address)).collect();
        if bounced {
            self.bounce(&mut delivered, answer.as_deref().unwrap_or(&reason), ended);
        }
        delivered
    }

    /// A run was cut off, and the provider does not say whether its message left: it is asked again, as after an attempt that
    /// had no answer.
    pub(super) fn in_doubt(&self, since: Timestamp, window: Duration) -> Delivered {
        let current = self.current();
        let SendFailure { code, reason, .. } = cut_off(current.channel);
        let at = self.now + look_up_interval(window);
        let change = Change {
            error_code: Some(code.to_owned()),
            error_reason: Some(reason.clone()),
            next_retry_at: Some(at),
            unknown_since: Some(since),
            unknown_until: Some(self.now + window),
            paced_until: current.paced_until,
            ..Change::of(current, self.now)
        };
        self.later(at, Some(format!("{code} {reason}")), vec![change])
    }

    /// Asks again a little later, until the window closes; then the attempt counts as failed. It stays in doubt: before
    /// another one it is looked up once more, and without an answer to that none is made.
    pub(super) fn still_unknown(&self) -> Delivered {
        let window = self.notifier.system.context.config.unknown_outcome_window;
        let current = self.current();
        let Some(until) = current.unknown_until.filter(|until| self.now < *until) else {
            return self.attempt_failed(current, Verdict::UNKNOWN, self.now);
        };
        let at = self.now + look_up_interval(window);
        let change = Change {
            next_retry_at: Some(at),
            unknown_since: current.unknown_since,
            unknown_until: Some(until),
            paced_until: current.paced_until,
            ..Change::of(current, self.now)
        };
        self.later(at, None, vec![change])
    }

    /// Permission was withdrawn in the meantime. No attempt was made and none is counted.
    pub(super) fn refused(&self, code: &'static str, reason: &str) -> Delivered {
        let refused = Notification {
            error_code: Some(code.to_owned()),
            error_reason: Some(reason.to_owned()),
            ..self.current().clone()
        };
        self.follow(&refused, Failure::NotPermitted, self.now)
    }

    /// No receipt came in time: the message stays sent.
    pub(super) fn silent(&self) -> Delivered {
        let current = self.current();
        match after_failure(self.chain, self.position, Failure::NoReceipt) {
            Decision::FallBack { next } => {
                let awaited = current.awaits.unwrap_or(Awaited { receipt: AwaitedReceipt::Delivered, seconds: 0 });
                let because =
                    format!("{}: no receipt \"{}\" within {} s", current.channel, awaited.receipt, awaited.seconds);
                self.fall_back(&self.chain[next], FallbackReason::NoReceipt(awaited), because, self.now)
            }
            Decision::RetryIn(_) | Decision::KeepSent { .. } | Decision::GiveUp | Decision::Nothing => self.arrived(),
        }
    }

    /// `failed` is the current message with the error of this attempt.
    fn attempt_failed(&self, failed: &Notification, failure: Verdict, now: Timestamp) -> Delivered {
        let mut attempt = FailedAttempt {
            class: failure.class,
            failures: u32::try_from(failed.retry_count).unwrap_or(u32::MAX),
            unavailable_for: failure.unavailable_for,
            retry_after: failure.retry_after,
            policy: self.notifier.system.context.config.retry,
            jitter: rand::rng().random_range(-1.0..=1.0),
        };
        attempt.failures = attempt.failures.saturating_add(u32::from(attempt.counts()));
        let retry_count = i32::try_from(attempt.failures).unwrap_or(i32::MAX);
        let failed = Notification { retry_count, ..failed.clone() };
        self.follow(&failed, Failure::Attempt(attempt), now)
    }

    /// Carries out what is decided. `failed` is the current message with its error and count.
    fn follow(&self, failed: &Notification, failure: Failure, now: Timestamp) -> Delivered {
        let because = reasons([failed]);
        let unknown_since = failed.unknown_since;
        let spent = Change { status: Status::Failed, unknown_since, ..Change::of(failed, now) };
        match after_failure(self.chain, self.position, failure) {
            Decision::RetryIn(delay) => {
                let at = now + delay;
                let change = Change { next_retry_at: Some(at), unknown_since, ..Change::of(failed, now) };
                self.later(at, Some(because), vec![change])
            }
            Decision::FallBack { next } => {
                let why = FallbackReason::Failed {
                    code: failed.error_code.clone().unwrap_or_default(),
                    reason: failed.error_reason.clone().unwrap_or_default(),
                };
                let mut delivered = self.fall_back(&self.chain[next], why, because, now);
                delivered.rows.changes.push(spent);
                delivered
            }
            Decision::KeepSent { sent } => Delivered::new(Outcome::Done(result_of(&self.chain[sent])), vec![spent]),
            Decision::GiveUp => {
                let with_error = |(position, other)| if position == self.position { failed } else { other };
                Delivered::new(Outcome::Failed(reasons(self.chain.iter().enumerate().map(with_error))), vec![spent])
            }
            // Another message decides, so the chain is looked at again.
            Decision::Nothing => self.later(now, Some(because), vec![spent]),
        }
    }

    /// The next channel has its turn; the journal says why.
    fn fall_back(&self, next: &Notification, why: FallbackReason, because: String, now: Timestamp) -> Delivered {
        let turn = Change { status: Status::Queued, ..Change::of(next, now) };
        let outcome = Outcome::Later { at: now, lane: next.channel.lane(), because: Some(because) };
        let mut delivered = Delivered::new(outcome, vec![turn]);
        let fact = Fact::FellBack { to: next.channel, why };
        delivered.rows.journal.push(Entry::about(self.current(), fact, now));
        delivered
    }

    /// The address itself was refused for good: it is not written to again before staff have looked at it.
    fn bounce(&self, delivered: &mut Delivered, words: &str, now: Timestamp) {
        let current = self.current();
        let own = delivered.rows.changes.iter_mut().filter(|change| change.id == current.id);
        own.for_each(|change| change.status = Status::Bounced);
        delivered.rows.bounces.push(Bounce::of(current, words, now));
        delivered.rows.journal.push(Entry::about(current, Fact::Suppressed {}, now));
    }
}

/// What is kept with a task that reached its person.
fn result(id: Id, channel: Channel, provider_message_id: Option<&str>) -> Value {
    json!({ "notification_id": id, "channel": channel, "provider_message_id": provider_message_id })
}

fn result_of(notification: &Notification) -> Value {
    result(notification.id, notification.channel, notification.provider_message_id.as_deref())
}
