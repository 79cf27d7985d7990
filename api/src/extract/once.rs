//! A request that is carried out once, however often it comes with the same `Idempotency-Key`.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_notifications::dispatch::Rejection;
use recado_queue::idempotency::{self, IdempotencyKey, Known};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::IntoParams;

use crate::auth::keys::Caller;
use crate::extract::body::{BODY_TIMEOUT, check_content, collect_within};
use crate::extract::{json, request};
use crate::problem::{FieldErrors, Problem};

/// A request that makes something, and makes it once however often it comes with the same `Idempotency-Key`: what was made is
/// kept under the key in the same transaction. A caller whose answer was lost, or who was told that the outcome is unknown, asks again.
pub(crate) struct Once<T> {
    pub(crate) key: OnceKey,
    pub(crate) body: T,
}

impl<T: request::Request, S: Send + Sync> FromRequest<S> for Once<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let header = IdempotencyHeader::from_request_parts(&mut parts, state).await?;
        check_content(&parts.headers)?;
        let path = parts.uri.path().to_owned();
        let body = collect_within(BODY_TIMEOUT, Request::from_parts(parts, body), T::MAX_BODY_BYTES).await?;
        let value = json::parse(body.as_slice()).map_err(Problem::Malformed)?;
        let key = OnceKey { header, content: json!([path, value]) };
        Ok(Self { key, body: request::read(body.becomes(value)?)? })
    }
}

/// The key of such a request, if it has one.
pub(crate) struct OnceKey {
    header: IdempotencyHeader,
    content: Value,
}

impl OnceKey {
    /// The name of what was made under this key before. From here to the end of the transaction no other request makes it.
    pub(crate) async fn made<T: DeserializeOwned>(
        &self,
        session: &mut Session,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Option<T>, Problem> {
        let Some(key) = self.header.of(caller, &self.content) else { return Ok(None) };
        let Some(Known::Seen { fingerprint, mut answer }) =
            idempotency::take(session, &[&key], now).await?.remove(&key.key)
        else {
            return Ok(None);
        };
        let made = serde_json::from_value(answer[MADE].take()).ok().filter(|_| fingerprint == key.fingerprint);
        made.map(Some).ok_or(Problem::Dispatch { rejection: Rejection::KeyReused, minimum_fields: &[] })
    }

    /// Keeps the name of what was made: what it is may be read when it is asked for, and may have been erased by then.
    pub(crate) async fn keep(
        &self,
        session: &mut Session,
        caller: &Caller,
        made: &impl Serialize,
    ) -> Result<(), Problem> {
        let Some(key) = self.header.of(caller, &self.content) else { return Ok(()) };
        Ok(idempotency::keep(session, &[(&key, Some(json!({ MADE: made })))]).await?)
    }
}

const MADE: &str = "made";

/// 201, for the first time or again.
pub(crate) enum Created<T> {
    Now(T),
    Before(T),
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Now(made) => (StatusCode::CREATED, axum::Json(made)).into_response(),
            Self::Before(made) => {
                let replayed = [(HeaderName::from_static("idempotent-replayed"), "true")];
                (StatusCode::CREATED, replayed, axum::Json(made)).into_response()
            }
        }
    }
}

/// The header `Idempotency-Key`, if it was sent (draft-ietf-httpapi-idempotency-key-header).
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IdempotencyHeader {
    /// The same key with the same body gets the same answer for 24 hours, and nothing is sent twice.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

impl IdempotencyHeader {
    /// Keys of different callers never meet.
    pub(crate) fn of(&self, caller: &Caller, request: &impl Serialize) -> Option<IdempotencyKey> {
        Some(IdempotencyKey::new(&caller.name, self.idempotency_key.as_deref()?, request))
    }

    /// The key of one part among many.
    pub(crate) fn of_part(&self, caller: &Caller, index: usize, part: &impl Serialize) -> Option<IdempotencyKey> {
        // A blank, which no header may hold: the key of a part is never that of a request of its own.
        Some(IdempotencyKey::new(&caller.name, &format!("{} {index}", self.idempotency_key.as_deref()?), part))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyHeader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(Self { idempotency_key: None });
        };
        let is_sane = (1..=255).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
        let key = value.to_str().ok().filter(|_| is_sane).ok_or_else(|| {
            let error = "Use de 1 a 255 caracteres ASCII visibles, por ejemplo un UUID.";
            Problem::from(FieldErrors::one("Idempotency-Key", error))
        })?;
        Ok(Self { idempotency_key: Some(key.to_owned()) })
    }
}
