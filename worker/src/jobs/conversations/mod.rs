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
pub(crate) struct Concierge {
    context: Context,
    /// `None`: there is none.
    bridge: Option<Bridge>,
    /// For operators who are told by mail.
    providers: Providers,
}

pub(crate) fn register(jobs: &mut Jobs, context: Context) -> Result<(), ProviderError> {
    let bridge = Bridge::new(&context.config)?;
    let concierge = Arc::new(Concierge { bridge, providers: Providers::new(&context)?, context });
    jobs.add(&concierge, notices::tell);
    jobs.add(&concierge, requests::expire);
    jobs.add(&concierge, sync::chats);
    jobs.add(&concierge, sync::groups);
    jobs.add(&concierge, sync::messages);
    jobs.add(&concierge, sync::histories);
    jobs.add(&concierge, sync::catch_up);
    jobs.add(&concierge, sessions::watch);
    jobs.add(&concierge, sessions::announce);
    Ok(())
}

/// See [`sessions::begin`].
pub(super) async fn watch(context: &Context) -> db::Result<()> {
    sessions::begin(context).await
}
