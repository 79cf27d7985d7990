//! Where a CRM tells of its appointments and leads (S004-6), and the list of them. One that took place becomes a presence, once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_crm::appointments::{self, ATTENDED, Appointment, Lead, Listed, Status};
use recado_crm::{commercial, mapping, moments};
use recado_kernel::addresses::{mask_email, mask_phone};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Dispatch, May, Read};
use crate::extract::body::Json;
use crate::extract::fields::{Field, choice};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list_appointments)).routes(routes!(tell))
}

pub(crate) fn leads() -> Routes {
    Routes::new().routes(routes!(classify))
}

/// Appointments, those that were told of last first: whether each became a presence, and the webhook that told of it.
///
/// Telephone and mail address are masked unless the key has the scope `contacts` or `admin`.
#[utoipa::path(get, path = "/", tag = "crm", params(AppointmentQuery),
    responses((status = 200, description = "The appointments", body = AppointmentsView)))]
async fn list_appointments(
    May { caller, .. }: May<Read>,
    State(api): State<Arc<Api>>,
    Query(asked): Query<AppointmentQuery>,
) -> Result<axum::Json<AppointmentsView>, Problem> {
    let mut session = api.context.db.read().await?;
    let mut found =
        appointments::latest(&mut session, asked.id.as_deref(), asked.before, asked.page_size.saturating_add(1))
            .await?;
    let size = usize::try_from(asked.page_size).unwrap_or(usize::MAX);
    let has_more = found.len() > size;
    found.truncate(size);
    let next_before = found.last().map(|(_, updated_at)| *updated_at).filter(|_| has_more);
    let results = found.into_iter().map(|listed| AppointmentView::of(listed, caller.sees_contacts())).collect();
    Ok(axum::Json(AppointmentsView { next_before, results }))
}

/// Tells of an appointment, as often as somebody saves it. The first time that it is `Realizada`, its presence is sent to the
/// commercial application; nothing that comes later sends it again.
#[utoipa::path(post, path = "/{id}/status", tag = "crm",
    params(("id" = String, Path, description = "The CRM's id of the appointment")), request_body = AppointmentWrite,
    responses((status = 202, description = "It has been kept", body = Kept)))]
async fn tell(
    _: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
    Json(told): Json<AppointmentWrite>,
) -> Result<(StatusCode, axum::Json<Kept>), Problem> {
    let now = api.context.clock.now();
    let appointment = told.appointment(id, api.context.config.crm.time_zone)?;
    let mut session = api.context.db.begin().await?;
    let took_place = appointments::keep(&mut session, &appointment, now).await?;
    let told = if appointment.status == Status::Realizada && !took_place {
        commercial::tell(&mut session, &api.context.config, &appointment, now).await?
    } else {
        commercial::Told::default()
    };
    let id_presencia_crm =
        mapping::current(&mut session).await?.presence_id(&appointment, api.context.config.crm.time_zone);
    session.commit().await?;
    api.context.ring(&told.rings).await;
    Ok((StatusCode::ACCEPTED, axum::Json(Kept { id_presencia_crm, delivery_id: told.delivery_id })))
}

/// Classifies a lead. `YA ASISTIO` makes its latest appointment `Realizada`; any other word changes nothing.
#[utoipa::path(post, path = "/{lead_id}/tipificacion", tag = "crm",
    params(("lead_id" = String, Path, description = "The CRM's id of the lead")), request_body = Classification,
    responses((status = 202, description = "It has been kept", body = Kept)))]
async fn classify(
    _: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Segment(lead_id): Segment<String>,
    Json(classification): Json<Classification>,
) -> Result<(StatusCode, axum::Json<Kept>), Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    let found = appointments::latest_of(&mut session, &lead_id).await?;
    let (appointment, took_place) =
        found.ok_or_else(|| Problem::Nothing(format!("No se conoce ninguna cita del lead \"{lead_id}\".")))?;
    let told = if classification.is_attended() && !took_place {
        commercial::tell(&mut session, &api.context.config, &appointment, now).await?
    } else {
        commercial::Told::default()
    };
    let id_presencia_crm =
        mapping::current(&mut session).await?.presence_id(&appointment, api.context.config.crm.time_zone);
    session.commit().await?;
    api.context.ring(&told.rings).await;
    Ok((StatusCode::ACCEPTED, axum::Json(Kept { id_presencia_crm, delivery_id: told.delivery_id })))
}

request! {
    /// An appointment, as the CRM knows it now.
    #[derive(ToSchema)]
    struct AppointmentWrite {
        /// Where it stands.
        estado: Status,
        /// The person.
        lead: LeadWrite,
        /// When and where.
        appointment: TimeAndPlace,
    }
}

request! {
    /// The person of an appointment, in the CRM's words.
    #[derive(ToSchema)]
    struct LeadWrite {
        /// The CRM's id of the lead.
        #[schema(examples("7"))]
        id: Option<String>,
        /// Full name.
        #[schema(min_length = 1, max_length = 255, examples("Juan Pérez"))]
        nombre: String,
        /// Telephone; it stands for the document number too, until that is known.
        #[schema(min_length = 1, max_length = 50, examples("999888777"))]
        celular: String,
        /// District.
        distrito: Option<String>,
        /// The project that the person looks at.
        proyecto_interes: Option<String>,
        /// How the person was won.
        #[schema(examples("Facebook"))]
        medio: Option<String>,
        /// Mail address.
        email: Option<String>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        for (field, text, longest) in [("nombre", &self.nombre, 255), ("celular", &self.celular, 50)] {
            if text.trim().is_empty() {
                errors.push((field, "Este campo no puede estar en blanco.".to_owned()));
            }
            recado_kernel::fields::check_text(&mut errors, field, Some(text), longest);
        }
        // It becomes the person's document and telephone.
        if !self.celular.trim().is_empty() && !self.celular.contains(|character: char| character.is_ascii_digit()) {
            errors.push(("celular", "Escriba un número, con sus dígitos.".to_owned()));
        }
        let optional = [
            ("id", &self.id, 100),
            ("distrito", &self.distrito, 255),
            ("proyecto_interes", &self.proyecto_interes, 255),
            ("medio", &self.medio, 100),
            ("email", &self.email, 254),
        ];
        for (field, text, longest) in optional {
            recado_kernel::fields::check_text(&mut errors, field, text.as_deref(), longest);
        }
        errors
    }
}

request! {
    /// When and where an appointment is.
    #[derive(ToSchema)]
    struct TimeAndPlace {
        /// When it begins; without a zone it is of CRM_TIME_ZONE.
        #[schema(examples("2024-01-15T14:30:00"))]
        fecha_hora: String,
        /// Where.
        #[schema(examples("Sala de ventas"))]
        lugar: Option<String>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        if moments::read(&self.fecha_hora, chrono_tz::UTC).is_none() {
            errors.push(("fecha_hora", UNREADABLE_TIME.to_owned()));
        }
        recado_kernel::fields::check_text(&mut errors, "lugar", self.lugar.as_deref(), 255);
        errors
    }
}

/// What is said of a text that is no time.
pub(super) const UNREADABLE_TIME: &str = "No es una fecha y hora; use por ejemplo 2024-01-15T14:30:00.";

/// The longest id of a CRM.
const LONGEST_ID: usize = 100;

impl AppointmentWrite {
    fn appointment(self, id: String, zone: chrono_tz::Tz) -> Result<Appointment, Problem> {
        if id.chars().count() > LONGEST_ID {
            let error = format!("Asegúrese de que este campo no tenga más de {LONGEST_ID} caracteres.");
            return Err(FieldErrors::one("id", error).into());
        }
        let starts_at = moments::read(&self.appointment.fecha_hora, zone)
            .ok_or_else(|| FieldErrors::one("appointment.fecha_hora", UNREADABLE_TIME))?;
        let given = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Appointment {
            id,
            lead_id: given(self.lead.id),
            status: self.estado,
            lead: Lead {
                nombre: self.lead.nombre.trim().to_owned(),
                celular: self.lead.celular.trim().to_owned(),
                distrito: given(self.lead.distrito),
                proyecto_interes: given(self.lead.proyecto_interes),
                medio: given(self.lead.medio),
                email: given(self.lead.email),
            },
            starts_at,
            place: given(self.appointment.lugar),
        })
    }
}

request! {
    /// How a lead is classified.
    #[derive(ToSchema)]
    struct Classification {
        /// The CRM's word.
        #[schema(examples("YA ASISTIO"))]
        tipificacion: String,
    }
}

impl Classification {
    /// Letter case, blanks and the accent do not matter: `Ya asistió`.
    fn is_attended(&self) -> bool {
        self.tipificacion.trim().to_uppercase().replace('Ó', "O") == ATTENDED
    }
}

/// What has been kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeptAppointment)]
struct Kept {
    /// The id of the presence that the appointment is or may become.
    #[schema(examples("CRM-123"))]
    id_presencia_crm: String,
    /// The webhook that this call caused; null: none, because it did not become `Realizada` now or sending is off.
    delivery_id: Option<Id>,
}

request! {
    /// Which appointments to list.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Query)]
    struct AppointmentQuery {
        /// Only the one with this id of the CRM.
        id: Option<String>,
        /// Only those that were told of before this time (RFC 3339); `next_before` has it.
        before: Option<Timestamp>,
        /// How many, at most 100.
        #[param(value_type = Option<i64>, minimum = 1, maximum = 100, default = 20)]
        page_size: i64 = 20,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let is_wrong = !(1..=MOST_LISTED).contains(&self.page_size);
        let error = || ("page_size", format!("Asegúrese de que este valor esté entre 1 y {MOST_LISTED}."));
        is_wrong.then(error).into_iter().collect()
    }
}

/// The most appointments in one answer.
const MOST_LISTED: i64 = 100;

/// Appointments, and where the list goes on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Appointments)]
struct AppointmentsView {
    /// `before` of the next answer; null when there are no more.
    next_before: Option<Timestamp>,
    /// Those that were told of last first.
    results: Vec<AppointmentView>,
}

/// An appointment, as the CRM told of it last.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Appointment)]
struct AppointmentView {
    /// The CRM's id.
    #[schema(examples("123"))]
    id: String,
    /// The CRM's id of the lead.
    #[schema(examples("7"))]
    lead_id: Option<String>,
    /// Where it stands.
    estado: Status,
    /// Full name of the person.
    #[schema(examples("Juan Pérez"))]
    nombre: String,
    /// Their telephone.
    #[schema(examples("*****8777"))]
    celular: String,
    /// Their mail address.
    email: Option<String>,
    /// When it begins.
    fecha_hora: Timestamp,
    /// Where.
    #[schema(examples("Sala de ventas"))]
    lugar: Option<String>,
    /// When it became a presence; null: it did not.
    realized_at: Option<Timestamp>,
    /// The webhook that told the commercial application of it.
    delivery_id: Option<Id>,
    /// When it was last told of.
    updated_at: Timestamp,
}

impl AppointmentView {
    fn of((listed, updated_at): (Listed, Timestamp), shows_contacts: bool) -> Self {
        let Listed {
            appointment: Appointment { id, lead_id, status, lead, starts_at, place },
            realized_at,
            delivery_id,
        } = listed;
        let shown = |text: String, mask: fn(&str) -> String| if shows_contacts { text } else { mask(&text) };
        Self {
            id,
            lead_id,
            estado: status,
            nombre: lead.nombre,
            celular: shown(lead.celular, mask_phone),
            email: lead.email.map(|email| shown(email, mask_email)),
            fecha_hora: starts_at,
            lugar: place,
            realized_at,
            delivery_id,
            updated_at,
        }
    }
}

impl Field for Status {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}
