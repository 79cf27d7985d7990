//! The portal: pages on which a partner sees its own webhooks, sends them again, rotates its secret and tests its signature.
//!
//! There is no login: a link that staff made is the permission ([`recado_webhooks::portal`]). Its token stays in the address bar
//! for one page, which puts it into a cookie and goes on. Pages work without scripts, and load nothing from elsewhere. Everything
//! is asked for by the partner of the pass; the id of something else's is an id of nothing.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, REFERRER_POLICY,
    SET_COOKIE, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::NaiveDateTime;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_partners::connections::{self, Connection};
use recado_partners::events::PortalAction;
use recado_partners::payload::payload;
use recado_partners::standing::{Policy, Standing};
use recado_partners::{partners, portal, registration};
use recado_webhooks::debugger::{self, Question, Report, Reveal, Tried};
use recado_webhooks::deliveries::attempts::{self, Attempt};
use recado_webhooks::deliveries::{self, Delivery, DeliveryFilter, Status as DeliveryStatus};
use recado_webhooks::dialect::{self, Received, Refusal};
use recado_webhooks::endpoints::{self, DisabledReason, Endpoint, Status};
use recado_webhooks::portal::{LONGEST_LIFETIME, PATH, Pass, SHORTEST_LIFETIME, USUAL_LIFETIME};
use recado_webhooks::replays::{self, Conditions, Replay};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::{Url, form_urlencoded};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::outcome::{self, TEST_PATIENCE};
use crate::auth::{Admin, May};
use crate::client;
use crate::extract::body::{Json, RawBody};
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::observe;
use crate::problem::{Conflict, FieldErrors, Problem};
use crate::state::{Api, Routes};

/// Links, for staff.
pub(crate) fn links() -> Routes {
    Routes::new().routes(routes!(create_link)).routes(routes!(revoke_links))
}

/// The pages.
pub(crate) fn pages() -> Routes {
    Routes::new()
        .route("/", get(overview))
        .route("/enter/{token}", get(enter))
        .route("/leave", post(leave))
        .route("/deliveries/{id}", get(show_delivery))
        .route("/deliveries/{id}/replay", post(replay_delivery))
        .route("/replays", post(replay_many))
        .route("/test", post(send_test))
        .route("/resume", post(resume))
        .route("/secret", post(rotate_secret))
        .route("/signature", get(signature_form).post(test_signature))
        .route("/style.css", get(style))
}

/// Makes a link under which a partner sees its own deliveries, sends them again, rotates its secret and tests its signature. Who
/// has the link needs no key: send it to the partner alone. It is good for 24 hours where nothing else is said, 7 days at most.
#[utoipa::path(post, path = "/", tag = "webhooks", operation_id = "create_portal_link", request_body = PortalLinkRequest, responses(
    (status = 201, description = "The link", body = PortalLink),
    (status = 404, description = "There is no such partner with webhooks"),
    (status = 409, description = "PUBLIC_URL or SECRET_KEY is not set, or the partner is deleted")))]
async fn create_link(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Json(asked): Json<PortalLinkRequest>,
) -> Result<(StatusCode, axum::Json<PortalLink>), Problem> {
    let config = &api.context.config;
    let missing = |name| {
        let detail = format!("Falta {name} en el entorno: sin ella no hay enlaces al portal.");
        Problem::Conflict(Conflict { code: "portal-not-configured", title: "El portal no está configurado", detail })
    };
    let public_url = config.public_url.as_deref().ok_or_else(|| missing("PUBLIC_URL"))?;
    let key = config.secret_key.as_ref().ok_or_else(|| missing("SECRET_KEY"))?;
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    let connection = named(&mut session, &asked.partner_id).await?;
    if connection.partner.status == partners::Status::Deleted {
        return Err(Problem::Conflict(Conflict {
            code: "partner-deleted",
            title: "El partner está eliminado",
            detail: "Un partner eliminado no tiene portal.".to_owned(),
        }));
    }
    let pass = portal::pass(&connection, asked.lifetime(), now);
    let rings = portal::record(&mut session, connection.partner.id, PortalAction::EnlaceCreado, None, now).await?;
    session.commit().await?;
    api.context.ring(&rings).await;
    Ok((StatusCode::CREATED, axum::Json(PortalLink { url: pass.url(public_url, key), expires_at: pass.expires_at })))
}

/// Makes all links useless that a partner was given so far.
#[utoipa::path(delete, path = "/{partner_id}", tag = "webhooks", operation_id = "revoke_portal_links",
    params(("partner_id" = String, Path, description = "Id of the partner, its slug or its `partner_id`")), responses(
    (status = 204, description = "They open nothing any more"),
    (status = 404, description = "There is no such partner with webhooks")))]
async fn revoke_links(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(partner_id): Segment<String>,
) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let connection = named(&mut session, &partner_id).await?;
    let rings = portal::revoke(&mut session, connection.partner.id, api.context.clock.now()).await?;
    session.commit().await?;
    api.context.ring(&rings).await;
    Ok(StatusCode::NO_CONTENT)
}

/// The partner of this id, slug or `partner_id`.
async fn named(session: &mut Session, reference: &str) -> Result<Connection, Problem> {
    let found = match reference.parse::<Id>() {
        Ok(id) => connections::of_partner(session, id).await?,
        Err(_) => connections::find(session, reference).await?,
    };
    let sentence = format!("No hay ningún partner con webhooks \"{}\".", reference.escape_debug());
    found.ok_or(Problem::Nothing(sentence))
}

request! {
    /// A link to the portal that is to be made.
    #[derive(ToSchema)]
    struct PortalLinkRequest {
        /// Id of the partner, its slug or its `partner_id`.
        #[schema(min_length = 1, max_length = 255, examples("findyourwork"))]
        partner_id: String,
        /// For how long it is good.
        #[schema(minimum = 60, maximum = 604800, default = 86400, examples(86400))]
        expires_in_seconds: Option<i64>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let (shortest, longest) = (SHORTEST_LIFETIME.as_secs() as i64, LONGEST_LIFETIME.as_secs() as i64);
        let is_wrong = self.expires_in_seconds.is_some_and(|seconds| !(shortest..=longest).contains(&seconds));
        let error = format!("Debe estar entre {shortest} (un minuto) y {longest} (siete días).");
        is_wrong.then_some(("expires_in_seconds", error)).into_iter().collect()
    }
}

impl PortalLinkRequest {
    fn lifetime(&self) -> Duration {
        self.expires_in_seconds.map_or(USUAL_LIFETIME, |seconds| Duration::from_secs(seconds.unsigned_abs()))
    }
}

/// A link to the portal of a partner.
#[derive(Serialize, ToSchema)]
struct PortalLink {
    /// Where it leads. It is a secret: who has it acts for the partner.
    #[schema(examples("https://avisos.example.com/portal/enter/AZ…"))]
    url: String,
    /// Until when it is good.
    expires_at: Timestamp,
}

/// The language of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Spanish,
    English,
}

impl Language {
    /// The first that is asked for and that we have; Spanish where nothing is.
    fn of(headers: &HeaderMap) -> Self {
        let asked = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut wished: Vec<(&str, f32)> = asked
            .split(',')
            .filter_map(|one| {
                let (tag, rest) = one.split_once(';').unwrap_or((one, ""));
                let quality =
                    rest.trim().strip_prefix("q=").map_or(Some(1.0), |quality| quality.trim().parse().ok())?;
                Some((tag.trim(), quality))
            })
            .filter(|(_, quality)| *quality > 0.0)
            .collect();
        // Stable, so of equal wishes the first one counts.
        wished.sort_by(|a, b| b.1.total_cmp(&a.1));
        let known =
            |(tag, _): &(&str, f32)| match tag.split('-').next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "es" => Some(Self::Spanish),
                "en" => Some(Self::English),
                _ => None,
            };
        wished.iter().find_map(known).unwrap_or(Self::Spanish)
    }

    fn t<'t>(self, spanish: &'t str, english: &'t str) -> &'t str {
        match self {
            Self::Spanish => spanish,
            Self::English => english,
        }
    }
}

/// What all pages have.
struct Frame {
    language: Language,
    /// Where the portal is, without a slash at its end.
    base: String,
    /// Whose it is.
    name: String,
    /// Until when the link is good; empty where there is none.
    until: String,
}

impl Frame {
    fn t<'t>(&self, spanish: &'t str, english: &'t str) -> &'t str {
        self.language.t(spanish, english)
    }
}

/// Where browsers find the portal: a proxy may have put all of the API below a path of its own.
fn base(api: &Api) -> String {
    let public = api.context.config.public_url.as_deref().and_then(|url| Url::parse(url).ok());
    format!("{}{PATH}", public.as_ref().map_or("", |url| url.path().trim_end_matches('/')))
}

/// A partner, by the pass in its cookie.
struct Visitor {
    frame: Frame,
    connection: Connection,
    endpoint: Endpoint,
}

const COOKIE_NAME: &str = "recado_portal";

impl FromRequestParts<Arc<Api>> for Visitor {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refused> {
        let frame = Frame {
            language: Language::of(&parts.headers),
            base: base(api),
            name: String::new(),
            until: String::new(),
        };
        match visitor(parts, api, frame.language).await {
            Ok(Some(visitor)) => Ok(visitor),
            Ok(None) => Err(Refused::no_pass(frame)),
            Err(problem) => Err(Refused::problem(frame, problem)),
        }
    }
}

async fn visitor(parts: &Parts, api: &Api, language: Language) -> Result<Option<Visitor>, Problem> {
    observe::acts("portal");
    let Some(pass) = cookies(&parts.headers).find_map(|token| read(api, token)) else {
        api.limits.admit(None, parts)?;
        return Ok(None);
    };
    // Each partner is a caller of its own.
    api.limits.admit(Some(&format!("portal:{}", pass.owner)), parts)?;
    let mut session = api.context.db.read().await?;
    let Some(connection) = portal::admit(&mut session, pass).await? else { return Ok(None) };
    let endpoint = endpoints::find(&mut session, connection.endpoint_id).await?.ok_or(Problem::NotFound)?;
    let until = moment(api, pass.expires_at);
    let frame = Frame { language, base: base(api), name: connection.partner.name.clone(), until };
    Ok(Some(Visitor { frame, connection, endpoint }))
}

fn read(api: &Api, token: &str) -> Option<Pass> {
    Pass::read(token, api.context.config.secret_key.as_ref()?, api.context.clock.now())
}

/// The values of our cookie. A browser may send several, of paths that lie in each other.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    })
}

/// A partner that does something, from a page of the portal itself.
struct Actor(Visitor);

impl FromRequestParts<Arc<Api>> for Actor {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refused> {
        let visitor = Visitor::from_request_parts(parts, api).await?;
        if is_our_page(parts, api.context.config.public_url.as_deref()) {
            return Ok(Self(visitor));
        }
        let frame = visitor.frame;
        let text = frame.t(
            "La solicitud vino de otra página. Ábrala desde el portal.",
            "The request came from another page. Make it from the portal.",
        );
        Err(Refused { status: StatusCode::FORBIDDEN, text: text.to_owned(), frame, back: true })
    }
}

/// Whether a form was sent by a page of ours. Browsers say from where they send, over TLS and on this machine by
/// `Sec-Fetch-Site`, otherwise by `Origin`; what says neither is no browser, and carries the cookie on purpose.
fn is_our_page(parts: &Parts, public_url: Option<&str>) -> bool {
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = header("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = header(ORIGIN.as_str()) else { return true };
    let ours = public_url.and_then(|url| Url::parse(url).ok()).map(|url| url.origin().ascii_serialization());
    let of_host = origin.split_once("://").is_some_and(|(_, authority)| authority == client::host(parts));
    of_host || ours.is_some_and(|ours| ours == origin)
}

/// Why there is no page, as a page.
struct Refused {
    status: StatusCode,
    frame: Frame,
    text: String,
    /// Whether there is something to go back to.
    back: bool,
}

impl Refused {
    fn no_pass(frame: Frame) -> Self {
        let text = frame.t(
            "Este enlace no vale, ya venció o fue revocado. Pida uno nuevo a quien se lo envió.",
            "This link is not good, is over, or was revoked. Ask for a new one where you got it.",
        );
        Self { status: StatusCode::UNAUTHORIZED, text: text.to_owned(), frame, back: false }
    }

    fn problem(frame: Frame, problem: Problem) -> Self {
        let status = problem.into_response().status();
        let text = match status {
            StatusCode::NOT_FOUND => {
                frame.t("Aquí no hay nada con este nombre.", "There is nothing of this name here.")
            }
            StatusCode::TOO_MANY_REQUESTS => {
                frame.t("Son demasiadas solicitudes. Espere un minuto.", "These are too many requests. Wait a minute.")
            }
            StatusCode::PAYLOAD_TOO_LARGE => frame.t("El texto supera 1 MiB.", "The text is larger than 1 MiB."),
            _ => frame.t("No se pudo. Intente de nuevo en un momento.", "It did not work. Try again in a moment."),
        };
        Self { status, text: text.to_owned(), frame, back: true }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let title = self.frame.t("No se puede", "Not possible").to_owned();
        page(self.status, &MessagePage { frame: self.frame, title, text: self.text, back: self.back })
    }
}

/// A page that loads its style from us and nothing else, and is kept nowhere.
fn page(status: StatusCode, template: &impl Template) -> Response {
    let Ok(html) = template.render() else { return Problem::Panicked.into_response() };
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (VARY, "accept-language, cookie"),
        // Without any, browsers would send forms with `Origin: null`.
        (REFERRER_POLICY, "same-origin"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    (status, headers, html).into_response()
}

/// On to another page of the portal.
fn go(frame: &Frame, path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, format!("{}{path}", frame.base)), (CACHE_CONTROL, "no-store".to_owned())])
        .into_response()
}

async fn style() -> Response {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=3600")];
    (headers, include_str!("../../../templates/portal/style.css")).into_response()
}

/// Puts the token into a cookie. The page then leads on by itself: a redirect would come from where the link stood, and the
/// browser would keep a cookie to itself that is for our own pages only.
async fn enter(State(api): State<Arc<Api>>, Segment(token): Segment<String>, headers: HeaderMap) -> Response {
    let frame = Frame { language: Language::of(&headers), base: base(&api), name: String::new(), until: String::new() };
    let admitted = match read(&api, &token) {
        Some(pass) => async { portal::admit(&mut api.context.db.read().await?, pass).await }
            .await
            .map(|found| found.map(|_| pass)),
        None => Ok(None),
    };
    let pass = match admitted {
        Ok(Some(pass)) => pass,
        Ok(None) => return Refused::no_pass(frame).into_response(),
        Err(error) => return Refused::problem(frame, error.into()).into_response(),
    };
    let lasts = pass.expires_at.since(api.context.clock.now()).as_secs();
    let cookie = set_cookie(&api, &frame, &token, lasts);
    let mut response = page(StatusCode::OK, &EnterPage { frame });
    response.headers_mut().extend(cookie.parse().ok().map(|cookie| (SET_COOKIE, cookie)));
    response
}

fn set_cookie(api: &Api, frame: &Frame, value: &str, seconds: u64) -> String {
    let is_secure = api.context.config.public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={value}; Path={}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", frame.base)
}

/// Forgets the pass on this browser. The link stays good.
async fn leave(State(api): State<Arc<Api>>, Actor(visitor): Actor) -> Response {
    let frame = visitor.frame;
    let cookie = set_cookie(&api, &frame, "", 0);
    let title = frame.t("Hasta luego", "Goodbye").to_owned();
    let text =
        frame.t("Este navegador ya no abre su portal.", "This browser does not open your portal any more.").to_owned();
    let mut response = page(StatusCode::OK, &MessagePage { frame, title, text, back: false });
    response.headers_mut().extend(cookie.parse().ok().map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// Deliveries on a page.
const PAGE: i64 = 25;

/// The last page that is shown; filters lead further back.
const LAST_PAGE: i64 = 400;

/// Replays that are shown.
const REPLAYS: i64 = 3;

/// The type of an event that only tests have.
const TEST_EVENT: &str = "webhook.test";

async fn overview(State(api): State<Arc<Api>>, visitor: Visitor, parts: Parts) -> Result<Response, Refused> {
    let query = Form::read(parts.uri.query().unwrap_or_default().as_bytes());
    show_overview(&api, visitor, &query, StatusCode::OK, String::new()).await
}

async fn show_overview(
    api: &Api,
    visitor: Visitor,
    query: &Form,
    status: StatusCode,
    mut error: String,
) -> Result<Response, Refused> {
    let Visitor { frame, connection, endpoint } = visitor;
    let asked = Asked::read(api, &frame, query, endpoint.id);
    error.extend(asked.errors.iter().map(|error| format!("{error} ")));
    let found = async {
        let mut session = api.context.db.read().await?;
        let page = deliveries::list(&mut session, &asked.filter, PAGE, PAGE * (asked.page - 1)).await?;
        db::Result::Ok((page, replays::of_endpoint(&mut session, endpoint.id, REPLAYS).await?))
    };
    let ((found, count), replays) = match found.await {
        Ok(found) => found,
        Err(error) => return Err(Refused::problem(frame, error.into())),
    };
    let standing = connection.standing(policy(api)).with_endpoint(&endpoint);
    let has_more = PAGE * asked.page < count && asked.page < LAST_PAGE;
    let statuses = DeliveryStatus::ALL.iter().map(|status| Choice {
        word: status.as_str(),
        label: delivery_status(frame.language, *status).0,
        chosen: asked.filter.status == Some(*status),
    });
    let events = endpoint.events.as_ref().map(|events| events.0.clone()).unwrap_or_default();
    let overview = OverviewPage {
        done: done(frame.language, query.get("done")),
        error: error.trim_end().to_owned(),
        statuses: statuses.collect(),
        count,
        zone: api.context.config.time_zone.to_string(),
        deliveries: found.iter().map(|delivery| DeliveryRow::of(api, frame.language, delivery)).collect(),
        newer: if asked.page > 1 { asked.query(asked.page - 1) } else { String::new() },
        older: if has_more { asked.query(asked.page + 1) } else { String::new() },
        since: local(api, api.context.clock.now() - Duration::from_secs(24 * 60 * 60)),
        replays: replays.iter().map(|replay| ReplayRow::of(api, replay)).collect(),
        tests: std::iter::once(TEST_EVENT.to_owned()).chain(events).collect(),
        endpoint: EndpointView::of(api, frame.language, &endpoint, standing),
        filter: asked.shown,
        frame,
    };
    Ok(page(status, &overview))
}

async fn show_delivery(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    id: Result<Segment<Id>, Problem>,
    parts: Parts,
) -> Result<Response, Refused> {
    let query = Form::read(parts.uri.query().unwrap_or_default().as_bytes());
    let done = done(visitor.frame.language, query.get("done"));
    show_one(&api, visitor, id, StatusCode::OK, done, String::new()).await
}

async fn show_one(
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
        next_attempt: delivery.next_attempt_at.map(|at| moment(api, at)).unwrap_or_default(),
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
async fn own(session: &mut Session, endpoint: &Endpoint, id: Id) -> Result<Delivery, Problem> {
    let delivery = deliveries::find(session, id).await?;
    delivery.filter(|delivery| delivery.endpoint_id == endpoint.id).ok_or(Problem::NotFound)
}

async fn replay_delivery(
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
        rings.extend(portal::record(&mut session, partner, PortalAction::EntregaReenviada, Some(again.id), now).await?);
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

/// Why nothing goes out to this partner now, as a sentence.
fn stopped(api: &Api, visitor: &Visitor) -> Option<String> {
    let standing = visitor.connection.standing(policy(api)).with_endpoint(&visitor.endpoint);
    (!standing.is_active()).then(|| explanation(visitor.frame.language, standing).to_owned())
}

fn policy(api: &Api) -> Policy {
    Policy { require_kyc: api.context.config.partner_require_kyc }
}

async fn replay_many(
    State(api): State<Arc<Api>>,
    Actor(visitor): Actor,
    body: Result<RawBody, Problem>,
) -> Result<Response, Refused> {
    let form = form(body, &visitor)?;
    let since = form.get("since");
    let from = if since.is_empty() { Ok(None) } else { read_local(&api, since).map(Some).ok_or(()) };
    let (Ok(from), None) = (from, stopped(&api, &visitor)) else {
        let wrong = visitor.frame.t(
            "Escriba la fecha y la hora desde la que reenviar.",
            "Write the date and time since when to send again.",
        );
        let reason = stopped(&api, &visitor).unwrap_or_else(|| wrong.to_owned());
        return show_overview(&api, visitor, &Form::default(), StatusCode::CONFLICT, reason).await;
    };
    let since_disabled = form.get("which") == "disabled";
    let conditions = Conditions {
        status: match form.get("which") {
            "all" => None,
            "disabled" => Some(DeliveryStatus::Cancelled),
            _ => Some(DeliveryStatus::Failed),
        },
        created_from: from.filter(|_| !since_disabled),
        finished_from: visitor.endpoint.disabled_at.filter(|_| since_disabled),
        ..Conditions::default()
    };
    let acted = async {
        let now = api.context.clock.now();
        let mut session = api.context.db.begin().await?;
        let (replay, mut rings) = replays::order(&mut session, visitor.endpoint.id, &conditions, now).await?;
        let partner = visitor.connection.partner.id;
        rings.extend(portal::record(&mut session, partner, PortalAction::ReenvioOrdenado, Some(replay), now).await?);
        session.commit().await?;
        api.context.ring(&rings).await;
        Ok::<_, Problem>(())
    };
    match acted.await {
        Ok(()) => Ok(go(&visitor.frame, "?done=ordered")),
        Err(problem) => Err(Refused::problem(visitor.frame, problem)),
    }
}

async fn send_test(
    State(api): State<Arc<Api>>,
    Actor(visitor): Actor,
    body: Result<RawBody, Problem>,
) -> Result<Response, Refused> {
    let form = form(body, &visitor)?;
    let event_type = form.get("event_type");
    let is_known = event_type == TEST_EVENT || visitor.endpoint.wants(event_type) && visitor.endpoint.events.is_some();
    if let Some(reason) = stopped(&api, &visitor) {
        return show_overview(&api, visitor, &Form::default(), StatusCode::CONFLICT, reason).await;
    }
    if !is_known {
        let text =
            visitor.frame.t("Elija un tipo de evento de la lista.", "Choose a type of event of the list.").to_owned();
        return show_overview(&api, visitor, &Form::default(), StatusCode::BAD_REQUEST, text).await;
    }
    let acted = async {
        let now = api.context.clock.now();
        let data = serde_json::json!({ "test": true, "message": "Prueba desde el portal" });
        let body = payload(event_type, &data, now);
        let delivery = Delivery::of_test(&visitor.endpoint, event_type, &body, now)
            .map_err(|error| FieldErrors::one("event_type", error.to_string()))?;
        let mut session = api.context.db.begin().await?;
        let mut rings = deliveries::send(&mut session, std::slice::from_ref(&delivery), now).await?;
        let partner = visitor.connection.partner.id;
        rings.extend(portal::record(&mut session, partner, PortalAction::PruebaEnviada, Some(delivery.id), now).await?);
        session.commit().await?;
        api.context.ring(&rings).await;
        outcome::of_first_attempt(&api, delivery.id, TEST_PATIENCE).await?;
        Ok::<_, Problem>(delivery.id)
    };
    match acted.await {
        Ok(id) => Ok(go(&visitor.frame, &format!("/deliveries/{id}?done=tested"))),
        Err(problem) => Err(Refused::problem(visitor.frame, problem)),
    }
}

/// Lets webhooks go out again to an endpoint that was given up. One that staff stopped is theirs to start.
async fn resume(State(api): State<Arc<Api>>, Actor(visitor): Actor) -> Result<Response, Refused> {
    let own_standing = visitor.connection.standing(policy(&api));
    if !can_resume(&visitor.endpoint) || !own_standing.is_active() {
        let standing = own_standing.with_endpoint(&visitor.endpoint);
        let reason = explanation(visitor.frame.language, standing).to_owned();
        return show_overview(&api, visitor, &Form::default(), StatusCode::CONFLICT, reason).await;
    }
    let acted = async {
        let now = api.context.clock.now();
        let mut session = api.context.db.begin().await?;
        let mut rings = deliveries::resume(&mut session, visitor.endpoint.id, now).await?;
        let (partner, endpoint) = (visitor.connection.partner.id, visitor.endpoint.id);
        rings.extend(
            portal::record(&mut session, partner, PortalAction::EndpointReactivado, Some(endpoint), now).await?,
        );
        session.commit().await?;
        api.context.ring(&rings).await;
        Ok::<_, Problem>(())
    };
    match acted.await {
        Ok(()) => Ok(go(&visitor.frame, "?done=resumed")),
        Err(problem) => Err(Refused::problem(visitor.frame, problem)),
    }
}

fn can_resume(endpoint: &Endpoint) -> bool {
    endpoint.status == Status::Disabled
        && matches!(endpoint.disabled_reason, Some(DisabledReason::Gone | DisabledReason::Failing))
}

/// The new secret stands on this page and nowhere else.
async fn rotate_secret(State(api): State<Arc<Api>>, Actor(visitor): Actor) -> Result<Response, Refused> {
    let acted = async {
        let key = key(&api)?;
        let now = api.context.clock.now();
        let partner = visitor.connection.partner.id;
        let mut session = api.context.db.begin().await?;
        partners::lock(&mut session, partner).await?.ok_or(Problem::NotFound)?;
        let secret = registration::rotate(&mut session, &visitor.connection, key, now).await?;
        let rings = portal::record(&mut session, partner, PortalAction::SecretoRotado, None, now).await?;
        session.commit().await?;
        api.context.ring(&rings).await;
        Ok::<_, Problem>(secret)
    };
    match acted.await {
        Ok(secret) => {
            let secret = secret.text().expose_secret().to_owned();
            Ok(page(StatusCode::OK, &SecretPage { frame: visitor.frame, secret }))
        }
        Err(problem) => Err(Refused::problem(visitor.frame, problem)),
    }
}

/// A pass was read with it, so it is there.
fn key(api: &Api) -> Result<&SecretString, Problem> {
    api.context.config.secret_key.as_ref().ok_or(Problem::NotFound)
}

async fn signature_form(visitor: Visitor) -> Response {
    page(StatusCode::OK, &SignaturePage::empty(visitor.frame))
}

async fn test_signature(
    State(api): State<Arc<Api>>,
    Actor(visitor): Actor,
    body: Result<RawBody, Problem>,
) -> Result<Response, Refused> {
    let form = form(body, &visitor)?;
    let Visitor { frame, connection, .. } = visitor;
    let now = api.context.clock.now();
    let secrets = key(&api).map(|key| connection.inbound_secrets(key, now));
    let Ok(Ok(secrets)) = secrets else {
        return Err(Refused::problem(frame, Problem::Panicked));
    };
    let headers = headers_of(form.get("headers"));
    // Browsers write every line end of a text area as two letters; what was signed rarely has them.
    let as_pasted = form.get("body").to_owned();
    let with_single_ends = as_pasted.replace("\r\n", "\n");
    let rules = connection.rules(api.context.config.webhook_tolerance_seconds);
    let judge =
        |body: &str| dialect::verify(&secrets, &rules, Received { headers: &headers, body: body.as_bytes() }, now);
    let (verdict, body) = match judge(&with_single_ends) {
        Err(Refusal::Wrong) if judge(&as_pasted).is_ok() => (judge(&as_pasted), as_pasted),
        verdict => (verdict, with_single_ends.clone()),
    };
    // On a thread of its own kind: a large body is hashed a hundred times.
    let examined = tokio::task::spawn_blocking(move || {
        let received = Received { headers: &headers, body: body.as_bytes() };
        debugger::examine(Question { secrets: &secrets, reveal: Reveal::Nothing, rules: &rules, received, now })
    });
    let Ok(Report { tried, advice, .. }) = examined.await else {
        return Err(Refused::problem(frame, Problem::Panicked));
    };
    let tried = tried.iter().map(|one| TriedRow::of(frame.language, one)).collect();
    let advice = advice.into_iter().map(|one| one.text).collect();
    let (verdict, tone) = match verdict {
        Ok(dialect) => (format!("{} {dialect}", frame.t("La firma es correcta:", "The signature is right:")), "good"),
        Err(refusal) => (refused(frame.language, refusal).to_owned(), "bad"),
    };
    let headers = form.get("headers").to_owned();
    let body = with_single_ends;
    Ok(page(StatusCode::OK, &SignaturePage { verdict, tone, headers, body, tried, advice, frame }))
}

/// Headers as people paste them: from a log, from curl's `-v`, or from a list.
fn headers_of(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (name, value) = line.trim().trim_start_matches(['>', '<', '*']).trim().split_once(':')?;
        let tidy = |text: &str| text.trim().trim_matches(['"', '\'', ',']).trim().to_owned();
        Some((tidy(name).to_ascii_lowercase(), tidy(value)))
    };
    text.lines().filter_map(pair).take(100).collect()
}

fn refused(language: Language, refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Missing => language.t(
            "No hay firma: falta un encabezado como X-Partner-Signature o webhook-signature.",
            "There is no signature: a header such as X-Partner-Signature or webhook-signature is missing.",
        ),
        Refusal::Differing => language.t(
            "Hay varias firmas que difieren entre sí. Envíe una sola.",
            "There are several signatures that differ. Send one alone.",
        ),
        Refusal::Wrong => language.t(
            "La firma no coincide con ninguno de sus secretos en ninguna forma del cuerpo. Compruebe el secreto, y que firma los mismos bytes que envía.",
            "The signature fits none of your secrets in any form of the body. Check the secret, and that you sign the very bytes that you send.",
        ),
        Refusal::Stale => language.t(
            "La firma es correcta, pero su hora está demasiado lejos de la nuestra. Revise su reloj.",
            "The signature is right, but its time is too far from ours. Check your clock.",
        ),
    }
}

/// The fields of a form or of a query.
#[derive(Debug, Default)]
struct Form(Vec<(String, String)>);

impl Form {
    fn read(bytes: &[u8]) -> Self {
        Self(
            form_urlencoded::parse(bytes)
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .take(50)
                .collect(),
        )
    }

    /// Empty where there is none.
    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(named, _)| named == name).map_or("", |(_, value)| value.as_str())
    }
}

fn form(body: Result<RawBody, Problem>, visitor: &Visitor) -> Result<Form, Refused> {
    match body {
        Ok(body) => Ok(Form::read(body.as_slice())),
        Err(problem) => {
            let Frame { language, base, name, until } = &visitor.frame;
            let frame = Frame { language: *language, base: base.clone(), name: name.clone(), until: until.clone() };
            Err(Refused::problem(frame, problem))
        }
    }
}

/// Which deliveries are asked for.
struct Asked {
    filter: DeliveryFilter,
    shown: ShownFilter,
    page: i64,
    errors: Vec<String>,
}

/// The filter as it stands in its fields.
struct ShownFilter {
    status: String,
    event_type: String,
    subject: String,
    from: String,
    until: String,
}

impl Asked {
    fn read(api: &Api, frame: &Frame, query: &Form, endpoint: Id) -> Self {
        let text = |name: &str| query.get(name).trim().replace(char::is_control, "");
        let shown = ShownFilter {
            status: text("status"),
            event_type: text("event_type"),
            subject: text("subject"),
            from: text("from"),
            until: text("until"),
        };
        let mut errors = Vec::new();
        let mut time = |text: &str| {
            let read = read_local(api, text);
            if read.is_none() && !text.is_empty() {
                errors.push(
                    frame
                        .t("Escriba fechas como 2026-01-20T14:30.", "Write dates such as 2026-01-20T14:30.")
                        .to_owned(),
                );
            }
            read
        };
        let (created_from, created_until) = (time(&shown.from), time(&shown.until));
        let status = shown.status.parse().ok();
        if status.is_none() && !shown.status.is_empty() {
            errors.push(frame.t("Elija un estado de la lista.", "Choose a status of the list.").to_owned());
        }
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let filter = DeliveryFilter {
            endpoint_id: Some(endpoint),
            status,
            event_type: some(&shown.event_type),
            subject: some(&shown.subject),
            created_from,
            created_until,
            finished_from: None,
        };
        let page = query.get("page").parse().unwrap_or(1).clamp(1, LAST_PAGE);
        Self { filter, shown, page, errors }
    }

    /// The query of another page.
    fn query(&self, page: i64) -> String {
        let ShownFilter { status, event_type, subject, from, until } = &self.shown;
        let fields =
            [("status", status), ("event_type", event_type), ("subject", subject), ("from", from), ("until", until)];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(fields.into_iter().filter(|(_, value)| !value.is_empty()));
        query.append_pair("page", &page.to_string()).finish()
    }
}

/// A moment as people of this installation read it.
fn moment(api: &Api, at: Timestamp) -> String {
    at.to_utc().with_timezone(&api.context.config.time_zone).format("%d/%m/%Y %H:%M:%S").to_string()
}

/// The same as forms write it.
fn local(api: &Api, at: Timestamp) -> String {
    at.to_utc().with_timezone(&api.context.config.time_zone).format("%Y-%m-%dT%H:%M").to_string()
}

/// What a form wrote, in the zone of this installation. Of an hour that comes twice the first is meant.
fn read_local(api: &Api, text: &str) -> Option<Timestamp> {
    let time =
        ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"].iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let zoned = time?.and_local_timezone(api.context.config.time_zone).earliest()?;
    Some(zoned.to_utc().into())
}

/// What was done, by the word in the query.
fn done(language: Language, word: &str) -> String {
    let text = match word {
        "replayed" => language.t("Reenviada como entrega nueva.", "Sent again, as a new delivery."),
        "ordered" => language.t("El reenvío está en curso.", "They are being sent again."),
        "tested" => language.t(
            "Prueba enviada; abajo está cómo respondió su endpoint.",
            "Test sent; below is how your endpoint answered.",
        ),
        "resumed" => language.t(
            "Su endpoint está activo. Lo que se perdió se reenvía con «todo desde que se desactivó».",
            "Your endpoint is active. What you missed is sent again by “everything since it was disabled”.",
        ),
        _ => "",
    };
    text.to_owned()
}

/// Its name, and how it is coloured.
fn delivery_status(language: Language, status: DeliveryStatus) -> (&'static str, &'static str) {
    match status {
        DeliveryStatus::Pending => (language.t("pendiente", "pending"), "wait"),
        DeliveryStatus::Delivered => (language.t("entregada", "delivered"), "good"),
        DeliveryStatus::Failed => (language.t("fallida", "failed"), "bad"),
        DeliveryStatus::Cancelled => (language.t("cancelada", "cancelled"), "bad"),
        DeliveryStatus::Skipped => (language.t("omitida", "skipped"), "wait"),
    }
}

/// What a standing means, and what is to be done.
fn explanation(language: Language, standing: Standing) -> &'static str {
    match standing {
        Standing::Active => language.t("Los webhooks salen.", "Webhooks go out."),
        Standing::Inactive | Standing::Suspended | Standing::Deleted | Standing::Revoked => language.t(
            "No sale ningún webhook: su cuenta no está activa. Escriba a quien le envió este enlace.",
            "No webhook goes out: your account is not active. Write to those who sent you this link.",
        ),
        Standing::KycPending => language.t(
            "No sale ningún webhook hasta que se apruebe su verificación.",
            "No webhook goes out until your verification is approved.",
        ),
        Standing::Gone => language.t(
            "Su endpoint respondió 410 y se desactivó. Haga que responda 2xx y reactívelo.",
            "Your endpoint answered 410 and was disabled. Make it answer 2xx, and re-enable it.",
        ),
        Standing::Failing => language.t(
            "Su endpoint no aceptó nada durante cinco días y se desactivó. Haga que responda 2xx y reactívelo.",
            "Your endpoint took nothing for five days and was disabled. Make it answer 2xx, and re-enable it.",
        ),
    }
}

#[derive(Template)]
#[template(path = "portal/message.html")]
struct MessagePage {
    frame: Frame,
    title: String,
    text: String,
    back: bool,
}

#[derive(Template)]
#[template(path = "portal/enter.html")]
struct EnterPage {
    frame: Frame,
}

#[derive(Template)]
#[template(path = "portal/secret.html")]
struct SecretPage {
    frame: Frame,
    secret: String,
}

#[derive(Template)]
#[template(path = "portal/overview.html")]
struct OverviewPage {
    frame: Frame,
    done: String,
    error: String,
    endpoint: EndpointView,
    statuses: Vec<Choice>,
    filter: ShownFilter,
    count: i64,
    zone: String,
    deliveries: Vec<DeliveryRow>,
    /// Queries of the pages beside this one; empty where there is none.
    newer: String,
    older: String,
    since: String,
    replays: Vec<ReplayRow>,
    tests: Vec<String>,
}

struct Choice {
    word: &'static str,
    label: &'static str,
    chosen: bool,
}

struct EndpointView {
    status: &'static str,
    tone: &'static str,
    explanation: &'static str,
    url: String,
    events: String,
    sent: i64,
    failed: i64,
    consecutive: i32,
    last_success: String,
    failing_since: String,
    open_until: String,
    can_resume: bool,
}

impl EndpointView {
    fn of(api: &Api, language: Language, endpoint: &Endpoint, standing: Standing) -> Self {
        let health = &endpoint.health;
        let time = |at: Option<Timestamp>| at.map(|at| moment(api, at)).unwrap_or_default();
        let is_failing = health.consecutive_failures > 0;
        let (status, tone) = match endpoint.status {
            Status::Active if is_failing => (language.t("Activo, con fallos.", "Active, failing."), "wait"),
            Status::Active => (language.t("Activo.", "Active."), "good"),
            Status::Paused => (language.t("En pausa: los webhooks esperan.", "Paused: webhooks wait."), "wait"),
            Status::Disabled => (language.t("Desactivado.", "Disabled."), "bad"),
        };
        let all = language.t("todos", "all").to_owned();
        Self {
            status,
            tone,
            explanation: if endpoint.status == Status::Paused { "" } else { explanation(language, standing) },
            url: endpoint.url.clone(),
            events: endpoint.events.as_ref().map_or(all, |events| events.0.join(", ")),
            sent: health.sent_count,
            failed: health.failed_count,
            consecutive: health.consecutive_failures,
            last_success: health.last_success_at.map_or_else(|| "–".to_owned(), |at| moment(api, at)),
            failing_since: time(health.failing_since),
            open_until: time(health.open_until.filter(|until| api.context.clock.now() < *until)),
            can_resume: can_resume(endpoint),
        }
    }
}

struct DeliveryRow {
    id: String,
    created: String,
    created_iso: String,
    event_type: String,
    subject: String,
    status: &'static str,
    tone: &'static str,
    is_test: bool,
    attempts: i32,
    code: String,
}

impl DeliveryRow {
    fn of(api: &Api, language: Language, delivery: &Delivery) -> Self {
        let (status, tone) = delivery_status(language, delivery.status);
        Self {
            id: delivery.id.to_string(),
            created: moment(api, delivery.created_at),
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

struct ReplayRow {
    created: String,
    replayed: i32,
    runs: bool,
}

impl ReplayRow {
    fn of(api: &Api, replay: &Replay) -> Self {
        Self { created: moment(api, replay.created_at), replayed: replay.replayed, runs: replay.finished_at.is_none() }
    }
}

#[derive(Template)]
#[template(path = "portal/delivery.html")]
struct DeliveryPage {
    frame: Frame,
    done: String,
    error: String,
    delivery: DeliveryRow,
    reason: String,
    next_attempt: String,
    message_id: String,
    can_replay: bool,
    body: Option<String>,
    attempts: Vec<AttemptView>,
}

struct AttemptView {
    number: i32,
    started: String,
    duration_ms: i32,
    outcome: String,
    headers: String,
    response: Option<String>,
}

impl AttemptView {
    fn of(api: &Api, attempt: Attempt) -> Self {
        let code = attempt.status_code.map(|code| format!("HTTP {code}"));
        let headers = attempt.request_headers.0.as_object().map(|headers| {
            let line = |(name, value): (&String, &serde_json::Value)| {
                format!("{name}: {}\n", value.as_str().unwrap_or_default())
            };
            headers.iter().map(line).collect::<String>()
        });
        Self {
            number: attempt.number,
            started: moment(api, attempt.started_at),
            duration_ms: attempt.duration_ms,
            outcome: code.or(attempt.error).unwrap_or_default(),
            headers: headers.unwrap_or_default(),
            response: attempt.response,
        }
    }
}

#[derive(Template)]
#[template(path = "portal/signature.html")]
struct SignaturePage {
    frame: Frame,
    verdict: String,
    tone: &'static str,
    headers: String,
    body: String,
    /// What the sender should change.
    advice: Vec<String>,
    tried: Vec<TriedRow>,
}

impl SignaturePage {
    fn empty(frame: Frame) -> Self {
        let none = String::new;
        Self { frame, verdict: none(), tone: "", headers: none(), body: none(), advice: Vec::new(), tried: Vec::new() }
    }
}

/// A line of the debugger. What the signature should have been is not shown: with it anybody who has the link could sign.
struct TriedRow {
    signed: String,
    secret: &'static str,
    matches: String,
    tone: &'static str,
    difference: String,
}

impl TriedRow {
    fn of(language: Language, tried: &Tried) -> Self {
        let fits = !tried.matches.is_empty();
        let same = || language.t("los mismos bytes", "the same bytes").to_owned();
        Self {
            signed: tried.signed.clone(),
            secret: if tried.secret == "current" {
                language.t("actual", "current")
            } else {
                language.t("anterior", "former")
            },
            matches: if fits { tried.matches.join(", ") } else { "–".to_owned() },
            tone: if fits { "good" } else { "" },
            difference: tried.first_difference.as_ref().map_or_else(same, |difference| {
                let (signed, sent) = (&difference.signed, &difference.sent);
                format!("{}: «{signed}» ≠ «{sent}»", difference.position)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    #[test]
    fn the_language_is_the_first_that_we_have() {
        for (asked, expected) in [
            ("", Language::Spanish),
            ("en", Language::English),
            ("es-EC,es;q=0.9,en;q=0.8", Language::Spanish),
            ("de, en-GB;q=0.5, es;q=0.1", Language::English),
            ("en;q=0, fr", Language::Spanish),
            ("en;q=x", Language::Spanish),
            ("EN-us", Language::English),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(asked))]);
            assert_eq!(Language::of(&headers), expected, "{asked}");
        }
    }

    #[test]
    fn forms_are_taken_from_our_own_pages_only() {
        let is_ours = |pairs: &[(&str, &str)]| {
            let request = pairs
                .iter()
                .fold(Request::builder().uri("/portal/test"), |request, (name, value)| request.header(*name, *value));
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            is_our_page(&parts, Some("https://avisos.example.com/recado"))
        };
        let host = ("host", "10.0.0.1:8000");
        assert!(is_ours(&[host]), "no browser");
        assert!(is_ours(&[host, ("sec-fetch-site", "same-origin")]));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!is_ours(&[host, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(is_ours(&[host, ("origin", "http://10.0.0.1:8000")]));
        assert!(is_ours(&[host, ("origin", "https://avisos.example.com")]), "behind a proxy that rewrites Host");
        for origin in ["null", "https://evil.example.com", "https://avisos.example.com.evil.com", ""] {
            assert!(!is_ours(&[host, ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn headers_are_read_as_people_paste_them() {
        let read = headers_of("> X-Partner-Signature: abc\n\"X-Other\": \"v\",\nnonsense\n\n  webhook-id:1:2 ");
        let expected = [("x-partner-signature", "abc"), ("x-other", "v"), ("webhook-id", "1:2")];
        let read: Vec<(&str, &str)> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, expected);
    }
}
