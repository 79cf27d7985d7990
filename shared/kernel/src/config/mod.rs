//! Configuration: environment variables, read once, at the start. [`VARIABLES`] documents every one of them.

mod environment;
mod reading;
mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use self::environment::Environment;
pub use self::variables::{VARIABLES, Variable, example};
use crate::host_names::{AllowedHosts, HeloName};
use crate::networks::Network;
use crate::outbound::Reach;
use crate::retry::RetryPolicy;
use crate::server_urls::{DatabaseUrl, Pooler};
use crate::word_enum;

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
    /// Where the sandbox tells what arrived, and takes faults; its path ends with a slash. `None`: there is none, as in every production.
    /// No variable says so.
    pub sandbox_url: Option<String>,
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
    /// How long a session may be connecting before they are.
    pub reconnect_grace: Duration,
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
    pub kind: BridgeKind,
}

/// Which kind of service a bridge is.
#[derive(Clone, Debug)]
pub enum BridgeKind {
    /// The Node service around `whatsapp-web.js`.
    Node,
    /// An instance of Evolution API.
    Evolution { instance: String, api_key: SecretString },
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
        let home = reading::home(&mut env);
        let redis = reading::redis(&mut env);
        let config = Self {
            database_url: reading::database_url(&mut env, &home),
            database_max_connections: env.number("DATABASE_MAX_CONNECTIONS", 1, 1000),
            database_pooler: env.parse("DATABASE_POOLER", "write auto, transaction or session"),
            redis_authorities: reading::redis_authorities(&mut env, redis.as_ref()),
            redis_url: redis.map(|redis| redis.url),
            listen: env.list("LISTEN").iter().filter_map(|address| env.address("LISTEN", address)).collect(),
            api_max_connections: env.number("API_MAX_CONNECTIONS", 0, 1_000_000),
            api_body_memory: env.number("API_BODY_MEMORY_MIB", 8, 1_000_000) as usize * 1024 * 1024,
            trusted_proxies: reading::networks(&mut env, "TRUSTED_PROXIES"),
            cors_origins: reading::cors_origins(&mut env),
            metrics_listen: env.optional("METRICS_LISTEN").and_then(|address| env.address("METRICS_LISTEN", &address)),
            log_json: reading::log_json(&mut env),
            log_filter: reading::log_filter(&mut env),
            time_zone: env.parse("TIME_ZONE", "name a zone of the IANA database, e.g. America/Guayaquil"),
            access: reading::access(&mut env),
            secret_key: env.optional("SECRET_KEY").map(Into::into),
            api_rate_limit_per_minute: env.number("API_RATE_LIMIT_PER_MINUTE", 0, 100_000_000),
            public_url: reading::public_url(&mut env),
            email: reading::email(&mut env, &home),
            stand_ins: false,
            sandbox_url: None,
            email_helo_name: env.checked("EMAIL_HELO_NAME", str::parse),
            default_from: reading::sender(&mut env),
            whatsapp: reading::whatsapp(&mut env),
            push: reading::push(&mut env),
            whatsapp_through_bridge: reading::through_bridge(&mut env),
            whatsapp_rate_per_minute: env.number("WHATSAPP_RATE_PER_MINUTE", 0, 100_000),
            recipient_throttle_per_hour: env.number("RECIPIENT_THROTTLE_PER_HOUR", 0, 100_000),
            frontend_url: env.checked("FRONTEND_URL", |url| reading::web_url(url).map(|_| url.to_owned())),
            retry: RetryPolicy {
                max_attempts: env.number("NOTIFICATION_MAX_ATTEMPTS", 1, 20),
                base: env.seconds("NOTIFICATION_RETRY_BASE_SECONDS", 0.001),
            },
            unknown_outcome_window: env.seconds("UNKNOWN_OUTCOME_WINDOW_SECONDS", 0.0),
            unknown_customer: reading::unknown_customer(&mut env),
            template_strict_case: env.flag("TEMPLATE_STRICT_CASE"),
            default_country: reading::default_country(&mut env),
            allow_private_networks: env.flag("OUTBOUND_ALLOW_PRIVATE_NETWORKS"),
            outbound_networks: reading::networks(&mut env, "OUTBOUND_ALLOWED_NETWORKS"),
            webhook_retry_schedule: reading::webhook_retry_schedule(&mut env),
            webhook_retention: env.days("WEBHOOK_RETENTION_DAYS"),
            webhook_tolerance_seconds: env.number("WEBHOOK_TOLERANCE_SECONDS", 0, 7 * 86_400).into(),
            partner_require_kyc: env.flag("PARTNER_REQUIRE_KYC"),
            crm: reading::crm(&mut env),
            conversations: reading::conversations(&mut env),
            console: ConsoleSettings {
                environment: env.optional("ENVIRONMENT_NAME"),
                colour: env.parse("ENVIRONMENT_COLOR", "choose gray, blue, green, amber or red"),
                trusted_header: env.checked("CONSOLE_TRUSTED_HEADER", reading::header_name),
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

        let contact = |text| reading::contact(text).expect(text);
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
