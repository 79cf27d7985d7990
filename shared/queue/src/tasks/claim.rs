//! A worker takes tasks, and keeps them for as long as it shows that it lives.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use serde_json::Value;
use sqlx::types::Json;

use crate::lanes::Lane;

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
/// A row that is locked is just being finished: it is passed over, for a heartbeat must not wait.
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
