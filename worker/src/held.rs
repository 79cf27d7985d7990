//! What this worker holds: every task that it has claimed and not finished, running or waiting.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use recado_shared::ids::Id;
use recado_shared::queue::Lane;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The registry of all lanes.
pub(crate) struct Held {
    tasks: Mutex<HashMap<Id, Task>>,
    lanes: HashMap<Lane, LaneCount>,
    let_go: Notify,
}

struct Task {
    lane: Lane,
    running: bool,
    lost: CancellationToken,
}

#[derive(Default)]
struct LaneCount {
    held: AtomicUsize,
    finished: AtomicUsize,
    changed: Notify,
}

impl Held {
    pub(crate) fn new(lanes: &[Lane]) -> Self {
        let lanes = lanes.iter().map(|lane| (*lane, LaneCount::default())).collect();
        Self { tasks: Mutex::default(), lanes, let_go: Notify::new() }
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<Id, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self, lane: Lane, ids: impl ExactSizeIterator<Item = Id>) {
        self.lanes[&lane].held.fetch_add(ids.len(), Ordering::Relaxed);
        let mut tasks = self.tasks();
        for id in ids {
            tasks.insert(id, Task { lane, running: false, lost: CancellationToken::new() });
        }
    }

    /// A task begins to run. The token is cancelled when the claim is lost; `None` when it already is.
    pub(crate) fn start(&self, id: Id) -> Option<CancellationToken> {
        let mut tasks = self.tasks();
        let task = tasks.get_mut(&id)?;
        task.running = true;
        Some(task.lost.clone())
    }

    /// Tasks that are written down as finished.
    pub(crate) fn let_go(&self, ids: impl Iterator<Item = Id>) {
        let mut tasks = self.tasks();
        for id in ids {
            if let Some(task) = tasks.remove(&id) {
                let count = &self.lanes[&task.lane];
                count.held.fetch_sub(1, Ordering::Relaxed);
                count.finished.fetch_add(1, Ordering::Relaxed);
                count.changed.notify_one();
            }
        }
        if tasks.is_empty() {
            self.let_go.notify_waiters();
        }
    }

    pub(crate) fn ids(&self) -> Vec<Id> {
        self.tasks().keys().copied().collect()
    }

    /// Of the tasks that were to be renewed, those that were not are lost: their runs are stopped. Returns them.
    pub(crate) fn lose_all_but(&self, asked: &[Id], renewed: &[Id]) -> Vec<Id> {
        let renewed: HashSet<&Id> = renewed.iter().collect();
        let lost: Vec<Id> = asked.iter().filter(|id| !renewed.contains(id)).copied().collect();
        let tokens: Vec<(Id, CancellationToken)> =
            lost.iter().filter_map(|id| Some((*id, self.tasks().get(id)?.lost.clone()))).collect();
        for (_, token) in &tokens {
            token.cancel();
        }
        self.let_go(tokens.iter().map(|(id, _)| *id));
        tokens.into_iter().map(|(id, _)| id).collect()
    }

    /// Gives everything up: the tasks that waited, and those that were running.
    pub(crate) fn give_up(&self) -> (Vec<Id>, Vec<Id>) {
        let (running, waiting): (Vec<_>, Vec<_>) = self.tasks().drain().partition(|(_, task)| task.running);
        running.iter().for_each(|(_, task)| task.lost.cancel());
        let ids = |tasks: Vec<(Id, Task)>| tasks.into_iter().map(|(id, _)| id).collect();
        (ids(waiting), ids(running))
    }

    pub(crate) fn in_lane(&self, lane: Lane) -> usize {
        self.lanes[&lane].held.load(Ordering::Relaxed)
    }

    /// How many tasks of the lane were finished since the last call.
    pub(crate) fn finished(&self, lane: Lane) -> usize {
        self.lanes[&lane].finished.swap(0, Ordering::Relaxed)
    }

    /// Waits until the lane holds less than before.
    pub(crate) async fn changed(&self, lane: Lane) {
        self.lanes[&lane].changed.notified().await;
    }

    /// Waits until nothing is held.
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
