//! The bell inside one process: the embedded default, and the tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Lane, Priority, Ring, shares};
use crate::clock::{Clock, Timestamp};
use crate::ids::Id;

/// Ids in memory, 24 bytes each, by lane and priority. What a restart forgets the ledger rings again.
#[derive(Clone)]
pub struct LocalQueue {
    clock: Clock,
    lanes: Arc<[LaneBell; Lane::ALL.len()]>,
}

#[derive(Default)]
struct LaneBell {
    waiting: Mutex<[VecDeque<(Timestamp, Id)>; Priority::ALL.len()]>,
    rung: Notify,
}

impl LaneBell {
    fn waiting(&self) -> MutexGuard<'_, [VecDeque<(Timestamp, Id)>; Priority::ALL.len()]> {
        // Whoever panicked while holding the lock left whole entries behind: pushes and pops do not tear.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalQueue {
    pub fn new(clock: Clock) -> Self {
        Self { clock, lanes: Arc::default() }
    }

    pub(super) fn ring(&self, rings: &[Ring]) {
        let now = self.clock.now();
        for ring in rings {
            let bell = &self.lanes[ring.lane.index()];
            bell.waiting()[ring.priority as usize].push_back((now, ring.id));
            bell.rung.notify_one();
        }
    }

    pub(super) fn listen(&self, lane: Lane) -> Listener {
        Listener { queue: self.clone(), lane, turn: 0 }
    }

    pub(super) fn oldest_waiting(&self, lane: Lane) -> Option<Timestamp> {
        self.lanes[lane.index()].waiting().iter().filter_map(|ids| ids.front()).map(|(rung_at, _)| *rung_at).min()
    }

    pub(super) fn depths(&self) -> Vec<(Lane, u64)> {
        let depth = |lane: Lane| self.lanes[lane.index()].waiting().iter().map(|ids| ids.len() as u64).sum();
        Lane::ALL.into_iter().map(|lane| (lane, depth(lane))).collect()
    }

    /// Drops every ring, as a restart would. For tests that cause it.
    pub fn forget_everything(&self) {
        for bell in self.lanes.iter() {
            for ids in bell.waiting().iter_mut() {
                ids.clear();
            }
        }
    }

    fn take(&self, lane: Lane, room: usize, turn: usize) -> Vec<Id> {
        let mut waiting = self.lanes[lane.index()].waiting();
        let mut taken = Vec::new();
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
    pub(super) async fn read(&mut self, room: usize, patience: Duration) -> Vec<Id> {
        let lanes = self.queue.lanes.clone();
        let rung = lanes[self.lane.index()].rung.notified();
        let taken = self.take(room);
        if !taken.is_empty() || patience.is_zero() {
            return taken;
        }
        // A ring between the look and the wait left its permit in `rung`.
        let _ = tokio::time::timeout(patience, rung).await;
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

    fn rings(clock: &Clock, priority: Priority, count: usize) -> Vec<Ring> {
        (0..count).map(|_| Ring { id: Id::new(clock.now()), lane: Lane::Sync, priority }).collect()
    }

    #[tokio::test]
    async fn high_goes_first_and_low_is_not_forgotten() {
        let clock = Clock::manual(Timestamp::from_micros(0));
        let queue = LocalQueue::new(clock.clone());
        let (low, high) = (rings(&clock, Priority::Low, 20), rings(&clock, Priority::High, 20));
        queue.ring(&low);
        queue.ring(&high);
        let read = queue.listen(Lane::Sync).read(10, Duration::ZERO).await;
        assert_eq!(read.len(), 10);
        assert_eq!(read.iter().filter(|id| low.iter().any(|ring| ring.id == **id)).count(), 1);
        assert!(queue.listen(Lane::Email).read(10, Duration::ZERO).await.is_empty());
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes() {
        let clock = Clock::manual(Timestamp::from_micros(0));
        let queue = LocalQueue::new(clock.clone());
        let mut listener = queue.listen(Lane::Sync);
        let reading = tokio::spawn(async move { listener.read(5, Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        queue.ring(&rings(&clock, Priority::Default, 1));
        assert_eq!(reading.await.expect("no panic").len(), 1);
    }
}
