//! Jobs about partners. What kinds there are stands in `shared/partners/src/jobs.rs`.

mod events;
mod inbound;

use std::sync::Arc;

use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_partners::gate;
use recado_partners::standing::Policy;
use recado_queue::context::Context;

use crate::registry::Jobs;

/// `PARTNER_REQUIRE_KYC` may have been switched since partners last changed: endpoints that it stops are stopped before anything
/// goes out, and those that it stopped go on.
pub(crate) async fn align(context: &Context) -> db::Result<()> {
    let policy = Policy { require_kyc: context.config.partner_require_kyc };
    let mut after = Some(Id::default());
    while let Some(from) = after {
        let mut session = context.db.begin().await?;
        let (next, rings) = gate::align_next(&mut session, from, policy, context.clock.now()).await?;
        session.commit().await?;
        context.ring(&rings).await;
        after = next;
    }
    Ok(())
}

pub(crate) fn register(jobs: &mut Jobs, context: Context) {
    let context = Arc::new(context);
    jobs.add(&context, events::publish);
    jobs.add(&context, inbound::process);
}
