//! What the bridge tells takes effect: a message is kept once, and the codes in it become requests, in the transaction that its
//! sender waits for (S003-23, S003-24). Only telling the operator is a job.
//!
//! The public bridge posts the last five minutes again every 45 seconds, so most of what comes is here already: that costs one
//! look. Messages that arrive together share a transaction, and a statement does its work for all of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::columns::bounded;
use recado_kernel::db::{self, Session};
use recado_kernel::errors::explain;
use recado_kernel::group_commit::Group;
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, NewTask};
use serde_json::json;

use crate::bridge::bare_id;
use crate::chats::{self, Change, ChatRef, Kind, Mentioned};
use crate::codes::{self, Issued};
use crate::jobs::{ExpireRequest, TellOperator};
use crate::messages::{self, Direction, Known, Link, NewMessage};
use crate::notices::{self, Echo};
use crate::replies::{self, Reply, Waiting};
use crate::requests::{self, Answer, NewEvent, NewRequest, Status, Step, What};
use crate::sends;

/// The largest number of messages that share a transaction.
const LARGEST_BATCH: usize = 200;

/// How much of the newest message a list of chats shows, in characters.
const PREVIEW: usize = 100;

/// A message as a bridge tells of it.
#[derive(Clone, Debug)]
pub struct Message {
    /// WhatsApp's own id, of any form.
    pub whatsapp_id: String,
    pub chat_id: String,
    pub kind: Kind,
    /// As the telephone's address book has the chat.
    pub chat_name: Option<String>,
    /// As the person calls herself.
    pub whatsapp_name: Option<String>,
    pub profile_picture_url: Option<String>,
    /// Digits, as the bridge has them: those of a group's id and of a LID too.
    pub phone: Option<String>,
    pub text: String,
    /// The sender's clock; `None`: it was not told.
    pub sent_at: Option<Timestamp>,
    pub is_ours: bool,
    pub sender_name: Option<String>,
    /// Digits.
    pub sender_phone: Option<String>,
    pub media_type: Option<String>,
    pub reply_to_whatsapp_id: Option<String>,
}

impl Message {
    /// Whether it can ask for something, or answer.
    fn is_asking(&self) -> bool {
        !self.is_ours && !chats::is_broadcast(&self.chat_id)
    }

    /// Digits of the person's chat; of a group and of a LID there are none (d31).
    fn chat_phone(&self) -> Option<&str> {
        let is_number =
            self.kind == Kind::Individual && !chats::is_lid(&self.chat_id) && !chats::is_broadcast(&self.chat_id);
        let told = || self.phone.as_deref().filter(|phone| !phone.is_empty());
        if is_number { told().or_else(|| chats::phone_in(&self.chat_id)) } else { None }
    }

    /// Who asks.
    fn customer_phone(&self) -> Option<&str> {
        match self.kind {
            Kind::Group => self.sender_phone.as_deref(),
            Kind::Individual => self.chat_phone(),
        }
    }

    fn preview(&self) -> String {
        match (&self.media_type, self.text.trim()) {
            (Some(media), "") => format!("[{media}]"),
            (_, text) => bounded(text, PREVIEW).into_owned(),
        }
    }
}

/// What became of a message (S003-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub message_id: Id,
    pub effect: Effect,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// One of ours.
    Saved,
    /// It took effect before.
    AlreadyProcessed,
    /// It asks for these, in the order of their codes.
    Requested(Vec<Id>),
    /// It answers a request, which stands so now.
    Answered(Status),
    /// It is kept, and means nothing more.
    Processed,
}

/// The batch was lost to trouble of ours; the bridge will post it again.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the message could not be kept")]
pub struct Unavailable;

/// What decides about requests.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// A code that was not issued here makes no request (d30).
    require_registered: bool,
    timeout: Duration,
}

/// Where messages are handed in. Cheap to clone; all clones share their batches.
#[derive(Clone)]
pub struct Incoming {
    group: Group<Message, Result<Outcome, Unavailable>>,
}

impl Incoming {
    pub fn open(context: Context) -> Self {
        let group = Group::spawn(LARGEST_BATCH, move |messages: Arc<Vec<Message>>| {
            let context = context.clone();
            async move { serve(&context, &messages).await }
        });
        Self { group }
    }

    /// Returns when the message is committed, with all that it asks for.
    ///
    /// # Errors
    /// When the database did not do its part. What is handed in again takes effect once.
    pub async fn take(&self, message: Message) -> Result<Outcome, Unavailable> {
        self.group.call(message).await.unwrap_or(Err(Unavailable))
    }
}

async fn serve(context: &Context, messages: &[Message]) -> Vec<Result<Outcome, Unavailable>> {
    let mut taken = take_all(context, messages).await;
    // What was kept is kept once, so the same again tells what became of it.
    if taken.as_ref().is_err_and(|error| db::may_have_written(error) || db::is_connection_lost(error)) {
        taken = take_all(context, messages).await;
    }
    context.db.note_write(taken.as_ref().map(drop));
    match taken {
        Ok(taken) => taken.into_iter().map(Ok).collect(),
        Err(error) if messages.len() > 1 && !db::is_outage(&error) => {
            complain(&error, messages.len());
            one_by_one(context, messages).await
        }
        Err(error) => {
            complain(&error, messages.len());
            messages.iter().map(|_| Err(Unavailable)).collect()
        }
    }
}

/// A message that the database refuses costs no other.
async fn one_by_one(context: &Context, messages: &[Message]) -> Vec<Result<Outcome, Unavailable>> {
    let mut all = Vec::with_capacity(messages.len());
    for message in messages {
        let taken = take_all(context, std::slice::from_ref(message)).await;
        let taken = taken.inspect_err(|error| complain(error, 1)).ok().and_then(|taken| taken.into_iter().next());
        all.push(taken.ok_or(Unavailable));
    }
    all
}

fn complain(error: &db::Error, messages: usize) {
    let reason = explain(error);
    tracing::error!(error = %reason, messages, "{messages} messages of WhatsApp could not be kept: {reason}");
}

/// Keeps messages in one transaction and lets them take effect; the answers are in their order. For messages that a sync fetched
/// after an outage too.
///
/// # Errors
/// When the database fails; then nothing was kept, or all of it.
pub async fn take_all(context: &Context, messages: &[Message]) -> db::Result<Vec<Outcome>> {
    let now = context.clock.now();
    let settings = &context.config.conversations;
    let rules = Rules { require_registered: settings.require_registered_codes, timeout: settings.request_timeout };
    let mut session = context.db.read().await?;
    let messages = &*as_stored(&mut session, messages).await?;
    let ids: Vec<&str> = messages.iter().map(|message| message.whatsapp_id.as_str()).collect();
    let known = messages::known(&mut session, &ids).await?;
    drop(session);
    if messages.iter().all(|message| known.get(&message.whatsapp_id).is_some_and(|known| known.is_processed)) {
        return Ok(messages.iter().map(|message| again(known[&message.whatsapp_id].id)).collect());
    }
    let mut session = context.db.begin().await?;
    let mut batch = store(&mut session, messages, &known, now).await?;
    batch.settle_echoes(&mut session, now).await?;
    let rings = batch.make_requests(&mut session, rules, now).await?;
    batch.read_answers(&mut session, now).await?;
    messages::link(&mut session, &batch.links).await?;
    session.commit().await?;
    context.ring(&rings).await;
    Ok(batch.taken(messages))
}

/// Some bridges write longer ids than others, and than themselves in a history: what a sync stored under the short one bears it
/// here too.
async fn as_stored<'m>(session: &mut Session, messages: &'m [Message]) -> db::Result<Cow<'m, [Message]>> {
    let shorter = |message: &Message| bare_id(&message.whatsapp_id) != message.whatsapp_id;
    let short: Vec<&str> =
        messages.iter().filter(|message| shorter(message)).map(|message| bare_id(&message.whatsapp_id)).collect();
    if short.is_empty() {
        return Ok(Cow::Borrowed(messages));
    }
    let known = messages::known(session, &short).await?;
    let mut messages = messages.to_vec();
    for message in messages.iter_mut().filter(|message| known.contains_key(bare_id(&message.whatsapp_id))) {
        message.whatsapp_id = bare_id(&message.whatsapp_id).to_owned();
    }
    Ok(Cow::Owned(messages))
}

fn again(message_id: Id) -> Outcome {
    Outcome { message_id, effect: Effect::AlreadyProcessed }
}

/// Messages of one transaction.
struct Batch<'m> {
    /// Those that take effect now, in their order.
    fresh: Vec<Fresh<'m>>,
    /// Ids of all, by WhatsApp's.
    ids: HashMap<&'m str, Id>,
    effects: HashMap<&'m str, Effect>,
    links: Vec<Link>,
}

struct Fresh<'m> {
    message: &'m Message,
    id: Id,
    chat: ChatRef,
    codes: Vec<String>,
}

impl Fresh<'_> {
    /// The ids under which WhatsApp knows this chat.
    fn chat_ids(&self) -> Vec<String> {
        let number = self.message.chat_phone().map(chats::of_phone);
        let ids = [Some(self.message.chat_id.clone()), self.chat.merged_chat_id.clone(), number];
        ids.into_iter().flatten().collect()
    }
}

/// Stores what is new, and finds out what takes effect now.
async fn store<'m>(
    session: &mut Session,
    messages: &'m [Message],
    known: &HashMap<String, Known>,
    now: Timestamp,
) -> db::Result<Batch<'m>> {
    // The first of those that have one id, in the order of their ids, so that two who store the same do not wait for each other.
    let mut unique: BTreeMap<&str, &Message> = BTreeMap::new();
    for message in messages {
        unique.entry(message.whatsapp_id.as_str()).or_insert(message);
    }
    unique.retain(|id, _| !known.get(*id).is_some_and(|known| known.is_processed));
    let came_back: Vec<sends::Echo<'_>> = unique
        .values()
        .filter(|message| message.is_ours && !known.contains_key(&message.whatsapp_id))
        .map(|message| sends::Echo {
            whatsapp_id: &message.whatsapp_id,
            chat_id: &message.chat_id,
            text: &message.text,
        })
        .collect();
    sends::confirm(session, &came_back, now).await?;
    let chats_by_id = chats::resolve(session, &mentioned(unique.values().copied()), now).await?;
    let mut codes: HashMap<&str, Vec<String>> =
        unique.iter().map(|(id, message)| (*id, codes::find_codes(&message.text))).collect();
    let new: Vec<NewMessage<'_>> = unique
        .values()
        .filter(|message| !known.contains_key(&message.whatsapp_id))
        .filter_map(|message| {
            Some(row(message, chats_by_id.get(&message.chat_id)?, &codes[message.whatsapp_id.as_str()], now))
        })
        .collect();
    let written: HashSet<String> = messages::insert(session, &new).await?.into_iter().collect();
    let mut ids: HashMap<&'m str, Id> = HashMap::new();
    ids.extend(
        messages.iter().filter_map(|message| Some((message.whatsapp_id.as_str(), known.get(&message.whatsapp_id)?.id))),
    );
    ids.extend(new.iter().filter(|row| written.contains(row.whatsapp_id)).map(|row| (row.whatsapp_id, row.id)));
    chats::change(session, &changes(&new, &unique, &written, now)).await?;
    // The rest was stored by a sync, or by another process a moment ago.
    let rest: Vec<&str> = unique.keys().copied().filter(|id| !written.contains(*id)).collect();
    let claimed = claim(session, &rest, &mut ids, now).await?;
    let mut taken = HashSet::new();
    let fresh = messages.iter().filter_map(|message| {
        let id = message.whatsapp_id.as_str();
        let is_fresh = (written.contains(id) || claimed.contains(id)) && taken.insert(id);
        let chat = chats_by_id.get(&message.chat_id).filter(|_| is_fresh)?.clone();
        Some(Fresh { message, id: *ids.get(id)?, chat, codes: codes.remove(id).unwrap_or_default() })
    });
    let fresh = fresh.collect();
    Ok(Batch { fresh, ids, effects: HashMap::new(), links: Vec::new() })
}

/// Takes over what was stored and has had no effect yet; learns the ids of all.
async fn claim<'m>(
    session: &mut Session,
    rest: &[&'m str],
    ids: &mut HashMap<&'m str, Id>,
    now: Timestamp,
) -> db::Result<HashSet<String>> {
    if rest.is_empty() {
        return Ok(HashSet::new());
    }
    let claimed: HashMap<String, Id> = messages::claim(session, rest, now).await?.into_iter().collect();
    if rest.iter().any(|id| !claimed.contains_key(*id) && !ids.contains_key(id)) {
        let known = messages::known(session, rest).await?;
        ids.extend(rest.iter().filter_map(|id| Some((*id, known.get(*id)?.id))));
    }
    ids.extend(rest.iter().filter_map(|id| Some((*id, *claimed.get(*id)?))));
    Ok(claimed.into_keys().collect())
}

/// The chats of messages, each once, in the order of their ids.
fn mentioned<'m>(messages: impl Iterator<Item = &'m Message>) -> Vec<Mentioned<'m>> {
    let mut chats: BTreeMap<&str, Mentioned<'m>> = BTreeMap::new();
    for message in messages {
        chats.entry(message.chat_id.as_str()).or_insert_with(|| Mentioned {
            chat_id: &message.chat_id,
            kind: message.kind,
            name: message.chat_name.as_deref(),
            whatsapp_name: message.whatsapp_name.as_deref().filter(|_| !message.is_ours),
            profile_picture_url: message.profile_picture_url.as_deref(),
            phone: message.chat_phone(),
        });
    }
    chats.into_values().collect()
}

fn row<'m>(message: &'m Message, chat: &ChatRef, codes: &[String], now: Timestamp) -> NewMessage<'m> {
    NewMessage {
        id: Id::new(now),
        whatsapp_id: &message.whatsapp_id,
        chat: chat.id,
        direction: if message.is_ours { Direction::Out } else { Direction::In },
        content: &message.text,
        sent_at: message.sent_at.unwrap_or(now),
        sender_name: message.sender_name.as_deref(),
        sender_phone: message.sender_phone.as_deref().or_else(|| message.chat_phone().filter(|_| !message.is_ours)),
        media_type: message.media_type.as_deref(),
        reply_to_whatsapp_id: message.reply_to_whatsapp_id.as_deref(),
        reservation_code: codes.first().cloned(),
        now,
    }
}

/// What the messages that were written change in their chats.
fn changes<'m>(
    new: &[NewMessage<'m>],
    messages: &BTreeMap<&str, &'m Message>,
    written: &HashSet<String>,
    now: Timestamp,
) -> Vec<Change<'m>> {
    let mut of_chats: BTreeMap<Id, Vec<(&NewMessage<'m>, &'m Message)>> = BTreeMap::new();
    for row in new.iter().filter(|row| written.contains(row.whatsapp_id)) {
        if let Some(message) = messages.get(row.whatsapp_id) {
            of_chats.entry(row.chat).or_default().push((row, message));
        }
    }
    let change = |(id, mut said): (Id, Vec<(&NewMessage<'m>, &'m Message)>)| {
        said.sort_by_key(|(row, _)| row.sent_at);
        let unread = said.iter().rev().take_while(|(_, message)| !message.is_ours).count();
        // A clock that is wrong does not keep a chat at the top.
        let (latest, last) = said.last().map_or((now, None), |(row, message)| (row.sent_at.min(now), Some(*message)));
        let named = |name: fn(&'m Message) -> Option<&'m str>| said.iter().rev().find_map(|(_, message)| name(message));
        Change {
            id,
            name: named(|message| message.chat_name.as_deref()),
            whatsapp_name: named(|message| message.whatsapp_name.as_deref().filter(|_| !message.is_ours)),
            profile_picture_url: named(|message| message.profile_picture_url.as_deref()),
            last_message_at: latest,
            last_message_preview: last.map(Message::preview).unwrap_or_default(),
            messages: i32::try_from(said.len()).unwrap_or(i32::MAX),
            is_read: unread < said.len(),
            unread: i32::try_from(unread).unwrap_or(i32::MAX),
            now,
        }
    };
    of_chats.into_iter().map(change).collect()
}

impl<'m> Batch<'m> {
    /// Notices to operators that came back as messages of ours (d31a).
    async fn settle_echoes(&mut self, session: &mut Session, now: Timestamp) -> db::Result<()> {
        let ours: Vec<&Fresh<'_>> =
            self.fresh.iter().filter(|fresh| fresh.message.is_ours && !fresh.codes.is_empty()).collect();
        if ours.is_empty() {
            return Ok(());
        }
        let codes: Vec<&str> = ours.iter().flat_map(|fresh| &fresh.codes).map(String::as_str).collect();
        let echoes: Vec<Echo<'_>> = ours
            .iter()
            .map(|fresh| Echo {
                whatsapp_id: &fresh.message.whatsapp_id,
                chats: fresh.chat_ids(),
                is_group: fresh.message.kind == Kind::Group,
                text: &fresh.message.text,
            })
            .collect();
        notices::settle(session, &codes, &echoes, now).await
    }

    /// Codes become requests, each once for ever, with the tasks that tell the operator and that end the wait.
    async fn make_requests(&mut self, session: &mut Session, rules: Rules, now: Timestamp) -> db::Result<Vec<Ring>> {
        let asking = || self.fresh.iter().filter(|fresh| fresh.message.is_asking() && !fresh.codes.is_empty());
        let codes: Vec<&str> = asking().flat_map(|fresh| &fresh.codes).map(String::as_str).collect();
        if codes.is_empty() {
            return Ok(Vec::new());
        }
        let issued = codes::issued(session, &codes).await?;
        let mut new: BTreeMap<&str, NewRequest> = BTreeMap::new();
        for fresh in asking() {
            let wanted = fresh.codes.iter().filter(|code| !rules.require_registered || issued.contains_key(*code));
            for code in wanted {
                new.entry(code).or_insert_with(|| request(fresh, code, issued.get(code), rules, now));
            }
        }
        let new: Vec<NewRequest> = new.into_values().collect();
        let made: HashSet<Id> = requests::insert(session, &new).await?.into_iter().collect();
        let of_code: HashMap<String, Id> = requests::of_codes(session, &codes).await?.into_iter().collect();
        let new: Vec<&NewRequest> = new.iter().filter(|request| made.contains(&request.id)).collect();
        requests::note(session, &new.iter().map(|request| created(request, &issued, now)).collect::<Vec<_>>()).await?;
        let mut effects = Vec::new();
        for fresh in asking() {
            let named: Vec<Id> = fresh.codes.iter().filter_map(|code| of_code.get(code).copied()).collect();
            let of_this: HashSet<Id> =
                new.iter().filter(|request| request.message == fresh.id).map(|request| request.id).collect();
            let made: Vec<Id> = named.iter().copied().filter(|id| of_this.contains(id)).collect();
            effects.push((fresh.message.whatsapp_id.as_str(), fresh.id, named.first().copied(), made));
        }
        for (whatsapp_id, message, first, made) in effects {
            self.links.extend(first.map(|request| Link { message, request }));
            if !made.is_empty() {
                self.effects.insert(whatsapp_id, Effect::Requested(made));
            }
        }
        let tasks: Vec<NewTask> = new.iter().flat_map(|request| work(request, now)).collect();
        Ok(tasks::insert(session, &tasks).await?.rings)
    }

    /// Answers of operators, from the chats in which they were told.
    async fn read_answers(&mut self, session: &mut Session, now: Timestamp) -> db::Result<()> {
        let answering: Vec<(&Fresh<'m>, Reply, Vec<String>)> = self
            .fresh
            .iter()
            .filter(|fresh| fresh.message.is_asking())
            .filter_map(|fresh| Some((fresh, replies::read(&fresh.message.text)?, fresh.chat_ids())))
            .collect();
        if answering.is_empty() {
            return Ok(());
        }
        let chats: Vec<&str> = answering.iter().flat_map(|(_, _, chats)| chats).map(String::as_str).collect();
        let mut waiting: Vec<Waiting> = requests::waiting_in(session, &chats).await?;
        let (mut answers, mut events) = (Vec::new(), Vec::new());
        for (fresh, reply, chats) in answering {
            let quoted = fresh.message.reply_to_whatsapp_id.as_deref();
            let Some(request) = replies::choose(&waiting, &chats, quoted).map(|request| request.id) else { continue };
            let Some(status) = Status::OperatorNotified.after(Step::Answered(reply)) else { continue };
            waiting.retain(|other| other.id != request);
            answers.push(Answer { request, status, now });
            let facts = json!({ "status": status.as_str(), "message": fresh.id });
            events.push(NewEvent { request, what: What::Answered, facts, now });
            self.links.push(Link { message: fresh.id, request });
            self.effects.insert(fresh.message.whatsapp_id.as_str(), Effect::Answered(status));
        }
        if answers.is_empty() {
            return Ok(());
        }
        requests::answer(session, &answers).await?;
        requests::note(session, &events).await
    }

    /// What became of each message, in their order. Of several with one id, the first took effect.
    fn taken(mut self, messages: &[Message]) -> Vec<Outcome> {
        let fresh: HashMap<&str, bool> =
            self.fresh.iter().map(|fresh| (fresh.message.whatsapp_id.as_str(), fresh.message.is_ours)).collect();
        let mut seen = HashSet::new();
        let one = |message: &Message| {
            let id = message.whatsapp_id.as_str();
            let message_id = self.ids.get(id).copied().unwrap_or_default();
            let effect = match fresh.get(id).filter(|_| seen.insert(id.to_owned())) {
                None => Effect::AlreadyProcessed,
                Some(true) => Effect::Saved,
                Some(false) => self.effects.remove(id).unwrap_or(Effect::Processed),
            };
            Outcome { message_id, effect }
        };
        messages.iter().map(one).collect()
    }
}

fn request(fresh: &Fresh<'_>, code: &str, issued: Option<&Issued>, rules: Rules, now: Timestamp) -> NewRequest {
    let checkout = || issued.and_then(|issued| codes::participants(&issued.checkout_data));
    NewRequest {
        id: Id::new(now),
        code: code.to_owned(),
        experience_id: issued.map(|issued| issued.experience_id.clone()),
        operator: issued.and_then(|issued| issued.operator),
        chat: fresh.chat.id,
        message: fresh.id,
        customer_phone: fresh.message.customer_phone().map(str::to_owned),
        passengers: codes::passengers(&fresh.message.text).or_else(checkout).unwrap_or(1),
        timeout_at: now + rules.timeout,
        now,
    }
}

fn created(request: &NewRequest, issued: &HashMap<String, Issued>, now: Timestamp) -> NewEvent {
    let issued = issued.get(&request.code);
    let facts = json!({
        "message": request.message,
        "unregistered": issued.is_none(),
        "expired": issued.is_some_and(|issued| issued.expires_at <= now),
    });
    NewEvent { request: request.id, what: What::Created, facts, now }
}

/// The tasks of a new request. That which tells the operator has the request's own id. Of a code that was not issued here no one
/// is told (d30).
fn work(request: &NewRequest, now: Timestamp) -> impl Iterator<Item = NewTask> {
    let request_id = request.id;
    let tell = request.experience_id.is_some().then(|| NewTask::now(request_id, &TellOperator { request_id }, now));
    let expire = NewTask::at(Id::new(now), &ExpireRequest { request_id }, request.timeout_at, now);
    tell.into_iter().chain([expire])
}
