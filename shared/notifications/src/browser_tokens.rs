//! Tokens with which the browser of one customer subscribes to pushes: a service that knows who is logged in has one made with its
//! key and hands it to the page, so that no key of the API is in a browser.
//!
//! A token names its customer and its end, and carries an HMAC-SHA256 of them. Nothing is stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use recado_kernel::clock::Timestamp;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserToken {
    pub customer_id: String,
    /// From then on it opens nothing, to the second.
    pub expires_at: Timestamp,
}

/// Keeps tokens apart from everything else that is signed with the same key, and from later forms of themselves.
const CONTEXT: &[u8] = b"recado browser token 1";

/// Length of an HMAC-SHA256, in bytes.
const MAC: usize = 32;

impl BrowserToken {
    /// What tells a token from a key.
    pub const PREFIX: &'static str = "rb_";

    /// The token: `rb_` and base64url of eight bytes for the second in which it ends, the customer's id, and 32 of the HMAC.
    pub fn write(&self, key: &SecretString) -> String {
        let mut bytes = seconds(self.expires_at).to_be_bytes().to_vec();
        bytes.extend_from_slice(self.customer_id.as_bytes());
        let mac = signer(key, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        format!("{}{}", Self::PREFIX, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a token says; `None` when it was not made with this key, or has ended.
    pub fn read(token: &str, key: &SecretString, now: Timestamp) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(Self::PREFIX)?).ok()?;
        let (said, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        signer(key, said).verify_slice(mac).ok()?;
        let (end, customer_id) = said.split_at_checked(size_of::<i64>())?;
        let end = i64::from_be_bytes(end.try_into().ok()?);
        let expires_at = Timestamp::from_micros(end.checked_mul(1_000_000)?);
        let customer_id = String::from_utf8(customer_id.to_vec()).ok()?;
        (now < expires_at).then_some(Self { customer_id, expires_at })
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000_000)
}

fn signer(key: &SecretString, said: &[u8]) -> Hmac<Sha256> {
    let mut signer = Hmac::new_from_slice(key.expose_secret().as_bytes()).expect("HMAC takes keys of every length");
    signer.update(CONTEXT);
    signer.update(said);
    signer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn token(customer_id: &str) -> BrowserToken {
        BrowserToken { customer_id: customer_id.to_owned(), expires_at: at(100) }
    }

    #[test]
    fn a_token_is_good_with_its_own_key_until_it_ends() {
        let (key, other): (SecretString, SecretString) = ("one".into(), "two".into());
        let text = token("customer-001").write(&key);
        assert_eq!(BrowserToken::read(&text, &key, at(99)), Some(token("customer-001")));
        assert_eq!(BrowserToken::read(&text, &key, at(100)), None);
        assert_eq!(BrowserToken::read(&text, &other, at(99)), None);
        for wrong in ["", "rb_", "rb_AAAA", &text[3..], &text[..text.len() - 1], &format!("{text}A"), "rb_ñ"] {
            assert_eq!(BrowserToken::read(wrong, &key, at(99)), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_customer_is_called(customer_id in "\\PC{1,100}") {
            let text = token(&customer_id).write(&"k".into());
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            prop_assert_eq!(BrowserToken::read(&text, &"k".into(), at(1)), Some(token(&customer_id)));
        }

        #[test]
        fn no_byte_of_it_may_be_changed(position in 0_usize..52, bit in 0_u32..8) {
            let text = token("customer-001").write(&"k".into());
            let mut bytes = URL_SAFE_NO_PAD.decode(&text[3..]).expect("base64url");
            bytes[position] ^= 1 << bit;
            let changed = format!("rb_{}", URL_SAFE_NO_PAD.encode(bytes));
            prop_assert_eq!(BrowserToken::read(&changed, &"k".into(), at(1)), None);
        }
    }
}
