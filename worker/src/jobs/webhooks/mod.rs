//! Jobs about webhooks. What kinds there are stands in `shared/webhooks/src/jobs.rs`.

mod attempt;
mod deliver;
mod effects;
mod gate;
mod replay;

use std::sync::Arc;

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
    client: reqwest::Client,
    loaded: Loaded,
    gates: Gates,
}

pub(crate) fn register(jobs: &mut Jobs, context: Context) -> Result<(), ProviderError> {
    let client = outbound::client(context.config.allow_private_networks, USUAL_TIMEOUT, Connections::Kept)
        .map_err(|error| ProviderError::Tls(error.into()))?;
    let sender =
        Arc::new(Sender { client, loaded: deliver::load_together(context.clone()), gates: Gates::default(), context });
    jobs.add(&sender, deliver::deliver);
    jobs.add(&sender, replay::run);
    Ok(())
}
