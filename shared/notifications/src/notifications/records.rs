//! Notifications as staff read them: lists without words.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, MOST_COUNTED, count_of};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::{Ids, Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use serde::{Deserialize, Serialize};

use super::{Notification, Status};
use crate::channels::Channel;
use crate::journal::{Entry, Fact, Line};
use crate::orchestration::{Decided, SkippedChannel};
use crate::targets::Target;

/// A notification as staff read it, without its words (S002-70).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Record {
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
    pub sent_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    pub read_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Record {
    /// The one before it in its chain, from which it would take over.
    pub fn parent(&self) -> Option<Id> {
        let place = u8::try_from(self.fallback_order).ok().filter(|place| *place > 0)?;
        Some(self.id.at_place((place - 1).min(Id::LAST_PLACE)))
    }
}

impl From<&Notification> for Record {
    fn from(message: &Notification) -> Self {
        Self {
            id: message.id,
            correlation_id: message.correlation_id,
            task_id: message.task_id,
            event_type: message.event_type.clone(),
            customer_id: message.customer_id.clone(),
            taller_id: message.taller_id.clone(),
            target: message.target,
            channel: message.channel,
            fallback_order: message.fallback_order,
            status: message.status,
            recipient_address: message.recipient_address.clone(),
            template_id: message.template_id,
            template_version: message.template_version,
            template_name: message.template_name.clone(),
            error_code: message.error_code.clone(),
            error_reason: message.error_reason.clone(),
            retry_count: message.retry_count,
            max_retries: message.max_retries,
            next_retry_at: message.next_retry_at,
            provider_message_id: message.provider_message_id.clone(),
            provider: message.provider.clone(),
            preferred: message.preferred,
            critical: message.critical,
            send_at: message.send_at,
            resend_of: message.resend_of,
            sent_at: message.sent_at,
            delivered_at: message.delivered_at,
            read_at: message.read_at,
            created_at: message.created_at,
            updated_at: message.updated_at,
        }
    }
}

/// Which notifications to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct NotificationFilter {
    pub customer_id: Option<String>,
    pub status: Option<Status>,
    pub channel: Option<Channel>,
    pub event_type: Option<String>,
    pub correlation_id: Option<Id>,
    pub task_id: Option<Id>,
    pub taller_id: Option<String>,
    /// Whose last attempt met this error.
    pub error_code: Option<String>,
    /// The account that took it, or was tried last.
    pub provider: Option<String>,
    /// Accepted at this time or later.
    pub from: Option<Timestamp>,
    /// Accepted before this time.
    pub to: Option<Timestamp>,
}

/// The columns of a [`Record`] that has a row.
const ROW: &str = "n.id, n.correlation_id, n.task_id, n.event_type, n.customer_id, n.taller_id, n.target, n.channel,
    n.fallback_order, n.status, n.recipient_address, n.template_id, n.template_version, n.template_name, n.error_code, n.error_reason,
    n.retry_count, n.max_retries, n.next_retry_at, n.provider_message_id, n.provider, n.preferred, n.critical, n.send_at,
    n.resend_of, n.sent_at, n.delivered_at, n.read_at, n.created_at, n.updated_at";

/// The same of a message in reserve, `e`, whose chain is the row `n`.
const IN_RESERVE: &str = "(e.value ->> 'id')::uuid as id, n.correlation_id, n.task_id, n.event_type, n.customer_id, n.taller_id,
    n.target, e.value ->> 'channel' as channel, cast(e.value ->> 'place' as integer) as fallback_order,
    n.reserve_status as status, e.value ->> 'recipient_address' as recipient_address,
    (e.value ->> 'template_id')::uuid as template_id,
    cast(e.value ->> 'template_version' as integer) as template_version, e.value ->> 'template_name' as template_name, null as error_code,
    n.reserve_reason as error_reason, 0 as retry_count, n.max_retries, cast(null as timestamptz) as next_retry_at, null as provider_message_id,
    null as provider, cast(e.value ->> 'preferred' as integer) as preferred, n.critical, n.send_at, n.resend_of,
    cast(null as timestamptz) as sent_at, cast(null as timestamptz) as delivered_at,
    cast(null as timestamptz) as read_at, n.created_at, n.created_at as updated_at";

/// Those in reserve that have not had their turn. With `not exists` PostgreSQL would join all messages with all in reserve
/// before it finds a page; so each is looked up as it is met.
const RESERVES: &str = "notifications n, elements(n.reserve::jsonb) e
    where n.reserve is not null and (
        select turn.id from notifications turn where turn.id = (e.value ->> 'id')::uuid) is null";

impl NotificationFilter {
    /// What is asked of every message of a chain alike.
    fn of_chain(&self, filter: &mut Filter) -> Vec<String> {
        let mut conditions = Vec::new();
        let mut ask = |column: &str, value: Option<recado_kernel::db::filter::Value>| {
            if let Some(value) = value {
                conditions.push(format!("{column} {}", filter.value(value)));
            }
        };
        ask("n.customer_id =", self.customer_id.clone().map(Into::into));
        ask("n.event_type =", self.event_type.clone().map(Into::into));
        ask("n.correlation_id =", self.correlation_id.map(Into::into));
        ask("n.task_id =", self.task_id.map(Into::into));
        ask("n.taller_id =", self.taller_id.clone().map(Into::into));
        ask("n.created_at >=", self.from.map(Into::into));
        ask("n.created_at <", self.to.map(Into::into));
        conditions
    }

    /// The messages that fit as two texts: rows, and those in reserve; each behind its `from`.
    fn sources(&self, filter: &mut Filter, is_little_open: bool) -> [String; 2] {
        let shared = self.of_chain(filter);
        let (mut rows, mut reserve) = (shared.clone(), shared);
        if let Some(status) = self.status {
            let parameter = filter.value(status.as_str());
            rows.push(format!("n.status = {parameter}"));
            rows.extend(narrowed(status, is_little_open).map(str::to_owned));
            reserve.push(format!("n.reserve_status = {parameter}"));
            // So that the index of the rare ones is used.
            reserve.extend(status.is_closed().then(|| "n.reserve_status <> 'pending'".to_owned()));
        }
        rows.extend(self.error_code.as_deref().map(|code| format!("n.error_code = {}", filter.value(code))));
        rows.extend(self.provider.as_deref().map(|name| format!("n.provider = {}", filter.value(name))));
        if let Some(channel) = self.channel {
            let parameter = filter.value(channel.as_str());
            rows.push(format!("n.channel = {parameter}"));
            reserve.push(format!("e.value ->> 'channel' = {parameter}"));
            // So that no other reserve is parsed.
            reserve.push(format!("n.reserve like '%\"{channel}\"%'"));
        }
        let rows = if rows.is_empty() { "true".to_owned() } else { rows.join(" and ") };
        let reserve: String = reserve.iter().map(|condition| format!(" and {condition}")).collect();
        [format!("notifications n where {rows}"), format!("{RESERVES}{reserve}")]
    }

    /// Whether a message in reserve can fit.
    fn may_be_in_reserve(&self) -> bool {
        // None of them was tried yet.
        let was_tried = self.error_code.is_some() || self.provider.is_some();
        !was_tried
            && self.status.is_none_or(|status| matches!(status, Status::Pending | Status::Cancelled | Status::Failed))
    }
}

/// So many open tasks are few: their messages are looked up one by one. Of more than that, walking all messages from the newest
/// on finds a page sooner.
const LITTLE: i64 = 2_000;

/// Whether few tasks are open, where that makes a difference to what is asked for: for messages that are queued.
pub(crate) async fn is_little_open(session: &mut Session, status: Option<Status>) -> Result<bool> {
    if status != Some(Status::Queued) {
        return Ok(true);
    }
    let open: Option<(i64,)> = sql!(
        one(i64,),
        session,
        (&format!(
            "select count(*) from (select 1 from tasks where rung_at is null and finished_at is null
                 union all select 1 from tasks where rung_at is not null and finished_at is null limit {}) o",
            LITTLE + 1
        ))
    )?;
    Ok(open.is_none_or(|(open,)| open <= LITTLE))
}

/// What a status says besides, so that the index of the rare ones is used; and what is queued belongs to a task that goes on,
/// which helps where there are few of them.
pub(crate) fn narrowed(status: Status, is_little_open: bool) -> Option<&'static str> {
    match status {
        Status::Bounced | Status::Failed | Status::Cancelled => Some("n.closed_at is not null"),
        Status::Delivered | Status::Read => Some("n.delivered_at is not null"),
        Status::Queued => is_little_open.then_some(
            "n.task_id in (select t.id from tasks t where t.rung_at is null and t.finished_at is null
                           union all select t.id from tasks t where t.rung_at is not null and t.finished_at is null)",
        ),
        Status::Pending | Status::Sent => None,
    }
}

/// The year 5138, in microseconds since 1970: later than any message.
const FAR: i64 = 100_000_000_000_000_000;

/// A page of the notifications that fit, newest first, and how many fit in all, up to [`MOST_COUNTED`].
pub async fn list(
    session: &mut Session,
    asked: &NotificationFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Record>, i64)> {
    let little = is_little_open(session, asked.status).await?;
    let records = page(session, asked, limit, offset, little).await?;
    let count = match count_of(records.len(), limit, offset) {
        Some(count) => count,
        None => count(session, asked, little).await?,
    };
    Ok((records, count))
}

/// Ids and times first, from the indexes alone as far as they go; only what stands on the page is read from its row. So a page
/// far behind costs the steps over the entries before it, and not their rows.
async fn page(
    session: &mut Session,
    asked: &NotificationFilter,
    limit: i64,
    offset: i64,
    little: bool,
) -> Result<Vec<Record>> {
    let mut filter = Filter::default();
    let [rows, reserve] = asked.sources(&mut filter, little);
    // Each source gives no more than the page and what stands before it.
    let most = limit.saturating_add(offset);
    let source = |id: &str, waits: bool, from: &str| {
        let waits = i32::from(waits);
        format!(
            "select * from (select {id} as id, n.created_at as created_at, n.id as chain, {waits} as waits
                            from {from} order by n.created_at desc, n.id desc limit {most}) part"
        )
    };
    let mut sources = vec![source("n.id", false, &rows)];
    if asked.may_be_in_reserve() {
        // Where the rows alone fill the page, what is older than its last one is not looked at. The far end says nothing new,
        // but PostgreSQL takes a span for short and an open one for a third of the table.
        let (ever, far) = (filter.value(Timestamp::from_micros(0)), filter.value(Timestamp::from_micros(FAR)));
        let before = most.saturating_sub(1).max(0);
        let last =
            format!("select n.created_at from {rows} order by n.created_at desc, n.id desc limit 1 offset {before}");
        let reserve = format!("{reserve} and n.created_at >= coalesce(({last}), {ever}) and n.created_at <= {far}");
        sources.push(source("(e.value ->> 'id')::uuid", true, &reserve));
    }
    let sources = sources.join(" union all ");
    let text = format!(
        "with entries as materialized (
             select * from ({sources}) every_one order by created_at desc, id desc limit {limit} offset {offset})
         select * from (
             select {ROW} from entries k join notifications n on n.id = k.id where k.waits = 0
             union all
             select {IN_RESERVE} from entries k join notifications n on n.id = k.chain, elements(n.reserve::jsonb) e
             where k.waits = 1 and (e.value ->> 'id')::uuid = k.id
         ) message order by created_at desc, id desc"
    );
    filter.all(session, &text).await
}

/// A page of the messages that fit, newest first, and whether there are more in its direction. Nothing is counted. What waits in
/// reserve is among them only where that is asked for: else every chain would stand there three times.
pub async fn keyset(
    session: &mut Session,
    asked: &NotificationFilter,
    cursor: Cursor<Id>,
    limit: i64,
) -> Result<(Vec<Record>, bool)> {
    let little = is_little_open(session, asked.status).await?;
    let mut filter = Filter::default();
    let [mut rows, mut reserve] = asked.sources(&mut filter, little);
    let order = cursor.direction(Order::Descending);
    if let Some((id, sign)) = cursor.beyond(Order::Descending) {
        let (at, id) = (filter.value(accepted_at(session, id).await?), filter.value(id));
        // The first condition is for the index, which knows no ids.
        let beyond =
            |own: &str| format!(" and n.created_at {sign}= {at} and (n.created_at, {own}) {sign} ({at}, {id})");
        rows.push_str(&beyond("n.id"));
        reserve.push_str(&beyond("(e.value ->> 'id')::uuid"));
    }
    let most = limit + 1;
    let source = |id: &str, waits: i32, from: &str| {
        format!(
            "select * from (select {id} as id, n.created_at as created_at, n.id as chain, {waits} as waits
                            from {from} order by n.created_at {order}, n.id {order} limit {most}) part"
        )
    };
    let sources = match asked.status {
        Some(Status::Pending) if asked.may_be_in_reserve() => {
            format!("{} union all {}", source("n.id", 0, &rows), source("(e.value ->> 'id')::uuid", 1, &reserve))
        }
        _ => source("n.id", 0, &rows),
    };
    let text = format!(
        "with entries as materialized (
             select * from ({sources}) every_one order by created_at {order}, id {order} limit {most})
         select * from (
             select {ROW} from entries k join notifications n on n.id = k.id where k.waits = 0
             union all
             select {IN_RESERVE} from entries k join notifications n on n.id = k.chain, elements(n.reserve::jsonb) e
             where k.waits = 1 and (e.value ->> 'id')::uuid = k.id
         ) message order by created_at {order}, id {order}"
    );
    Ok(cursor.cut(filter.all(session, &text).await?, limit))
}

/// When a message was accepted. Of one that is gone the id tells it, to the millisecond.
async fn accepted_at(session: &mut Session, id: Id) -> Result<Timestamp> {
    let found: Option<(Timestamp,)> =
        sql!(one(Timestamp,), session, "select created_at from notifications where id = $1", id.at_place(0))?;
    Ok(found.map_or_else(|| id.made_at(), |(at,)| at))
}

/// How many a [`keyset`] list finds, up to one more than `most`.
pub async fn count_up_to(session: &mut Session, asked: &NotificationFilter, most: i64) -> Result<i64> {
    let little = is_little_open(session, asked.status).await?;
    let mut filter = Filter::default();
    let [rows, reserve] = asked.sources(&mut filter, little);
    let mut fits = format!("select 1 from {rows}");
    if asked.status == Some(Status::Pending) && asked.may_be_in_reserve() {
        fits.push_str(&format!(" union all select 1 from {reserve}"));
    }
    let text = format!("select count(*) from (select 1 from ({fits}) fits limit {}) counted", most + 1);
    let count: Vec<(i64,)> = filter.all(session, &text).await?;
    Ok(count.first().map_or(0, |(count,)| *count))
}

/// Which cells chose the channels of a task's chain; `None` where none did.
pub async fn decided(session: &mut Session, task_id: Id) -> Result<Option<Decided>> {
    sql!(one Decided, session,
        "select config_id, phase_id, subtype_id from notifications
         where task_id = $1 and config_id is not null and phase_id is not null",
        task_id
    )
}

async fn count(session: &mut Session, asked: &NotificationFilter, little: bool) -> Result<i64> {
    let mut filter = Filter::default();
    let [rows, reserve] = asked.sources(&mut filter, little);
    let mut fits = format!("select 1 from {rows}");
    if !little {
        // From the newest on, where what is queued stands: else it would be looked for from the oldest on.
        fits = format!("select 1 from (select 1 from {rows} order by n.created_at desc limit {MOST_COUNTED}) newest");
    }
    if asked.may_be_in_reserve() {
        // Where the rows are enough, PostgreSQL does not come to those in reserve.
        fits.push_str(&format!(" union all select 1 from {reserve}"));
    }
    let text = format!("select count(*) from (select 1 from ({fits}) fits limit {MOST_COUNTED}) counted");
    let count: Vec<(i64,)> = filter.all(session, &text).await?;
    Ok(count.first().map_or(0, |(count,)| *count))
}

/// The notifications of an event, chain by chain, at most `limit`. A caller may give many events the same id.
pub async fn of_correlation(session: &mut Session, correlation_id: Id, limit: i64) -> Result<Vec<Record>> {
    let asked = NotificationFilter { correlation_id: Some(correlation_id), ..NotificationFilter::default() };
    let mut records = page(session, &asked, limit, 0, true).await?;
    records.sort_by_key(|record| (record.created_at, record.task_id, record.fallback_order));
    Ok(records)
}

/// The channels that the chains of these tasks do not use, as lines of the journal: they stand in the rows of the chains.
pub async fn skipped(session: &mut Session, task_ids: &[Id]) -> Result<Vec<Line>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        record: Record,
        skipped: String,
    }
    let rows = sql!(all Row, session,
        (&format!("select {ROW}, n.skipped from notifications n where n.task_id = any($1) and n.skipped is not null order by n.id")),
        Ids(task_ids)
    )?;
    let lines = rows.into_iter().flat_map(|Row { record, skipped }| {
        let skipped: Vec<SkippedChannel> = serde_json::from_str(&skipped).unwrap_or_default();
        skipped.into_iter().map(move |SkippedChannel { channel, reason }| {
            let entry = Entry {
                id: record.id,
                at: record.created_at,
                correlation_id: record.correlation_id,
                customer_id: record.customer_id.clone(),
                task_id: Some(record.task_id),
                notification_id: None,
                channel: Some(channel),
                fact: Fact::Skipped { reason },
            };
            Line::from(entry)
        })
    });
    Ok(lines.collect())
}
