//! Queue `sync`: what the bridge has on record is brought here. The task and its row tell how far a run is; one that is cut off goes
//! on where it was, and stores nothing twice.

use std::sync::Arc;
use std::time::Duration;

use recado_conversations::bridge::Bridge;
use recado_conversations::jobs::{CatchUp, SyncChats, SyncGroups, SyncHistories, SyncMessages};
use recado_conversations::sync::{self, Followed, Histories, SyncError};
use recado_queue::tasks::Claimed;
use serde::Serialize;
use serde_json::json;

use super::ConversationJobs;
use crate::registry::{JobError, Outcome};

/// How long a run through all chats goes on before it makes room for others; a run has an hour, and a chat may take a minute.
const WITHIN: Duration = Duration::from_secs(45 * 60);

/// When a run goes on that the bridge stopped.
const GOES_ON_AFTER: Duration = Duration::from_secs(30);

pub(super) async fn chats(
    conversations: Arc<ConversationJobs>,
    task: Arc<Claimed>,
    _: SyncChats,
) -> Result<Outcome, JobError> {
    let bridge = conversations.bridge()?;
    done(sync::follow_chats(&conversations.context, bridge, followed(&task)).await)
}

pub(super) async fn groups(
    conversations: Arc<ConversationJobs>,
    task: Arc<Claimed>,
    _: SyncGroups,
) -> Result<Outcome, JobError> {
    let bridge = conversations.bridge()?;
    done(sync::follow_groups(&conversations.context, bridge, followed(&task)).await)
}

pub(super) async fn messages(
    conversations: Arc<ConversationJobs>,
    task: Arc<Claimed>,
    SyncMessages { chat_id, limit }: SyncMessages,
) -> Result<Outcome, JobError> {
    let bridge = conversations.bridge()?;
    done(sync::follow_messages(&conversations.context, bridge, (&chat_id, limit), followed(&task)).await)
}

pub(super) async fn histories(
    conversations: Arc<ConversationJobs>,
    task: Arc<Claimed>,
    SyncHistories { limit }: SyncHistories,
) -> Result<Outcome, JobError> {
    let bridge = conversations.bridge()?;
    let context = &conversations.context;
    match sync::histories(context, bridge, limit, (followed(&task), WITHIN)).await {
        Ok(Histories::Done(progress)) => Ok(Outcome::Done(json!(progress))),
        Ok(Histories::GoesOn(progress)) => {
            let (done, total) = (progress.chats_done.unwrap_or_default(), progress.chats_total.unwrap_or_default());
            let because = Some(format!("{done} of {total} chats are done; it goes on there"));
            Ok(Outcome::Later { at: context.clock.now() + GOES_ON_AFTER, lane: task.lane, because })
        }
        Err(error) => done::<()>(Err(error)),
    }
}

fn followed(task: &Claimed) -> Followed {
    Followed::Task { id: task.id, attempt: task.attempt }
}

pub(super) async fn catch_up(
    conversations: Arc<ConversationJobs>,
    _: Arc<Claimed>,
    CatchUp { since }: CatchUp,
) -> Result<Outcome, JobError> {
    let bridge = conversations.bridge()?;
    let found = sync::catch_up(&conversations.context, bridge, since).await;
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

impl ConversationJobs {
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
