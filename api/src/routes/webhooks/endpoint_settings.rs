//! What staff set of an endpoint: where webhooks go, which, how they are signed, and how hard it is tried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use recado_kernel::addresses::normalise_email;
use recado_kernel::audit::{self, Act};
use recado_kernel::db::Session;
use recado_kernel::fields::check_text;
use recado_kernel::ids::Id;
use recado_kernel::outbound::{OutboundError, Reach};
use recado_partners::connections::{self, Connection};
use recado_partners::registration;
use recado_partners::system;
use recado_webhooks::deliveries;
use recado_webhooks::endpoints::{
    self, Canonical, Change, DisabledReason, Endpoint, NewEndpoint, Sealer, Status, USUAL_CONCURRENCY, USUAL_TIMEOUT,
};
use recado_webhooks::operations::{self, ENDPOINT};
use recado_webhooks::signature::{LEGACY_HEADERS, Profile, Secret};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::endpoints::EndpointView;
use crate::auth::{Admin, May};
use crate::extract::body::{Changes, Form, Json};
use crate::extract::fields::{Field, Fields, Verbatim, choice};
use crate::extract::path::Segment;
use crate::problem::{Conflict, Problem};
use crate::routes::partners::registrations::{Errors, LONGEST_URL, check_events, check_secret, key};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(create)).routes(routes!(change, delete)).routes(routes!(rotate))
}

/// Makes an endpoint of its own, for a system that is no partner: it gets what happens to partners (`PartnerCreado`,
/// `KYCVerificado`, …), as far as `events` names it. A partner's endpoint is made when it is registered (`POST /partners/register`).
#[utoipa::path(post, path = "/", tag = "webhooks", operation_id = "create_webhook_endpoint", request_body = EndpointWrite,
    responses(
        (status = 201, description = "The endpoint, and its secret, shown this once", body = CreatedEndpoint),
        (status = 409, description = "SECRET_KEY is not set, so no secret can be kept")))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Json(changes): Json<Changes>,
) -> Result<(StatusCode, axum::Json<CreatedEndpoint>), Problem> {
    let now = api.context.clock.now();
    let mut written = changes.whole(Settings::default());
    let mut errors = written.record.errors(&api, None, false);
    let stated = check_secret(&mut errors, "secret", written.record.secret.take());
    written.check(errors);
    let settings = written.finish()?;
    let secret = stated.unwrap_or_else(Secret::generate);
    let id = Id::new(now);
    let Change {
        name,
        url,
        events,
        canonical,
        profile,
        timeout,
        retry_schedule,
        concurrency,
        rate_per_minute,
        owner_email,
    } = settings.change();
    let new = NewEndpoint {
        id,
        system: system::NAME,
        name,
        url,
        events,
        secret: secret.clone(),
        canonical,
        profile,
        headers: settings.headers.unwrap_or_default(),
        timeout,
        retry_schedule,
        concurrency,
        rate_per_minute,
        owner_email,
    };
    let mut session = api.context.db.begin().await?;
    endpoints::insert(&mut session, Sealer(key(&api)?), &new, now).await?;
    let made = endpoints::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    endpoints::allow_networks(&mut session, &made, &settings.allowed_networks, &may.actor(), now).await?;
    let endpoint = endpoints::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let act = Act::new("create", ENDPOINT, id)
        .made(json!({ "name": endpoint.name, "site": operations::site(&endpoint.url) }));
    audit::write(&mut session, &may.actor(), &act, now).await?;
    session.commit().await?;
    let secret = secret.text().expose_secret().to_owned();
    Ok((StatusCode::CREATED, axum::Json(CreatedEndpoint { endpoint: endpoint.into(), secret })))
}

/// Changes the fields that are sent. What is on its way goes to the new URL, signed in the new way; bodies stay as they were
/// made. At another URL its circuit closes, and what waited goes out at once.
#[utoipa::path(patch, path = "/{id}", tag = "webhooks", operation_id = "change_webhook_endpoint",
    params(("id" = Id, Path, description = "Id of the endpoint")), request_body = EndpointWrite,
    responses((status = 200, description = "The endpoint", body = EndpointView)))]
async fn change(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<EndpointView>, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    let before = endpoints::lock(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let connection = connections::of_endpoint(&mut session, id).await?;
    let (has_secret, has_rules) =
        (changes.has("secret"), changes.has("inbound_strict_raw") || changes.has("inbound_tolerance_seconds"));
    let mut written = changes.over(Settings::of(&before, connection.as_ref()));
    let mut errors = written.record.errors(&api, Some(&before), connection.is_some());
    if has_secret {
        errors.push(("secret", "Un secreto no se cambia aquí: POST …/rotate-secret/ da uno nuevo.".to_owned()));
    }
    if has_rules && connection.is_none() {
        errors.push((
            "inbound_strict_raw",
            "El endpoint no es de un partner: nadie envía webhooks en su nombre.".to_owned(),
        ));
    }
    written.check(errors);
    let settings = written.finish()?;
    operations::change(&mut session, &before, &settings.change(), &may.actor(), now).await?;
    let opened =
        endpoints::allow_networks(&mut session, &before, &settings.allowed_networks, &may.actor(), now).await?;
    if let Some(headers) = &settings.headers {
        endpoints::set_headers(&mut session, Sealer(key(&api)?), id, headers).await?;
    }
    if let Some(connection) = &connection {
        let events = settings.events.as_deref().unwrap_or_default();
        registration::show_change(&mut session, id, &settings.url, events).await?;
        let tolerance = settings.inbound_tolerance_seconds.map(i64::from);
        connections::set_rules(&mut session, connection.partner.id, settings.inbound_strict_raw, tolerance).await?;
    }
    let moved = (opened || settings.url != before.url) && before.status == Status::Active;
    let rings = if moved { deliveries::resume(&mut session, id, now).await? } else { Vec::new() };
    let changed = endpoints::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    session.commit().await?;
    api.context.ring(&rings).await;
    Ok(axum::Json(changed.into()))
}

/// Deletes an endpoint of its own. What was still to go to it is cancelled; what was sent stays until its retention. An endpoint
/// of a partner goes with its partner.
#[utoipa::path(delete, path = "/{id}", tag = "webhooks", operation_id = "delete_webhook_endpoint",
    params(("id" = Id, Path, description = "Id of the endpoint")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "It is a partner's, or that of the environment")))]
async fn delete(may: May<Admin>, State(api): State<Arc<Api>>, Segment(id): Segment<Id>) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let endpoint = endpoints::lock(&mut session, id).await?.ok_or(Problem::NotFound)?;
    own(&mut session, &endpoint).await?;
    let now = api.context.clock.now();
    deliveries::disable(&mut session, id, DisabledReason::Owner, now).await?;
    endpoints::delete(&mut session, id).await?;
    let act = Act::new("delete", ENDPOINT, id).changed(json!({ "name": endpoint.name }), json!({}));
    audit::write(&mut session, &may.actor(), &act, now).await?;
    session.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives an endpoint a new secret, shown this once. `webhook-signature` lists both for 24 hours. The secret of a partner counts
/// both ways, and so does the new one.
#[utoipa::path(post, path = "/{id}/rotate-secret", tag = "webhooks", operation_id = "rotate_webhook_endpoint",
    params(("id" = Id, Path, description = "Id of the endpoint")),
    responses(
        (status = 200, description = "The new secret", body = RotatedEndpoint),
        (status = 409, description = "SECRET_KEY is not set, or the environment names the secret")))]
async fn rotate(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<RotatedEndpoint>, Problem> {
    let now = api.context.clock.now();
    let key = key(&api)?;
    let mut session = api.context.db.begin().await?;
    let endpoint = endpoints::lock(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let secret = match connections::of_endpoint(&mut session, id).await? {
        Some(connection) => registration::rotate(&mut session, &connection, key, &may.actor(), now).await?,
        None if endpoint.system != system::NAME => return Err(of_environment()),
        None => {
            let secret = Secret::generate();
            endpoints::rotate(&mut session, Sealer(key), id, &secret, now).await?;
            audit::write(&mut session, &may.actor(), &Act::new("rotate_secret", ENDPOINT, id), now).await?;
            secret
        }
    };
    session.commit().await?;
    Ok(axum::Json(RotatedEndpoint { id, secret: secret.text().expose_secret().to_owned() }))
}

/// Whether the endpoint belongs to itself.
async fn own(session: &mut Session, endpoint: &Endpoint) -> Result<(), Problem> {
    if connections::of_endpoint(session, endpoint.id).await?.is_some() {
        return Err(Problem::Conflict(Conflict {
            code: "endpoint-of-partner",
            title: "El endpoint es de un partner",
            detail: "Dé de baja al partner (DELETE /partners/{ref}) o revoque su integración.".to_owned(),
        }));
    }
    if endpoint.system == system::NAME { Ok(()) } else { Err(of_environment()) }
}

fn of_environment() -> Problem {
    Problem::Conflict(Conflict {
        code: "endpoint-of-environment",
        title: "El endpoint lo fija el entorno",
        detail: "Cambie COMERCIAL_WEBHOOK_URL, COMERCIAL_WEBHOOK_TOKEN y COMERCIAL_WEBHOOK_SECRET.".to_owned(),
    })
}

/// An endpoint that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedWebhookEndpoint)]
struct CreatedEndpoint {
    #[serde(flatten)]
    endpoint: EndpointView,
    /// With which its webhooks are signed. It is shown this once.
    secret: String,
}

/// A new secret.
#[derive(Serialize, ToSchema)]
#[schema(as = RotatedWebhookEndpoint)]
struct RotatedEndpoint {
    /// Id of the endpoint.
    id: Id,
    /// The secret, shown this once.
    secret: String,
}

/// What is written of an endpoint. On a change, what is left out stays as it is.
#[derive(ToSchema)]
#[schema(as = WebhookEndpointWrite)]
#[expect(dead_code, reason = "it describes what `Settings` reads")]
struct EndpointWrite {
    /// Its name, for people.
    #[schema(min_length = 1, max_length = 255, examples("Contabilidad"))]
    name: Option<String>,
    /// Where webhooks go.
    #[schema(max_length = 2048, examples("https://example.com/webhooks/"))]
    url: Option<String>,
    /// Event types that it gets.
    #[schema(max_items = 100, examples(json!(["PartnerCreado", "KYCVerificado"])))]
    events: Option<Vec<String>>,
    /// Only when it is made: a secret that both ends know already, 16 to 200 visible ASCII characters.
    #[schema(min_length = 16, max_length = 200)]
    secret: Option<String>,
    /// In which form payloads travel: `python_default`, `compact` or `as_is`.
    canonical: Option<Canonical>,
    /// What stands before the hexadecimal signature: nothing or, e.g., `sha256=`.
    #[schema(max_length = 20, examples("sha256="))]
    signature_prefix: Option<String>,
    /// Further headers with that signature.
    #[schema(max_items = 5, examples(json!(["X-Hub-Signature-256"])))]
    signature_headers: Option<Vec<String>>,
    /// Headers that every request carries, by name. They replace those of before, and their values are never shown.
    #[schema(value_type = Option<Object>, examples(json!({"Authorization": "Bearer …"})))]
    headers: Option<BTreeMap<String, String>>,
    /// Seconds that a request may take.
    #[schema(minimum = 1, maximum = 60)]
    timeout_seconds: Option<i32>,
    /// Seconds between attempts; null for WEBHOOK_RETRY_SCHEDULE, an empty list for one attempt.
    #[schema(max_items = 50, examples(json!([5, 300, 1800])))]
    retry_schedule: Option<Vec<f64>>,
    /// Requests at a time, per worker.
    #[schema(minimum = 1, maximum = 100)]
    concurrency: Option<i32>,
    /// Requests per minute, per worker; null for no limit.
    #[schema(minimum = 1, maximum = 60000)]
    rate_per_minute: Option<i32>,
    /// Who is told when it is disabled; null: no one.
    #[schema(max_length = 254)]
    owner_email: Option<String>,
    /// Networks in which this endpoint alone may be, besides those of OUTBOUND_ALLOWED_NETWORKS: addresses or networks. A
    /// link-local address or a metadata service counts only when it is written alone.
    #[schema(max_items = 20, examples(json!(["10.20.0.0/16"])))]
    allowed_networks: Option<Vec<String>>,
    /// Of a partner: it may sign only the bytes that it sends, and no other form of the payload.
    inbound_strict_raw: Option<bool>,
    /// Of a partner: how far the time that it signs may lie from our clock, in seconds; 0 for any. Null:
    /// WEBHOOK_TOLERANCE_SECONDS for Standard Webhooks, and any for a time in the payload.
    #[schema(minimum = 0, maximum = 604800)]
    inbound_tolerance_seconds: Option<i32>,
}

/// The same as a record.
struct Settings {
    name: String,
    url: String,
    events: Option<Vec<String>>,
    secret: Option<String>,
    canonical: Canonical,
    signature_prefix: String,
    signature_headers: Vec<String>,
    /// `None`: they stay as they are.
    headers: Option<BTreeMap<String, String>>,
    timeout_seconds: i32,
    retry_schedule: Option<Vec<f64>>,
    concurrency: i32,
    rate_per_minute: Option<i32>,
    owner_email: Option<String>,
    allowed_networks: Vec<String>,
    inbound_strict_raw: bool,
    inbound_tolerance_seconds: Option<i32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            events: None,
            secret: None,
            canonical: Canonical::default(),
            signature_prefix: String::new(),
            signature_headers: Vec::new(),
            headers: None,
            timeout_seconds: USUAL_TIMEOUT.as_secs() as i32,
            retry_schedule: None,
            concurrency: USUAL_CONCURRENCY,
            rate_per_minute: None,
            owner_email: None,
            allowed_networks: Vec::new(),
            inbound_strict_raw: false,
            inbound_tolerance_seconds: None,
        }
    }
}

impl Form for Settings {
    const REQUIRED: &'static [&'static str] = &["name", "url", "events"];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set("name", &mut self.name);
        if fields.has("url") {
            self.url = fields.required::<String>("url").trim().to_owned();
        }
        if fields.has("events") {
            self.events = fields.mandatory("events").or(self.events.take());
        }
        self.secret = fields.optional::<Verbatim>("secret").map(|Verbatim(secret)| secret);
        fields.set("canonical", &mut self.canonical);
        if fields.has("signature_prefix") {
            self.signature_prefix = fields.optional("signature_prefix").unwrap_or_default();
        }
        fields.set("signature_headers", &mut self.signature_headers);
        if fields.has("headers") {
            self.headers = Some(fields.optional::<OwnHeaders>("headers").unwrap_or_default().0);
        }
        fields.set("timeout_seconds", &mut self.timeout_seconds);
        if fields.has("retry_schedule") {
            let waits: Option<Vec<Wait>> = fields.optional("retry_schedule");
            self.retry_schedule = waits.map(|waits| waits.into_iter().map(|Wait(seconds)| seconds).collect());
        }
        fields.set("concurrency", &mut self.concurrency);
        fields.set_nullable("rate_per_minute", &mut self.rate_per_minute);
        fields.set_clearable("owner_email", &mut self.owner_email);
        if fields.has("allowed_networks") {
            self.allowed_networks = fields.optional("allowed_networks").unwrap_or_default();
        }
        fields.set("inbound_strict_raw", &mut self.inbound_strict_raw);
        fields.set_nullable("inbound_tolerance_seconds", &mut self.inbound_tolerance_seconds);
    }
}

impl Settings {
    fn of(endpoint: &Endpoint, connection: Option<&Connection>) -> Self {
        let tolerance = connection.and_then(|connection| connection.tolerance_seconds);
        Self {
            name: endpoint.name.clone(),
            url: endpoint.url.clone(),
            events: endpoint.events.as_ref().map(|events| events.0.clone()),
            secret: None,
            canonical: endpoint.canonical,
            signature_prefix: endpoint.signature_prefix.clone(),
            signature_headers: endpoint.signature_headers.0.clone(),
            headers: None,
            timeout_seconds: endpoint.timeout_seconds,
            retry_schedule: endpoint.retry_schedule.as_ref().map(|schedule| schedule.0.clone()),
            concurrency: endpoint.concurrency,
            rate_per_minute: endpoint.rate_per_minute,
            owner_email: endpoint.owner_email.clone(),
            allowed_networks: endpoint.allowed_networks().to_vec(),
            inbound_strict_raw: connection.is_some_and(|connection| connection.strict_raw),
            inbound_tolerance_seconds: tolerance.and_then(|seconds| i32::try_from(seconds).ok()),
        }
    }

    /// All that is wrong; spells what is right as it is kept.
    fn errors(&mut self, api: &Api, before: Option<&Endpoint>, is_partners: bool) -> Errors {
        let mut errors = Vec::new();
        self.name = self.name.trim().to_owned();
        if self.name.is_empty() {
            errors.push(("name", "Este campo no puede estar en blanco.".to_owned()));
        }
        check_text(&mut errors, "name", Some(&self.name), 255);
        let is_environments = before.is_some_and(|before| before.system != system::NAME);
        let url_changes = before.is_none_or(|before| before.url != self.url);
        let reach_changes = before.is_some_and(|before| before.allowed_networks() != self.allowed_networks);
        let reach = self.reach(&mut errors, api.context.config.reach_of_webhooks());
        if url_changes && is_environments {
            errors.push(("url", "La fija COMERCIAL_WEBHOOK_URL en el entorno.".to_owned()));
        } else if self.url.len() > LONGEST_URL {
            errors.push(("url", format!("La URL tiene más de {LONGEST_URL} bytes.")));
        } else if let Err(error) = reach.check_url(&self.url) {
            match (url_changes, reach_changes) {
                (true, _) => errors.push(("url", unreachable_for(&error))),
                (false, true) => errors.push(("allowed_networks", format!("{} {}", self.url, unreachable_for(&error)))),
                (false, false) => {}
            }
        }
        if is_environments && self.headers.is_some() {
            errors.push(("headers", "Los fija COMERCIAL_WEBHOOK_TOKEN en el entorno.".to_owned()));
        }
        if is_partners && self.headers.is_some() {
            errors.push(("headers", "Los encabezados de un partner dicen quién llama; no se cambian.".to_owned()));
        }
        self.events = self.events.take().map(|events| check_events(&mut errors, events));
        self.check_signing(&mut errors);
        self.check_pace(&mut errors);
        self.owner_email = match self.owner_email.as_deref().map(normalise_email).transpose() {
            Ok(email) => email,
            Err(error) => {
                errors.push(("owner_email", error.in_spanish()));
                None
            }
        };
        errors
    }

    /// How far its requests may go: as far as the installation's, and into its own networks.
    fn reach(&mut self, errors: &mut Errors, mut installation: Reach) -> Reach {
        self.allowed_networks = self.allowed_networks.iter().map(|network| network.trim().to_owned()).collect();
        self.allowed_networks.dedup();
        if self.allowed_networks.len() > MOST_NETWORKS {
            errors.push(("allowed_networks", format!("Son más de {MOST_NETWORKS} redes.")));
        }
        for network in &self.allowed_networks {
            match network.parse() {
                Ok(network) => installation.networks.push(network),
                Err(_) => errors.push(("allowed_networks", not_a_network(network))),
            }
        }
        installation
    }

    fn check_signing(&self, errors: &mut Errors) {
        if self.signature_prefix.len() > 20 || !self.signature_prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            errors
                .push(("signature_prefix", "Son 20 caracteres ASCII visibles como máximo, p. ej. sha256=.".to_owned()));
        }
        if self.signature_headers.len() > 5 {
            errors.push(("signature_headers", "Son más de 5 encabezados.".to_owned()));
        }
        for name in &self.signature_headers {
            if let Err(error) = check_header(name) {
                errors.push(("signature_headers", error));
            }
        }
        for (name, value) in self.headers.iter().flatten() {
            let is_value = value.len() <= 4_096 && HeaderValue::from_str(value).is_ok();
            let checked =
                if is_value { check_header(name) } else { Err(format!("{name}: no es el valor de un encabezado.")) };
            if let Err(error) = checked {
                errors.push(("headers", error));
            }
        }
        if self.headers.as_ref().is_some_and(|headers| headers.len() > 20) {
            errors.push(("headers", "Son más de 20 encabezados.".to_owned()));
        }
    }

    fn check_pace(&self, errors: &mut Errors) {
        let mut between = |field: &'static str, number: i32, most: i32, least: i32| {
            if !(least..=most).contains(&number) {
                errors.push((field, format!("Debe estar entre {least} y {most}.")));
            }
        };
        between("timeout_seconds", self.timeout_seconds, 60, 1);
        between("concurrency", self.concurrency, 100, 1);
        between("rate_per_minute", self.rate_per_minute.unwrap_or(1), 60_000, 1);
        between("inbound_tolerance_seconds", self.inbound_tolerance_seconds.unwrap_or(0), 604_800, 0);
        if self.retry_schedule.as_ref().is_some_and(|schedule| schedule.len() > 50) {
            errors.push(("retry_schedule", "Son más de 50 esperas.".to_owned()));
        }
    }

    fn change(&self) -> Change {
        Change {
            name: self.name.clone(),
            url: self.url.clone(),
            events: self.events.clone(),
            canonical: self.canonical,
            profile: Profile { prefix: self.signature_prefix.clone(), extra_headers: self.signature_headers.clone() },
            timeout: Duration::from_secs(self.timeout_seconds.unsigned_abs().into()),
            retry_schedule: self.retry_schedule.clone(),
            concurrency: self.concurrency,
            rate_per_minute: self.rate_per_minute,
            owner_email: self.owner_email.clone(),
        }
    }
}

/// Networks that one endpoint may have.
const MOST_NETWORKS: usize = 20;

fn not_a_network(text: &str) -> String {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    format!("\"{shown}\" no es una red; escriba una dirección o una red, p. ej. 10.20.0.0/16.")
}

/// Why a URL is not reached, with the remedy that this place has.
fn unreachable_for(error: &OutboundError) -> String {
    let words = error.in_spanish();
    match error {
        OutboundError::NotPublic | OutboundError::NotHttps => {
            format!("{words} Para este endpoint solo, permita su red en allowed_networks.")
        }
        OutboundError::Forbidden => format!("{words} Solo si esa misma dirección está en allowed_networks."),
        OutboundError::NotAUrl | OutboundError::Credentials => words.to_owned(),
    }
}

/// Headers that we or HTTP write.
const RESERVED: [&str; 12] = [
    "host",
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "expect",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "user-agent",
];

fn check_header(name: &str) -> Result<(), String> {
    if name.len() > 100 || HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("\"{}\" no es el nombre de un encabezado.", name.escape_debug()));
    }
    let is_ours = LEGACY_HEADERS.iter().any(|ours| ours.eq_ignore_ascii_case(name));
    if is_ours || RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        return Err(format!("El encabezado {name} ya lo escribe cada webhook."));
    }
    Ok(())
}

/// Headers by name.
#[derive(Default)]
struct OwnHeaders(BTreeMap<String, String>);

impl Field for OwnHeaders {
    fn read(value: Value) -> Result<Self, String> {
        let headers = serde_json::from_value::<BTreeMap<String, String>>(value);
        headers.map(Self).map_err(|_| "Es un objeto de textos: {\"Authorization\": \"…\"}.".to_owned())
    }
}

/// A wait between attempts, in seconds.
struct Wait(f64);

impl Field for Wait {
    fn read(value: Value) -> Result<Self, String> {
        let longest = 30.0 * 24.0 * 60.0 * 60.0;
        let seconds = value.as_f64().filter(|seconds| (0.0..=longest).contains(seconds));
        seconds.map(Self).ok_or_else(|| format!("Es un número de segundos de 0 a {longest}."))
    }
}

impl Field for Canonical {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}
