//! The executor: one claim, from the row to how it ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use rand::Rng;
use recado_kernel::clock::Timestamp;
use recado_kernel::errors::explain;
use recado_queue::context::Context;
use recado_queue::jobs::{Kind, UnreadableJob};
use recado_queue::lanes::Priority;
use recado_queue::ring::Ring;
use recado_queue::samples::Ran;
use recado_queue::tasks::{Claimed, Finish, State};
use serde_json::Value;

use crate::completer::Completion;
use crate::registry::{Effects, Handler, JobError, Jobs, Outcome, Running};

/// What jobs need to run.
pub(crate) struct Runner {
    context: Context,
    jobs: Jobs,
}

impl Runner {
    pub(crate) fn new(context: Context, jobs: Jobs) -> Self {
        Self { context, jobs }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// Runs one claim. Whatever happens inside, there is a completion.
    pub(crate) async fn run(&self, mut task: Claimed) -> Completion {
        let payload = std::mem::take(&mut task.payload.0);
        let task = Arc::new(task);
        let (handler, running) = match self.start(&task, payload) {
            Ok(started) => started,
            // Parked with the reason: perhaps a newer version can read it.
            Err(error) => return self.complete(&task, None, Outcome::Failed(explain(&error)).into(), false),
        };
        let started = self.context.clock.elapsed();
        let wait = self.context.clock.now().since(task.run_at);
        let (effects, our_failure) = match within_time(&handler.kind, running).await {
            Ok(effects) => (effects, false),
            Err(JobError::Fail(reason)) => (Outcome::Failed(explain(reason.as_ref())).into(), false),
            Err(JobError::Retry(error)) => (self.try_again(&task, &handler.kind, explain(error.as_ref())), true),
        };
        let took = self.context.clock.elapsed().saturating_sub(started);
        self.context.samples.ran(task.lane, how(&effects.outcome), wait, took);
        observe(&task, handler.kind.name, &effects.outcome, took);
        self.complete(&task, Some(&handler.kind), effects, our_failure)
    }

    fn start(&self, task: &Arc<Claimed>, payload: Value) -> Result<(&Handler, Running), UnreadableJob> {
        let handler = self.jobs.handler(&task.kind)?;
        Ok((handler, handler.start(task.clone(), payload)?))
    }

    fn try_again(&self, task: &Claimed, kind: &Kind, reason: String) -> Effects {
        let failures = u32::try_from(task.failures).unwrap_or_default() + 1;
        if failures >= kind.retry.max_attempts {
            return Outcome::Failed(reason).into();
        }
        let jitter = rand::rng().random_range(-1.0..=1.0);
        let at = self.context.clock.now() + kind.retry.delay(failures, jitter);
        Outcome::Later { at, lane: task.lane, because: Some(reason) }.into()
    }

    /// Turns an outcome into the row's new state.
    fn complete(&self, task: &Claimed, kind: Option<&Kind>, effects: Effects, our_failure: bool) -> Completion {
        let now = self.context.clock.now();
        let priority = kind.map_or(Priority::Default, |kind| kind.priority);
        let mut finish = Finish {
            id: task.id,
            attempt: task.attempt,
            state: State::Success,
            run_at: now,
            rung_at: None,
            lane: task.lane.as_str(),
            failures: task.failures + i32::from(our_failure),
            cut_off: our_failure,
            error: None,
            result: None,
            finished_at: Some(now),
        };
        let mut ring = None;
        match effects.outcome {
            Outcome::Done(result) => finish.result = Some(result).filter(|result| !result.is_null()),
            Outcome::Failed(reason) => {
                finish.state = State::Dead;
                finish.error = Some(reason);
            }
            Outcome::Later { at, lane, because } => {
                let due = at <= now;
                finish.state = if due { State::Queued } else { State::Scheduled };
                finish.run_at = at;
                finish.rung_at = due.then_some(now);
                finish.lane = lane.as_str();
                finish.error = because;
                finish.finished_at = None;
                ring = due.then_some(Ring { id: task.id, lane, priority });
            }
        }
        Completion { finish, ring, rows: effects.rows }
    }
}

/// The job itself, within its time; a panic is our failure like any other.
async fn within_time(kind: &Kind, running: Running) -> Result<Effects, JobError> {
    match tokio::time::timeout(kind.timeout, AssertUnwindSafe(running).catch_unwind()).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(_)) => Err("the job panicked; the log of the worker has the place".into()),
        Err(_) => Err(format!("the job took longer than {} s", kind.timeout.as_secs()).into()),
    }
}

fn how(outcome: &Outcome) -> Ran {
    match outcome {
        Outcome::Done(_) => Ran::Done,
        Outcome::Later { because: None, .. } => Ran::Later,
        Outcome::Later { because: Some(_), .. } => Ran::Retried,
        Outcome::Failed(_) => Ran::Dead,
    }
}

fn observe(task: &Claimed, kind: &'static str, outcome: &Outcome, took: std::time::Duration) {
    let word = match outcome {
        Outcome::Done(_) => "done",
        Outcome::Later { .. } => "later",
        Outcome::Failed(_) => "failed",
    };
    metrics::counter!("recado_jobs_total", "kind" => kind, "outcome" => word).increment(1);
    metrics::histogram!("recado_job_seconds", "kind" => kind).record(took.as_secs_f64());
    match outcome {
        Outcome::Done(_) => tracing::debug!(task.id = %task.id, "task {} ({}) is done", task.id, task.kind),
        Outcome::Later { at, because, .. } => {
            tracing::info!(task.id = %task.id, reason = because.as_deref().unwrap_or_default(), "task {} ({}) goes on at {at}", task.id, task.kind);
        }
        Outcome::Failed(reason) => {
            tracing::error!(task.id = %task.id, reason, "task {} ({}) is dead: {reason}", task.id, task.kind);
        }
    }
}
