//! Where webhooks go, how each endpoint took them lately, and what staff do about one that does not.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_partners::connections;
use recado_partners::standing::Policy;
use recado_webhooks::deliveries::Status as DeliveryStatus;
use recado_webhooks::endpoints::{self, Canonical, DisabledReason, Endpoint, EndpointFilter, Status};
use recado_webhooks::operations;
use recado_webhooks::replays::{self, Conditions, Replay};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May, Read};
use crate::extract::body::Json;
use crate::extract::fields::{Field, choice};
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{Conflict, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_endpoints))
        .routes(routes!(show_endpoint))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(list_replays, replay))
}

/// Endpoints, by name.
#[utoipa::path(get, path = "/", tag = "webhooks", params(EndpointQuery, Paging),
    responses((status = 200, description = "A page of endpoints", body = Page<EndpointView>)))]
async fn list_endpoints(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<EndpointQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<EndpointView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = endpoints::list(&mut session, &query.into(), paging.limit(), paging.offset()).await?;
    Ok(axum::Json(paging.page(found.into_iter().map(EndpointView::from).collect(), count)?))
}

/// One endpoint. Its secret is never shown.
#[utoipa::path(get, path = "/{id}", tag = "webhooks",
    params(("id" = Id, Path, description = "Id of the endpoint")),
    responses((status = 200, description = "The endpoint", body = EndpointView)))]
async fn show_endpoint(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<EndpointView>, Problem> {
    let found = endpoints::find(&mut api.context.db.read().await?, id).await?;
    Ok(axum::Json(found.ok_or(Problem::NotFound)?.into()))
}

/// Lets its webhooks wait. They are kept, and go out when it is resumed.
#[utoipa::path(post, path = "/{id}/pause", tag = "webhooks",
    params(("id" = Id, Path, description = "Id of the endpoint")),
    responses((status = 200, description = "The endpoint", body = EndpointView)))]
async fn pause(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<EndpointView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let endpoint = endpoints::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    if endpoint.status == Status::Disabled {
        return Err(disabled(&endpoint));
    }
    operations::pause(&mut session, &endpoint, &may.actor(), api.context.clock.now()).await?;
    let paused = endpoints::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    session.commit().await?;
    Ok(axum::Json(paused.into()))
}

/// Lets its webhooks go out again, and at once those that waited. An endpoint that was disabled because it failed, or
/// answered 410, begins again with a clean record; what was cancelled meanwhile can be replayed.
#[utoipa::path(post, path = "/{id}/resume", tag = "webhooks",
    params(("id" = Id, Path, description = "Id of the endpoint")),
    responses((status = 200, description = "The endpoint", body = EndpointView)))]
async fn resume(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<EndpointView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let endpoint = endpoints::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    if endpoint.disabled_reason == Some(DisabledReason::Owner) || !is_owner_active(&api, &mut session, id).await? {
        return Err(owner_inactive());
    }
    let rings = operations::resume(&mut session, &endpoint, &may.actor(), api.context.clock.now()).await?;
    let resumed = endpoints::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    session.commit().await?;
    api.context.ring(&rings).await;
    Ok(axum::Json(resumed.into()))
}

/// Replays of the endpoint, the newest first.
#[utoipa::path(get, path = "/{id}/replays", tag = "webhooks",
    params(("id" = Id, Path, description = "Id of the endpoint")),
    responses((status = 200, description = "The latest replays, 100 at most", body = Vec<ReplayView>)))]
async fn list_replays(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<Vec<ReplayView>>, Problem> {
    let mut session = api.context.db.read().await?;
    endpoints::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let found = replays::of_endpoint(&mut session, id, 100).await?;
    Ok(axum::Json(found.into_iter().map(ReplayView::from).collect()))
}

/// Sends deliveries again: the same bytes under the same `webhook-id`. Which ones is fixed now; what is made later is not
/// among them. It runs as a task, and `GET` on the same URL says how far it is.
#[utoipa::path(post, path = "/{id}/replays", tag = "webhooks",
    params(("id" = Id, Path, description = "Id of the endpoint")), request_body = ReplayRequest,
    responses((status = 202, description = "The replay has been ordered", body = ReplayView)))]
async fn replay(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(asked): Json<ReplayRequest>,
) -> Result<(StatusCode, axum::Json<ReplayView>), Problem> {
    let mut session = api.context.db.begin().await?;
    let endpoint = endpoints::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    if endpoint.status == Status::Disabled {
        return Err(disabled(&endpoint));
    }
    let (replay, rings) =
        operations::replay_many(&mut session, id, &asked.conditions(&endpoint), &may.actor(), api.context.clock.now())
            .await?;
    let ordered = replays::find(&mut session, replay).await?.ok_or(Problem::NotFound)?;
    session.commit().await?;
    api.context.ring(&rings).await;
    Ok((StatusCode::ACCEPTED, axum::Json(ordered.into())))
}

/// Whether the partner of an endpoint may get anything. Endpoints of other systems have no partner.
pub(super) async fn is_owner_active(api: &Api, session: &mut Session, id: Id) -> Result<bool, Problem> {
    let policy = Policy { require_kyc: api.context.config.partner_require_kyc };
    let connection = connections::of_endpoint(session, id).await?;
    Ok(connection.is_none_or(|connection| connection.standing(policy).is_active()))
}

/// Nothing goes out to it as things stand.
pub(crate) fn disabled(endpoint: &Endpoint) -> Problem {
    if endpoint.disabled_reason == Some(DisabledReason::Owner) {
        return owner_inactive();
    }
    Problem::Conflict(Conflict {
        code: "endpoint-disabled",
        title: "El endpoint está desactivado",
        detail: format!("Desactivado desde {}. Reactívelo primero con POST …/resume/.", endpoint.status_changed_at),
    })
}

fn owner_inactive() -> Problem {
    Problem::Conflict(Conflict {
        code: "owner-inactive",
        title: "El dueño del endpoint no está activo",
        detail: "Active primero su partner o su integración.".to_owned(),
    })
}

/// An endpoint for webhooks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookEndpoint)]
pub(crate) struct EndpointView {
    /// Id of the endpoint.
    id: Id,
    /// The system that sends to it: `partners` or `crm`.
    #[schema(examples("partners"))]
    system: String,
    /// Its name.
    #[schema(examples("FindyourWork"))]
    name: String,
    /// Where webhooks go.
    #[schema(examples("https://findyourwork.example.com/webhooks/partner/"))]
    url: String,
    /// Event types that it gets; null for all.
    events: Option<Vec<String>>,
    /// `active`, `paused` (webhooks wait) or `disabled` (none goes out).
    status: Status,
    /// Why it is disabled: `gone`, `failing` or `owner`.
    disabled_reason: Option<DisabledReason>,
    /// Since when it has this status.
    status_changed_at: Timestamp,
    /// When it was last disabled.
    disabled_at: Option<Timestamp>,
    /// In which form payloads travel: `python_default`, `compact` or `as_is`.
    canonical: Canonical,
    /// What stands before the hexadecimal signature.
    signature_prefix: String,
    /// Further headers with that signature.
    signature_headers: Vec<String>,
    /// Seconds that a request may take.
    timeout_seconds: i32,
    /// Seconds between attempts; null for WEBHOOK_RETRY_SCHEDULE.
    retry_schedule: Option<Vec<f64>>,
    /// Requests at a time, per worker.
    concurrency: i32,
    /// Requests per minute, per worker; null for no limit.
    rate_per_minute: Option<i32>,
    /// Whether requests carry headers of their own. Their values are secret.
    has_headers: bool,
    /// Who is told when it is disabled.
    owner_email: Option<String>,
    /// Networks in which it may be besides those of the installation.
    allowed_networks: Vec<String>,
    /// How it took them.
    health: HealthView,
    /// When it was registered.
    created_at: Timestamp,
    /// When its settings were last written.
    updated_at: Timestamp,
}

/// How an endpoint took its webhooks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookHealth)]
struct HealthView {
    /// Webhooks that arrived.
    sent: i64,
    /// Attempts that failed.
    failed: i64,
    /// When the last attempt ended.
    last_attempt_at: Option<Timestamp>,
    /// When the last webhook arrived.
    last_success_at: Option<Timestamp>,
    /// Attempts that failed since then.
    consecutive_failures: i32,
    /// The first of these.
    failing_since: Option<Timestamp>,
    /// The circuit is open: no attempt before this moment.
    open_until: Option<Timestamp>,
}

impl From<Endpoint> for EndpointView {
    fn from(endpoint: Endpoint) -> Self {
        let (has_headers, allowed_networks) = (endpoint.has_headers(), endpoint.allowed_networks().to_vec());
        let health = endpoint.health;
        Self {
            has_headers,
            allowed_networks,
            owner_email: endpoint.owner_email,
            id: endpoint.id,
            system: endpoint.system,
            name: endpoint.name,
            url: endpoint.url,
            events: endpoint.events.map(|events| events.0),
            status: endpoint.status,
            disabled_reason: endpoint.disabled_reason,
            status_changed_at: endpoint.status_changed_at,
            disabled_at: endpoint.disabled_at,
            canonical: endpoint.canonical,
            signature_prefix: endpoint.signature_prefix,
            signature_headers: endpoint.signature_headers.0,
            timeout_seconds: endpoint.timeout_seconds,
            retry_schedule: endpoint.retry_schedule.map(|schedule| schedule.0),
            concurrency: endpoint.concurrency,
            rate_per_minute: endpoint.rate_per_minute,
            health: HealthView {
                sent: health.sent_count,
                failed: health.failed_count,
                last_attempt_at: health.last_attempt_at,
                last_success_at: health.last_success_at,
                consecutive_failures: health.consecutive_failures,
                failing_since: health.failing_since,
                open_until: health.open_until,
            },
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

/// An order to send deliveries again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookReplay)]
struct ReplayView {
    /// Id of the replay and of its task.
    id: Id,
    /// The endpoint.
    endpoint_id: Id,
    /// Deliveries that were sent again so far.
    replayed: i32,
    /// When it was ordered; deliveries of later are not among them.
    created_at: Timestamp,
    /// When the last one was handed over; null while it runs.
    finished_at: Option<Timestamp>,
}

impl From<Replay> for ReplayView {
    fn from(replay: Replay) -> Self {
        let Replay { id, endpoint_id, replayed, created_at, finished_at, .. } = replay;
        Self { id, endpoint_id, replayed, created_at, finished_at }
    }
}

request! {
    /// Which endpoints to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct EndpointQuery {
        /// Only those of this system: `partners` or `crm`.
        system: Option<String>,
        /// Only this status.
        status: Option<Status>,
        /// Part of the name or of the URL, in either case.
        search: Option<String>,
    }
}

impl From<EndpointQuery> for EndpointFilter {
    fn from(EndpointQuery { system, status, search }: EndpointQuery) -> Self {
        Self { system, status, search }
    }
}

request! {
    /// Which deliveries to send again; all conditions hold together.
    #[derive(ToSchema)]
    struct ReplayRequest {
        /// Only this status: `failed` for what never arrived.
        status: Option<DeliveryStatus>,
        /// Only this type of event.
        #[schema(examples("event.updated"))]
        event_type: Option<String>,
        /// Only deliveries that were made at this moment or later.
        since: Option<Timestamp>,
        /// Only deliveries that were made before this moment.
        until: Option<Timestamp>,
        /// True: all that was cancelled since the endpoint was last disabled.
        since_disabled: bool = false,
    }
}

impl ReplayRequest {
    fn conditions(self, endpoint: &Endpoint) -> Conditions {
        let missed = self.since_disabled;
        Conditions {
            status: self.status.or(missed.then_some(DeliveryStatus::Cancelled)),
            event_type: self.event_type,
            created_from: self.since,
            created_until: self.until,
            finished_from: endpoint.disabled_at.filter(|_| missed),
        }
    }
}

impl Field for Status {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}
