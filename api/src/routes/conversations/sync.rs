//! What the bridge has on record is fetched by a job (S003-21). The task tells how it went, with its counts.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_conversations::bridge::Target;
use recado_conversations::jobs::{SyncChats, SyncGroups, SyncHistories, SyncMessages};
use recado_conversations::sync::runs::{self, Run, What};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_queue::jobs::Job;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Admin, May};
use crate::extract::body::MaybeJson;
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// Messages of a history, unless it is said how many.
const USUAL_LIMIT: i32 = 1_000;

/// The most that one job fetches: more does not fit into the minute that the bridge has.
const LARGEST_LIMIT: i32 = 10_000;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(chats))
        .routes(routes!(groups))
        .routes(routes!(messages))
        .routes(routes!(histories))
        .routes(routes!(list_syncs))
        .routes(routes!(show_sync))
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

/// Fetches the newest messages of every chat from the bridge, chat by chat. It goes on where it was when it is cut off, and
/// `syncs/{task_id}/` tells how far it is. What is stored so asks for nothing.
#[utoipa::path(post, path = "/messages/sync", tag = "conversations", request_body = Option<SyncWrite>, responses(
    (status = 202, description = "A job does it", body = SyncAccepted)))]
async fn histories(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    MaybeJson(SyncWrite { limit }): MaybeJson<SyncWrite>,
) -> Result<(StatusCode, axum::Json<SyncAccepted>), Problem> {
    let limit = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(USUAL_LIMIT.unsigned_abs());
    accept(&api, &SyncHistories { limit }).await
}

/// The newest syncs, those of commands among them, and how far each is.
#[utoipa::path(get, path = "/syncs", tag = "conversations",
    responses((status = 200, description = "At most 50, the newest first", body = SyncList)))]
async fn list_syncs(_: May<Admin>, State(api): State<Arc<Api>>) -> Result<axum::Json<SyncList>, Problem> {
    let runs = runs::newest(&mut api.context.db.read().await?, runs::SHOWN).await?;
    Ok(axum::Json(SyncList { syncs: runs.into_iter().map(SyncView::from).collect() }))
}

/// How far a sync is. The counts grow while it runs; the task itself has them as its `result`, too.
#[utoipa::path(get, path = "/syncs/{task_id}", tag = "conversations",
    params(("task_id" = Id, Path, description = "Id of the task that does it")), responses(
    (status = 200, description = "How far it is", body = SyncView),
    (status = 404, description = "There is no such sync, or it has not begun")))]
async fn show_sync(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(task_id): Segment<Id>,
) -> Result<axum::Json<SyncView>, Problem> {
    let run = runs::find(&mut api.context.db.read().await?, task_id).await?.ok_or(Problem::NotFound)?;
    Ok(axum::Json(run.into()))
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

/// Syncs.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappSyncs)]
struct SyncList {
    /// The newest first.
    syncs: Vec<SyncView>,
}

/// How far a sync is.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappSync)]
struct SyncView {
    /// Id of the task; of a command, an id of its own.
    id: Id,
    /// `chats`, `groups`, `messages` (the history of one chat) or `histories` (of all).
    #[schema(value_type = String, examples("histories"))]
    what: What,
    /// WhatsApp's id of the chat whose history it is.
    #[schema(required, examples("593991234567@c.us"))]
    chat_id: Option<String>,
    /// Messages of a chat at most.
    #[schema(required, examples(1000))]
    limit: Option<i32>,
    /// Chats whose history is here already.
    #[schema(examples(37))]
    chats_done: i32,
    /// Chats whose history is fetched; 0 where it is about something else.
    #[schema(examples(200))]
    chats_total: i32,
    /// Were not here before.
    created: i64,
    /// Were here, and are different now.
    updated: i64,
    /// The bridge told of so many.
    total: i64,
    /// What went wrong last. With a `finished_at` of null it is tried again.
    #[schema(required)]
    problem: Option<String>,
    /// When it began.
    started_at: Timestamp,
    /// When it last came on.
    updated_at: Timestamp,
    /// When it came to its end; null while it runs, waits for its next try, or was cut off.
    #[schema(required)]
    finished_at: Option<Timestamp>,
}

impl From<Run> for SyncView {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            what: run.what,
            chat_id: run.chat_id,
            limit: run.message_limit,
            chats_done: run.chats_done,
            chats_total: run.chats_total,
            created: run.created,
            updated: run.updated,
            total: run.total,
            problem: run.problem,
            started_at: run.started_at,
            updated_at: run.updated_at,
            finished_at: run.finished_at,
        }
    }
}
