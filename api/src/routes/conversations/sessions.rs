//! The session of the WhatsApp bridge: how it is, its QR code, and starting it again (S003-4, S003-5).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use recado_conversations::bridge::{Bridge, Failure};
use recado_conversations::health::Verdict;
use recado_conversations::pacing::Pacing;
use recado_conversations::sessions::{self, BRIDGE, Opinion, Status, Told, WhatsappSession};
use recado_conversations::{bridge, operations, sends};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::qr::Drawing;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::operation_problem;
use crate::auth::{Admin, May};
use crate::extract::fields::{Field, choice};
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

/// A session that no one has looked at for so long may be in any state.
const UNSEEN: Duration = Duration::from_secs(5 * 60);

/// Seconds between two looks of the worker.
const LOOKED_AT_EVERY: &str = "45";

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show)).routes(routes!(health)).routes(routes!(qr)).routes(routes!(restart))
}

/// The session, and what the bridge says of itself at this moment. A bridge that does not answer is not ready.
///
/// `health` says whether a message would leave: a bridge may call itself connected while nothing does.
#[utoipa::path(get, path = "/status", tag = "conversations",
    responses((status = 200, description = "How it stands", body = SessionStatus)))]
async fn show(_: May<Admin>, State(api): State<Arc<Api>>) -> Result<axum::Json<SessionStatus>, Problem> {
    let asked = match api.whatsapp.bridge() {
        Some(bridge) => bridge.status().await,
        None => Err(Failure::Unreachable("WHATSAPP_SERVICE_URL is not set".to_owned())),
    };
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    match (&asked, api.whatsapp.bridge()) {
        (Ok(status), _) => sessions::observe(&mut session, BRIDGE, status, now).await?,
        (Err(_), Some(_)) => sessions::miss(&mut session, BRIDGE, now).await?,
        (Err(_), None) => {}
    }
    let known = sessions::find(&mut session, BRIDGE).await?;
    let health = match &known {
        Some(known) if known.status == Status::Connected => {
            let opinion = sessions::judge(&mut session, known, now).await?;
            sessions::keep(&mut session, BRIDGE, &opinion, now).await?;
            Some(opinion)
        }
        _ => None,
    };
    let lately = sends::lately(&mut session, BRIDGE, now).await?;
    session.commit().await?;
    let since = known.as_ref().map(|known| known.created_at);
    let pacing = Pacing::of(&api.context.config.conversations);
    let limit = pacing.limit_at(since, now);
    Ok(axum::Json(SessionStatus {
        service_status: asked.into(),
        health: HealthView::of(known.as_ref(), health),
        pacing: PacingView {
            sent_last_24_hours: lately.last_day,
            limit_24_hours: limit,
            reserved_for_operators: limit.map(|_| pacing.reserve_at(since, now)),
        },
        session: known.map(SessionView::from),
    }))
}

/// Whether a message would leave, for a monitor: the status says it. The bridge is not asked; a worker does that every 45 seconds, and
/// where none has for five minutes, nothing is known.
#[utoipa::path(get, path = "/health", tag = "conversations", responses(
    (status = 200, description = "It would, as far as anybody knows", body = HealthView),
    (status = 503, description = "It would not, or no worker has looked lately", body = HealthView)))]
async fn health(_: May<Admin>, State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.read().await?;
    let known = sessions::find(&mut session, BRIDGE).await?;
    let opinion = match &known {
        Some(known) if known.status == Status::Connected => Some(sessions::judge(&mut session, known, now).await?),
        _ => None,
    };
    let mut view = HealthView::of(known.as_ref(), opinion);
    let seen = known.and_then(|known| known.last_seen_at);
    if view.sound && seen.is_none_or(|seen| now.since(seen) > UNSEEN) {
        view.sound = false;
        view.warnings.push("not_watched");
    }
    if view.sound {
        return Ok(axum::Json(view).into_response());
    }
    let later = [(RETRY_AFTER, LOOKED_AT_EVERY)];
    Ok((StatusCode::SERVICE_UNAVAILABLE, later, axum::Json(view)).into_response())
}

/// The QR code that waits to be scanned: as text, or drawn with `?format=svg`, `?format=png` or the header `Accept`.
#[utoipa::path(get, path = "/qr", tag = "conversations", params(QrQuery), responses(
    (status = 200, description = "The code; null when there is none", content(
        (QrAnswer = "application/json"), (String = "image/svg+xml"), (Vec<u8> = "image/png"))),
    (status = 404, description = "An image was asked for, and there is no code")))]
async fn qr(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Query(QrQuery { format }): Query<QrQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let qr = current_qr(&api).await?;
    let format = format.unwrap_or_else(|| accepted(&headers));
    // A code is good for some twenty seconds, and lets anyone in who scans it.
    let fresh = [(CACHE_CONTROL, "no-store")];
    if format == Format::Json {
        return Ok((fresh, axum::Json(QrAnswer { qr })).into_response());
    }
    let drawing = qr.as_deref().and_then(Drawing::of);
    let drawing = drawing.ok_or_else(|| Problem::Nothing("No hay ningún código QR por escanear.".to_owned()))?;
    Ok(match format {
        Format::Png => (fresh, [(CONTENT_TYPE, "image/png")], drawing.png()).into_response(),
        Format::Svg | Format::Json => (fresh, [(CONTENT_TYPE, "image/svg+xml")], drawing.svg()).into_response(),
    })
}

/// Starts the bridge's session again: a telephone that is linked connects again, and one that is not gets a new QR code.
#[utoipa::path(post, path = "/restart", tag = "conversations", responses(
    (status = 202, description = "It starts", body = Restarted),
    (status = 503, description = "There is no bridge, or it does not do it")))]
async fn restart(may: May<Admin>, State(api): State<Arc<Api>>) -> Result<(StatusCode, axum::Json<Restarted>), Problem> {
    let bridge = super::bridge_of(&api)?;
    operations::restart(&api.context, bridge, &may.actor()).await.map_err(operation_problem)?;
    Ok((StatusCode::ACCEPTED, axum::Json(Restarted { success: true })))
}

/// What the bridge shows now; what it told last, when it cannot be asked.
async fn current_qr(api: &Arc<Api>) -> Result<Option<String>, Problem> {
    if let Some(Ok(qr)) = ask_qr(api.whatsapp.bridge()).await {
        if let Some(qr) = &qr {
            let mut session = api.context.db.begin().await?;
            let known = sessions::find(&mut session, BRIDGE).await?;
            if known.and_then(|known| known.qr_code).as_ref() != Some(qr) {
                sessions::tell(&mut session, &Told::Qr { qr: qr.clone() }, api.context.clock.now()).await?;
            }
            session.commit().await?;
        }
        return Ok(qr);
    }
    let known = sessions::find(&mut api.context.db.read().await?, BRIDGE).await?;
    Ok(known.filter(|known| known.status == Status::QrPending).and_then(|known| known.qr_code))
}

async fn ask_qr(bridge: Option<&Bridge>) -> Option<Result<Option<String>, Failure>> {
    Some(bridge?.qr().await)
}

fn accepted(headers: &HeaderMap) -> Format {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    // Browsers ask for many kinds of image at once, after a page; a script asks for one thing.
    let first = accept.split(',').next().unwrap_or_default().trim();
    match first.split(';').next().unwrap_or_default().trim() {
        "image/svg+xml" => Format::Svg,
        "image/png" | "image/*" => Format::Png,
        _ => Format::Json,
    }
}

/// How a QR code is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = QrFormat, rename_all = "snake_case")]
enum Format {
    Json,
    Svg,
    Png,
}

impl Format {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

impl Field for Format {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, [Self::Json, Self::Svg, Self::Png], Self::as_str)
    }
}

request! {
    /// How a QR code is answered.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct QrQuery {
        /// `json`, `svg` or `png`; by default as `Accept` says, else `json`.
        #[param(inline)]
        format: Option<Format>,
    }
}

/// The QR code.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappQr)]
struct QrAnswer {
    /// The text that a QR code is drawn from; null when none waits.
    #[schema(required)]
    qr: Option<String>,
}

/// The session starts again.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappRestarted)]
struct Restarted {
    /// Always true.
    success: bool,
}

/// How the session of WhatsApp stands.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappStatus)]
struct SessionStatus {
    /// What the bridge said a moment ago.
    service_status: ServiceStatus,
    /// The session as it is kept; null when no bridge was ever heard of.
    #[schema(required)]
    session: Option<SessionView>,
    /// Whether a message would leave.
    health: HealthView,
    /// How much was sent, and how much may be.
    pacing: PacingView,
}

/// What the bridge says of itself.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappServiceStatus)]
struct ServiceStatus {
    /// WhatsApp is connected at the bridge.
    #[serde(rename = "isReady")]
    is_ready: bool,
    /// As the owner of the telephone calls herself, in spite of its name.
    #[schema(examples("Tuki Tours"), required)]
    number: Option<String>,
    /// Digits.
    #[schema(examples("593999000111"), required)]
    phone_number: Option<String>,
    /// A QR code waits to be scanned.
    #[serde(rename = "hasQR")]
    has_qr: bool,
    /// Why it could not be asked; absent when it could.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<Result<bridge::Status, Failure>> for ServiceStatus {
    fn from(asked: Result<bridge::Status, Failure>) -> Self {
        let (status, error) = match asked {
            Ok(status) => (status, None),
            Err(failure) => (bridge::Status::default(), Some(failure.to_string())),
        };
        let bridge::Status { is_ready, push_name, phone_number, has_qr, is_connecting: _ } = status;
        Self { is_ready, number: push_name, phone_number, has_qr, error }
    }
}

/// The session as it is kept.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappSession)]
struct SessionView {
    /// Id of the session.
    id: Id,
    /// `disconnected`, `qr_pending`, `connected` or `expired`.
    #[schema(value_type = String, examples("connected"))]
    status: Status,
    /// Digits of the telephone; the last that were told.
    #[schema(required)]
    phone_number: Option<String>,
    /// As its owner calls herself.
    #[schema(required)]
    name: Option<String>,
    /// When the bridge last gave a sign of life.
    #[schema(required)]
    last_seen: Option<Timestamp>,
    /// The QR code that waits to be scanned.
    #[schema(required)]
    qr_code: Option<String>,
    /// When it was last connected.
    #[schema(required)]
    connected_at: Option<Timestamp>,
    /// When it was last lost.
    #[schema(required)]
    lost_at: Option<Timestamp>,
}

impl From<WhatsappSession> for SessionView {
    fn from(session: WhatsappSession) -> Self {
        Self {
            id: session.id,
            status: session.status,
            phone_number: session.phone_number,
            name: session.push_name,
            last_seen: session.last_seen_at,
            qr_code: session.qr_code,
            connected_at: session.connected_at,
            lost_at: session.lost_at,
        }
    }
}

/// Whether a message would leave.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappHealth)]
struct HealthView {
    /// It would, as far as anybody knows.
    sound: bool,
    /// What there is to be warned of: `not_connected`, `zombie`, `on_trial`, `no_echo_ever`, `silent`, `not_watched`.
    #[schema(examples(json!(["zombie"])))]
    warnings: Vec<&'static str>,
    /// Texts that were given to the bridge and should be back by now.
    unconfirmed: i64,
    /// The latest that came back.
    #[schema(required)]
    last_confirmed_at: Option<Timestamp>,
    /// Connected by its own word, and nothing leaves: since when.
    #[schema(required)]
    zombie_since: Option<Timestamp>,
}

impl HealthView {
    fn of(known: Option<&WhatsappSession>, opinion: Option<Opinion>) -> Self {
        let Some(opinion) = opinion else {
            let zombie_since = known.and_then(|known| known.zombie_since);
            let warnings = vec!["not_connected"];
            return Self { sound: false, warnings, unconfirmed: 0, last_confirmed_at: None, zombie_since };
        };
        let zombie_since = match opinion.verdict {
            Verdict::Zombie { since } | Verdict::OnTrial { since } => Some(since),
            Verdict::Sound | Verdict::Unproven => None,
        };
        Self {
            sound: opinion.verdict.is_used(),
            warnings: opinion.warnings(),
            unconfirmed: opinion.unconfirmed,
            last_confirmed_at: opinion.last_confirmed,
            zombie_since,
        }
    }
}

/// How much was sent, and how much may be.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappPacing)]
struct PacingView {
    /// Messages that left through the bridge within 24 hours.
    sent_last_24_hours: i64,
    /// How many may, by `WHATSAPP_DAILY_LIMIT` and the age of the number here; null is no limit.
    #[schema(required)]
    limit_24_hours: Option<u32>,
    /// How many of them only notices to operators may use: a tenth. Null is no limit.
    #[schema(required)]
    reserved_for_operators: Option<u32>,
}
