//! What may be done about a message: cancel, resend, retry, and look at its address.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use recado_kernel::ids::Id;
use recado_notifications::cancellation::{self, Cancellation};
use recado_notifications::notifications;
use recado_notifications::resend::{self, ResendError};
use recado_notifications::reveal;
use recado_queue::idempotency::IdempotencyKey;
use recado_queue::operations;
use serde_json::json;

use super::{PATH, story};
use crate::Console;
use crate::auth::{May, Operate};
use crate::failure::Failure;
use crate::form::Form;
use crate::notice::{Notice, then};
use crate::path::Path;

fn there(id: Id) -> String {
    format!("{PATH}{id}/")
}

/// Nothing of the chain will leave. Where it is too late, the page that follows says why.
pub(crate) async fn cancel(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let notice = match cancellation::cancel_delivery(&console.context, id, &may.visit.actor()).await? {
        Cancellation::Unknown => return Err(Failure::NotFound),
        Cancellation::Cancelled => Notice::new("message-cancelled", 1).undone_by(format!("{PATH}{id}/retry/")),
        Cancellation::Leaving => Notice::new("message-leaving", 0),
        Cancellation::TooLate(chain) => match chain.iter().any(|record| record.status.is_sent()) {
            true => Notice::new("message-has-left", 0),
            false => Notice::new("message-has-failed", 0),
        },
    };
    Ok(then(&there(id), &notice))
}

/// The same words to the same address once more, as a new message. It can be cancelled while it has not left.
pub(crate) async fn resend(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let once = form.optional("once").and_then(|once| once.parse::<Id>().ok());
    let key = once.map(|once| IdempotencyKey::new("console", &once.to_string(), &json!({ "resend": id })));
    let sent = resend::resend(&console.notifications, id, key.as_ref(), &may.visit.actor()).await;
    let word = match sent {
        Ok(accepted) => {
            let new = accepted.receipt.notifications.first().map_or(id, |planned| planned.id);
            let notice = Notice::new("message-resent", 1).undone_by(format!("{PATH}{new}/cancel/"));
            return Ok(then(&there(new), &notice));
        }
        Err(ResendError::Unknown) => return Err(Failure::NotFound),
        Err(ResendError::Database(error)) => return Err(error.into()),
        Err(ResendError::OnItsWay) => Notice::new("message-on-its-way", 0),
        Err(ResendError::Erased) => Notice::new("message-erased", 0),
        Err(ResendError::Refused { reason: "suppressed", .. }) => Notice::new("message-suppressed", 0),
        Err(ResendError::Refused { .. }) => Notice::new("message-opted-out", 0),
        Err(ResendError::KeyReused) => Notice::new("nothing-to-do", 0),
    };
    Ok(then(&there(id), &word))
}

/// The chain begins again, if its task is dead or cancelled.
pub(crate) async fn retry(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let chain = notifications::chain_of(&mut console.context.db.read().await?, id).await?;
    let task_id = chain.first().ok_or(Failure::NotFound)?.task_id;
    let retried = operations::retry(&console.context, &[task_id], &may.visit.actor()).await?;
    let notice = match retried.is_empty() {
        true => Notice::new("nothing-to-do", 0),
        false => Notice::new("message-retried", 1).undone_by(format!("{PATH}{id}/cancel/")),
    };
    Ok(then(&there(id), &notice))
}

/// Shows the addresses of a chain, once, and writes down who looked.
pub(crate) async fn reveal(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let addresses = reveal::addresses(&mut session, id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    story::draw(&console, &may.visit, id, Some(addresses.ok_or(Failure::NotFound)?)).await
}
