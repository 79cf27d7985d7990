//! Who may call. Each kind of permission is an extractor, so a handler that forgot to ask would have nothing to hold.
//!
//! `/api/v1` takes a key as `Authorization: Bearer <key>`, or no key where `ALLOW_ANONYMOUS_API` opened it (d21).
//! `/api/internal/v1` takes `X-Internal-Secret` (S002-63).

mod jwt;
pub(crate) mod keys;
pub(crate) mod rate_limit;

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use recado_kernel::api_keys::{self, Scope};
use recado_kernel::clock::Timestamp;
use recado_kernel::config::Access;
use secrecy::ExposeSecret;
use url::form_urlencoded;

use self::keys::{Caller, bearer};
use crate::problem::{Credential, Problem};
use crate::state::Api;

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

impl<S: Proves> FromRequestParts<Arc<Api>> for May<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let caller = api.keys.caller(&parts.headers).await?;
        api.limits.admit(caller.known(), parts)?;
        if !caller.may(S::SCOPE) {
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

/// Proof that it is a CRM that calls (S004-2).
pub(crate) struct CrmCaller;

impl FromRequestParts<Arc<Api>> for CrmCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let token = parts.headers.get("x-crm-webhook-token").and_then(|value| value.to_str().ok());
        let tokens = &api.context.config.crm.tokens;
        // No token of ours opens nothing, also where the API is open.
        let is_known = token.is_some_and(|token| api_keys::is_one_of(tokens, token.trim()));
        if is_known { Ok(Self) } else { Err(Problem::Unauthenticated(Credential::CrmWebhook)) }
    }
}

/// Proof that the caller has a key, also where the API is open to others.
pub(crate) struct KeyHolder;

impl FromRequestParts<Arc<Api>> for KeyHolder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let caller = api.keys.holder(&parts.headers).await?;
        api.limits.admit(caller.known(), parts)?;
        if caller.may(Scope::Dispatch) { Ok(Self) } else { Err(Problem::Forbidden { scope: Scope::Dispatch }) }
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
}
