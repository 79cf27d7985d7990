//! Jobs about webhooks. What kinds there are stands in `shared/webhooks/src/jobs.rs`.

mod attempt;
mod deliver;
mod effects;
mod gate;
mod notices;
mod replay;

use std::sync::Arc;

use recado_kernel::outbound::Reach;
use recado_queue::context::Context;
use recado_webhooks::endpoints::USUAL_TIMEOUT;

use self::deliver::Loaded;
use self::gate::Gates;
use crate::channels::ProviderError;
use crate::outbound::{self, Connections};
use crate::registry::Jobs;

/// What these jobs hold.
pub(crate) struct Sender {
    context: Context,
    /// Where it may go, and a client that goes nowhere else.
    outside: Reach,
    client: reqwest::Client,
    loaded: Loaded,
    gates: Gates,
}

pub(crate) fn register(jobs: &mut Jobs, context: Context) -> Result<(), ProviderError> {
    let outside = context.config.reach_of_webhooks();
    let client = outbound::client(outside.clone(), USUAL_TIMEOUT, Connections::Kept)
        .map_err(|error| ProviderError::Tls(error.into()))?;
    let sender = Arc::new(Sender {
        outside,
        client,
        loaded: deliver::load_together(context.clone()),
        gates: Gates::default(),
        context,
    });
    jobs.add(&sender, deliver::deliver);
    jobs.add(&sender, replay::run);
    jobs.add(&sender, notices::announce);
    Ok(())
}
