//! One action on many tasks: what it acts on is frozen when it is made, and a job walks through it in chunks.
//!
//! Each chunk is one transaction: the tasks, their systems' rows, how far the walk has come, and its entry in the audit log. So
//! a walk that is cut off goes on where it was, and hits nothing twice. What arrives or fails later than the operation was made
//! is no part of it.

use std::collections::BTreeMap;
use std::time::Duration;

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::Filter;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_kernel::{sql, word_enum};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::context::Context;
use crate::jobs::RunBulk;
use crate::lanes::Lane;
use crate::operations;
use crate::ring::Ring;
use crate::tasks::{self, NewTask, State, TaskFilter};

/// Tasks per transaction.
const CHUNK: i64 = 500;

/// The most tasks that can be named one by one.
pub const MOST_NAMED: usize = 1_000;

/// What is done to each task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = BulkAction, rename_all = "snake_case")]
pub enum Action {
    /// Dead and cancelled tasks begin again.
    Retry,
    /// Tasks that have not ended will not run.
    Cancel,
}

word_enum!(Action, "an action");

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = BulkState, rename_all = "snake_case")]
pub enum BulkState {
    /// No worker has taken it up.
    Waiting,
    Running,
    /// Somebody stopped it; what was done stays done.
    Stopped,
    Done,
}

word_enum!(BulkState, "a state of an operation");

impl BulkState {
    pub fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Done)
    }
}

/// Which tasks: those that were ticked, or all that a filter finds. Never tasks that were made, or ended, after `frozen_at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only these. Empty: all that the rest finds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Part of the error's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Tasks that were made since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_us: Option<i64>,
    pub frozen_at_us: i64,
}

impl Selection {
    /// What a filter finds now.
    pub fn of(filter: &TaskFilter, now: Timestamp) -> Self {
        Self {
            ids: filter.ids.clone(),
            state: filter.state,
            lanes: filter.lanes.iter().map(|lane| lane.as_str().to_owned()).collect(),
            kind: filter.kind.clone(),
            error: filter.error.clone(),
            since_us: filter.since.map(Timestamp::as_micros),
            frozen_at_us: now.as_micros(),
        }
    }

    /// The filter that finds it again.
    pub fn filter(&self) -> TaskFilter {
        let frozen_at = Timestamp::from_micros(self.frozen_at_us);
        TaskFilter {
            ids: self.ids.clone(),
            state: self.state,
            lanes: self.lanes.iter().cloned().map(Lane::from).collect(),
            kind: self.kind.clone(),
            error: self.error.clone(),
            since: self.since_us.map(Timestamp::from_micros),
            // Ids are of a millisecond: what was made in this one was there.
            until: Some(frozen_at + Duration::from_millis(1)),
            ended_by: self.state.is_some_and(State::is_final).then_some(frozen_at),
            ..TaskFilter::default()
        }
    }
}

/// An operation.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Bulk {
    pub id: Id,
    pub action: Action,
    pub selection: Json<Selection>,
    pub actor: String,
    pub created_at: Timestamp,
    pub state: BulkState,
    /// Counted when it was made, up to [`tasks::MOST_TOLD`].
    pub total: i32,
    /// Tasks a minute; 0: as fast as it goes.
    pub pace: i32,
    pub done: i32,
    /// How many were passed over, by the state that they were in.
    pub skipped: Json<BTreeMap<String, i32>>,
    pub position: Option<Id>,
    pub task_id: Id,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

impl Bulk {
    /// How many were looked at.
    pub fn seen(&self) -> i32 {
        self.done + self.skipped.0.values().sum::<i32>()
    }
}

const COLUMNS: &str = "id, action, selection, actor, created_at, state, total, pace, done, skipped, position, task_id, updated_at, \
     finished_at";

/// Makes an operation and the job that carries it out. `pace` is in tasks a minute, 0 for none.
pub async fn start(
    context: &Context,
    action: Action,
    selection: &Selection,
    pace: u16,
    actor: &Actor,
) -> db::Result<Id> {
    let now = context.clock.now();
    let id = Id::new(now);
    let task = NewTask::now(Id::new(now), &RunBulk { operation: id }, now);
    let mut session = context.db.begin().await?;
    let total = tasks::count(&mut session, &selection.filter()).await?;
    sql!(
        run,
        &mut session,
        "insert into bulk_operations (id, action, selection, actor, created_at, state, total, pace, done, skipped, task_id, updated_at)
         values ($1, $2, $3, $4, $5, 'waiting', $6, $7, 0, $8, $9, $5)",
        id,
        action.as_str(),
        Json(selection),
        actor.name.as_str(),
        now,
        i32::try_from(total).unwrap_or(i32::MAX),
        i32::from(pace),
        Json(BTreeMap::<String, i32>::new()),
        task.id
    )?;
    let inserted = tasks::insert(&mut session, std::slice::from_ref(&task)).await?;
    let act = Act::new(verb(action), "bulk", id);
    let told = serde_json::json!({ "selection": selection, "total": total, "pace": pace });
    audit::write(&mut session, actor, &act.made(told), now).await?;
    session.commit().await?;
    context.ring(&inserted.rings).await;
    Ok(id)
}

/// The verb of an entry in the audit log.
pub fn verb(action: Action) -> &'static str {
    action.as_str()
}

/// One operation.
pub async fn find(session: &mut Session, id: Id) -> db::Result<Option<Bulk>> {
    sql!(one Bulk, session, (&format!("select {COLUMNS} from bulk_operations where id = $1")), id)
}

/// Operations, newest first, those older than `after`.
pub async fn page(session: &mut Session, after: Option<Id>, limit: i64) -> db::Result<Vec<Bulk>> {
    let mut asked = Filter::default();
    asked.when("id < ?", after);
    asked
        .all(session, &format!("select {COLUMNS} from bulk_operations where {asked} order by id desc limit {limit}"))
        .await
}

/// Stops an operation after the chunk that is under way. False: it was over, or is none.
pub async fn stop(context: &Context, id: Id, actor: &Actor) -> db::Result<bool> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let stopped = sql!(
        run,
        &mut session,
        "update bulk_operations set state = 'stopped', updated_at = $2, finished_at = $2
         where id = $1 and state in ('waiting', 'running')",
        id,
        now
    )?;
    if stopped > 0 {
        audit::write(&mut session, actor, &Act::new("stop", "bulk", id), now).await?;
    }
    session.commit().await?;
    Ok(stopped > 0)
}

/// Goes on with an operation that was stopped, from where it was. False: it is not stopped, or is none.
pub async fn resume(context: &Context, id: Id, actor: &Actor) -> db::Result<bool> {
    let now = context.clock.now();
    let task = NewTask::now(Id::new(now), &RunBulk { operation: id }, now);
    let mut session = context.db.begin().await?;
    let resumed = sql!(
        run,
        &mut session,
        "update bulk_operations set state = 'waiting', updated_at = $2, finished_at = null, task_id = $3
         where id = $1 and state = 'stopped'",
        id,
        now,
        task.id
    )?;
    if resumed == 0 {
        return Ok(false);
    }
    let inserted = tasks::insert(&mut session, std::slice::from_ref(&task)).await?;
    audit::write(&mut session, actor, &Act::new("resume", "bulk", id), now).await?;
    session.commit().await?;
    context.ring(&inserted.rings).await;
    Ok(true)
}

/// What a chunk leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next chunk, after this time.
    More(Duration),
    Over,
}

/// Carries out the next chunk. `task` is the job that asks: one that was replaced does nothing more.
pub async fn step(context: &Context, id: Id, task: Id) -> db::Result<Next> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let Some(mut bulk) = lock(&mut session, id).await? else { return Ok(Next::Over) };
    if bulk.state.is_over() || bulk.task_id != task {
        return Ok(Next::Over);
    }
    let (limit, wait) = chunk(bulk.pace);
    let found = tasks::walk(&mut session, &bulk.selection.0.filter(), bulk.position, limit).await?;
    let ids: Vec<Id> = found.iter().map(|(id, _)| *id).collect();
    let (changed, rings) = carry_out(context, &mut session, bulk.action, &ids, now).await?;
    for (_, state) in found.iter().filter(|(id, _)| !changed.contains(id)) {
        *bulk.skipped.0.entry(state.as_str().to_owned()).or_default() += 1;
    }
    bulk.done += i32::try_from(changed.len()).unwrap_or(i32::MAX);
    let is_over = ids.len() < usize::try_from(limit).unwrap_or_default();
    bulk.position = ids.last().copied().or(bulk.position);
    save(&mut session, &bulk, is_over, now).await?;
    session.commit().await?;
    context.ring(&rings).await;
    Ok(if is_over { Next::Over } else { Next::More(wait) })
}

/// Only one job walks at a time, and a stop waits for the chunk that is under way.
async fn lock(session: &mut Session, id: Id) -> db::Result<Option<Bulk>> {
    sql!(one Bulk, session, (&format!("select {COLUMNS} from bulk_operations where id = $1 for update")), id)
}

async fn carry_out(
    context: &Context,
    session: &mut Session,
    action: Action,
    ids: &[Id],
    now: Timestamp,
) -> db::Result<(Vec<Id>, Vec<Ring>)> {
    match action {
        Action::Retry => {
            let rings = operations::revive(context.systems, session, ids, now).await?;
            Ok((rings.iter().map(|ring| ring.id).collect(), rings))
        }
        Action::Cancel => Ok((operations::end(context.systems, session, ids, now).await?, Vec::new())),
    }
}

async fn save(session: &mut Session, bulk: &Bulk, is_over: bool, now: Timestamp) -> db::Result<()> {
    let state = if is_over { BulkState::Done } else { BulkState::Running };
    sql!(
        run,
        session,
        "update bulk_operations set state = $2, done = $3, skipped = $4, position = $5, updated_at = $6, finished_at = $7
         where id = $1",
        bulk.id,
        state.as_str(),
        bulk.done,
        Json(&bulk.skipped.0),
        bulk.position,
        now,
        is_over.then_some(now)
    )?;
    Ok(())
}

/// How many tasks a chunk has at this pace, and how long it is until the next one.
fn chunk(pace: i32) -> (i64, Duration) {
    match i64::from(pace) {
        ..=0 => (CHUNK, Duration::ZERO),
        // One every few seconds.
        pace @ 1..=12 => (1, Duration::from_secs(60) / u32::try_from(pace).unwrap_or(1)),
        // A twelfth every five seconds.
        pace => ((pace / 12).min(CHUNK), Duration::from_secs(5)),
    }
}

/// Deletes operations that ended before `before`.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> db::Result<u64> {
    sql!(
        run,
        session,
        "delete from bulk_operations where id in (
             select id from bulk_operations where id < $1 and finished_at is not null order by id limit $2)",
        Id::earliest(before),
        limit
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_by_small_chunks() {
        assert_eq!(chunk(0), (CHUNK, Duration::ZERO));
        for pace in [1, 5, 12, 20, 60, 600, 6_000] {
            let (tasks, wait) = chunk(pace);
            let a_minute = tasks as f64 * 60.0 / wait.as_secs_f64();
            assert!(a_minute <= f64::from(pace) + 0.01 && a_minute >= 0.6 * f64::from(pace), "{pace}: {a_minute}");
        }
    }

    #[test]
    fn what_ended_later_is_no_part_of_it() {
        let now = Timestamp::from_micros(1_000_000);
        let dead = TaskFilter { state: Some(State::Dead), ..TaskFilter::default() };
        let filter = Selection::of(&dead, now).filter();
        assert_eq!((filter.until, filter.ended_by), (Some(now + Duration::from_millis(1)), Some(now)));
        let waiting = TaskFilter { state: Some(State::Queued), ..TaskFilter::default() };
        assert_eq!(Selection::of(&waiting, now).filter().ended_by, None);
    }
}
