//! The adapters in use: one per account, so that each keeps its connections.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::config::Config;
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::fallback::FailureClass;
use recado_notifications::provider_accounts::ProviderAccount;

use super::accounts::Account;
use super::failure::{SendFailure, not_configured};
use super::message::Message;
use super::provider::{Lookup, Provider, ProviderError, Record, SendReceipt};
use super::{email, push, whatsapp};
use crate::outbound::Reach;

/// How long a bridge may take for the history of a chat (S003-20).
const HISTORY_TIMEOUT: Duration = Duration::from_secs(60);

/// The most adapters of rows at a time.
const MAX_ADAPTERS: u64 = 1_000;

/// How long an adapter is kept that is not used.
const ADAPTER_IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How much longer than its own time limit a call may take before it is cut off here.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(5);

/// The adapter of every account.
pub(super) struct Adapters {
    environment: Environment,
    /// By the version of the row: an account that did not change keeps its connections.
    of_rows: Cache<(Id, Timestamp), Result<Arc<Adapter>, SendFailure>>,
    config: Arc<Config>,
    clock: Clock,
}

#[derive(Default)]
struct Environment {
    email: Option<Arc<Adapter>>,
    whatsapp: Option<Arc<Adapter>>,
    push: Option<Arc<Adapter>>,
}

/// One account's way to its provider.
pub(super) struct Adapter {
    provider: Box<dyn Provider>,
    /// How long one call may take in all. Each provider keeps its own, finer times; this one ends what they overlook.
    limit: Duration,
}

impl Adapters {
    /// Sets up what the environment configures. Connections are made later, with the first message.
    ///
    /// # Errors
    /// When a setting is unusable: an address, a key or a file.
    pub(super) fn new(
        config: &Arc<Config>,
        clock: &Clock,
        bridge: Option<whatsapp::ThroughBridge>,
    ) -> Result<Self, ProviderError> {
        Ok(Self::with(Environment::new(config, clock, bridge)?, config, clock))
    }

    fn with(environment: Environment, config: &Arc<Config>, clock: &Clock) -> Self {
        let of_rows = Cache::builder().max_capacity(MAX_ADAPTERS).time_to_idle(ADAPTER_IDLE_TIMEOUT).build();
        Self { environment, of_rows, config: config.clone(), clock: clock.clone() }
    }

    /// The channels that the environment configures.
    pub(super) fn of_environment(&self) -> Vec<Channel> {
        Channel::ALL.into_iter().filter(|channel| self.environment.adapter(*channel).is_some()).collect()
    }

    /// The adapter of an account.
    ///
    /// # Errors
    /// When the account's settings cannot work.
    pub(super) async fn of(&self, account: &Account) -> Result<Arc<Adapter>, SendFailure> {
        match &account.row {
            None => {
                let adapter = self.environment.adapter(account.channel);
                adapter.cloned().ok_or_else(|| not_configured(account.channel))
            }
            Some(row) => self.of_rows.get_with((row.id, row.updated_at), async { self.of_row(row) }).await,
        }
    }

    /// A new adapter for a row. What cannot work is remembered like what can, until the row is written again.
    fn of_row(&self, row: &ProviderAccount) -> Result<Arc<Adapter>, SendFailure> {
        let unusable = |reason: String| SendFailure::new(FailureClass::Misconfigured, "ACCOUNT_UNUSABLE", reason);
        let secret = row
            .open_secret(self.config.secret_key.as_ref())
            .map_err(|error| unusable(format!("the account's secret cannot be opened: {error}; write it again")))?;
        let reach = Reach::Guarded { allow_private: self.config.allow_private_networks };
        let adapter = match row.channel {
            Channel::Email => {
                let settings = row.settings.email(secret, self.config.default_from.as_deref());
                let hello = self.config.email_helo_name.clone();
                email::Email::new(&settings, hello, reach, &self.clock)
                    .map(|email| Adapter::new(email, settings.timeout))
            }
            Channel::Whatsapp => {
                let settings = row.settings.whatsapp(secret);
                whatsapp::Whatsapp::new(&settings, reach, &self.clock).map(|one| Adapter::new(one, settings.timeout))
            }
            Channel::Push => return Err(unusable("pushes have the keys of the environment only".to_owned())),
        };
        adapter.map_err(|error| unusable(explain(&error)))
    }
}

impl Environment {
    fn new(config: &Config, clock: &Clock, bridge: Option<whatsapp::ThroughBridge>) -> Result<Self, ProviderError> {
        let mut environment = Self::default();
        if let Some(settings) = &config.email {
            let email = email::Email::new(settings, config.email_helo_name.clone(), Reach::Anywhere, clock)?;
            environment.email = Some(Adapter::new(email, settings.timeout));
        }
        if let Some((bridge, settings)) = bridge.zip(config.conversations.bridge.as_ref()) {
            // A history, by which an unknown outcome is looked up, has a minute.
            environment.whatsapp = Some(Adapter::new(bridge, settings.timeout.max(HISTORY_TIMEOUT)));
        } else if let Some(settings) = &config.whatsapp {
            let whatsapp = whatsapp::Whatsapp::new(settings, Reach::Anywhere, clock)?;
            environment.whatsapp = Some(Adapter::new(whatsapp, settings.timeout));
        }
        if let Some(settings) = &config.push {
            let push = push::Push::new(settings, config.allow_private_networks, clock)?;
            environment.push = Some(Adapter::new(push, settings.timeout));
        }
        Ok(environment)
    }

    fn adapter(&self, channel: Channel) -> Option<&Arc<Adapter>> {
        match channel {
            Channel::Email => self.email.as_ref(),
            Channel::Whatsapp => self.whatsapp.as_ref(),
            Channel::Push => self.push.as_ref(),
        }
    }
}

impl Adapter {
    fn new(provider: impl Provider + 'static, timeout: Duration) -> Arc<Self> {
        Arc::new(Self { provider: Box::new(provider), limit: timeout + TIMEOUT_MARGIN })
    }

    /// Sends a message, within the time limit.
    pub(super) async fn send(&self, message: &Message) -> Result<SendReceipt, SendFailure> {
        let outcome = tokio::time::timeout(self.limit, self.provider.send(message)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(timed_out(message.recipient.channel(), self.limit)));
        outcome.map(SendReceipt::kept).map_err(SendFailure::kept)
    }

    /// Whether the account would take a message of this channel now, within the time limit.
    pub(super) async fn check(&self, channel: Channel) -> Result<String, SendFailure> {
        let outcome = tokio::time::timeout(self.limit, self.provider.check()).await;
        outcome.unwrap_or_else(|_| Err(timed_out(channel, self.limit))).map_err(SendFailure::kept)
    }

    /// After an unknown outcome: what has the provider on record that may be this message, sent at `since` or later?
    pub(super) async fn find(&self, message: &Message, since: Timestamp) -> Lookup {
        match tokio::time::timeout(self.limit, self.provider.find(message, since)).await {
            Ok(Lookup::Records(records)) => Lookup::Records(records.into_iter().filter(Record::fits).collect()),
            Ok(found) => found,
            Err(_) => Lookup::CannotTell,
        }
    }
}

/// The class of a silence depends on what a second message would do: WhatsApp shows it twice; mail programs and browsers
/// recognise it by its Message-ID and its tag.
fn timed_out(channel: Channel, limit: Duration) -> SendFailure {
    let (class, code) = silence(channel);
    SendFailure::new(class, code, format!("no answer within {} s", limit.as_secs_f64()))
}

/// An attempt of which no record was written, because its worker died or was stopped in the middle of it.
pub(crate) fn cut_off(channel: Channel) -> SendFailure {
    let (class, code) = silence(channel);
    SendFailure::new(class, code, "a worker was stopped while it was sending; the message may have left")
}

fn silence(channel: Channel) -> (FailureClass, &'static str) {
    match channel {
        Channel::Email => (FailureClass::Transient, email::FAILED),
        Channel::Whatsapp => (FailureClass::Unknown, whatsapp::TIMEOUT),
        Channel::Push => (FailureClass::Transient, push::FAILED),
    }
}

#[cfg(test)]
mod tests {
    use crate::channels::message::Recipient;
    use async_trait::async_trait;

    use super::*;
    use crate::channels::answer::MAX_ANSWER_CHARS;
    use crate::channels::is_accounts_fault;

    fn adapters(environment: Environment) -> Adapters {
        let config = Arc::new(Config::from_pairs([]).unwrap());
        Adapters::with(environment, &config, &Clock::system())
    }

    fn message(recipient: Recipient) -> Message {
        Message {
            notification_id: Id::of_name("notification"),
            correlation_id: Id::of_name("correlation"),
            recipient,
            subject: String::new(),
            body: "Hola".into(),
            is_html: false,
            click_url: None,
            unsubscribe_url: None,
            sender: None,
        }
    }

    /// A provider that never comes back, as a bug in an adapter would look.
    struct Silent;

    #[async_trait]
    impl Provider for Silent {
        async fn send(&self, _: &Message) -> Result<SendReceipt, SendFailure> {
            std::future::pending().await
        }

        async fn find(&self, _: &Message, _: Timestamp) -> Lookup {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_provider_that_hangs_is_cut_off() {
        let silent = || Some(Arc::new(Adapter { provider: Box::new(Silent), limit: Duration::from_millis(10) }));
        let adapters = adapters(Environment { email: silent(), whatsapp: silent(), push: silent() });
        assert_eq!(adapters.of_environment(), Channel::ALL);
        let table = [
            (Recipient::Email("maria@example.com".into()), FailureClass::Transient, "EMAIL_SEND_FAILED"),
            (Recipient::Whatsapp("+593991234567".into()), FailureClass::Unknown, "WHATSAPP_TIMEOUT"),
            (Recipient::Push(Vec::new()), FailureClass::Transient, "WEBPUSH_ERROR"),
        ];
        for (recipient, class, code) in table {
            let message = message(recipient);
            let account = Account::of_environment(message.recipient.channel(), &adapters.config);
            let adapter = adapters.of(&account).await.unwrap_or_else(|failure| panic!("{failure:?}"));
            let failure = adapter.send(&message).await.unwrap_err();
            assert_eq!((failure.class, failure.code), (class, code));
            assert!(!is_accounts_fault(&failure), "it may have left");
            assert_eq!(adapter.find(&message, Clock::system().now()).await, Lookup::CannotTell);
        }
    }

    /// A provider that says more than a row, a log line or a page may hold, in every field that it fills.
    struct Talkative;

    #[async_trait]
    impl Provider for Talkative {
        async fn send(&self, message: &Message) -> Result<SendReceipt, SendFailure> {
            let flood = "\0x\u{1b}".repeat(40_000);
            if message.body == "Hola" {
                let provider_message_id = Some(flood.clone());
                return Ok(SendReceipt { provider_message_id, answer: flood, ..SendReceipt::default() });
            }
            let mut failure = SendFailure::new(FailureClass::Transient, "CODE", flood.clone());
            failure.answer = Some(flood);
            Err(failure)
        }
    }

    /// An answer that no row can hold jammed every lane: it was tried again for ever, with all that was written beside it.
    #[tokio::test]
    async fn what_an_adapter_passes_on_always_fits_a_row() {
        let adapter = Adapter { provider: Box::new(Talkative), limit: Duration::from_secs(10) };
        let fits = |text: &str| text.chars().count() <= MAX_ANSWER_CHARS && !text.contains(char::is_control);
        let mut message = message(Recipient::Whatsapp("+593991234567".into()));
        let receipt = adapter.send(&message).await.unwrap();
        assert!(fits(&receipt.answer) && receipt.answer.starts_with('x'), "{}", receipt.answer);
        assert_eq!(receipt.provider_message_id, None, "a part of a name would be another message's");
        message.body = "Adiós".to_owned();
        let failure = adapter.send(&message).await.unwrap_err();
        assert!(fits(&failure.reason) && failure.answer.as_deref().is_some_and(fits), "{failure:?}");
    }

    #[test]
    fn a_channel_without_settings_says_which_variable_to_set() {
        assert_eq!(adapters(Environment::default()).of_environment(), []);
        let table = [
            (Channel::Email, "EMAIL_NOT_CONFIGURED", "EMAIL_HOST"),
            (Channel::Whatsapp, "WHATSAPP_NOT_CONFIGURED", "EVOLUTION_API_URL"),
            (Channel::Push, "PUSH_NOT_CONFIGURED", "VAPID_PUBLIC_KEY"),
        ];
        for (channel, code, variable) in table {
            let failure = not_configured(channel);
            assert_eq!((failure.class, failure.code), (FailureClass::Misconfigured, code));
            assert!(failure.reason.contains(variable), "{}", failure.reason);
        }
    }

    #[test]
    fn every_setting_that_cannot_work_is_named() {
        let mail = [("EMAIL_HOST", "smtp.example.com"), ("DEFAULT_FROM_EMAIL", "taller@example.com")];
        let refused =
            |config: Config| Adapters::new(&config.into(), &Clock::system(), None).err().expect("refused").to_string();
        let mut config = Config::from_pairs(mail).unwrap();
        config.email.as_mut().unwrap().from = "taller".to_owned();
        assert!(refused(config).contains("DEFAULT_FROM_EMAIL"));
        let mut config = Config::from_pairs(mail).unwrap();
        config.email.as_mut().unwrap().ca_file = Some("/nowhere/ca.pem".into());
        assert!(refused(config).contains("EMAIL_SSL_CAFILE"));
    }
}
