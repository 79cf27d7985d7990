//! The CRM's end: appointments, and the one moment in which each becomes a presence.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::Filter;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::{sql, word_enum};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use utoipa::ToSchema;

/// An appointment, as the CRM tells of it.
#[derive(Clone, Debug)]
pub struct Appointment {
    /// The CRM's own id.
    pub id: String,
    /// The CRM's id of the lead.
    pub lead_id: Option<String>,
    pub status: Status,
    pub lead: Lead,
    pub starts_at: Timestamp,
    pub place: Option<String>,
}

/// The person, in the CRM's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lead {
    pub nombre: String,
    pub celular: String,
    pub distrito: Option<String>,
    pub proyecto_interes: Option<String>,
    pub medio: Option<String>,
    pub email: Option<String>,
}

/// Where an appointment stands, in the CRM's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(const_into_str)]
#[schema(as = AppointmentStatus)]
pub enum Status {
    Pendiente,
    Confirmada,
    Realizada,
    Cancelada,
    Reprogramada,
}

word_enum!(Status, "a status of an appointment");

/// The word by which a CRM says of a lead that its appointment took place (S004-6).
pub const ATTENDED: &str = "YA ASISTIO";

#[derive(sqlx::FromRow)]
struct AppointmentRow {
    id: String,
    lead_id: Option<String>,
    status: Status,
    lead: Json<Lead>,
    starts_at: Timestamp,
    place: Option<String>,
}

impl From<AppointmentRow> for Appointment {
    fn from(row: AppointmentRow) -> Self {
        Self {
            id: row.id,
            lead_id: row.lead_id,
            status: row.status,
            lead: row.lead.0,
            starts_at: row.starts_at,
            place: row.place,
        }
    }
}

/// Keeps an appointment as it is told now. It is held until the end of the transaction, so that of two tellings at once only
/// one becomes a presence. Returns whether it took place already.
pub async fn keep(session: &mut Session, appointment: &Appointment, now: Timestamp) -> Result<bool> {
    let row: Option<(Option<Timestamp>,)> = sql!(
        one(Option<Timestamp>,),
        session,
        "insert into crm_appointments (id, lead_id, status, lead, starts_at, place, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)
         on conflict (id) do update
         set lead_id = coalesce(excluded.lead_id, crm_appointments.lead_id), status = excluded.status,
             lead = excluded.lead, starts_at = excluded.starts_at, place = excluded.place, updated_at = excluded.updated_at
         returning realized_at",
        appointment.id.as_str(),
        appointment.lead_id.as_deref(),
        appointment.status.as_str(),
        Json(&appointment.lead),
        appointment.starts_at,
        appointment.place.as_deref(),
        now
    )?;
    Ok(row.is_some_and(|(realized_at,)| realized_at.is_some()))
}

/// An appointment in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    pub appointment: Appointment,
    /// When it became a presence.
    pub realized_at: Option<Timestamp>,
    /// The webhook that told of it.
    pub delivery_id: Option<Id>,
}

#[derive(sqlx::FromRow)]
struct ListedRow {
    #[sqlx(flatten)]
    appointment: AppointmentRow,
    realized_at: Option<Timestamp>,
    delivery_id: Option<Id>,
}

/// The appointments that were told of last, `limit` of them, of those that were told of before a moment; one where an id of the
/// CRM is asked for.
pub async fn latest(
    session: &mut Session,
    id: Option<&str>,
    before: Option<Timestamp>,
    limit: i64,
) -> Result<Vec<(Listed, Timestamp)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        listed: ListedRow,
        updated_at: Timestamp,
    }
    let mut asked = Filter::default();
    asked.equal("id", id);
    asked.when("updated_at < ?", before);
    let text = format!(
        "select id, lead_id, status, lead, starts_at, place, realized_at, delivery_id, updated_at from crm_appointments
         where {asked} order by updated_at desc limit {limit}"
    );
    let rows: Vec<Row> = asked.all(session, &text).await?;
    let listed = |Row { listed, updated_at }: Row| {
        let ListedRow { appointment, realized_at, delivery_id } = listed;
        (Listed { appointment: appointment.into(), realized_at, delivery_id }, updated_at)
    };
    Ok(rows.into_iter().map(listed).collect())
}

/// The latest appointment of a lead, held until the end of the transaction, and whether it took place already.
pub async fn latest_of(session: &mut Session, lead_id: &str) -> Result<Option<(Appointment, bool)>> {
    let row: Option<AppointmentRow> = sql!(one AppointmentRow, session,
        "select id, lead_id, status, lead, starts_at, place from crm_appointments
         where lead_id = $1 order by starts_at desc, id desc limit 1 for update",
        lead_id
    )?;
    let Some(row) = row else { return Ok(None) };
    let realized: Option<(Option<Timestamp>,)> = sql!(
        one(Option<Timestamp>),
        session,
        "select realized_at from crm_appointments where id = $1",
        row.id.as_str()
    )?;
    Ok(Some((row.into(), realized.is_some_and(|(at,)| at.is_some()))))
}

/// It took place; the webhook that tells of it, if one does.
pub async fn realize(session: &mut Session, id: &str, delivery_id: Option<Id>, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update crm_appointments set status = 'Realizada', realized_at = $3, delivery_id = $2, updated_at = $3 where id = $1",
        id,
        delivery_id,
        now
    )?;
    Ok(())
}
