//! What the bridge has on record is fetched by a job (S003-21). The task tells how it went, with its counts.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_conversations::bridge::Target;
use recado_conversations::jobs::{SyncChats, SyncGroups, SyncMessages};
use recado_kernel::ids::Id;
use recado_queue::jobs::Job;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::auth::{Admin, May};
use crate::extract::body::MaybeJson;
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::state::{Api, Routes};

/// Messages of a history, unless it is said how many.
const USUAL_LIMIT: i32 = 1_000;

/// The most that one job fetches: more does not fit into the minute that the bridge has.
const LARGEST_LIMIT: i32 = 10_000;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(chats)).routes(routes!(groups)).routes(routes!(messages))
}

/// Fetches all chats from the bridge. The task's result has `created`, `updated` and `total`.
#[utoipa::path(post, path = "/chats/sync", tag = "conversations",
    responses((status = 202, description = "A job does it", body = SyncAccepted)))]
async fn chats(_: May<Admin>, State(api): State<Arc<Api>>) -> Result<(StatusCode, axum::Json<SyncAccepted>), Problem> {
    accept(&api, &SyncChats {}).await
}

/// Fetches all groups from the bridge.
#[utoipa::path(post, path = "/groups/sync", tag = "conversations",
    responses((status = 202, description = "A job does it", body = SyncAccepted)))]
async fn groups(_: May<Admin>, State(api): State<Arc<Api>>) -> Result<(StatusCode, axum::Json<SyncAccepted>), Problem> {
    accept(&api, &SyncGroups {}).await
}

/// Fetches the newest messages of one chat from the bridge. What is stored so asks for nothing; a webhook that comes later
/// still takes effect.
#[utoipa::path(post, path = "/chats/{chat_id}/messages/sync", tag = "conversations",
    params(("chat_id" = String, Path, description = "WhatsApp's id of the chat", example = "593991234567@c.us")),
    request_body = Option<SyncWrite>, responses(
    (status = 202, description = "A job does it", body = SyncAccepted),
    (status = 400, description = "No such id")))]
async fn messages(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(chat_id): Segment<String>,
    MaybeJson(SyncWrite { limit }): MaybeJson<SyncWrite>,
) -> Result<(StatusCode, axum::Json<SyncAccepted>), Problem> {
    if Target::of(&chat_id).is_none() {
        return Err(FieldErrors::one("chat_id", super::NO_CHAT_ID).into());
    }
    let limit = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(USUAL_LIMIT.unsigned_abs());
    accept(&api, &SyncMessages { chat_id, limit }).await
}

async fn accept(api: &Api, job: &impl Job) -> Result<(StatusCode, axum::Json<SyncAccepted>), Problem> {
    let task_id = api.enqueue.accept(job).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(SyncAccepted { status: "accepted", task_id })))
}

request! {
    /// How much of a history is fetched.
    #[derive(ToSchema)]
    struct SyncWrite {
        /// How many of the newest messages.
        #[schema(minimum = 1, maximum = 10000, default = 1000)]
        limit: Option<i32>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let is_wrong = self.limit.is_some_and(|limit| !(1..=LARGEST_LIMIT).contains(&limit));
        is_wrong.then(|| ("limit", format!("Escriba un número de 1 a {LARGEST_LIMIT}."))).into_iter().collect()
    }
}

/// A job was accepted.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappSyncAccepted)]
struct SyncAccepted {
    /// Always `accepted`.
    #[schema(examples("accepted"))]
    status: &'static str,
    /// The task that does it.
    task_id: Id,
}
