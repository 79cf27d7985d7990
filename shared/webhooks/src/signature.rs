//! Secrets of webhooks, and what is signed with them: the hexadecimal HMAC of seed 000, and Standard Webhooks 1.0.0.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use rand::TryRngCore;
use rand::rngs::OsRng;
use recado_kernel::clock::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// What secrets begin with (Standard Webhooks, "Symmetric").
const PREFIX: &str = "whsec_";

/// What a Standard Webhooks signature begins with: HMAC-SHA256.
const VERSION: &str = "v1,";

/// A secret that a partner and we know.
///
/// One text serves both ways of signing (d3): the HMAC of seed 000 takes the bytes of the whole text, Standard Webhooks the
/// bytes that stand in base64 behind `whsec_`.
#[derive(Clone)]
pub struct Secret {
    text: SecretString,
    /// `None`: it is no base64, so it signs no Standard Webhooks.
    key: Option<Vec<u8>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([REDACTED])")
    }
}

/// Why a secret that a caller states is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("a secret has 16 to 200 characters")]
    Length,
    #[error("a secret is written in visible ASCII characters")]
    Letters,
}

impl Secret {
    /// `whsec_` and 32 random bytes in base64.
    ///
    /// # Panics
    /// When the system has no randomness.
    pub fn generate() -> Self {
        let mut key = [0; 32];
        OsRng.try_fill_bytes(&mut key).expect("the operating system has randomness");
        Self::from(SecretString::from(format!("{PREFIX}{}", STANDARD.encode(key))))
    }

    /// A secret that a partner chose.
    ///
    /// # Errors
    /// When it is too short to be one, or could not be typed.
    pub fn stated(text: &str) -> Result<Self, SecretError> {
        match text {
            _ if !(16..=200).contains(&text.len()) => Err(SecretError::Length),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(SecretError::Letters),
            _ => Ok(Self::from(SecretString::from(text))),
        }
    }

    pub fn text(&self) -> &SecretString {
        &self.text
    }

    /// Whether Standard Webhooks can be signed with it. The partner must be told when it cannot.
    pub fn signs_standard_webhooks(&self) -> bool {
        self.key.is_some()
    }

    /// The HMAC-SHA256 of these bytes under the whole text, in hexadecimal letters (S000-12).
    pub fn hex(&self, signed: &[u8]) -> String {
        hex::encode(mac(self.text.expose_secret().as_bytes(), &[signed]))
    }

    /// The HMAC-SHA256 of these bytes under the key that this form makes of the secret. `None`: it makes none.
    pub(crate) fn mac(&self, form: KeyForm, signed: &[u8]) -> Option<[u8; 32]> {
        let text = self.text.expose_secret();
        match form {
            KeyForm::Whole => Some(mac(text.as_bytes(), &[signed])),
            KeyForm::Decoded => self.key.as_ref().map(|key| mac(key, &[signed])),
            KeyForm::Unprefixed => text.strip_prefix(PREFIX).map(|rest| mac(rest.as_bytes(), &[signed])),
            KeyForm::WithLineEnd => Some(mac(&[text.as_bytes(), b"\n"].concat(), &[signed])),
        }
    }

    /// `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64; `None` when the secret is no base64.
    pub fn standard(&self, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
        let head = format!("{id}.{timestamp}.");
        let key = self.key.as_ref()?;
        Some(format!("{VERSION}{}", STANDARD.encode(mac(key, &[head.as_bytes(), body]))))
    }
}

/// Which bytes of a secret somebody took as the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyForm {
    /// What the hexadecimal signatures want.
    Whole,
    /// What Standard Webhooks wants.
    Decoded,
    Unprefixed,
    /// As it is read from a file that ends in one.
    WithLineEnd,
}

impl KeyForm {
    pub(crate) const ALL: [Self; 4] = [Self::Whole, Self::Decoded, Self::Unprefixed, Self::WithLineEnd];
}

impl From<SecretString> for Secret {
    fn from(text: SecretString) -> Self {
        let key = text.expose_secret().strip_prefix(PREFIX).and_then(|key| STANDARD.decode(key).ok());
        Self { key: key.filter(|key| !key.is_empty()), text }
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Whether two signatures are the same, in a time that does not tell how far they agree.
pub fn same(one: &str, other: &str) -> bool {
    same_bytes(one.as_bytes(), other.as_bytes())
}

/// [`same`] for bytes.
pub(crate) fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// How the requests to one partner are signed (d1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// What stands before the hexadecimal letters: nothing, or `sha256=` for a partner whose verifier demands it.
    pub prefix: String,
    /// Headers that carry the hexadecimal signature, besides those that every request has.
    pub extra_headers: Vec<String>,
}

/// The headers of every request that carry the hexadecimal signature (d2).
pub const LEGACY_HEADERS: [&str; 2] = ["X-Partner-Signature", "X-HMAC-Signature"];

/// The headers that prove to a partner who sent `body`.
///
/// The first secret is the one in force. Standard Webhooks lists a signature for each, so that a partner who still holds the
/// former secret verifies during a rotation (d4). `id` stays the same when a webhook is sent again; `now` is of this attempt.
pub fn headers(secrets: &[Secret], profile: &Profile, id: &str, now: Timestamp, body: &[u8]) -> Vec<(String, String)> {
    let Some(current) = secrets.first() else { return Vec::new() };
    let timestamp = now.to_utc().timestamp();
    let hex = format!("{}{}", profile.prefix, current.hex(body));
    let names = LEGACY_HEADERS.iter().map(|&name| name.to_owned()).chain(profile.extra_headers.iter().cloned());
    let mut headers: Vec<(String, String)> = names.map(|name| (name, hex.clone())).collect();
    headers.push(("webhook-id".to_owned(), id.to_owned()));
    headers.push(("webhook-timestamp".to_owned(), timestamp.to_string()));
    let standard: Vec<String> = secrets.iter().filter_map(|secret| secret.standard(id, timestamp, body)).collect();
    if !standard.is_empty() {
        headers.push(("webhook-signature".to_owned(), standard.join(" ")));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appendix 1 of the contract, computed with CPython.
    const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const BODY: &str = r#"{"data": {"external_event_id": "RES-2026-001", "price": 250.0, "provider": {"id": 456, "name": "DJ Sounds Pro", "rating": 4.8}, "service_name": "Decoraci\u00f3n"}, "event_type": "service.booked_for_event", "source": "findyourwork", "timestamp": "2026-01-19T16:00:00Z"}"#;
    const HEX: &str = "bc1d48f85e6a94e4cf7d05ce033fa01f9bf873218722e5ba3b8d9937d255fb2e";

    #[test]
    fn the_vectors_of_the_contract() {
        let secret = Secret::stated(SECRET).expect("a secret");
        assert_eq!(secret.hex(BODY.as_bytes()), HEX);
        assert_eq!(
            secret.standard("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", 1_768_838_400, BODY.as_bytes()).as_deref(),
            Some("v1,bFfLVIrI/fjtY1gVAmeKWOX82PGQOkm48Br+CFj3bCE=")
        );
    }

    #[test]
    fn a_new_secret_serves_both_ways_and_shows_itself_nowhere() {
        let secret = Secret::generate();
        assert!(secret.signs_standard_webhooks());
        assert_eq!(secret.text().expose_secret().len(), PREFIX.len() + 44);
        assert_ne!(secret.hex(b""), Secret::generate().hex(b""));
        let key = &secret.text().expose_secret()[PREFIX.len()..];
        assert!(!format!("{secret:?}").contains(key));
    }

    /// d3: the original made secrets with `token_urlsafe`.
    #[test]
    fn a_secret_that_is_no_base64_signs_the_old_way_only() {
        let secret = Secret::stated("whsec_a-b_c-d_e-f_g-h_").expect("a secret");
        assert!(!secret.signs_standard_webhooks());
        let names: Vec<String> = headers(&[secret], &Profile::default(), "m", Timestamp::default(), b"{}")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["X-Partner-Signature", "X-HMAC-Signature", "webhook-id", "webhook-timestamp"]);
        assert_eq!(Secret::stated("short").err(), Some(SecretError::Length));
        assert_eq!(Secret::stated("with blanks in between").err(), Some(SecretError::Letters));
    }

    #[test]
    fn during_a_rotation_the_new_secret_signs_and_both_are_listed() {
        let (new, old) = (Secret::generate(), Secret::stated(SECRET).expect("a secret"));
        let profile = Profile { prefix: "sha256=".to_owned(), extra_headers: vec!["X-Signature".to_owned()] };
        let made = headers(&[new.clone(), old.clone()], &profile, "m", Timestamp::default(), b"{}");
        let value = |name: &str| made.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str());
        let hex = format!("sha256={}", new.hex(b"{}"));
        for name in ["X-Partner-Signature", "X-HMAC-Signature", "X-Signature"] {
            assert_eq!(value(name), Some(hex.as_str()), "{name}");
        }
        let both = [new, old].map(|secret| secret.standard("m", 0, b"{}").expect("base64")).join(" ");
        assert_eq!(value("webhook-signature"), Some(both.as_str()));
    }
}
