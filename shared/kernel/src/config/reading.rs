//! From variables to settings, a function for each that is more than a word or a number.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcPoint, PointConversionForm};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::x509::X509;
use secrecy::SecretString;
use url::Url;

use super::environment::Environment;
use super::{
    Access, BridgeKind, BridgeSettings, CommercialSettings, ConversationsSettings, CrmSettings, EmailBackend,
    EmailSecurity, EmailSettings, Problem, PushSettings, SHORTEST_CREDENTIAL, UnknownCustomer, WhatsappSettings,
};
use crate::addresses::{self, Mailbox};
use crate::host_names::{AllowedHosts, HostError, server_name};
use crate::networks::{Network, NotANetwork};
use crate::outbound;
use crate::server_urls::{DatabaseUrl, RedisUrl};
use crate::telemetry;

pub(super) fn home(env: &mut Environment) -> PathBuf {
    let home: PathBuf = env.text("RECADO_HOME").into();
    if home.starts_with("~") {
        env.problem("RECADO_HOME", "~ is not understood; write the whole path");
    } else if home.is_file() {
        env.problem("RECADO_HOME", "name a folder and not a file");
    }
    home
}

pub(super) fn log_json(env: &mut Environment) -> bool {
    match env.text("LOG_FORMAT").as_str() {
        "text" => false,
        "json" => true,
        _ => {
            env.problem("LOG_FORMAT", "write text or json");
            false
        }
    }
}

pub(super) fn log_filter(env: &mut Environment) -> Option<String> {
    let remedy =
        "write error, warn, info, debug, trace or off, or one of them for each crate: info,recado_worker=debug";
    env.checked("RUST_LOG", |filter| telemetry::is_filter(filter).then(|| filter.to_owned()).ok_or(remedy))
}

pub(super) fn database_url(env: &mut Environment, home: &Path) -> DatabaseUrl {
    // Seed 001 names the same thing after its library (S001-14).
    let set = ["DATABASE_URL", "SQLALCHEMY_DATABASE_URI"].into_iter().find(|name| env.optional(name).is_some());
    let read = set.and_then(|name| env.checked(name, |url| DatabaseUrl::parse(url, Path::exists)));
    read.unwrap_or_else(|| DatabaseUrl::Sqlite(home.join("recado.db")))
}

pub(super) fn redis(env: &mut Environment) -> Option<RedisUrl> {
    env.checked("REDIS_URL", str::parse)
}

/// The certificates of `REDIS_SSL_CAFILE`, or of the file that the URL names.
pub(super) fn redis_authorities(env: &mut Environment, redis: Option<&RedisUrl>) -> Option<Vec<u8>> {
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

pub(super) fn access(env: &mut Environment) -> Access {
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
pub(super) fn header_name(text: &str) -> Result<String, &'static str> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    is_name.then(|| text.to_ascii_lowercase()).ok_or("write the name of a header, e.g. X-Forwarded-User")
}

pub(super) fn networks(env: &mut Environment, variable: &'static str) -> Vec<Network> {
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
pub(super) fn cors_origins(env: &mut Environment) -> Vec<String> {
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

pub(super) fn crm(env: &mut Environment) -> CrmSettings {
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

pub(super) fn conversations(env: &mut Environment) -> ConversationsSettings {
    let timeout = env.seconds("WHATSAPP_SERVICE_TIMEOUT", 0.001);
    let url = env.checked("WHATSAPP_SERVICE_URL", |text| match web_url(text) {
        Ok(_) if text.contains(['?', '#']) => Err("leave out everything from the ? or # on"),
        Ok(_) => Ok(text.trim_end_matches('/').to_owned()),
        Err(remedy) => Err(remedy),
    });
    let evolution_instances = env.list("WHATSAPP_EVOLUTION_INSTANCES");
    let node = url.map(|url| BridgeSettings { url, timeout, kind: BridgeKind::Node });
    ConversationsSettings {
        bridge: node.or_else(|| evolution_bridge(env, evolution_instances.first()?, timeout)),
        cache: env.seconds("WHATSAPP_CACHE_SECONDS", 0.0),
        webhook_secrets: env.list("WHATSAPP_WEBHOOK_SECRET").into_iter().map(Into::into).collect(),
        evolution_instances,
        require_registered_codes: env.flag("WHATSAPP_REQUIRE_REGISTERED_CODES"),
        daily_limit: env.number("WHATSAPP_DAILY_LIMIT", 0, 1_000_000),
        warm_up_days: env.number("WHATSAPP_WARM_UP_DAYS", 0, 365),
        alert_email: env.checked("WHATSAPP_ALERT_EMAIL", |text| {
            addresses::normalise_email(text).map_err(|_| "write one address, e.g. turno@example.com")
        }),
        reconnect_grace: env.seconds("WHATSAPP_RECONNECT_SECONDS", 0.0),
        request_timeout: Duration::from_secs(u64::from(env.number("WHATSAPP_REQUEST_TIMEOUT_HOURS", 1, 8_760)) * 3_600),
        message_retention: env.days("WHATSAPP_MESSAGE_RETENTION_DAYS"),
        request_retention: env.days("WHATSAPP_REQUEST_RETENTION_DAYS"),
    }
}

/// Where there is no Node service, the first instance whose chats are ours is the bridge. Its URL and key are those through which
/// notifications go, and are checked there.
fn evolution_bridge(env: &mut Environment, instance: &str, timeout: Duration) -> Option<BridgeSettings> {
    let url = env.optional("EVOLUTION_API_URL")?.trim_end_matches('/').to_owned();
    let api_key = env.optional("EVOLUTION_API_KEY")?.into();
    Some(BridgeSettings { url, timeout, kind: BridgeKind::Evolution { instance: instance.to_owned(), api_key } })
}

fn crm_secrets(env: &mut Environment) -> Vec<SecretString> {
    let secrets = env.list("CRM_WEBHOOK_SECRET");
    if secrets.iter().any(|secret| !secret.starts_with("whsec_")) {
        env.problem("CRM_WEBHOOK_SECRET", "write whsec_ and base64, as the sending end has it");
    }
    secrets.into_iter().map(Into::into).collect()
}

pub(super) fn webhook_retry_schedule(env: &mut Environment) -> Vec<Duration> {
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

pub(super) fn public_url(env: &mut Environment) -> Option<String> {
    let url = env.checked("PUBLIC_URL", |text| match web_url(text) {
        Ok(_) if text.contains(['<', '>', '?', '#']) => Err("leave out everything from the ? or # on"),
        Ok(_) => Ok(text.to_owned()),
        Err(remedy) => Err(remedy),
    })?;
    Some(url.trim_end_matches('/').to_owned())
}

/// A URL that people or we open.
pub(super) fn web_url(text: &str) -> Result<Url, &'static str> {
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
pub(super) fn sender(env: &mut Environment) -> Option<String> {
    env.checked("DEFAULT_FROM_EMAIL", |text| {
        let remedy = "write an address, or a name and an address: Taller <taller@example.com>";
        text.parse().map(|mailbox: Mailbox| mailbox.to_string()).map_err(|_| remedy)
    })
}

pub(super) fn default_country(env: &mut Environment) -> String {
    let remedy = "write the two letters of a country (ISO 3166-1), such as EC";
    let country = env.checked("DEFAULT_COUNTRY", |country| addresses::country_code(country).ok_or(remedy));
    country.unwrap_or_default()
}

pub(super) fn email(env: &mut Environment, home: &Path) -> Option<EmailSettings> {
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

pub(super) fn whatsapp(env: &mut Environment) -> Option<WhatsappSettings> {
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
pub(super) fn through_bridge(env: &mut Environment) -> bool {
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

pub(super) fn push(env: &mut Environment) -> Option<PushSettings> {
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
pub(super) fn contact(text: &str) -> Result<String, String> {
    if text.starts_with("https:") {
        let url = outbound::check_url(text, false).map_err(|error| error.to_string())?;
        return Ok(url.into());
    }
    let remedy = "write an address alone, such as taller@example.com";
    let address = addresses::normalise_email(text.strip_prefix("mailto:").unwrap_or(text));
    let address = address.map_err(|_| remedy.to_owned())?;
    if address.is_ascii() { Ok(format!("mailto:{address}")) } else { Err(format!("{remedy}, in ASCII")) }
}

pub(super) fn unknown_customer(env: &mut Environment) -> UnknownCustomer {
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
