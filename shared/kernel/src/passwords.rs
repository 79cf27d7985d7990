//! Passwords of people: Argon2id (RFC 9106), never in clear.
//!
//! A hash takes 19 MiB and some tens of milliseconds on purpose. So it runs on threads that may block, and only a few at a time:
//! a flood of logins costs a bounded amount of memory, and waits.

use std::sync::LazyLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

/// The fewest characters of a password (NIST SP 800-63B-4, section 3.1.1.2, for one that stands beside no second factor).
pub const SHORTEST: usize = 15;

/// The most, so that hashing stays cheap.
pub const LONGEST: usize = 256;

/// Hashes that are worked out at once.
static PLACES: Semaphore = Semaphore::const_new(2);

/// Of a password that no one knows: a name that does not exist takes as long as one that does.
static NO_ONES: LazyLock<String> = LazyLock::new(|| hash_now(&crate::users::random_token()));

/// What is wrong with a password that a person chose; `None` when it will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    Short,
    Long,
    /// It is the person's name, or one character again and again.
    Simple,
}

/// Judges a password by its length, as today's guidance does: no rules about digits and signs.
pub fn weakness(password: &str, name: &str) -> Option<Weakness> {
    let length = password.chars().count();
    let first = password.chars().next();
    if length < SHORTEST {
        Some(Weakness::Short)
    } else if length > LONGEST {
        Some(Weakness::Long)
    } else if password.to_lowercase().contains(&name.to_lowercase()) || password.chars().all(|one| Some(one) == first) {
        Some(Weakness::Simple)
    } else {
        None
    }
}

/// The hash to keep, as a PHC string.
pub async fn hash(password: SecretString) -> String {
    in_turn(move || hash_now(&password)).await
}

/// Whether the password belongs to this hash. `None` is a person who has none, or who does not exist: it takes as long.
pub async fn verify(password: SecretString, hash: Option<String>) -> bool {
    in_turn(move || {
        let known = hash.is_some();
        let text = hash.unwrap_or_else(|| NO_ONES.clone());
        let Ok(hash) = PasswordHash::new(&text) else { return false };
        let fits = argon2().verify_password(password.expose_secret().as_bytes(), &hash).is_ok();
        fits && known
    })
    .await
}

async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let _place = PLACES.acquire().await.expect("the semaphore is never closed");
    tokio::task::spawn_blocking(work).await.expect("hashing does not panic")
}

fn hash_now(password: &SecretString) -> String {
    let mut salt = [0_u8; 16];
    rand::rng().fill(&mut salt);
    let hash: PasswordHash = argon2()
        .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
        .expect("a salt of 16 bytes and the usual parameters are valid");
    hash.to_string()
}

/// 19 MiB, two passes, one lane: the first choice of OWASP's Password Storage Cheat Sheet.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let kept = hash("correct horse battery".into()).await;
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(verify("correct horse battery".into(), Some(kept.clone())).await);
        assert!(!verify("correct horse batterz".into(), Some(kept)).await);
        assert!(!verify("correct horse battery".into(), None).await);
        assert!(!verify("anything".into(), Some("no hash".to_owned())).await);
    }

    #[test]
    fn length_is_what_counts() {
        assert_eq!(weakness("short", "ana"), Some(Weakness::Short));
        assert_eq!(weakness("aaaaaaaaaaaaaaaa", "ana"), Some(Weakness::Simple));
        assert_eq!(weakness("my name is Ana and", "ana"), Some(Weakness::Simple));
        assert_eq!(weakness(&"ab".repeat(200), "ana"), Some(Weakness::Long));
        assert_eq!(weakness("a sentence that I remember", "lucia"), None);
    }
}
