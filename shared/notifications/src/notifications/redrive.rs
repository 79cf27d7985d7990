//! The sweep of failed notifications: chains that failed for passing reasons get another chance (S002-81, d13).

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::ring::Ring;
use recado_queue::tasks;

/// How often the sweep gives a failed notification another chance (d13).
pub const MOST_REDRIVES: i32 = 3;

/// The sweep looks back this far (d13).
pub const REDRIVE_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Gives chains that failed for passing reasons another chance: younger than 24 hours, at least one channel with a
/// transient failure, nothing of the event sent, at most three times. Returns their rings (S002-81, d13).
pub async fn redrive_failed(session: &mut Session, now: Timestamp, limit: i64) -> Result<Vec<Ring>> {
    let tasks: Vec<(Id,)> = sql!(all (Id,), session,
        "update notifications set redrives = redrives + 1
         where fallback_order = 0 and task_id in (
             select n.task_id from notifications n join tasks t on t.id = n.task_id
             where n.status = 'failed' and n.closed_at is not null and n.updated_at >= $1 and n.created_at >= $1
               and n.erased_at is null and t.state = 'dead'
               and exists (select 1 from notifications f where f.task_id = n.task_id and f.fallback_order = 0 and f.redrives < $3)
               and exists (select 1 from attempts a
                           where a.notification_id = n.id and a.outcome = 'transient'
                             and not exists (select 1 from attempts later where later.notification_id = a.notification_id
                                             and (later.started_at, later.number) > (a.started_at, a.number)))
               and not exists (select 1 from notifications s where s.correlation_id = n.correlation_id
                               and s.customer_id = n.customer_id and s.status in ('sent', 'delivered', 'read'))
             order by n.updated_at limit $2)
         returning task_id",
        now - REDRIVE_WINDOW, limit, MOST_REDRIVES
    )?;
    let tasks: Vec<Id> = tasks.into_iter().map(|(id,)| id).collect();
    let rings = tasks::revive(session, &tasks, now).await?;
    let revived: Vec<Id> = rings.iter().map(|ring| ring.id).collect();
    reopen_transient(session, &revived, now).await?;
    Ok(rings)
}

/// Opens the notifications whose last attempt failed for a passing reason; what can never work stays failed.
async fn reopen_transient(session: &mut Session, task_ids: &[Id], now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update notifications set status = 'pending', retry_count = 0, error_code = null, error_reason = null,
             next_retry_at = null, unknown_until = null, paced_until = null, closed_at = null, updated_at = $2
         where task_id = any($1) and status = 'failed'
           and exists (select 1 from attempts a where a.notification_id = notifications.id and a.outcome = 'transient'
                       and not exists (select 1 from attempts later where later.notification_id = a.notification_id
                                       and (later.started_at, later.number) > (a.started_at, a.number)))",
        Ids(task_ids),
        now
    )?;
    Ok(())
}
