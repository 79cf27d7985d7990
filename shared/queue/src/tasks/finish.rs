//! A claim ends: the work is done, goes on later, has failed, or is given back.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::columns::{self, bounded};
use recado_kernel::db::{Ids, Numbers, Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql};
use serde_json::Value;
use sqlx::types::Json;

use super::{RingRow, State, rings};
use crate::ring::Ring;

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

/// What is written of a success: four columns, and not eleven.
struct Success<'f> {
    id: Id,
    attempt: i32,
    result: Option<&'f Value>,
    finished_at: Option<Timestamp>,
}

columns!(Success<'f> {
    id: uuid = |success| success.id,
    attempt: int4 = |success| success.attempt,
    result: jsonb = |success| success.result.map(Json),
    finished_at: timestamptz = |success| success.finished_at,
});

impl<'f> From<&'f Finish> for Success<'f> {
    fn from(finish: &'f Finish) -> Self {
        let Finish { id, attempt, ref result, finished_at, .. } = *finish;
        Self { id, attempt, result: result.as_ref(), finished_at }
    }
}

/// Ends claims. Returns the tasks whose claim was still in force; for the others a later claim decides.
pub async fn finish(session: &mut Session, finishes: &[Finish]) -> Result<Vec<Id>> {
    let (plain, rest): (Vec<&Finish>, Vec<&Finish>) = finishes.iter().partition(|finish| finish.is_plain_success());
    let (succeeded, rest): (Vec<&Finish>, Vec<&Finish>) =
        rest.into_iter().partition(|finish| finish.state == State::Success);
    let rest: Vec<Finish> = rest.into_iter().cloned().collect();
    let mut accepted = succeed(session, &plain).await?;
    accepted.extend(succeed_with_results(session, &succeeded).await?);
    accepted.extend(decide(session, &rest).await?);
    Ok(accepted.into_iter().map(|(id,)| id).collect())
}

impl Finish {
    /// It went well, and there is nothing more to say: two columns travel.
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

async fn succeed_with_results(session: &mut Session, finishes: &[&Finish]) -> Result<Vec<(Id,)>> {
    if finishes.is_empty() {
        return Ok(Vec::new());
    }
    let successes: Vec<Success<'_>> = finishes.iter().copied().map(Success::from).collect();
    columns::all(
        session,
        "update tasks set state = 'success', result = r.result, error = null, finished_at = r.finished_at, cut_off = false,
                          suspect_group = 0, lease_until = null, worker = null
         from {rows} r
         where tasks.id = r.id and tasks.attempt = r.attempt and tasks.state = 'started'
         returning tasks.id",
        &successes,
    )
    .await
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

/// Says how far a claim is that is still in force; it stands where the result will be.
pub async fn report(session: &mut Session, id: Id, attempt: i32, progress: &Value) -> Result<()> {
    sql!(
        run,
        session,
        "update tasks set result = $3 where id = $1 and attempt = $2 and state = 'started'",
        id,
        attempt,
        Json(progress)
    )?;
    Ok(())
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
