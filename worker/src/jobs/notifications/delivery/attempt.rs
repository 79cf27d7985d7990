//! One attempt: the accounts one after the other, until one takes the message, and a record of each.

use std::sync::Arc;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::notifications::attempts::{Attempt, Outcome};
use recado_notifications::notifications::{Change, pacing};
use recado_notifications::plain_text::plain_text;
use recado_notifications::push;
use recado_notifications::targets::Target;
use recado_notifications::unsubscribe::Unsubscription;
use recado_queue::samples::Attempted;
use tokio::time::Instant;

use super::Delivery;
use super::effects::Delivered;
use crate::channels::{
    Account, Message, Recipient, SendFailure, SendReceipt, Subscription, channels_failure, is_accounts_fault,
    not_configured,
};
use crate::registry::JobError;

/// How long an attempt may go on to further accounts. Faults that show at once are passed over at once; after one that took
/// longer the message is retried as usual, and then begins with another account, because this one comes last for a while.
const FAILOVER_WINDOW: Duration = Duration::from_secs(45);

impl Delivery<'_> {
    /// Tries the accounts in their order, until one takes the message, or it fails by its own fault.
    pub(super) async fn attempt_in_order(
        &self,
        accounts: &[Arc<Account>],
        message: &Message,
    ) -> Result<Delivered, JobError> {
        let clock = &self.notifier.system.context.clock;
        let began = Instant::now();
        let (mut attempts, mut failures) = (Vec::new(), Vec::new());
        for (number, account) in accounts.iter().enumerate() {
            // The first may have taken its time to fail.
            if number > 0
                && let Some(refused) = self.refused_meanwhile().await?
            {
                return Ok(refused.with_attempts(attempts));
            }
            if let Some(slot) = self.paced_to(account).await? {
                return Ok(self.wait_for_slot(account, slot).with_attempts(attempts));
            }
            let started = clock.now();
            let result = self.notifier.providers.send(account, message).await;
            let ended = clock.now();
            attempts.push(self.record(Some(account), &result, started, ended));
            let may_go_on = number + 1 < accounts.len() && began.elapsed() < FAILOVER_WINDOW;
            match result {
                Ok(receipt) => return Ok(self.sent(account, receipt, ended).with_attempts(attempts)),
                Err(failure) if may_go_on && is_accounts_fault(&failure) => failures.push(failure),
                Err(failure) => {
                    let failure = channels_failure(&failures, failure);
                    return Ok(self.failed(Some(account), failure, started, ended).with_attempts(attempts));
                }
            }
        }
        let failure = not_configured(self.current().channel);
        let attempt = self.record(None, &Err(failure.clone()), self.now, self.now);
        Ok(self.failed(None, failure, self.now, self.now).with_attempts(vec![attempt]))
    }

    /// The moment that a paced account has free, when it is not now.
    async fn paced_to(&self, account: &Account) -> Result<Option<Timestamp>, JobError> {
        let Some(pace) = &account.pace else { return Ok(None) };
        let current = self.current();
        let is_here = current.provider.as_ref().is_none_or(|provider| *provider == account.name);
        // A message that has a place keeps it, even when this host's clock is behind.
        if let Some(slot) = current.paced_until.filter(|_| is_here) {
            return Ok((slot > self.now).then_some(slot));
        }
        let mut session = self.notifier.system.context.db.begin().await?;
        let slot = pacing::reserve(&mut session, &pace.key, pace.per_minute, self.now).await?;
        session.commit().await?;
        Ok((slot > self.now).then_some(slot))
    }

    fn wait_for_slot(&self, account: &Account, slot: Timestamp) -> Delivered {
        let current = self.current();
        let change = Change {
            next_retry_at: Some(slot),
            unknown_since: current.unknown_since,
            paced_until: Some(slot),
            provider: Some(account.name.clone()),
            ..Change::of(current, self.now)
        };
        self.later(slot, None, vec![change])
    }

    /// The message as its adapter gets it.
    pub(super) async fn message(&self) -> Result<Message, JobError> {
        let current = self.current();
        let recipient = match current.channel {
            Channel::Email => Recipient::Email(current.recipient_address.clone()),
            Channel::Whatsapp => Recipient::Whatsapp(current.recipient_address.clone()),
            Channel::Push => {
                let mut session = self.notifier.system.context.db.read().await?;
                let devices = push::of_customer(&mut session, &current.customer_id).await?;
                Recipient::Push(devices.into_iter().map(Subscription::from).collect())
            }
        };
        Ok(Message {
            notification_id: current.id,
            correlation_id: current.correlation_id,
            recipient,
            subject: current.subject.clone(),
            body: self.body(),
            is_html: current.is_html && current.channel == Channel::Email,
            click_url: self.notifier.system.context.config.frontend_url.clone(),
            unsubscribe_url: self.unsubscribe_url(),
            sender: match current.channel {
                Channel::Email => self.notifier.providers.sender(current.taller_id.as_deref()).await?,
                Channel::Whatsapp | Channel::Push => None,
            },
        })
    }

    /// Only email shows HTML; a custom event's words may be HTML on every channel.
    fn body(&self) -> String {
        let current = self.current();
        if current.is_html && current.channel != Channel::Email {
            plain_text(&current.body)
        } else {
            current.body.clone()
        }
    }

    /// Every mail to a client lets them opt out from inside the mail program (RFC 8058).
    fn unsubscribe_url(&self) -> Option<String> {
        let (config, current) = (&self.notifier.system.context.config, self.current());
        let (public_url, key) = (config.public_url.as_deref()?, config.secret_key.as_ref()?);
        let unsubscription = Unsubscription {
            notification_id: current.id,
            customer_id: current.customer_id.clone(),
            channel: current.channel,
        };
        let is_for_client = current.channel == Channel::Email && current.target == Target::Clients;
        is_for_client.then(|| unsubscription.url(public_url, key))
    }

    /// The record of one account's answer, in rows and metrics.
    pub(super) fn record(
        &self,
        account: Option<&Arc<Account>>,
        result: &Result<SendReceipt, SendFailure>,
        started: Timestamp,
        ended: Timestamp,
    ) -> Attempt {
        let current = self.current();
        let took = ended.since(started);
        let failure = result.as_ref().err();
        let outcome = failure.map_or(Outcome::Sent, |failure| failure.class.outcome());
        let channel = current.channel.as_str();
        metrics::counter!("recado_attempts_total", "channel" => channel, "outcome" => outcome.as_str()).increment(1);
        metrics::histogram!("recado_attempt_seconds", "channel" => channel).record(took.as_secs_f64());
        let how = match outcome {
            Outcome::Sent => Attempted::Sent,
            Outcome::Transient | Outcome::Unknown => Attempted::Deferred,
            Outcome::Permanent | Outcome::Misconfigured => Attempted::Failed,
        };
        let name = account.map_or("", |account| account.name.as_str());
        self.notifier.system.context.samples.attempted(self.lane(), name, how, took);
        let (status, answer, name) = match result {
            Ok(receipt) => (receipt.status, Some(receipt.answer.clone()), receipt.provider_message_id.clone()),
            Err(failure) => (failure.status, failure.answer.clone(), None),
        };
        Attempt {
            id: Id::new(started),
            notification_id: current.id,
            number: 1,
            channel: current.channel,
            started_at: started,
            duration_ms: i32::try_from(took.as_millis()).unwrap_or(i32::MAX),
            outcome,
            error_code: failure.map(|failure| failure.code.to_owned()),
            error_reason: failure.map(|failure| failure.reason.clone()),
            provider_status: status.map(i32::from),
            provider_answer: answer,
            provider: account.map(|account| account.name.clone()),
            provider_message_id: name.filter(|_| current.channel.has_receipts()),
        }
    }
}

impl From<push::Subscription> for Subscription {
    fn from(subscription: push::Subscription) -> Self {
        let push::Subscription { id, endpoint, p256dh, auth, failing_since, .. } = subscription;
        Self { id, endpoint, p256dh, auth, failing_since }
    }
}
