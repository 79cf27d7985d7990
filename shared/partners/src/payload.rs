//! What a webhook to a partner says, and in which shape (S000-10).

use recado_kernel::clock::Timestamp;
use recado_webhooks::endpoints::Headers;
use serde_json::{Value, json};

/// Who we are to our partners (S000-11).
pub const SOURCE: &str = "chuwue-grill";

/// The version of the shape.
const VERSION: &str = "1.0";

/// The headers by which partners know who calls (S000-11).
pub(crate) fn headers() -> Headers {
    ["X-Partner-ID", "X-Webhook-Source"].map(|name| (name.to_owned(), SOURCE.to_owned())).into()
}

/// The body of a webhook, as JSON in no canonical form: each endpoint has its own.
pub fn payload(event_type: &str, data: &Value, at: Timestamp) -> String {
    let body = json!({ "event_type": event_type, "timestamp": at, "source": SOURCE, "version": VERSION, "data": data });
    body.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_the_fields_of_the_document() {
        let text = payload("event.updated", &json!({"a": 1}), Timestamp::from_micros(0));
        let body: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            body,
            json!({"event_type": "event.updated", "timestamp": Timestamp::from_micros(0), "source": "chuwue-grill", "version": "1.0", "data": {"a": 1}})
        );
        assert!(body["timestamp"].as_str().is_some_and(|time| time.starts_with("1970-01-01T00:00:00")), "{body}");
    }
}
