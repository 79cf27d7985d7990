//! SMTP servers and Evolution instances besides the one of the environment: a workshop's own, or further ones for all.

use recado_kernel::addresses::Mailbox;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::channels::Channel;
use crate::customers::LONGEST_CUSTOMER_ID;
use recado_kernel::clock::Timestamp;
use recado_kernel::config::{EmailBackend, EmailSecurity, EmailSettings, WhatsappSettings};
use recado_kernel::db::{Result, Session};
use recado_kernel::fields::check_text;
use recado_kernel::ids::Id;
use recado_kernel::outbound::{OutboundError, check_host, check_url};
use recado_kernel::sealed::{self, SealError};
use recado_kernel::sql;
use recado_kernel::word_enum;

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
    /// The password or API key in clear.
    ///
    /// # Errors
    /// When it was sealed with another `SECRET_KEY`, or none is set now.
    pub fn open_secret(&self, key: Option<&SecretString>) -> std::result::Result<Option<SecretString>, SealError> {
        let Some(secret) = &self.secret else { return Ok(None) };
        sealed::open(key.ok_or(SealError::Foreign)?, &self.id.to_string(), secret).map(Some)
    }
}

/// Whatever is no secret. Which fields there are depends on the channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ProviderAccountSettings)]
#[serde(default)]
pub struct Settings {
    /// Email: name or address of the SMTP server.
    #[schema(max_length = 253, examples("smtp.example.com"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Email: its port; 465 with `tls`, 25 with `plain`, else 587 when left out.
    #[schema(minimum = 1, maximum = 65535, examples(587))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Email: how the conversation is encrypted; `starttls` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Email: SMTP user; the password is `secret`.
    #[schema(max_length = 200, examples("avisos@taller.example.com"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Email: sender of mails whose workshop has none of its own; DEFAULT_FROM_EMAIL when left out.
    #[schema(max_length = 320, examples("Taller Norte <avisos@taller.example.com>"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_email: Option<String>,
    /// WhatsApp: address of the Evolution API.
    #[schema(max_length = 2000, examples("https://evolution.example.com"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// WhatsApp: name of the instance; its API key is `secret`.
    #[schema(max_length = 200, examples("taller-norte"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// WhatsApp: messages per minute over all workers, 0 for no limit; WHATSAPP_RATE_PER_MINUTE when left out.
    #[schema(minimum = 0, maximum = 100000, examples(20))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_minute: Option<i32>,
    /// Seconds that one message may take; 30 for email and 100 for WhatsApp when left out.
    #[schema(minimum = 1, maximum = 300, examples(30))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i32>,
}

/// The longest that one message may take, in seconds; the schema above repeats it, because it takes literals only.
pub const LONGEST_TIMEOUT: i32 = 300;

/// How a conversation with an SMTP server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "lowercase", const_into_str)]
#[schema(rename_all = "lowercase")]
pub enum Security {
    /// It begins in clear and must be encrypted before anything is said.
    StartTls,
    /// From the first byte.
    Tls,
    /// Not at all.
    Plain,
}

word_enum!(Security, "a way to encrypt");

impl Settings {
    /// The settings of an SMTP server. `fallback_sender` is the sender where the account has none.
    pub fn email(&self, secret: Option<SecretString>, fallback_sender: Option<&str>) -> EmailSettings {
        let security = self.security.unwrap_or(Security::StartTls);
        let usual_port = match security {
            Security::StartTls => 587,
            Security::Tls => 465,
            Security::Plain => 25,
        };
        // Many SMTP users are addresses; one that is not comes out as a setting that cannot work.
        let from = self.from_email.as_deref().or(fallback_sender).or(self.user.as_deref()).unwrap_or_default();
        EmailSettings {
            backend: EmailBackend::Smtp,
            host: self.host.clone().unwrap_or_default(),
            port: self.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual_port),
            security: match security {
                Security::StartTls => EmailSecurity::StartTls,
                Security::Tls => EmailSecurity::ImplicitTls,
                Security::Plain => EmailSecurity::Plain,
            },
            user: self.user.clone(),
            password: secret,
            from: from.to_owned(),
            timeout: self.timeout_or(30),
            ca_file: None,
        }
    }

    /// The settings of an Evolution instance.
    pub fn whatsapp(&self, secret: Option<SecretString>) -> WhatsappSettings {
        WhatsappSettings {
            url: self.url.as_deref().unwrap_or_default().trim_end_matches('/').to_owned(),
            api_key: secret.unwrap_or_default(),
            instance: self.instance.clone().unwrap_or_default(),
            timeout: self.timeout_or(100),
        }
    }

    fn timeout_or(&self, usual: u64) -> Duration {
        Duration::from_secs(self.timeout.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(usual))
    }

    /// Where the account leads: whoever changes it has to know the secret.
    fn destination(&self) -> [Option<String>; 4] {
        let port = self.port.map(|port| port.to_string());
        let security = self.security.map(|security| format!("{security:?}"));
        [self.host.clone().or(self.url.clone()), port, security, self.user.clone()]
    }

    /// What is wrong with them for this channel; every error names its field.
    fn errors(&self, channel: Channel, allow_private: bool) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        let email = [
            ("settings.host", self.host.is_some(), true),
            ("settings.port", self.port.is_some(), false),
            ("settings.security", self.security.is_some(), false),
            ("settings.user", self.user.is_some(), false),
            ("settings.from_email", self.from_email.is_some(), false),
        ];
        let whatsapp = [
            ("settings.url", self.url.is_some(), true),
            ("settings.instance", self.instance.is_some(), true),
            ("settings.rate_per_minute", self.rate_per_minute.is_some(), false),
        ];
        for (of, fields) in [(Channel::Email, &email[..]), (Channel::Whatsapp, &whatsapp[..])] {
            for (field, is_there, is_needed) in fields {
                if of == channel && *is_needed && !is_there {
                    errors.push((*field, "Este campo es requerido.".to_owned()));
                }
                if of != channel && *is_there {
                    errors.push((*field, format!("No se usa en el canal {channel}; quítelo.")));
                }
            }
        }
        self.check_values(&mut errors, allow_private);
        errors
    }

    fn check_values(&self, errors: &mut Vec<(&'static str, String)>, allow_private: bool) {
        let texts = [
            ("settings.host", &self.host, 253),
            ("settings.user", &self.user, 200),
            ("settings.from_email", &self.from_email, 320),
            ("settings.url", &self.url, 2000),
            ("settings.instance", &self.instance, 200),
        ];
        for (field, value, longest) in texts {
            check_text(errors, field, value.as_deref(), longest);
            if value.as_deref().is_some_and(|value| value.trim().is_empty()) {
                errors.push((field, "Este campo no puede estar en blanco.".to_owned()));
            }
        }
        let numbers = [
            ("settings.port", self.port, 1..=65_535),
            ("settings.rate_per_minute", self.rate_per_minute, 0..=100_000),
            ("settings.timeout", self.timeout, 1..=LONGEST_TIMEOUT),
        ];
        for (field, value, range) in numbers {
            if value.is_some_and(|value| !range.contains(&value)) {
                errors.push((field, format!("Debe estar entre {} y {}.", range.start(), range.end())));
            }
        }
        check_sender(errors, "settings.from_email", self.from_email.as_deref());
        let host = self.host.as_deref().map(|host| check_host(host, allow_private));
        let url = self.url.as_deref().map(|url| check_url(url, allow_private).map(drop));
        for (field, checked) in [("settings.host", host), ("settings.url", url)] {
            if let Some(Err(error)) = checked {
                errors.push((field, explain(&error).to_owned()));
            }
        }
    }
}

fn explain(error: &OutboundError) -> &'static str {
    match error {
        OutboundError::NotAUrl => "No es una dirección válida; escriba por ejemplo https://evolution.example.com.",
        OutboundError::NotHttps => "La URL debe empezar con https://.",
        OutboundError::Credentials => "La URL no puede llevar usuario ni contraseña; use `secret`.",
        OutboundError::NotPublic => {
            "La dirección no es pública; use una que lo sea, o active OUTBOUND_ALLOW_PRIVATE_NETWORKS."
        }
        OutboundError::Forbidden => "A esta dirección no se conecta nunca.",
    }
}

/// What becomes of the secret. It is never read back, so whoever leaves it out keeps it.
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
    /// Whatever is no secret; which fields there are depends on the channel.
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
    pub fn errors(&self, before: Option<&ProviderAccount>, allow_private: bool) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        if self.channel == Channel::Push {
            errors.push(("channel", "Use: email, whatsapp. Las claves VAPID se configuran en el entorno.".to_owned()));
            return errors;
        }
        check_text(&mut errors, "taller_id", self.taller_id.as_deref(), LONGEST_CUSTOMER_ID);
        check_text(&mut errors, "name", Some(&self.name), 100);
        if self.name.trim().is_empty() {
            errors.push(("name", "Este campo no puede estar en blanco.".to_owned()));
        }
        if self.name == ENVIRONMENT {
            errors.push(("name", format!("`{ENVIRONMENT}` es el nombre de la cuenta del entorno; elija otro.")));
        }
        if !(1..=1000).contains(&self.priority) {
            errors.push(("priority", "Debe estar entre 1 y 1000.".to_owned()));
        }
        errors.extend(self.settings.errors(self.channel, allow_private));
        errors.extend(self.secret_error(before).map(|error| ("secret", error.to_owned())));
        errors
    }

    fn secret_error(&self, before: Option<&ProviderAccount>) -> Option<&'static str> {
        let kept = before.is_some_and(|before| before.secret.is_some()) && matches!(self.secret, NewSecret::Keep);
        let moved = before.is_some_and(|before| {
            before.channel != self.channel || before.settings.destination() != self.settings.destination()
        });
        let has_one = kept || matches!(self.secret, NewSecret::Set(_));
        if kept && moved {
            // Or else whoever may write here could have the secret sent to a server of their own.
            return Some("Escríbalo de nuevo (o null): cambió el servidor o el usuario al que se envía.");
        }
        if !has_one && self.channel == Channel::Whatsapp {
            return Some("Este campo es requerido: la clave (apikey) de Evolution.");
        }
        let needs_password = self.channel == Channel::Email && self.settings.user.is_some();
        (!has_one && needs_password).then_some("Este campo es requerido: la contraseña de settings.user.")
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
    let (taller, channel) = (filter.taller_id.as_deref(), filter.channel);
    let count: Option<(i64,)> = sql!(
        one(i64,),
        session,
        "select count(*) from provider_accounts where (taller_id = $1 or $2) and (channel = $3 or $4)",
        taller,
        taller.is_none(),
        channel,
        channel.is_none()
    )?;
    let accounts = sql!(all ProviderAccount, session,
        (&format!("select {COLUMNS} from provider_accounts where (taller_id = $1 or $2) and (channel = $3 or $4)
         order by channel, coalesce(taller_id, ''), priority, name limit $5 offset $6")),
        taller, taller.is_none(), channel, channel.is_none(), limit, offset
    )?;
    Ok((accounts, count.map_or(0, |(count,)| count)))
}

/// Those that messages may leave through, in the order in which they are tried.
pub async fn enabled(session: &mut Session) -> Result<Vec<ProviderAccount>> {
    sql!(all ProviderAccount, session,
        (&format!("select {COLUMNS} from provider_accounts where is_enabled = $1 order by priority, name limit $2")), true, MOST_ACCOUNTS)
}

/// Writes a new account. A name that is taken violates `provider_accounts_name_key`. `sealed` was sealed for `id`.
pub async fn insert(
    session: &mut Session,
    id: Id,
    draft: &ProviderAccountDraft,
    sealed: Option<&str>,
    now: Timestamp,
) -> Result<Option<ProviderAccount>> {
    touch(session).await?;
    sql!(one ProviderAccount, session,
        (&format!("insert into provider_accounts (id, taller_id, channel, name, priority, is_enabled, settings, secret, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) returning {COLUMNS}")),
        id, draft.taller_id.as_deref(), draft.channel, draft.name.as_str(), draft.priority, draft.is_enabled,
        Json(&draft.settings), sealed, now
    )
}

/// Writes an account anew; `None` when it is gone.
pub async fn replace(
    session: &mut Session,
    id: Id,
    draft: &ProviderAccountDraft,
    sealed: Option<&str>,
    now: Timestamp,
) -> Result<Option<ProviderAccount>> {
    touch(session).await?;
    sql!(one ProviderAccount, session,
        (&format!("update provider_accounts set taller_id = $2, channel = $3, name = $4, priority = $5, is_enabled = $6, settings = $7,
             secret = $8, updated_at = $9
         where id = $1 returning {COLUMNS}")),
        id, draft.taller_id.as_deref(), draft.channel, draft.name.as_str(), draft.priority, draft.is_enabled,
        Json(&draft.settings), sealed, now
    )
}

pub async fn delete(session: &mut Session, id: Id) -> Result<bool> {
    touch(session).await?;
    Ok(sql!(run, session, "delete from provider_accounts where id = $1", id)? > 0)
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

/// A sender of mails is an address, or a name and an address.
pub(crate) fn check_sender(errors: &mut Vec<(&'static str, String)>, field: &'static str, sender: Option<&str>) {
    if sender.is_some_and(|sender| sender.parse::<Mailbox>().is_err()) {
        let remedy = "No es un remitente; escriba una dirección, o nombre y dirección: Taller <taller@example.com>.";
        errors.push((field, remedy.to_owned()));
    }
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

    #[test]
    fn the_port_follows_the_security() {
        let port = |security, port| Settings { security, port, ..Settings::default() }.email(None, None).port;
        assert_eq!(port(None, None), 587);
        assert_eq!(port(Some(Security::Tls), None), 465);
        assert_eq!(port(Some(Security::Plain), None), 25);
        assert_eq!(port(Some(Security::Plain), Some(1025)), 1025);
    }
}
