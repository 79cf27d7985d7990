//! What the owner of an endpoint is told of it, once each: that it was disabled, that it takes nothing, that it is well again.
//!
//! A notice is a row that is written with the change, and a task that carries its id. Who is told, and in which words, is not
//! known here: systems above this one have the owners and the ways to reach them.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, columns};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql, word_enum};
use recado_queue::tasks::{self, NewTask};

use crate::endpoints::DisabledReason;
use crate::jobs::AnnounceEndpoint;

/// What happened to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum NoticeKind {
    /// It answered 410, or took nothing for days: nothing goes out any more.
    Disabled,
    /// It has taken nothing for a while. It is still tried.
    Failing,
    /// It takes webhooks again.
    Recovered,
    /// It was disabled, and is active again.
    Enabled,
}

word_enum!(NoticeKind, "what happened to an endpoint");

impl NoticeKind {
    /// The type of the event that tells of it.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Disabled => "endpoint.disabled",
            Self::Failing => "endpoint.failing",
            Self::Recovered => "endpoint.recovered",
            Self::Enabled => "endpoint.enabled",
        }
    }
}

/// A notice.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Notice {
    /// Also the id of the task that tells of it.
    pub id: Id,
    pub endpoint_id: Id,
    pub kind: NoticeKind,
    pub reason: Option<DisabledReason>,
    /// Since when it took nothing.
    pub since: Option<Timestamp>,
    /// How it answered last; both `None`: it was not called.
    pub last_status_code: Option<i32>,
    pub last_error: Option<String>,
    pub at: Timestamp,
}

columns!(Notice {
    id: uuid = |notice| notice.id,
    endpoint_id: uuid = |notice| notice.endpoint_id,
    kind: text = |notice| notice.kind.as_str(),
    reason: text = |notice| notice.reason.map(DisabledReason::as_str),
    since: timestamptz = |notice| notice.since,
    last_status_code: int4 = |notice| notice.last_status_code,
    last_error: text = |notice| notice.last_error.as_deref(),
    at: timestamptz = |notice| notice.at,
});

impl Notice {
    pub fn new(endpoint_id: Id, kind: NoticeKind, at: Timestamp) -> Self {
        Self {
            id: Id::new(at),
            endpoint_id,
            kind,
            reason: None,
            since: None,
            last_status_code: None,
            last_error: None,
            at,
        }
    }
}

/// How long a notice waits. Those who write one hold a transaction in which nothing can be rung: so its task is one that the
/// scheduler finds due.
const DELAY: Duration = Duration::from_secs(1);

/// Writes notices with their tasks, in the transaction of the change.
pub async fn write(session: &mut Session, notices: &[Notice]) -> Result<()> {
    if notices.is_empty() {
        return Ok(());
    }
    columns::run(session, "insert into webhook_notices ({columns}) select {columns} from {rows} r", notices).await?;
    let task = |notice: &Notice| NewTask::at(notice.id, &AnnounceEndpoint {}, notice.at + DELAY, notice.at);
    let tasks: Vec<NewTask> = notices.iter().map(task).collect();
    tasks::insert(session, &tasks).await?;
    Ok(())
}

/// The notice of a task, taken to be told in the caller's transaction. `None`: it was told before.
pub async fn take(session: &mut Session, id: Id, now: Timestamp) -> Result<Option<Notice>> {
    sql!(one Notice, session,
        "update webhook_notices set published_at = $2 where id = $1 and published_at is null
         returning id, endpoint_id, kind, reason, since, last_status_code, last_error, at",
        id, now)
}

/// The latest notices of an endpoint, the newest first.
pub async fn of_endpoint(session: &mut Session, endpoint_id: Id, limit: i64) -> Result<Vec<Notice>> {
    sql!(all Notice, session,
        "select id, endpoint_id, kind, reason, since, last_status_code, last_error, at
         from webhook_notices where endpoint_id = $1 order by id desc limit $2",
        endpoint_id, limit)
}

/// Deletes the oldest notices from before this moment; returns how many. Ids sort by time.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from webhook_notices where id in (select id from webhook_notices where id < $1 order by id limit $2)",
        Id::earliest(before),
        limit
    )
}
