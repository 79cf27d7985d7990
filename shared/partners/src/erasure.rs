//! Who asks to be forgotten: a person whom webhooks of partners name, or those who stand behind a partner itself.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::person::Person;
use recado_kernel::sql;
use recado_webhooks::endpoints;

use crate::{integrations, kyc, partners};

/// How far a search is (`None`: at the end), and how many rows named the person.
pub type Searched = (Option<String>, u64);

/// Looks through the next webhooks that partners sent, behind `position`. One that had not taken effect yet takes none.
pub async fn forget_inbound(
    session: &mut Session,
    person: &Person,
    position: Option<&str>,
    limit: i64,
) -> Result<Searched> {
    let (rows, hers) = named(
        session,
        person,
        "select id, body from partner_inbound_events where id > $1 and body is not null order by id limit $2",
        position,
        limit,
    )
    .await?;
    if !hers.is_empty() {
        sql!(run, session, "update partner_inbound_events set body = null where id = any($1)", Ids(&hers))?;
    }
    Ok((rows, hers.len() as u64))
}

/// Looks through the next services of itineraries behind `position`.
pub async fn forget_services(
    session: &mut Session,
    person: &Person,
    position: Option<&str>,
    limit: i64,
) -> Result<Searched> {
    let (rows, hers) = named(
        session,
        person,
        "select id, coalesce(name, '') || ' | ' || coalesce(provider, '') || ' | ' || service_key
         from partner_event_services where id > $1 order by id limit $2",
        position,
        limit,
    )
    .await?;
    if !hers.is_empty() {
        // Its key is unique within its event, and may be the name.
        sql!(
            run,
            session,
            "update partner_event_services set name = null, provider = null, service_key = cast(id as text) where id = any($1)",
            Ids(&hers)
        )?;
    }
    Ok((rows, hers.len() as u64))
}

/// The rows of a step that name the person, and where the next step begins.
async fn named(
    session: &mut Session,
    person: &Person,
    statement: &'static str,
    position: Option<&str>,
    limit: i64,
) -> Result<(Option<String>, Vec<Id>)> {
    let after: Id = position.and_then(|position| position.parse().ok()).unwrap_or_default();
    let rows: Vec<(Id, String)> = sql!(all(Id, String), session, (statement), after, limit)?;
    let hers = rows.iter().filter(|(_, text)| person.is_named_in(text)).map(|(id, _)| *id).collect();
    let is_last = (rows.len() as i64) < limit;
    Ok((rows.last().filter(|_| !is_last).map(|(id, _)| id.to_string()), hers))
}

/// What messages about a partner bear in the place of a customer.
pub fn recipient(partner: Id) -> String {
    format!("partner:{partner}")
}

/// Empties what a partner that is deleted has told of the people behind it: names, addresses, documents, configurations. Its ids,
/// states and times stay, so that what was exchanged with it can be explained.
pub(crate) async fn forget_partner(session: &mut Session, partner: Id, now: Timestamp) -> Result<()> {
    let endpoint = crate::connections::of_partner(session, partner).await?.map(|connection| connection.endpoint_id);
    if let Some(endpoint) = endpoint {
        endpoints::forget_owner(session, endpoint, now).await?;
    }
    kyc::forget(session, partner).await?;
    integrations::forget(session, partner).await?;
    partners::forget(session, partner, now).await
}
