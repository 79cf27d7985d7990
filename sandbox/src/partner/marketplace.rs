//! What the marketplace of seed 000 does with a reservation: a provider accepts, and the restaurant is told. Signed as in the
//! document, whose body is not the text that was signed.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{
    Server, Webhook,
    verdict::{dumps, hex_signature},
};
use crate::{
    post::post,
    stand_in::{lock, now},
};

/// What is sold for.
const RESERVATION: &str = "event.reservation_confirmed";

/// The header of the document's sender.
const SIGNATURE: &str = "X-HMAC-Signature";

/// A webhook that the partner sent, and how it was answered.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// The bytes of the body, as text.
    pub body: String,
    /// What stood in `X-HMAC-Signature`.
    pub signature: String,
    /// `None`: no answer came.
    pub status: Option<u16>,
    /// The answer, or why there was none.
    pub answer: String,
    /// When it was answered.
    pub at: DateTime<Utc>,
}

/// The document's example, for one reservation. The order of the fields is the order in which they travel.
#[derive(Serialize)]
struct Booked<'a> {
    event_type: &'a str,
    timestamp: String,
    source: &'a str,
    data: Service<'a>,
}

#[derive(Serialize)]
struct Service<'a> {
    external_event_id: &'a str,
    service_id: u32,
    service_name: &'a str,
    service_category: &'a str,
    provider: Provider<'a>,
    price: f64,
    currency: &'a str,
    scheduled_time: &'a str,
    duration_hours: u32,
    status: &'a str,
}

#[derive(Serialize)]
struct Provider<'a> {
    id: u32,
    name: &'a str,
    rating: f64,
    phone: &'a str,
}

/// Sells a service for a reservation, when there is somebody to tell; what it cannot verify it does not believe.
pub(super) fn sell(server: &Arc<Server>, webhook: &Webhook) {
    let (url, secret) = (lock(&server.answers_to).clone(), lock(&server.secrets).first().cloned());
    let (Some(url), Some(secret), true) = (url, secret, webhook.verdict.raw) else { return };
    let payload = webhook.json();
    if payload["event_type"] != RESERVATION {
        return;
    }
    let server = Arc::clone(server);
    tokio::spawn(async move { server.told.record(tell(&url, &secret, &payload["data"]).await) });
}

async fn tell(url: &str, secret: &str, reservation: &Value) -> Told {
    let body = dumps(&booked(reservation));
    // `json.dumps(payload, sort_keys=True)`: reading it sorts its keys.
    let sorted: Value = serde_json::from_slice(&body).expect("it was written as JSON");
    let signature = hex_signature(secret, &dumps(&sorted));
    let answered = post(url, &[(SIGNATURE, &signature), ("X-Partner-ID", "findyourwork")], body.clone()).await;
    let (status, answer) = match answered {
        Ok((status, answer)) => (Some(status), answer),
        Err(error) => (None, error.to_string()),
    };
    Told { body: String::from_utf8_lossy(&body).into_owned(), signature, status, answer, at: now() }
}

fn booked(reservation: &Value) -> Booked<'_> {
    Booked {
        event_type: "service.booked_for_event",
        timestamp: now().to_rfc3339_opts(SecondsFormat::Micros, true),
        source: "findyourwork",
        data: Service {
            external_event_id: reservation["reservation_id"].as_str().unwrap_or_default(),
            service_id: 123,
            service_name: "DJ Profesional",
            service_category: "entretenimiento",
            provider: Provider { id: 456, name: "DJ Sounds Pro", rating: 4.8, phone: "0998765432" },
            price: 250.0,
            currency: "USD",
            scheduled_time: reservation["time"].as_str().unwrap_or("19:00"),
            duration_hours: 4,
            status: "confirmed",
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use crate::partner::{Partner, PartnerOptions};

    const LIMIT: Duration = Duration::from_secs(10);

    /// Two of them: one is the restaurant. What a marketplace tells is signed for the verifier of the document, which writes the
    /// body again, and not for one that takes the bytes.
    #[tokio::test]
    async fn a_reservation_is_answered_with_a_service() {
        let (restaurant, marketplace) = (partner().await, partner().await);
        let secret = marketplace.make_secret();
        restaurant.set_secret(&secret);
        marketplace.answer_to(&format!("{}/webhooks/partner/findyourwork", restaurant.url()));
        let reservation =
            json!({"event_type": "event.reservation_confirmed", "data": {"reservation_id": "RES-Ñ", "time": "20:00"}});
        let body = super::dumps(&reservation);
        let signature = super::hex_signature(&secret, &body);
        let (url, name) = (marketplace.url(), "X-Partner-Signature");
        super::post(url, &[(name, "test")], body.clone()).await.expect("answered");
        super::post(url, &[(name, &signature)], body).await.expect("answered");
        let [told] = marketplace.told().wait_for(1, LIMIT).await.try_into().expect("one, for what it believed");
        assert_eq!((told.status, told.answer.as_str()), (Some(200), r#"{"status":"ack"}"#));
        let got = restaurant.messages().pop().expect("one");
        assert_eq!(got.json()["data"]["external_event_id"], "RES-Ñ");
        assert!(got.body.contains(r#""price": 250.0"#) && got.body.contains(r#""RES-\u00d1""#), "{}", got.body);
        assert_eq!(got.header("x-hmac-signature"), Some(told.signature.as_str()));
    }

    async fn partner() -> Partner {
        Partner::start(PartnerOptions::default()).await.expect("a free port")
    }
}
