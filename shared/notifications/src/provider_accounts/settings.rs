//! The settings of a provider account: those of an SMTP server, or of an Evolution instance.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::channels::Channel;
use recado_kernel::addresses::Mailbox;
use recado_kernel::config::{EmailBackend, EmailSecurity, EmailSettings, WhatsappSettings};
use recado_kernel::fields::{Wrong, between, blank, check_text, required};
use recado_kernel::host_names::server_name;
use recado_kernel::language::Sentence;
use recado_kernel::outbound::{OutboundError, check_host, check_url};
use recado_kernel::word_enum;

/// What is no secret. Which fields there are depends on the channel.
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
            host: self
                .host
                .as_deref()
                .map(|host| server_name(host).unwrap_or_else(|_| host.to_owned()))
                .unwrap_or_default(),
            port: self.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual_port),
            security: match security {
                Security::StartTls => EmailSecurity::StartTls,
                Security::Tls => EmailSecurity::ImplicitTls,
                Security::Plain => EmailSecurity::Plain,
            },
            user: self.user.clone(),
            password: secret,
            from: as_it_travels(from),
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

    /// Where the account leads. A change of it asks for the secret again.
    pub(super) fn destination(&self) -> [Option<String>; 4] {
        let port = self.port.map(|port| port.to_string());
        let security = self.security.map(|security| format!("{security:?}"));
        [self.host.clone().or(self.url.clone()), port, security, self.user.clone()]
    }

    /// What is wrong with them for this channel; every error names its field.
    pub(super) fn errors(&self, channel: Channel, allow_private: bool) -> Wrong {
        let mut errors = Wrong::new();
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
                    errors.push((*field, required()));
                }
                if of != channel && *is_there {
                    let wrong = Sentence::new(
                        format!("No se usa en el canal {channel}; quítelo."),
                        format!("The channel {channel} does not use it; remove it."),
                    );
                    errors.push((*field, wrong));
                }
            }
        }
        self.check_values(&mut errors, allow_private);
        errors
    }

    fn check_values(&self, errors: &mut Wrong, allow_private: bool) {
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
                errors.push((field, blank()));
            }
        }
        let numbers = [
            ("settings.port", self.port, 1..=65_535),
            ("settings.rate_per_minute", self.rate_per_minute, 0..=100_000),
            ("settings.timeout", self.timeout, 1..=LONGEST_TIMEOUT),
        ];
        for (field, value, range) in numbers {
            if value.is_some_and(|value| !range.contains(&value)) {
                errors.push((field, between(range.start(), range.end())));
            }
        }
        check_sender(errors, "settings.from_email", self.from_email.as_deref());
        if let Some(Err(error)) = self.host.as_deref().map(|host| check_host(host, allow_private)) {
            let is_no_name = matches!(error, OutboundError::NotAUrl);
            errors.push(("settings.host", if is_no_name { no_host() } else { explain(&error) }));
        }
        if let Some(Err(error)) = self.url.as_deref().map(|url| check_url(url, allow_private)) {
            errors.push(("settings.url", explain(&error)));
        }
    }
}

fn no_host() -> Sentence {
    Sentence::new(
        "No es el nombre de un servidor; escriba por ejemplo smtp.example.com, y el puerto en `settings.port`.",
        "This is not the name of a server; write for example smtp.example.com, and the port in `settings.port`.",
    )
}

fn explain(error: &OutboundError) -> Sentence {
    match error {
        OutboundError::NotAUrl => Sentence::new(
            "No es una dirección válida; escriba por ejemplo https://evolution.example.com.",
            "This is not a valid address; write for example https://evolution.example.com.",
        ),
        OutboundError::NotHttps => {
            Sentence::new("La URL debe empezar con https://.", "The URL must begin with https://.")
        }
        OutboundError::Credentials => Sentence::new(
            "La URL no puede llevar usuario ni contraseña; use `secret`.",
            "The URL may hold no user name and no password; use `secret`.",
        ),
        OutboundError::NotPublic => Sentence::new(
            "La dirección no es pública; use una que lo sea, o active OUTBOUND_ALLOW_PRIVATE_NETWORKS.",
            "The address is not public; use one that is, or set OUTBOUND_ALLOW_PRIVATE_NETWORKS.",
        ),
        OutboundError::Forbidden => {
            Sentence::new("A esta dirección no se conecta nunca.", "This address is never connected to.")
        }
    }
}

/// A sender of mails with an international domain in the form that every mail server takes. What is no sender stays as it is.
pub(crate) fn as_it_travels(sender: &str) -> String {
    sender.parse().map_or_else(|_| sender.to_owned(), |mailbox: Mailbox| mailbox.to_string())
}

/// A sender of mails is an address, or a name and an address.
pub(crate) fn check_sender(errors: &mut Wrong, field: &'static str, sender: Option<&str>) {
    if sender.is_some_and(|sender| sender.parse::<Mailbox>().is_err()) {
        let wrong = Sentence::new(
            "No es un remitente; escriba una dirección, o nombre y dirección: Taller <taller@example.com>.",
            "This is no sender; write an address, or a name and an address: Taller <taller@example.com>.",
        );
        errors.push((field, wrong));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_dns_knows_them() {
        let host = |host: &str| Settings { host: Some(host.into()), ..Settings::default() }.email(None, None).host;
        assert_eq!(host("correo.señal.ec"), "correo.xn--seal-hqa.ec");
        assert_eq!(host("[2001:db8::1]"), "2001:db8::1");
        let from = |from: &str| Settings::default().email(None, Some(from)).from;
        assert_eq!(from("Taller <avisos@señal.ec>"), "Taller <avisos@xn--seal-hqa.ec>");
        assert_eq!(from("avisos"), "avisos");
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
