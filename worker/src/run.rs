//! The executor: one claim, from the row to the words that say how it ended.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use rand::Rng;
use recado_shared::clock::Timestamp;
use recado_shared::context::Context;
use recado_shared::ids::Id;
use recado_shared::journal::Entry;
use recado_shared::notifications::{Attempt, Change};
use recado_shared::process::explain;
use recado_shared::queue::{Job, Lane, Priority, Ring};
use recado_shared::suppressions::Bounce;
use recado_shared::tasks::{Claimed, Finish, State};
use serde_json::Value;

use crate::channels::Providers;
use crate::completer::Completion;
use crate::jobs;
use crate::jobs::notifications::Chains;
use crate::permission::{self, Permissions};

/// What a job answers. Four words explain every line of the log; the fourth is `Err`, our own trouble.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done(Value),
    /// Go on at this time, in this lane. Not a failure of the job.
    Later {
        at: Timestamp,
        lane: Lane,
        because: Option<String>,
    },
    /// It will never work; the reason is for the operator.
    Failed(String),
}

/// An outcome, and what it changes besides the task's own row.
#[derive(Debug)]
pub(crate) struct Performed {
    pub(crate) outcome: Outcome,
    pub(crate) changes: Vec<Change>,
    pub(crate) attempts: Vec<Attempt>,
    /// Push subscriptions that no longer exist.
    pub(crate) gone: Vec<Id>,
    /// Addresses that were refused for good.
    pub(crate) bounces: Vec<Bounce>,
    /// Decisions that no other row tells; a plain success has none.
    pub(crate) journal: Vec<Entry>,
}

impl From<Outcome> for Performed {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            changes: Vec::new(),
            attempts: Vec::new(),
            gone: Vec::new(),
            bounces: Vec::new(),
            journal: Vec::new(),
        }
    }
}

/// Our own trouble: no database, a bug. The job is tried again with backoff, and is dead after its last attempt.
pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// What jobs need to run.
pub(crate) struct Runner {
    pub(crate) context: Context,
    pub(crate) providers: Providers,
    pub(crate) chains: Chains,
    pub(crate) permissions: Permissions,
}

impl Runner {
    pub(crate) fn new(context: Context, providers: Providers) -> Self {
        Self {
            chains: jobs::notifications::load_together(context.clone()),
            permissions: permission::ask_together(context.clone()),
            context,
            providers,
        }
    }

    /// Runs one claim. Whatever happens inside, there is a completion.
    pub(crate) async fn run(&self, task: Claimed) -> Completion {
        let job = match Job::decode(&task.kind, &task.payload.0) {
            Ok(job) => job,
            // Parked with the reason: perhaps a newer version can read it.
            Err(error) => return self.finish(&task, None, Outcome::Failed(error.to_string()).into(), None),
        };
        let started = self.context.clock.now();
        let (performed, trouble) = match self.perform(&task, &job).await {
            Ok(performed) => (performed, None),
            Err(trouble) => (self.after_trouble(&task, &job, &trouble), Some(trouble)),
        };
        observe(&task, job.kind(), &performed.outcome, self.context.clock.now().since(started));
        self.finish(&task, Some(&job), performed, trouble.as_ref())
    }

    /// The job itself, within its time; a panic is trouble like any other.
    async fn perform(&self, task: &Claimed, job: &Job) -> Result<Performed, Trouble> {
        let running = AssertUnwindSafe(jobs::perform(self, task, job)).catch_unwind();
        match tokio::time::timeout(job.timeout(), running).await {
            Ok(Ok(performed)) => performed,
            Ok(Err(_)) => Err("the job panicked; the log of the worker has the place".into()),
            Err(_) => Err(format!("the job took longer than {} s", job.timeout().as_secs()).into()),
        }
    }

    fn after_trouble(&self, task: &Claimed, job: &Job, trouble: &Trouble) -> Performed {
        let reason = explain(trouble.as_ref());
        let failures = u32::try_from(task.failures).unwrap_or_default() + 1;
        let policy = job.retry();
        if failures >= policy.max_attempts {
            return Outcome::Failed(reason).into();
        }
        let jitter = rand::rng().random_range(-1.0..=1.0);
        let at = self.context.clock.now() + policy.delay(failures, jitter);
        Outcome::Later { at, lane: task.lane, because: Some(reason) }.into()
    }

    /// Turns an outcome into the row's new state.
    fn finish(&self, task: &Claimed, job: Option<&Job>, performed: Performed, trouble: Option<&Trouble>) -> Completion {
        let now = self.context.clock.now();
        let priority = job.map_or(Priority::Default, Job::priority);
        let mut finish = Finish {
            id: task.id,
            attempt: task.attempt,
            state: State::Success,
            run_at: now,
            rung_at: None,
            lane: task.lane.as_str(),
            failures: task.failures + i32::from(trouble.is_some()),
            cut_off: trouble.is_some(),
            error: None,
            result: None,
            finished_at: Some(now),
        };
        let mut ring = None;
        match performed.outcome {
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
        let Performed { changes, attempts, gone, bounces, journal, .. } = performed;
        Completion { finish, ring, changes, attempts, gone, bounces, journal }
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
