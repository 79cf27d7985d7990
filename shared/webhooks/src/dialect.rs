//! Whether a request came from the partner that it names (d1, d2).
//!
//! Partners sign in dialects: another header, another form of the payload than the bytes that they send. Each is tried in
//! turn, and the one that fits is remembered with the request.

use std::borrow::Cow;
use std::fmt;

use chrono::DateTime;
use recado_kernel::clock::Timestamp;

use crate::canonical::{Document, Form, Letters, Separators};
use crate::signature::{Secret, same};

/// The headers that carry a hexadecimal signature, in lower case.
pub const LEGACY_HEADERS: [&str; 5] =
    ["x-partner-signature", "x-hmac-signature", "x-signature", "x-webhook-signature", "x-hub-signature-256"];

/// What some senders write before the hexadecimal letters.
const LEGACY_PREFIX: &str = "sha256=";

/// The headers of Standard Webhooks; the second name of each is Svix's.
pub(crate) const STANDARD_HEADERS: [[&str; 3]; 2] =
    [["webhook-id", "webhook-timestamp", "webhook-signature"], ["svix-id", "svix-timestamp", "svix-signature"]];

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Received<'r> {
    /// Names in lower case, with their values, in any order.
    pub headers: &'r [(String, String)],
    /// The bytes before anything read them.
    pub body: &'r [u8],
}

/// What a partner is held to.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Only the bytes that were sent may be signed, not another form of the same payload.
    pub strict_raw: bool,
    /// How old the time that Standard Webhooks signs may be, in seconds; how far it may lie ahead too. 0: any.
    pub tolerance_seconds: i64,
    /// The same for the time in the payload, where the signature has none of its own. 0: any, which is what partners of seed
    /// 000 need: they send a webhook again as it was.
    pub payload_tolerance_seconds: i64,
}

/// How a request was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The header, in lower case.
    pub header: &'static str,
    pub signed: Signed,
    /// Whether `sha256=` stood before the signature.
    pub prefixed: bool,
    /// Which of the secrets it was; 0 is the one in force.
    pub secret: usize,
    /// The id that was signed with the body; only Standard Webhooks signs one.
    pub message_id: Option<String>,
}

/// What was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The bytes that were sent.
    Raw,
    /// The payload in another form.
    Form(Form),
    /// `id.timestamp.body` (Standard Webhooks).
    Standard,
}

/// `sorted, ", " and ": ", ASCII in x-hmac-signature`, for people and for the table of inbound events.
impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.signed, self.header)?;
        f.write_str(if self.prefixed { " with sha256=" } else { "" })?;
        f.write_str(if self.secret > 0 { ", former secret" } else { "" })
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw body"),
            Self::Standard => f.write_str("Standard Webhooks"),
            Self::Form(form) => {
                let order = if form.sorted { "sorted keys" } else { "keys as sent" };
                let separators = match form.separators {
                    Separators::Spaced => "default separators",
                    Separators::Compact => "compact",
                };
                let letters = match form.letters {
                    Letters::Escaped => "ASCII",
                    Letters::Utf8 => "UTF-8",
                };
                write!(f, "{order}, {separators}, {letters}")
            }
        }
    }
}

/// Why a request is not believed. The sender is told no more than that its signature is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it carries no signature")]
    Missing,
    #[error("it carries signatures that differ")]
    Differing,
    #[error("its signature fits none of the partner's secrets in any dialect")]
    Wrong,
    #[error("it was signed too long ago, or ahead of our clock")]
    Stale,
}

impl Refusal {
    /// For programs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Differing => "differing",
            Self::Wrong => "wrong",
            Self::Stale => "stale",
        }
    }
}

/// Finds the dialect in which this request is signed.
///
/// # Errors
/// When it is not signed by the holder of one of these secrets, or is older than the rules allow.
pub fn verify(secrets: &[Secret], rules: &Rules, received: Received<'_>, now: Timestamp) -> Result<Dialect, Refusal> {
    let legacy = Legacy::of(received)?;
    let standard = Standard::of(received)?;
    if legacy.is_empty() && standard.is_none() {
        return Err(Refusal::Missing);
    }
    if let Some(standard) = standard
        && let Some(dialect) = standard.verify(secrets, received.body)
    {
        // A good signature of another hour is no reason to try the one that has no time in it.
        return if standard.is_fresh(rules, now) { Ok(dialect) } else { Err(Refusal::Stale) };
    }
    let signatures = legacy.first().ok_or(Refusal::Wrong)?;
    candidates(received.body, rules.strict_raw)
        .find_map(|(signed, bytes)| {
            let secret = secrets.iter().position(|secret| same(&secret.hex(&bytes), &signatures.hex))?;
            let Legacy { header, prefixed, .. } = *signatures;
            Some(Dialect { header, signed, prefixed, secret, message_id: None })
        })
        .ok_or(Refusal::Wrong)
}

/// A signature in hexadecimal letters.
#[derive(Debug)]
pub(crate) struct Legacy {
    pub(crate) header: &'static str,
    /// In lower case, without `sha256=`.
    pub(crate) hex: String,
    prefixed: bool,
}

impl Legacy {
    /// All that the request carries.
    ///
    /// # Errors
    /// When two differ: at most one of them can be meant (d2).
    fn of(received: Received<'_>) -> Result<Vec<Self>, Refusal> {
        let found: Vec<Self> = LEGACY_HEADERS
            .iter()
            .flat_map(|&header| received.all(header).map(move |value| Self::read(header, value)))
            .collect();
        if found.windows(2).any(|pair| pair[0].hex != pair[1].hex) { Err(Refusal::Differing) } else { Ok(found) }
    }

    pub(crate) fn read(header: &'static str, value: &str) -> Self {
        let value = value.trim().to_ascii_lowercase();
        match value.strip_prefix(LEGACY_PREFIX) {
            Some(hex) => Self { header, hex: hex.to_owned(), prefixed: true },
            None => Self { header, hex: value, prefixed: false },
        }
    }
}

/// The three headers of Standard Webhooks.
#[derive(Debug)]
pub(crate) struct Standard<'r> {
    pub(crate) header: &'static str,
    pub(crate) id: &'r str,
    pub(crate) timestamp: i64,
    /// `v1,…`, separated by blanks.
    pub(crate) signatures: &'r str,
}

impl<'r> Standard<'r> {
    /// # Errors
    /// When one of the headers stands twice, the others are missing beside a signature, or the two sets carry different ids: a
    /// webhook has one.
    pub(crate) fn of(received: Received<'r>) -> Result<Option<Self>, Refusal> {
        let [ours, svix] = STANDARD_HEADERS;
        match (Self::in_headers(received, ours)?, Self::in_headers(received, svix)?) {
            (Some(one), Some(other)) if one.id != other.id => Err(Refusal::Differing),
            (one, other) => Ok(one.or(other)),
        }
    }

    fn in_headers(received: Received<'r>, [id, timestamp, header]: [&'static str; 3]) -> Result<Option<Self>, Refusal> {
        let Some(signatures) = received.one(header)? else { return Ok(None) };
        let (Some(id), Some(timestamp)) = (received.one(id)?, received.one(timestamp)?) else {
            return Err(Refusal::Wrong);
        };
        let timestamp = timestamp.trim().parse().map_err(|_| Refusal::Wrong)?;
        Ok(Some(Self { header, id, timestamp, signatures }))
    }

    fn verify(&self, secrets: &[Secret], body: &[u8]) -> Option<Dialect> {
        let fits = |secret: &Secret| {
            let expected = secret.standard(self.id, self.timestamp, body)?;
            self.signatures.split_ascii_whitespace().any(|signature| same(signature, &expected)).then_some(())
        };
        let secret = secrets.iter().position(|secret| fits(secret).is_some())?;
        let message_id = Some(self.id.to_owned());
        Some(Dialect { header: self.header, signed: Signed::Standard, prefixed: false, secret, message_id })
    }

    fn is_fresh(&self, rules: &Rules, now: Timestamp) -> bool {
        is_fresh(self.timestamp, rules.tolerance_seconds, now)
    }
}

fn is_fresh(seconds: i64, tolerance: i64, now: Timestamp) -> bool {
    tolerance == 0 || now.to_utc().timestamp().saturating_sub(seconds).saturating_abs() <= tolerance
}

/// Whether the time stamp in a signed payload is within the tolerance (d5). One that is missing or cannot be read is not, when
/// a tolerance is demanded. A signature of Standard Webhooks has a time of its own.
pub fn is_payload_fresh(timestamp: Option<&str>, signed: Signed, rules: &Rules, now: Timestamp) -> bool {
    let tolerance_seconds = rules.payload_tolerance_seconds;
    if tolerance_seconds == 0 || signed == Signed::Standard {
        return true;
    }
    timestamp.and_then(read_moment).is_some_and(|time| is_fresh(time.to_utc().timestamp(), tolerance_seconds, now))
}

/// The moment that a time stamp names: `2026-01-19T16:00:00Z`, `…+00:00`, or Python's `utcnow().isoformat()`, which says no
/// zone and means UTC.
pub fn read_moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let zoned = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc3339(&format!("{text}Z")));
    zoned.ok().map(|time| time.to_utc().into())
}

impl<'r> Received<'r> {
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = &'r str> {
        self.headers.iter().filter(move |(named, _)| named == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header that may stand once only.
    fn one(self, name: &str) -> Result<Option<&'r str>, Refusal> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Refusal::Differing),
            (value, None) => Ok(value),
        }
    }
}

/// The bytes that the sender may have signed, the likeliest first, each written when its turn comes.
pub(crate) fn candidates(body: &[u8], strict_raw: bool) -> impl Iterator<Item = (Signed, Cow<'_, [u8]>)> {
    let text = if strict_raw { None } else { std::str::from_utf8(body).ok() };
    let document = text.and_then(|text| Document::read(text).ok());
    let forms = document.into_iter().flat_map(|document| {
        FORMS.iter().map(move |&form| (Signed::Form(form), Cow::Owned(document.write(form).into_bytes())))
    });
    std::iter::once((Signed::Raw, Cow::Borrowed(body))).chain(forms)
}

/// In the order of d1: sorted with default separators, sorted and compact, as sent with default separators, as sent and
/// compact; each escaped and as UTF-8.
pub const FORMS: [Form; 8] = {
    const fn form(sorted: bool, separators: Separators, letters: Letters) -> Form {
        Form { sorted, separators, letters }
    }
    [
        form(true, Separators::Spaced, Letters::Escaped),
        form(true, Separators::Spaced, Letters::Utf8),
        form(true, Separators::Compact, Letters::Escaped),
        form(true, Separators::Compact, Letters::Utf8),
        form(false, Separators::Spaced, Letters::Escaped),
        form(false, Separators::Spaced, Letters::Utf8),
        form(false, Separators::Compact, Letters::Escaped),
        form(false, Separators::Compact, Letters::Utf8),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    /// The wires of appendix 1 and their signatures, computed with CPython.
    const WIRE_A: &str = r#"{"event_type": "service.booked_for_event", "timestamp": "2026-01-19T16:00:00Z", "source": "findyourwork", "data": {"external_event_id": "RES-2026-001", "service_name": "Decoraci\u00f3n", "price": 250.0, "provider": {"id": 456, "name": "DJ Sounds Pro", "rating": 4.8}}}"#;
    const WIRE_B: &str = r#"{"event_type":"service.booked_for_event","timestamp":"2026-01-19T16:00:00Z","source":"findyourwork","data":{"external_event_id":"RES-2026-001","service_name":"Decoración","price":250.0,"provider":{"id":456,"name":"DJ Sounds Pro","rating":4.8}}}"#;
    const HEX_A: &str = "37106c76b3186eb7032ffa5edb6dbe5f5e0331df8842fcf9674f782dec4d12ec";
    const HEX_B: &str = "21311560eb7a7a7fcd20f55c3a29c868ad6895e20a9917a551d39ffd90a6f4b0";
    const HEX_C: &str = "bc1d48f85e6a94e4cf7d05ce033fa01f9bf873218722e5ba3b8d9937d255fb2e";
    const HEX_D: &str = "186e1cfa7cfeb398ffcac01988e1e093825442151ecb45b18fbefbeb5de6197b";

    const DEFAULT: Rules = Rules { strict_raw: false, tolerance_seconds: 0, payload_tolerance_seconds: 0 };

    fn secrets() -> [Secret; 1] {
        [Secret::stated(SECRET).expect("a secret")]
    }

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn verdict(rules: &Rules, pairs: &[(&str, &str)], body: &str) -> Result<String, Refusal> {
        let received = Received { headers: &headers(pairs), body: body.as_bytes() };
        verify(&secrets(), rules, received, Timestamp::default()).map(|dialect| dialect.to_string())
    }

    /// S000-8, d1: the senders of the document, whose signed bytes are not the bytes they send.
    #[test]
    fn every_dialect_of_the_document_is_understood() {
        let table = [
            (WIRE_A, HEX_A, "raw body"),
            (WIRE_B, HEX_B, "raw body"),
            (WIRE_A, HEX_C, "sorted keys, default separators, ASCII"),
            (WIRE_B, HEX_D, "sorted keys, compact, ASCII"),
            (WIRE_B, HEX_A, "keys as sent, default separators, ASCII"),
            (WIRE_A, HEX_B, "keys as sent, compact, UTF-8"),
        ];
        for (body, hex, signed) in table {
            for header in LEGACY_HEADERS {
                assert_eq!(verdict(&DEFAULT, &[(header, hex)], body), Ok(format!("{signed} in {header}")));
            }
            let prefixed = format!("sha256={}", hex.to_uppercase());
            let expected = format!("{signed} in x-signature with sha256=");
            assert_eq!(verdict(&DEFAULT, &[("x-signature", &prefixed)], body), Ok(expected));
        }
    }

    /// S000-8, S000-20, d2.
    #[test]
    fn what_is_not_signed_or_signed_otherwise_is_refused() {
        let (one, other) = ("x-partner-signature", "x-hmac-signature");
        let strict = Rules { strict_raw: true, ..DEFAULT };
        type Case<'c> = (&'c Rules, &'c [(&'c str, &'c str)], &'c str, Refusal);
        let table: [Case<'_>; 9] = [
            (&DEFAULT, &[], WIRE_A, Refusal::Missing),
            (&DEFAULT, &[(one, "test")], WIRE_A, Refusal::Wrong),
            (&DEFAULT, &[(one, "")], WIRE_A, Refusal::Wrong),
            (&DEFAULT, &[(one, HEX_A), (other, HEX_C)], WIRE_A, Refusal::Differing),
            (&DEFAULT, &[(one, HEX_A), (one, HEX_C)], WIRE_A, Refusal::Differing),
            (&DEFAULT, &[(one, HEX_A)], "{}", Refusal::Wrong),
            (&strict, &[(one, HEX_C)], WIRE_A, Refusal::Wrong),
            (&DEFAULT, &[(one, HEX_A)], "not json", Refusal::Wrong),
            (&DEFAULT, &[("webhook-signature", "v1,x")], WIRE_A, Refusal::Wrong),
        ];
        for (rules, headers, body, refusal) in table {
            assert_eq!(verdict(rules, headers, body), Err(refusal), "{headers:?}");
        }
        assert!(verdict(&strict, &[(one, HEX_A)], WIRE_A).is_ok());
    }

    /// A key that stands twice would be read differently by two readers, so no form but the bytes themselves can be signed.
    #[test]
    fn a_body_with_a_duplicate_key_is_believed_raw_only() {
        let body = r#"{"a": 1, "a": 2}"#;
        let raw = secrets()[0].hex(body.as_bytes());
        let last = secrets()[0].hex(br#"{"a": 2}"#);
        assert!(verdict(&DEFAULT, &[("x-signature", &raw)], body).is_ok());
        assert_eq!(verdict(&DEFAULT, &[("x-signature", &last)], body), Err(Refusal::Wrong));
    }

    /// d5
    #[test]
    fn standard_webhooks_are_bound_to_their_time() {
        let sign = |seconds: i64| secrets()[0].standard("msg_1", seconds, b"{}").expect("base64");
        let at = |seconds: i64, tolerance_seconds: i64| {
            let (time, signature) = (seconds.to_string(), format!("v1a,other {}", sign(seconds)));
            let pairs = [("webhook-id", "msg_1"), ("webhook-timestamp", &*time), ("webhook-signature", &*signature)];
            verdict(&Rules { tolerance_seconds, ..DEFAULT }, &pairs, "{}")
        };
        assert_eq!(at(300, 300), Ok("Standard Webhooks in webhook-signature".to_owned()));
        assert_eq!(at(-300, 300), Ok("Standard Webhooks in webhook-signature".to_owned()));
        assert_eq!(at(301, 300), Err(Refusal::Stale));
        assert_eq!(at(i64::MAX, 300), Err(Refusal::Stale));
        assert!(at(-86_400, 0).is_ok(), "the tolerance is off");
    }

    #[test]
    fn a_stale_signature_is_not_saved_by_one_without_a_time() {
        let standard = secrets()[0].standard("m", -9_999, b"{}").expect("base64");
        let hex = secrets()[0].hex(b"{}");
        let pairs = [
            ("webhook-id", "m"),
            ("webhook-timestamp", "-9999"),
            ("webhook-signature", &*standard),
            ("x-signature", &*hex),
        ];
        assert_eq!(verdict(&Rules { tolerance_seconds: 300, ..DEFAULT }, &pairs, "{}"), Err(Refusal::Stale));
    }

    #[test]
    fn the_time_of_a_payload_is_read_in_each_spelling() {
        let fresh = |text: Option<&str>, signed, payload_tolerance_seconds| {
            is_payload_fresh(text, signed, &Rules { payload_tolerance_seconds, ..DEFAULT }, Timestamp::default())
        };
        for text in ["1970-01-01T00:00:10Z", "1970-01-01T01:00:00+01:00", "1970-01-01T00:00:00.123456"] {
            assert!(fresh(Some(text), Signed::Raw, 300), "{text}");
        }
        for text in [Some("1970-01-01T00:10:00Z"), Some("yesterday"), None] {
            assert!(!fresh(text, Signed::Raw, 300), "{text:?}");
            assert!(fresh(text, Signed::Raw, 0), "{text:?}");
            assert!(fresh(text, Signed::Standard, 300), "its signature has a time of its own: {text:?}");
        }
    }
}
