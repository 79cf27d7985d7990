//! The bell on Redis lists, with plain commands of Redis 7 (Valkey and a Cluster do as well).
//!
//! A lane has three lists, one per priority, in one hash slot. An element is a task's id and when it was rung, in 24 bytes. A
//! reader takes elements out for good: Redis holds what waits now and no more, and what a reader does not live to claim waits in
//! the ledger (docs/adr/0015-a-ring-is-taken-out-of-a-list.md).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{RedisResult, Value, cmd, from_redis_value, pipe};

use super::connection::Connection;
use super::{QueueError, Ring};
use crate::lanes::{Lane, Priority, shares};
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::ids::Id;
use secrecy::SecretString;

/// A ring that takes longer is given up: callers wait for it, and the ledger knows what was to be rung.
const RING_WITHIN: Duration = Duration::from_millis(250);

/// After that, no caller waits for Redis again for this long.
const SPARED_FOR: Duration = Duration::from_secs(2);

/// After a refusal, which comes at once, callers do not have a new connection made again for this long.
const SPARED_AFTER_REFUSAL: Duration = Duration::from_millis(250);

/// What [`RedisQueue::can_write`] writes, to be gone after this long, in milliseconds.
const TRIAL: (&str, u64) = ("recado:health", 60_000);

#[derive(Clone)]
pub struct RedisQueue {
    connection: Connection,
    clock: Clock,
    lanes: Arc<[Lane]>,
    /// Rings are spared until then, because Redis did not answer.
    spared_until: Arc<Mutex<Option<Instant>>>,
}

fn list(lane: Lane, priority: Priority) -> String {
    format!("recado:{{{lane}}}:rings:{}", priority.as_str())
}

fn lists(lane: Lane) -> [String; 3] {
    Priority::ALL.map(|priority| list(lane, priority))
}

/// What waits in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Element {
    id: Id,
    rung_at: Timestamp,
}

impl Element {
    /// The id as it is, then microseconds since 1970, the highest byte first.
    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(self.id.as_bytes().as_slice());
        bytes[16..].copy_from_slice(&self.rung_at.as_micros().to_be_bytes());
        bytes
    }

    /// `None` for what is none of ours.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, rung_at) = bytes.split_at_checked(16)?;
        let rung_at = i64::from_be_bytes(rung_at.try_into().ok()?);
        Some(Self { id: Id::from_slice(id)?, rung_at: Timestamp::from_micros(rung_at) })
    }
}

impl RedisQueue {
    /// Does not wait for the server: a request is safe without it, and it may come later.
    pub(super) async fn connect(
        url: &SecretString,
        authorities: Option<&[u8]>,
        clock: &Clock,
        lanes: Vec<Lane>,
    ) -> Result<Self, QueueError> {
        let connection = Connection::to(url, authorities)?;
        Ok(Self { connection, clock: clock.clone(), lanes: lanes.into(), spared_until: Arc::default() })
    }

    /// One command for each list, so that a reader who waits gets all that is rung together.
    pub(super) async fn ring(&self, rings: &[Ring]) -> Result<(), QueueError> {
        let rung_at = self.clock.now();
        let mut pushes = BTreeMap::new();
        for ring in rings {
            let push = pushes.entry((ring.lane, ring.priority)).or_insert_with(|| {
                let mut push = cmd("RPUSH");
                push.arg(list(ring.lane, ring.priority));
                push
            });
            push.arg(Element { id: ring.id, rung_at }.to_bytes().as_slice());
        }
        let mut pipeline = pipe();
        for push in pushes.into_values() {
            pipeline.add_command(push).ignore();
        }
        let spared_until = *self.spared_until.lock().unwrap_or_else(PoisonError::into_inner);
        if spared_until.is_some_and(|until| Instant::now() < until) {
            return Err(QueueError::Silent);
        }
        let rung = tokio::time::timeout(RING_WITHIN, self.connection.ask::<()>(&pipeline)).await;
        let (rung, spared_for) = match rung {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => (QueueError::Redis(error), SPARED_AFTER_REFUSAL),
            Err(_) => {
                self.connection.forget();
                (QueueError::Silent, SPARED_FOR)
            }
        };
        *self.spared_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + spared_for);
        Err(rung)
    }

    pub(super) fn listen(&self, lane: Lane) -> Listener {
        Listener { connection: self.connection.another(), lists: lists(lane), turn: 0 }
    }

    pub(super) async fn oldest_waiting(&self, lane: Lane) -> Result<Option<Timestamp>, QueueError> {
        let mut pipeline = pipe();
        for list in lists(lane) {
            pipeline.cmd("LINDEX").arg(list).arg(0);
        }
        let first: Vec<Option<Vec<u8>>> = self.connection.ask(&pipeline).await?;
        let rung_at = |element: Vec<u8>| Some(Element::from_bytes(&element)?.rung_at);
        Ok(first.into_iter().flatten().filter_map(rung_at).min())
    }

    pub(super) async fn depths(&self) -> Result<Vec<(Lane, u64)>, QueueError> {
        let mut pipeline = pipe();
        for list in self.lanes.iter().copied().flat_map(lists) {
            pipeline.cmd("LLEN").arg(list);
        }
        let lengths: Vec<u64> = self.connection.ask(&pipeline).await?;
        Ok(self.lanes.iter().copied().zip(lengths.chunks(3).map(|three| three.iter().sum())).collect())
    }

    /// A replica and a server whose disk or memory is full answer a PING and take no ring. So something is written.
    pub(super) async fn can_write(&self) -> Result<Duration, QueueError> {
        let asked = Instant::now();
        let (key, gone_after) = TRIAL;
        let _: Value = self.connection.ask_one(cmd("SET").arg(key).arg(1).arg("PX").arg(gone_after).to_owned()).await?;
        Ok(asked.elapsed())
    }
}

/// Reads one lane over a connection of its own, since a blocking read would hold every other command up.
pub struct Listener {
    connection: Connection,
    lists: [String; 3],
    /// Counts the places given out, so that the priorities' shares hold over many small reads.
    turn: usize,
}

impl Listener {
    pub(super) async fn read(&mut self, room: usize, timeout: Duration) -> Result<Vec<Id>, QueueError> {
        let mut ids = Vec::new();
        self.turn = self.turn.wrapping_add(room);
        let first = shares(room, self.turn);
        let found = self.take(first, &mut ids).await?;
        if ids.is_empty() && !timeout.is_zero() {
            return self.wait(room, timeout).await;
        }
        // What the others leave, a list that has more may take.
        for list in (0..3).filter(|list| found[*list] == first[*list]) {
            let mut rest = [0; 3];
            rest[list] = room.saturating_sub(ids.len());
            match self.take(rest, &mut ids).await {
                // What was taken is in no list any more. The next read meets the same trouble, and has nothing to lose.
                Err(_) if !ids.is_empty() => break,
                taken => taken?,
            };
        }
        Ok(ids)
    }

    /// Takes what is there, so many from each list; returns how many each had.
    async fn take(&self, shares: [usize; 3], ids: &mut Vec<Id>) -> Result<[usize; 3], QueueError> {
        let mut found = [0; 3];
        let wanted: Vec<usize> = (0..3).filter(|list| shares[*list] > 0).collect();
        if wanted.is_empty() {
            return Ok(found);
        }
        let mut pipeline = pipe();
        for list in &wanted {
            pipeline.cmd("LPOP").arg(&self.lists[*list]).arg(shares[*list]);
        }
        // Each command's answer counts by itself: where one list is refused, what another gave must not be forgotten.
        let answers: Vec<RedisResult<Value>> = self.connection.ask_each(&pipeline).await?;
        let mut refused = None;
        for (list, answer) in wanted.into_iter().zip(answers) {
            match answer.and_then(|answer| Ok(from_redis_value::<Option<Vec<Vec<u8>>>>(answer)?)) {
                Ok(elements) => {
                    let elements = elements.unwrap_or_default();
                    found[list] = elements.len();
                    ids.extend(tasks(&elements));
                }
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            None => Ok(found),
            Some(error) if ids.is_empty() => Err(error.into()),
            // The next read is refused again, and has nothing to lose.
            Some(_) => Ok([0; 3]),
        }
    }

    /// Waits for the first that is rung, and takes it with those that were rung together with it.
    async fn wait(&self, room: usize, timeout: Duration) -> Result<Vec<Id>, QueueError> {
        let mut pop = cmd("BLMPOP");
        pop.arg(timeout.as_secs_f64()).arg(self.lists.len()).arg(&self.lists).arg("LEFT").arg("COUNT").arg(room.max(1));
        let answer: Option<(String, Vec<Vec<u8>>)> = self.connection.ask_one(pop).await?;
        Ok(answer.map(|(_, elements)| tasks(&elements).collect()).unwrap_or_default())
    }
}

fn tasks(elements: &[Vec<u8>]) -> impl Iterator<Item = Id> {
    elements.iter().filter_map(|element| Some(Element::from_bytes(element)?.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_an_id_and_a_time() {
        let element = Element { id: Id::of_name("task"), rung_at: Timestamp::from_micros(1_764_271_204_000_001) };
        let bytes = element.to_bytes();
        assert_eq!(Element::from_bytes(&bytes), Some(element));
        for strange in [&b""[..], &bytes[..16], &bytes[..23], &[bytes.as_slice(), b"x"].concat()] {
            assert_eq!(Element::from_bytes(strange), None);
        }
    }
}
