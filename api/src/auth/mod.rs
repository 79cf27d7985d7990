//! Who may call. Each kind of permission is an extractor, so a handler that forgot to ask would have nothing to hold.
//!
//! `/api/v1` takes a key as `Authorization: Bearer <key>`, or no key where `ALLOW_ANONYMOUS_API` opened it (d21).
//! `/api/internal/v1` takes `X-Internal-Secret` (S002-63).

pub(crate) mod guessing;
mod jwt;
pub(crate) mod keys;
pub(crate) mod openness;
pub(crate) mod rate_limit;
mod signature;

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use recado_kernel::api_keys::{self, Scope};
use recado_kernel::audit::{Actor, ActorKind};
use recado_kernel::config::Access;
use recado_kernel::users;
use recado_notifications::browser_tokens::BrowserToken;
use secrecy::ExposeSecret;
use url::form_urlencoded;

use self::keys::{Caller, bearer};
use crate::client::Client;
use crate::extract::body::RawBody;
use crate::observe;
use crate::problem::{Credential, Problem};
use crate::request_id;
use crate::state::Api;

/// Proof that the caller may do what `S` says.
pub(crate) struct May<S> {
    pub(crate) caller: Caller,
    /// From where the caller asks, as far as it is known.
    address: Option<IpAddr>,
    scope: PhantomData<S>,
}

/// A scope as a type, so that a handler's signature can ask for it.
pub(crate) trait Proves: Send {
    const SCOPE: Scope;
}

/// Sending: events, and the subscriptions of browsers.
pub(crate) struct Dispatch;

/// The subscriptions of browsers.
pub(crate) struct Subscribe;

/// Looking.
pub(crate) struct Read;

/// Changing what others see: templates, the matrix, customers, keys.
pub(crate) struct Admin;

impl Proves for Dispatch {
    const SCOPE: Scope = Scope::Dispatch;
}

impl Proves for Subscribe {
    const SCOPE: Scope = Scope::Subscribe;
}

impl Proves for Read {
    const SCOPE: Scope = Scope::Read;
}

impl Proves for Admin {
    const SCOPE: Scope = Scope::Admin;
}

impl<S> May<S> {
    /// Who acts, for the audit log.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            kind: if self.caller.is_anonymous() { ActorKind::Anonymous } else { ActorKind::Key },
            name: self.caller.label.clone(),
            address: self.address.map(|address| address.to_string()).unwrap_or_default(),
            request_id: request_id::current().unwrap_or_default(),
        }
    }
}

impl<S: Proves> FromRequestParts<Arc<Api>> for May<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let caller = match openness::lets_in(api, parts).await? {
            true => Caller::anonymous(),
            false => api.keys.caller(parts, &api.guesses).await?,
        };
        Self::of(caller, api, parts)
    }
}

impl<S: Proves> May<S> {
    /// A caller who is known, if the caller may.
    fn of(caller: Caller, api: &Api, parts: &Parts) -> Result<Self, Problem> {
        observe::acts(&caller.label);
        api.limits.admit(caller.known(), parts)?;
        if !caller.may(S::SCOPE) {
            return Err(Problem::Forbidden { scope: S::SCOPE });
        }
        Ok(Self { caller, address: Client::known(&parts.extensions), scope: PhantomData })
    }
}

/// Proof that the caller has a key with all scopes, also where the API is open to others.
pub(crate) struct KeyHolder(May<Admin>);

impl FromRequestParts<Arc<Api>> for KeyHolder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let caller = api.keys.caller(parts, &api.guesses).await?;
        May::of(caller, api, parts).map(Self)
    }
}

/// Proof that the caller may say who logs in to the console: with a key of all scopes, or on this machine as long as its console asks
/// for no login either.
///
/// An API that was opened on purpose lets others do everything but this: they could log in under the name of another.
pub(crate) struct MayManagePeople(pub(crate) May<Admin>);

impl FromRequestParts<Arc<Api>> for MayManagePeople {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let is_open =
            openness::is_of_this_machine(api, parts).await? && !users::any(&mut api.context.db.read().await?).await?;
        if is_open {
            return May::<Admin>::from_request_parts(parts, api).await.map(Self);
        }
        KeyHolder::from_request_parts(parts, api).await.map(|KeyHolder(may)| Self(may))
    }
}

/// Proof that the caller may subscribe browsers: of all customers, or with a token of one customer.
pub(crate) struct MaySubscribe {
    /// The only customer for whom it holds.
    pub(crate) only: Option<String>,
}

impl FromRequestParts<Arc<Api>> for MaySubscribe {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let Some(token) = bearer(&parts.headers).filter(|token| token.starts_with(BrowserToken::PREFIX)) else {
            May::<Subscribe>::from_request_parts(parts, api).await?;
            return Ok(Self { only: None });
        };
        let attempt = api.guesses.admit(Client::known(&parts.extensions), Credential::ApiKey, token)?;
        let key = api.context.config.secret_key.as_ref();
        let Some(token) = key.and_then(|key| BrowserToken::read(token, key, api.context.clock.now())) else {
            api.guesses.failed(attempt).await?;
            return Err(Problem::Unauthenticated(Credential::ApiKey));
        };
        observe::acts("customer-token");
        // Each customer is a caller of their own.
        api.limits.admit(Some(&format!("customer:{}", token.customer_id)), parts)?;
        Ok(Self { only: Some(token.customer_id) })
    }
}

/// Proof that another service of the same house calls.
pub(crate) struct InternalCaller;

impl FromRequestParts<Arc<Api>> for InternalCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let secrets = &api.context.config.access.internal_secrets;
        // A missing secret of ours opens nothing, except where the whole API is open.
        if secrets.is_empty() && openness::lets_in(api, parts).await? {
            return Ok(Self);
        }
        observe::acts("internal-secret");
        let shown = parts.headers.get("x-internal-secret").and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        prove(api, parts, Credential::InternalSecret, shown, |shown| api_keys::is_one_of(secrets, shown)).await?;
        Ok(Self)
    }
}

/// Proof that it is our Evolution API that calls.
pub(crate) struct EvolutionCaller;

impl FromRequestParts<Arc<Api>> for EvolutionCaller {
    type Rejection = Problem;

    /// Where a key for tokens is set only those count; else the plain token, where one is set; else an open API is open.
    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        observe::acts("evolution");
        let Access { evolution_jwt_key, evolution_token, .. } = &api.context.config.access;
        if let Some(key) = evolution_jwt_key {
            let now = api.context.clock.now();
            // Each of its tokens is another one, and none can be guessed: they are not counted.
            return match bearer(&parts.headers).is_some_and(|token| jwt::is_evolutions(token, key.expose_secret(), now))
            {
                true => Ok(Self),
                false => Err(Problem::Unauthenticated(Credential::EvolutionWebhook)),
            };
        }
        let Some(ours) = evolution_token else {
            return match openness::lets_in(api, parts).await? {
                true => Ok(Self),
                false => Err(Problem::Unauthenticated(Credential::EvolutionWebhook)),
            };
        };
        let shown = evolution_token_of(parts);
        let is_ours = |shown: &str| api_keys::is_one_of(std::slice::from_ref(ours), shown);
        prove(api, parts, Credential::EvolutionWebhook, shown.as_deref(), is_ours).await?;
        Ok(Self)
    }
}

/// Proof that it is a CRM that calls (S004-2).
pub(crate) struct CrmCaller;

impl FromRequestParts<Arc<Api>> for CrmCaller {
    type Rejection = Problem;

    /// No token of ours opens nothing, also where the API is open.
    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        observe::acts("crm");
        let shown = parts.headers.get("x-crm-webhook-token").and_then(|value| value.to_str().ok()).map(str::trim);
        let tokens = &api.context.config.crm.tokens;
        prove(api, parts, Credential::CrmWebhook, shown, |shown| api_keys::is_one_of(tokens, shown)).await?;
        Ok(Self)
    }
}

/// Proof that it is our WhatsApp bridge that calls, with what it says (d21): a signature is about the body.
pub(crate) struct BridgeCall(pub(crate) RawBody);

/// The header in which Meta's Cloud API and the usual gateways sign.
const BRIDGE_SIGNATURE: &str = "x-hub-signature-256";

impl FromRequest<Arc<Api>> for BridgeCall {
    type Rejection = Problem;

    /// Without a secret of ours, only an open API is open. A body is read only for a caller who shows something.
    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        observe::acts("whatsapp-bridge");
        let (parts, body) = request.into_parts();
        let secrets = &api.context.config.conversations.webhook_secrets;
        if secrets.is_empty() {
            return match openness::lets_in(api, &parts).await? {
                true => Ok(Self(RawBody::from_request(Request::from_parts(parts, body), api).await?)),
                false => Err(Problem::Unauthenticated(Credential::Bridge)),
            };
        }
        let caller = Client::known(&parts.extensions);
        let signature = parts.headers.get(BRIDGE_SIGNATURE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let token = bearer(&parts.headers).map(str::to_owned);
        // Each body has a signature of its own, and none can be guessed: to the memory of guesses they are all the same one.
        let shown = token.as_deref().or(signature.as_ref().map(|_| BRIDGE_SIGNATURE));
        let shown = shown.ok_or(Problem::Unauthenticated(Credential::Bridge))?;
        let attempt = api.guesses.admit(caller, Credential::Bridge, shown)?;
        let body = RawBody::from_request(Request::from_parts(parts, body), api).await?;
        let is_signed = signature.is_some_and(|signature| signature::is_of(secrets, &signature, body.as_slice()));
        if is_signed || token.is_some_and(|token| api_keys::is_one_of(secrets, &token)) {
            api.guesses.succeeded(attempt);
            return Ok(Self(body));
        }
        api.guesses.failed(attempt).await?;
        Err(Problem::Unauthenticated(Credential::Bridge))
    }
}

fn evolution_token_of(parts: &Parts) -> Option<String> {
    let header = parts.headers.get("x-webhook-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    header.or_else(|| {
        let mut pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name == "token").map(|(_, value)| value.into_owned())
    })
}

/// Looks at a secret that was shown, unless too many from there were wrong. Showing none is no guess.
async fn prove(
    api: &Api,
    parts: &Parts,
    kind: Credential,
    shown: Option<&str>,
    is_good: impl Fn(&str) -> bool,
) -> Result<(), Problem> {
    let shown = shown.ok_or(Problem::Unauthenticated(kind))?;
    let attempt = api.guesses.admit(Client::known(&parts.extensions), kind, shown)?;
    if is_good(shown) {
        api.guesses.succeeded(attempt);
        return Ok(());
    }
    api.guesses.failed(attempt).await?;
    Err(Problem::Unauthenticated(kind))
}
