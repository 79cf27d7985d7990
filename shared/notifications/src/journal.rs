//! The journal: decisions that no other row tells.
//!
//! Why a channel was skipped, why a message waits, which receipt came, why the next channel was tried, who cancelled. An
//! attempt has a row of its own, and a plain success needs no words, so neither is written here.

use recado_kernel::columns;
use recado_kernel::db::columns;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::types::Json;

use crate::channels::Channel;
use crate::dispatch::DeferReason;
use crate::notifications::Notification;
use crate::orchestration::{Awaited, SkipReason};
use crate::reports::Report;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::{sql, word_enum};

/// A decision to be remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Writing the same entry twice is harmless.
    pub id: Id,
    pub at: Timestamp,
    pub correlation_id: Id,
    pub customer_id: String,
    /// None when the event reached no one.
    pub task_id: Option<Id>,
    /// None when no message was made: the channel was skipped at intake.
    pub notification_id: Option<Id>,
    pub channel: Option<Channel>,
    pub fact: Fact,
}

columns!(Entry {
    id: uuid = |entry| entry.id,
    at: timestamptz = |entry| entry.at,
    correlation_id: uuid = |entry| entry.correlation_id,
    customer_id: text = |entry| entry.customer_id.as_str(),
    task_id: uuid = |entry| entry.task_id,
    notification_id: uuid = |entry| entry.notification_id,
    channel: text = |entry| entry.channel.map(Channel::as_str),
    kind: text = |entry| entry.fact.kind().as_str(),
    facts: jsonb = |entry| Json(entry.fact.content()),
});

impl Entry {
    /// A decision about a message that exists.
    pub fn about(notification: &Notification, fact: Fact, now: Timestamp) -> Self {
        Self {
            id: Id::new(now),
            at: now,
            correlation_id: notification.correlation_id,
            customer_id: notification.customer_id.clone(),
            task_id: Some(notification.task_id),
            notification_id: Some(notification.id),
            channel: Some(notification.channel),
            fact,
        }
    }
}

/// What was decided. The words are stable: they rest in the database and travel in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Kind {
    /// A channel was not used: the customer said no, has no address, …
    Skipped,
    /// It leaves later: quiet hours, or the caller named a time.
    Deferred,
    /// It leaves later, because this person got many messages lately.
    Throttled,
    /// The next channel of the chain has its turn.
    FellBack,
    /// The provider said what became of a message.
    Receipt,
    /// An address was put on the list of suppressions, or a message was not sent because it stands there.
    Suppressed,
    /// It was cancelled on request.
    Cancelled,
    /// It was sent again on request.
    Resent,
    /// The customer switched a channel off, with the link in a message.
    OptedOut,
}

word_enum!(Kind, "a kind of entry");

/// What was decided, and all that its sentence is made of: codes and figures, no address and no words of the message. The
/// sentence is made where it is read ([`crate::timeline`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "facts", rename_all = "snake_case")]
pub enum Fact {
    Skipped { reason: SkipReason },
    Deferred { reason: DeferReason, until: Timestamp },
    Throttled { per_hour: u32, until: Timestamp },
    FellBack { to: Channel, why: FallbackReason },
    Receipt { report: Report },
    Suppressed {},
    Cancelled {},
    Resent { copy: Id },
    OptedOut {},
}

/// Why the next channel of a chain has its turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FallbackReason {
    /// The channel is spent; what its last attempt said.
    Failed { code: String, reason: String },
    /// It was sent, and its receipt did not come in time.
    NoReceipt(Awaited),
    /// The provider refused the message after it had taken it.
    RefusedLater,
}

impl Fact {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Skipped { .. } => Kind::Skipped,
            Self::Deferred { .. } => Kind::Deferred,
            Self::Throttled { .. } => Kind::Throttled,
            Self::FellBack { .. } => Kind::FellBack,
            Self::Receipt { .. } => Kind::Receipt,
            Self::Suppressed {} => Kind::Suppressed,
            Self::Cancelled {} => Kind::Cancelled,
            Self::Resent { .. } => Kind::Resent,
            Self::OptedOut {} => Kind::OptedOut,
        }
    }

    /// Without the kind, as the column `facts` holds it.
    fn content(&self) -> Value {
        let tagged = serde_json::to_value(self).expect("facts are plain data, which always serialises");
        match tagged {
            Value::Object(mut object) => object.remove("facts").unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }
}

/// A channel that a person switched off with the link of a message.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OptOut {
    pub at: Timestamp,
    pub notification_id: Option<Id>,
    pub channel: Option<Channel>,
}

/// What a person switched off by link, the newest first.
pub async fn opt_outs(session: &mut Session, customer_id: &str, limit: i64) -> Result<Vec<OptOut>> {
    sql!(all OptOut, session,
        "select at, notification_id, channel from journal where customer_id = $1 and kind = 'opted_out'
         order by at desc limit $2",
        customer_id, limit
    )
}

/// Writes entries down, in the transaction of what they tell.
pub async fn record(session: &mut Session, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    columns::run(
        session,
        "insert into journal ({columns}) select {columns} from {rows} r where true on conflict do nothing",
        entries,
    )
    .await?;
    Ok(())
}

/// An entry as it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Line {
    pub id: Id,
    pub at: Timestamp,
    pub correlation_id: Id,
    pub customer_id: String,
    pub task_id: Option<Id>,
    pub notification_id: Option<Id>,
    /// The word of a [`Channel`].
    pub channel: Option<String>,
    /// The word of a [`Kind`]. A newer version may have written one that this one does not know.
    pub kind: String,
    /// Empty when the person was erased.
    pub facts: Json<Value>,
}

impl From<Entry> for Line {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id,
            at: entry.at,
            correlation_id: entry.correlation_id,
            customer_id: entry.customer_id,
            task_id: entry.task_id,
            notification_id: entry.notification_id,
            channel: entry.channel.map(|channel| channel.as_str().to_owned()),
            kind: entry.fact.kind().as_str().to_owned(),
            facts: Json(entry.fact.content()),
        }
    }
}

impl Line {
    /// What was decided; `None` when it was erased, or when a newer version wrote it.
    pub fn fact(&self) -> Option<Fact> {
        serde_json::from_value(json!({ "kind": self.kind, "facts": self.facts.0 })).ok()
    }
}

/// What was decided about the chain of a task, oldest first.
pub async fn of_task(session: &mut Session, task_id: Id) -> Result<Vec<Line>> {
    of_tasks(session, &[task_id]).await
}

/// What was decided about the chains of these tasks, oldest first.
pub async fn of_tasks(session: &mut Session, task_ids: &[Id]) -> Result<Vec<Line>> {
    sql!(all Line, session,
        "select id, at, correlation_id, customer_id, task_id, notification_id, channel, kind, facts
         from journal where task_id = any($1) order by at, id",
        Ids(task_ids)
    )
}

/// What was decided about an event, in all its chains, oldest first, at most `limit` lines: a caller may give many events
/// the same id.
pub async fn of_correlation(session: &mut Session, correlation_id: Id, limit: i64) -> Result<Vec<Line>> {
    sql!(all Line, session,
        "select id, at, correlation_id, customer_id, task_id, notification_id, channel, kind, facts
         from journal where correlation_id = $1 order by at, id limit $2",
        correlation_id, limit
    )
}

/// Deletes what is older than `before`, at most `limit` entries.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from journal where id in (select id from journal where at < $1 order by at limit $2)",
        before,
        limit
    )
}
