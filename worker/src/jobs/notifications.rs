//! Delivers a chain of notifications: one channel after the other until a provider takes the message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use recado_shared::channels::Channel;
use recado_shared::clock::Timestamp;
use recado_shared::context::Context;
use recado_shared::fallback::{Decision, FailureClass, decide};
use recado_shared::group::Group;
use recado_shared::ids::Id;
use recado_shared::notifications::{self, Attempt, Change, Notification, Status};
use recado_shared::queue::Lane;
use recado_shared::tasks::Claimed;
use recado_shared::{customers, push};
use serde_json::json;
use tokio::time::Instant;

use crate::channels::{
    Account, Lookup, Message, Receipt, Recipient, SendFailure, Subscription, channels_failure, is_accounts_fault,
    not_configured, plain_text,
};
use crate::run::{Outcome, Performed, Runner, Trouble};

/// Loads chains; claims that run at the same time share a statement.
pub(crate) type Chains = Group<Id, Result<Vec<Notification>, String>>;

pub(crate) fn load_together(context: Context) -> Chains {
    Group::spawn(1_000, move |tasks: Arc<Vec<Id>>| {
        let context = context.clone();
        async move {
            let loaded = async { notifications::chains(&mut context.db.read().await?, &tasks).await }.await;
            match loaded {
                Ok(notifications) => {
                    let mut chains: HashMap<Id, Vec<Notification>> = HashMap::with_capacity(tasks.len());
                    for notification in notifications {
                        chains.entry(notification.task_id).or_default().push(notification);
                    }
                    tasks.iter().map(|task| Ok(chains.remove(task).unwrap_or_default())).collect()
                }
                Err(error) => tasks.iter().map(|_| Err(error.to_string())).collect(),
            }
        }
    })
}

/// A step towards the person: asks for permission, sends, and decides what follows.
pub(crate) async fn send(runner: &Runner, task: &Claimed) -> Result<Performed, Trouble> {
    let chain = runner.chains.call(task.id).await??;
    let Some(position) = chain.iter().position(|notification| notification.status.is_open()) else {
        return Ok(nothing_to_send(&chain).into());
    };
    let delivery = Delivery { runner, chain: &chain, position, now: runner.context.clock.now() };
    if delivery.lane() != task.lane {
        // Revived in the middle of its chain: each channel has a lane of its own.
        return Ok(delivery.later(delivery.now, delivery.lane(), None, Vec::new()));
    }
    if delivery.is_later_attempt(task)
        && let Some(refusal) = delivery.refusal().await?
    {
        return Ok(delivery.refused(refusal));
    }
    let accounts = delivery.accounts().await?;
    let message = delivery.message().await?;
    if let Some(since) = delivery.unknown_since(task) {
        if let Some((account, receipt)) = delivery.look_up(&accounts, &message, since).await {
            return Ok(delivery.found(&account, receipt));
        }
        if delivery.current().unknown_since.is_some() {
            return Ok(delivery.still_unknown(since));
        }
    }
    delivery.attempt_in_order(&accounts, &message).await
}

fn nothing_to_send(chain: &[Notification]) -> Outcome {
    match chain.iter().find(|notification| notification.status.is_sent()) {
        Some(sent) => Outcome::Done(delivered(sent.id, sent.channel, sent.provider_message_id.as_deref())),
        None => Outcome::Failed(reasons(chain.iter())),
    }
}

fn delivered(id: Id, channel: Channel, provider_message_id: Option<&str>) -> serde_json::Value {
    json!({ "notification_id": id, "channel": channel, "provider_message_id": provider_message_id })
}

/// Why each channel failed, in one line.
fn reasons<'n>(chain: impl Iterator<Item = &'n Notification>) -> String {
    let reason = |notification: &Notification| {
        let code = notification.error_code.as_deref().unwrap_or("cancelled");
        format!("{}: {code} {}", notification.channel, notification.error_reason.as_deref().unwrap_or_default())
    };
    let reasons: Vec<String> = chain.map(reason).map(|reason| reason.trim().to_owned()).collect();
    if reasons.is_empty() { "its notifications no longer exist".to_owned() } else { reasons.join("; ") }
}

/// One notification of a chain, at its turn.
struct Delivery<'d> {
    runner: &'d Runner,
    chain: &'d [Notification],
    position: usize,
    now: Timestamp,
}

impl Delivery<'_> {
    fn current(&self) -> &Notification {
        &self.chain[self.position]
    }

    fn next(&self) -> Option<&Notification> {
        self.chain[self.position + 1..].iter().find(|notification| notification.status.is_open())
    }

    fn lane(&self) -> Lane {
        self.current().channel.into()
    }

    /// Time has passed since the door.
    fn is_later_attempt(&self, task: &Claimed) -> bool {
        task.attempt > 1 || self.position > 0 || self.current().retry_count > 0
    }

    /// Asks again before every later attempt, so that an opt-out between dispatch and fallback counts (d12).
    async fn refusal(&self) -> Result<Option<&'static str>, Trouble> {
        let customer = [self.current().customer_id.clone()];
        let preferences = customers::preferences(&mut self.runner.context.db.read().await?, &customer).await?;
        let refused =
            |channel| preferences.iter().any(|preference| preference.channel == channel && !preference.enabled);
        Ok(refused(self.current().channel).then_some("OPTED_OUT"))
    }

    /// The accounts to try, in their order.
    async fn accounts(&self) -> Result<Vec<Arc<Account>>, Trouble> {
        let current = self.current();
        let place_at = current.paced_until.and(current.provider.as_deref());
        Ok(self.runner.providers.accounts(current.taller_id.as_deref(), current.channel, place_at).await?)
    }

    /// Did the message leave after all, and through which account? The one that was used is asked; all of them when the
    /// run was cut off before it could say.
    async fn look_up(
        &self,
        accounts: &[Arc<Account>],
        message: &Message,
        since: Timestamp,
    ) -> Option<(Arc<Account>, Receipt)> {
        let current = self.current();
        let used = current.unknown_since.and(current.provider.as_deref());
        for account in accounts.iter().filter(|account| used.is_none_or(|used| used == account.name)) {
            if let Lookup::Sent(receipt) = self.runner.providers.find(account, message, since).await {
                return Some((account.clone(), receipt));
            }
        }
        None
    }

    /// One attempt: the accounts one after the other, until one takes the message, or fails by the message's own fault.
    async fn attempt_in_order(&self, accounts: &[Arc<Account>], message: &Message) -> Result<Performed, Trouble> {
        let began = Instant::now();
        let (mut attempts, mut failures) = (Vec::new(), Vec::new());
        for (number, account) in accounts.iter().enumerate() {
            if let Some(slot) = self.paced_to(account).await? {
                return Ok(self.wait_for_slot(account, slot).with(attempts));
            }
            let started = self.runner.context.clock.now() + TICK * u32::try_from(number).unwrap_or_default();
            let result = self.runner.providers.send(account, message).await;
            let ended = self.runner.context.clock.now();
            attempts.push(self.attempt(Some(account), &result, started, ended));
            let may_go_on = number + 1 < accounts.len() && began.elapsed() < FAILOVER_WITHIN;
            match result {
                Ok(receipt) => return Ok(self.sent(account, receipt, ended).with(attempts)),
                Err(failure) if may_go_on && is_accounts_fault(&failure) => failures.push(failure),
                Err(failure) => {
                    let failure = channels_failure(&failures, failure);
                    return Ok(self.failed(Some(account), failure, started, ended).with(attempts));
                }
            }
        }
        let failure = not_configured(self.current().channel);
        let attempt = self.attempt(None, &Err(failure.clone()), self.now, self.now);
        Ok(self.failed(None, failure, self.now, self.now).with(vec![attempt]))
    }

    /// The moment that a paced account has free, when it is not now.
    async fn paced_to(&self, account: &Account) -> Result<Option<Timestamp>, Trouble> {
        let Some(pace) = &account.pace else { return Ok(None) };
        let current = self.current();
        let is_here = current.provider.as_ref().is_none_or(|provider| *provider == account.name);
        // Who has a place keeps it, even when this host's clock is behind.
        if let Some(slot) = current.paced_until.filter(|_| is_here) {
            return Ok((slot > self.now).then_some(slot));
        }
        let mut session = self.runner.context.db.begin().await?;
        let slot = notifications::reserve(&mut session, &pace.key, pace.per_minute, self.now).await?;
        session.commit().await?;
        Ok((slot > self.now).then_some(slot))
    }

    fn wait_for_slot(&self, account: &Account, slot: Timestamp) -> Performed {
        let current = self.current();
        let change = Change {
            next_retry_at: Some(slot),
            unknown_since: current.unknown_since,
            paced_until: Some(slot),
            provider: Some(account.name.clone()),
            ..Change::of(current, self.now)
        };
        self.later(slot, self.lane(), None, vec![change])
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

    async fn message(&self) -> Result<Message, Trouble> {
        let current = self.current();
        let recipient = match current.channel {
            Channel::Email => Recipient::Email(current.recipient_address.clone()),
            Channel::Whatsapp => Recipient::Whatsapp(current.recipient_address.clone()),
            Channel::Push => {
                let customer = [current.customer_id.clone()];
                let devices = push::of_customers(&mut self.runner.context.db.read().await?, &customer).await?;
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
            click_url: self.runner.context.config.frontend_url.clone(),
            sender: match current.channel {
                Channel::Email => self.runner.providers.sender(current.taller_id.as_deref()).await?,
                Channel::Whatsapp | Channel::Push => None,
            },
        })
    }

    /// Since when it is unknown whether this message left: an attempt had no answer, or a run was cut off.
    fn unknown_since(&self, task: &Claimed) -> Option<Timestamp> {
        let current = self.current();
        current.unknown_since.or(task.cut_off.then_some(current.created_at))
    }

    fn attempt(
        &self,
        account: Option<&Arc<Account>>,
        result: &Result<Receipt, SendFailure>,
        started: Timestamp,
        ended: Timestamp,
    ) -> Attempt {
        let current = self.current();
        let took = ended.since(started);
        let mut attempt = Attempt {
            id: Id::new(started),
            notification_id: current.id,
            channel: current.channel,
            started_at: started,
            duration_ms: i32::try_from(took.as_millis()).unwrap_or(i32::MAX),
            outcome: "sent".to_owned(),
            error_code: None,
            error_reason: None,
            provider_status: None,
            provider_answer: None,
            provider: account.map(|account| account.name.clone()),
        };
        match result {
            Ok(receipt) => {
                attempt.provider_status = receipt.status.map(i32::from);
                attempt.provider_answer = Some(receipt.answer.clone());
            }
            Err(failure) => {
                attempt.outcome = failure.class.as_str().to_owned();
                attempt.error_code = Some(failure.code.to_owned());
                attempt.error_reason = Some(failure.reason.clone());
                attempt.provider_status = failure.status.map(i32::from);
                attempt.provider_answer = failure.answer.clone();
            }
        }
        metrics::counter!("recado_attempts_total", "channel" => current.channel.as_str(), "outcome" => attempt.outcome.clone())
            .increment(1);
        metrics::histogram!("recado_attempt_seconds", "channel" => current.channel.as_str()).record(took.as_secs_f64());
        attempt
    }

    fn sent(&self, account: &Account, receipt: Receipt, ended: Timestamp) -> Performed {
        let current = self.current();
        let change = Change {
            status: Status::Sent,
            error_code: None,
            error_reason: None,
            provider_message_id: receipt.provider_message_id.clone(),
            provider: Some(account.name.clone()),
            sent_at: Some(ended),
            ..Change::of(current, ended)
        };
        let result = delivered(current.id, current.channel, receipt.provider_message_id.as_deref());
        Performed { outcome: Outcome::Done(result), changes: vec![change], attempts: Vec::new(), gone: receipt.gone }
    }

    /// The message whose outcome was unknown did leave.
    fn found(&self, account: &Arc<Account>, receipt: Receipt) -> Performed {
        let attempt = self.attempt(Some(account), &Ok(receipt.clone()), self.now, self.now);
        self.sent(account, receipt, self.now).with(vec![attempt])
    }

    /// Asks again a little later, until the window closes; then the attempt counts as failed.
    fn still_unknown(&self, since: Timestamp) -> Performed {
        let window = self.runner.context.config.unknown_outcome_window;
        if self.now.since(since) >= window {
            return self.failed_for_good(FailureClass::Unknown, None, self.current().retry_count + 1, self.now);
        }
        let current = self.current();
        let at = self.now + look_up_every(window);
        let change = Change {
            next_retry_at: Some(at),
            unknown_since: Some(since),
            paced_until: current.paced_until,
            ..Change::of(current, self.now)
        };
        self.later(at, self.lane(), None, vec![change])
    }

    fn failed(
        &self,
        account: Option<&Arc<Account>>,
        failure: SendFailure,
        started: Timestamp,
        ended: Timestamp,
    ) -> Performed {
        let SendFailure { class, code, reason, retry_after, gone, .. } = failure;
        let window = self.runner.context.config.unknown_outcome_window;
        let current = Notification {
            error_code: Some(code.to_owned()),
            error_reason: Some(reason.clone()),
            provider: account.map(|account| account.name.clone()),
            ..self.current().clone()
        };
        let mut chain = self.chain.to_vec();
        chain[self.position] = current;
        let delivery = Delivery { chain: &chain, ..*self };
        let mut performed = if class == FailureClass::Unknown && !window.is_zero() {
            // d27: perhaps it left. Ask the provider before anything is sent again.
            let at = ended + look_up_every(window);
            let change = Change {
                next_retry_at: Some(at),
                unknown_since: Some(started),
                // The look-ups need no place of their own in the provider's pace.
                paced_until: Some(started),
                ..Change::of(delivery.current(), ended)
            };
            delivery.later(at, self.lane(), Some(format!("{code} {reason}")), vec![change])
        } else {
            delivery.failed_for_good(class, retry_after, self.current().retry_count + 1, ended)
        };
        performed.gone = gone;
        performed
    }

    /// The customer said no in the meantime. No attempt was made and none is counted.
    fn refused(&self, code: &'static str) -> Performed {
        let refused = Notification {
            error_code: Some(code.to_owned()),
            error_reason: Some("the customer switched this channel off after the event was accepted".to_owned()),
            ..self.current().clone()
        };
        let mut chain = self.chain.to_vec();
        chain[self.position] = refused;
        let delivery = Delivery { chain: &chain, ..*self };
        delivery.failed_for_good(FailureClass::Permanent, None, self.current().retry_count, self.now)
    }

    /// An attempt has failed; the policy decides what follows.
    fn failed_for_good(
        &self,
        class: FailureClass,
        retry_after: Option<Duration>,
        failures: i32,
        now: Timestamp,
    ) -> Performed {
        let current = self.current();
        let policy = self.runner.context.config.retry;
        let jitter = rand::rng().random_range(-1.0..=1.0);
        let failed = Change { retry_count: failures, ..Change::of(current, now) };
        let spent = Change { status: Status::Failed, ..failed.clone() };
        let because = Some(reasons(std::iter::once(current)));
        let failures = u32::try_from(failures).unwrap_or(u32::MAX);
        match (decide(policy, class, failures, retry_after, self.next().is_some(), jitter), self.next()) {
            (Decision::RetryIn(delay), _) => {
                let at = now + delay;
                self.later(at, self.lane(), because, vec![Change { next_retry_at: Some(at), ..failed }])
            }
            (Decision::FallBack, Some(next)) => {
                let turn = Change { status: Status::Queued, ..Change::of(next, now) };
                self.later(now, next.channel.into(), because, vec![spent, turn])
            }
            (Decision::FallBack | Decision::GiveUp, _) => Performed {
                outcome: Outcome::Failed(reasons(self.chain.iter())),
                changes: vec![spent],
                attempts: Vec::new(),
                gone: Vec::new(),
            },
        }
    }

    fn later(&self, at: Timestamp, lane: Lane, because: Option<String>, changes: Vec<Change>) -> Performed {
        Performed { outcome: Outcome::Later { at, lane, because }, changes, attempts: Vec::new(), gone: Vec::new() }
    }
}

impl Performed {
    fn with(self, attempts: Vec<Attempt>) -> Self {
        Self { attempts, ..self }
    }
}

impl From<push::Subscription> for Subscription {
    fn from(subscription: push::Subscription) -> Self {
        let push::Subscription { id, endpoint, p256dh, auth, .. } = subscription;
        Self { id, endpoint, p256dh, auth }
    }
}

/// What lies at least between the starts of two attempts: their order is that of the accounts, on the coarsest clock too.
const TICK: Duration = Duration::from_micros(1);

/// How long an attempt may go on to further accounts. Faults that show at once are passed over at once; after one that took
/// longer the message is retried as usual, and then begins with another account, for this one rests.
const FAILOVER_WITHIN: Duration = Duration::from_secs(45);

/// About a dozen look-ups in the window: every 5 s in the default 60.
fn look_up_every(window: Duration) -> Duration {
    (window / 12).max(Duration::from_millis(50))
}

/// How many failed chains the sweep takes at a time (S002-81).
const REDRIVE_BATCH: i64 = 100;

/// Every 15 minutes: chains that failed for passing reasons begin anew (d13).
pub(crate) async fn retry_failed(context: &Context) -> Result<Outcome, Trouble> {
    let mut session = context.db.begin().await?;
    let rings = notifications::redrive_failed(&mut session, context.clock.now(), REDRIVE_BATCH).await?;
    session.commit().await?;
    context.ring(&rings).await;
    Ok(Outcome::Done(json!({ "redriven": rings.len() })))
}
