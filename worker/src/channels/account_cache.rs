//! The accounts as the database has them, read again when they were changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use recado_kernel::clock::Clock;
use recado_kernel::config::Config;
use recado_kernel::db::{self, Db};
use recado_kernel::errors::explain;
use recado_notifications::channels::Channel;
use recado_notifications::provider_accounts::{self, ENVIRONMENT, ProviderAccount};
use recado_notifications::workshops;

use super::accounts::{Account, Accounts};

/// How often a worker asks the database whether accounts were changed.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// All accounts, at most [`REFRESH_INTERVAL`] old while the database answers.
pub(super) struct AccountCache {
    db: Db,
    /// The channels that the environment configures.
    environment: Vec<Channel>,
    config: Arc<Config>,
    clock: Clock,
    cached: Mutex<Option<Cached>>,
}

struct Cached {
    accounts: Arc<Accounts>,
    /// By [`Clock::elapsed`].
    checked_at: Duration,
}

impl AccountCache {
    pub(super) fn new(db: Db, environment: Vec<Channel>, config: &Arc<Config>, clock: &Clock) -> Self {
        Self { db, environment, config: config.clone(), clock: clock.clone(), cached: Mutex::default() }
    }

    /// The accounts as they are now. When the database cannot be asked, the last ones that were read.
    ///
    /// # Errors
    /// When the database cannot be asked for the first time.
    pub(super) async fn current(&self) -> db::Result<Arc<Accounts>> {
        if let Some(accounts) = self.fresh() {
            return Ok(accounts);
        }
        let last = self.lock().as_ref().map(|cached| cached.accounts.clone());
        match (self.read(last.clone()).await, last) {
            (Err(error), Some(last)) => {
                let reason = explain(&error);
                tracing::warn!(error = %reason, "the provider accounts could not be read again; the last ones count: {reason}");
                Ok(last)
            }
            (read, _) => read,
        }
    }

    /// The account of this name, whether or not messages may still leave through it. `None` when it was deleted.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub(super) async fn named(&self, channel: Channel, name: &str) -> db::Result<Option<Account>> {
        if name == ENVIRONMENT {
            let is_there = self.environment.contains(&channel);
            return Ok(is_there.then(|| Account::of_environment(channel, &self.config)));
        }
        let row = provider_accounts::named(&mut self.db.read().await?, name).await?;
        let default_rate = self.config.whatsapp_rate_per_minute;
        Ok(row.filter(|row| row.channel == channel).map(|row| Account::of_row(row, default_rate)))
    }

    /// The cached accounts, unless it is time to ask for newer ones. While one caller asks, the others go on with these.
    fn fresh(&self) -> Option<Arc<Accounts>> {
        let mut cached = self.lock();
        let cached = cached.as_mut()?;
        let now = self.clock.elapsed();
        // Another thread may have checked since: what was read before a lock may be the earlier of two.
        if now.saturating_sub(cached.checked_at) < REFRESH_INTERVAL {
            return Some(cached.accounts.clone());
        }
        cached.checked_at = now;
        None
    }

    fn keep(&self, accounts: Accounts) -> Arc<Accounts> {
        let accounts = Arc::new(accounts);
        *self.lock() = Some(Cached { accounts: accounts.clone(), checked_at: self.clock.elapsed() });
        accounts
    }

    /// What the database has: `last`, if nothing was changed since.
    async fn read(&self, last: Option<Arc<Accounts>>) -> db::Result<Arc<Accounts>> {
        // Version first: a write that comes in between is read again next time, and never missed.
        let mut session = self.db.read().await?;
        let version = provider_accounts::version(&mut session).await?;
        if let Some(last) = last.filter(|last| last.version == version) {
            return Ok(last);
        }
        let rows = provider_accounts::enabled(&mut session).await?;
        let senders = workshops::senders(&mut session).await?.into_iter().collect();
        Ok(self.keep(self.snapshot(version, rows, senders)))
    }

    fn snapshot(&self, version: i64, rows: Vec<ProviderAccount>, senders: HashMap<String, String>) -> Accounts {
        let of_channel = |channel: &Channel| (*channel, Arc::new(Account::of_environment(*channel, &self.config)));
        let environment = self.environment.iter().map(of_channel);
        Accounts::new(version, environment, rows, senders, self.config.whatsapp_rate_per_minute)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
