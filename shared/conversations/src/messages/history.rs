//! Messages that a sync brings: what was said before, or while this program was away. They ask for nothing until their webhook comes.

use std::collections::{HashMap, HashSet};

use recado_kernel::clock::Timestamp;
use recado_kernel::db::columns::bounded;
use recado_kernel::db::{Result, Session, Texts, columns};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql};

use crate::bridge::{Remembered, moment};
use crate::chats::listing::Counts;

/// Messages that are written with one statement.
const BATCH: usize = 500;

/// The longest text that is kept of a message, in characters; WhatsApp's own limit.
const LONGEST: usize = 65_536;

struct Row<'m> {
    id: Id,
    chat: Id,
    said: &'m Remembered,
    now: Timestamp,
}

columns!(Row<'m> {
    id: uuid = |row| row.id,
    whatsapp_id: text = |row| row.said.id.as_str(),
    chat: uuid = |row| row.chat,
    direction: text = |row| if row.said.from_me { "out" } else { "in" },
    content: text = |row| bounded(&row.said.text, LONGEST),
    sent_at: timestamptz = |row| row.said.timestamp.and_then(moment).unwrap_or(row.now),
    sender_name: text = |row| row.said.sender_name.as_deref(),
    sender_phone: text = |row| row.said.sender_phone.as_deref(),
    media_type: text = |row| row.said.media_type.as_deref(),
    reply_to_whatsapp_id: text = |row| row.said.reply_to.as_deref(),
    created_at: timestamptz = |row| row.now,
});

/// Stores the history of a chat, each message once: those that are here stay as they are, however they came. Returns the
/// counts, and WhatsApp's ids of those that are new.
pub async fn store(
    session: &mut Session,
    chat: Id,
    history: &[Remembered],
    now: Timestamp,
) -> Result<(Counts, HashSet<String>)> {
    let unique = without_known(session, history).await?;
    let mut new = HashSet::new();
    for batch in unique.chunks(BATCH) {
        let rows: Vec<Row<'_>> = batch.iter().map(|said| Row { id: Id::new(now), chat, said, now }).collect();
        let insert = "insert into whatsapp_messages ({columns}) select {columns} from {rows} r where true
            on conflict (whatsapp_id) do nothing returning whatsapp_id";
        let written: Vec<(String,)> = columns::all(session, insert, &rows).await?;
        new.extend(written.into_iter().map(|(id,)| id));
    }
    if let Some(latest) = unique.iter().filter(|said| new.contains(&said.id)).max_by_key(|said| said.timestamp) {
        let at = latest.timestamp.and_then(moment).unwrap_or(now);
        note(session, chat, &latest.text, at, new.len(), now).await?;
    }
    Ok((Counts { created: new.len() as u64, updated: 0, total: count(history) }, new))
}

/// How many messages a history has, each counted once.
pub(crate) fn count(history: &[Remembered]) -> u64 {
    let mut seen = HashSet::new();
    history.iter().filter(|said| seen.insert(said.id.as_str())).count() as u64
}

/// Those that are not here, each once. A webhook may have brought one under its longer name.
pub(crate) async fn without_known<'h>(session: &mut Session, history: &'h [Remembered]) -> Result<Vec<&'h Remembered>> {
    without(session, history, "").await
}

/// Those that took no effect here, each once: they did not arrive, or only a sync that staff asked for stored them.
pub(crate) async fn without_effect<'h>(
    session: &mut Session,
    history: &'h [Remembered],
) -> Result<Vec<&'h Remembered>> {
    without(session, history, "and processed_at is not null").await
}

async fn without<'h>(
    session: &mut Session,
    history: &'h [Remembered],
    condition: &'static str,
) -> Result<Vec<&'h Remembered>> {
    let ids: Vec<&str> = history.iter().flat_map(|said| [said.id.as_str(), said.written_id.as_str()]).collect();
    let known: Vec<(String,)> = sql!(
        all(String,),
        session,
        (&format!("select whatsapp_id from whatsapp_messages where whatsapp_id = any($1) {condition}")),
        Texts(&ids)
    )?;
    let mut known: HashSet<String> = known.into_iter().map(|(id,)| id).collect();
    let is_new = |said: &&Remembered| !known.contains(&said.written_id) && known.insert(said.id.clone());
    Ok(history.iter().filter(is_new).collect())
}

/// When something that took effect here was last said in these chats, by WhatsApp's id.
pub(crate) async fn latest(session: &mut Session, chat_ids: &[&str]) -> Result<HashMap<String, Timestamp>> {
    let latest: Vec<(String, Option<Timestamp>)> = sql!(
        all(String, Option<Timestamp>),
        session,
        "select c.chat_id, (select max(m.sent_at) from whatsapp_messages m
                            where m.chat = coalesce(c.merged_into, c.id) and m.processed_at is not null)
         from whatsapp_chats c where c.chat_id = any($1)",
        Texts(chat_ids)
    )?;
    Ok(latest.into_iter().filter_map(|(chat_id, at)| Some((chat_id, at?))).collect())
}

/// The chat knows what was said in it last.
async fn note(session: &mut Session, chat: Id, text: &str, at: Timestamp, new: usize, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update whatsapp_chats set message_count = message_count + $2,
             last_message_preview = case when last_message_at > $3 then last_message_preview else $4 end,
             last_message_at = case when last_message_at > $3 then last_message_at else $3 end,
             updated_at = $5
         where id = $1",
        chat,
        i32::try_from(new).unwrap_or(i32::MAX),
        at,
        bounded(text, 200),
        now
    )?;
    Ok(())
}

/// A message of ours that was given to the bridge, which tells no id of it: it has a name of our own until it comes back. Its
/// webhook then still takes effect. Returns its id here.
pub async fn store_sent(
    session: &mut Session,
    chat: Id,
    whatsapp_id: Option<&str>,
    text: &str,
    now: Timestamp,
) -> Result<Id> {
    let id = Id::new(now);
    let provisional = format!("{PROVISIONAL}{id}");
    let said = Remembered {
        id: whatsapp_id.map_or(provisional, str::to_owned),
        from_me: true,
        text: text.to_owned(),
        timestamp: Some(now.as_millis()),
        ..Remembered::default()
    };
    let row = Row { id, chat, said: &said, now };
    let insert = "insert into whatsapp_messages ({columns}) select {columns} from {rows} r where true
        on conflict (whatsapp_id) do nothing";
    let stored = columns::run(session, insert, std::slice::from_ref(&row)).await?;
    if stored > 0 {
        note(session, chat, text, now, 1, now).await?;
    }
    Ok(id)
}

/// With what a name of our own begins.
const PROVISIONAL: &str = "sent:";

/// A message of ours came back, and now bears WhatsApp's own name. Nothing happens when that came by another way already.
pub(crate) async fn name_sent(session: &mut Session, message: Id, whatsapp_id: &str) -> Result<()> {
    let ids = [whatsapp_id];
    let known: Option<(Id,)> =
        sql!(one(Id,), session, "select id from whatsapp_messages where whatsapp_id = any($1)", Texts(&ids))?;
    if known.is_none() {
        sql!(
            run,
            session,
            "update whatsapp_messages set whatsapp_id = $2 where id = $1 and whatsapp_id like 'sent:%'",
            message,
            whatsapp_id
        )?;
    }
    Ok(())
}
