//! The signature debugger: why a webhook is believed or not, and what its sender should change.

use std::sync::Arc;

use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_partners::connections::{self, Connection};
use recado_partners::{inbound, rejected};
use recado_webhooks::debugger::{self, Report, Reveal, SignatureCheck};
use recado_webhooks::dialect::{Received, Rules};
use recado_webhooks::endpoints::{self, Sealer};
use recado_webhooks::signature::Secret;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::keys::Caller;
use crate::auth::{May, Read};
use crate::extract::body::Json;
use crate::extract::fields::{Field, Verbatim};
use crate::extract::language::{Spoken, SpokenQuery};
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{Conflict, FieldErrors, Problem};
use crate::routes::partners::inbound::secrets;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(verify))
}

pub(crate) fn of_inbound() -> Routes {
    Routes::new().routes(routes!(explain_inbound))
}

/// Looks at a webhook as we would when it came: each dialect with each secret against each header, where the signed bytes differ
/// from those that were sent, what the sender did instead, and how to sign.
///
/// `partner` says whose secrets count, `endpoint` is for what we sent ourselves, and with `secret` nothing has to be registered.
/// Signatures that a stored secret gives are never shown in full, and their beginning only with the scope `admin`: who sees
/// one could forge. With `secret` in the request all is shown. Nothing is kept.
#[utoipa::path(post, path = "/", tag = "webhooks", operation_id = "verify_webhook", params(SpokenQuery),
    request_body = VerifyRequest,
    responses((status = 200, description = "What was found; `accepted` is the verdict", body = Report)))]
async fn verify(
    may: May<Read>,
    State(api): State<Arc<Api>>,
    Spoken(language): Spoken,
    Json(asked): Json<VerifyRequest>,
) -> Result<axum::Json<Report>, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.read().await?;
    let verifier = verifier_of(&api, &mut session, &asked, now).await?;
    drop(session);
    let reveal = if asked.secret.is_some() { Reveal::All } else { revealed_to(&may.caller) };
    let body = asked.body.map_or_else(Vec::new, |Bytes(body)| body);
    let body = asked.body_base64.map_or(body, |Base64(body)| body);
    let came = Came { headers: asked.headers.0, body, at: asked.at.unwrap_or(now) };
    examine(verifier, reveal, came, language).await.map(axum::Json)
}

/// What was right or wrong with a webhook that came, by its id among those that were taken or refused.
#[utoipa::path(get, path = "/{id}/verification", tag = "webhooks", operation_id = "explain_inbound_webhook",
    params(("id" = Id, Path, description = "Id of the webhook"), SpokenQuery),
    responses(
        (status = 200, description = "What was found", body = Report),
        (status = 409, description = "Its body is not kept: it was too large, or its retention is over")))]
async fn explain_inbound(
    may: May<Read>,
    State(api): State<Arc<Api>>,
    Spoken(language): Spoken,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<Report>, Problem> {
    let mut session = api.context.db.read().await?;
    if let Some(event) = inbound::find(&mut session, id).await? {
        let body = event.body.ok_or_else(no_body)?;
        return Ok(axum::Json(debugger::remember(&event.dialect, body.as_bytes(), language)));
    }
    let rejected = rejected::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let body = rejected.body().ok_or_else(no_body)?;
    let connection = connections::of_partner(&mut session, rejected.partner).await?.ok_or(Problem::NotFound)?;
    drop(session);
    // With the secrets of now: those of then may have been rotated, and a sender is helped with those that count.
    let verifier = of_partner(&api, &connection, api.context.clock.now())?;
    let came = Came { headers: rejected.headers.0, body, at: rejected.received_at };
    Ok(axum::Json(examine(verifier, revealed_to(&may.caller), came, language).await?))
}

fn no_body() -> Problem {
    Problem::Conflict(Conflict {
        code: "body-not-kept",
        title: "El cuerpo no se conserva",
        detail: "Era demasiado grande, o terminó su plazo de retención (WEBHOOK_RETENTION_DAYS).".to_owned(),
    })
}

/// Who may change partners may see what helps to compare; a reader could sign with more.
fn revealed_to(caller: &Caller) -> Reveal {
    if caller.administers() { Reveal::Beginning } else { Reveal::Nothing }
}

/// Secrets and rules.
struct Verifier {
    secrets: Vec<Secret>,
    rules: Rules,
}

async fn verifier_of(
    api: &Api,
    session: &mut Session,
    asked: &VerifyRequest,
    now: Timestamp,
) -> Result<Verifier, Problem> {
    let unknown = |field: &str| Problem::from(FieldErrors::one(field, "No existe."));
    let partner = match &asked.partner {
        Some(reference) => Some(known_partner(session, reference).await?.ok_or_else(|| unknown("partner"))?),
        None => None,
    };
    let usual = Rules {
        strict_raw: false,
        tolerance_seconds: api.context.config.webhook_tolerance_seconds,
        payload_tolerance_seconds: 0,
    };
    if let Some(StatedSecret(secret)) = &asked.secret {
        let rules = partner.map_or(usual, |partner| partner.rules(api.context.config.webhook_tolerance_seconds));
        return Ok(Verifier { secrets: vec![secret.clone()], rules });
    }
    if let Some(partner) = partner {
        return of_partner(api, &partner, now);
    }
    let id = asked.endpoint.ok_or_else(|| {
        FieldErrors::one("partner", "Indique partner, endpoint o secret: con qué secreto se comprueba la firma.")
    })?;
    let endpoint = endpoints::find(session, id).await?.ok_or_else(|| unknown("endpoint"))?;
    let key = api.context.config.secret_key.as_ref().ok_or(Problem::Unavailable)?;
    let secrets = endpoint.secrets(Sealer(key), now).map_err(|error| {
        tracing::error!(endpoint.id = %id, "the secret of endpoint {id} cannot be read: {error}");
        Problem::Unavailable
    })?;
    Ok(Verifier { secrets, rules: usual })
}

fn of_partner(api: &Api, connection: &Connection, now: Timestamp) -> Result<Verifier, Problem> {
    let rules = connection.rules(api.context.config.webhook_tolerance_seconds);
    Ok(Verifier { secrets: secrets(api, connection, now)?, rules })
}

/// By slug, by `partner_id`, or by its id in the registry.
async fn known_partner(session: &mut Session, reference: &str) -> Result<Option<Connection>, Problem> {
    match (connections::find(session, reference).await?, reference.parse()) {
        (Some(found), _) => Ok(Some(found)),
        (None, Ok(id)) => Ok(connections::of_partner(session, id).await?),
        (None, Err(_)) => Ok(None),
    }
}

/// A webhook as it came.
struct Came {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    at: Timestamp,
}

/// On a thread of its own kind: a large body is hashed a hundred times.
async fn examine(
    Verifier { secrets, rules }: Verifier,
    reveal: Reveal,
    Came { headers, body, at: now }: Came,
    language: Language,
) -> Result<Report, Problem> {
    let examined = tokio::task::spawn_blocking(move || {
        let received = Received { headers: &headers, body: &body };
        debugger::examine(SignatureCheck { secrets: &secrets, reveal, rules: &rules, received, now, language })
    });
    examined.await.map_err(|_| Problem::Panicked)
}

request! {
    /// A webhook to look at.
    #[derive(ToSchema)]
    struct VerifyRequest {
        /// Whose secrets count: slug, `partner_id`, or id in the registry.
        #[schema(examples("findyourwork"))]
        partner: Option<String>,
        /// For a webhook that we sent: the endpoint that it went to.
        endpoint: Option<Id>,
        /// A secret, in place of those that are stored.
        #[schema(value_type = Option<String>, min_length = 1, max_length = 1000)]
        secret: Option<StatedSecret>,
        /// Headers by name; a list of texts for one that stands more than once.
        #[schema(value_type = Object, examples(json!({"X-Partner-Signature": "bc1d48…"})))]
        headers: HeaderFields,
        /// The body, to the letter.
        #[schema(value_type = Option<String>)]
        body: Option<Bytes>,
        /// The body in base64, where its bytes are no text or must not be touched.
        #[schema(value_type = Option<String>)]
        body_base64: Option<Base64>,
        /// When it came; now, if it is left out.
        at: Option<Timestamp>,
    }

    /// A webhook of the largest size in base64, and the rest.
    const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

    fn errors(&self) -> Vec<(&'static str, String)> {
        match (&self.body, &self.body_base64) {
            (Some(_), Some(_)) => vec![("body_base64", "Envíe body o body_base64, no los dos.".to_owned())],
            (None, None) => vec![("body", "Envíe body o body_base64; un cuerpo vacío es \"\".".to_owned())],
            _ => Vec::new(),
        }
    }
}

/// A body to the letter, also when it is blank.
struct Bytes(Vec<u8>);

impl Field for Bytes {
    const BLANK_IS_NOTHING: bool = false;

    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(Self(text.into_bytes())),
            _ => Err("Es el texto del cuerpo, no JSON: póngalo entre comillas, o use body_base64.".to_owned()),
        }
    }
}

/// Bytes in base64.
struct Base64(Vec<u8>);

impl Field for Base64 {
    const BLANK_IS_NOTHING: bool = false;

    fn read(value: Value) -> Result<Self, String> {
        let decoded = value.as_str().and_then(|text| STANDARD.decode(text.trim()).ok());
        decoded.map(Self).ok_or_else(|| "No es base64.".to_owned())
    }
}

/// A secret as somebody wrote it down: also one that could not be registered, because that may be the mistake.
struct StatedSecret(Secret);

impl Field for StatedSecret {
    fn read(value: Value) -> Result<Self, String> {
        let Verbatim(text) = Verbatim::read(value)?;
        match text.len() {
            1..=1_000 => Ok(Self(Secret::from(secrecy::SecretString::from(text)))),
            _ => Err("Un secreto tiene de 1 a 1000 bytes.".to_owned()),
        }
    }
}

/// The most headers of a request that are looked at.
const MOST_HEADERS: usize = 100;

/// Headers by name.
struct HeaderFields(Vec<(String, String)>);

impl Field for HeaderFields {
    fn read(value: Value) -> Result<Self, String> {
        const SHAPE: &str = "Es un objeto de textos, o de listas de textos: {\"X-Partner-Signature\": \"…\"}.";
        let Value::Object(fields) = value else { return Err(SHAPE.to_owned()) };
        let mut headers = Vec::new();
        for (name, value) in fields {
            let name = name.trim().to_ascii_lowercase();
            match value {
                Value::String(text) => headers.push((name, text)),
                Value::Array(texts) => {
                    for text in texts {
                        let text = text.as_str().ok_or(SHAPE)?;
                        headers.push((name.clone(), text.to_owned()));
                    }
                }
                _ => return Err(SHAPE.to_owned()),
            }
        }
        if headers.len() > MOST_HEADERS {
            return Err(format!("Son más de {MOST_HEADERS} encabezados."));
        }
        Ok(Self(headers))
    }
}
