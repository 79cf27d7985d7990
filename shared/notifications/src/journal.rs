//! The journal: decisions that no other row tells.
//!
//! Why a channel was skipped, why a message waits, which receipt came, why the next channel was tried, who cancelled. An
//! attempt has a row of its own, and a plain success needs no words, so neither is written here.

use serde::Serialize;

use crate::channels::Channel;
use crate::notifications::Notification;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Rows, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;

/// A decision to be remembered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Writing the same entry twice is harmless.
    pub id: Id,
    pub at: Timestamp,
    pub correlation_id: Id,
    pub customer_id: String,
    /// None when the event reached nobody.
    pub task_id: Option<Id>,
    /// None when no message was made: the channel was skipped at the door.
    pub notification_id: Option<Id>,
    pub channel: Option<Channel>,
    pub kind: Kind,
    /// A sentence for staff, without addresses or words of the message.
    pub detail: String,
}

impl Entry {
    /// A decision about a message that exists.
    pub fn about(notification: &Notification, kind: Kind, detail: impl Into<String>, now: Timestamp) -> Self {
        Self {
            id: Id::new(now),
            at: now,
            correlation_id: notification.correlation_id,
            customer_id: notification.customer_id.clone(),
            task_id: Some(notification.task_id),
            notification_id: Some(notification.id),
            channel: Some(notification.channel),
            kind,
            detail: detail.into(),
        }
    }
}

/// What was decided. The words are stable: they rest in the database and travel in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// Somebody cancelled it.
    Cancelled,
    /// Somebody had it sent again.
    Resent,
    /// The customer switched a channel off, with the link in a message.
    OptedOut,
}

impl Kind {
    /// Every kind, in the order of this page.
    pub const ALL: [Self; 9] = [
        Self::Skipped,
        Self::Deferred,
        Self::Throttled,
        Self::FellBack,
        Self::Receipt,
        Self::Suppressed,
        Self::Cancelled,
        Self::Resent,
        Self::OptedOut,
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Deferred => "deferred",
            Self::Throttled => "throttled",
            Self::FellBack => "fell_back",
            Self::Receipt => "receipt",
            Self::Suppressed => "suppressed",
            Self::Cancelled => "cancelled",
            Self::Resent => "resent",
            Self::OptedOut => "opted_out",
        }
    }
}

/// Writes entries down, in the transaction of what they tell.
pub async fn record(session: &mut Session, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    sql!(
        run,
        session,
        "insert into journal (id, at, correlation_id, customer_id, task_id, notification_id, channel, kind, detail)
         select id, at, correlation_id, customer_id, task_id, notification_id, channel, kind, detail
         from rows($1 as journal: id, at, correlation_id, customer_id, task_id, notification_id, channel, kind, detail)
         where true
         on conflict do nothing",
        Rows::new(entries)
    )?;
    Ok(())
}

/// An entry as it is read.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
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
    pub detail: String,
}

/// What was decided about the chain of a task, oldest first.
pub async fn of_task(session: &mut Session, task_id: Id) -> Result<Vec<Line>> {
    of_tasks(session, &[task_id]).await
}

/// What was decided about the chains of these tasks, oldest first.
pub async fn of_tasks(session: &mut Session, task_ids: &[Id]) -> Result<Vec<Line>> {
    sql!(all Line, session,
        "select id, at, correlation_id, customer_id, task_id, notification_id, channel, kind, detail
         from journal where task_id = any($1) order by at, id",
        Ids(task_ids)
    )
}

/// What was decided about an event, in all its chains, oldest first, at most `limit` lines: a caller may give many events
/// the same id.
pub async fn of_correlation(session: &mut Session, correlation_id: Id, limit: i64) -> Result<Vec<Line>> {
    sql!(all Line, session,
        "select id, at, correlation_id, customer_id, task_id, notification_id, channel, kind, detail
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_that_travel() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("a word"), kind.as_str());
        }
    }
}
