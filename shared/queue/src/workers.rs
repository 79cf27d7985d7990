//! Who works now: one row per process, renewed by its heartbeat.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::lanes::Lane;
use crate::systems::Systems;
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;

/// A worker as its last heartbeat described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct WorkerRow {
    /// The incarnation: `host:pid:random`.
    pub id: String,
    /// Queues or lanes, separated by commas.
    pub queues: String,
    /// Jobs at once, per lane.
    pub concurrency: i32,
    /// Tasks that it holds, running or about to.
    pub held: i32,
    pub version: String,
    pub started_at: Timestamp,
    pub seen_at: Timestamp,
    /// How many of the held tasks run.
    pub running: i32,
    /// Those of them that have run longest, at most [`MOST_RUNNING_SHOWN`].
    pub running_tasks: Json<Vec<RunningTask>>,
    /// Since when it is asked to take nothing more.
    pub drain_since: Option<Timestamp>,
    /// Who asked.
    pub drain_by: Option<String>,
    /// How far its host's clock is ahead of the database's; negative when it is behind.
    pub clock_ahead_ms: i64,
}

/// A task that a worker runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningTask {
    /// Id of the task.
    pub task_id: Id,
    /// What kind of work it is.
    pub kind: String,
    /// Its lane.
    pub lane: String,
    /// When this run began.
    pub since: Timestamp,
}

/// So many running tasks stand in a heartbeat: it is written three times in the length of a lease.
pub const MOST_RUNNING_SHOWN: usize = 20;

impl WorkerRow {
    /// The lanes that it reads.
    pub fn lanes(&self, systems: Systems) -> Vec<Lane> {
        self.queues.split(',').flat_map(|word| systems.lanes_named(word.trim())).collect()
    }

    /// Whether it has been heard of within the time after which its tasks are given to others.
    pub fn is_live(&self, now: Timestamp, lease: Duration) -> bool {
        now.since(self.seen_at) <= lease
    }

    /// Whether it takes tasks from its lanes: it is live, and is not asked to drain.
    pub fn takes_tasks(&self, now: Timestamp, lease: Duration) -> bool {
        self.is_live(now, lease) && self.drain_since.is_none()
    }
}

/// Writes a heartbeat; the first one makes the row. Returns whether the worker is asked to take nothing more.
pub async fn upsert(session: &mut Session, worker: &WorkerRow) -> Result<bool> {
    let wish: Option<(Option<Timestamp>,)> = sql!(one (Option<Timestamp>), session,
        "insert into workers (id, queues, concurrency, held, version, started_at, seen_at, running, running_tasks, clock_ahead_ms)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (id) do update set queues = excluded.queues, concurrency = excluded.concurrency, held = excluded.held,
             seen_at = excluded.seen_at, running = excluded.running, running_tasks = excluded.running_tasks,
             clock_ahead_ms = excluded.clock_ahead_ms
         returning drain_since",
        worker.id.as_str(), worker.queues.as_str(), worker.concurrency, worker.held, worker.version.as_str(),
        worker.started_at, worker.seen_at, worker.running, &worker.running_tasks, worker.clock_ahead_ms
    )?;
    Ok(wish.is_some_and(|(since,)| since.is_some()))
}

/// What is wished of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To take nothing more. It finishes what it holds and stays idle; stopping it is for those who started it.
    Drain,
    /// To take tasks again.
    TakeBack,
}

/// Wishes something of a worker, which hears of it with its next heartbeat. Returns the worker, or nothing when there is none, and
/// whether the wish is a new one: who asked first stays.
pub async fn wish(
    session: &mut Session,
    id: &str,
    wish: Wish,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<(WorkerRow, bool)>> {
    let is_new = match wish {
        Wish::Drain => sql!(
            run,
            session,
            "update workers set drain_by = $2, drain_since = $3 where id = $1 and drain_since is null",
            id,
            actor.name.as_str(),
            now
        )?,
        Wish::TakeBack => sql!(
            run,
            session,
            "update workers set drain_by = null, drain_since = null where id = $1 and drain_since is not null",
            id
        )?,
    } > 0;
    if is_new {
        let action = if wish == Wish::Drain { "drain" } else { "take_back" };
        audit::write(session, actor, &Act::new(action, "worker", id), now).await?;
    }
    Ok(find(session, id).await?.map(|worker| (worker, is_new)))
}

const COLUMNS: &str =
    "id, queues, concurrency, held, version, started_at, seen_at, running, running_tasks, drain_since, drain_by,
    clock_ahead_ms";

pub async fn find(session: &mut Session, id: &str) -> Result<Option<WorkerRow>> {
    sql!(one WorkerRow, session, (&format!("select {COLUMNS} from workers where id = $1")), id)
}

/// All that are known, the oldest first; whether one is live is for [`WorkerRow::is_live`] to say.
pub async fn list(session: &mut Session) -> Result<Vec<WorkerRow>> {
    sql!(all WorkerRow, session, (&format!("select {COLUMNS} from workers order by started_at, id")))
}

/// A worker that stops removes its row.
pub async fn remove(session: &mut Session, id: &str) -> Result<()> {
    sql!(run, session, "delete from workers where id = $1", id)?;
    Ok(())
}

/// Forgets workers that were last heard of before this moment: they died without removing their row. Returns how many.
pub async fn forget_gone(session: &mut Session, before: Timestamp) -> Result<u64> {
    sql!(run, session, "delete from workers where seen_at < $1", before)
}

/// The lanes that no live worker reads, but for those that are to take nothing more: what is queued there would wait without end (d28).
pub fn unattended(systems: Systems, workers: &[WorkerRow], now: Timestamp, lease: Duration) -> Vec<Lane> {
    let live = workers.iter().filter(|worker| worker.takes_tasks(now, lease));
    let attended: HashSet<Lane> = live.flat_map(|worker| worker.lanes(systems)).collect();
    systems.lanes().into_iter().filter(|lane| !attended.contains(lane)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{MAINTENANCE, SYNC};
    use crate::systems::QUEUE;

    fn worker(queues: &str, seen_at: i64) -> WorkerRow {
        WorkerRow {
            id: "host:1:a".into(),
            queues: queues.into(),
            concurrency: 1,
            held: 0,
            version: "0".into(),
            started_at: Timestamp::from_micros(0),
            seen_at: Timestamp::from_micros(seen_at * 1_000_000),
            running: 0,
            running_tasks: Json(Vec::new()),
            drain_since: None,
            drain_by: None,
            clock_ahead_ms: 0,
        }
    }

    /// d28: the development setup of seed 002 ran without `sync`, and its tasks waited unread.
    #[test]
    fn a_lane_without_a_reader_is_noticed() {
        const SYSTEMS: Systems = Systems::new(&[QUEUE]);
        let now = Timestamp::from_micros(100_000_000);
        let lease = Duration::from_secs(30);
        let workers = [worker("maintenance, unknown", 90), worker("sync", 60)];
        assert_eq!(unattended(SYSTEMS, &workers, now, lease), [SYNC]);
        assert_eq!(unattended(SYSTEMS, &[], now, lease), [SYNC, MAINTENANCE]);
        let both = worker("sync,maintenance", 100);
        assert!(unattended(SYSTEMS, std::slice::from_ref(&both), now, lease).is_empty());
        let draining = WorkerRow { drain_since: Some(now), ..both };
        assert_eq!(unattended(SYSTEMS, &[draining], now, lease), [SYNC, MAINTENANCE]);
    }
}
