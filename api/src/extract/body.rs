//! Request bodies: how much of one is read and for how long, and what it is read into.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use futures::StreamExt;
use serde_json::{Map, Value};

use crate::bodies::{Growing, Share};
use crate::extract::abridged::{Abridged, LONGEST_TEXT, LONGEST_WORDS};
use crate::extract::fields::{Fields, MAX_BODY_BYTES};
use crate::extract::json;
use crate::extract::request;
use crate::problem::Problem;
use crate::state::Api;

/// How long a body may take to arrive. It is shorter than the limit of the whole request, so that a slow caller is told so.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// How much of a body that is too large is still read and thrown away, in bytes. Most clients read the answer only after
/// they have sent everything; closing the connection earlier would show them a broken connection instead of a 413.
const MAX_DISCARDED_BYTES: usize = 32 * 1024 * 1024;

/// The body of a request: a JSON object from which a `T` was read without any error.
pub(crate) struct Json<T>(pub(crate) T);

/// The body of a webhook, whose shape is not ours: any JSON, with an empty text in the place of each long one. `None`: there is
/// more in it than can be read, and none of it was kept.
///
/// Its sender repeats what is refused as too large or of another type, and it would be so again. Such a body is taken and thrown
/// away, up to a limit; beyond, and for what cannot be read at all, the answer is the 400 that ends it.
pub(crate) struct Webhook(pub(crate) Option<Value>);

/// The largest webhook: one with a video that WhatsApp takes (16 MiB) as base64, and then some.
pub(crate) const MAX_WEBHOOK_BYTES: usize = 64 * 1024 * 1024;

impl FromRequest<Arc<Api>> for Webhook {
    type Rejection = Problem;

    /// Where what people write is kept, it is read as long as it can be.
    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let is_kept = !api.context.config.conversations.evolution_instances.is_empty();
        Self::read(request, if is_kept { LONGEST_WORDS } else { LONGEST_TEXT }).await
    }
}

impl Webhook {
    /// `longest` is that of a text, in bytes.
    async fn read(request: Request, longest: usize) -> Result<Self, Problem> {
        let is_readable = check_content(request.headers());
        is_readable.map_err(|_| Problem::Malformed("Envíe JSON en UTF-8 y sin comprimir.".to_owned()))?;
        let read = tokio::time::timeout(BODY_TIMEOUT, abridge(request, longest));
        let Some(kept) = read.await.unwrap_or(Err(Problem::TooSlow))? else { return Ok(Self(None)) };
        let value = json::parse(kept.as_slice()).map_err(Problem::Malformed)?;
        kept.becomes(value).map(|value| Self(Some(value)))
    }
}

/// What is kept of a webhook's body; `None` when that is too much.
async fn abridge(request: Request, longest: usize) -> Result<Option<Growing>, Problem> {
    if declared_length(request.headers()) > MAX_WEBHOOK_BYTES {
        return Err(Problem::Malformed(format!("El cuerpo supera el máximo de {MAX_WEBHOOK_BYTES} bytes.")));
    }
    let (mut abridged, mut piece) = (Abridged::to(longest), Vec::new());
    let mut kept = Some(Growing::within(share_of(&request)));
    let mut length = 0;
    let mut chunks = HttpBody::into_data_stream(request.into_body());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| incomplete())?;
        length += chunk.len();
        if length > MAX_WEBHOOK_BYTES {
            return Err(Problem::Malformed(format!("El cuerpo supera el máximo de {MAX_WEBHOOK_BYTES} bytes.")));
        }
        if let Some(growing) = &mut kept {
            abridged.read(&chunk, &mut piece);
            // The text at its end may still be left out.
            let settled = abridged.settled(piece.len());
            growing.extend(&piece[..settled], MAX_BODY_BYTES)?;
            piece.drain(..settled);
            abridged.forget(settled);
            if growing.len() > MAX_BODY_BYTES {
                kept = None;
            }
        }
    }
    if let Some(growing) = &mut kept {
        growing.extend(&piece, MAX_BODY_BYTES)?;
    }
    Ok(kept)
}

impl<T: request::Request, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content(request.headers())?;
        let body = collect_within(BODY_TIMEOUT, request, T::MAX_BODY_BYTES).await?;
        let value = json::parse(body.as_slice()).map_err(Problem::Malformed)?;
        request::read(body.becomes(value)?).map(Self)
    }
}

/// The body of a request as it came, with its headers: what a signature is about.
pub(crate) struct RawBody {
    pub(crate) headers: HeaderMap,
    bytes: Growing,
}

impl RawBody {
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

impl RawBody {
    /// What was sent, read as [`Json`] reads it, and its text: a number there has all its digits.
    pub(crate) fn read<T: request::Request>(self) -> Result<(T, String), Problem> {
        check_content(&self.headers)?;
        let value = json::parse(self.as_slice()).map_err(Problem::Malformed)?;
        let text = String::from_utf8_lossy(self.as_slice()).into_owned();
        Ok((request::read(self.bytes.becomes(value)?)?, text))
    }

    /// The headers with their names in lower case, as a signature is looked for in them.
    pub(crate) fn header_pairs(&self) -> Vec<(String, String)> {
        let read = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        self.headers.iter().map(read).collect()
    }
}

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let bytes = collect_within(BODY_TIMEOUT, request, MAX_BODY_BYTES).await?;
        Ok(Self { headers, bytes })
    }
}

/// The body of a request that may have none, which is an object without fields.
pub(crate) struct MaybeJson<T>(pub(crate) T);

impl<T: request::Request, S: Send + Sync> FromRequest<S> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content(request.headers())?;
        let body = collect_within(BODY_TIMEOUT, request, T::MAX_BODY_BYTES).await?;
        let value = match body.as_slice().trim_ascii() {
            [] => Ok(Value::Object(Map::new())),
            text => json::parse(text),
        };
        request::read(body.becomes(value.map_err(Problem::Malformed)?)?).map(Self)
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

/// What was sent of a record: a new one, or changes of one that is known already.
pub(crate) struct Changes(Fields);

impl Changes {
    /// Whether the field was sent, be it null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.has(name)
    }

    /// The record with the changes in it (PATCH).
    pub(crate) fn onto<T: Form>(self, form: T) -> Result<T, Problem> {
        self.over(form).finish()
    }

    /// The record with the changes in it (PATCH), before all that can be wrong with it is known.
    pub(crate) fn over<T: Form>(mut self, mut form: T) -> Written<T> {
        form.fill(&mut self.0);
        Written { record: form, fields: self.0 }
    }

    /// A new record (POST), or one that is written as a whole (PUT): what is required must be sent. As Django REST framework
    /// does it, what is not required and not sent stays as it is: a client that does not know of a field erases nothing.
    pub(crate) fn whole<T: Form>(mut self, form: T) -> Written<T> {
        self.0.demand(T::REQUIRED);
        self.over(form)
    }
}

/// A record as it was sent, and what is wrong with it so far. What only the database can tell is added, so that one answer
/// names all mistakes.
pub(crate) struct Written<T> {
    /// What is wrong stands in it as it was before, or as nothing.
    pub(crate) record: T,
    fields: Fields,
}

impl<T> Written<T> {
    /// Adds what a later check found. Fields that could not even be read keep that one error.
    pub(crate) fn check<E: Into<String>>(&mut self, errors: Vec<(&'static str, E)>) {
        self.fields.check(errors);
    }

    /// The record, unless something is wrong.
    pub(crate) fn finish(self) -> Result<T, Problem> {
        self.fields.finish(Some(self.record))
    }
}

impl<T: Default> Written<T> {
    /// The record as a check returns it, which may spell its values in another way.
    pub(crate) fn checked<N, E>(mut self, check: impl FnOnce(T) -> Result<T, Vec<(N, E)>>) -> Self
    where
        N: Into<String>,
        E: Into<String>,
    {
        match check(std::mem::take(&mut self.record)) {
            Ok(record) => self.record = record,
            Err(errors) => self.fields.check(errors),
        }
        self
    }
}

impl request::Request for Changes {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self(std::mem::replace(fields, Fields::of(Map::new()))))
    }
}

/// What the head says of a body: that it is JSON in UTF-8, as it is (RFC 9110, section 8.4), and all of it (section 14.4).
pub(super) fn check_content(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Problem::Malformed("Envíe el cuerpo entero, sin Content-Range.".to_owned()));
    }
    for value in headers.get_all(CONTENT_ENCODING) {
        let encoding = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
        if !matches!(encoding.as_str(), "" | "identity") {
            return Err(Problem::UnsupportedEncoding(encoding.escape_debug().to_string()));
        }
    }
    check_content_type(headers)
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
    let text = String::from_utf8_lossy(value.as_bytes());
    let is_good = text.trim().is_empty() || (is_json(value) && is_utf8(&text));
    let shown = || text.trim().chars().take(100).collect::<String>().escape_debug().to_string();
    if is_good { Ok(()) } else { Err(Problem::UnsupportedMediaType(shown())) }
}

/// Whether a `Content-Type` names JSON.
pub(crate) fn is_json(value: &HeaderValue) -> bool {
    let value = String::from_utf8_lossy(value.as_bytes());
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Whether a `Content-Type` names no other letters than JSON has (RFC 8259, section 8.1). ASCII is a part of them.
fn is_utf8(content_type: &str) -> bool {
    content_type.split(';').skip(1).all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        !name.trim().eq_ignore_ascii_case("charset")
            || matches!(value.as_str(), "utf-8" | "utf8" | "us-ascii" | "ascii")
    })
}

pub(super) async fn collect_within(limit: Duration, request: Request, largest: usize) -> Result<Growing, Problem> {
    tokio::time::timeout(limit, collect(request, largest)).await.unwrap_or(Err(Problem::TooSlow))
}

/// Takes memory as bytes come: what is announced may never be sent.
async fn collect(request: Request, largest: usize) -> Result<Growing, Problem> {
    let declared = declared_length(request.headers());
    // A client that asks before sending (curl does, for large bodies) need not send.
    if declared > MAX_DISCARDED_BYTES || (declared > largest && request.headers().contains_key(EXPECT)) {
        return Err(Problem::TooLarge { largest });
    }
    let mut kept = Some(Growing::within(share_of(&request)));
    let mut discarded = 0;
    let mut chunks = HttpBody::into_data_stream(request.into_body());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| incomplete())?;
        match &mut kept {
            Some(growing) if growing.len() + chunk.len() <= largest => growing.extend(&chunk, largest)?,
            _ => {
                discarded += chunk.len();
                kept = None;
            }
        }
        if discarded > MAX_DISCARDED_BYTES {
            break;
        }
    }
    kept.ok_or(Problem::TooLarge { largest })
}

fn share_of(request: &Request) -> Option<Arc<Share>> {
    request.extensions().get::<Arc<Share>>().cloned()
}

fn incomplete() -> Problem {
    Problem::Malformed("El cuerpo llegó incompleto.".to_owned())
}

fn declared_length(headers: &HeaderMap) -> usize {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use serde_json::json;

    use super::*;
    use crate::bodies::Memory;
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

    /// S002-6, S002-13, S002-17, S002-22, S002-23: a PUT names what is required, and erases nothing that it does not name.
    #[test]
    fn a_whole_that_is_known_keeps_what_was_not_sent() {
        let written = |value| {
            let car = Car { plate: "ABC123".into(), year: Some(2024) };
            Changes::read(&mut fields(value)).expect("changes are always read").whole(car)
        };
        let kept = written(json!({"plate": "XYZ789"})).finish().expect("all that is required is there");
        assert_eq!(kept, Car { plate: "XYZ789".into(), year: Some(2024) });
        let mut wrong = written(json!({"year": "old"}));
        wrong.check(vec![("year", "twice".to_owned()), ("owner", "unknown".to_owned())]);
        let Err(Problem::Fields(problem)) = wrong.finish() else { panic!("three fields are wrong") };
        let named: Vec<String> = problem.into_iter().map(|(field, _)| field).collect();
        assert_eq!(named, ["plate", "year", "owner"]);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_too_slow() {
        let silent = HttpBody::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let collected = collect_within(Duration::from_millis(1), Request::new(silent), MAX_BODY_BYTES).await;
        assert!(matches!(collected, Err(Problem::TooSlow)));
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

    /// A compressed body was "invalid JSON", and one in Latin-1 had other letters.
    #[test]
    fn a_head_that_gives_the_body_another_meaning_is_refused() {
        let check = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            match check_content(&headers) {
                Ok(()) => StatusCode::OK.into_response(),
                Err(problem) => problem.into_response(),
            }
        };
        for encoding in ["gzip", "br", "deflate", "identity, gzip", "aes128gcm"] {
            let refusal = check("content-encoding", encoding);
            assert_eq!(refusal.status().as_u16(), 415);
            assert_eq!(refusal.headers()["accept-encoding"], "identity");
        }
        for none in ["identity", "Identity", ""] {
            assert_eq!(check("content-encoding", none).status().as_u16(), 200);
        }
        for charset in ["utf-8", "UTF-8", "\"utf-8\"", "us-ascii"] {
            let value = HeaderValue::try_from(format!("application/json; charset={charset}; v=1")).unwrap();
            assert!(check_content(&HeaderMap::from_iter([(CONTENT_TYPE, value)])).is_ok(), "{charset}");
        }
        for content_type in ["application/json; charset=iso-8859-1", "application/json;v=1; Charset=\"UTF-16\""] {
            assert_eq!(check("content-type", content_type).status().as_u16(), 415);
        }
        assert_eq!(check("content-range", "bytes 0-1/2").status().as_u16(), 400);
    }

    /// `messages.upsert` with the base64 of a photograph was a 413, which Evolution repeats ten times (evolution-api#956).
    #[tokio::test]
    async fn a_webhook_is_read_without_its_media() {
        let text = format!(r#"{{"event":"messages.upsert","base64":"{}","id":"A"}}"#, "x".repeat(5 * 1024 * 1024));
        let memory = Memory::new(8 * 1024 * 1024);
        let share = Share::of(&memory);
        let mut read = Vec::new();
        for size in [1_000, 32 * 1024, 10 * 1024 * 1024] {
            let pieces: Vec<Result<Bytes, std::io::Error>> =
                text.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let mut request = Request::new(HttpBody::from_stream(futures::stream::iter(pieces)));
            request.extensions_mut().insert(share.clone());
            let Webhook(value) = Webhook::read(request, LONGEST_TEXT).await.expect("it is read");
            read.push(value.expect("it is short without its media"));
        }
        let expected = json!({"event": "messages.upsert", "base64": "", "id": "A"});
        assert!(read.iter().all(|value| *value == expected), "{read:?}");
        assert!(memory.used() < 10_000, "{}", memory.used());

        let many = json!(vec![1; MAX_BODY_BYTES]).to_string();
        let Webhook(value) = Webhook::read(Request::new(many.into()), LONGEST_TEXT).await.expect("it is taken");
        assert_eq!(value, None, "and thrown away");
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
