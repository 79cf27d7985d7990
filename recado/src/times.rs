//! Times and durations for people to read.

use std::time::Duration;

use chrono::DateTime;
use recado_kernel::clock::Timestamp;

/// `3 min ago`, `in 2 h`, `now`.
pub(crate) fn relative(time: Timestamp, now: Timestamp) -> String {
    if time > now {
        format!("in {}", span(time.since(now)))
    } else if now.since(time) < Duration::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", span(now.since(time)))
    }
}

/// The same, or a dash where there is no time.
pub(crate) fn relative_or_dash(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(|| "-".to_owned(), |time| relative(time, now))
}

/// A duration in its largest unit, cut off and not rounded, so that `2 h` has really passed: `850 ms`, `45 s`, `3 d`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `2026-01-20 08:00` in the workshop's own zone.
pub(crate) fn local(time: Timestamp, zone: &impl chrono::TimeZone<Offset: std::fmt::Display>) -> String {
    time.to_utc().with_timezone(zone).format("%Y-%m-%d %H:%M").to_string()
}

/// A time, or how long ago.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    At(Timestamp),
    Ago(Duration),
}

impl When {
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => now - ago,
        }
    }
}

pub(crate) fn parse_when(text: &str) -> Result<When, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(When::At(time.to_utc().into()));
    }
    let wrong = || "write a time with its zone (2026-01-20T08:00:00Z), or how long ago (90s, 30m, 6h, 2d)".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    // A hundred years are enough, and cannot overflow.
    let ago = number.checked_mul(seconds).filter(|ago| *ago <= 36_500 * 86_400).ok_or_else(wrong)?;
    Ok(When::Ago(Duration::from_secs(ago)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unit_says_enough() {
        let spans =
            [(0.85, "850 ms"), (1.0, "1 s"), (59.9, "59 s"), (60.0, "1 min"), (7_199.0, "1 h"), (172_800.0, "2 d")];
        for (seconds, text) in spans {
            assert_eq!(span(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn the_past_is_ago_and_the_future_is_in() {
        let now = Timestamp::from_micros(1_000_000_000);
        assert_eq!(relative(now, now), "now");
        assert_eq!(relative(now - Duration::from_secs(200), now), "3 min ago");
        assert_eq!(relative(now + Duration::from_secs(5), now), "in 5 s");
        assert_eq!(relative_or_dash(None, now), "-");
    }
}
