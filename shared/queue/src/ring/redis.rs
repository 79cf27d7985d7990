//! The bell on Redis Streams, with plain commands of Redis 7 (Valkey and a Cluster do as well).
//!
//! A lane has three streams, one per priority, in one hash slot; each has the consumer group [`GROUP`]. An entry carries 16
//! bytes: the task's id. An entry is deleted as soon as the row is claimed, so Redis holds what is waiting now and no more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::streams::{StreamAutoClaimReply, StreamInfoConsumersReply, StreamInfoGroupsReply, StreamRangeReply};
use redis::{AsyncConnectionConfig, Client, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, cmd, pipe};

use super::{Batch, QueueError, Ring};
use crate::lanes::{Lane, Priority, shares};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;

const GROUP: &str = "workers";

/// The one field of an entry.
const TASK: &str = "t";

/// An entry that was read this long ago and is still there belongs to a reader that died between read and claim.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// How often a reader looks for such entries.
const TAKE_OVER_EVERY: Duration = Duration::from_secs(30);

/// Longer than any reader waits.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// A ring that takes longer is given up: callers wait for it, and the ledger knows what was to be rung.
const RING_WITHIN: Duration = Duration::from_millis(250);

/// After that, no caller waits for Redis again for this long.
const SPARED_FOR: Duration = Duration::from_secs(2);

/// A consumer that has not asked for this long is gone.
const FORGET_CONSUMER_AFTER: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub struct RedisQueue {
    client: Client,
    connection: ConnectionManager,
    lanes: Arc<[Lane]>,
    /// Rings are spared until then, because Redis did not answer.
    spared_until: Arc<Mutex<Option<Instant>>>,
}

fn stream(lane: Lane, priority: Priority) -> String {
    format!("recado:{{{lane}}}:{}", priority.as_str())
}

fn streams(lane: Lane) -> [String; 3] {
    Priority::ALL.map(|priority| stream(lane, priority))
}

impl RedisQueue {
    /// Does not wait for the server: a request is safe without it, and it may come later.
    pub(super) async fn connect(url: &str, lanes: Vec<Lane>) -> Result<Self, QueueError> {
        let client = Client::open(url)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(Duration::from_secs(2)))
            .set_max_delay(Duration::from_secs(1));
        let connection = client.get_connection_manager_lazy(config)?;
        Ok(Self { client, connection, lanes: lanes.into(), spared_until: Arc::default() })
    }

    pub(super) async fn ring(&self, rings: &[Ring]) -> Result<(), QueueError> {
        let mut pipeline = pipe();
        for ring in rings {
            pipeline
                .cmd("XADD")
                .arg(stream(ring.lane, ring.priority))
                .arg("*")
                .arg(TASK)
                .arg(ring.id.as_bytes().as_slice())
                .ignore();
        }
        let spared_until = *self.spared_until.lock().unwrap_or_else(PoisonError::into_inner);
        if spared_until.is_some_and(|until| Instant::now() < until) {
            return Err(QueueError::Silent);
        }
        let mut connection = self.connection.clone();
        let rung = tokio::time::timeout(RING_WITHIN, pipeline.exec_async(&mut connection)).await;
        let rung = rung.map_or(Err(QueueError::Silent), |rung| Ok(rung?));
        if rung.is_err() {
            let until = Some(Instant::now() + SPARED_FOR);
            *self.spared_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        }
        rung
    }

    pub(super) async fn listen(&self, lane: Lane, consumer: &str) -> Result<Listener, QueueError> {
        Ok(Listener {
            client: self.client.clone(),
            connection: None,
            streams: streams(lane),
            consumer: consumer.to_owned(),
            turn: 0,
            released: Entries::default(),
            took_over: None,
        })
    }

    pub(super) async fn oldest_waiting(&self, lane: Lane) -> Result<Option<Timestamp>, QueueError> {
        let mut connection = self.connection.clone();
        let mut oldest = None;
        for stream in streams(lane) {
            let first = match self.last_delivered(&stream).await? {
                Some(last) => format!("({last}"),
                None => "-".to_owned(),
            };
            let reply: StreamRangeReply =
                cmd("XRANGE").arg(&stream).arg(first).arg("+").arg("COUNT").arg(1).query_async(&mut connection).await?;
            let rung_at = reply.ids.first().and_then(|entry| time_of(&entry.id));
            oldest = [oldest, rung_at].into_iter().flatten().min();
        }
        Ok(oldest)
    }

    /// The last entry that the group has handed out; `None` without a stream or a group.
    async fn last_delivered(&self, stream: &str) -> Result<Option<String>, QueueError> {
        let groups: RedisResult<StreamInfoGroupsReply> =
            cmd("XINFO").arg("GROUPS").arg(stream).query_async(&mut self.connection.clone()).await;
        match groups {
            Ok(reply) => {
                Ok(reply.groups.into_iter().find(|group| group.name == GROUP).map(|group| group.last_delivered_id))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn depths(&self) -> Result<Vec<(Lane, u64)>, QueueError> {
        let mut pipeline = pipe();
        for lane in self.lanes.iter() {
            for stream in streams(*lane) {
                pipeline.cmd("XLEN").arg(stream);
            }
        }
        let lengths: Vec<u64> = pipeline.query_async(&mut self.connection.clone()).await?;
        Ok(self.lanes.iter().copied().zip(lengths.chunks(3).map(|three| three.iter().sum())).collect())
    }

    pub(super) async fn forget_idle_consumers(&self) -> Result<(), QueueError> {
        let mut connection = self.connection.clone();
        for stream in self.lanes.iter().copied().flat_map(streams) {
            let consumers: RedisResult<StreamInfoConsumersReply> =
                cmd("XINFO").arg("CONSUMERS").arg(&stream).arg(GROUP).query_async(&mut connection).await;
            let consumers = match consumers {
                Ok(reply) => reply.consumers,
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let gone = consumers
                .into_iter()
                .filter(|consumer| consumer.pending == 0 && consumer.idle as u128 > FORGET_CONSUMER_AFTER.as_millis());
            for consumer in gone {
                let delete = cmd("XGROUP").arg("DELCONSUMER").arg(&stream).arg(GROUP).arg(&consumer.name).to_owned();
                delete.exec_async(&mut connection).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn can_write(&self) -> Result<(), QueueError> {
        let write = cmd("SET").arg("recado:health").arg(1).arg("PX").arg(60_000).to_owned();
        Ok(write.exec_async(&mut self.connection.clone()).await?)
    }

    pub(super) async fn ping(&self) -> Result<Duration, QueueError> {
        let asked = Instant::now();
        cmd("PING").exec_async(&mut self.connection.clone()).await?;
        Ok(asked.elapsed())
    }
}

/// The ids of entries, per stream.
pub(super) type Entries = [Vec<String>; 3];

/// What `XREADGROUP` answers: for each stream that has any, its entries, each with its field and that field's value.
type Reply = Vec<(String, Vec<(String, Vec<Vec<u8>>)>)>;

/// Reads one lane over a connection of its own, since a blocking read would hold every other command up.
pub struct Listener {
    client: Client,
    connection: Option<MultiplexedConnection>,
    streams: [String; 3],
    consumer: String,
    /// Counts the places given out, so that the priorities' shares hold over many small reads.
    turn: usize,
    /// Entries that have done their work and are still in the stream.
    released: Entries,
    took_over: Option<Instant>,
}

impl Listener {
    pub(super) async fn read(&mut self, room: usize, timeout: Duration) -> Result<Batch, QueueError> {
        let read = self.read_some(room, timeout).await;
        if let Err(QueueError::Redis(error)) = &read {
            if error.code() == Some("NOGROUP") {
                self.create_groups().await?;
                return self.read_some(room, timeout).await;
            }
            self.connection = None;
        }
        read
    }

    async fn read_some(&mut self, room: usize, timeout: Duration) -> Result<Batch, QueueError> {
        let mut batch = self.take_over_abandoned(room).await?;
        let room = room - batch.ids.len();
        self.turn = self.turn.wrapping_add(room);
        let first = shares(room, self.turn);
        let found = self.read_now(first, &mut batch).await?;
        if batch.ids.is_empty() && !timeout.is_zero() {
            self.read_blocking(room, timeout, &mut batch).await?;
            return Ok(batch);
        }
        // What the others leave, a stream that has more may take.
        for stream in (0..3).filter(|stream| found[*stream] == first[*stream]) {
            let mut rest = [0; 3];
            rest[stream] = room.saturating_sub(batch.ids.len());
            self.read_now(rest, &mut batch).await?;
        }
        Ok(batch)
    }

    /// Reads what is there, so many from each stream; returns how many each had. The same round trip deletes the entries
    /// whose rows have been claimed.
    async fn read_now(&mut self, shares: [usize; 3], batch: &mut Batch) -> Result<[usize; 3], QueueError> {
        let mut found = [0; 3];
        let wanted: Vec<usize> = (0..3).filter(|stream| shares[*stream] > 0).collect();
        if wanted.is_empty() {
            return Ok(found);
        }
        let mut pipeline = self.deletion();
        for stream in &wanted {
            pipeline.add_command(self.read_group(&[*stream], shares[*stream], None));
        }
        let replies: Vec<Option<Reply>> = pipeline.query_async(&mut self.connection().await?).await?;
        for (stream, reply) in wanted.into_iter().zip(replies) {
            let before = batch.ids.len();
            self.keep(reply, batch);
            found[stream] = batch.ids.len() - before;
        }
        Ok(found)
    }

    async fn read_blocking(&mut self, room: usize, timeout: Duration, batch: &mut Batch) -> Result<(), QueueError> {
        let command = self.read_group(&[0, 1, 2], (room / 3).max(1), Some(timeout));
        let reply: Option<Reply> = command.query_async(&mut self.connection().await?).await?;
        self.keep(reply, batch);
        Ok(())
    }

    fn read_group(&self, streams: &[usize], count: usize, block: Option<Duration>) -> redis::Cmd {
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(&self.consumer).arg("COUNT").arg(count);
        if let Some(timeout) = block {
            command.arg("BLOCK").arg(timeout.as_millis().max(1) as u64);
        }
        command.arg("STREAMS");
        for stream in streams {
            command.arg(&self.streams[*stream]);
        }
        for _ in streams {
            command.arg(">");
        }
        command
    }

    /// Entries of readers that died between read and claim. Their rows may long be done; the claim will tell.
    async fn take_over_abandoned(&mut self, room: usize) -> Result<Batch, QueueError> {
        let mut batch = Batch::default();
        if self.took_over.is_some_and(|at| at.elapsed() < TAKE_OVER_EVERY) {
            return Ok(batch);
        }
        self.took_over = Some(Instant::now());
        for stream in 0..3 {
            let left = room - batch.ids.len();
            if left == 0 {
                break;
            }
            let mut command = cmd("XAUTOCLAIM");
            command.arg(&self.streams[stream]).arg(GROUP).arg(&self.consumer).arg(ABANDONED_AFTER.as_millis() as u64);
            command.arg("0").arg("COUNT").arg(left.min(1000));
            let reply: StreamAutoClaimReply = command.query_async(&mut self.connection().await?).await?;
            for entry in reply.claimed {
                batch.add(stream, entry.get::<Vec<u8>>(TASK).as_deref(), entry.id);
            }
        }
        Ok(batch)
    }

    fn keep(&self, reply: Option<Reply>, batch: &mut Batch) {
        for (name, entries) in reply.into_iter().flatten() {
            let Some(stream) = self.streams.iter().position(|stream| *stream == name) else { continue };
            for (entry, fields) in entries {
                batch.add(stream, fields.get(1).map(Vec::as_slice), entry);
            }
        }
    }

    /// The next read deletes these entries.
    pub(super) fn release(&mut self, entries: Entries) {
        for (released, mut entries) in self.released.iter_mut().zip(entries) {
            released.append(&mut entries);
        }
    }

    /// For a reader that reads no more: deletes what is released.
    pub(super) async fn close(&mut self) -> Result<(), QueueError> {
        let pipeline = self.deletion();
        if pipeline.is_empty() {
            return Ok(());
        }
        Ok(pipeline.exec_async(&mut self.connection().await?).await?)
    }

    fn deletion(&mut self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        for (stream, entries) in self.streams.iter().zip(&mut self.released) {
            if !entries.is_empty() {
                pipeline.cmd("XACK").arg(stream).arg(GROUP).arg(&*entries).ignore();
                pipeline.cmd("XDEL").arg(stream).arg(&*entries).ignore();
                entries.clear();
            }
        }
        pipeline
    }

    /// From the beginning of the stream: what was rung before the first worker came is read too.
    async fn create_groups(&mut self) -> Result<(), QueueError> {
        for stream in self.streams.clone() {
            let mut create = cmd("XGROUP");
            create.arg("CREATE").arg(stream).arg(GROUP).arg("0").arg("MKSTREAM");
            match create.exec_async(&mut self.connection().await?).await {
                Err(error) if error.code() != Some("BUSYGROUP") => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn connection(&mut self) -> Result<MultiplexedConnection, RedisError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        // A blocking read takes as long as its timeout; a server that does not answer for longer is gone.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(LONGEST_SILENCE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(self.connection.insert(connection).clone())
    }
}

impl Batch {
    /// An entry that holds no id is kept too, so that it is deleted with the others.
    fn add(&mut self, stream: usize, task: Option<&[u8]>, entry: String) {
        self.ids.extend(task.and_then(Id::from_slice));
        self.entries[stream].push(entry);
    }
}

/// The stream or its group does not exist (yet, or since a `FLUSHALL`).
fn is_missing(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ResponseError))
        && error.to_string().contains("no such key")
        || error.code() == Some("NOGROUP")
}

/// The milliseconds in front of an entry's id.
fn time_of(entry: &str) -> Option<Timestamp> {
    let millis: i64 = entry.split('-').next()?.parse().ok()?;
    Some(Timestamp::from_micros(millis.saturating_mul(1000)))
}
