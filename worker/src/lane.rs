//! One lane of a worker: its reader, and the apalis worker that runs what the reader claims.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use apalis::prelude::{ParallelizeExt, WorkerBuilder};
use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::worker::context::WorkerContext;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::db;
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::lanes::{Lane, Priority};
use recado_queue::ring::{Batch, Listener, Ring};
use recado_queue::tasks::{self, Claimed};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::layer::util::Identity;
use tower::limit::ConcurrencyLimitLayer;

use crate::READ_TIMEOUT;
use crate::completer::Completer;
use crate::in_flight::{InFlight, Reserved};
use crate::run::Runner;

/// What a lane needs to work.
pub(crate) struct LaneWorker {
    pub(crate) context: Context,
    pub(crate) lane: Lane,
    /// Jobs at once.
    pub(crate) slots: usize,
    pub(crate) worker: String,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) completer: Completer,
}

/// Serves the lane until `stop`, and ends when everything that was claimed has run.
pub(crate) async fn serve(lane: LaneWorker, stop: CancellationToken) {
    let (claimed, tasks) = mpsc::channel(MAX_IN_FLIGHT);
    let (name, lane) = (lane.lane, Arc::new(lane));
    let reader = tokio::spawn(Reader::new(lane.clone(), claimed).read(stop));
    let worker = WorkerBuilder::new(name.as_str())
        .backend(ClaimedTasks { tasks, config: () })
        .layer(ConcurrencyLimitLayer::new(lane.slots))
        .parallelize(|running| tokio::spawn(running))
        .build(move |task| handle(task, lane.clone()));
    // The box keeps the layers' types out of this function's own.
    if let Err(error) = worker.run().boxed().await {
        tracing::error!(lane = name.as_str(), %error, "lane {name} has ended: {error}");
    }
    let _ = reader.await;
}

/// What apalis calls for each task. It never fails: how a task ends is written in the ledger.
fn handle(task: Claimed, lane: Arc<LaneWorker>) -> BoxFuture<'static, Result<(), Infallible>> {
    async move {
        // A claim that was lost while it waited belongs to another worker now.
        let Some(lost) = lane.in_flight.start(task.id, task.attempt) else { return Ok(()) };
        if let Some(completion) = lost.run_until_cancelled(lane.runner.run(task)).await {
            lane.completer.submit(completion).await;
        }
        Ok(())
    }
    .boxed()
}

/// apalis' view of the queue: tasks that are claimed already.
///
/// The reader stands in front of it and absorbs all errors of Redis and the database, because an error of the backend
/// would end the apalis worker.
struct ClaimedTasks {
    tasks: mpsc::Receiver<Claimed>,
    config: (),
}

impl Backend for ClaimedTasks {
    type Task = Task<Claimed>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut TaskContext<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<Claimed>, Infallible>>> {
        self.tasks.poll_recv(cx).map(|claimed| claimed.map(|claimed| Ok(Task::new(claimed))))
    }

    /// The reader has ended and every task has run. apalis goes home only when it is told.
    fn poll_close(&mut self, _: &mut TaskContext<'_>, worker: &WorkerContext) -> Poll<Result<(), Infallible>> {
        let _ = worker.stop();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for ClaimedTasks {
    type Args = Claimed;
    type Id = ();
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &self.config
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// Reads rings and has their rows claimed. While the database works on one batch, the next is read.
struct Reader {
    lane: Arc<LaneWorker>,
    listener: Option<Listener>,
    /// Each answers with its batch, whose entries have then done their work.
    claims: JoinSet<db::Result<Batch>>,
    claimed: mpsc::Sender<Claimed>,
}

/// So many batches of a lane are claimed at the same time.
const MAX_CONCURRENT_CLAIMS: usize = 2;

impl Reader {
    fn new(lane: Arc<LaneWorker>, claimed: mpsc::Sender<Claimed>) -> Self {
        Self { lane, listener: None, claims: JoinSet::new(), claimed }
    }

    /// Until `stop`, and never more than can be started within about a second.
    async fn read(mut self, stop: CancellationToken) {
        let (in_flight, lane) = (self.lane.in_flight.clone(), self.lane.lane);
        let mut pace = Pace::new(self.lane.slots);
        let mut failures = 0;
        while !stop.is_cancelled() {
            let room = pace.room(in_flight.in_lane(lane), in_flight.finished(lane), Instant::now());
            if room == 0 {
                let _ = stop.run_until_cancelled(in_flight.changed(lane)).await;
                continue;
            }
            match self.read_once(room, &stop).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    let error = explain(&error);
                    tracing::warn!(lane = lane.as_str(), error, failures, "lane {lane} cannot be read: {error}");
                    let _ = stop.run_until_cancelled(tokio::time::sleep(backoff(failures))).await;
                }
            }
        }
        self.end().await;
    }

    /// Reads one batch and sets off its claim. Returns when another may be read.
    async fn read_once(&mut self, room: usize, stop: &CancellationToken) -> Result<(), ReadError> {
        let listener = match &mut self.listener {
            Some(listener) => listener,
            none => none.insert(self.lane.context.queue.listen(self.lane.lane, &self.lane.worker).await?),
        };
        // A stop does not interrupt the read: Redis may have answered already, and what it gave would stay with a reader
        // that is gone until another takes it over, a minute later.
        let batch = listener.read(room, READ_TIMEOUT).await?;
        if batch.ids.is_empty() {
            listener.release(batch);
            return self.settle(0).await;
        }
        if stop.is_cancelled() {
            return self.give_back(batch).await;
        }
        // The next read may wait for a ring, and takes what is released with it: so nothing is left unsettled before that.
        let most_under_way = if batch.ids.len() < room { 0 } else { MAX_CONCURRENT_CLAIMS - 1 };
        let reserved = self.lane.in_flight.reserve(self.lane.lane, batch.ids.len());
        // From here on a stop does not interrupt: what is claimed must reach the registry.
        self.claims.spawn(self.lane.clone().claim(batch, reserved, self.claimed.clone()));
        self.settle(most_under_way).await
    }

    /// Rings again for what was read while the worker was told to stop. Which priority each had is no longer known.
    async fn give_back(&mut self, batch: Batch) -> Result<(), ReadError> {
        let ring = |id: &Id| Ring { id: *id, lane: self.lane.lane, priority: Priority::Default };
        let rings: Vec<Ring> = batch.ids.iter().map(ring).collect();
        self.lane.context.queue.ring(&rings).await?;
        if let Some(listener) = &mut self.listener {
            listener.release(batch);
        }
        Ok(())
    }

    /// Looks after the claims that have ended, and waits until no more than `most` are under way.
    async fn settle(&mut self, most: usize) -> Result<(), ReadError> {
        while let Some(ended) =
            if self.claims.len() > most { self.claims.join_next().await } else { self.claims.try_join_next() }
        {
            // What could not be claimed is not released, and so comes back.
            let batch = ended??;
            if let Some(listener) = &mut self.listener {
                listener.release(batch);
            }
        }
        Ok(())
    }

    /// Sees the last claims through.
    async fn end(mut self) {
        while let Err(error) = self.settle(0).await {
            tracing::warn!(lane = self.lane.lane.as_str(), %error, "a last batch could not be claimed: {error}");
        }
        if let Some(listener) = &mut self.listener {
            // What is left behind here, other readers take over and find done.
            let _ = listener.close().await;
        }
    }
}

impl LaneWorker {
    /// Claims the rows of a batch and hands them over.
    async fn claim(
        self: Arc<Self>,
        batch: Batch,
        reserved: Reserved,
        claimed: mpsc::Sender<Claimed>,
    ) -> db::Result<Batch> {
        let tasks = claim(&self.context, self.lane, &batch.ids, &self.worker).await?;
        self.in_flight.take(self.lane, tasks.iter().map(|task| (task.id, task.attempt)));
        drop(reserved);
        for task in tasks {
            // The channel has room for all that may be in flight, so this does not wait.
            let _ = claimed.send(task).await;
        }
        Ok(batch)
    }
}

pub(crate) async fn claim(context: &Context, lane: Lane, ids: &[Id], worker: &str) -> db::Result<Vec<Claimed>> {
    let mut session = context.db.write().await?;
    let claimed =
        tasks::claim(&mut session, lane, ids, worker, context.clock.now(), context.config.worker.lease).await?;
    session.commit().await?;
    Ok(claimed)
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Queue(#[from] recado_queue::ring::QueueError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Panic(#[from] JoinError),
}

/// 0.1 s, 0.2 s, 0.4 s, … at most 3 s.
fn backoff(failures: u32) -> Duration {
    Duration::from_millis(100 * 2_u64.pow(failures.saturating_sub(1).min(5))).min(Duration::from_secs(3))
}

/// No lane has more in flight than this, however fast its jobs are.
const MAX_IN_FLIGHT: usize = 8_000;

/// How much a lane may have in flight: its free slots when jobs are slow, what it finishes in a second when they are fast.
struct Pace {
    slots: usize,
    /// Finished per second, smoothed.
    rate: f64,
    finished: usize,
    since: Option<Instant>,
}

/// The rate is measured over at least this long.
const RATE_INTERVAL: Duration = Duration::from_millis(50);

impl Pace {
    fn new(slots: usize) -> Self {
        Self { slots, rate: 0.0, finished: 0, since: None }
    }

    /// How many more tasks to read now. When jobs are fast, small rooms are let grow first: one statement for many.
    fn room(&mut self, in_flight: usize, finished: usize, now: Instant) -> usize {
        self.finished += finished;
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= RATE_INTERVAL {
            let measured = self.finished as f64 / elapsed.as_secs_f64();
            self.rate = if measured > self.rate { measured } else { 0.5 * (self.rate + measured) };
            self.finished = 0;
            self.since = Some(now);
        }
        let most = (self.rate as usize).clamp(self.slots, MAX_IN_FLIGHT.max(self.slots));
        let room = most.saturating_sub(in_flight);
        if most > self.slots && room < most / 4 && in_flight > 0 { 0 } else { room }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_jobs_are_claimed_one_per_slot() {
        let start = Instant::now();
        let mut pace = Pace::new(10);
        assert_eq!(pace.room(0, 0, start), 10);
        assert_eq!(pace.room(9, 1, start + Duration::from_secs(2)), 1);
        assert_eq!(pace.room(10, 0, start + Duration::from_secs(4)), 0);
    }

    #[test]
    fn fast_jobs_are_claimed_in_batches() {
        let start = Instant::now();
        let mut pace = Pace::new(10);
        pace.room(0, 0, start);
        assert_eq!(pace.room(0, 5_000, start + Duration::from_secs(1)), 5_000);
        assert_eq!(pace.room(4_000, 0, start + Duration::from_secs(1)), 0, "a small room waits");
        assert_eq!(pace.room(1_000, 900, start + Duration::from_millis(1_200)), 3_750);
    }

    #[test]
    fn the_wait_grows_with_every_failure() {
        assert_eq!([1, 2, 3, 9].map(backoff), [100, 200, 400, 3_000].map(Duration::from_millis));
    }
}
