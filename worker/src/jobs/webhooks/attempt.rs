//! One request to an endpoint, and the record of it.

use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_webhooks::deliveries::Delivery;
use recado_webhooks::deliveries::attempts::Attempt;
use recado_webhooks::endpoints::{Endpoint, Sealer};
use recado_webhooks::retry::Reception;
use recado_webhooks::signature;
use serde_json::{Map, Value};
use sqlx::types::Json;

use super::Sender;
use crate::outbound;

/// How much of an answer is read and kept, in bytes.
const LARGEST_ANSWER: usize = 4_096;

/// What a request came to.
pub(super) struct Tried {
    pub(super) reception: Reception,
    pub(super) attempt: Attempt,
}

/// A request, ready to be sent.
struct Request {
    headers: Vec<(String, String)>,
    /// Names of headers whose values are secret.
    secret: Vec<String>,
    body: String,
}

/// Calls the endpoint once.
pub(super) async fn make(sender: &Sender, delivery: &Delivery, endpoint: &Endpoint, now: Timestamp) -> Tried {
    let began = Instant::now();
    let (reception, response, headers) = match prepare(sender, delivery, endpoint, now) {
        Ok(request) => {
            let headers = request.shown();
            let (reception, response) = call(sender, endpoint, request, now).await;
            (reception, response, headers)
        }
        Err(reason) => (Reception::Impossible(reason), None, Value::Object(Map::new())),
    };
    let status_code = match reception {
        Reception::Answered { status, .. } => Some(status.into()),
        Reception::Silent(_) | Reception::Impossible(_) => None,
    };
    let attempt = Attempt {
        id: Id::new(now),
        delivery_id: delivery.id,
        number: delivery.attempts + 1,
        started_at: now,
        duration_ms: i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX),
        status_code,
        error: reception.reason(),
        request_headers: Json(headers),
        response,
    };
    Tried { reception, attempt }
}

/// Signs. What is wrong here is ours or the partner's to mend, and said so.
fn prepare(sender: &Sender, delivery: &Delivery, endpoint: &Endpoint, now: Timestamp) -> Result<Request, String> {
    let config = &sender.context.config;
    sender.outside.check_url(&endpoint.url).map_err(|error| error.to_string())?;
    let key = config.secret_key.as_ref().ok_or("SECRET_KEY is not set, so its secret cannot be read")?;
    let sealer = Sealer(key);
    let secrets = endpoint.secrets(sealer, now).map_err(|error| format!("its secret cannot be read: {error}"))?;
    let own = endpoint.headers(sealer).map_err(|error| format!("its headers cannot be read: {error}"))?;
    let body = delivery.body.clone().ok_or("its body was deleted after its retention")?;
    let id = delivery.message_id.to_string();
    let mut headers = signature::headers(&secrets, &endpoint.profile(), &id, now, body.as_bytes());
    let secret = own.keys().filter(|name| is_secret(name)).cloned().collect();
    headers.extend(own);
    Ok(Request { headers, secret, body })
}

/// Whether the value of a header of this name is not shown.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "key", "password", "authorization", "cookie"].iter().any(|word| name.contains(word))
}

impl Request {
    /// The headers as they are recorded.
    fn shown(&self) -> Value {
        let shown = |(name, value): &(String, String)| {
            let value = if self.secret.contains(name) { "***" } else { value.as_str() };
            (name.clone(), Value::from(value))
        };
        Value::Object(self.headers.iter().map(shown).collect::<Map<_, _>>())
    }
}

async fn call(sender: &Sender, endpoint: &Endpoint, request: Request, now: Timestamp) -> (Reception, Option<String>) {
    let mut call =
        sender.client.post(&endpoint.url).timeout(endpoint.timeout()).header(CONTENT_TYPE, "application/json");
    for (name, value) in &request.headers {
        call = call.header(name, value);
    }
    let response = match call.body(request.body).send().await {
        Ok(response) => response,
        Err(error) => return (refused_or_silent(&error, endpoint.timeout()), None),
    };
    let (status, retry_after) = (response.status().as_u16(), outbound::retry_after(response.headers(), now));
    let answer = outbound::read(response, LARGEST_ANSWER).await;
    (Reception::Answered { status, retry_after }, answer.map(|answer| readable(&answer)))
}

fn refused_or_silent(error: &reqwest::Error, timeout: Duration) -> Reception {
    match outbound::refusal(error) {
        Some(refusal) => Reception::Impossible(refusal.to_string()),
        None if error.is_connect() => Reception::Silent(format!("no connection: {}", outbound::explain(error))),
        None if error.is_timeout() => Reception::Silent(format!("no answer within {} s", timeout.as_secs())),
        None => Reception::Silent(outbound::explain(error)),
    }
}

/// An answer as text that every database keeps.
fn readable(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).replace('\0', "\u{fffd}")
}
