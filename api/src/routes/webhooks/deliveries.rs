//! What was sent to partners: each webhook with its attempts.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_webhooks::deliveries::attempts::{self, Attempt};
use recado_webhooks::deliveries::{self, Delivery, DeliveryFilter, Status};
use recado_webhooks::{endpoints, operations};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::endpoints::disabled;
use crate::auth::{Admin, May, Read};
use crate::extract::fields::{Field, choice};
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{Conflict, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list_deliveries)).routes(routes!(show_delivery)).routes(routes!(replay_delivery))
}

/// Deliveries, the newest first.
#[utoipa::path(get, path = "/", tag = "webhooks", params(DeliveryQuery, Paging),
    responses((status = 200, description = "A page of deliveries", body = Page<DeliveryView>)))]
async fn list_deliveries(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<DeliveryQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<DeliveryView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = deliveries::list(&mut session, &query.into(), paging.limit(), paging.offset()).await?;
    Ok(axum::Json(paging.page(found.into_iter().map(DeliveryView::from).collect(), count)?))
}

/// One delivery with its attempts: what was sent, and how it was answered.
#[utoipa::path(get, path = "/{id}", tag = "webhooks",
    params(("id" = Id, Path, description = "Id of the delivery")),
    responses((status = 200, description = "The delivery", body = DeliveryDetail)))]
async fn show_delivery(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<DeliveryDetail>, Problem> {
    let mut session = api.context.db.read().await?;
    let delivery = deliveries::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let attempts = attempts::of(&mut session, id).await?;
    Ok(axum::Json(DeliveryDetail {
        body: delivery.body.clone(),
        delivery: delivery.into(),
        attempts: attempts.into_iter().map(AttemptView::from).collect(),
    }))
}

/// Sends a delivery again: the same bytes under the same `webhook-id`, as a new delivery.
#[utoipa::path(post, path = "/{id}/replay", tag = "webhooks",
    params(("id" = Id, Path, description = "Id of the delivery")),
    responses(
        (status = 202, description = "The new delivery", body = DeliveryView),
        (status = 409, description = "Its body is not kept any more, or the owner of its endpoint is not active")))]
async fn replay_delivery(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<(StatusCode, axum::Json<DeliveryView>), Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    let delivery = deliveries::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let endpoint = endpoints::find(&mut session, delivery.endpoint_id).await?.ok_or(Problem::NotFound)?;
    if endpoint.status == endpoints::Status::Disabled {
        return Err(disabled(&endpoint));
    }
    if delivery.body.is_none() {
        return Err(Problem::Conflict(Conflict {
            code: "body-deleted",
            title: "El cuerpo ya no se conserva",
            detail: "Su plazo de retención (WEBHOOK_RETENTION_DAYS) terminó.".to_owned(),
        }));
    }
    let (again, rings) = operations::replay_one(&mut session, &delivery, &may.actor(), now).await?;
    session.commit().await?;
    api.context.ring(&rings).await;
    Ok((StatusCode::ACCEPTED, axum::Json(again.into())))
}

/// A webhook to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(crate) struct DeliveryView {
    /// Id of the delivery and of its task.
    id: Id,
    /// Where it goes.
    endpoint_id: Id,
    /// The header `webhook-id`: the same for all attempts and replays.
    message_id: Id,
    /// Its type.
    #[schema(examples("event.updated"))]
    event_type: String,
    /// What it is about, e.g. a reservation.
    subject: Option<String>,
    /// `pending`, `delivered`, `failed`, `cancelled` or `skipped`.
    status: Status,
    /// Why it was skipped, failed or cancelled, or what the last attempt met.
    reason: Option<String>,
    /// One attempt, whatever the endpoint subscribed.
    is_test: bool,
    /// Attempts so far.
    attempt_count: i32,
    /// The status code of the last answer.
    last_status_code: Option<i32>,
    /// When it is tried next.
    next_attempt_at: Option<Timestamp>,
    /// The delivery that this one repeats.
    replay_of: Option<Id>,
    /// When it was made.
    created_at: Timestamp,
    /// When it ended.
    finished_at: Option<Timestamp>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            endpoint_id: delivery.endpoint_id,
            message_id: delivery.message_id,
            event_type: delivery.event_type,
            subject: delivery.subject,
            status: delivery.status,
            reason: delivery.reason,
            is_test: delivery.is_test,
            attempt_count: delivery.attempts,
            last_status_code: delivery.last_status_code,
            next_attempt_at: delivery.next_attempt_at,
            replay_of: delivery.replay_of,
            created_at: delivery.created_at,
            finished_at: delivery.finished_at,
        }
    }
}

/// A delivery with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDeliveryDetail)]
struct DeliveryDetail {
    #[serde(flatten)]
    delivery: DeliveryView,
    /// The bytes that are signed; null after their retention.
    body: Option<String>,
    /// Oldest first.
    attempts: Vec<AttemptView>,
}

/// One request to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
struct AttemptView {
    /// 1 is the first.
    number: i32,
    /// When it began.
    started_at: Timestamp,
    /// How long it took.
    duration_ms: i32,
    /// Null: no answer came.
    status_code: Option<i32>,
    /// Why it failed; null: it did not.
    error: Option<String>,
    /// As sent; secret values are masked.
    #[schema(value_type = Object)]
    request_headers: Value,
    /// The beginning of the answer.
    response: Option<String>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            status_code: attempt.status_code,
            error: attempt.error,
            request_headers: attempt.request_headers.0,
            response: attempt.response,
        }
    }
}

request! {
    /// Which deliveries to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct DeliveryQuery {
        /// Only those to this endpoint.
        endpoint_id: Option<Id>,
        /// Only this status.
        status: Option<Status>,
        /// Only this type of event.
        event_type: Option<String>,
        /// Part of the subject, in either case.
        subject: Option<String>,
        /// Only deliveries that were made at this moment or later.
        created_from: Option<Timestamp>,
        /// Only deliveries that were made before this moment.
        created_until: Option<Timestamp>,
    }
}

impl From<DeliveryQuery> for DeliveryFilter {
    fn from(query: DeliveryQuery) -> Self {
        Self {
            endpoint_id: query.endpoint_id,
            status: query.status,
            event_type: query.event_type,
            subject: query.subject,
            created_from: query.created_from,
            created_until: query.created_until,
            finished_from: None,
        }
    }
}

impl Field for Status {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}
