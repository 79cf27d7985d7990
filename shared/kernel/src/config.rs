//! Configuration: environment variables, read once, at the start. [`VARIABLES`] documents every one of them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcPoint, PointConversionForm};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::x509::X509;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::addresses::{self, Mailbox};
use crate::host_names::{AllowedHosts, HeloName, HostError, server_name};
use crate::networks::{Network, NotANetwork};
use crate::outbound::{self, Reach};
use crate::retry::RetryPolicy;
use crate::server_urls::{DatabaseUrl, Pooler, RedisUrl};
use crate::telemetry;
use crate::word_enum;

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
        "postgresql://user:pass@host:port/name, or sqlite:////path/of/a/file (with three slashes from the working folder). Default: a SQLite file in RECADO_HOME.",
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
        "REDIS_SSL_CAFILE",
        "",
        "PEM file with the certificate authority of a rediss:// server, in place of the system's authorities.",
    ),
    variable(
        "LISTEN",
        "127.0.0.1:8000",
        "Where the API listens. Several addresses may stand there, separated by commas.",
    ),
    variable(
        "ALLOWED_HOSTS",
        "",
        "Names by which the API may be asked for (the header Host), separated by commas: example.com, .example.com with all below it, * for all; ports do not matter. Others get 400, except at /health, /api/v1/health and /metrics. Unset: every name; `recado up` without a key answers only to names of this machine (localhost, 127.0.0.1).",
    ),
    variable(
        "API_MAX_CONNECTIONS",
        "0",
        "Connections that an API process keeps at once; when they are full, the one that has been silent longest goes. One address has half of them at most. 0: three quarters of the file descriptors that the system allows, 4096 at most.",
    ),
    variable(
        "API_BODY_MEMORY_MIB",
        "128",
        "Memory for the bodies of all requests that an API process works on at once, in MiB; what is beyond it gets 503 with Retry-After.",
    ),
    variable(
        "TRUSTED_PROXIES",
        "",
        "Addresses or networks of proxies before the API, separated by commas, e.g. 127.0.0.1,10.0.0.0/8. From them X-Forwarded-For is believed: limits, failed logins and the log go by the address that it names.",
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
    variable(
        "EMAIL_HELO_NAME",
        "",
        "What we call ourselves at mail servers (EHLO): a full name such as avisos.example.com, or an address such as [203.0.113.7]. Default: the full name of this host where it has one, else its address.",
    ),
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
    variable(
        "FRONTEND_URL",
        "",
        "Address of the web application: what a click on a push opens. Its pages may call the API from a browser (CORS).",
    ),
    variable(
        "CORS_ALLOWED_ORIGINS",
        "",
        "Other web applications whose pages may call the API from a browser, separated by commas, e.g. http://localhost:3000.",
    ),
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
        "OUTBOUND_ALLOWED_NETWORKS",
        "",
        "Networks beyond the public internet that webhooks may be sent to, separated by commas, e.g. 10.20.0.0/16. A single link-local address or metadata service counts only when it is written alone, e.g. 169.254.10.7.",
    ),
    variable(
        "WEBHOOK_RETRY_SCHEDULE",
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        "Seconds between the attempts of a webhook, separated by commas; fractions are allowed. The first attempt is made at once, so n numbers are n + 1 attempts. Each moves by up to 20 %.",
    ),
    variable(
        "WEBHOOK_TOLERANCE_SECONDS",
        "300",
        "How far the signed time of an incoming webhook may lie from our clock (Standard Webhooks). 0: any. A partner may have another value of its own.",
    ),
    variable(
        "CRM_WEBHOOK_TOKEN",
        "",
        "What a CRM shows when it posts presences to /api/webhook-presencia-crm/ (header X-CRM-Webhook-Token). Two, separated by a comma, while you rotate. Unset: all are refused.",
    ),
    variable(
        "CRM_WEBHOOK_REQUIRE_SIGNATURE",
        "false",
        "true: presences must be signed too (Standard Webhooks), within WEBHOOK_TOLERANCE_SECONDS.",
    ),
    variable(
        "CRM_WEBHOOK_SECRET",
        "",
        "whsec_…, for those signatures: COMERCIAL_WEBHOOK_SECRET of the sending end. Two, separated by a comma, while you rotate. Default: one that is derived from each token.",
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
    variable(
        "WHATSAPP_SERVICE_URL",
        "",
        "URL of the WhatsApp bridge (the Node service), e.g. http://tuki-whatsapp-service:3001. Unset: no bridge; lists of chats and groups are those of the database, and operators are told by mail.",
    ),
    variable(
        "WHATSAPP_SERVICE_TIMEOUT",
        "10",
        "Seconds that one question to the bridge may take; the list of its chats has 30 and a history 60. Fractions are allowed.",
    ),
    variable(
        "WHATSAPP_CACHE_SECONDS",
        "0",
        "How old a list of chats or groups may be before the bridge is asked again. 0: each request asks, and those at the same time share one question.",
    ),
    variable(
        "WHATSAPP_WEBHOOK_SECRET",
        "",
        "What the bridge shows when it posts to /api/v1/whatsapp/webhook/: X-Hub-Signature-256 with it as the key, or it as a bearer. Two, separated by a comma, while you rotate. Unset: all are refused, unless the whole API is open.",
    ),
    variable(
        "WHATSAPP_EVOLUTION_INSTANCES",
        "",
        "Instances of Evolution API whose chats are conversations too, by name, separated by commas; their webhooks go to /api/v1/webhooks/evolution/. Unset: none, and nothing of what people write there is stored.",
    ),
    variable(
        "WHATSAPP_REQUIRE_REGISTERED_CODES",
        "false",
        "true: a reservation code that was not issued here makes no request.",
    ),
    variable(
        "WHATSAPP_REQUEST_TIMEOUT_HOURS",
        "24",
        "How long a reservation request waits for the operator's answer before it becomes `timeout`.",
    ),
    variable("WHATSAPP_MESSAGE_RETENTION_DAYS", "365", "Age at which messages of WhatsApp are deleted."),
    variable(
        "WHATSAPP_REQUEST_RETENTION_DAYS",
        "730",
        "Age at which reservation requests, their stories and expired codes are deleted.",
    ),
    variable(
        "WHATSAPP_PROVIDER",
        "",
        "Through what notifications go by WhatsApp: evolution, or bridge (WHATSAPP_SERVICE_URL). Default: evolution where EVOLUTION_API_URL is set, else the bridge where there is one.",
    ),
    variable(
        "WHATSAPP_DAILY_LIMIT",
        "0",
        "Messages that leave through the bridge within 24 hours, so that WhatsApp does not ban the number. 0: no limit.",
    ),
    variable(
        "WHATSAPP_WARM_UP_DAYS",
        "0",
        "Days over which a new number comes to its daily limit: a tenth of it on the first. 0: all of it at once.",
    ),
    variable(
        "WHATSAPP_ALERT_EMAIL",
        "",
        "Who is told by mail when the bridge's session is lost, or is connected and nothing leaves, and when it is back.",
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
    variable("ENVIRONMENT_NAME", "", "What this installation is called in the header of the console, e.g. Production."),
    variable(
        "ENVIRONMENT_COLOR",
        "gray",
        "Its colour there, so that two installations are told apart: gray, blue, green, amber or red.",
    ),
    variable(
        "CONSOLE_TRUSTED_HEADER",
        "",
        "Header in which a proxy that authenticates people names the user of the console, e.g. X-Forwarded-User. Believed from TRUSTED_PROXIES only. The user must exist.",
    ),
    variable("DATABASE_MAX_CONNECTIONS", "10", "Connections per process on PostgreSQL."),
    variable(
        "DATABASE_POOLER",
        "auto",
        "What stands before PostgreSQL: transaction (PgBouncer with pool_mode = transaction, Supabase on 6543, RDS Proxy) does without prepared statements; session is a server or a pooler that leaves each connection its server. auto finds out at the start, and goes over to transaction when a prepared statement is lost.",
    ),
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
    pub database_url: DatabaseUrl,
    pub database_max_connections: u32,
    pub database_pooler: Pooler,
    /// `None`: the queue is in this process.
    pub redis_url: Option<SecretString>,
    /// The certificates, in PEM, by one of which the certificate of Redis must be signed. `None`: the system's.
    pub redis_authorities: Option<Vec<u8>>,
    pub listen: Vec<SocketAddr>,
    /// Connections of an API process; 0 is as many as the file descriptors allow.
    pub api_max_connections: u32,
    /// Bytes for the bodies of all requests of an API process.
    pub api_body_memory: usize,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Origins whose pages may call the API from a browser, as browsers write them: `https://app.example.com`.
    pub cors_origins: Vec<String>,
    pub metrics_listen: Option<SocketAddr>,
    /// Logs are JSON, for machines.
    pub log_json: bool,
    /// What is logged, in the words of `RUST_LOG`. `None`: as the program thinks best.
    pub log_filter: Option<String>,
    pub time_zone: chrono_tz::Tz,
    pub access: Access,
    /// Seals what is secret in the database, and signs links. [`SHORTEST_SECRET_KEY`] characters, or it can be guessed.
    pub secret_key: Option<SecretString>,
    /// Requests per minute and caller; 0 is no limit.
    pub api_rate_limit_per_minute: u32,
    /// Where people reach this API, without a slash at its end.
    pub public_url: Option<String>,
    pub email: Option<EmailSettings>,
    /// All providers are stand-ins of this process: nothing that is sent leaves the machine. No variable says so.
    pub stand_ins: bool,
    /// What we call ourselves in `EHLO`, through every account. `None`: the host's name if it is a full one, else the address
    /// from which we speak; never a short name, which servers refuse.
    pub email_helo_name: Option<HeloName>,
    /// Sender of mails that leave through a provider account without one of its own.
    pub default_from: Option<String>,
    pub whatsapp: Option<WhatsappSettings>,
    /// Notifications by WhatsApp go through the bridge of conversations, and not through an Evolution API.
    pub whatsapp_through_bridge: bool,
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
    /// Networks beyond the public internet to which webhooks may be sent.
    pub outbound_networks: Vec<Network>,
    /// Waits between the attempts of a webhook.
    pub webhook_retry_schedule: Vec<Duration>,
    pub webhook_retention: Duration,
    /// How far a signed time may lie from our clock, in seconds; 0: any.
    pub webhook_tolerance_seconds: i64,
    /// Nothing goes out to a partner until it is verified.
    pub partner_require_kyc: bool,
    pub crm: CrmSettings,
    pub conversations: ConversationsSettings,
    pub console: ConsoleSettings,
    pub worker: WorkerSettings,
    pub notification_retention: Duration,
    pub task_retention: Duration,
}

/// Who may call.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `/api/v1` is open without a key.
    pub anonymous: bool,
    /// Open to this machine as long as there is no key and nothing that is sent leaves the machine. No variable says so, only
    /// `recado up`; each request is looked at again.
    pub open_on_this_machine: bool,
    pub api_keys: Vec<SecretString>,
    /// Names by which the API may be asked for. Empty: nothing was set.
    pub allowed_hosts: AllowedHosts,
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

/// How the console presents itself, and whom it believes.
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    /// What the installation is called.
    pub environment: Option<String>,
    pub colour: Colour,
    /// In which proxies name the user, in lower case. `None`: none does.
    pub trusted_header: Option<String>,
}

/// The colour of an installation in the header of its console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Colour {
    #[default]
    Gray,
    Blue,
    Green,
    Amber,
    Red,
}

word_enum!(Colour, "a colour");

/// A CRM and the application that gets its presences; Recado may play either end (seed 004).
#[derive(Clone, Debug)]
pub struct CrmSettings {
    /// Tokens by which a CRM gets in. Empty: none does.
    pub tokens: Vec<SecretString>,
    /// Whether they must sign, too.
    pub require_signature: bool,
    /// What they sign with. Empty: what is derived from their tokens.
    pub secrets: Vec<SecretString>,
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

/// WhatsApp of a tour operator, through a bridge (seed 003).
#[derive(Clone, Debug)]
pub struct ConversationsSettings {
    /// `None`: there is no bridge.
    pub bridge: Option<BridgeSettings>,
    /// How old a list of chats or groups may be before the bridge is asked again.
    pub cache: Duration,
    /// What the bridge's webhooks must show. Empty: all are refused, unless the whole API is open.
    pub webhook_secrets: Vec<SecretString>,
    /// Instances of Evolution API whose chats are conversations too.
    pub evolution_instances: Vec<String>,
    /// A code that was not issued here makes no request (d30).
    pub require_registered_codes: bool,
    /// Messages through the bridge within 24 hours; 0 is no limit.
    pub daily_limit: u32,
    /// Days over which a new number comes to it.
    pub warm_up_days: u32,
    /// Who is told of sessions that are lost.
    pub alert_email: Option<String>,
    /// How long a request waits for the operator's answer.
    pub request_timeout: Duration,
    pub message_retention: Duration,
    /// Of requests, their stories and codes.
    pub request_retention: Duration,
}

#[derive(Clone, Debug)]
pub struct BridgeSettings {
    /// Base URL without a slash at its end.
    pub url: String,
    /// Of questions that have no limit of their own.
    pub timeout: Duration,
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

/// Every variable that is wrong, each with the remedy. The values are not repeated: some are secrets, and a secret may have
/// got into the wrong variable.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has errors:\n{}", .0.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(Vec<Problem>);

#[derive(Debug)]
struct Problem {
    /// A variable, or the file .env.
    what: String,
    /// The line of .env where it stands, if it does.
    line: Option<usize>,
    problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, line, problem } = self;
        match line {
            Some(line) => write!(f, "{what} (line {line} of .env) {problem}"),
            None => write!(f, "{what} {problem}"),
        }
    }
}

impl Problem {
    fn of(variable: &str, problem: impl Into<String>) -> Self {
        Self { what: variable.to_owned(), line: None, problem: problem.into() }
    }
}

impl ConfigError {
    /// A `.env` that cannot be read.
    pub(crate) fn in_dotenv(file: &Path, mistakes: &[impl fmt::Display]) -> Self {
        let what = format!("the file {}", file.display());
        let problem =
            |mistake| Problem { what: what.clone(), line: None, problem: format!("cannot be read: {mistake}") };
        Self(mistakes.iter().map(problem).collect())
    }

    /// Says which variables stand in `.env`, and where.
    pub(crate) fn in_lines(mut self, lines: &BTreeMap<String, usize>) -> Self {
        for problem in &mut self.0 {
            problem.line = lines.get(&problem.what).copied();
        }
        self
    }
}

impl Config {
    /// Reads the environment of this process.
    pub fn from_env() -> Result<Self, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
        let variable = |name: &str| std::env::var_os(name);
        let read = Self::read(|name| variable(name).and_then(|value| value.into_string().ok()));
        // What is not UTF-8 would else count as not set.
        let is_unreadable = |name: &str| variable(name).is_some_and(|value| value.into_string().is_err());
        let unreadable = VARIABLES.iter().filter(|variable| is_unreadable(variable.name));
        let problem = "is not UTF-8, perhaps Latin-1; write it in UTF-8";
        let mut problems: Vec<Problem> = unreadable.map(|variable| Problem::of(variable.name, problem)).collect();
        match read {
            Ok(config) if problems.is_empty() => Ok(config),
            Ok(_) => Err(ConfigError(problems)),
            Err(ConfigError(others)) => {
                problems.extend(others);
                Err(ConfigError(problems))
            }
        }
    }

    /// Reads variables from wherever `get` finds them, and reports all that are wrong at once.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut env = Environment { get: &get, problems: Vec::new() };
        let home = home(&mut env);
        let redis = redis(&mut env);
        let config = Self {
            database_url: database_url(&mut env, &home),
            database_max_connections: env.number("DATABASE_MAX_CONNECTIONS", 1, 1000),
            database_pooler: env.parse("DATABASE_POOLER", "write auto, transaction or session"),
            redis_authorities: redis_authorities(&mut env, redis.as_ref()),
            redis_url: redis.map(|redis| redis.url),
            listen: env.list("LISTEN").iter().filter_map(|address| env.address("LISTEN", address)).collect(),
            api_max_connections: env.number("API_MAX_CONNECTIONS", 0, 1_000_000),
            api_body_memory: env.number("API_BODY_MEMORY_MIB", 8, 1_000_000) as usize * 1024 * 1024,
            trusted_proxies: networks(&mut env, "TRUSTED_PROXIES"),
            cors_origins: cors_origins(&mut env),
            metrics_listen: env.optional("METRICS_LISTEN").and_then(|address| env.address("METRICS_LISTEN", &address)),
            log_json: log_json(&mut env),
            log_filter: log_filter(&mut env),
            time_zone: env.parse("TIME_ZONE", "name a zone of the IANA database, e.g. America/Guayaquil"),
            access: access(&mut env),
            secret_key: env.optional("SECRET_KEY").map(Into::into),
            api_rate_limit_per_minute: env.number("API_RATE_LIMIT_PER_MINUTE", 0, 100_000_000),
            public_url: public_url(&mut env),
            email: email(&mut env, &home),
            stand_ins: false,
            email_helo_name: env.checked("EMAIL_HELO_NAME", str::parse),
            default_from: sender(&mut env),
            whatsapp: whatsapp(&mut env),
            push: push(&mut env),
            whatsapp_through_bridge: through_bridge(&mut env),
            whatsapp_rate_per_minute: env.number("WHATSAPP_RATE_PER_MINUTE", 0, 100_000),
            recipient_throttle_per_hour: env.number("RECIPIENT_THROTTLE_PER_HOUR", 0, 100_000),
            frontend_url: env.checked("FRONTEND_URL", |url| web_url(url).map(|_| url.to_owned())),
            retry: RetryPolicy {
                max_attempts: env.number("NOTIFICATION_MAX_ATTEMPTS", 1, 20),
                base: env.seconds("NOTIFICATION_RETRY_BASE_SECONDS", 0.001),
            },
            unknown_outcome_window: env.seconds("UNKNOWN_OUTCOME_WINDOW_SECONDS", 0.0),
            unknown_customer: unknown_customer(&mut env),
            template_strict_case: env.flag("TEMPLATE_STRICT_CASE"),
            default_country: default_country(&mut env),
            allow_private_networks: env.flag("OUTBOUND_ALLOW_PRIVATE_NETWORKS"),
            outbound_networks: networks(&mut env, "OUTBOUND_ALLOWED_NETWORKS"),
            webhook_retry_schedule: webhook_retry_schedule(&mut env),
            webhook_retention: env.days("WEBHOOK_RETENTION_DAYS"),
            webhook_tolerance_seconds: env.number("WEBHOOK_TOLERANCE_SECONDS", 0, 7 * 86_400).into(),
            partner_require_kyc: env.flag("PARTNER_REQUIRE_KYC"),
            crm: crm(&mut env),
            conversations: conversations(&mut env),
            console: ConsoleSettings {
                environment: env.optional("ENVIRONMENT_NAME"),
                colour: env.parse("ENVIRONMENT_COLOR", "choose gray, blue, green, amber or red"),
                trusted_header: env.checked("CONSOLE_TRUSTED_HEADER", header_name),
            },
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
            env.problem("LISTEN", "write host:port");
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

    /// Where webhooks may be sent.
    pub fn reach_of_webhooks(&self) -> Reach {
        Reach { all_private: self.allow_private_networks, networks: self.outbound_networks.clone() }
    }

    /// Whether the database is the embedded one.
    pub fn is_embedded(&self) -> bool {
        matches!(self.database_url, DatabaseUrl::Sqlite(_))
    }
}

fn home(env: &mut Environment) -> PathBuf {
    let home: PathBuf = env.text("RECADO_HOME").into();
    if home.starts_with("~") {
        env.problem("RECADO_HOME", "~ is not understood; write the whole path");
    } else if home.is_file() {
        env.problem("RECADO_HOME", "name a folder and not a file");
    }
    home
}

fn log_json(env: &mut Environment) -> bool {
    match env.text("LOG_FORMAT").as_str() {
        "text" => false,
        "json" => true,
        _ => {
            env.problem("LOG_FORMAT", "write text or json");
            false
        }
    }
}

fn log_filter(env: &mut Environment) -> Option<String> {
    let remedy =
        "write error, warn, info, debug, trace or off, or one of them for each crate: info,recado_worker=debug";
    env.checked("RUST_LOG", |filter| telemetry::is_filter(filter).then(|| filter.to_owned()).ok_or(remedy))
}

fn database_url(env: &mut Environment, home: &Path) -> DatabaseUrl {
    // Seed 001 names the same thing after its library (S001-14).
    let set = ["DATABASE_URL", "SQLALCHEMY_DATABASE_URI"].into_iter().find(|name| env.optional(name).is_some());
    let read = set.and_then(|name| env.checked(name, |url| DatabaseUrl::parse(url, Path::exists)));
    read.unwrap_or_else(|| DatabaseUrl::Sqlite(home.join("recado.db")))
}

fn redis(env: &mut Environment) -> Option<RedisUrl> {
    env.checked("REDIS_URL", str::parse)
}

/// The certificates of `REDIS_SSL_CAFILE`, or of the file that the URL names.
fn redis_authorities(env: &mut Environment, redis: Option<&RedisUrl>) -> Option<Vec<u8>> {
    let set = env.optional("REDIS_SSL_CAFILE").map(|file| ("REDIS_SSL_CAFILE", PathBuf::from(file)));
    let in_url = || Some(("REDIS_URL", redis?.ca_file.clone()?));
    let (variable, file) = set.or_else(in_url)?;
    if redis.is_some_and(|redis| !redis.is_encrypted) {
        env.problem(variable, "is for a rediss:// server, and REDIS_URL is not encrypted");
    }
    let read = std::fs::read(&file).ok();
    let is_good = |pem: &Vec<u8>| X509::stack_from_pem(pem).is_ok_and(|certificates| !certificates.is_empty());
    let authorities = read.filter(is_good);
    if authorities.is_none() {
        env.problem(variable, "name a PEM file that can be read and holds -----BEGIN CERTIFICATE-----");
    }
    authorities
}

fn access(env: &mut Environment) -> Access {
    let api_keys = env.list("API_KEYS");
    let remedy = "make one with `recado api-key create`";
    if api_keys.iter().any(|key| key.len() < SHORTEST_CREDENTIAL) {
        env.problem("API_KEYS", &format!("a key has fewer than {SHORTEST_CREDENTIAL} characters; {remedy}"));
    }
    if !api_keys.iter().all(|key| key.bytes().all(|byte| byte.is_ascii_graphic())) {
        env.problem(
            "API_KEYS",
            &format!("a key has blanks or letters beyond ASCII, which no caller could send; {remedy}"),
        );
    }
    Access {
        anonymous: env.flag("ALLOW_ANONYMOUS_API") || env.flag("DEBUG"),
        open_on_this_machine: false,
        api_keys: api_keys.into_iter().map(Into::into).collect(),
        allowed_hosts: allowed_hosts(env),
        internal_secrets: env.list("INTERNAL_API_SECRET_KEY").into_iter().map(Into::into).collect(),
        evolution_jwt_key: env.optional("EVOLUTION_WEBHOOK_JWT_KEY").map(Into::into),
        evolution_token: env.optional("EVOLUTION_WEBHOOK_TOKEN").map(Into::into),
    }
}

fn allowed_hosts(env: &mut Environment) -> AllowedHosts {
    let mut hosts = AllowedHosts::default();
    for entry in env.list("ALLOWED_HOSTS") {
        if let Err(error) = hosts.add(&entry) {
            env.problem("ALLOWED_HOSTS", &error.to_string());
        }
    }
    hosts
}

/// A name of a header, in lower case (RFC 9110, section 5.1).
fn header_name(text: &str) -> Result<String, &'static str> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    is_name.then(|| text.to_ascii_lowercase()).ok_or("write the name of a header, e.g. X-Forwarded-User")
}

fn networks(env: &mut Environment, variable: &'static str) -> Vec<Network> {
    let mut networks = Vec::new();
    for entry in env.list(variable) {
        match entry.parse() {
            Ok(network) => networks.push(network),
            Err(NotANetwork) => env.problem(variable, &NotANetwork.to_string()),
        }
    }
    networks
}

/// The front end's origin and the others. A front end may have a scheme of its own (an app); then no browser calls from it.
fn cors_origins(env: &mut Environment) -> Vec<String> {
    let origin = |url: &str| Url::parse(url).map(|url| url.origin()).ok().filter(url::Origin::is_tuple);
    let frontend = env.optional("FRONTEND_URL").and_then(|url| origin(&url));
    let mut origins: Vec<String> = frontend.iter().map(url::Origin::ascii_serialization).collect();
    for entry in env.list("CORS_ALLOWED_ORIGINS") {
        let is_bare = Url::parse(&entry).is_ok_and(|url| url.path() == "/" && url.query().is_none());
        match origin(&entry).filter(|_| is_bare) {
            Some(origin) => origins.push(origin.ascii_serialization()),
            None => env.problem("CORS_ALLOWED_ORIGINS", "write scheme://host:port, e.g. http://localhost:3000"),
        }
    }
    origins
}

fn crm(env: &mut Environment) -> CrmSettings {
    let url = env.checked("COMERCIAL_WEBHOOK_URL", |text| web_url(text).map(|_| text.to_owned()));
    let token = env.optional("COMERCIAL_WEBHOOK_TOKEN");
    let secret = env.optional("COMERCIAL_WEBHOOK_SECRET").map(SecretString::from);
    CrmSettings {
        tokens: env.list("CRM_WEBHOOK_TOKEN").into_iter().map(Into::into).collect(),
        require_signature: env.flag("CRM_WEBHOOK_REQUIRE_SIGNATURE"),
        secrets: crm_secrets(env),
        commercial: url.zip(token).map(|(url, token)| CommercialSettings { url, token: token.into(), secret }),
        time_zone: env.parse("CRM_TIME_ZONE", "name a zone of the IANA database, e.g. America/Lima"),
    }
}

fn conversations(env: &mut Environment) -> ConversationsSettings {
    let timeout = env.seconds("WHATSAPP_SERVICE_TIMEOUT", 0.001);
    let url = env.checked("WHATSAPP_SERVICE_URL", |text| match web_url(text) {
        Ok(_) if text.contains(['?', '#']) => Err("leave out everything from the ? or # on"),
        Ok(_) => Ok(text.trim_end_matches('/').to_owned()),
        Err(remedy) => Err(remedy),
    });
    ConversationsSettings {
        bridge: url.map(|url| BridgeSettings { url, timeout }),
        cache: env.seconds("WHATSAPP_CACHE_SECONDS", 0.0),
        webhook_secrets: env.list("WHATSAPP_WEBHOOK_SECRET").into_iter().map(Into::into).collect(),
        evolution_instances: env.list("WHATSAPP_EVOLUTION_INSTANCES"),
        require_registered_codes: env.flag("WHATSAPP_REQUIRE_REGISTERED_CODES"),
        daily_limit: env.number("WHATSAPP_DAILY_LIMIT", 0, 1_000_000),
        warm_up_days: env.number("WHATSAPP_WARM_UP_DAYS", 0, 365),
        alert_email: env.checked("WHATSAPP_ALERT_EMAIL", |text| {
            addresses::normalise_email(text).map_err(|_| "write one address, e.g. turno@example.com")
        }),
        request_timeout: Duration::from_secs(u64::from(env.number("WHATSAPP_REQUEST_TIMEOUT_HOURS", 1, 8_760)) * 3_600),
        message_retention: env.days("WHATSAPP_MESSAGE_RETENTION_DAYS"),
        request_retention: env.days("WHATSAPP_REQUEST_RETENTION_DAYS"),
    }
}

fn crm_secrets(env: &mut Environment) -> Vec<SecretString> {
    let secrets = env.list("CRM_WEBHOOK_SECRET");
    if secrets.iter().any(|secret| !secret.starts_with("whsec_")) {
        env.problem("CRM_WEBHOOK_SECRET", "write whsec_ and base64, as the sending end has it");
    }
    secrets.into_iter().map(Into::into).collect()
}

fn webhook_retry_schedule(env: &mut Environment) -> Vec<Duration> {
    let longest = f64::from(30 * 24 * 60 * 60);
    let waits: Vec<Option<Duration>> = env
        .list("WEBHOOK_RETRY_SCHEDULE")
        .iter()
        .map(|wait| wait.parse().ok().filter(|wait| (0.0..=longest).contains(wait)).map(Duration::from_secs_f64))
        .collect();
    if waits.iter().any(Option::is_none) || waits.len() > 50 {
        env.problem("WEBHOOK_RETRY_SCHEDULE", "write at most 50 numbers of seconds, e.g. 5,300,1800");
    }
    waits.into_iter().flatten().collect()
}

fn public_url(env: &mut Environment) -> Option<String> {
    let url = env.checked("PUBLIC_URL", |text| match web_url(text) {
        Ok(_) if text.contains(['<', '>', '?', '#']) => Err("leave out everything from the ? or # on"),
        Ok(_) => Ok(text.to_owned()),
        Err(remedy) => Err(remedy),
    })?;
    Some(url.trim_end_matches('/').to_owned())
}

/// A URL that people or we open.
fn web_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "write a URL such as https://avisos.example.com")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("begin with https:// or http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("leave out the user name and the password: others would read them");
    }
    Ok(url)
}

/// `DEFAULT_FROM_EMAIL` as it travels: an international domain in the form that every mail server takes.
fn sender(env: &mut Environment) -> Option<String> {
    env.checked("DEFAULT_FROM_EMAIL", |text| {
        let remedy = "write an address, or a name and an address: Taller <taller@example.com>";
        text.parse().map(|mailbox: Mailbox| mailbox.to_string()).map_err(|_| remedy)
    })
}

fn default_country(env: &mut Environment) -> String {
    let remedy = "write the two letters of a country (ISO 3166-1), such as EC";
    let country = env.checked("DEFAULT_COUNTRY", |country| addresses::country_code(country).ok_or(remedy));
    country.unwrap_or_default()
}

fn email(env: &mut Environment, home: &Path) -> Option<EmailSettings> {
    // Also where no mail is sent yet: who sets them meant them.
    let (port, timeout) = (env.number("EMAIL_PORT", 1, 65_535) as u16, env.seconds("EMAIL_TIMEOUT", 0.1));
    let backend = email_backend(env, home)?;
    let is_set = env.optional("EMAIL_HOST").is_some();
    let host = env.checked("EMAIL_HOST", |host| {
        server_name(host).map_err(|error| match error {
            HostError::Port => "write the name alone; the port stands in EMAIL_PORT".to_owned(),
            other => other.to_string(),
        })
    });
    if backend == EmailBackend::Smtp && !is_set {
        return None;
    }
    let implicit = env.flag_or("EMAIL_USE_SSL", port == 465);
    let start_tls = env.flag_or("EMAIL_USE_TLS", port == 587);
    let security = match (implicit, start_tls) {
        (true, true) if port != 465 && port != 587 => {
            env.problem("EMAIL_USE_TLS", "EMAIL_USE_SSL is true as well; choose one");
            EmailSecurity::ImplicitTls
        }
        (true, _) => EmailSecurity::ImplicitTls,
        (false, true) => EmailSecurity::StartTls,
        (false, false) => EmailSecurity::Plain,
    };
    // Many SMTP users are addresses.
    let user =
        env.optional("EMAIL_HOST_USER").and_then(|user| user.parse().ok()).map(|mailbox: Mailbox| mailbox.to_string());
    let from = match env.optional("DEFAULT_FROM_EMAIL") {
        // Its own mistakes are told where it is read.
        Some(text) => text.parse().ok().map(|mailbox: Mailbox| mailbox.to_string()),
        None if user.is_none() => {
            let problem = "is needed to send mail; write e.g. Taller <taller@example.com>";
            env.problems.push(Problem::of("DEFAULT_FROM_EMAIL", problem));
            None
        }
        None => user,
    };
    Some(EmailSettings {
        backend,
        host: host.unwrap_or_default(),
        port,
        security,
        user: env.optional("EMAIL_HOST_USER"),
        password: env.password("EMAIL_HOST_PASSWORD").map(Into::into),
        from: from.unwrap_or_default(),
        timeout,
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
            env.problem("EMAIL_BACKEND", "write smtp or file");
            None
        }
    }
}

fn whatsapp(env: &mut Environment) -> Option<WhatsappSettings> {
    let timeout = env.seconds("EVOLUTION_TIMEOUT", 0.1);
    env.optional("EVOLUTION_API_URL")?;
    let url = env.checked("EVOLUTION_API_URL", |text| match Url::parse(text) {
        Ok(url) if url.query().is_some() || url.fragment().is_some() => Err("leave out everything from the ? or # on"),
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text.to_owned()),
        _ => Err("write http://… or https://…"),
    });
    let api_key = env.required_with("EVOLUTION_API_KEY", "EVOLUTION_API_URL");
    if !api_key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        env.problem("EVOLUTION_API_KEY", "it has letters that no HTTP header may have; copy it again");
    }
    Some(WhatsappSettings {
        url: url.unwrap_or_default().trim_end_matches('/').to_owned(),
        api_key: api_key.into(),
        instance: env.required_with("EVOLUTION_INSTANCE", "EVOLUTION_API_URL"),
        timeout,
    })
}

/// Whose telephone notifications go out from.
fn through_bridge(env: &mut Environment) -> bool {
    let (evolution, bridge) =
        (env.optional("EVOLUTION_API_URL").is_some(), env.optional("WHATSAPP_SERVICE_URL").is_some());
    match env.text("WHATSAPP_PROVIDER").as_str() {
        "" => bridge && !evolution,
        "evolution" => false,
        "bridge" if bridge => true,
        "bridge" => {
            env.problem("WHATSAPP_PROVIDER", "set WHATSAPP_SERVICE_URL too, or leave it out");
            false
        }
        _ => {
            env.problem("WHATSAPP_PROVIDER", "write evolution or bridge");
            false
        }
    }
}

fn push(env: &mut Environment) -> Option<PushSettings> {
    let needed = if env.optional("VAPID_PUBLIC_KEY").is_some() { "VAPID_PUBLIC_KEY" } else { "VAPID_PRIVATE_KEY" };
    let timeout = env.seconds("PUSH_TIMEOUT", 0.1);
    env.optional(needed)?;
    let public_key = env.required_with("VAPID_PUBLIC_KEY", needed);
    let private_key = env.required_with("VAPID_PRIVATE_KEY", needed);
    env.required_with("VAPID_CONTACT_EMAIL", needed);
    let subject = env.checked("VAPID_CONTACT_EMAIL", contact);
    let keys = [&public_key, &private_key].map(|key| key_bytes(key));
    if !public_key.is_empty() && !private_key.is_empty() && !is_pair(&keys) {
        env.problem("VAPID_PUBLIC_KEY", "it and VAPID_PRIVATE_KEY are not a pair; make one with `recado vapid-keys`");
    }
    let [public_key, private_key] = keys.map(|key| URL_SAFE_NO_PAD.encode(key.unwrap_or_default()));
    Some(PushSettings { public_key, private_key: private_key.into(), subject: subject.unwrap_or_default(), timeout })
}

/// base64url as browsers take it, or base64 as other programs print it.
fn key_bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=').replace('+', "-").replace('/', "_")).ok()
}

/// Whether these are a point of P-256 and the scalar that belongs to it.
fn is_pair([public, private]: &[Option<Vec<u8>>; 2]) -> bool {
    let (Some(public), Some(private)) = (public, private) else { return false };
    let point_of = |scalar: &[u8]| -> Result<Vec<u8>, ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let mut context = BigNumContext::new()?;
        let mut point = EcPoint::new(&group)?;
        point.mul_generator2(&group, &*BigNum::from_slice(scalar)?, &mut context)?;
        point.to_bytes(&group, PointConversionForm::UNCOMPRESSED, &mut context)
    };
    private.len() == 32 && point_of(private).is_ok_and(|point| point == *public)
}

/// Whom a push service may write to (RFC 8292, section 2.1). Apple's refuses what cannot be an address on the internet.
fn contact(text: &str) -> Result<String, String> {
    if text.starts_with("https:") {
        let url = outbound::check_url(text, false).map_err(|error| error.to_string())?;
        return Ok(url.into());
    }
    let remedy = "write an address alone, such as taller@example.com";
    let address = addresses::normalise_email(text.strip_prefix("mailto:").unwrap_or(text));
    let address = address.map_err(|_| remedy.to_owned())?;
    if address.is_ascii() { Ok(format!("mailto:{address}")) } else { Err(format!("{remedy}, in ASCII")) }
}

fn unknown_customer(env: &mut Environment) -> UnknownCustomer {
    match env.text("DISPATCH_UNKNOWN_CUSTOMER").as_str() {
        "reject" => UnknownCustomer::Reject,
        "defer" => UnknownCustomer::Defer,
        "create" => UnknownCustomer::Create,
        _ => {
            env.problem("DISPATCH_UNKNOWN_CUSTOMER", "write reject, defer or create");
            UnknownCustomer::Reject
        }
    }
}

/// Reads variables and collects what is wrong with them.
struct Environment<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
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

    /// The value as `check` reads it. `None` when there is none, or when it is wrong, which is then a problem.
    fn checked<T, E: fmt::Display>(&mut self, name: &str, check: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        check(&self.optional(name)?).map_err(|remedy| self.problem(name, &remedy.to_string())).ok()
    }

    /// A password, in which blanks may be letters; only the end of its line is dropped, which files bring along.
    fn password(&self, name: &str) -> Option<String> {
        self.optional(name)?;
        (self.get)(name).map(|value| value.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn required_with(&mut self, name: &str, because: &str) -> String {
        let value = self.text(name);
        if value.is_empty() {
            self.problems.push(Problem::of(name, format!("is needed because {because} is set")));
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
            _ => {
                self.problem(name, "write true or false");
                default
            }
        }
    }

    fn number(&mut self, name: &str, least: u32, most: u32) -> u32 {
        let text = self.text(name);
        text.parse().ok().filter(|number| (least..=most).contains(number)).unwrap_or_else(|| {
            self.problem(name, &format!("write a number from {least} to {most}"));
            least
        })
    }

    fn seconds(&mut self, name: &str, least: f64) -> Duration {
        let text = self.text(name);
        let seconds = text.parse().ok().filter(|seconds: &f64| *seconds >= least && *seconds <= 86_400.0 * 30.0);
        Duration::from_secs_f64(seconds.unwrap_or_else(|| {
            self.problem(name, &format!("write seconds, at least {least}"));
            least
        }))
    }

    fn days(&mut self, name: &str) -> Duration {
        Duration::from_secs(u64::from(self.number(name, 1, 36_500)) * 86_400)
    }

    fn parse<T: FromStr + Default>(&mut self, name: &str, remedy: &str) -> T {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| {
            self.problem(name, remedy);
            T::default()
        })
    }

    fn address(&mut self, name: &str, text: &str) -> Option<SocketAddr> {
        use std::net::ToSocketAddrs;
        let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        if found.is_none() {
            self.problem(name, "write host:port, e.g. 127.0.0.1:8000");
        }
        found
    }

    fn problem(&mut self, name: &str, remedy: &str) {
        self.problems.push(Problem::of(name, format!("cannot be used: {remedy}")));
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
        assert_eq!(config.database_url.shown(), ".recado/recado.db");
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

    /// Each of these passed the start, and failed every message.
    #[test]
    fn a_setting_gets_the_check_that_its_first_use_makes() {
        let vapid = (
            "VAPID_PUBLIC_KEY",
            "BD5yz0kKXX6-X_PtU9YxPDkyfXrkBpwgA-fzLcg3GYIMHcxjHHXgbL7QRE1gJbpjUXhAnIRTlwpU8-oW_kMYH_s",
        );
        let wrong: [&[(&str, &str)]; 35] = [
            &[("EMAIL_PORT", "hunter2")],
            &[("EVOLUTION_TIMEOUT", "soon")],
            &[("PUSH_TIMEOUT", "-1")],
            &[("EMAIL_HOST", "smtp.example.com:587"), ("DEFAULT_FROM_EMAIL", "a@b.co")],
            &[("EMAIL_HOST", "smtp://smtp.example.com"), ("DEFAULT_FROM_EMAIL", "a@b.co")],
            &[("EMAIL_HOST", "\"smtp.example.com\""), ("DEFAULT_FROM_EMAIL", "a@b.co")],
            &[("EMAIL_HELO_NAME", "vm")],
            &[("DEFAULT_FROM_EMAIL", "webmaster@localhost")],
            &[("DEFAULT_FROM_EMAIL", "los-avisos")],
            &[("DEFAULT_COUNTRY", "Ecuador")],
            &[("DEFAULT_COUNTRY", "+593")],
            &[("VAPID_CONTACT_EMAIL", "los-avisos"), vapid],
            &[("VAPID_CONTACT_EMAIL", "admin@localhost"), vapid],
            &[("VAPID_CONTACT_EMAIL", "Taller <a@b.co>"), vapid],
            &[("VAPID_CONTACT_EMAIL", "https://localhost/"), vapid],
            &[("VAPID_PUBLIC_KEY", "BPub"), ("VAPID_PRIVATE_KEY", "priv"), ("VAPID_CONTACT_EMAIL", "a@b.co")],
            &[("VAPID_PUBLIC_KEY", ""), ("VAPID_PRIVATE_KEY", "priv"), ("VAPID_CONTACT_EMAIL", "a@b.co")],
            &[("RUST_LOG", "x==")],
            &[("RUST_LOG", "WARNING")],
            &[("DATABASE_URL", "mysql://u:hunter2@h/d")],
            &[("SQLALCHEMY_DATABASE_URI", "sqlite::memory:")],
            &[("REDIS_URL", "rediss://h/0?ssl_cert_reqs=none")],
            &[("REDIS_URL", "rediss://h/0?ssl_ca_certs=/nowhere/ca.pem")],
            &[("REDIS_SSL_CAFILE", "/dev/null"), ("REDIS_URL", "rediss://h/0")],
            &[("RECADO_HOME", "~/recado")],
            &[("RECADO_HOME", "/dev/../etc/hostname")],
            &[("FRONTEND_URL", "taller.example.com")],
            &[("FRONTEND_URL", "https://u:hunter2@taller.example.com")],
            &[("PUBLIC_URL", "https://u:hunter2@taller.example.com")],
            &[("EVOLUTION_API_URL", "ftp://evolution"), ("EVOLUTION_API_KEY", "k"), ("EVOLUTION_INSTANCE", "i")],
            &[("EVOLUTION_API_URL", "http://h?x=1"), ("EVOLUTION_API_KEY", "k"), ("EVOLUTION_INSTANCE", "i")],
            &[("EVOLUTION_API_KEY", "clavé"), ("EVOLUTION_API_URL", "http://h"), ("EVOLUTION_INSTANCE", "i")],
            &[("API_KEYS", "a key that has blanks in it")],
            &[("ALLOWED_HOSTS", "https://avisos.example.com")],
            &[("LISTEN", "8009")],
        ];
        for pairs in wrong {
            let read =
                Config::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()));
            let told = read.err().unwrap_or_else(|| panic!("{pairs:?} was taken")).to_string();
            let (name, value) = pairs[0];
            assert!(told.contains(&format!("- {name} ")), "{pairs:?}: {told}");
            assert!(value.is_empty() || !told.contains(value) && !told.contains("hunter2"), "{told}");
        }
    }

    /// A sender with an international domain failed every mail, and the recipient was blamed (bitwarden/server#1512,
    /// dart-mailer/mailer#33, anymail/django-anymail#444, jstedfast/MailKit#1780).
    #[test]
    fn addresses_are_taken_in_the_form_in_which_they_travel() {
        let read = |pairs: &[(&str, &str)]| {
            let get = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            Config::read(get).expect("valid")
        };
        let config = read(&[
            ("EMAIL_HOST", "correo.señal.ec"),
            ("EMAIL_HOST_PASSWORD", " pa ss \r\n"),
            ("DEFAULT_FROM_EMAIL", "Taller Ñandú <avisos@SEÑAL.example>"),
            ("DEFAULT_COUNTRY", "ec"),
        ]);
        let email = config.email.expect("configured");
        assert_eq!(email.host, "correo.xn--seal-hqa.ec");
        assert_eq!(email.from, "Taller Ñandú <avisos@xn--seal-hqa.example>");
        assert_eq!(config.default_from.as_ref(), Some(&email.from));
        assert_eq!(email.password.expect("set").expose_secret(), " pa ss ");
        assert_eq!(config.default_country, "EC");
        let config = read(&[("EMAIL_HOST", "[::1]"), ("EMAIL_HOST_USER", "avisos@señal.example")]);
        let email = config.email.expect("configured");
        assert_eq!((email.host.as_str(), email.from.as_str()), ("::1", "avisos@xn--seal-hqa.example"));

        let contact = |text| contact(text).expect(text);
        assert_eq!(contact("taller@señal.ec"), "mailto:taller@xn--seal-hqa.ec");
        assert_eq!(contact("mailto:a@b.co"), "mailto:a@b.co");
        assert_eq!(contact("https://b.co/contact"), "https://b.co/contact");
    }

    #[test]
    fn a_mistake_says_where_it_stands() {
        let error =
            Config::from_pairs([("EMAIL_PORT", "hunter2"), ("EMAIL_HOST", "h"), ("DEFAULT_FROM_EMAIL", "a@b.co")]);
        let lines = BTreeMap::from([("EMAIL_PORT".to_owned(), 7)]);
        let told = error.expect_err("that is no port").in_lines(&lines).to_string();
        assert!(told.contains("EMAIL_PORT (line 7 of .env) cannot be used: write a number"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
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

    /// The setting of django-cors-headers, and the front end's own address, which may have a path.
    #[test]
    fn origins_are_those_that_browsers_name() {
        let origins = |frontend, others| {
            let pairs = [("FRONTEND_URL", frontend), ("CORS_ALLOWED_ORIGINS", others)];
            Config::from_pairs(pairs).map(|config| config.cors_origins)
        };
        let both = origins("https://App.example.com:443/taller/", "http://localhost:3000, https://señal.ec/");
        let expected = ["https://app.example.com", "http://localhost:3000", "https://xn--seal-hqa.ec"];
        assert_eq!(both.expect("valid"), expected);
        assert!(origins("", "").expect("valid").is_empty());
        for wrong in ["*", "localhost:3000", "https://app.example.com/taller", "app.example.com"] {
            let error = origins("", wrong).expect_err(wrong).to_string();
            assert!(error.contains("CORS_ALLOWED_ORIGINS"), "{error}");
        }
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
