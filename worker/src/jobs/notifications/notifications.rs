//! Delivers a chain of notifications: one channel after the other until a provider takes the message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::group_commit::Group;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::dispatch::DeferReason;
use recado_notifications::fallback::{Decision, FailureClass, decide};
use recado_notifications::jobs::{RetryFailedNotifications, SendNotification};
use recado_notifications::journal::{Entry, Kind};
use recado_notifications::notifications::{self, Attempt, Awaits, Change, Notification, Status};
use recado_notifications::orchestration::AwaitedReceipt;
use recado_notifications::push;
use recado_notifications::suppressions::Bounce;
use recado_notifications::targets::Target;
use recado_notifications::unsubscribe::Unsubscription;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::tasks::Claimed;
use serde_json::json;
use tokio::time::Instant;

use super::Notifier;
use super::effects::Rows;
use super::permission::{Permission, PermissionRequest};
use crate::channels::{
    Account, Lookup, Message, Recipient, SendFailure, SendReceipt, Subscription, channels_failure, is_accounts_fault,
    not_configured, plain_text,
};
use crate::registry::{Effects, JobError, Outcome};

/// Loads chains; claims that run at the same time share a statement.
pub(crate) type Chains = Group<Id, Result<Vec<Notification>, Arc<db::Error>>>;

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
                Err(error) => {
                    let error = Arc::new(error);
                    tasks.iter().map(|_| Err(error.clone())).collect()
                }
            }
        }
    })
}

/// A step towards the person: whatever the chain needs now.
pub(crate) async fn send(
    notifier: Arc<Notifier>,
    task: Arc<Claimed>,
    _: SendNotification,
) -> Result<Performed, JobError> {
    let chain = notifier.chains.call(task.id).await??;
    let now = notifier.system.context.clock.now();
    let delivery = |position| Delivery { notifier: &notifier, chain: &chain, position, now };
    match next_step(&chain, now) {
        Step::Send(position) => deliver(&delivery(position), &task).await,
        Step::Wait { sent, until } => Ok(delivery(sent).later(until, delivery(sent).lane(), None, Vec::new())),
        Step::FallBack { silent, next } => Ok(delivery(silent).silent(&chain[next])),
        Step::Arrived(position) => Ok(delivery(position).arrived()),
        Step::Spent => Ok(Outcome::Failed(reasons(chain.iter())).into()),
    }
}

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// This message has its turn.
    Send(usize),
    /// It was sent, and its receipt may still come.
    Wait { sent: usize, until: Timestamp },
    /// Its receipt did not come in time: the next one has its turn.
    FallBack { silent: usize, next: usize },
    /// It reached the person as far as anybody wanted to know.
    Arrived(usize),
    /// No message is left.
    Spent,
}

/// What a chain needs now. A message that needs no receipt, or has it, ends the chain, whatever else was begun meanwhile.
fn next_step(chain: &[Notification], now: Timestamp) -> Step {
    let arrived = |notification: &Notification| notification.status.is_sent() && notification.awaits().is_none();
    if let Some(position) = chain.iter().position(arrived) {
        return Step::Arrived(position);
    }
    if let Some(position) = chain.iter().position(|notification| notification.status == Status::Queued) {
        return Step::Send(position);
    }
    let next = chain.iter().position(|notification| notification.status == Status::Pending);
    let silent = chain.iter().rposition(|notification| notification.status.is_sent());
    match (silent, next) {
        (Some(silent), Some(next)) => match chain[silent].awaits() {
            Some(Awaits { until, .. }) if now < until => Step::Wait { sent: silent, until },
            _ => Step::FallBack { silent, next },
        },
        // Nobody is left to try; that a provider took it is what is known.
        (Some(silent), None) => Step::Arrived(silent),
        (None, Some(next)) => Step::Send(next),
        (None, None) => Step::Spent,
    }
}

/// A message has its turn: asks for permission, sends, and decides what follows.
async fn deliver(delivery: &Delivery<'_>, task: &Claimed) -> Result<Performed, JobError> {
    if delivery.lane() != task.lane {
        // Revived in the middle of its chain: each channel has a lane of its own.
        return Ok(delivery.later(delivery.now, delivery.lane(), None, Vec::new()));
    }
    let permission = delivery.permission(task).await?;
    if let Permission::Refused(code, reason) = permission {
        return Ok(delivery.refused(code, reason));
    }
    let accounts = delivery.accounts().await?;
    let message = delivery.message().await?;
    if let Some(since) = delivery.unknown_since(task) {
        if let Some((account, receipt)) = delivery.look_up(&accounts, &message, since).await? {
            return Ok(delivery.found(&account, receipt));
        }
        if delivery.current().unknown_since.is_some() {
            return Ok(delivery.still_unknown(since));
        }
    }
    // After the look-up: a message that has left disturbs nobody any more.
    if let Permission::Quiet(until) = permission {
        return Ok(delivery.quiet_until(until));
    }
    if let Some(slot) = delivery.throttled_to().await? {
        return Ok(delivery.throttled_until(slot));
    }
    delivery.attempt_in_order(&accounts, &message).await
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

/// How long the judgement of the door holds: a queue that is worked off normally asks nobody again.
const JUDGED_FOR: Duration = Duration::from_secs(60);

/// One notification of a chain, at its turn.
struct Delivery<'d> {
    notifier: &'d Notifier,
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
        self.current().channel.lane()
    }

    /// Time has passed since the door, so that what was judged there may be different now.
    fn is_later_attempt(&self, task: &Claimed) -> bool {
        let current = self.current();
        let has_waited = current.send_at.is_some() || self.now.since(task.created_at) >= JUDGED_FOR;
        has_waited || task.attempt > 1 || self.position > 0 || current.retry_count > 0
    }

    /// Asks again before every later attempt, so that an opt-out between dispatch and fallback counts (d12). A first attempt
    /// that follows the door at once was judged there, and costs no query.
    async fn permission(&self, task: &Claimed) -> Result<Permission, JobError> {
        if !self.is_later_attempt(task) {
            return Ok(Permission::Granted);
        }
        Ok(self.notifier.permissions.call(PermissionRequest::about(self.current(), self.now)).await??)
    }

    fn quiet_until(&self, until: Timestamp) -> Performed {
        let reason = DeferReason::QuietHours;
        let sentence = reason.sentence(until, self.notifier.system.context.config.time_zone);
        self.held_back_until(until, Kind::Deferred, format!("{}: {sentence}", reason.as_str()))
    }

    /// The moment at which this customer may get another message, when it is not now.
    async fn throttled_to(&self) -> Result<Option<Timestamp>, JobError> {
        let per_hour = self.notifier.system.context.config.recipient_throttle_per_hour;
        let current = self.current();
        if per_hour == 0 || current.critical {
            return Ok(None);
        }
        // Who has a place keeps it, until it has left the window.
        if let Some(place) = current.admitted_at.filter(|place| self.now < *place + notifications::THROTTLE_WINDOW) {
            return Ok((place > self.now).then_some(place));
        }
        let mut session = self.notifier.system.context.db.begin().await?;
        let place = notifications::admit(&mut session, current, per_hour, self.now).await?;
        session.commit().await?;
        Ok((place > self.now).then_some(place))
    }

    fn throttled_until(&self, place: Timestamp) -> Performed {
        let config = &self.notifier.system.context.config;
        let until = place.to_utc().with_timezone(&config.time_zone).format("%Y-%m-%d %H:%M");
        let most = config.recipient_throttle_per_hour;
        let detail =
            format!("El cliente ya recibió {most} mensajes en una hora; saldrá el {until} ({}).", config.time_zone);
        self.held_back_until(place, Kind::Throttled, detail)
    }

    /// It leaves later, and the journal says why. No attempt was made and none is counted.
    fn held_back_until(&self, at: Timestamp, kind: Kind, detail: String) -> Performed {
        let current = self.current();
        let change =
            Change { next_retry_at: Some(at), unknown_since: current.unknown_since, ..Change::of(current, self.now) };
        let entry = Entry::about(current, kind, detail, self.now);
        Performed { journal: vec![entry], ..self.later(at, self.lane(), None, vec![change]) }
    }

    /// The accounts to try, in their order.
    async fn accounts(&self) -> Result<Vec<Arc<Account>>, JobError> {
        let current = self.current();
        let place_at = current.paced_until.and(current.provider.as_deref());
        Ok(self.notifier.providers.accounts(current.taller_id.as_deref(), current.channel, place_at).await?)
    }

    /// Did the message leave after all, and through which account? The one that was used is asked, also when nothing may
    /// leave through it any more; all of them when the run was cut off before it could say.
    async fn look_up(
        &self,
        accounts: &[Arc<Account>],
        message: &Message,
        since: Timestamp,
    ) -> Result<Option<(Arc<Account>, SendReceipt)>, JobError> {
        let (current, providers) = (self.current(), &self.notifier.providers);
        let asked = match current.unknown_since.and(current.provider.as_deref()) {
            Some(used) => providers.named(current.channel, used).await?.map(Arc::new).into_iter().collect(),
            None => accounts.to_vec(),
        };
        for account in asked {
            if let Lookup::Sent(receipt) = providers.find(&account, message, since).await {
                return Ok(Some((account, receipt)));
            }
        }
        Ok(None)
    }

    /// One attempt: the accounts one after the other, until one takes the message, or fails by the message's own fault.
    async fn attempt_in_order(&self, accounts: &[Arc<Account>], message: &Message) -> Result<Performed, JobError> {
        let began = Instant::now();
        let (mut attempts, mut failures) = (Vec::new(), Vec::new());
        for (number, account) in accounts.iter().enumerate() {
            if let Some(slot) = self.paced_to(account).await? {
                return Ok(self.wait_for_slot(account, slot).with(attempts));
            }
            let started = self.notifier.system.context.clock.now() + TICK * u32::try_from(number).unwrap_or_default();
            let result = self.notifier.providers.send(account, message).await;
            let ended = self.notifier.system.context.clock.now();
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
    async fn paced_to(&self, account: &Account) -> Result<Option<Timestamp>, JobError> {
        let Some(pace) = &account.pace else { return Ok(None) };
        let current = self.current();
        let is_here = current.provider.as_ref().is_none_or(|provider| *provider == account.name);
        // Who has a place keeps it, even when this host's clock is behind.
        if let Some(slot) = current.paced_until.filter(|_| is_here) {
            return Ok((slot > self.now).then_some(slot));
        }
        let mut session = self.notifier.system.context.db.begin().await?;
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

    async fn message(&self) -> Result<Message, JobError> {
        let current = self.current();
        let recipient = match current.channel {
            Channel::Email => Recipient::Email(current.recipient_address.clone()),
            Channel::Whatsapp => Recipient::Whatsapp(current.recipient_address.clone()),
            Channel::Push => {
                let customer = [current.customer_id.clone()];
                let devices = push::of_customers(&mut self.notifier.system.context.db.read().await?, &customer).await?;
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

    /// Every mail to a client lets her say no from inside her mail program (RFC 8058).
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

    /// Since when it is unknown whether this message left: an attempt had no answer, or a run was cut off.
    fn unknown_since(&self, task: &Claimed) -> Option<Timestamp> {
        let current = self.current();
        current.unknown_since.or(task.cut_off.then_some(current.created_at))
    }

    fn attempt(
        &self,
        account: Option<&Arc<Account>>,
        result: &Result<SendReceipt, SendFailure>,
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

    /// The provider took it. Where a receipt is awaited, the task goes on when its time is up, or when it comes.
    fn sent(&self, account: &Account, receipt: SendReceipt, ended: Timestamp) -> Performed {
        let current = self.current();
        let sent = Notification { status: Status::Sent, sent_at: Some(ended), ..current.clone() };
        let change = Change {
            status: Status::Sent,
            error_code: None,
            error_reason: None,
            provider_message_id: receipt.provider_message_id.clone(),
            provider: Some(account.name.clone()),
            sent_at: Some(ended),
            ..Change::of(current, ended)
        };
        let mut performed = match (sent.awaits(), self.next()) {
            (Some(Awaits { until, .. }), Some(_)) => self.later(until, self.lane(), None, vec![change]),
            _ => {
                let result = delivered(current.id, current.channel, receipt.provider_message_id.as_deref());
                Performed { changes: vec![change], ..Outcome::Done(result).into() }
            }
        };
        performed.gone = receipt.gone;
        performed
    }

    /// The chain is done with this message. What had its turn meanwhile is not needed any more.
    fn arrived(&self) -> Performed {
        let current = self.current();
        let result = delivered(current.id, current.channel, current.provider_message_id.as_deref());
        let begun = self.chain.iter().filter(|notification| notification.status == Status::Queued);
        let changes = begun.map(|other| Change { status: Status::Pending, ..Change::of(other, self.now) }).collect();
        Performed { changes, ..Outcome::Done(result).into() }
    }

    /// No receipt in time: the message stays sent, and the next channel has its turn.
    fn silent(&self, next: &Notification) -> Performed {
        let current = self.current();
        let awaited = current.await_receipt.map_or("delivered", AwaitedReceipt::as_str);
        let why = format!("no receipt \"{awaited}\" within {} s", current.await_seconds.unwrap_or_default());
        let turn = Change { status: Status::Queued, ..Change::of(next, self.now) };
        let because = format!("{}: {why}", current.channel);
        let mut performed = self.later(self.now, next.channel.lane(), Some(because), vec![turn]);
        performed.journal.push(self.fell_back(next, &why, self.now));
        performed
    }

    fn fell_back(&self, next: &Notification, why: &str, now: Timestamp) -> Entry {
        Entry::about(self.current(), Kind::FellBack, format!("to {}: {why}", next.channel), now)
    }

    /// The message whose outcome was unknown did leave.
    fn found(&self, account: &Arc<Account>, receipt: SendReceipt) -> Performed {
        let attempt = self.attempt(Some(account), &Ok(receipt.clone()), self.now, self.now);
        self.sent(account, receipt, self.now).with(vec![attempt])
    }

    /// Asks again a little later, until the window closes; then the attempt counts as failed.
    fn still_unknown(&self, since: Timestamp) -> Performed {
        let window = self.notifier.system.context.config.unknown_outcome_window;
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
        let SendFailure { class, code, reason, retry_after, gone, bounced, answer, .. } = failure;
        let window = self.notifier.system.context.config.unknown_outcome_window;
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
        if bounced {
            delivery.bounce(&mut performed, &answer.unwrap_or(reason), ended);
        }
        performed
    }

    /// The address itself was refused for good: nobody writes to it again before staff have looked at it.
    fn bounce(&self, performed: &mut Performed, words: &str, now: Timestamp) {
        let current = self.current();
        let spent = performed.changes.iter_mut().filter(|change| change.id == current.id);
        spent.for_each(|change| change.status = Status::Bounced);
        performed.bounces.push(Bounce::of(current, words, now));
        let detail = "the address bounced; nothing is sent to it until the suppression is lifted";
        performed.journal.push(Entry::about(current, Kind::Suppressed, detail, now));
    }

    /// Somebody said no in the meantime. No attempt was made and none is counted.
    fn refused(&self, code: &'static str, reason: &str) -> Performed {
        let refused = Notification {
            error_code: Some(code.to_owned()),
            error_reason: Some(reason.to_owned()),
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
        let policy = self.notifier.system.context.config.retry;
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
                let entry = self.fell_back(next, because.as_deref().unwrap_or_default(), now);
                let mut performed = self.later(now, next.channel.lane(), because, vec![spent, turn]);
                performed.journal.push(entry);
                performed
            }
            (Decision::FallBack | Decision::GiveUp, _) => {
                // A message whose receipt never came was sent all the same; that the channels after it failed makes it no
                // failure, and a retry would send it twice.
                let outcome = match self.chain.iter().find(|notification| notification.status.is_sent()) {
                    Some(sent) => Outcome::Done(delivered(sent.id, sent.channel, sent.provider_message_id.as_deref())),
                    None => Outcome::Failed(reasons(self.chain.iter())),
                };
                Performed { changes: vec![spent], ..outcome.into() }
            }
        }
    }

    fn later(&self, at: Timestamp, lane: Lane, because: Option<String>, changes: Vec<Change>) -> Performed {
        Performed { changes, ..Outcome::Later { at, lane, because }.into() }
    }
}

/// How a step towards the person ended, and what it changes.
pub(crate) struct Performed {
    outcome: Outcome,
    changes: Vec<Change>,
    attempts: Vec<Attempt>,
    gone: Vec<Id>,
    bounces: Vec<Bounce>,
    journal: Vec<Entry>,
}

impl From<Outcome> for Performed {
    fn from(outcome: Outcome) -> Self {
        let Rows { changes, attempts, gone, bounces, journal } = Rows::default();
        Self { outcome, changes, attempts, gone, bounces, journal }
    }
}

impl From<Performed> for Effects {
    fn from(performed: Performed) -> Self {
        let Performed { outcome, changes, attempts, gone, bounces, journal } = performed;
        Rows { changes, attempts, gone, bounces, journal }.with(outcome)
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
pub(crate) async fn retry_failed(
    notifier: Arc<Notifier>,
    _: Arc<Claimed>,
    _: RetryFailedNotifications,
) -> Result<Outcome, JobError> {
    let context = &notifier.system.context;
    let mut session = context.db.begin().await?;
    let rings = notifications::redrive_failed(&mut session, context.clock.now(), REDRIVE_BATCH).await?;
    session.commit().await?;
    context.ring(&rings).await;
    Ok(Outcome::Done(json!({ "redriven": rings.len() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn message(channel: Channel, status: Status, awaited: Option<AwaitedReceipt>) -> Notification {
        Notification {
            id: Id::of_name(channel.as_str()),
            correlation_id: Id::of_name("correlation"),
            task_id: Id::of_name("task"),
            event_type: "custom".to_owned(),
            customer_id: "customer-001".to_owned(),
            taller_id: None,
            target: Target::Clients,
            channel,
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
            paced_until: None,
            provider_message_id: None,
            provider: None,
            redrives: 0,
            await_receipt: awaited,
            await_seconds: awaited.map(|_| 600),
            critical: false,
            send_at: None,
            admitted_at: None,
            sent_at: status.is_sent().then(|| at(0)),
            delivered_at: None,
            read_at: None,
            created_at: at(0),
            updated_at: at(0),
        }
    }

    /// A chain of WhatsApp, which waits for a receipt or not, and email.
    #[test]
    fn where_a_chain_stands() {
        use AwaitedReceipt::{Delivered as ForDelivered, Read as ForRead};
        use Status::{Bounced, Cancelled, Delivered, Failed, Pending, Queued, Read, Sent};
        let wait = Step::Wait { sent: 0, until: at(600) };
        let fall_back = Step::FallBack { silent: 0, next: 1 };
        let table = [
            ((Queued, None), Pending, 0, Step::Send(0)),
            ((Pending, None), Pending, 0, Step::Send(0)),
            ((Failed, None), Queued, 0, Step::Send(1)),
            ((Bounced, None), Pending, 0, Step::Send(1)),
            ((Sent, None), Pending, 0, Step::Arrived(0)),
            ((Failed, None), Sent, 0, Step::Arrived(1)),
            ((Failed, None), Failed, 0, Step::Spent),
            ((Cancelled, None), Cancelled, 0, Step::Spent),
            // Sent is not enough here.
            ((Sent, Some(ForDelivered)), Pending, 599, wait),
            ((Sent, Some(ForDelivered)), Pending, 600, fall_back),
            ((Delivered, Some(ForRead)), Pending, 599, wait),
            ((Delivered, Some(ForRead)), Pending, 600, fall_back),
            ((Delivered, Some(ForDelivered)), Pending, 0, Step::Arrived(0)),
            ((Read, Some(ForDelivered)), Pending, 0, Step::Arrived(0)),
            ((Read, Some(ForRead)), Pending, 900, Step::Arrived(0)),
            // The next channel has its turn.
            ((Sent, Some(ForDelivered)), Queued, 900, Step::Send(1)),
            ((Sent, Some(ForDelivered)), Sent, 900, Step::Arrived(1)),
            ((Delivered, Some(ForDelivered)), Queued, 900, Step::Arrived(0)),
            ((Sent, Some(ForDelivered)), Failed, 900, Step::Arrived(0)),
            ((Sent, Some(ForDelivered)), Cancelled, 0, Step::Arrived(0)),
        ];
        for ((whatsapp, awaited), email, now, expected) in table {
            let chain = [message(Channel::Whatsapp, whatsapp, awaited), message(Channel::Email, email, None)];
            assert_eq!(next_step(&chain, at(now)), expected, "{whatsapp:?} {awaited:?}, {email:?}, {now} s");
        }
        assert_eq!(next_step(&[], at(0)), Step::Spent);
    }
}
