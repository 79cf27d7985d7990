//! Events come in (S002-1), one by one or many at once, or only to see what would become of them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use recado_kernel::clock::Timestamp;
use recado_notifications::dispatch::{
    self, Accepted, Event, FARTHEST, MINIMUM_FIELDS, Preview, Receipt, Rejection, Request,
};
use recado_notifications::templates::rendering::Context;
use recado_queue::idempotency::IdempotencyKey;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::auth::keys::Caller;
use crate::auth::{Dispatch, May};
use crate::extract::body::Json;
use crate::extract::fields::Fields;
use crate::extract::once::IdempotencyHeader;
use crate::extract::query::Query;
use crate::extract::request::{self, request};
use crate::problem::{FieldErrors, NotAccepted, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(accept)).routes(routes!(accept_many))
}

/// The most events of one request.
const MAX_EVENTS: usize = 1_000;

/// Takes an event in.
///
/// The answer is 202 when the event and its messages are committed; whatever happens afterwards, they are not lost. With
/// `dry_run` the same decision is made and nothing is written or sent.
#[utoipa::path(post, path = "/", tag = "events", params(DryRunQuery, IdempotencyHeader), request_body = EventRequest,
    responses(
        (status = 202, description = "It is accepted", body = Receipt, example = json!(accepted_example())),
        (status = 200, description = "What would become of it (`dry_run`)", body = Preview),
        (status = 400, description = "Fields are wrong, or the event makes no sense here", body = NotAccepted,
            examples(
                ("missing variables" = (value = json!(missing_example()))),
                ("no such customer" = (value = json!(refused_example()))),
                ("wrong fields" = (value = json!({"event_type": ["Este campo es requerido."]}))),
            )),
        (status = 422, description = "The Idempotency-Key was used for another request"),
        (status = 500, description = "A template of the workshop cannot be rendered", body = NotAccepted),
    ))]
async fn accept(
    May { caller, .. }: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Query(query): Query<DryRunQuery>,
    key: IdempotencyHeader,
    Json(EventRequest { event, dry_run, at }): Json<EventRequest>,
) -> Result<Response, Problem> {
    let minimum_fields = minimum_fields(&event);
    let refused = |rejection| Problem::Dispatch { rejection, minimum_fields };
    let is_dry_run = is_dry_run(dry_run, &query);
    check_at(at, is_dry_run, api.context.clock.now())?;
    if is_dry_run {
        let request = intake_request(&api, event, None);
        let decided = dispatch::preview(&api.notifications, &[request], at).await?.pop();
        let preview = decided.unwrap_or(Err(Rejection::Unavailable)).map_err(refused)?;
        return Ok(axum::Json(shown(preview, &caller)).into_response());
    }
    let key = key.of(&caller, &event);
    api.notifications.sent_variables.note(&caller.label, &event);
    let accepted = api.intake.accept(intake_request(&api, event, key)).await;
    accepted.map(replayable).map_err(refused)
}

/// Takes many events in, each with its own answer.
///
/// What is wrong with one event costs only that one. The answer is 202 when at least one was accepted, and 400 with the same
/// body when none was. With an `Idempotency-Key` a repeated request accepts what is missing and nothing twice.
#[utoipa::path(post, path = "/bulk", tag = "events", params(DryRunQuery, IdempotencyHeader), request_body = BulkRequest,
    responses(
        (status = 202, description = "At least one was accepted", body = BulkReceipt, example = json!(bulk_example())),
        (status = 200, description = "What would become of them (`dry_run`)", body = BulkReceipt),
        (status = 400, description = "None was accepted, or the list itself is wrong", body = BulkReceipt),
        (status = 413, description = "The body is larger than 4 MiB", body = Value),
    ))]
async fn accept_many(
    May { caller, .. }: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Query(query): Query<DryRunQuery>,
    key: IdempotencyHeader,
    Json(BulkRequest { events, dry_run, at }): Json<BulkRequest>,
) -> Result<Response, Problem> {
    let dry_run = is_dry_run(dry_run, &query);
    check_at(at, dry_run, api.context.clock.now())?;
    let mut items: Vec<BulkItem> = Vec::with_capacity(events.len());
    let mut read = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        match request::read::<Event>(event) {
            Ok(event) => read.push((index, event)),
            Err(problem) => items.push(BulkItem::refused(index, problem).await),
        }
    }
    let decided =
        if dry_run { preview_all(&api, &caller, read, at).await? } else { accept_all(&api, &caller, &key, read).await };
    for (index, result) in decided {
        items.push(match result {
            Ok((status, answer)) => BulkItem { index, status: status.as_u16(), answer },
            Err(problem) => BulkItem::refused(index, problem).await,
        });
    }
    items.sort_unstable_by_key(|item| item.index);
    Ok(BulkReceipt::of(items).into_response(dry_run))
}

/// A decision about the event at this place: the status and body that it would have alone.
type Decided = (usize, Result<(StatusCode, Value), Problem>);

async fn accept_all(api: &Api, caller: &Caller, key: &IdempotencyHeader, events: Vec<(usize, Event)>) -> Vec<Decided> {
    let (mut places, mut requests) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
    for (index, event) in events {
        places.push((index, minimum_fields(&event)));
        let key = key.of_part(caller, index, &event);
        api.notifications.sent_variables.note(&caller.label, &event);
        requests.push(intake_request(api, event, key));
    }
    let answers = api.intake.accept_all(requests).await;
    let decided = |((index, minimum_fields), answer): (_, dispatch::Answer)| {
        let answer = answer.map(|Accepted { receipt, .. }| (StatusCode::ACCEPTED, json!(receipt)));
        (index, answer.map_err(|rejection| Problem::Dispatch { rejection, minimum_fields }))
    };
    places.into_iter().zip(answers).map(decided).collect()
}

async fn preview_all(
    api: &Api,
    caller: &Caller,
    events: Vec<(usize, Event)>,
    at: Option<Timestamp>,
) -> Result<Vec<Decided>, Problem> {
    let places: Vec<_> = events.iter().map(|(index, event)| (*index, minimum_fields(event))).collect();
    let requests: Vec<Request> = events.into_iter().map(|(_, event)| intake_request(api, event, None)).collect();
    let previews = dispatch::preview(&api.notifications, &requests, at).await?;
    let decided = |((index, minimum_fields), preview): (_, Result<Preview, Rejection>)| {
        let answer = preview.map(|preview| (StatusCode::OK, json!(shown(preview, caller))));
        (index, answer.map_err(|rejection| Problem::Dispatch { rejection, minimum_fields }))
    };
    Ok(places.into_iter().zip(previews).map(decided).collect())
}

/// Another moment than now is for dry runs alone, and within the year that `send_at` has.
fn check_at(at: Option<Timestamp>, is_dry_run: bool, now: Timestamp) -> Result<(), Problem> {
    let Some(at) = at else { return Ok(()) };
    if !is_dry_run {
        let error = "Solo vale con dry_run: un evento de verdad se acepta ahora. Para que salga más tarde use send_at.";
        return Err(FieldErrors::one("at", error).into());
    }
    if at > now + FARTHEST || now > at + FARTHEST {
        return Err(FieldErrors::one("at", "La fecha no puede estar a más de un año.").into());
    }
    Ok(())
}

/// A dry run is asked for in the body or in the query.
fn is_dry_run(in_body: Option<bool>, query: &DryRunQuery) -> bool {
    in_body.unwrap_or_default() || query.dry_run.unwrap_or_default()
}

fn intake_request(api: &Api, event: Event, idempotency: Option<IdempotencyKey>) -> Request {
    Request {
        event,
        idempotency,
        unique_key: None,
        unknown_customer: api.context.config.unknown_customer,
        only: Vec::new(),
        by: None,
    }
}

/// A caller who may send need not learn where people are reached.
fn shown(preview: Preview, caller: &Caller) -> Preview {
    if caller.sees_contacts() { preview } else { preview.masked() }
}

/// S002-40.
impl request::Request for Event {
    fn read(fields: &mut Fields) -> Option<Self> {
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
            send_at: fields.optional("send_at"),
            critical: fields.optional("critical").unwrap_or_default(),
        };
        fields.check(event.field_errors());
        // The decision looks at the context, but is never asked when a field is wrong; all mistakes are told at once.
        if fields.are_wrong() {
            let errors = Context::new(&event.context, true).err().map(|error| ("context", error.to_string()));
            fields.check(errors.into_iter().collect());
        }
        Some(event)
    }
}

/// S002-41, and whether the answer is an old one.
pub(crate) fn replayable(Accepted { receipt, replayed }: Accepted) -> Response {
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

/// The answers to many events.
#[derive(Debug, Serialize, ToSchema)]
struct BulkReceipt {
    /// At least one event was accepted.
    success: bool,
    /// How many were accepted.
    accepted: usize,
    /// How many were not.
    rejected: usize,
    /// One for each event, in the order of the request.
    results: Vec<BulkItem>,
}

/// The answer to one of many events.
#[derive(Debug, Serialize, ToSchema)]
struct BulkItem {
    /// The event's place in the request, from 0.
    #[schema(minimum = 0, examples(0))]
    index: usize,
    /// The status that the event would have had alone: 202, 400, ….
    #[schema(examples(202))]
    status: u16,
    /// The body that it would have had alone: a `Receipt`, a `Preview`, or what is wrong.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    answer: Value,
}

impl BulkItem {
    async fn refused(index: usize, problem: Problem) -> Self {
        let (status, answer) = problem.into_parts().await;
        let mut fields = match answer {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        // A problem of RFC 9457 brings its own `status`, which is the same.
        fields.remove("status");
        Self { index, status: status.as_u16(), answer: fields.into() }
    }

    fn is_accepted(&self) -> bool {
        self.status < 300
    }
}

impl BulkReceipt {
    fn of(results: Vec<BulkItem>) -> Self {
        let accepted = results.iter().filter(|item| item.is_accepted()).count();
        Self { success: accepted > 0, accepted, rejected: results.len() - accepted, results }
    }

    fn into_response(self, dry_run: bool) -> Response {
        let is_outage = self.results.iter().any(|item| item.status == StatusCode::SERVICE_UNAVAILABLE);
        let status = match (self.success, dry_run) {
            (true, false) => StatusCode::ACCEPTED,
            (true, true) => StatusCode::OK,
            // The same request may work in a moment.
            (false, _) if is_outage => StatusCode::SERVICE_UNAVAILABLE,
            (false, _) => StatusCode::BAD_REQUEST,
        };
        (status, axum::Json(self)).into_response()
    }
}

request! {
    /// An event, and whether it is only asked about.
    #[derive(ToSchema)]
    struct EventRequest {
        #[schema(inline)]
        #[serde(flatten)]
        event: Event,
        /// True: the same decision, and nothing is written or sent. The same as `?dry_run=true`.
        #[schema(default = false)]
        dry_run: Option<bool>,
        /// Of a dry run: decided as if it were this moment, at most a year away. Then quiet hours are those of that hour.
        #[schema(examples("2026-01-25T23:30:00-05:00"))]
        at: Option<Timestamp>,
    }
}

request! {
    /// Many events.
    #[derive(ToSchema)]
    struct BulkRequest {
        /// The events, as the single endpoint takes them.
        #[schema(min_items = 1, max_items = 1000, value_type = Vec<Event>)]
        events: Vec<Value>,
        /// True: the same decisions, and nothing is written or sent.
        #[schema(default = false)]
        dry_run: Option<bool>,
        /// Of a dry run: decided as if it were this moment, at most a year away.
        at: Option<Timestamp>,
    }

    /// A thousand events with a page of context each.
    const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

    fn errors(&self) -> Vec<(&'static str, String)> {
        let is_size_allowed = (1..=MAX_EVENTS).contains(&self.events.len());
        let error = || ("events", format!("Envíe de 1 a {MAX_EVENTS} eventos."));
        (!is_size_allowed).then(error).into_iter().collect()
    }
}

const _: () = assert!(MAX_EVENTS == 1_000, "the description of BulkRequest names the limit");

request! {
    /// Only asking.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct DryRunQuery {
        /// True: the same decision, and nothing is written or sent; the answer is 200. `Idempotency-Key` is ignored then.
        #[param(default = false)]
        dry_run: Option<bool>,
    }
}

fn accepted_example() -> Value {
    json!({
        "success": true,
        "correlation_id": "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90",
        "notifications_queued": 1,
        "errors": [],
        "task_id": "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d91",
        "notifications": [
            {"id": "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d92", "task_id": "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d91",
             "channel": "email", "status": "queued", "fallback_order": 0, "template": "Cita agendada (clientes, email)"},
            {"id": "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d93", "task_id": "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d91",
             "channel": "whatsapp", "status": "pending", "fallback_order": 1,
             "template": "Cita agendada (clientes, WhatsApp)"},
        ],
        "skipped": [{"channel": "push", "reason": "no_push_subscription",
                     "detail": "El cliente no tiene ningún dispositivo suscrito a notificaciones push."}],
        "send_at": null,
        "deferred": null,
    })
}

fn missing_example() -> Value {
    let error = "Faltan variables de contexto requeridas";
    json!({
        "success": false, "error": error, "errors": [error], "missing_fields": ["hora"],
        "hint": "Agregue a `context`: hora.", "minimum_fields": MINIMUM_FIELDS, "correlation_id": null,
        "notifications_queued": 0,
    })
}

fn refused_example() -> Value {
    let error = "No existe el cliente con customer_id `customer-404`. Sincronícelo primero en /api/internal/v1/customers/sync/.";
    json!({
        "success": false, "error": error, "errors": [error], "missing_fields": [], "hint": null,
        "minimum_fields": MINIMUM_FIELDS, "correlation_id": null, "notifications_queued": 0,
    })
}

fn bulk_example() -> Value {
    let mut accepted = accepted_example();
    accepted["index"] = json!(0);
    accepted["status"] = json!(202);
    let mut refused = missing_example();
    refused["index"] = json!(1);
    refused["status"] = json!(400);
    json!({"success": true, "accepted": 1, "rejected": 1, "results": [accepted, refused]})
}
