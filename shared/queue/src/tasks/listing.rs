//! What operators and clients see of the ledger. No list reads the whole table.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{self, MOST_COUNTED};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::{Result, Session, contains};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;

use super::{State, names};
use crate::lanes::Lane;

/// A task as operators and clients see it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Task {
    pub id: Id,
    pub kind: String,
    pub lane: String,
    pub state: State,
    pub priority: i16,
    pub run_at: Timestamp,
    pub attempt: i32,
    pub failures: i32,
    pub lost_leases: i32,
    pub worker: Option<String>,
    pub lease_until: Option<Timestamp>,
    pub error: Option<String>,
    pub result: Option<Json<Value>>,
    pub correlation_id: Option<Id>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub payload: Json<Value>,
}

pub async fn find(session: &mut Session, id: Id) -> Result<Option<Task>> {
    sql!(one Task, session,
        (&format!("{SELECT} where id = $1")),
        id
    )
}

/// Which tasks to list or change. Everything is optional; `ids` and the rest narrow each other.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    pub ids: Vec<Id>,
    pub state: Option<State>,
    pub lanes: Vec<Lane>,
    pub kind: Option<String>,
    /// Only tasks that are older than this one.
    pub before: Option<Id>,
    /// Part of the error's text, in any case.
    pub error: Option<String>,
    /// Tasks that were made at this time or later,
    pub since: Option<Timestamp>,
    /// and before this one.
    pub until: Option<Timestamp>,
    /// Tasks that ended at this time or earlier.
    pub ended_by: Option<Timestamp>,
    /// Runs of this schedule.
    pub schedule: Option<Id>,
}

/// No list tells further than this how many there are: "10,000+" is as good.
pub const MOST_TOLD: i64 = 10_000;

/// The columns of a [`Task`].
const SELECT: &str = "select id, kind, lane, state, priority, run_at, attempt, failures, lost_leases, worker, lease_until, error, result,
            correlation_id, created_at, started_at, finished_at, payload
     from tasks";

/// What holds in a state, in the words of the index that finds its rows, for `state` itself stands in none.
const fn indexed(state: State) -> &'static str {
    match state {
        State::Scheduled => "rung_at is null and finished_at is null",
        State::Queued | State::Started => "rung_at is not null and finished_at is null",
        State::Dead => "error is not null and finished_at is not null",
        State::Success | State::Cancelled => "finished_at is not null",
    }
}

impl TaskFilter {
    fn conditions(&self) -> filter::Filter {
        let mut asked = self.walked();
        asked.when("lane = any(?)", (!self.lanes.is_empty()).then(|| names(&self.lanes)));
        asked.equal("kind", self.kind.as_deref());
        asked.equal("schedule_id", self.schedule);
        if let Some(state) = self.state {
            // As a literal, where an index asks for the state besides.
            asked.require(format!("state = '{}'", state.as_str()));
        }
        asked.when("error ilike ? escape '\\'", self.error.as_deref().map(contains));
        asked.when("id >= ?", self.since.map(Id::earliest));
        asked.when("id < ?", self.until.map(Id::earliest));
        asked.when("finished_at <= ?", self.ended_by);
        asked
    }

    /// The conditions that an index knows: tasks that are looked at, be they asked for or not.
    fn walked(&self) -> filter::Filter {
        let mut walked = filter::Filter::default();
        walked.when("id = any(?)", (!self.ids.is_empty()).then(|| self.ids.clone()));
        walked.when("id < ?", self.before);
        if let Some(state) = self.state {
            walked.require(indexed(state));
        }
        walked
    }

    /// Whether no index knows all that is asked for, so that many tasks may be looked at for one that is found.
    fn is_selective(&self) -> bool {
        let ended = matches!(self.state, Some(State::Success | State::Cancelled));
        self.ids.is_empty() && (self.kind.is_some() || !self.lanes.is_empty() || ended)
    }
}

/// How many tasks a list looks at. A kind or a lane may be so rare that the whole table holds none, and no index pays for that
/// question with a write for every task.
pub const MOST_LOOKED_AT: i64 = 100_000;

/// A list of tasks, the newest first.
#[derive(Debug, Default)]
pub struct Listed {
    pub tasks: Vec<Task>,
    /// Tasks that are older than this one were not looked at, and some may be asked for.
    pub back_to: Option<(Id, Timestamp)>,
}

/// The newest tasks first, among the newest [`MOST_LOOKED_AT`].
pub async fn list(session: &mut Session, filter: &TaskFilter, limit: i64) -> Result<Listed> {
    let mut asked = filter.conditions();
    let oldest = if filter.is_selective() { oldest_looked_at(session, filter).await? } else { None };
    asked.when("id >= ?", oldest.map(|(id, _)| id));
    let tasks: Vec<Task> =
        asked.all(session, &format!("{SELECT} where {asked} order by id desc limit {limit}")).await?;
    let is_full = i64::try_from(tasks.len()).is_ok_and(|found| found >= limit);
    Ok(Listed { tasks, back_to: oldest.filter(|_| !is_full) })
}

/// The oldest task that a list looks at; `None` when it looks at all.
async fn oldest_looked_at(session: &mut Session, filter: &TaskFilter) -> Result<Option<(Id, Timestamp)>> {
    let walked = filter.walked();
    let text = format!(
        "select id, created_at from tasks where {walked} order by id desc limit 1 offset {}",
        MOST_LOOKED_AT - 1
    );
    let found: Vec<(Id, Timestamp)> = walked.all(session, &text).await?;
    Ok(found.into_iter().next())
}

/// A page of tasks, newest first, and whether there are more in its direction. Nothing is counted.
pub async fn page(
    session: &mut Session,
    filter: &TaskFilter,
    cursor: Cursor<Id>,
    limit: i64,
) -> Result<(Vec<Task>, bool)> {
    filter.conditions().page(session, SELECT, ("id", Order::Descending), cursor, limit).await
}

/// How many tasks a filter finds, up to one more than [`MOST_TOLD`].
pub async fn count(session: &mut Session, filter: &TaskFilter) -> Result<i64> {
    filter.conditions().count_up_to(session, "tasks", MOST_TOLD).await
}

/// The ids and states that a filter finds, by id: the next `limit` after one.
pub async fn walk(
    session: &mut Session,
    filter: &TaskFilter,
    after: Option<Id>,
    limit: i64,
) -> Result<Vec<(Id, State)>> {
    let mut asked = filter.conditions();
    asked.when("id > ?", after);
    asked.all(session, &format!("select id, state from tasks where {asked} order by id limit {limit}")).await
}

/// Dead tasks of these lanes, or of all when there are none, by id: the next `limit` after one.
pub async fn dead(session: &mut Session, lanes: &[Lane], after: Option<Id>, limit: i64) -> Result<Vec<Id>> {
    let filter = TaskFilter { lanes: lanes.to_vec(), state: Some(State::Dead), ..TaskFilter::default() };
    let mut asked = filter.conditions();
    asked.when("id > ?", after);
    let dead: Vec<(Id,)> =
        asked.all(session, &format!("select id from tasks where {asked} order by id limit {limit}")).await?;
    Ok(dead.into_iter().map(|(id,)| id).collect())
}

/// How many tasks of a lane are in a state, and since when the oldest is due.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Count {
    pub lane: String,
    pub state: State,
    pub count: i64,
    pub oldest: Option<Timestamp>,
}

/// The tasks of these lanes that are not finished, and the dead ones, each lane and state counted up to [`MOST_COUNTED`]: what
/// is looked at is bounded, however much waits. Each part walks the index that holds its rows, from the oldest on.
pub async fn count_unfinished(session: &mut Session, lanes: &[Lane]) -> Result<Vec<Count>> {
    // The names are ours, so they may stand in the text.
    let open = |lane: &Lane| {
        format!(
            "select * from (select lane, state, run_at from tasks
                 where rung_at is not null and finished_at is null and lane = '{lane}' order by rung_at limit {MOST_COUNTED}) o"
        )
    };
    let parts: Vec<String> = lanes.iter().map(open).collect();
    let parts = parts.join(" union all ");
    let text = format!(
        "select lane, state, count(*) as count, min(run_at) as oldest from (
             {parts}
             union all select * from (select lane, state, run_at from tasks
                 where rung_at is null and finished_at is null order by run_at limit {MOST_COUNTED}) s
             union all select * from (select lane, state, run_at from tasks
                 where error is not null and finished_at is not null and state = 'dead' order by id limit {MOST_COUNTED}) d
         ) unfinished
         group by lane, state order by lane, state"
    );
    sql!(all Count, session, (&text))
}
