//! What each kind of job does: a room per system, and in it a file per noun.

mod bulk;
mod cleanup;
mod conversations;
mod erasure;
mod notifications;
mod partners;
mod webhooks;

use std::sync::Arc;

use recado_kernel::db;
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
    jobs.add(&queue, erasure::run);
    jobs.add(&queue, bulk::run);
    notifications::register(&mut jobs, Notifications::new(context.clone()))?;
    conversations::register(&mut jobs, context.clone())?;
    partners::register(&mut jobs, context.clone());
    webhooks::register(&mut jobs, context.clone())?;
    Ok(jobs)
}

/// What a worker sees to before its first task: settings may be others than when the rows were written.
///
/// # Errors
/// The database failed.
pub(crate) async fn prepare(context: &Context) -> db::Result<()> {
    partners::align(context).await
}

/// Sees that the session of the WhatsApp bridge is watched, where there is one.
pub(crate) async fn watch_whatsapp(context: &Context) -> db::Result<()> {
    conversations::watch(context).await
}

async fn ping(_: Arc<Context>, _: Arc<Claimed>, _: Ping) -> Result<Outcome, JobError> {
    Ok(Outcome::Done(Value::Null))
}
