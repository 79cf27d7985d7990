//! What an operator does to work that is already in the ledger, from the command line or the admin pages.

use crate::clock::Timestamp;
use crate::context::Context;
use crate::db::{self, Session};
use crate::ids::Id;
use crate::journal::{self, Entry, Kind};
use crate::notifications::{self, Record, Status};
use crate::queue::{Job, Lane, Ring};
use crate::schedules;
use crate::tasks::{self, NewTask, State};

/// Tasks per transaction.
const BATCH: i64 = 500;

/// What a cancelled message says of itself.
const CANCELLED: &str = "cancelled by an operator";

/// Gives dead or cancelled tasks a new life, and their chains of notifications with them. Returns those that were revived;
/// the others do not exist, are not finished, or succeeded.
pub async fn retry(context: &Context, ids: &[Id]) -> db::Result<Vec<Id>> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let rings = revive(&mut session, ids, now).await?;
    session.commit().await?;
    context.ring(&rings).await;
    Ok(rings.iter().map(|ring| ring.id).collect())
}

async fn revive(session: &mut Session, ids: &[Id], now: Timestamp) -> db::Result<Vec<Ring>> {
    let rings = tasks::revive(session, ids, now).await?;
    let revived: Vec<Id> = rings.iter().map(|ring| ring.id).collect();
    notifications::restart(session, &revived, now).await?;
    Ok(rings)
}

/// [`retry`] for every dead task of these lanes; all lanes when there are none. Returns how many there were.
///
/// A task that dies again meanwhile is not tried twice: the list is walked once, by id.
pub async fn retry_all_dead(context: &Context, lanes: &[Lane]) -> db::Result<usize> {
    let mut revived = 0;
    let mut after = None;
    loop {
        let mut session = context.db.read().await?;
        let dead = tasks::dead(&mut session, lanes, after, BATCH).await?;
        // Given back before the next is taken, or a small pool would wait for itself.
        drop(session);
        let Some(last) = dead.last() else { return Ok(revived) };
        after = Some(*last);
        revived += retry(context, &dead).await?.len();
    }
}

/// Cancels tasks that are not finished, and the messages that they would have sent. Returns those that were cancelled. A
/// job that is running is told at its worker's next heartbeat; what it has sent by then stays sent.
pub async fn cancel(context: &Context, ids: &[Id]) -> db::Result<Vec<Id>> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let cancelled = tasks::cancel(&mut session, ids, now).await?;
    notifications::close(&mut session, &cancelled, Status::Cancelled, CANCELLED, now).await?;
    session.commit().await?;
    Ok(cancelled)
}

/// What became of the wish to cancel a delivery.
#[derive(Clone, Debug)]
pub enum Cancellation {
    /// No message of the chain will leave, now or because it was cancelled before.
    Cancelled,
    /// There is no such notification.
    Unknown,
    /// A worker is handing it to a provider; in a moment it is known whether it left.
    Leaving,
    /// It has ended. The chain, in its order, says how.
    TooLate(Vec<Record>),
}

/// Cancels the whole chain of a notification, unless a message of it has left or is just leaving.
pub async fn cancel_delivery(context: &Context, notification_id: Id) -> db::Result<Cancellation> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let chain = notifications::chain_of(&mut session, notification_id).await?;
    let Some(wanted) = chain.iter().find(|message| message.record.id == notification_id) else {
        return Ok(Cancellation::Unknown);
    };
    let task_id = wanted.record.task_id;
    if !tasks::cancel_before_it_leaves(&mut session, task_id, now).await? {
        let is_running = tasks::find(&mut session, task_id).await?.is_some_and(|task| task.state == State::Started);
        let chain: Vec<Record> = chain.into_iter().map(|message| message.record).collect();
        return Ok(match chain.iter().any(|record| record.status == Status::Cancelled) {
            true => Cancellation::Cancelled,
            false if is_running && !chain.iter().any(|record| record.status.is_sent()) => Cancellation::Leaving,
            false => Cancellation::TooLate(chain),
        });
    }
    notifications::close(&mut session, &[task_id], Status::Cancelled, "cancelled on request", now).await?;
    let entry = Entry {
        id: Id::new(now),
        at: now,
        correlation_id: wanted.record.correlation_id,
        customer_id: wanted.record.customer_id.clone(),
        task_id: Some(task_id),
        notification_id: Some(notification_id),
        channel: None,
        kind: Kind::Cancelled,
        detail: "Se canceló a pedido, antes de que saliera.".to_owned(),
    };
    journal::record(&mut session, &[entry]).await?;
    session.commit().await?;
    Ok(Cancellation::Cancelled)
}

/// A schedule cannot be run by hand.
#[derive(Debug, thiserror::Error)]
pub enum RunScheduleError {
    #[error("there is no schedule of this name")]
    Unknown,
    #[error("its job cannot be run")]
    Job(#[from] crate::queue::jobs::UnreadableJob),
    #[error("the database did not do its part")]
    Database(#[from] sqlx::Error),
}

/// Runs the job of a schedule now, whether it is enabled or not. Its next tick stays as it is. Returns the task.
pub async fn run_schedule(context: &Context, name: &str) -> Result<Id, RunScheduleError> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let schedule = schedules::find(&mut session, name).await?.ok_or(RunScheduleError::Unknown)?;
    let task = NewTask::now(Id::new(now), &Job::scheduled(&schedule.job)?, now);
    let inserted = tasks::insert(&mut session, std::slice::from_ref(&task)).await?;
    session.commit().await?;
    context.ring(&inserted.rings).await;
    Ok(task.id)
}
