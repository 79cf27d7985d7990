//! Exponential backoff.

use std::time::Duration;

/// The schedule of attempts on one channel.
///
/// With the defaults (3 attempts, 60 s): at once, after 60 s, after 120 s more; then the next channel (d11).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts per channel, the first included. `NOTIFICATION_MAX_ATTEMPTS`.
    pub max_attempts: u32,
    /// The first delay; each later one is twice as long. `NOTIFICATION_RETRY_BASE_SECONDS`.
    pub base: Duration,
}

/// No delay grows beyond this, neither by its exponent nor by a provider's `Retry-After`.
pub const LONGEST_DELAY: Duration = Duration::from_secs(6 * 60 * 60);

impl RetryPolicy {
    /// The delay after the `failures`-th failed attempt. `jitter` in `[-1, 1]` moves it by up to a fifth, so that a
    /// thousand messages that failed together do not come back together.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = self.base.as_secs_f64() * 2_f64.powi(failures.saturating_sub(1).min(30) as i32);
        Duration::from_secs_f64((doubled * (1.0 + 0.2 * jitter.clamp(-1.0, 1.0))).min(LONGEST_DELAY.as_secs_f64()))
    }
}
