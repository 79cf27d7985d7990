//! One field that finds everything: people by name, mail and telephone, vehicles by plate, and whatever has an id, ours or a
//! provider's. What is looked for stands in no log.

use std::collections::BTreeSet;

use recado_conversations::requests;
use recado_kernel::addresses::{mask_email, mask_phone};
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::word_enum;
use recado_notifications::catalogue::Catalogue;
use recado_notifications::customers::{self, Customer, SearchIn};
use recado_notifications::notifications::attempts;
use recado_notifications::notifications::records::{self, Record};
use recado_notifications::{journal, notifications, vehicles, workshops};
use recado_partners::partners::{self, PartnerFilter};
use recado_queue::{bulk, tasks};
use recado_webhooks::{deliveries, endpoints};
use utoipa::ToSchema;

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = SearchKind, rename_all = "snake_case")]
pub enum Kind {
    Customer,
    Vehicle,
    Notification,
    /// All that one event caused, by its correlation id.
    Event,
    Task,
    /// A bulk operation.
    Operation,
    Workshop,
    Partner,
    Endpoint,
    /// A webhook on its way to an endpoint.
    Delivery,
    /// A reservation request, by its id or its `RES-` code.
    Request,
    Template,
}

word_enum!(Kind, "a kind of thing");

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub kind: Kind,
    /// What names it in URLs.
    pub key: String,
    /// How people call it.
    pub name: String,
    /// What tells it from others; addresses are masked.
    pub detail: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// By kind, each kind no more than [`MOST_OF_A_KIND`].
    pub found: Vec<Found>,
    /// There are more of these.
    pub more: BTreeSet<Kind>,
}

/// More of a kind are not told.
pub const MOST_OF_A_KIND: usize = 10;

/// Texts that are shorter are compared as a whole only: no index finds them inside of others.
const SHORTEST_PART: usize = 3;

/// Longer texts are nothing that anybody looks for.
pub const LONGEST: usize = 200;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'s> {
    pub text: &'s str,
    /// Who does not see addresses finds them as a whole only: else one could be found out, letter by letter.
    pub sees_addresses: bool,
}

/// Looks everywhere. Every question is answered by an index, or by a table of some hundred rows.
///
/// # Errors
/// When the database fails.
pub async fn find(session: &mut Session, catalogue: &Catalogue, sought: Sought<'_>) -> Result<Answer> {
    let sought = Sought { text: sought.text.trim(), ..sought };
    if sought.text.is_empty() || sought.text.chars().count() > LONGEST {
        return Ok(Answer::default());
    }
    let mut found = Vec::new();
    if let Ok(id) = sought.text.parse::<Id>() {
        by_id(session, catalogue, id, &mut found).await?;
    }
    people(session, sought, &mut found).await?;
    by_name(session, catalogue, sought, &mut found).await?;
    by_provider(session, sought.text, &mut found).await?;
    Ok(sorted(found))
}

/// Grouped, each thing once, and no more than some of each kind.
fn sorted(mut found: Vec<Found>) -> Answer {
    let mut seen = BTreeSet::new();
    found.retain(|one| seen.insert((one.kind, one.key.clone())));
    // Within a kind what was found first fits best.
    found.sort_by_key(|one| one.kind);
    let mut answer = Answer::default();
    for one in found {
        match answer.found.iter().filter(|other| other.kind == one.kind).count() < MOST_OF_A_KIND {
            true => answer.found.push(one),
            false => drop(answer.more.insert(one.kind)),
        }
    }
    answer
}

#[expect(clippy::needless_pass_by_value, reason = "ids are given as they are, and texts borrowed")]
fn found(kind: Kind, key: impl ToString, name: impl Into<String>, detail: impl Into<String>) -> Found {
    Found { kind, key: key.to_string(), name: name.into(), detail: detail.into() }
}

fn customer(customer: &Customer) -> Found {
    let email = customer.email.as_deref().map(mask_email);
    let phone = customer.whatsapp.as_deref().or(customer.phone.as_deref()).map(mask_phone);
    let name = customer.full_name();
    let name = if name.is_empty() { customer.customer_id.clone() } else { name };
    let detail: Vec<String> = [Some(customer.customer_id.clone()), email, phone].into_iter().flatten().collect();
    found(Kind::Customer, &customer.customer_id, name, detail.join(" · "))
}

fn message(record: &Record) -> Found {
    let detail = format!("{} · {} · {}", record.channel, record.status, record.customer_id);
    found(Kind::Notification, record.id, &record.event_type, detail)
}

/// Whatever has this id.
async fn by_id(session: &mut Session, catalogue: &Catalogue, id: Id, into: &mut Vec<Found>) -> Result<()> {
    if let Some(task) = tasks::find(session, id).await? {
        into.push(found(Kind::Task, id, task.kind, task.state.as_str()));
    }
    let chain = notifications::chain_of(session, id).await?;
    into.extend(chain.iter().filter(|one| one.id == id).map(|one| message(&Record::from(one))));
    let is_event = !journal::of_correlation(session, id, 1).await?.is_empty()
        || !records::of_correlation(session, id, 1).await?.is_empty();
    if is_event {
        into.push(found(Kind::Event, id, id.to_string(), ""));
    }
    if let Some(bulk) = bulk::find(session, id).await? {
        into.push(found(Kind::Operation, id, bulk.action.as_str(), bulk.state.as_str()));
    }
    if let Some(vehicle) = vehicles::find(session, id).await? {
        into.push(found(Kind::Vehicle, id, &vehicle.plate, vehicle.display_name()));
    }
    if let Some(partner) = partners::find(session, id).await? {
        into.push(found(Kind::Partner, id, partner.name, partner.status.as_str()));
    }
    if let Some(endpoint) = endpoints::find(session, id).await? {
        into.push(found(Kind::Endpoint, id, endpoint.url, ""));
    }
    if let Some(delivery) = deliveries::find(session, id).await? {
        into.push(found(Kind::Delivery, id, delivery.event_type, delivery.status.as_str()));
    }
    if let Some(request) = requests::find(session, id).await? {
        into.push(found(Kind::Request, id, request.code, request.status.as_str()));
    }
    into.extend(
        catalogue.template(id).map(|template| found(Kind::Template, id, &template.name, template.channel.as_str())),
    );
    let workshop = workshops::all(session).await?.into_iter().find(|workshop| workshop.id == id);
    into.extend(workshop.map(|one| found(Kind::Workshop, &one.taller_id, one.name, &*one.taller_id)));
    Ok(())
}

/// Customers by identifier, name, mail address and number, and by the plates of their vehicles.
async fn people(session: &mut Session, sought: Sought<'_>, into: &mut Vec<Found>) -> Result<()> {
    if let Some(exact) = customers::find(session, sought.text).await? {
        into.push(customer(&exact));
    }
    for vehicle in vehicles::of_plates(session, &plates(sought.text)).await? {
        into.push(found(Kind::Vehicle, vehicle.id, &vehicle.plate, vehicle.display_name()));
    }
    if sought.text.chars().count() < SHORTEST_PART {
        return Ok(());
    }
    let place = if sought.sees_addresses { SearchIn::All } else { SearchIn::Whole };
    let most = MOST_OF_A_KIND as i64 + 1;
    // Not by their plates: those lead to the vehicles.
    let known = customers::found(session, sought.text, place, most).await?;
    into.extend(known.iter().map(customer));
    Ok(())
}

/// The ways in which a plate is written: with a dash between letters and digits, and without.
fn plates(text: &str) -> Vec<String> {
    let typed = text.to_uppercase();
    let bare: String = typed.chars().filter(|one| one.is_alphanumeric()).collect();
    let end = bare.find(|one: char| one.is_ascii_digit()).unwrap_or_default();
    let dashed = format!("{}-{}", &bare[..end], &bare[end..]);
    let mut plates = vec![typed, bare, dashed];
    plates.sort();
    plates.dedup();
    plates
}

/// Workshops, partners, templates and requests, by what people call them.
async fn by_name(
    session: &mut Session,
    catalogue: &Catalogue,
    sought: Sought<'_>,
    into: &mut Vec<Found>,
) -> Result<()> {
    let text = sought.text;
    if let Some(workshop) = workshops::find(session, text).await? {
        into.push(found(Kind::Workshop, &workshop.taller_id, workshop.name, &*workshop.taller_id));
    }
    let code = text.to_ascii_uppercase();
    if code.starts_with("RES-") {
        let filter = requests::RequestFilter { code: Some(code), ..requests::RequestFilter::default() };
        let (requests, _) = requests::list(session, &filter, MOST_OF_A_KIND as i64, 0).await?;
        into.extend(requests.into_iter().map(|one| found(Kind::Request, one.id, one.code, one.status.as_str())));
    }
    if text.chars().count() < SHORTEST_PART {
        return Ok(());
    }
    let lower = text.to_lowercase();
    let named = catalogue.templates.iter().filter(|template| template.name.to_lowercase().contains(&lower));
    into.extend(named.map(|one| found(Kind::Template, one.id, &one.name, one.channel.as_str())));
    // There are some hundred of each of these.
    let all = workshops::all(session).await?;
    let named = all.into_iter().filter(|workshop| workshop.name.to_lowercase().contains(&lower));
    into.extend(named.map(|one| found(Kind::Workshop, &one.taller_id, one.name, &*one.taller_id)));
    let filter = PartnerFilter { search: Some(text.to_owned()), ..PartnerFilter::default() };
    let (listed, _) = partners::list(session, &filter, MOST_OF_A_KIND as i64 + 1, 0).await?;
    let is_seen = |name: &str, slug: &Option<String>| {
        let slug = slug.as_deref().unwrap_or_default();
        sought.sees_addresses || [name, slug].iter().any(|own| own.to_lowercase().contains(&lower))
    };
    let seen = listed.into_iter().map(|one| one.partner).filter(|one| is_seen(&one.name, &one.slug));
    into.extend(seen.map(|one| found(Kind::Partner, one.id, one.name, one.status.as_str())));
    Ok(())
}

/// Messages that a provider knows by this name.
async fn by_provider(session: &mut Session, name: &str, into: &mut Vec<Found>) -> Result<()> {
    for id in attempts::of_provider_id(session, name, MOST_OF_A_KIND as i64 + 1).await? {
        let chain = notifications::chain_of(session, id).await?;
        into.extend(chain.iter().filter(|one| one.id == id).map(|one| message(&Record::from(one))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plate_is_found_however_it_is_written() {
        for typed in ["abc-1234", "ABC 1234", "abc1234"] {
            let plates = plates(typed);
            assert!(plates.contains(&"ABC1234".to_owned()) && plates.contains(&"ABC-1234".to_owned()), "{plates:?}");
        }
        assert!(plates("ñandú").contains(&"ÑANDÚ".to_owned()));
    }

    #[test]
    fn each_thing_is_told_once_and_some_of_a_kind() {
        let of = |kind, key: usize| found(kind, key, "n", "");
        let mut all: Vec<Found> = (0..12).map(|key| of(Kind::Template, key)).collect();
        all.extend([of(Kind::Customer, 1), of(Kind::Customer, 1)]);
        let answer = sorted(all);
        assert_eq!(answer.found.len(), 11);
        assert_eq!((answer.found[0].kind, &answer.more), (Kind::Customer, &BTreeSet::from([Kind::Template])));
    }
}
