//! Who sends a push message: the signature of RFC 8292.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use openssl::{
    bn::{BigNum, BigNumContext},
    ec::{EcGroup, EcKey, EcPoint},
    ecdsa::EcdsaSig,
    error::ErrorStack,
    nid::Nid,
    pkey::Public,
    sha::sha256,
};
use serde_json::Value;

/// RFC 8292 §2: a token may be valid for 24 hours at most.
const LONGEST_SECONDS: i64 = 24 * 60 * 60;

/// A signature that holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Vapid {
    /// The sender's public key, as it was sent.
    pub(super) key: String,
    pub(super) claims: Value,
}

/// Verifies the header `Authorization: vapid t=…, k=…` for a push service at `origin`, at `now` (seconds of the epoch).
/// A subscription that was made for one sender's key is `reserved` for it.
///
/// # Errors
/// What is wrong, for the developer who has to fix it.
pub(super) fn verify(header: &str, origin: &str, now: i64, reserved: Option<&str>) -> Result<Vapid, String> {
    let (token, key) = credentials(header)?;
    if reserved.is_some_and(|reserved| reserved != key) {
        return Err("this subscription was made for another application server key".to_owned());
    }
    let claims = signed_claims(token, key)?;
    check_audience(&claims, origin)?;
    check_expiry(&claims, now)?;
    check_subject(&claims)?;
    Ok(Vapid { key: key.to_owned(), claims })
}

fn credentials(header: &str) -> Result<(&str, &str), String> {
    let expected = || "the header is `Authorization: vapid t=<token>, k=<public key>`".to_owned();
    let (scheme, parameters) = header.trim().split_once(' ').ok_or_else(expected)?;
    if !scheme.eq_ignore_ascii_case("vapid") {
        return Err(expected());
    }
    let find = |name: &str| {
        let mut known = parameters.split(',').filter_map(|pair| pair.trim().split_once('='));
        known.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    find("t").zip(find("k")).ok_or_else(expected)
}

fn signed_claims(token: &str, key: &str) -> Result<Value, String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("t is not a JWT: it has no signature")?;
    let (header, claims) = signed.split_once('.').ok_or("t is not a JWT: it has two parts only")?;
    let algorithm = &json("header", header)?["alg"];
    if algorithm != "ES256" {
        return Err(format!("the JWT is signed with {algorithm}, not with ES256"));
    }
    let key = public_key(&bytes("k", key)?).ok_or("k is not an uncompressed point on P-256")?;
    let holds = signature_holds(&key, signed.as_bytes(), &bytes("the JWT's signature", signature)?);
    if !holds.unwrap_or(false) {
        return Err("the JWT's signature does not belong to k".to_owned());
    }
    json("claims", claims)
}

fn check_audience(claims: &Value, origin: &str) -> Result<(), String> {
    let audience = &claims["aud"];
    if audience == origin {
        return Ok(());
    }
    Err(format!("aud is {audience}, but the origin of this push service is \"{origin}\", port included"))
}

fn check_expiry(claims: &Value, now: i64) -> Result<(), String> {
    // Whole seconds in practice, but a NumericDate (RFC 7519 §2) may have a fraction.
    let expiry = claims["exp"].as_f64().ok_or("exp is missing, or not a number of seconds")?;
    let left = expiry - now as f64;
    if left <= 0.0 {
        return Err(format!("the JWT expired {} seconds ago", now as f64 - expiry));
    }
    if left > LONGEST_SECONDS as f64 {
        return Err(format!("exp is {left} seconds away; 24 hours is the most"));
    }
    Ok(())
}

fn check_subject(claims: &Value) -> Result<(), String> {
    let subject = claims["sub"].as_str().unwrap_or_default();
    let contact = subject.strip_prefix("mailto:").or_else(|| subject.strip_prefix("https://"));
    if contact.is_none_or(str::is_empty) {
        return Err("sub is how to reach the sender: `mailto:` or `https:`".to_owned());
    }
    Ok(())
}

fn public_key(point: &[u8]) -> Option<EcKey<Public>> {
    if point.len() != 65 {
        return None;
    }
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).ok()?;
    let mut context = BigNumContext::new().ok()?;
    let point = EcPoint::from_bytes(&group, point, &mut context).ok()?;
    EcKey::from_public_key(&group, &point).ok()
}

/// JWS writes the two numbers of an ECDSA signature one after the other, 32 bytes each (RFC 7518 §3.4).
fn signature_holds(key: &EcKey<Public>, signed: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
    if signature.len() != 64 {
        return Ok(false);
    }
    let (r, s) = signature.split_at(32);
    let signature = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
    signature.verify(&sha256(signed), key)
}

fn json(what: &str, part: &str) -> Result<Value, String> {
    let bytes = bytes(what, part)?;
    serde_json::from_slice(&bytes).map_err(|error| format!("the JWT's {what} are not JSON: {error}"))
}

fn bytes(what: &str, part: &str) -> Result<Vec<u8>, String> {
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(part);
    decoded.map_err(|_| format!("{what} is not base64url without padding"))
}

#[cfg(test)]
mod tests {
    use openssl::{ec::PointConversionForm, pkey::Private};
    use serde_json::json;

    use super::*;

    const ORIGIN: &str = "http://127.0.0.1:9000";
    const NOW: i64 = 1_800_000_000;

    struct Sender {
        key: EcKey<Private>,
        public: String,
    }

    impl Sender {
        fn new() -> Self {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
            let key = EcKey::generate(&group).expect("a key");
            let mut context = BigNumContext::new().expect("memory");
            let point =
                key.public_key().to_bytes(&group, PointConversionForm::UNCOMPRESSED, &mut context).expect("a point");
            Self { key, public: BASE64_URL_SAFE_NO_PAD.encode(point) }
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
            let signed = format!("{}.{}", part(header), part(claims));
            let signature = EcdsaSig::sign(&sha256(signed.as_bytes()), &self.key).expect("signed");
            let number = |number: &openssl::bn::BigNumRef| number.to_vec_padded(32).expect("32 bytes");
            let raw = [number(signature.r()), number(signature.s())].concat();
            format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(raw))
        }

        fn header(&self, claims: &Value) -> String {
            let token = self.token(&json!({"typ": "JWT", "alg": "ES256"}), claims);
            format!("vapid t={token}, k={}", self.public)
        }
    }

    fn claims() -> Value {
        json!({"aud": ORIGIN, "exp": NOW + 43_200, "sub": "mailto:avisos@taller.ec"})
    }

    #[test]
    fn a_right_signature_holds() {
        let sender = Sender::new();
        let vapid = verify(&sender.header(&claims()), ORIGIN, NOW, Some(&sender.public)).expect("it holds");
        assert_eq!((vapid.key, vapid.claims), (sender.public, claims()));
    }

    #[test]
    fn wrong_claims_are_named() {
        let sender = Sender::new();
        for (claim, value, named) in [
            ("aud", json!("http://127.0.0.1"), "port included"),
            ("aud", json!(null), "aud is null"),
            ("exp", json!(NOW), "expired 0 seconds ago"),
            ("exp", json!(NOW + 86_401), "24 hours"),
            ("exp", json!("tomorrow"), "exp is missing"),
            ("sub", json!("avisos@taller.ec"), "`mailto:`"),
            ("sub", json!("mailto:"), "`mailto:`"),
        ] {
            let mut claims = claims();
            claims[claim] = value;
            let error = verify(&sender.header(&claims), ORIGIN, NOW, None).expect_err(named);
            assert!(error.contains(named), "{claims}: {error}");
        }
    }

    #[test]
    fn a_signature_with_another_key_does_not_hold() {
        let (sender, other) = (Sender::new(), Sender::new());
        let stolen = sender.header(&claims()).replace(&sender.public, &other.public);
        let error = verify(&stolen, ORIGIN, NOW, None).expect_err("another's key");
        assert!(error.contains("does not belong"), "{error}");
        let error = verify(&sender.header(&claims()), ORIGIN, NOW, Some(&other.public)).expect_err("reserved");
        assert!(error.contains("another application server key"), "{error}");
    }

    #[test]
    fn malformed_headers_are_named() {
        let sender = Sender::new();
        let unsigned = sender.token(&json!({"alg": "none"}), &claims());
        for (header, named) in [
            ("".to_owned(), "the header is"),
            ("Bearer abc".to_owned(), "the header is"),
            ("vapid t=a.b.c".to_owned(), "the header is"),
            (format!("vapid t=abc,k={}", sender.public), "no signature"),
            (format!("vapid t=a.b,k={}", sender.public), "two parts"),
            (format!("vapid t=a!.b.c,k={}", sender.public), "base64url"),
            (format!("vapid t={unsigned},k={}", sender.public), "not with ES256"),
            (sender.header(&claims()).replace(&sender.public, "AAAA"), "P-256"),
            (format!("{}==", sender.header(&claims())), "base64url"),
        ] {
            let error = verify(&header, ORIGIN, NOW, None).expect_err(named);
            assert!(error.contains(named), "{header}: {error}");
        }
    }
}
