//! Keys of the API: shown once, kept as a digest.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use crate::audit::{self, Act, Actor};
use crate::clock::Timestamp;
use crate::db::{Result, Session};
use crate::fields::{Wrong, blank, check_text};
use crate::ids::Id;
use crate::language::Sentence;
use crate::sql;
use crate::word_enum;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(rename_all = "snake_case")]
pub enum Scope {
    /// Send: events, and the subscriptions of browsers.
    Dispatch,
    /// Only the subscriptions of browsers: for a key that a browser holds. `dispatch` includes it.
    Subscribe,
    /// Look. Addresses of people are masked.
    Read,
    /// See addresses of people in full, in what may be looked at.
    Contacts,
    /// All of these, and change what others see: templates, the matrix, customers, keys.
    Admin,
}

word_enum!(Scope, "a scope");

/// The scopes of one key. A row and a table of the command line hold them as words with blanks between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(pub Vec<Scope>);

impl Scopes {
    /// Whether they include this one. `admin` includes all, and `dispatch` includes `subscribe`.
    pub fn allow(&self, scope: Scope) -> bool {
        let included = |own: &Scope| {
            *own == scope || *own == Scope::Admin || (*own == Scope::Dispatch && scope == Scope::Subscribe)
        };
        self.0.iter().any(included)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<String> for Scopes {
    /// A word that only a newer version knows allows nothing here.
    fn from(words: String) -> Self {
        Self(words.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }
}

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct ApiKey {
    pub id: Id,
    pub name: String,
    /// The first characters, by which a person recognises it.
    pub prefix: String,
    #[sqlx(try_from = "String")]
    pub scopes: Scopes,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// What is stored in a key's place: SHA-256, hexadecimal.
pub fn digest(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

/// Makes a key of 256 random bits. The caller sees it now and never again.
pub async fn create(
    session: &mut Session,
    name: &str,
    scopes: &Scopes,
    actor: &Actor,
    now: Timestamp,
) -> Result<(Id, SecretString)> {
    let mut bytes = [0_u8; 32];
    rand::rng().fill(&mut bytes);
    let key = format!("rk_{}", URL_SAFE_NO_PAD.encode(bytes));
    let id = Id::new(now);
    sql!(
        run,
        session,
        "insert into api_keys (id, name, prefix, digest, scopes, created_at) values ($1, $2, $3, $4, $5, $6)",
        id,
        name,
        &key[..10],
        digest(&key),
        scopes.to_string(),
        now
    )?;
    let made = json!({ "name": name, "prefix": &key[..10], "scopes": scopes.0 });
    audit::write(session, actor, &Act::new("create", "api_key", id).made(made), now).await?;
    Ok((id, key.into()))
}

/// What staff write about a new key.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(as = ApiKeyWrite)]
pub struct KeyDraft {
    /// Who will use it.
    #[schema(max_length = 100, examples("crm"))]
    pub name: String,
    /// What it may do: `dispatch` (send), `subscribe` (browsers only), `read` (look), `contacts` (see addresses in full), `admin`
    /// (all of these, and change settings).
    #[schema(min_items = 1, examples(json!(["dispatch", "read"])))]
    pub scopes: Vec<Scope>,
}

impl KeyDraft {
    /// What is wrong with it; every error names its field.
    pub fn errors(&self) -> Wrong {
        let mut errors = Wrong::new();
        if self.name.trim().is_empty() {
            errors.push(("name", blank()));
        }
        check_text(&mut errors, "name", Some(&self.name), 100);
        if self.scopes.is_empty() {
            let scopes = Scope::WORDS.join(", ");
            let none = Sentence::new(
                format!("Indique al menos un permiso: {scopes}."),
                format!("Choose at least one permission: {scopes}."),
            );
            errors.push(("scopes", none));
        }
        errors
    }
}

/// A page of all keys, oldest first, and how many there are.
pub async fn page(session: &mut Session, limit: i64, offset: i64) -> Result<(Vec<ApiKey>, i64)> {
    let count: Option<(i64,)> = sql!(one(i64,), session, "select count(*) from api_keys")?;
    let keys = sql!(all ApiKey, session,
        "select id, name, prefix, scopes, created_at, last_used_at, revoked_at from api_keys
         order by created_at, id limit $1 offset $2",
        limit, offset
    )?;
    Ok((keys, count.map_or(0, |(count,)| count)))
}

pub async fn list(session: &mut Session) -> Result<Vec<ApiKey>> {
    sql!(all ApiKey, session,
        "select id, name, prefix, scopes, created_at, last_used_at, revoked_at from api_keys order by created_at, id")
}

/// The key that was revoked; `None`: no key in force has this id or prefix.
pub async fn revoke(session: &mut Session, reference: &str, actor: &Actor, now: Timestamp) -> Result<Option<ApiKey>> {
    let id: Option<Id> = reference.parse().ok();
    let revoked: Option<ApiKey> = sql!(one ApiKey, session,
        "update api_keys set revoked_at = $3 where (id = $1 or prefix = $2) and revoked_at is null
         returning id, name, prefix, scopes, created_at, last_used_at, revoked_at",
        id, reference, now
    )?;
    if let Some(key) = &revoked {
        let act = Act::new("revoke", "api_key", key.id).changed(json!({ "name": key.name }), json!({}));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(revoked)
}

/// The key in force with this text. It is found by its digest, so timing tells nothing about the key itself.
pub async fn find(session: &mut Session, key: &str) -> Result<Option<ApiKey>> {
    sql!(one ApiKey, session,
        "select id, name, prefix, scopes, created_at, last_used_at, revoked_at from api_keys
         where digest = $1 and revoked_at is null",
        digest(key)
    )
}

/// Remembers that a key was used.
pub async fn touch(session: &mut Session, id: Id, now: Timestamp) -> Result<()> {
    sql!(run, session, "update api_keys set last_used_at = $2 where id = $1", id, now)?;
    Ok(())
}

/// Whether any key is in force.
pub async fn any(session: &mut Session) -> Result<bool> {
    let found: Option<(i32,)> = sql!(one(i32,), session, "select 1 from api_keys where revoked_at is null limit 1")?;
    Ok(found.is_some())
}

/// Compares a text with each secret in constant time.
pub fn is_one_of(secrets: &[SecretString], text: &str) -> bool {
    secrets
        .iter()
        .fold(false, |found, secret| found | bool::from(secret.expose_secret().as_bytes().ct_eq(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_includes_the_other_scopes() {
        let allow = |words: &str, scope| Scopes::from(words.to_owned()).allow(scope);
        assert!(allow("dispatch read", Scope::Read));
        assert!(allow("admin", Scope::Dispatch) && allow("admin", Scope::Admin));
        assert!(!allow("dispatch", Scope::Read));
        assert!(allow("dispatch", Scope::Subscribe) && allow("subscribe", Scope::Subscribe));
        assert!(!allow("subscribe", Scope::Dispatch) && !allow("read", Scope::Subscribe));
        assert!(allow("read contacts", Scope::Contacts) && allow("admin", Scope::Contacts));
        assert!(!allow("read dispatch", Scope::Contacts) && !allow("contacts", Scope::Read));
        assert!(!allow("", Scope::Read));
        assert!(!allow("readers", Scope::Read));
    }
}
