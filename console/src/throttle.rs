//! Guessing passwords: failed logins are counted for each account and for each address.
//!
//! Too many, and a login fails without a look at the password. It takes as long and says the same, so a guesser does not learn
//! that it was counted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many failures of one account, or from one address,
const MOST: usize = 10;

/// within this time.
const WITHIN: Duration = Duration::from_secs(15 * 60);

/// Accounts and addresses that are remembered. When there are more, those that failed longest ago are forgotten.
const LARGEST: usize = 10_000;

#[derive(Default)]
pub(crate) struct Throttle(Mutex<HashMap<String, Vec<Duration>>>);

impl Throttle {
    /// Whether a login may be tried. `now` only ever goes forward.
    pub(crate) fn admits(&self, account: &str, address: &str, now: Duration) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |key: String| {
            failures
                .get(&key)
                .map_or(0, |times| times.iter().filter(|time| now.saturating_sub(**time) < WITHIN).count())
        };
        lately(of_account(account)) < MOST && lately(of_address(address)) < MOST
    }

    pub(crate) fn failed(&self, account: &str, address: &str, now: Duration) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= LARGEST {
            failures.retain(|_, times| times.last().is_some_and(|last| now.saturating_sub(*last) < WITHIN / 15));
            // All of the last minute: a flood from everywhere, of which none is known better than another.
            if failures.len() >= LARGEST {
                failures.clear();
            }
        }
        for key in [of_account(account), of_address(address)] {
            let times = failures.entry(key).or_default();
            times.retain(|time| now.saturating_sub(*time) < WITHIN);
            if times.len() < MOST {
                times.push(now);
            }
        }
    }

    /// A person who got in has forgotten nothing.
    pub(crate) fn succeeded(&self, account: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&of_account(account));
    }
}

fn of_account(name: &str) -> String {
    format!("account {}", name.chars().take(100).collect::<String>())
}

fn of_address(address: &str) -> String {
    format!("address {address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_in_a_quarter_of_an_hour() {
        let throttle = Throttle::default();
        let at = Duration::from_secs;
        for second in 0..10 {
            assert!(throttle.admits("ana", "192.0.2.1", at(second)));
            throttle.failed("ana", "192.0.2.1", at(second));
        }
        assert!(!throttle.admits("ana", "198.51.100.7", at(10)), "the account");
        assert!(!throttle.admits("luis", "192.0.2.1", at(10)), "the address");
        assert!(throttle.admits("luis", "198.51.100.7", at(10)));
        assert!(throttle.admits("ana", "192.0.2.1", at(15 * 60)), "the first is forgotten");
        throttle.succeeded("ana");
        assert!(throttle.admits("ana", "198.51.100.7", at(10)));
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for number in 0..3 * LARGEST {
            throttle.failed(&number.to_string(), "192.0.2.1", Duration::ZERO);
        }
        assert!(throttle.0.lock().expect("no panic").len() <= LARGEST + 2);
    }
}
