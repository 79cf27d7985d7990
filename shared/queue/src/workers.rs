//! Who works now: one row per process, renewed by its heartbeat.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;

use crate::lanes::Lane;
use crate::systems::Systems;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
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
}

impl WorkerRow {
    /// The lanes that it reads.
    pub fn lanes(&self, systems: Systems) -> Vec<Lane> {
        self.queues.split(',').flat_map(|word| systems.lanes_named(word.trim())).collect()
    }

    /// Whether it has been heard of within the time after which its tasks are given to others.
    pub fn is_live(&self, now: Timestamp, lease: Duration) -> bool {
        now.since(self.seen_at) <= lease
    }
}

/// Writes a heartbeat; the first one makes the row.
pub async fn upsert(session: &mut Session, worker: &WorkerRow) -> Result<()> {
    sql!(run, session,
        "insert into workers (id, queues, concurrency, held, version, started_at, seen_at) values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (id) do update set queues = excluded.queues, concurrency = excluded.concurrency, held = excluded.held,
             seen_at = excluded.seen_at",
        worker.id.as_str(), worker.queues.as_str(), worker.concurrency, worker.held, worker.version.as_str(),
        worker.started_at, worker.seen_at
    )?;
    Ok(())
}

/// All that are known, the oldest first; whether one is live is for [`WorkerRow::is_live`] to say.
pub async fn list(session: &mut Session) -> Result<Vec<WorkerRow>> {
    sql!(all WorkerRow, session,
        "select id, queues, concurrency, held, version, started_at, seen_at from workers order by started_at, id"
    )
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

/// The lanes that no live worker reads: what is queued there would wait without end (d28).
pub fn unattended(systems: Systems, workers: &[WorkerRow], now: Timestamp, lease: Duration) -> Vec<Lane> {
    let live = workers.iter().filter(|worker| worker.is_live(now, lease));
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
        assert!(unattended(SYSTEMS, &[worker("sync,maintenance", 100)], now, lease).is_empty());
    }
}
