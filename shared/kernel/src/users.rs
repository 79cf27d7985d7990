//! People who use the console, and what each may do.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use serde_json::json;
use utoipa::ToSchema;

use crate::api_keys::digest;
use crate::audit::{self, Act, Actor};
use crate::clock::Timestamp;
use crate::db::{Result, Session};
use crate::ids::Id;
use crate::{sql, word_enum};

/// How long a link with which a person sets her password is good for.
pub const LINK_LASTS: Duration = Duration::from_secs(24 * 60 * 60);

/// What a person may do. She may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = UserRole, rename_all = "snake_case")]
pub enum Role {
    /// Look. Addresses of people are masked.
    Viewer,
    /// Act on work: retry, cancel, pause.
    Operator,
    /// Change texts, the matrix, and what is kept of people.
    Editor,
    /// All of it, and users, keys, accounts.
    Admin,
}

word_enum!(Role, "a role");

/// The roles of one person. A row holds them as words with blanks between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(pub Vec<Role>);

impl Roles {
    /// Whether they include this one. `admin` includes all, and each includes `viewer`.
    pub fn include(&self, role: Role) -> bool {
        self.0.iter().any(|own| *own == role || *own == Role::Admin || role == Role::Viewer)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" "))
    }
}

impl Serialize for Roles {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<String> for Roles {
    /// A word that only a newer version knows allows nothing here.
    fn from(words: String) -> Self {
        Self(words.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }
}

/// A person, without her password.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct User {
    pub id: Id,
    pub name: String,
    #[sqlx(try_from = "String")]
    pub roles: Roles,
    pub has_password: bool,
    /// A login wants a code besides the password.
    pub has_codes: bool,
    /// `es` or `en`; `None`: as the browser asks.
    pub language: Option<String>,
    /// `light` or `dark`; `None`: as the system has it.
    pub theme: Option<String>,
    /// Times are shown in UTC.
    pub utc: bool,
    pub created_at: Timestamp,
    pub logged_in_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
}

/// The columns of a [`User`].
pub(crate) const COLUMNS: &str = "users.id, users.name, users.roles, users.password is not null as has_password, \
     users.codes_since is not null as has_codes, users.language, users.theme, users.utc, users.created_at, users.logged_in_at, users.disabled_at";

/// 256 random bits, as text for a cookie or a URL.
pub fn random_token() -> SecretString {
    let mut bytes = [0_u8; 32];
    rand::rng().fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes).into()
}

/// A name as it is kept and compared: without blanks around it, in lower case.
pub fn normal(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Whether a name can be one: 2 to 100 characters without blanks.
pub fn is_name(name: &str) -> bool {
    (2..=100).contains(&name.chars().count()) && !name.chars().any(|one| one.is_whitespace() || one.is_control())
}

/// Makes a person, who has no password yet. `None`: there is one of that name already.
pub async fn create(
    session: &mut Session,
    name: &str,
    roles: &Roles,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Id>> {
    let (id, name) = (Id::new(now), normal(name));
    let made = sql!(
        run,
        session,
        "insert into users (id, name, roles, utc, created_at) values ($1, $2, $3, false, $4) on conflict do nothing",
        id,
        name.as_str(),
        roles.to_string(),
        now
    )?;
    if made == 0 {
        return Ok(None);
    }
    audit::write(session, actor, &Act::new("create", "user", &name).made(json!({ "roles": roles })), now).await?;
    Ok(Some(id))
}

/// What became of a change of what a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Done,
    /// It was so already.
    AlreadySo,
    /// Without this person there would be no administrator who can log in.
    LastAdmin,
}

/// Gives a person other roles.
pub async fn set_roles(
    session: &mut Session,
    user: &User,
    roles: &Roles,
    actor: &Actor,
    now: Timestamp,
) -> Result<Changed> {
    if user.roles == *roles {
        return Ok(Changed::AlreadySo);
    }
    if !roles.0.contains(&Role::Admin) && is_last_admin(session, user).await? {
        return Ok(Changed::LastAdmin);
    }
    sql!(run, session, "update users set roles = $2 where id = $1", user.id, roles.to_string())?;
    let act = Act::new("change", "user", &user.name);
    let act = act.changed(json!({ "roles": user.roles }), json!({ "roles": roles }));
    audit::write(session, actor, &act, now).await?;
    Ok(Changed::Done)
}

/// Whether this is the only administrator who may log in. All administrators are held until the end of the transaction, so that
/// two do not dismiss each other.
async fn is_last_admin(session: &mut Session, user: &User) -> Result<bool> {
    let people: Vec<(Id, String)> =
        sql!(all(Id, String), session, "select id, roles from users where disabled_at is null order by id for update")?;
    let mut admins = people.into_iter().filter(|(_, roles)| Roles::from(roles.clone()).0.contains(&Role::Admin));
    Ok(admins.next().is_some_and(|(id, _)| id == user.id) && admins.next().is_none())
}

pub async fn list(session: &mut Session) -> Result<Vec<User>> {
    sql!(all User, session, (&format!("select {COLUMNS} from users order by name")))
}

pub async fn find(session: &mut Session, id: Id) -> Result<Option<User>> {
    sql!(one User, session, (&format!("select {COLUMNS} from users where id = $1")), id)
}

pub async fn find_by_name(session: &mut Session, name: &str) -> Result<Option<User>> {
    sql!(one User, session, (&format!("select {COLUMNS} from users where name = $1")), normal(name))
}

/// The hash of the password of a person who may log in.
pub async fn password_of(session: &mut Session, id: Id) -> Result<Option<String>> {
    let found: Option<(Option<String>,)> =
        sql!(one(Option<String>), session, "select password from users where id = $1 and disabled_at is null", id)?;
    Ok(found.and_then(|(password,)| password))
}

/// Makes a link; earlier ones of this person open nothing any more. What is returned stands at its end, and is shown once.
pub async fn make_link(session: &mut Session, user: Id, now: Timestamp) -> Result<SecretString> {
    let token = random_token();
    sql!(run, session, "delete from user_links where user_id = $1 or expires_at < $2", user, now)?;
    sql!(
        run,
        session,
        "insert into user_links (digest, user_id, created_at, expires_at) values ($1, $2, $3, $4)",
        digest(token.expose_secret()),
        user,
        now,
        now + LINK_LASTS
    )?;
    Ok(token)
}

/// Makes a link for a person who has forgotten her password.
pub async fn reset(session: &mut Session, user: &User, actor: &Actor, now: Timestamp) -> Result<SecretString> {
    audit::write(session, actor, &Act::new("reset", "user", &user.name), now).await?;
    make_link(session, user.id, now).await
}

/// Whose link it is, as long as it is good.
pub async fn of_link(session: &mut Session, token: &str, now: Timestamp) -> Result<Option<User>> {
    sql!(one User, session,
        (&format!("select {COLUMNS} from users join user_links on user_links.user_id = users.id
                   where user_links.digest = $1 and user_links.expires_at > $2 and users.disabled_at is null")),
        digest(token), now
    )
}

/// Uses a link up. False: somebody else was faster.
pub async fn use_link(session: &mut Session, token: &str, now: Timestamp) -> Result<bool> {
    let used = sql!(run, session, "delete from user_links where digest = $1 and expires_at > $2", digest(token), now)?;
    Ok(used > 0)
}

/// Sets a password, as its hash.
pub async fn set_password(session: &mut Session, user: Id, hash: &str) -> Result<()> {
    sql!(run, session, "update users set password = $2 where id = $1", user, hash)?;
    Ok(())
}

/// How a person wants to see the console.
pub async fn set_choices(
    session: &mut Session,
    user: Id,
    language: Option<&str>,
    theme: Option<&str>,
    utc: bool,
) -> Result<()> {
    sql!(
        run,
        session,
        "update users set language = $2, theme = $3, utc = $4 where id = $1",
        user,
        language,
        theme,
        utc
    )?;
    Ok(())
}

/// Lets a person in no more, or again. Her links and sessions end with it.
pub async fn set_disabled(
    session: &mut Session,
    user: &User,
    disabled: bool,
    actor: &Actor,
    now: Timestamp,
) -> Result<Changed> {
    if disabled && is_last_admin(session, user).await? {
        return Ok(Changed::LastAdmin);
    }
    let at = disabled.then_some(now);
    let changed = sql!(
        run,
        session,
        "update users set disabled_at = $2 where id = $1 and (disabled_at is null) = $3",
        user.id,
        at,
        disabled
    )?;
    if changed == 0 {
        return Ok(Changed::AlreadySo);
    }
    if disabled {
        sql!(run, session, "delete from user_links where user_id = $1", user.id)?;
        sql!(run, session, "delete from sessions where user_id = $1", user.id)?;
    }
    let action = if disabled { "disable" } else { "enable" };
    audit::write(session, actor, &Act::new(action, "user", &user.name), now).await?;
    Ok(Changed::Done)
}

/// Whether there is anybody who may log in.
pub async fn any(session: &mut Session) -> Result<bool> {
    let found: Option<(i32,)> = sql!(one(i32,), session, "select 1 from users where disabled_at is null limit 1")?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_includes_all_and_all_may_look() {
        let include = |words: &str, role| Roles::from(words.to_owned()).include(role);
        for word in Role::WORDS {
            assert!(include(word, Role::Viewer) && include("admin", word.parse().expect("a role")), "{word}");
        }
        assert!(include("operator editor", Role::Editor) && !include("operator", Role::Editor));
        assert!(!include("viewer", Role::Operator) && !include("editor operator", Role::Admin));
        assert!(!include("", Role::Viewer) && !include("admins", Role::Viewer));
    }

    #[test]
    fn a_name_has_no_blanks() {
        assert_eq!(normal("  Ana@Example.com "), "ana@example.com");
        assert!(is_name("op-1") && is_name("ana@example.com"));
        assert!(!is_name("a") && !is_name("ana maría") && !is_name("a\u{7}b") && !is_name(&"x".repeat(101)));
    }
}
