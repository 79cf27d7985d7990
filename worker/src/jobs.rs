//! What each kind of job does. One file per noun; this page says which.

mod analytics;
mod cleanup;
mod customers;
mod dispatch;
pub(crate) mod notifications;
mod receipts;
mod reminders;
mod vehicles;

use recado_shared::queue::Job;
use recado_shared::tasks::Claimed;

use crate::run::{Outcome, Performed, Runner, Trouble};

pub(crate) async fn perform(runner: &Runner, task: &Claimed, job: &Job) -> Result<Performed, Trouble> {
    let context = &runner.context;
    // Boxed, because what runs them is moved several times before it starts: a small job should not carry a large one's room.
    let outcome = match job {
        Job::SendNotification { .. } => return Box::pin(notifications::send(runner, task)).await,
        Job::DispatchEvent(event) => Box::pin(dispatch::again(context, task, event)).await?,
        Job::SyncCustomer(customer) => Box::pin(customers::sync(context, customer)).await?,
        Job::SyncVehicle(vehicle) => Box::pin(vehicles::sync(context, vehicle)).await?,
        Job::ApplyReceipts { receipts } => Box::pin(receipts::apply(context, task, receipts)).await?,
        Job::CheckMaintenanceReminders {} => Box::pin(reminders::check(context)).await?,
        Job::RetryFailedNotifications {} => Box::pin(notifications::retry_failed(context)).await?,
        Job::CountAnalytics {} => Box::pin(analytics::count(context)).await?,
        Job::Cleanup {} => Box::pin(cleanup::run(context)).await?,
        Job::Ping {} => Outcome::Done(serde_json::Value::Null),
    };
    Ok(outcome.into())
}
