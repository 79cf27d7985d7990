//! The bell inside one process: the embedded default, and the tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Ring;
use crate::lanes::{Lane, Priority, shares};
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::ids::Id;

/// Ids in memory, 24 bytes each, by lane and priority. What a restart forgets the ledger rings again.
#[derive(Clone)]
pub struct LocalQueue {
    clock: Clock,
    lanes: Arc<BTreeMap<Lane, LaneBell>>,
}

#[derive(Default)]
struct LaneBell {
    waiting: Mutex<[VecDeque<(Timestamp, Id)>; Priority::ALL.len()]>,
    rung: Notify,
}

impl LaneBell {
    fn waiting(&self) -> MutexGuard<'_, [VecDeque<(Timestamp, Id)>; Priority::ALL.len()]> {
        // A panic while the lock was held left whole entries behind: a push or a pop happens or does not.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalQueue {
    pub fn new(clock: Clock, lanes: Vec<Lane>) -> Self {
        Self { clock, lanes: Arc::new(lanes.into_iter().map(|lane| (lane, LaneBell::default())).collect()) }
    }

    pub(super) fn ring(&self, rings: &[Ring]) {
        let now = self.clock.now();
        for ring in rings {
            // A lane that this version does not declare has no reader here either.
            let Some(bell) = self.lanes.get(&ring.lane) else { continue };
            bell.waiting()[ring.priority as usize].push_back((now, ring.id));
            bell.rung.notify_one();
        }
    }

    pub(super) fn listen(&self, lane: Lane) -> Listener {
        Listener { queue: self.clone(), lane, turn: 0 }
    }

    pub(super) fn oldest_waiting(&self, lane: Lane) -> Option<Timestamp> {
        self.lanes.get(&lane)?.waiting().iter().filter_map(|ids| ids.front()).map(|(rung_at, _)| *rung_at).min()
    }

    pub(super) fn depths(&self) -> Vec<(Lane, u64)> {
        let depth = |bell: &LaneBell| bell.waiting().iter().map(|ids| ids.len() as u64).sum();
        self.lanes.iter().map(|(lane, bell)| (*lane, depth(bell))).collect()
    }

    /// Drops every ring, as a restart would. For tests that cause it.
    pub fn forget_everything(&self) {
        for bell in self.lanes.values() {
            for ids in bell.waiting().iter_mut() {
                ids.clear();
            }
        }
    }

    fn take(&self, lane: Lane, room: usize, turn: usize) -> Vec<Id> {
        let mut taken = Vec::new();
        let Some(bell) = self.lanes.get(&lane) else { return taken };
        let mut waiting = bell.waiting();
        for (ids, share) in waiting.iter_mut().zip(shares(room, turn)) {
            taken.extend(ids.drain(..share.min(ids.len())).map(|(_, id)| id));
        }
        for ids in waiting.iter_mut() {
            let left = room - taken.len();
            taken.extend(ids.drain(..left.min(ids.len())).map(|(_, id)| id));
        }
        taken
    }
}

pub struct Listener {
    queue: LocalQueue,
    lane: Lane,
    turn: usize,
}

impl Listener {
    pub(super) async fn read(&mut self, room: usize, timeout: Duration) -> Vec<Id> {
        let taken = self.take(room);
        if !taken.is_empty() || timeout.is_zero() {
            return taken;
        }
        let rung = async {
            match self.queue.lanes.get(&self.lane) {
                // A ring between the look and the wait left its permit here.
                Some(bell) => bell.rung.notified().await,
                None => std::future::pending().await,
            }
        };
        let _ = tokio::time::timeout(timeout, rung).await;
        self.take(room)
    }

    fn take(&mut self, room: usize) -> Vec<Id> {
        let taken = self.queue.take(self.lane, room, self.turn);
        self.turn = self.turn.wrapping_add(taken.len());
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{MAINTENANCE, SYNC};

    fn rings(clock: &Clock, priority: Priority, count: usize) -> Vec<Ring> {
        (0..count).map(|_| Ring { id: Id::new(clock.now()), lane: SYNC, priority }).collect()
    }

    #[tokio::test]
    async fn high_goes_first_and_low_is_not_forgotten() {
        let clock = Clock::manual(Timestamp::from_micros(0));
        let queue = LocalQueue::new(clock.clone(), vec![SYNC, MAINTENANCE]);
        let (low, high) = (rings(&clock, Priority::Low, 20), rings(&clock, Priority::High, 20));
        queue.ring(&low);
        queue.ring(&high);
        let read = queue.listen(SYNC).read(10, Duration::ZERO).await;
        assert_eq!(read.len(), 10);
        assert_eq!(read.iter().filter(|id| low.iter().any(|ring| ring.id == **id)).count(), 1);
        assert!(queue.listen(MAINTENANCE).read(10, Duration::ZERO).await.is_empty());
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes() {
        let clock = Clock::manual(Timestamp::from_micros(0));
        let queue = LocalQueue::new(clock.clone(), vec![SYNC, MAINTENANCE]);
        let mut listener = queue.listen(SYNC);
        let reading = tokio::spawn(async move { listener.read(5, Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        queue.ring(&rings(&clock, Priority::Default, 1));
        assert_eq!(reading.await.expect("no panic").len(), 1);
    }
}
