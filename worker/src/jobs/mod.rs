//! What each kind of job does: a room per system, and in it a file per noun.

mod bulk;
mod cleanup;
mod notifications;
mod partners;
mod webhooks;

use std::sync::Arc;

use recado_notifications::system::Notifications;
use recado_queue::context::Context;
use recado_queue::jobs::Ping;
use recado_queue::tasks::Claimed;
use serde_json::Value;

use crate::channels::ProviderError;
use crate::registry::{JobError, Jobs, Outcome};

/// Every job of this program.
///
/// # Errors
/// A setting of a provider that cannot work.
pub(crate) fn all(context: &Context) -> Result<Jobs, ProviderError> {
    let mut jobs = Jobs::default();
    let queue = Arc::new(context.clone());
    jobs.add(&queue, ping);
    jobs.add(&queue, cleanup::run);
    jobs.add(&queue, bulk::run);
    notifications::register(&mut jobs, Notifications::new(context.clone()))?;
    partners::register(&mut jobs, context.clone());
    webhooks::register(&mut jobs, context.clone())?;
    Ok(jobs)
}

async fn ping(_: Arc<Context>, _: Arc<Claimed>, _: Ping) -> Result<Outcome, JobError> {
    Ok(Outcome::Done(Value::Null))
}
