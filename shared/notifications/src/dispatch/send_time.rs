//! When a message leaves: pure, from the event, the hour and the customer's quiet hours.

use recado_kernel::word_enum;
use std::time::Duration;

use chrono_tz::Tz;
use utoipa::ToSchema;

use super::event::Event;
use super::rejection::Rejection;
use crate::quiet_hours::Rest;
use recado_kernel::clock::Timestamp;
use recado_kernel::language::{Language, Sentence};

/// The farthest `send_at`: a year, and the day that a leap year has more.
pub const FARTHEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// When a message leaves, and what keeps it until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendTime {
    pub at: Timestamp,
    /// `None`: it leaves at once.
    pub reason: Option<DeferReason>,
}

/// Why a message does not leave at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(rename_all = "snake_case")]
pub enum DeferReason {
    /// The caller named a time.
    SendAt,
    /// It would leave in the quiet hours of the customer or the workshop.
    QuietHours,
}

word_enum!(DeferReason, "a reason to wait");

impl DeferReason {
    /// The sentence that staff read, with the hour of this zone.
    pub fn sentence(self, until: Timestamp, zone: Tz, language: Language) -> String {
        let until = until.to_utc().with_timezone(&zone).format("%Y-%m-%d %H:%M");
        match self {
            Self::SendAt => language.pick(
                format!("Quien envió el evento pidió que salga el {until} ({zone})."),
                format!("The sender of the event asked that it leave on {until} ({zone})."),
            ),
            Self::QuietHours => language.pick(
                format!("Son horas de silencio hasta el {until} ({zone}); saldrá entonces."),
                format!("These are quiet hours until {until} ({zone}); it leaves then."),
            ),
        }
    }
}

impl SendTime {
    /// A `send_at` that has passed means now. What is critical does not wait for quiet hours to end.
    pub fn of(wished: Option<Timestamp>, critical: bool, now: Timestamp, rest: Option<Rest>) -> Self {
        let wished = wished.filter(|wished| *wished > now);
        let at = wished.unwrap_or(now);
        let rest = rest.filter(|_| !critical);
        match rest.and_then(|rest| rest.until(at)) {
            Some(end) => Self { at: end, reason: Some(DeferReason::QuietHours) },
            None => Self { at, reason: wished.map(|_| DeferReason::SendAt) },
        }
    }

    /// The moment, where it is not now.
    pub fn later(&self) -> Option<Timestamp> {
        self.reason.map(|_| self.at)
    }
}

/// Adds to a refusal of the event that its wished time cannot be kept, because it lies more than a year ahead.
///
/// # Errors
/// What is wrong with the event, this included.
pub(super) fn checked<T>(event: &Event, now: Timestamp, decided: Result<T, Rejection>) -> Result<T, Rejection> {
    if event.send_at.is_none_or(|wished| wished <= now + FARTHEST) {
        return decided;
    }
    let error = Sentence::new(
        "La fecha no puede estar a más de un año. Programe una más cercana.",
        "The time may not be more than a year ahead. Choose an earlier one.",
    );
    let mut errors = match decided {
        Err(Rejection::Fields(errors)) => errors,
        // What is wrong with fields is said before everything else.
        _ => Vec::new(),
    };
    errors.push(("send_at".to_owned(), error));
    Err(Rejection::Fields(errors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quiet_hours::QuietHours;

    fn at(time: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(time).expect("a time").to_utc().into()
    }

    fn event(send_at: &str) -> Event {
        let event = serde_json::json!({"event_type": "vehicle_ready", "customer_id": "c", "send_at": send_at});
        serde_json::from_value(event).expect("an event")
    }

    #[test]
    fn it_leaves_at_once_or_as_wished_or_after_the_quiet_hours() {
        let night = Rest {
            hours: QuietHours::between("21:00".parse().ok(), "07:00".parse().ok()).expect("a span"),
            zone: Tz::UTC,
        };
        let table = [
            (None, false, "2026-01-20T12:00:00Z", "2026-01-20T12:00:00Z", None),
            (None, false, "2026-01-20T22:00:00Z", "2026-01-21T07:00:00Z", Some(DeferReason::QuietHours)),
            (None, true, "2026-01-20T22:00:00Z", "2026-01-20T22:00:00Z", None),
            (Some("2026-01-19T12:00:00Z"), false, "2026-01-20T12:00:00Z", "2026-01-20T12:00:00Z", None),
            (
                Some("2026-01-20T13:00:00Z"),
                false,
                "2026-01-20T12:00:00Z",
                "2026-01-20T13:00:00Z",
                Some(DeferReason::SendAt),
            ),
            (
                Some("2026-01-20T23:00:00Z"),
                false,
                "2026-01-20T12:00:00Z",
                "2026-01-21T07:00:00Z",
                Some(DeferReason::QuietHours),
            ),
            (
                Some("2026-01-20T23:00:00Z"),
                true,
                "2026-01-20T12:00:00Z",
                "2026-01-20T23:00:00Z",
                Some(DeferReason::SendAt),
            ),
            // Now is quiet, and the wished time is not.
            (
                Some("2026-01-21T09:00:00Z"),
                false,
                "2026-01-20T22:00:00Z",
                "2026-01-21T09:00:00Z",
                Some(DeferReason::SendAt),
            ),
        ];
        for (wished, critical, now, leaves, reason) in table {
            let send_time = SendTime::of(wished.map(at), critical, at(now), Some(night));
            assert_eq!(send_time, SendTime { at: at(leaves), reason }, "{wished:?} {critical} {now}");
        }
        assert_eq!(SendTime::of(None, false, at("2026-01-20T22:00:00Z"), None).later(), None);
    }

    #[test]
    fn no_one_plans_further_than_a_year() {
        let now = at("2026-01-20T12:00:00Z");
        for good in ["1999-01-01T00:00:00Z", "2026-01-20T12:00:01Z", "2027-01-20T12:00:00Z"] {
            assert!(checked(&event(good), now, Ok(())).is_ok(), "{good}");
        }
        let refused = |decided: Result<(), Rejection>| match checked(&event("2027-01-22T12:00:00Z"), now, decided) {
            Err(Rejection::Fields(errors)) => errors.into_iter().map(|(field, _)| field).collect(),
            other => panic!("too far: {other:?}"),
        };
        let fields: Vec<String> =
            refused(Err(Rejection::Fields(vec![("target".into(), Sentence::new("mal", "wrong"))])));
        assert_eq!(fields, ["target", "send_at"], "all mistakes at once");
        assert_eq!(refused(Ok(())), ["send_at"]);
    }
}
