//! A person asks to be forgotten: what is theirs is deleted, and of what was sent to them only ids, states, times and codes
//! remain (GDPR article 17; LOPDP of Ecuador, article 15).
//!
//! Who adds a table with personal data adds a line to [`erase`]; a story looks through every text column of the database
//! for what must not be there any more.

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{customers, notifications, test_sends};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::person::Person;
use recado_kernel::sql;
use recado_queue::tasks;

/// What was erased, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Erased {
    /// The customer, if there was one.
    pub customers: u64,
    /// Preferences of channels.
    pub preferences: u64,
    /// Subscriptions of browsers.
    pub subscriptions: u64,
    /// Vehicles.
    pub vehicles: u64,
    /// Reminders of these vehicles.
    pub reminders: u64,
    /// Messages whose address and words were emptied.
    pub notifications: u64,
    /// Attempts whose errors and answers were emptied.
    pub attempts: u64,
    /// Jobs that were cancelled: deliveries under way, and news of the Core service that had not been read yet.
    pub cancelled: u64,
    /// Jobs whose content, result or error was emptied.
    pub tasks: u64,
    /// Suppressions of their addresses, except of those that another customer has too.
    pub suppressions: u64,
    /// Entries of the journal whose facts were emptied.
    pub journal: u64,
}

impl Erased {
    /// Whether there was nothing about this person.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Erases a customer, inside one transaction. It also finds what a plain deletion left in the log, and what a job that ran
/// at that moment wrote afterwards; so it may be repeated until [`Erased::is_nothing`].
///
/// Open work is cancelled first. From then on a worker that still runs it cannot say how it ended, and what it says of the
/// attempt is emptied by [`forget_late_answers`](crate::notifications::attempts::forget_late_answers).
///
/// By what the person is recognised elsewhere is returned too: bodies of webhooks name her in words of other systems, and
/// [`searches`](crate::searches) looks for them afterwards.
pub async fn erase(session: &mut Session, customer_id: &str, now: Timestamp) -> Result<(Erased, Person)> {
    let mut erased = Erased { cancelled: cancel(session, customer_id, now).await?, ..Erased::default() };
    let addresses = addresses(session, customer_id).await?;
    test_sends::erase(session, customer_id, &addresses).await?;
    erased.suppressions = lift_suppressions(session, customer_id, &addresses).await?;
    erased.tasks = empty_tasks(session, customer_id).await?;
    erased.attempts = sql!(
        run,
        session,
        "update attempts set error_reason = null, provider_answer = null
         where notification_id in (select id from notifications where customer_id = $1)
           and (error_reason is not null or provider_answer is not null)",
        customer_id
    )?;
    erased.notifications = notifications::erase(session, customer_id, now).await?;
    erased.journal =
        sql!(run, session, "update journal set facts = '{}' where customer_id = $1 and facts <> '{}'", customer_id)?;
    let deleted = customers::remove(session, customer_id).await?;
    let erased = Erased {
        customers: deleted.customers,
        preferences: deleted.preferences,
        subscriptions: deleted.subscriptions,
        vehicles: deleted.vehicles,
        reminders: deleted.reminders,
        ..erased
    };
    Ok((erased, Person::new(customer_id, addresses)))
}

/// Cancels the deliveries to this person, and the jobs that would bring their data back.
async fn cancel(session: &mut Session, customer_id: &str, now: Timestamp) -> Result<u64> {
    let open: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "select id from tasks where finished_at is null and id in (select task_id from notifications where customer_id = $1)
         union
         select id from tasks where kind in ('sync_customer', 'sync_vehicle', 'dispatch_event')
                                and payload ->> 'customer_id' = $1 and finished_at is null",
        customer_id
    )?;
    let open: Vec<Id> = open.into_iter().map(|(id,)| id).collect();
    Ok(tasks::cancel(session, &open, now).await?.len() as u64)
}

/// Where this person is reached, now or by an earlier message, in the spelling of `suppressions` and as it is written.
pub async fn addresses(session: &mut Session, customer_id: &str) -> Result<Vec<String>> {
    let rows: Vec<(Option<String>,)> = sql!(
        all(Option<String>),
        session,
        "select email from customers where customer_id = $1
         union select phone from customers where customer_id = $1
         union select whatsapp from customers where customer_id = $1
         union select endpoint from push_subscriptions where customer_id = $1",
        customer_id
    )?;
    let of_messages = notifications::addresses_of(session, customer_id).await?;
    let written =
        rows.into_iter().filter_map(|(address,)| address).chain(of_messages).filter(|address| !address.is_empty());
    let spellings: BTreeSet<String> = written.flat_map(|address| [address.to_lowercase(), address]).collect();
    Ok(spellings.into_iter().collect())
}

/// An address of two people stays suppressed: the other one has not asked for anything.
async fn lift_suppressions(session: &mut Session, customer_id: &str, addresses: &[String]) -> Result<u64> {
    sql!(run, session, "delete from lifted_suppressions where address = any($1)", Texts(addresses))?;
    sql!(
        run,
        session,
        "delete from suppressions where address = any($2)
           and not exists (select 1 from customers other where other.customer_id <> $1
                           and suppressions.address in (lower(other.email), other.phone, other.whatsapp))",
        customer_id,
        Texts(addresses)
    )
}

/// A job that carried their data is left without content: it cannot be run again. A delivery keeps what it says of itself
/// in its notifications.
async fn empty_tasks(session: &mut Session, customer_id: &str) -> Result<u64> {
    let about = sql!(
        run,
        session,
        "update tasks set payload = '{}', result = null, error = case when error is null then null else 'erased' end
         where kind in ('sync_customer', 'sync_vehicle', 'dispatch_event') and payload ->> 'customer_id' = $1",
        customer_id
    )?;
    let deliveries = sql!(
        run,
        session,
        "update tasks set result = null, error = case when error is null then null else 'erased' end
         where id in (select task_id from notifications where customer_id = $1 and erased_at is null)
           and (result is not null or error is not null)",
        customer_id
    )?;
    Ok(about + deliveries)
}
