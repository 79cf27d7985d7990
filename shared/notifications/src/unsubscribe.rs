//! Links with which people switch a channel off from inside a message (RFC 8058), without a password and without an end.
//!
//! A token names the message, its customer and the channel, and carries an HMAC-SHA256 of them, so that one cannot be made for
//! another person. Nothing is stored: having the mail is the permission.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::channels::Channel;
use recado_kernel::ids::Id;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscription {
    /// The message from which the link was taken.
    pub notification_id: Id,
    pub customer_id: String,
    pub channel: Channel,
}

/// Keeps tokens apart from everything else that is signed with the same key, and from later forms of themselves.
const CONTEXT: &[u8] = b"recado unsubscribe 1";

/// Length of an HMAC-SHA256, in bytes.
const MAC: usize = 32;

impl Unsubscription {
    /// The token: base64url of one byte for the channel, 16 of the notification, the customer's id, and 32 of the HMAC.
    pub fn token(&self, key: &SecretString) -> String {
        let mut bytes = vec![number(self.channel)];
        bytes.extend_from_slice(self.notification_id.as_bytes());
        bytes.extend_from_slice(self.customer_id.as_bytes());
        let mac = signer(key, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token says; `None` when it was not made with this key.
    pub fn read(token: &str, key: &SecretString) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (said, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        signer(key, said).verify_slice(mac).ok()?;
        let (channel, rest) = said.split_first()?;
        let (notification_id, customer_id) = rest.split_at_checked(16)?;
        Some(Self {
            notification_id: Id::from_slice(notification_id)?,
            customer_id: String::from_utf8(customer_id.to_vec()).ok()?,
            channel: Channel::ALL.into_iter().find(|known| number(*known) == *channel)?,
        })
    }

    /// Where the link leads, below the address at which people reach this API.
    pub fn url(&self, public_url: &str, key: &SecretString) -> String {
        format!("{public_url}/api/v1/unsubscribe/{}/", self.token(key))
    }
}

fn signer(key: &SecretString, said: &[u8]) -> Hmac<Sha256> {
    let mut signer = Hmac::new_from_slice(key.expose_secret().as_bytes()).expect("HMAC takes keys of every length");
    signer.update(CONTEXT);
    signer.update(said);
    signer
}

/// Channels as tokens write them; a number is never given to another channel.
fn number(channel: Channel) -> u8 {
    match channel {
        Channel::Email => 1,
        Channel::Whatsapp => 2,
        Channel::Push => 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> SecretString {
        text.into()
    }

    fn unsubscription(customer_id: &str) -> Unsubscription {
        Unsubscription {
            notification_id: Id::of_name("notification"),
            customer_id: customer_id.to_owned(),
            channel: Channel::Email,
        }
    }

    #[test]
    fn a_token_is_only_good_with_its_own_key() {
        let token = unsubscription("customer-001").token(&key("one"));
        assert_eq!(Unsubscription::read(&token, &key("one")), Some(unsubscription("customer-001")));
        assert_eq!(Unsubscription::read(&token, &key("two")), None);
        for wrong in ["", "x", "AAAA", &token[1..], &token[..token.len() - 1], &format!("{token}A"), "ñ"] {
            assert_eq!(Unsubscription::read(wrong, &key("one")), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_customer_is_called(customer_id in "\\PC{1,100}", channel in 0_usize..3) {
            let said = Unsubscription { channel: Channel::ALL[channel], ..unsubscription(&customer_id) };
            let url = said.url("https://avisos.example.com", &key("k"));
            let token = url.trim_end_matches('/').rsplit('/').next().expect("a token");
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            prop_assert_eq!(Unsubscription::read(token, &key("k")), Some(said));
        }

        #[test]
        fn no_byte_of_it_may_be_changed(position in 0_usize..60, bit in 0_u32..8) {
            let mut bytes = URL_SAFE_NO_PAD.decode(unsubscription("customer-001").token(&key("k"))).expect("base64url");
            let position = position % bytes.len();
            bytes[position] ^= 1 << bit;
            prop_assert_eq!(Unsubscription::read(&URL_SAFE_NO_PAD.encode(bytes), &key("k")), None);
        }
    }
}
