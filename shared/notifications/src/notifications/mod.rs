//! What was sent, is being sent, or will be sent if the channel before it fails. This room alone writes the table.
//!
//! A *chain* is the list of notifications that share a task: the same event for the same person, one notification per
//! channel, in the order in which they are tried. Words and addresses were decided at intake. The first notification is the
//! chain's own row; the others wait [in reserve](reserve) there, and become rows when they have their turn.

pub mod attempts;
pub mod found;
pub mod pacing;
pub mod records;
pub mod redrive;
pub mod reserve;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::columns::bounded;
use recado_kernel::db::{Ids, Result, Session, Texts, columns};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql, word_enum};
use recado_queue::tasks::{self, Inserted, NewTask};
use serde::Serialize;
use utoipa::ToSchema;

use self::reserve::{ChainRow, InReserve};
use crate::channels::Channel;
use crate::orchestration::{Awaited, AwaitedReceipt, Decided, SkippedChannel};
use crate::targets::Target;

/// Where a notification stands (S002-70, and `cancelled`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "lowercase", const_into_str)]
#[schema(rename_all = "lowercase")]
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

word_enum!(Status, "a status");

impl Status {
    /// Whether the message may still leave.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Queued)
    }

    /// Whether it ended without being sent.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Bounced | Self::Failed | Self::Cancelled)
    }

    /// Whether a provider took the message.
    pub fn is_sent(self) -> bool {
        matches!(self, Self::Sent | Self::Delivered | Self::Read)
    }
}

/// As it stands in the table.
#[derive(sqlx::FromRow)]
struct AwaitColumns {
    await_receipt: Option<AwaitedReceipt>,
    await_seconds: Option<i32>,
}

impl From<AwaitColumns> for Option<Awaited> {
    fn from(AwaitColumns { await_receipt, await_seconds }: AwaitColumns) -> Self {
        Some(Awaited { receipt: await_receipt?, seconds: await_seconds? })
    }
}

/// A notification to be written.
#[derive(Clone, Debug)]
pub struct NewNotification {
    pub id: Id,
    pub correlation_id: Id,
    pub task_id: Id,
    pub event_type: String,
    pub customer_id: String,
    pub taller_id: Option<String>,
    pub target: Target,
    pub channel: Channel,
    pub fallback_order: i32,
    pub status: Status,
    pub recipient_address: String,
    pub template_id: Option<Id>,
    /// Its number among the versions of the template.
    pub template_version: Option<i32>,
    pub template_name: String,
    pub subject: String,
    pub body: String,
    pub is_html: bool,
    pub max_retries: i32,
    /// Only where there is a next channel to be tried.
    pub awaits: Option<Awaited>,
    /// The priority that the customer gave the channel; `None` for none.
    pub preferred: Option<i32>,
    /// Quiet hours and the throttle do not hold it back.
    pub critical: bool,
    /// Not before this time, as the caller wished.
    pub send_at: Option<Timestamp>,
    /// The notification that this one repeats.
    pub resend_of: Option<Id>,
    /// The messages behind it, in their order.
    pub reserve: Vec<InReserve>,
    /// The channels that its chain does not use.
    pub skipped: Vec<SkippedChannel>,
    /// The cells that chose its channels.
    pub decided: Option<Decided>,
    pub created_at: Timestamp,
}

columns!(NewNotification {
    id: uuid = |new| new.id,
    correlation_id: uuid = |new| new.correlation_id,
    task_id: uuid = |new| new.task_id,
    event_type: text = |new| new.event_type.as_str(),
    customer_id: text = |new| new.customer_id.as_str(),
    taller_id: text = |new| new.taller_id.as_deref(),
    target: text = |new| new.target.as_str(),
    channel: text = |new| new.channel.as_str(),
    fallback_order: int4 = |new| new.fallback_order,
    status: text = |new| new.status.as_str(),
    recipient_address: text = |new| new.recipient_address.as_str(),
    template_id: uuid = |new| new.template_id,
    template_version: int4 = |new| new.template_version,
    template_name: text = |new| new.template_name.as_str(),
    subject: text = |new| new.subject.as_str(),
    body: text = |new| new.body.as_str(),
    is_html: bool = |new| new.is_html,
    max_retries: int4 = |new| new.max_retries,
    await_receipt: text = |new| new.awaits.map(|awaited| awaited.receipt.as_str()),
    await_seconds: int4 = |new| new.awaits.map(|awaited| awaited.seconds),
    preferred: int4 = |new| new.preferred,
    critical: bool = |new| new.critical,
    send_at: timestamptz = |new| new.send_at,
    resend_of: uuid = |new| new.resend_of,
    reserve: text = |new| reserve::write(&new.reserve),
    skipped: text = |new| write_skipped(&new.skipped),
    config_id: uuid = |new| new.decided.map(|decided| decided.config_id),
    phase_id: uuid = |new| new.decided.map(|decided| decided.phase_id),
    subtype_id: uuid = |new| new.decided.and_then(|decided| decided.subtype_id),
    created_at: timestamptz = |new| new.created_at,
});

fn write_skipped(skipped: &[SkippedChannel]) -> Option<String> {
    (!skipped.is_empty()).then(|| serde_json::to_string(skipped).expect("plain data always serialises"))
}

const INSERT: &str = "insert into notifications ({columns}, retry_count, redrives, reserve_status, updated_at)
    select {columns}, 0, 0, 'pending', created_at from {rows} r";

/// Writes chains with the tasks that deliver them. Of those whose task was known already, because of its unique key, nothing
/// is written.
pub async fn insert(session: &mut Session, tasks: &[NewTask], chains: &[NewNotification]) -> Result<Inserted> {
    if chains.is_empty() {
        return tasks::insert(session, tasks).await;
    }
    write(session, (tasks::insertion(tasks), tasks), chains).await
}

/// The same where an earlier statement may have written them: its answer did not come. What stands is passed over.
pub async fn insert_again(session: &mut Session, tasks: &[NewTask], chains: &[NewNotification]) -> Result<Inserted> {
    if chains.is_empty() {
        return tasks::insert_again(session, tasks).await;
    }
    write(session, (tasks::INSERTION_AGAIN, tasks), chains).await
}

async fn write(
    session: &mut Session,
    (statement, tasks): (&str, &[NewTask]),
    chains: &[NewNotification],
) -> Result<Inserted> {
    let chains_of_new_tasks = format!("{INSERT} where task_id in {{written}}");
    let written: Vec<(Id,)> =
        columns::both(session, "tasks", (statement, tasks), (&chains_of_new_tasks, chains)).await?;
    Ok(Inserted::of(tasks, written))
}

/// A notification, as its row says or as it waits in reserve.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Notification {
    pub id: Id,
    pub correlation_id: Id,
    pub task_id: Id,
    pub event_type: String,
    pub customer_id: String,
    pub taller_id: Option<String>,
    pub target: Target,
    pub channel: Channel,
    pub fallback_order: i32,
    pub status: Status,
    pub recipient_address: String,
    pub template_id: Option<Id>,
    /// Its number among the versions of the template.
    pub template_version: Option<i32>,
    pub template_name: String,
    pub subject: String,
    pub body: String,
    pub is_html: bool,
    pub error_code: Option<String>,
    pub error_reason: Option<String>,
    pub retry_count: i32,
    pub max_retries: i32,
    pub next_retry_at: Option<Timestamp>,
    /// Since when it is unknown whether it left.
    pub unknown_since: Option<Timestamp>,
    /// Until when it is looked up again and again; afterwards once before each attempt.
    pub unknown_until: Option<Timestamp>,
    pub paced_until: Option<Timestamp>,
    pub provider_message_id: Option<String>,
    /// The account that took it, that may have taken it, or at which its place is reserved.
    pub provider: Option<String>,
    pub redrives: i32,
    #[sqlx(flatten, try_from = "AwaitColumns")]
    pub awaits: Option<Awaited>,
    pub preferred: Option<i32>,
    /// Quiet hours and the throttle do not hold it back.
    pub critical: bool,
    pub send_at: Option<Timestamp>,
    pub resend_of: Option<Id>,
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

/// The columns of a [`Notification`].
const COLUMNS: &str = "id, correlation_id, task_id, event_type, customer_id, taller_id, target, channel, fallback_order, status, \
     recipient_address, template_id, template_version, template_name, subject, body, is_html, error_code, error_reason, retry_count, \
     max_retries, next_retry_at, unknown_since, unknown_until, paced_until, provider_message_id, provider, redrives, \
     await_receipt, await_seconds, preferred, critical, send_at, resend_of, admitted_at, sent_at, delivered_at, read_at, \
     created_at, updated_at";

/// What a [`ChainRow`] has besides.
const RESERVE: &str = "reserve, reserve_status, reserve_reason";

/// A receipt that a sent message still waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaits {
    pub receipt: AwaitedReceipt,
    /// Then the next channel is tried.
    pub until: Timestamp,
}

impl Notification {
    /// What the message waits for, when it was sent and that is not enough.
    pub fn waits_for(&self) -> Option<Awaits> {
        let Awaited { receipt, seconds } = self.awaits?;
        let is_there = match receipt {
            AwaitedReceipt::Delivered => matches!(self.status, Status::Delivered | Status::Read),
            AwaitedReceipt::Read => self.status == Status::Read,
        };
        let since = self.sent_at.filter(|_| self.status.is_sent() && !is_there)?;
        Some(Awaits { receipt, until: since + Duration::from_secs(u64::try_from(seconds).unwrap_or_default()) })
    }
}

/// The chains of these tasks, each in its order.
pub async fn chains(session: &mut Session, task_ids: &[Id]) -> Result<Vec<Notification>> {
    let rows = sql!(all ChainRow, session,
        (&format!("select {COLUMNS}, {RESERVE} from notifications where task_id = any(ids($1)) order by task_id, fallback_order")),
        Ids(task_ids)
    )?;
    Ok(reserve::unfold(rows))
}

/// A chain as it is delivered.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// In the order in which they are tried.
    pub messages: Vec<Notification>,
    /// Why the first message may not leave any more.
    pub refusal: Option<Refusal>,
}

/// What was decided about a person or an address after the event was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The customer switched the channel off.
    OptedOut,
    /// The address was put on the list of suppressions.
    Suppressed,
}

/// The chains of these tasks, and whether their first messages may still leave: asked with the same statement, because every
/// message is asked about and most leave at once.
pub async fn deliveries(session: &mut Session, task_ids: &[Id]) -> Result<HashMap<Id, Chain>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        chain: ChainRow,
        is_opted_out: bool,
        is_suppressed: bool,
    }
    let rows = sql!(all Row, session,
        (&format!(
            "select {COLUMNS}, {RESERVE},
                    exists (select 1 from channel_preferences p where p.customer_id = notifications.customer_id
                            and p.channel = notifications.channel and not p.enabled) as is_opted_out,
                    exists (select 1 from suppressions s where s.channel = notifications.channel
                            and s.address in (recipient_address, lower(recipient_address))) as is_suppressed
             from notifications where task_id = any(ids($1)) order by task_id, fallback_order"
        )),
        Ids(task_ids)
    )?;
    let mut chains: HashMap<Id, Chain> = HashMap::with_capacity(task_ids.len());
    for row in rows.iter().filter(|row| row.chain.notification.fallback_order == 0) {
        let suppressed = row.is_suppressed.then_some(Refusal::Suppressed);
        let refusal = row.is_opted_out.then_some(Refusal::OptedOut).or(suppressed);
        chains.entry(row.chain.notification.task_id).or_default().refusal = refusal;
    }
    for message in reserve::unfold(rows.into_iter().map(|row| row.chain).collect()) {
        chains.entry(message.task_id).or_default().messages.push(message);
    }
    Ok(chains)
}

/// The chain to which a notification belongs, in its order; empty when there is no such notification.
pub async fn chain_of(session: &mut Session, id: Id) -> Result<Vec<Notification>> {
    let rows = sql!(all ChainRow, session,
        (&format!("select {COLUMNS}, {RESERVE} from notifications
                   where task_id = (select task_id from notifications where id = $1) order by fallback_order")),
        id.at_place(0)
    )?;
    let chain = reserve::unfold(rows);
    // An id may be made up that only looks like one of the chain.
    Ok(if chain.iter().any(|message| message.id == id) { chain } else { Vec::new() })
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
            "select {COLUMNS} from notifications
             where id in (select notification_id from attempts where provider_message_id = any($1)) and channel = $2
               and provider_message_id = any($1)
             order by id for update"
        )),
        Texts(provider_message_ids), channel.as_str()
    )
}

/// Messages that waited for the channels before them have their turn. Those in reserve become rows.
pub async fn queue(session: &mut Session, ids: &[Id], now: Timestamp) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    call_up(session, ids).await?;
    sql!(
        run,
        session,
        "update notifications set status = 'queued', updated_at = $2 where id = any($1) and status = 'pending'",
        Ids(ids),
        now
    )?;
    Ok(())
}

/// Makes rows of messages in reserve. Those that are rows already stay as they are.
async fn call_up(session: &mut Session, ids: &[Id]) -> Result<()> {
    let first: Vec<Id> = ids.iter().map(|id| id.at_place(0)).collect();
    let rows = sql!(all ChainRow, session,
        (&format!("select {COLUMNS}, {RESERVE} from notifications where id = any($1) and reserve is not null")),
        Ids(&first)
    )?;
    let called = reserve::unfold(rows).into_iter().filter(|message| ids.contains(&message.id));
    let called: Vec<NewNotification> = called.map(|message| reserve::as_row(&message)).collect();
    if !called.is_empty() {
        columns::run(session, &format!("{INSERT} where true on conflict do nothing"), &called).await?;
    }
    Ok(())
}

/// What an attempt, or the decision after it, changed. Unset fields are written as null.
#[derive(Clone, Debug)]
pub struct Change {
    pub id: Id,
    pub status: Status,
    pub error_code: Option<String>,
    pub error_reason: Option<String>,
    pub retry_count: i32,
    pub next_retry_at: Option<Timestamp>,
    pub unknown_since: Option<Timestamp>,
    pub unknown_until: Option<Timestamp>,
    pub paced_until: Option<Timestamp>,
    pub provider_message_id: Option<String>,
    /// The name of the account that was used last.
    pub provider: Option<String>,
    pub sent_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

columns!(Change {
    id: uuid = |change| change.id,
    status: text = |change| change.status.as_str(),
    error_code: text = |change| change.error_code.as_deref(),
    error_reason: text = |change| change.error_reason.as_deref(),
    retry_count: int4 = |change| change.retry_count,
    next_retry_at: timestamptz = |change| change.next_retry_at,
    unknown_since: timestamptz = |change| change.unknown_since,
    unknown_until: timestamptz = |change| change.unknown_until,
    paced_until: timestamptz = |change| change.paced_until,
    provider_message_id: text =
        |change| change.provider_message_id.as_deref().map(|id| bounded(id, attempts::LONGEST_NAME)),
    provider: text = |change| change.provider.as_deref(),
    sent_at: timestamptz = |change| change.sent_at,
    closed_at: timestamptz = |change| change.status.is_closed().then_some(change.updated_at),
    updated_at: timestamptz = |change| change.updated_at,
});

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
            unknown_until: None,
            paced_until: None,
            provider_message_id: notification.provider_message_id.clone(),
            provider: notification.provider.clone(),
            sent_at: notification.sent_at,
            updated_at: now,
        }
    }
}

/// Applies changes to notifications that are still open. A message that was sent stays sent, however late another run says
/// otherwise, and one of which there is a receipt already does not go back. A message in reserve becomes a row.
pub async fn apply(session: &mut Session, changes: &[Change]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let later = |id: &Id| *id != id.at_place(0);
    let turns: Vec<Id> = changes.iter().map(|change| change.id).filter(later).collect();
    if !turns.is_empty() {
        call_up(session, &turns).await?;
    }
    columns::run(
        session,
        "update notifications set status = r.status, error_code = r.error_code, error_reason = r.error_reason,
             retry_count = r.retry_count, next_retry_at = r.next_retry_at, unknown_since = r.unknown_since,
             unknown_until = r.unknown_until, paced_until = r.paced_until, provider_message_id = r.provider_message_id,
             provider = r.provider, sent_at = r.sent_at, closed_at = r.closed_at, updated_at = r.updated_at
         from {rows} r
         where notifications.id = r.id and (notifications.status in ('pending', 'queued')
             or (r.status = 'sent' and notifications.status not in ('delivered', 'read')))",
        changes,
    )
    .await?;
    Ok(())
}

/// A notification on its way forward: what its receipts say.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub id: Id,
    pub status: Status,
    pub error_code: Option<&'static str>,
    pub error_reason: Option<&'static str>,
    pub delivered_at: Option<Timestamp>,
    pub read_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

columns!(Progress {
    id: uuid = |progress| progress.id,
    status: text = |progress| progress.status.as_str(),
    error_code: text = |progress| progress.error_code,
    error_reason: text = |progress| progress.error_reason,
    delivered_at: timestamptz = |progress| progress.delivered_at,
    read_at: timestamptz = |progress| progress.read_at,
    closed_at: timestamptz = |progress| progress.status.is_closed().then_some(progress.updated_at),
    updated_at: timestamptz = |progress| progress.updated_at,
});

/// Writes what receipts say. The rows are [locked](of_provider).
pub async fn advance(session: &mut Session, progress: &[Progress]) -> Result<()> {
    columns::run(
        session,
        "update notifications set status = r.status, error_code = r.error_code, error_reason = r.error_reason,
             delivered_at = r.delivered_at, read_at = r.read_at, closed_at = r.closed_at, updated_at = r.updated_at
         from {rows} r where notifications.id = r.id",
        progress,
    )
    .await?;
    Ok(())
}

/// The messages of these tasks will not leave any more.
pub async fn close(session: &mut Session, task_ids: &[Id], status: Status, reason: &str, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update notifications set status = $2, error_reason = $3, next_retry_at = null, closed_at = $4, updated_at = $4
         where task_id = any($1) and status in ('pending', 'queued')",
        Ids(task_ids),
        status.as_str(),
        reason,
        now
    )?;
    sql!(
        run,
        session,
        "update notifications set reserve_status = $2, reserve_reason = $3
         where task_id = any($1) and reserve is not null and reserve_status = 'pending'",
        Ids(task_ids),
        status.as_str(),
        reason
    )?;
    Ok(())
}

/// The chains of these tasks begin again: the first channel is queued, the others wait, no attempt counts any more.
///
/// A chain of which something was sent is left alone. A message that may have left is still looked up before it is sent.
pub async fn restart(session: &mut Session, task_ids: &[Id], now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update notifications set status = case when fallback_order = 0 then 'queued' else 'pending' end,
             retry_count = 0, error_code = null, error_reason = null, next_retry_at = null, unknown_until = null,
             paced_until = null, reserve_status = 'pending', reserve_reason = null, closed_at = null, updated_at = $2
         where task_id = any($1) and status in ('pending', 'queued', 'failed', 'bounced', 'cancelled') and erased_at is null
           and not exists (select 1 from notifications sent where sent.task_id = notifications.task_id
                           and sent.status in ('sent', 'delivered', 'read'))",
        Ids(task_ids),
        now
    )?;
    Ok(())
}

/// Empties the addresses and words of a customer's messages, also of those in reserve; what is open is cancelled. Returns how
/// many messages that were.
pub async fn erase(session: &mut Session, customer_id: &str, now: Timestamp) -> Result<u64> {
    let rows: Vec<(Id, Option<String>)> = sql!(
        all(Id, Option<String>),
        session,
        "select id, reserve from notifications where customer_id = $1 and erased_at is null",
        customer_id
    )?;
    let ids: Vec<Id> = rows.iter().map(|(id, _)| *id).collect();
    let had_turn: HashSet<Id> = ids.iter().copied().collect();
    let emptied: Vec<Emptied> =
        rows.iter().map(|(id, reserve)| Emptied::of(*id, reserve.as_deref(), &had_turn)).collect();
    if emptied.is_empty() {
        return Ok(0);
    }
    sql!(
        run,
        session,
        "update notifications set recipient_address = '', subject = '', body = '', error_reason = null,
             closed_at = case when status in ('pending', 'queued') then $2 else closed_at end,
             status = case when status in ('pending', 'queued') then 'cancelled' else status end,
             reserve_status = case when reserve_status = 'pending' then 'cancelled' else reserve_status end,
             reserve_reason = null, next_retry_at = null, erased_at = $2, updated_at = $2
         where id = any($1) and erased_at is null",
        // One that was written meanwhile is left to the next time, with its reserve.
        Ids(&ids),
        now
    )?;
    columns::run(
        session,
        "update notifications set reserve = r.reserve from {rows} r where notifications.id = r.id",
        &emptied,
    )
    .await?;
    Ok(emptied.iter().map(|chain| 1 + chain.waiting).sum())
}

/// The addresses to which messages of a customer were sent, or would have been.
pub async fn addresses_of(session: &mut Session, customer_id: &str) -> Result<Vec<String>> {
    let rows: Vec<(Id, String, Option<String>)> = sql!(
        all(Id, String, Option<String>),
        session,
        "select id, recipient_address, reserve from notifications where customer_id = $1 and erased_at is null",
        customer_id
    )?;
    let addresses = rows.into_iter().flat_map(|(id, address, reserve)| {
        let in_reserve = reserve::read(id, reserve.as_deref()).into_iter().map(|message| message.recipient_address);
        in_reserve.chain([address])
    });
    Ok(addresses.collect())
}

/// A chain's reserve without addresses and words.
struct Emptied {
    id: Id,
    reserve: Option<String>,
    /// How many of it had no turn.
    waiting: u64,
}

columns!(Emptied { id: uuid = |emptied| emptied.id, reserve: text = |emptied| emptied.reserve.as_deref() });

impl Emptied {
    fn of(id: Id, written: Option<&str>, had_turn: &HashSet<Id>) -> Self {
        let mut messages = reserve::read(id, written);
        for message in &mut messages {
            message.recipient_address.clear();
            message.subject.clear();
            message.body.clear();
        }
        let waiting = messages.iter().filter(|message| !had_turn.contains(&message.id)).count();
        Self { id, reserve: reserve::write(&messages), waiting: waiting as u64 }
    }
}

/// Deletes notifications that are older than `before`, with their attempts; not while their task goes on.
pub async fn delete_finished(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    let old: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "select id from notifications where created_at < $1 and not exists (
             select 1 from tasks t where t.id = notifications.task_id and t.state in ('scheduled', 'queued', 'started'))
         order by created_at limit $2",
        before,
        limit
    )?;
    let old: Vec<Id> = old.into_iter().map(|(id,)| id).collect();
    if old.is_empty() {
        return Ok(0);
    }
    sql!(run, session, "delete from attempts where notification_id = any(ids($1))", Ids(&old))?;
    sql!(run, session, "delete from found_messages where notification_id = any(ids($1))", Ids(&old))?;
    sql!(run, session, "delete from notifications where id = any(ids($1))", Ids(&old))
}
