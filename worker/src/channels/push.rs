//! Web Push (RFC 8030) to every device of a person: encrypted for the browser (RFC 8291), signed with our VAPID key
//! (RFC 8292).

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{FutureExt, StreamExt, stream};
use http::HeaderMap;
use recado_kernel::clock::Clock;
use recado_kernel::config::PushSettings;
use recado_kernel::outbound::check_url;
use recado_notifications::fallback::FailureClass;
use recado_notifications::push::{Finding, MOST_DEVICES, leads_nowhere};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Client, Response};
use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;
use web_push::{
    ContentEncoding, PartialVapidSignatureBuilder, SubscriptionInfo, VapidSignatureBuilder, WebPushError,
    WebPushMessageBuilder, WebPushPayload,
};

use super::answer::{excerpt, shorten};
use super::failure::{SendFailure, wrong_adapter};
use super::message::{Message, Recipient, Subscription};
use super::provider::{Provider, ProviderError, SendReceipt};
use crate::outbound::{self, Connections};

/// The code of a failed push that has none of its own (S002-71).
pub(super) const FAILED: &str = "WEBPUSH_ERROR";
/// The person has no device (S002-71).
const NO_SUBSCRIPTION: &str = "NO_PUSH_SUBSCRIPTION";
/// 404: the push service does not know the device (S002-71).
const NOT_FOUND: &str = "PUSH_SUBSCRIPTION_NOT_FOUND";
/// 410: the person has withdrawn the permission, or the browser is gone (S002-71).
const EXPIRED: &str = "PUSH_SUBSCRIPTION_EXPIRED";

/// Devices that are served at once: all of a customer. So one message takes no longer than one device may.
const MAX_CONCURRENT_DEVICES: usize = MOST_DEVICES as usize;

/// How often a push is sent again, at once, because its connection was closed under it: services close kept connections after
/// so many requests, or when they were idle. The second one bears the same topic, and replaces the first.
const RECONNECTS: usize = 2;

/// Longer than this without being reached, a device is not waited for: the next channel has its turn at once.
const UNREACHED_LIMIT: Duration = Duration::from_secs(60 * 60);

/// Services of the browsers themselves. If their names or certificates are refused, our network is out of order and not the
/// device.
const WELL_KNOWN: [&str; 6] =
    ["googleapis.com", "google.com", "mozilla.com", "push.apple.com", "windows.com", "microsoft.com"];

/// What push services say of a subscription that was made for another key than ours: Apple's word, Google's and Mozilla's
/// sentences.
const MADE_FOR_ANOTHER_KEY: [&str; 4] = [
    "VapidPkHashMismatch",
    "do not correspond to the credentials used to create the subscription",
    "VAPID public key mismatch",
    "another application server key",
];

/// A push that waits longer for its device than a day is no news any more.
const TIME_TO_LIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// What fits into the 4,096 bytes that every push service takes, after encryption and padding.
const MAX_PAYLOAD_BYTES: usize = 3052;

/// Longer titles and links are not shown by any browser; without a bound they would crowd out the body.
const MAX_TITLE_CHARS: usize = 200;
const MAX_LINK_BYTES: usize = 1000;

/// Push services answer with a sentence, if at all.
const MAX_ANSWER_BYTES: usize = 4096;

pub(super) struct Push {
    http: Client,
    signer: PartialVapidSignatureBuilder,
    /// Whom a push service may write to (RFC 8292, section 2.1).
    subject: String,
    allow_private: bool,
    /// How long one message may take.
    timeout: Duration,
    clock: Clock,
}

/// What one device's push came to: the status of its service, or why it failed.
type Outcome = Result<u16, Undelivered>;

/// A push that did not reach its device.
#[derive(Clone, Debug)]
struct Undelivered {
    failure: Box<SendFailure>,
    blame: Blame,
}

/// What a failure says about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// It can never be reached: its subscription has ended, or leads nowhere.
    Gone,
    /// It speaks against the device, and something else may be the cause: it is removed when it goes on.
    Device,
    /// It was not reached, which may pass and says nothing against it.
    Unreached,
    /// The message or our settings are at fault.
    Us,
}

impl Blame {
    fn finding(self) -> Option<Finding> {
        match self {
            Self::Gone => Some(Finding::Gone),
            Self::Device => Some(Finding::Blamed),
            Self::Unreached => Some(Finding::Unreached),
            Self::Us => None,
        }
    }
}

impl Undelivered {
    fn new(failure: SendFailure, blame: Blame) -> Self {
        Self { failure: Box::new(failure), blame }
    }
}

impl Push {
    /// # Errors
    /// When the VAPID keys are none, or are not two halves of one pair.
    pub(super) fn new(settings: &PushSettings, allow_private: bool, clock: &Clock) -> Result<Self, ProviderError> {
        let remedy = "; make a pair with `recado vapid-keys`";
        let wrong =
            |variable, problem: &str| ProviderError::Setting { variable, problem: format!("{problem}{remedy}") };
        let signer = VapidSignatureBuilder::from_base64_no_sub(settings.private_key.expose_secret())
            .map_err(|_| wrong("VAPID_PRIVATE_KEY", "is not a P-256 private key in base64url"))?;
        if URL_SAFE_NO_PAD.encode(signer.get_public_key()) != settings.public_key {
            return Err(wrong("VAPID_PUBLIC_KEY", "does not belong to VAPID_PRIVATE_KEY"));
        }
        let http = outbound::client(allow_private, settings.timeout, Connections::Kept)
            .map_err(|error| ProviderError::Tls(error.into()))?;
        let (subject, timeout) = (settings.subject.clone(), settings.timeout);
        Ok(Self { http, signer, subject, allow_private, timeout, clock: clock.clone() })
    }

    /// Sends to one device, within the time of the message.
    async fn deliver(&self, device: &Subscription, payload: &[u8], topic: &str) -> Outcome {
        let outcome = tokio::time::timeout(self.timeout, self.post(device, payload, topic)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let reason = format!("no answer from the push service within {} s", self.timeout.as_secs_f64());
            Err(Undelivered::new(SendFailure::new(FailureClass::Transient, FAILED, reason), Blame::Unreached))
        });
        outcome.map_err(|undelivered| self.without_waiting(device, undelivered))
    }

    async fn post(&self, device: &Subscription, payload: &[u8], topic: &str) -> Outcome {
        let endpoint = check_url(&device.endpoint, self.allow_private)
            .map_err(|refusal| unreachable(format!("the device's endpoint is refused: {refusal}")))?;
        if leads_nowhere(&endpoint) {
            return Err(unreachable("the device's push service does not exist".to_owned()));
        }
        let sealed = self.seal(device, &endpoint, payload).map_err(|error| unreachable(unsealed(&error)))?;
        let response =
            self.send_sealed(&endpoint, &sealed, topic).await.map_err(|error| unanswered(&endpoint, &error))?;
        self.read(device, response).await
    }

    async fn send_sealed(
        &self,
        endpoint: &Url,
        sealed: &WebPushPayload,
        topic: &str,
    ) -> Result<Response, reqwest::Error> {
        let mut reconnects = 0;
        loop {
            let mut request = self
                .http
                .post(endpoint.clone())
                .header("TTL", TIME_TO_LIVE.as_secs())
                .header("Urgency", "normal")
                // What waits at the push service from an earlier attempt is replaced, not shown twice.
                .header("Topic", topic)
                .header(CONTENT_ENCODING, sealed.content_encoding.to_str())
                .header(CONTENT_TYPE, "application/octet-stream");
            for (name, value) in &sealed.crypto_headers {
                request = request.header(*name, value);
            }
            match request.body(sealed.content.clone()).send().await {
                Err(error) if outbound::is_broken_connection(&error) && reconnects < RECONNECTS => reconnects += 1,
                outcome => return outcome,
            }
        }
    }

    /// What the service's answer means.
    async fn read(&self, device: &Subscription, response: Response) -> Outcome {
        let status = response.status().as_u16();
        if response.status().is_success() {
            return Ok(status);
        }
        let retry_after = self.retry_after(response.headers());
        let body = outbound::read(response, MAX_ANSWER_BYTES).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let (class, code, reason, blame) = classify(status, &body);
        let failure = SendFailure {
            status: Some(status),
            answer: Some(excerpt(&format!("{status} {body}"), Some(&device.endpoint))),
            retry_after,
            ..SendFailure::new(class, code, format!("{reason} (HTTP {status})"))
        };
        Err(Undelivered::new(failure, blame))
    }

    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        outbound::retry_after(headers, self.clock.now())
    }

    /// A device that nothing has reached for a while does not delay the next channel.
    fn without_waiting(&self, device: &Subscription, undelivered: Undelivered) -> Undelivered {
        let is_long_ago = device.failing_since.is_some_and(|since| self.clock.now().since(since) >= UNREACHED_LIMIT);
        let Undelivered { mut failure, blame } = undelivered;
        if is_long_ago && failure.class == FailureClass::Transient {
            failure.class = FailureClass::Permanent;
            failure.reason += ", as for more than an hour";
        }
        Undelivered { failure, blame }
    }

    /// Encrypts for the device and signs for its push service.
    fn seal(&self, device: &Subscription, endpoint: &Url, payload: &[u8]) -> Result<WebPushPayload, WebPushError> {
        let info = SubscriptionInfo::new(endpoint.as_str(), &base64url(&device.p256dh), &base64url(&device.auth));
        let mut signature = self.signer.clone().add_sub_info(&info);
        signature.add_claim("sub", self.subject.as_str());
        // The origin with its port; the library would leave the port out, and a service on another port refuse us.
        signature.add_claim("aud", endpoint.origin().ascii_serialization());
        let mut builder = WebPushMessageBuilder::new(&info);
        builder.set_payload(ContentEncoding::Aes128Gcm, payload);
        builder.set_vapid_signature(signature.build()?);
        builder.build()?.payload.ok_or(WebPushError::Unspecified)
    }
}

#[async_trait]
impl Provider for Push {
    async fn send(&self, message: &Message) -> Result<SendReceipt, SendFailure> {
        let Recipient::Push(devices) = &message.recipient else {
            return Err(wrong_adapter(message, FAILED));
        };
        let payload = payload(message);
        let topic = URL_SAFE_NO_PAD.encode(message.notification_id.as_bytes());
        let deliveries: Vec<_> = devices.iter().map(|device| self.deliver(device, &payload, &topic).boxed()).collect();
        let outcomes: Vec<_> = stream::iter(deliveries).buffered(MAX_CONCURRENT_DEVICES).collect().await;
        conclude(devices.iter().zip(outcomes).collect())
    }
}

/// One device is enough: the person has the message. Otherwise the most hopeful failure speaks for all.
fn conclude(outcomes: Vec<(&Subscription, Outcome)>) -> Result<SendReceipt, SendFailure> {
    let total = outcomes.len();
    let mut devices = Vec::new();
    let (mut statuses, mut failures) = (Vec::new(), Vec::new());
    for (device, outcome) in outcomes {
        match outcome {
            Ok(status) => {
                devices.extend(device.failing_since.map(|_| (device.id, Finding::Recovered)));
                statuses.push(status);
            }
            Err(Undelivered { failure, blame }) => {
                devices.extend(blame.finding().map(|finding| (device.id, finding)));
                failures.push(*failure);
            }
        }
    }
    if let Some(status) = statuses.first() {
        let answer = format!("{} of {total} devices reached", statuses.len());
        return Ok(SendReceipt { provider_message_id: None, status: Some(*status), answer, devices });
    }
    let Some(speaker) = failures.into_iter().min_by_key(severity) else {
        return Err(SendFailure::new(
            FailureClass::Permanent,
            NO_SUBSCRIPTION,
            "the person has no device that receives pushes",
        ));
    };
    Err(SendFailure { devices, ..speaker })
}

/// Lower is more hopeful; among those that may recover, the earliest first.
fn severity(failure: &SendFailure) -> (u8, Duration) {
    let rank = match failure.class {
        FailureClass::Transient | FailureClass::Unknown => 0,
        FailureClass::Misconfigured => 1,
        FailureClass::Permanent => 2,
    };
    (rank, failure.retry_after.unwrap_or_default())
}

/// What a push service's refusal means, and whose fault it is (RFC 8030, sections 5, 7.3 and 8.4).
fn classify(status: u16, body: &str) -> (FailureClass, &'static str, &'static str, Blame) {
    use FailureClass::{Misconfigured, Permanent, Transient};
    const OTHER_KEY: &str = "the device subscribed for another VAPID key; it must subscribe again";
    match status {
        400 | 401 | 403 if MADE_FOR_ANOTHER_KEY.iter().any(|saying| body.contains(saying)) => {
            (Permanent, EXPIRED, OTHER_KEY, Blame::Gone)
        }
        401 | 403 => {
            (Misconfigured, FAILED, "the push service refuses our VAPID key; check VAPID_PUBLIC_KEY", Blame::Us)
        }
        404 => (Permanent, NOT_FOUND, "the push service does not know the device", Blame::Gone),
        410 => (Permanent, EXPIRED, "the device's subscription has expired", Blame::Gone),
        413 => (Permanent, FAILED, "the push service finds the message too large", Blame::Us),
        400 => (Permanent, FAILED, "the push service refuses the message", Blame::Us),
        408 | 425 => (Transient, FAILED, "the push service asks us to try later", Blame::Unreached),
        // It has the device.
        429 => (Transient, FAILED, "the push service asks us to try later", Blame::Us),
        500.. => (Transient, FAILED, "the push service failed", Blame::Unreached),
        // Redirects too: a customer's address must not lead us elsewhere.
        _ => (Permanent, FAILED, "what the device names is no push service", Blame::Device),
    }
}

/// A push without an answer may have arrived. It is transient all the same: the second one bears the same topic and
/// tag, so it replaces the first on the device. What no status announces and will not pass is told by the error.
fn unanswered(endpoint: &Url, error: &reqwest::Error) -> Undelivered {
    let why = outbound::explain(error);
    let is_known = is_well_known(endpoint);
    let blame = if is_known { Blame::Unreached } else { Blame::Device };
    if let Some(refusal) = outbound::refusal(error) {
        return Undelivered::new(permanent(format!("the device's endpoint is refused: {refusal}")), blame);
    }
    if outbound::is_unknown_name(error) && !is_known {
        return unreachable(format!("the device's push service does not exist: {why}"));
    }
    if outbound::is_tls_refused(error) && !is_known {
        return Undelivered::new(permanent(format!("no TLS with the device's push service: {why}")), blame);
    }
    let reason = format!("no answer from the push service: {why}");
    Undelivered::new(SendFailure::new(FailureClass::Transient, FAILED, reason), Blame::Unreached)
}

fn is_well_known(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default();
    WELL_KNOWN.iter().any(|known| host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

fn unreachable(reason: String) -> Undelivered {
    Undelivered::new(permanent(reason), Blame::Gone)
}

fn unsealed(error: &WebPushError) -> String {
    format!("the device's keys cannot be used to encrypt ({}); it must subscribe again", error.short_description())
}

fn permanent(reason: String) -> SendFailure {
    SendFailure::new(FailureClass::Permanent, FAILED, reason)
}

/// Browsers print keys as base64url without padding; some libraries as ordinary base64.
fn base64url(key: &str) -> String {
    key.trim().trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// What the service worker in the browser receives: `{"title","body","url"?,"notification_id","tag"}`, at most
/// [`MAX_PAYLOAD_BYTES`] bytes. What does not fit is cut off the body.
fn payload(message: &Message) -> Vec<u8> {
    let title = shorten(&message.subject, MAX_TITLE_CHARS);
    let url = message.click_url.as_deref().filter(|url| url.len() <= MAX_LINK_BYTES);
    let with_body = |length: usize| {
        let id = message.notification_id.to_string();
        let mut payload =
            json!({"title": title, "body": shorten(&message.body, length), "notification_id": id, "tag": id});
        if let Some(url) = url {
            payload["url"] = url.into();
        }
        payload.to_string().into_bytes()
    };
    let whole = with_body(usize::MAX);
    if whole.len() <= MAX_PAYLOAD_BYTES {
        return whole;
    }
    // A character takes from one byte to six in JSON, so the length that fits is searched for.
    let lengths: Vec<usize> = (0..MAX_PAYLOAD_BYTES).collect();
    let fitting = lengths.partition_point(|&length| with_body(length).len() <= MAX_PAYLOAD_BYTES);
    with_body(fitting.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use recado_kernel::ids::Id;
    use recado_sandbox::{PushFault, PushOptions, PushSubscription};
    use serde_json::Value;

    use super::*;

    const TEST_TIMEOUT: Duration = Duration::from_secs(10);
    const PRIVATE_KEY: &str = "IQ9Ur0ykXoHS9gzfYX0aBjy9lvdrjx_PFUXmie9YRcY";

    fn settings() -> PushSettings {
        let signer = VapidSignatureBuilder::from_base64_no_sub(PRIVATE_KEY).unwrap();
        PushSettings {
            public_key: URL_SAFE_NO_PAD.encode(signer.get_public_key()),
            private_key: PRIVATE_KEY.to_owned().into(),
            subject: "mailto:taller@example.com".to_owned(),
            timeout: TEST_TIMEOUT,
        }
    }

    fn push() -> Push {
        Push::new(&settings(), true, &Clock::system()).expect("usable keys")
    }

    async fn service() -> recado_sandbox::Push {
        recado_sandbox::Push::start(PushOptions::default()).await.unwrap()
    }

    fn device(subscription: PushSubscription) -> Subscription {
        let PushSubscription { endpoint, p256dh, auth } = subscription;
        Subscription { id: Id::of_name(&endpoint), endpoint, p256dh, auth, failing_since: None }
    }

    /// A device with keys that are right, wherever it is.
    fn known_device(endpoint: &str) -> Subscription {
        let signer = VapidSignatureBuilder::from_base64_no_sub(PRIVATE_KEY).unwrap();
        Subscription {
            id: Id::of_name(endpoint),
            endpoint: endpoint.to_owned(),
            p256dh: URL_SAFE_NO_PAD.encode(signer.get_public_key()),
            auth: URL_SAFE_NO_PAD.encode([7; 16]),
            failing_since: None,
        }
    }

    fn message(devices: Vec<Subscription>) -> Message {
        Message {
            notification_id: Id::of_name("notification"),
            correlation_id: Id::of_name("correlation"),
            recipient: Recipient::Push(devices),
            subject: "Su vehículo está listo 🚗".to_owned(),
            body: "Le esperamos, María. ¡Hasta pronto! 👋".to_owned(),
            is_html: false,
            click_url: Some("https://taller.example.com/ordenes/7".to_owned()),
            unsubscribe_url: None,
            sender: None,
        }
    }

    #[tokio::test]
    async fn a_push_is_decrypted_by_the_browser_as_it_was_written() {
        let service = service().await;
        let device = device(service.subscribe_for(&settings().public_key));
        push().send(&message(vec![device])).await.expect("accepted");
        let received = service.wait_for(1, TEST_TIMEOUT).await;
        let payload: Value = serde_json::from_str(&received[0].payload).unwrap();
        let id = Id::of_name("notification").to_string();
        let expected = json!({
            "title": "Su vehículo está listo 🚗",
            "body": "Le esperamos, María. ¡Hasta pronto! 👋",
            "url": "https://taller.example.com/ordenes/7",
            "notification_id": id,
            "tag": id,
        });
        assert_eq!(payload, expected);
        assert_eq!((received[0].ttl, received[0].urgency.as_str()), (86_400, "normal"));
        assert_eq!(received[0].vapid_claims["sub"], "mailto:taller@example.com");
        assert_eq!(received[0].vapid_claims["aud"], service.url(), "the port belongs to the origin");
    }

    #[tokio::test]
    async fn one_device_is_enough_and_those_that_are_gone_are_named() {
        let service = service().await;
        let devices: Vec<_> = (0..3).map(|_| device(service.subscribe())).collect();
        service.expire(&devices[1].endpoint);
        let gone = devices[1].id;
        let receipt = push().send(&message(devices)).await.expect("two devices are left");
        assert_eq!(receipt.devices, [(gone, Finding::Gone)]);
        assert_eq!((receipt.status, receipt.answer.as_str()), (Some(201), "2 of 3 devices reached"));
        let received = service.wait_for(2, TEST_TIMEOUT).await;
        assert_eq!(received.len(), 2);
        assert_eq!(received[0].topic, received[1].topic);
    }

    #[tokio::test]
    async fn when_every_device_is_gone_the_channel_is_spent() {
        let service = service().await;
        let (expired, unknown) = (device(service.subscribe()), device(service.subscribe()));
        service.expire(&expired.endpoint);
        service.forget(&unknown.endpoint);
        let ids = [expired.id, unknown.id];
        let failure = push().send(&message(vec![expired, unknown])).await.unwrap_err();
        assert_eq!((failure.class, failure.code, failure.status), (FailureClass::Permanent, EXPIRED, Some(410)));
        assert_eq!(failure.devices, ids.map(|id| (id, Finding::Gone)));

        let unknown = device(service.subscribe());
        service.forget(&unknown.endpoint);
        let failure = push().send(&message(vec![unknown])).await.unwrap_err();
        assert_eq!((failure.class, failure.code, failure.status), (FailureClass::Permanent, NOT_FOUND, Some(404)));

        let failure = push().send(&message(Vec::new())).await.unwrap_err();
        assert_eq!((failure.class, failure.code), (FailureClass::Permanent, NO_SUBSCRIPTION));
    }

    #[tokio::test]
    async fn every_fault_has_its_class() {
        use FailureClass::{Misconfigured, Permanent, Transient};
        let service = service().await;
        let busy = PushFault::Status { status: 429, retry_after: Some(120) };
        let table = [
            (PushFault::status(400), Permanent, Some(400), None),
            (PushFault::status(401), Misconfigured, Some(401), None),
            (PushFault::status(403), Misconfigured, Some(403), None),
            (PushFault::status(413), Permanent, Some(413), None),
            (PushFault::status(301), Permanent, Some(301), None),
            (PushFault::status(503), Transient, Some(503), None),
            (busy, Transient, Some(429), Some(Duration::from_secs(120))),
            (PushFault::Drop, Transient, None, None),
        ];
        for (fault, class, status, retry_after) in table {
            service.misbehave(fault.clone());
            let device = device(service.subscribe());
            let token = device.endpoint.clone();
            let failure = push().send(&message(vec![device])).await.unwrap_err();
            let found = (failure.class, failure.code, failure.status, failure.retry_after);
            assert_eq!(found, (class, FAILED, status, retry_after), "{fault:?}");
            assert!(failure.devices.iter().all(|(_, finding)| *finding != Finding::Gone));
            assert!(!format!("{failure:?}").contains(&token), "the endpoint is a secret");
        }
    }

    #[tokio::test]
    async fn a_device_that_subscribed_for_another_key_must_subscribe_again() {
        let service = service().await;
        let device = device(service.subscribe_for("BM-another-key"));
        let id = device.id;
        let failure = push().send(&message(vec![device])).await.unwrap_err();
        assert_eq!((failure.class, failure.status), (FailureClass::Permanent, Some(403)));
        assert_eq!(failure.devices, [(id, Finding::Gone)]);
        assert!(failure.reason.contains("subscribe again"), "{}", failure.reason);
    }

    #[tokio::test]
    async fn what_the_guard_refuses_is_never_connected_to() {
        let service = service().await;
        let guarded = Push::new(&settings(), false, &Clock::system()).unwrap();
        let inside = device(service.subscribe());
        let https = inside.endpoint.replace("http:", "https:");
        for endpoint in
            [inside.endpoint.clone(), https.clone(), https.replace("127.0.0.1", "localhost"), "push".to_owned()]
        {
            let device = Subscription {
                id: inside.id,
                endpoint,
                p256dh: inside.p256dh.clone(),
                auth: inside.auth.clone(),
                failing_since: None,
            };
            let failure = guarded.send(&message(vec![device])).await.unwrap_err();
            assert_eq!((failure.class, failure.code), (FailureClass::Permanent, FAILED));
            assert!(failure.reason.contains("refused"), "{}", failure.reason);
        }
        assert_eq!(service.received(), 0);
    }

    #[tokio::test]
    async fn a_device_whose_keys_are_broken_is_reported_and_the_others_are_served() {
        let service = service().await;
        let mut broken = device(service.subscribe());
        broken.p256dh = "no key".to_owned();
        let failure = push().send(&message(vec![broken])).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Permanent);
        assert!(failure.reason.contains("subscribe again"), "{}", failure.reason);

        let mut padded = device(service.subscribe());
        padded.p256dh = padded.p256dh.replace('-', "+").replace('_', "/") + "=";
        padded.auth += "==";
        push().send(&message(vec![padded])).await.expect("ordinary base64 with padding is understood");
    }

    /// What no status announces (Couchers-org/couchers#8212, discourse/discourse#39804, vm0-ai/vm0#32459): a name that does not
    /// exist, a key that is no point of the curve, a server without TLS. No second attempt delays the next channel.
    #[tokio::test]
    async fn a_device_that_can_never_be_reached_is_not_waited_for() {
        let service = service().await;
        let without_tls = service.url().replace("http:", "https:") + "/push/1";
        let mut off_curve = known_device("https://push.example.com/2");
        off_curve.p256dh = URL_SAFE_NO_PAD.encode([4; 65]);
        let table = [
            (known_device("https://permanently-removed.invalid/fcm/send/abc"), Blame::Gone),
            (off_curve, Blame::Gone),
            (known_device(&without_tls), Blame::Device),
        ];
        for (device, blame) in table {
            let (id, endpoint) = (device.id, device.endpoint.clone());
            let failure = push().send(&message(vec![device])).await.unwrap_err();
            assert_eq!(failure.class, FailureClass::Permanent, "{endpoint}: {}", failure.reason);
            let expected = [(id, blame.finding().expect("the device's"))];
            assert_eq!(failure.devices, expected, "{endpoint}: {}", failure.reason);
        }
    }

    #[test]
    fn what_a_refusal_says_of_the_device() {
        use FailureClass::{Misconfigured, Permanent, Transient};
        let table = [
            (400, r#"{"reason":"VapidPkHashMismatch"}"#, Permanent, Blame::Gone),
            (400, r#"{"reason":"BadWebPushTopic"}"#, Permanent, Blame::Us),
            (
                403,
                "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions.",
                Permanent,
                Blame::Gone,
            ),
            (403, r#"{"reason":"BadJwtToken"}"#, Misconfigured, Blame::Us),
            (401, "", Misconfigured, Blame::Us),
            (404, "", Permanent, Blame::Gone),
            (410, "", Permanent, Blame::Gone),
            (405, "", Permanent, Blame::Device),
            (302, "", Permanent, Blame::Device),
            (413, "", Permanent, Blame::Us),
            (429, "", Transient, Blame::Us),
            (503, "", Transient, Blame::Unreached),
        ];
        for (status, body, class, blame) in table {
            let (found, _, _, whose) = classify(status, body);
            assert_eq!((found, whose), (class, blame), "{status} {body}");
        }
    }

    /// When the names or certificates of the browsers' own services are refused, it is our network that is out of order: no
    /// device is removed for it.
    #[test]
    fn the_browsers_own_services_are_known() {
        for (host, is_known) in [
            ("fcm.googleapis.com", true),
            ("updates.push.services.mozilla.com", true),
            ("web.push.apple.com", true),
            ("db5p.notify.windows.com", true),
            ("notgoogleapis.com", false),
            ("googleapis.com.example.net", false),
        ] {
            assert_eq!(is_well_known(&Url::parse(&format!("https://{host}/1")).unwrap()), is_known, "{host}");
        }
    }

    /// One customer's devices that accept and never answer: the message takes as long as one of them, and a device that has
    /// been silent for an hour delays nothing.
    #[tokio::test]
    async fn silent_devices_cost_the_time_of_one() {
        let service = service().await;
        service.misbehave(PushFault::Hang);
        let hasty = PushSettings { timeout: Duration::from_secs(1), ..settings() };
        let push = Push::new(&hasty, true, &Clock::system()).unwrap();
        let mut devices: Vec<_> = (0..MAX_CONCURRENT_DEVICES).map(|_| device(service.subscribe())).collect();
        let began = std::time::Instant::now();
        let failure = push.send(&message(devices.clone())).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        let unreached = failure.devices.iter().filter(|(_, finding)| *finding == Finding::Unreached).count();
        assert_eq!((failure.class, unreached), (FailureClass::Transient, devices.len()));
        let long_ago = Clock::system().now() - Duration::from_secs(2 * 60 * 60);
        devices.iter_mut().for_each(|device| device.failing_since = Some(long_ago));
        assert_eq!(push.send(&message(devices)).await.unwrap_err().class, FailureClass::Permanent);
    }

    /// Services close kept connections after so many requests; a push on such a connection is sent again at once.
    #[tokio::test]
    async fn a_connection_that_is_closed_costs_no_attempt() {
        let service = service().await;
        let push = push();
        for _ in 0..3 {
            service.misbehave_times(PushFault::Drop, 1);
            push.send(&message(vec![device(service.subscribe())])).await.expect("on another connection");
        }
        assert_eq!(service.received(), 3);
    }

    #[test]
    fn keys_that_are_no_pair_are_named() {
        let refused = |settings| Push::new(&settings, false, &Clock::system()).err().expect("refused").to_string();
        let other = PushSettings { public_key: "BMo1HqKF6skMZYykrte9duqYwBD08mDQ".to_owned(), ..settings() };
        assert!(refused(other).starts_with("VAPID_PUBLIC_KEY"));
        let garbage = PushSettings { private_key: "x".to_owned().into(), ..settings() };
        assert!(refused(garbage).starts_with("VAPID_PRIVATE_KEY"));
    }

    #[test]
    fn the_most_hopeful_failure_speaks() {
        use FailureClass::{Misconfigured, Permanent, Transient};
        let device = known_device("https://push.example.com/1");
        let outcome = |name: &str, class, wait: u64| {
            let failure = SendFailure::new(class, FAILED, name);
            let failure = SendFailure { retry_after: Some(Duration::from_secs(wait)), ..failure };
            (&device, Err(Undelivered::new(failure, Blame::Us)))
        };
        let speaker = |outcomes| conclude(outcomes).unwrap_err().reason;
        assert_eq!(
            speaker(vec![outcome("a", Permanent, 0), outcome("b", Transient, 60), outcome("c", Transient, 5)]),
            "c"
        );
        assert_eq!(speaker(vec![outcome("a", Permanent, 0), outcome("b", Misconfigured, 0)]), "b");
    }

    fn as_json(message: &Message) -> Value {
        let payload = payload(message);
        assert!(payload.len() <= MAX_PAYLOAD_BYTES, "{} bytes", payload.len());
        serde_json::from_slice(&payload).unwrap()
    }

    #[test]
    fn a_long_body_is_cut_at_a_character_and_fills_what_there_is() {
        for letter in ["a", "ñ", "👋", "\"", "\u{1}"] {
            let long = Message { body: letter.repeat(5000), ..message(Vec::new()) };
            let json = as_json(&long);
            let body = json["body"].as_str().unwrap();
            assert!(body.ends_with('…') && body.starts_with(letter), "{letter:?}");
            assert!(payload(&long).len() > MAX_PAYLOAD_BYTES - 8, "{letter:?} leaves room unused");
            assert_eq!(json["url"], "https://taller.example.com/ordenes/7");
        }
    }

    #[test]
    fn a_push_without_a_link_has_none() {
        let plain = Message { click_url: None, ..message(Vec::new()) };
        assert_eq!(as_json(&plain).get("url"), None);
    }

    proptest::proptest! {
        #[test]
        fn every_payload_fits(title in ".{0,400}", body in ".{0,1500}", url in "https://[a-z/?=&%]{0,1200}") {
            let whole = Message { subject: title, body: body.clone(), click_url: Some(url), ..message(Vec::new()) };
            let json = as_json(&whole);
            let sent = json["body"].as_str().unwrap();
            let kept = sent.strip_suffix('…').unwrap_or(sent);
            proptest::prop_assert!(sent == body || body.starts_with(kept));
        }
    }
}
