//! Every kind of job about conversations, on one page. How each one runs stands in `worker/src/jobs/conversations/`.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_queue::jobs::{Job, Kind, LONG};
use recado_queue::lanes::{Lane, MAINTENANCE, SYNC};
use serde::{Deserialize, Serialize};

use crate::health::Standing;

/// Words to operators through the bridge. One that is slow holds up nothing else.
pub const BRIDGE: Lane = Lane::new("conversations.bridge");

/// What the worker must know how to run.
pub const KINDS: [Kind; 9] = [
    TellOperator::KIND,
    ExpireRequest::KIND,
    SyncChats::KIND,
    SyncGroups::KIND,
    SyncMessages::KIND,
    SyncHistories::KIND,
    WatchSession::KIND,
    CatchUp::KIND,
    AnnounceSession::KIND,
];

/// Tells an operator of a request, by one means of those that are left.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TellOperator {
    pub request_id: Id,
}

impl Job for TellOperator {
    const KIND: Kind = Kind::new("tell_operator", BRIDGE).timeout(LONG);
}

/// Ends a request to which there was no answer in time. Its task is due then.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ExpireRequest {
    pub request_id: Id,
}

impl Job for ExpireRequest {
    const KIND: Kind = Kind::new("expire_reservation_request", MAINTENANCE);
}

/// Brings all chats up to date.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SyncChats {}

impl Job for SyncChats {
    const KIND: Kind = Kind::new("sync_whatsapp_chats", SYNC).timeout(LONG);
}

/// Brings all groups up to date.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SyncGroups {}

impl Job for SyncGroups {
    const KIND: Kind = Kind::new("sync_whatsapp_groups", SYNC).timeout(LONG);
}

/// Brings the history of one chat up to date.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SyncMessages {
    /// WhatsApp's id of the chat.
    pub chat_id: String,
    /// How many of the newest messages to ask for.
    pub limit: u32,
}

impl Job for SyncMessages {
    const KIND: Kind = Kind::new("sync_whatsapp_messages", SYNC).timeout(LONG);
}

/// Brings the histories of all chats up to date.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SyncHistories {
    /// How many of the newest messages of each chat to ask for.
    pub limit: u32,
}

impl Job for SyncHistories {
    const KIND: Kind = Kind::new("sync_whatsapp_histories", SYNC).timeout(LONG);
}

/// Every 45 s: asks the bridge how its session is, and judges whether to believe it. One task, which is due again and again.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct WatchSession {}

impl Job for WatchSession {
    const KIND: Kind = Kind::new("watch_whatsapp_session", MAINTENANCE).timeout(Duration::from_secs(120));
}

/// Tells staff by mail of a session that was lost, does not deliver, is silent, or has recovered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AnnounceSession {
    /// Its name with us.
    pub session: String,
    pub standing: Standing,
    pub at: Timestamp,
}

impl Job for AnnounceSession {
    const KIND: Kind = Kind::new("announce_whatsapp_session", MAINTENANCE).timeout(Duration::from_secs(300));
}

/// After an outage of ours or the bridge's: what was said meanwhile takes effect as if its webhook had come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CatchUp {
    /// When the outage began.
    pub since: Timestamp,
}

impl Job for CatchUp {
    const KIND: Kind = Kind::new("catch_up_whatsapp", SYNC).timeout(LONG);
}
