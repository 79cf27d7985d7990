//! One lane of a worker: its reader, and the apalis worker that runs what the reader claims.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use apalis::prelude::{Data, ParallelizeExt, WorkerBuilder};
use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::worker::context::WorkerContext;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_shared::context::Context;
use recado_shared::db;
use recado_shared::queue::{Lane, Listener};
use recado_shared::tasks::{self, Claimed};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::layer::util::Identity;
use tower::limit::ConcurrencyLimitLayer;

use crate::PATIENCE;
use crate::completer::Completer;
use crate::held::Held;
use crate::run::Runner;

/// What a lane needs to work.
pub(crate) struct LaneWorker {
    pub(crate) context: Context,
    pub(crate) lane: Lane,
    /// Jobs at once.
    pub(crate) slots: usize,
    pub(crate) worker: String,
    pub(crate) held: Arc<Held>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) completer: Completer,
}

/// Serves the lane until `stop`, and ends when everything that was claimed has run.
pub(crate) async fn serve(lane: LaneWorker, stop: CancellationToken) {
    let (claimed, tasks) = mpsc::channel(MOST_HELD);
    let lane = Arc::new(lane);
    let reader = tokio::spawn(lane.clone().read(claimed, stop));
    let worker = WorkerBuilder::new(lane.lane.as_str())
        .backend(ClaimedTasks { tasks, config: () })
        .data(lane.clone())
        .layer(ConcurrencyLimitLayer::new(lane.slots))
        .parallelize(|running| tokio::spawn(running))
        .build(handle);
    // The box keeps the layers' types out of this function's own.
    if let Err(error) = worker.run().boxed().await {
        tracing::error!(lane = lane.lane.as_str(), %error, "lane {} has ended: {error}", lane.lane);
    }
    let _ = reader.await;
}

/// What apalis calls for each task. It never fails: how a task ends is written in the ledger.
fn handle(task: Claimed, lane: Data<Arc<LaneWorker>>) -> BoxFuture<'static, Result<(), Infallible>> {
    async move {
        // A claim that was lost while it waited is somebody else's now.
        let Some(lost) = lane.held.start(task.id, task.attempt) else { return Ok(()) };
        if let Some(completion) = lost.run_until_cancelled(lane.runner.run(task)).await {
            lane.completer.submit(completion).await;
        }
        Ok(())
    }
    .boxed()
}

/// apalis' view of the queue: tasks that are claimed already.
///
/// The reader stands in front of it and absorbs all trouble with Redis and the database, because an error of the backend
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

impl LaneWorker {
    /// Reads rings and claims their rows, never more than can be started within about a second.
    async fn read(self: Arc<Self>, claimed: mpsc::Sender<Claimed>, stop: CancellationToken) {
        let mut listener = None;
        let mut pace = Pace::new(self.slots);
        let mut failures = 0;
        while !stop.is_cancelled() {
            let room = pace.room(self.held.in_lane(self.lane), self.held.finished(self.lane), Instant::now());
            if room == 0 {
                tokio::select! {
                    () = self.held.changed(self.lane) => {}
                    () = stop.cancelled() => {}
                }
                continue;
            }
            match self.read_once(&mut listener, room, &stop).await {
                Ok(tasks) => {
                    failures = 0;
                    for task in tasks {
                        // The channel has room for all that may be held, so this waits for nobody.
                        let _ = claimed.send(task).await;
                    }
                }
                Err(error) => {
                    listener = None;
                    failures += 1;
                    tracing::warn!(lane = self.lane.as_str(), %error, failures, "lane {} cannot be read: {error}", self.lane);
                    let _ = stop.run_until_cancelled(tokio::time::sleep(backoff(failures))).await;
                }
            }
        }
        if let Some(listener) = &mut listener {
            // What is left behind here, other readers take over and find done.
            let _ = listener.close().await;
        }
    }

    async fn read_once(
        &self,
        listener: &mut Option<Listener>,
        room: usize,
        stop: &CancellationToken,
    ) -> Result<Vec<Claimed>, ReadError> {
        let listener = match listener {
            Some(listener) => listener,
            None => listener.insert(self.context.queue.listen(self.lane, &self.worker).await?),
        };
        let ids = stop.run_until_cancelled(listener.read(room, PATIENCE)).await.transpose()?.unwrap_or_default();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // From here on a stop does not interrupt: what is claimed must reach the registry.
        let claimed = claim(&self.context, self.lane, &ids, &self.worker).await?;
        self.held.take(self.lane, claimed.iter().map(|task| (task.id, task.attempt)));
        listener.release();
        Ok(claimed)
    }
}

pub(crate) async fn claim(
    context: &Context,
    lane: Lane,
    ids: &[recado_shared::ids::Id],
    worker: &str,
) -> db::Result<Vec<Claimed>> {
    let mut session = context.db.begin().await?;
    let claimed =
        tasks::claim(&mut session, lane, ids, worker, context.clock.now(), context.config.worker.lease).await?;
    session.commit().await?;
    Ok(claimed)
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Queue(#[from] recado_shared::queue::QueueError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// 0.1 s, 0.2 s, 0.4 s, … at most 3 s.
fn backoff(failures: u32) -> Duration {
    Duration::from_millis(100 * 2_u64.pow(failures.saturating_sub(1).min(5))).min(Duration::from_secs(3))
}

/// No lane holds more than this, however fast its jobs are.
const MOST_HELD: usize = 8_000;

/// How much a lane may hold: its free slots when jobs are slow, what it finishes in a second when they are fast.
struct Pace {
    slots: usize,
    /// Finished per second, smoothed.
    rate: f64,
    finished: usize,
    since: Option<Instant>,
}

/// The rate is measured over at least this long.
const MEASURED_OVER: Duration = Duration::from_millis(50);

impl Pace {
    fn new(slots: usize) -> Self {
        Self { slots, rate: 0.0, finished: 0, since: None }
    }

    /// How many more tasks to read now. When jobs are fast, small rooms are let grow first: one statement for many.
    fn room(&mut self, held: usize, finished: usize, now: Instant) -> usize {
        self.finished += finished;
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= MEASURED_OVER {
            let measured = self.finished as f64 / elapsed.as_secs_f64();
            self.rate = if measured > self.rate { measured } else { 0.5 * (self.rate + measured) };
            self.finished = 0;
            self.since = Some(now);
        }
        let most = (self.rate as usize).clamp(self.slots, MOST_HELD.max(self.slots));
        let room = most.saturating_sub(held);
        if most > self.slots && room < most / 4 && held > 0 { 0 } else { room }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_jobs_are_held_one_per_slot() {
        let start = Instant::now();
        let mut pace = Pace::new(10);
        assert_eq!(pace.room(0, 0, start), 10);
        assert_eq!(pace.room(9, 1, start + Duration::from_secs(2)), 1);
        assert_eq!(pace.room(10, 0, start + Duration::from_secs(4)), 0);
    }

    #[test]
    fn fast_jobs_are_held_in_batches() {
        let start = Instant::now();
        let mut pace = Pace::new(10);
        pace.room(0, 0, start);
        assert_eq!(pace.room(0, 5_000, start + Duration::from_secs(1)), 5_000);
        assert_eq!(pace.room(4_000, 0, start + Duration::from_secs(1)), 0, "a small room waits");
        assert_eq!(pace.room(1_000, 900, start + Duration::from_millis(1_200)), 3_750);
    }

    #[test]
    fn trouble_is_waited_out_with_patience() {
        assert_eq!([1, 2, 3, 9].map(backoff), [100, 200, 400, 3_000].map(Duration::from_millis));
    }
}
