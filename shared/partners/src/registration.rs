//! Registering a partner for webhooks (S000-1 to S000-4), in one registry with all others (d22): a partner, an integration, and
//! an endpoint of the webhooks system.

use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session, Violation};
use recado_kernel::ids::Id;
use recado_queue::ring::Ring;
use recado_webhooks::deliveries;
use recado_webhooks::endpoints::{self, DisabledReason, NewEndpoint, Sealer};
use recado_webhooks::signature::Secret;
use secrecy::SecretString;
use serde_json::json;
use sqlx::types::Json;

use crate::connections::{self, Connection};
use crate::events::{self, Event};
use crate::integrations::{self, Integration, Kind};
use crate::masking;
use crate::partners::{self, Partner, PartnerDraft, Status};
use crate::payload;
use crate::registry::write_down;
use crate::standing::Policy;
use crate::{gate, system};

/// The partner of the document, which has names of its own (S000-1).
pub const FINDYOURWORK: &str = "FindyourWork";
const FINDYOURWORK_SLUG: &str = "findyourwork";
const FINDYOURWORK_ID: &str = "partner_findyourwork";

/// What it subscribes, in the order of the document (S000-2).
pub const FINDYOURWORK_EVENTS: [&str; 4] =
    ["event.reservation_confirmed", "event.updated", "event.cancelled", "payment.success"];

/// Words that stand in the place of a slug in URLs, or that name ourselves.
const RESERVED_SLUGS: [&str; 3] = ["register", FINDYOURWORK_SLUG, payload::SOURCE];

/// The longest slug, in characters.
const LONGEST_SLUG: usize = 60;

/// What the integration of a partner of this document is called.
const INTEGRATION_NAME: &str = "Webhook";

/// A registration. Its fields are checked.
#[derive(Clone, Debug)]
pub struct Registration {
    pub name: String,
    pub webhook_url: String,
    pub events: Vec<String>,
    pub contact_email: Option<String>,
    /// `None`: one is made.
    pub shared_secret: Option<Secret>,
    /// What the partner signs with, where that is another (d4).
    pub inbound_secret: Option<Secret>,
}

/// What a registration came to.
#[derive(Debug)]
pub struct Registered {
    pub connection: Connection,
    /// To be shown this once; `None`: the partner was there already.
    pub secret: Option<Secret>,
    pub rings: Vec<Ring>,
}

/// How a partner is found that may be registered once only.
struct Names {
    partner_id: String,
    slug: String,
}

/// Registers a partner. FindyourWork is registered once, by either route: again, it is what it was, and one that had left is
/// back. Any other name is another partner each time.
///
/// # Errors
/// [`is_taken`] tells that another registration was faster: then this one is to be tried again.
pub async fn register(
    session: &mut Session,
    registration: &Registration,
    key: &SecretString,
    policy: Policy,
    actor: &Actor,
    now: Timestamp,
) -> db::Result<Registered> {
    let registered = enrol(session, registration, key, policy, now).await?;
    let id = registered.connection.partner.id;
    let is = json!({ "name": registration.name, "is_new": registered.secret.is_some(), "events": registration.events });
    write_down(session, actor, "register", id, None, is, now).await?;
    Ok(registered)
}

async fn enrol(
    session: &mut Session,
    registration: &Registration,
    key: &SecretString,
    policy: Policy,
    now: Timestamp,
) -> db::Result<Registered> {
    let (names, known) = if is_findyourwork(&registration.name) {
        let names = Names { partner_id: FINDYOURWORK_ID.to_owned(), slug: FINDYOURWORK_SLUG.to_owned() };
        (names, connections::find(session, FINDYOURWORK_ID).await?)
    } else {
        (new_names(session, &registration.name, now).await?, None)
    };
    match known {
        None => begin(session, names, registration, key, policy, now).await,
        Some(known) if known.partner.status == Status::Deleted => {
            // Its row stays as it is; the names go to the one that comes now.
            partners::give_up_names(session, known.partner.id, now).await?;
            begin(session, names, registration, key, policy, now).await
        }
        Some(known) if known.revoked_at.is_some() => {
            let partner = known.partner;
            connect(session, partner, registration, key, policy, Vec::new(), now).await
        }
        Some(known) => welcome_back(session, known, policy, now).await,
    }
}

/// Whether this failure means that the names were taken meanwhile.
pub fn is_taken(error: &db::Error) -> bool {
    error.violates("partners_partner_id_key", "partners.partner_id")
        || error.violates("partners_slug_key", "partners.slug")
}

fn is_findyourwork(name: &str) -> bool {
    name.eq_ignore_ascii_case(FINDYOURWORK)
}

async fn begin(
    session: &mut Session,
    names: Names,
    registration: &Registration,
    key: &SecretString,
    policy: Policy,
    now: Timestamp,
) -> db::Result<Registered> {
    let draft = PartnerDraft {
        name: registration.name.clone(),
        contact_email: registration.contact_email.clone(),
        partner_id: Some(names.partner_id),
        slug: Some(names.slug),
        ..PartnerDraft::default()
    };
    let partner = partners::insert(session, &draft, now).await?;
    let created = vec![Event::partner_created(&partner)];
    connect(session, partner, registration, key, policy, created, now).await
}

/// Gives a partner an integration and its endpoint. `told` is what happened before.
async fn connect(
    session: &mut Session,
    partner: Partner,
    registration: &Registration,
    key: &SecretString,
    policy: Policy,
    mut told: Vec<Event>,
    now: Timestamp,
) -> db::Result<Registered> {
    let id = Id::new(now);
    let secret = registration.shared_secret.clone().unwrap_or_else(Secret::generate);
    let inbound = registration.inbound_secret.as_ref().unwrap_or(&secret);
    integrations::insert(session, &integration(id, &partner, registration, now)).await?;
    let endpoint = NewEndpoint {
        events: Some(registration.events.clone()),
        headers: payload::headers(),
        owner_email: registration.contact_email.clone(),
        ..NewEndpoint::new(id, system::NAME, &registration.name, &registration.webhook_url, secret.clone())
    };
    endpoints::insert(session, Sealer(key), &endpoint, now).await?;
    connections::put(session, key, partner.id, id, inbound).await?;
    told.push(Event::integration_created(partner.id, id));
    let rings = events::publish(session, &told, now).await?;
    let connection = connections::of_partner(session, partner.id).await?.ok_or(db::Error::RowNotFound)?;
    if !connection.standing(policy).is_active() {
        deliveries::disable(session, id, DisabledReason::Owner, now).await?;
    }
    Ok(Registered { connection, secret: Some(secret), rings })
}

/// What the registry shows of the connection (d22).
fn integration(id: Id, partner: &Partner, registration: &Registration, now: Timestamp) -> Integration {
    let whole = json!({ "webhook_url": registration.webhook_url, "events": registration.events });
    // The endpoint has the URL whole; what may be secret in it is not shown here.
    let (shown, _) = masking::split(whole);
    Integration {
        id,
        partner_id: partner.id,
        kind: Kind::Webhook,
        name: INTEGRATION_NAME.to_owned(),
        description: None,
        configuration: Json(shown),
        secrets: None,
        created_at: now,
        revoked_at: None,
        revocation_reason: None,
    }
}

/// Shows in the registry what was changed of a partner's endpoint (d22). Endpoints without a partner are not there.
pub async fn show_change(session: &mut Session, endpoint: Id, url: &str, events: &[String]) -> db::Result<()> {
    let (shown, _) = masking::split(json!({ "webhook_url": url, "events": events }));
    integrations::set_configuration(session, endpoint, &Json(shown)).await
}

/// One that had left is back; one that staff suspended stays so.
async fn welcome_back(
    session: &mut Session,
    known: Connection,
    policy: Policy,
    now: Timestamp,
) -> db::Result<Registered> {
    if known.partner.status != Status::Inactive {
        return Ok(Registered { connection: known, secret: None, rings: Vec::new() });
    }
    let rings = set_status(session, &known.partner, Status::Active, policy, now).await?;
    let connection = connections::of_partner(session, known.partner.id).await?.unwrap_or(known);
    Ok(Registered { connection, secret: None, rings })
}

/// Lets a partner leave (S000-9). It stays in the registry as inactive; one that staff suspended stays suspended.
pub async fn deactivate(
    session: &mut Session,
    connection: &Connection,
    policy: Policy,
    actor: &Actor,
    now: Timestamp,
) -> db::Result<Vec<Ring>> {
    match connection.partner.status {
        Status::Active => {
            let (was, is) = (json!({ "status": Status::Active }), json!({ "status": Status::Inactive }));
            write_down(session, actor, "change", connection.partner.id, Some(was), is, now).await?;
            set_status(session, &connection.partner, Status::Inactive, policy, now).await
        }
        Status::Inactive | Status::Suspended | Status::Deleted => Ok(Vec::new()),
    }
}

async fn set_status(
    session: &mut Session,
    partner: &Partner,
    status: Status,
    policy: Policy,
    now: Timestamp,
) -> db::Result<Vec<Ring>> {
    let draft = PartnerDraft { status, ..PartnerDraft::from(partner) };
    partners::replace(session, partner.id, &draft, now).await?;
    let event = Event::partner_changed(partner.id, &["estado"], partner.status, status);
    let mut rings = events::publish(session, &[event], now).await?;
    rings.extend(gate::follow(session, partner.id, policy, now).await?);
    Ok(rings)
}

/// Puts a new secret in force, both ways; the one before it counts for another day (d4). It is to be shown this once.
pub async fn rotate(
    session: &mut Session,
    connection: &Connection,
    key: &SecretString,
    actor: &Actor,
    now: Timestamp,
) -> db::Result<Secret> {
    let secret = Secret::generate();
    endpoints::rotate(session, Sealer(key), connection.endpoint_id, &secret, now).await?;
    connections::rotate(session, key, connection.partner.id, &secret, now).await?;
    write_down(session, actor, "rotate_secret", connection.partner.id, None, json!({}), now).await?;
    Ok(secret)
}

/// Names that are free now: `partner_` and 12 hexadecimal letters, and the name as a slug (S000-3).
async fn new_names(session: &mut Session, name: &str, now: Timestamp) -> db::Result<Names> {
    // The end of an id is its random part.
    let id = Id::new(now).to_string().replace('-', "");
    let letters = &id[id.len() - 12..];
    let slug = slug(name);
    let is_free = !slug.is_empty() && !RESERVED_SLUGS.contains(&slug.as_str()) && !slug.starts_with("partner_");
    let is_free = is_free && partners::find_by_slug(session, &slug).await?.is_none();
    let slug = if is_free { slug } else { format!("{slug}-{letters}").trim_start_matches('-').to_owned() };
    Ok(Names { partner_id: format!("partner_{letters}"), slug })
}

/// Letters and digits of ASCII in lower case, with hyphens between them.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.chars().flat_map(char::to_lowercase).map(without_accent) {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() == LONGEST_SLUG {
            break;
        }
    }
    slug.trim_end_matches('-').to_owned()
}

fn without_accent(letter: char) -> char {
    match letter {
        'á' | 'à' | 'ä' | 'â' => 'a',
        'é' | 'è' | 'ë' | 'ê' => 'e',
        'í' | 'ì' | 'ï' | 'î' => 'i',
        'ó' | 'ò' | 'ö' | 'ô' => 'o',
        'ú' | 'ù' | 'ü' | 'û' => 'u',
        'ñ' => 'n',
        'ç' => 'c',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_slug() {
        let table = [
            ("Decoraciones Ñandú S.A.", "decoraciones-nandu-s-a"),
            ("  DJ  Pro ", "dj-pro"),
            ("日本", ""),
            ("../../etc", "etc"),
        ];
        for (name, expected) in table {
            assert_eq!(slug(name), expected, "{name}");
        }
        assert_eq!(slug(&"a".repeat(300)).len(), LONGEST_SLUG);
        assert!(is_findyourwork("findyourWORK") && !is_findyourwork("FindyourWork 2"));
    }
}
