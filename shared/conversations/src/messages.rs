//! What was said in a chat, each message once by WhatsApp's own id (S003-24).

pub mod history;

use std::collections::HashMap;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session, Texts, columns};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql, word_enum};

/// Which way a message went (S003-22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Direction {
    In,
    Out,
}

word_enum!(Direction, "a direction");

/// A message that is here already.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Known {
    pub(crate) id: Id,
    pub(crate) whatsapp_id: String,
    /// It took effect; otherwise a sync stored it.
    pub(crate) is_processed: bool,
}

/// Those of these messages that are here, by WhatsApp's id.
pub(crate) async fn known(session: &mut Session, whatsapp_ids: &[&str]) -> Result<HashMap<String, Known>> {
    let known: Vec<Known> = sql!(all Known, session,
        "select id, whatsapp_id, processed_at is not null as is_processed from whatsapp_messages where whatsapp_id = any($1)",
        Texts(whatsapp_ids)
    )?;
    Ok(known.into_iter().map(|known| (known.whatsapp_id.clone(), known)).collect())
}

/// A message to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewMessage<'m> {
    pub(crate) id: Id,
    pub(crate) whatsapp_id: &'m str,
    pub(crate) chat: Id,
    pub(crate) direction: Direction,
    pub(crate) content: &'m str,
    pub(crate) sent_at: Timestamp,
    pub(crate) sender_name: Option<&'m str>,
    pub(crate) sender_phone: Option<&'m str>,
    pub(crate) media_type: Option<&'m str>,
    pub(crate) reply_to_whatsapp_id: Option<&'m str>,
    pub(crate) reservation_code: Option<String>,
    pub(crate) now: Timestamp,
}

columns!(NewMessage<'m> {
    id: uuid = |message| message.id,
    whatsapp_id: text = |message| message.whatsapp_id,
    chat: uuid = |message| message.chat,
    direction: text = |message| message.direction.as_str(),
    content: text = |message| message.content,
    sent_at: timestamptz = |message| message.sent_at,
    sender_name: text = |message| message.sender_name,
    sender_phone: text = |message| message.sender_phone,
    media_type: text = |message| message.media_type,
    reply_to_whatsapp_id: text = |message| message.reply_to_whatsapp_id,
    reservation_code: text = |message| message.reservation_code.as_deref(),
    processed_at: timestamptz = |message| message.now,
    created_at: timestamptz = |message| message.now,
});

/// Stores messages that take effect now; returns WhatsApp's ids of those that were not here.
pub(crate) async fn insert(session: &mut Session, messages: &[NewMessage<'_>]) -> Result<Vec<String>> {
    let insert = "insert into whatsapp_messages ({columns}) select {columns} from {rows} r where true
        on conflict (whatsapp_id) do nothing returning whatsapp_id";
    let written: Vec<(String,)> = columns::all(session, insert, messages).await?;
    Ok(written.into_iter().map(|(whatsapp_id,)| whatsapp_id).collect())
}

/// Lets messages that a sync stored take effect now; returns those that had not before.
pub(crate) async fn claim(session: &mut Session, whatsapp_ids: &[&str], now: Timestamp) -> Result<Vec<(String, Id)>> {
    sql!(
        all(String, Id),
        session,
        "update whatsapp_messages set processed_at = $2 where whatsapp_id = any($1) and processed_at is null
         returning whatsapp_id, id",
        Texts(whatsapp_ids),
        now
    )
}

/// A message and the request that it made or answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) message: Id,
    pub(crate) request: Id,
}

columns!(Link { id: uuid = |link| link.message, request: uuid = |link| link.request });

/// Links messages with requests.
pub(crate) async fn link(session: &mut Session, links: &[Link]) -> Result<()> {
    let update = "update whatsapp_messages set request = r.request from {rows} r where whatsapp_messages.id = r.id";
    columns::run(session, update, links).await?;
    Ok(())
}

/// A message as staff see it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Message {
    pub id: Id,
    pub whatsapp_id: String,
    pub direction: Direction,
    pub content: String,
    pub sent_at: Timestamp,
    pub chat: Id,
    /// The number of the chat; null for groups and LIDs.
    pub chat_phone: Option<String>,
    pub sender_name: Option<String>,
    pub sender_phone: Option<String>,
    pub media_type: Option<String>,
    pub reply_to_whatsapp_id: Option<String>,
    pub reservation_code: Option<String>,
    pub request: Option<Id>,
}

/// How many messages a look shows.
pub const SHOWN: i64 = 100;

/// The newest messages, the oldest of them first; of one chat, by WhatsApp's id, where one is named.
pub async fn newest(session: &mut Session, chat_id: Option<&str>) -> Result<Vec<Message>> {
    const SELECT: &str = "select m.id, m.whatsapp_id, m.direction, m.content, m.sent_at, m.chat, c.phone as chat_phone,
            m.sender_name, m.sender_phone, m.media_type, m.reply_to_whatsapp_id, m.reservation_code, m.request
        from whatsapp_messages m join whatsapp_chats c on c.id = m.chat";
    let mut messages: Vec<Message> = match chat_id {
        Some(chat_id) => sql!(all Message, session,
            (&format!("{SELECT} where m.chat = (select coalesce(merged_into, id) from whatsapp_chats where chat_id = $1)
                       order by m.sent_at desc, m.id desc limit {SHOWN}")), chat_id)?,
        None => sql!(all Message, session, (&format!("{SELECT} order by m.id desc limit {SHOWN}")))?,
    };
    messages.reverse();
    Ok(messages)
}

/// Deletes a batch of what was stored before this moment. Returns how many there were.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from whatsapp_messages where id in (select id from whatsapp_messages where id < $1 order by id limit $2)",
        Id::earliest(before),
        limit
    )
}

/// Deletes what was said in these chats, and what people with these numbers said in groups. No index knows who said something: it would
/// be written with every message, and groups are few beside the chats of people.
pub(crate) async fn erase(session: &mut Session, chats: &[Id], phones: &[String]) -> Result<u64> {
    let said = sql!(run, session, "delete from whatsapp_messages where chat = any($1)", Ids(chats))?;
    let said_in_groups = sql!(
        run,
        session,
        "delete from whatsapp_messages
         where chat in (select id from whatsapp_chats where kind = 'group') and sender_phone = any($1)",
        Texts(phones)
    )?;
    Ok(said + said_in_groups)
}
