//! The ways to a person, as providers: what all of them share, and [`Providers`], which knows all accounts.
//!
//! To add a channel, write its adapter beside these: its own reading of its provider's answers, mapped once to
//! [`SendFailure`]. An adapter returns facts and changes no data.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use accounts::{Account, Pace};
use async_trait::async_trait;
use moka::future::Cache;
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::config::Config;
use recado_kernel::db::{self, Db};
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::fallback::FailureClass;
use recado_notifications::provider_accounts::{self, ENVIRONMENT, ProviderAccount};
use recado_notifications::workshops;
use recado_queue::context::Context;

use self::accounts::{AccountCache, CircuitBreaker};

mod accounts;
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
    /// The mail's sender, `Name <address>`; `None` for the account's own.
    pub sender: Option<String>,
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
    pub fault: Fault,
}

/// Whose fault a failure is, as far as its adapter can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The account's: its server, its login, its session. Nothing was accepted, and every message would fail alike.
    Account,
    /// The message's or the recipient's; or nobody knows what became of the message.
    Message,
}

/// To which addresses an adapter connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The operator configured it.
    Anywhere,
    /// Somebody wrote it through the API: the guard of [`crate::outbound`] applies.
    Guarded { allow_private: bool },
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

/// Every account through which messages may leave: the environment's, one per channel at most, and those of the database.
pub struct Providers {
    environment: Environment,
    /// `None`: only the environment counts.
    ledger: Option<Db>,
    config: Arc<Config>,
    clock: Clock,
    shelf: Mutex<Option<CachedAccounts>>,
    /// Adapters of rows that are in use, by the version of the row: whoever did not change keeps its connections.
    adapters: Cache<(Id, Timestamp), Result<Arc<Adapter>, SendFailure>>,
    resting: CircuitBreaker,
}

#[derive(Default)]
struct Environment {
    email: Option<Arc<Adapter>>,
    whatsapp: Option<Arc<Adapter>>,
    push: Option<Arc<Adapter>>,
}

/// The newest accounts that were read, and when somebody last asked whether there are newer ones.
struct CachedAccounts {
    book: Arc<AccountCache>,
    asked_at: Timestamp,
}

struct Adapter {
    provider: Box<dyn Provider>,
    /// How long one call may take in all. Each adapter keeps its own, finer times; this one ends what they overlook.
    limit: Duration,
}

/// How often a worker asks whether accounts were changed.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The most adapters at a time, and how long one is kept that nobody uses.
const MOST_ADAPTERS: u64 = 1_000;
const IDLE_ADAPTER: Duration = Duration::from_secs(15 * 60);

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
    /// Sets up what the environment configures. Connections are made later, with the first message.
    ///
    /// # Errors
    /// When a setting is unusable: an address, a key or a file.
    pub fn new(config: &Arc<Config>, clock: &Clock) -> Result<Self, ProviderError> {
        let mut environment = Environment::default();
        if let Some(settings) = &config.email {
            let email = email::Email::new(settings, Reach::Anywhere, clock)?;
            environment.email = Some(Adapter::new(email, settings.timeout));
        }
        if let Some(settings) = &config.whatsapp {
            let whatsapp = whatsapp::Whatsapp::new(settings, Reach::Anywhere, clock)?;
            environment.whatsapp = Some(Adapter::new(whatsapp, settings.timeout));
        }
        if let Some(settings) = &config.push {
            let push = push::Push::new(settings, config.allow_private_networks, clock)?;
            environment.push = Some(Adapter::new(push, settings.timeout));
        }
        Ok(Self {
            environment,
            ledger: None,
            config: config.clone(),
            clock: clock.clone(),
            shelf: Mutex::default(),
            adapters: Cache::builder().max_capacity(MOST_ADAPTERS).time_to_idle(IDLE_ADAPTER).build(),
            resting: CircuitBreaker::default(),
        })
    }

    /// The same with the accounts of the database.
    ///
    /// # Errors
    /// As [`Providers::new`]. An account of the database that cannot work is no error here but a failed attempt.
    pub fn open(context: &Context) -> Result<Self, ProviderError> {
        Ok(Self { ledger: Some(context.db.clone()), ..Self::new(&context.config, &context.clock)? })
    }

    /// The accounts through which a message may leave, in the order in which they are tried. An account that failed lately
    /// comes last, and one at which a place is reserved (`place_at`, its name) comes first. None: the channel is not
    /// configured, see [`not_configured`].
    ///
    /// # Errors
    /// When the database cannot be asked for the first time. Later the last answer counts.
    pub async fn accounts(
        &self,
        taller_id: Option<&str>,
        channel: Channel,
        place_at: Option<&str>,
    ) -> db::Result<Vec<Arc<Account>>> {
        let book = self.book().await?;
        Ok(self.resting.order(book.accounts(taller_id, channel), place_at, self.clock.now()))
    }

    /// The account of this name, whether or not messages may still leave through it: what became of one is asked where it
    /// was sent. `None` when it was deleted.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn named(&self, channel: Channel, name: &str) -> db::Result<Option<Account>> {
        if name == ENVIRONMENT {
            let is_there = self.environment.slot(channel).is_some();
            return Ok(is_there.then(|| Account::of_environment(channel, &self.config)));
        }
        let Some(ledger) = &self.ledger else { return Ok(None) };
        let row = provider_accounts::named(&mut ledger.read().await?, name).await?;
        let usual_rate = self.config.whatsapp_rate_per_minute;
        Ok(row.filter(|row| row.channel == channel).map(|row| Account::of_row(row, usual_rate)))
    }

    /// The sender that a workshop wants on its mails; `None` for the account's own.
    ///
    /// # Errors
    /// As [`Providers::accounts`].
    pub async fn sender(&self, taller_id: Option<&str>) -> db::Result<Option<String>> {
        if taller_id.is_none() {
            return Ok(None);
        }
        Ok(self.book().await?.sender(taller_id).map(str::to_owned))
    }

    /// Sends a message through one account.
    ///
    /// # Errors
    /// What went wrong and of which kind it is. An account that failed by its own fault is tried last for a while.
    pub async fn send(&self, account: &Account, message: &Message) -> Result<Receipt, SendFailure> {
        let outcome = match self.slot(account, message.recipient.channel()).await {
            Ok(slot) => slot.send(message).await,
            Err(failure) => Err(failure),
        };
        let outcome = outcome.map_err(|failure| if account.row.is_some() { failure.of_row() } else { failure });
        if let Err(failure) = &outcome
            && is_accounts_fault(failure)
        {
            self.resting.add(account, self.clock.now());
            complain(account, message, failure);
        }
        outcome
    }

    /// Asks an account whether a message of unknown outcome left through it at `since` or later.
    pub async fn find(&self, account: &Account, message: &Message, since: Timestamp) -> Lookup {
        let Ok(slot) = self.slot(account, message.recipient.channel()).await else {
            return Lookup::CannotTell;
        };
        tokio::time::timeout(slot.limit, slot.provider.find(message, since)).await.unwrap_or(Lookup::CannotTell)
    }

    /// The accounts as they were at most a second ago.
    async fn book(&self) -> db::Result<Arc<AccountCache>> {
        let Some(ledger) = &self.ledger else {
            return Ok(self.shelved().unwrap_or_else(|| self.shelve(self.write_book(0, Vec::new(), HashMap::new()))));
        };
        if let Some(book) = self.shelved_lately() {
            return Ok(book);
        }
        let known = self.shelved();
        match (self.read_book(ledger, known.as_deref()).await, known) {
            (Ok(Some(book)), _) => Ok(self.shelve(book)),
            (Ok(None), Some(known)) => Ok(known),
            (Ok(None), None) => Ok(self.shelve(self.write_book(0, Vec::new(), HashMap::new()))),
            (Err(error), Some(known)) => {
                tracing::warn!(%error, "the provider accounts could not be read again; the last ones count: {error}");
                Ok(known)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The book, unless it is time to ask for a newer one. Whoever comes while somebody asks goes on with this one.
    fn shelved_lately(&self) -> Option<Arc<AccountCache>> {
        let now = self.clock.now();
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let shelf = shelf.as_mut()?;
        if now.since(shelf.asked_at) < ASK_EVERY {
            return Some(shelf.book.clone());
        }
        shelf.asked_at = now;
        None
    }

    fn shelved(&self) -> Option<Arc<AccountCache>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|shelf| shelf.book.clone())
    }

    fn shelve(&self, book: AccountCache) -> Arc<AccountCache> {
        let book = Arc::new(book);
        let shelf = CachedAccounts { book: book.clone(), asked_at: self.clock.now() };
        *self.shelf.lock().unwrap_or_else(PoisonError::into_inner) = Some(shelf);
        book
    }

    /// The book as the database has it; `None` when `known` is still in force.
    async fn read_book(&self, ledger: &Db, known: Option<&AccountCache>) -> db::Result<Option<AccountCache>> {
        // Version first: a write that comes in between is read again next time, and never missed.
        let mut session = ledger.read().await?;
        let version = provider_accounts::version(&mut session).await?;
        if known.is_some_and(|known| known.version == version) {
            return Ok(None);
        }
        let rows = provider_accounts::enabled(&mut session).await?;
        let senders = workshops::senders(&mut session).await?.into_iter().collect();
        Ok(Some(self.write_book(version, rows, senders)))
    }

    fn write_book(&self, version: i64, rows: Vec<ProviderAccount>, senders: HashMap<String, String>) -> AccountCache {
        let configured = Channel::ALL.into_iter().filter(|channel| self.environment.slot(*channel).is_some());
        let environment = configured.map(|channel| (channel, Arc::new(Account::of_environment(channel, &self.config))));
        AccountCache::new(version, environment, rows, senders, self.config.whatsapp_rate_per_minute)
    }

    async fn slot(&self, account: &Account, channel: Channel) -> Result<Arc<Adapter>, SendFailure> {
        match &account.row {
            None => self.environment.slot(channel).cloned().ok_or_else(|| not_configured(channel)),
            Some(row) => self.adapters.get_with((row.id, row.updated_at), async { self.adapter(row) }).await,
        }
    }

    /// The adapter of a row. What cannot work is remembered like what can, until somebody writes the row anew.
    fn adapter(&self, row: &ProviderAccount) -> Result<Arc<Adapter>, SendFailure> {
        let unusable = |reason: String| SendFailure::new(FailureClass::Misconfigured, "ACCOUNT_UNUSABLE", reason);
        let secret = row
            .open_secret(self.config.secret_key.as_ref())
            .map_err(|error| unusable(format!("the account's secret cannot be opened: {error}; write it again")))?;
        let reach = Reach::Guarded { allow_private: self.config.allow_private_networks };
        let slot = match row.channel {
            Channel::Email => {
                let settings = row.settings.email(secret, self.config.default_from.as_deref());
                email::Email::new(&settings, reach, &self.clock).map(|email| Adapter::new(email, settings.timeout))
            }
            Channel::Whatsapp => {
                let settings = row.settings.whatsapp(secret);
                whatsapp::Whatsapp::new(&settings, reach, &self.clock).map(|one| Adapter::new(one, settings.timeout))
            }
            Channel::Push => return Err(unusable("pushes have the keys of the environment only".to_owned())),
        };
        slot.map_err(|error| unusable(explain(&error)))
    }
}

impl Environment {
    fn slot(&self, channel: Channel) -> Option<&Arc<Adapter>> {
        match channel {
            Channel::Email => self.email.as_ref(),
            Channel::Whatsapp => self.whatsapp.as_ref(),
            Channel::Push => self.push.as_ref(),
        }
    }
}

impl Adapter {
    fn new(provider: impl Provider + 'static, timeout: Duration) -> Arc<Self> {
        Arc::new(Self { provider: Box::new(provider), limit: timeout + GRACE })
    }

    async fn send(&self, message: &Message) -> Result<Receipt, SendFailure> {
        let limit = self.limit * message.recipient.rounds();
        let outcome = tokio::time::timeout(limit, self.provider.send(message)).await;
        outcome.unwrap_or_else(|_| Err(timed_out(message.recipient.channel(), limit)))
    }
}

/// Whether another account of the same channel may do better, at once and without the risk of a second message: this one
/// could not be reached, refused us, or is out of order. A mailbox that does not exist does not exist for the next server
/// either, and what may have left must not leave twice (d27).
pub fn is_accounts_fault(failure: &SendFailure) -> bool {
    failure.fault == Fault::Account && failure.class != FailureClass::Unknown
}

/// The failure of a channel whose accounts were tried one after the other: the last one's. But where an earlier one may
/// work again in a while, an account that never will does not end the channel.
pub fn channels_failure(earlier: &[SendFailure], last: SendFailure) -> SendFailure {
    let passing = earlier.iter().find(|failure| failure.class == FailureClass::Transient);
    match passing {
        Some(passing) if last.class == FailureClass::Misconfigured => passing.clone(),
        _ => last,
    }
}

fn complain(account: &Account, message: &Message, failure: &SendFailure) {
    let channel = message.recipient.channel();
    let (name, code, status) = (account.name.as_str(), failure.code, failure.status);
    let id = message.notification_id;
    if failure.class == FailureClass::Misconfigured {
        tracing::error!(
            channel = channel.as_str(), account = name, code, status, notification.id = %id,
            "{channel} cannot be sent through the account {name} until its settings are corrected: {}",
            failure.reason,
        );
    } else {
        tracing::warn!(
            channel = channel.as_str(), account = name, code, status, notification.id = %id,
            "the account {name} of {channel} is out of order: {}",
            failure.reason,
        );
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
    /// A failure of which nothing is known but this. Settings that cannot work are the account's fault.
    pub fn new(class: FailureClass, code: &'static str, reason: impl Into<String>) -> Self {
        let fault = if class == FailureClass::Misconfigured { Fault::Account } else { Fault::Message };
        Self {
            class,
            code,
            reason: reason.into(),
            status: None,
            answer: None,
            retry_after: None,
            gone: Vec::new(),
            bounced: false,
            fault,
        }
    }

    /// The same, with the remedy in the words of an account of the database instead of the environment's.
    fn of_row(self) -> Self {
        let reason = ROW_WORDS.iter().fold(self.reason, |reason, (variable, word)| reason.replace(variable, word));
        Self { reason, ..self }
    }
}

/// The variables that adapters name in their remedies, and what stands for each in an account of the database. A name that
/// begins like another comes before it.
const ROW_WORDS: [(&str, &str); 11] = [
    ("EMAIL_HOST_USER", "settings.user"),
    ("EMAIL_HOST_PASSWORD", "secret"),
    ("EMAIL_HOST", "settings.host"),
    ("EMAIL_PORT", "settings.port"),
    ("EMAIL_USE_TLS and EMAIL_USE_SSL", "settings.security"),
    ("EMAIL_USE_TLS", "settings.security"),
    ("set EMAIL_SSL_CAFILE", "add its authority to the system's trust store"),
    ("DEFAULT_FROM_EMAIL", "settings.from_email"),
    ("EVOLUTION_API_URL", "settings.url"),
    ("EVOLUTION_API_KEY", "secret"),
    ("EVOLUTION_INSTANCE", "settings.instance"),
];

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

/// The failure of a message on a channel that has no account at all.
pub fn not_configured(channel: Channel) -> SendFailure {
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
            sender: None,
        }
    }

    fn providers(environment: Environment) -> Providers {
        let config = Arc::new(Config::from_pairs([]).unwrap());
        Providers { environment, ..Providers::new(&config, &Clock::system()).unwrap() }
    }

    async fn only_account(providers: &Providers, message: &Message) -> Arc<Account> {
        let accounts = providers.accounts(None, message.recipient.channel(), None).await.unwrap();
        assert_eq!(accounts.len(), 1);
        accounts[0].clone()
    }

    #[tokio::test]
    async fn a_channel_without_settings_says_which_variable_to_set() {
        let providers = providers(Environment::default());
        let table = [
            (Channel::Email, "EMAIL_NOT_CONFIGURED", "EMAIL_HOST"),
            (Channel::Whatsapp, "WHATSAPP_NOT_CONFIGURED", "EVOLUTION_API_URL"),
            (Channel::Push, "PUSH_NOT_CONFIGURED", "VAPID_PUBLIC_KEY"),
        ];
        for (channel, code, variable) in table {
            assert!(providers.accounts(None, channel, None).await.unwrap().is_empty());
            let failure = not_configured(channel);
            assert_eq!((failure.class, failure.code), (FailureClass::Misconfigured, code));
            assert!(failure.reason.contains(variable), "{}", failure.reason);
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
        let slot = || Some(Arc::new(Adapter { provider: Box::new(Silent), limit: Duration::from_millis(10) }));
        let providers = providers(Environment { email: slot(), whatsapp: slot(), push: slot() });
        let table = [
            (Recipient::Email("maria@example.com".into()), FailureClass::Transient, "EMAIL_SEND_FAILED"),
            (Recipient::Whatsapp("+593991234567".into()), FailureClass::Unknown, "WHATSAPP_TIMEOUT"),
            (Recipient::Push(Vec::new()), FailureClass::Transient, "WEBPUSH_ERROR"),
        ];
        for (recipient, class, code) in table {
            let message = message(recipient);
            let account = only_account(&providers, &message).await;
            let failure = providers.send(&account, &message).await.unwrap_err();
            assert_eq!((failure.class, failure.code), (class, code));
            assert!(!is_accounts_fault(&failure), "it may have left");
            assert_eq!(providers.find(&account, &message, Clock::system().now()).await, Lookup::CannotTell);
        }
    }

    #[test]
    fn only_the_accounts_own_fault_moves_a_message_to_the_next() {
        use FailureClass::{Misconfigured, Permanent, Transient, Unknown};
        let failure = |class, fault| SendFailure { fault, ..SendFailure::new(class, "CODE", "") };
        let table = [
            (Misconfigured, Fault::Account, true),
            (Transient, Fault::Account, true),
            (Transient, Fault::Message, false),
            (Permanent, Fault::Message, false),
            (Unknown, Fault::Account, false),
        ];
        for (class, fault, expected) in table {
            assert_eq!(is_accounts_fault(&failure(class, fault)), expected, "{class:?} {fault:?}");
        }
        assert!(is_accounts_fault(&SendFailure::new(Misconfigured, "CODE", "")));
        assert!(!is_accounts_fault(&SendFailure::new(Transient, "CODE", "")));
    }

    #[test]
    fn a_second_account_that_never_works_does_not_end_what_the_first_could_do_later() {
        use FailureClass::{Misconfigured, Permanent, Transient};
        let failure = |class| SendFailure::new(class, "CODE", "");
        let class = |earlier: &[FailureClass], last| {
            let earlier: Vec<SendFailure> = earlier.iter().copied().map(failure).collect();
            channels_failure(&earlier, failure(last)).class
        };
        assert_eq!(class(&[], Misconfigured), Misconfigured);
        assert_eq!(class(&[Misconfigured], Misconfigured), Misconfigured);
        assert_eq!(class(&[Misconfigured, Transient], Misconfigured), Transient);
        assert_eq!(class(&[Transient], Permanent), Permanent, "the recipient's word is the last");
        assert_eq!(class(&[Misconfigured], Transient), Transient);
    }

    #[test]
    fn remedies_name_what_the_reader_can_change() {
        let reason = "check EMAIL_HOST, EMAIL_HOST_USER and EMAIL_HOST_PASSWORD, or EVOLUTION_API_KEY";
        let failure = SendFailure::new(FailureClass::Misconfigured, "CODE", reason).of_row();
        assert_eq!(failure.reason, "check settings.host, settings.user and secret, or secret");
    }

    #[test]
    fn every_setting_that_cannot_work_is_named() {
        let mail = |from| [("EMAIL_HOST", "smtp.example.com"), ("DEFAULT_FROM_EMAIL", from)];
        let refused =
            |config: Config| Providers::new(&config.into(), &Clock::system()).err().expect("refused").to_string();
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
