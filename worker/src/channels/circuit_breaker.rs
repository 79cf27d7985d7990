//! Accounts that failed lately are tried last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use recado_notifications::channels::Channel;

use super::accounts::Account;

/// How long an account that failed by its own fault is tried after the others. Long enough that a broken server does not
/// cost every message its time limit, short enough that it is used again soon after it works.
const OPEN_FOR: Duration = Duration::from_secs(30);

/// The accounts that failed lately, by channel and name: each channel has its own account of the environment. Moments are what
/// [`Clock::elapsed`](recado_kernel::clock::Clock::elapsed) says, for a clock that is set must neither open nor close it.
#[derive(Default)]
pub(super) struct CircuitBreaker {
    open_until: Mutex<HashMap<(Channel, String), Duration>>,
}

impl CircuitBreaker {
    /// This account failed by its own fault.
    pub(super) fn trip(&self, account: &Account, now: Duration) {
        let mut open_until = self.lock();
        // Accounts come and go, so what is over is removed here.
        open_until.retain(|_, until| *until > now);
        open_until.insert((account.channel, account.name.clone()), now + OPEN_FOR);
    }

    /// The order in which to try accounts: those that failed lately come last. Where a place is reserved at a paced account,
    /// that one comes first.
    pub(super) fn order(&self, accounts: &[Arc<Account>], place_at: Option<&str>, now: Duration) -> Vec<Arc<Account>> {
        let mut ordered = accounts.to_vec();
        if ordered.len() > 1 {
            let open_until = self.lock();
            let is_open = |account: &Account| {
                open_until.get(&(account.channel, account.name.clone())).is_some_and(|until| *until > now)
            };
            ordered.sort_by_key(|account| (is_open(account), place_at != Some(account.name.as_str())));
        }
        ordered
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Channel, String), Duration>> {
        self.open_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(channel: Channel, name: &str) -> Arc<Account> {
        Arc::new(Account { channel, name: name.to_owned(), pace: None, row: None })
    }

    fn mail_accounts() -> [Arc<Account>; 2] {
        [account(Channel::Email, "env"), account(Channel::Email, "second")]
    }

    fn names(accounts: &[Arc<Account>]) -> Vec<&str> {
        accounts.iter().map(|account| account.name.as_str()).collect()
    }

    #[test]
    fn who_failed_comes_last_for_a_while_and_a_place_comes_first() {
        let (breaker, accounts, now) = (CircuitBreaker::default(), mail_accounts(), Duration::ZERO);
        assert_eq!(names(&breaker.order(&accounts, None, now)), ["env", "second"]);
        assert_eq!(names(&breaker.order(&accounts, Some("second"), now)), ["second", "env"]);
        breaker.trip(&accounts[0], now);
        assert_eq!(names(&breaker.order(&accounts, None, now)), ["second", "env"]);
        assert_eq!(names(&breaker.order(&accounts, Some("env"), now)), ["second", "env"], "a place at a broken server");
        assert_eq!(names(&breaker.order(&accounts, None, now + OPEN_FOR)), ["env", "second"]);
        breaker.trip(&accounts[0], now);
        breaker.trip(&accounts[1], now);
        assert_eq!(names(&breaker.order(&accounts, None, now)), ["env", "second"], "all alike");
        breaker.trip(&accounts[1], now + OPEN_FOR * 2);
        assert_eq!(breaker.lock().len(), 1, "what is over is forgotten");
    }

    #[test]
    fn a_failure_on_one_channel_says_nothing_about_another() {
        let (breaker, now) = (CircuitBreaker::default(), Duration::ZERO);
        breaker.trip(&account(Channel::Whatsapp, "env"), now);
        assert_eq!(names(&breaker.order(&mail_accounts(), None, now)), ["env", "second"]);
    }
}
