//! Guessing passwords: failed logins are counted for each account and for each address.
//!
//! Too many, and a login fails without a look at the password. It takes as long and says the same, so a guesser does not learn
//! that it was counted. A login counts from its beginning, and is taken off again when it was right: otherwise a thousand that come at
//! once would all be looked at before the first has failed.

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
    /// Counts a login, and says whether it may be tried. `now` only ever goes forward.
    pub(crate) fn admits(&self, account: &str, address: &str, now: Duration) -> bool {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= LARGEST {
            failures.retain(|_, times| times.last().is_some_and(|last| now.saturating_sub(*last) < WITHIN / 15));
            // All of the last minute: a flood from everywhere, of which none is known better than another.
            if failures.len() >= LARGEST {
                failures.clear();
            }
        }
        let mut is_admitted = true;
        for key in [of_account(account), of_address(address)] {
            let times = failures.entry(key).or_default();
            times.retain(|time| now.saturating_sub(*time) < WITHIN);
            if times.len() < MOST {
                times.push(now);
            } else {
                is_admitted = false;
            }
        }
        is_admitted
    }

    /// The login that was counted at `then` was right: a person who got in has forgotten nothing, and does not count against others at
    /// the same address.
    pub(crate) fn succeeded(&self, account: &str, address: &str, then: Duration) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&of_account(account));
        let Some(times) = failures.get_mut(&of_address(address)) else { return };
        if let Some(place) = times.iter().position(|time| *time == then) {
            times.remove(place);
        }
        if times.is_empty() {
            failures.remove(&of_address(address));
        }
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
        // None of them has ended when the next begins.
        for second in 0..10 {
            assert!(throttle.admits("ana", "192.0.2.1", at(second)));
        }
        assert!(!throttle.admits("ana", "198.51.100.7", at(10)), "the account");
        assert!(!throttle.admits("luis", "192.0.2.1", at(10)), "the address");
        assert!(throttle.admits("luis", "198.51.100.7", at(10)));
        assert!(throttle.admits("ana", "192.0.2.1", at(15 * 60)), "the first is forgotten");
        throttle.succeeded("ana", "192.0.2.1", at(15 * 60));
        assert!(throttle.admits("ana", "198.51.100.7", at(15 * 60)));
    }

    #[test]
    fn those_who_get_in_do_not_count_against_their_office() {
        let throttle = Throttle::default();
        for second in 0..100 {
            let (name, at) = (format!("person-{second}"), Duration::from_secs(second));
            assert!(throttle.admits(&name, "192.0.2.1", at), "{second}");
            throttle.succeeded(&name, "192.0.2.1", at);
        }
        assert!(throttle.0.lock().expect("no panic").is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for number in 0..3 * LARGEST {
            throttle.admits(&number.to_string(), "192.0.2.1", Duration::ZERO);
        }
        assert!(throttle.0.lock().expect("no panic").len() <= LARGEST + 2);
    }
}
