//! The push service, with messages that a real library encrypts and signs.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use openssl::{
    ec::{EcGroup, EcKey},
    nid::Nid,
};
use recado_sandbox::{Push, PushFault, PushOptions, PushSubscription};
use reqwest::{Client, Response};
use serde_json::json;
use web_push::{
    ContentEncoding, SubscriptionInfo, Urgency, VapidSignatureBuilder, WebPushMessage, WebPushMessageBuilder,
};

use crate::{SOON, http};

#[tokio::test]
async fn a_message_reaches_its_browser_decrypted() {
    let (push, sender) = (start().await, Sender::new());
    let subscription = push.subscribe();
    let payload = json!({"title": "Su vehículo está listo 🚗", "body": "Ñandú 👨‍👩‍👧"}).to_string();
    let response = sender.send(&push, &subscription, &payload).await;
    assert_eq!(response.status(), 201);

    let message = push.wait_for(1, SOON).await.remove(0);
    assert_eq!(message.payload, payload);
    assert_eq!(response.headers()["location"], format!("{}/message/{}", push.url(), message.id));
    assert!(subscription.endpoint.ends_with(&message.token));
    assert_eq!((message.ttl, message.urgency.as_str(), message.topic.as_deref()), (3600, "high", Some("aviso-1")));
    assert_eq!(message.vapid_claims["sub"], "mailto:avisos@taller.ec");
    assert_eq!(message.vapid_claims["aud"], push.url());
    assert_eq!(message.vapid_key, sender.public_key());
}

#[tokio::test]
async fn subscriptions_end_in_two_ways() {
    let (push, sender) = (start().await, Sender::new());
    let (expired, forgotten) = (push.subscribe(), push.subscribe());
    assert!(push.expire(&expired.endpoint) && push.forget(&forgotten.endpoint));
    assert!(!push.forget(&forgotten.endpoint) && !push.expire("http://127.0.0.1/push/x"));
    assert_eq!(sender.send(&push, &expired, "hola").await.status(), 410);
    assert_eq!(sender.send(&push, &forgotten, "hola").await.status(), 404);
    assert_eq!(push.received(), 0);
}

#[tokio::test]
async fn a_sender_has_to_prove_who_it_is() {
    let (push, sender, other) = (start().await, Sender::new(), Sender::new());
    let subscription = push.subscribe_for(&sender.public_key());
    assert_eq!(sender.send(&push, &subscription, "hola").await.status(), 201);

    let refused = other.send(&push, &subscription, "hola").await;
    assert_eq!(refused.status(), 403);

    let request = sender.request(&sender.message(push.url(), &subscription, "hola"));
    let mut unsigned = request.build().expect("a request");
    unsigned.headers_mut().remove("authorization");
    let refused = sender.client.execute(unsigned).await.expect("an answer");
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["www-authenticate"]),
        (401, &"vapid".parse().expect("a value"))
    );

    // The library's own audience leaves the port out, which is another origin.
    let refused = sender.request(&sender.message("http://127.0.0.1", &subscription, "hola")).send().await;
    let refused = refused.expect("an answer");
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.expect("a reason").contains("port included"));
    assert_eq!(push.received(), 1);
}

#[tokio::test]
async fn what_the_browser_cannot_read_is_refused() {
    let (push, sender) = (start().await, Sender::new());
    let (one, other) = (push.subscribe(), push.subscribe());
    let crossed = PushSubscription { endpoint: one.endpoint.clone(), ..other };
    assert_eq!(sender.send(&push, &crossed, "hola").await.status(), 400);

    let mut large = sender.message(push.url(), &one, "hola");
    large.payload.as_mut().expect("a payload").content.resize(4097, 0);
    assert_eq!(sender.request(&large).send().await.expect("an answer").status(), 413);
    assert_eq!(push.received(), 0);
}

#[tokio::test]
async fn the_service_may_be_in_trouble() {
    let (push, sender) = (start().await, Sender::new());
    let (one, other) = (push.subscribe(), push.subscribe());
    let busy = PushFault::Status { status: 429, retry_after: Some(30) };
    push.misbehave_times(busy, 1);
    let refused = sender.send(&push, &one, "hola").await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"30".parse().expect("a value")));

    push.misbehave_for(&one.endpoint, PushFault::Drop);
    let dropped = sender.request(&sender.message(push.url(), &one, "hola")).send().await;
    assert!(!dropped.expect_err("no answer").is_timeout());
    assert_eq!(sender.send(&push, &other, "hola").await.status(), 201);
    push.behave();
    assert_eq!(sender.send(&push, &one, "hola").await.status(), 201);
    assert_eq!(push.received(), 2);

    push.misbehave(PushFault::Slow { delay: Duration::from_secs(3600) });
    let slow = sender.request(&sender.message(push.url(), &one, "hola")).timeout(Duration::from_millis(200));
    assert!(slow.send().await.expect_err("no answer").is_timeout());
    assert_eq!(push.received(), 3);
}

async fn start() -> Push {
    Push::start(PushOptions::default()).await.expect("a free port")
}

/// An application server with a key of its own.
struct Sender {
    client: Client,
    /// Base64url.
    private_key: String,
}

impl Sender {
    fn new() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
        let key = EcKey::generate(&group).expect("a key");
        let private_key = key.private_key().to_vec_padded(32).expect("32 bytes");
        Self { client: http(), private_key: BASE64_URL_SAFE_NO_PAD.encode(private_key) }
    }

    fn public_key(&self) -> String {
        let builder = VapidSignatureBuilder::from_base64_no_sub(&self.private_key).expect("a key");
        BASE64_URL_SAFE_NO_PAD.encode(builder.get_public_key())
    }

    fn message(&self, audience: &str, subscription: &PushSubscription, payload: &str) -> WebPushMessage {
        let PushSubscription { endpoint, p256dh, auth } = subscription.clone();
        let subscription = SubscriptionInfo::new(endpoint, p256dh, auth);
        let mut signature = VapidSignatureBuilder::from_base64(&self.private_key, &subscription).expect("a key");
        signature.add_claim("aud", audience);
        signature.add_claim("sub", "mailto:avisos@taller.ec");
        let mut message = WebPushMessageBuilder::new(&subscription);
        message.set_payload(ContentEncoding::Aes128Gcm, payload.as_bytes());
        message.set_vapid_signature(signature.build().expect("signed"));
        message.set_ttl(3600);
        message.set_urgency(Urgency::High);
        message.set_topic("aviso-1".to_owned());
        message.build().expect("encrypted")
    }

    fn request(&self, message: &WebPushMessage) -> reqwest::RequestBuilder {
        let payload = message.payload.as_ref().expect("a payload");
        let mut request = self
            .client
            .post(message.endpoint.to_string())
            .header("ttl", message.ttl)
            .header("content-encoding", payload.content_encoding.to_str())
            .body(payload.content.clone());
        if let Some(urgency) = message.urgency {
            request = request.header("urgency", urgency.to_string());
        }
        if let Some(topic) = &message.topic {
            request = request.header("topic", topic);
        }
        let crypto = payload.crypto_headers.iter();
        crypto.fold(request, |request, (name, value)| request.header(*name, value))
    }

    async fn send(&self, push: &Push, subscription: &PushSubscription, payload: &str) -> Response {
        let message = self.message(push.url(), subscription, payload);
        self.request(&message).send().await.expect("an answer")
    }
}
