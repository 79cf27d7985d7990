//! Links to the portal of a partner, and the history of what is done through them. The pages stand in the API.

use std::time::Duration;

use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_queue::ring::Ring;
use recado_webhooks::portal::Pass;

use crate::connections::{self, Connection};
use crate::events::{self, Event, PortalAction};
use crate::partners::Status;
use crate::registry::write_down;

/// What a link of this partner opens from now on.
pub fn pass(connection: &Connection, lifetime: Duration, now: Timestamp) -> Pass {
    Pass { owner: connection.partner.id, expires_at: now + lifetime, epoch: connection.portal_epoch }
}

/// The partner that a pass opens; `None` when its links were revoked, or it was deleted.
pub async fn admit(session: &mut Session, pass: Pass) -> Result<Option<Connection>> {
    let connection = connections::of_partner(session, pass.owner).await?;
    Ok(connection.filter(|known| known.portal_epoch == pass.epoch && known.partner.status != Status::Deleted))
}

/// Makes all links useless that were given out so far.
pub async fn revoke(session: &mut Session, partner: Id, actor: &Actor, now: Timestamp) -> Result<Vec<Ring>> {
    connections::revoke_portal_links(session, partner).await?;
    record(session, partner, PortalAction::EnlacesRevocados, None, actor, now).await
}

/// Writes down what was done, where the history of the partner stands: in its outbox, which tells those who ask for it.
pub async fn record(
    session: &mut Session,
    partner: Id,
    action: PortalAction,
    about: Option<Id>,
    actor: &Actor,
    now: Timestamp,
) -> Result<Vec<Ring>> {
    let is = serde_json::json!({ "did": action, "about": about });
    write_down(session, actor, "portal", partner, None, is, now).await?;
    events::publish(session, &[Event::portal_used(partner, action, about)], now).await
}
