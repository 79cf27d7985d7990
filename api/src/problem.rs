//! Everything that can go wrong with a request, and the answer to each: one enum, one exhaustive match.
//!
//! Each façade keeps the envelope that its clients parse (d23, [`Envelope`]). The match says what is answered; [`fields`],
//! [`coded`] and [`document`] say in which shape. The dispatch has an envelope of its own (S002-42).

use axum::body::to_bytes;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use recado_kernel::api_keys::Scope;
use recado_kernel::db;
use recado_kernel::errors::explain;
use recado_notifications::dispatch::Rejection;
use recado_partners::registry::{self, Refusal};
use recado_partners::standing::Standing;
use recado_queue::enqueue::Unavailable;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::envelope::{self, Envelope};
use crate::request_id;

/// A request that cannot be answered as its caller hoped.
#[derive(Debug)]
pub(crate) enum Problem {
    /// 400. Fields with their errors.
    Fields(FieldErrors),
    /// 400. The body is no JSON, or none that is taken in; the text says what and where.
    Malformed(String),
    /// 400, 422, 500 or 503. An event was not accepted.
    Dispatch { rejection: Rejection, minimum_fields: &'static [&'static str] },
    /// 400. A template was to be shown with a context that lacks some of its variables (S002-45).
    MissingVariables { missing: Vec<String>, template_variables: Vec<String> },
    /// 400, 404, 409 or 410. The registry of partners did not do it.
    Partners(Refusal),
    /// 403, 409 or 410. Nothing goes out to this partner as it stands.
    PartnerStopped(Standing),
    /// 401. No key or secret, or one that is not in force.
    Unauthenticated(Credential),
    /// 403. The key is good but lacks this scope.
    Forbidden { scope: Scope },
    /// 409. What the request asks for cannot be done any more, or not now.
    Conflict(Conflict),
    /// 403. The signature is good, and its partner is suspended, inactive, deleted or revoked (d22).
    PartnerInactive,
    /// 404.
    NotFound,
    /// 404. The sentence says what was looked for, and where the caller finds what there is.
    Nothing(String),
    /// 404. The list ends before this page.
    NoSuchPage,
    /// A page so far behind that a filter must lead there.
    PageTooDeep,
    /// 405. The router adds `Allow`.
    MethodNotAllowed(Method),
    /// 408. The body came too slowly.
    TooSlow,
    /// 413. The most that is read, in bytes.
    TooLarge { largest: usize },
    /// 415.
    UnsupportedMediaType(String),
    /// 415. The body is compressed, or encoded in another way.
    UnsupportedEncoding(String),
    /// 415. Where no key is asked for, a page of another site could have made this request.
    ForeignWrite,
    /// 403. The token is another customer's.
    ForeignCustomer,
    /// 429. The caller may come back in so many seconds.
    Throttled { seconds: u64 },
    /// 500 or 503. The database did not do its part.
    Database(db::Error),
    /// 503. The same request may work in a moment.
    Unavailable,
    /// 503. There are too many requests at once, or their bodies are too large together.
    Overloaded,
    /// 503. The WhatsApp bridge did not do what was asked of it; the sentence says why.
    Bridge(String),
    /// 503.
    TimedOut,
    /// 500. A bug of ours.
    Panicked,
}

/// Why something cannot be done as things stand.
#[derive(Debug)]
pub(crate) struct Conflict {
    /// For programs, with hyphens.
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    /// What is in the way, and since when.
    pub(crate) detail: String,
}

/// What a caller shows to get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// `Authorization: Bearer …`
    ApiKey,
    /// `X-Internal-Secret: …`
    InternalSecret,
    /// `X-Webhook-Token: …`, or a JWT as a bearer.
    EvolutionWebhook,
    /// `X-CRM-Webhook-Token: …`
    CrmWebhook,
    /// A signature of a partner's secret.
    PartnerSignature,
    /// `X-Hub-Signature-256: sha256=…`, or the secret as a bearer.
    Bridge,
}

impl Credential {
    /// For metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::InternalSecret => "internal_secret",
            Self::EvolutionWebhook => "evolution_webhook",
            Self::CrmWebhook => "crm_webhook",
            Self::PartnerSignature => "partner_signature",
            Self::Bridge => "whatsapp_bridge",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self {
            Self::Fields(errors) => fields(&errors),
            Self::Malformed(text) => malformed(&text),
            Self::Dispatch { rejection, minimum_fields } => dispatch(rejection, minimum_fields),
            Self::MissingVariables { missing, template_variables } => missing_variables(missing, template_variables),
            Self::Partners(refusal) => partners(&refusal),
            Self::PartnerStopped(standing) => stopped(standing),
            Self::Unauthenticated(credential) => unauthenticated(credential),
            Self::Forbidden { scope } => {
                detail(StatusCode::FORBIDDEN, &format!("La clave no tiene el permiso \"{scope}\". Cree otra con él."))
            }
            Self::Conflict(Conflict { code, title, detail }) => document(StatusCode::CONFLICT, code, title, &detail),
            Self::PartnerInactive => detail(StatusCode::FORBIDDEN, "El partner no está activo."),
            Self::NotFound => detail(StatusCode::NOT_FOUND, "No encontrado."),
            Self::Nothing(sentence) => detail(StatusCode::NOT_FOUND, &sentence),
            Self::NoSuchPage => detail(StatusCode::NOT_FOUND, "Página inválida."),
            Self::PageTooDeep => detail(
                StatusCode::NOT_FOUND,
                "Página inválida: solo se paginan las primeras 100 000 entradas. Acote la lista con filtros.",
            ),
            Self::MethodNotAllowed(method) => {
                detail(StatusCode::METHOD_NOT_ALLOWED, &format!("Método \"{method}\" no permitido."))
            }
            Self::TooSlow => detail(StatusCode::REQUEST_TIMEOUT, "El cuerpo de la solicitud no llegó a tiempo."),
            Self::TooLarge { largest } => {
                let text = format!("El cuerpo supera el máximo de {largest} bytes.");
                detail(StatusCode::PAYLOAD_TOO_LARGE, &text)
            }
            Self::UnsupportedMediaType(media_type) => {
                let text =
                    format!("Tipo de medio \"{media_type}\" incompatible en la solicitud. Envíe application/json.");
                detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text)
            }
            Self::UnsupportedEncoding(encoding) => {
                let text =
                    format!("Codificación \"{encoding}\" incompatible en la solicitud. Envíe el cuerpo sin comprimir.");
                with(detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text), ACCEPT_ENCODING, "identity")
            }
            Self::ForeignWrite => detail(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Sin clave, un POST necesita el encabezado Content-Type: application/json, para que no pueda hacerlo una página ajena.",
            ),
            Self::ForeignCustomer => detail(StatusCode::FORBIDDEN, "El token es de otro cliente."),
            Self::Throttled { seconds } => {
                let text = format!("Solicitud regulada (throttled). Disponible en {seconds} segundos.");
                let mut answer = detail(StatusCode::TOO_MANY_REQUESTS, &text);
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
                answer
            }
            Self::Database(error) => database(&error),
            Self::Unavailable => again_in_a_moment(detail(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE)),
            Self::Overloaded => again_in_a_moment(detail(
                StatusCode::SERVICE_UNAVAILABLE,
                "Hay demasiadas solicitudes a la vez. Inténtelo de nuevo.",
            )),
            Self::Bridge(sentence) => again_in_a_moment(detail(StatusCode::SERVICE_UNAVAILABLE, &sentence)),
            Self::TimedOut => again_in_a_moment(detail(
                StatusCode::SERVICE_UNAVAILABLE,
                "La solicitud tardó demasiado. Inténtelo de nuevo.",
            )),
            Self::Panicked => document(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal-error",
                "Error interno",
                "Ocurrió un error inesperado. Indique el valor de `instance` a quien opera el servicio.",
            ),
        }
    }
}

const UNAVAILABLE: &str = "El servicio no está disponible por el momento. Inténtelo de nuevo.";

/// S002-42, and what the intake says besides.
fn dispatch(rejection: Rejection, minimum_fields: &'static [&'static str]) -> Response {
    match rejection {
        Rejection::Fields(errors) => Problem::Fields(errors.into()).into_response(),
        Rejection::Refused(errors) => {
            let errors: Vec<String> = errors.into_iter().map(String::from).collect();
            let first = errors.first().cloned().unwrap_or_default();
            let refusal = NotAccepted { errors, ..NotAccepted::because(first, minimum_fields) };
            answer(StatusCode::BAD_REQUEST, refusal)
        }
        Rejection::MissingVariables(missing) => {
            let hint = format!("Agregue a `context`: {}.", missing.join(", "));
            let refusal = NotAccepted {
                missing_fields: missing,
                hint: Some(hint),
                ..NotAccepted::because("Faltan variables de contexto requeridas", minimum_fields)
            };
            answer(StatusCode::BAD_REQUEST, refusal)
        }
        Rejection::Template { template, reason } => {
            tracing::error!(%template, "the template `{template}` cannot be rendered: {reason}");
            let error = format!("La plantilla \"{template}\" no se puede renderizar: {reason}");
            answer(StatusCode::INTERNAL_SERVER_ERROR, NotAccepted::because(error, minimum_fields))
        }
        Rejection::KeyReused => document(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "La clave de idempotencia ya se usó con otra solicitud",
            "Use un Idempotency-Key nuevo para cada solicitud distinta; repita el mismo solo con el mismo contenido.",
        ),
        // A commit whose answer was lost may have happened, so a caller must not send twice without a key.
        Rejection::Unavailable => {
            let refusal = NotAccepted {
                hint: Some(
                    "Con un mismo encabezado Idempotency-Key en cada intento, el evento no se duplica.".to_owned(),
                ),
                ..NotAccepted::because(UNAVAILABLE, minimum_fields)
            };
            again_in_a_moment(answer(StatusCode::SERVICE_UNAVAILABLE, refusal))
        }
    }
}

/// Why an event was not accepted (S002-42). Wrong fields come as `{"field": ["…"]}` instead.
#[derive(Serialize, ToSchema)]
pub(crate) struct NotAccepted {
    /// Always false.
    #[schema(examples(false))]
    success: bool,
    /// What is wrong, in a sentence.
    #[schema(examples("Faltan variables de contexto requeridas"))]
    error: String,
    /// All sentences, where more than one thing is wrong.
    errors: Vec<String>,
    /// Variables that the templates need and the context lacks, as they stand in the texts; the minimum by its ids.
    missing_fields: Vec<String>,
    /// What to do.
    hint: Option<String>,
    /// What every context holds.
    #[schema(value_type = Vec<String>)]
    minimum_fields: &'static [&'static str],
    /// Always null: there is no such event.
    correlation_id: Option<String>,
    /// Always 0.
    notifications_queued: usize,
}

impl NotAccepted {
    fn because(error: impl Into<String>, minimum_fields: &'static [&'static str]) -> Self {
        let error = error.into();
        Self {
            success: false,
            errors: vec![error.clone()],
            error,
            missing_fields: Vec::new(),
            hint: None,
            minimum_fields,
            correlation_id: None,
            notifications_queued: 0,
        }
    }
}

/// What a text needs and its context lacks (S002-45).
#[derive(Serialize, ToSchema)]
pub(crate) struct MissingVariables {
    /// What is wrong, in a sentence.
    error: &'static str,
    /// What to add to `context`, as it stands in the text.
    #[schema(examples(json!(["Hora"])))]
    missing_variables: Vec<String>,
    /// What to do.
    #[schema(examples("Agregue a `context`: Hora."))]
    hint: String,
    /// All variables of the text, as they stand in it.
    #[schema(examples(json!(["Nombre", "Hora"])))]
    template_variables: Vec<String>,
}

fn missing_variables(missing_variables: Vec<String>, template_variables: Vec<String>) -> Response {
    let hint = format!("Agregue a `context`: {}.", missing_variables.join(", "));
    let error = "Faltan variables de contexto requeridas";
    answer(StatusCode::BAD_REQUEST, MissingVariables { error, missing_variables, hint, template_variables })
}

fn unauthenticated(credential: Credential) -> Response {
    let (challenge, text) = match credential {
        Credential::ApiKey => {
            ("Bearer", "Falta una clave de API válida. Envíe el encabezado Authorization: Bearer <clave>.")
        }
        Credential::EvolutionWebhook => (
            "Bearer",
            "El webhook de Evolution no se identificó. Configure en él el jwt_key de EVOLUTION_WEBHOOK_JWT_KEY, o el \
             encabezado X-Webhook-Token con el valor de EVOLUTION_WEBHOOK_TOKEN.",
        ),
        // S004-2: the sentence of the document.
        // S000-8: the words of the document.
        Credential::PartnerSignature => ("Signature", "Firma inválida"),
        Credential::Bridge => (
            "Bearer",
            "Falta la firma X-Hub-Signature-256 del cuerpo, o Authorization: Bearer, con WHATSAPP_WEBHOOK_SECRET.",
        ),
        Credential::CrmWebhook => ("X-CRM-Webhook-Token", "Token de autenticación inválido."),
        Credential::InternalSecret => {
            ("X-Internal-Secret", "Falta el encabezado X-Internal-Secret, o su valor no es INTERNAL_API_SECRET_KEY.")
        }
    };
    with(detail(StatusCode::UNAUTHORIZED, text), WWW_AUTHENTICATE, challenge)
}

/// An outage passes; anything else is a mistake of ours, and trying again does not help.
fn database(error: &db::Error) -> Response {
    let reason = explain(error);
    tracing::error!(error = reason, "the database did not do its part: {reason}");
    if db::is_outcome_unknown(error) {
        let text = "No se sabe si el cambio se guardó: la base de datos no confirmó. Consulte con GET antes de repetirlo, o repita la misma solicitud con el mismo Idempotency-Key, que no la ejecuta dos veces.";
        return again_in_a_moment(detail(StatusCode::SERVICE_UNAVAILABLE, text));
    }
    if db::is_outage(error) {
        return Problem::Unavailable.into_response();
    }
    document(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal-error",
        "Error interno",
        "La base de datos rechazó la operación.",
    )
}

fn partners(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::UnknownKycStatus(_) | Refusal::Field { .. } => StatusCode::BAD_REQUEST,
        Refusal::PartnerNotFound | Refusal::IntegrationNotFound => StatusCode::NOT_FOUND,
        Refusal::EmailTaken => StatusCode::CONFLICT,
        Refusal::PartnerDeleted | Refusal::IntegrationRevoked => StatusCode::GONE,
    };
    coded(status, refusal.code(), &refusal.to_string())
}

/// d22: why nothing goes out, and what helps.
fn stopped(standing: Standing) -> Response {
    let (status, text) = match standing {
        Standing::Suspended => (StatusCode::FORBIDDEN, "El partner está suspendido; no se le envía nada."),
        Standing::KycPending => {
            (StatusCode::FORBIDDEN, "El KYC del partner no está aprobado (PARTNER_REQUIRE_KYC); no se le envía nada.")
        }
        Standing::Inactive => (StatusCode::CONFLICT, "El partner está inactivo. Actívelo o regístrelo de nuevo."),
        Standing::Failing => (
            StatusCode::CONFLICT,
            "El endpoint del partner está desactivado: no aceptó nada durante días. Reactívelo con POST …/resume/.",
        ),
        Standing::Deleted => (StatusCode::GONE, "El partner está eliminado."),
        Standing::Revoked => (StatusCode::GONE, "La integración del partner está revocada. Regístrelo de nuevo."),
        Standing::Gone => (
            StatusCode::GONE,
            "El endpoint del partner respondió 410 y está desactivado. Reactívelo con POST …/resume/.",
        ),
        Standing::Active => (StatusCode::CONFLICT, "El partner cambió entretanto. Inténtelo de nuevo."),
    };
    detail(status, text)
}

/// What is wrong with which fields.
fn fields(errors: &FieldErrors) -> Response {
    let envelope = Envelope::current();
    let status = envelope.status_of_fields();
    match envelope {
        Envelope::Django => answer(status, errors.to_json()),
        Envelope::Flask | Envelope::Bridge => detail(status, &errors.to_sentence()),
        Envelope::FastApi => answer(status, json!({ "detail": errors.to_places() })),
        Envelope::Comercial => answer(status, json!({ "detail": errors.to_sentence(), "errors": errors.to_json() })),
    }
}

/// What is wrong with a body as a whole.
fn malformed(text: &str) -> Response {
    let envelope = Envelope::current();
    let status = envelope.status_of_fields();
    match envelope {
        Envelope::Django | Envelope::Flask | Envelope::Comercial | Envelope::Bridge => detail(status, text),
        Envelope::FastApi => {
            answer(status, json!({ "detail": [{ "loc": ["body"], "msg": text, "type": "json_invalid" }] }))
        }
    }
}

/// A sentence for people.
fn detail(status: StatusCode, text: &str) -> Response {
    coded(status, envelope::code_of(status), text)
}

/// A sentence for people, and a word for programs where the envelope has room for one.
fn coded(status: StatusCode, code: &str, text: &str) -> Response {
    match Envelope::current() {
        Envelope::Django | Envelope::FastApi | Envelope::Comercial => answer(status, json!({ "detail": text })),
        Envelope::Flask => answer(status, json!({ "error": text, "codigo": code })),
        Envelope::Bridge => answer(status, json!({ "status": "error", "message": text })),
    }
}

fn again_in_a_moment(answer: Response) -> Response {
    with(answer, RETRY_AFTER, "1")
}

/// RFC 9457, where nothing else was promised. `code` is for programs; `instance` is the request's id, by which the logs are
/// searched.
fn document(status: StatusCode, code: &str, title: &str, detail: &str) -> Response {
    match Envelope::current() {
        Envelope::Django => {}
        Envelope::Flask | Envelope::FastApi | Envelope::Comercial | Envelope::Bridge => {
            return coded(status, envelope::code_of(status), detail);
        }
    }
    let body = json!({
        "type": format!("urn:recado:problem:{code}"),
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
        "instance": request_id::current(),
        "code": code.replace('-', "_"),
    });
    with(answer(status, body), CONTENT_TYPE, "application/problem+json")
}

fn answer(status: StatusCode, body: impl Serialize) -> Response {
    (status, axum::Json(body)).into_response()
}

fn with(mut response: Response, name: HeaderName, value: &'static str) -> Response {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

impl Problem {
    /// The answer as a part of a larger one: its status and its body, word for word.
    pub(crate) async fn into_parts(self) -> (StatusCode, Value) {
        let (parts, body) = self.into_response().into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
        (parts.status, serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

/// What is said of a field that is not there.
pub(crate) const MISSING: &str = "Este campo es requerido.";

/// What is wrong with which fields. A dot in a name descends into an object: `subscription.keys.auth`.
#[derive(Debug, Default)]
pub(crate) struct FieldErrors(Vec<(String, String)>);

impl FieldErrors {
    pub(crate) fn one(field: &str, error: impl Into<String>) -> Self {
        Self(vec![(field.to_owned(), error.into())])
    }

    pub(crate) fn add(&mut self, field: impl Into<String>, error: impl Into<String>) {
        self.0.push((field.into(), error.into()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is wrong with this field.
    pub(crate) fn contains(&self, field: &str) -> bool {
        self.0.iter().any(|(named, _)| named == field)
    }

    /// `Ok` when nothing is wrong.
    pub(crate) fn none_or_problem(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::Fields(self)) }
    }

    /// In one text: `email: Este campo es requerido. nombre: …`
    pub(crate) fn to_sentence(&self) -> String {
        let said = |(field, error): &(String, String)| {
            if field == "non_field_errors" { error.clone() } else { format!("{field}: {error}") }
        };
        self.0.iter().map(said).collect::<Vec<_>>().join(" ")
    }

    /// FastAPI's shape: where in the request, and what.
    fn to_places(&self) -> Value {
        let place = |(path, error): &(String, String)| {
            let inside = path.split('.').filter(|part| *part != "non_field_errors");
            let place: Vec<&str> = ["body"].into_iter().chain(inside).collect();
            let kind = if error == MISSING { "missing" } else { "value_error" };
            json!({ "loc": place, "msg": error, "type": kind })
        };
        self.0.iter().map(place).collect()
    }

    /// Django REST framework's shape: lists of texts, nested as the fields are.
    pub(crate) fn to_json(&self) -> Value {
        let mut fields = Map::new();
        for (path, error) in &self.0 {
            insert(&mut fields, path, error);
        }
        Value::Object(fields)
    }
}

fn insert(fields: &mut Map<String, Value>, path: &str, error: &str) {
    let Some((outer, inner)) = path.split_once('.') else {
        if let Value::Array(errors) = fields.entry(path).or_insert_with(|| json!([])) {
            errors.push(error.into());
        }
        return;
    };
    if let Value::Object(object) = fields.entry(outer).or_insert_with(|| json!({})) {
        insert(object, inner, error);
    }
}

impl Extend<(String, String)> for FieldErrors {
    fn extend<I: IntoIterator<Item = (String, String)>>(&mut self, errors: I) {
        self.0.extend(errors);
    }
}

impl IntoIterator for FieldErrors {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<N: Into<String>, E: Into<String>> From<Vec<(N, E)>> for FieldErrors {
    fn from(errors: Vec<(N, E)>) -> Self {
        Self(errors.into_iter().map(|(field, error)| (field.into(), error.into())).collect())
    }
}

impl From<FieldErrors> for Problem {
    fn from(errors: FieldErrors) -> Self {
        Self::Fields(errors)
    }
}

/// The form in which `shared` reports what is wrong with a record.
impl<N: Into<String>, E: Into<String>> From<Vec<(N, E)>> for Problem {
    fn from(errors: Vec<(N, E)>) -> Self {
        Self::Fields(errors.into())
    }
}

impl From<db::Error> for Problem {
    fn from(error: db::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Partners(refusal)
    }
}

impl From<registry::Error> for Problem {
    fn from(error: registry::Error) -> Self {
        match error {
            registry::Error::Refused(refusal) => Self::Partners(refusal),
            registry::Error::Database(error) => Self::Database(error),
            registry::Error::Unsealable => {
                tracing::error!("a secret could not be sealed");
                Self::Unavailable
            }
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use recado_kernel::language::Sentence;

    use super::*;

    #[test]
    fn every_problem_has_its_status() {
        let rejected = |rejection| Problem::Dispatch { rejection, minimum_fields: &[] };
        let sentence = || Sentence::new("x", "x");
        let template = || Rejection::Template { template: "t".into(), reason: sentence() };
        let table = [
            (Problem::Fields(FieldErrors::one("a", "b")), 400),
            (Problem::Malformed("x".into()), 400),
            (rejected(Rejection::Fields(vec![])), 400),
            (rejected(Rejection::Refused(vec![sentence()])), 400),
            (rejected(Rejection::MissingVariables(vec!["hora".into()])), 400),
            (rejected(template()), 500),
            (rejected(Rejection::KeyReused), 422),
            (rejected(Rejection::Unavailable), 503),
            (Refusal::UnknownKycStatus("x".into()).into(), 400),
            (Refusal::Field { field: "x", error: sentence() }.into(), 400),
            (Refusal::PartnerNotFound.into(), 404),
            (Refusal::IntegrationNotFound.into(), 404),
            (Refusal::EmailTaken.into(), 409),
            (Refusal::PartnerDeleted.into(), 410),
            (Refusal::IntegrationRevoked.into(), 410),
            (Problem::PartnerStopped(Standing::Suspended), 403),
            (Problem::PartnerStopped(Standing::KycPending), 403),
            (Problem::PartnerStopped(Standing::Inactive), 409),
            (Problem::PartnerStopped(Standing::Failing), 409),
            (Problem::PartnerStopped(Standing::Deleted), 410),
            (Problem::PartnerStopped(Standing::Revoked), 410),
            (Problem::PartnerStopped(Standing::Gone), 410),
            (Problem::Unauthenticated(Credential::ApiKey), 401),
            (Problem::Unauthenticated(Credential::InternalSecret), 401),
            (Problem::Unauthenticated(Credential::EvolutionWebhook), 401),
            (Problem::Forbidden { scope: Scope::Admin }, 403),
            (Problem::Conflict(Conflict { code: "x-y", title: "x", detail: "x".into() }), 409),
            (Problem::NotFound, 404),
            (Problem::Nothing("x".into()), 404),
            (Problem::MissingVariables { missing: vec!["hora".into()], template_variables: vec![] }, 400),
            (Problem::NoSuchPage, 404),
            (Problem::PageTooDeep, 404),
            (Problem::MethodNotAllowed(Method::PUT), 405),
            (Problem::TooSlow, 408),
            (Problem::TooLarge { largest: 1 }, 413),
            (Problem::UnsupportedMediaType("text/plain".into()), 415),
            (Problem::UnsupportedEncoding("gzip".into()), 415),
            (Problem::ForeignWrite, 415),
            (Problem::ForeignCustomer, 403),
            (Problem::Overloaded, 503),
            (Problem::Throttled { seconds: 7 }, 429),
            (Problem::Database(db::Error::PoolTimedOut), 503),
            (Problem::Database(db::Error::RowNotFound), 500),
            (Problem::Unavailable, 503),
            (Problem::TimedOut, 503),
            (Problem::Panicked, 500),
        ];
        for (problem, status) in table {
            let shown = format!("{problem:?}");
            let response = problem.into_response();
            assert_eq!(response.status(), status, "{shown}");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), [429, 503].contains(&status), "{shown}");
            assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), status == 401, "{shown}");
        }
    }

    /// S001-11, d23: whatever goes wrong, the registry's clients get their two fields.
    #[tokio::test]
    async fn the_registry_has_an_envelope_of_its_own() {
        let mut fields = FieldErrors::one("email", "Este campo es requerido.");
        fields.add("nombre", "No es una cadena válida.");
        let table: [(Problem, u16, &str); 19] = [
            (Problem::Fields(fields), 400, "DATOS_INVALIDOS"),
            (Problem::Malformed("x".into()), 400, "DATOS_INVALIDOS"),
            (Refusal::Field { field: "x", error: Sentence::new("x", "x") }.into(), 400, "DATOS_INVALIDOS"),
            (Refusal::UnknownKycStatus("x".into()).into(), 400, "KYC_INVALIDO"),
            (Problem::Unauthenticated(Credential::ApiKey), 401, "NO_AUTENTICADO"),
            (Problem::Forbidden { scope: Scope::Admin }, 403, "SIN_PERMISO"),
            (Refusal::PartnerNotFound.into(), 404, "PARTNER_NO_ENCONTRADO"),
            (Refusal::IntegrationNotFound.into(), 404, "INTEGRACION_NO_ENCONTRADA"),
            (Problem::NotFound, 404, "NO_ENCONTRADO"),
            (Problem::MethodNotAllowed(Method::PATCH), 405, "METODO_NO_PERMITIDO"),
            (Problem::TooSlow, 408, "DATOS_INVALIDOS"),
            (Refusal::EmailTaken.into(), 409, "EMAIL_EXISTENTE"),
            (Refusal::PartnerDeleted.into(), 410, "PARTNER_ELIMINADO"),
            (Refusal::IntegrationRevoked.into(), 410, "INTEGRACION_YA_REVOCADA"),
            (Problem::TooLarge { largest: 1 }, 413, "DATOS_INVALIDOS"),
            (Problem::UnsupportedMediaType("text/plain".into()), 415, "DATOS_INVALIDOS"),
            (Problem::Database(db::Error::RowNotFound), 500, "ERROR_INTERNO"),
            (Problem::Panicked, 500, "ERROR_INTERNO"),
            (Problem::TimedOut, 503, "ERROR_INTERNO"),
        ];
        for (problem, status, code) in table {
            let shown = format!("{problem:?}");
            let response = Envelope::Flask.scope(async { problem.into_response() }).await;
            assert_eq!(response.headers()[CONTENT_TYPE], "application/json", "{shown}");
            let answered = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!((answered.as_u16(), body["codigo"].as_str()), (status, Some(code)), "{shown}");
            assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{shown}: {body}");
            assert_eq!(body.as_object().expect("an object").len(), 2, "{shown}: {body}");
        }
    }

    #[test]
    fn wrong_fields_make_a_sentence() {
        let mut errors = FieldErrors::one("email", "Este campo es requerido.");
        errors.add("non_field_errors", "Se esperaba un objeto JSON.");
        assert_eq!(errors.to_sentence(), "email: Este campo es requerido. Se esperaba un objeto JSON.");
    }

    #[test]
    fn errors_of_a_field_are_a_list_and_dots_descend() {
        let mut errors = FieldErrors::one("a", "1");
        errors.add("a", "2");
        errors.add("b.c.d", "3");
        errors.add("b.e", "4");
        assert_eq!(errors.to_json(), json!({"a": ["1", "2"], "b": {"c": {"d": ["3"]}, "e": ["4"]}}));
    }
}
