//! The token with which Evolution signs its webhooks (d32): a JSON Web Token (RFC 7519) with HMAC-SHA256, and nothing else
//! that the standard allows. The token that is to be checked never chooses the algorithm (RFC 8725, section 3.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use recado_kernel::clock::Timestamp;
use serde::Deserialize;

/// How far Evolution's clock may be ahead or behind, in seconds.
const CLOCK_LEEWAY_SECONDS: i64 = 60;

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    /// In seconds since 1970.
    exp: i64,
    app: String,
}

/// Whether Evolution made this token with the key, not longer ago than it says: it writes `app: evolution` and ten minutes.
pub(crate) fn is_evolutions(token: &str, key: &str, now: Timestamp) -> bool {
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let Some((header, claims)) = signed.split_once('.') else { return false };
    let is_signed = URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| {
        sign(signed, key).is_ok_and(|ours| ours.len() == signature.len() && memcmp::eq(&ours, &signature))
    });
    let header: Option<Header> = part(header);
    let claims: Option<Claims> = part(claims);
    is_signed
        && header.is_some_and(|header| header.alg == "HS256")
        && claims.is_some_and(|claims| {
            claims.app == "evolution" && claims.exp + CLOCK_LEEWAY_SECONDS > now.as_micros() / 1_000_000
        })
}

fn part<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn sign(text: &str, key: &str) -> Result<Vec<u8>, ErrorStack> {
    let key = PKey::hmac(key.as_bytes())?;
    Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Written by Evolution API 2.3.6 with the key `jwtsecret`; it ends at 1795387553.
    const RECORDED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3OTUzODY5NTMsImV4cCI6MTc5NTM4NzU1MywiYXBwIjoiZXZvbHV0aW9uIiwiYWN0aW9uIjoid2ViaG9vayJ9.clo_xFxT_f1CAdJz-j4N-EDEdktqsdsg2_m8WfT1M20";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn token(header: &Value, claims: &Value) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(sign(&signed, "jwtsecret").expect("OpenSSL signs"));
        format!("{signed}.{signature}")
    }

    #[test]
    fn a_recorded_token_is_good_until_it_ends() {
        assert!(is_evolutions(RECORDED, "jwtsecret", at(1_795_386_953)));
        assert!(is_evolutions(RECORDED, "jwtsecret", at(1_795_387_553 + 59)));
        assert!(!is_evolutions(RECORDED, "jwtsecret", at(1_795_387_553 + 60)));
        assert!(!is_evolutions(RECORDED, "another", at(1_795_386_953)));
    }

    #[test]
    fn what_is_not_evolutions_is_refused() {
        let (hs256, good) = (json!({"alg": "HS256"}), json!({"app": "evolution", "exp": 100}));
        assert!(is_evolutions(&token(&hs256, &good), "jwtsecret", at(1)));
        for (header, claims) in [
            (json!({"alg": "none"}), good.clone()),
            (json!({"alg": "HS512"}), good.clone()),
            (json!({}), good.clone()),
            (hs256.clone(), json!({"app": "other", "exp": 100})),
            (hs256.clone(), json!({"app": "evolution"})),
            (hs256.clone(), json!({"app": "evolution", "exp": "100"})),
            (hs256.clone(), json!({"app": "evolution", "exp": -100})),
            (hs256, json!([])),
        ] {
            assert!(!is_evolutions(&token(&header, &claims), "jwtsecret", at(1)), "{header} {claims}");
        }
        let unsigned = token(&json!({"alg": "HS256"}), &good).rsplit_once('.').expect("three parts").0.to_owned();
        for text in ["", ".", "..", "a.b.c", "🚗.🚗.🚗", &unsigned, &format!("{unsigned}.")] {
            assert!(!is_evolutions(text, "jwtsecret", at(1)), "{text}");
        }
    }
}
