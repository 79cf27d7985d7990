//! What is done to tasks from outside: by operators, by receipts, by the cleanup.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::sql;

use super::{RingRow, State, rings};
use crate::ring::Ring;

/// Dead or cancelled tasks begin again: their failures are forgotten, but not that a run was cut off, of which nothing is known. A job
/// that ended in another lane than its first finds its way back by itself. One that was cancelled before its time had come waits for it
/// again. Returns their rings.
pub async fn revive(session: &mut Session, ids: &[Id], now: Timestamp) -> Result<Vec<Ring>> {
    let rows = sql!(all RingRow, session,
        "update tasks set state = case when attempt = 0 and run_at > $2 then 'scheduled' else 'queued' end,
                          rung_at = case when attempt = 0 and run_at > $2 then null else $2 end,
                          run_at = case when attempt = 0 and run_at > $2 then run_at else $2 end,
                          failures = 0, lost_leases = 0, suspect_group = 0, error = null, result = null, finished_at = null
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

/// Cancels what is not finished. A job that is running is told at its worker's next heartbeat, which cuts it off.
pub async fn cancel(session: &mut Session, ids: &[Id], now: Timestamp) -> Result<Vec<Id>> {
    let cancelled: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "update tasks set state = 'cancelled', finished_at = $2, lease_until = null, worker = null,
                          cut_off = cut_off or state = 'started'
         where id = any($1) and state in ('scheduled', 'queued', 'started')
         returning id",
        Ids(ids),
        now
    )?;
    Ok(cancelled.into_iter().map(|(id,)| id).collect())
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
