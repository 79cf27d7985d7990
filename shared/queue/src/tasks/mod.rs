//! The ledger: every job is a row, and every state that an operator sees is a state of this row.
//!
//! ```text
//! scheduled ──due──► queued ──claimed──► started ──► success | dead | scheduled (later)
//!                       ▲                   │
//!                       └── lease lost ─────┘            cancelled, from any state that is not final
//! ```
//!
//! `claim` and `finish` are what workers do, `recovery` is what the scheduler does, `changes` what operators do, `listing` what
//! they see.

mod changes;
mod claim;
mod finish;
mod listing;
mod recovery;

use std::collections::HashSet;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Rows, Session, Texts, columns};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql, word_enum};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::jobs::{Job, Kind};
use crate::lanes::{Lane, Priority};
use crate::ring::Ring;

pub use changes::{cancel, delete_finished, revive, wake};
pub use claim::{Claimed, begin, claim, claim_waiting, heartbeat};
pub use finish::{Finish, finish, hand_back, report};
pub use listing::{
    Count, Listed, MOST_LOOKED_AT, MOST_TOLD, Task, TaskFilter, count, count_unfinished, dead, find, list, page, walk,
};
pub use recovery::{
    Expired, LOST_LEASES_UNTIL_DEAD, bring_back, bring_back_due, expire_leases, next_due, overdue, promote_due,
    ring_lost,
};

/// A task to be written.
#[derive(Clone, Debug)]
pub struct NewTask {
    pub id: Id,
    kind: &'static str,
    payload: Value,
    lane: &'static str,
    priority: i16,
    state: &'static str,
    run_at: Timestamp,
    rung_at: Option<Timestamp>,
    unique_key: Option<String>,
    correlation_id: Option<Id>,
    created_at: Timestamp,
    ring: Option<Ring>,
}

impl NewTask {
    /// A task that may run at once.
    pub fn now(id: Id, job: &impl Job, now: Timestamp) -> Self {
        Self::at(id, job, now, now)
    }

    /// A task that may run from `run_at` on.
    pub fn at<J: Job>(id: Id, job: &J, run_at: Timestamp, now: Timestamp) -> Self {
        Self::of(id, &J::KIND, job.lane(), job.payload(), run_at, now)
    }

    /// A task of a schedule, whose jobs carry nothing.
    pub fn scheduled(id: Id, kind: &Kind, now: Timestamp) -> Self {
        Self::of(id, kind, kind.lane, Value::Object(serde_json::Map::new()), now, now)
    }

    fn of(id: Id, kind: &Kind, lane: Lane, payload: Value, run_at: Timestamp, now: Timestamp) -> Self {
        let due = run_at <= now;
        Self {
            id,
            kind: kind.name,
            payload,
            lane: lane.as_str(),
            priority: kind.priority as i16,
            state: if due { "queued" } else { "scheduled" },
            run_at,
            rung_at: due.then_some(now),
            unique_key: None,
            correlation_id: None,
            created_at: now,
            ring: due.then_some(Ring { id, lane, priority: kind.priority }),
        }
    }

    /// At most one task ever carries this key; later ones are not written.
    pub fn unique(mut self, key: String) -> Self {
        self.unique_key = Some(key);
        self
    }

    pub fn lane(&self) -> Lane {
        Lane::new(self.lane)
    }

    pub fn correlated(mut self, correlation_id: Id) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }
}

columns!(NewTask {
    id: uuid = |task| task.id,
    kind: text = |task| task.kind,
    payload: jsonb = |task| Json(&task.payload),
    lane: text = |task| task.lane,
    priority: int2 = |task| task.priority,
    state: text = |task| task.state,
    run_at: timestamptz = |task| task.run_at,
    rung_at: timestamptz = |task| task.rung_at,
    unique_key: text = |task| task.unique_key.as_deref(),
    correlation_id: uuid = |task| task.correlation_id,
    created_at: timestamptz = |task| task.created_at,
});

/// What [`insert`] wrote.
#[derive(Debug, Default)]
pub struct Inserted {
    pub ids: HashSet<Id>,
    /// To be rung after the commit.
    pub rings: Vec<Ring>,
}

impl Inserted {
    /// Of these tasks, those whose rows were written.
    pub fn of(tasks: &[NewTask], written: Vec<(Id,)>) -> Self {
        let ids: HashSet<Id> = written.into_iter().map(|(id,)| id).collect();
        let rings = tasks.iter().filter_map(|task| task.ring).filter(|ring| ids.contains(&ring.id)).collect();
        Self { ids, rings }
    }
}

/// Writes tasks. Those whose unique key exists are passed over.
pub async fn insert(session: &mut Session, tasks: &[NewTask]) -> Result<Inserted> {
    write(session, tasks, insertion(tasks)).await
}

/// The same where an earlier statement may have written them: its answer did not come. What stands is passed over.
pub async fn insert_again(session: &mut Session, tasks: &[NewTask]) -> Result<Inserted> {
    write(session, tasks, INSERTION_AGAIN).await
}

async fn write(session: &mut Session, tasks: &[NewTask], statement: &str) -> Result<Inserted> {
    if tasks.is_empty() {
        return Ok(Inserted::default());
    }
    Ok(Inserted::of(tasks, columns::all(session, statement, tasks).await?))
}

/// The statement that writes these tasks and returns the ids of those that are new. For statements that write more with them.
///
/// A row that may have to be passed over costs PostgreSQL a third more: it is entered on trial, and then confirmed. So tasks are
/// written like that only where one of them may meet another: new ids do not.
pub fn insertion(tasks: &[NewTask]) -> &'static str {
    let are_new = tasks.iter().all(|task| task.unique_key.is_none());
    if are_new { INSERTION } else { INSERTION_AGAIN }
}

macro_rules! insertion {
    ($on_conflict:literal) => {
        concat!(
            "insert into tasks ({columns}, attempt, failures, lost_leases, suspect_group, begun, cut_off)
             select {columns}, 0, 0, 0, 0, false, false from {rows} r where {in_time} ",
            $on_conflict,
            " returning id"
        )
    };
}

const INSERTION: &str = insertion!("");

/// Of [`insertion()`], for tasks that may stand already.
pub const INSERTION_AGAIN: &str = insertion!("on conflict do nothing");

/// Says of which schedules tasks are runs. Apart from [`insert`], which all tasks go through and few of which are of a schedule.
pub async fn belong_to(session: &mut Session, runs: &[(Id, Id)]) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = runs.iter().map(|(id, schedule)| json!({ "id": id, "schedule_id": schedule })).collect();
    sql!(
        run,
        session,
        "update tasks set schedule_id = r.schedule_id from rows($1 as tasks: id, schedule_id) r where tasks.id = r.id",
        Rows::new(&rows)
    )?;
    Ok(())
}

/// Which tasks carry these unique keys.
pub async fn with_unique_keys(session: &mut Session, keys: &[&str]) -> Result<Vec<(String, Id)>> {
    sql!(all(String, Id), session, "select unique_key, id from tasks where unique_key = any($1)", Texts(keys))
}

/// The states of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "lowercase", const_into_str)]
#[schema(as = TaskState, rename_all = "lowercase")]
pub enum State {
    Scheduled,
    Queued,
    Started,
    Success,
    Dead,
    Cancelled,
}

/// The states of a task in Celery's words, which the clients of the task status know (S002-62).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum CeleryStatus {
    Pending,
    Started,
    Retry,
    Success,
    Failure,
    Revoked,
}

word_enum!(State, "a state");

impl State {
    /// What Celery would say of a task that was claimed so often.
    pub fn celery(self, attempt: i32) -> CeleryStatus {
        match self {
            Self::Scheduled | Self::Queued if attempt == 0 => CeleryStatus::Pending,
            Self::Scheduled | Self::Queued => CeleryStatus::Retry,
            Self::Started => CeleryStatus::Started,
            Self::Success => CeleryStatus::Success,
            Self::Dead => CeleryStatus::Failure,
            Self::Cancelled => CeleryStatus::Revoked,
        }
    }

    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Dead | Self::Cancelled)
    }

    /// Whether [`revive`] lets it begin again.
    pub fn can_be_retried(self) -> bool {
        matches!(self, Self::Dead | Self::Cancelled)
    }
}

#[derive(sqlx::FromRow)]
struct RingRow {
    id: Id,
    #[sqlx(try_from = "String")]
    lane: Lane,
    #[sqlx(try_from = "i16")]
    priority: Priority,
}

impl From<RingRow> for Ring {
    fn from(RingRow { id, lane, priority }: RingRow) -> Self {
        Self { id, lane, priority }
    }
}

fn rings(rows: Vec<RingRow>) -> Vec<Ring> {
    rows.into_iter().map(Ring::from).collect()
}

fn names(lanes: &[Lane]) -> Vec<&'static str> {
    lanes.iter().map(|lane| lane.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_celery_read_its_words() {
        assert_eq!(State::Queued.celery(0), CeleryStatus::Pending);
        assert_eq!(State::Scheduled.celery(2), CeleryStatus::Retry);
        assert_eq!(State::Dead.celery(3), CeleryStatus::Failure);
    }
}
