//! Writes down how tasks ended, many at a time: one statement per table, one commit, one ring.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::ring::Ring;
use recado_queue::systems::End;
use recado_queue::tasks::{self, Finish, State};
use tokio::sync::{mpsc, oneshot};

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

/// The task that writes. One alone: the batches of two would be half as large each (docs/benchmarks.md).
#[derive(Clone)]
pub(crate) struct Completer {
    writer: mpsc::Sender<Order>,
}

impl Completer {
    pub(crate) fn spawn(context: &Context, in_flight: &Arc<InFlight>) -> Self {
        Self { writer: spawn_writer(context.clone(), in_flight.clone()) }
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

fn spawn_writer(context: Context, in_flight: Arc<InFlight>) -> mpsc::Sender<Order> {
    let (orders, mut waiting) = mpsc::channel(LARGEST_BATCH);
    tokio::spawn(async move {
        let mut batch = Vec::with_capacity(LARGEST_BATCH);
        while waiting.recv_many(&mut batch, LARGEST_BATCH).await > 0 {
            let (mut completions, mut flushes) = (Vec::with_capacity(batch.len()), Vec::new());
            for order in batch.drain(..) {
                match order {
                    Order::Complete(completion) => completions.push(*completion),
                    Order::Flush(done) => flushes.push(done),
                }
            }
            let rings = complete_until_written(&context, &completions).await;
            // Before they can be claimed again.
            in_flight.let_go(completions.iter().map(|Completion { finish, .. }| (finish.id, finish.attempt)));
            context.ring(&rings).await;
            for done in flushes {
                let _ = done.send(());
            }
        }
    });
    orders
}

/// What a provider took must not be forgotten because the database was away for a while: this tries until it is written.
/// When the database refuses a batch, each completion is written alone; one that is refused alone is left to its lease.
async fn complete_until_written(context: &Context, completions: &[Completion]) -> Vec<Ring> {
    let mut wait = Duration::from_millis(100);
    loop {
        match complete(context, completions).await {
            Ok(rings) => return rings,
            Err(error) if !db::is_refusal(&error) => {
                tracing::warn!(%error, tasks = completions.len(), "the ledger cannot be written, trying again: {error}");
                tokio::time::sleep(wait).await;
                wait = (2 * wait).min(Duration::from_secs(5));
            }
            Err(error) if completions.len() == 1 => {
                let id = completions[0].finish.id;
                tracing::error!(task.id = %id, %error, "how task {id} ended cannot be written: {error}");
                return Vec::new();
            }
            Err(_) => {
                let mut rings = Vec::new();
                for completion in completions {
                    rings.extend(Box::pin(complete_until_written(context, std::slice::from_ref(completion))).await);
                }
                return rings;
            }
        }
    }
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
