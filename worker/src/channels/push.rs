//! Web Push (RFC 8030) to every device of a person: encrypted for the browser (RFC 8291), signed with our VAPID key
//! (RFC 8292).

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{FutureExt, StreamExt, stream};
use recado_kernel::clock::Clock;
use recado_kernel::config::PushSettings;
use recado_kernel::ids::Id;
use recado_kernel::outbound::check_url;
use recado_notifications::fallback::FailureClass;
use reqwest::Client;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
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
use crate::outbound;

/// The code of a failed push that has none of its own (S002-71).
pub(super) const FAILED: &str = "WEBPUSH_ERROR";
/// The person has no device (S002-71).
const NO_SUBSCRIPTION: &str = "NO_PUSH_SUBSCRIPTION";
/// 404: the push service does not know the device (S002-71).
const NOT_FOUND: &str = "PUSH_SUBSCRIPTION_NOT_FOUND";
/// 410: the person has withdrawn the permission, or the browser is gone (S002-71).
const EXPIRED: &str = "PUSH_SUBSCRIPTION_EXPIRED";

/// Devices that are served at once.
pub(super) const MAX_CONCURRENT_DEVICES: usize = 8;

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
    clock: Clock,
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
        let http =
            outbound::client(allow_private, settings.timeout).map_err(|error| ProviderError::Tls(error.into()))?;
        Ok(Self { http, signer, subject: settings.subject.clone(), allow_private, clock: clock.clone() })
    }

    /// Sends to one device; `Ok` is the status of the push service.
    async fn deliver(&self, device: &Subscription, payload: &[u8], topic: &str) -> Result<u16, SendFailure> {
        let endpoint = check_url(&device.endpoint, self.allow_private)
            .map_err(|refusal| permanent(format!("the device's endpoint is refused: {refusal}")))?;
        let sealed = self.seal(device, &endpoint, payload).map_err(|error| permanent(unsealed(&error)))?;
        let mut request = self
            .http
            .post(endpoint)
            .header("TTL", TIME_TO_LIVE.as_secs())
            .header("Urgency", "normal")
            // What waits at the push service from an earlier attempt is replaced, not shown twice.
            .header("Topic", topic)
            .header(CONTENT_ENCODING, sealed.content_encoding.to_str())
            .header(CONTENT_TYPE, "application/octet-stream");
        for (name, value) in &sealed.crypto_headers {
            request = request.header(*name, value);
        }
        let response = request.body(sealed.content).send().await.map_err(|error| unanswered(&error))?;
        let status = response.status().as_u16();
        let Some((class, code, reason)) = classify(status) else {
            return Ok(status);
        };
        let retry_after = outbound::retry_after(response.headers(), self.clock.now());
        let body = outbound::read(response, MAX_ANSWER_BYTES).await.unwrap_or_default();
        let answer = excerpt(&format!("{status} {}", String::from_utf8_lossy(&body)), Some(&device.endpoint));
        Err(SendFailure {
            status: Some(status),
            answer: Some(answer),
            retry_after,
            ..SendFailure::new(class, code, format!("{reason} (HTTP {status})"))
        })
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
        conclude(devices.iter().map(|device| device.id).zip(outcomes).collect())
    }
}

/// One device is enough: the person has the message. Otherwise the most hopeful failure speaks for all.
fn conclude(outcomes: Vec<(Id, Result<u16, SendFailure>)>) -> Result<SendReceipt, SendFailure> {
    let total = outcomes.len();
    let is_gone = |failure: &SendFailure| matches!(failure.code, NOT_FOUND | EXPIRED);
    let gone: Vec<Id> =
        outcomes.iter().filter(|(_, outcome)| outcome.as_ref().is_err_and(is_gone)).map(|(id, _)| *id).collect();
    let mut statuses = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok().copied());
    if let Some(status) = statuses.next() {
        let answer = format!("{} of {total} devices reached", statuses.count() + 1);
        return Ok(SendReceipt { provider_message_id: None, status: Some(status), answer, gone });
    }
    let failures = outcomes.into_iter().filter_map(|(_, outcome)| outcome.err());
    let Some(speaker) = failures.min_by_key(severity) else {
        return Err(SendFailure::new(
            FailureClass::Permanent,
            NO_SUBSCRIPTION,
            "the person has no device that receives pushes",
        ));
    };
    Err(SendFailure { gone, ..speaker })
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

/// What a push service's status means; `None` is success (RFC 8030, sections 5, 7.3 and 8.4).
fn classify(status: u16) -> Option<(FailureClass, &'static str, &'static str)> {
    use FailureClass::{Misconfigured, Permanent, Transient};
    Some(match status {
        200..300 => return None,
        401 | 403 => (Misconfigured, FAILED, "the push service refuses our VAPID key; check VAPID_PUBLIC_KEY"),
        404 => (Permanent, NOT_FOUND, "the push service does not know the device"),
        410 => (Permanent, EXPIRED, "the device's subscription has expired"),
        413 => (Permanent, FAILED, "the push service finds the message too large"),
        408 | 425 | 429 => (Transient, FAILED, "the push service asks us to try later"),
        500.. => (Transient, FAILED, "the push service failed"),
        // Redirects too: a customer's address must not lead us elsewhere.
        _ => (Permanent, FAILED, "the push service refuses the message"),
    })
}

/// A push without an answer may have arrived. It is transient all the same: the second one bears the same topic and
/// tag, so it replaces the first on the device.
fn unanswered(error: &reqwest::Error) -> SendFailure {
    match outbound::refusal(error) {
        Some(refusal) => permanent(format!("the device's endpoint is refused: {refusal}")),
        None => {
            let reason = format!("no answer from the push service: {}", outbound::explain(error));
            SendFailure::new(FailureClass::Transient, FAILED, reason)
        }
    }
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
        Subscription { id: Id::of_name(&endpoint), endpoint, p256dh, auth }
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
        assert_eq!(receipt.gone, [gone]);
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
        assert_eq!(failure.gone, ids);

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
            assert!(failure.gone.is_empty());
            assert!(!format!("{failure:?}").contains(&token), "the endpoint is a secret");
        }
    }

    #[tokio::test]
    async fn a_key_that_the_browser_did_not_subscribe_with_is_our_mistake() {
        let service = service().await;
        let device = device(service.subscribe_for("BM-another-key"));
        let failure = push().send(&message(vec![device])).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Misconfigured);
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
            let device =
                Subscription { id: inside.id, endpoint, p256dh: inside.p256dh.clone(), auth: inside.auth.clone() };
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
        let outcome = |name: &str, class, wait: u64| {
            let failure = SendFailure::new(class, FAILED, name);
            (Id::of_name(name), Err(SendFailure { retry_after: Some(Duration::from_secs(wait)), ..failure }))
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
