//! What was sent, is being sent, or will be sent if the channel before it fails.
//!
//! A *chain* is the list of notifications that share a task: the same event for the same person, one notification per
//! channel, in the order in which they are tried. Words and addresses were decided at the door.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::channels::Channel;
use crate::orchestration::AwaitedReceipt;
use crate::targets::Target;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Rows, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::ring::Ring;
use recado_queue::tasks;

/// Where a notification stands (S002-70, and `cancelled`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for the channels before it to fail.
    Pending,
    /// Its turn: being tried, or about to be.
    Queued,
    /// The provider took it.
    Sent,
    Delivered,
    Read,
    Bounced,
    Failed,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Queued,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Bounced,
        Self::Failed,
        Self::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Bounced => "bounced",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the message may still leave.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Queued)
    }

    /// Whether a provider took the message.
    pub fn is_sent(self) -> bool {
        matches!(self, Self::Sent | Self::Delivered | Self::Read)
    }
}

impl TryFrom<String> for Status {
    type Error = String;

    fn try_from(word: String) -> std::result::Result<Self, String> {
        Self::ALL.into_iter().find(|status| status.as_str() == word).ok_or(format!("`{word}` is not a status"))
    }
}

/// A notification to be written.
#[derive(Clone, Debug, Serialize)]
pub struct NewNotification {
    pub id: Id,
    pub correlation_id: Id,
    pub task_id: Id,
    pub event_type: String,
    pub customer_id: String,
    pub taller_id: Option<String>,
    pub target: &'static str,
    pub channel: Channel,
    pub fallback_order: i32,
    pub status: Status,
    pub recipient_address: String,
    pub template_id: Option<Id>,
    pub template_name: String,
    pub subject: String,
    pub body: String,
    pub is_html: bool,
    pub max_retries: i32,
    /// Without this receipt so many seconds after it was sent, the next channel of the chain is tried. Only where there is
    /// a next one.
    pub await_receipt: Option<AwaitedReceipt>,
    pub await_seconds: Option<i32>,
    /// The priority that the customer gave the channel; `None` when she said nothing about it.
    pub preferred: Option<i32>,
    /// Quiet hours and the throttle do not hold it back.
    pub critical: bool,
    /// Not before this time, as the caller wished.
    pub send_at: Option<Timestamp>,
    /// The notification that this one repeats.
    pub resend_of: Option<Id>,
    pub created_at: Timestamp,
}

pub async fn insert(session: &mut Session, notifications: &[NewNotification]) -> Result<()> {
    if notifications.is_empty() {
        return Ok(());
    }
    sql!(run, session,
        "insert into notifications (id, correlation_id, task_id, event_type, customer_id, taller_id, target, channel,
             fallback_order, status, recipient_address, template_id, template_name, subject, body, is_html, max_retries,
             await_receipt, await_seconds, preferred, critical, send_at, resend_of, retry_count, redrives, created_at, updated_at)
         select id, correlation_id, task_id, event_type, customer_id, taller_id, target, channel,
             fallback_order, status, recipient_address, template_id, template_name, subject, body, is_html, max_retries,
             await_receipt, await_seconds, preferred, critical, send_at, resend_of, 0, 0, created_at, created_at
         from rows($1 as notifications: id, correlation_id, task_id, event_type, customer_id, taller_id, target, channel,
             fallback_order, status, recipient_address, template_id, template_name, subject, body, is_html, max_retries,
             await_receipt, await_seconds, preferred, critical, send_at, resend_of, created_at)",
        Rows::new(notifications)
    )?;
    Ok(())
}

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Notification {
    pub id: Id,
    pub correlation_id: Id,
    pub task_id: Id,
    pub event_type: String,
    pub customer_id: String,
    pub taller_id: Option<String>,
    #[sqlx(try_from = "String")]
    pub target: Target,
    #[sqlx(try_from = "String")]
    pub channel: Channel,
    pub fallback_order: i32,
    #[sqlx(try_from = "String")]
    pub status: Status,
    pub recipient_address: String,
    pub template_name: String,
    pub subject: String,
    pub body: String,
    pub is_html: bool,
    pub error_code: Option<String>,
    pub error_reason: Option<String>,
    pub retry_count: i32,
    pub max_retries: i32,
    pub next_retry_at: Option<Timestamp>,
    pub unknown_since: Option<Timestamp>,
    pub paced_until: Option<Timestamp>,
    pub provider_message_id: Option<String>,
    /// The account that took it, that may have taken it, or at which its place is reserved.
    pub provider: Option<String>,
    pub redrives: i32,
    /// The receipt without which the next channel is tried, and how many seconds after it was sent.
    pub await_receipt: Option<AwaitedReceipt>,
    pub await_seconds: Option<i32>,
    /// Quiet hours and the throttle do not hold it back.
    pub critical: bool,
    pub send_at: Option<Timestamp>,
    /// Its place among the messages of its customer, where these are counted.
    pub admitted_at: Option<Timestamp>,
    pub sent_at: Option<Timestamp>,
    /// When the provider said that it arrived.
    pub delivered_at: Option<Timestamp>,
    /// When the provider said that it was opened.
    pub read_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A receipt that a sent message still waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaits {
    pub receipt: AwaitedReceipt,
    /// Then the next channel is tried.
    pub until: Timestamp,
}

impl Notification {
    /// What the message waits for, when it was sent and that is not enough.
    pub fn awaits(&self) -> Option<Awaits> {
        let (receipt, seconds) = (self.await_receipt?, self.await_seconds?);
        let is_there = match receipt {
            AwaitedReceipt::Delivered => matches!(self.status, Status::Delivered | Status::Read),
            AwaitedReceipt::Read => self.status == Status::Read,
        };
        let since = self.sent_at.filter(|_| self.status.is_sent() && !is_there)?;
        Some(Awaits { receipt, until: since + Duration::from_secs(u64::try_from(seconds).unwrap_or_default()) })
    }
}

/// The columns of a [`Notification`].
const COLUMNS: &str = "id, correlation_id, task_id, event_type, customer_id, taller_id, target, channel, fallback_order, status, \
     recipient_address, template_name, subject, body, is_html, error_code, error_reason, retry_count, \
     max_retries, next_retry_at, unknown_since, paced_until, provider_message_id, provider, redrives, \
     await_receipt, await_seconds, critical, send_at, admitted_at, sent_at, delivered_at, read_at, created_at, \
     updated_at";

/// The chains of these tasks, each in its order.
pub async fn chains(session: &mut Session, task_ids: &[Id]) -> Result<Vec<Notification>> {
    sql!(all Notification, session,
        (&format!("select {COLUMNS} from notifications where task_id = any($1) order by task_id, fallback_order")),
        Ids(task_ids)
    )
}

/// The messages that a provider of this channel knows by these ids. Their rows stay locked until the transaction ends, so
/// that receipts which come at the same time follow one another.
pub async fn of_provider<T: AsRef<str>>(
    session: &mut Session,
    channel: Channel,
    provider_message_ids: &[T],
) -> Result<Vec<Notification>> {
    sql!(all Notification, session,
        (&format!(
            "select {COLUMNS} from notifications where provider_message_id = any($1) and channel = $2 order by id for update"
        )),
        Texts(provider_message_ids), channel.as_str()
    )
}

/// Messages that waited for the channels before them have their turn.
pub async fn queue(session: &mut Session, ids: &[Id], now: Timestamp) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sql!(
        run,
        session,
        "update notifications set status = 'queued', updated_at = $2 where id = any($1) and status = 'pending'",
        Ids(ids),
        now
    )?;
    Ok(())
}

/// A notification as staff read it, without its words (S002-70).
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Record {
    pub id: Id,
    pub correlation_id: Id,
    pub task_id: Id,
    pub event_type: String,
    pub customer_id: String,
    pub taller_id: Option<String>,
    #[sqlx(try_from = "String")]
    pub target: Target,
    #[sqlx(try_from = "String")]
    pub channel: Channel,
    pub fallback_order: i32,
    #[sqlx(try_from = "String")]
    pub status: Status,
    pub recipient_address: String,
    pub template_id: Option<Id>,
    pub template_name: String,
    pub error_code: Option<String>,
    pub error_reason: Option<String>,
    pub retry_count: i32,
    pub max_retries: i32,
    pub next_retry_at: Option<Timestamp>,
    pub provider_message_id: Option<String>,
    /// The channel's account that took it.
    pub provider: Option<String>,
    pub preferred: Option<i32>,
    pub critical: bool,
    pub send_at: Option<Timestamp>,
    pub resend_of: Option<Id>,
    pub await_receipt: Option<AwaitedReceipt>,
    pub await_seconds: Option<i32>,
    pub sent_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    pub read_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The one before it in its chain, from which it would take over.
    pub parent_log: Option<Id>,
}

/// A [`Record`] and its words.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Written {
    #[sqlx(flatten)]
    pub record: Record,
    pub subject: String,
    pub body: String,
    pub is_html: bool,
}

/// The columns of a [`Record`].
const RECORD: &str = "n.id, n.correlation_id, n.task_id, n.event_type, n.customer_id, n.taller_id, n.target, n.channel,
    n.fallback_order, n.status, n.recipient_address, n.template_id, n.template_name, n.error_code, n.error_reason, n.retry_count,
    n.max_retries, n.next_retry_at, n.provider_message_id, n.provider, n.preferred, n.critical, n.send_at, n.resend_of,
    n.await_receipt, n.await_seconds, n.sent_at,
    n.delivered_at, n.read_at, n.created_at, n.updated_at, p.id as parent_log";

/// Each notification with the one before it in its chain.
const WITH_PARENT: &str = "notifications n
    left join notifications p on p.task_id = n.task_id and p.fallback_order = n.fallback_order - 1";

/// Which notifications to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub customer_id: Option<String>,
    pub status: Option<Status>,
    pub channel: Option<Channel>,
    pub event_type: Option<String>,
    pub correlation_id: Option<Id>,
    pub task_id: Option<Id>,
    pub taller_id: Option<String>,
    /// Accepted at this time or later.
    pub from: Option<Timestamp>,
    /// Accepted before this time.
    pub to: Option<Timestamp>,
}

/// The conditions of a [`Filter`].
const FITS: &str =
    "($1 is null or n.customer_id = $1) and ($2 is null or n.status = $2) and ($3 is null or n.channel = $3)
    and ($4 is null or n.event_type = $4) and ($5 is null or n.correlation_id = $5) and ($6 is null or n.task_id = $6)
    and ($7 is null or n.taller_id = $7) and ($8 is null or n.created_at >= $8) and ($9 is null or n.created_at < $9)";

/// No list counts further than this: nobody turns so many pages, and counting millions of rows would keep the database busy.
pub const MOST_COUNTED: i64 = 100_000;

/// A page of the notifications that fit, newest first, and how many fit in all, up to [`MOST_COUNTED`].
pub async fn list(session: &mut Session, filter: &Filter, limit: i64, offset: i64) -> Result<(Vec<Record>, i64)> {
    let (customer_id, taller_id) = (filter.customer_id.as_deref(), filter.taller_id.as_deref());
    let (status, channel) = (filter.status.map(Status::as_str), filter.channel.map(Channel::as_str));
    let event_type = filter.event_type.as_deref();
    let count: Option<(i64,)> = sql!(
        one(i64,),
        session,
        (&format!("select count(*) from (select 1 from notifications n where {FITS} limit {MOST_COUNTED}) counted")),
        customer_id,
        status,
        channel,
        event_type,
        filter.correlation_id,
        filter.task_id,
        taller_id,
        filter.from,
        filter.to
    )?;
    let records = sql!(all Record, session,
        (&format!("select {RECORD} from {WITH_PARENT} where {FITS} order by n.created_at desc, n.id desc limit $10 offset $11")),
        customer_id, status, channel, event_type, filter.correlation_id, filter.task_id, taller_id, filter.from, filter.to,
        limit, offset
    )?;
    Ok((records, count.map_or(0, |(count,)| count)))
}

/// The chain to which a notification belongs, in its order, with the words; empty when there is no such notification.
pub async fn chain_of(session: &mut Session, id: Id) -> Result<Vec<Written>> {
    sql!(all Written, session,
        (&format!("select {RECORD}, n.subject, n.body, n.is_html from {WITH_PARENT}
                   where n.task_id = (select task_id from notifications where id = $1) order by n.fallback_order")),
        id
    )
}

/// The notifications of an event, chain by chain, at most `limit`. A caller may give many events the same id.
pub async fn of_correlation(session: &mut Session, correlation_id: Id, limit: i64) -> Result<Vec<Record>> {
    sql!(all Record, session,
        (&format!("select {RECORD} from {WITH_PARENT} where n.correlation_id = $1
                   order by n.created_at, n.task_id, n.fallback_order limit $2")),
        correlation_id, limit
    )
}

/// The attempts of these tasks' chains, oldest first.
pub async fn attempts_of(session: &mut Session, task_ids: &[Id]) -> Result<Vec<Attempt>> {
    sql!(all Attempt, session,
        "select a.id, a.notification_id, a.channel, a.started_at, a.duration_ms, a.outcome, a.error_code, a.error_reason,
                a.provider_status, a.provider_answer, a.provider
         from attempts a join notifications n on n.id = a.notification_id
         where n.task_id = any($1) order by a.started_at, n.fallback_order, a.id",
        Ids(task_ids)
    )
}

/// What an attempt, or the decision after it, changed. Unset fields are written as null.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub id: Id,
    pub status: Status,
    pub error_code: Option<String>,
    pub error_reason: Option<String>,
    pub retry_count: i32,
    pub next_retry_at: Option<Timestamp>,
    pub unknown_since: Option<Timestamp>,
    pub paced_until: Option<Timestamp>,
    pub provider_message_id: Option<String>,
    /// The name of the account that was used last.
    pub provider: Option<String>,
    pub sent_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

impl Change {
    /// The notification as it is, to be altered.
    pub fn of(notification: &Notification, now: Timestamp) -> Self {
        Self {
            id: notification.id,
            status: notification.status,
            error_code: notification.error_code.clone(),
            error_reason: notification.error_reason.clone(),
            retry_count: notification.retry_count,
            next_retry_at: None,
            unknown_since: None,
            paced_until: None,
            provider_message_id: notification.provider_message_id.clone(),
            provider: notification.provider.clone(),
            sent_at: notification.sent_at,
            updated_at: now,
        }
    }
}

/// Applies changes to notifications that are still open. A message that was sent stays sent, whoever comes late, and one of
/// which there is a receipt already does not go back.
pub async fn apply(session: &mut Session, changes: &[Change]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    sql!(
        run,
        session,
        "update notifications set status = r.status, error_code = r.error_code, error_reason = r.error_reason,
             retry_count = r.retry_count, next_retry_at = r.next_retry_at, unknown_since = r.unknown_since,
             paced_until = r.paced_until, provider_message_id = r.provider_message_id,
             provider = r.provider, sent_at = r.sent_at, updated_at = r.updated_at
         from rows($1 as notifications: id, status, error_code, error_reason, retry_count, next_retry_at, unknown_since,
             paced_until, provider_message_id, provider, sent_at, updated_at) r
         where notifications.id = r.id and (notifications.status in ('pending', 'queued')
             or (r.status = 'sent' and notifications.status not in ('delivered', 'read')))",
        Rows::new(changes)
    )?;
    Ok(())
}

/// One attempt, as the provider answered it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Attempt {
    pub id: Id,
    pub notification_id: Id,
    #[sqlx(try_from = "String")]
    pub channel: Channel,
    pub started_at: Timestamp,
    pub duration_ms: i32,
    /// `sent`, `transient`, `permanent`, `misconfigured` or `unknown`.
    pub outcome: String,
    pub error_code: Option<String>,
    pub error_reason: Option<String>,
    /// The code of HTTP or SMTP.
    pub provider_status: Option<i32>,
    /// The beginning of the provider's answer.
    pub provider_answer: Option<String>,
    /// The account that was tried: `env`, or the name of a provider account.
    pub provider: Option<String>,
}

pub async fn record(session: &mut Session, attempts: &[Attempt]) -> Result<()> {
    if attempts.is_empty() {
        return Ok(());
    }
    sql!(run, session,
        "insert into attempts (id, notification_id, channel, started_at, duration_ms, outcome, error_code, error_reason,
             provider_status, provider_answer, provider)
         select id, notification_id, channel, started_at, duration_ms, outcome, error_code, error_reason,
             provider_status, provider_answer, provider
         from rows($1 as attempts: id, notification_id, channel, started_at, duration_ms, outcome, error_code, error_reason,
             provider_status, provider_answer, provider)
         where true
         on conflict do nothing",
        Rows::new(attempts)
    )?;
    Ok(())
}

/// The attempts of a task's chain, oldest first.
pub async fn attempts(session: &mut Session, task_id: Id) -> Result<Vec<Attempt>> {
    attempts_of(session, &[task_id]).await
}

/// The messages of these tasks will not leave any more.
pub async fn close(session: &mut Session, task_ids: &[Id], status: Status, reason: &str, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update notifications set status = $2, error_reason = $3, next_retry_at = null, updated_at = $4
         where task_id = any($1) and status in ('pending', 'queued')",
        Ids(task_ids),
        status.as_str(),
        reason,
        now
    )?;
    Ok(())
}

/// The chains of these tasks begin anew: the first channel is queued, the others wait, no attempt counts any more.
///
/// A chain of which something was sent is left alone.
pub async fn restart(session: &mut Session, task_ids: &[Id], now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update notifications set status = case when fallback_order = 0 then 'queued' else 'pending' end,
             retry_count = 0, error_code = null, error_reason = null, next_retry_at = null, unknown_since = null,
             paced_until = null, updated_at = $2
         where task_id = any($1) and status in ('pending', 'queued', 'failed', 'bounced', 'cancelled') and erased_at is null
           and not exists (select 1 from notifications sent where sent.task_id = notifications.task_id
                           and sent.status in ('sent', 'delivered', 'read'))",
        Ids(task_ids),
        now
    )?;
    Ok(())
}

/// How often the sweep gives a failed notification another chance (d13).
pub const MOST_REDRIVES: i32 = 3;

/// The sweep looks back this far (d13).
pub const REDRIVE_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Gives chains that failed for passing reasons another chance: younger than 24 hours, at least one channel with a
/// transient failure, nothing of the event sent, at most three times. Returns their rings (S002-81, d13).
pub async fn redrive_failed(session: &mut Session, now: Timestamp, limit: i64) -> Result<Vec<Ring>> {
    let tasks: Vec<(Id,)> = sql!(all (Id,), session,
        "update notifications set redrives = redrives + 1
         where fallback_order = 0 and task_id in (
             select n.task_id from notifications n join tasks t on t.id = n.task_id
             where n.status = 'failed' and n.updated_at >= $1 and n.created_at >= $1
               and n.erased_at is null and t.state = 'dead'
               and exists (select 1 from notifications f where f.task_id = n.task_id and f.fallback_order = 0 and f.redrives < $3)
               and exists (select 1 from attempts a
                           where a.notification_id = n.id and a.outcome = 'transient'
                             and not exists (select 1 from attempts later where later.notification_id = a.notification_id
                                             and later.started_at > a.started_at))
               and not exists (select 1 from notifications s where s.correlation_id = n.correlation_id
                               and s.customer_id = n.customer_id and s.status in ('sent', 'delivered', 'read'))
             order by n.updated_at limit $2)
         returning task_id",
        now - REDRIVE_WINDOW, limit, MOST_REDRIVES
    )?;
    let tasks: Vec<Id> = tasks.into_iter().map(|(id,)| id).collect();
    let rings = tasks::revive(session, &tasks, now).await?;
    let revived: Vec<Id> = rings.iter().map(|ring| ring.id).collect();
    reopen_transient(session, &revived, now).await?;
    Ok(rings)
}

/// Deletes notifications that are older than `before`, with their attempts; not while their task goes on. A channel that was
/// never needed stays `pending` for ever, so the status alone does not tell.
pub async fn delete_finished(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(run, session,
        "delete from notifications where id in (
             select id from notifications where created_at < $1 and not exists (
                 select 1 from tasks t where t.id = notifications.task_id and t.state in ('scheduled', 'queued', 'started'))
             limit $2)",
        before, limit
    )
}

/// Reserves the next free moment of a provider that takes `per_minute` messages: now, or later. All workers share it.
pub async fn reserve(session: &mut Session, provider: &str, per_minute: u32, now: Timestamp) -> Result<Timestamp> {
    let interval = 60_000_000 / i64::from(per_minute.max(1));
    let row: Option<(i64,)> = sql!(
        one(i64,),
        session,
        "insert into pacing (key, next_free_us) values ($1, $2 + $3)
         on conflict (key) do update set
             next_free_us = case when pacing.next_free_us > $2 then pacing.next_free_us else $2 end + $3
         returning next_free_us",
        provider,
        now.as_micros(),
        interval
    )?;
    Ok(row.map_or(now, |(next_free,)| Timestamp::from_micros(next_free - interval)))
}

/// In which `RECIPIENT_THROTTLE_PER_HOUR` counts.
pub const THROTTLE_WINDOW: Duration = Duration::from_secs(60 * 60);

/// Takes a place among the messages of the notification's customer, so that no window of an hour holds more than `per_hour`
/// of them: now, or when the oldest of so many leaves the window. Messages that failed or were cancelled free their place.
///
/// The customer's row is locked meanwhile, for two messages that count at once would both find room.
pub async fn admit(
    session: &mut Session,
    notification: &Notification,
    per_hour: u32,
    now: Timestamp,
) -> Result<Timestamp> {
    let customer_id = notification.customer_id.as_str();
    let _locked: Option<(String,)> = sql!(
        one(String,),
        session,
        "select customer_id from customers where customer_id = $1 for update",
        customer_id
    )?;
    let oldest: Option<(Timestamp,)> = sql!(
        one(Timestamp,),
        session,
        "select admitted_at from notifications
         where customer_id = $1 and id <> $2 and admitted_at is not null and status not in ('failed', 'cancelled')
         order by admitted_at desc limit 1 offset $3",
        customer_id,
        notification.id,
        i64::from(per_hour.max(1)) - 1
    )?;
    let place = oldest.map_or(now, |(oldest,)| now.max(oldest + THROTTLE_WINDOW));
    sql!(run, session, "update notifications set admitted_at = $2 where id = $1", notification.id, place)?;
    Ok(place)
}

/// Opens the notifications whose last attempt failed for a passing reason; what can never work stays failed.
async fn reopen_transient(session: &mut Session, task_ids: &[Id], now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update notifications set status = 'pending', retry_count = 0, error_code = null, error_reason = null,
             next_retry_at = null, unknown_since = null, paced_until = null, updated_at = $2
         where task_id = any($1) and status = 'failed'
           and exists (select 1 from attempts a where a.notification_id = notifications.id and a.outcome = 'transient'
                       and not exists (select 1 from attempts later where later.notification_id = a.notification_id
                                       and later.started_at > a.started_at))",
        Ids(task_ids),
        now
    )?;
    Ok(())
}
