//! What people do with endpoints and deliveries. Each writes to the audit log, in the transaction of what it does.

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_queue::ring::Ring;
use serde_json::{Value, json};

use crate::deliveries::{self, Delivery};
use crate::endpoints::{self, Change, DisabledReason, Endpoint};
use crate::replays::{self, Conditions};

/// What the audit log calls an endpoint.
pub const ENDPOINT: &str = "webhook_endpoint";

/// What the audit log calls a delivery.
pub const DELIVERY: &str = "webhook_delivery";

/// Lets the webhooks of an endpoint wait. Whether that changes anything.
pub async fn pause(session: &mut Session, endpoint: &Endpoint, actor: &Actor, now: Timestamp) -> Result<bool> {
    let changed = deliveries::pause(session, endpoint.id, now).await?;
    if changed {
        let act = Act::new("pause", ENDPOINT, endpoint.id).changed(status(endpoint), json!({ "status": "paused" }));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(changed)
}

/// Lets its webhooks go out again, and at once those that waited.
pub async fn resume(session: &mut Session, endpoint: &Endpoint, actor: &Actor, now: Timestamp) -> Result<Vec<Ring>> {
    let rings = deliveries::resume(session, endpoint.id, now).await?;
    if endpoint.status != endpoints::Status::Active {
        let act = Act::new("resume", ENDPOINT, endpoint.id).changed(status(endpoint), json!({ "status": "active" }));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(rings)
}

fn status(endpoint: &Endpoint) -> Value {
    json!({ "status": endpoint.status.as_str(), "reason": endpoint.disabled_reason.map(DisabledReason::as_str) })
}

/// Sends a delivery again: the same bytes under the same `webhook-id`, as a new delivery.
pub async fn replay_one(
    session: &mut Session,
    delivery: &Delivery,
    actor: &Actor,
    now: Timestamp,
) -> Result<(Delivery, Vec<Ring>)> {
    let again = delivery.again(now);
    let rings = deliveries::send(session, std::slice::from_ref(&again), now).await?;
    let act = Act::new("replay", DELIVERY, delivery.id).made(json!({ "delivery": again.id }));
    audit::write(session, actor, &act, now).await?;
    Ok((again, rings))
}

/// Orders that many are sent again; see [`replays::order`].
pub async fn replay_many(
    session: &mut Session,
    endpoint: Id,
    conditions: &Conditions,
    actor: &Actor,
    now: Timestamp,
) -> Result<(Id, Vec<Ring>)> {
    let (id, rings) = replays::order(session, endpoint, conditions, now).await?;
    let mut facts = json!(conditions);
    facts["replay"] = json!(id);
    audit::write(session, actor, &Act::new("replay", ENDPOINT, endpoint).made(facts), now).await?;
    Ok((id, rings))
}

/// Sends a webhook that a person made, once.
pub async fn test(session: &mut Session, delivery: &Delivery, actor: &Actor, now: Timestamp) -> Result<Vec<Ring>> {
    let rings = deliveries::send(session, std::slice::from_ref(delivery), now).await?;
    let facts = json!({ "delivery": delivery.id, "event_type": delivery.event_type });
    audit::write(session, actor, &Act::new("test", ENDPOINT, delivery.endpoint_id).made(facts), now).await?;
    Ok(rings)
}

/// Writes what was changed of an endpoint.
pub async fn change(
    session: &mut Session,
    before: &Endpoint,
    change: &Change,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    endpoints::change(session, before.id, change, now).await?;
    let was = json!({
        "name": before.name, "site": site(&before.url), "events": before.events, "canonical": before.canonical.as_str(),
        "timeout_seconds": before.timeout_seconds, "concurrency": before.concurrency,
        "rate_per_minute": before.rate_per_minute, "retry_schedule": before.retry_schedule,
    });
    let mut is = json!({
        "name": change.name, "site": site(&change.url), "events": change.events, "canonical": change.canonical.as_str(),
        "timeout_seconds": change.timeout.as_secs(), "concurrency": change.concurrency,
        "rate_per_minute": change.rate_per_minute, "retry_schedule": change.retry_schedule,
    });
    // The rest of a URL may be as good as a secret.
    if site(&before.url) == site(&change.url) && before.url != change.url {
        is["path_changed"] = json!(true);
    }
    audit::write(session, actor, &Act::new("change", ENDPOINT, before.id).changed(was, is), now).await
}

/// The scheme and the host of a URL.
pub fn site(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::site;

    #[test]
    fn a_site_is_no_more_than_its_host() {
        assert_eq!(site("https://a:b@example.com:8443/hooks/s3cret?token=x"), "https://example.com:8443");
        assert_eq!(site("https://example.com?x"), "https://example.com");
    }
}
