//! What the bridge has on record, brought into the database: chats, groups, the history of one chat (S003-21), and what was said
//! while this program was away.
//!
//! The bridge is asked before a transaction begins: it is slow, and holds up nothing. What is stored here asks for nothing; its
//! webhook may still come, and takes effect then.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_queue::context::Context;
use serde::Serialize;

use crate::bridge::{Bridge, Failure, Listed, Remembered, Target, moment};
use crate::chats::Kind;
use crate::chats::listing::{self, Counts};
use crate::incoming::{self, Effect, Message};
use crate::messages::history;
use crate::sends::{self, Echo};

/// How much before an outage a message may have been said and still be missing: the public bridge posts what is five minutes old
/// again, so that much may have been on its way.
const OVERLAP: Duration = Duration::from_secs(5 * 60);

/// How many of the newest messages of a chat are looked at after an outage.
const MISSED: u32 = 1_000;

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

/// Brings all chats up to date, groups among them.
///
/// # Errors
/// When the bridge does not list them, or the database fails; then nothing was written.
pub async fn chats(context: &Context, bridge: &Bridge) -> Result<Counts, SyncError> {
    store(context, &bridge.chats().await?).await
}

/// Brings all groups up to date.
///
/// # Errors
/// As [`chats`].
pub async fn groups(context: &Context, bridge: &Bridge) -> Result<Counts, SyncError> {
    store(context, &bridge.groups().await?).await
}

/// Brings one group up to date.
///
/// # Errors
/// As [`chats`].
pub async fn group(context: &Context, bridge: &Bridge, chat_id: &str) -> Result<Counts, SyncError> {
    store(context, &[bridge.group_info(chat_id).await?]).await
}

async fn store(context: &Context, listed: &[Listed]) -> Result<Counts, SyncError> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let counts = listing::upsert(&mut session, listed, now).await?;
    listing::merge_lids(&mut session, listed, now).await?;
    session.commit().await?;
    Ok(counts)
}

/// Brings the history of one chat up to date: its newest messages, at most `limit`.
///
/// # Errors
/// When the bridge does not know the chat or cannot be read, or the database fails.
pub async fn messages(context: &Context, bridge: &Bridge, chat_id: &str, limit: u32) -> Result<Counts, SyncError> {
    let target = Target::of(chat_id).ok_or_else(|| SyncError::NoChat(chat_id.to_owned()))?;
    let history = bridge.messages(chat_id, limit).await?;
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let chat = listing::chat_of(&mut session, &target, now).await?;
    let ours: Vec<Echo<'_>> = history
        .iter()
        .filter(|said| said.from_me)
        .map(|said| Echo { whatsapp_id: &said.id, chat_id, text: &said.text })
        .collect();
    sends::confirm(&mut session, &ours, now).await?;
    let (counts, _) = history::store(&mut session, chat, &history, now).await?;
    session.commit().await?;
    Ok(counts)
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
    store(context, &listed).await?;
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
        let missing: Vec<Message> = history::without_known(&mut session, &history)
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
