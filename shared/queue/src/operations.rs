//! What an operator does to work that is already in the ledger, over the API, from the command line or in the console. The audit
//! log tells of each, in its transaction.

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use serde_json::json;

use crate::context::Context;
use crate::jobs::{Job, UnreadableJob};
use crate::lanes::Lane;
use crate::ring::Ring;
use crate::schedules;
use crate::systems::{End, Systems};
use crate::tasks::{self, NewTask};

/// Tasks per transaction.
const BATCH: i64 = 500;

/// Queues dead or cancelled tasks again, and resets the rows of their systems. Returns those that were revived;
/// the others do not exist, are not finished, or succeeded.
pub async fn retry(context: &Context, ids: &[Id], actor: &Actor) -> db::Result<Vec<Id>> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let rings = revive(context.systems, &mut session, ids, now).await?;
    let revived: Vec<Id> = rings.iter().map(|ring| ring.id).collect();
    tell(&mut session, actor, "retry", &revived, now).await?;
    session.commit().await?;
    context.ring(&rings).await;
    Ok(revived)
}

/// [`retry`] within a transaction of the caller's, who rings after its commit.
pub(crate) async fn revive(
    systems: Systems,
    session: &mut Session,
    ids: &[Id],
    now: Timestamp,
) -> db::Result<Vec<Ring>> {
    let rings = tasks::revive(session, ids, now).await?;
    let revived: Vec<Id> = rings.iter().map(|ring| ring.id).collect();
    systems.revived(session, &revived, now).await?;
    Ok(rings)
}

/// [`retry`] for every dead task of these lanes; all lanes when there are none. Returns how many there were.
///
/// A task that dies again meanwhile is not tried twice: the list is walked once, by id.
pub async fn retry_all_dead(context: &Context, lanes: &[Lane], actor: &Actor) -> db::Result<usize> {
    let mut revived = 0;
    let mut after = None;
    loop {
        let mut session = context.db.read().await?;
        let dead = tasks::dead(&mut session, lanes, after, BATCH).await?;
        // Given back before the next is taken, or a small pool would wait for itself.
        drop(session);
        let Some(last) = dead.last() else { return Ok(revived) };
        after = Some(*last);
        revived += retry(context, &dead, actor).await?.len();
    }
}

/// Cancels tasks that are not finished, and the messages that they would have sent. Returns those that were cancelled. A
/// job that is running is told at its worker's next heartbeat; what it has sent by then stays sent.
pub async fn cancel(context: &Context, ids: &[Id], actor: &Actor) -> db::Result<Vec<Id>> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let cancelled = end(context.systems, &mut session, ids, now).await?;
    tell(&mut session, actor, "cancel", &cancelled, now).await?;
    session.commit().await?;
    Ok(cancelled)
}

/// [`cancel`] within a transaction of the caller's.
pub(crate) async fn end(systems: Systems, session: &mut Session, ids: &[Id], now: Timestamp) -> db::Result<Vec<Id>> {
    let cancelled = tasks::cancel(session, ids, now).await?;
    systems.ended(session, &cancelled, End::Cancelled, now).await?;
    Ok(cancelled)
}

async fn tell(
    session: &mut Session,
    actor: &Actor,
    action: &'static str,
    ids: &[Id],
    now: Timestamp,
) -> db::Result<()> {
    let subjects: Vec<String> = ids.iter().map(Id::to_string).collect();
    audit::write_each(session, actor, &Act::new(action, "task", ""), &subjects, now).await
}

/// A schedule cannot be run by hand.
#[derive(Debug, thiserror::Error)]
pub enum RunScheduleError {
    #[error("there is no schedule of this name")]
    Unknown,
    #[error("its job cannot be run")]
    Job(#[from] UnreadableJob),
    #[error("the database did not do its part")]
    Database(#[from] sqlx::Error),
}

/// Runs the job of a schedule now, whether it is enabled or not. Its next tick stays as it is. Returns the task.
pub async fn run_schedule(context: &Context, name: &str, actor: &Actor) -> Result<Id, RunScheduleError> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let schedule = schedules::find(&mut session, name).await?.ok_or(RunScheduleError::Unknown)?;
    let task = NewTask::scheduled(Id::new(now), context.systems.kind(&schedule.job)?, now);
    let inserted = tasks::insert(&mut session, std::slice::from_ref(&task)).await?;
    tasks::belong_to(&mut session, &[(task.id, schedule.id)]).await?;
    let act = Act::new("run", "schedule", &schedule.name).made(json!({ "task_id": task.id }));
    audit::write(&mut session, actor, &act, now).await?;
    session.commit().await?;
    context.samples.accepted(task.lane(), 1);
    context.ring(&inserted.rings).await;
    Ok(task.id)
}

/// Enqueues a job that a person asked for. Returns the task, which the log names as `task_id`.
pub async fn enqueue(context: &Context, job: &impl Job, act: Act, actor: &Actor) -> db::Result<Id> {
    let now = context.clock.now();
    let task = NewTask::now(Id::new(now), job, now);
    let mut session = context.db.begin().await?;
    let inserted = tasks::insert(&mut session, std::slice::from_ref(&task)).await?;
    audit::write(&mut session, actor, &act.made(json!({ "task_id": task.id })), now).await?;
    session.commit().await?;
    context.samples.accepted(task.lane(), 1);
    context.ring(&inserted.rings).await;
    Ok(task.id)
}
