//! Tasks that may have taken a worker down. A worker runs them one at a time, or one group at a time while there are many, and
//! marks them before they begin: when it dies, the ledger knows who is left to suspect.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use recado_kernel::db;
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::tasks::{self, Claimed};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::lane::Engine;

/// The next group begins after this time, also while this one runs: a provider that hangs must not hold all suspects up. What
/// kills a worker later than that is found when it is the last that runs.
const ALONE_FOR: Duration = Duration::from_secs(10);

/// Between two tries to mark a group while the database is away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Runs the suspects of a worker's lanes until these have ended.
pub(crate) struct Suspects {
    pub(crate) context: Context,
    pub(crate) worker: String,
    /// Jobs at once.
    pub(crate) slots: usize,
    pub(crate) engine: Engine,
}

impl Suspects {
    pub(crate) async fn serve(self, mut claimed: mpsc::Receiver<Claimed>) {
        let mut held = Vec::new();
        loop {
            if held.is_empty() {
                let Some(task) = claimed.recv().await else { return };
                held.push(task);
            }
            while let Ok(task) = claimed.try_recv() {
                held.push(task);
            }
            let group = next_group(&mut held, self.slots);
            self.run(group).await;
        }
    }

    async fn run(&self, group: Vec<Claimed>) {
        let begun = self.mark(group.iter().map(|task| task.id).collect()).await;
        let mut running = JoinSet::new();
        for task in group.into_iter().filter(|task| begun.contains(&task.id)) {
            tracing::info!(task.id = %task.id, "task {} begins alone or among few: a worker died that held it", task.id);
            running.spawn(self.engine.clone().run(task));
        }
        let all_ended = async { while running.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(ALONE_FOR, all_ended).await;
        running.detach_all();
    }

    /// Returns those whose claim is in force. A task that is not marked does not begin.
    async fn mark(&self, ids: Vec<Id>) -> HashSet<Id> {
        loop {
            match self.try_to_mark(&ids).await {
                Ok(begun) => return begun.into_iter().collect(),
                Err(error) => {
                    let reason = explain(&error);
                    tracing::warn!(error = %reason, "tasks under suspicion cannot be marked and wait: {reason}");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn try_to_mark(&self, ids: &[Id]) -> db::Result<Vec<Id>> {
        let mut session = self.context.db.write().await?;
        let begun = tasks::begin(&mut session, ids, &self.worker).await?;
        session.commit().await?;
        Ok(begun)
    }
}

/// Takes the tasks that begin together now: first those that no loss counts against, and among them the larger groups.
fn next_group(held: &mut Vec<Claimed>, slots: usize) -> Vec<Claimed> {
    held.sort_by_key(|task| (task.lost_leases, Reverse(task.suspect_group)));
    let Some(first) = held.first() else { return Vec::new() };
    let (lost_leases, suspect_group) = (first.lost_leases, first.suspect_group);
    let most = usize::try_from(suspect_group).unwrap_or(1).clamp(1, slots.max(1));
    let is_alike = |task: &&Claimed| task.lost_leases == lost_leases && task.suspect_group == suspect_group;
    let count = held.iter().take_while(is_alike).take(most).count();
    held.drain(..count).collect()
}

#[cfg(test)]
mod tests {
    use recado_kernel::clock::Timestamp;
    use recado_queue::lanes::SYNC;
    use serde_json::Value;
    use sqlx::types::Json;

    use super::*;

    fn task(lost_leases: i32, suspect_group: i32) -> Claimed {
        Claimed {
            id: Id::default(),
            kind: "ping".to_owned(),
            payload: Json(Value::Null),
            attempt: 1,
            failures: 0,
            lost_leases,
            suspect_group,
            cut_off: true,
            lane: SYNC,
            correlation_id: None,
            created_at: Timestamp::from_micros(0),
            run_at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn suspects_begin_in_groups_and_the_worst_last() {
        let mut held = vec![task(2, 1), task(0, 1), task(0, 3), task(0, 3), task(0, 3), task(0, 3), task(0, 1)];
        let groups: Vec<Vec<(i32, i32)>> = std::iter::from_fn(|| {
            let group = next_group(&mut held, 32);
            (!group.is_empty()).then(|| group.iter().map(|task| (task.lost_leases, task.suspect_group)).collect())
        })
        .collect();
        let expected = [vec![(0, 3); 3], vec![(0, 3)], vec![(0, 1)], vec![(0, 1)], vec![(2, 1)]];
        assert_eq!(groups, expected);
        assert_eq!(next_group(&mut vec![task(0, 100); 100], 4).len(), 4, "no more than there are slots");
    }
}
