//! Texts that were given to a bridge. Each is expected to come back: as a message of ours (the Node service), or as a report of
//! the provider. What does not come back is the evidence against a session, and how many there were is the pace of a number.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::sql;

use crate::messages::history;

/// For how long a text may come back. What comes later is taken for another message with the same words.
const ECHO_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the register is kept; the daily cap and the watch over sessions look back no further.
const KEPT: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// A message of ours that came back.
#[derive(Clone, Copy, Debug)]
pub struct Echo<'e> {
    pub whatsapp_id: &'e str,
    pub chat_id: &'e str,
    pub text: &'e str,
}

fn digest(chat_id: &str, text: &str) -> Id {
    Id::of_name(&format!("whatsapp-send\n{chat_id}\n{}", text.trim()))
}

/// Holds a place for a text that is about to be given to the bridge. It counts from now on.
pub(crate) async fn hold(
    session: &mut Session,
    through: &str,
    chat_id: &str,
    text: &str,
    now: Timestamp,
) -> Result<Id> {
    let id = Id::new(now);
    sql!(
        run,
        session,
        "insert into whatsapp_sends (id, session, chat_id, digest, sent_at, is_held) values ($1, $2, $3, $4, $5, true)",
        id,
        through,
        chat_id,
        digest(chat_id, text),
        now
    )?;
    Ok(id)
}

/// The text was given to the bridge, or may have been. `message` is the row that was stored for it.
pub async fn given(session: &mut Session, place: Id, message: Option<Id>, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update whatsapp_sends set is_held = false, message = $2, sent_at = $3 where id = $1",
        place,
        message,
        now
    )?;
    Ok(())
}

/// The bridge refused the text, so nothing left: others may have its place.
pub async fn give_back(session: &mut Session, place: Id) -> Result<()> {
    sql!(run, session, "delete from whatsapp_sends where id = $1 and is_held", place)?;
    Ok(())
}

/// Messages of ours came back: the texts that they are have left. Those that were stored get WhatsApp's own name, before the
/// messages are stored themselves. One echo is one text: two with the same words need two.
pub async fn confirm(session: &mut Session, echoes: &[Echo<'_>], now: Timestamp) -> Result<()> {
    if echoes.is_empty() {
        return Ok(());
    }
    let digests: Vec<Id> = echoes.iter().map(|echo| digest(echo.chat_id, echo.text)).collect();
    let waiting: Vec<(Id, Id, Option<Id>)> = sql!(
        all(Id, Id, Option<Id>),
        session,
        "select id, digest, message from whatsapp_sends
         where digest = any($1) and confirmed_at is null and sent_at > $2 order by id",
        Ids(&digests),
        now - ECHO_WINDOW
    )?;
    let mut waiting: Vec<_> = waiting.into_iter().map(Some).collect();
    let mut confirmed = Vec::new();
    for (echo, digest) in echoes.iter().zip(digests) {
        let place = waiting.iter().position(|send| send.is_some_and(|(_, of, _)| of == digest));
        let Some((send, _, message)) = place.and_then(|place| waiting[place].take()) else { continue };
        confirmed.push(send);
        if let Some(message) = message {
            history::name_sent(session, message, echo.whatsapp_id).await?;
        }
    }
    if !confirmed.is_empty() {
        sql!(run, session, "update whatsapp_sends set confirmed_at = $2 where id = any($1)", Ids(&confirmed), now)?;
    }
    Ok(())
}

/// What the register says of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// Given to the bridge so long ago that they should be back, and not back; since the moment that was asked for.
    pub unconfirmed: i64,
    pub oldest_unconfirmed: Option<Timestamp>,
    /// The latest that came back, whenever.
    pub last_confirmed: Option<Timestamp>,
}

/// Looks at what was sent from `since` to `until`.
pub async fn register(session: &mut Session, through: &str, since: Timestamp, until: Timestamp) -> Result<Register> {
    type Row = (i64, Option<Timestamp>);
    let open: Option<Row> = sql!(
        one Row,
        session,
        "select count(*), min(sent_at) from whatsapp_sends
         where session = $1 and sent_at >= $2 and sent_at <= $3 and confirmed_at is null and not is_held",
        through,
        since,
        until
    )?;
    let last: Option<(Option<Timestamp>,)> = sql!(
        one(Option<Timestamp>),
        session,
        "select max(confirmed_at) from whatsapp_sends where session = $1",
        through
    )?;
    let (unconfirmed, oldest_unconfirmed) = open.unwrap_or_default();
    Ok(Register { unconfirmed, oldest_unconfirmed, last_confirmed: last.and_then(|(at,)| at) })
}

/// How much a number has sent lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lately {
    pub last_minute: i64,
    pub last_day: i64,
    /// When the oldest of the last minute, and of the last day, was sent.
    pub oldest_of_minute: Option<Timestamp>,
    pub oldest_of_day: Option<Timestamp>,
}

pub async fn lately(session: &mut Session, through: &str, now: Timestamp) -> Result<Lately> {
    type Row = (i64, Option<Timestamp>);
    const SINCE: &str = "select count(*), min(sent_at) from whatsapp_sends where session = $1 and sent_at > $2";
    let minute: Option<Row> = sql!(one Row, session, (SINCE), through, now - Duration::from_secs(60))?;
    let day: Option<Row> = sql!(one Row, session, (SINCE), through, now - Duration::from_secs(24 * 60 * 60))?;
    let ((last_minute, oldest_of_minute), (last_day, oldest_of_day)) =
        (minute.unwrap_or_default(), day.unwrap_or_default());
    Ok(Lately { last_minute, last_day, oldest_of_minute, oldest_of_day })
}

/// Forgets what went into these chats, by WhatsApp's ids.
pub(crate) async fn erase(session: &mut Session, chat_ids: &[&str]) -> Result<u64> {
    sql!(run, session, "delete from whatsapp_sends where chat_id = any($1)", Texts(chat_ids))
}

/// Forgets what nothing looks at any more.
pub async fn forget(session: &mut Session, now: Timestamp) -> Result<u64> {
    sql!(run, session, "delete from whatsapp_sends where sent_at < $1", now - KEPT)
}
