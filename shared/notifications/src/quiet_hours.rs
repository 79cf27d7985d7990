//! Quiet hours: a part of the day in which a person does not want to be disturbed, by the clock on her own wall.

use chrono::{DateTime, Days, MappedLocalTime, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::customers::Customer;
use crate::workshops::Workshop;
use recado_kernel::clock::Timestamp;

/// A span of the day by the wall clock, without its end. It may cross midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    from: NaiveTime,
    until: NaiveTime,
}

/// Quiet hours and the zone whose wall clocks tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    pub hours: QuietHours,
    pub zone: Tz,
}

impl Rest {
    /// Whose rest counts: the customer's own, else the workshop's, else nobody's. A customer without a zone lives in the
    /// workshop's, or else in `zone`.
    pub fn of(customer: &Customer, workshop: Option<&Workshop>, zone: Tz) -> Option<Self> {
        let workshops_zone = workshop.and_then(Workshop::tz).unwrap_or(zone);
        let own_zone = customer.time_zone.as_deref().and_then(|zone| zone.parse().ok()).unwrap_or(workshops_zone);
        let own = QuietHours::parse(customer.quiet_from.as_deref(), customer.quiet_until.as_deref());
        if let Some(hours) = own {
            return Some(Self { hours, zone: own_zone });
        }
        let workshop = workshop?;
        let hours = QuietHours::parse(workshop.quiet_from.as_deref(), workshop.quiet_until.as_deref())?;
        // The workshop's hours by the customer's clock: nobody is woken because the workshop is elsewhere.
        Some(Self { hours, zone: own_zone })
    }

    /// When the rest ends in which `now` lies; `None` when nobody rests.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.hours.until(now, self.zone)
    }
}

impl QuietHours {
    /// From two times `HH:MM`. `None` unless both are there and differ, for an empty span disturbs nobody.
    pub fn parse(from: Option<&str>, until: Option<&str>) -> Option<Self> {
        let time = |text: &str| NaiveTime::parse_from_str(text, "%H:%M").ok();
        let (from, until) = (time(from?)?, time(until?)?);
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
        days.flat_map(|date| moments(date.and_time(self.until), zone))
            .filter(|end| !self.contain(end.naive_local().time()))
            .map(|end| Timestamp::from(end.to_utc()))
            .find(|end| *end > now)
    }

    fn contain(&self, time: NaiveTime) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&time)
        } else {
            time >= self.from || time < self.until
        }
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
        QuietHours::parse(Some(from), Some(until)).expect("two times")
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
        for (from, until) in [(None, None), (Some("21:00"), None), (None, Some("07:00")), (Some("7"), Some("x"))] {
            assert_eq!(QuietHours::parse(from, until), None);
        }
        assert_eq!(QuietHours::parse(Some("07:00"), Some("07:00")), None);
    }

    #[test]
    fn the_customers_own_hours_come_first_and_her_zone_always() {
        let of = |own: Option<(&str, &str)>, zone: Option<&str>, workshops: Option<(&str, &str)>| {
            let time = |span: Option<(&str, &str)>| (span.map(|s| s.0.to_owned()), span.map(|s| s.1.to_owned()));
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
            Customer { quiet_from: Some("21:00".into()), quiet_until: Some("07:00".into()), ..Customer::default() };
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
        fn whoever_waits_until_the_end_disturbs_nobody(
            second in 1_262_304_000_i64..2_051_222_400, from in 0_u32..1440, until in 0_u32..1440, zone in zones()
        ) {
            prop_assume!(from != until);
            let time = |minute: u32| NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).expect("a time of day");
            let quiet = QuietHours { from: time(from), until: time(until) };
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
            let time = |hour: u32| NaiveTime::from_hms_opt(hour % 24, 0, 0).expect("a time of day");
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
