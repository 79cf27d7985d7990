//! An endpoint with what every request to it needs, made once for all deliveries that are loaded together.

use std::sync::Arc;

use recado_kernel::clock::Timestamp;
use recado_webhooks::endpoints::{Endpoint, Headers, Sealer};
use recado_webhooks::signature::{Profile, Secret};
use secrecy::SecretString;
use url::Url;

use super::callers::{Caller, Callers};
use crate::outbound;

pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    /// Or why no request can be made. What is wrong is ours or the partner's to mend.
    pub(super) means: Result<Means, String>,
}

/// What a request needs.
pub(super) struct Means {
    pub(super) caller: Arc<Caller>,
    pub(super) url: Url,
    /// The one in force first.
    pub(super) secrets: Vec<Secret>,
    pub(super) profile: Profile,
    /// Its own, whose values may be secret.
    pub(super) headers: Headers,
}

impl Target {
    pub(super) fn new(endpoint: Endpoint, callers: &Callers, key: Option<&SecretString>, now: Timestamp) -> Self {
        Self { means: means(&endpoint, callers, key, now), endpoint }
    }
}

fn means(endpoint: &Endpoint, callers: &Callers, key: Option<&SecretString>, now: Timestamp) -> Result<Means, String> {
    let caller = callers.of(endpoint).map_err(|error| format!("no client for it: {}", outbound::explain(&error)))?;
    let url = caller.reach.check_url(&endpoint.url).map_err(|error| error.to_string())?;
    let sealer = Sealer(key.ok_or("SECRET_KEY is not set, so its secret cannot be read")?);
    let secrets = endpoint.secrets(sealer, now).map_err(|error| format!("its secret cannot be read: {error}"))?;
    let headers = endpoint.headers(sealer).map_err(|error| format!("its headers cannot be read: {error}"))?;
    Ok(Means { caller, url, secrets, profile: endpoint.profile(), headers })
}
