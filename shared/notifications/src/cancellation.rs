//! Cancelling a delivery, unless it has left.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::context::Context;
use recado_queue::tasks::{self, State};

use crate::journal::{self, Entry, Fact};
use crate::notifications::records::Record;
use crate::notifications::{self, Status};

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
pub async fn cancel_delivery(context: &Context, notification_id: Id) -> Result<Cancellation> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let chain = notifications::chain_of(&mut session, notification_id).await?;
    let Some(wanted) = chain.iter().find(|message| message.id == notification_id) else {
        return Ok(Cancellation::Unknown);
    };
    let task_id = wanted.task_id;
    if !cancel_before_it_leaves(&mut session, task_id, now).await? {
        let is_running = tasks::find(&mut session, task_id).await?.is_some_and(|task| task.state == State::Started);
        let chain: Vec<Record> = chain.iter().map(Record::from).collect();
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
        correlation_id: wanted.correlation_id,
        customer_id: wanted.customer_id.clone(),
        task_id: Some(task_id),
        notification_id: Some(notification_id),
        channel: None,
        fact: Fact::Cancelled {},
    };
    journal::record(&mut session, &[entry]).await?;
    session.commit().await?;
    Ok(Cancellation::Cancelled)
}

/// Cancels a delivery that no worker holds and of which nothing was sent. Returns whether it did: one statement, so that a
/// worker either has it already or never gets it.
async fn cancel_before_it_leaves(session: &mut Session, id: Id, now: Timestamp) -> Result<bool> {
    let cancelled = sql!(
        run,
        session,
        "update tasks set state = 'cancelled', finished_at = $2, lease_until = null, worker = null
         where id = $1 and state in ('scheduled', 'queued')
           and not exists (select 1 from notifications n where n.task_id = $1 and n.status in ('sent', 'delivered', 'read'))",
        id,
        now
    )?;
    Ok(cancelled > 0)
}
