//! Ends a request to which there was no answer in time.

use std::sync::Arc;

use recado_conversations::jobs::ExpireRequest;
use recado_conversations::requests;
use recado_queue::tasks::Claimed;
use serde_json::json;

use super::ConversationJobs;
use crate::registry::{JobError, Outcome};

pub(super) async fn expire(
    conversations: Arc<ConversationJobs>,
    _: Arc<Claimed>,
    ExpireRequest { request_id }: ExpireRequest,
) -> Result<Outcome, JobError> {
    let mut session = conversations.context.db.begin().await?;
    let expired = requests::expire(&mut session, request_id, conversations.context.clock.now()).await?;
    session.commit().await?;
    if expired {
        metrics::counter!("recado_whatsapp_requests_timed_out_total").increment(1);
        tracing::info!(request.id = %request_id, "the time of reservation request {request_id} is up, without an answer");
    }
    Ok(Outcome::Done(json!({ "timed_out": expired })))
}
