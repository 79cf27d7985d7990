//! Tells those who subscribed what happened to a partner (S001-16), as webhooks. How these go is the webhooks' own matter.

use std::sync::Arc;

use recado_partners::events;
use recado_partners::jobs::PublishPartnerEvent;
use recado_queue::context::Context;
use recado_queue::tasks::Claimed;
use serde_json::json;

use crate::registry::{JobError, Outcome};

pub(super) async fn publish(
    context: Arc<Context>,
    task: Arc<Claimed>,
    _: PublishPartnerEvent,
) -> Result<Outcome, JobError> {
    let mut session = context.db.begin().await?;
    let (deliveries, rings) = events::fan_out(&mut session, task.id, context.clock.now()).await?;
    session.commit().await?;
    context.ring(&rings).await;
    Ok(Outcome::Done(json!({ "deliveries": deliveries })))
}
