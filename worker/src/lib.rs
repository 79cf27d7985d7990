//! What happens: a worker takes tasks from its lanes, runs them, and writes down how they ended.
//!
//! ```text
//! reader (per lane): read rings ─► claim rows ─► apalis worker ─► run ─► completer: finish rows in batches, ring again
//!                                                                          heartbeat: renew the leases of all that is in flight
//! ```

mod channels;
pub mod cli;
mod completer;
mod drain;
mod gate;
mod in_flight;
mod jobs;
mod lane;
mod outbound;
mod registry;
mod run;
mod suspects;

use std::sync::Arc;
use std::time::Duration;

pub use channels::ProviderError;
pub use drain::{Drain, DrainError};
use recado_kernel::clock::Timestamp;
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::tasks::Claimed;
use recado_queue::{pauses, tasks, workers};
use sqlx::types::Json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::completer::Completer;
use crate::gate::Gate;
use crate::in_flight::InFlight;
use crate::lane::Engine;
use crate::run::Runner;
use crate::suspects::Suspects;

/// Which lanes a worker serves, and with how many jobs at once in each.
#[derive(Clone, Debug)]
pub struct Options {
    pub lanes: Vec<Lane>,
    /// Jobs at once, per lane.
    pub concurrency: usize,
}

impl From<&Context> for Options {
    /// All lanes.
    fn from(context: &Context) -> Self {
        Self { lanes: context.systems.lanes(), concurrency: context.config.worker.concurrency }
    }
}

/// A worker process.
pub struct Worker {
    context: Context,
    options: Options,
    /// This incarnation: host, process, and something random, so that a restart is never taken for its predecessor.
    name: String,
    started_at: Timestamp,
    in_flight: Arc<InFlight>,
    completer: Completer,
    runner: Arc<Runner>,
    gate: Arc<Gate>,
}

impl Worker {
    /// Sets up the providers; a setting that cannot work is an error now, and not with the first message.
    pub fn new(context: Context, options: Options) -> Result<Self, ProviderError> {
        let in_flight = Arc::new(InFlight::new(&options.lanes));
        let completer = Completer::spawn(&context, &in_flight);
        let runner = Arc::new(Runner::new(context.clone(), jobs::all(&context)?));
        let started_at = context.clock.now();
        let gate = Arc::new(Gate::new(context.clock.clone()));
        Ok(Self { name: incarnation(started_at), context, options, started_at, in_flight, completer, runner, gate })
    }

    /// Works until `stop`, then lets what runs finish for as long as the configuration says, and hands the rest back.
    pub async fn run(self, stop: CancellationToken) {
        tracing::info!(worker = self.name, lanes = ?self.options.lanes, "worker {} takes tasks", self.name);
        self.context.health.expect(HEARTBEAT, self.context.config.worker.lease);
        if stop.run_until_cancelled(self.prepare()).await.is_none() {
            return;
        }
        let mut lanes = JoinSet::new();
        let (suspects, claimed) = mpsc::channel(lane::MAX_IN_FLIGHT);
        for lane in &self.options.lanes {
            lanes.spawn(lane::serve(self.lane(*lane, suspects.clone()), stop.clone()));
        }
        drop(suspects);
        lanes.spawn(self.suspects().serve(claimed));
        if let Err(error) = jobs::watch_whatsapp(&self.context).await {
            let error = explain(&error);
            tracing::warn!(error, "the WhatsApp session is not watched by this worker's doing: {error}");
        }
        let worker = Arc::new(self);
        let silent = CancellationToken::new();
        let heartbeat = tokio::spawn(worker.clone().heartbeat(silent.clone()));

        stop.cancelled().await;
        let drained = tokio::time::timeout(worker.context.config.worker.drain, async {
            while lanes.join_next().await.is_some() {}
            worker.in_flight.empty().await;
        });
        if drained.await.is_err() {
            lanes.abort_all();
            // What has ended but is not written yet must not be handed back as if it had not.
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, worker.completer.flush()).await;
            worker.hand_back().await;
        }
        if tokio::time::timeout(FLUSH_TIMEOUT, worker.completer.flush()).await.is_err() {
            tracing::error!("the ledger cannot be written; the leases of what is unfinished will run out");
        }
        silent.cancel();
        let _ = heartbeat.await;
        worker.context.samples.write_or_keep(&worker.context.db, true).await;
        tracing::info!(worker = worker.name, "worker {} has stopped", worker.name);
    }

    /// Until it is done: without the database there is no task either.
    async fn prepare(&self) {
        while let Err(error) = jobs::prepare(&self.context).await {
            let reason = explain(&error);
            tracing::warn!(error = %reason, "the worker cannot begin yet: {reason}");
            tokio::time::sleep(PREPARE_AGAIN_AFTER).await;
        }
    }

    fn lane(&self, lane: Lane, suspects: mpsc::Sender<Claimed>) -> lane::LaneWorker {
        lane::LaneWorker {
            context: self.context.clone(),
            lane,
            slots: self.options.concurrency,
            worker: self.name.clone(),
            engine: self.engine(),
            gate: self.gate.clone(),
            suspects,
        }
    }

    fn suspects(&self) -> Suspects {
        Suspects {
            context: self.context.clone(),
            worker: self.name.clone(),
            slots: self.options.concurrency,
            engine: self.engine(),
        }
    }

    fn engine(&self) -> Engine {
        Engine { in_flight: self.in_flight.clone(), runner: self.runner.clone(), completer: self.completer.clone() }
    }

    /// Three times in the length of a lease: renews what is in flight, and says that this worker lives.
    async fn heartbeat(self: Arc<Self>, stop: CancellationToken) {
        let mut every = tokio::time::interval(self.context.config.worker.lease / 3);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            match self.beat().await {
                Ok(()) => self.context.health.done(HEARTBEAT),
                Err(error) => {
                    let reason = explain(&error);
                    tracing::warn!(error = %reason, "the heartbeat could not be written: {reason}");
                    if !self.gate.is_known() {
                        every.reset_after(FIRST_HEARTBEAT_AGAIN);
                    }
                }
            }
        }
        self.context.health.forget(HEARTBEAT);
        if let Err(error) = self.leave().await {
            tracing::debug!(error = %explain(&error), "the worker's row stays until it is forgotten");
        }
    }

    async fn beat(&self) -> recado_kernel::db::Result<()> {
        let now = self.context.clock.now();
        let claims = self.in_flight.claims();
        let ids: Vec<Id> = claims.iter().map(|(id, _)| *id).collect();
        let mut session = self.context.db.begin().await?;
        let is_draining = workers::upsert(&mut session, &self.row(ids.len(), now)).await?;
        let pauses = pauses::in_force(&mut session, now).await?;
        let until = now + self.context.config.worker.lease;
        let in_force = tasks::heartbeat(&mut session, &ids, &self.name, until).await?;
        session.commit().await?;
        self.gate.set(pauses, is_draining);
        for id in self.in_flight.lose_all_but(&claims, &in_force) {
            tracing::warn!(task.id = %id, "task {id} was cancelled or given to another; its run is stopped");
        }
        Ok(())
    }

    fn row(&self, held: usize, now: Timestamp) -> workers::WorkerRow {
        let (running, running_tasks) = self.in_flight.running(workers::MOST_RUNNING_SHOWN);
        let lanes: Vec<&str> = self.options.lanes.iter().map(|lane| lane.as_str()).collect();
        workers::WorkerRow {
            id: self.name.clone(),
            queues: lanes.join(","),
            concurrency: i32::try_from(self.options.concurrency).unwrap_or(i32::MAX),
            held: i32::try_from(held).unwrap_or(i32::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            seen_at: now,
            running: i32::try_from(running).unwrap_or(i32::MAX),
            running_tasks: Json(running_tasks),
            drain_since: None,
            drain_by: None,
            clock_ahead_ms: self.context.clock.host_ahead_ms(),
        }
    }

    async fn leave(&self) -> recado_kernel::db::Result<()> {
        let mut session = self.context.db.begin().await?;
        workers::remove(&mut session, &self.name).await?;
        session.commit().await
    }

    /// Another worker takes over at once. What was running is marked, so that it asks the provider before it sends again.
    async fn hand_back(&self) {
        let (waiting, running) = self.in_flight.give_up();
        tracing::warn!(waiting = waiting.len(), running = running.len(), "time is up: tasks are handed back");
        let handed_back = async {
            let now = self.context.clock.now();
            let mut session = self.context.db.begin().await?;
            let mut rings = tasks::hand_back(&mut session, &waiting, &self.name, false, now).await?;
            rings.extend(tasks::hand_back(&mut session, &running, &self.name, true, now).await?);
            session.commit().await?;
            self.context.ring(&rings).await;
            Ok::<_, sqlx::Error>(())
        };
        if let Err(error) = handed_back.await {
            let reason = explain(&error);
            tracing::error!(error = %reason, "tasks could not be handed back; their leases will run out: {reason}");
        }
    }
}

fn incarnation(now: Timestamp) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = Id::new(now).to_string();
    format!("{}:{}:{}", host.trim(), std::process::id(), &random[random.len() - 8..])
}

/// How long a worker waits that could not begin.
const PREPARE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a worker is healthy by: what it holds stays its own only while the heartbeat is written.
const HEARTBEAT: &str = "heartbeat";

/// Nothing is taken before the first heartbeat has told what is paused, so one that could not be written is not waited for long.
const FIRST_HEARTBEAT_AGAIN: Duration = Duration::from_secs(1);

/// How long a stopping worker waits for a ledger that does not answer.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a reader waits for a ring before it looks whether it should stop.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
