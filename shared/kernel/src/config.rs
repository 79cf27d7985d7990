//! Configuration: environment variables, read once, at the start. [`VARIABLES`] documents every one of them.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::retry::RetryPolicy;

/// A variable of the environment: its name, the default as one would write it, and what it is for.
pub struct Variable {
    pub name: &'static str,
    pub default: &'static str,
    pub meaning: &'static str,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, default, meaning }
}

/// Every variable that Recado reads. `.env.example` is this table, and a test keeps it so.
pub const VARIABLES: &[Variable] = &[
    variable("RECADO_HOME", ".recado", "Folder of the embedded database and of generated keys."),
    variable(
        "DATABASE_URL",
        "",
        "postgresql://user:pass@host:port/name, or sqlite://path. Default: a SQLite file in RECADO_HOME.",
    ),
    variable(
        "SQLALCHEMY_DATABASE_URI",
        "",
        "The same under the name that partner services use; DATABASE_URL comes first.",
    ),
    variable(
        "REDIS_URL",
        "",
        "redis://user:pass@host:port/db (or rediss://). Unset: the queue lives in the process; only `recado up` may run then.",
    ),
    variable(
        "LISTEN",
        "127.0.0.1:8000",
        "Where the API listens. Several addresses may stand there, separated by commas.",
    ),
    variable(
        "METRICS_LISTEN",
        "",
        "Where worker and scheduler serve GET /metrics and GET /health, e.g. 127.0.0.1:9100.",
    ),
    variable("TIME_ZONE", "America/Guayaquil", "Time zone of the workshops: schedules, and dates in messages."),
    variable("LOG_FORMAT", "text", "text for people, json for machines. RUST_LOG chooses what is logged."),
    variable(
        "RUST_LOG",
        "",
        "What is logged, e.g. info,recado_worker=debug. Default: info for processes, warn for commands.",
    ),
    variable("DEBUG", "false", "true opens the API without a key and says so loudly. Never in production."),
    variable("ALLOW_ANONYMOUS_API", "false", "true opens /api/v1 without a key."),
    variable(
        "API_KEYS",
        "",
        "Keys accepted as `Authorization: Bearer <key>`, separated by commas; at least 16 characters each. More with `recado api-key create`.",
    ),
    variable(
        "PUBLIC_URL",
        "",
        "This API as people's mail programs reach it, e.g. https://avisos.example.com. With SECRET_KEY, mails carry a way to unsubscribe.",
    ),
    variable(
        "INTERNAL_API_SECRET_KEY",
        "",
        "Value of the header X-Internal-Secret on /api/internal/v1; 16 characters or more. Two, separated by a comma, while you rotate.",
    ),
    variable(
        "SECRET_KEY",
        "",
        "Seals the secrets of provider accounts and signs links; 32 characters or more, the same in every process. Default: one is made in RECADO_HOME/secret.key, which only this host has.",
    ),
    variable(
        "API_RATE_LIMIT_PER_MINUTE",
        "600000",
        "Requests per minute of each caller to /api/v1, per API process; who sends more gets 429. 0: no limit. Callers without a key are told apart by their address, and those on loopback are not limited.",
    ),
    variable(
        "EMAIL_BACKEND",
        "smtp",
        "smtp, or file: every mail becomes an .eml file in RECADO_HOME/mail. Django's names of both are understood.",
    ),
    variable("EMAIL_HOST", "", "SMTP server. Unset: the channel email is not configured and falls back at once."),
    variable("EMAIL_PORT", "587", "465 for implicit TLS, 587 for STARTTLS, 25 or 1025 for plain."),
    variable("EMAIL_USE_TLS", "", "true for STARTTLS. Default: true on port 587."),
    variable("EMAIL_USE_SSL", "", "true for implicit TLS. Default: true on port 465."),
    variable("EMAIL_HOST_USER", "", "SMTP user."),
    variable("EMAIL_HOST_PASSWORD", "", "SMTP password."),
    variable("EMAIL_TIMEOUT", "30", "Seconds that one mail may take."),
    variable("EMAIL_SSL_CAFILE", "", "PEM file with a certificate authority to trust besides the system's."),
    variable("DEFAULT_FROM_EMAIL", "", "Sender, e.g. \"Ambacar <taller@example.com>\"."),
    variable(
        "EVOLUTION_API_URL",
        "",
        "URL of the Evolution API. Unset: the channel whatsapp is not configured and falls back at once.",
    ),
    variable("EVOLUTION_API_KEY", "", "Its API key (header apikey)."),
    variable("EVOLUTION_INSTANCE", "", "Name of the WhatsApp instance."),
    variable(
        "EVOLUTION_WEBHOOK_TOKEN",
        "",
        "What Evolution shows when it posts receipts to /api/v1/webhooks/evolution/: header X-Webhook-Token, or ?token=.",
    ),
    variable(
        "EVOLUTION_WEBHOOK_JWT_KEY",
        "",
        "The jwt_key of Evolution's webhook instead: receipts must then carry its token (HS256) as a bearer.",
    ),
    variable("EVOLUTION_TIMEOUT", "100", "Seconds that one WhatsApp message may take."),
    variable(
        "WHATSAPP_RATE_PER_MINUTE",
        "20",
        "Messages per minute and instance over all workers, so that WhatsApp does not ban the number. 0: no limit.",
    ),
    variable(
        "RECIPIENT_THROTTLE_PER_HOUR",
        "0",
        "Messages that one customer gets within an hour; what is more waits its turn. Critical events pass. 0: no limit.",
    ),
    variable(
        "VAPID_PUBLIC_KEY",
        "",
        "Web Push key, as `recado vapid-keys` or `npx web-push generate-vapid-keys` print it.",
    ),
    variable("VAPID_PRIVATE_KEY", "", "Its private half."),
    variable("VAPID_CONTACT_EMAIL", "", "Whom a push service may write to about our pushes."),
    variable("PUSH_TIMEOUT", "15", "Seconds that one push may take, per device."),
    variable("FRONTEND_URL", "", "Address of the web application: what a click on a push opens."),
    variable("NOTIFICATION_MAX_ATTEMPTS", "3", "Attempts per channel before the person's next channel is tried."),
    variable(
        "NOTIFICATION_RETRY_BASE_SECONDS",
        "60",
        "Delay after the first failed attempt; it doubles, with 20 % jitter. Fractions are allowed.",
    ),
    variable(
        "UNKNOWN_OUTCOME_WINDOW_SECONDS",
        "60",
        "How long a send without an answer is looked up at the provider before it counts as failed.",
    ),
    variable(
        "DISPATCH_UNKNOWN_CUSTOMER",
        "reject",
        "Event for an unknown customer: reject (400), defer (try again after 2, 4 and 8 s) or create (from the context).",
    ),
    variable("TEMPLATE_STRICT_CASE", "false", "true: {{Nombre}} and the context's nombre are different variables."),
    variable("DEFAULT_COUNTRY", "EC", "Country of phone numbers that are written without a country code."),
    variable(
        "OUTBOUND_ALLOW_PRIVATE_NETWORKS",
        "false",
        "true lets push endpoints and webhooks be loopback or private addresses.",
    ),
    variable(
        "WEBHOOK_RETRY_SCHEDULE",
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        "Seconds between the attempts of a webhook, separated by commas; fractions are allowed. The first attempt is made at once, so n numbers are n + 1 attempts. Each moves by up to 20 %.",
    ),
    variable(
        "CRM_WEBHOOK_TOKEN",
        "",
        "What a CRM shows when it posts presences to /api/webhook-presencia-crm/ (header X-CRM-Webhook-Token). Two, separated by a comma, while you rotate. Unset: all are refused.",
    ),
    variable(
        "COMERCIAL_WEBHOOK_URL",
        "",
        "Where presences of the CRM are sent, e.g. https://app.example.com/api/webhook-presencia-crm/. Unset: none is sent.",
    ),
    variable("COMERCIAL_WEBHOOK_TOKEN", "", "Its token (header X-CRM-Webhook-Token)."),
    variable(
        "COMERCIAL_WEBHOOK_SECRET",
        "",
        "whsec_…, for the signature headers of these webhooks. Default: one that is derived from the token.",
    ),
    variable("CRM_TIME_ZONE", "America/Lima", "Time zone of the CRM, for times that are written without one."),
    variable(
        "PARTNER_REQUIRE_KYC",
        "false",
        "true: no webhook goes out to a partner until its verification is APROBADO.",
    ),
    variable("WEBHOOK_RETENTION_DAYS", "30", "Age at which bodies and answers of webhooks are deleted."),
    variable("WORKER_CONCURRENCY", "32", "Jobs that a worker runs at once, per lane."),
    variable(
        "WORKER_LEASE_SECONDS",
        "30",
        "How long a worker may be silent before its jobs are given to another; the heartbeat is a third of it.",
    ),
    variable(
        "WORKER_DRAIN_SECONDS",
        "25",
        "How long a stopping worker lets its jobs finish before it hands them back.",
    ),
    variable("DATABASE_MAX_CONNECTIONS", "10", "Connections per process on PostgreSQL."),
    variable(
        "NOTIFICATION_RETENTION_DAYS",
        "180",
        "Age at which the weekly cleanup deletes finished notifications and their attempts.",
    ),
    variable(
        "TASK_RETENTION_DAYS",
        "7",
        "Age at which finished tasks are deleted; their status is 404 from then on. Dead ones stay four times as long.",
    ),
];

/// The fewest characters that `SECRET_KEY` should have.
pub const SHORTEST_SECRET_KEY: usize = 32;

/// The fewest characters of a key or secret by which callers get in; a shorter one can be guessed.
const SHORTEST_CREDENTIAL: usize = 16;

/// Everything that the environment decides.
#[derive(Clone, Debug)]
pub struct Config {
    pub home: PathBuf,
    pub database_url: SecretString,
    pub database_max_connections: u32,
    /// `None`: the queue is in this process.
    pub redis_url: Option<SecretString>,
    pub listen: Vec<SocketAddr>,
    pub metrics_listen: Option<SocketAddr>,
    /// Logs are JSON, for machines.
    pub log_json: bool,
    pub time_zone: chrono_tz::Tz,
    pub access: Access,
    /// Seals what is secret in the database, and signs links. [`SHORTEST_SECRET_KEY`] characters, or it can be guessed.
    pub secret_key: Option<SecretString>,
    /// Requests per minute and caller; 0 is no limit.
    pub api_rate_limit_per_minute: u32,
    /// Where people reach this API, without a slash at its end.
    pub public_url: Option<String>,
    pub email: Option<EmailSettings>,
    /// Sender of mails that leave through a provider account without one of its own.
    pub default_from: Option<String>,
    pub whatsapp: Option<WhatsappSettings>,
    pub push: Option<PushSettings>,
    /// Messages per minute and instance; 0 is no limit.
    pub whatsapp_rate_per_minute: u32,
    /// Messages to one customer within an hour; 0 is no limit.
    pub recipient_throttle_per_hour: u32,
    pub frontend_url: Option<String>,
    pub retry: RetryPolicy,
    pub unknown_outcome_window: Duration,
    pub unknown_customer: UnknownCustomer,
    pub template_strict_case: bool,
    /// ISO 3166 code.
    pub default_country: String,
    pub allow_private_networks: bool,
    /// Waits between the attempts of a webhook.
    pub webhook_retry_schedule: Vec<Duration>,
    pub webhook_retention: Duration,
    /// Nothing goes out to a partner until it is verified.
    pub partner_require_kyc: bool,
    pub crm: CrmSettings,
    pub worker: WorkerSettings,
    pub notification_retention: Duration,
    pub task_retention: Duration,
}

/// Who may call.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `/api/v1` is open without a key.
    pub anonymous: bool,
    pub api_keys: Vec<SecretString>,
    /// Values of `X-Internal-Secret` that are accepted. Empty: every request is refused.
    pub internal_secrets: Vec<SecretString>,
    /// What Evolution's webhooks must show: a token of this key, or else the next one. Neither: all are refused, unless the
    /// whole API is open.
    pub evolution_jwt_key: Option<SecretString>,
    pub evolution_token: Option<SecretString>,
}

#[derive(Clone, Debug)]
pub struct EmailSettings {
    pub backend: EmailBackend,
    pub host: String,
    pub port: u16,
    pub security: EmailSecurity,
    pub user: Option<String>,
    pub password: Option<SecretString>,
    /// A mailbox, `Name <address>` or only the address.
    pub from: String,
    pub timeout: Duration,
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmailBackend {
    Smtp,
    /// Each mail becomes a file in this folder.
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailSecurity {
    Plain,
    StartTls,
    ImplicitTls,
}

#[derive(Clone, Debug)]
pub struct WhatsappSettings {
    /// Base URL without a slash at its end.
    pub url: String,
    pub api_key: SecretString,
    pub instance: String,
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct PushSettings {
    /// The uncompressed P-256 point, base64url without padding.
    pub public_key: String,
    /// The 32-byte scalar, base64url without padding.
    pub private_key: SecretString,
    /// `mailto:` or `https:` (RFC 8292, section 2.1).
    pub subject: String,
    /// Per device.
    pub timeout: Duration,
}

/// A CRM and the application that gets its presences; Recado may play either end (seed 004).
#[derive(Clone, Debug)]
pub struct CrmSettings {
    /// Tokens by which a CRM gets in. Empty: none does.
    pub tokens: Vec<SecretString>,
    /// Where presences are sent. `None`: nowhere, because one of its variables is not set.
    pub commercial: Option<CommercialSettings>,
    /// Of times that are written without a zone.
    pub time_zone: chrono_tz::Tz,
}

#[derive(Clone, Debug)]
pub struct CommercialSettings {
    pub url: String,
    pub token: SecretString,
    /// `None`: one is derived from the token.
    pub secret: Option<SecretString>,
}

/// What becomes of an event for a customer whom we do not know (d14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownCustomer {
    Reject,
    Defer,
    Create,
}

#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Jobs at once, per lane.
    pub concurrency: usize,
    pub lease: Duration,
    pub drain: Duration,
}

/// Every variable that is wrong, each with the remedy.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has errors:\n{}", .0.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    pub(crate) fn in_dotenv(error: &dyn fmt::Display) -> Self {
        let remedy = r#"quote values that hold blanks, e.g. DEFAULT_FROM_EMAIL="Ambacar <taller@example.com>""#;
        Self(vec![format!("the file .env cannot be read: {error}; {remedy}")])
    }
}

impl Config {
    /// Reads the environment of this process.
    pub fn from_env() -> Result<Self, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads variables from wherever `get` finds them, and reports all that are wrong at once.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut env = Environment { get: &get, problems: Vec::new() };
        let home: PathBuf = env.text("RECADO_HOME").into();
        let config = Self {
            database_url: database_url(&env, &home),
            database_max_connections: env.number("DATABASE_MAX_CONNECTIONS", 1, 1000),
            redis_url: env.optional("REDIS_URL").map(Into::into),
            listen: env.list("LISTEN").iter().filter_map(|address| env.address("LISTEN", address)).collect(),
            metrics_listen: env.optional("METRICS_LISTEN").and_then(|address| env.address("METRICS_LISTEN", &address)),
            log_json: log_json(&mut env),
            time_zone: env.parse("TIME_ZONE", "name a zone of the IANA database, e.g. America/Guayaquil"),
            access: access(&mut env),
            secret_key: secret_key(&env),
            api_rate_limit_per_minute: env.number("API_RATE_LIMIT_PER_MINUTE", 0, 100_000_000),
            public_url: public_url(&mut env),
            email: email(&mut env, &home),
            default_from: env.optional("DEFAULT_FROM_EMAIL"),
            whatsapp: whatsapp(&mut env),
            push: push(&mut env),
            whatsapp_rate_per_minute: env.number("WHATSAPP_RATE_PER_MINUTE", 0, 100_000),
            recipient_throttle_per_hour: env.number("RECIPIENT_THROTTLE_PER_HOUR", 0, 100_000),
            frontend_url: env.optional("FRONTEND_URL"),
            retry: RetryPolicy {
                max_attempts: env.number("NOTIFICATION_MAX_ATTEMPTS", 1, 20),
                base: env.seconds("NOTIFICATION_RETRY_BASE_SECONDS", 0.001),
            },
            unknown_outcome_window: env.seconds("UNKNOWN_OUTCOME_WINDOW_SECONDS", 0.0),
            unknown_customer: unknown_customer(&mut env),
            template_strict_case: env.flag("TEMPLATE_STRICT_CASE"),
            default_country: env.text("DEFAULT_COUNTRY"),
            allow_private_networks: env.flag("OUTBOUND_ALLOW_PRIVATE_NETWORKS"),
            webhook_retry_schedule: webhook_retry_schedule(&mut env),
            webhook_retention: env.days("WEBHOOK_RETENTION_DAYS"),
            partner_require_kyc: env.flag("PARTNER_REQUIRE_KYC"),
            crm: crm(&mut env),
            worker: WorkerSettings {
                concurrency: env.number("WORKER_CONCURRENCY", 1, 10_000) as usize,
                lease: env.seconds("WORKER_LEASE_SECONDS", 0.3),
                drain: env.seconds("WORKER_DRAIN_SECONDS", 0.0),
            },
            notification_retention: env.days("NOTIFICATION_RETENTION_DAYS"),
            task_retention: env.days("TASK_RETENTION_DAYS"),
            home,
        };
        if config.listen.is_empty() && env.problems.is_empty() {
            env.problem("LISTEN", "", "write host:port");
        }
        if env.problems.is_empty() { Ok(config) } else { Err(ConfigError(env.problems)) }
    }

    /// The same for tests and for the embedded default: only what `pairs` says, defaults for the rest.
    pub fn from_pairs<const N: usize>(pairs: [(&str, &str); N]) -> Result<Self, ConfigError> {
        Self::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    /// Secrets that can be guessed, by their variables, with the remedy. They work, because what was in use before must go
    /// on working; the operator is told at every start.
    pub fn weak_secrets(&self) -> Vec<String> {
        let is_short = |secret: &SecretString, shortest| secret.expose_secret().len() < shortest;
        let internal = self.access.internal_secrets.iter().any(|secret| is_short(secret, SHORTEST_CREDENTIAL));
        let sealing = self.secret_key.as_ref().is_some_and(|key| is_short(key, SHORTEST_SECRET_KEY));
        let weak =
            [("INTERNAL_API_SECRET_KEY", internal, SHORTEST_CREDENTIAL), ("SECRET_KEY", sealing, SHORTEST_SECRET_KEY)];
        let weak = weak.into_iter().filter(|(_, is_weak, _)| *is_weak);
        weak.map(|(name, _, shortest)| {
            format!(
                "{name} has fewer than {shortest} characters and can be guessed; make one with `openssl rand -hex 32`"
            )
        })
        .collect()
    }

    /// Whether the database is the embedded one.
    pub fn is_embedded(&self) -> bool {
        self.database_url.expose_secret().starts_with("sqlite:")
    }
}

fn log_json(env: &mut Environment) -> bool {
    match env.text("LOG_FORMAT").as_str() {
        "text" => false,
        "json" => true,
        other => {
            env.problem("LOG_FORMAT", other, "write text or json");
            false
        }
    }
}

fn database_url(env: &Environment, home: &Path) -> SecretString {
    // Seed 001 names the same thing after its library (S001-14).
    let url = env.optional("DATABASE_URL").or_else(|| env.optional("SQLALCHEMY_DATABASE_URI"));
    url.unwrap_or_else(|| format!("sqlite://{}", home.join("recado.db").display())).into()
}

fn access(env: &mut Environment) -> Access {
    let api_keys = env.list("API_KEYS");
    if api_keys.iter().any(|key| key.len() < SHORTEST_CREDENTIAL) {
        let remedy = "make one with `recado api-key create`";
        env.problems.push(format!("API_KEYS holds a key of fewer than {SHORTEST_CREDENTIAL} characters; {remedy}"));
    }
    Access {
        anonymous: env.flag("ALLOW_ANONYMOUS_API") || env.flag("DEBUG"),
        api_keys: api_keys.into_iter().map(Into::into).collect(),
        internal_secrets: env.list("INTERNAL_API_SECRET_KEY").into_iter().map(Into::into).collect(),
        evolution_jwt_key: env.optional("EVOLUTION_WEBHOOK_JWT_KEY").map(Into::into),
        evolution_token: env.optional("EVOLUTION_WEBHOOK_TOKEN").map(Into::into),
    }
}

fn crm(env: &mut Environment) -> CrmSettings {
    let (url, token) = (env.optional("COMERCIAL_WEBHOOK_URL"), env.optional("COMERCIAL_WEBHOOK_TOKEN"));
    if let Some(url) = &url
        && !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    {
        env.problem("COMERCIAL_WEBHOOK_URL", url, "write https://…");
    }
    let secret = env.optional("COMERCIAL_WEBHOOK_SECRET").map(SecretString::from);
    CrmSettings {
        tokens: env.list("CRM_WEBHOOK_TOKEN").into_iter().map(Into::into).collect(),
        commercial: url.zip(token).map(|(url, token)| CommercialSettings { url, token: token.into(), secret }),
        time_zone: env.parse("CRM_TIME_ZONE", "name a zone of the IANA database, e.g. America/Lima"),
    }
}

fn webhook_retry_schedule(env: &mut Environment) -> Vec<Duration> {
    let longest = f64::from(30 * 24 * 60 * 60);
    let waits: Vec<Option<Duration>> = env
        .list("WEBHOOK_RETRY_SCHEDULE")
        .iter()
        .map(|wait| wait.parse().ok().filter(|wait| (0.0..=longest).contains(wait)).map(Duration::from_secs_f64))
        .collect();
    if waits.iter().any(Option::is_none) || waits.len() > 50 {
        let value = env.text("WEBHOOK_RETRY_SCHEDULE");
        env.problem("WEBHOOK_RETRY_SCHEDULE", &value, "write at most 50 numbers of seconds, e.g. 5,300,1800");
    }
    waits.into_iter().flatten().collect()
}

fn secret_key(env: &Environment) -> Option<SecretString> {
    env.optional("SECRET_KEY").map(Into::into)
}

fn public_url(env: &mut Environment) -> Option<String> {
    let url = env.optional("PUBLIC_URL")?;
    let is_web = url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_web || url.contains(['<', '>', '?', '#']) {
        env.problem("PUBLIC_URL", &url, "write https://… without a query");
    }
    Some(url.trim_end_matches('/').to_owned())
}

fn email(env: &mut Environment, home: &Path) -> Option<EmailSettings> {
    let backend = email_backend(env, home)?;
    let host = env.optional("EMAIL_HOST");
    if backend == EmailBackend::Smtp && host.is_none() {
        return None;
    }
    let port = env.number("EMAIL_PORT", 1, 65_535) as u16;
    let implicit = env.flag_or("EMAIL_USE_SSL", port == 465);
    let start_tls = env.flag_or("EMAIL_USE_TLS", port == 587);
    let security = match (implicit, start_tls) {
        (true, true) if port != 465 && port != 587 => {
            env.problems.push("EMAIL_USE_TLS and EMAIL_USE_SSL are both true; choose one".into());
            EmailSecurity::ImplicitTls
        }
        (true, _) => EmailSecurity::ImplicitTls,
        (false, true) => EmailSecurity::StartTls,
        (false, false) => EmailSecurity::Plain,
    };
    let from = env.optional("DEFAULT_FROM_EMAIL").or_else(|| env.optional("EMAIL_HOST_USER"));
    if from.is_none() {
        env.problems.push("DEFAULT_FROM_EMAIL is needed to send mail; write e.g. Taller <taller@example.com>".into());
    }
    Some(EmailSettings {
        backend,
        host: host.unwrap_or_default(),
        port,
        security,
        user: env.optional("EMAIL_HOST_USER"),
        password: env.optional("EMAIL_HOST_PASSWORD").map(Into::into),
        from: from.unwrap_or_default(),
        timeout: env.seconds("EMAIL_TIMEOUT", 0.1),
        ca_file: env.optional("EMAIL_SSL_CAFILE").map(Into::into),
    })
}

/// Django's dotted names end in the word that says what the backend does.
fn email_backend(env: &mut Environment, home: &Path) -> Option<EmailBackend> {
    let name = env.text("EMAIL_BACKEND");
    let kind = name.trim_start_matches("django.core.mail.backends.").split('.').next().unwrap_or_default().to_owned();
    match kind.as_str() {
        "smtp" => Some(EmailBackend::Smtp),
        "file" | "filebased" | "console" | "locmem" => Some(EmailBackend::File(home.join("mail"))),
        "dummy" => None,
        _ => {
            env.problem("EMAIL_BACKEND", &name, "write smtp or file");
            None
        }
    }
}

fn whatsapp(env: &mut Environment) -> Option<WhatsappSettings> {
    let url = env.optional("EVOLUTION_API_URL")?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        env.problem("EVOLUTION_API_URL", &url, "write http://… or https://…");
    }
    Some(WhatsappSettings {
        url: url.trim_end_matches('/').to_owned(),
        api_key: env.required_with("EVOLUTION_API_KEY", "EVOLUTION_API_URL").into(),
        instance: env.required_with("EVOLUTION_INSTANCE", "EVOLUTION_API_URL"),
        timeout: env.seconds("EVOLUTION_TIMEOUT", 0.1),
    })
}

fn push(env: &mut Environment) -> Option<PushSettings> {
    let public_key = env.optional("VAPID_PUBLIC_KEY")?;
    let contact = env.required_with("VAPID_CONTACT_EMAIL", "VAPID_PUBLIC_KEY");
    let subject = if contact.contains(':') { contact } else { format!("mailto:{contact}") };
    Some(PushSettings {
        public_key: public_key.trim_end_matches('=').to_owned(),
        private_key: env.required_with("VAPID_PRIVATE_KEY", "VAPID_PUBLIC_KEY").trim_end_matches('=').to_owned().into(),
        subject,
        timeout: env.seconds("PUSH_TIMEOUT", 0.1),
    })
}

fn unknown_customer(env: &mut Environment) -> UnknownCustomer {
    match env.text("DISPATCH_UNKNOWN_CUSTOMER").as_str() {
        "reject" => UnknownCustomer::Reject,
        "defer" => UnknownCustomer::Defer,
        "create" => UnknownCustomer::Create,
        other => {
            env.problem("DISPATCH_UNKNOWN_CUSTOMER", other, "write reject, defer or create");
            UnknownCustomer::Reject
        }
    }
}

/// Reads variables and collects what is wrong with them.
struct Environment<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl Environment<'_> {
    /// The value, or the default that [`VARIABLES`] states.
    fn text(&self, name: &str) -> String {
        let variable = VARIABLES.iter().find(|variable| variable.name == name);
        let default = variable.expect("every variable that is read stands in VARIABLES").default;
        (self.get)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| default.to_owned())
    }

    fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|value| !value.is_empty())
    }

    fn required_with(&mut self, name: &str, because: &str) -> String {
        let value = self.text(name);
        if value.is_empty() {
            self.problems.push(format!("{name} is needed because {because} is set"));
        }
        value
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.text(name).split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    fn flag(&mut self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    fn flag_or(&mut self, name: &str, default: bool) -> bool {
        match self.text(name).to_ascii_lowercase().as_str() {
            "" => default,
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            other => {
                self.problem(name, other, "write true or false");
                default
            }
        }
    }

    fn number(&mut self, name: &str, least: u32, most: u32) -> u32 {
        let text = self.text(name);
        text.parse().ok().filter(|number| (least..=most).contains(number)).unwrap_or_else(|| {
            self.problem(name, &text, &format!("write a number from {least} to {most}"));
            least
        })
    }

    fn seconds(&mut self, name: &str, least: f64) -> Duration {
        let text = self.text(name);
        let seconds = text.parse().ok().filter(|seconds: &f64| *seconds >= least && *seconds <= 86_400.0 * 30.0);
        Duration::from_secs_f64(seconds.unwrap_or_else(|| {
            self.problem(name, &text, &format!("write seconds, at least {least}"));
            least
        }))
    }

    fn days(&mut self, name: &str) -> Duration {
        Duration::from_secs(u64::from(self.number(name, 1, 36_500)) * 86_400)
    }

    fn parse<T: FromStr + Default>(&mut self, name: &str, remedy: &str) -> T {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| {
            self.problem(name, &text, remedy);
            T::default()
        })
    }

    fn address(&mut self, name: &str, text: &str) -> Option<SocketAddr> {
        use std::net::ToSocketAddrs;
        let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        if found.is_none() {
            self.problem(name, text, "write host:port, e.g. 127.0.0.1:8000");
        }
        found
    }

    fn problem(&mut self, name: &str, value: &str, remedy: &str) {
        self.problems.push(format!("{name} is `{value}`; {remedy}"));
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.default)
    }
}

/// The text of `.env.example`.
pub fn example() -> String {
    let mut text =
        String::from("# Copy this file to .env, and uncomment what you change. Every line shows the default.\n");
    for Variable { name, default, meaning } in VARIABLES {
        text.push_str(&format!("\n# {meaning}\n#{name}={default}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_needed() {
        let config = Config::from_pairs([]).expect("defaults are valid");
        assert_eq!(config.database_url.expose_secret(), "sqlite://.recado/recado.db");
        assert!(config.is_embedded() && config.redis_url.is_none() && config.email.is_none());
        assert_eq!(config.retry, RetryPolicy { max_attempts: 3, base: Duration::from_secs(60) });
    }

    #[test]
    fn every_error_is_named_at_once_with_its_remedy() {
        let error = Config::from_pairs([
            ("TIME_ZONE", "Quito"),
            ("EVOLUTION_API_URL", "evolution:8080"),
            ("NOTIFICATION_MAX_ATTEMPTS", "0"),
            ("DEBUG", "maybe"),
            ("PUBLIC_URL", "avisos.example.com"),
        ]);
        let text = error.expect_err("variables are wrong").to_string();
        for name in [
            "TIME_ZONE",
            "EVOLUTION_API_URL",
            "EVOLUTION_API_KEY",
            "EVOLUTION_INSTANCE",
            "NOTIFICATION_MAX_ATTEMPTS",
            "DEBUG",
            "PUBLIC_URL",
        ] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
    }

    #[test]
    fn secrets_that_can_be_guessed_are_named() {
        let error = Config::from_pairs([("API_KEYS", "a-key-that-is-long-enough,short")]);
        assert!(error.expect_err("a key is short").to_string().contains("API_KEYS"));

        let weak = |internal, sealing| {
            let config = Config::from_pairs([("INTERNAL_API_SECRET_KEY", internal), ("SECRET_KEY", sealing)]);
            config.expect("they work").weak_secrets().len()
        };
        assert_eq!(weak("sixteen-letters!,fifteen-letters", "thirty-one-letters-and-not-more"), 2);
        assert_eq!(weak("sixteen-letters!", "thirty-two-letters-are-long-enough"), 0);
        assert_eq!(weak("", ""), 0);
    }

    #[test]
    fn the_port_chooses_the_security_unless_told() {
        let security = |port, tls, ssl| {
            let pairs = [
                ("EMAIL_HOST", "smtp.example.com"),
                ("DEFAULT_FROM_EMAIL", "taller@example.com"),
                ("EMAIL_PORT", port),
                ("EMAIL_USE_TLS", tls),
                ("EMAIL_USE_SSL", ssl),
            ];
            Config::from_pairs(pairs).expect("valid").email.expect("configured").security
        };
        assert_eq!(security("465", "", ""), EmailSecurity::ImplicitTls);
        assert_eq!(security("587", "", ""), EmailSecurity::StartTls);
        assert_eq!(security("1025", "", ""), EmailSecurity::Plain);
        assert_eq!(security("587", "false", "false"), EmailSecurity::Plain);
        assert_eq!(security("2465", "", "true"), EmailSecurity::ImplicitTls);
    }

    #[test]
    fn secrets_do_not_show() {
        let config = Config::from_pairs([
            ("API_KEYS", "a-very-long-secret-key"),
            ("DATABASE_URL", "postgresql://u:hunter2@h/d"),
        ]);
        let shown = format!("{:?}", config.expect("valid"));
        assert!(!shown.contains("a-very-long") && !shown.contains("hunter2"));
    }
}
