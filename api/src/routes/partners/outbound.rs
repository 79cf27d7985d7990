//! What goes out to a partner (S000-6, S000-7). A webhook is written down first; then the caller waits a moment for the worker's
//! first attempt (d8).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::NaiveDate;
use recado_kernel::fields::check_text;
use recado_kernel::ids::Id;
use recado_kernel::time_of_day::TimeOfDay;
use recado_partners::payload::payload;
use recado_partners::standing::Standing;
use recado_webhooks::deliveries::{self, Delivery, Status};
use recado_webhooks::endpoints::Endpoint;
use recado_webhooks::operations;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::policy;
use super::registrations::{check_event_type, known};
use crate::auth::{Dispatch, May};
use crate::extract::body::{Json, RawBody};
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routes::webhooks::outcome::{self, TEST_TIMEOUT};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// How long the first attempt is waited for (d8).
const FIRST_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a partner's answer is shown, in characters (S000-7).
const LONGEST_RESPONSE: usize = 500;

/// The event of `notify-event` (S000-6).
const CONFIRMED: &str = "event.reservation_confirmed";

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(notify)).routes(routes!(send_event)).routes(routes!(send_test))
}

/// Tells a partner of a reservation (`event.reservation_confirmed`). It is kept and tried until it arrives; 200 says that it
/// did, 202 that it will be tried again.
#[utoipa::path(post, path = "/{ref}/notify-event", tag = "partner-webhooks",
    params(("ref" = String, Path, description = "Slug or `partner_id`")), request_body = ReservationWrite, responses(
    (status = 200, description = "It arrived, or the partner did not subscribe to it", body = Notified),
    (status = 202, description = "It will be tried again", body = Notified),
    (status = 403, description = "The partner is suspended, or its KYC is awaited"),
    (status = 409, description = "The partner is inactive, or its endpoint was given up"),
    (status = 410, description = "The partner is deleted or revoked, or its endpoint answered 410")))]
async fn notify(
    _: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Segment(reference): Segment<String>,
    Json(reservation): Json<ReservationWrite>,
) -> Result<(StatusCode, axum::Json<Notified>), Problem> {
    let event = Event {
        event_type: CONFIRMED.to_owned(),
        reservation_id: Some(reservation.reservation_id.clone()),
        data: to_raw_value(&reservation.data()).map_err(not_canonical)?,
    };
    send(&api, &reference, event).await
}

/// Tells a partner of any event (`event.updated`, `event.cancelled`, `payment.success`, …). It is kept and tried until it
/// arrives, as with `notify-event`.
#[utoipa::path(post, path = "/{ref}/events", tag = "partner-webhooks",
    params(("ref" = String, Path, description = "Slug or `partner_id`")), request_body = EventWrite, responses(
    (status = 200, description = "It arrived, or the partner did not subscribe to it", body = Notified),
    (status = 202, description = "It will be tried again", body = Notified),
    (status = 403, description = "The partner is suspended, or its KYC is awaited"),
    (status = 409, description = "The partner is inactive, or its endpoint was given up"),
    (status = 410, description = "The partner is deleted or revoked, or its endpoint answered 410")))]
async fn send_event(
    _: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Segment(reference): Segment<String>,
    body: RawBody,
) -> Result<(StatusCode, axum::Json<Notified>), Problem> {
    let (EventWrite { event_type, data }, text) = body.read()?;
    let reservation_id = data.get("reservation_id").and_then(Value::as_str).map(str::to_owned);
    send(&api, &reference, Event { event_type, reservation_id, data: as_written(&text)? }).await
}

/// Sends a partner a webhook at once, whatever it subscribed: one attempt, and how it was taken.
#[utoipa::path(post, path = "/{ref}/send-webhook", tag = "partner-webhooks",
    params(("ref" = String, Path, description = "Slug or `partner_id`")), request_body = EventWrite, responses(
    (status = 200, description = "How it was taken", body = Tested),
    (status = 403, description = "The partner is suspended, or its KYC is awaited"),
    (status = 409, description = "The partner is inactive, or its endpoint was given up"),
    (status = 410, description = "The partner is deleted or revoked, or its endpoint answered 410")))]
async fn send_test(
    may: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Segment(reference): Segment<String>,
    body: RawBody,
) -> Result<axum::Json<Tested>, Problem> {
    let now = api.context.clock.now();
    let (EventWrite { event_type, .. }, text) = body.read()?;
    let body = payload(&event_type, &as_written(&text)?, now);
    let mut session = api.context.db.begin().await?;
    let (connection, endpoint) = known(&mut session, &reference).await?;
    admit(connection.standing(policy(&api)), &endpoint)?;
    let delivery = Delivery::of_test(&endpoint, &event_type, &body, now).map_err(not_canonical)?;
    let rings = operations::test(&mut session, &delivery, &may.actor(), now).await?;
    session.commit().await?;
    api.context.ring(&rings).await;
    let outcome = outcome::of_first_attempt(&api, delivery.id, TEST_TIMEOUT).await?;
    Ok(axum::Json(match outcome.status_code {
        Some(status_code) => Tested {
            success: outcome.delivered,
            status_code: Some(status_code),
            response: Some(outcome.response.unwrap_or_default().chars().take(LONGEST_RESPONSE).collect()),
            error: None,
        },
        None => {
            Tested { success: false, status_code: None, response: None, error: Some(outcome.error.unwrap_or_default()) }
        }
    }))
}

/// What a partner is told.
struct Event {
    event_type: String,
    reservation_id: Option<String>,
    /// As it was written: a number of any length stays what it is (d1).
    data: Box<RawValue>,
}

/// The field `data` of a body that was read already, as it was written.
fn as_written(text: &str) -> Result<Box<RawValue>, Problem> {
    #[derive(Deserialize)]
    struct Parts {
        data: Box<RawValue>,
    }
    Ok(serde_json::from_str::<Parts>(text).map_err(not_canonical)?.data)
}

async fn send(api: &Api, reference: &str, event: Event) -> Result<(StatusCode, axum::Json<Notified>), Problem> {
    let now = api.context.clock.now();
    let body = payload(&event.event_type, &event.data, now);
    let mut session = api.context.db.begin().await?;
    let (connection, endpoint) = known(&mut session, reference).await?;
    admit(connection.standing(policy(api)), &endpoint)?;
    let mut delivery = Delivery::of_event(&endpoint, &event.event_type, &body, now).map_err(not_canonical)?;
    delivery.subject = event.reservation_id.clone();
    let rings = deliveries::send(&mut session, std::slice::from_ref(&delivery), now).await?;
    session.commit().await?;
    api.context.ring(&rings).await;
    let name = &connection.partner.name;
    let (status, success, message) = if delivery.status == Status::Skipped {
        (StatusCode::OK, false, format!("{name} no está suscrito a {}; no se envió nada", event.event_type))
    } else {
        match outcome::of_first_attempt(api, delivery.id, FIRST_ATTEMPT_TIMEOUT).await? {
            outcome if outcome.delivered => (StatusCode::OK, true, format!("Webhook enviado a {name}")),
            outcome if outcome.ended && outcome.status_code == Some(410) => {
                return Err(Problem::PartnerStopped(Standing::Gone));
            }
            outcome if outcome.ended => {
                let reason = outcome.error.unwrap_or_default();
                (StatusCode::OK, false, format!("{name} no aceptó el webhook: {reason}"))
            }
            _ => (StatusCode::ACCEPTED, true, "Webhook encolado".to_owned()),
        }
    };
    let is_skipped = delivery.status == Status::Skipped;
    Ok((
        status,
        axum::Json(Notified {
            success,
            message,
            event_type: event.event_type,
            reservation_id: event.reservation_id,
            webhook_url: endpoint.url,
            skipped: is_skipped,
            delivery_id: delivery.id,
            task_id: (!is_skipped).then_some(delivery.id),
        }),
    ))
}

/// d22: nothing is written for a partner that gets nothing.
fn admit(standing: Standing, endpoint: &Endpoint) -> Result<(), Problem> {
    let standing = standing.with_endpoint(endpoint);
    if standing.is_active() { Ok(()) } else { Err(Problem::PartnerStopped(standing)) }
}

fn not_canonical(error: impl std::fmt::Display) -> Problem {
    FieldErrors::one("data", format!("No tiene forma canónica: {error}.")).into()
}

request! {
    /// A reservation that was confirmed.
    #[derive(ToSchema)]
    struct ReservationWrite {
        /// Its id.
        #[schema(min_length = 1, max_length = 100, examples("RES-2026-001"))]
        reservation_id: String,
        /// What is celebrated.
        #[schema(min_length = 1, max_length = 255, examples("Cena Corporativa TechCorp"))]
        event_name: String,
        /// The day.
        date: NaiveDate,
        /// The hour.
        #[schema(value_type = String, examples("19:00"))]
        time: TimeOfDay,
        /// How many come.
        #[schema(minimum = 1, maximum = 1000000, examples(50))]
        guests: i64,
        /// Who is asked about it.
        #[schema(min_length = 1, max_length = 255, examples("María García"))]
        contact_name: String,
        /// Where.
        #[schema(min_length = 1, max_length = 50, examples("0991234567"))]
        contact_phone: String,
        /// Where, too.
        #[schema(max_length = 254, examples("maria@techcorp.com"))]
        contact_email: Option<String>,
        /// What is still looked for.
        #[schema(max_items = 100, examples(json!(["dj", "decoracion", "fotografia"])))]
        services_requested: Option<Vec<String>>,
        /// Anything else.
        #[schema(max_length = 2000, examples("Celebración de aniversario"))]
        notes: Option<String>,
        /// What it may cost.
        #[schema(max_length = 100, examples("1000-2000"))]
        budget_range: Option<String>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        let mandatory = [
            ("reservation_id", &self.reservation_id, 100),
            ("event_name", &self.event_name, 255),
            ("contact_name", &self.contact_name, 255),
            ("contact_phone", &self.contact_phone, 50),
        ];
        for (field, text, longest) in mandatory {
            if text.trim().is_empty() {
                errors.push((field, "Este campo no puede estar en blanco.".to_owned()));
            }
            check_text(&mut errors, field, Some(text), longest);
        }
        check_text(&mut errors, "contact_email", self.contact_email.as_deref(), 254);
        check_text(&mut errors, "budget_range", self.budget_range.as_deref(), 100);
        recado_partners::partners::check_paragraph(&mut errors, "notes", self.notes.as_deref());
        let services = self.services_requested.as_deref().unwrap_or_default();
        if services.len() > 100 || services.iter().any(|service| service.chars().count() > 100) {
            errors.push(("services_requested", "Son 100 servicios como máximo, de 100 caracteres cada uno.".to_owned()));
        }
        if !(1..=1_000_000).contains(&self.guests) {
            errors.push(("guests", "Debe estar entre 1 y 1000000.".to_owned()));
        }
        errors
    }
}

impl ReservationWrite {
    /// S000-14.
    fn data(self) -> Value {
        json!({
            "reservation_id": self.reservation_id,
            "event_name": self.event_name,
            "date": self.date.to_string(),
            "time": self.time.to_string(),
            "guests": self.guests,
            "contact_name": self.contact_name,
            "contact_phone": self.contact_phone,
            "contact_email": self.contact_email,
            "budget_range": self.budget_range,
            "notes": self.notes,
            "services_requested": self.services_requested.unwrap_or_default(),
        })
    }
}

request! {
    /// An event for a partner.
    #[derive(ToSchema)]
    struct EventWrite {
        /// Its type.
        #[schema(min_length = 1, max_length = 100, examples("event.updated"))]
        event_type: String,
        /// What happened.
        #[schema(value_type = Object, examples(json!({"reservation_id": "RES-2026-001", "updates": {"guests": 60}})))]
        data: Map<String, Value>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        check_event_type(&mut errors, "event_type", self.event_type.trim());
        errors
    }
}

/// What became of an event.
#[derive(Serialize, ToSchema)]
#[schema(as = PartnerNotified)]
struct Notified {
    /// Whether it arrived or will be tried again.
    success: bool,
    /// What was done, for people.
    #[schema(examples("Webhook enviado a FindyourWork"))]
    message: String,
    /// Its type.
    event_type: String,
    /// The reservation that it is about.
    reservation_id: Option<String>,
    /// Where it goes.
    webhook_url: String,
    /// The partner did not subscribe to it, so it was not sent.
    skipped: bool,
    /// Its delivery, under `/api/v1/webhooks/deliveries/`.
    delivery_id: Id,
    /// Its task; null: it was not sent.
    task_id: Option<Id>,
}

/// How a test was taken.
#[derive(Serialize, ToSchema)]
#[schema(as = PartnerTestResult)]
struct Tested {
    /// Whether the partner took it.
    success: bool,
    /// Its status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<i32>,
    /// The beginning of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}
