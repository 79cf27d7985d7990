//! Web Push (RFC 8030) to every device of a person: encrypted for the browser (RFC 8291), signed with our VAPID key
//! (RFC 8292).

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{FutureExt, StreamExt, stream};
use recado_shared::clock::Clock;
use recado_shared::config::PushSettings;
use recado_shared::fallback::FailureClass;
use recado_shared::ids::Id;
use recado_shared::outbound::check_url;
use reqwest::Client;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;
use web_push::{
    ContentEncoding, PartialVapidSignatureBuilder, SubscriptionInfo, VapidSignatureBuilder, WebPushError, WebPushMessageBuilder,
    WebPushPayload,
};

use super::{Message, Provider, ProviderError, Receipt, Recipient, SendFailure, Subscription, excerpt, shorten, wrong_adapter};
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
pub(super) const AT_ONCE: usize = 8;

/// A push that waits longer for its device than a day is no news any more.
const TIME_TO_LIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// What fits into the 4,096 bytes that every push service takes, after encryption and padding.
const LONGEST_PAYLOAD: usize = 3052;

/// Longer titles and links are not shown by any browser; without a bound they would crowd out the body.
const LONGEST_TITLE: usize = 200;
const LONGEST_LINK: usize = 1000;

/// Push services answer with a sentence, if at all.
const LONGEST_ANSWER: usize = 4096;

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
        let wrong = |variable, problem: &str| ProviderError::Setting { variable, problem: format!("{problem}{remedy}") };
        let signer = VapidSignatureBuilder::from_base64_no_sub(settings.private_key.expose_secret())
            .map_err(|_| wrong("VAPID_PRIVATE_KEY", "is not a P-256 private key in base64url"))?;
        if URL_SAFE_NO_PAD.encode(signer.get_public_key()) != settings.public_key {
            return Err(wrong("VAPID_PUBLIC_KEY", "does not belong to VAPID_PRIVATE_KEY"));
        }
        let http = outbound::client(allow_private, settings.timeout).map_err(|error| ProviderError::Tls(error.into()))?;
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
        let Some((class, code, reason)) = classify(status) else { return Ok(status) };
        let retry_after = outbound::retry_after(response.headers(), self.clock.now());
        let body = outbound::read(response, LONGEST_ANSWER).await.unwrap_or_default();
        let answer = excerpt(&format!("{status} {}", String::from_utf8_lossy(&body)), Some(&device.endpoint));
        Err(SendFailure { status: Some(status), answer: Some(answer), retry_after, ..SendFailure::new(class, code, reason) })
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
    async fn send(&self, message: &Message) -> Result<Receipt, SendFailure> {
        let Recipient::Push(devices) = &message.recipient else {
            return Err(wrong_adapter(message, FAILED));
        };
        let payload = payload(message);
        let topic = URL_SAFE_NO_PAD.encode(message.notification_id.as_bytes());
        let deliveries: Vec<_> = devices.iter().map(|device| self.deliver(device, &payload, &topic).boxed()).collect();
        let outcomes: Vec<_> = stream::iter(deliveries).buffered(AT_ONCE).collect().await;
        conclude(devices.iter().map(|device| device.id).zip(outcomes).collect())
    }
}

/// One device is enough: the person has the message. Otherwise the most hopeful failure speaks for all.
fn conclude(outcomes: Vec<(Id, Result<u16, SendFailure>)>) -> Result<Receipt, SendFailure> {
    let total = outcomes.len();
    let is_gone = |failure: &SendFailure| matches!(failure.code, NOT_FOUND | EXPIRED);
    let gone: Vec<Id> = outcomes.iter().filter(|(_, outcome)| outcome.as_ref().is_err_and(is_gone)).map(|(id, _)| *id).collect();
    let mut statuses = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok().copied());
    if let Some(status) = statuses.next() {
        let answer = format!("{} of {total} devices reached", statuses.count() + 1);
        return Ok(Receipt { provider_message_id: None, status: Some(status), answer, gone });
    }
    let failures = outcomes.into_iter().filter_map(|(_, outcome)| outcome.err());
    let Some(speaker) = failures.min_by_key(|failure| hopelessness(failure)) else {
        return Err(SendFailure::new(FailureClass::Permanent, NO_SUBSCRIPTION, "the person has no device that receives pushes"));
    };
    Err(SendFailure { gone, ..speaker })
}

/// Lower is more hopeful; among those who may recover, whoever does so first.
fn hopelessness(failure: &SendFailure) -> (u8, Duration) {
    let rank = match failure.class {
        FailureClass::Transient | FailureClass::Unknown => 0,
        FailureClass::Misconfigured => 1,
        FailureClass::Permanent => 2,
    };
    (rank, failure.retry_after.unwrap_or_default())
}

/// What a push service's status means; `None` is success (RFC 8030, sections 5, 7.3 and 8.4).
fn classify(status: u16) -> Option<(FailureClass, &'static str, String)> {
    use FailureClass::{Misconfigured, Permanent, Transient};
    Some(match status {
        200..300 => return None,
        401 | 403 => (Misconfigured, FAILED, format!("the push service refuses our VAPID key ({status}); check VAPID_PUBLIC_KEY")),
        404 => (Permanent, NOT_FOUND, "the push service does not know the device (404)".to_owned()),
        410 => (Permanent, EXPIRED, "the device's subscription has expired (410)".to_owned()),
        413 => (Permanent, FAILED, "the push service finds the message too large (413)".to_owned()),
        408 | 425 | 429 => (Transient, FAILED, format!("the push service asks us to try later ({status})")),
        500.. => (Transient, FAILED, format!("the push service failed ({status})")),
        // Redirects too: a customer's address must not lead us elsewhere.
        _ => (Permanent, FAILED, format!("the push service refuses the message ({status})")),
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
/// [`LONGEST_PAYLOAD`] bytes. What does not fit is cut off the body.
fn payload(message: &Message) -> Vec<u8> {
    let title = shorten(&message.subject, LONGEST_TITLE);
    let url = message.click_url.as_deref().filter(|url| url.len() <= LONGEST_LINK);
    let with_body = |length: usize| {
        let id = message.notification_id.to_string();
        let mut payload = json!({"title": title, "body": shorten(&message.body, length), "notification_id": id, "tag": id});
        if let Some(url) = url {
            payload["url"] = url.into();
        }
        payload.to_string().into_bytes()
    };
    let whole = with_body(usize::MAX);
    if whole.len() <= LONGEST_PAYLOAD {
        return whole;
    }
    // A character takes from one byte to six in JSON, so the length that fits is searched for.
    let lengths: Vec<usize> = (0..LONGEST_PAYLOAD).collect();
    let fitting = lengths.partition_point(|&length| with_body(length).len() <= LONGEST_PAYLOAD);
    with_body(fitting.saturating_sub(1))
}
