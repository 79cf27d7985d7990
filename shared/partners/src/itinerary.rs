//! The itinerary of an event: the services that a partner sold for it, kept from its webhooks (S000-18).

use std::borrow::Cow;
use std::collections::HashMap;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, take_turns};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A service of an itinerary.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Service {
    pub service_key: String,
    /// The partner's id as JSON, as it wrote it.
    pub service_id: Option<String>,
    pub name: Option<String>,
    /// Who provides it.
    pub provider: Option<String>,
    /// As JSON.
    pub price: Option<String>,
    pub time: Option<String>,
    pub status: Option<String>,
    /// The time stamp of the latest webhook about it.
    pub told_at: Timestamp,
}

/// What a webhook says of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub external_event_id: String,
    pub service: Service,
}

/// The parts of a webhook as they were written: a number that is read as one may lose digits (d1).
#[derive(Deserialize)]
struct Parts<'b> {
    #[serde(borrow)]
    timestamp: Option<&'b RawValue>,
    #[serde(borrow)]
    data: Option<&'b RawValue>,
}

/// The fields of an object by name.
type Object<'b> = HashMap<Cow<'b, str>, &'b RawValue>;

impl Told {
    /// Reads a webhook; `received_at` stands for a time stamp that it lacks. `None` when it names no event, or nothing of it.
    pub fn read(event_type: &str, body: &str, received_at: Timestamp) -> Option<Self> {
        let parts: Parts<'_> = serde_json::from_str(body).ok()?;
        let data: Object<'_> = serde_json::from_str(parts.data?.get()).ok()?;
        let field = |name: &str| data.get(name).copied().and_then(text);
        let external_event_id = field("external_event_id")?;
        let (id, name) = (field("service_id"), field("service_name"));
        let service_key = id.or_else(|| name.clone())?;
        let told_at = parts.timestamp.and_then(text).and_then(|time| recado_webhooks::dialect::read_moment(&time));
        let as_written = |name: &str| field(name).and_then(|_| data.get(name)).map(|raw| raw.get().to_owned());
        Some(Self {
            external_event_id,
            service: Service {
                service_key,
                service_id: as_written("service_id"),
                name,
                provider: data.get("provider").copied().and_then(provider),
                price: as_written("price"),
                time: field("scheduled_time"),
                status: status(event_type, field("status")),
                told_at: told_at.unwrap_or(received_at),
            },
        })
    }
}

/// Its name, or the provider itself where it is a text.
fn provider(raw: &RawValue) -> Option<String> {
    let named = serde_json::from_str::<Object<'_>>(raw.get()).ok();
    named.map_or_else(|| text(raw), |fields| fields.get("name").copied().and_then(text))
}

/// The event's own, unless its type decides.
fn status(event_type: &str, told: Option<String>) -> Option<String> {
    match event_type {
        "service.confirmed" => Some("confirmed".to_owned()),
        "service.cancelled" => Some("cancelled".to_owned()),
        _ => told,
    }
}

/// A text or a number, as text; bounded, because a stranger wrote it.
fn text(raw: &RawValue) -> Option<String> {
    let text = match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw.get()).ok()?.trim().to_owned(),
        Some(b'-' | b'0'..=b'9') => raw.get().to_owned(),
        _ => return None,
    };
    let bounded: String = text.chars().filter(|letter| !letter.is_control()).take(255).collect();
    Some(bounded).filter(|text| !text.is_empty())
}

impl Service {
    /// This service after another webhook about it. A later one says what is; one that came late only fills in what is not
    /// known.
    #[must_use]
    pub fn after(self, told: Self) -> Self {
        let (newer, older) = if told.told_at < self.told_at { (self, told) } else { (told, self) };
        Self {
            service_key: newer.service_key,
            service_id: newer.service_id.or(older.service_id),
            name: newer.name.or(older.name),
            provider: newer.provider.or(older.provider),
            price: newer.price.or(older.price),
            time: newer.time.or(older.time),
            status: newer.status.or(older.status),
            told_at: newer.told_at,
        }
    }

    fn view(&self) -> ServiceView<'_> {
        let raw = |text: &Option<String>| text.clone().and_then(|text| RawValue::from_string(text).ok());
        ServiceView {
            service_id: raw(&self.service_id),
            name: self.name.as_deref(),
            provider: self.provider.as_deref(),
            price: raw(&self.price),
            time: self.time.as_deref(),
            status: self.status.as_deref(),
        }
    }
}

/// A service as the partner is told of it.
#[derive(Serialize)]
struct ServiceView<'s> {
    service_id: Option<Box<RawValue>>,
    name: Option<&'s str>,
    provider: Option<&'s str>,
    price: Option<Box<RawValue>>,
    time: Option<&'s str>,
    status: Option<&'s str>,
}

/// What changed of an event: the whole itinerary.
#[derive(Serialize)]
pub struct Update<'s> {
    reservation_id: &'s str,
    updates: Updates<'s>,
}

#[derive(Serialize)]
struct Updates<'s> {
    services: Vec<ServiceView<'s>>,
}

/// What the partner is told of the change: the whole itinerary of the event.
pub fn update<'s>(external_event_id: &'s str, services: &'s [Service]) -> Update<'s> {
    let services = services.iter().map(Service::view).collect();
    Update { reservation_id: external_event_id, updates: Updates { services } }
}

const COLUMNS: &str = "service_key, service_id, name, provider, price, time, status, told_at";

/// Writes what a webhook says; returns the itinerary of its event afterwards, in the order in which the services were booked.
///
/// Webhooks about one event take turns until the end of the transaction: two that come together would each miss what the other says, and
/// the partner would be told half of it. A lock of the row does not do, because there may be none yet.
pub async fn apply(session: &mut Session, partner: Id, told: &Told, now: Timestamp) -> Result<Vec<Service>> {
    take_turns(session, &format!("itinerary of {} with {partner}", told.external_event_id)).await?;
    let known: Option<Service> = sql!(one Service, session,
        (&format!("select {COLUMNS} from partner_event_services
                   where partner = $1 and external_event_id = $2 and service_key = $3")),
        partner, told.external_event_id.as_str(), told.service.service_key.as_str())?;
    let service = match known {
        Some(known) => known.after(told.service.clone()),
        None => told.service.clone(),
    };
    sql!(
        run,
        session,
        "insert into partner_event_services (id, partner, external_event_id, service_key, service_id, name, provider, price,
             time, status, told_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (partner, external_event_id, service_key) do update
         set service_id = excluded.service_id, name = excluded.name, provider = excluded.provider, price = excluded.price,
             time = excluded.time, status = excluded.status, told_at = excluded.told_at",
        Id::new(now),
        partner,
        told.external_event_id.as_str(),
        service.service_key.as_str(),
        service.service_id.as_deref(),
        service.name.as_deref(),
        service.provider.as_deref(),
        service.price.as_deref(),
        service.time.as_deref(),
        service.status.as_deref(),
        service.told_at
    )?;
    sql!(all Service, session,
        (&format!("select {COLUMNS} from partner_event_services where partner = $1 and external_event_id = $2 order by id")),
        partner, told.external_event_id.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(event_type: &str, time: &str, data: &Value) -> Option<Told> {
        Told::read(event_type, &json!({ "timestamp": time, "data": data }).to_string(), Timestamp::default())
    }

    /// S000-18, S000-19
    #[test]
    fn a_webhook_is_read_with_and_without_an_id_of_the_service() {
        let booked = json!({
            "external_event_id": "RES-1", "service_id": 123, "service_name": "DJ", "provider": {"id": 4, "name": "Sounds"},
            "price": 250.0, "scheduled_time": "19:00", "status": "confirmed",
        });
        let read = told("service.booked_for_event", "2026-01-19T16:00:00Z", &booked).expect("an event");
        let view = json!({"service_id": 123, "name": "DJ", "provider": "Sounds", "price": 250.0, "time": "19:00", "status": "confirmed"});
        assert_eq!(
            serde_json::to_value(update("RES-1", &[read.service])).expect("JSON"),
            json!({"reservation_id": "RES-1", "updates": {"services": [view]}})
        );
        let sparse = json!({"external_event_id": "RES-1", "service_name": "DJ Test", "price": 150});
        assert_eq!(told("service.booked_for_event", "", &sparse).expect("an event").service.service_key, "DJ Test");
        assert_eq!(told("service.confirmed", "", &json!({"service_id": 1})), None, "of no event");
        assert_eq!(told("provider.assigned", "", &json!({"external_event_id": "RES-1"})), None, "of no service");
        assert_eq!(told("service.confirmed", "", &json!("nonsense")), None);
    }

    /// d1
    #[test]
    fn numbers_are_told_back_as_they_were_written() {
        let body =
            r#"{"data": {"external_event_id": "R", "service_id": 123456789012345678901234567890, "price": 250.00}}"#;
        let read = Told::read("service.confirmed", body, Timestamp::default()).expect("an event");
        assert_eq!(read.service.service_key, "123456789012345678901234567890");
        let told = serde_json::to_string(&update("R", &[read.service])).expect("JSON");
        assert!(
            told.contains(r#""service_id":123456789012345678901234567890,"#) && told.contains(r#""price":250.00,"#),
            "{told}"
        );
    }

    #[test]
    fn what_comes_late_only_fills_in() {
        let data = json!({"external_event_id": "R", "service_id": 1, "status": "booked", "price": 10});
        let booked = told("service.booked_for_event", "2026-01-01T00:00:00Z", &data).expect("an event").service;
        let data = json!({"external_event_id": "R", "service_id": 1});
        let cancelled = told("service.cancelled", "2026-01-02T00:00:00Z", &data).expect("an event").service;
        let after = booked.clone().after(cancelled.clone());
        assert_eq!(after, cancelled.after(booked), "whichever comes first");
        assert_eq!((after.status.as_deref(), after.price.as_deref()), (Some("cancelled"), Some("10")));
    }
}
