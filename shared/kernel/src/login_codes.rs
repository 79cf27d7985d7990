//! Codes that a login wants besides the password: time-based ones that a phone makes (RFC 6238), and some on paper for the day on
//! which the phone is lost.

use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use totp_rs::{Builder, Secret, Totp};
use url::Url;

use crate::api_keys::digest;
use crate::audit::{self, Act, Actor};
use crate::clock::Timestamp;
use crate::db::{Result, Session};
use crate::ids::Id;
use crate::sealed::{self, SealError};
use crate::sql;
use crate::users::User;

/// What phones call the installation.
const ISSUER: &str = "Recado";

/// Codes on paper.
const RECOVERY_CODES: usize = 10;

/// A secret that a phone is about to be given.
#[derive(Debug)]
pub struct Offer {
    /// Base32, for those who type it.
    pub secret: SecretString,
    /// `otpauth://…`, for those who scan it.
    pub url: SecretString,
}

/// Why no code can be set up or checked.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    #[error("SECRET_KEY is not set, so no secret can be kept")]
    NoKey,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Makes a secret for a person. It counts when [`confirm`] has seen a code of it; until then logins want what they wanted.
pub async fn offer(
    session: &mut Session,
    key: Option<&SecretString>,
    user: &User,
) -> std::result::Result<Offer, CodeError> {
    let mut bytes = [0_u8; 20];
    rand::rng().fill(&mut bytes);
    let secret: SecretString = Secret::new_stack(bytes).to_base32().into();
    let sealed = sealed::seal(key.ok_or(CodeError::NoKey)?, &owner(user.id), &secret)?;
    sql!(
        run,
        session,
        "update users set code_secret = $2, code_step = null where id = $1 and codes_since is null",
        user.id,
        sealed
    )?;
    Ok(Offer { url: url_of(&secret, &user.name), secret })
}

/// The secret that was offered and waits for its first code.
pub async fn offered(
    session: &mut Session,
    key: Option<&SecretString>,
    user: &User,
) -> std::result::Result<Option<Offer>, CodeError> {
    if user.has_codes {
        return Ok(None);
    }
    let Some((secret, _)) = kept(session, key, user.id).await? else { return Ok(None) };
    Ok(Some(Offer { url: url_of(&secret, &user.name), secret }))
}

/// Begins to want codes, if this is one of the secret that was offered. Returns the codes for paper, which are shown once.
pub async fn confirm(
    session: &mut Session,
    key: Option<&SecretString>,
    user: &User,
    code: &str,
    actor: &Actor,
    now: Timestamp,
) -> std::result::Result<Option<Vec<SecretString>>, CodeError> {
    if user.has_codes || !is_current(session, key, user.id, code, now).await? {
        return Ok(None);
    }
    sql!(run, session, "update users set codes_since = $2 where id = $1", user.id, now)?;
    sql!(run, session, "delete from user_recovery_codes where user_id = $1", user.id)?;
    let codes: Vec<SecretString> = (0..RECOVERY_CODES).map(|_| random_code()).collect();
    for code in &codes {
        let digest = digest_of(user.id, code.expose_secret());
        sql!(run, session, "insert into user_recovery_codes (user_id, digest) values ($1, $2)", user.id, digest)?;
    }
    audit::write(session, actor, &Act::new("want_codes", "user", &user.name), now).await?;
    Ok(Some(codes))
}

/// Whether a code lets a person in, who has given the right password. Each is good once, those of a phone and those on paper.
pub async fn admits(
    session: &mut Session,
    key: Option<&SecretString>,
    user: Id,
    code: &str,
    now: Timestamp,
) -> std::result::Result<bool, CodeError> {
    if is_current(session, key, user, code, now).await? {
        return Ok(true);
    }
    let digest = digest_of(user, code);
    let used = sql!(run, session, "delete from user_recovery_codes where user_id = $1 and digest = $2", user, digest)?;
    Ok(used > 0)
}

/// Wants no codes any more.
pub async fn forget(session: &mut Session, user: &User, actor: &Actor, now: Timestamp) -> Result<bool> {
    let had = sql!(
        run,
        session,
        "update users set code_secret = null, codes_since = null, code_step = null where id = $1 and code_secret is not null",
        user.id
    )?;
    sql!(run, session, "delete from user_recovery_codes where user_id = $1", user.id)?;
    if had > 0 && user.has_codes {
        audit::write(session, actor, &Act::new("forget_codes", "user", &user.name), now).await?;
    }
    Ok(had > 0)
}

/// How many codes on paper are left.
pub async fn recovery_codes_left(session: &mut Session, user: Id) -> Result<i64> {
    let left: Option<(i64,)> =
        sql!(one(i64,), session, "select count(*) from user_recovery_codes where user_id = $1", user)?;
    Ok(left.map_or(0, |(left,)| left))
}

/// Whether the phone shows this code now, or half a minute before or after. It is used up with it (RFC 6238, 5.2).
async fn is_current(
    session: &mut Session,
    key: Option<&SecretString>,
    user: Id,
    code: &str,
    now: Timestamp,
) -> std::result::Result<bool, CodeError> {
    let Some((secret, last)) = kept(session, key, user).await? else { return Ok(false) };
    let seconds = u64::try_from(now.as_micros() / 1_000_000).unwrap_or_default();
    let Some(step) = totp(&secret).and_then(|totp| totp.check(&plain(code), seconds)) else { return Ok(false) };
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    if last.is_some_and(|last| step <= last) {
        return Ok(false);
    }
    // Of two logins with one code at the same moment, one finds it used.
    let used = sql!(
        run,
        session,
        "update users set code_step = $2 where id = $1 and (code_step is null or code_step < $2)",
        user,
        step
    )?;
    Ok(used > 0)
}

async fn kept(
    session: &mut Session,
    key: Option<&SecretString>,
    user: Id,
) -> std::result::Result<Option<(SecretString, Option<i64>)>, CodeError> {
    let found: Option<(Option<String>, Option<i64>)> = sql!(
        one(Option<String>, Option<i64>),
        session,
        "select code_secret, code_step from users where id = $1 and disabled_at is null",
        user
    )?;
    let Some((Some(sealed), step)) = found else { return Ok(None) };
    let secret = sealed::open(key.ok_or(CodeError::NoKey)?, &owner(user), &sealed)?;
    Ok(Some((secret, step)))
}

fn owner(user: Id) -> String {
    format!("login codes of {user}")
}

fn totp(secret: &SecretString) -> Option<Totp> {
    let secret = Secret::try_from_base32(secret.expose_secret()).ok()?;
    // SHA-1, six digits and 30 s: what all phones know.
    Builder::new().with_secret(secret).build().ok()
}

fn url_of(secret: &SecretString, name: &str) -> SecretString {
    let mut url = Url::parse("otpauth://totp/").expect("a constant");
    url.set_path(&format!("{ISSUER}:{name}"));
    url.query_pairs_mut().append_pair("secret", secret.expose_secret()).append_pair("issuer", ISSUER);
    String::from(url).into()
}

/// `abcd-efgh-jkmn-pqrs`: 80 bits in letters and digits that are not taken for each other.
fn random_code() -> SecretString {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let mut bytes = [0_u8; 16];
    rand::rng().fill(&mut bytes);
    let letters: Vec<char> = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    letters.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join("-").into()
}

/// A code without what people put between its characters.
fn plain(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|one| one.to_ascii_lowercase()).collect()
}

/// Kept in a code's place. It has 80 random bits, so no guess is cheap, and the person's id in it, so no table is.
fn digest_of(user: Id, code: &str) -> String {
    digest(&format!("{user} {}", plain(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, for SHA-1: the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret: SecretString = Secret::from(*b"12345678901234567890").to_base32().into();
        let totp = totp(&secret).expect("a secret of 160 bits");
        for (at, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(totp.check(code, at), Some(at / 30), "{at}");
            assert_eq!(totp.check(code, at + 30), Some(at / 30), "the phone is slow: {at}");
            assert_eq!(totp.check(code, at + 90), None, "{at}");
        }
    }

    #[test]
    fn codes_for_paper_are_read_as_people_type_them() {
        let code = random_code();
        assert_eq!(code.expose_secret().len(), 19);
        let typed = code.expose_secret().to_uppercase().replace('-', " ");
        let user = Id::new(Timestamp::from_micros(0));
        assert_eq!(digest_of(user, &typed), digest_of(user, code.expose_secret()));
    }

    #[test]
    fn a_phone_is_told_what_to_call_it() {
        let url = url_of(&"ABC".to_owned().into(), "ana@example.com");
        assert_eq!(url.expose_secret(), "otpauth://totp/Recado:ana@example.com?secret=ABC&issuer=Recado");
    }
}
