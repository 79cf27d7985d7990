//! An event whose customer was unknown at the door is looked at again: perhaps the sync has come (d14).

use recado_shared::config::UnknownCustomer;
use recado_shared::context::Context;
use recado_shared::dispatch::{self, Accepted, DEFERRED_BY, Event, Rejection, Request};
use recado_shared::tasks::Claimed;
use serde_json::json;

use crate::run::{Outcome, Trouble};

pub(crate) async fn again(context: &Context, task: &Claimed, event: &Event) -> Result<Outcome, Trouble> {
    let request = Request {
        event: event.clone(),
        idempotency: None,
        // The job may run twice; the event is dispatched once.
        unique_key: Some(format!("deferred:{}", task.id)),
        unknown_customer: UnknownCustomer::Reject,
        only: Vec::new(),
    };
    match dispatch::accept(context, std::slice::from_ref(&request)).await.pop() {
        Some(Ok(Accepted { receipt, .. })) => Ok(Outcome::Done(json!(receipt))),
        None | Some(Err(Rejection::Unavailable)) => Err("the ledger could not be written".into()),
        // Only the missing customer may still come.
        Some(Err(rejection)) => match DEFERRED_BY.get(usize::try_from(task.attempt).unwrap_or(usize::MAX)) {
            Some(delay) => Ok(Outcome::Later {
                at: context.clock.now() + *delay,
                lane: recado_shared::queue::Lane::Maintenance,
                because: Some(rejection.to_string()),
            }),
            None => Ok(Outcome::Failed(rejection.to_string())),
        },
    }
}
