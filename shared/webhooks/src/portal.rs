//! Links with which a partner sees its own webhooks, without a login: signed, and good for a while.
//!
//! A token names whose webhooks it opens, until when, and an epoch. Nothing is stored of it: a higher epoch in the owner's row
//! makes all links that were given out before useless.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// How long a link is good unless it is said otherwise, and at most.
pub const USUAL_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The shortest, in seconds: time enough to open it.
pub const SHORTEST_LIFETIME: Duration = Duration::from_secs(60);

/// Below which URL the portal is.
pub const PATH: &str = "/portal";

/// Derives the key of these tokens: another use of `SECRET_KEY` has another key, and a later form of tokens too.
const CONTEXT: &[u8] = b"recado/portal/v1";

/// What a token says: 16 bytes of the owner, 8 of the end in microseconds, 8 of the epoch.
const SAID: usize = 32;

/// What a link opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Whose webhooks.
    pub owner: Id,
    pub expires_at: Timestamp,
    pub epoch: i64,
}

impl Pass {
    /// The token: base64url of what it says, and of an HMAC-SHA256 of that.
    pub fn token(self, key: &SecretString) -> String {
        let mut bytes = Vec::with_capacity(2 * SAID);
        bytes.extend_from_slice(self.owner.as_bytes());
        bytes.extend_from_slice(&self.expires_at.as_micros().to_be_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        let mac = signer(key, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token says; `None` when it was not made with this key, or is over.
    pub fn read(token: &str, key: &SecretString, now: Timestamp) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (said, mac) = bytes.split_at_checked(SAID)?;
        signer(key, said).verify_slice(mac).ok()?;
        let number = |at: usize| Some(i64::from_be_bytes(said.get(at..at + 8)?.try_into().ok()?));
        let pass = Self {
            owner: Id::from_slice(&said[..16])?,
            expires_at: Timestamp::from_micros(number(16)?),
            epoch: number(24)?,
        };
        (now < pass.expires_at).then_some(pass)
    }

    /// Where the link leads, below the address at which people reach this API.
    pub fn url(self, public_url: &str, key: &SecretString) -> String {
        format!("{public_url}{PATH}/enter/{}", self.token(key))
    }
}

fn signer(key: &SecretString, said: &[u8]) -> Hmac<Sha256> {
    let of = |key: &[u8]| -> Hmac<Sha256> { Mac::new_from_slice(key).expect("HMAC takes keys of every length") };
    let mut derived = of(key.expose_secret().as_bytes());
    derived.update(CONTEXT);
    let mut signer = of(&derived.finalize().into_bytes());
    signer.update(said);
    signer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SecretString {
        text.into()
    }

    fn pass() -> Pass {
        Pass { owner: Id::of_name("partner"), expires_at: Timestamp::from_micros(5_000_000), epoch: 3 }
    }

    #[test]
    fn a_token_is_good_with_its_own_key_until_its_end() {
        let token = pass().token(&key("one"));
        let at = |micros| Timestamp::from_micros(micros);
        assert_eq!(Pass::read(&token, &key("one"), at(0)), Some(pass()));
        assert_eq!(Pass::read(&token, &key("one"), at(4_999_999)), Some(pass()));
        assert_eq!(Pass::read(&token, &key("one"), at(5_000_000)), None, "it is over");
        assert_eq!(Pass::read(&token, &key("two"), at(0)), None);
        for wrong in ["", "x", "AAAA", &token[1..], &token[..token.len() - 2], &format!("{token}AA"), "ñ"] {
            assert_eq!(Pass::read(wrong, &key("one"), at(0)), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_letter_of_a_token_can_be_changed(at in 0_usize..86, letter in "[A-Za-z0-9_-]") {
            let token = pass().token(&key("one"));
            // The last letter carries fewer bits than it could.
            proptest::prop_assume!(at < token.len() - 1 && token[at..=at] != letter);
            let mut changed = token;
            changed.replace_range(at..=at, &letter);
            proptest::prop_assert_eq!(Pass::read(&changed, &key("one"), Timestamp::from_micros(0)), None);
        }
    }
}
