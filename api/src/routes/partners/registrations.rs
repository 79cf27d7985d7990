//! Partners that exchange webhooks with us (S000-1 to S000-5, S000-9): registering, looking, leaving, and their secret.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::addresses::normalise_email;
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::fields::check_text;
use recado_kernel::ids::Id;
use recado_kernel::outbound::check_url;
use recado_partners::connections::{self, Connection};
use recado_partners::partners::{LONGEST_NAME, Status};
use recado_partners::registration::{self, FINDYOURWORK, FINDYOURWORK_EVENTS, Registered, Registration};
use recado_partners::registry::Refusal;
use recado_partners::standing::Standing;
use recado_webhooks::endpoints::{self, Endpoint};
use recado_webhooks::signature::{Secret, SecretError};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::policy;
use crate::auth::{Admin, May, Read};
use crate::extract::body::{Json, MaybeJson};
use crate::extract::fields::Field;
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{Conflict, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// What the document registers FindyourWork with (S000-1).
const FINDYOURWORK_URL: &str = "http://localhost:8000/webhooks/partner/";
const FINDYOURWORK_EMAIL: &str = "dev@findyourwork.com";

/// The longest URL, in bytes; the most events, and the longest name of one, in characters.
pub(crate) const LONGEST_URL: usize = 2_048;
const MOST_EVENTS: usize = 100;
pub(super) const LONGEST_EVENT: usize = 100;

/// The most partners in one list, which has no pages.
const MOST_LISTED: i64 = 1_000;

/// How often a registration begins again because another took its names.
const MOST_RACES: usize = 5;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(register))
        .routes(routes!(register_findyourwork))
        .routes(routes!(register_findyourwork_alias))
        .routes(routes!(show, deactivate))
        .routes(routes!(status))
        .routes(routes!(rotate))
}

/// Registers a partner for webhooks. Its secret is shown in this answer and never again.
#[utoipa::path(post, path = "/register", tag = "partner-webhooks", request_body = RegistrationWrite, responses(
    (status = 201, description = "It is registered", body = RegistrationAnswer),
    (status = 200, description = "It was registered already; its secret is not shown", body = RegistrationAnswer),
    (status = 409, description = "SECRET_KEY is not set, so no secret can be kept")))]
async fn register(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Json(body): Json<RegistrationWrite>,
) -> Result<(StatusCode, axum::Json<RegistrationAnswer>), Problem> {
    settle(&api, &may.actor(), &body.registration(&api)?).await
}

/// Registers FindyourWork with the events of its document. The body may be absent.
#[utoipa::path(post, path = "/register/findyourwork", tag = "partner-webhooks",
    request_body = Option<FindyourWorkWrite>, responses(
    (status = 201, description = "It is registered", body = RegistrationAnswer),
    (status = 200, description = "It was registered already; its secret is not shown", body = RegistrationAnswer),
    (status = 409, description = "SECRET_KEY is not set, so no secret can be kept")))]
async fn register_findyourwork(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    MaybeJson(body): MaybeJson<FindyourWorkWrite>,
) -> Result<(StatusCode, axum::Json<RegistrationAnswer>), Problem> {
    settle(&api, &may.actor(), &body.whole().registration(&api)?).await
}

/// The same as `/partners/register/findyourwork`.
#[utoipa::path(post, path = "/findyourwork/register", tag = "partner-webhooks",
    request_body = Option<FindyourWorkWrite>, responses(
    (status = 201, description = "It is registered", body = RegistrationAnswer),
    (status = 200, description = "It was registered already; its secret is not shown", body = RegistrationAnswer),
    (status = 409, description = "SECRET_KEY is not set, so no secret can be kept")))]
async fn register_findyourwork_alias(
    may: May<Admin>,
    api: State<Arc<Api>>,
    body: MaybeJson<FindyourWorkWrite>,
) -> Result<(StatusCode, axum::Json<RegistrationAnswer>), Problem> {
    register_findyourwork(may, api, body).await
}

/// Registers, and begins again when another registration was faster.
async fn settle(
    api: &Api,
    actor: &Actor,
    registration: &Registration,
) -> Result<(StatusCode, axum::Json<RegistrationAnswer>), Problem> {
    let key = key(api)?;
    let mut races = 0;
    loop {
        let now = api.context.clock.now();
        let mut session = api.context.db.begin().await?;
        let registered = match registration::register(&mut session, registration, key, policy(api), actor, now).await {
            Ok(registered) => registered,
            Err(error) if registration::is_taken(&error) && races < MOST_RACES => {
                races += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let endpoint = endpoint_of(&mut session, &registered.connection).await?;
        session.commit().await?;
        api.context.ring(&registered.rings).await;
        let status = if registered.secret.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        return Ok((status, axum::Json(RegistrationAnswer::of(api, registered, &endpoint))));
    }
}

/// Partners with webhooks, oldest first; those that left among them.
#[utoipa::path(get, path = "/", tag = "partner-webhooks",
    responses((status = 200, description = "The partners, 1,000 at most", body = Vec<ConnectionView>)))]
async fn list(_: May<Read>, State(api): State<Arc<Api>>) -> Result<axum::Json<Vec<ConnectionView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let found = connections::list(&mut session, MOST_LISTED, 0).await?;
    let ids: Vec<Id> = found.iter().map(|connection| connection.endpoint_id).collect();
    let endpoints = endpoints::all(&mut session, &ids).await?;
    let endpoints: HashMap<Id, Endpoint> = endpoints.into_iter().map(|endpoint| (endpoint.id, endpoint)).collect();
    let views = found.into_iter().filter_map(|connection| {
        let endpoint = endpoints.get(&connection.endpoint_id)?;
        Some(ConnectionView::of(&api, connection, endpoint))
    });
    Ok(axum::Json(views.collect()))
}

/// One partner, by its slug or its `partner_id`. Its secret is never shown.
#[utoipa::path(get, path = "/{ref}", tag = "partner-webhooks",
    params(("ref" = String, Path, description = "Slug or `partner_id`")),
    responses((status = 200, description = "The partner", body = ConnectionView)))]
async fn show(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(reference): Segment<String>,
) -> Result<axum::Json<ConnectionView>, Problem> {
    let mut session = api.context.db.read().await?;
    let (connection, endpoint) = known(&mut session, &reference).await?;
    Ok(axum::Json(ConnectionView::of(&api, connection, &endpoint)))
}

/// Lets a partner leave: nothing goes out to it, and nothing is taken from it. It stays in the registry as inactive.
#[utoipa::path(delete, path = "/{ref}", tag = "partner-webhooks",
    params(("ref" = String, Path, description = "Slug or `partner_id`")), responses(
    (status = 200, description = "It is inactive", body = Deactivated),
    (status = 410, description = "It was deleted")))]
async fn deactivate(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(reference): Segment<String>,
) -> Result<axum::Json<Deactivated>, Problem> {
    let mut session = api.context.db.begin().await?;
    let (connection, _) = locked(&mut session, &reference).await?;
    if connection.partner.status == Status::Deleted {
        return Err(Problem::PartnerStopped(Standing::Deleted));
    }
    let now = api.context.clock.now();
    let rings = registration::deactivate(&mut session, &connection, policy(&api), &may.actor(), now).await?;
    session.commit().await?;
    api.context.ring(&rings).await;
    let message = format!("Partner {} desactivado", connection.partner.name);
    let partner_id = connection.partner.partner_id.unwrap_or_default();
    Ok(axum::Json(Deactivated { success: true, message, partner_id, is_active: false }))
}

/// How a partner stands, and how many webhooks it took. One that is not registered is no error.
#[utoipa::path(get, path = "/{ref}/status", tag = "partner-webhooks",
    params(("ref" = String, Path, description = "Slug or `partner_id`")),
    responses((status = 200, description = "How it stands", body = StatusView)))]
async fn status(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(reference): Segment<String>,
) -> Result<axum::Json<StatusView>, Problem> {
    let mut session = api.context.db.read().await?;
    let Some(connection) = connections::find(&mut session, &reference).await? else {
        let message = format!("El partner \"{}\" no está registrado.", reference.escape_debug());
        return Ok(axum::Json(StatusView::Unknown { registered: false, message }));
    };
    let endpoint = endpoint_of(&mut session, &connection).await?;
    let standing = connection.standing(policy(&api)).with_endpoint(&endpoint);
    Ok(axum::Json(StatusView::Known {
        registered: true,
        partner_id: connection.partner.partner_id.unwrap_or_default(),
        is_active: standing.is_active(),
        status: standing,
        webhook_url: endpoint.url,
        subscribed_events: endpoint.events.map(|events| events.0).unwrap_or_default(),
        stats: Stats {
            webhooks_sent: endpoint.health.sent_count,
            webhooks_failed: endpoint.health.failed_count,
            last_webhook: endpoint.health.last_attempt_at,
        },
    }))
}

/// Gives a partner a new secret, both ways. The one before it counts for another 24 hours; the new one is shown in this
/// answer and never again.
#[utoipa::path(post, path = "/{ref}/rotate-secret", tag = "partner-webhooks",
    params(("ref" = String, Path, description = "Slug or `partner_id`")), responses(
    (status = 200, description = "The new secret", body = Rotated),
    (status = 409, description = "SECRET_KEY is not set, so no secret can be kept"),
    (status = 410, description = "It was deleted")))]
async fn rotate(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(reference): Segment<String>,
) -> Result<axum::Json<Rotated>, Problem> {
    let key = key(&api)?;
    let mut session = api.context.db.begin().await?;
    let (connection, _) = locked(&mut session, &reference).await?;
    if connection.partner.status == Status::Deleted {
        return Err(Problem::PartnerStopped(Standing::Deleted));
    }
    let secret = registration::rotate(&mut session, &connection, key, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    let partner_id = connection.partner.partner_id.unwrap_or_default();
    Ok(axum::Json(Rotated { partner_id, shared_secret: secret.text().expose_secret().to_owned() }))
}

/// What seals secrets.
pub(crate) fn key(api: &Api) -> Result<&SecretString, Problem> {
    api.context.config.secret_key.as_ref().ok_or_else(|| {
        Problem::Conflict(Conflict {
            code: "no-secret-key",
            title: "Falta SECRET_KEY",
            detail: "El secreto del partner no se puede guardar: falta SECRET_KEY (32 caracteres o más) en el entorno."
                .to_owned(),
        })
    })
}

/// The partner that a URL names, and its endpoint.
pub(super) async fn known(session: &mut Session, reference: &str) -> Result<(Connection, Endpoint), Problem> {
    let connection = connections::find(session, reference).await?;
    let connection = connection
        .ok_or_else(|| Problem::Nothing(format!("El partner \"{}\" no está registrado.", reference.escape_debug())))?;
    let endpoint = endpoint_of(session, &connection).await?;
    Ok((connection, endpoint))
}

/// The same, held until the end of the transaction.
async fn locked(session: &mut Session, reference: &str) -> Result<(Connection, Endpoint), Problem> {
    let (connection, _) = known(session, reference).await?;
    recado_partners::partners::lock(session, connection.partner.id).await?.ok_or(Refusal::PartnerNotFound)?;
    known(session, reference).await
}

async fn endpoint_of(session: &mut Session, connection: &Connection) -> Result<Endpoint, Problem> {
    endpoints::find(session, connection.endpoint_id).await?.ok_or(Problem::NotFound)
}

request! {
    /// A partner that is to be registered.
    #[derive(ToSchema)]
    struct RegistrationWrite {
        /// Its name. `FindyourWork` is registered once, under the names of its document.
        #[schema(min_length = 1, max_length = 255, examples("FindyourWork"))]
        partner_name: String,
        /// Where its webhooks go.
        #[schema(value_type = String, max_length = 2048, examples("https://findyourwork.example.com/webhooks/partner/"))]
        webhook_url: WebhookUrl,
        /// The types of event that it gets.
        #[schema(max_items = 100, examples(json!(["event.reservation_confirmed", "event.updated"])))]
        events: Vec<String>,
        /// Where people of the partner are reached.
        #[schema(max_length = 254, examples("dev@findyourwork.com"))]
        contact_email: Option<String>,
        /// A secret that both ends know already, 16 to 200 visible ASCII characters; without it one is made.
        #[schema(min_length = 16, max_length = 200)]
        shared_secret: Option<String>,
        /// What the partner signs with, where that is another secret.
        #[schema(min_length = 16, max_length = 200)]
        inbound_secret: Option<String>,
    }
}

request! {
    /// FindyourWork; what is absent is as in its document.
    #[derive(ToSchema)]
    struct FindyourWorkWrite {
        /// Where its webhooks go.
        #[schema(value_type = Option<String>, max_length = 2048, examples("https://findyourwork.example.com/webhooks/partner/"))]
        webhook_url: Option<WebhookUrl>,
        /// Where people of the partner are reached.
        #[schema(max_length = 254, examples("dev@findyourwork.com"))]
        contact_email: Option<String>,
        /// A secret that both ends know already, 16 to 200 visible ASCII characters; without it one is made.
        #[schema(min_length = 16, max_length = 200)]
        shared_secret: Option<String>,
        /// What the partner signs with, where that is another secret.
        #[schema(min_length = 16, max_length = 200)]
        inbound_secret: Option<String>,
    }
}

impl FindyourWorkWrite {
    fn whole(self) -> RegistrationWrite {
        RegistrationWrite {
            partner_name: FINDYOURWORK.to_owned(),
            webhook_url: self.webhook_url.unwrap_or_else(|| WebhookUrl(FINDYOURWORK_URL.to_owned())),
            events: FINDYOURWORK_EVENTS.map(str::to_owned).to_vec(),
            contact_email: self.contact_email.or_else(|| Some(FINDYOURWORK_EMAIL.to_owned())),
            shared_secret: self.shared_secret,
            inbound_secret: self.inbound_secret,
        }
    }
}

impl RegistrationWrite {
    /// What is to be registered; every field that is wrong is named.
    fn registration(mut self, api: &Api) -> Result<Registration, Problem> {
        let mut errors = Vec::new();
        self.partner_name = self.partner_name.trim().to_owned();
        if self.partner_name.is_empty() {
            errors.push(("partner_name", "Este campo no puede estar en blanco.".to_owned()));
        }
        check_text(&mut errors, "partner_name", Some(&self.partner_name), LONGEST_NAME);
        let WebhookUrl(webhook_url) = self.webhook_url;
        if let Err(error) = api.context.config.reach_of_webhooks().check_url(&webhook_url) {
            errors.push(("webhook_url", error.in_spanish().to_owned()));
        }
        let events = check_events(&mut errors, self.events);
        let email = self.contact_email.filter(|email| !email.trim().is_empty());
        let contact_email = match email.as_deref().map(normalise_email).transpose() {
            Ok(email) => email,
            Err(error) => {
                errors.push(("contact_email", error.in_spanish()));
                None
            }
        };
        let shared_secret = check_secret(&mut errors, "shared_secret", self.shared_secret);
        let inbound_secret = check_secret(&mut errors, "inbound_secret", self.inbound_secret);
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let name = self.partner_name;
        Ok(Registration { name, webhook_url, events, contact_email, shared_secret, inbound_secret })
    }
}

pub(crate) type Errors = Vec<(&'static str, String)>;

/// Where webhooks go, as far as the URL alone can tell: whether this installation may call private addresses is asked later. So
/// what no installation calls is named together with all other fields that are wrong.
#[derive(Default)]
pub(crate) struct WebhookUrl(pub(crate) String);

impl Field for WebhookUrl {
    fn read(value: Value) -> Result<Self, String> {
        let url = String::read(value)?.trim().to_owned();
        if url.len() > LONGEST_URL {
            return Err(format!("La URL tiene más de {LONGEST_URL} bytes."));
        }
        check_url(&url, true).map_err(|error| error.in_spanish())?;
        Ok(Self(url))
    }
}

/// The events in their order, each once.
pub(crate) fn check_events(errors: &mut Errors, events: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(events.len().min(MOST_EVENTS));
    if events.len() > MOST_EVENTS {
        errors.push(("events", format!("Son más de {MOST_EVENTS} eventos.")));
        return kept;
    }
    for event in events {
        let event = event.trim();
        check_event_type(errors, "events", event);
        if !kept.iter().any(|one| one == event) {
            kept.push(event.to_owned());
        }
    }
    kept
}

pub(super) fn check_event_type(errors: &mut Errors, field: &'static str, event: &str) {
    if event.is_empty() || event.chars().count() > LONGEST_EVENT || event.contains(|c: char| c.is_control()) {
        let error = format!("Un tipo de evento tiene de 1 a {LONGEST_EVENT} caracteres, sin caracteres de control.");
        errors.push((field, error));
    }
}

pub(crate) fn check_secret(errors: &mut Errors, field: &'static str, text: Option<String>) -> Option<Secret> {
    let error = match Secret::stated(&text?) {
        Ok(secret) => return Some(secret),
        Err(SecretError::Length) => "Un secreto tiene de 16 a 200 caracteres.",
        Err(SecretError::Letters) => "Un secreto se escribe con caracteres ASCII visibles, sin espacios.",
    };
    errors.push((field, error.to_owned()));
    None
}

/// A partner was registered.
#[derive(Serialize, ToSchema)]
#[schema(as = PartnerRegistration)]
struct RegistrationAnswer {
    /// What the partner is called in URLs.
    #[schema(examples("partner_findyourwork"))]
    partner_id: String,
    /// Its name.
    partner_name: String,
    /// Its short name in URLs.
    slug: String,
    /// The secret, shown this once; null: it was registered already.
    #[schema(examples("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="))]
    shared_secret: Option<String>,
    /// How it stands.
    status: Standing,
    /// Where its webhooks go.
    webhook_url: String,
    /// The types of event that it gets.
    subscribed_events: Vec<String>,
    /// When it was registered.
    created_at: Timestamp,
    /// Whether it was registered before.
    already_registered: bool,
    /// Whether webhooks carry the headers of Standard Webhooks; null: unknown here, the secret is not shown.
    standard_webhooks: Option<bool>,
    /// What else there is to know.
    message: String,
}

impl RegistrationAnswer {
    fn of(api: &Api, registered: Registered, endpoint: &Endpoint) -> Self {
        let Registered { connection, secret, .. } = registered;
        let standing = connection.standing(policy(api)).with_endpoint(endpoint);
        let standard_webhooks = secret.as_ref().map(Secret::signs_standard_webhooks);
        let message = match standard_webhooks {
            None => "El partner ya estaba registrado; su secreto no se muestra. POST …/rotate-secret da uno nuevo.",
            Some(true) => "Guarde el secreto: no se vuelve a mostrar.",
            Some(false) => {
                "Guarde el secreto: no se vuelve a mostrar. No es base64 tras \"whsec_\", así que los webhooks llevan solo \
                 las firmas HMAC, sin encabezados de Standard Webhooks."
            }
        };
        Self {
            partner_id: connection.partner.partner_id.unwrap_or_default(),
            partner_name: connection.partner.name,
            slug: connection.partner.slug.unwrap_or_default(),
            already_registered: secret.is_none(),
            shared_secret: secret.map(|secret| secret.text().expose_secret().to_owned()),
            status: standing,
            webhook_url: endpoint.url.clone(),
            subscribed_events: endpoint.events.as_ref().map(|events| events.0.clone()).unwrap_or_default(),
            created_at: connection.partner.created_at,
            standard_webhooks,
            message: message.to_owned(),
        }
    }
}

/// A partner with webhooks.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookPartner)]
struct ConnectionView {
    /// Its id in the registry.
    id: Id,
    /// What it is called in URLs.
    partner_id: String,
    /// Its name.
    partner_name: String,
    /// Its short name in URLs.
    slug: String,
    /// Whether webhooks go out to it.
    is_active: bool,
    /// How it stands.
    status: Standing,
    /// Where its webhooks go.
    webhook_url: String,
    /// The types of event that it gets.
    subscribed_events: Vec<String>,
    /// Where people of the partner are reached.
    contact_email: Option<String>,
    /// Its endpoint, under `/api/v1/webhooks/endpoints/`.
    endpoint_id: Id,
    /// Webhooks that arrived.
    webhook_success_count: i64,
    /// Attempts that failed.
    webhook_failure_count: i64,
    /// When the last attempt ended.
    last_webhook_at: Option<Timestamp>,
    /// When it was registered.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl ConnectionView {
    fn of(api: &Api, connection: Connection, endpoint: &Endpoint) -> Self {
        let standing = connection.standing(policy(api)).with_endpoint(endpoint);
        let partner = connection.partner;
        Self {
            id: partner.id,
            partner_id: partner.partner_id.unwrap_or_default(),
            partner_name: partner.name,
            slug: partner.slug.unwrap_or_default(),
            is_active: standing.is_active(),
            status: standing,
            webhook_url: endpoint.url.clone(),
            subscribed_events: endpoint.events.as_ref().map(|events| events.0.clone()).unwrap_or_default(),
            contact_email: partner.contact_email,
            endpoint_id: endpoint.id,
            webhook_success_count: endpoint.health.sent_count,
            webhook_failure_count: endpoint.health.failed_count,
            last_webhook_at: endpoint.health.last_attempt_at,
            created_at: partner.created_at,
            updated_at: partner.updated_at,
        }
    }
}

/// How a partner stands.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookPartnerStatus)]
#[serde(untagged)]
enum StatusView {
    Known {
        /// True.
        registered: bool,
        /// What it is called in URLs.
        partner_id: String,
        /// Whether webhooks go out to it.
        is_active: bool,
        /// How it stands.
        status: Standing,
        /// Where its webhooks go.
        webhook_url: String,
        /// The types of event that it gets.
        subscribed_events: Vec<String>,
        /// How many it took.
        stats: Stats,
    },
    Unknown {
        /// False.
        registered: bool,
        /// What was looked for.
        message: String,
    },
}

/// How many webhooks a partner took.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookPartnerStats)]
struct Stats {
    /// Webhooks that arrived.
    webhooks_sent: i64,
    /// Attempts that failed.
    webhooks_failed: i64,
    /// When the last attempt ended; null: none was made.
    last_webhook: Option<Timestamp>,
}

/// A partner left.
#[derive(Serialize, ToSchema)]
#[schema(as = DeactivatedPartner)]
struct Deactivated {
    /// Always true.
    success: bool,
    /// What was done, for people.
    message: String,
    /// What it is called in URLs.
    partner_id: String,
    /// False.
    is_active: bool,
}

/// A new secret.
#[derive(Serialize, ToSchema)]
#[schema(as = RotatedSecret)]
struct Rotated {
    /// What the partner is called in URLs.
    partner_id: String,
    /// The secret, shown this once.
    shared_secret: String,
}
