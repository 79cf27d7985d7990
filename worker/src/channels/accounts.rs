//! Which accounts a message may leave through.

use std::collections::HashMap;
use std::sync::Arc;

use recado_kernel::config::Config;
use recado_notifications::channels::Channel;
use recado_notifications::provider_accounts::{ENVIRONMENT, ProviderAccount};

/// An SMTP server, an Evolution instance, or the push services.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) channel: Channel,
    /// `env`, or the name of its row. Attempts and notifications bear it.
    pub(crate) name: String,
    /// How fast messages may leave; `None` for as fast as they come.
    pub(crate) pace: Option<Pace>,
    /// `None` for the account of the environment.
    pub(super) row: Option<ProviderAccount>,
}

/// The pace of an account, over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Accounts that lead to the same instance share it.
    pub(crate) key: String,
    pub(crate) per_minute: u32,
}

impl Account {
    pub(super) fn of_environment(channel: Channel, config: &Config) -> Self {
        let rate = config.whatsapp_rate_per_minute;
        let whatsapp = config.whatsapp.as_ref().filter(|_| channel == Channel::Whatsapp);
        let bridge = config.conversations.bridge.as_ref();
        let bridge = bridge.filter(|_| channel == Channel::Whatsapp && config.whatsapp_through_bridge);
        let pace = match bridge {
            Some(bridge) => Pace::of(&bridge.url, "bridge", rate),
            None => whatsapp.and_then(|one| Pace::of(&one.url, &one.instance, rate)),
        };
        Self { channel, name: ENVIRONMENT.to_owned(), pace, row: None }
    }

    pub(super) fn of_row(row: ProviderAccount, default_rate: u32) -> Self {
        let pace = (row.channel == Channel::Whatsapp).then(|| row.settings.whatsapp(None)).and_then(|one| {
            let rate = row.settings.rate_per_minute.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(default_rate);
            Pace::of(&one.url, &one.instance, rate)
        });
        Self { channel: row.channel, name: row.name.clone(), pace, row: Some(row) }
    }
}

impl Pace {
    fn of(url: &str, instance: &str, per_minute: u32) -> Option<Self> {
        (per_minute > 0).then(|| Self { key: format!("whatsapp:{url}:{instance}"), per_minute })
    }
}

/// All accounts at one version.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    pub(super) version: i64,
    /// A workshop's own, by channel.
    own: HashMap<(String, Channel), Vec<Arc<Account>>>,
    /// For all others: the environment's, then the rows that name no workshop.
    global: HashMap<Channel, Vec<Arc<Account>>>,
    /// The sender of a workshop's mails, where it has one.
    senders: HashMap<String, String>,
}

impl Accounts {
    /// `rows` stand in the order in which they are tried.
    pub(super) fn new(
        version: i64,
        environment: impl IntoIterator<Item = (Channel, Arc<Account>)>,
        rows: Vec<ProviderAccount>,
        senders: HashMap<String, String>,
        default_rate: u32,
    ) -> Self {
        let mut accounts = Self { version, senders, ..Self::default() };
        for (channel, account) in environment {
            accounts.global.entry(channel).or_default().push(account);
        }
        for row in rows {
            let (channel, taller_id) = (row.channel, row.taller_id.clone());
            let account = Arc::new(Account::of_row(row, default_rate));
            match taller_id {
                Some(taller_id) => accounts.own.entry((taller_id, channel)).or_default().push(account),
                None => accounts.global.entry(channel).or_default().push(account),
            }
        }
        accounts
    }

    /// A workshop's own accounts, if it has any; otherwise the global ones.
    pub(super) fn accounts(&self, taller_id: Option<&str>, channel: Channel) -> &[Arc<Account>] {
        let own = taller_id.and_then(|taller_id| self.own.get(&(taller_id.to_owned(), channel)));
        own.or_else(|| self.global.get(&channel)).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn sender(&self, taller_id: Option<&str>) -> Option<&str> {
        self.senders.get(taller_id?).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use recado_kernel::clock::Timestamp;
    use recado_kernel::ids::Id;
    use recado_notifications::provider_accounts::Settings;
    use sqlx::types::Json;

    use super::*;

    fn row(taller_id: Option<&str>, channel: Channel, name: &str, settings: Settings) -> ProviderAccount {
        let epoch = Timestamp::from_micros(0);
        ProviderAccount {
            id: Id::of_name(name),
            taller_id: taller_id.map(str::to_owned),
            channel,
            name: name.to_owned(),
            priority: 1,
            is_enabled: true,
            settings: Json(settings),
            secret: None,
            created_at: epoch,
            updated_at: epoch,
        }
    }

    fn names(accounts: &[Arc<Account>]) -> Vec<&str> {
        accounts.iter().map(|account| account.name.as_str()).collect()
    }

    fn accounts() -> Accounts {
        let env = Account { channel: Channel::Email, name: ENVIRONMENT.to_owned(), pace: None, row: None };
        let plain = Settings::default;
        let rows = vec![
            row(None, Channel::Email, "second", plain()),
            row(Some("norte"), Channel::Email, "norte-1", plain()),
            row(Some("norte"), Channel::Email, "norte-2", plain()),
            row(None, Channel::Whatsapp, "phone", plain()),
        ];
        Accounts::new(7, [(Channel::Email, Arc::new(env))], rows, HashMap::new(), 20)
    }

    #[test]
    fn a_workshop_uses_its_own_accounts_or_those_for_everybody() {
        let accounts = accounts();
        let table = [
            (None, Channel::Email, vec!["env", "second"]),
            (Some("sur"), Channel::Email, vec!["env", "second"]),
            (Some("norte"), Channel::Email, vec!["norte-1", "norte-2"]),
            (Some("norte"), Channel::Whatsapp, vec!["phone"]),
            (None, Channel::Push, vec![]),
        ];
        for (taller_id, channel, expected) in table {
            assert_eq!(names(accounts.accounts(taller_id, channel)), expected, "{taller_id:?} {channel}");
        }
    }

    #[test]
    fn the_rate_is_the_accounts_or_the_default_and_belongs_to_the_instance() {
        let settings = |rate_per_minute| Settings {
            url: Some("https://evolution.example.com/".into()),
            instance: Some("norte".into()),
            rate_per_minute,
            ..Settings::default()
        };
        let pace = |rate| Account::of_row(row(None, Channel::Whatsapp, "phone", settings(rate)), 20).pace;
        let key = "whatsapp:https://evolution.example.com:norte".to_owned();
        assert_eq!(pace(None), Some(Pace { key: key.clone(), per_minute: 20 }));
        assert_eq!(pace(Some(5)), Some(Pace { key, per_minute: 5 }));
        assert_eq!(pace(Some(0)), None);
        assert_eq!(Account::of_row(row(None, Channel::Email, "mail", Settings::default()), 20).pace, None);
    }
}
