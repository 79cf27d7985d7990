//! Queue `sync`: what the bridge has on record is brought here. A run that is cut off begins again, and stores nothing twice.

use std::sync::Arc;

use recado_conversations::bridge::Bridge;
use recado_conversations::jobs::{CatchUp, SyncChats, SyncGroups, SyncMessages};
use recado_conversations::sync::{self, SyncError};
use recado_queue::tasks::Claimed;
use serde::Serialize;
use serde_json::json;

use super::Concierge;
use crate::registry::{JobError, Outcome};

pub(super) async fn chats(concierge: Arc<Concierge>, _: Arc<Claimed>, _: SyncChats) -> Result<Outcome, JobError> {
    let bridge = concierge.bridge()?;
    done(sync::chats(&concierge.context, bridge).await)
}

pub(super) async fn groups(concierge: Arc<Concierge>, _: Arc<Claimed>, _: SyncGroups) -> Result<Outcome, JobError> {
    let bridge = concierge.bridge()?;
    done(sync::groups(&concierge.context, bridge).await)
}

pub(super) async fn messages(
    concierge: Arc<Concierge>,
    _: Arc<Claimed>,
    SyncMessages { chat_id, limit }: SyncMessages,
) -> Result<Outcome, JobError> {
    let bridge = concierge.bridge()?;
    done(sync::messages(&concierge.context, bridge, &chat_id, limit).await)
}

pub(super) async fn catch_up(
    concierge: Arc<Concierge>,
    _: Arc<Claimed>,
    CatchUp { since }: CatchUp,
) -> Result<Outcome, JobError> {
    let bridge = concierge.bridge()?;
    let found = sync::catch_up(&concierge.context, bridge, since).await;
    if let Ok(found) = &found
        && found.messages > 0
    {
        let (messages, requests) = (found.messages, found.requests);
        tracing::warn!(
            messages,
            requests,
            "{messages} messages were missed during an outage, and have taken effect now"
        );
    }
    done(found)
}

impl Concierge {
    fn bridge(&self) -> Result<&Bridge, JobError> {
        self.bridge.as_ref().ok_or_else(|| JobError::fail("there is no bridge; set WHATSAPP_SERVICE_URL"))
    }
}

/// What passes is tried again; what would be said again is an end.
fn done<T: Serialize>(synced: Result<T, SyncError>) -> Result<Outcome, JobError> {
    match synced {
        Ok(counts) => Ok(Outcome::Done(json!(counts))),
        Err(error) if error.is_passing() => Err(error.into()),
        Err(error) => Err(JobError::fail(error)),
    }
}
