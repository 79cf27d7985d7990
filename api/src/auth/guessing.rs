//! Guessing keys and secrets: what failed is counted for each address, answered more and more slowly, and then not looked at.
//!
//! Guesses differ from each other. The same wrong key again and again is a program that was not told of the new one, and counts
//! a twentieth. An address may be that of many (a proxy, an office): a key that was good from there within the last hour is let in
//! whatever its neighbours do.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use recado_kernel::clock::Clock;

use crate::client::CallerAddress;
use crate::problem::{Credential, Problem};

/// What one guess costs; an address pays it off as time passes, so ten a minute can be made without an end.
const GUESS: Duration = Duration::from_secs(6);

/// What the same wrong credential costs again.
const REPETITION: Duration = Duration::from_millis(300);

/// Five guesses are answered at once, …
const BURST: Duration = Duration::from_secs(5 * GUESS.as_secs());

/// … and up to twenty each later than the one before. More are not looked at.
const MOST: Duration = Duration::from_secs(20 * GUESS.as_secs());

/// The longest that the answer to a guess is held back.
const LONGEST_DELAY: Duration = Duration::from_millis(500);

/// How long a credential that was good is remembered for its address.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// When the memory of a good one is renewed. Until then a request only reads.
const RENEWED_AFTER: Duration = Duration::from_secs(60);

/// The most addresses and good credentials that are remembered, and wrong ones of each address.
const MOST_REMEMBERED: usize = 10_000;
const MOST_WRONG: usize = 32;

/// What failed lately, by address.
pub(crate) struct Guesses {
    clock: Clock,
    /// Credentials are compared by a digest that only this process can make.
    hasher: RandomState,
    failures: Mutex<HashMap<CallerAddress, Failures>>,
    good: RwLock<HashMap<(CallerAddress, u64), Duration>>,
}

struct Failures {
    /// What is owed at this time.
    debt: Duration,
    at: Duration,
    /// Digests of what was wrong, the latest last.
    wrong: VecDeque<u64>,
}

impl Failures {
    fn debt(&self, now: Duration) -> Duration {
        self.debt.saturating_sub(now.saturating_sub(self.at))
    }
}

/// A credential that is about to be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    address: Option<CallerAddress>,
    digest: u64,
    kind: Credential,
}

impl Guesses {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), hasher: RandomState::new(), failures: Mutex::default(), good: RwLock::default() }
    }

    /// Whether a credential is looked at.
    ///
    /// # Errors
    /// [`Problem::Throttled`] when too many from this address were wrong, and this one was not good lately.
    pub(crate) fn admit(&self, ip: Option<IpAddr>, kind: Credential, credential: &str) -> Result<Attempt, Problem> {
        let attempt = Attempt { address: ip.map(CallerAddress::of), digest: self.hasher.hash_one(credential), kind };
        let Some(address) = attempt.address else { return Ok(attempt) };
        let now = self.clock.elapsed();
        let debt = self.failures().get(&address).map(|failures| failures.debt(now)).unwrap_or_default();
        if debt + GUESS <= MOST
            || self.good_since(address, attempt.digest).is_some_and(|at| now.saturating_sub(at) < GOOD_FOR)
        {
            return Ok(attempt);
        }
        Err(refuse(kind, debt))
    }

    /// It was good.
    pub(crate) fn succeeded(&self, attempt: Attempt) {
        let Some(address) = attempt.address else { return };
        let now = self.clock.elapsed();
        if self.good_since(address, attempt.digest).is_some_and(|at| now.saturating_sub(at) < RENEWED_AFTER) {
            return;
        }
        let mut good = self.good.write().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= MOST_REMEMBERED {
            good.retain(|_, at| now.saturating_sub(*at) < GOOD_FOR);
        }
        if good.len() < MOST_REMEMBERED {
            good.insert((address, attempt.digest), now);
        }
    }

    /// It was wrong. Returns when its answer may be sent.
    ///
    /// # Errors
    /// [`Problem::Throttled`] in the place of that answer, when it was one too many.
    pub(crate) async fn failed(&self, attempt: Attempt) -> Result<(), Problem> {
        let debt = attempt.address.map(|address| self.count(address, attempt.digest));
        match debt {
            Some((debt, _)) if debt > MOST => return Err(refuse(attempt.kind, debt)),
            Some((debt, true)) => tokio::time::sleep(delay(debt)).await,
            Some((_, false)) | None => {}
        }
        metrics::counter!("recado_auth_failures_total", "credential" => attempt.kind.word(), "answer" => "refused")
            .increment(1);
        Ok(())
    }

    /// What the address owes now, and whether this was another guess.
    fn count(&self, address: CallerAddress, digest: u64) -> (Duration, bool) {
        let now = self.clock.elapsed();
        let mut all = self.failures();
        if !all.contains_key(&address) {
            make_room(&mut all, now);
        }
        let failures =
            all.entry(address).or_insert_with(|| Failures { debt: Duration::ZERO, at: now, wrong: VecDeque::new() });
        let is_guess = !failures.wrong.contains(&digest);
        let before = failures.debt(now);
        failures.debt = (before + if is_guess { GUESS } else { REPETITION }).min(MOST + GUESS);
        failures.at = now;
        if is_guess {
            failures.wrong.truncate(MOST_WRONG);
            if failures.wrong.len() == MOST_WRONG {
                failures.wrong.pop_front();
            }
            failures.wrong.push_back(digest);
        }
        if before + GUESS <= MOST && failures.debt + GUESS > MOST {
            tracing::warn!(from = %address, "too many wrong keys or secrets came from {address}; it has to wait");
        }
        (failures.debt, is_guess)
    }

    fn good_since(&self, address: CallerAddress, digest: u64) -> Option<Duration> {
        self.good.read().unwrap_or_else(PoisonError::into_inner).get(&(address, digest)).copied()
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<CallerAddress, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets who has paid, and if all still owe something, the one who owes least.
fn make_room(all: &mut HashMap<CallerAddress, Failures>, now: Duration) {
    if all.len() < MOST_REMEMBERED {
        return;
    }
    all.retain(|_, failures| !failures.debt(now).is_zero());
    if all.len() >= MOST_REMEMBERED
        && let Some(least) = all.iter().min_by_key(|(_, failures)| failures.debt(now)).map(|(address, _)| *address)
    {
        all.remove(&least);
    }
}

/// Evolution repeats a webhook after 429, but what it shows would be wrong again: it gets the answer that ends that.
fn refuse(kind: Credential, debt: Duration) -> Problem {
    metrics::counter!("recado_auth_failures_total", "credential" => kind.word(), "answer" => "throttled").increment(1);
    if kind == Credential::EvolutionWebhook {
        return Problem::Unauthenticated(kind);
    }
    let wait = (debt + GUESS).saturating_sub(MOST).max(Duration::from_secs(1));
    Problem::Throttled { seconds: wait.as_secs() + u64::from(wait.subsec_nanos() > 0) }
}

fn delay(debt: Duration) -> Duration {
    let (over, range) = (debt.saturating_sub(BURST), MOST.saturating_sub(BURST));
    LONGEST_DELAY.mul_f64((over.as_secs_f64() / range.as_secs_f64()).min(1.0))
}

#[cfg(test)]
mod tests {
    use recado_kernel::clock::Timestamp;

    use super::*;

    const KEY: Credential = Credential::ApiKey;

    fn guesses() -> (Guesses, Clock) {
        let clock = Clock::manual(Timestamp::from_micros(0));
        (Guesses::new(&clock), clock)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// Whether a guess was looked at.
    async fn guess(guesses: &Guesses, from: &str, credential: &str) -> bool {
        match guesses.admit(ip(from), KEY, credential) {
            Ok(attempt) => guesses.failed(attempt).await.is_ok(),
            Err(_) => false,
        }
    }

    /// 500 guesses were all answered at once.
    #[tokio::test(start_paused = true)]
    async fn guesses_are_slowed_and_then_not_looked_at() {
        let (guesses, clock) = guesses();
        let began = tokio::time::Instant::now();
        let mut looked_at = 0;
        for number in 0..500 {
            looked_at += u32::from(guess(&guesses, "203.0.113.7", &format!("key-{number}")).await);
            if number == 4 {
                assert!(began.elapsed() < Duration::from_millis(10), "five are answered at once");
            }
        }
        assert_eq!(looked_at, 20);
        assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
        let Err(Problem::Throttled { seconds }) = guesses.admit(ip("203.0.113.7"), KEY, "another") else {
            panic!("it is not looked at");
        };
        assert!((1..=6).contains(&seconds), "{seconds}");
        assert!(guess(&guesses, "203.0.113.8", "another").await, "another address has nothing to do with it");
        clock.advance(Duration::from_secs(seconds));
        assert!(guess(&guesses, "203.0.113.7", "another").await && !guess(&guesses, "203.0.113.7", "one more").await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_of_many_does_not_lock_out_those_who_are_known_there() {
        let (guesses, _) = guesses();
        let good = guesses.admit(ip("2001:db8::1"), KEY, "good").unwrap();
        guesses.succeeded(good);
        for number in 0..100 {
            guess(&guesses, &format!("2001:db8::{}", number + 2), &format!("key-{number}")).await;
        }
        assert!(guesses.admit(ip("2001:db8::1"), KEY, "good").is_ok());
        assert!(guesses.admit(ip("2001:db8::1"), KEY, "new").is_err(), "hosts of one /64 are one address");
        assert!(guesses.admit(ip("2001:db8:0:1::1"), KEY, "new").is_ok());
    }

    /// A program with an old key asks again and again; that is no guessing, and is not held back.
    #[tokio::test(start_paused = true)]
    async fn the_same_mistake_counts_a_twentieth() {
        let (guesses, _) = guesses();
        let began = tokio::time::Instant::now();
        for _ in 0..350 {
            assert!(guess(&guesses, "203.0.113.7", "the-old-key").await);
        }
        assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
        for _ in 0..100 {
            guess(&guesses, "203.0.113.7", "the-old-key").await;
        }
        assert!(!guess(&guesses, "203.0.113.7", "the-old-key").await);
    }

    #[test]
    fn memory_is_bounded() {
        let (guesses, clock) = guesses();
        for number in 0..(MOST_REMEMBERED as u32 + 100) {
            let address = CallerAddress::of(IpAddr::from(number.to_be_bytes()));
            guesses.count(address, u64::from(number));
            guesses.succeeded(Attempt { address: Some(address), digest: 0, kind: KEY });
        }
        for number in 0..100 {
            guesses.count(CallerAddress::of(ip("203.0.113.7").unwrap()), number);
        }
        let kept = guesses.failures()[&CallerAddress::of(ip("203.0.113.7").unwrap())].wrong.len();
        assert_eq!((guesses.failures().len(), guesses.good.read().unwrap().len()), (MOST_REMEMBERED, MOST_REMEMBERED));
        assert_eq!(kept, MOST_WRONG);
        clock.advance(GOOD_FOR);
        guesses.count(CallerAddress::of(ip("203.0.113.8").unwrap()), 0);
        guesses.succeeded(Attempt { address: ip("203.0.113.8").map(CallerAddress::of), digest: 0, kind: KEY });
        assert_eq!((guesses.failures().len(), guesses.good.read().unwrap().len()), (1, 1));
    }
}
