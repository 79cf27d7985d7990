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
    let outcome = match job {
        Job::SendNotification { .. } => return notifications::send(runner, task).await,
        Job::DispatchEvent(event) => dispatch::again(context, task, event).await?,
        Job::SyncCustomer(customer) => customers::sync(context, customer).await?,
        Job::SyncVehicle(vehicle) => vehicles::sync(context, vehicle).await?,
        Job::ApplyReceipts { receipts } => receipts::apply(context, task, receipts).await?,
        Job::CheckMaintenanceReminders {} => reminders::check(context).await?,
        Job::RetryFailedNotifications {} => notifications::retry_failed(context).await?,
        Job::CountAnalytics {} => analytics::count(context).await?,
        Job::Cleanup {} => cleanup::run(context).await?,
        Job::Ping {} => Outcome::Done(serde_json::Value::Null),
    };
    Ok(outcome.into())
}
