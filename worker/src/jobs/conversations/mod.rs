//! Jobs about conversations. What kinds there are stands in `shared/conversations/src/jobs.rs`.

mod notices;
mod requests;

use std::sync::Arc;

use recado_conversations::bridge::Bridge;
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
    Ok(())
}
