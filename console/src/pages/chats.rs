//! Chats: what was said, both ways, and writing into one. Numbers and names are hidden; looking at them is written down.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_conversations::bridge::{Bridge, Target};
use recado_conversations::chats::is_lid;
use recado_conversations::chats::listing::{self, Chat};
use recado_conversations::jobs::SyncMessages;
use recado_conversations::messages::{self, Direction, Message};
use recado_conversations::operations::{self, CHAT, Error};
use recado_conversations::sessions::{self, BRIDGE, Status};
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_queue::context::Context;

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::{Around, Query, ROWS};
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::pages::endpoints::commit;
use crate::path::Path;

const PATH: &str = "/admin/conversations/chats/";

/// The longest text that WhatsApp takes, in characters.
const LONGEST_TEXT: usize = 65_536;

/// The longest that is drawn of one message, in characters.
const LONGEST_SHOWN: usize = 4_000;

/// Messages that one fetch brings.
const FETCHED: u32 = 1_000;

/// What a person, or a group, is called.
pub(crate) fn called(chat: &Chat, is_shown: bool) -> String {
    let name = [&chat.nickname, &chat.name, &chat.whatsapp_name].into_iter().flatten().find(|name| !name.is_empty());
    match name {
        Some(name) if is_shown || chat.is_group() => name.clone(),
        Some(name) => masking::name(name),
        None if is_shown => chat.chat_id.clone(),
        None => masking::chat(&chat.chat_id),
    }
}

/// Whether what is shown may be old: the bridge's session is not connected, so nothing new comes.
async fn is_stale(context: &Context, session: &mut db::Session) -> db::Result<bool> {
    let known = sessions::find(session, BRIDGE).await?;
    let has_instances = !context.config.conversations.evolution_instances.is_empty();
    Ok(!has_instances && known.is_none_or(|known| known.status != Status::Connected))
}

// --- The list ---

struct Row {
    id: Id,
    name: String,
    chat_id: String,
    is_group: bool,
    is_lid: bool,
    preview: String,
    unread: i64,
    messages: i64,
    last_at: Option<Timestamp>,
}

#[derive(Template)]
#[template(path = "chats/list.html")]
struct ListPage {
    page: Page,
    search: String,
    only_groups: bool,
    is_stale: bool,
    rows: Vec<Row>,
    around: Around,
}

/// `/admin/conversations/chats/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let (search, only_groups) = (asked.text("search"), asked.text("kind").as_deref() == Some("group"));
    let behind = asked.text("behind").and_then(|place| {
        let (at, id) = place.split_once('_')?;
        Some((Timestamp::from_micros(at.parse().ok()?), id.parse().ok()?))
    });
    let mut session = console.context.db.read().await?;
    let (found, has_more) = listing::latest(&mut session, search.as_deref(), only_groups, behind, ROWS).await?;
    let is_stale = is_stale(&console.context, &mut session).await?;
    drop(session);
    let page = Page::new(&console, &may.visit, "chats", "chats-title");
    let is_shown = page.may_operate();
    let last = found.last().and_then(|chat| Some(format!("{}_{}", chat.last_message_at?.as_micros(), chat.id)));
    let without = asked.with(&["behind"], &[]);
    let around = Around {
        newer: behind.map(|_| format!("{PATH}?{without}")),
        older: last
            .filter(|_| has_more && search.is_none())
            .map(|last| format!("{PATH}?{}", asked.with(&["behind"], &[("behind", &last)]))),
    };
    let row = |chat: Chat| Row {
        id: chat.id,
        name: called(&chat, false),
        is_group: chat.is_group(),
        is_lid: is_lid(&chat.chat_id),
        preview: chat.last_message_preview.clone().filter(|_| is_shown).unwrap_or_default(),
        unread: chat.unread_count.into(),
        messages: chat.message_count.into(),
        last_at: chat.last_message_at,
        chat_id: masking::chat(&chat.chat_id),
    };
    html(&ListPage {
        page,
        search: search.unwrap_or_default(),
        only_groups,
        is_stale,
        rows: found.into_iter().map(row).collect(),
        around,
    })
}

// --- One ---

struct Bubble {
    is_ours: bool,
    sender: String,
    text: String,
    /// Words that were cut off.
    is_cut: bool,
    media: Option<String>,
    code: Option<String>,
    request: Option<Id>,
    at: Timestamp,
}

#[derive(Template)]
#[template(path = "chats/show.html")]
struct ShowPage {
    page: Page,
    id: Id,
    name: String,
    chat_id: String,
    phone: Option<String>,
    is_group: bool,
    is_lid: bool,
    members: i64,
    description: Option<String>,
    messages: i64,
    bubbles: Vec<Bubble>,
    is_revealed: bool,
    is_stale: bool,
    can_write: bool,
    form: Form,
}

/// `/admin/conversations/chats/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    html(&load(&console, &may, id, false).await?)
}

/// The same with number and names; that somebody looked is written down.
pub(crate) async fn reveal(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let shown = load(&console, &may, id, true).await?;
    note_reveal(&console, &may, CHAT, id).await?;
    html(&shown)
}

/// Writes down that somebody looks at what is hidden from others. Only then the page is sent.
pub(super) async fn note_reveal(
    console: &Console,
    may: &May<Operate>,
    kind: &'static str,
    id: Id,
) -> Result<(), Failure> {
    let mut session = console.context.db.begin().await?;
    operations::reveal(&mut session, kind, id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    Ok(())
}

async fn load<P>(console: &Console, may: &May<P>, id: Id, is_revealed: bool) -> Result<ShowPage, Failure> {
    let mut session = console.context.db.read().await?;
    let chat = listing::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let said = messages::newest(&mut session, Some(&chat.chat_id)).await?;
    let is_stale = is_stale(&console.context, &mut session).await?;
    drop(session);
    let page = Page::new(console, &may.visit, "chats", "chat-title");
    let reads = page.may_operate();
    Ok(ShowPage {
        page: page.about(called(&chat, false)),
        id,
        name: called(&chat, is_revealed),
        phone: chat.phone.as_deref().map(|phone| if is_revealed { phone.to_owned() } else { masking::phone(phone) }),
        chat_id: if is_revealed { chat.chat_id.clone() } else { masking::chat(&chat.chat_id) },
        is_group: chat.is_group(),
        is_lid: is_lid(&chat.chat_id),
        members: chat.participants.0.len() as i64,
        description: chat.description.clone().filter(|_| reads),
        messages: chat.message_count.into(),
        bubbles: said.into_iter().map(|message| Bubble::of(message, reads, is_revealed)).collect(),
        is_revealed,
        is_stale,
        can_write: console.context.config.conversations.bridge.is_some() && Target::of(&chat.chat_id).is_some(),
        form: Form::default(),
    })
}

impl Bubble {
    fn of(message: Message, reads: bool, is_revealed: bool) -> Self {
        let is_cut = message.content.chars().count() > LONGEST_SHOWN;
        let text: String = message.content.chars().take(LONGEST_SHOWN).collect();
        let hidden = |name: String| if is_revealed { name } else { masking::name(&name) };
        let number = |phone: String| if is_revealed { phone } else { masking::phone(&phone) };
        Self {
            is_ours: message.direction == Direction::Out,
            sender: message.sender_name.map(hidden).or(message.sender_phone.map(number)).unwrap_or_default(),
            text: if reads { text } else { "•••".to_owned() },
            is_cut,
            media: message.media_type,
            code: message.reservation_code,
            request: message.request,
            at: message.sent_at,
        }
    }
}

/// Writes into the chat.
pub(crate) async fn send(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let chat = listing::find(&mut console.context.db.read().await?, id).await?.ok_or(Failure::NotFound)?;
    let mut shown = load(&console, &may, id, false).await?;
    let text = form.text("text");
    if text.is_empty() || text.chars().count() > LONGEST_TEXT {
        form.add_error("text", shown.page.t("chat-wrong-text"));
    }
    let bridge = Bridge::new(&console.context.config).ok().flatten();
    if let (Some(target), Some(bridge), false) = (Target::of(&chat.chat_id), bridge, form.is_wrong()) {
        match operations::send(&console.context, &bridge, &target, &text, &may.visit.actor()).await {
            Ok(given) => {
                let sent = Notice::new("chat-sent", 1);
                let notice = if given.is_certain { sent } else { Notice::new("chat-perhaps-sent", 1) };
                return Ok(then(&format!("{PATH}{id}/"), &notice));
            }
            Err(Error::Database(error)) => return Err(error.into()),
            Err(Error::Paced(wait)) => {
                let minutes = i64::try_from(wait.as_secs().div_ceil(60)).unwrap_or(i64::MAX);
                form.add_error("text", shown.page.t1("chat-paced", "minutes", minutes));
            }
            Err(Error::Bridge(failure)) => {
                form.add_error("text", shown.page.t1("chat-not-sent", "why", failure.to_string()));
            }
        }
    } else if !form.is_wrong() {
        form.add_error("text", shown.page.t("chat-no-bridge"));
    }
    shown.form = form;
    refused(&shown)
}

/// Fetches its history from the bridge; the page of the task shows how far it is.
pub(crate) async fn sync(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let chat = listing::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let job = SyncMessages { chat_id: chat.chat_id, limit: FETCHED };
    let (task, rings) = operations::sync(&mut session, &job, &may.visit.actor(), may.visit.now).await?;
    commit(&console, session, &rings).await?;
    Ok(then(&format!("/admin/tasks/{task}/"), &Notice::new("whatsapp-sync", 1)))
}
