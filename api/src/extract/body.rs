//! Request bodies: how much of one is read and for how long, and what it is read into.

use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, ORIGIN};
use futures::StreamExt;
use serde_json::{Map, Value};

use crate::extract::fields::{Fields, MAX_BODY_BYTES};
use crate::extract::json;
use crate::extract::request;
use crate::problem::Problem;

/// How long a body may take to arrive. It is shorter than the limit of the whole request, so that a slow caller is told so.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// How much of a body that is too large is still read and thrown away, in bytes. Most clients read the answer only after
/// they have sent everything; closing the connection earlier would show them a broken connection instead of a 413.
const MAX_DISCARDED_BYTES: usize = 32 * 1024 * 1024;

/// The body of a request: a JSON object from which a `T` was read without any error.
pub(crate) struct Json<T>(pub(crate) T);

/// The body of a request whose shape is not ours: any JSON.
pub(crate) struct AnyJson(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for AnyJson {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let bytes = collect_within(BODY_TIMEOUT, request, MAX_BODY_BYTES).await?;
        json::parse(&bytes).map(Self).map_err(Problem::Malformed)
    }
}

impl<T: request::Request, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let bytes = collect_within(BODY_TIMEOUT, request, T::MAX_BODY_BYTES).await?;
        request::read(json::parse(&bytes).map_err(Problem::Malformed)?).map(Self)
    }
}

/// The body of a request that may have none, which is an object without fields.
pub(crate) struct MaybeJson<T>(pub(crate) T);

impl<T: request::Request, S: Send + Sync> FromRequest<S> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content_type(request.headers())?;
        let bytes = collect_within(BODY_TIMEOUT, request, T::MAX_BODY_BYTES).await?;
        let value = if bytes.trim_ascii().is_empty() { Ok(Value::Object(Map::new())) } else { json::parse(&bytes) };
        request::read(value.map_err(Problem::Malformed)?).map(Self)
    }
}

/// A record that people write as a whole (POST, PUT) or in part (PATCH).
pub(crate) trait Form: Default + Send {
    /// The fields without which there is no whole.
    const REQUIRED: &'static [&'static str];

    /// Takes over what the fields say, and checks the result. A field that is absent changes nothing.
    fn fill(&mut self, fields: &mut Fields);
}

/// A record that was written as a whole.
pub(crate) struct Whole<T>(pub(crate) T);

impl<T: Form> request::Request for Whole<T> {
    fn read(fields: &mut Fields) -> Option<Self> {
        fields.demand(T::REQUIRED);
        let mut form = T::default();
        form.fill(fields);
        Some(Self(form))
    }
}

/// What is to be changed about a record that is known already.
pub(crate) struct Changes(Fields);

impl Changes {
    /// The record with the changes in it.
    pub(crate) fn onto<T: Form>(mut self, mut form: T) -> Result<T, Problem> {
        form.fill(&mut self.0);
        self.0.finish(Some(form))
    }
}

impl request::Request for Changes {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self(std::mem::replace(fields, Fields::of(Map::new()))))
    }
}

/// JSON by its name, or no name at all. curl's own default for `-d` is a form, which gets a clear answer.
///
/// A browser names its origin, and must name the type: without a type it would not ask for leave first (a "simple request" of
/// the Fetch standard), and any web page could send through an API that is open on this machine.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        let from_browser = headers.contains_key(ORIGIN);
        return if from_browser { Err(Problem::UnsupportedMediaType(String::new())) } else { Ok(()) };
    };
    let value = String::from_utf8_lossy(value.as_bytes());
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json =
        media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    if is_json || media_type.is_empty() { Ok(()) } else { Err(Problem::UnsupportedMediaType(media_type)) }
}

async fn collect_within(limit: Duration, request: Request, largest: usize) -> Result<Bytes, Problem> {
    tokio::time::timeout(limit, collect(request, largest)).await.unwrap_or(Err(Problem::TooSlow))
}

async fn collect(request: Request, largest: usize) -> Result<Bytes, Problem> {
    let declared = declared_length(request.headers());
    // A client that asks before sending (curl does, for large bodies) need not send.
    if declared > MAX_DISCARDED_BYTES || (declared > largest && request.headers().contains_key(EXPECT)) {
        return Err(Problem::TooLarge { largest });
    }
    let mut bytes = Vec::with_capacity(declared.min(largest));
    let mut discarded = 0;
    let mut chunks = HttpBody::into_data_stream(request.into_body());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::Malformed("El cuerpo llegó incompleto.".to_owned()))?;
        if discarded > 0 || bytes.len() + chunk.len() > largest {
            discarded += chunk.len();
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(&chunk);
        }
        if discarded > MAX_DISCARDED_BYTES {
            break;
        }
    }
    if discarded > 0 { Err(Problem::TooLarge { largest }) } else { Ok(bytes.into()) }
}

fn declared_length(headers: &HeaderMap) -> usize {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::extract::request::Request as _;

    fn fields(value: Value) -> Fields {
        let Value::Object(fields) = value else { panic!("an object") };
        Fields::of(fields)
    }

    fn errors(fields: Fields) -> Value {
        match fields.finish(Some(())) {
            Ok(()) => json!({}),
            Err(Problem::Fields(errors)) => errors.to_json(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[derive(Debug, Default, PartialEq)]
    struct Car {
        plate: String,
        year: Option<i32>,
    }

    impl Form for Car {
        const REQUIRED: &'static [&'static str] = &["plate"];

        fn fill(&mut self, fields: &mut Fields) {
            fields.set("plate", &mut self.plate);
            fields.set_nullable("year", &mut self.year);
        }
    }

    #[test]
    fn a_whole_demands_what_it_needs_and_changes_do_not() {
        let mut empty = fields(json!({"year": 2024}));
        Whole::<Car>::read(&mut empty);
        assert_eq!(errors(empty), json!({"plate": ["Este campo es requerido."]}));

        let car = || Car { plate: "ABC123".into(), year: Some(2024) };
        let changed = |value| Changes::read(&mut fields(value)).expect("changes are always read").onto(car());
        assert_eq!(changed(json!({})).unwrap(), car());
        assert_eq!(changed(json!({"year": null})).unwrap().year, None);
        assert_eq!(changed(json!({"plate": "XYZ789"})).unwrap().plate, "XYZ789");
        let Problem::Fields(problem) = changed(json!({"plate": null})).unwrap_err() else { panic!("a field is wrong") };
        assert_eq!(problem.to_json(), json!({"plate": ["Este campo no puede ser nulo."]}));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_too_slow() {
        let silent = HttpBody::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let collected = collect_within(Duration::from_millis(1), Request::new(silent), MAX_BODY_BYTES).await;
        assert!(matches!(collected, Err(Problem::TooSlow)), "{collected:?}");
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_limit_however_it_is_cut() {
        let collected = async |lengths: &[usize]| {
            let chunks: Vec<_> =
                lengths.iter().map(|length| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; *length]))).collect();
            collect(Request::new(HttpBody::from_stream(futures::stream::iter(chunks))), MAX_BODY_BYTES).await
        };
        assert_eq!(collected(&[1, MAX_BODY_BYTES - 1]).await.unwrap().len(), MAX_BODY_BYTES);
        for lengths in [
            &[MAX_BODY_BYTES, 1][..],
            &[MAX_BODY_BYTES + 1],
            &[MAX_BODY_BYTES + 1, 1],
            &[MAX_DISCARDED_BYTES, MAX_DISCARDED_BYTES],
        ] {
            assert!(matches!(collected(lengths).await, Err(Problem::TooLarge { .. })), "{lengths:?}");
        }
    }

    #[test]
    fn the_content_type_is_json_or_nothing() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            check_content_type(&headers).is_ok()
        };
        assert!(check_content_type(&HeaderMap::new()).is_ok());
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json", ""] {
            assert!(check(good), "{good}");
        }
        for bad in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"]
        {
            assert!(!check(bad), "{bad}");
        }
    }
}
