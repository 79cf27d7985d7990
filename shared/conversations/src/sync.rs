//! What the bridge has on record, brought into the database: chats, groups, the history of one chat or of all (S003-21), and what
//! was said while this program was away.
//!
//! The bridge is asked before a transaction begins: it is slow, and holds up nothing. What is stored here asks for nothing; its
//! webhook may still come, and takes effect then. Each batch is a transaction of its own, with how far the sync is.

pub mod runs;

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::tasks::{self, NewTask};
use serde::Serialize;
use serde_json::json;

use self::runs::{NewRun, Progress, Run, What};
use crate::bridge::{Bridge, Failure, Listed, Remembered, Target, moment};
use crate::chats::listing::{self, Counts};
use crate::chats::{self, Kind};
use crate::incoming::{self, Effect, Message};
use crate::jobs::CatchUp;
use crate::messages::history;
use crate::sends::{self, Echo};
use crate::sessions::{self, BRIDGE};

/// Rows that are written in one transaction.
const BATCH: usize = 500;

/// How much before an outage a message may have been said and still be missing: the public bridge posts what is five minutes old
/// again, so that much may have been on its way.
const OVERLAP: Duration = Duration::from_secs(5 * 60);

/// How many of the newest messages of a chat are looked at after an outage.
const MISSED: u32 = 1_000;

/// What was said so lately may be on its way: a webhook, or the bridge's next round.
const ON_ITS_WAY: Duration = Duration::from_secs(2 * 60);

/// Two clocks, and fractions of seconds, make no two messages of one.
const SAME_MOMENT: Duration = Duration::from_secs(2);

/// Why a sync did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Bridge(#[from] Failure),
    #[error("the database did not do its part")]
    Database(#[from] db::Error),
    #[error("`{0}` is no id of a chat; write e.g. 593991234567@c.us or 120363041234567890@g.us")]
    NoChat(String),
}

impl SyncError {
    /// Whether the same might work later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Bridge(Failure::NotReady | Failure::Unreachable(_) | Failure::Nonsense(_) | Failure::Unknown)
            | Self::Database(_) => true,
            Self::Bridge(Failure::Refused(_)) | Self::NoChat(_) => false,
        }
    }
}

/// Where a sync writes how far it is.
#[derive(Clone, Copy, Debug)]
pub enum Followed {
    /// Nowhere: who asked waits for it.
    Not,
    /// In its row; who runs it is shown each step.
    Run { id: Id, shown: fn(&Run) },
    /// In its row and in the task that runs it, at this attempt.
    Task { id: Id, attempt: i32 },
}

impl Followed {
    fn id(self) -> Option<Id> {
        match self {
            Self::Not => None,
            Self::Run { id, .. } | Self::Task { id, .. } => Some(id),
        }
    }

    async fn begin(self, context: &Context, what: What, chat: Option<(&str, u32)>) -> db::Result<Option<Run>> {
        let Some(id) = self.id() else { return Ok(None) };
        let (chat_id, limit) = (chat.map(|(chat_id, _)| chat_id), chat.map(|(_, limit)| limit));
        let new = NewRun { id, what, chat_id: chat_id.filter(|id| !id.is_empty()), limit };
        let mut session = context.db.begin().await?;
        let run = runs::begin(&mut session, new, context.clock.now()).await?;
        session.commit().await?;
        Ok(Some(run))
    }

    async fn expect(self, context: &Context, total: u64, chats: usize) -> db::Result<()> {
        let Some(id) = self.id() else { return Ok(()) };
        let mut session = context.db.write().await?;
        runs::expect(&mut session, id, total, chats, context.clock.now()).await?;
        session.commit().await
    }

    /// Notes what a batch has written, in its transaction.
    async fn add(self, session: &mut Session, counts: Counts, now: Timestamp) -> db::Result<Option<Run>> {
        let Some(id) = self.id() else { return Ok(None) };
        let run = runs::add(session, id, counts, now).await?;
        self.report(session, run.as_ref()).await?;
        Ok(run)
    }

    async fn report(self, session: &mut Session, run: Option<&Run>) -> db::Result<()> {
        match (self, run) {
            (Self::Task { id, attempt }, Some(run)) => {
                tasks::report(session, id, attempt, &json!(run.progress())).await
            }
            _ => Ok(()),
        }
    }

    fn show(self, run: Option<&Run>) {
        if let (Self::Run { shown, .. }, Some(run)) = (self, run) {
            shown(run);
        }
    }

    /// Keeps how it ended. What it has written in all its runs is its answer.
    async fn end(self, context: &Context, ended: Result<Counts, SyncError>) -> Result<Progress, SyncError> {
        let plain = |counts| Progress { counts, ..Progress::default() };
        let Some(id) = self.id() else { return ended.map(plain) };
        let problem = ended.as_ref().err().map(ToString::to_string);
        let mut session = context.db.begin().await?;
        runs::end(&mut session, id, problem.as_deref(), context.clock.now()).await?;
        let run = runs::find(&mut session, id).await?;
        session.commit().await?;
        let counts = ended?;
        Ok(run.map_or_else(|| plain(counts), |run| run.progress()))
    }
}

/// Brings all chats up to date, groups among them.
///
/// # Errors
/// When the bridge does not list them, or the database fails; what was written before stays.
pub async fn chats(context: &Context, bridge: &Bridge) -> Result<Counts, SyncError> {
    follow_chats(context, bridge, Followed::Not).await.map(|progress| progress.counts)
}

/// [`chats()`], which tells how far it is.
///
/// # Errors
/// As [`chats()`].
pub async fn follow_chats(context: &Context, bridge: &Bridge, followed: Followed) -> Result<Progress, SyncError> {
    followed.begin(context, What::Chats, None).await?;
    let synced = async { store(context, &bridge.chats().await?, followed).await }.await;
    followed.end(context, synced).await
}

/// Brings all groups up to date.
///
/// # Errors
/// As [`chats()`].
pub async fn groups(context: &Context, bridge: &Bridge) -> Result<Counts, SyncError> {
    follow_groups(context, bridge, Followed::Not).await.map(|progress| progress.counts)
}

/// [`groups`], which tells how far it is.
///
/// # Errors
/// As [`chats()`].
pub async fn follow_groups(context: &Context, bridge: &Bridge, followed: Followed) -> Result<Progress, SyncError> {
    followed.begin(context, What::Groups, None).await?;
    let synced = async { store(context, &bridge.groups().await?, followed).await }.await;
    followed.end(context, synced).await
}

/// Brings one group up to date.
///
/// # Errors
/// As [`chats()`].
pub async fn group(context: &Context, bridge: &Bridge, chat_id: &str) -> Result<Counts, SyncError> {
    store(context, &[bridge.group_info(chat_id).await?], Followed::Not).await
}

async fn store(context: &Context, listed: &[Listed], followed: Followed) -> Result<Counts, SyncError> {
    let listed = listing::unique(listed);
    followed.expect(context, listed.len() as u64, 0).await?;
    let mut counts = Counts { total: listed.len() as u64, ..Counts::default() };
    for batch in listed.chunks(BATCH) {
        let now = context.clock.now();
        let mut session = context.db.begin().await?;
        let Counts { created, updated, .. } = listing::upsert_batch(&mut session, batch, now).await?;
        listing::merge_lids(&mut session, batch, now).await?;
        let run = followed.add(&mut session, Counts { created, updated, total: 0 }, now).await?;
        session.commit().await?;
        followed.show(run.as_ref());
        counts.created += created;
        counts.updated += updated;
    }
    Ok(counts)
}

/// Brings the history of one chat up to date: its newest messages, at most `limit`.
///
/// # Errors
/// When the bridge does not know the chat or cannot be read, or the database fails; what was written before stays.
pub async fn messages(context: &Context, bridge: &Bridge, chat_id: &str, limit: u32) -> Result<Counts, SyncError> {
    follow_messages(context, bridge, (chat_id, limit), Followed::Not).await.map(|progress| progress.counts)
}

/// [`messages`], which tells how far it is.
///
/// # Errors
/// As [`messages`].
pub async fn follow_messages(
    context: &Context,
    bridge: &Bridge,
    (chat_id, limit): (&str, u32),
    followed: Followed,
) -> Result<Progress, SyncError> {
    followed.begin(context, What::Messages, Some((chat_id, limit))).await?;
    let synced = async {
        let target = Target::of(chat_id).ok_or_else(|| SyncError::NoChat(chat_id.to_owned()))?;
        let history = bridge.messages(chat_id, limit).await?;
        let total = history::count(&history);
        followed.expect(context, total, 0).await?;
        let written = store_history(context, &target, &history, followed).await?;
        Ok(Counts { total, ..written })
    };
    let synced = synced.await;
    followed.end(context, synced).await
}

/// Stores a history, a batch in each transaction. `total` of what it returns is nothing.
async fn store_history(
    context: &Context,
    target: &Target,
    history: &[Remembered],
    followed: Followed,
) -> db::Result<Counts> {
    let chat_id = target.chat_id();
    let mut written = Counts::default();
    for batch in history.chunks(BATCH) {
        let now = context.clock.now();
        let mut session = context.db.begin().await?;
        let chat = listing::chat_of(&mut session, target, now).await?;
        let ours: Vec<Echo<'_>> = batch
            .iter()
            .filter(|said| said.from_me)
            .map(|said| Echo { whatsapp_id: &said.id, chat_id: &chat_id, text: &said.text })
            .collect();
        sends::confirm(&mut session, &ours, now).await?;
        let (Counts { created, .. }, _) = history::store(&mut session, chat, batch, now).await?;
        let run = followed.add(&mut session, Counts { created, ..Counts::default() }, now).await?;
        session.commit().await?;
        followed.show(run.as_ref());
        written.created += created;
    }
    Ok(written)
}

/// How the histories of all chats came along.
#[derive(Clone, Copy, Debug)]
pub enum Histories {
    Done(Progress),
    /// Its time is up, or the bridge failed after some chats were done; it goes on where it was.
    GoesOn(Progress),
}

/// Brings the histories of all chats up to date, one after the other in the order of WhatsApp's ids: of each its newest messages, at
/// most `limit`. A chat that the bridge cannot open costs no other. After `within` it ends, to go on behind the last chat that was
/// done; so does one that was cut off.
///
/// # Errors
/// When the bridge or the database fails before any chat was done.
pub async fn histories(
    context: &Context,
    bridge: &Bridge,
    limit: u32,
    (followed, within): (Followed, Duration),
) -> Result<Histories, SyncError> {
    let run = followed.begin(context, What::Histories, Some(("", limit))).await?;
    let mut walk =
        Walk { last: run.as_ref().and_then(|run| run.last_chat_id.clone()), done: 0, counts: Counts::default() };
    let until = context.clock.elapsed() + within;
    let walked = walk.on(context, bridge, limit, (followed, until)).await;
    if let (Err(error), true) = (&walked, walk.done > 0) {
        tracing::warn!(%error, "the histories of WhatsApp are fetched later: {error}");
    }
    match walked {
        Ok(true) => followed.end(context, Ok(walk.counts)).await.map(Histories::Done),
        Ok(false) => Ok(Histories::GoesOn(walk.progress(context, followed).await?)),
        Err(error) if walk.done > 0 && error.is_passing() => {
            let progress = walk.progress(context, followed).await?;
            drop(followed.end(context, Err(error)).await);
            Ok(Histories::GoesOn(progress))
        }
        Err(error) => followed.end(context, Err(error)).await.map(Histories::Done),
    }
}

/// A way through all chats.
struct Walk {
    /// The last chat that is done.
    last: Option<String>,
    /// In this run.
    done: usize,
    counts: Counts,
}

impl Walk {
    /// Returns whether all are done.
    async fn on(
        &mut self,
        context: &Context,
        bridge: &Bridge,
        limit: u32,
        (followed, until): (Followed, Duration),
    ) -> Result<bool, SyncError> {
        let listed = bridge.chats().await?;
        store(context, &listed, Followed::Not).await?;
        let mut targets: Vec<(&str, Target)> =
            listed.iter().filter_map(|chat| Some((chat.chat_id.as_str(), Target::of(&chat.chat_id)?))).collect();
        targets.sort_by_key(|(chat_id, _)| *chat_id);
        targets.dedup_by_key(|(chat_id, _)| *chat_id);
        self.expect(context, followed, targets.len()).await?;
        let last = self.last.clone();
        let left = targets.iter().filter(|(chat_id, _)| last.as_deref().is_none_or(|last| *chat_id > last));
        for (chat_id, target) in left {
            if context.clock.elapsed() >= until {
                return Ok(false);
            }
            let history = match bridge.messages(chat_id, limit).await {
                Ok(history) => history,
                Err(Failure::Refused(_)) => Vec::new(),
                Err(failure) => return Err(failure.into()),
            };
            let written = store_history(context, target, &history, followed).await?;
            self.note(context, followed, chat_id, history::count(&history)).await?;
            self.counts.created += written.created;
        }
        Ok(true)
    }

    async fn expect(&self, context: &Context, followed: Followed, chats: usize) -> db::Result<()> {
        let Some(id) = followed.id() else { return Ok(()) };
        let mut session = context.db.begin().await?;
        let total = runs::find(&mut session, id).await?.map_or(0, |run| run.total.unsigned_abs());
        runs::expect(&mut session, id, total, chats, context.clock.now()).await?;
        session.commit().await
    }

    async fn note(&mut self, context: &Context, followed: Followed, chat_id: &str, total: u64) -> db::Result<()> {
        self.last = Some(chat_id.to_owned());
        self.done += 1;
        self.counts.total += total;
        let Some(id) = followed.id() else { return Ok(()) };
        let now = context.clock.now();
        let mut session = context.db.begin().await?;
        runs::add(&mut session, id, Counts { total, ..Counts::default() }, now).await?;
        let run = runs::chat_done(&mut session, id, chat_id, now).await?;
        followed.report(&mut session, run.as_ref()).await?;
        session.commit().await?;
        followed.show(run.as_ref());
        Ok(())
    }

    async fn progress(&self, context: &Context, followed: Followed) -> db::Result<Progress> {
        let run = match followed.id() {
            Some(id) => runs::find(&mut context.db.read().await?, id).await?,
            None => None,
        };
        Ok(run.map_or(Progress { counts: self.counts, ..Progress::default() }, |run| run.progress()))
    }
}

/// What a catch-up found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CaughtUp {
    /// Chats in which something was said since.
    pub chats: u64,
    /// Messages that were missing.
    pub messages: u64,
    /// Requests that they made.
    pub requests: u64,
}

/// After an outage that began at `since`: what was said meanwhile takes effect as if its webhook had come, and nothing else does:
/// neither what is here already, however it came, nor what was said before. It may be run again; the second run finds nothing.
///
/// # Errors
/// When the bridge or the database fails on the way; what was fetched before stays.
pub async fn catch_up(context: &Context, bridge: &Bridge, since: Timestamp) -> Result<CaughtUp, SyncError> {
    let since = since - OVERLAP;
    let listed = bridge.chats().await?;
    store(context, &listed, Followed::Not).await?;
    let mut found = CaughtUp::default();
    for chat in listed.iter().filter(|chat| spoke_since(chat, since)) {
        let history = match bridge.messages(&chat.chat_id, MISSED).await {
            Ok(history) => history,
            // One chat that it cannot open costs no other.
            Err(Failure::Refused(_)) => continue,
            Err(failure) => return Err(failure.into()),
        };
        found.chats += 1;
        let mut session = context.db.read().await?;
        let missing: Vec<Message> = history::without_effect(&mut session, &history)
            .await?
            .into_iter()
            .filter(|said| said.timestamp.and_then(moment).is_some_and(|at| at >= since))
            .map(|said| as_told(chat, said))
            .collect();
        drop(session);
        for batch in missing.chunks(200) {
            let taken = incoming::take_all(context, batch).await?;
            found.messages += batch.len() as u64;
            for one in taken {
                if let Effect::Requested(made) = one.effect {
                    found.requests += made.len() as u64;
                }
            }
        }
    }
    Ok(found)
}

/// Compares the bridge's chats with ours: since when messages are missing here that were said from `from` on, if any are. What was
/// said a moment ago may be on its way, and is not looked at.
///
/// # Errors
/// When the bridge does not list its chats, or the database fails.
pub async fn behind(context: &Context, bridge: &Bridge, from: Timestamp) -> Result<Option<Timestamp>, SyncError> {
    let listed = bridge.chats().await?;
    let until = context.clock.now() - ON_ITS_WAY;
    let spoke = |chat: &Listed| chat.last_message.as_ref()?.timestamp.and_then(moment);
    let last: Vec<(&str, Timestamp)> = listed
        .iter()
        .filter(|chat| !chats::is_broadcast(&chat.chat_id))
        .filter_map(|chat| Some((chat.chat_id.as_str(), spoke(chat)?)))
        .filter(|(_, at)| (from..=until).contains(at))
        .collect();
    if last.is_empty() {
        return Ok(None);
    }
    let ids: Vec<&str> = last.iter().map(|(chat_id, _)| *chat_id).collect();
    let ours = history::latest(&mut context.db.read().await?, &ids).await?;
    let is_missing =
        |(chat_id, at): &(&str, Timestamp)| ours.get(*chat_id).is_none_or(|ours| *ours + SAME_MOMENT < *at);
    Ok(last.into_iter().filter(is_missing).map(|(_, at)| at).min())
}

/// An API takes the bridge's webhooks at this moment, and says so again and again. After a time in which none did, what was said
/// meanwhile is fetched.
///
/// # Errors
/// When the database fails.
pub async fn attend(context: &Context) -> db::Result<()> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let missed = sessions::serve(&mut session, BRIDGE, now).await?;
    let mut rings = Vec::new();
    if let Some(since) = missed {
        tracing::warn!(%since, "no API took the webhooks of WhatsApp for a while; what was said since is fetched");
        sessions::caught_up(&mut session, BRIDGE, now).await?;
        let task = NewTask::now(Id::new(now), &CatchUp { since }, now);
        rings = tasks::insert(&mut session, &[task]).await?.rings;
    }
    session.commit().await?;
    context.ring(&rings).await;
    Ok(())
}

fn spoke_since(chat: &Listed, since: Timestamp) -> bool {
    // A bridge that does not say when cannot be passed over.
    let last = chat.last_message.as_ref();
    last.is_some_and(|last| last.timestamp.and_then(moment).is_none_or(|at| at >= since))
}

/// A message of a history, as its webhook would have told it.
fn as_told(chat: &Listed, said: &Remembered) -> Message {
    Message {
        whatsapp_id: said.id.clone(),
        chat_id: chat.chat_id.clone(),
        kind: if chat.is_group { Kind::Group } else { Kind::Individual },
        chat_name: chat.name.clone(),
        whatsapp_name: chat.whatsapp_name.clone(),
        profile_picture_url: chat.profile_picture_url.clone(),
        phone: chat.phone.clone(),
        text: said.text.clone(),
        sent_at: said.timestamp.and_then(moment),
        is_ours: said.from_me,
        sender_name: said.sender_name.clone(),
        sender_phone: said.sender_phone.clone(),
        media_type: said.media_type.clone(),
        reply_to_whatsapp_id: said.reply_to.clone(),
    }
}
