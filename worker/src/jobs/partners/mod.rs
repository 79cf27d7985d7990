//! Jobs about partners. What kinds there are stands in `shared/partners/src/jobs.rs`.

mod events;
mod inbound;

use std::sync::Arc;

use recado_queue::context::Context;

use crate::registry::Jobs;

pub(crate) fn register(jobs: &mut Jobs, context: Context) {
    let context = Arc::new(context);
    jobs.add(&context, events::publish);
    jobs.add(&context, inbound::process);
}
