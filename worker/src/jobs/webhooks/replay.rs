//! Sends many deliveries of an endpoint again, in steps. A replay that was cut off goes on where it was.

use std::sync::Arc;

use recado_queue::tasks::Claimed;
use recado_webhooks::jobs::ReplayWebhooks;
use recado_webhooks::replays;
use serde_json::json;

use super::Sender;
use crate::registry::{JobError, Outcome};

pub(super) async fn run(
    sender: Arc<Sender>,
    _: Arc<Claimed>,
    ReplayWebhooks { replay_id }: ReplayWebhooks,
) -> Result<Outcome, JobError> {
    let context = &sender.context;
    loop {
        let mut session = context.db.begin().await?;
        let Some(mut replay) = replays::find(&mut session, replay_id).await? else {
            return Err(JobError::fail("the replay no longer exists"));
        };
        if replay.finished_at.is_some() {
            return Ok(Outcome::Done(json!({ "replayed": replay.replayed })));
        }
        let step = replays::step(&mut session, &mut replay, context.clock.now()).await?;
        session.commit().await?;
        context.ring(&step.rings).await;
        if step.is_last {
            return Ok(Outcome::Done(json!({ "replayed": replay.replayed })));
        }
    }
}
