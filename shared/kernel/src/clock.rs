//! Time. Everything that needs the time asks the [`Clock`], so that a test can let three days pass at once.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Postgres, Sqlite, Type};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type as SchemaType};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A point in time with the microsecond precision that PostgreSQL keeps.
///
/// Everywhere outside PostgreSQL it is written `2026-01-20T14:30:00.000000Z`: in JSON because the Django clients read
/// that form, in SQLite because text of a fixed width sorts as time does.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Microseconds since 1970-01-01 UTC. Times outside the calendar are held at its edge.
    pub fn from_micros(micros: i64) -> Self {
        Self(DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    pub fn as_micros(self) -> i64 {
        self.0.timestamp_micros()
    }

    pub fn as_millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    pub fn to_utc(self) -> DateTime<Utc> {
        self.0
    }

    /// The calendar day of this moment in a zone.
    pub fn date_in(self, zone: chrono_tz::Tz) -> chrono::NaiveDate {
        self.0.with_timezone(&zone).date_naive()
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        (self.0 - earlier.0).to_std().unwrap_or_default()
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self::from_micros(time.timestamp_micros())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.as_micros().saturating_add(micros))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.as_micros().saturating_sub(micros))
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let moment = ObjectBuilder::new()
            .schema_type(SchemaType::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples(["2026-01-20T14:30:00.000000Z"]);
        moment.into()
    }
}

impl ToSchema for Timestamp {}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DateTime::<Utc>::deserialize(deserializer).map(Self::from)
    }
}

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Timestamp {
    fn array_type_info() -> PgTypeInfo {
        <DateTime<Utc> as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <DateTime<Utc> as Encode<'_, Postgres>>::encode_by_ref(&self.0, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <DateTime<Utc> as Decode<'r, Postgres>>::decode(value).map(Self::from)
    }
}

impl Type<Sqlite> for Timestamp {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }

    fn compatible(ty: &SqliteTypeInfo) -> bool {
        <str as Type<Sqlite>>::compatible(ty)
    }
}

impl Encode<'_, Sqlite> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<'_, Sqlite>>::encode(self.to_string(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Timestamp {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <&str as Decode<'r, Sqlite>>::decode(value)?;
        Ok(DateTime::parse_from_rfc3339(text)?.with_timezone(&Utc).into())
    }
}

/// The time: the system's, or one that a test moves by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Manual>),
}

/// In microseconds: since 1970, and how far the clock was advanced.
#[derive(Debug)]
struct Manual {
    now: AtomicI64,
    passed: AtomicU64,
}

/// The moment from which the system's monotonic time is counted.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock {
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::advance`] or [`Clock::set`] moves it. Its clones move with it.
    pub fn manual(now: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Manual { now: AtomicI64::new(now.as_micros()), passed: AtomicU64::new(0) })))
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place where the system's time is read")]
            Source::System => Utc::now().into(),
            Source::Manual(manual) => Timestamp::from_micros(manual.now.load(Ordering::Relaxed)),
        }
    }

    /// How much time has passed since a moment of this process that stays the same. It never goes back and does not jump when
    /// somebody sets the time of day, so durations are measured with it. A manual clock counts what it was advanced by.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System => START.elapsed(),
            Source::Manual(manual) => Duration::from_micros(manual.passed.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock forward: time passes. The system's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
        if let Source::Manual(manual) = &self.0 {
            let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
            manual.passed.fetch_add(micros, Ordering::Relaxed);
        }
    }

    /// Sets a manual clock, as an operator sets the time of day: no time passes. The system's clock stays as it is.
    pub fn set(&self, now: Timestamp) {
        if let Source::Manual(manual) = &self.0 {
            manual.now.store(now.as_micros(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_fixed_width_and_sorts_as_time_does() {
        let whole = Timestamp::from_micros(1_768_919_400_000_000);
        let fraction = Timestamp::from_micros(1_768_919_400_500_000);
        assert_eq!(whole.to_string(), "2026-01-20T14:30:00.000000Z");
        assert!(whole.to_string() < fraction.to_string());
    }

    #[test]
    fn a_manual_clock_moves_for_all_who_hold_it() {
        let clock = Clock::manual(Timestamp::from_micros(0));
        let held_elsewhere = clock.clone();
        clock.advance(Duration::from_secs(60));
        assert_eq!(held_elsewhere.now().as_micros(), 60_000_000);
    }

    /// Setting the time of day moves no duration.
    #[test]
    fn monotonic_time_passes_and_is_not_set() {
        let clock = Clock::manual(Timestamp::from_micros(0));
        clock.advance(Duration::from_secs(5));
        clock.set(Timestamp::from_micros(7_200_000_000));
        clock.set(Timestamp::from_micros(0));
        assert_eq!(clock.elapsed(), Duration::from_secs(5));
        let system = Clock::system();
        let before = system.elapsed();
        assert!(system.elapsed() >= before);
    }

    #[test]
    fn arithmetic_stays_inside_the_calendar() {
        let late = Timestamp::from_micros(i64::MAX);
        assert_eq!(late + Duration::MAX, late);
    }
}
