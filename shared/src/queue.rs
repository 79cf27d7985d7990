//! The doorbell. A ring says that the task with this id may be claimed; what the task is stands in the ledger.
//!
//! Ringing twice is harmless, because a worker claims the row before it acts, and a ring that is lost is rung again
//! ([`crate::tasks::ring_lost`]). So nothing here needs to be durable.

pub mod jobs;
mod local;
mod redis;

use std::fmt;
use std::time::Duration;

pub use jobs::Job;
pub use local::LocalQueue;
pub use redis::RedisQueue;
use secrecy::ExposeSecret;

use crate::channels::Channel;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::ids::Id;

/// A stream of its own with its own concurrency, so that a slow provider does not hold the others up.
///
/// What stands before the dot is the queue, the word that users say (`-Q notifications,sync,maintenance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    Email,
    Whatsapp,
    Push,
    Sync,
    Maintenance,
}

impl Lane {
    pub const ALL: [Self; 5] = [Self::Email, Self::Whatsapp, Self::Push, Self::Sync, Self::Maintenance];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "notifications.email",
            Self::Whatsapp => "notifications.whatsapp",
            Self::Push => "notifications.push",
            Self::Sync => "sync",
            Self::Maintenance => "maintenance",
        }
    }

    /// The queue that this lane belongs to.
    pub fn queue(self) -> &'static str {
        self.as_str().split('.').next().unwrap_or_default()
    }

    /// The lanes of a queue, or the one lane of that name; empty for a word that names neither.
    pub fn named(word: &str) -> Vec<Self> {
        Self::ALL.into_iter().filter(|lane| lane.queue() == word || lane.as_str() == word).collect()
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl From<Channel> for Lane {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::Email => Self::Email,
            Channel::Whatsapp => Self::Whatsapp,
            Channel::Push => Self::Push,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Lane {
    type Error = String;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.as_str() == word)
            .ok_or(format!("`{word}` is not a lane of this version"))
    }
}

/// Which tasks of a lane are read first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    High = 0,
    Default = 1,
    Low = 2,
}

impl Priority {
    pub const ALL: [Self; 3] = [Self::High, Self::Default, Self::Low];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Default => "default",
            Self::Low => "low",
        }
    }
}

impl TryFrom<i16> for Priority {
    type Error = String;

    fn try_from(number: i16) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::High),
            1 => Ok(Self::Default),
            2 => Ok(Self::Low),
            _ => Err(format!("{number} is not a priority")),
        }
    }
}

/// How a read of `room` ids is shared between the priorities: of ten places high has six, default three and low one, so that
/// high goes first and none starves. `turn` counts the places given out before, so that this holds for a worker with one
/// slot too. What a priority does not use, the others take.
pub fn shares(room: usize, turn: usize) -> [usize; 3] {
    const PLACES: [usize; 10] = [0, 1, 0, 0, 1, 0, 0, 1, 0, 2];
    let mut shares = [6, 3, 1].map(|places| places * (room / PLACES.len()));
    for place in 0..room % PLACES.len() {
        shares[PLACES[(turn + place) % PLACES.len()]] += 1;
    }
    shares
}

/// One ring of the bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    pub id: Id,
    pub lane: Lane,
    pub priority: Priority,
}

/// The transport is in trouble. Callers go on: the ledger knows what was to be rung.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("Redis did not do its part")]
    Redis(#[from] ::redis::RedisError),
    #[error("Redis does not answer")]
    Silent,
}

/// The bell of the whole installation.
#[derive(Clone)]
pub enum Queue {
    Redis(Box<RedisQueue>),
    Local(LocalQueue),
}

impl Queue {
    pub async fn connect(config: &Config, clock: &Clock) -> Result<Self, QueueError> {
        Ok(match &config.redis_url {
            Some(url) => Self::Redis(Box::new(RedisQueue::connect(url.expose_secret()).await?)),
            None => Self::Local(LocalQueue::new(clock.clone())),
        })
    }

    /// Rings for a batch of tasks in one round trip.
    pub async fn ring(&self, rings: &[Ring]) -> Result<(), QueueError> {
        match self {
            _ if rings.is_empty() => Ok(()),
            Self::Redis(queue) => queue.ring(rings).await,
            Self::Local(queue) => {
                queue.ring(rings);
                Ok(())
            }
        }
    }

    /// A reader of one lane. `consumer` names the incarnation of the worker.
    pub async fn listen(&self, lane: Lane, consumer: &str) -> Result<Listener, QueueError> {
        Ok(match self {
            Self::Redis(queue) => Listener::Redis(Box::new(queue.listen(lane, consumer).await?)),
            Self::Local(queue) => Listener::Local(queue.listen(lane)),
        })
    }

    /// The time of the oldest ring in the lane that nobody has read yet; `None` when all are read. By the clock of the
    /// process or server that holds the queue.
    pub async fn oldest_waiting(&self, lane: Lane) -> Result<Option<Timestamp>, QueueError> {
        match self {
            Self::Redis(queue) => queue.oldest_waiting(lane).await,
            Self::Local(queue) => Ok(queue.oldest_waiting(lane)),
        }
    }

    /// How many rings wait in each lane.
    pub async fn depths(&self) -> Result<Vec<(Lane, u64)>, QueueError> {
        match self {
            Self::Redis(queue) => queue.depths().await,
            Self::Local(queue) => Ok(queue.depths()),
        }
    }

    /// Forgets readers that have been gone for a while and hold nothing.
    pub async fn forget_idle_consumers(&self) -> Result<(), QueueError> {
        match self {
            Self::Redis(queue) => queue.forget_idle_consumers().await,
            Self::Local(_) => Ok(()),
        }
    }

    /// Whether the transport answers, and how fast.
    pub async fn ping(&self) -> Result<Duration, QueueError> {
        match self {
            Self::Redis(queue) => queue.ping().await,
            Self::Local(_) => Ok(Duration::ZERO),
        }
    }
}

/// The rings of one read.
///
/// Redis keeps their entries until the batch is [released](Listener::release). One that is dropped, because its rows could not
/// be claimed, comes back: another reader takes its entries over.
#[derive(Debug, Default)]
pub struct Batch {
    pub ids: Vec<Id>,
    entries: redis::Entries,
}

/// Reads the rings of one lane.
pub enum Listener {
    Redis(Box<redis::Listener>),
    Local(local::Listener),
}

impl Listener {
    /// At most `room` ids; waits up to `patience` for the first.
    pub async fn read(&mut self, room: usize, patience: Duration) -> Result<Batch, QueueError> {
        match self {
            Self::Redis(listener) => listener.read(room, patience).await,
            Self::Local(listener) => {
                Ok(Batch { ids: listener.read(room, patience).await, entries: redis::Entries::default() })
            }
        }
    }

    /// The ids of the batch are claimed, or need not be: their entries have done their work.
    pub fn release(&mut self, batch: Batch) {
        if let Self::Redis(listener) = self {
            listener.release(batch.entries);
        }
    }

    /// The last word of a reader that reads no more.
    pub async fn close(&mut self) -> Result<(), QueueError> {
        match self {
            Self::Redis(listener) => listener.close().await,
            Self::Local(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_names_its_lanes() {
        assert_eq!(Lane::named("notifications"), [Lane::Email, Lane::Whatsapp, Lane::Push]);
        assert_eq!(Lane::named("notifications.push"), [Lane::Push]);
        assert_eq!(Lane::named("sync"), [Lane::Sync]);
        assert!(Lane::named("emails").is_empty());
    }

    #[test]
    fn one_slot_serves_all_priorities_in_time() {
        let mut served = [0; 3];
        for turn in 0..100 {
            let shares = shares(1, turn);
            (0..3).for_each(|priority| served[priority] += shares[priority]);
        }
        assert_eq!(served, [60, 30, 10]);
    }

    proptest::proptest! {
        #[test]
        fn no_place_is_invented_and_none_is_lost(room in 0_usize..5000, turn: usize) {
            let turn = turn % 1_000_000;
            proptest::prop_assert_eq!(shares(room, turn).iter().sum::<usize>(), room);
        }
    }
}
