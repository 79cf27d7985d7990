//! Jobs about webhooks. What kinds there are stands in `shared/webhooks/src/jobs.rs`.

mod attempt;
mod callers;
mod deliver;
mod effects;
mod follow;
mod gate;
mod notices;
mod replay;
mod target;

use std::sync::Arc;

use recado_queue::context::Context;

use self::callers::Callers;
use self::deliver::Loaded;
use self::gate::Gates;
use crate::channels::ProviderError;
use crate::registry::Jobs;

/// What these jobs hold.
pub(crate) struct Sender {
    context: Context,
    loaded: Loaded,
    gates: Gates,
}

pub(crate) fn register(jobs: &mut Jobs, context: Context) -> Result<(), ProviderError> {
    let callers = Callers::new(context.config.reach_of_webhooks()).map_err(|error| ProviderError::Tls(error.into()))?;
    let sender =
        Arc::new(Sender { loaded: deliver::load_together(context.clone(), callers), gates: Gates::default(), context });
    jobs.add(&sender, deliver::deliver);
    jobs.add(&sender, replay::run);
    jobs.add(&sender, follow::run);
    jobs.add(&sender, notices::announce);
    Ok(())
}
