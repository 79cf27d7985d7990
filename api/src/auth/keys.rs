//! Keys of the API: which caller a key belongs to, and what it may do.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use moka::future::Cache;
use recado_kernel::api_keys::{self, ApiKey, Scope, Scopes};
use recado_kernel::db;
use recado_kernel::errors::explain;
use recado_queue::context::Context;

use crate::auth::guessing::Guesses;
use crate::client::Client;
use crate::problem::{Credential, Problem};

/// The name of every caller where the API is open.
const ANONYMOUS: &str = "anonymous";

/// Which caller it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Tells callers apart without telling a secret: the beginning of the key's digest, or `anonymous`.
    pub(crate) name: String,
    /// By what a person recognises the key in the log: the beginning of it that lists of keys show, or `env:` and the beginning
    /// of its digest.
    pub(crate) label: String,
    scopes: Scopes,
}

impl Caller {
    /// The caller where no key is asked for.
    pub(super) fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), label: ANONYMOUS.to_owned(), scopes: Scopes(vec![Scope::Admin]) }
    }

    /// No key was asked for.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// Keys of the environment are the operator's own.
    fn of_environment(digest: &str) -> Self {
        let label = format!("env:{}", digest.chars().take(8).collect::<String>());
        Self { name: short(digest), label, scopes: Scopes(vec![Scope::Admin]) }
    }

    /// Whether the caller sees addresses of people in full.
    pub(crate) fn sees_contacts(&self) -> bool {
        self.may(Scope::Contacts)
    }

    /// Whether the caller may see what only those see who could change it.
    pub(crate) fn administers(&self) -> bool {
        self.may(Scope::Admin)
    }

    /// Whether the caller has the scope; `admin` includes the others.
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.scopes.allow(scope)
    }

    /// Their name; `None` where the API is open to all.
    pub(super) fn known(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| *name != ANONYMOUS)
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

    /// Keys were revoked: each is looked up again. Requests that are being served may still pass.
    pub(crate) fn forget(&self) {
        self.known.invalidate_all();
    }

    /// The caller whose key the request shows. Showing none is no guess.
    pub(super) async fn caller(&self, parts: &Parts, guesses: &Guesses) -> Result<Caller, Problem> {
        let refused = Problem::Unauthenticated(Credential::ApiKey);
        let Some(key) = bearer(&parts.headers) else { return Err(refused) };
        let attempt = guesses.admit(Client::known(&parts.extensions), Credential::ApiKey, key)?;
        match self.find(key).await {
            Ok(caller) => {
                guesses.succeeded(attempt);
                Ok(caller)
            }
            Err(Refusal::Unavailable) => Err(Problem::Unavailable),
            Err(Refusal::Unknown) => {
                guesses.failed(attempt).await?;
                Err(refused)
            }
        }
    }

    async fn find(&self, key: &str) -> Result<Caller, Refusal> {
        let digest = api_keys::digest(key);
        if api_keys::is_one_of(&self.context.config.access.api_keys, key) {
            return Ok(Caller::of_environment(&digest));
        }
        let name = short(&digest);
        // Requests that come while the key is being looked up wait for that one answer.
        self.known.try_get_with(digest, self.look_up(key, name)).await.map_err(|refusal| *refusal)
    }

    async fn look_up(&self, key: &str, name: String) -> Result<Caller, Refusal> {
        let found = self.find_and_touch(key).await.map_err(|error| {
            let error = explain(&error);
            tracing::error!(error, "an API key could not be looked up: {error}");
            Refusal::Unavailable
        })?;
        let row = found.ok_or(Refusal::Unknown)?;
        Ok(Caller { name, label: row.prefix, scopes: row.scopes })
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
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
