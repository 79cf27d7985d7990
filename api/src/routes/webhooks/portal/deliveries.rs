//! One delivery with its attempts, and sending it again.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_partners::events::PortalAction;
use recado_partners::portal;
use recado_webhooks::deliveries::attempts::{self, Attempt};
use recado_webhooks::deliveries::{self, Delivery, Status as DeliveryStatus};
use recado_webhooks::endpoints::Endpoint;

use super::form::Form;

use super::times::time_of;
use super::visitor::{Actor, Frame, Refused, Visitor, go, page};
use super::words::{delivery_status, done, stopped};
use crate::extract::path::Segment;
use crate::problem::Problem;
use crate::state::Api;

pub(super) async fn show_delivery(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    id: Result<Segment<Id>, Problem>,
    parts: Parts,
) -> Result<Response, Refused> {
    let query = Form::read(parts.uri.query().unwrap_or_default().as_bytes());
    let done = done(visitor.frame.language, query.get("done"));
    show_one(&api, visitor, id, StatusCode::OK, done, String::new()).await
}

pub(super) async fn show_one(
    api: &Api,
    visitor: Visitor,
    id: Result<Segment<Id>, Problem>,
    status: StatusCode,
    done: String,
    error: String,
) -> Result<Response, Refused> {
    let found = async {
        let Segment(id) = id?;
        let mut session = api.context.db.read().await?;
        let delivery = own(&mut session, &visitor.endpoint, id).await?;
        let attempts = attempts::of(&mut session, id).await?;
        Ok::<_, Problem>((delivery, attempts))
    };
    let frame = visitor.frame;
    let (delivery, attempts) = match found.await {
        Ok(found) => found,
        Err(problem) => return Err(Refused::problem(frame, problem)),
    };
    let shown = DeliveryPage {
        done,
        error,
        reason: delivery.reason.clone().unwrap_or_default(),
        next_attempt: delivery.next_attempt_at.map(|at| time_of(api, at)).unwrap_or_default(),
        message_id: delivery.message_id.to_string(),
        can_replay: delivery.body.is_some() && delivery.status != DeliveryStatus::Pending,
        attempts: attempts.into_iter().map(|attempt| AttemptView::of(api, attempt)).collect(),
        delivery: DeliveryRow::of(api, frame.language, &delivery),
        body: delivery.body,
        frame,
    };
    Ok(page(status, &shown))
}

/// A delivery of this endpoint. That of another is none.
pub(super) async fn own(session: &mut Session, endpoint: &Endpoint, id: Id) -> Result<Delivery, Problem> {
    let delivery = deliveries::find(session, id).await?;
    delivery.filter(|delivery| delivery.endpoint_id == endpoint.id).ok_or(Problem::NotFound)
}

pub(super) async fn replay_delivery(
    State(api): State<Arc<Api>>,
    Actor(visitor): Actor,
    id: Result<Segment<Id>, Problem>,
) -> Result<Response, Refused> {
    let segment = match id {
        Ok(Segment(id)) => id,
        Err(problem) => return Err(Refused::problem(visitor.frame, problem)),
    };
    if let Some(reason) = stopped(&api, &visitor) {
        return show_one(&api, visitor, Ok(Segment(segment)), StatusCode::CONFLICT, String::new(), reason).await;
    }
    let acted = async {
        let now = api.context.clock.now();
        let mut session = api.context.db.begin().await?;
        let delivery = own(&mut session, &visitor.endpoint, segment).await?;
        if delivery.body.is_none() || delivery.status == DeliveryStatus::Pending {
            return Ok(None);
        }
        let again = delivery.again(now);
        let mut rings = deliveries::send(&mut session, std::slice::from_ref(&again), now).await?;
        let partner = visitor.connection.partner.id;
        rings.extend(
            portal::record(&mut session, partner, PortalAction::EntregaReenviada, Some(again.id), &visitor.by(), now)
                .await?,
        );
        session.commit().await?;
        api.context.ring(&rings).await;
        Ok::<_, Problem>(Some(again.id))
    };
    match acted.await {
        Ok(Some(again)) => Ok(go(&visitor.frame, &format!("/deliveries/{again}?done=replayed"))),
        Ok(None) => {
            let text = visitor.frame.t(
                "No se puede reenviar: sigue en camino, o su cuerpo ya no se conserva.",
                "It cannot be sent again: it is on its way, or its body is not kept any more.",
            );
            let text = text.to_owned();
            show_one(&api, visitor, Ok(Segment(segment)), StatusCode::CONFLICT, String::new(), text).await
        }
        Err(problem) => Err(Refused::problem(visitor.frame, problem)),
    }
}

pub(super) struct DeliveryRow {
    pub(super) id: String,
    pub(super) created: String,
    pub(super) created_iso: String,
    pub(super) event_type: String,
    pub(super) subject: String,
    pub(super) status: &'static str,
    pub(super) tone: &'static str,
    pub(super) is_test: bool,
    pub(super) attempts: i32,
    pub(super) code: String,
}

impl DeliveryRow {
    pub(super) fn of(api: &Api, language: Language, delivery: &Delivery) -> Self {
        let (status, tone) = delivery_status(language, delivery.status);
        Self {
            id: delivery.id.to_string(),
            created: time_of(api, delivery.created_at),
            created_iso: delivery.created_at.to_string(),
            event_type: delivery.event_type.clone(),
            subject: delivery.subject.clone().unwrap_or_else(|| "–".to_owned()),
            status,
            tone,
            is_test: delivery.is_test,
            attempts: delivery.attempts,
            code: delivery.last_status_code.map_or_else(|| "–".to_owned(), |code| code.to_string()),
        }
    }
}

#[derive(Template)]
#[template(path = "portal/delivery.html")]
pub(super) struct DeliveryPage {
    pub(super) frame: Frame,
    pub(super) done: String,
    pub(super) error: String,
    pub(super) delivery: DeliveryRow,
    pub(super) reason: String,
    pub(super) next_attempt: String,
    pub(super) message_id: String,
    pub(super) can_replay: bool,
    pub(super) body: Option<String>,
    pub(super) attempts: Vec<AttemptView>,
}

pub(super) struct AttemptView {
    pub(super) number: i32,
    pub(super) started: String,
    pub(super) duration_ms: i32,
    pub(super) outcome: String,
    pub(super) headers: String,
    pub(super) response: Option<String>,
}

impl AttemptView {
    pub(super) fn of(api: &Api, attempt: Attempt) -> Self {
        let code = attempt.status_code.map(|code| format!("HTTP {code}"));
        let headers = attempt.request_headers.0.as_object().map(|headers| {
            let line = |(name, value): (&String, &serde_json::Value)| {
                format!("{name}: {}\n", value.as_str().unwrap_or_default())
            };
            headers.iter().map(line).collect::<String>()
        });
        Self {
            number: attempt.number,
            started: time_of(api, attempt.started_at),
            duration_ms: attempt.duration_ms,
            outcome: code.or(attempt.error).unwrap_or_default(),
            headers: headers.unwrap_or_default(),
            response: attempt.response,
        }
    }
}
