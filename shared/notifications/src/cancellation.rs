//! Cancelling a delivery, unless it has left.

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::context::Context;
use recado_queue::tasks::{self, State};

use crate::journal::{self, Entry, Fact};
use crate::notifications::records::Record;
use crate::notifications::{self, Notification, Status};

/// What became of the wish to cancel a delivery.
#[derive(Clone, Debug)]
pub enum Cancellation {
    /// No message of the chain will leave, now or because it was cancelled before.
    Cancelled,
    /// There is no such notification.
    Unknown,
    /// A worker is handing it to a provider, or a provider has not said whether it took it; in a while it is known whether it
    /// left.
    Leaving,
    /// It has ended. The chain, in its order, says how.
    TooLate(Vec<Record>),
}

/// How often a delivery that slipped from one state into another under our eyes is looked at again.
const MOST_LOOKS: usize = 5;

/// Cancels the whole chain of a notification, unless a message of it has left, is just leaving, or may have left.
pub async fn cancel_delivery(context: &Context, notification_id: Id, actor: &Actor) -> Result<Cancellation> {
    let now = context.clock.now();
    for _ in 0..MOST_LOOKS {
        let mut session = context.db.begin().await?;
        let chain = notifications::chain_of(&mut session, notification_id).await?;
        let Some(wanted) = chain.iter().find(|message| message.id == notification_id) else {
            return Ok(Cancellation::Unknown);
        };
        if cancel_before_it_leaves(&mut session, wanted.task_id, now).await? {
            close(&mut session, wanted, now).await?;
            audit::write(&mut session, actor, &Act::new("cancel", "notification", notification_id), now).await?;
            session.commit().await?;
            return Ok(Cancellation::Cancelled);
        }
        if let Some(outcome) = what_happened(&mut session, wanted.task_id).await? {
            return Ok(outcome);
        }
    }
    // It was busy at every look.
    Ok(Cancellation::Leaving)
}

/// Cancels a delivery that no worker holds and of which nothing was sent, or may have been. Returns whether it did: one
/// statement, so that a worker either has it already or never gets it.
async fn cancel_before_it_leaves(session: &mut Session, id: Id, now: Timestamp) -> Result<bool> {
    let cancelled = sql!(
        run,
        session,
        "update tasks set state = 'cancelled', finished_at = $2, lease_until = null, worker = null
         where id = $1 and state in ('scheduled', 'queued') and not cut_off
           and not exists (select 1 from notifications n where n.task_id = $1
                           and (n.status in ('sent', 'delivered', 'read')
                                or (n.status = 'queued' and n.unknown_since is not null)))",
        id,
        now
    )?;
    Ok(cancelled > 0)
}

async fn close(session: &mut Session, wanted: &Notification, now: Timestamp) -> Result<()> {
    notifications::close(session, &[wanted.task_id], Status::Cancelled, "cancelled on request", now).await?;
    let entry = Entry {
        id: Id::new(now),
        at: now,
        correlation_id: wanted.correlation_id,
        customer_id: wanted.customer_id.clone(),
        task_id: Some(wanted.task_id),
        notification_id: Some(wanted.id),
        channel: None,
        fact: Fact::Cancelled {},
    };
    journal::record(session, &[entry]).await
}

/// What really happened to a delivery that could not be cancelled; `None` when it has to be tried again.
///
/// The task is read before its chain. How a task ended and what became of its messages are committed together, so what the
/// chain says then is at least as new: a delivery that ended while we asked is not taken for one that failed.
async fn what_happened(session: &mut Session, task_id: Id) -> Result<Option<Cancellation>> {
    let state = tasks::find(session, task_id).await?.map(|task| task.state);
    let chain = notifications::chains(session, &[task_id]).await?;
    Ok(outcome(state, &chain))
}

fn outcome(state: Option<State>, chain: &[Notification]) -> Option<Cancellation> {
    let too_late = || Some(Cancellation::TooLate(chain.iter().map(Record::from).collect()));
    if chain.iter().any(|message| message.status.is_sent()) {
        return too_late();
    }
    match state {
        Some(State::Cancelled) => Some(Cancellation::Cancelled),
        Some(State::Started) => Some(Cancellation::Leaving),
        // It was held or in doubt a moment ago. If it still is, it is leaving; if not, it can be cancelled now.
        Some(State::Scheduled | State::Queued) if chain.iter().any(may_have_left) => Some(Cancellation::Leaving),
        Some(State::Scheduled | State::Queued) => None,
        // The task's row goes before its chain's.
        Some(State::Success | State::Dead) | None => match chain.iter().any(|one| one.status == Status::Cancelled) {
            true => Some(Cancellation::Cancelled),
            false => too_late(),
        },
    }
}

/// An attempt had no answer, and the provider is being asked.
fn may_have_left(message: &Notification) -> bool {
    message.status == Status::Queued && message.unknown_since.is_some()
}
