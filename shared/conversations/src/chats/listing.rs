//! Chats as the bridge lists them, and as they are listed here (S003-6, S003-7).

use std::collections::{HashMap, HashSet};

use recado_kernel::clock::Timestamp;
use recado_kernel::db::columns::bounded;
use recado_kernel::db::filter::Filter;
use recado_kernel::db::{self, Ids, Result, Session, Texts, columns};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;

use super::Kind;
use crate::bridge::{Listed, Target, moment};

/// Chats that are written with one statement.
const BATCH: usize = 500;

/// How much of a message is shown beside its chat, in characters.
const PREVIEW: usize = 200;

/// The most participants of a group that are kept; WhatsApp allows 1,024.
const MOST_PARTICIPANTS: usize = 2_000;

/// What a sync did (S003-21).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Were not here before.
    pub created: u64,
    /// Were here, and are different now.
    pub updated: u64,
    /// The bridge told of so many.
    pub total: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.total += other.total;
    }
}

/// A chat as staff see it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Chat {
    pub id: Id,
    pub chat_id: String,
    #[sqlx(try_from = "String")]
    pub kind: Kind,
    pub name: Option<String>,
    pub nickname: Option<String>,
    pub whatsapp_name: Option<String>,
    pub profile_picture_url: Option<String>,
    pub phone: Option<String>,
    pub description: Option<String>,
    pub participants: Json<Vec<Value>>,
    pub is_active: bool,
    pub assigned_operator: Option<Id>,
    pub tags: Json<Vec<Value>>,
    pub last_message_at: Option<Timestamp>,
    pub last_message_preview: Option<String>,
    pub message_count: i32,
    pub unread_count: i32,
}

impl Chat {
    pub fn is_group(&self) -> bool {
        self.kind == Kind::Group
    }
}

const COLUMNS: &str =
    "id, chat_id, kind, name, nickname, whatsapp_name, profile_picture_url, phone, description, participants,
    is_active, assigned_operator, tags, last_message_at, last_message_preview, message_count, unread_count";

/// Those in which something was said last come first, and those of which nothing is known last. A chat that was found to be
/// another's is not listed beside it.
const ORDER: &str = "case when last_message_at is null then 1 else 0 end, last_message_at desc, id desc";

/// A page of the chats, and how many there are; only groups where these are asked for.
pub async fn list(session: &mut Session, only_groups: bool, limit: i64, offset: i64) -> Result<(Vec<Chat>, i64)> {
    let which = if only_groups { "merged_into is null and kind = 'group'" } else { "merged_into is null" };
    let chats: Vec<Chat> = sql!(all Chat, session,
        (&format!("select {COLUMNS} from whatsapp_chats where {which} order by {ORDER} limit $1 offset $2")), limit, offset)?;
    let is_whole = offset == 0 && (chats.len() as i64) < limit;
    if is_whole {
        let count = chats.len() as i64;
        return Ok((chats, count));
    }
    let count: Option<(i64,)> =
        sql!(one(i64,), session, (&format!("select count(*) from whatsapp_chats where {which}")))?;
    Ok((chats, count.map_or(0, |(count,)| count)))
}

/// Where a page of the latest chats begins: behind this one.
pub type Behind = (Timestamp, Id);

/// The chats in which something was said, those of last first, and whether there are more; those whose name or number holds a
/// text, where one is asked for. Nothing is counted.
pub async fn latest(
    session: &mut Session,
    search: Option<&str>,
    only_groups: bool,
    behind: Option<Behind>,
    limit: i64,
) -> Result<(Vec<Chat>, bool)> {
    let mut asked = Filter::default();
    asked.require("merged_into is null");
    if only_groups {
        asked.require("kind = 'group'");
    }
    if let Some(search) = search {
        let text = asked.value(db::contains(search));
        let columns = ["name", "nickname", "whatsapp_name", "phone", "chat_id"];
        let columns = columns.map(|column| format!("{column} ilike {text} escape '\\'"));
        asked.require(format!("({})", columns.join(" or ")));
    } else {
        asked.require("last_message_at is not null");
    }
    if let Some((at, id)) = behind {
        let (at, id) = (asked.value(at), asked.value(id));
        asked.require(format!("(last_message_at, id) < ({at}, {id})"));
    }
    let order = if search.is_some() { ORDER } else { "last_message_at desc, id desc" };
    let text = format!("select {COLUMNS} from whatsapp_chats where {asked} order by {order} limit {}", limit + 1);
    let mut chats: Vec<Chat> = asked.all(session, &text).await?;
    let has_more = chats.len() as i64 > limit;
    chats.truncate(usize::try_from(limit).unwrap_or_default());
    Ok((chats, has_more))
}

/// A chat by our own id.
pub async fn find(session: &mut Session, id: Id) -> Result<Option<Chat>> {
    sql!(one Chat, session, (&format!("select {COLUMNS} from whatsapp_chats where id = $1")), id)
}

/// A chat by WhatsApp's id.
pub async fn find_by_chat_id(session: &mut Session, chat_id: &str) -> Result<Option<Chat>> {
    sql!(one Chat, session, (&format!("select {COLUMNS} from whatsapp_chats where chat_id = $1")), chat_id)
}

/// What the bridge lists of a chat that is here.
#[derive(Clone, Debug, PartialEq)]
struct Facts<'l> {
    name: Option<&'l str>,
    whatsapp_name: Option<&'l str>,
    profile_picture_url: Option<&'l str>,
    phone: Option<&'l str>,
    description: Option<&'l str>,
    participants: Option<&'l [Value]>,
    unread_count: i32,
    last_message_at: Option<Timestamp>,
    last_message_preview: Option<String>,
}

struct Row<'l> {
    id: Id,
    listed: &'l Listed,
    facts: Facts<'l>,
    now: Timestamp,
}

columns!(Row<'l> {
    id: uuid = |row| row.id,
    chat_id: text = |row| row.listed.chat_id.as_str(),
    kind: text = |row| if row.listed.is_group { Kind::Group.as_str() } else { Kind::Individual.as_str() },
    name: text = |row| row.facts.name,
    whatsapp_name: text = |row| row.facts.whatsapp_name,
    profile_picture_url: text = |row| row.facts.profile_picture_url,
    phone: text = |row| row.facts.phone,
    description: text = |row| row.facts.description,
    // As text: both engines make JSON of it in the statement.
    members: text = |row| row.facts.participants.map(|all| Value::from(all).to_string()),
    unread_count: int4 = |row| row.facts.unread_count,
    last_message_at: timestamptz = |row| row.facts.last_message_at,
    last_message_preview: text = |row| row.facts.last_message_preview.as_deref(),
    at: timestamptz = |row| row.now,
});

/// Brings chats up to date with what the bridge lists. Rows that are as they were are not written. Nothing that staff wrote
/// (nickname, tags, operator) changes, and what the bridge does not say stays.
pub async fn upsert(session: &mut Session, listed: &[Listed], now: Timestamp) -> Result<Counts> {
    let mut counts = Counts::default();
    for batch in unique(listed).chunks(BATCH) {
        counts.add(upsert_batch(session, batch, now).await?);
    }
    Ok(counts)
}

/// Each chat once, in one order everywhere, so that two who write the same chats do not wait for each other.
pub(crate) fn unique(listed: &[Listed]) -> Vec<&Listed> {
    let mut seen = HashSet::new();
    let mut unique: Vec<&Listed> = listed.iter().filter(|chat| seen.insert(chat.chat_id.as_str())).collect();
    unique.sort_by(|one, other| one.chat_id.cmp(&other.chat_id));
    unique
}

/// [`upsert`] of chats of which each is there once.
pub(crate) async fn upsert_batch(session: &mut Session, listed: &[&Listed], now: Timestamp) -> Result<Counts> {
    let ids: Vec<&str> = listed.iter().map(|chat| chat.chat_id.as_str()).collect();
    let known: Vec<Chat> = sql!(all Chat, session,
        (&format!("select {COLUMNS} from whatsapp_chats where chat_id = any($1)")), Texts(&ids))?;
    let known: HashMap<&str, &Chat> = known.iter().map(|chat| (chat.chat_id.as_str(), chat)).collect();
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for &listed in listed {
        let facts = Facts::of(listed);
        match known.get(listed.chat_id.as_str()) {
            None => new.push(Row { id: Id::new(now), listed, facts, now }),
            Some(chat) if facts.change(chat) => changed.push(Row { id: chat.id, listed, facts, now }),
            Some(_) => {}
        }
    }
    let insert = "insert into whatsapp_chats (id, chat_id, kind, name, whatsapp_name, profile_picture_url, phone, description,
            participants, is_active, tags, last_message_at, last_message_preview, message_count, unread_count, synced_at,
            created_at, updated_at)
        select r.id, r.chat_id, r.kind, r.name, r.whatsapp_name, r.profile_picture_url, r.phone, r.description,
            coalesce(r.members, '[]')::jsonb, true, '[]'::jsonb, r.last_message_at, r.last_message_preview, 0, r.unread_count,
            r.at, r.at, r.at
        from {rows} r where true on conflict (chat_id) do nothing";
    let update = "update whatsapp_chats set
            name = coalesce(r.name, whatsapp_chats.name),
            whatsapp_name = coalesce(r.whatsapp_name, whatsapp_chats.whatsapp_name),
            profile_picture_url = coalesce(r.profile_picture_url, whatsapp_chats.profile_picture_url),
            phone = coalesce(r.phone, whatsapp_chats.phone),
            description = coalesce(r.description, whatsapp_chats.description),
            participants = case when r.members is null then whatsapp_chats.participants else r.members::jsonb end,
            unread_count = r.unread_count,
            last_message_preview = case when r.last_message_at is null or whatsapp_chats.last_message_at > r.last_message_at
                then whatsapp_chats.last_message_preview else r.last_message_preview end,
            last_message_at = case when r.last_message_at is null or whatsapp_chats.last_message_at > r.last_message_at
                then whatsapp_chats.last_message_at else r.last_message_at end,
            is_active = true, synced_at = r.at, updated_at = r.at
        from {rows} r where whatsapp_chats.id = r.id";
    let created = if new.is_empty() { 0 } else { columns::run(session, insert, &new).await? };
    let updated = if changed.is_empty() { 0 } else { change(session, update, &changed).await? };
    Ok(Counts { created, updated, total: listed.len() as u64 })
}

async fn change(session: &mut Session, update: &str, changed: &[Row<'_>]) -> Result<u64> {
    let ids: Vec<Id> = changed.iter().map(|row| row.id).collect();
    // In one order everywhere, as `hold` has it.
    let _: Vec<(Id,)> =
        sql!(all(Id,), session, "select id from whatsapp_chats where id = any($1) order by id for update", Ids(&ids))?;
    columns::run(session, update, changed).await
}

impl<'l> Facts<'l> {
    fn of(listed: &'l Listed) -> Self {
        let last = listed.last_message.as_ref();
        Self {
            name: listed.name.as_deref(),
            whatsapp_name: listed.whatsapp_name.as_deref(),
            profile_picture_url: listed.profile_picture_url.as_deref(),
            phone: listed.phone.as_deref(),
            description: listed.description.as_deref(),
            participants: listed.participants.as_deref().map(|all| &all[..all.len().min(MOST_PARTICIPANTS)]),
            unread_count: i32::try_from(listed.unread_count).unwrap_or(i32::MAX),
            last_message_at: last.and_then(|last| last.timestamp).and_then(moment),
            last_message_preview: last.map(|last| bounded(&last.text, PREVIEW).into_owned()),
        }
    }

    /// Whether anything would be different.
    fn change(&self, chat: &Chat) -> bool {
        let differs = |said: Option<&str>, ours: &Option<String>| said.is_some() && said != ours.as_deref();
        differs(self.name, &chat.name)
            || differs(self.whatsapp_name, &chat.whatsapp_name)
            || differs(self.profile_picture_url, &chat.profile_picture_url)
            || differs(self.phone, &chat.phone)
            || differs(self.description, &chat.description)
            || self.participants.is_some_and(|said| said != chat.participants.0)
            || self.unread_count != chat.unread_count
            || !chat.is_active
            || self.last_message_at.is_some_and(|at| chat.last_message_at.is_none_or(|ours| at > ours))
    }
}

/// A LID and a number that turned out to be one person become one chat: that of the number. What was said under the LID is said
/// there now, and so are requests; the LID's row stays and leads there, because WhatsApp goes on using it.
///
/// Returns how many became one. A chat of the number is made where there was none.
pub(crate) async fn merge_lids(session: &mut Session, listed: &[&Listed], now: Timestamp) -> Result<u64> {
    let mut pairs = Vec::new();
    for chat in listed.iter().filter(|chat| chat.chat_id.ends_with("@lid")) {
        if let Some(phone) = &chat.phone {
            pairs.push((chat.chat_id.as_str(), format!("{phone}@c.us")));
        }
    }
    if pairs.is_empty() {
        return Ok(0);
    }
    let lids: Vec<&str> = pairs.iter().map(|(lid, _)| *lid).collect();
    let open: Vec<Chat> = sql!(all Chat, session,
        (&format!("select {COLUMNS} from whatsapp_chats where chat_id = any($1) and merged_into is null")), Texts(&lids))?;
    let open: HashMap<&str, &Chat> = open.iter().map(|chat| (chat.chat_id.as_str(), chat)).collect();
    pairs.retain(|(lid, _)| open.contains_key(lid));
    if pairs.is_empty() {
        return Ok(0);
    }
    know_numbers(session, &pairs, &open, now).await?;
    let both: Vec<&str> = pairs.iter().flat_map(|(lid, number)| [*lid, number.as_str()]).collect();
    let places = super::hold(session, &both).await?;
    let mut merged = 0;
    // Seldom more than a few: each person is merged once in a life.
    for (lid, number) in &pairs {
        let (Some(from), Some(into)) = (places.get(*lid), places.get(number)) else { continue };
        // Another may have made them one while this waited.
        if from.merged_chat_id.is_none() && from.id != into.id {
            merge(session, from.id, into.id, now).await?;
            merged += 1;
        }
    }
    Ok(merged)
}

/// Writes the chats of numbers that are not here, named as those of the LIDs are.
async fn know_numbers(
    session: &mut Session,
    pairs: &[(&str, String)],
    lids: &HashMap<&str, &Chat>,
    now: Timestamp,
) -> Result<()> {
    let numbers: Vec<&str> = pairs.iter().map(|(_, number)| number.as_str()).collect();
    let known: Vec<(String,)> =
        sql!(all(String,), session, "select chat_id from whatsapp_chats where chat_id = any($1)", Texts(&numbers))?;
    let new =
        pairs.iter().filter(|(_, number)| !known.iter().any(|(known,)| known == number)).map(|(lid, number)| Listed {
            name: lids.get(lid).and_then(|chat| chat.name.clone()),
            whatsapp_name: lids.get(lid).and_then(|chat| chat.whatsapp_name.clone()),
            phone: number.split('@').next().map(str::to_owned),
            chat_id: number.clone(),
            ..Listed::default()
        });
    upsert(session, &new.collect::<Vec<_>>(), now).await?;
    Ok(())
}

/// Makes known that LIDs and numbers (in digits) are the same people, as a webhook tells it: their chats become one, and what will
/// come under the LID goes there. Those of whom it is known cost one look.
pub async fn unite(session: &mut Session, people: &[(String, String)], now: Timestamp) -> Result<u64> {
    let lids: Vec<&str> = people.iter().map(|(lid, _)| lid.as_str()).collect();
    let united: Vec<(String,)> = sql!(
        all(String,),
        session,
        "select chat_id from whatsapp_chats where chat_id = any($1) and merged_into is not null",
        Texts(&lids)
    )?;
    let united: HashSet<String> = united.into_iter().map(|(lid,)| lid).collect();
    let new = people.iter().filter(|(lid, _)| !united.contains(lid)).map(|(lid, digits)| Listed {
        chat_id: lid.clone(),
        phone: Some(digits.clone()),
        ..Listed::default()
    });
    let new: Vec<Listed> = new.collect();
    if new.is_empty() {
        return Ok(0);
    }
    upsert(session, &new, now).await?;
    merge_lids(session, &new.iter().collect::<Vec<_>>(), now).await
}

/// Both chats are held.
async fn merge(session: &mut Session, from: Id, into: Id, now: Timestamp) -> Result<()> {
    let (Some(from), Some(into)) = (find(session, from).await?, find(session, into).await?) else { return Ok(()) };
    sql!(run, session, "update whatsapp_messages set chat = $2 where chat = $1", from.id, into.id)?;
    sql!(
        run,
        session,
        "update reservation_requests set chat = $2, customer_phone = coalesce(customer_phone, $3) where chat = $1",
        from.id,
        into.id,
        into.phone.as_deref()
    )?;
    sql!(
        run,
        session,
        "update whatsapp_chats set message_count = message_count + $2, unread_count = unread_count + $3,
             nickname = coalesce(nickname, $4), updated_at = $7,
             last_message_preview = case when last_message_at >= $5 then last_message_preview else coalesce($6, last_message_preview) end,
             last_message_at = case when last_message_at >= $5 then last_message_at else coalesce($5, last_message_at) end
         where id = $1",
        into.id,
        from.message_count,
        from.unread_count,
        from.nickname.as_deref(),
        from.last_message_at,
        from.last_message_preview.as_deref(),
        now
    )?;
    sql!(
        run,
        session,
        "update whatsapp_chats set merged_into = $2, message_count = 0, unread_count = 0, updated_at = $3
         where id = $1",
        from.id,
        into.id,
        now
    )?;
    tracing::info!(chat.id = %into.id, "a LID and a number are one person; their chats became one");
    Ok(())
}

/// The chat of WhatsApp's id, which is made where it is not known; of a person who was merged, that of her number. It is held until
/// the end of the transaction.
pub async fn chat_of(session: &mut Session, target: &Target, now: Timestamp) -> Result<Id> {
    let chat_id = target.chat_id();
    let listed = Listed {
        is_group: matches!(target, Target::Group(_)),
        phone: match target {
            Target::Phone(digits) => Some(digits.clone()),
            Target::Group(_) | Target::Chat(_) => None,
        },
        chat_id: chat_id.clone(),
        ..Listed::default()
    };
    let find = [chat_id.as_str()];
    if let Some(place) = super::hold(session, &find).await?.remove(&chat_id) {
        return Ok(place.id);
    }
    upsert(session, &[listed], now).await?;
    super::hold(session, &find).await?.remove(&chat_id).map(|place| place.id).ok_or(db::Error::RowNotFound)
}
