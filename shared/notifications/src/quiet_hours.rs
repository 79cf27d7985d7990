//! Quiet hours: a part of the day in which a person does not want to be disturbed, by the clocks where they live.

use chrono::{DateTime, Days, MappedLocalTime, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::customers::Customer;
use crate::workshops::Workshop;
use recado_kernel::clock::Timestamp;
use recado_kernel::time_of_day::TimeOfDay;

/// A span of the day by the wall clock, without its end. It may cross midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    from: TimeOfDay,
    until: TimeOfDay,
}

/// Quiet hours and the zone whose wall clocks tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    pub hours: QuietHours,
    pub zone: Tz,
}

impl Rest {
    /// Whose quiet hours count: the customer's own, else the workshop's, else there are none. A customer without a zone has the
    /// workshop's, or else `zone`.
    pub fn of(customer: &Customer, workshop: Option<&Workshop>, zone: Tz) -> Option<Self> {
        let workshops_zone = workshop.and_then(Workshop::tz).unwrap_or(zone);
        let own_zone = customer.time_zone.as_deref().and_then(|zone| zone.parse().ok()).unwrap_or(workshops_zone);
        if let Some(hours) = QuietHours::between(customer.quiet_from, customer.quiet_until) {
            return Some(Self { hours, zone: own_zone });
        }
        let workshop = workshop?;
        let hours = QuietHours::between(workshop.quiet_from, workshop.quiet_until)?;
        // The workshop's hours by the customer's clock: a workshop in another zone wakes no customer.
        Some(Self { hours, zone: own_zone })
    }

    /// When the quiet hours end in which `now` lies; `None` when it lies in none.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.hours.until(now, self.zone)
    }
}

impl QuietHours {
    /// `None` unless both ends are there and differ: an empty span has no moment.
    pub fn between(from: Option<TimeOfDay>, until: Option<TimeOfDay>) -> Option<Self> {
        let (from, until) = (from?, until?);
        (from != until).then_some(Self { from, until })
    }

    /// When the quiet hours end in which `now` lies; `None` when it lies in none.
    ///
    /// The end is a moment at which the wall clock shows [`until`](Self::until). Where that hour is skipped because the
    /// clocks go forward, it is the moment right after; where it comes twice because they go back, it is the first time
    /// that lies ahead.
    pub fn until(&self, now: Timestamp, zone: Tz) -> Option<Timestamp> {
        let local = now.to_utc().with_timezone(&zone).naive_local();
        if !self.contain(local.time()) {
            return None;
        }
        // Two days ahead, because a zone may skip a whole day when it crosses the date line.
        let days = (0..=3).filter_map(|days| local.date().checked_add_days(Days::new(days)));
        days.flat_map(|date| moments(date.and_time(self.until.to_time()), zone))
            .filter(|end| !self.contain(end.naive_local().time()))
            .map(|end| Timestamp::from(end.to_utc()))
            .find(|end| *end > now)
    }

    fn contain(&self, time: NaiveTime) -> bool {
        let (from, until) = (self.from.to_time(), self.until.to_time());
        if from < until { (from..until).contains(&time) } else { time >= from || time < until }
    }
}

/// The moments at which the wall clock shows this time: one, or two where the clocks go back. Where they go forward past
/// it, the first moment after.
fn moments(local: NaiveDateTime, zone: Tz) -> Vec<DateTime<Tz>> {
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(moment) => vec![moment],
        MappedLocalTime::Ambiguous(first, second) => vec![first, second],
        // The longest gap was the day that Samoa never had.
        MappedLocalTime::None => (1..=24 * 60)
            .filter_map(|minutes| local.checked_add_signed(TimeDelta::minutes(minutes)))
            .find_map(|later| zone.from_local_datetime(&later).earliest())
            .into_iter()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(time: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(time).expect("a time").to_utc().into()
    }

    fn hours(from: &str, until: &str) -> QuietHours {
        QuietHours::between(from.parse().ok(), until.parse().ok()).expect("two times")
    }

    fn end(from: &str, until: &str, now: &str, zone: Tz) -> Option<Timestamp> {
        hours(from, until).until(at(now), zone)
    }

    #[test]
    fn a_night_crosses_midnight() {
        let night = |now| end("21:00", "07:00", now, Tz::America__Guayaquil);
        assert_eq!(night("2026-01-20T20:59:59-05:00"), None);
        assert_eq!(night("2026-01-20T21:00:00-05:00"), Some(at("2026-01-21T07:00:00-05:00")));
        assert_eq!(night("2026-01-21T00:00:00-05:00"), Some(at("2026-01-21T07:00:00-05:00")));
        assert_eq!(night("2026-01-21T06:59:59.999999-05:00"), Some(at("2026-01-21T07:00:00-05:00")));
        assert_eq!(night("2026-01-21T07:00:00-05:00"), None);
    }

    #[test]
    fn a_siesta_does_not() {
        let siesta = |now| end("13:00", "15:30", now, Tz::America__Guayaquil);
        assert_eq!(siesta("2026-01-20T13:00:00-05:00"), Some(at("2026-01-20T15:30:00-05:00")));
        assert_eq!(siesta("2026-01-20T12:59:59-05:00"), None);
        assert_eq!(siesta("2026-01-20T23:00:00-05:00"), None);
    }

    /// Madrid, 29 March 2026: 02:00 becomes 03:00.
    #[test]
    fn an_end_that_is_skipped_is_the_moment_after() {
        assert_eq!(
            end("22:00", "02:30", "2026-03-29T00:30:00+01:00", Tz::Europe__Madrid),
            Some(at("2026-03-29T03:00:00+02:00"))
        );
    }

    /// Madrid, 25 October 2026: 03:00 becomes 02:00.
    #[test]
    fn an_end_that_comes_twice_ends_the_quiet_hours_twice() {
        let night = |now| end("22:00", "02:30", now, Tz::Europe__Madrid);
        assert_eq!(night("2026-10-25T01:00:00+02:00"), Some(at("2026-10-25T02:30:00+02:00")));
        assert_eq!(night("2026-10-25T02:45:00+02:00"), None);
        assert_eq!(night("2026-10-25T02:15:00+01:00"), Some(at("2026-10-25T02:30:00+01:00")));
    }

    /// Samoa went from 29 to 31 December 2011.
    #[test]
    fn a_day_that_never_was() {
        assert_eq!(
            end("21:00", "07:00", "2011-12-29T23:00:00-10:00", Tz::Pacific__Apia),
            Some(at("2011-12-31T07:00:00+14:00"))
        );
    }

    #[test]
    fn half_a_span_is_none() {
        let seven = Some(TimeOfDay::from_minutes(7 * 60));
        for (from, until) in [(None, None), (seven, None), (None, seven), (seven, seven)] {
            assert_eq!(QuietHours::between(from, until), None);
        }
    }

    #[test]
    fn the_customers_own_hours_come_first_and_their_zone_always() {
        let of = |own: Option<(&str, &str)>, zone: Option<&str>, workshops: Option<(&str, &str)>| {
            let time =
                |span: Option<(&str, &str)>| (span.and_then(|s| s.0.parse().ok()), span.and_then(|s| s.1.parse().ok()));
            let (quiet_from, quiet_until) = time(own);
            let customer =
                Customer { quiet_from, quiet_until, time_zone: zone.map(str::to_owned), ..Customer::default() };
            let (quiet_from, quiet_until) = time(workshops);
            let workshop =
                Workshop { quiet_from, quiet_until, time_zone: Some("Pacific/Galapagos".into()), ..workshop() };
            Rest::of(&customer, Some(&workshop), Tz::America__Guayaquil)
        };
        let rest = |from, until, zone| Some(Rest { hours: hours(from, until), zone });
        assert_eq!(of(None, None, None), None);
        assert_eq!(of(None, None, Some(("21:00", "07:00"))), rest("21:00", "07:00", Tz::Pacific__Galapagos));
        assert_eq!(
            of(None, Some("Europe/Madrid"), Some(("21:00", "07:00"))),
            rest("21:00", "07:00", Tz::Europe__Madrid)
        );
        assert_eq!(
            of(Some(("13:00", "15:00")), None, Some(("21:00", "07:00"))),
            rest("13:00", "15:00", Tz::Pacific__Galapagos)
        );
        let customer =
            Customer { quiet_from: "21:00".parse().ok(), quiet_until: "07:00".parse().ok(), ..Customer::default() };
        assert_eq!(Rest::of(&customer, None, Tz::UTC), rest("21:00", "07:00", Tz::UTC));
    }

    fn workshop() -> Workshop {
        let epoch = Timestamp::from_micros(0);
        Workshop {
            id: recado_kernel::ids::Id::of_name("w"),
            taller_id: "t".into(),
            name: "t".into(),
            is_active: true,
            time_zone: None,
            quiet_from: None,
            quiet_until: None,
            from_email: None,
            email_enabled: true,
            whatsapp_enabled: true,
            push_enabled: true,
            created_at: epoch,
            updated_at: epoch,
        }
    }

    fn zones() -> impl Strategy<Value = Tz> {
        prop::sample::select(vec![
            Tz::America__Guayaquil,
            Tz::Europe__Madrid,
            Tz::America__New_York,
            Tz::Australia__Lord_Howe,
            Tz::Pacific__Apia,
            Tz::Asia__Kathmandu,
        ])
    }

    proptest! {
        /// From 2010 to 2035, with every change of clocks in between.
        #[test]
        fn the_end_lies_ahead_and_outside_of_the_quiet_hours(
            second in 1_262_304_000_i64..2_051_222_400, from in 0_u32..1440, until in 0_u32..1440, zone in zones()
        ) {
            prop_assume!(from != until);
            let quiet = QuietHours { from: TimeOfDay::from_minutes(from), until: TimeOfDay::from_minutes(until) };
            let now = Timestamp::from_micros(second * 1_000_000);
            let shown = |moment: Timestamp| moment.to_utc().with_timezone(&zone).time();
            match quiet.until(now, zone) {
                None => prop_assert!(!quiet.contain(shown(now))),
                Some(end) => {
                    prop_assert!(quiet.contain(shown(now)));
                    prop_assert!(end > now);
                    prop_assert_eq!(quiet.until(end, zone), None);
                    // A day, and the day that Samoa skipped.
                    prop_assert!(end.since(now).as_secs() <= 50 * 3600, "{} to {}", now, end);
                }
            }
        }

        /// Where clocks never change, nothing before the end could have been sent.
        #[test]
        fn the_end_is_the_first_moment_that_is_not_quiet(second in 0_i64..10_000_000, from in 0_u32..24, length in 1_u32..24) {
            let zone = Tz::America__Guayaquil;
            let time = |hour: u32| TimeOfDay::from_minutes(hour * 60);
            let quiet = QuietHours { from: time(from), until: time(from + length) };
            let now = Timestamp::from_micros((1_700_000_000 + second) * 1_000_000);
            if let Some(end) = quiet.until(now, zone) {
                let just_before = Timestamp::from_micros(end.as_micros() - 1);
                prop_assert_eq!(quiet.until(just_before, zone), Some(end));
                prop_assert!(end.since(now).as_secs() <= u64::from(length) * 3600);
            }
        }
    }
}
