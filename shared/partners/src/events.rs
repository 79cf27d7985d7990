//! What happened to partners, as other systems hear of it (S001-16): an outbox, written in the transaction of the change.
//!
//! The registry before spoke to Pulsar, and a broker that was down could fail a request. A row cannot: it is there exactly
//! when the change is. What receivers are told are ids and states, never addresses.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Rows, Session};
use recado_kernel::ids::Id;
use recado_kernel::{sql, word_enum};
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, NewTask};
use recado_webhooks::deliveries::{self, Delivery};
use recado_webhooks::endpoints::{self, Endpoint};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::types::Json;

use crate::jobs::PublishPartnerEvent;
use crate::kyc::KycStatus;
use crate::partners::{Partner, Status};
use crate::payload::payload;
use crate::system;

/// What can happen. The words are the `event_type` of webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum EventType {
    #[strum(serialize = "PartnerCreado")]
    PartnerCreated,
    #[strum(serialize = "PartnerActualizado")]
    PartnerChanged,
    #[strum(serialize = "PartnerEliminado")]
    PartnerDeleted,
    #[strum(serialize = "KYCVerificado")]
    KycVerified,
    #[strum(serialize = "IntegracionCreada")]
    IntegrationCreated,
    #[strum(serialize = "IntegracionRevocada")]
    IntegrationRevoked,
    /// Something was done through a link to its portal, or with such links.
    #[strum(serialize = "PortalUsado")]
    PortalUsed,
}

word_enum!(EventType, "an event of a partner");

/// What is done through the portal of a partner, or with links to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum PortalAction {
    EnlaceCreado,
    EnlacesRevocados,
    EntregaReenviada,
    ReenvioOrdenado,
    PruebaEnviada,
    SecretoRotado,
    EndpointReactivado,
}

word_enum!(PortalAction, "an action of the portal");

/// Something that happened to a partner. It is written with `publish`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    event_type: EventType,
    partner_id: Id,
    data: Value,
}

impl Event {
    pub(crate) fn partner_created(partner: &Partner) -> Self {
        let data = json!({ "partner_id": partner.id, "estado": partner.status, "estado_kyc": partner.kyc_status });
        Self { event_type: EventType::PartnerCreated, partner_id: partner.id, data }
    }

    /// `fields` are the names of what changed, as on the wire.
    pub(crate) fn partner_changed(partner: Id, fields: &[&str], before: Status, after: Status) -> Self {
        let data = json!({ "partner_id": partner, "campos": fields, "estado_anterior": before, "estado_nuevo": after });
        Self { event_type: EventType::PartnerChanged, partner_id: partner, data }
    }

    pub(crate) fn partner_deleted(partner: Id) -> Self {
        let data = json!({ "partner_id": partner });
        Self { event_type: EventType::PartnerDeleted, partner_id: partner, data }
    }

    pub(crate) fn kyc_verified(partner: Id, before: KycStatus, after: KycStatus) -> Self {
        let data = json!({ "partner_id": partner, "estado_kyc_anterior": before, "estado_kyc_nuevo": after });
        Self { event_type: EventType::KycVerified, partner_id: partner, data }
    }

    pub(crate) fn integration_created(partner: Id, integration: Id) -> Self {
        let data = json!({ "partner_id": partner, "integracion_id": integration });
        Self { event_type: EventType::IntegrationCreated, partner_id: partner, data }
    }

    pub(crate) fn integration_revoked(partner: Id, integration: Id, reason: Option<&str>) -> Self {
        let data = json!({ "partner_id": partner, "integracion_id": integration, "motivo": reason });
        Self { event_type: EventType::IntegrationRevoked, partner_id: partner, data }
    }

    pub(crate) fn portal_used(partner: Id, action: PortalAction, about: Option<Id>) -> Self {
        let data = json!({ "partner_id": partner, "accion": action, "objeto": about });
        Self { event_type: EventType::PortalUsed, partner_id: partner, data }
    }
}

/// A row of the outbox.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Entry {
    #[sqlx(rename = "type")]
    event_type: EventType,
    partner_id: Id,
    data: Json<Value>,
    created_at: Timestamp,
}

/// The same, to be written.
#[derive(Serialize)]
struct NewEntry<'e> {
    id: Id,
    r#type: EventType,
    partner_id: Id,
    data: &'e Value,
    created_at: Timestamp,
}

/// Writes what happened, in the transaction in which it happens, with the tasks that tell of it. Returns what to ring after
/// the commit.
pub(crate) async fn publish(session: &mut Session, events: &[Event], now: Timestamp) -> Result<Vec<Ring>> {
    let entries: Vec<NewEntry<'_>> = events
        .iter()
        .map(|event| NewEntry {
            id: Id::new(now),
            r#type: event.event_type,
            partner_id: event.partner_id,
            data: &event.data,
            created_at: now,
        })
        .collect();
    sql!(
        run,
        session,
        "insert into partner_events (id, type, partner_id, data, created_at)
         select id, type, partner_id, data, created_at from rows($1 as partner_events: id, type, partner_id, data, created_at)",
        Rows::new(&entries)
    )?;
    let tasks: Vec<NewTask> =
        entries.iter().map(|entry| NewTask::now(entry.id, &PublishPartnerEvent {}, now)).collect();
    Ok(tasks::insert(session, &tasks).await?.rings)
}

/// Sends an event to every endpoint that names its type, once, however often this runs. Returns the deliveries' number and
/// what to ring after the commit.
///
/// A subscription to everything is not meant: what happens to other partners is told to those who ask for it by name.
pub async fn fan_out(session: &mut Session, event: Id, now: Timestamp) -> Result<(usize, Vec<Ring>)> {
    let entry: Option<Entry> = sql!(
        one Entry, session,
        "update partner_events set published_at = $2 where id = $1 and published_at is null
         returning type, partner_id, data, created_at",
        event, now
    )?;
    let Some(Entry { event_type, partner_id, data, created_at }) = entry else { return Ok((0, Vec::new())) };
    let payload = payload(event_type.as_str(), &data.0, created_at);
    let endpoints = endpoints::listening(session, system::NAME).await?;
    let named = |endpoint: &&Endpoint| endpoint.events.is_some() && endpoint.wants(event_type.as_str());
    let deliveries: Vec<Delivery> = endpoints
        .iter()
        .filter(named)
        .map(|endpoint| Delivery::of_event(endpoint, event_type.as_str(), &payload, now))
        .map(|delivery| delivery.map(|delivery| delivery.about(partner_id.to_string())))
        .collect::<std::result::Result<_, _>>()
        .expect("ids and words have a canonical form");
    let rings = deliveries::send(session, &deliveries, now).await?;
    Ok((deliveries.len(), rings))
}

/// Deletes the oldest events from before this moment; returns how many. Ids sort by time.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from partner_events where id in (select id from partner_events where id < $1 order by id limit $2)",
        Id::earliest(before),
        limit
    )
}
