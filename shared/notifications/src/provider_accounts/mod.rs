//! SMTP servers and Evolution instances besides the one of the environment: a workshop's own, or further ones for all.

mod settings;

use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::types::Json;
use utoipa::ToSchema;

pub use self::settings::{LONGEST_TIMEOUT, Security, Settings};
pub(crate) use self::settings::{as_it_travels, check_sender};
use crate::channels::Channel;
use crate::customers::LONGEST_CUSTOMER_ID;
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::config::Config;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::{Result, Session};
use recado_kernel::fields::{Wrong, between, blank, check_text};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sealed::{self, SealError};
use recado_kernel::sql;

/// The name under which the account of the environment stands in attempts; no other may bear it.
pub const ENVIRONMENT: &str = "env";

/// The most accounts that a worker keeps in memory; those with the lowest priority numbers come first.
pub const MOST_ACCOUNTS: i64 = 10_000;

/// An account as the database has it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ProviderAccount {
    pub id: Id,
    /// `None`: for every workshop that has none of its own on this channel.
    pub taller_id: Option<String>,
    pub channel: Channel,
    /// Unique; attempts name the account by it.
    pub name: String,
    /// 1 is tried first.
    pub priority: i32,
    pub is_enabled: bool,
    pub settings: Json<Settings>,
    /// Sealed for the account's id ([`sealed::seal`]).
    pub secret: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl ProviderAccount {
    fn leads_where_the_environment_does(&self, config: &Config) -> bool {
        let settings = &self.settings.0;
        match self.channel {
            Channel::Email => config.email.as_ref().is_some_and(|email| {
                settings.host.as_ref() == Some(&email.host) && settings.port == Some(email.port.into())
            }),
            Channel::Whatsapp => config.whatsapp.as_ref().is_some_and(|whatsapp| {
                settings.url.as_ref().is_some_and(|url| url.trim_end_matches('/') == whatsapp.url)
            }),
            Channel::Push => false,
        }
    }

    /// The password or API key in clear.
    ///
    /// # Errors
    /// When it was sealed with another `SECRET_KEY`, or none is set now.
    pub fn open_secret(&self, key: Option<&SecretString>) -> std::result::Result<Option<SecretString>, SealError> {
        let Some(secret) = &self.secret else { return Ok(None) };
        sealed::open(key.ok_or(SealError::Foreign)?, &self.id.to_string(), secret).map(Some)
    }
}

/// What becomes of the secret. It is never read back, so leaving it out keeps it.
#[derive(Clone, Debug, Default)]
pub enum NewSecret {
    #[default]
    Keep,
    Remove,
    Set(SecretString),
}

/// What staff write about an account.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = ProviderAccountWrite)]
pub struct ProviderAccountDraft {
    /// Whose account it is; null for every workshop that has none of its own on this channel.
    #[schema(max_length = 100, examples("quito-norte"))]
    pub taller_id: Option<String>,
    /// `email` or `whatsapp`; pushes have the VAPID keys of the environment only.
    pub channel: Channel,
    /// Unique name, by which attempts tell which account was used.
    #[schema(max_length = 100, examples("smtp-norte"))]
    pub name: String,
    /// 1 is tried first.
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    pub priority: i32,
    /// False: it is left alone.
    #[schema(default = true)]
    pub is_enabled: bool,
    /// What is no secret; which fields there are depends on the channel.
    #[schema(inline = false)]
    pub settings: Settings,
    /// Password of the SMTP user, or API key of Evolution. It is never read back: left out it stays, null removes it.
    #[schema(value_type = Option<String>, write_only, max_length = 1000)]
    pub secret: NewSecret,
}

impl Default for ProviderAccountDraft {
    fn default() -> Self {
        Self {
            taller_id: None,
            channel: Channel::Email,
            name: String::new(),
            priority: 1,
            is_enabled: true,
            settings: Settings::default(),
            secret: NewSecret::Keep,
        }
    }
}

impl ProviderAccountDraft {
    /// What is wrong with it; every error names its field. `before` is the account that it replaces, and `allow_private` is
    /// `OUTBOUND_ALLOW_PRIVATE_NETWORKS`.
    pub fn errors(&self, before: Option<&ProviderAccount>, allow_private: bool) -> Wrong {
        let mut errors = Wrong::new();
        if self.channel == Channel::Push {
            let wrong = Sentence::new(
                "Use: email, whatsapp. Las claves VAPID se configuran en el entorno.",
                "Use: email, whatsapp. VAPID keys are set in the environment.",
            );
            errors.push(("channel", wrong));
            return errors;
        }
        check_text(&mut errors, "taller_id", self.taller_id.as_deref(), LONGEST_CUSTOMER_ID);
        check_text(&mut errors, "name", Some(&self.name), 100);
        if self.name.trim().is_empty() {
            errors.push(("name", blank()));
        }
        if self.name == ENVIRONMENT {
            let wrong = Sentence::new(
                format!("`{ENVIRONMENT}` es el nombre de la cuenta del entorno; elija otro."),
                format!("`{ENVIRONMENT}` is the name of the account of the environment; choose another."),
            );
            errors.push(("name", wrong));
        }
        if !(1..=1000).contains(&self.priority) {
            errors.push(("priority", between(1, 1000)));
        }
        errors.extend(self.settings.errors(self.channel, allow_private));
        errors.extend(self.secret_error(before).map(|error| ("secret", error)));
        errors
    }

    fn secret_error(&self, before: Option<&ProviderAccount>) -> Option<Sentence> {
        let kept = before.is_some_and(|before| before.secret.is_some()) && matches!(self.secret, NewSecret::Keep);
        let moved = before.is_some_and(|before| {
            before.channel != self.channel || before.settings.destination() != self.settings.destination()
        });
        let has_one = kept || matches!(self.secret, NewSecret::Set(_));
        if kept && moved {
            // Otherwise a caller who may write here could have the secret sent to their own server.
            return Some(Sentence::new(
                "Escríbalo de nuevo (o null): cambió el servidor o el usuario al que se envía.",
                "Write it again (or null): the server or the user that it is sent to has changed.",
            ));
        }
        if !has_one && self.channel == Channel::Whatsapp {
            return Some(Sentence::new(
                "Este campo es requerido: la clave (apikey) de Evolution.",
                "This field is required: the key (apikey) of Evolution.",
            ));
        }
        let needs_password = self.channel == Channel::Email && self.settings.user.is_some();
        (!has_one && needs_password).then(|| {
            Sentence::new(
                "Este campo es requerido: la contraseña de settings.user.",
                "This field is required: the password of settings.user.",
            )
        })
    }
}

/// Why the secret of an account cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The installation has no `SECRET_KEY`.
    #[error("SECRET_KEY is not set")]
    NoKey,
    #[error("a secret could not be sealed")]
    Seal(#[source] SealError),
}

impl ProviderAccountDraft {
    /// The secret of the account `id` as the database shall keep it, after this draft.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn sealed_secret(
        &self,
        id: Id,
        before: Option<&ProviderAccount>,
        key: Option<&SecretString>,
    ) -> std::result::Result<Option<String>, SecretError> {
        let secret = match &self.secret {
            NewSecret::Keep => return Ok(before.and_then(|before| before.secret.clone())),
            NewSecret::Remove => return Ok(None),
            NewSecret::Set(secret) => secret,
        };
        let sealed = sealed::seal(key.ok_or(SecretError::NoKey)?, &id.to_string(), secret);
        sealed.map(Some).map_err(SecretError::Seal)
    }
}

impl From<&ProviderAccount> for ProviderAccountDraft {
    fn from(account: &ProviderAccount) -> Self {
        Self {
            taller_id: account.taller_id.clone(),
            channel: account.channel,
            name: account.name.clone(),
            priority: account.priority,
            is_enabled: account.is_enabled,
            settings: account.settings.0.clone(),
            secret: NewSecret::Keep,
        }
    }
}

/// Which accounts to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct ProviderAccountFilter {
    pub taller_id: Option<String>,
    pub channel: Option<Channel>,
}

/// The columns of a [`ProviderAccount`], by name: a star would break the prepared statements of running processes when a newer
/// version adds one.
const COLUMNS: &str = "id, taller_id, channel, name, priority, is_enabled, settings, secret, created_at, updated_at";

pub async fn find(session: &mut Session, id: Id) -> Result<Option<ProviderAccount>> {
    sql!(one ProviderAccount, session, (&format!("select {COLUMNS} from provider_accounts where id = $1")), id)
}

/// The account, held until the end of the transaction, so that two changes of it do not lose each other.
pub async fn lock(session: &mut Session, id: Id) -> Result<Option<ProviderAccount>> {
    sql!(one ProviderAccount, session, (&format!("select {COLUMNS} from provider_accounts where id = $1 for update")), id)
}

/// The account of this name, switched on or off.
pub async fn named(session: &mut Session, name: &str) -> Result<Option<ProviderAccount>> {
    sql!(one ProviderAccount, session, (&format!("select {COLUMNS} from provider_accounts where name = $1")), name)
}

/// A page of the accounts that fit, in the order in which they are tried, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &ProviderAccountFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<ProviderAccount>, i64)> {
    let mut asked = Filter::default();
    asked.equal("taller_id", filter.taller_id.as_deref());
    asked.equal("channel", filter.channel.map(Channel::as_str));
    let list = List {
        select: &format!("select {COLUMNS} from provider_accounts"),
        from: "provider_accounts",
        key: "id",
        order: &["channel", "coalesce(taller_id, '')", "priority", "name"],
        descending: false,
    };
    list.page(session, &asked, limit, offset).await
}

/// Those that messages may leave through, in the order in which they are tried.
pub async fn enabled(session: &mut Session) -> Result<Vec<ProviderAccount>> {
    sql!(all ProviderAccount, session,
        (&format!("select {COLUMNS} from provider_accounts where is_enabled = $1 order by priority, name limit $2")), true, MOST_ACCOUNTS)
}

/// Whether one of them leads elsewhere than the environment's own provider does, which the caller knows to be a stand-in.
pub async fn lead_out(session: &mut Session, config: &Config) -> Result<bool> {
    Ok(enabled(session).await?.iter().any(|account| !account.leads_where_the_environment_does(config)))
}

/// Writes a new account. A name that is taken violates `provider_accounts_name_key`. `sealed` was sealed for `id`.
pub async fn insert(
    session: &mut Session,
    id: Id,
    draft: &ProviderAccountDraft,
    sealed: Option<&str>,
    actor: &Actor,
    now: Timestamp,
) -> Result<ProviderAccount> {
    touch(session).await?;
    let made = sql!(one ProviderAccount, session,
        (&format!("insert into provider_accounts (id, taller_id, channel, name, priority, is_enabled, settings, secret, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) returning {COLUMNS}")),
        id, draft.taller_id.as_deref(), draft.channel, draft.name.as_str(), draft.priority, draft.is_enabled,
        Json(&draft.settings), sealed, now
    )?;
    let made: ProviderAccount = made.ok_or(sqlx::Error::RowNotFound)?;
    audit::write(session, actor, &Act::new("create", "provider_account", id).made(facts(&made)), now).await?;
    Ok(made)
}

/// Replaces an account that is locked. `sealed` was sealed for its id.
pub async fn replace(
    session: &mut Session,
    account: &ProviderAccount,
    draft: &ProviderAccountDraft,
    sealed: Option<&str>,
    actor: &Actor,
    now: Timestamp,
) -> Result<ProviderAccount> {
    touch(session).await?;
    let written = sql!(one ProviderAccount, session,
        (&format!("update provider_accounts set taller_id = $2, channel = $3, name = $4, priority = $5, is_enabled = $6, settings = $7,
             secret = $8, updated_at = $9
         where id = $1 returning {COLUMNS}")),
        account.id, draft.taller_id.as_deref(), draft.channel, draft.name.as_str(), draft.priority, draft.is_enabled,
        Json(&draft.settings), sealed, now
    )?;
    let written: ProviderAccount = written.ok_or(sqlx::Error::RowNotFound)?;
    let (before, mut after) = (facts(account), facts(&written));
    if account.secret != written.secret {
        after["secret"] = json!(if written.secret.is_some() { "written" } else { "removed" });
    }
    let act = Act::new("change", "provider_account", account.id).changed(before, after);
    audit::write(session, actor, &act, now).await?;
    Ok(written)
}

/// Deletes an account; what it was, if there was one.
pub async fn delete(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<Option<ProviderAccount>> {
    touch(session).await?;
    let deleted = sql!(one ProviderAccount, session,
        (&format!("delete from provider_accounts where id = $1 returning {COLUMNS}")), id)?;
    let deleted: Option<ProviderAccount> = deleted;
    if let Some(account) = &deleted {
        let act = Act::new("delete", "provider_account", id).changed(facts(account), json!({}));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(deleted)
}

/// What the audit log keeps of an account: never its secret. Its mailboxes are the installation's and of no person.
fn facts(account: &ProviderAccount) -> Value {
    json!({
        "name": account.name, "channel": account.channel, "taller_id": account.taller_id, "priority": account.priority,
        "is_enabled": account.is_enabled, "settings": account.settings.0, "secret": account.secret.as_ref().map(|_| "kept"),
    })
}

/// Counts every write to accounts and workshops, so that a worker sees with one number whether its copy is old.
pub async fn version(session: &mut Session) -> Result<i64> {
    let version: Option<(i64,)> = sql!(one(i64,), session, "select version from provider_version")?;
    Ok(version.map_or(0, |(version,)| version))
}

/// To be called in every transaction that changes accounts, or what workers know of workshops.
pub(crate) async fn touch(session: &mut Session) -> Result<()> {
    sql!(run, session, "update provider_version set version = version + 1")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email() -> ProviderAccountDraft {
        let settings = Settings { host: Some("smtp.example.com".into()), ..Settings::default() };
        ProviderAccountDraft { name: "norte".into(), settings, ..ProviderAccountDraft::default() }
    }

    fn whatsapp() -> ProviderAccountDraft {
        let settings = Settings {
            url: Some("https://evolution.example.com/".into()),
            instance: Some("norte".into()),
            ..Settings::default()
        };
        let secret = NewSecret::Set("key".to_owned().into());
        ProviderAccountDraft { channel: Channel::Whatsapp, name: "norte".into(), settings, secret, ..email() }
    }

    fn fields(draft: &ProviderAccountDraft) -> Vec<&'static str> {
        draft.errors(None, false).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn every_wrong_field_is_named() {
        assert!(fields(&email()).is_empty() && fields(&whatsapp()).is_empty());
        let of = |change: fn(&mut ProviderAccountDraft), mut draft: ProviderAccountDraft| {
            change(&mut draft);
            fields(&draft)
        };
        assert_eq!(of(|draft| draft.channel = Channel::Push, email()), ["channel"]);
        assert_eq!(of(|draft| draft.name = ENVIRONMENT.into(), email()), ["name"]);
        assert_eq!(of(|draft| draft.priority = 0, email()), ["priority"]);
        assert_eq!(of(|draft| draft.settings.host = None, email()), ["settings.host"]);
        assert_eq!(of(|draft| draft.settings.host = Some("127.0.0.1".into()), email()), ["settings.host"]);
        assert_eq!(of(|draft| draft.settings.host = Some("a b".into()), email()), ["settings.host"]);
        assert_eq!(of(|draft| draft.settings.port = Some(70_000), email()), ["settings.port"]);
        assert_eq!(of(|draft| draft.settings.from_email = Some("taller".into()), email()), ["settings.from_email"]);
        assert_eq!(of(|draft| draft.settings.user = Some("taller".into()), email()), ["secret"]);
        assert_eq!(of(|draft| draft.settings.instance = Some("norte".into()), email()), ["settings.instance"]);
        assert_eq!(of(|draft| draft.secret = NewSecret::Keep, whatsapp()), ["secret"]);
        for url in ["http://evolution.example.com", "https://169.254.169.254/", "https://u:p@example.com", "evolution"]
        {
            let mut draft = whatsapp();
            draft.settings.url = Some(url.into());
            assert_eq!(fields(&draft), ["settings.url"], "{url}");
        }
    }

    #[test]
    fn a_secret_does_not_follow_to_another_server() {
        let epoch = Timestamp::from_micros(0);
        let draft = whatsapp();
        let before = ProviderAccount {
            id: Id::of_name("norte"),
            taller_id: None,
            channel: draft.channel,
            name: draft.name.clone(),
            priority: 1,
            is_enabled: true,
            settings: Json(draft.settings),
            secret: Some("v1.sealed".into()),
            created_at: epoch,
            updated_at: epoch,
        };
        let mut change = ProviderAccountDraft::from(&before);
        change.priority = 2;
        assert!(change.errors(Some(&before), false).is_empty());
        change.settings.url = Some("https://elsewhere.example.com".into());
        assert_eq!(change.errors(Some(&before), false).first().map(|(field, _)| *field), Some("secret"));
        change.secret = NewSecret::Set("key".to_owned().into());
        assert!(change.errors(Some(&before), false).is_empty());
    }
}
