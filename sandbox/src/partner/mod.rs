//! A partner: an HTTP server that gets signed webhooks, and checks them as the real counterparts do.

mod fault;
mod marketplace;
mod verdict;

use std::{io, ops::Deref, sync::Arc, sync::Mutex};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Redirect, Response},
    routing::any,
};
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, Uri, header::RETRY_AFTER};
use serde::Serialize;
use serde_json::{Value, json};

pub use self::{fault::PartnerFault, marketplace::Told, verdict::Verdict};
use crate::{
    listen::{HangUp, Listening, bind},
    stand_in::{KEEP, StandIn, lock, now},
};

/// How a partner is set up.
#[derive(Debug, Clone)]
pub struct PartnerOptions {
    /// `0` is any free port.
    pub port: u16,
    /// How many webhooks are kept; the oldest make room.
    pub keep: usize,
    /// Each webhook is verified as it arrives. Otherwise every verdict is a no, until [`Webhook::verified_with`] is asked: for
    /// benchmarks, in which a partner takes its processor time from what is measured.
    pub verifies: bool,
}

impl Default for PartnerOptions {
    fn default() -> Self {
        Self { port: 0, keep: KEEP, verifies: true }
    }
}

/// A webhook as it arrived.
#[derive(Debug, Clone, Serialize)]
pub struct Webhook {
    /// The path and query that were called.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The bytes of the body, as text.
    pub body: String,
    /// What each verifier says of it.
    pub verdict: Verdict,
    /// When it arrived.
    pub at: DateTime<Utc>,
}

impl Webhook {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str())
    }

    /// What the verifiers say of it when this is the secret.
    pub fn verified_with(&self, secret: &str) -> Verdict {
        Verdict::of(&[secret.to_owned()], &self.headers, self.body.as_bytes())
    }

    /// The body, read.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// A partner. It stops when the last clone is dropped.
#[derive(Clone)]
pub struct Partner {
    url: String,
    server: Arc<Server>,
    _listening: Arc<Listening>,
}

struct Server {
    stand_in: StandIn<Webhook, PartnerFault>,
    secrets: Mutex<Vec<String>>,
    verifies: bool,
    /// Where it tells of the services that it sold; `None`: it only listens.
    answers_to: Mutex<Option<String>>,
    told: StandIn<Told, PartnerFault>,
}

impl Partner {
    /// Takes a loopback port and listens.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(options: PartnerOptions) -> io::Result<Self> {
        let (listener, address) = bind(options.port).await?;
        let server = Arc::new(Server {
            stand_in: StandIn::new(options.keep),
            secrets: Mutex::default(),
            verifies: options.verifies,
            answers_to: Mutex::default(),
            told: StandIn::new(options.keep),
        });
        let listening = Listening::http(listener, routes(&server));
        Ok(Self { url: format!("http://{address}"), server, _listening: Arc::new(listening) })
    }

    /// Without a slash at its end. Every path below it takes webhooks, and is a recipient of its own for faults.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it verifies and signs with, as `whsec_…`. Without one every signature is wrong.
    pub fn set_secret(&self, secret: &str) {
        *lock(&self.server.secrets) = vec![secret.to_owned()];
    }

    /// A secret of its own making, which it verifies and signs with from now on.
    pub fn make_secret(&self) -> String {
        let secret = verdict::make_secret();
        self.set_secret(&secret);
        secret
    }

    /// From now on it sells a service for each reservation that it takes (`event.reservation_confirmed`), and tells this URL
    /// (`service.booked_for_event`), signed as the marketplace of seed 000 does.
    pub fn answer_to(&self, url: &str) {
        *lock(&self.server.answers_to) = Some(url.to_owned());
    }

    /// The webhooks that it sent itself.
    pub fn told(&self) -> &StandIn<Told, PartnerFault> {
        &self.server.told
    }
}

impl Deref for Partner {
    type Target = StandIn<Webhook, PartnerFault>;

    fn deref(&self) -> &Self::Target {
        &self.server.stand_in
    }
}

fn routes(server: &Arc<Server>) -> Router {
    Router::new().fallback(any(receive)).with_state(Arc::clone(server))
}

/// Keeps the webhook, and answers; a fault answers instead. What never gets an answer is kept too: it arrived.
async fn receive(State(server): State<Arc<Server>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let verdict =
        if server.verifies { Verdict::of(&lock(&server.secrets), &headers, &body) } else { Verdict::default() };
    let body = String::from_utf8_lossy(&body).into_owned();
    let webhook = Webhook { path: path.clone(), headers, body, verdict, at: now() };
    server.stand_in.record(webhook.clone());
    match server.stand_in.take_fault(&[&path], |_| true) {
        None => acknowledge(&server, &webhook),
        Some(fault) => misbehave(&server, &webhook, fault).await,
    }
}

fn acknowledge(server: &Arc<Server>, webhook: &Webhook) -> Response {
    marketplace::sell(server, webhook);
    Json(json!({ "status": "ack" })).into_response()
}

async fn misbehave(server: &Arc<Server>, webhook: &Webhook, fault: PartnerFault) -> Response {
    match fault {
        PartnerFault::Status { status, body, retry_after } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = (status, body).into_response();
            if let Some(value) = retry_after.and_then(|value| value.parse().ok()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
            response
        }
        PartnerFault::Redirect { to } => Redirect::temporary(&to).into_response(),
        PartnerFault::Slow { delay } => {
            tokio::time::sleep(delay).await;
            acknowledge(server, webhook)
        }
        PartnerFault::Reserialise if webhook.verdict.compact => acknowledge(server, webhook),
        PartnerFault::Reserialise => {
            (StatusCode::UNAUTHORIZED, Json(json!({ "detail": "Firma inválida" }))).into_response()
        }
        PartnerFault::Hang => std::future::pending().await,
        PartnerFault::Drop => HangUp.into_response(),
    }
}
