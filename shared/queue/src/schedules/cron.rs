//! Five-field cron expressions, read the way `crontab(5)` reads them and fired in a time zone.
//!
//! The search for the next matching calendar time is the `cron` crate's. This module stands in front of it, because that
//! crate wants six fields, counts weekdays from 1 = Sunday, joins day of month and weekday with "and", and around a clock
//! change skips a time or fires it twice.

use std::{collections::BTreeSet, fmt, str::FromStr};

use ::cron::Schedule;
use chrono::{DateTime, Datelike, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use serde::Serialize;
use utoipa::ToSchema;

/// Counting missed ticks stops here: beyond it the exact number does not matter.
pub const MISSED_TICKS_CAP: usize = 1000;

/// The last year that the `cron` crate searches.
const LAST_YEAR: i32 = 2100;

/// Longer than any expression that lists every value of every field (under 400 characters).
const MAX_LENGTH: usize = 512;

/// When something recurs: minute, hour, day of month, month and weekday, or a macro such as `@daily`.
///
/// - Weekdays are `0`-`7` with 0 and 7 = Sunday, or `sun`-`sat`; months `1`-`12` or `jan`-`dec`; names in any case.
/// - Lists (`1,15`), ranges (`1-5`, also `5-7` and `sat-sun`) and steps (`*/15`, `8-18/2`, `5/15`) are allowed.
/// - When day of month *and* weekday are restricted, a day that satisfies either counts. A field that begins with `*`
///   (`*/2` too) is not restricted, so that `0 0 */2 * 1` means Mondays with an odd date, as Vixie cron and Debian's
///   `crontab(5)` have it.
/// - A local time that does not exist, because clocks go forward, fires once at the first instant after the gap; one that
///   comes twice, because clocks go back, fires at the first of the two.
///
/// [`Display`](fmt::Display) gives the canonical text: numbers for names, single spaces, macros written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronExpression {
    text: String,
    /// One schedule, or two when day of month and weekday are alternatives: the earlier tick of the two counts.
    schedules: Vec<Schedule>,
    /// Day of month and weekday are alternatives.
    either_day: bool,
}

/// A field as it was parsed.
pub struct Parsed {
    pub values: BTreeSet<u8>,
    /// Every value that there is.
    pub is_all: bool,
}

/// What a change of the clocks does to a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClockChange {
    /// The time that was meant does not exist on that day: it runs at the first moment after the gap.
    MovedBehindGap,
    /// The time comes twice on that day: it runs at the first of the two.
    FirstOfTwo,
}

impl CronExpression {
    /// What a change of the clocks does to one of its ticks.
    pub fn clock_change(&self, tick: DateTime<Utc>, zone: Tz) -> Option<ClockChange> {
        let local = tick.with_timezone(&zone).naive_local();
        if !self.schedules.iter().any(|schedule| schedule.includes(local.and_utc())) {
            return Some(ClockChange::MovedBehindGap);
        }
        matches!(zone.from_local_datetime(&local), MappedLocalTime::Ambiguous(..)).then_some(ClockChange::FirstOfTwo)
    }

    /// Minute, hour, day of month, month and weekday, as they were parsed.
    pub fn fields(&self) -> [Parsed; 5] {
        let mut texts = self.text.split(' ');
        [MINUTE, HOUR, DAY_OF_MONTH, MONTH, WEEKDAY].map(|field| {
            let values =
                texts.next().and_then(|text| field.read(text).ok()).map(|values| values.set).unwrap_or_default();
            Parsed { is_all: values.len() == usize::from(field.size()), values }
        })
    }

    /// Whether a day counts that satisfies either the day of month or the weekday, and need not satisfy both.
    pub fn is_either_day(&self) -> bool {
        self.either_day
    }

    /// The first tick strictly later than `after`, on the clocks of `zone`.
    ///
    /// Ticks lie between 1970 and 2100: `None` when no more come.
    pub fn next_after(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        if after.year() > LAST_YEAR {
            return None;
        }
        let after = after.max(DateTime::UNIX_EPOCH);
        let mut local = after.with_timezone(&zone).naive_local();
        // More than one turn is needed only while clocks show an hour for the second time: it has fired already.
        loop {
            local = self.next_local(local)?;
            if let Some(tick) = resolve(local, zone).filter(|tick| *tick > after) {
                return Some(tick);
            }
        }
    }

    /// The next `n` ticks strictly later than `after`, earliest first; fewer when the schedule ends before.
    pub fn upcoming(&self, after: DateTime<Utc>, zone: Tz, n: usize) -> Vec<DateTime<Utc>> {
        std::iter::successors(self.next_after(after, zone), |tick| self.next_after(*tick, zone)).take(n).collect()
    }

    /// The latest tick that fell due in `(after, now]`, and how many were due in that span before it (the missed ones,
    /// counted up to [`MISSED_TICKS_CAP`]). `None` when nothing fell due.
    ///
    /// Cheap after a downtime of any length: at most a thousand steps, then a bisection.
    pub fn latest_at_or_before(
        &self,
        now: DateTime<Utc>,
        after: DateTime<Utc>,
        zone: Tz,
    ) -> Option<(DateTime<Utc>, usize)> {
        let due = |from| self.next_after(from, zone).filter(|tick| *tick <= now);
        let mut latest = due(after)?;
        for missed in 0..MISSED_TICKS_CAP {
            match due(latest) {
                Some(tick) => latest = tick,
                None => return Some((latest, missed)),
            }
        }
        let mut nothing_after = now;
        // Ticks are whole seconds, so within one second of a tick there is no other.
        while nothing_after - latest >= TimeDelta::seconds(1) {
            let middle = latest + (nothing_after - latest) / 2;
            match due(middle) {
                Some(tick) => latest = tick,
                None => nothing_after = middle,
            }
        }
        Some((latest, MISSED_TICKS_CAP))
    }

    /// The first matching wall-clock time after `local`, whether or not that time exists in a zone.
    fn next_local(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let local = local.and_utc();
        let nexts = self.schedules.iter().filter_map(|schedule| schedule.after(&local).next());
        nexts.min().map(|next| next.naive_utc())
    }
}

/// The instant at which clocks in `zone` first show `local`, or jump over it.
fn resolve(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(instant) | MappedLocalTime::Ambiguous(instant, _) => Some(instant.to_utc()),
        MappedLocalTime::None => GapInfo::new(&local, &zone)?.end.map(|instant| instant.to_utc()),
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is not a cron expression: each message names the field and says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("cron expression is longer than {MAX_LENGTH} characters: use ranges and steps such as `*/5`")]
    TooLong,
    #[error(
        "cron expression has {found} field(s) and needs 5: minute, hour, day of month, month and weekday, \
         as in `0 8 * * 1-5` (no seconds, no year)"
    )]
    FieldCount { found: usize },
    #[error("cron macro `{text}` is unknown: use @hourly, @daily, @weekly, @monthly or @yearly")]
    UnknownMacro { text: String },
    #[error("{field} `{text}` cannot be read: use {expected}, `*`, or lists, ranges and steps of these")]
    Unreadable { field: &'static str, text: String, expected: &'static str },
    #[error("{field} `{text}` is outside {min}-{max}")]
    OutOfRange { field: &'static str, text: String, min: u8, max: u8 },
    #[error("{field} step `{text}` is outside 1-{max}: `*/2` means every second {field}")]
    Step { field: &'static str, text: String, max: u8 },
    #[error("{field} range `{text}` runs backwards: put the smaller value first, or write two ranges with a comma")]
    BackwardRange { field: &'static str, text: String },
    #[error("{field} `{text}` lists `*` beside other values: `*` already means every {field}, write it alone")]
    StarInList { field: &'static str, text: String },
    #[error("day of month `{day}` never comes in month `{month}`: choose a day that the month has")]
    NeverFires { day: String, month: String },
}

impl FromStr for CronExpression {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        if text.chars().count() > MAX_LENGTH {
            return Err(CronError::TooLong);
        }
        let words: Vec<&str> = written_out(text.trim())?.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = words.as_slice() else {
            return Err(CronError::FieldCount { found: words.len() });
        };
        let minute = MINUTE.read(minute)?;
        let hour = HOUR.read(hour)?;
        let day = DAY_OF_MONTH.read(day)?;
        let month = MONTH.read(month)?;
        let weekday = WEEKDAY.read(weekday)?;

        let either_day = !day.starred && !weekday.starred;
        if !either_day && !day.exists_in(&month) {
            return Err(CronError::NeverFires { day: day.text, month: month.text });
        }
        let (day_list, weekday_list) = (DAY_OF_MONTH.list(&day), WEEKDAY.list(&weekday));
        let days: &[(&str, &str)] = match either_day {
            true => &[(&day_list, "*"), ("*", &weekday_list)],
            false => &[(&day_list, &weekday_list)],
        };
        let time = format!("0 {} {}", MINUTE.list(&minute), HOUR.list(&hour));
        let month_list = MONTH.list(&month);
        let schedules = days.iter().map(|(day, weekday)| schedule(&format!("{time} {day} {month_list} {weekday}")));
        Ok(Self {
            schedules: schedules.collect(),
            either_day,
            text: [minute.text, hour.text, day.text, month.text, weekday.text].join(" "),
        })
    }
}

/// Replaces a macro by its five fields; other texts pass through.
fn written_out(text: &str) -> Result<&str, CronError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    match text.to_ascii_lowercase().as_str() {
        "@hourly" => Ok("0 * * * *"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@monthly" => Ok("0 0 1 * *"),
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        _ => Err(CronError::UnknownMacro { text: printable(text) }),
    }
}

fn schedule(six_fields: &str) -> Schedule {
    six_fields.parse().expect("seconds 0 and five lists of values that were checked against their ranges")
}

/// What a caller wrote, fit for an error message and a log line.
fn printable(text: &str) -> String {
    text.escape_debug().to_string()
}

/// The rules of one of the five positions.
struct Field {
    name: &'static str,
    expected: &'static str,
    min: u8,
    max: u8,
    /// Names of the values from `min` on. Only weekdays also answer to one number past `max`: 7 is Sunday again.
    names: &'static [&'static str],
    wraps: bool,
}

const MINUTE: Field = Field { name: "minute", expected: "0-59", min: 0, max: 59, names: &[], wraps: false };
const HOUR: Field = Field { name: "hour", expected: "0-23", min: 0, max: 23, names: &[], wraps: false };
const DAY_OF_MONTH: Field = Field { name: "day of month", expected: "1-31", min: 1, max: 31, names: &[], wraps: false };
const MONTH: Field = Field {
    name: "month",
    expected: "1-12 or jan-dec",
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    wraps: false,
};
const WEEKDAY: Field = Field {
    name: "weekday",
    expected: "0-7 (0 and 7 are Sunday) or sun-sat",
    min: 0,
    max: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    wraps: true,
};

/// What one field says.
struct Values {
    text: String,
    set: BTreeSet<u8>,
    /// Begins with `*`: as far as "day of month or weekday" goes, the field is not restricted.
    starred: bool,
}

impl Values {
    /// Whether any of these days of the month comes in any of `months`.
    fn exists_in(&self, months: &Values) -> bool {
        let longest = months.set.iter().map(|month| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        });
        longest.max() >= self.set.first().copied()
    }
}

impl Field {
    fn read(&self, text: &str) -> Result<Values, CronError> {
        let mut parts: Vec<String> = Vec::new();
        let mut set = BTreeSet::new();
        for item in text.split(',') {
            let (part, values) = self.item(item).map_err(|error| match error {
                // `1,,2`, `*/` or `-1`: an empty piece says nothing by itself, so the message shows the whole field.
                CronError::Unreadable { text: piece, .. } if piece.is_empty() => self.unreadable(text),
                error => error,
            })?;
            set.extend(values);
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        if parts.len() > 1 && parts.iter().any(|part| part == "*") {
            return Err(CronError::StarInList { field: self.name, text: printable(text) });
        }
        Ok(Values { text: parts.join(","), set, starred: text.starts_with('*') })
    }

    /// One element of a list: its canonical text and its values.
    fn item(&self, text: &str) -> Result<(String, impl Iterator<Item = u8>), CronError> {
        let (base, step) = match text.split_once('/') {
            Some((base, step)) => (base, Some(self.step(step)?)),
            None => (text, None),
        };
        let (first, last) = match base.split_once('-') {
            _ if base == "*" => (self.min, self.max),
            Some((first, last)) => self.range(first, last, base)?,
            None => {
                let value = self.wrap(self.value(base)?);
                (value, if step.is_some() { self.max } else { value })
            }
        };
        let step = step.unwrap_or(1);
        let part = match (base, step) {
            ("*", 1) => "*".to_owned(),
            ("*", _) => format!("*/{step}"),
            _ if first == last => self.wrap(first).to_string(),
            (_, 1) => format!("{first}-{last}"),
            _ => format!("{first}-{last}/{step}"),
        };
        let (modulus, wraps) = (self.size(), self.wraps);
        let values = (first..=last).step_by(step.into());
        Ok((part, values.map(move |value| if wraps { value % modulus } else { value })))
    }

    /// Both ends of a range. Sunday is 7 at its end and 0 at its start, however it was written.
    fn range(&self, first: &str, last: &str, text: &str) -> Result<(u8, u8), CronError> {
        let (first, last) = match (self.value(first)?, self.value(last)?) {
            (first, 0) if self.wraps && first > 0 => (first, 7),
            (7, last) if self.wraps && last < 7 => (0, last),
            (0, 7) if self.wraps => (0, 6),
            ends => ends,
        };
        if first > last {
            return Err(CronError::BackwardRange { field: self.name, text: printable(text) });
        }
        Ok((first, last))
    }

    fn value(&self, text: &str) -> Result<u8, CronError> {
        if let Some(value) = (self.min..).zip(self.names).find(|(_, name)| text.eq_ignore_ascii_case(name)) {
            return Ok(value.0);
        }
        let max = if self.wraps { self.max + 1 } else { self.max };
        self.number(text)?.filter(|value| (self.min..=max).contains(value)).ok_or_else(|| CronError::OutOfRange {
            field: self.name,
            text: printable(text),
            min: self.min,
            max,
        })
    }

    /// A step larger than the field (`*/90` minutes) would silently mean something else than it says.
    fn step(&self, text: &str) -> Result<u8, CronError> {
        let max = self.size();
        self.number(text)?.filter(|step| (1..=max).contains(step)).ok_or_else(|| CronError::Step {
            field: self.name,
            text: printable(text),
            max,
        })
    }

    /// `None` for digits that are too large for any field.
    fn number(&self, text: &str) -> Result<Option<u8>, CronError> {
        // `parse` alone would let `+5` pass.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.unreadable(text));
        }
        Ok(text.parse().ok())
    }

    fn unreadable(&self, text: &str) -> CronError {
        CronError::Unreadable { field: self.name, text: printable(text), expected: self.expected }
    }

    fn wrap(&self, value: u8) -> u8 {
        if self.wraps { value % self.size() } else { value }
    }

    fn size(&self) -> u8 {
        self.max - self.min + 1
    }

    /// The values as the `cron` crate reads them: weekdays by name, because its numbers are not those of crontab.
    fn list(&self, values: &Values) -> String {
        if values.set.len() == usize::from(self.size()) {
            return "*".to_owned();
        }
        let words = values.set.iter().map(|value| match self.names.get(usize::from(value - self.min)) {
            Some(name) => (*name).to_owned(),
            None => value.to_string(),
        });
        words.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, Timelike, Weekday};
    use chrono_tz::{
        Africa::Casablanca,
        America::{Guayaquil, Havana, Santiago, St_Johns},
        Antarctica::Troll,
        Asia::Kathmandu,
        Australia::Lord_Howe,
        Europe::Madrid,
        Pacific::{Apia, Chatham},
    };
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn cron(text: &str) -> CronExpression {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn utc(text: &str) -> DateTime<Utc> {
        format!("{text}:00Z").parse().unwrap()
    }

    /// The instants as local times with their offset, which tell the two passes of an overlap apart.
    fn local(ticks: &[DateTime<Utc>], zone: Tz) -> Vec<String> {
        let show = |tick: &DateTime<Utc>| tick.with_timezone(&zone).format("%a %F %R %:z").to_string();
        ticks.iter().map(show).collect()
    }

    #[test]
    fn ticks_on_the_clocks_of_a_zone() {
        let cases: &[(&str, Tz, &str, &[&str])] = &[
            (
                "0 8 * * *",
                Guayaquil,
                "2026-02-03T12:59",
                &["Tue 2026-02-03 08:00 -05:00", "Wed 2026-02-04 08:00 -05:00"],
            ),
            ("0 8 * * *", Guayaquil, "2026-02-03T13:00", &["Wed 2026-02-04 08:00 -05:00"]),
            // Clocks go forward: 02:30 does not exist, so it fires at 03:00; the next day is as usual.
            ("30 2 * * *", Madrid, "2026-03-28T12:00", &["Sun 2026-03-29 03:00 +02:00", "Mon 2026-03-30 02:30 +02:00"]),
            // A whole gap of missing times fires once, and not again for the 03:00 that exists.
            (
                "*/30 * * * *",
                Madrid,
                "2026-03-29T00:29",
                &["Sun 2026-03-29 01:30 +01:00", "Sun 2026-03-29 03:00 +02:00", "Sun 2026-03-29 03:30 +02:00"],
            ),
            // Clocks go back: 02:30 comes twice and fires once, the first time.
            ("30 2 * * *", Madrid, "2026-10-24T12:00", &["Sun 2026-10-25 02:30 +02:00", "Mon 2026-10-26 02:30 +01:00"]),
            // Starting between the two passes does not bring it back.
            ("30 2 * * *", Madrid, "2026-10-25T01:10", &["Mon 2026-10-26 02:30 +01:00"]),
            (
                "*/30 * * * *",
                Madrid,
                "2026-10-25T00:00",
                &["Sun 2026-10-25 02:30 +02:00", "Sun 2026-10-25 03:00 +01:00"],
            ),
            // Midnight itself is missing in Santiago; a whole Friday in Samoa.
            (
                "0 0 * * *",
                Santiago,
                "2026-09-05T12:00",
                &["Sun 2026-09-06 01:00 -03:00", "Mon 2026-09-07 00:00 -03:00"],
            ),
            (
                "0 8 * * *",
                Apia,
                "2011-12-29T12:00",
                &["Thu 2011-12-29 08:00 -10:00", "Sat 2011-12-31 00:00 +14:00", "Sat 2011-12-31 08:00 +14:00"],
            ),
            (
                "15 2 * * *",
                Lord_Howe,
                "2026-10-03T12:00",
                &["Sun 2026-10-04 02:30 +11:00", "Mon 2026-10-05 02:15 +11:00"],
            ),
            (
                "0 0 29 2 *",
                Guayaquil,
                "2026-01-01T00:00",
                &["Tue 2028-02-29 00:00 -05:00", "Sun 2032-02-29 00:00 -05:00"],
            ),
            ("0 0 31 * *", Guayaquil, "2026-02-01T00:00", &["Tue 2026-03-31 00:00 -05:00"]),
            ("0 0 1 1 *", Guayaquil, "2026-12-31T23:59", &["Fri 2027-01-01 00:00 -05:00"]),
        ];
        for (text, zone, after, expected) in cases {
            let ticks = cron(text).upcoming(utc(after), *zone, expected.len());
            assert_eq!(local(&ticks, *zone), *expected, "{text} in {zone} after {after}");
        }
    }

    #[test]
    fn weekdays_and_days_of_the_month_are_those_of_crontab() {
        use Weekday::{Fri, Mon, Sat, Sun, Thu, Tue, Wed};
        let cases: &[(&str, &[Weekday])] = &[
            ("0 0 * * 0", &[Sun]),
            ("0 0 * * 7", &[Sun]),
            ("0 0 * * sUn", &[Sun]),
            ("0 0 * * 1", &[Mon]),
            ("0 0 * * 1-5", &[Mon, Tue, Wed, Thu, Fri]),
            ("0 0 * * MON-fri", &[Mon, Tue, Wed, Thu, Fri]),
            ("0 0 * * 5-7", &[Fri, Sat, Sun]),
            ("0 0 * * sat-sun", &[Sat, Sun]),
            ("0 0 * * 7-2", &[Mon, Tue, Sun]),
            ("0 0 * * */2", &[Tue, Thu, Sat, Sun]),
            ("0 0 * * 1-7/3", &[Mon, Thu, Sun]),
            ("0 0 * * 4/2", &[Thu, Sat]),
            ("0 0 * * 3,sun,5-6", &[Wed, Fri, Sat, Sun]),
            ("0 0 * * 0-7", &[Mon, Tue, Wed, Thu, Fri, Sat, Sun]),
        ];
        for (text, expected) in cases {
            // 2026-02-01 is a Sunday, so that these seven days run from Monday to Sunday.
            let week = utc("2026-02-01T12:00")..utc("2026-02-08T12:00");
            let ticks = cron(text).upcoming(week.start, Tz::UTC, 8);
            let days: Vec<_> = ticks.iter().filter(|tick| week.contains(tick)).map(Datelike::weekday).collect();
            assert_eq!(days, *expected, "{text}");
        }
    }

    #[test]
    fn day_of_month_and_weekday_are_alternatives_unless_one_begins_with_a_star() {
        let cases: &[(&str, &[u32])] = &[
            // February 2026: the Mondays are 2, 9, 16, 23.
            ("0 0 13 * 1", &[2, 9, 13, 16, 23]),
            ("0 0 2,3 * 1", &[2, 3, 9, 16, 23]),
            ("0 0 30 2 1", &[2, 9, 16, 23]),
            ("0 0 13 * *", &[13]),
            ("0 0 * * 1", &[2, 9, 16, 23]),
            ("0 0 */2 * 1", &[9, 23]),
            ("0 0 1-14 * */6", &[1, 7, 8, 14]),
        ];
        for (text, expected) in cases {
            let february = utc("2026-01-31T12:00")..utc("2026-03-01T00:00");
            let ticks = cron(text).upcoming(february.start, Tz::UTC, 29);
            let days: Vec<_> = ticks.iter().filter(|tick| february.contains(tick)).map(Datelike::day).collect();
            assert_eq!(days, *expected, "{text}");
        }
    }

    #[test]
    fn the_canonical_text_has_numbers_and_single_spaces() {
        let cases = [
            ("  00   08 *  * * ", "0 8 * * *"),
            ("0 8 * JAN-mar Mon,7", "0 8 * 1-3 1,0"),
            ("*/1 5/6 1,1 */12 sat-sun", "* 5-23/6 1 */12 6-7"),
            ("3/60 8/2 1-31 * 0-7", "3-59/60 8-23/2 1-31 * 0-6"),
            ("@HOURLY", "0 * * * *"),
            ("@daily", "0 0 * * *"),
            ("@midnight", "0 0 * * *"),
            ("@weekly", "0 0 * * 0"),
            ("@monthly", "0 0 1 * *"),
            ("@yearly", "0 0 1 1 *"),
            ("@annually", "0 0 1 1 *"),
        ];
        for (text, expected) in cases {
            assert_eq!(cron(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn an_error_names_the_field_and_the_remedy() {
        let cases = [
            ("", "has 0 field(s) and needs 5"),
            ("0 0 8 * * *", "has 6 field(s) and needs 5: minute, hour"),
            ("@reboot", "cron macro `@reboot` is unknown: use @hourly"),
            ("60 8 * * *", "minute `60` is outside 0-59"),
            ("0 25 * * *", "hour `25` is outside 0-23"),
            ("0 99999999999 * * *", "hour `99999999999` is outside 0-23"),
            ("0 8 0 * *", "day of month `0` is outside 1-31"),
            ("0 8 * 13 *", "month `13` is outside 1-12"),
            ("0 8 * * 8", "weekday `8` is outside 0-7"),
            ("0 8 * * lunes", "weekday `lunes` cannot be read: use 0-7 (0 and 7 are Sunday) or sun-sat"),
            ("0 8 ? * 1", "day of month `?` cannot be read: use 1-31, `*`"),
            ("0 8 L * *", "day of month `L` cannot be read"),
            ("+5 8 * * *", "minute `+5` cannot be read"),
            ("-5 8 * * *", "minute `-5` cannot be read"),
            ("1,,2 8 * * *", "minute `1,,2` cannot be read"),
            ("*/ 8 * * *", "minute `*/` cannot be read"),
            ("\u{7}5 8 * * *", "minute `\\u{7}5` cannot be read"),
            ("*/0 8 * * *", "minute step `0` is outside 1-60: `*/2` means every second minute"),
            ("*/90 8 * * *", "minute step `90` is outside 1-60"),
            ("0 18-8 * * *", "hour range `18-8` runs backwards"),
            ("0 8 * * fri-mon", "weekday range `fri-mon` runs backwards"),
            ("0 8 1,* * *", "day of month `1,*` lists `*` beside other values"),
            ("0 8 30 2 *", "day of month `30` never comes in month `2`"),
            ("0 8 31 4,jun *", "day of month `31` never comes in month `4,6`"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<CronExpression>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        assert_eq!("1,".repeat(MAX_LENGTH).parse::<CronExpression>(), Err(CronError::TooLong));
    }

    #[test]
    fn the_latest_tick_after_a_downtime_and_how_many_were_missed() {
        let cases = [
            // (expression, after, now, latest and missed)
            ("0 8 * * *", "2026-02-03T13:00", "2026-02-04T12:59", None),
            ("0 8 * * *", "2026-02-03T13:00", "2026-02-04T13:00", Some(("2026-02-04T13:00", 0))),
            ("0 8 * * *", "2026-02-03T12:59", "2026-02-06T14:00", Some(("2026-02-06T13:00", 3))),
            ("0 8 * * *", "2026-02-06T14:00", "2026-02-03T12:59", None),
            ("* * * * *", "2026-02-03T00:00", "2026-02-03T16:41", Some(("2026-02-03T16:41", 1000))),
            ("* * * * *", "2026-02-03T00:00", "2026-02-03T16:40", Some(("2026-02-03T16:40", 999))),
            ("*/5 8 * * *", "2006-02-03T00:00", "2026-02-03T04:00", Some(("2026-02-02T13:55", 1000))),
        ];
        for (text, after, now, expected) in cases {
            let found = cron(text).latest_at_or_before(utc(now), utc(after), Guayaquil);
            assert_eq!(found, expected.map(|(latest, missed)| (utc(latest), missed)), "{text} {after} {now}");
        }
    }

    #[test]
    fn the_ends_of_time_are_not_a_panic() {
        for zone in [Guayaquil, Chatham, Apia, Tz::UTC] {
            let always = cron("* * * * *");
            assert_eq!(always.next_after(DateTime::<Utc>::MAX_UTC, zone), None);
            assert!(always.next_after(DateTime::<Utc>::MIN_UTC, zone) > Some(DateTime::UNIX_EPOCH));
            let (latest, missed) =
                always.latest_at_or_before(DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC, zone).unwrap();
            assert_eq!((latest.with_timezone(&zone).year(), missed), (LAST_YEAR, MISSED_TICKS_CAP));
        }
    }

    /// Three days around a clock change, or around none, in zones that do it differently.
    const DAYS: &[(Tz, &str)] = &[
        (Madrid, "2026-03-28T00:00"),
        (Madrid, "2026-10-24T00:00"),
        (Santiago, "2026-04-04T00:00"),
        (Santiago, "2026-09-05T00:00"),
        (Havana, "2026-03-07T00:00"),
        (Havana, "2026-10-31T00:00"),
        (St_Johns, "2026-03-07T00:00"),
        (Lord_Howe, "2026-04-03T00:00"),
        (Lord_Howe, "2026-10-02T00:00"),
        (Chatham, "2026-09-25T00:00"),
        (Casablanca, "2026-02-14T00:00"),
        (Casablanca, "2026-03-21T00:00"),
        (Troll, "2026-03-28T00:00"),
        (Troll, "2026-10-24T00:00"),
        (Apia, "2011-12-29T00:00"),
        (Kathmandu, "2026-02-27T00:00"),
        (Guayaquil, "2026-12-30T00:00"),
    ];

    /// A field as text, with the values that this text means.
    #[derive(Clone, Debug)]
    struct Wanted {
        text: String,
        values: BTreeSet<u32>,
    }

    fn wanted(min: u32, max: u32) -> impl Strategy<Value = Wanted> {
        let item = prop_oneof![
            (min..=max).prop_map(|value| (value.to_string(), vec![value])),
            (min..=max, min..=max).prop_map(|(a, b)| {
                let (first, last) = (a.min(b), a.max(b));
                (format!("{first}-{last}"), (first..=last).collect())
            }),
            (min..=max, min..=max, 1..=max - min).prop_map(|(a, b, step)| {
                let (first, last) = (a.min(b), a.max(b));
                (format!("{first}-{last}/{step}"), (first..=last).step_by(step as usize).collect())
            }),
        ];
        let list = vec(item, 1..4).prop_map(|items| {
            let (texts, values): (Vec<String>, Vec<Vec<u32>>) = items.into_iter().unzip();
            Wanted { text: texts.join(","), values: values.into_iter().flatten().collect() }
        });
        let star = Just(Wanted { text: "*".into(), values: (min..=max).collect() });
        let stepped = (1..=max - min).prop_map(move |step| Wanted {
            text: format!("*/{step}"),
            values: (min..=max).step_by(step as usize).collect(),
        });
        prop_oneof![2 => list, 2 => star, 1 => stepped]
    }

    /// Minute, hour, day of month, month, weekday. Months are mostly open, else hardly anything would fire in three days.
    fn wanted_fields() -> impl Strategy<Value = [Wanted; 5]> {
        let weekday = wanted(0, 7).prop_map(|Wanted { text, values }| {
            // `*` and `*/n` count from 0 to 6.
            let highest = if text.starts_with('*') { 6 } else { 7 };
            let values = values.into_iter().filter(|value| *value <= highest).map(|value| value % 7).collect();
            Wanted { text, values }
        });
        let month = prop_oneof![
            3 => Just(Wanted { text: "*".into(), values: (1..=12).collect() }),
            1 => wanted(1, 12),
        ];
        (wanted(0, 59), wanted(0, 23), wanted(1, 31), month, weekday).prop_map(<[Wanted; 5]>::from)
    }

    fn matches(fields: &[Wanted; 5], local: NaiveDateTime) -> bool {
        let [minute, hour, day, month, weekday] = fields;
        let day_fits = day.values.contains(&local.day());
        let weekday_fits = weekday.values.contains(&local.weekday().num_days_from_sunday());
        let day_is_right = match day.text.starts_with('*') || weekday.text.starts_with('*') {
            true => day_fits && weekday_fits,
            false => day_fits || weekday_fits,
        };
        minute.values.contains(&local.minute())
            && hour.values.contains(&local.hour())
            && month.values.contains(&local.month())
            && day_is_right
    }

    /// Watches the clocks of `zone` minute by minute, as a person would: a minute fires when clocks reach it for the
    /// first time, and a jump fires when any of the minutes that it left out should have.
    fn watched(fields: &[Wanted; 5], zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let minute = TimeDelta::minutes(1);
        let mut ticks = Vec::new();
        // Two days earlier, so that `from` may lie inside an overlap.
        let mut instant = from - TimeDelta::days(2);
        let mut shown = instant.with_timezone(&zone).naive_local();
        while instant < to {
            instant += minute;
            let local = instant.with_timezone(&zone).naive_local();
            let mut fires = false;
            while shown < local {
                shown += minute;
                fires |= matches(fields, shown);
            }
            if fires && instant > from {
                ticks.push(instant);
            }
        }
        ticks
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn fires_exactly_when_a_watcher_of_the_clock_would(
            fields in wanted_fields(),
            (zone, start) in select(DAYS),
            offset in 0i64..2000,
        ) {
            let text = fields.each_ref().map(|field| field.text.as_str()).join(" ");
            // A day that its months do not have is refused; that has its own test.
            let Ok(cron) = text.parse::<CronExpression>() else { return Ok(()) };
            let from = utc(start) + TimeDelta::minutes(offset);
            let to = utc(start) + TimeDelta::days(3);
            let expected = watched(&fields, zone, from, to);

            let ticks: Vec<_> =
                std::iter::successors(cron.next_after(from, zone), |tick| cron.next_after(*tick, zone))
                    .take_while(|tick| *tick <= to)
                    .collect();
            prop_assert!(ticks.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(local(&ticks, zone), local(&expected, zone), "{} in {} after {}", text, zone, from);

            let latest = expected.last().map(|tick| (*tick, (expected.len() - 1).min(MISSED_TICKS_CAP)));
            prop_assert_eq!(cron.latest_at_or_before(to, from, zone), latest);
        }

        #[test]
        fn the_canonical_text_means_the_same(fields in wanted_fields()) {
            let text = fields.each_ref().map(|field| field.text.as_str()).join(" ");
            if let Ok(cron) = text.parse::<CronExpression>() {
                prop_assert_eq!(cron.to_string().parse(), Ok(cron));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-*/,@?a-zL#0-9 \\PC]{0,40}") {
            let printable = |text: &str| !text.chars().any(char::is_control);
            match text.parse::<CronExpression>() {
                Ok(cron) => prop_assert_eq!(cron.to_string().parse(), Ok(cron)),
                Err(error) => prop_assert!(printable(&error.to_string())),
            }
        }
    }

    #[test]
    fn every_day_of_a_year_that_a_month_has_can_be_asked_for() {
        let first = NaiveDate::from_ymd_opt(2028, 1, 1).unwrap();
        for date in first.iter_days().take(366) {
            let text = format!("30 12 {} {} *", date.day(), date.month());
            let tick = cron(&text).next_after(utc("2027-12-31T23:59"), Tz::UTC);
            assert_eq!(tick.map(|tick| tick.date_naive()), Some(date), "{text}");
        }
    }
}
