//! Chats of WhatsApp: people, people of whom only a LID is known, and groups.

pub mod listing;

use std::collections::HashMap;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, Texts, columns};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql, word_enum};

/// With whom one talks in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Kind {
    Individual,
    Group,
}

word_enum!(Kind, "a kind of chat");

/// The ends of WhatsApp's ids of chats.
const OF_GROUP: &str = "@g.us";
const OF_PERSON: &str = "@c.us";
const OF_LID: &str = "@lid";

impl Kind {
    /// A chat's kind by its id, which WhatsApp makes; what the bridge calls it counts only where the id does not tell.
    pub fn of(chat_id: &str, told: Option<&str>) -> Self {
        let is_person = chat_id.ends_with(OF_PERSON) || chat_id.ends_with(OF_LID);
        let is_group = chat_id.ends_with(OF_GROUP) || (!is_person && told.is_some_and(|told| told == "group"));
        if is_group { Self::Group } else { Self::Individual }
    }
}

/// Whether only a LID is known of the person: the digits of such an id are no telephone number (d31).
pub fn is_lid(chat_id: &str) -> bool {
    chat_id.ends_with(OF_LID)
}

/// Whether it is no conversation: the status of contacts, and channels.
pub fn is_broadcast(chat_id: &str) -> bool {
    chat_id.ends_with("@broadcast") || chat_id.ends_with("@newsletter")
}

/// The chat of a person with this number.
pub fn of_phone(digits: &str) -> String {
    format!("{digits}{OF_PERSON}")
}

/// The number of a person's chat, if its id tells it.
pub fn phone_in(chat_id: &str) -> Option<&str> {
    let digits = chat_id.strip_suffix(OF_PERSON)?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// A chat in which something was said.
#[derive(Clone, Debug)]
pub(crate) struct Mentioned<'m> {
    pub(crate) chat_id: &'m str,
    pub(crate) kind: Kind,
    pub(crate) name: Option<&'m str>,
    pub(crate) whatsapp_name: Option<&'m str>,
    pub(crate) profile_picture_url: Option<&'m str>,
    pub(crate) phone: Option<&'m str>,
}

/// Where the messages of a chat belong.
#[derive(Clone, Debug)]
pub(crate) struct ChatRef {
    /// The chat; that of the same person under her number, where the two are known to be one.
    pub(crate) id: Id,
    /// WhatsApp's id of that other chat.
    pub(crate) merged_chat_id: Option<String>,
}

struct NewChat<'m> {
    id: Id,
    mentioned: &'m Mentioned<'m>,
    now: Timestamp,
}

columns!(NewChat<'m> {
    id: uuid = |chat| chat.id,
    chat_id: text = |chat| chat.mentioned.chat_id,
    kind: text = |chat| chat.mentioned.kind.as_str(),
    name: text = |chat| chat.mentioned.name,
    whatsapp_name: text = |chat| chat.mentioned.whatsapp_name,
    profile_picture_url: text = |chat| chat.mentioned.profile_picture_url,
    phone: text = |chat| chat.mentioned.phone,
    created_at: timestamptz = |chat| chat.now,
    updated_at: timestamptz = |chat| chat.now,
});

/// The chats that are mentioned, by WhatsApp's id; those that are new are written, and all are held until the end of the
/// transaction. `mentioned` names each once, in the order of their ids, so that two who write the same chats do not wait for each
/// other.
pub(crate) async fn resolve(
    session: &mut Session,
    mentioned: &[Mentioned<'_>],
    now: Timestamp,
) -> Result<HashMap<String, ChatRef>> {
    let ids: Vec<&str> = mentioned.iter().map(|chat| chat.chat_id).collect();
    let refs = hold(session, &ids).await?;
    let new: Vec<NewChat<'_>> = mentioned
        .iter()
        .filter(|chat| !refs.contains_key(chat.chat_id))
        .map(|mentioned| NewChat { id: Id::new(now), mentioned, now })
        .collect();
    if new.is_empty() {
        return Ok(refs);
    }
    let insert = "insert into whatsapp_chats ({columns}, participants, tags, is_active, message_count, unread_count)
        select {columns}, '[]'::jsonb, '[]'::jsonb, true, 0, 0 from {rows} r where true on conflict (chat_id) do nothing";
    columns::run(session, insert, &new).await?;
    hold(session, &ids).await
}

#[derive(sqlx::FromRow)]
struct HeldChat {
    id: Id,
    chat_id: String,
    merged_into: Option<Id>,
}

/// Finds chats by WhatsApp's id and holds them, with those that they lead to, until the end of the transaction. Code that moves
/// messages between chats or counts them holds the chats first, all in the order of our ids: so nothing is counted in a chat that
/// becomes another's at the same moment, and two who hold the same chats do not wait for each other.
pub(crate) async fn hold(session: &mut Session, chat_ids: &[&str]) -> Result<HashMap<String, ChatRef>> {
    let mut held = look_and_hold(session, chat_ids).await?;
    // A chat that became another's while we waited for it leads to one that is not held yet; the next look finds both.
    if held.iter().any(|chat| chat.merged_into.is_some_and(|into| !held.iter().any(|other| other.id == into))) {
        held = look_and_hold(session, chat_ids).await?;
    }
    let by_id: HashMap<Id, &str> = held.iter().map(|chat| (chat.id, chat.chat_id.as_str())).collect();
    let chat_ref = |chat: &HeldChat| {
        // One that leads to a chat that was deleted stands for itself.
        let into = chat.merged_into.filter(|into| by_id.contains_key(into));
        ChatRef {
            id: into.unwrap_or(chat.id),
            merged_chat_id: into.and_then(|into| by_id.get(&into)).map(|id| (*id).to_owned()),
        }
    };
    Ok(held.iter().map(|chat| (chat.chat_id.clone(), chat_ref(chat))).collect())
}

async fn look_and_hold(session: &mut Session, chat_ids: &[&str]) -> Result<Vec<HeldChat>> {
    sql!(all HeldChat, session,
        "select id, chat_id, merged_into from whatsapp_chats
         where id in (select id from whatsapp_chats where chat_id = any($1)
                      union all
                      select merged_into from whatsapp_chats where chat_id = any($1) and merged_into is not null)
         order by id for update",
        Texts(chat_ids)
    )
}

/// What new messages change in their chat.
#[derive(Clone, Debug)]
pub(crate) struct Change<'m> {
    pub(crate) id: Id,
    pub(crate) name: Option<&'m str>,
    pub(crate) whatsapp_name: Option<&'m str>,
    pub(crate) profile_picture_url: Option<&'m str>,
    pub(crate) last_message_at: Timestamp,
    pub(crate) last_message_preview: String,
    pub(crate) messages: i32,
    /// We wrote into it, so what came before was read.
    pub(crate) is_read: bool,
    /// Messages since then.
    pub(crate) unread: i32,
    pub(crate) now: Timestamp,
}

columns!(Change<'m> {
    id: uuid = |change| change.id,
    name: text = |change| change.name,
    whatsapp_name: text = |change| change.whatsapp_name,
    profile_picture_url: text = |change| change.profile_picture_url,
    last_message_at: timestamptz = |change| change.last_message_at,
    last_message_preview: text = |change| change.last_message_preview.as_str(),
    messages: int4 = |change| change.messages,
    is_read: bool = |change| change.is_read,
    unread: int4 = |change| change.unread,
    updated_at: timestamptz = |change| change.now,
});

/// Brings chats up to date with the messages that were stored in them.
pub(crate) async fn change(session: &mut Session, changes: &[Change<'_>]) -> Result<()> {
    let update = "update whatsapp_chats set
            name = coalesce(r.name, whatsapp_chats.name),
            whatsapp_name = coalesce(r.whatsapp_name, whatsapp_chats.whatsapp_name),
            profile_picture_url = coalesce(r.profile_picture_url, whatsapp_chats.profile_picture_url),
            last_message_preview = case when whatsapp_chats.last_message_at > r.last_message_at
                then whatsapp_chats.last_message_preview else r.last_message_preview end,
            last_message_at = case when whatsapp_chats.last_message_at > r.last_message_at
                then whatsapp_chats.last_message_at else r.last_message_at end,
            message_count = whatsapp_chats.message_count + r.messages,
            unread_count = case when r.is_read then 0 else whatsapp_chats.unread_count end + r.unread,
            is_active = true, updated_at = r.updated_at
        from {rows} r where whatsapp_chats.id = r.id";
    columns::run(session, update, changes).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_chat_tells_its_kind() {
        let table = [
            ("593991234567@c.us", Some("individual"), Kind::Individual),
            ("593991234567@c.us", Some("group"), Kind::Individual),
            ("1203630@g.us", Some("individual"), Kind::Group),
            ("1203630@g.us", None, Kind::Group),
            ("998877@lid", Some("group"), Kind::Individual),
            ("593991234567@s.whatsapp.net", None, Kind::Individual),
            ("something", Some("group"), Kind::Group),
            ("something", Some("channel"), Kind::Individual),
        ];
        for (chat_id, told, kind) in table {
            assert_eq!(Kind::of(chat_id, told), kind, "{chat_id} {told:?}");
        }
        assert_eq!(phone_in("593991234567@c.us"), Some("593991234567"));
        for none in ["998877@lid", "1203630@g.us", "@c.us", "a@c.us", "593991234567"] {
            assert_eq!(phone_in(none), None, "{none}");
        }
        assert!(is_broadcast("status@broadcast") && is_broadcast("1@newsletter") && !is_broadcast("1@c.us"));
    }
}
