//! The ways to a person, as providers: what all of them share, and [`Providers`], which chooses by the recipient.
//!
//! To add a channel, write its adapter beside these: its own reading of its provider's answers, mapped once to
//! [`SendFailure`]. An adapter returns facts and changes no data.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use recado_shared::channels::Channel;
use recado_shared::clock::{Clock, Timestamp};
use recado_shared::config::Config;
use recado_shared::fallback::FailureClass;
use recado_shared::ids::Id;

mod email;
mod push;
mod smtp;
mod whatsapp;

/// One message, as it was rendered at the door, for one person on one channel. `Debug` shows only its ids.
pub struct Message {
    pub notification_id: Id,
    pub correlation_id: Id,
    pub recipient: Recipient,
    /// Subject of an email, title of a push; WhatsApp has none.
    pub subject: String,
    pub body: String,
    /// The body is HTML; otherwise what looks like it is only text.
    pub is_html: bool,
    /// What a click on a push opens.
    pub click_url: Option<String>,
    /// With which the person switches this channel off (RFC 8058); only emails carry it.
    pub unsubscribe_url: Option<String>,
}

/// Whom to reach, and thereby on which channel.
pub enum Recipient {
    Email(String),
    /// E.164, with its `+`.
    Whatsapp(String),
    /// Every device of the person.
    Push(Vec<Subscription>),
}

/// A browser that asked for pushes (RFC 8030). The endpoint is a secret: whoever knows it may send to that browser.
pub struct Subscription {
    pub id: Id,
    pub endpoint: String,
    /// The browser's public key, base64url.
    pub p256dh: String,
    /// Its authentication secret, base64url.
    pub auth: String,
}

/// What a provider said when it took the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The name under which later receipts speak of this message.
    pub provider_message_id: Option<String>,
    /// HTTP status or SMTP code.
    pub status: Option<u16>,
    /// The provider's words, at most [`ANSWER_LENGTH`] characters, without secrets.
    pub answer: String,
    /// Push subscriptions that no longer exist.
    pub gone: Vec<Id>,
}

/// Why a provider did not take the message, read once, here, where its dialect is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendFailure {
    pub class: FailureClass,
    /// A stable code for programs (S002-71).
    pub code: &'static str,
    /// A sentence for people. It names no address, so that it may be logged.
    pub reason: String,
    /// HTTP status or SMTP code, where there was an answer.
    pub status: Option<u16>,
    /// The provider's words, at most [`ANSWER_LENGTH`] characters, without secrets. They may name the recipient.
    pub answer: Option<String>,
    /// The earliest time at which the provider wants to hear from us again.
    pub retry_after: Option<Duration>,
    /// Push subscriptions that no longer exist.
    pub gone: Vec<Id>,
    /// The recipient's address itself was refused for good: nobody should write to it again.
    pub bounced: bool,
}

/// What became of a message whose outcome was unknown (d27).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    Sent(Receipt),
    /// The provider keeps record and has none of this message.
    NotFound,
    /// The provider keeps no record, or does not answer.
    CannotTell,
}

/// Takes messages to people on one channel.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Sends a message. It may be called again for the same message after a failure.
    async fn send(&self, message: &Message) -> Result<Receipt, SendFailure>;

    /// After an unknown outcome: did this message leave, at `since` or later?
    async fn find(&self, _message: &Message, _since: Timestamp) -> Lookup {
        Lookup::CannotTell
    }
}

/// The providers that are configured, one per channel at most.
pub struct Providers {
    email: Option<Slot>,
    whatsapp: Option<Slot>,
    push: Option<Slot>,
}

struct Slot {
    provider: Arc<dyn Provider>,
    /// How long one call may take in all. Each adapter keeps its own, finer times; this one ends what they overlook.
    limit: Duration,
}

/// What the adapters have over their own time limits before [`Providers`] cuts them off.
const GRACE: Duration = Duration::from_secs(5);

/// How much of a provider's answer is kept, in characters.
pub const ANSWER_LENGTH: usize = 500;

/// Settings with which a provider cannot work. The variable and the remedy are named.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("{variable} {problem}")]
    Setting { variable: &'static str, problem: String },
    #[error("the certificate authority in EMAIL_SSL_CAFILE ({}) cannot be read; name a readable PEM file", path.display())]
    CaFile { path: PathBuf, source: std::io::Error },
    #[error("TLS cannot be set up; is the system's trust store (ca-certificates) installed?")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Providers {
    /// Sets up what is configured. Connections are made later, with the first message.
    ///
    /// # Errors
    /// When a setting is unusable: an address, a key or a file.
    pub fn new(config: &Config, clock: &Clock) -> Result<Self, ProviderError> {
        let mut providers = Self { email: None, whatsapp: None, push: None };
        if let Some(settings) = &config.email {
            let email = email::Email::new(settings, clock)?;
            providers.email = Some(Slot { provider: Arc::new(email), limit: settings.timeout + GRACE });
        }
        if let Some(settings) = &config.whatsapp {
            let whatsapp = whatsapp::Whatsapp::new(settings, clock)?;
            providers.whatsapp = Some(Slot { provider: Arc::new(whatsapp), limit: settings.timeout + GRACE });
        }
        if let Some(settings) = &config.push {
            let push = push::Push::new(settings, config.allow_private_networks, clock)?;
            providers.push = Some(Slot { provider: Arc::new(push), limit: settings.timeout + GRACE });
        }
        Ok(providers)
    }

    pub fn is_configured(&self, channel: Channel) -> bool {
        self.slot(channel).is_some()
    }

    /// Sends a message on the channel of its recipient.
    ///
    /// # Errors
    /// What went wrong and of which kind it is. A channel that is not configured is [`FailureClass::Misconfigured`].
    pub async fn send(&self, message: &Message) -> Result<Receipt, SendFailure> {
        let channel = message.recipient.channel();
        let Some(slot) = self.slot(channel) else {
            return Err(not_configured(channel));
        };
        let limit = slot.limit * message.recipient.rounds();
        let outcome = tokio::time::timeout(limit, slot.provider.send(message)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(timed_out(channel, limit)));
        if let Err(failure) = &outcome
            && failure.class == FailureClass::Misconfigured
        {
            tracing::error!(
                channel = channel.as_str(),
                code = failure.code,
                status = failure.status,
                notification.id = %message.notification_id,
                "{channel} cannot send until its settings are corrected: {}",
                failure.reason,
            );
        }
        outcome
    }

    /// Asks the provider whether a message of unknown outcome left at `since` or later.
    pub async fn find(&self, message: &Message, since: Timestamp) -> Lookup {
        let Some(slot) = self.slot(message.recipient.channel()) else {
            return Lookup::CannotTell;
        };
        tokio::time::timeout(slot.limit, slot.provider.find(message, since)).await.unwrap_or(Lookup::CannotTell)
    }

    fn slot(&self, channel: Channel) -> Option<&Slot> {
        match channel {
            Channel::Email => self.email.as_ref(),
            Channel::Whatsapp => self.whatsapp.as_ref(),
            Channel::Push => self.push.as_ref(),
        }
    }
}

impl Recipient {
    pub fn channel(&self) -> Channel {
        match self {
            Self::Email(_) => Channel::Email,
            Self::Whatsapp(_) => Channel::Whatsapp,
            Self::Push(_) => Channel::Push,
        }
    }

    /// How many times the provider's own time limit sending may take: devices are served a few at once.
    fn rounds(&self) -> u32 {
        match self {
            Self::Email(_) | Self::Whatsapp(_) => 1,
            Self::Push(devices) => u32::try_from(devices.len().div_ceil(push::AT_ONCE)).unwrap_or(u32::MAX).max(1),
        }
    }
}

impl SendFailure {
    /// A failure of which nothing is known but this.
    pub fn new(class: FailureClass, code: &'static str, reason: impl Into<String>) -> Self {
        Self {
            class,
            code,
            reason: reason.into(),
            status: None,
            answer: None,
            retry_after: None,
            gone: Vec::new(),
            bounced: false,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("notification_id", &self.notification_id)
            .field("correlation_id", &self.correlation_id)
            .field("channel", &self.recipient.channel())
            .finish_non_exhaustive()
    }
}

/// HTML as text that people can read.
pub fn plain_text(html: &str) -> String {
    email::text_of(html)
}

fn not_configured(channel: Channel) -> SendFailure {
    let (code, variable) = match channel {
        Channel::Email => ("EMAIL_NOT_CONFIGURED", "EMAIL_HOST"),
        Channel::Whatsapp => ("WHATSAPP_NOT_CONFIGURED", "EVOLUTION_API_URL"),
        Channel::Push => ("PUSH_NOT_CONFIGURED", "VAPID_PUBLIC_KEY"),
    };
    let reason = format!("the channel {channel} is not configured; set {variable}");
    SendFailure::new(FailureClass::Misconfigured, code, reason)
}

/// Which of the classes a silence belongs to depends on what a second message would do: WhatsApp shows it twice; mail
/// programs and browsers recognise it by its Message-ID and its tag.
fn timed_out(channel: Channel, limit: Duration) -> SendFailure {
    let (class, code) = match channel {
        Channel::Email => (FailureClass::Transient, email::FAILED),
        Channel::Whatsapp => (FailureClass::Unknown, whatsapp::TIMEOUT),
        Channel::Push => (FailureClass::Transient, push::FAILED),
    };
    SendFailure::new(class, code, format!("no answer within {} s", limit.as_secs_f64()))
}

/// A message was handed to the adapter of another channel: an error of ours, not of the caller.
fn wrong_adapter(message: &Message, code: &'static str) -> SendFailure {
    let channel = message.recipient.channel();
    SendFailure::new(
        FailureClass::Permanent,
        code,
        format!("a message for {channel} reached the adapter of another channel"),
    )
}

/// The beginning of a provider's answer, on one line, without `secret`.
fn excerpt(answer: &str, secret: Option<&str>) -> String {
    let clean = match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => answer.replace(secret, "***"),
        None => answer.to_owned(),
    };
    let one_line: String = clean.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shorten(one_line.trim(), ANSWER_LENGTH)
}

/// At most `limit` characters; an ellipsis stands for what was cut.
fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(recipient: Recipient) -> Message {
        Message {
            notification_id: Id::of_name("notification"),
            correlation_id: Id::of_name("correlation"),
            recipient,
            subject: "Su vehículo está listo".into(),
            body: "Hola, María".into(),
            is_html: false,
            click_url: Some("https://taller.example.com/ordenes/7".into()),
            unsubscribe_url: None,
        }
    }

    #[tokio::test]
    async fn a_channel_without_settings_says_which_variable_to_set() {
        let providers = Providers::new(&Config::from_pairs([]).unwrap(), &Clock::system()).unwrap();
        let table = [
            (Recipient::Email("maria@example.com".into()), "EMAIL_NOT_CONFIGURED", "EMAIL_HOST"),
            (Recipient::Whatsapp("+593991234567".into()), "WHATSAPP_NOT_CONFIGURED", "EVOLUTION_API_URL"),
            (Recipient::Push(Vec::new()), "PUSH_NOT_CONFIGURED", "VAPID_PUBLIC_KEY"),
        ];
        for (recipient, code, variable) in table {
            let message = message(recipient);
            assert!(!providers.is_configured(message.recipient.channel()));
            let failure = providers.send(&message).await.unwrap_err();
            assert_eq!((failure.class, failure.code), (FailureClass::Misconfigured, code));
            assert!(failure.reason.contains(variable), "{}", failure.reason);
            assert_eq!(providers.find(&message, Clock::system().now()).await, Lookup::CannotTell);
        }
    }

    /// A provider that never comes back, as a bug in an adapter would look.
    struct Silent;

    #[async_trait]
    impl Provider for Silent {
        async fn send(&self, _: &Message) -> Result<Receipt, SendFailure> {
            std::future::pending().await
        }

        async fn find(&self, _: &Message, _: Timestamp) -> Lookup {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_provider_that_hangs_is_cut_off() {
        let slot = || Some(Slot { provider: Arc::new(Silent), limit: Duration::from_millis(10) });
        let providers = Providers { email: slot(), whatsapp: slot(), push: slot() };
        let table = [
            (Recipient::Email("maria@example.com".into()), FailureClass::Transient, "EMAIL_SEND_FAILED"),
            (Recipient::Whatsapp("+593991234567".into()), FailureClass::Unknown, "WHATSAPP_TIMEOUT"),
            (Recipient::Push(Vec::new()), FailureClass::Transient, "WEBPUSH_ERROR"),
        ];
        for (recipient, class, code) in table {
            let message = message(recipient);
            let failure = providers.send(&message).await.unwrap_err();
            assert_eq!((failure.class, failure.code), (class, code));
            assert_eq!(providers.find(&message, Clock::system().now()).await, Lookup::CannotTell);
        }
    }

    #[test]
    fn every_setting_that_cannot_work_is_named() {
        let mail = |from| [("EMAIL_HOST", "smtp.example.com"), ("DEFAULT_FROM_EMAIL", from)];
        let refused = |config: Config| Providers::new(&config, &Clock::system()).err().expect("refused").to_string();
        assert!(refused(Config::from_pairs(mail("taller")).unwrap()).contains("DEFAULT_FROM_EMAIL"));
        let mut config = Config::from_pairs(mail("taller@example.com")).unwrap();
        config.email.as_mut().unwrap().ca_file = Some("/nowhere/ca.pem".into());
        assert!(refused(config).contains("EMAIL_SSL_CAFILE"));
    }

    #[test]
    fn neither_addresses_nor_words_show() {
        let push = Recipient::Push(vec![Subscription {
            id: Id::of_name("device"),
            endpoint: "https://push.example.com/secret".into(),
            p256dh: "key".into(),
            auth: "secret".into(),
        }]);
        for recipient in
            [Recipient::Email("maria@example.com".into()), Recipient::Whatsapp("+593991234567".into()), push]
        {
            let shown = format!("{:?}", message(recipient));
            for private in ["maria", "593", "secret", "Hola", "vehículo", "taller"] {
                assert!(!shown.contains(private), "{shown}");
            }
        }
    }

    #[test]
    fn answers_are_kept_short_and_without_secrets() {
        assert_eq!(excerpt("apikey KEY-1\r\nis wrong ", Some("KEY-1")), "apikey ***  is wrong");
        assert_eq!(excerpt("as it is", Some("")), "as it is");
        assert_eq!(excerpt(&"ñ".repeat(501), None).chars().count(), ANSWER_LENGTH);
        assert!(excerpt(&"ñ".repeat(501), None).ends_with("ñ…"));
        assert_eq!(excerpt(&"ñ".repeat(500), None), "ñ".repeat(500));
    }
}
