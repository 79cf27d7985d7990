//! An event whose customer was unknown at intake is looked at again: perhaps the sync has come (d14).

use std::sync::Arc;

use recado_kernel::config::UnknownCustomer;
use recado_notifications::dispatch::{self, Accepted, DEFERRED_BY, Rejection, Request};
use recado_notifications::jobs::DispatchEvent;
use recado_queue::lanes::MAINTENANCE;

use super::Notifier;
use recado_queue::tasks::Claimed;
use serde_json::json;

use crate::registry::{JobError, Outcome};

pub(crate) async fn again(
    notifier: Arc<Notifier>,
    task: Arc<Claimed>,
    DispatchEvent(event): DispatchEvent,
) -> Result<Outcome, JobError> {
    let request = Request {
        event,
        idempotency: None,
        // The job may run twice; the event is dispatched once.
        unique_key: Some(format!("deferred:{}", task.id)),
        unknown_customer: UnknownCustomer::Reject,
        only: Vec::new(),
        by: None,
    };
    match dispatch::accept(&notifier.system, std::slice::from_ref(&request)).await.pop() {
        Some(Ok(Accepted { receipt, .. })) => Ok(Outcome::Done(json!(receipt))),
        None | Some(Err(Rejection::Unavailable)) => Err("the ledger could not be written".into()),
        // Only the missing customer may still come.
        Some(Err(rejection)) => match DEFERRED_BY.get(usize::try_from(task.attempt).unwrap_or(usize::MAX)) {
            Some(delay) => Ok(Outcome::Later {
                at: notifier.system.context.clock.now() + *delay,
                lane: MAINTENANCE,
                because: Some(rejection.to_string()),
            }),
            None => Err(JobError::fail(rejection)),
        },
    }
}
