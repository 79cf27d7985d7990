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
use recado_queue::ring::{Listener, QueueError, Ring};
use recado_queue::tasks::{self, Claimed};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::layer::util::Identity;
use tower::limit::ConcurrencyLimitLayer;

use crate::READ_TIMEOUT;
use crate::completer::Completer;
use crate::gate::Gate;
use crate::in_flight::{InFlight, Reserved};
use crate::run::Runner;

/// What a lane needs to work.
pub(crate) struct LaneWorker {
    pub(crate) context: Context,
    pub(crate) lane: Lane,
    /// Jobs at once.
    pub(crate) slots: usize,
    pub(crate) worker: String,
    pub(crate) engine: Engine,
    /// Whether tasks may be taken now.
    pub(crate) gate: Arc<Gate>,
    /// Where tasks under suspicion go.
    pub(crate) suspects: mpsc::Sender<Claimed>,
}

/// What runs a claimed task, in all lanes alike.
#[derive(Clone)]
pub(crate) struct Engine {
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
        .build(move |task| handle(task, lane.engine.clone()));
    // The box keeps the layers' types out of this function's own.
    if let Err(error) = worker.run().boxed().await {
        let reason = explain(&error);
        tracing::error!(lane = name.as_str(), error = %reason, "lane {name} has ended: {reason}");
    }
    let _ = reader.await;
}

/// What apalis calls for each task. It never fails: how a task ends is written in the ledger.
fn handle(task: Claimed, engine: Engine) -> BoxFuture<'static, Result<(), Infallible>> {
    engine.run(task).map(Ok).boxed()
}

impl Engine {
    /// Runs a claim to its end, which the completer writes.
    pub(crate) async fn run(self, task: Claimed) {
        // A claim that was lost while it waited belongs to another worker now.
        let Some(lost) = self.in_flight.start(&task, self.runner.now()) else { return };
        if let Some(completion) = lost.run_until_cancelled(self.runner.run(task)).await {
            self.completer.submit(completion).await;
        }
    }
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
///
/// The bell may be silent because nothing was rung, and because rings are lost: it was flushed, it is another server, or no process
/// could ring. So a reader that hears nothing looks into the ledger too, now and then; and while the bell is out of order, that
/// is how it works (docs/adr/0012-an-idle-reader-looks-into-the-ledger.md).
struct Reader {
    lane: Arc<LaneWorker>,
    listener: Option<Listener>,
    claims: JoinSet<db::Result<()>>,
    claimed: mpsc::Sender<Claimed>,
    bell: Bell,
    looked_at: Option<Instant>,
    /// There is more in the ledger: the last look found as much as there was room for, or what was read could neither be claimed nor
    /// rung again.
    is_behind: bool,
}

/// So many batches of a lane are claimed at the same time.
const MAX_CONCURRENT_CLAIMS: usize = 2;

/// How often a reader that hears nothing looks for tasks whose rings are lost. A message that is late for that reason is so by
/// no more than this, the look of a reader that has just begun to wait, and its claim: less than five seconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Reader {
    fn new(lane: Arc<LaneWorker>, claimed: mpsc::Sender<Claimed>) -> Self {
        let claims = JoinSet::new();
        Self { lane, listener: None, claims, claimed, bell: Bell::default(), looked_at: None, is_behind: false }
    }

    /// Until `stop`, and never more than can be started within about a second.
    async fn read(mut self, stop: CancellationToken) {
        let (in_flight, lane) = (self.lane.engine.in_flight.clone(), self.lane.lane);
        let mut pace = Pace::new(self.lane.slots);
        let mut failures = 0;
        while !stop.is_cancelled() {
            if !self.lane.gate.is_open(lane) {
                let _ = stop.run_until_cancelled(self.lane.gate.opened(lane)).await;
                continue;
            }
            let room = pace.room(in_flight.in_lane(lane), in_flight.finished(lane), Instant::now());
            if room == 0 {
                let _ = stop.run_until_cancelled(in_flight.changed(lane)).await;
                continue;
            }
            match self.take(room, &stop).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    let reason = explain(&error);
                    tracing::warn!(lane = lane.as_str(), error = %reason, failures, "lane {lane} takes no tasks: {reason}");
                    let _ = stop.run_until_cancelled(tokio::time::sleep(backoff(failures))).await;
                }
            }
        }
        self.end().await;
    }

    /// Has the rows of what was rung claimed, and looks for what waits without a ring when it is time.
    async fn take(&mut self, room: usize, stop: &CancellationToken) -> Result<(), ReadError> {
        let mut left = room;
        if self.bell.is_asked(Instant::now()) {
            match self.read_once(room, stop).await {
                Ok(rung) => {
                    self.bell.works();
                    left -= rung.min(room);
                }
                Err(ReadError::Queue(error)) => self.bell.failed(self.lane.lane, &error, Instant::now()),
                Err(error) => return Err(error),
            }
            self.lane.context.health.notice("queue", !self.bell.is_out_of_order());
        }
        if stop.is_cancelled() {
            return Ok(());
        }
        if !self.lane.gate.is_open(self.lane.lane) {
            return Ok(());
        }
        let is_silent = left == room || self.is_behind;
        let is_due = self.is_behind || self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if left > 0 && is_silent && (is_due || self.bell.is_out_of_order()) {
            self.look(left).await?;
        }
        if !self.is_behind
            && let Some(wait) = self.bell.wait(Instant::now())
        {
            let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
        Ok(())
    }

    /// Claims what waits in the ledger, at most `room`.
    async fn look(&mut self, room: usize) -> Result<(), ReadError> {
        self.looked_at = Some(Instant::now());
        let _reserved = self.lane.engine.in_flight.reserve(self.lane.lane, room);
        let found = self.lane.claim_waiting(room, &self.claimed).await?;
        self.is_behind = found == room;
        if found > 0 {
            let lane = self.lane.lane;
            metrics::counter!("recado_worker_found_total").increment(found as u64);
            tracing::info!(lane = lane.as_str(), tasks = found, "{found} tasks of {lane} waited without a ring");
        }
        Ok(())
    }

    /// Reads one batch and sets off its claim; returns how many ids it had. Returns when another may be read.
    async fn read_once(&mut self, room: usize, stop: &CancellationToken) -> Result<usize, ReadError> {
        let listener = match &mut self.listener {
            Some(listener) => listener,
            none => none.insert(self.lane.context.queue.listen(self.lane.lane)),
        };
        // A stop does not interrupt the read: Redis may have answered already, and what it gave would stay with a reader
        // that is gone until another looks into the ledger.
        let timeout = if self.is_behind { Duration::ZERO } else { READ_TIMEOUT };
        let ids = listener.read(room, timeout).await?;
        let rung = ids.len();
        if rung == 0 {
            self.settle(0).await?;
            return Ok(0);
        }
        // What was rung while it waited is left to others, or to later.
        if stop.is_cancelled() || !self.lane.gate.is_open(self.lane.lane) {
            let given_back = self.give_back(&ids).await;
            self.is_behind |= given_back.is_err();
            return given_back.map(|()| rung);
        }
        // The next read may wait for a ring: so nothing is left unsettled before that.
        let most_under_way = if rung < room { 0 } else { MAX_CONCURRENT_CLAIMS - 1 };
        let reserved = self.lane.engine.in_flight.reserve(self.lane.lane, rung);
        // From here on a stop does not interrupt: what is claimed must reach the registry.
        self.claims.spawn(self.lane.clone().claim(ids, reserved, self.claimed.clone()));
        self.settle(most_under_way).await?;
        Ok(rung)
    }

    /// Rings again for what was read while the worker was told to stop, or to take nothing from the lane. Which priority each had is no longer known.
    async fn give_back(&self, ids: &[Id]) -> Result<(), ReadError> {
        let ring = |id: &Id| Ring { id: *id, lane: self.lane.lane, priority: Priority::Default };
        let rings: Vec<Ring> = ids.iter().map(ring).collect();
        Ok(self.lane.context.queue.ring(&rings).await?)
    }

    /// Looks after the claims that have ended, and waits until no more than `most` are under way.
    async fn settle(&mut self, most: usize) -> Result<(), ReadError> {
        while let Some(ended) =
            if self.claims.len() > most { self.claims.join_next().await } else { self.claims.try_join_next() }
        {
            // What could not be claimed waits in the ledger, and its ring is gone.
            let claimed = ended.map_err(ReadError::from).and_then(|claimed| Ok(claimed?));
            self.is_behind |= claimed.is_err();
            claimed?;
        }
        Ok(())
    }

    /// Sees the last claims through.
    async fn end(mut self) {
        while let Err(error) = self.settle(0).await {
            let reason = explain(&error);
            tracing::warn!(lane = self.lane.lane.as_str(), error = %reason, "a last batch could not be claimed: {reason}");
        }
    }
}

/// Whether the bell of a lane works, and when it is asked again.
#[derive(Default)]
struct Bell {
    failures: u32,
    asked_again_at: Option<Instant>,
}

impl Bell {
    fn is_out_of_order(&self) -> bool {
        self.failures > 0
    }

    fn is_asked(&self, now: Instant) -> bool {
        self.wait(now).is_none()
    }

    /// How long it is left alone.
    fn wait(&self, now: Instant) -> Option<Duration> {
        self.asked_again_at.map(|at| at.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    fn works(&mut self) {
        *self = Self::default();
    }

    /// Says so at the first, second, fourth, eighth … time.
    fn failed(&mut self, lane: Lane, error: &QueueError, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.asked_again_at = Some(now + backoff(self.failures));
        let failures = self.failures;
        if failures.is_power_of_two() {
            let reason = explain(error);
            tracing::warn!(
                lane = lane.as_str(), error = %reason, failures,
                "lane {lane} hears no rings and looks for its tasks in the ledger: {reason}"
            );
        }
    }
}

impl LaneWorker {
    /// Claims rows and hands them over.
    async fn claim(
        self: Arc<Self>,
        ids: Vec<Id>,
        reserved: Reserved,
        claimed: mpsc::Sender<Claimed>,
    ) -> db::Result<()> {
        let tasks = claim(&self.context, self.lane, &ids, &self.worker).await?;
        self.hand_over(tasks, Some(reserved), &claimed).await;
        Ok(())
    }

    /// Claims rows without their rings and hands them over. Returns how many.
    async fn claim_waiting(&self, room: usize, claimed: &mpsc::Sender<Claimed>) -> db::Result<usize> {
        let (now, lease) = (self.context.clock.now(), self.context.config.worker.lease);
        let limit = i64::try_from(room).unwrap_or(i64::MAX);
        let mut session = self.context.db.write().await?;
        let tasks = tasks::claim_waiting(&mut session, self.lane, limit, &self.worker, now, lease).await?;
        session.commit().await?;
        let found = tasks.len();
        self.hand_over(tasks, None, claimed).await;
        Ok(found)
    }

    async fn hand_over(&self, tasks: Vec<Claimed>, reserved: Option<Reserved>, claimed: &mpsc::Sender<Claimed>) {
        self.engine.in_flight.take(self.lane, tasks.iter().map(|task| (task.id, task.attempt)));
        drop(reserved);
        for task in tasks {
            // The channels have room for all that may be in flight, so this does not wait.
            let to = if task.suspect_group > 0 { &self.suspects } else { claimed };
            let _ = to.send(task).await;
        }
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
    Queue(#[from] QueueError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Panic(#[from] JoinError),
}

/// 0.1 s, 0.2 s, 0.4 s, … at most 1 s.
fn backoff(failures: u32) -> Duration {
    Duration::from_millis(100 * 2_u64.pow(failures.saturating_sub(1).min(4))).min(Duration::from_secs(1))
}

/// No lane has more in flight than this, however fast its jobs are.
pub(crate) const MAX_IN_FLIGHT: usize = 8_000;

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

/// A lane of which no rate is known, because it begins, does not wait so long for its first one when it has finished so many jobs for
/// each slot. They count as if they had taken the whole time.
const FIRST_RATE_AFTER: usize = 4;

impl Pace {
    fn new(slots: usize) -> Self {
        Self { slots, rate: 0.0, finished: 0, since: None }
    }

    /// How many more tasks to read now. When jobs are fast, small rooms are let grow first: one statement for many.
    fn room(&mut self, in_flight: usize, finished: usize, now: Instant) -> usize {
        self.finished += finished;
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        let is_first = self.rate == 0.0 && self.finished >= FIRST_RATE_AFTER * self.slots;
        if elapsed >= RATE_INTERVAL || is_first {
            let measured = self.finished as f64 / elapsed.max(RATE_INTERVAL).as_secs_f64();
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
    fn a_lane_that_begins_with_fast_jobs_notices_early() {
        let start = Instant::now();
        let mut pace = Pace::new(10);
        pace.room(0, 0, start);
        assert_eq!(pace.room(0, 39, start + Duration::from_millis(5)), 10);
        assert_eq!(pace.room(0, 1, start + Duration::from_millis(6)), 800, "as if it had taken them 50 ms");
        assert_eq!(pace.room(0, 100, start + Duration::from_millis(12)), 800);
    }

    #[test]
    fn a_bell_that_failed_is_left_alone_for_a_while() {
        let (mut bell, now) = (Bell::default(), Instant::now());
        assert!(bell.is_asked(now) && !bell.is_out_of_order());
        bell.failed(recado_queue::lanes::SYNC, &QueueError::Silent, now);
        assert!(!bell.is_asked(now) && bell.is_out_of_order());
        assert!(bell.is_asked(now + backoff(1)) && bell.is_out_of_order(), "it is asked whether it works again");
        bell.works();
        assert!(bell.is_asked(now) && !bell.is_out_of_order());
    }

    #[test]
    fn the_wait_grows_with_every_failure() {
        assert_eq!([1, 2, 3, 9].map(backoff), [100, 200, 400, 1_000].map(Duration::from_millis));
    }
}
