//! Which function runs a kind of job, and what it may answer. It knows no system: each [adds](Jobs::add) its own jobs.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_queue::jobs::{Job, Kind, UnreadableJob, decode};
use recado_queue::lanes::Lane;
use recado_queue::tasks::Claimed;
use serde_json::Value;

/// What a job answers. With [`JobError`] these words explain every line of the log.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is done; what is said of it is kept with the task.
    Done(Value),
    /// Go on at this time, in this lane. Not a failure of the job.
    Later { at: Timestamp, lane: Lane, because: Option<String> },
    /// It will never work; the reason is for the operator.
    Failed(String),
}

/// The job could not do its work.
#[derive(Debug)]
pub(crate) enum JobError {
    /// We failed: no database, a bug. It is tried again with backoff, and is dead after its last attempt.
    Retry(Box<dyn std::error::Error + Send + Sync>),
    /// It will fail the same way every time.
    Fail(Box<dyn std::error::Error + Send + Sync>),
}

impl JobError {
    pub(crate) fn fail(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Fail(reason.into())
    }
}

/// What goes wrong on the way is our failure, so `?` means another try.
impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::Retry(error.into())
    }
}

/// How a job ended, and the rows that this changes besides the task's own.
#[derive(Debug)]
pub(crate) struct Effects<R = Option<AnyRows>> {
    pub(crate) outcome: Outcome,
    pub(crate) rows: R,
}

impl From<Outcome> for Effects {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, rows: None }
    }
}

impl<R: Rows> From<Effects<R>> for Effects {
    fn from(Effects { outcome, rows }: Effects<R>) -> Self {
        Self { outcome, rows: Some(AnyRows { rows: Box::new(rows), writer: &Writer::<R>(PhantomData) }) }
    }
}

/// Rows of a system that are written in the transaction that ends the task.
#[async_trait]
pub(crate) trait Rows: Send + Sync + Sized + 'static {
    /// Writes the rows of many tasks, in the order in which the tasks ended.
    async fn write(session: &mut Session, batch: &[ToWrite<'_, Self>]) -> db::Result<()>;

    /// The same without what strangers said, for a database that refuses it. `None`: no stranger says anything here.
    fn without_words(&self) -> Option<Self> {
        None
    }
}

/// The rows of one task among those of a batch.
#[derive(Debug)]
pub(crate) struct ToWrite<'b, R> {
    pub(crate) rows: &'b R,
    /// Whether the task's claim was still in force; if not, another run decides about it.
    pub(crate) in_force: bool,
}

/// [`Rows`] of a system that the engine does not know.
pub(crate) struct AnyRows {
    rows: Box<dyn Any + Send + Sync>,
    writer: &'static dyn WriteAny,
}

/// The rows of a batch, and for each task whether its claim was still in force.
type Batch<'b> = Vec<(&'b AnyRows, bool)>;

impl AnyRows {
    /// Writes the rows of many tasks: those of each system together.
    pub(crate) async fn write_all(session: &mut Session, all: impl Iterator<Item = (&Self, bool)>) -> db::Result<()> {
        let mut batches: Vec<Batch<'_>> = Vec::new();
        for one in all {
            match batches.iter_mut().find(|batch| batch[0].0.is_like(one.0)) {
                Some(batch) => batch.push(one),
                None => batches.push(vec![one]),
            }
        }
        for batch in batches {
            batch[0].0.writer.write(session, &batch).await?;
        }
        Ok(())
    }

    /// See [`Rows::without_words`].
    pub(crate) fn without_words(&self) -> Option<Self> {
        self.writer.without_words(self)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.rows.as_ref().type_id() == other.rows.as_ref().type_id()
    }
}

impl fmt::Debug for AnyRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyRows").finish_non_exhaustive()
    }
}

/// Knows the type of the rows again.
#[async_trait]
trait WriteAny: Send + Sync {
    async fn write(&self, session: &mut Session, batch: &[(&AnyRows, bool)]) -> db::Result<()>;

    fn without_words(&self, rows: &AnyRows) -> Option<AnyRows>;
}

struct Writer<R>(PhantomData<fn() -> R>);

#[async_trait]
impl<R: Rows> WriteAny for Writer<R> {
    async fn write(&self, session: &mut Session, batch: &[(&AnyRows, bool)]) -> db::Result<()> {
        let batch: Vec<ToWrite<'_, R>> = batch
            .iter()
            .filter_map(|(any, in_force)| Some(ToWrite { rows: any.rows.downcast_ref()?, in_force: *in_force }))
            .collect();
        R::write(session, &batch).await
    }

    fn without_words(&self, rows: &AnyRows) -> Option<AnyRows> {
        let rows: Box<R> = Box::new(rows.rows.downcast_ref::<R>()?.without_words()?);
        Some(AnyRows { rows, writer: &Writer::<R>(PhantomData) })
    }
}

/// How each kind of job runs.
#[derive(Default)]
pub(crate) struct Jobs {
    handlers: HashMap<&'static str, Handler>,
}

pub(crate) struct Handler {
    pub(crate) kind: Kind,
    run: Box<Run>,
}

type Run = dyn Fn(Arc<Claimed>, Value) -> Result<Running, UnreadableJob> + Send + Sync;

/// A job that has begun. Boxed, because it is moved several times before it starts: a small job should not carry a large
/// one's room.
pub(crate) type Running = BoxFuture<'static, Result<Effects, JobError>>;

impl Jobs {
    /// Jobs of this payload's kind are run by this function, with what its system holds.
    pub(crate) fn add<S, J, F, E>(&mut self, system: &Arc<S>, run: fn(Arc<S>, Arc<Claimed>, J) -> F)
    where
        S: Send + Sync + 'static,
        J: Job,
        F: Future<Output = Result<E, JobError>> + Send + 'static,
        E: Into<Effects>,
    {
        let system = system.clone();
        let run = move |task: Arc<Claimed>, payload| {
            let running = run(system.clone(), task, decode(payload)?);
            let running: Running = Box::pin(async move { running.await.map(Into::into) });
            Ok(running)
        };
        self.handlers.insert(J::KIND.name, Handler { kind: J::KIND, run: Box::new(run) });
    }

    pub(crate) fn handler(&self, kind: &str) -> Result<&Handler, UnreadableJob> {
        self.handlers.get(kind).ok_or_else(|| UnreadableJob::unknown(kind))
    }
}

impl Handler {
    pub(crate) fn start(&self, task: Arc<Claimed>, payload: Value) -> Result<Running, UnreadableJob> {
        (self.run)(task, payload)
    }
}
