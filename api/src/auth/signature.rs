//! The signature of a webhook as Meta's Cloud API and the usual gateways write it: `sha256=` and the HMAC-SHA256 of the raw body
//! in hex.

use std::fmt::Write;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use secrecy::{ExposeSecret, SecretString};

/// Whether one of these secrets made this signature of the body. The prefix may be missing, and the hex is in either case. Takes
/// the same time whatever is wrong with it.
pub(super) fn is_of(secrets: &[SecretString], signature: &str, body: &[u8]) -> bool {
    let shown = signature.trim().to_ascii_lowercase();
    let shown = shown.strip_prefix("sha256=").unwrap_or(&shown).as_bytes();
    secrets.iter().fold(false, |found, secret| {
        let is_good =
            sign(secret, body).is_ok_and(|ours| ours.len() == shown.len() && memcmp::eq(ours.as_bytes(), shown));
        found | is_good
    })
}

fn sign(secret: &SecretString, body: &[u8]) -> Result<String, ErrorStack> {
    let key = PKey::hmac(secret.expose_secret().as_bytes())?;
    let code = Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(body)?;
    Ok(code.iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        hex
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// d21: RFC 4231, test case 2.
    #[test]
    fn a_signature_is_of_the_body_and_a_secret() {
        const GOOD: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let secrets = ["other".into(), "Jefe".into()];
        let body = b"what do ya want for nothing?";
        for good in [GOOD.to_owned(), format!("sha256={GOOD}"), format!(" SHA256={} ", GOOD.to_uppercase())] {
            assert!(is_of(&secrets, &good, body), "{good}");
        }
        for bad in ["", "sha256=", &GOOD[1..], &format!("sha1={GOOD}"), &GOOD.replace('5', "6"), "ñandú"] {
            assert!(!is_of(&secrets, bad, body), "{bad}");
        }
        assert!(!is_of(&secrets, GOOD, b"what do ya want for nothing"));
        assert!(!is_of(&[], GOOD, body));
    }
}
