//! A push service (RFC 8030) and the browsers behind it: it checks what a real service checks, and decrypts what a real
//! browser decrypts.

mod fault;
mod vapid;

use std::{
    collections::HashMap,
    io,
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ece::EcKeyComponents;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONTENT_ENCODING, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use serde_json::{Value, json};

pub use self::fault::PushFault;
use self::vapid::Vapid;
use crate::{
    listen::{HangUp, Listening, bind},
    stand_in::{KEEP, StandIn, lock, new_id, now},
};

/// The largest encrypted body in bytes that every push service has to take (RFC 8030 §7.2); most take no more.
pub const BODY_LIMIT: usize = 4096;

static TTL: HeaderName = HeaderName::from_static("ttl");

/// How the push service is set up.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// `0` is any free port.
    pub port: u16,
    /// How many messages are kept; the oldest make room.
    pub keep: usize,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { port: 0, keep: KEEP }
    }
}

/// What a browser gives to a web application: where to send, and how to encrypt. Both keys are base64url without
/// padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSubscription {
    /// Where to `POST`.
    pub endpoint: String,
    /// The browser's public key.
    pub p256dh: String,
    /// The shared secret.
    pub auth: String,
}

impl PushSubscription {
    /// The form that `PushSubscription.toJSON()` has in a browser.
    pub fn to_json(&self) -> Value {
        json!({
            "endpoint": self.endpoint,
            "expirationTime": null,
            "keys": {"p256dh": self.p256dh, "auth": self.auth},
        })
    }
}

/// A message that reached its browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushMessage {
    /// The last part of the answer's `Location`.
    pub id: String,
    /// The last part of the subscription's endpoint.
    pub token: String,
    /// When it was delivered.
    pub at: DateTime<Utc>,
    /// Decrypted.
    pub payload: String,
    /// How long the service would have kept it for a browser that is not there, in seconds.
    pub ttl: u64,
    /// `very-low`, `low`, `normal` or `high`.
    pub urgency: String,
    /// Replaces an undelivered message of the same topic (RFC 8030 §5.4); here every message is delivered at once.
    pub topic: Option<String>,
    /// What the sender signed.
    pub vapid_claims: Value,
    /// The sender's public key, base64url.
    pub vapid_key: String,
}

/// The push service. It stops when the last clone is dropped.
#[derive(Clone)]
pub struct Push {
    server: Arc<Server>,
    _listening: Arc<Listening>,
}

impl Push {
    /// Takes a loopback port and listens.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(options: PushOptions) -> io::Result<Self> {
        let (listener, address) = bind(options.port).await?;
        let server = Arc::new(Server {
            stand_in: StandIn::new(options.keep),
            origin: format!("http://{address}"),
            browsers: Mutex::new(HashMap::new()),
            hanging: AtomicUsize::new(0),
        });
        let routes = Router::new().route("/push/{token}", post(deliver));
        let listening = Listening::http(listener, routes.with_state(Arc::clone(&server)));
        Ok(Self { server, _listening: Arc::new(listening) })
    }

    /// The origin, which is also the audience (`aud`) that a sender has to sign.
    pub fn url(&self) -> &str {
        &self.server.origin
    }

    /// A browser subscribes, and accepts every sender.
    pub fn subscribe(&self) -> PushSubscription {
        self.new_browser(None)
    }

    /// A browser subscribes for the sender with this public key (base64url, the `applicationServerKey` of the
    /// browser's `subscribe()`); other senders are refused with 403 (RFC 8292 §4.2).
    pub fn subscribe_for(&self, vapid_public_key: &str) -> PushSubscription {
        self.new_browser(Some(vapid_public_key.to_owned()))
    }

    /// The subscription ends: 410 from now on. Says whether there was one.
    pub fn expire(&self, endpoint: &str) -> bool {
        let mut browsers = lock(&self.server.browsers);
        let browser = browsers.get_mut(token_of(endpoint));
        browser.map(|browser| browser.expired = true).is_some()
    }

    /// The service forgets the subscription: 404 from now on. Says whether there was one.
    pub fn forget(&self, endpoint: &str) -> bool {
        lock(&self.server.browsers).remove(token_of(endpoint)).is_some()
    }

    /// How many requests wait now for an answer that never comes ([`PushFault::Hang`]).
    pub fn hanging(&self) -> usize {
        self.server.hanging.load(Ordering::Relaxed)
    }

    fn new_browser(&self, reserved: Option<String>) -> PushSubscription {
        let browser = Browser::new(reserved);
        let token = new_id().simple().to_string();
        let subscription = PushSubscription {
            endpoint: format!("{}/push/{token}", self.server.origin),
            p256dh: BASE64_URL_SAFE_NO_PAD.encode(browser.keys.public_key()),
            auth: BASE64_URL_SAFE_NO_PAD.encode(browser.secret),
        };
        lock(&self.server.browsers).insert(token, browser);
        subscription
    }
}

impl Deref for Push {
    type Target = StandIn<PushMessage, PushFault>;

    fn deref(&self) -> &Self::Target {
        &self.server.stand_in
    }
}

/// What the handlers share.
struct Server {
    stand_in: StandIn<PushMessage, PushFault>,
    origin: String,
    /// By token.
    browsers: Mutex<HashMap<String, Browser>>,
    hanging: AtomicUsize,
}

/// A request that is never answered, until its sender gives it up.
struct Hanging<'a>(&'a AtomicUsize);

impl<'a> Hanging<'a> {
    fn begin(server: &'a Server) -> Self {
        server.hanging.fetch_add(1, Ordering::Relaxed);
        Self(&server.hanging)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The receiving end of a subscription.
#[derive(Clone)]
struct Browser {
    keys: EcKeyComponents,
    secret: [u8; 16],
    /// The one sender that it was made for.
    reserved: Option<String>,
    expired: bool,
}

impl Browser {
    fn new(reserved: Option<String>) -> Self {
        let made = ece::generate_keypair_and_auth_secret();
        let (keys, secret) = made.expect("OpenSSL makes P-256 keys and random bytes");
        Self {
            keys: keys.raw_components().expect("a key that was just made can be exported"),
            secret,
            reserved,
            expired: false,
        }
    }

    fn decrypt(&self, body: &[u8]) -> Result<String, Refusal> {
        if body.is_empty() {
            return Ok(String::new()); // A push without a payload.
        }
        let garbled =
            |error| Refusal::new(StatusCode::BAD_REQUEST, format!("the browser cannot decrypt this: {error}"));
        let payload = ece::decrypt(&self.keys, &self.secret, body).map_err(|error| garbled(error.to_string()))?;
        String::from_utf8(payload).map_err(|error| garbled(error.to_string()))
    }
}

/// A status, and the reason for the developer who reads the log.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({
            "code": self.status.as_u16(),
            "error": self.status.canonical_reason(),
            "message": self.reason,
        });
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("vapid");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

async fn deliver(
    State(server): State<Arc<Server>>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let message = match read(&server, token, &headers, &body) {
        Ok(message) => message,
        Err(refusal) => return refusal.into_response(),
    };
    match server.stand_in.take_fault(&[&message.token], |_| true) {
        None => accept(&server, message),
        Some(PushFault::Status { status, retry_after }) => fault_response(status, retry_after),
        Some(PushFault::Slow { delay }) => {
            let response = accept(&server, message);
            tokio::time::sleep(delay).await;
            response
        }
        Some(PushFault::Hang) => {
            let _hanging = Hanging::begin(&server);
            std::future::pending().await
        }
        Some(PushFault::Drop) => HangUp.into_response(),
    }
}

fn accept(server: &Server, message: PushMessage) -> Response {
    let location = format!("{}/message/{}", server.origin, message.id);
    let headers = [(LOCATION, location), (TTL.clone(), message.ttl.to_string())];
    server.stand_in.record(message);
    (StatusCode::CREATED, headers).into_response()
}

fn fault_response(status: u16, retry_after: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Refusal::new(status, "the sandbox was told to answer this").into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Everything that a push service and a browser check, in that order.
fn read(server: &Server, token: String, headers: &HeaderMap, body: &[u8]) -> Result<PushMessage, Refusal> {
    let browser = subscriber(server, &token)?;
    let at = now();
    let Vapid { key, claims } = sender(headers, &server.origin, at, browser.reserved.as_deref())?;
    let ttl = ttl(headers)?;
    let urgency = urgency(headers)?;
    let topic = topic(headers)?;
    check_body(headers, body)?;
    Ok(PushMessage {
        id: new_id().simple().to_string(),
        payload: browser.decrypt(body)?,
        token,
        at,
        ttl,
        urgency,
        topic,
        vapid_claims: claims,
        vapid_key: key,
    })
}

fn subscriber(server: &Server, token: &str) -> Result<Browser, Refusal> {
    let browser = lock(&server.browsers).get(token).cloned();
    match browser {
        None => Err(Refusal::new(StatusCode::NOT_FOUND, "no such subscription")),
        Some(browser) if browser.expired => Err(Refusal::new(StatusCode::GONE, "the subscription has expired")),
        Some(browser) => Ok(browser),
    }
}

fn sender(headers: &HeaderMap, origin: &str, at: DateTime<Utc>, reserved: Option<&str>) -> Result<Vapid, Refusal> {
    let Some(header) = text(headers, &AUTHORIZATION)? else {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "the header Authorization is missing"));
    };
    vapid::verify(header, origin, at.timestamp(), reserved)
        .map_err(|reason| Refusal::new(StatusCode::FORBIDDEN, reason))
}

fn ttl(headers: &HeaderMap) -> Result<u64, Refusal> {
    let seconds = text(headers, &TTL)?.and_then(|seconds| seconds.parse().ok());
    seconds.ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "the header TTL is a whole number of seconds"))
}

fn urgency(headers: &HeaderMap) -> Result<String, Refusal> {
    // RFC 8030 §5.3: absent is normal.
    let urgency = text(headers, &HeaderName::from_static("urgency"))?.unwrap_or("normal");
    match urgency {
        "very-low" | "low" | "normal" | "high" => Ok(urgency.to_owned()),
        _ => Err(Refusal::new(StatusCode::BAD_REQUEST, "the header Urgency is very-low, low, normal or high")),
    }
}

fn topic(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(topic) = text(headers, &HeaderName::from_static("topic"))? else {
        return Ok(None);
    };
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if topic.is_empty() || topic.len() > 32 || !topic.bytes().all(base64url) {
        let reason = "the header Topic is at most 32 characters of base64url";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
    }
    Ok(Some(topic.to_owned()))
}

fn check_body(headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    if body.len() > BODY_LIMIT {
        let reason = format!("the body has {} bytes; {BODY_LIMIT} is the most", body.len());
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    if !body.is_empty() && text(headers, &CONTENT_ENCODING)? != Some("aes128gcm") {
        let reason = "the header Content-Encoding is aes128gcm (RFC 8188)";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let value = headers.get(name).map(HeaderValue::to_str).transpose();
    value.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, format!("the header {name} is not ASCII")))
}

fn token_of(endpoint: &str) -> &str {
    endpoint.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().expect("a value"));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn headers_of_the_protocol() {
        assert_eq!(ttl(&headers(&[("ttl", "86400")])).expect("seconds"), 86_400);
        for wrong in [headers(&[]), headers(&[("ttl", "-1")]), headers(&[("ttl", "1 day")])] {
            assert_eq!(ttl(&wrong).expect_err("no seconds").status, StatusCode::BAD_REQUEST);
        }
        assert_eq!(urgency(&headers(&[])).expect("absent"), "normal");
        assert_eq!(urgency(&headers(&[("urgency", "high")])).expect("known"), "high");
        urgency(&headers(&[("urgency", "urgent")])).expect_err("unknown");
        assert_eq!(topic(&headers(&[])).expect("absent"), None);
        assert_eq!(topic(&headers(&[("topic", "a-B_9")])).expect("known").as_deref(), Some("a-B_9"));
        topic(&headers(&[("topic", "a b")])).expect_err("a space");
        topic(&headers(&[("topic", "123456789012345678901234567890123")])).expect_err("33 characters");
    }

    #[test]
    fn bodies_of_the_protocol() {
        let encoded = headers(&[("content-encoding", "aes128gcm")]);
        check_body(&encoded, &[0; BODY_LIMIT]).expect("the most");
        check_body(&headers(&[]), b"").expect("no payload");
        let too_large = check_body(&encoded, &[0; BODY_LIMIT + 1]).expect_err("one more");
        assert_eq!(too_large.status, StatusCode::PAYLOAD_TOO_LARGE);
        check_body(&headers(&[("content-encoding", "aesgcm")]), b"x").expect_err("a draft of the standard");
    }

    #[test]
    fn only_what_was_encrypted_for_the_browser_is_read() {
        let browser = Browser::new(None);
        let body = ece::encrypt(browser.keys.public_key(), &browser.secret, "🚗 listo".as_bytes()).expect("encrypted");
        assert_eq!(browser.decrypt(&body).expect("its own"), "🚗 listo");
        Browser::new(None).decrypt(&body).expect_err("another's");
        for cut in 1..body.len() {
            browser.decrypt(&body[..cut]).expect_err("cut");
        }
    }
}
