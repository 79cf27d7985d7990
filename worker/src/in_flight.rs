//! What is in flight: every task that this worker has claimed and not finished, running or waiting.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_queue::lanes::Lane;
use recado_queue::tasks::Claimed;
use recado_queue::workers::RunningTask;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The tasks in flight, of all lanes.
pub(crate) struct InFlight {
    tasks: Mutex<HashMap<Id, Task>>,
    lanes: HashMap<Lane, LaneCount>,
    let_go: Notify,
}

/// Room that is kept until this is dropped.
pub(crate) struct Reserved {
    in_flight: Arc<InFlight>,
    lane: Lane,
    count: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let count = &self.in_flight.lanes[&self.lane];
        count.in_flight.fetch_sub(self.count, Ordering::Relaxed);
        count.changed.notify_one();
    }
}

struct Task {
    /// The number of the claim. A later claim of the same task is another thing.
    attempt: i32,
    lane: Lane,
    /// None before the task begins to run.
    running: Option<Run>,
}

/// A run of a task.
struct Run {
    kind: String,
    since: Timestamp,
    /// Cancelled when the claim is lost.
    lost: CancellationToken,
}

impl Task {
    /// Its run is stopped, if it has begun.
    fn lose(&self) {
        if let Some(run) = &self.running {
            run.lost.cancel();
        }
    }
}

#[derive(Default)]
struct LaneCount {
    in_flight: AtomicUsize,
    finished: AtomicUsize,
    changed: Notify,
}

impl InFlight {
    pub(crate) fn new(lanes: &[Lane]) -> Self {
        let lanes = lanes.iter().map(|lane| (*lane, LaneCount::default())).collect();
        Self { tasks: Mutex::default(), lanes, let_go: Notify::new() }
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<Id, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps room for so many tasks while they are claimed: they count as in flight.
    pub(crate) fn reserve(self: &Arc<Self>, lane: Lane, count: usize) -> Reserved {
        self.lanes[&lane].in_flight.fetch_add(count, Ordering::Relaxed);
        Reserved { in_flight: self.clone(), lane, count }
    }

    /// Tasks that were just claimed. An older claim of the same task is lost, or it could not have been claimed again.
    pub(crate) fn take(&self, lane: Lane, claims: impl ExactSizeIterator<Item = (Id, i32)>) {
        self.lanes[&lane].in_flight.fetch_add(claims.len(), Ordering::Relaxed);
        let mut tasks = self.tasks();
        for (id, attempt) in claims {
            let task = Task { attempt, lane, running: None };
            if let Some(old) = tasks.insert(id, task) {
                old.lose();
                self.forget(&old);
            }
        }
    }

    /// A task begins to run. The token is cancelled when the claim is lost; `None` when it already is.
    pub(crate) fn start(&self, claimed: &Claimed, now: Timestamp) -> Option<CancellationToken> {
        let run = Run { kind: claimed.kind.clone(), since: now, lost: CancellationToken::new() };
        let mut tasks = self.tasks();
        let task = tasks.get_mut(&claimed.id).filter(|task| task.attempt == claimed.attempt)?;
        Some(task.running.insert(run).lost.clone())
    }

    /// How many tasks run, and the `most` that have run longest.
    pub(crate) fn running(&self, most: usize) -> (usize, Vec<RunningTask>) {
        let tasks = self.tasks();
        let mut running: Vec<(&Id, Lane, &Run)> =
            tasks.iter().filter_map(|(id, task)| Some((id, task.lane, task.running.as_ref()?))).collect();
        let count = running.len();
        if count > most {
            running.select_nth_unstable_by_key(most, |(_, _, run)| run.since);
            running.truncate(most);
        }
        running.sort_unstable_by_key(|(id, _, run)| (run.since, **id));
        let shown = |(id, lane, run): (&Id, Lane, &Run)| RunningTask {
            task_id: *id,
            kind: run.kind.clone(),
            lane: lane.as_str().to_owned(),
            since: run.since,
        };
        (count, running.into_iter().map(shown).collect())
    }

    /// Claims that are written down as finished.
    pub(crate) fn let_go(&self, claims: impl Iterator<Item = (Id, i32)>) {
        let mut tasks = self.tasks();
        for (id, attempt) in claims {
            if tasks.get(&id).is_some_and(|task| task.attempt == attempt)
                && let Some(task) = tasks.remove(&id)
            {
                self.forget(&task);
                self.lanes[&task.lane].finished.fetch_add(1, Ordering::Relaxed);
            }
        }
        if tasks.is_empty() {
            self.let_go.notify_waiters();
        }
    }

    fn forget(&self, task: &Task) {
        let count = &self.lanes[&task.lane];
        count.in_flight.fetch_sub(1, Ordering::Relaxed);
        count.changed.notify_one();
    }

    pub(crate) fn claims(&self) -> Vec<(Id, i32)> {
        self.tasks().iter().map(|(id, task)| (*id, task.attempt)).collect()
    }

    /// Of the claims that were to be renewed, those that are not in force are lost: their runs are stopped. Returns them.
    pub(crate) fn lose_all_but(&self, asked: &[(Id, i32)], in_force: &[(Id, i32)]) -> Vec<Id> {
        let in_force: HashSet<&(Id, i32)> = in_force.iter().collect();
        let mut lost = Vec::new();
        for (id, attempt) in asked.iter().filter(|claim| !in_force.contains(claim)) {
            if let Some(task) = self.tasks().get(id).filter(|task| task.attempt == *attempt) {
                task.lose();
                lost.push((*id, *attempt));
            }
        }
        self.let_go(lost.iter().copied());
        lost.into_iter().map(|(id, _)| id).collect()
    }

    /// Gives everything up: the tasks that waited, and those that were running.
    pub(crate) fn give_up(&self) -> (Vec<Id>, Vec<Id>) {
        let (running, waiting): (Vec<_>, Vec<_>) = self.tasks().drain().partition(|(_, task)| task.running.is_some());
        running.iter().for_each(|(_, task)| task.lose());
        let ids = |tasks: Vec<(Id, Task)>| tasks.into_iter().map(|(id, _)| id).collect();
        (ids(waiting), ids(running))
    }

    pub(crate) fn in_lane(&self, lane: Lane) -> usize {
        self.lanes[&lane].in_flight.load(Ordering::Relaxed)
    }

    /// How many tasks of the lane were finished since the last call.
    pub(crate) fn finished(&self, lane: Lane) -> usize {
        self.lanes[&lane].finished.swap(0, Ordering::Relaxed)
    }

    /// Waits until the lane has less in flight than before.
    pub(crate) async fn changed(&self, lane: Lane) {
        self.lanes[&lane].changed.notified().await;
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn empty(&self) {
        loop {
            let let_go = self.let_go.notified();
            tokio::pin!(let_go);
            let_go.as_mut().enable();
            if self.tasks().is_empty() {
                return;
            }
            let_go.await;
        }
    }
}
