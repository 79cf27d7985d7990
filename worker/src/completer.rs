//! Writes down how tasks ended, many at a time: one statement per table, one commit, one ring.

use std::collections::HashSet;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use recado_kernel::db;
use recado_kernel::errors::explain;
use recado_kernel::group_commit::gather;
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::ring::Ring;
use recado_queue::systems::End;
use recado_queue::tasks::{self, Finish, State};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::in_flight::InFlight;
use crate::registry::AnyRows;

/// How a task ended, and the rows of its system that change with it.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) finish: Finish,
    /// To be rung when the task goes on at once, in another lane.
    pub(crate) ring: Option<Ring>,
    pub(crate) rows: Option<AnyRows>,
}

enum Order {
    Complete(Box<Completion>),
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
}

const LARGEST_BATCH: usize = 2_000;

/// After a batch of so many the next begins before it has ended. Of smaller ones two would be half as large each, and cost more than
/// their overlap wins (docs/benchmarks.md).
const LARGE_BATCH: usize = 500;

/// So many batches are written at the same time, each by a connection.
const MAX_CONCURRENT_BATCHES: usize = 2;

/// The task that writes.
#[derive(Clone)]
pub(crate) struct Completer {
    writer: mpsc::Sender<Order>,
}

impl Completer {
    pub(crate) fn spawn(context: &Context, in_flight: &Arc<InFlight>) -> Self {
        let (writer, orders) = mpsc::channel(LARGEST_BATCH);
        tokio::spawn(Writer { context: context.clone(), in_flight: in_flight.clone() }.serve(orders));
        Self { writer }
    }

    /// Hands a completion over; the slot is free for the next task before it is written.
    pub(crate) async fn submit(&self, completion: Completion) {
        let _ = self.writer.send(Order::Complete(Box::new(completion))).await;
    }

    /// Returns when everything that was submitted is written.
    pub(crate) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.writer.send(Order::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

#[derive(Clone)]
struct Writer {
    context: Context,
    in_flight: Arc<InFlight>,
}

impl Writer {
    async fn serve(self, mut orders: mpsc::Receiver<Order>) {
        let mut batch = Vec::with_capacity(LARGEST_BATCH);
        let mut under_way = JoinSet::new();
        while gather(&mut orders, &mut batch, LARGEST_BATCH).await > 0 {
            let (mut completions, mut flushes) = (Vec::with_capacity(batch.len()), Vec::new());
            for order in batch.drain(..) {
                match order {
                    Order::Complete(completion) => completions.push(*completion),
                    Order::Flush(done) => flushes.push(done),
                }
            }
            let is_large = completions.len() >= LARGE_BATCH;
            under_way.spawn(self.clone().write(completions));
            let most_under_way = if is_large && flushes.is_empty() { MAX_CONCURRENT_BATCHES - 1 } else { 0 };
            while under_way.len() > most_under_way {
                // A panic is caught where the batch is written.
                let _ = under_way.join_next().await;
            }
            for done in flushes {
                let _ = done.send(());
            }
        }
        under_way.join_all().await;
    }

    async fn write(self, completions: Vec<Completion>) {
        let rings = complete_until_written(&self.context, &completions).await;
        // Before they can be claimed again.
        self.in_flight.let_go(completions.iter().map(|Completion { finish, .. }| (finish.id, finish.attempt)));
        self.context.ring(&rings).await;
    }
}

/// What a provider took must not be forgotten because the database was away for a while: this tries until it is written.
///
/// When the database refuses a batch, each half is written by itself, and so on: what can be written is, whatever stands
/// beside it. One that is refused alone is written without the words of strangers, then as a failure with the reason. So is one that
/// takes too long again and again, because all others wait for it.
async fn complete_until_written(context: &Context, completions: &[Completion]) -> Vec<Ring> {
    let mut wait = Duration::from_millis(100);
    let mut too_long = 0;
    loop {
        let error = match try_to_complete(context, completions).await {
            Ok(rings) => return rings,
            Err(error) => error,
        };
        match (error.fault(), completions) {
            (Fault::Batch, [one]) => return record_refused(context, one, &error.to_string()).await,
            (Fault::Length, [one]) if too_long == TRIES_AGAIN => {
                return record_refused(context, one, &error.to_string()).await;
            }
            (Fault::Batch | Fault::Length, [_, _, ..]) => {
                let (first, second) = completions.split_at(completions.len() / 2);
                let mut rings = Box::pin(complete_until_written(context, first)).await;
                rings.extend(Box::pin(complete_until_written(context, second)).await);
                return rings;
            }
            (fault, _) => {
                too_long += u32::from(fault == Fault::Length);
                tracing::warn!(%error, tasks = completions.len(), "the ledger cannot be written, trying again: {error}");
                tokio::time::sleep(wait).await;
                wait = (2 * wait).min(LONGEST_WAIT);
            }
        }
    }
}

/// Between two tries to write while the database is away.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How often a completion that takes too long by itself is tried again before it is given up. The server may only be busy; but each try
/// takes as long as a statement may, and all other completions wait meanwhile.
const TRIES_AGAIN: u32 = 2;

/// A completion that is refused by itself: what happened is written as far as it can be, and its task ends for good.
async fn record_refused(context: &Context, refused: &Completion, reason: &str) -> Vec<Ring> {
    let id = refused.finish.id;
    tracing::error!(task.id = %id, reason, "how task {id} ended is refused by the ledger: {reason}");
    let plain = Completion {
        finish: Finish { result: None, error: None, ..refused.finish.clone() },
        ring: refused.ring,
        rows: refused.rows.as_ref().and_then(AnyRows::without_words),
    };
    let failure = Completion {
        finish: Finish {
            state: State::Dead,
            rung_at: refused.finish.rung_at,
            error: Some(format!("how it ended cannot be written: {reason}")),
            result: None,
            finished_at: Some(context.clock.now()),
            ..refused.finish.clone()
        },
        ring: None,
        rows: None,
    };
    for attempt in plain.rows.is_some().then_some(plain).into_iter().chain([failure]) {
        if let Some(rings) = complete_or_refuse(context, attempt).await {
            return rings;
        }
    }
    tracing::error!(task.id = %id, "not even its failure can be written; the lease of task {id} will run out");
    Vec::new()
}

/// Tries until the database has decided; `None` when it refuses.
async fn complete_or_refuse(context: &Context, completion: Completion) -> Option<Vec<Ring>> {
    loop {
        match try_to_complete(context, std::slice::from_ref(&completion)).await {
            Ok(rings) => return Some(rings),
            Err(error) if error.fault() != Fault::Database => {
                tracing::error!(task.id = %completion.finish.id, %error, "it is refused again: {error}");
                return None;
            }
            Err(_) => tokio::time::sleep(LONGEST_WAIT).await,
        }
    }
}

/// Why a batch is not written.
#[derive(Debug)]
enum Unwritten {
    Error(db::Error),
    Panic,
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => f.write_str(&explain(error)),
            Self::Panic => f.write_str("writing it panicked; the log of the worker has the place"),
        }
    }
}

/// Where the fault lies, which decides what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The database is in trouble, and the same batch may be written a little later.
    Database,
    /// It takes too long, or too much memory: a shorter batch may do better.
    Length,
    /// Something in the batch is refused, and will be again.
    Batch,
}

impl Unwritten {
    fn fault(&self) -> Fault {
        match self {
            Self::Panic => Fault::Batch,
            Self::Error(error) => fault(error),
        }
    }
}

/// Of PostgreSQL's codes, what is neither the server's state nor another's lock is about the data, as are limits of the program
/// (54) and errors inside of the server (XX), which the same data meet again. SQLite's codes are about the disk, but for those
/// of the statement and the data; an extended code has the plain one in its last byte.
fn fault(error: &db::Error) -> Fault {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
    let is_of_postgres = code.len() == 5;
    let of_sqlite = code.parse::<u32>().map(|code| code & 0xff);
    match code.as_ref() {
        "57014" | "53200" if is_of_postgres => Fault::Length,
        code if is_of_postgres && code.starts_with("55") => Fault::Database,
        code if is_of_postgres && (code.starts_with("54") || code.starts_with("XX")) => Fault::Batch,
        _ if is_of_postgres && !db::is_outage(error) || db::is_refusal(error) => Fault::Batch,
        _ if !is_of_postgres && matches!(of_sqlite, Ok(1 | 18 | 19 | 20 | 25)) => Fault::Batch,
        _ => Fault::Database,
    }
}

async fn try_to_complete(context: &Context, completions: &[Completion]) -> Result<Vec<Ring>, Unwritten> {
    let completing = AssertUnwindSafe(complete(context, completions)).catch_unwind().await;
    completing.map_or(Err(Unwritten::Panic), |completed| completed.map_err(Unwritten::Error))
}

/// Plain successes without rows of a system: the statement that ends their tasks is all there is to write.
fn is_one_statement(completions: &[Completion]) -> bool {
    completions.iter().all(|one| one.rows.is_none() && one.finish.is_plain_success())
}

/// Writes a batch in one transaction, and returns what is to be rung.
pub(crate) async fn complete(context: &Context, completions: &[Completion]) -> db::Result<Vec<Ring>> {
    if completions.is_empty() {
        return Ok(Vec::new());
    }
    let finishes: Vec<Finish> = completions.iter().map(|completion| completion.finish.clone()).collect();
    let mut session =
        if is_one_statement(completions) { context.db.write().await? } else { context.db.begin().await? };
    let accepted: HashSet<Id> = tasks::finish(&mut session, &finishes).await?.into_iter().collect();
    let is_in_force = |completion: &Completion| accepted.contains(&completion.finish.id);
    let rows = completions.iter().filter_map(|one| Some((one.rows.as_ref()?, is_in_force(one))));
    AnyRows::write_all(&mut session, rows).await?;
    let is_dead = |finish: &&Finish| finish.state == State::Dead && accepted.contains(&finish.id);
    let dead: Vec<Id> = finishes.iter().filter(is_dead).map(|finish| finish.id).collect();
    if !dead.is_empty() {
        context.systems.ended(&mut session, &dead, End::Dead, context.clock.now()).await?;
    }
    session.commit().await?;

    let in_force = completions.iter().filter(|completion| is_in_force(completion));
    Ok(in_force.filter_map(|completion| completion.ring).collect())
}
