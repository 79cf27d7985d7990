//! Jobs about conversations. What kinds there are stands in `shared/conversations/src/jobs.rs`.

mod notices;
mod requests;
mod sessions;
mod sync;

use std::sync::Arc;

use recado_conversations::bridge::Bridge;
use recado_kernel::db;
use recado_queue::context::Context;

use crate::channels::{ProviderError, Providers};
use crate::registry::Jobs;

/// What these jobs hold.
pub(crate) struct ConversationJobs {
    context: Context,
    /// `None`: there is none.
    bridge: Option<Bridge>,
    /// For operators who are told by mail.
    providers: Providers,
}

pub(crate) fn register(jobs: &mut Jobs, context: Context) -> Result<(), ProviderError> {
    let bridge = Bridge::new(&context.config)?;
    let conversations = Arc::new(ConversationJobs { bridge, providers: Providers::new(&context)?, context });
    jobs.add(&conversations, notices::tell);
    jobs.add(&conversations, requests::expire);
    jobs.add(&conversations, sync::chats);
    jobs.add(&conversations, sync::groups);
    jobs.add(&conversations, sync::messages);
    jobs.add(&conversations, sync::histories);
    jobs.add(&conversations, sync::catch_up);
    jobs.add(&conversations, sessions::watch);
    jobs.add(&conversations, sessions::announce);
    Ok(())
}

/// See [`sessions::begin`].
pub(super) async fn watch(context: &Context) -> db::Result<()> {
    sessions::begin(context).await
}
