//! What was said in chats.

use std::sync::Arc;

use axum::extract::State;
use recado_conversations::messages::{self, Direction, Message};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May};
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

/// The beginning of a message, in characters.
const EXCERPT: usize = 200;

/// The newest 100 messages, the oldest of them first: of one chat, or of all.
#[utoipa::path(get, path = "/", tag = "reservations", operation_id = "whatsapp_messages", params(MessageQuery),
    responses((status = 200, description = "The messages", body = MessageList)))]
async fn list(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Query(MessageQuery { chat_id }): Query<MessageQuery>,
) -> Result<axum::Json<MessageList>, Problem> {
    let mut session = api.context.db.read().await?;
    let messages = messages::newest(&mut session, chat_id.as_deref()).await?;
    Ok(axum::Json(MessageList { messages: messages.into_iter().map(MessageView::from).collect() }))
}

request! {
    /// Which messages to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct MessageQuery {
        /// WhatsApp's id of a chat.
        #[param(example = "593991234567@c.us")]
        chat_id: Option<String>,
    }
}

/// Messages.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhatsappMessageList)]
struct MessageList {
    /// The messages.
    messages: Vec<MessageView>,
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhatsappMessage)]
struct MessageView {
    /// Our id.
    id: Id,
    /// WhatsApp's id.
    whatsapp_id: String,
    /// Digits of who wrote, or of the chat; null where only a LID is known.
    phone: Option<String>,
    /// `in` or `out`.
    #[serde(rename = "type")]
    #[schema(value_type = String, examples("in"))]
    direction: Direction,
    /// Its first 200 characters.
    content: String,
    /// All of it.
    full_content: String,
    /// When it was written, by its sender's clock.
    timestamp: Timestamp,
    /// Our id of the chat.
    chat: Id,
    /// The first code that it names.
    reservation_code: Option<String>,
    /// The request that it made, names or answers.
    linked_reservation_request_id: Option<Id>,
    /// Who wrote.
    metadata: Sender,
    /// Kind of its medium; null for a text.
    media_type: Option<String>,
    /// WhatsApp's id of the message that it quotes.
    reply_to_whatsapp_id: Option<String>,
}

/// Who wrote a message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhatsappSender)]
struct Sender {
    /// Their name.
    sender_name: Option<String>,
    /// Their number, in digits.
    sender_phone: Option<String>,
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        Self {
            id: message.id,
            whatsapp_id: message.whatsapp_id,
            phone: message.chat_phone.or_else(|| message.sender_phone.clone()),
            direction: message.direction,
            content: message.content.chars().take(EXCERPT).collect(),
            full_content: message.content,
            timestamp: message.sent_at,
            chat: message.chat,
            reservation_code: message.reservation_code,
            linked_reservation_request_id: message.request,
            metadata: Sender { sender_name: message.sender_name, sender_phone: message.sender_phone },
            media_type: message.media_type,
            reply_to_whatsapp_id: message.reply_to_whatsapp_id,
        }
    }
}
