//! Times as a CRM writes them: often without a zone (d25).

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use recado_kernel::clock::Timestamp;

/// Reads a time; one without a zone is of `zone`. `None` for what is no time.
///
/// Understood are RFC 3339, the same with a blank for the `T`, without seconds, and without a zone. Where clocks are set back
/// and a time stands twice, it is the first; where they are set forward and it never stands, it is an hour later.
pub fn read(text: &str, zone: Tz) -> Option<Timestamp> {
    let text = text.trim().replacen(' ', "T", 1);
    for zoned in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"] {
        if let Ok(time) = DateTime::parse_from_str(&text, zoned) {
            return Some(time.to_utc().into());
        }
    }
    let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(&text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))?;
    let local = zone.from_local_datetime(&naive);
    let time = local.earliest().or_else(|| {
        let later = naive.checked_add_signed(chrono::TimeDelta::hours(1))?;
        zone.from_local_datetime(&later).earliest()
    })?;
    Some(time.to_utc().into())
}

/// Writes a time as the wall clock of `zone` shows it, without a zone: `2026-01-20T09:30:00`.
pub fn naive(time: Timestamp, zone: Tz) -> String {
    time.to_utc().with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_zone() {
        let lima = chrono_tz::America::Lima;
        for text in [
            "2024-01-15T14:30:00",
            "2024-01-15 14:30",
            " 2024-01-15T14:30:00.000000 ",
            "2024-01-15T14:30:00-05:00",
            "2024-01-15T19:30:00Z",
            "2024-01-15T19:30Z",
            "2024-01-15T19:30:00+0000",
        ] {
            let time = read(text, lima).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(time.to_string(), "2024-01-15T19:30:00.000000Z", "{text}");
            assert_eq!(naive(time, lima), "2024-01-15T14:30:00");
        }
        for wrong in ["", "mañana", "2024-13-01T00:00", "2024-01-15T25:00:00", "15/01/2024", "1705329000"] {
            assert_eq!(read(wrong, lima), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_that_no_clock_shows_is_an_hour_later() {
        let time = read("2026-03-29T02:30:00", chrono_tz::Europe::Madrid).expect("a time");
        assert_eq!(time.to_string(), "2026-03-29T01:30:00.000000Z");
    }
}
