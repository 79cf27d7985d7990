//! Secrets of other services that we have to know in clear, e.g. the password of a mail server, as the database keeps them.
//!
//! AES-256-GCM (NIST SP 800-38D) with a key that is derived from `SECRET_KEY`. A sealed text is bound to what it belongs to,
//! so that a person who can write to the database cannot move it to another row and have it sent to their own server.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use secrecy::{ExposeSecret, SecretString};

/// Begins every sealed text, so that another way of sealing could be told apart.
const VERSION: &str = "v1.";

/// The context in which the key is derived: another use of `SECRET_KEY` derives another key.
const CONTEXT: &[u8] = b"recado/sealed/v1";

const NONCE_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;

/// Why a sealed text is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it was sealed with another SECRET_KEY, or altered")]
    Foreign,
    #[error("OpenSSL cannot seal on this machine")]
    Unusable,
}

impl From<ErrorStack> for SealError {
    fn from(_: ErrorStack) -> Self {
        Self::Unusable
    }
}

/// Seals `secret` for `owner`: `v1.` and base64url of nonce, ciphertext and tag.
///
/// # Errors
/// When OpenSSL has no AES-256-GCM or no randomness.
pub fn seal(key: &SecretString, owner: &str, secret: &SecretString) -> Result<String, SealError> {
    // Random nonces of 96 bits are safe for some 2^32 secrets under one key (SP 800-38D, section 8.3).
    let mut sealed = vec![0; NONCE_LENGTH];
    openssl::rand::rand_bytes(&mut sealed)?;
    let mut tag = [0; TAG_LENGTH];
    let plain = secret.expose_secret().as_bytes();
    let hidden = encrypt_aead(Cipher::aes_256_gcm(), &derive(key)?, Some(&sealed), owner.as_bytes(), plain, &mut tag)?;
    sealed.extend(hidden);
    sealed.extend(tag);
    Ok(format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(sealed)))
}

/// Opens what [`seal`] made for the same owner.
///
/// # Errors
/// [`SealError::Foreign`] when the key or the owner is another, or the text was altered.
pub fn open(key: &SecretString, owner: &str, sealed: &str) -> Result<SecretString, SealError> {
    let bytes = sealed.strip_prefix(VERSION).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let bytes = bytes.filter(|bytes| bytes.len() >= NONCE_LENGTH + TAG_LENGTH).ok_or(SealError::Foreign)?;
    let (nonce, rest) = bytes.split_at(NONCE_LENGTH);
    let (hidden, tag) = rest.split_at(rest.len() - TAG_LENGTH);
    let plain = decrypt_aead(Cipher::aes_256_gcm(), &derive(key)?, Some(nonce), owner.as_bytes(), hidden, tag)
        .map_err(|_| SealError::Foreign)?;
    String::from_utf8(plain).map(Into::into).map_err(|_| SealError::Foreign)
}

/// HMAC-SHA256 of the context under `SECRET_KEY`: 256 bits for a key of any length (RFC 5869, section 2.2).
fn derive(key: &SecretString) -> Result<Vec<u8>, ErrorStack> {
    let key = PKey::hmac(key.expose_secret().as_bytes())?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.update(CONTEXT)?;
    signer.sign_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(letter: &str) -> SecretString {
        letter.repeat(32).into()
    }

    #[test]
    fn only_the_same_key_opens_for_the_same_owner() {
        for plain in ["", "clave ñ", &"x".repeat(10_000)] {
            let secret: SecretString = plain.to_owned().into();
            let sealed = seal(&key("a"), "account-1", &secret).expect("sealed");
            assert!(plain.is_empty() || !sealed.contains(plain));
            assert_eq!(open(&key("a"), "account-1", &sealed).expect("opened").expose_secret(), plain);
            assert_eq!(open(&key("b"), "account-1", &sealed).map(drop), Err(SealError::Foreign));
            assert_eq!(open(&key("a"), "account-2", &sealed).map(drop), Err(SealError::Foreign));
        }
    }

    #[test]
    fn the_same_secret_never_looks_the_same_and_nothing_may_be_altered() {
        let secret: SecretString = "clave".to_owned().into();
        let sealed = seal(&key("a"), "1", &secret).expect("sealed");
        assert_ne!(sealed, seal(&key("a"), "1", &secret).expect("sealed"));
        let mut bytes = URL_SAFE_NO_PAD.decode(&sealed[VERSION.len()..]).expect("base64url");
        for position in 0..bytes.len() {
            bytes[position] ^= 1;
            let altered = format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(&bytes));
            assert_eq!(open(&key("a"), "1", &altered).map(drop), Err(SealError::Foreign), "byte {position}");
            bytes[position] ^= 1;
        }
        for wrong in ["", "v1.", "v1.AAAA", "v2.AAAA", "v1.ñ"] {
            assert_eq!(open(&key("a"), "1", wrong).map(drop), Err(SealError::Foreign), "{wrong}");
        }
    }
}
