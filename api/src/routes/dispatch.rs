//! Events come in (S002-1).

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use recado_shared::dispatch::{Accepted, Event, MINIMUM_FIELDS, Request};
use recado_shared::idempotency::IdempotencyKey;

use crate::Api;
use crate::auth::{Caller, Dispatch, May};
use crate::body::{Body, Fields, Json};
use crate::problem::{FieldErrors, Problem};

/// Takes an event in: 202 when it is committed, 400 when it names what is not there or its context lacks a variable.
pub(crate) async fn accept(
    May { caller, .. }: May<Dispatch>,
    State(api): State<Arc<Api>>,
    key: IdempotencyHeader,
    Json(event): Json<Event>,
) -> Result<Response, Problem> {
    let minimum_fields = minimum_fields(&event);
    let request = Request {
        idempotency: key.of(&caller, &event),
        event,
        unique_key: None,
        unknown_customer: api.context.config.unknown_customer,
        only: Vec::new(),
    };
    let accepted = api.door.accept(request).await;
    accepted.map(answer).map_err(|rejection| Problem::Dispatch { rejection, minimum_fields })
}

/// S002-40.
impl Body for Event {
    fn read(fields: &mut Fields) -> Self {
        let event = Self {
            event_type: fields.required("event_type"),
            service_type_id: fields.optional("service_type_id"),
            phase_id: fields.optional("phase_id"),
            subtype_id: fields.optional("subtype_id"),
            customer_id: fields.required("customer_id"),
            target: fields.optional("target").unwrap_or_default(),
            taller_id: fields.optional("taller_id"),
            context: fields.optional("context").unwrap_or_default(),
            correlation_id: fields.optional("correlation_id"),
        };
        fields.check(event.field_errors());
        event
    }
}

/// S002-41, and whether the answer is an old one.
fn answer(Accepted { receipt, replayed }: Accepted) -> Response {
    let mut response = (StatusCode::ACCEPTED, axum::Json(receipt)).into_response();
    if replayed {
        let header = HeaderName::from_static("idempotent-replayed");
        response.headers_mut().insert(header, HeaderValue::from_static("true"));
    }
    response
}

/// What a caller must put into the context in any case; it is told so when something was missing (S002-42, S002-43).
fn minimum_fields(event: &Event) -> &'static [&'static str] {
    if event.is_custom() { &["subject", "body"] } else { &MINIMUM_FIELDS }
}

/// The header `Idempotency-Key`, if it was sent (draft-ietf-httpapi-idempotency-key-header).
pub(crate) struct IdempotencyHeader(Option<String>);

impl IdempotencyHeader {
    /// Keys of different callers never meet.
    fn of(self, caller: &Caller, event: &Event) -> Option<IdempotencyKey> {
        Some(IdempotencyKey::new(&caller.name, &self.0?, event))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyHeader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(Self(None));
        };
        let is_sane = (1..=255).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
        let key = value.to_str().ok().filter(|_| is_sane).ok_or_else(|| {
            let error = "Use de 1 a 255 caracteres ASCII visibles, por ejemplo un UUID.";
            Problem::from(FieldErrors::one("Idempotency-Key", error))
        })?;
        Ok(Self(Some(key.to_owned())))
    }
}
