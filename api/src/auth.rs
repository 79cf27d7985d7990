//! Who may call. Each kind of permission is an extractor, so a handler that forgot to ask would have nothing to hold.
//!
//! `/api/v1` takes a key as `Authorization: Bearer <key>`, or anybody where `ALLOW_ANONYMOUS_API` opened it (d21).
//! `/api/internal/v1` takes `X-Internal-Secret` (S002-63).

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use moka::future::Cache;
use recado_kernel::api_keys::{self, ApiKey, Scope, Scopes};
use recado_kernel::clock::Timestamp;
use recado_kernel::config::Access;
use recado_kernel::db;
use recado_queue::context::Context;
use secrecy::ExposeSecret;
use url::form_urlencoded;

use crate::Api;
use crate::jwt;
use crate::problem::{Credential, Problem};

/// Proof that the caller may do what `S` says.
pub(crate) struct May<S> {
    pub(crate) caller: Caller,
    scope: PhantomData<S>,
}

/// A scope as a type, so that a handler's signature can ask for it.
pub(crate) trait Proves: Send {
    const SCOPE: Scope;
}

/// Sending: events, and the subscriptions of browsers.
pub(crate) struct Dispatch;

/// Looking.
pub(crate) struct Read;

/// Changing what others see: templates, the matrix, customers, keys.
pub(crate) struct Admin;

impl Proves for Dispatch {
    const SCOPE: Scope = Scope::Dispatch;
}

impl Proves for Read {
    const SCOPE: Scope = Scope::Read;
}

impl Proves for Admin {
    const SCOPE: Scope = Scope::Admin;
}

/// Everybody's name where the API is open.
const ANONYMOUS: &str = "anonymous";

/// Which caller it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Tells callers apart without telling a secret: the beginning of the key's digest, or `anonymous`.
    pub(crate) name: String,
    scopes: Scopes,
}

impl Caller {
    /// Keys of the environment are the operator's own, and an open API is open.
    fn with_all_scopes(name: String) -> Self {
        Self { name, scopes: Scopes(vec![Scope::Admin]) }
    }

    /// Whether the caller sees addresses in full.
    pub(crate) fn is_admin(&self) -> bool {
        self.scopes.allow(Scope::Admin)
    }

    /// Their name; `None` where the API is open to everybody.
    fn known(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| *name != ANONYMOUS)
    }
}

impl<S: Proves> FromRequestParts<Arc<Api>> for May<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let caller = api.keys.caller(&parts.headers).await?;
        api.limits.admit(caller.known(), parts)?;
        if !caller.scopes.allow(S::SCOPE) {
            return Err(Problem::Forbidden { scope: S::SCOPE });
        }
        Ok(Self { caller, scope: PhantomData })
    }
}

/// Proof that another service of the same house calls.
pub(crate) struct InternalCaller;

impl FromRequestParts<Arc<Api>> for InternalCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let secret =
            parts.headers.get("x-internal-secret").and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        if is_internal(&api.context.config.access, secret) {
            Ok(Self)
        } else {
            Err(Problem::Unauthenticated(Credential::InternalSecret))
        }
    }
}

/// A missing secret of ours opens nothing, except where the whole API is open and no secret was ever set.
fn is_internal(access: &Access, secret: Option<&str>) -> bool {
    if access.internal_secrets.is_empty() {
        return access.anonymous;
    }
    secret.is_some_and(|secret| api_keys::is_one_of(&access.internal_secrets, secret))
}

/// Proof that it is our Evolution API that calls.
pub(crate) struct EvolutionCaller;

impl FromRequestParts<Arc<Api>> for EvolutionCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let header = parts.headers.get("x-webhook-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let query = parts.uri.query().unwrap_or_default();
        let token = header.or_else(|| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(name, _)| name == "token").map(|(_, value)| value.into_owned())
        });
        let is_evolution =
            is_evolution(&api.context.config.access, bearer(&parts.headers), token.as_deref(), api.context.clock.now());
        if is_evolution { Ok(Self) } else { Err(Problem::Unauthenticated(Credential::EvolutionWebhook)) }
    }
}

/// Where a key for tokens is set only those count; else the plain token, where one is set; else an open API is open.
fn is_evolution(access: &Access, bearer: Option<&str>, token: Option<&str>, now: Timestamp) -> bool {
    match (&access.evolution_jwt_key, &access.evolution_token) {
        (Some(key), _) => bearer.is_some_and(|bearer| jwt::is_evolutions(bearer, key.expose_secret(), now)),
        (None, Some(ours)) => token.is_some_and(|token| api_keys::is_one_of(std::slice::from_ref(ours), token)),
        (None, None) => access.anonymous,
    }
}

/// The keys that are in force: those of the environment, and those of the database with a short memory.
pub(crate) struct KeyRing {
    context: Context,
    /// By digest, so that no key rests in memory. Only keys in force are remembered: a new one works at once, and a
    /// revoked one for 30 s at most.
    known: Cache<String, Caller>,
}

/// Why a key opens nothing.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Unknown,
    /// The database could not be asked.
    Unavailable,
}

impl KeyRing {
    pub(crate) fn new(context: Context) -> Self {
        let known = Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(30)).build();
        Self { context, known }
    }

    /// Keys were revoked: each is looked up anew. Requests that are on their way may still pass.
    pub(crate) fn forget(&self) {
        self.known.invalidate_all();
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let access = &self.context.config.access;
        if access.anonymous {
            return Ok(Caller::with_all_scopes(ANONYMOUS.to_owned()));
        }
        let key = bearer(headers).ok_or(Problem::Unauthenticated(Credential::ApiKey))?;
        let digest = api_keys::digest(key);
        if api_keys::is_one_of(&access.api_keys, key) {
            return Ok(Caller::with_all_scopes(short(&digest)));
        }
        let name = short(&digest);
        // Requests that come while the key is being looked up wait for that one answer.
        self.known.try_get_with(digest, self.look_up(key, name)).await.map_err(|refusal| match *refusal {
            Refusal::Unknown => Problem::Unauthenticated(Credential::ApiKey),
            Refusal::Unavailable => Problem::Unavailable,
        })
    }

    async fn look_up(&self, key: &str, name: String) -> Result<Caller, Refusal> {
        let found = self.find_and_touch(key).await.map_err(|error| {
            tracing::error!(%error, "an API key could not be looked up: {error}");
            Refusal::Unavailable
        })?;
        let row = found.ok_or(Refusal::Unknown)?;
        Ok(Caller { name, scopes: row.scopes })
    }

    /// `last_used_at` is right to 30 s, the time for which a key is remembered.
    async fn find_and_touch(&self, key: &str) -> db::Result<Option<ApiKey>> {
        let Some(row) = api_keys::find(&mut self.context.db.read().await?, key).await? else { return Ok(None) };
        let mut session = self.context.db.begin().await?;
        api_keys::touch(&mut session, row.id, self.context.clock.now()).await?;
        session.commit().await?;
        Ok(Some(row))
    }
}

/// The token of `Authorization: Bearer <token>` (RFC 6750, section 2.1); the scheme's case does not matter.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S002-63: missing or wrong is refused, whatever else is configured.
    #[test]
    fn the_internal_secret() {
        let access = |anonymous, secrets: &[&str]| Access {
            anonymous,
            api_keys: Vec::new(),
            internal_secrets: secrets.iter().map(|secret| (*secret).into()).collect(),
            ..Access::default()
        };
        for anonymous in [false, true] {
            let two = access(anonymous, &["old-secret", "new-secret"]);
            assert!(is_internal(&two, Some("old-secret")) && is_internal(&two, Some("new-secret")));
            for wrong in [None, Some(""), Some("old-secre"), Some("old-secret ")] {
                assert!(!is_internal(&two, wrong), "{wrong:?}");
            }
        }
        assert!(!is_internal(&access(false, &[]), None) && !is_internal(&access(false, &[]), Some("")));
        assert!(is_internal(&access(true, &[]), None));
    }

    /// The seed of the fixed interface: a JWT where its key is set, else the token, else only where everything is open.
    #[test]
    fn evolutions_webhooks() {
        let access = |anonymous, key: Option<&str>, token: Option<&str>| Access {
            anonymous,
            evolution_jwt_key: key.map(Into::into),
            evolution_token: token.map(Into::into),
            ..Access::default()
        };
        let now = Timestamp::from_micros(0);
        for anonymous in [false, true] {
            assert_eq!(is_evolution(&access(anonymous, None, None), None, None, now), anonymous);
            let with_token = access(anonymous, None, Some("token-1"));
            assert!(is_evolution(&with_token, None, Some("token-1"), now));
            for wrong in [None, Some(""), Some("token-2"), Some("token-1 ")] {
                assert!(!is_evolution(&with_token, Some("token-1"), wrong, now), "{wrong:?}");
            }
            let with_key = access(anonymous, Some("key"), Some("token-1"));
            assert!(!is_evolution(&with_key, None, Some("token-1"), now), "the weaker proof does not count");
            assert!(!is_evolution(&with_key, Some("key"), None, now));
        }
    }

    #[test]
    fn a_bearer_token() {
        let token = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc"), Some("abc".into()));
        assert_eq!(token("bearer  abc "), Some("abc".into()));
        for wrong in ["abc", "Basic abc", "Bearer", "Bearer ", ""] {
            assert_eq!(token(wrong), None, "{wrong}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
