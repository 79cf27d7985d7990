//! One action on many tasks: what it acts on is frozen when it is made, and a job walks through it in chunks.
//!
//! Each chunk is one transaction: the tasks, their systems' rows, how far the walk has come, and its entry in the audit log. So
//! a walk that is cut off goes on where it was, and hits nothing twice. What arrives or fails later than the operation was made
//! is no part of it.
//!
//! An operation may begin with a trial: some tasks go first, their result is awaited, and the rest follows only if most of them did
//! well.
//!
//! ```text
//! waiting ─► trying ─► running ─► done
//!               └─────────┴──────► stopped (by a person, or because the trial failed) ─► waiting
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::Filter;
use recado_kernel::db::{self, Ids, Session};
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

/// The most tasks that are tried first.
pub const MOST_TRIED: u16 = 50;

/// How often the tasks of a trial are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long the result of a trial is awaited. A message that failed for a passing reason has had several attempts by then.
pub const TRIAL_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// What a list of an operation is written by.
const LISTED: usize = 5_000;

/// The reason why a task was passed over that is not there any more.
const GONE: &str = "gone";

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
    /// Some were tried, and their result is awaited.
    Trying,
    Running,
    /// Somebody stopped it, or its trial failed; what was done stays done.
    Stopped,
    Done,
}

word_enum!(BulkState, "a state of an operation");

impl BulkState {
    pub fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Done)
    }
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = BulkVerdict, rename_all = "snake_case")]
pub enum Verdict {
    /// Most of the tasks did well: the rest follows.
    Passed,
    /// Most of them failed again: the operation was stopped.
    Failed,
    /// No result came in time: the operation was stopped.
    Silent,
}

word_enum!(Verdict, "a verdict");

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
    /// Only those that were listed when the operation was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub listed: bool,
    /// What these have in common, for those who read it: the cause of their failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
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
            listed: false,
            cause: None,
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
    /// How many were left out when it was made, by reason. They are no part of the total.
    pub left_out: Json<BTreeMap<String, i32>>,
    /// So many are tried first; 0: none.
    pub trial: i32,
    /// The tasks that were tried,
    pub tried: Json<Vec<Id>>,
    /// when the last of them was,
    pub tried_at: Option<Timestamp>,
    /// and how it ended.
    pub verdict: Option<Verdict>,
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

    /// How many are still to be tried before their result is awaited.
    fn untried(&self) -> i64 {
        if self.verdict.is_some() { 0 } else { i64::from(self.trial) - self.tried.0.len() as i64 }
    }
}

const COLUMNS: &str = "id, action, selection, actor, created_at, state, total, pace, done, skipped, left_out, trial, \
     tried, tried_at, verdict, position, task_id, updated_at, finished_at";

/// An operation to be made.
#[derive(Clone, Debug)]
pub struct Plan<'p> {
    pub action: Action,
    pub selection: &'p Selection,
    /// Tasks a minute, 0: as fast as it goes.
    pub pace: u16,
    /// So many are tried first, and their result is awaited; 0: none.
    pub trial: u16,
    /// What was left out already, by reason.
    pub left_out: &'p BTreeMap<String, i32>,
}

/// Makes an operation on what a selection finds, and the job that carries it out.
pub async fn start(
    context: &Context,
    action: Action,
    selection: &Selection,
    pace: u16,
    actor: &Actor,
) -> db::Result<Id> {
    begin(context, &Plan { action, selection, pace, trial: 0, left_out: &BTreeMap::new() }, &[], actor).await
}

/// Makes an operation and the job that carries it out. `listed` are its tasks where the selection says so.
pub async fn begin(context: &Context, plan: &Plan<'_>, listed: &[Id], actor: &Actor) -> db::Result<Id> {
    let Plan { action, selection, pace, trial, left_out } = *plan;
    let now = context.clock.now();
    let id = Id::new(now);
    let task = NewTask::now(Id::new(now), &RunBulk { operation: id }, now);
    let mut session = context.db.begin().await?;
    let total = if selection.listed {
        list(&mut session, id, listed).await?
    } else {
        tasks::count(&mut session, &selection.filter()).await?
    };
    sql!(
        run,
        &mut session,
        "insert into bulk_operations (id, action, selection, actor, created_at, state, total, pace, done, skipped, left_out, trial,
                                      tried, task_id, updated_at)
         values ($1, $2, $3, $4, $5, 'waiting', $6, $7, 0, $8, $9, $10, $11, $12, $5)",
        id,
        action.as_str(),
        Json(selection),
        actor.name.as_str(),
        now,
        i32::try_from(total).unwrap_or(i32::MAX),
        i32::from(pace),
        Json(BTreeMap::<String, i32>::new()),
        Json(left_out),
        i32::from(trial.min(MOST_TRIED)),
        Json(Vec::<Id>::new()),
        task.id
    )?;
    let inserted = tasks::insert(&mut session, std::slice::from_ref(&task)).await?;
    let act = Act::new(verb(action), "bulk", id);
    let told = serde_json::json!({
        "selection": selection, "total": total, "pace": pace, "trial": trial, "left_out": left_out,
    });
    audit::write(&mut session, actor, &act.made(told), now).await?;
    session.commit().await?;
    context.ring(&inserted.rings).await;
    Ok(id)
}

/// Writes down which tasks an operation is about. Returns how many there are.
async fn list(session: &mut Session, operation: Id, tasks: &[Id]) -> db::Result<i64> {
    let mut total = 0;
    for some in tasks.chunks(LISTED) {
        total += sql!(
            run,
            session,
            "insert into bulk_tasks (operation_id, task_id) select $1, id from tasks where id = any($2)",
            operation,
            Ids(some)
        )?;
    }
    Ok(i64::try_from(total).unwrap_or(i64::MAX))
}

/// The verb of an entry in the audit log.
pub fn verb(action: Action) -> &'static str {
    action.as_str()
}

/// One operation.
pub async fn find(session: &mut Session, id: Id) -> db::Result<Option<Bulk>> {
    sql!(one Bulk, session, (&format!("select {COLUMNS} from bulk_operations where id = $1")), id)
}

/// What became so far of the tasks of a list that were looked at, by the state in which they are now; those that were passed over are
/// among them. Empty for an operation without a list.
pub async fn outcome(session: &mut Session, bulk: &Bulk) -> db::Result<Vec<(State, i64)>> {
    let Some(position) = bulk.position.filter(|_| bulk.selection.0.listed) else { return Ok(Vec::new()) };
    sql!(
        all(State, i64),
        session,
        "select t.state, count(*) from bulk_tasks b join tasks t on t.id = b.task_id
         where b.operation_id = $1 and b.task_id <= $2 group by t.state order by t.state",
        bulk.id,
        position
    )
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
         where id = $1 and state in ('waiting', 'trying', 'running')",
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
    if bulk.trial > 0 && bulk.untried() <= 0 && bulk.verdict.is_none() {
        let found = results(&mut session, &bulk.tried.0).await?;
        bulk.verdict = judge(&found, bulk.tried_at.map(|at| now.since(at)).unwrap_or_default());
        match bulk.verdict {
            None => return Ok(Next::More(LOOK_EVERY)),
            Some(Verdict::Passed) => {}
            Some(Verdict::Failed | Verdict::Silent) => {
                save(&mut session, &bulk, BulkState::Stopped, now).await?;
                session.commit().await?;
                return Ok(Next::Over);
            }
        }
    }
    let untried = bulk.untried();
    let (limit, wait) = if untried > 0 { (untried, Duration::ZERO) } else { chunk(bulk.pace) };
    let found = next(&mut session, &bulk, limit).await?;
    let (changed, rings) = carry_out(context, &mut session, &mut bulk, &found, now).await?;
    bulk.done += i32::try_from(changed.len()).unwrap_or(i32::MAX);
    bulk.position = found.last().map(|one| one.id).or(bulk.position);
    if untried > 0 {
        bulk.tried.0.extend(changed);
        bulk.tried_at = Some(now);
    }
    let state = match found.len() < usize::try_from(limit).unwrap_or_default() {
        true => BulkState::Done,
        false if bulk.trial > 0 && bulk.verdict.is_none() => BulkState::Trying,
        false => BulkState::Running,
    };
    save(&mut session, &bulk, state, now).await?;
    session.commit().await?;
    context.ring(&rings).await;
    let looks_next = state == BulkState::Trying && bulk.untried() <= 0;
    Ok(if state.is_over() { Next::Over } else { Next::More(if looks_next { LOOK_EVERY } else { wait }) })
}

/// A task of a chunk.
struct Found {
    id: Id,
    /// None where there is no such task any more.
    state: Option<State>,
    /// It is as the selection wants it.
    fits: bool,
}

/// The next tasks of the selection, by id.
async fn next(session: &mut Session, bulk: &Bulk, limit: i64) -> db::Result<Vec<Found>> {
    let selection = &bulk.selection.0;
    if !selection.listed {
        let found = tasks::walk(session, &selection.filter(), bulk.position, limit).await?;
        return Ok(found.into_iter().map(|(id, state)| Found { id, state: Some(state), fits: true }).collect());
    }
    let listed: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        (&format!(
            "select task_id from bulk_tasks where operation_id = $1 and task_id > $2 order by task_id limit {limit}"
        )),
        bulk.id,
        bulk.position.unwrap_or_default()
    )?;
    let ids: Vec<Id> = listed.into_iter().map(|(id,)| id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let named = TaskFilter { ids: ids.clone(), ..TaskFilter::default() };
    let states: HashMap<Id, State> = tasks::walk(session, &named, None, limit).await?.into_iter().collect();
    let fitting = TaskFilter { ids: ids.clone(), ..selection.filter() };
    let fitting: HashMap<Id, State> = tasks::walk(session, &fitting, None, limit).await?.into_iter().collect();
    let found = |id: Id| Found { id, state: states.get(&id).copied(), fits: fitting.contains_key(&id) };
    Ok(ids.into_iter().map(found).collect())
}

/// What became of the tasks of a trial: where each stands, and whether its last run failed.
async fn results(session: &mut Session, tried: &[Id]) -> db::Result<Vec<(State, bool)>> {
    let found: Vec<(State, Option<String>)> =
        sql!(all(State, Option<String>), session, "select state, error from tasks where id = any($1)", Ids(tried))?;
    Ok(found.into_iter().map(|(state, error)| (state, error.is_some())).collect())
}

/// How a trial ended; `None`: it has not. A task that waits for its next attempt after a failure counts as failed, for what is
/// asked is whether the cause is gone. Tasks that are not there any more do not count.
fn judge(tried: &[(State, bool)], waited: Duration) -> Option<Verdict> {
    let well = tried.iter().filter(|(state, _)| *state == State::Success).count();
    let is_bad = |(state, failed): &&(State, bool)| match state {
        State::Dead | State::Cancelled => true,
        State::Scheduled => *failed,
        State::Queued | State::Started | State::Success => false,
    };
    let badly = tried.iter().filter(is_bad).count();
    let all = tried.len();
    if badly * 2 >= all && all > 0 {
        return Some(Verdict::Failed);
    }
    let is_decided = well + badly == all;
    match well * 2 > all || all == 0 {
        true if is_decided || waited >= TRIAL_TIMEOUT => Some(Verdict::Passed),
        false if waited >= TRIAL_TIMEOUT => Some(Verdict::Silent),
        _ => None,
    }
}

/// Only one job walks at a time, and a stop waits for the chunk that is under way.
async fn lock(session: &mut Session, id: Id) -> db::Result<Option<Bulk>> {
    sql!(one Bulk, session, (&format!("select {COLUMNS} from bulk_operations where id = $1 for update")), id)
}

/// Does it to those of a chunk to which it may be done, and counts the others with the reason why not. Returns to which it was done.
async fn carry_out(
    context: &Context,
    session: &mut Session,
    bulk: &mut Bulk,
    found: &[Found],
    now: Timestamp,
) -> db::Result<(Vec<Id>, Vec<Ring>)> {
    let mut ids: Vec<Id> = found.iter().filter(|one| one.fits).map(|one| one.id).collect();
    let mut why: HashMap<Id, &'static str> = HashMap::new();
    if bulk.action == Action::Retry && !ids.is_empty() {
        why.extend(context.systems.refused(session, &ids).await?);
        ids.retain(|id| !why.contains_key(id));
    }
    let (changed, rings) = match bulk.action {
        Action::Retry => {
            let rings = operations::revive(context.systems, session, &ids, now).await?;
            (rings.iter().map(|ring| ring.id).collect(), rings)
        }
        Action::Cancel => (operations::end(context.systems, session, &ids, now).await?, Vec::new()),
    };
    let done: HashSet<Id> = changed.iter().copied().collect();
    for one in found.iter().filter(|one| !done.contains(&one.id)) {
        let reason = why.get(&one.id).copied().unwrap_or_else(|| one.state.map_or(GONE, State::as_str));
        *bulk.skipped.0.entry(reason.to_owned()).or_default() += 1;
    }
    Ok((changed, rings))
}

async fn save(session: &mut Session, bulk: &Bulk, state: BulkState, now: Timestamp) -> db::Result<()> {
    sql!(
        run,
        session,
        "update bulk_operations set state = $2, done = $3, skipped = $4, tried = $5, tried_at = $6, verdict = $7, position = $8,
                                    updated_at = $9, finished_at = $10
         where id = $1",
        bulk.id,
        state.as_str(),
        bulk.done,
        Json(&bulk.skipped.0),
        Json(&bulk.tried.0),
        bulk.tried_at,
        bulk.verdict.map(Verdict::as_str),
        bulk.position,
        now,
        state.is_over().then_some(now)
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

/// Deletes operations that ended before `before`, with their lists.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> db::Result<u64> {
    let over: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "select id from bulk_operations where id < $1 and finished_at is not null order by id limit $2",
        Id::earliest(before),
        limit
    )?;
    let over: Vec<Id> = over.into_iter().map(|(id,)| id).collect();
    sql!(run, session, "delete from bulk_tasks where operation_id = any($1)", Ids(&over))?;
    sql!(run, session, "delete from bulk_operations where id = any($1)", Ids(&over))
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
    fn a_trial_passes_when_most_of_it_did_well() {
        use State::{Dead, Queued, Scheduled, Started, Success};
        let (soon, late) = (Duration::from_secs(10), TRIAL_TIMEOUT);
        let well = (Success, false);
        for (tried, waited, verdict) in [
            (vec![well; 5], soon, Some(Verdict::Passed)),
            (vec![well, well, well, (Dead, true), (Dead, true)], soon, Some(Verdict::Passed)),
            (vec![well, well, (Dead, true), (Dead, true), (Dead, true)], soon, Some(Verdict::Failed)),
            (
                vec![well, (Scheduled, true), (Scheduled, true), (Scheduled, true), (Queued, false)],
                soon,
                Some(Verdict::Failed),
            ),
            (vec![well, well, well, (Started, false), (Dead, true)], soon, None),
            (vec![well, well, well, (Scheduled, false), (Dead, true)], late, Some(Verdict::Passed)),
            (vec![(Queued, true); 5], soon, None),
            (vec![(Queued, false); 5], late, Some(Verdict::Silent)),
            (vec![(Dead, true)], soon, Some(Verdict::Failed)),
            (Vec::new(), soon, Some(Verdict::Passed)),
        ] {
            assert_eq!(judge(&tried, waited), verdict, "{tried:?} after {waited:?}");
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
