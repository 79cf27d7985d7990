//! The commercial application, where presences are told.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use recado_kernel::clock::Timestamp;
use recado_kernel::config::{CommercialSettings, Config, CrmSettings};
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_queue::ring::Ring;
use recado_webhooks::deliveries::{self, Delivery};
use recado_webhooks::endpoints::{self, Canonical, Endpoint, NewEndpoint, Sealer, Status};
use recado_webhooks::signature::Secret;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::Sha256;

use crate::appointments::{self, Appointment};
use crate::mapping;
use crate::system::CRM;

/// The type of the event that a presence is.
pub const REALIZED: &str = "appointment.realizada";

/// The header that carries the token (S004-2).
const TOKEN: &str = "X-CRM-Webhook-Token";

/// What its endpoint is called.
const NAME: &str = "App Comercial";

/// Requests per minute, so that a CRM that marks a week of appointments does not overrun the application (S004-12).
const RATE_PER_MINUTE: i32 = 120;

/// What is to be rung after the commit, and the webhook that was written, if any.
#[derive(Debug, Default)]
pub struct Told {
    pub delivery_id: Option<Id>,
    pub rings: Vec<Ring>,
}

/// Tells of an appointment that took place, once, in the caller's transaction.
pub async fn tell(session: &mut Session, config: &Config, appointment: &Appointment, now: Timestamp) -> Result<Told> {
    let told = match endpoint(session, config, now).await? {
        None => Told::default(),
        Some(endpoint) => {
            let presence = mapping::current(session).await?.presence(appointment, config.crm.time_zone);
            let id = presence["id_presencia_crm"].as_str().unwrap_or_default().to_owned();
            send(session, &endpoint, &presence, &id, false, now).await?
        }
    };
    appointments::realize(session, &appointment.id, told.delivery_id, now).await?;
    Ok(told)
}

/// Sends a presence to see whether it arrives: one attempt (S004-11). `None` when sending is off.
pub async fn test(session: &mut Session, config: &Config, presence: &Value, now: Timestamp) -> Result<Option<Told>> {
    let Some(endpoint) = endpoint(session, config, now).await? else { return Ok(None) };
    let id = presence["id_presencia_crm"].as_str().unwrap_or_default();
    send(session, &endpoint, presence, id, true, now).await.map(Some)
}

async fn send(
    session: &mut Session,
    endpoint: &Endpoint,
    presence: &Value,
    subject: &str,
    is_test: bool,
    now: Timestamp,
) -> Result<Told> {
    let payload = presence.to_string();
    let made = if is_test { Delivery::of_test } else { Delivery::of_event };
    let delivery = made(endpoint, REALIZED, &payload, now).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let delivery = delivery.about(subject);
    let rings = deliveries::send(session, std::slice::from_ref(&delivery), now).await?;
    Ok(Told { delivery_id: Some(delivery.id), rings })
}

/// The application as the environment names it: its row is written when it is first used, and again when the environment
/// has changed. `None`, with a warning, when it is not named.
async fn endpoint(session: &mut Session, config: &Config, now: Timestamp) -> Result<Option<Endpoint>> {
    let (Some(settings), Some(key)) = (&config.crm.commercial, &config.secret_key) else {
        tracing::warn!(
            "no presence is sent: COMERCIAL_WEBHOOK_URL and COMERCIAL_WEBHOOK_TOKEN must both be set, and SECRET_KEY"
        );
        return Ok(None);
    };
    let sealer = Sealer(key);
    let id = id_of(settings);
    if let Some(endpoint) = endpoints::find(session, id).await? {
        return Ok(Some(endpoint));
    }
    for former in endpoints::listening(session, CRM.name).await? {
        // The environment names one; what was still to go to another would arrive at the wrong place or with the wrong token.
        if former.status != Status::Disabled {
            deliveries::disable(session, former.id, endpoints::DisabledReason::Owner, now).await?;
        }
    }
    let new = NewEndpoint {
        canonical: Canonical::AsIs,
        headers: BTreeMap::from([(TOKEN.to_owned(), settings.token.expose_secret().to_owned())]),
        rate_per_minute: Some(RATE_PER_MINUTE),
        ..NewEndpoint::new(id, CRM.name, NAME, &settings.url, secret_of(settings))
    };
    endpoints::insert(session, sealer, &new, now).await?;
    endpoints::find(session, id).await
}

/// One endpoint per setting: another URL, token or secret is another endpoint. The name gives nothing away.
fn id_of(settings: &CommercialSettings) -> Id {
    let secret = settings.secret.as_ref().map_or("", |secret| secret.expose_secret());
    Id::of_name(&derived(&settings.token, &[&settings.url, secret]))
}

/// The secret of the signature headers: the one that is set, or one that only holders of the token can derive (d26).
fn secret_of(settings: &CommercialSettings) -> Secret {
    settings.secret.clone().map_or_else(|| of_token(&settings.token), Secret::from)
}

/// What a CRM signs with that tells us of presences: the secrets that are set, or those that its tokens give (d26).
pub fn inbound_secrets(settings: &CrmSettings) -> Vec<Secret> {
    if settings.secrets.is_empty() {
        return settings.tokens.iter().map(of_token).collect();
    }
    settings.secrets.iter().cloned().map(Secret::from).collect()
}

/// The secret that a token gives.
fn of_token(token: &SecretString) -> Secret {
    Secret::from(SecretString::from(format!("whsec_{}", derived(token, &["signature"]))))
}

fn derived(token: &SecretString, parts: &[&str]) -> String {
    let mut mac: Hmac<Sha256> =
        Hmac::new_from_slice(token.expose_secret().as_bytes()).expect("HMAC takes keys of every length");
    mac.update(b"recado/crm/v1");
    for part in parts {
        mac.update(b"\0");
        mac.update(part.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}
