//! What the verifiers of real partners say of a webhook. Written from their side, and without our own code.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use openssl::{hash::MessageDigest, memcmp, pkey::PKey, sign::Signer};
use serde::Serialize;
use serde_json::{Value, ser::Formatter};

/// Which verifiers accept a webhook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// One that signs the bytes that it got: the receiver in seed 000.
    pub raw: bool,
    /// One that reads the body, writes it with `json.dumps(payload, sort_keys=True)`, and signs that.
    pub rewritten: bool,
    /// One that writes it with `json.dumps(payload, sort_keys=True, separators=(",", ":"))`, and signs that. It never accepts
    /// what we send by default: the bytes differ.
    pub compact: bool,
    /// One that follows Standard Webhooks, whatever the time stamp.
    pub standard: bool,
}

impl Verdict {
    pub(super) fn of(secrets: &[String], headers: &[(String, String)], body: &[u8]) -> Self {
        let header = |name: &str| headers.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str());
        let hex = header("x-partner-signature").map(|value| value.strip_prefix("sha256=").unwrap_or(value));
        let signed = |bytes: &[u8]| {
            hex.is_some_and(|hex| secrets.iter().any(|secret| is_same(hex, &to_hex(&mac(secret.as_bytes(), bytes)))))
        };
        let raw = signed(body);
        // What is written as it came is signed as it came.
        let signed_again = |written: &[u8]| if written == body { raw } else { signed(written) };
        // Objects are sorted already: `serde_json` keeps them in a tree.
        let payload = serde_json::from_slice::<Value>(body).ok();
        Self {
            raw,
            rewritten: payload.as_ref().is_some_and(|payload| signed_again(&dumps(payload))),
            compact: payload.as_ref().is_some_and(|payload| signed_again(payload.to_string().as_bytes())),
            standard: is_standard(
                secrets,
                header("webhook-id"),
                header("webhook-timestamp"),
                header("webhook-signature"),
                body,
            ),
        }
    }
}

fn is_standard(secrets: &[String], id: Option<&str>, time: Option<&str>, signature: Option<&str>, body: &[u8]) -> bool {
    let (Some(id), Some(time), Some(signatures)) = (id, time, signature) else { return false };
    let content = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    secrets.iter().any(|secret| {
        let Ok(key) = STANDARD.decode(secret.trim_start_matches("whsec_")) else { return false };
        let expected = format!("v1,{}", STANDARD.encode(mac(&key, &content)));
        signatures.split(' ').any(|signature| is_same(signature, &expected))
    })
}

fn mac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(key).expect("OpenSSL takes keys of every length");
    let mut signer = Signer::new(MessageDigest::sha256(), &key).expect("OpenSSL knows SHA-256");
    signer.sign_oneshot_to_vec(bytes).expect("OpenSSL signs")
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && memcmp::eq(one.as_bytes(), other.as_bytes())
}

/// `whsec_` and 32 random bytes in base64.
pub(super) fn make_secret() -> String {
    let mut key = [0; 32];
    openssl::rand::rand_bytes(&mut key).expect("OpenSSL has randomness");
    format!("whsec_{}", STANDARD.encode(key))
}

/// What the marketplace of seed 000 signs: the HMAC under the whole secret, in hexadecimal letters.
pub(super) fn hex_signature(secret: &str, bytes: &[u8]) -> String {
    to_hex(&mac(secret.as_bytes(), bytes))
}

/// `json.dumps(payload)`: keys in the order in which the payload has them.
pub(super) fn dumps(payload: &impl Serialize) -> Vec<u8> {
    let mut written = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut written, Python);
    payload.serialize(&mut serializer).expect("a value can be written");
    written
}

/// Python's separators and escapes.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for unit in fragment.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte @ b' '..=b'~') => writer.write_all(&[byte])?,
                _ => write!(writer, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the contract, computed with CPython.
    #[test]
    fn each_verifier_accepts_what_it_should() {
        let secret = vec!["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned()];
        let sorted = r#"{"data": {"external_event_id": "RES-2026-001", "price": 250.0, "provider": {"id": 456, "name": "DJ Sounds Pro", "rating": 4.8}, "service_name": "Decoraci\u00f3n"}, "event_type": "service.booked_for_event", "source": "findyourwork", "timestamp": "2026-01-19T16:00:00Z"}"#;
        let hex = "bc1d48f85e6a94e4cf7d05ce033fa01f9bf873218722e5ba3b8d9937d255fb2e";
        let headers = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let legacy = headers(&[("x-partner-signature", hex)]);
        let verdict = Verdict::of(&secret, &legacy, sorted.as_bytes());
        assert_eq!(verdict, Verdict { raw: true, rewritten: true, compact: false, standard: false });
        let compact = sorted.replace("\": ", "\":").replace(", \"", ",\"");
        let verdict = Verdict::of(&secret, &legacy, compact.as_bytes());
        assert_eq!(verdict, Verdict { raw: false, rewritten: true, compact: false, standard: false });
        let standard = headers(&[
            ("webhook-id", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
            ("webhook-timestamp", "1768838400"),
            ("webhook-signature", "v1,bFfLVIrI/fjtY1gVAmeKWOX82PGQOkm48Br+CFj3bCE="),
        ]);
        let verdict = Verdict::of(&secret, &standard, sorted.as_bytes());
        assert_eq!(verdict, Verdict { raw: false, rewritten: false, compact: false, standard: true });
        assert_eq!(
            Verdict::of(&[], &legacy, sorted.as_bytes()),
            Verdict { raw: false, rewritten: false, compact: false, standard: false }
        );
    }
}
