//! How much a number may send, pure. WhatsApp bans numbers that send like machines, and new ones first.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::config::ConversationsSettings;

use crate::sends::Lately;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// For what a text leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An operator is told of a request: a customer waits for the answer.
    Notice,
    /// Staff write, or a notification leaves.
    Other,
}

/// This part of the limit is left to notices.
const RESERVED_PART: u32 = 10;

/// What was decided for the installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pacing {
    /// 0 is no limit.
    pub daily_limit: u32,
    pub warm_up_days: u32,
}

impl Pacing {
    pub fn of(settings: &ConversationsSettings) -> Self {
        Self { daily_limit: settings.daily_limit, warm_up_days: settings.warm_up_days }
    }

    /// How many messages may leave within 24 hours, by the age of the number here: a tenth of the limit on the first day, and
    /// as much more each day as brings it to all of it. `None`: no limit.
    pub fn limit_at(self, known_since: Option<Timestamp>, now: Timestamp) -> Option<u32> {
        let Self { daily_limit, warm_up_days } = self;
        if daily_limit == 0 {
            return None;
        }
        let age_days = known_since.map_or(0, |since| now.since(since).as_secs() / DAY.as_secs());
        let days = u64::from(warm_up_days);
        if age_days >= days {
            return Some(daily_limit);
        }
        let all = u64::from(daily_limit);
        let first = all.div_ceil(10);
        let limit = first + (all - first) * age_days / days;
        Some(u32::try_from(limit).unwrap_or(daily_limit))
    }

    /// How many of them only notices to operators may use: a tenth.
    pub fn reserve_at(self, known_since: Option<Timestamp>, now: Timestamp) -> u32 {
        self.limit_at(known_since, now).unwrap_or_default() / RESERVED_PART
    }

    /// How long the next message has to wait; zero when it may leave.
    pub fn wait(self, purpose: Purpose, known_since: Option<Timestamp>, lately: Lately, now: Timestamp) -> Duration {
        let Some(limit) = self.limit_at(known_since, now) else { return Duration::ZERO };
        let limit = match purpose {
            Purpose::Notice => limit,
            Purpose::Other => limit - self.reserve_at(known_since, now),
        };
        if lately.last_day < i64::from(limit) {
            return Duration::ZERO;
        }
        let free_at = lately.oldest_of_day.map_or(now, |oldest| oldest + DAY);
        free_at.since(now).max(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(number: u64) -> Timestamp {
        Timestamp::from_micros(1_768_919_400_000_000) + DAY * u32::try_from(number).unwrap()
    }

    #[test]
    fn a_new_number_comes_to_its_limit_by_days() {
        let pacing = Pacing { daily_limit: 100, warm_up_days: 9 };
        let limits: Vec<_> = (0..=10).map(|age| pacing.limit_at(Some(day(0)), day(age)).unwrap()).collect();
        assert_eq!(limits, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 100]);
        assert_eq!(pacing.limit_at(None, day(0)), Some(10), "of a number that was never seen it is the first day");
        assert_eq!(Pacing { warm_up_days: 0, ..pacing }.limit_at(None, day(0)), Some(100));
        assert_eq!(Pacing::default().limit_at(None, day(0)), None);
    }

    #[test]
    fn who_is_at_the_limit_waits_for_the_oldest_to_be_a_day_old() {
        let pacing = Pacing { daily_limit: 2, warm_up_days: 0 };
        let lately = |last_day, oldest| Lately { last_day, oldest_of_day: Some(oldest), ..Lately::default() };
        let wait = |lately, now| pacing.wait(Purpose::Other, None, lately, now);
        assert_eq!(wait(lately(1, day(0)), day(0)), Duration::ZERO);
        let six_hours = Duration::from_secs(6 * 3_600);
        assert_eq!(wait(lately(2, day(0)), day(0) + six_hours), DAY.saturating_sub(six_hours));
    }

    #[test]
    fn a_tenth_is_left_to_notices() {
        let pacing = Pacing { daily_limit: 50, warm_up_days: 0 };
        let may_leave = |purpose, sent| {
            let lately = Lately { last_day: sent, oldest_of_day: Some(day(0)), ..Lately::default() };
            pacing.wait(purpose, None, lately, day(0)).is_zero()
        };
        for (sent, notice, other) in [(44, true, true), (45, true, false), (49, true, false), (50, false, false)] {
            assert_eq!((may_leave(Purpose::Notice, sent), may_leave(Purpose::Other, sent)), (notice, other), "{sent}");
        }
        assert_eq!(
            Pacing { daily_limit: 9, ..pacing }.reserve_at(None, day(0)),
            0,
            "a limit so small is no one's alone"
        );
    }

    proptest! {
        /// Never more than the limit, never less than on the day before, and never nothing.
        #[test]
        fn a_limit_grows_and_keeps_itself(daily_limit in 1..100_000_u32, warm_up_days in 0..60_u32, age in 0..90_u64) {
            let pacing = Pacing { daily_limit, warm_up_days };
            let limit = |age| pacing.limit_at(Some(day(0)), day(age)).unwrap();
            prop_assert!((1..=daily_limit).contains(&limit(age)));
            prop_assert!(limit(age) <= limit(age + 1));
            prop_assert!(pacing.reserve_at(Some(day(0)), day(age)) < limit(age));
        }
    }
}
