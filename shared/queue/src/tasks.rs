//! The ledger: every job is a row, and every state that an operator sees is a state of this row.
//!
//! ```text
//! scheduled ──due──► queued ──claimed──► started ──► success | dead | scheduled (later)
//!                       ▲                   │
//!                       └── lease lost ─────┘            cancelled, from any state that is not final
//! ```

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::jobs::{Job, Kind};
use crate::lanes::{Lane, Priority};
use crate::ring::Ring;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::columns::bounded;
use recado_kernel::db::filter::{self, MOST_COUNTED};
use recado_kernel::db::{Ids, Numbers, Result, Rows, Session, Texts, columns, contains};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql, word_enum};

/// A job that loses its lease this often while it runs alone is poison: it takes its workers down with it.
pub const LOST_LEASES_UNTIL_DEAD: i32 = 3;

/// What a dead worker may have begun is divided into so many groups, and a worker runs one group at a time. When a worker dies
/// again, one group is left, and after that one task: 32 · 32 tasks are sorted out by two more deaths.
const SUSPECT_GROUPS: usize = 32;

/// How far the times of two processes may lie apart: they follow one clock, and ask it every few seconds.
const INEXACT: Duration = Duration::from_secs(5);

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

/// The statement that writes tasks and returns the ids of those that are new. For statements that write more with them.
pub const INSERT: &str = "insert into tasks ({columns}, attempt, failures, lost_leases, suspect_group, begun, cut_off)
    select {columns}, 0, 0, 0, 0, false, false from {rows} r where {in_time} on conflict do nothing returning id";

/// Writes tasks. Those whose unique key exists are passed over.
pub async fn insert(session: &mut Session, tasks: &[NewTask]) -> Result<Inserted> {
    if tasks.is_empty() {
        return Ok(Inserted::default());
    }
    Ok(Inserted::of(tasks, columns::all(session, INSERT, tasks).await?))
}

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

/// A task in the hands of a worker.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Claimed {
    pub id: Id,
    pub kind: String,
    pub payload: Json<Value>,
    /// The number of this claim; it must be named to finish the task.
    pub attempt: i32,
    pub failures: i32,
    pub lost_leases: i32,
    /// A worker died that may have begun it: at most so many such tasks begin together. 0: it is under no suspicion.
    pub suspect_group: i32,
    /// An earlier run was cut off, so that what it did outside is unknown.
    pub cut_off: bool,
    #[sqlx(try_from = "String")]
    pub lane: Lane,
    pub correlation_id: Option<Id>,
    pub created_at: Timestamp,
    /// Since when it was due.
    pub run_at: Timestamp,
}

/// Takes the tasks of a lane that are still to be had, for as long as the lease lasts. A task that has gone on to another
/// lane since it was rung is left to that one.
pub async fn claim(
    session: &mut Session,
    lane: Lane,
    ids: &[Id],
    worker: &str,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<Claimed>> {
    sql!(all Claimed, session,
        "update tasks set state = 'started', attempt = attempt + 1, lease_until = $2, worker = $3, started_at = $4, begun = false
         where id = any(ids($1)) and state = 'queued' and lane = $5
         returning id, kind, payload, attempt, failures, lost_leases, suspect_group, cut_off, lane, correlation_id, created_at, run_at",
        Ids(ids), now + lease, worker, now, lane.as_str()
    )
}

/// Takes at most `limit` queued tasks of a lane, whether or not their rings arrive: those that wait longest. For readers whose
/// bell is silent, which may be because nothing was rung, and may be because rings are lost.
pub async fn claim_waiting(
    session: &mut Session,
    lane: Lane,
    limit: i64,
    worker: &str,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<Claimed>> {
    sql!(all Claimed, session,
        "update tasks set state = 'started', attempt = attempt + 1, lease_until = $2, worker = $3, started_at = $4, begun = false
         where id in (select id from tasks where rung_at is not null and finished_at is null and state = 'queued' and lane = $5
                      order by rung_at limit $1 for update skip locked)
         returning id, kind, payload, attempt, failures, lost_leases, suspect_group, cut_off, lane, correlation_id, created_at, run_at",
        limit, now + lease, worker, now, lane.as_str()
    )
}

/// Marks suspects that begin now, before they do. Returns those whose claim is still in force.
pub async fn begin(session: &mut Session, ids: &[Id], worker: &str) -> Result<Vec<Id>> {
    let begun: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "update tasks set begun = true where id = any(ids($1)) and worker = $2 and state = 'started' returning id",
        Ids(ids),
        worker
    )?;
    Ok(begun.into_iter().map(|(id,)| id).collect())
}

/// Renews the leases of everything that a worker holds; returns the claims that are still in force, each with its number.
/// What is missing was cancelled, or given to another.
///
/// A row that is locked is just being finished: it is passed over, for a heartbeat must wait for nobody.
pub async fn heartbeat(session: &mut Session, ids: &[Id], worker: &str, until: Timestamp) -> Result<Vec<(Id, i32)>> {
    sql!(
        run,
        session,
        "update tasks set lease_until = $2
         where id in (select id from tasks where id = any(ids($1)) and worker = $3 and state = 'started'
                      order by id for update skip locked)",
        Ids(ids),
        until,
        worker
    )?;
    sql!(
        all(Id, i32),
        session,
        "select id, attempt from tasks where id = any(ids($1)) and worker = $2 and state = 'started'",
        Ids(ids),
        worker
    )
}

/// How much of an error is kept, in characters: its beginning is what a reader needs.
const LONGEST_ERROR: usize = 4_000;

/// How a claim ended.
#[derive(Clone, Debug)]
pub struct Finish {
    pub id: Id,
    pub attempt: i32,
    pub state: State,
    pub run_at: Timestamp,
    pub rung_at: Option<Timestamp>,
    pub lane: &'static str,
    pub failures: i32,
    pub cut_off: bool,
    pub error: Option<String>,
    pub result: Option<Value>,
    pub finished_at: Option<Timestamp>,
}

columns!(Finish {
    id: uuid = |finish| finish.id,
    attempt: int4 = |finish| finish.attempt,
    state: text = |finish| finish.state.as_str(),
    run_at: timestamptz = |finish| finish.run_at,
    rung_at: timestamptz = |finish| finish.rung_at,
    lane: text = |finish| finish.lane,
    failures: int4 = |finish| finish.failures,
    cut_off: bool = |finish| finish.cut_off,
    error: text = |finish| finish.error.as_deref().map(|error| bounded(error, LONGEST_ERROR)),
    result: jsonb = |finish| finish.result.as_ref().map(Json),
    finished_at: timestamptz = |finish| finish.finished_at,
});

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
}

/// Ends claims. Returns the tasks whose claim was still in force; for the others a later claim decides.
pub async fn finish(session: &mut Session, finishes: &[Finish]) -> Result<Vec<Id>> {
    let succeeded: Vec<&Finish> = finishes.iter().filter(|finish| finish.is_plain_success()).collect();
    let rest: Vec<Finish> = finishes.iter().filter(|finish| !finish.is_plain_success()).cloned().collect();
    let mut accepted = succeed(session, &succeeded).await?;
    accepted.extend(decide(session, &rest).await?);
    Ok(accepted.into_iter().map(|(id,)| id).collect())
}

impl Finish {
    /// It went well, and there is nothing more to say: two columns travel, and not eleven.
    pub fn is_plain_success(&self) -> bool {
        self.state == State::Success && self.result.is_none()
    }
}

async fn succeed(session: &mut Session, finishes: &[&Finish]) -> Result<Vec<(Id,)>> {
    let Some(finished_at) = finishes.first().and_then(|finish| finish.finished_at) else { return Ok(Vec::new()) };
    let ids: Vec<Id> = finishes.iter().map(|finish| finish.id).collect();
    let attempts: Vec<i32> = finishes.iter().map(|finish| finish.attempt).collect();
    sql!(
        all(Id,),
        session,
        "with r (id, attempt) as (select * from pairs($1, $2))
         update tasks set state = 'success', result = null, error = null, finished_at = $3, cut_off = false,
                          suspect_group = 0, lease_until = null, worker = null
         from r where tasks.id = r.id and tasks.attempt = r.attempt and tasks.state = 'started'
         returning tasks.id",
        Ids(&ids),
        Numbers(&attempts),
        finished_at
    )
}

/// What goes on without a new error keeps the last one: a task that waits for its turn still says why it was tried again.
async fn decide(session: &mut Session, finishes: &[Finish]) -> Result<Vec<(Id,)>> {
    if finishes.is_empty() {
        return Ok(Vec::new());
    }
    columns::all(
        session,
        "update tasks set state = r.state, run_at = r.run_at, rung_at = r.rung_at, lane = r.lane, failures = r.failures,
                          cut_off = r.cut_off, suspect_group = 0, result = r.result,
                          error = coalesce(r.error, case when r.finished_at is null then tasks.error end),
                          finished_at = r.finished_at, lease_until = null, worker = null
         from {rows} r
         where tasks.id = r.id and tasks.attempt = r.attempt and tasks.state = 'started'
         returning tasks.id",
        finishes,
    )
    .await
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

/// Gives unfinished claims back at once: the worker is stopping. It costs no attempt and no lost lease.
pub async fn hand_back(
    session: &mut Session,
    ids: &[Id],
    worker: &str,
    running: bool,
    now: Timestamp,
) -> Result<Vec<Ring>> {
    let rows = sql!(all RingRow, session,
        "update tasks set state = 'queued', rung_at = $3, lease_until = null, worker = null, cut_off = cut_off or $4
         where id = any($1) and worker = $2 and state = 'started'
         returning id, lane, priority",
        Ids(ids), worker, now, running
    )?;
    Ok(rings(rows))
}

/// Scheduled tasks whose time has come become queued. Any number of schedulers may do this at once.
///
/// Rows of lanes that only a newer version knows are left to that version.
pub async fn promote_due(session: &mut Session, lanes: &[Lane], now: Timestamp, limit: i64) -> Result<Vec<Ring>> {
    let rows = sql!(all RingRow, session,
        "update tasks set state = 'queued', rung_at = $1
         where id in (select id from tasks where rung_at is null and finished_at is null and run_at <= $1 and lane = any($3) order by run_at limit $2 for update skip locked)
         returning id, lane, priority",
        now, limit, Texts(&names(lanes))
    )?;
    Ok(rings(rows))
}

fn names(lanes: &[Lane]) -> Vec<&'static str> {
    lanes.iter().map(|lane| lane.as_str()).collect()
}

/// When the next scheduled task is due.
pub async fn next_due(session: &mut Session) -> Result<Option<Timestamp>> {
    let next: Option<(Option<Timestamp>,)> = sql!(
        one(Option<Timestamp>),
        session,
        "select min(run_at) from tasks where rung_at is null and finished_at is null"
    )?;
    Ok(next.and_then(|(run_at,)| run_at))
}

/// Scheduled tasks of these lanes whose time has come: since when the first, and how many, up to [`MOST_COUNTED`]. A scheduler queues
/// them within a second or so.
pub async fn overdue(session: &mut Session, lanes: &[Lane], now: Timestamp) -> Result<(Option<Timestamp>, i64)> {
    let found: Option<(Option<Timestamp>, i64)> = sql!(
        one(Option<Timestamp>, i64),
        session,
        "select min(run_at), count(*) from (select run_at from tasks
             where rung_at is null and finished_at is null and run_at <= $1 and lane = any($2)
             order by run_at limit $3) due",
        now,
        Texts(&names(lanes)),
        MOST_COUNTED
    )?;
    Ok(found.unwrap_or_default())
}

/// What became of tasks whose worker fell silent.
#[derive(Default)]
pub struct Expired {
    pub rings: Vec<Ring>,
    /// Lost too often; they are dead now.
    pub dead: Vec<Id>,
}

/// A task whose worker fell silent.
#[derive(sqlx::FromRow)]
struct Lost {
    #[sqlx(flatten)]
    ring: RingRow,
    worker: Option<String>,
    begun: bool,
    suspect_group: i32,
    lost_leases: i32,
}

/// What is thought of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspicion {
    /// It alone can have done it.
    counts: bool,
    suspect_group: i32,
    /// It may have been running.
    cut_off: bool,
}

/// What is written about it.
struct Verdict {
    id: Id,
    dead: bool,
    suspicion: Suspicion,
    lost_leases: i32,
    now: Timestamp,
}

columns!(Verdict {
    id: uuid = |verdict| verdict.id,
    state: text = |verdict| if verdict.dead { "dead" } else { "queued" },
    finished_at: timestamptz = |verdict| verdict.dead.then_some(verdict.now),
    error: text = |verdict| verdict.dead.then_some("its workers died or fell silent three times"),
    rung_at: timestamptz = |verdict| verdict.now,
    lost_leases: int4 = |verdict| verdict.lost_leases,
    suspect_group: int4 = |verdict| verdict.suspicion.suspect_group,
    cut_off: bool = |verdict| verdict.suspicion.cut_off,
});

/// Takes tasks from workers that fell silent.
///
/// A lease that has run out was claimed, and so rung, at least a `lease` ago: that bounds what is looked at. Rows of lanes
/// that only a newer version knows are left to that version.
pub async fn expire_leases(
    session: &mut Session,
    lanes: &[Lane],
    now: Timestamp,
    lease: Duration,
    limit: i64,
) -> Result<Expired> {
    let lost = sql!(all Lost, session,
        "select id, lane, priority, worker, begun, suspect_group, lost_leases from tasks
         where rung_at is not null and finished_at is null and state = 'started'
           and lease_until < $1 and rung_at < $3 and lane = any($4) limit $2 for update skip locked",
        now, limit, now - lease, Texts(&names(lanes))
    )?;
    let mut expired = Expired::default();
    if lost.is_empty() {
        return Ok(expired);
    }
    let verdicts: Vec<Verdict> = lost
        .iter()
        .zip(suspect(&lost))
        .map(|(lost, suspicion)| {
            let lost_leases = lost.lost_leases + i32::from(suspicion.counts);
            Verdict { id: lost.ring.id, dead: lost_leases >= LOST_LEASES_UNTIL_DEAD, suspicion, lost_leases, now }
        })
        .collect();
    columns::run(session,
        "update tasks set state = r.state, finished_at = r.finished_at, error = coalesce(r.error, tasks.error), rung_at = r.rung_at,
             lost_leases = r.lost_leases, suspect_group = r.suspect_group, cut_off = tasks.cut_off or r.cut_off,
             lease_until = null, worker = null
         from {rows} r where tasks.id = r.id and tasks.state = 'started'",
        &verdicts,
    )
    .await?;
    for (verdict, Lost { ring, .. }) in verdicts.iter().zip(lost) {
        if verdict.dead {
            expired.dead.push(ring.id);
        } else {
            expired.rings.push(ring.into());
        }
    }
    Ok(expired)
}

/// Which of these tasks may have taken their worker down with them. A claim says only that a worker held a task; what it had
/// begun is known of suspects alone, which are marked before they begin.
///
/// So the first death makes suspects of all that were held, and counts against none, unless there was but one. Suspects that
/// have not begun are as they were. Of one that had begun alone the loss counts.
fn suspect(lost: &[Lost]) -> Vec<Suspicion> {
    #[derive(Default)]
    struct Held {
        begun: usize,
        /// Under no suspicion before, and so not marked.
        unmarked: usize,
    }
    let mut workers: HashMap<Option<&str>, Held> = HashMap::new();
    for task in lost {
        let held = workers.entry(task.worker.as_deref()).or_default();
        held.begun += usize::from(task.begun);
        held.unmarked += usize::from(!task.begun && task.suspect_group == 0);
    }
    let group = |among: usize| i32::try_from(among.div_ceil(SUSPECT_GROUPS)).unwrap_or(i32::MAX);
    lost.iter()
        .map(|task| {
            let held = &workers[&task.worker.as_deref()];
            if task.begun {
                Suspicion { counts: held.begun == 1, suspect_group: group(held.begun), cut_off: true }
            } else if task.suspect_group == 0 {
                let counts = held.begun == 0 && held.unmarked == 1;
                Suspicion { counts, suspect_group: group(held.unmarked), cut_off: true }
            } else {
                Suspicion { counts: false, suspect_group: task.suspect_group, cut_off: false }
            }
        })
        .collect()
}

/// The time was set back: what lies further ahead than anybody would write is brought back, so that no lease and no ring waits
/// for the time to pass once more. Returns how many tasks that were.
///
/// A lease of the future is one that a worker wrote whose claim, or whose last heartbeat, lies in the future.
pub async fn bring_back(
    session: &mut Session,
    lanes: &[Lane],
    now: Timestamp,
    lease: Duration,
    limit: i64,
) -> Result<u64> {
    sql!(
        run,
        session,
        "update tasks set rung_at = case when rung_at > $1 then $1 else rung_at end,
                          lease_until = case when state = 'started' then $2 end
         where id in (select id from tasks where rung_at is not null and finished_at is null and lane = any($6)
                      and (rung_at > $3
                           or (rung_at < $4 and state = 'started' and lease_until > $5
                               and (started_at > $3 or worker in (select w.id from workers w where w.seen_at > $3))))
                      limit $7 for update skip locked)",
        now,
        now + lease,
        now + INEXACT,
        now - lease,
        now + lease + INEXACT,
        Texts(&names(lanes)),
        limit
    )
}

/// A task that waits, and when its last run was claimed.
#[derive(sqlx::FromRow)]
struct Postponed {
    id: Id,
    run_at: Timestamp,
    started_at: Timestamp,
}

columns!(Postponed {
    id: uuid = |task| task.id,
    run_at: timestamptz = |task| task.run_at,
    started_at: timestamptz = |task| task.started_at,
});

/// The same for tasks that wait: one that ran in what is the future now, and goes on some time after that, goes on so much
/// after `now`. It reads all that wait, so it is for the moment when the time was found to have been set back.
pub async fn bring_back_due(session: &mut Session, now: Timestamp, limit: i64) -> Result<u64> {
    let mut postponed = sql!(all Postponed, session,
        "select id, run_at, started_at from tasks
         where rung_at is null and finished_at is null and started_at > $1 limit $2 for update skip locked",
        now + INEXACT, limit
    )?;
    if postponed.is_empty() {
        return Ok(0);
    }
    for task in &mut postponed {
        task.run_at = now + task.run_at.since(task.started_at);
        task.started_at = now;
    }
    columns::run(
        session,
        "update tasks set run_at = r.run_at, started_at = r.started_at from {rows} r
         where tasks.id = r.id and tasks.state = 'scheduled'",
        &postponed,
    )
    .await
}

/// Takes the queued tasks of a lane whose ring must have been lost, and counts them as rung now.
///
/// A lane is read in the order of its rings. So a row that was rung before the oldest ring that still waits has either been
/// read by somebody who has not claimed it, or its ring is lost; after `grace` the second is assumed. That one rule covers
/// a crash between commit and ring, a `FLUSHALL`, a failover, and a restart without persistence.
pub async fn ring_lost(
    session: &mut Session,
    lane: Lane,
    oldest_waiting: Option<Timestamp>,
    now: Timestamp,
    grace: Duration,
    limit: i64,
) -> Result<Vec<Ring>> {
    let rows = sql!(all RingRow, session,
        "update tasks set rung_at = $1
         where id in (select id from tasks where rung_at is not null and finished_at is null and state = 'queued'
                      and lane = $2 and rung_at < $3
                      order by rung_at limit $4 for update skip locked)
         returning id, lane, priority",
        now, lane.as_str(), lost_before(oldest_waiting, now, grace), limit
    )?;
    Ok(rings(rows))
}

/// Rows that were rung before this moment have lost their ring.
fn lost_before(oldest_waiting: Option<Timestamp>, now: Timestamp, grace: Duration) -> Timestamp {
    oldest_waiting.map_or(now, |oldest| oldest.min(now)) - grace
}

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

/// Where a page of a list lies: it begins after, or ends before, one of its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    #[default]
    First,
    After(Id),
    Before(Id),
}

/// A page of tasks, newest first, and whether there are more in its direction. Nothing is counted.
pub async fn page(session: &mut Session, filter: &TaskFilter, place: Place, limit: i64) -> Result<(Vec<Task>, bool)> {
    let mut asked = filter.conditions();
    let order = match place {
        Place::First => "desc",
        Place::After(id) => {
            asked.when("id < ?", Some(id));
            "desc"
        }
        Place::Before(id) => {
            asked.when("id > ?", Some(id));
            "asc"
        }
    };
    let text = format!("{SELECT} where {asked} order by id {order} limit {}", limit + 1);
    let mut found: Vec<Task> = asked.all(session, &text).await?;
    let has_more = found.len() > usize::try_from(limit).unwrap_or_default();
    found.truncate(usize::try_from(limit).unwrap_or_default());
    if matches!(place, Place::Before(_)) {
        found.reverse();
    }
    Ok((found, has_more))
}

/// How many tasks a filter finds, up to one more than [`MOST_TOLD`].
pub async fn count(session: &mut Session, filter: &TaskFilter) -> Result<i64> {
    let asked = filter.conditions();
    let text = format!("select count(*) from (select 1 from tasks where {asked} limit {}) counted", MOST_TOLD + 1);
    let counted: Vec<(i64,)> = asked.all(session, &text).await?;
    Ok(counted.first().map_or(0, |(count,)| *count))
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

/// Dead or cancelled tasks begin again: their failures are forgotten. A job that ended in another lane than its first finds
/// its way back by itself. Returns their rings.
pub async fn revive(session: &mut Session, ids: &[Id], now: Timestamp) -> Result<Vec<Ring>> {
    let rows = sql!(all RingRow, session,
        "update tasks set state = 'queued', failures = 0, lost_leases = 0, suspect_group = 0, cut_off = false, error = null, result = null, finished_at = null,
                          run_at = $2, rung_at = $2
         where id = any($1) and state in ('dead', 'cancelled')
         returning id, lane, priority",
        Ids(ids), now
    )?;
    Ok(rings(rows))
}

/// Tasks in one of these states go on now: what they waited for has come, or what they had done was undone. Their failures
/// stay counted. Returns their rings.
pub async fn wake(session: &mut Session, ids: &[Id], from: &[State], now: Timestamp) -> Result<Vec<Ring>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let from: Vec<&str> = from.iter().map(|state| state.as_str()).collect();
    let rows = sql!(all RingRow, session,
        "update tasks set state = 'queued', run_at = $3, rung_at = $3, result = null, finished_at = null
         where id = any($1) and state = any($2)
         returning id, lane, priority",
        Ids(ids), Texts(&from), now
    )?;
    Ok(rings(rows))
}

/// Cancels what is not finished. A job that is running is told at its worker's next heartbeat.
pub async fn cancel(session: &mut Session, ids: &[Id], now: Timestamp) -> Result<Vec<Id>> {
    let cancelled: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "update tasks set state = 'cancelled', finished_at = $2, lease_until = null, worker = null
         where id = any($1) and state in ('scheduled', 'queued', 'started')
         returning id",
        Ids(ids),
        now
    )?;
    Ok(cancelled.into_iter().map(|(id,)| id).collect())
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

/// Deletes tasks that ended before `before`; dead ones only when they ended before `dead_before`.
pub async fn delete_finished(
    session: &mut Session,
    before: Timestamp,
    dead_before: Timestamp,
    limit: i64,
) -> Result<u64> {
    sql!(run, session,
        "delete from tasks where id in (
             select id from tasks where id < $4 and finished_at < $1 and (state <> 'dead' or finished_at < $2) limit $3)",
        before, dead_before, limit, Id::earliest(before)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    #[test]
    fn a_ring_is_lost_when_younger_rings_were_read() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(lost_before(None, at(100), GRACE), at(95));
        assert_eq!(lost_before(Some(at(60)), at(100), GRACE), at(55));
        // A server whose clock is ahead does not make our rings older than they are.
        assert_eq!(lost_before(Some(at(900)), at(100), GRACE), at(95));
    }

    fn lost(worker: &str, begun: bool, suspect_group: i32) -> Lost {
        let ring = RingRow { id: Id::default(), lane: crate::lanes::SYNC, priority: Priority::Default };
        Lost { ring, worker: Some(worker.to_owned()), begun, suspect_group, lost_leases: 0 }
    }

    /// For each whether the loss counts, and its group.
    fn suspected(tasks: &[Lost]) -> Vec<(bool, i32)> {
        suspect(tasks).into_iter().map(|suspicion| (suspicion.counts, suspicion.suspect_group)).collect()
    }

    #[test]
    fn a_lost_lease_counts_when_there_is_but_one_suspect() {
        assert_eq!(suspected(&[lost("a", false, 0), lost("b", false, 0)]), [(true, 1), (true, 1)]);
        assert_eq!(suspected(&[lost("a", false, 0), lost("a", false, 0)]), [(false, 1), (false, 1)]);
        // One ran alone, another waited for its turn.
        assert_eq!(suspected(&[lost("a", true, 1), lost("a", false, 1)]), [(true, 1), (false, 1)]);
        // What was under no suspicion may have done it too, and has its turn alone next time.
        assert_eq!(suspected(&[lost("a", true, 1), lost("a", false, 0)]), [(true, 1), (false, 1)]);
        assert_eq!(suspected(&[lost("a", true, 9), lost("a", true, 9)]), [(false, 1), (false, 1)]);
    }

    #[test]
    fn many_suspects_are_divided_into_groups() {
        let held: Vec<Lost> = (0..1000).map(|_| lost("a", false, 0)).collect();
        assert!(suspected(&held).iter().all(|one| *one == (false, 32)));
        let mut held: Vec<Lost> = (0..1000).map(|number| lost("a", number < 32, 32)).collect();
        assert_eq!(suspected(&held)[31..33], [(false, 1), (false, 32)]);
        held[40].lost_leases = 2;
        assert!(!suspect(&held)[40].counts && !suspect(&held)[40].cut_off, "it was merely held");
    }

    #[test]
    fn clients_of_celery_read_its_words() {
        assert_eq!(State::Queued.celery(0), CeleryStatus::Pending);
        assert_eq!(State::Scheduled.celery(2), CeleryStatus::Retry);
        assert_eq!(State::Dead.celery(3), CeleryStatus::Failure);
    }
}
