//! Lets a webhook of a partner take effect: the itinerary of its event, and word of that back (S000-18).

use std::sync::Arc;

use recado_partners::connections;
use recado_partners::inbound;
use recado_partners::itinerary::{self, Told};
use recado_partners::jobs::ProcessInboundEvent;
use recado_partners::payload::payload;
use recado_partners::standing::Policy;
use recado_queue::context::Context;
use recado_queue::tasks::Claimed;
use recado_webhooks::deliveries::{self, Delivery};
use recado_webhooks::endpoints;
use serde_json::{Value, json};

use crate::registry::{JobError, Outcome};

/// The type of the webhook that tells of a changed itinerary (S000-13).
const UPDATED: &str = "event.updated";

pub(super) async fn process(
    context: Arc<Context>,
    task: Arc<Claimed>,
    _: ProcessInboundEvent,
) -> Result<Outcome, JobError> {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let Some(event) = inbound::take(&mut session, task.id).await? else {
        return Ok(Outcome::Done(Value::Null));
    };
    inbound::settle(&mut session, event.id, now).await?;
    let body = event.body.as_deref().unwrap_or_default();
    let Some(told) = Told::read(&event.event_type, body, event.received_at) else {
        session.commit().await?;
        return Ok(Outcome::Done(json!({ "services": 0, "reason": "it names no event, or no service of it" })));
    };
    let services = itinerary::apply(&mut session, event.partner, &told, now).await?;
    let rings = match connections::of_partner(&mut session, event.partner).await? {
        Some(connection) if connection.standing(policy(&context)).is_active() => {
            match endpoints::find(&mut session, connection.endpoint_id).await? {
                Some(endpoint) if endpoint.wants(UPDATED) => {
                    let data = itinerary::update(&told.external_event_id, &services);
                    let delivery = Delivery::of_event(&endpoint, UPDATED, &payload(UPDATED, &data, now), now)
                        .map_err(JobError::fail)?
                        .about(&told.external_event_id);
                    deliveries::send(&mut session, std::slice::from_ref(&delivery), now).await?
                }
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    };
    session.commit().await?;
    context.ring(&rings).await;
    Ok(Outcome::Done(json!({ "services": services.len() })))
}

fn policy(context: &Context) -> Policy {
    Policy { require_kyc: context.config.partner_require_kyc }
}
