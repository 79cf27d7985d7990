//! One request to an endpoint, and the record of it.

use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_webhooks::deliveries::Delivery;
use recado_webhooks::deliveries::attempts::Attempt;
use recado_webhooks::endpoints::Endpoint;
use recado_webhooks::retry::Reception;
use recado_webhooks::signature;
use serde_json::{Map, Value};
use sqlx::types::Json;

use super::target::{Means, Target};
use crate::outbound;

/// How much of an answer is read and kept, in bytes.
const LARGEST_ANSWER: usize = 4_096;

/// What a request came to.
pub(super) struct Tried {
    pub(super) reception: Reception,
    pub(super) attempt: Attempt,
}

/// A request, ready to be sent.
struct Request<'t> {
    means: &'t Means,
    headers: Vec<(String, String)>,
    body: String,
}

/// Calls the endpoint once.
pub(super) async fn make(delivery: &Delivery, target: &Target, now: Timestamp) -> Tried {
    let began = Instant::now();
    let (reception, response, headers) = match prepare(delivery, target, now) {
        Ok(request) => {
            let headers = request.shown();
            let (reception, response) = call(&target.endpoint, request, now).await;
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

/// Signs.
fn prepare<'t>(delivery: &Delivery, target: &'t Target, now: Timestamp) -> Result<Request<'t>, String> {
    let means = target.means.as_ref().map_err(Clone::clone)?;
    let body = delivery.body.clone().ok_or("its body was deleted after its retention")?;
    let id = delivery.message_id.to_string();
    let mut headers = signature::headers(&means.secrets, &means.profile, &id, now, body.as_bytes());
    headers.extend(means.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok(Request { means, headers, body })
}

/// Whether the value of a header of this name is not shown.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "key", "password", "authorization", "cookie"].iter().any(|word| name.contains(word))
}

impl Request<'_> {
    /// The headers as they are recorded.
    fn shown(&self) -> Value {
        let shown = |(name, value): &(String, String)| {
            let is_masked = is_secret(name) && self.means.headers.contains_key(name);
            (name.clone(), Value::from(if is_masked { "***" } else { value.as_str() }))
        };
        Value::Object(self.headers.iter().map(shown).collect::<Map<_, _>>())
    }
}

async fn call(endpoint: &Endpoint, request: Request<'_>, now: Timestamp) -> (Reception, Option<String>) {
    let Means { caller, url, .. } = request.means;
    let mut call = caller.client.post(url.clone()).timeout(endpoint.timeout()).header(CONTENT_TYPE, "application/json");
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
