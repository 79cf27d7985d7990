//! Every account through which messages may leave: the environment's, one per channel at most, and those of the database.

use std::sync::Arc;

use recado_conversations::bridge::Bridge;
use recado_conversations::pacing::Pacing;
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::db;
use recado_notifications::channels::Channel;
use recado_notifications::fallback::FailureClass;
use recado_queue::context::Context;

use super::account_cache::AccountCache;
use super::accounts::Account;
use super::adapters::Adapters;
use super::circuit_breaker::CircuitBreaker;
use super::failure::{SendFailure, is_accounts_fault};
use super::message::Message;
use super::provider::{Lookup, ProviderError, SendReceipt};
use super::whatsapp::ThroughBridge;

/// Sends through accounts.
pub(crate) struct Providers {
    accounts: AccountCache,
    adapters: Adapters,
    breaker: CircuitBreaker,
    clock: Clock,
}

impl Providers {
    /// Sets up what the environment configures; connections are made later, with the first message. The accounts of the
    /// database are read when they are needed.
    ///
    /// # Errors
    /// When a setting of the environment is unusable: an address, a key or a file. An account of the database that cannot
    /// work is no error here but a failed attempt.
    pub(crate) fn new(context: &Context) -> Result<Self, ProviderError> {
        let (config, clock) = (&context.config, &context.clock);
        let bridge = if config.whatsapp_through_bridge { Bridge::new(config)? } else { None };
        let bridge = bridge.map(|bridge| {
            let pacing = Pacing::of(&config.conversations);
            ThroughBridge::new(bridge, context.db.clone(), clock.clone(), pacing)
        });
        let adapters = Adapters::new(config, clock, bridge)?;
        let accounts = AccountCache::new(context.db.clone(), adapters.of_environment(), config, clock);
        Ok(Self { accounts, adapters, breaker: CircuitBreaker::default(), clock: clock.clone() })
    }

    /// The accounts through which a message may leave, in the order in which they are tried. An account that failed lately
    /// comes last, and one at which a place is reserved (`place_at`, its name) comes first. None: the channel is not
    /// configured, see [`not_configured`](super::not_configured).
    ///
    /// # Errors
    /// When the database cannot be asked for the first time. Later the last answer counts.
    pub(crate) async fn accounts(
        &self,
        taller_id: Option<&str>,
        channel: Channel,
        place_at: Option<&str>,
    ) -> db::Result<Vec<Arc<Account>>> {
        let accounts = self.accounts.current().await?;
        Ok(self.breaker.order(accounts.accounts(taller_id, channel), place_at, self.clock.elapsed()))
    }

    /// The account of this name, whether or not messages may still leave through it: after an unknown outcome, the account
    /// that was used is asked. `None` when it was deleted.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub(crate) async fn named(&self, channel: Channel, name: &str) -> db::Result<Option<Account>> {
        self.accounts.named(channel, name).await
    }

    /// The sender that a workshop wants on its mails; `None` for the account's own.
    ///
    /// # Errors
    /// As [`Providers::accounts`].
    pub(crate) async fn sender(&self, taller_id: Option<&str>) -> db::Result<Option<String>> {
        if taller_id.is_none() {
            return Ok(None);
        }
        Ok(self.accounts.current().await?.sender(taller_id).map(str::to_owned))
    }

    /// Sends a message through one account.
    ///
    /// # Errors
    /// What went wrong and of which kind it is. An account that failed by its own fault is tried last for a while.
    pub(crate) async fn send(&self, account: &Account, message: &Message) -> Result<SendReceipt, SendFailure> {
        let outcome = match self.adapters.of(account).await {
            Ok(adapter) => adapter.send(message).await,
            Err(failure) => Err(failure),
        };
        let outcome = outcome.map_err(|failure| if account.row.is_some() { failure.of_row() } else { failure });
        if let Err(failure) = &outcome
            && is_accounts_fault(failure)
        {
            self.breaker.trip(account, self.clock.elapsed());
            log_accounts_fault(account, message, failure);
        }
        outcome
    }

    /// Whether an account would take a message now. Nothing is sent, and nothing concluded for messages.
    ///
    /// # Errors
    /// Why it would not.
    pub(crate) async fn check(&self, account: &Account) -> Result<String, SendFailure> {
        let outcome = match self.adapters.of(account).await {
            Ok(adapter) => adapter.check(account.channel).await,
            Err(failure) => Err(failure),
        };
        outcome.map_err(|failure| if account.row.is_some() { failure.of_row() } else { failure })
    }

    /// Asks an account what it has on record that may be a message of unknown outcome, sent at `since` or later.
    pub(crate) async fn find(&self, account: &Account, message: &Message, since: Timestamp) -> Lookup {
        match self.adapters.of(account).await {
            Ok(adapter) => adapter.find(message, since).await,
            Err(_) => Lookup::CannotTell,
        }
    }
}

fn log_accounts_fault(account: &Account, message: &Message, failure: &SendFailure) {
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
