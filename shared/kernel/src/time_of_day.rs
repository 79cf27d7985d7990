//! Times of day, by a clock on the wall.

use std::fmt;
use std::str::FromStr;

use chrono::{NaiveTime, Timelike};
use serde::{Serialize, Serializer};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Type};
use utoipa::openapi::schema::{ObjectBuilder, Type as SchemaType};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A time of day to the minute, without a zone.
///
/// It is written `HH:MM` with both digits, from `00:00` to `23:59`: on the wire and as text in both databases, so that staff
/// read in a row what they wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(NaiveTime);

/// A text that is no `HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a time of day; write HH:MM, from 00:00 to 23:59")]
pub struct NotATimeOfDay;

impl TimeOfDay {
    /// So many minutes after midnight; a day has 1,440, and what is more counts from midnight again.
    pub fn from_minutes(minutes: u32) -> Self {
        let minutes = minutes % (24 * 60);
        Self(NaiveTime::from_hms_opt(minutes / 60, minutes % 60, 0).expect("the minutes are of one day"))
    }

    pub fn to_time(self) -> NaiveTime {
        self.0
    }
}

impl FromStr for TimeOfDay {
    type Err = NotATimeOfDay;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // chrono takes one digit and signs too.
        let has_five_places = text.len() == 5 && text.bytes().filter(u8::is_ascii_digit).count() == 4;
        let time = NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| has_five_places);
        time.map(Self).ok_or(NotATimeOfDay)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for TimeOfDay {
    fn schema() -> RefOr<Schema> {
        let time = ObjectBuilder::new()
            .schema_type(SchemaType::String)
            .pattern(Some("^([01][0-9]|2[0-3]):[0-5][0-9]$"))
            .examples(["21:00"]);
        time.into()
    }
}

impl ToSchema for TimeOfDay {}

impl<DB: Database> Type<DB> for TimeOfDay
where
    str: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <str as Type<DB>>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        <str as Type<DB>>::compatible(ty)
    }
}

impl<'q, DB: Database> Encode<'q, DB> for TimeOfDay
where
    String: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<'q, DB>>::encode(self.to_string(), buffer)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for TimeOfDay
where
    &'r str: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(<&str as Decode<'r, DB>>::decode(value)?.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_four_digits_and_a_colon_are_a_time_of_day() {
        for text in ["00:00", "07:30", "23:59"] {
            assert_eq!(text.parse::<TimeOfDay>().map(|time| time.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "24:00", "9:00", "21:00:00", "+7:00", "07:60", "ab:cd", " 7:00", "7 :00", "٢١:٠٠"] {
            assert_eq!(text.parse::<TimeOfDay>(), Err(NotATimeOfDay), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_minute_of_a_day_is_written_and_read(minute in 0_u32..1440) {
            let time = TimeOfDay::from_minutes(minute);
            proptest::prop_assert_eq!(time.to_string().parse(), Ok(time));
            proptest::prop_assert_eq!(time.to_time().num_seconds_from_midnight(), minute * 60);
        }
    }
}
