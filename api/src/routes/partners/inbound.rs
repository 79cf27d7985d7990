//! Where partners send us webhooks (S000-8). The bytes are verified before anything reads them; what is verified is kept and
//! acknowledged, and takes effect afterwards.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use metrics::SharedString;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_partners::connections::{self, Connection};
use recado_partners::inbound::{self, InboundEvent, InboundFilter, NewInboundEvent};
use recado_partners::payload::SOURCE;
use recado_partners::rejected;
use recado_webhooks::dialect::{self, Received, Refusal, Signed, is_payload_fresh};
use recado_webhooks::labels;
use recado_webhooks::signature::Secret;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::policy;
use crate::auth::{May, Read};
use crate::extract::body::RawBody;
use crate::extract::json;
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{Credential, FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(receive)).routes(routes!(receive_for))
}

pub(crate) fn records() -> Routes {
    Routes::new().routes(routes!(list_inbound))
}

/// Who says that they call.
const PARTNER_HEADER: &str = "x-partner-id";

/// The longest type of an event that is kept, in characters.
const LONGEST_TYPE: usize = 100;

/// Takes a webhook in. `X-Partner-ID` says whose it is.
#[utoipa::path(post, path = "/", tag = "partner-webhooks", security(()), request_body = WebhookWrite, responses(
    (status = 200, description = "It is kept, now or before", body = Acknowledgement),
    (status = 401, description = "The signature is missing or wrong, or no partner is named"),
    (status = 403, description = "The partner is not active")))]
async fn receive(State(api): State<Arc<Api>>, body: RawBody) -> Result<axum::Json<Acknowledgement>, Problem> {
    take(&api, None, &body).await
}

/// Takes a webhook in. The reference is the partner's slug or `partner_id`, or our own slug; then `X-Partner-ID` says whose it
/// is.
#[utoipa::path(post, path = "/{reference}", tag = "partner-webhooks", security(()), request_body = WebhookWrite,
    params(("reference" = String, Path, description = "Slug or `partner_id`; or our own slug")), responses(
    (status = 200, description = "It is kept, now or before", body = Acknowledgement),
    (status = 401, description = "The signature is missing or wrong, or no partner is named"),
    (status = 403, description = "The partner is not active")))]
async fn receive_for(
    State(api): State<Arc<Api>>,
    Segment(reference): Segment<String>,
    body: RawBody,
) -> Result<axum::Json<Acknowledgement>, Problem> {
    take(&api, Some(reference), &body).await
}

async fn take(api: &Api, reference: Option<String>, body: &RawBody) -> Result<axum::Json<Acknowledgement>, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.read().await?;
    let named = named(&mut session, reference.as_deref(), &body.headers).await?;
    drop(session);
    let Some(connection) = named else {
        count(None, "unknown", None);
        return Err(WRONG);
    };
    let headers = body.header_pairs();
    let received = Received { headers: &headers, body: body.as_slice() };
    let rules = connection.rules(api.context.config.webhook_tolerance_seconds);
    let dialect = match dialect::verify(&secrets(api, &connection, now)?, &rules, received, now) {
        Ok(dialect) => dialect,
        Err(refusal) => return Err(refused(api, &connection, refusal, received, now).await),
    };
    if !connection.standing(policy(api)).may_send() {
        count(Some(&connection), "inactive", Some(dialect.signed));
        return Err(Problem::PartnerInactive);
    }
    let (text, payload) = read(body).inspect_err(|_| count(Some(&connection), "unreadable", Some(dialect.signed)))?;
    let event_type =
        event_type(&payload).inspect_err(|_| count(Some(&connection), "unreadable", Some(dialect.signed)))?;
    if !is_payload_fresh(payload["timestamp"].as_str(), dialect.signed, &rules, now) {
        return Err(refused(api, &connection, Refusal::Stale, received, now).await);
    }
    let signed = dialect.signed;
    let event = NewInboundEvent { partner: connection.partner.id, event_type: event_type.clone(), body: text, dialect };
    let mut session = api.context.db.begin().await?;
    let kept = inbound::keep(&mut session, &event, now).await?;
    session.commit().await?;
    api.context.ring(&kept.rings).await;
    count(Some(&connection), if kept.is_duplicate { "duplicate" } else { "accepted" }, Some(signed));
    Ok(axum::Json(Acknowledgement { status: "ack", event_type, duplicate: kept.is_duplicate.then_some(true) }))
}

/// Counts a webhook. What was signed names the dialect in a few words; a stranger can choose none of the labels.
fn count(connection: Option<&Connection>, verdict: &'static str, signed: Option<Signed>) {
    let partner = connection.map_or_else(
        || SharedString::const_str("none"),
        |connection| labels::of(connection.partner.id, &connection.partner.name).into(),
    );
    let dialect = signed.map_or_else(|| SharedString::const_str("none"), |signed| signed.to_string().into());
    let labels = [("partner", partner), ("verdict", verdict.into()), ("dialect", dialect)];
    metrics::counter!("recado_webhooks_received_total", &labels).increment(1);
}

/// The answer to whatever cannot be believed: it does not tell what was wrong (d22).
const WRONG: Problem = Problem::Unauthenticated(Credential::PartnerSignature);

/// The partner whose webhook it says to be (d6). `None` when no partner is named, or two are.
async fn named(
    session: &mut Session,
    reference: Option<&str>,
    headers: &HeaderMap,
) -> Result<Option<Connection>, Problem> {
    let mut ids = headers.get_all(PARTNER_HEADER).iter();
    let header = match (ids.next(), ids.next()) {
        (_, Some(_)) => return Ok(None),
        (header, None) => header.and_then(|id| id.to_str().ok()).map(str::trim),
    };
    let reference = reference.filter(|reference| *reference != SOURCE);
    let by_reference = match reference {
        Some(reference) => connections::find(session, reference).await?,
        None => None,
    };
    let by_header = match header {
        Some(id) => connections::find(session, id).await?,
        None => None,
    };
    Ok(match (reference, header) {
        (Some(_), None) => by_reference,
        (None, Some(_)) => by_header,
        (Some(_), Some(_)) => {
            by_reference.filter(|one| by_header.is_some_and(|other| other.partner.id == one.partner.id))
        }
        (None, None) => None,
    })
}

/// What a partner may sign with.
pub(crate) fn secrets(api: &Api, connection: &Connection, now: Timestamp) -> Result<Vec<Secret>, Problem> {
    let key = api.context.config.secret_key.as_ref().ok_or(Problem::Unavailable)?;
    connection.inbound_secrets(key, now).map_err(|error| {
        tracing::error!(partner.id = %connection.partner.id, "the secret of partner {} cannot be read: {error}", connection.partner.id);
        Problem::Unavailable
    })
}

/// The sender learns nothing; its partner's people find in the debugger what was wrong.
async fn refused(
    api: &Api,
    connection: &Connection,
    refusal: Refusal,
    received: Received<'_>,
    now: Timestamp,
) -> Problem {
    let partner = connection.partner.id;
    count(Some(connection), refusal.word(), None);
    tracing::warn!(partner.id = %partner, "a webhook in the name of partner {partner} is refused: {refusal}");
    if api.rejections.admit(partner, now)
        && let Err(error) = keep_rejected(api, partner, refusal, received, now).await
    {
        tracing::warn!(partner.id = %partner, %error, "a webhook that was refused could not be kept: {error}");
    }
    WRONG
}

async fn keep_rejected(
    api: &Api,
    partner: Id,
    refusal: Refusal,
    received: Received<'_>,
    now: Timestamp,
) -> db::Result<()> {
    let mut session = api.context.db.begin().await?;
    rejected::keep(&mut session, partner, refusal, received.headers, received.body, now).await?;
    session.commit().await
}

fn read(body: &RawBody) -> Result<(String, Value), Problem> {
    let value = json::parse(body.as_slice()).map_err(Problem::Malformed)?;
    let text = std::str::from_utf8(body.as_slice())
        .map_err(|_| Problem::Malformed("El cuerpo no es UTF-8.".to_owned()))?
        .replace('\0', "");
    Ok((text, value))
}

fn event_type(payload: &Value) -> Result<String, Problem> {
    let wrong = |error: &str| FieldErrors::one("event_type", error).into();
    match &payload["event_type"] {
        Value::String(text) if text.trim().is_empty() => Err(wrong("Este campo no puede estar en blanco.")),
        Value::String(text) if text.chars().count() > LONGEST_TYPE || text.contains(char::is_control) => {
            Err(wrong("Asegúrese de que este campo no tenga más de 100 caracteres, sin caracteres de control."))
        }
        Value::String(text) => Ok(text.clone()),
        Value::Null => Err(wrong("Este campo es requerido.")),
        _ => Err(wrong("No es una cadena válida.")),
    }
}

/// Webhooks that partners sent, the newest first, each with the dialect in which it was signed.
#[utoipa::path(get, path = "/", tag = "webhooks", params(InboundQuery, Paging),
    responses((status = 200, description = "A page of webhooks", body = Page<InboundView>)))]
async fn list_inbound(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<InboundQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<InboundView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = inbound::list(&mut session, &query.into(), paging.limit(), paging.offset()).await?;
    Ok(axum::Json(paging.page(found.into_iter().map(InboundView::from).collect(), count)?))
}

/// A webhook of a partner. Its bytes are verified before it is read; fields that are not named here are kept too.
#[derive(ToSchema)]
#[schema(as = PartnerWebhook)]
#[expect(dead_code, reason = "it describes what `event_type` and the itinerary read")]
struct WebhookWrite {
    /// The type of the event. `service.…` and `provider.…` take effect, others are kept.
    #[schema(min_length = 1, max_length = 100, examples("service.booked_for_event"))]
    event_type: String,
    /// When it happened. It is looked at where the partner has a tolerance.
    #[schema(examples("2026-01-19T16:00:00Z"))]
    timestamp: Option<Value>,
    /// Who sends it.
    #[schema(examples("findyourwork"))]
    source: Option<Value>,
    /// What happened.
    #[schema(examples(json!({"external_event_id": "RES-2026-001", "service_name": "DJ Profesional", "price": 250.0})))]
    data: Option<Value>,
}

/// The answer to a partner.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAcknowledgement)]
struct Acknowledgement {
    /// Always `ack`.
    #[schema(examples("ack"))]
    status: &'static str,
    /// The type of the event.
    #[schema(examples("service.booked_for_event"))]
    event_type: String,
    /// True: this very webhook was here before. Left out otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
}

/// A webhook that a partner sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InboundWebhook)]
struct InboundView {
    /// Id of the webhook, and of its task.
    id: Id,
    /// The partner, by its id in the registry.
    partner: Id,
    /// The type of the event.
    event_type: String,
    /// How it was signed.
    #[schema(examples("raw body in x-partner-signature"))]
    dialect: String,
    /// When it came.
    received_at: Timestamp,
    /// When it took effect; null: it waits, or its type means nothing here.
    processed_at: Option<Timestamp>,
}

impl From<InboundEvent> for InboundView {
    fn from(event: InboundEvent) -> Self {
        let InboundEvent { id, partner, event_type, dialect, received_at, processed_at, .. } = event;
        Self { id, partner, event_type, dialect, received_at, processed_at }
    }
}

request! {
    /// Which webhooks to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct InboundQuery {
        /// Only those of this partner, by its id in the registry.
        partner: Option<Id>,
        /// Only this type of event.
        event_type: Option<String>,
    }
}

impl From<InboundQuery> for InboundFilter {
    fn from(InboundQuery { partner, event_type }: InboundQuery) -> Self {
        Self { partner, event_type }
    }
}
