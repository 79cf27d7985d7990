//! What a webhook to a partner says, and in which shape (S000-10).

use recado_kernel::clock::Timestamp;
use recado_webhooks::endpoints::Headers;
use serde::Serialize;

/// Who we are to our partners (S000-11).
pub const SOURCE: &str = "chuwue-grill";

/// The version of the shape.
const VERSION: &str = "1.0";

/// The headers by which partners know who calls (S000-11).
pub(crate) fn headers() -> Headers {
    ["X-Partner-ID", "X-Webhook-Source"].map(|name| (name.to_owned(), SOURCE.to_owned())).into()
}

#[derive(Serialize)]
struct Payload<'p, D> {
    event_type: &'p str,
    timestamp: Timestamp,
    source: &'static str,
    version: &'static str,
    data: &'p D,
}

/// The body of a webhook, as JSON in no canonical form: each endpoint has its own. Numbers of data that is raw JSON stay as they
/// were written (d1).
///
/// # Panics
/// When the data is no JSON: a map whose keys are no texts.
pub fn payload<D: Serialize>(event_type: &str, data: &D, at: Timestamp) -> String {
    let payload = Payload { event_type, timestamp: at, source: SOURCE, version: VERSION, data };
    serde_json::to_string(&payload).expect("what is sent to partners is JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

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
    /// d1
    #[test]
    fn numbers_of_raw_data_stay_as_they_were_written() {
        let data =
            RawValue::from_string(r#"{"id":123456789012345678901234567890,"price":250.00}"#.to_owned()).expect("JSON");
        let text = payload("event.updated", &data, Timestamp::from_micros(0));
        assert!(text.ends_with(r#""data":{"id":123456789012345678901234567890,"price":250.00}}"#), "{text}");
    }
}
