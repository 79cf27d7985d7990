//! Writes down how tasks ended, many at a time: one statement per table, one commit, one ring.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use recado_shared::context::Context;
use recado_shared::db;
use recado_shared::erasure;
use recado_shared::ids::Id;
use recado_shared::journal::{self, Entry};
use recado_shared::notifications::{self, Attempt, Change, Status};
use recado_shared::push;
use recado_shared::queue::Ring;
use recado_shared::suppressions::{self, Bounce};
use recado_shared::tasks::{self, Finish, State};
use tokio::sync::{mpsc, oneshot};

use crate::held::Held;

/// How a task ended, and what that changes besides its own row.
#[derive(Clone, Debug)]
pub(crate) struct Completion {
    pub(crate) finish: Finish,
    /// To be rung when the task goes on at once, in another lane.
    pub(crate) ring: Option<Ring>,
    pub(crate) changes: Vec<Change>,
    pub(crate) attempts: Vec<Attempt>,
    /// Push subscriptions that no longer exist.
    pub(crate) gone: Vec<Id>,
    /// Addresses that were refused for good.
    pub(crate) bounces: Vec<Bounce>,
    /// Decisions that no other row tells.
    pub(crate) journal: Vec<Entry>,
}

enum Order {
    Complete(Box<Completion>),
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
}

const LARGEST_BATCH: usize = 2_000;

/// So many tasks write at the same time, so that one prepares its batch while the database works on another's.
const WRITERS: usize = 2;

/// The tasks that write. What belongs to one task goes to one of them, in its order.
#[derive(Clone)]
pub(crate) struct Completer {
    writers: [mpsc::Sender<Order>; WRITERS],
}

impl Completer {
    pub(crate) fn spawn(context: &Context, held: &Arc<Held>) -> Self {
        Self { writers: std::array::from_fn(|_| spawn_writer(context.clone(), held.clone())) }
    }

    /// Hands a completion over; the slot is free for the next task before it is written.
    pub(crate) async fn submit(&self, completion: Completion) {
        let writer = usize::from(completion.finish.id.as_bytes()[15]) % WRITERS;
        let _ = self.writers[writer].send(Order::Complete(Box::new(completion))).await;
    }

    /// Returns when everything that was submitted is written.
    pub(crate) async fn flush(&self) {
        for writer in &self.writers {
            let (done, written) = oneshot::channel();
            if writer.send(Order::Flush(done)).await.is_ok() {
                let _ = written.await;
            }
        }
    }
}

fn spawn_writer(context: Context, held: Arc<Held>) -> mpsc::Sender<Order> {
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
            let rings = complete_patiently(&context, &completions).await;
            // Before anybody can claim them again.
            held.let_go(completions.iter().map(|Completion { finish, .. }| (finish.id, finish.attempt)));
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
async fn complete_patiently(context: &Context, completions: &[Completion]) -> Vec<Ring> {
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
                    rings.extend(Box::pin(complete_patiently(context, std::slice::from_ref(completion))).await);
                }
                return rings;
            }
        }
    }
}

/// Writes a batch in one transaction, and returns what is to be rung.
pub(crate) async fn complete(context: &Context, completions: &[Completion]) -> db::Result<Vec<Ring>> {
    if completions.is_empty() {
        return Ok(Vec::new());
    }
    let finishes: Vec<Finish> = completions.iter().map(|completion| completion.finish.clone()).collect();
    let mut session = context.db.begin().await?;
    let accepted: HashSet<Id> = tasks::finish(&mut session, &finishes).await?.into_iter().collect();
    let in_force = |completion: &&Completion| accepted.contains(&completion.finish.id);

    // That a message was sent is true even when the claim is lost; everything else is for the claim in force to decide.
    let changes: Vec<Change> = completions
        .iter()
        .flat_map(|completion| {
            let decides = in_force(&completion);
            completion.changes.iter().filter(move |change| decides || change.status == Status::Sent).cloned()
        })
        .collect();
    let attempts: Vec<Attempt> =
        completions.iter().flat_map(|completion| completion.attempts.iter().cloned()).collect();
    let gone: Vec<Id> = completions.iter().flat_map(|completion| completion.gone.iter().copied()).collect();
    notifications::apply(&mut session, &changes).await?;
    notifications::record(&mut session, &attempts).await?;
    // A claim that was lost may be about a person who was erased meanwhile.
    let lost = completions.iter().filter(|completion| !in_force(completion));
    let late: Vec<Id> = lost.flat_map(|completion| completion.attempts.iter().map(|attempt| attempt.id)).collect();
    erasure::forget_late_answers(&mut session, &late).await?;
    let entries: Vec<Entry> =
        completions.iter().filter(in_force).flat_map(|completion| completion.journal.iter().cloned()).collect();
    journal::record(&mut session, &entries).await?;
    let dead: Vec<Id> = finishes.iter().filter(|finish| finish.state == State::Dead).map(|finish| finish.id).collect();
    let dead: Vec<Id> = dead.into_iter().filter(|id| accepted.contains(id)).collect();
    if !dead.is_empty() {
        // Whatever of their chains is still open will not leave any more.
        notifications::close(
            &mut session,
            &dead,
            Status::Failed,
            "its task is dead; the task says why",
            context.clock.now(),
        )
        .await?;
    }
    if !gone.is_empty() {
        push::remove(&mut session, &gone).await?;
    }
    // Of claims in force only: the person of a lost one may have been erased, and the next attempt bounces again.
    let bounces = completions.iter().filter(in_force).flat_map(|completion| completion.bounces.iter().cloned());
    suppressions::record(&mut session, &bounces.collect::<Vec<Bounce>>()).await?;
    session.commit().await?;

    Ok(completions.iter().filter(in_force).filter_map(|completion| completion.ring).collect())
}
