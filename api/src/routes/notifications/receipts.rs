//! Evolution API tells us what became of messages (d32): taken in here, worked off on queue `sync`.
//!
//! Evolution tries a webhook ten times, but not after 400, 401, 403, 404 or 422. So only what will never be understood is
//! answered with one of these; an event that we do not use, or an unknown message, is 200, however large its media.
//!
//! What people write to an instance whose chats are conversations comes here too, and goes there.

use std::sync::Arc;

use axum::extract::State;
use recado_kernel::ids::Id;
use recado_notifications::jobs::ApplyReceipts;
use recado_notifications::receipts::{Connection, Webhook};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::EvolutionCaller;
use crate::extract::body;
use crate::extract::path::Segment;
use crate::problem::Problem;
use crate::routes::conversations::evolution;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(take)).routes(routes!(take_event))
}

/// Receipts of WhatsApp messages, as Evolution API posts them to one URL for all events.
#[utoipa::path(post, path = "/", tag = "receipts", security(("evolutionToken" = []), ("evolutionJwt" = [])),
    request_body(content = Value, description = "A webhook of Evolution API 2.x"),
    responses((status = 200, description = "It is kept, or there was nothing in it for us", body = WebhookAnswer)))]
async fn take(
    _: EvolutionCaller,
    State(api): State<Arc<Api>>,
    body::Webhook(body): body::Webhook,
) -> Result<axum::Json<WebhookAnswer>, Problem> {
    accept(&api, None, body.as_ref()).await
}

/// The same with the event in the URL, as Evolution API posts when `webhookByEvents` is on: `messages-update`, …
#[utoipa::path(post, path = "/{event}", tag = "receipts", security(("evolutionToken" = []), ("evolutionJwt" = [])),
    params(("event" = String, Path, description = "Name of the event", example = "messages-update")),
    request_body(content = Value, description = "A webhook of Evolution API 2.x"),
    responses((status = 200, description = "It is kept, or there was nothing in it for us", body = WebhookAnswer)))]
async fn take_event(
    _: EvolutionCaller,
    State(api): State<Arc<Api>>,
    Segment(event): Segment<String>,
    body::Webhook(body): body::Webhook,
) -> Result<axum::Json<WebhookAnswer>, Problem> {
    accept(&api, Some(&event), body.as_ref()).await
}

async fn accept(api: &Api, event: Option<&str>, body: Option<&Value>) -> Result<axum::Json<WebhookAnswer>, Problem> {
    let Some(body) = body else {
        let reason = "El cuerpo es demasiado grande, también sin sus textos largos; no se leyó.";
        return Ok(axum::Json(WebhookAnswer {
            status: "ok",
            accepted: 0,
            messages: None,
            ignored: vec![reason.to_owned()],
            task_id: None,
        }));
    };
    let Webhook { receipts, connection, ignored } = Webhook::read(event, body, api.context.clock.now());
    if let Some(connection) = &connection {
        observe(api, connection);
    }
    let conversed = evolution::hear(api, event, body).await?;
    let accepted = receipts.len();
    let task_id = if accepted == 0 { None } else { Some(api.enqueue.accept(&ApplyReceipts { receipts }).await?) };
    let messages = conversed.as_ref().map(|conversed| conversed.messages);
    // To conversations, a message that is no receipt is no mistake.
    let ignored = conversed.map_or(ignored, |conversed| conversed.ignored);
    Ok(axum::Json(WebhookAnswer { status: "ok", accepted, messages, ignored, task_id }))
}

/// Says so when the telephone of an instance comes or goes. Nothing is sent because of it: retries come by themselves.
fn observe(api: &Api, Connection { instance, state }: &Connection) {
    let is_open = state == "open";
    if is_open {
        tracing::info!(instance, state, "the WhatsApp session of instance {instance} is open");
    } else {
        tracing::warn!(instance, state, "the WhatsApp session of instance {instance} is not open: {state}");
    }
    // Only for the instance of the environment: names from outside would fill the memory of Prometheus, and those of the
    // accounts in the database would have to be looked up for every webhook.
    if api.context.config.whatsapp.as_ref().is_some_and(|settings| settings.instance == *instance) {
        let open = if is_open { 1.0 } else { 0.0 };
        metrics::gauge!("recado_whatsapp_connected", "instance" => instance.clone()).set(open);
    }
}

/// What was taken in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReceiptsTaken)]
struct WebhookAnswer {
    /// Always `ok`.
    #[schema(examples("ok"))]
    status: &'static str,
    /// How many receipts there were.
    #[schema(examples(1))]
    accepted: usize,
    /// How many messages of conversations are kept, now or before; absent where the event or the instance is none of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<usize>,
    /// What was left aside and why, for the person who sets the webhook up; at most ten reasons.
    ignored: Vec<String>,
    /// The task that applies the receipts; absent when there are none.
    task_id: Option<Id>,
}
