//! Has what waits for an endpoint follow its status, in steps. One that was cut off begins at the first again, which is harmless.

use std::sync::Arc;

use recado_queue::tasks::Claimed;
use recado_webhooks::deliveries::{self, Followed};
use recado_webhooks::jobs::FollowEndpoint;
use serde_json::json;

use super::Sender;
use crate::registry::{JobError, Outcome};

pub(super) async fn run(
    sender: Arc<Sender>,
    _: Arc<Claimed>,
    FollowEndpoint { endpoint_id }: FollowEndpoint,
) -> Result<Outcome, JobError> {
    let context = &sender.context;
    let mut after = None;
    loop {
        let mut session = context.db.begin().await?;
        let Followed { rings, next } =
            deliveries::follow(&mut session, endpoint_id, after, context.clock.now()).await?;
        session.commit().await?;
        context.ring(&rings).await;
        let Some(next) = next else { return Ok(Outcome::Done(json!({}))) };
        after = Some(next);
    }
}
