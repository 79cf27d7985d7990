//! What the scheduler does: tasks become due, come back from workers that fell silent, and are rung again where a ring is lost.

use std::collections::HashMap;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::MOST_COUNTED;
use recado_kernel::db::{Result, Session, Texts, columns};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql};

use super::{RingRow, names, rings};
use crate::lanes::Lane;
use crate::ring::Ring;

/// A job that loses its lease this often while it runs alone is poison: it takes its workers down with it.
pub const LOST_LEASES_UNTIL_DEAD: i32 = 3;

/// What a dead worker may have begun is divided into so many groups, and a worker runs one group at a time. When a worker dies
/// again, one group is left, and after that one task: 32 · 32 tasks are sorted out by two more deaths.
const SUSPECT_GROUPS: usize = 32;

/// How far the times of two processes may lie apart: they follow one clock, and ask it every few seconds.
const INEXACT: Duration = Duration::from_secs(5);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes;
    use crate::lanes::Priority;

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
        let ring = RingRow { id: Id::default(), lane: lanes::SYNC, priority: Priority::Default };
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
}
