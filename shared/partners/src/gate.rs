//! Lets webhooks go out to a partner, or stops them, whenever its state changes (d22).

use std::collections::HashMap;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_queue::ring::Ring;
use recado_webhooks::deliveries;
use recado_webhooks::endpoints::{self, DisabledReason, Endpoint, Status};

use crate::connections::{self, Connection};
use crate::standing::Policy;

/// Brings the endpoint of a partner into line with the partner, in the transaction of the change. What was still being tried
/// stops; what is to be rung afterwards is returned.
pub(crate) async fn follow(session: &mut Session, partner: Id, policy: Policy, now: Timestamp) -> Result<Vec<Ring>> {
    let Some(connection) = connections::of_partner(session, partner).await? else { return Ok(Vec::new()) };
    align(session, &connection, policy, now).await
}

/// The same for whom an integration belongs to, if it is one for webhooks.
pub(crate) async fn follow_integration(session: &mut Session, integration: Id, now: Timestamp) -> Result<Vec<Ring>> {
    let Some(connection) = connections::of_endpoint(session, integration).await? else { return Ok(Vec::new()) };
    // A revoked integration stops whatever the policy says.
    align(session, &connection, Policy::default(), now).await
}

/// Partners that are looked at together.
const BATCH: i64 = 500;

/// Brings the endpoints of the next partners behind `after` into line with them, for a policy that may be another than when they
/// last changed (`PARTNER_REQUIRE_KYC`). Returns where to go on, `None` at the end, and what to ring after the commit.
pub async fn align_next(
    session: &mut Session,
    after: Id,
    policy: Policy,
    now: Timestamp,
) -> Result<(Option<Id>, Vec<Ring>)> {
    let connections = connections::behind(session, after, BATCH).await?;
    let ids: Vec<Id> = connections.iter().map(|connection| connection.endpoint_id).collect();
    let endpoints = endpoints::all(session, &ids).await?;
    let endpoints: HashMap<Id, &Endpoint> = endpoints.iter().map(|endpoint| (endpoint.id, endpoint)).collect();
    let mut rings = Vec::new();
    for connection in &connections {
        // Few differ, and each of them is a change of its own.
        if let Some(endpoint) = endpoints.get(&connection.endpoint_id)
            && change(connection.standing(policy).is_active(), endpoint) != Change::Nothing
        {
            rings.extend(align(session, connection, policy, now).await?);
        }
    }
    let is_last = (connections.len() as i64) < BATCH;
    Ok((connections.last().filter(|_| !is_last).map(|connection| connection.partner.id), rings))
}

async fn align(session: &mut Session, connection: &Connection, policy: Policy, now: Timestamp) -> Result<Vec<Ring>> {
    let Some(endpoint) = endpoints::find(session, connection.endpoint_id).await? else { return Ok(Vec::new()) };
    match change(connection.standing(policy).is_active(), &endpoint) {
        Change::Stop => deliveries::disable(session, endpoint.id, DisabledReason::Owner, now).await.map(|_| Vec::new()),
        Change::Resume => deliveries::resume(session, endpoint.id, now).await,
        Change::Nothing => Ok(Vec::new()),
    }
}

/// What becomes of an endpoint when its partner changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Stop,
    Resume,
    Nothing,
}

/// An endpoint that failed or answered 410 was not stopped by its partner's state. It stays stopped for its own reason, whatever
/// becomes of the partner.
fn change(is_active: bool, endpoint: &Endpoint) -> Change {
    let is_disabled = endpoint.status == Status::Disabled;
    match (is_active, is_disabled) {
        (false, false) => Change::Stop,
        (true, true) if endpoint.disabled_reason == Some(DisabledReason::Owner) => Change::Resume,
        _ => Change::Nothing,
    }
}
