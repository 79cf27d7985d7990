//! The doorbell. A ring says that the task with this id may be claimed; what the task is stands in the ledger.
//!
//! Ringing twice is harmless, because a worker claims the row before it acts, and a ring that is lost is rung again
//! ([`crate::tasks::ring_lost`]). So nothing here needs to be durable.

mod connection;
mod local;
mod redis;

use std::time::Duration;

pub use local::LocalQueue;
pub use redis::RedisQueue;

use ::redis::ErrorKind;

use crate::lanes::{Lane, Priority};
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::config::Config;
use recado_kernel::ids::Id;

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

impl QueueError {
    /// Whether waiting mends nothing: Redis answers, and refuses the password, the user or the number of the database.
    pub fn is_refusal(&self) -> bool {
        let Self::Redis(error) = self else { return false };
        let refuses_us = matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
        let kind = error.kind();
        refuses_us
            || matches!(kind, ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig)
            || error.to_string().contains("refused to switch database")
    }
}

/// The bell of the whole installation.
#[derive(Clone)]
pub enum Queue {
    Redis(Box<RedisQueue>),
    Local(LocalQueue),
}

impl Queue {
    /// The queue of these lanes.
    pub async fn connect(config: &Config, clock: &Clock, lanes: Vec<Lane>) -> Result<Self, QueueError> {
        Ok(match &config.redis_url {
            Some(url) => {
                let authorities = config.redis_authorities.as_deref();
                Self::Redis(Box::new(RedisQueue::connect(url, authorities, clock, lanes).await?))
            }
            None => Self::Local(LocalQueue::new(clock.clone(), lanes)),
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

    /// A reader of one lane.
    pub fn listen(&self, lane: Lane) -> Listener {
        match self {
            Self::Redis(queue) => Listener::Redis(Box::new(queue.listen(lane))),
            Self::Local(queue) => Listener::Local(queue.listen(lane)),
        }
    }

    /// The time of the oldest ring in the lane that is not read yet; `None` when all are read. By the clock of the process that rang.
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

    /// Whether the transport takes rings, and how fast: something is written, for a replica answers too.
    ///
    /// # Errors
    /// What it says instead.
    pub async fn can_write(&self) -> Result<Duration, QueueError> {
        match self {
            Self::Redis(queue) => queue.can_write().await,
            Self::Local(_) => Ok(Duration::ZERO),
        }
    }
}

/// Reads the rings of one lane. What it has read is in no list any more: if its row is not claimed, it is found in the ledger.
pub enum Listener {
    Redis(Box<redis::Listener>),
    Local(local::Listener),
}

impl Listener {
    /// At most `room` ids; waits up to `timeout` for the first.
    pub async fn read(&mut self, room: usize, timeout: Duration) -> Result<Vec<Id>, QueueError> {
        match self {
            Self::Redis(listener) => listener.read(room, timeout).await,
            Self::Local(listener) => Ok(listener.read(room, timeout).await),
        }
    }
}
