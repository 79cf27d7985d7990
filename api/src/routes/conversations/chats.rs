//! Chats and groups, as the bridge lists them now (S003-6, S003-7).

use std::sync::Arc;

use axum::extract::State;
use recado_conversations::chats::listing::{self, Chat};
use recado_conversations::refresh::List;
use recado_conversations::sync;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May};
use crate::extract::page::MaybePaging;
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(list_groups)).routes(routes!(show_group))
}

/// All chats, those in which something was said last first. The bridge is asked while the request waits; many who ask at once
/// share one question. `stale` is true when it did not say, and the list is what was known before.
#[utoipa::path(get, path = "/chats", tag = "conversations", params(ListQuery, MaybePaging),
    responses((status = 200, description = "The chats", body = Chats)))]
async fn list(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Query(ListQuery { refresh }): Query<ListQuery>,
    paging: MaybePaging,
) -> Result<axum::Json<Chats>, Problem> {
    let is_fresh = api.whatsapp.list(List::Chats, refresh.unwrap_or(false)).await;
    let mut session = api.context.db.read().await?;
    let (chats, total) = listing::list(&mut session, false, paging.limit(), paging.offset()).await?;
    paging.check(total)?;
    let chats = chats.into_iter().map(ChatView::from).collect();
    Ok(axum::Json(Chats { chats, total, stale: !is_fresh }))
}

/// All groups, with those who take part. As the list of chats.
#[utoipa::path(get, path = "/groups", tag = "conversations", params(ListQuery, MaybePaging),
    responses((status = 200, description = "The groups", body = Groups)))]
async fn list_groups(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Query(ListQuery { refresh }): Query<ListQuery>,
    paging: MaybePaging,
) -> Result<axum::Json<Groups>, Problem> {
    let is_fresh = api.whatsapp.list(List::Groups, refresh.unwrap_or(false)).await;
    let mut session = api.context.db.read().await?;
    let (groups, total) = listing::list(&mut session, true, paging.limit(), paging.offset()).await?;
    paging.check(total)?;
    let groups = groups.into_iter().map(|group| GroupView::of(group, None)).collect();
    Ok(axum::Json(Groups { groups, total, stale: !is_fresh }))
}

/// One group, as the bridge knows it now. Without the bridge it is what was known before, and `stale` is true.
#[utoipa::path(get, path = "/groups/{id}/info", tag = "conversations",
    params(("id" = Id, Path, description = "Id of the chat, as the list has it")),
    responses((status = 200, description = "The group", body = GroupView), (status = 400, description = "It is a person")))]
async fn show_group(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<GroupView>, Problem> {
    let known = listing::find(&mut api.context.db.read().await?, id).await?.ok_or(Problem::NotFound)?;
    if !known.is_group() {
        return Err(FieldErrors::one("id", "Este chat es de una persona; elija un grupo.").into());
    }
    let is_fresh = match api.whatsapp.bridge() {
        Some(bridge) => {
            let asked = sync::group(&api.context, bridge, &known.chat_id).await;
            let asked =
                asked.inspect_err(|error| tracing::warn!(%error, chat.id = %id, "a group is not up to date: {error}"));
            asked.is_ok()
        }
        None => false,
    };
    let group = listing::find(&mut api.context.db.read().await?, id).await?.ok_or(Problem::NotFound)?;
    Ok(axum::Json(GroupView::of(group, Some(!is_fresh))))
}

request! {
    /// How up to date a list must be.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct ListQuery {
        /// `true`: the bridge is asked whatever `WHATSAPP_CACHE_SECONDS` says.
        refresh: Option<bool>,
    }
}

/// The chats.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappChats)]
struct Chats {
    /// The chats of this page; all of them where no page was asked for.
    chats: Vec<ChatView>,
    /// How many there are.
    total: i64,
    /// The bridge did not say: the list is what was known before.
    stale: bool,
}

/// The groups.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappGroups)]
struct Groups {
    /// The groups of this page; all of them where no page was asked for.
    groups: Vec<GroupView>,
    /// How many there are.
    total: i64,
    /// The bridge did not say: the list is what was known before.
    stale: bool,
}

/// A chat.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappChat)]
struct ChatView {
    /// Id of the chat.
    id: Id,
    /// WhatsApp's own id.
    #[schema(examples("593991234567@c.us"))]
    chat_id: String,
    /// As the telephone's address book has it.
    #[schema(required)]
    name: Option<String>,
    /// As staff call it.
    #[schema(required)]
    nickname: Option<String>,
    /// As the person calls herself.
    #[schema(required)]
    whatsapp_name: Option<String>,
    /// Her picture.
    #[schema(required)]
    profile_picture_url: Option<String>,
    /// `individual` or `group`.
    #[serde(rename = "type")]
    #[schema(examples("individual"))]
    kind: String,
    /// Digits; null for a group, and for a person of whom only a LID is known.
    #[schema(required)]
    phone: Option<String>,
    /// Id of the operator who looks after it.
    #[schema(required)]
    assigned_operator: Option<Id>,
    /// Whether it is in use.
    is_active: bool,
    /// When something was last said.
    #[schema(required)]
    last_message_at: Option<Timestamp>,
    /// The beginning of it.
    #[schema(required)]
    last_message_preview: Option<String>,
    /// Messages that are stored here.
    message_count: i32,
    /// Those that have not been read.
    unread_count: i32,
    /// Words of staff.
    tags: Vec<Value>,
}

/// A group.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappGroup)]
struct GroupView {
    #[serde(flatten)]
    chat: ChatView,
    /// What it is for, as its members wrote it.
    #[schema(required)]
    description: Option<String>,
    /// Those who take part, as the bridge lists them.
    participants: Vec<Value>,
    /// How many they are.
    participants_count: usize,
    /// Of a group that was asked for by itself: the bridge did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<bool>,
}

impl From<Chat> for ChatView {
    fn from(chat: Chat) -> Self {
        Self {
            id: chat.id,
            chat_id: chat.chat_id,
            name: chat.name,
            nickname: chat.nickname,
            whatsapp_name: chat.whatsapp_name,
            profile_picture_url: chat.profile_picture_url,
            kind: chat.kind.to_string(),
            phone: chat.phone,
            assigned_operator: chat.assigned_operator,
            is_active: chat.is_active,
            last_message_at: chat.last_message_at,
            last_message_preview: chat.last_message_preview,
            message_count: chat.message_count,
            unread_count: chat.unread_count,
            tags: chat.tags.0,
        }
    }
}

impl GroupView {
    fn of(mut chat: Chat, stale: Option<bool>) -> Self {
        let (description, participants) = (chat.description.take(), std::mem::take(&mut chat.participants.0));
        Self { description, participants_count: participants.len(), participants, stale, chat: chat.into() }
    }
}
