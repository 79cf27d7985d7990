//! Time. Everything that needs the time asks the [`Clock`], so that a test can let three days pass at once.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
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

/// The time: one that runs on, or one that a test moves by hand.
///
/// A running clock is set once, and then counts by a clock that cannot be set. So the host's wall clock may be set while the
/// process runs, and nothing happens here. All processes [follow](Clock::follow) the database's time, so that what one writes
/// another reads by the same clock, however wrong its host is (docs/adr/0011-the-databases-clock.md).
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    Running(Running),
    Manual { now: AtomicI64, elapsed: AtomicI64 },
}

#[derive(Debug)]
struct Running {
    started: Instant,
    /// What the clock said at `started`, in microseconds.
    base: AtomicI64,
    is_following: AtomicBool,
    /// When it was moved by [`JUMP`] or more, in microseconds since `started`; negative when it never was.
    jumped: AtomicI64,
}

/// The time that it follows went ahead or back by this much: more than a clock that is merely inexact.
const JUMP: Duration = Duration::from_secs(1);

impl Clock {
    /// Runs on from what the host's clock says now.
    pub fn system() -> Self {
        Self::running_from(host_time())
    }

    /// Runs on from this moment, as on a host whose clock says so.
    pub fn running_from(now: Timestamp) -> Self {
        Self(Arc::new(Source::Running(Running {
            started: Instant::now(),
            base: AtomicI64::new(now.as_micros()),
            is_following: AtomicBool::new(false),
            jumped: AtomicI64::new(-1),
        })))
    }

    /// A clock that stands still until [`Clock::advance`] or [`Clock::set`] moves it. Its clones move with it.
    pub fn manual(now: Timestamp) -> Self {
        Self(Arc::new(Source::Manual { now: AtomicI64::new(now.as_micros()), elapsed: AtomicI64::new(0) }))
    }

    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::Running(running) => running.at(running.started.elapsed()),
            Source::Manual { now, .. } => Timestamp::from_micros(now.load(Ordering::Relaxed)),
        }
    }

    /// How long this clock has been running. It only ever goes forward, so a duration is the difference of two of these, and
    /// never of two times of day. It is the saturating difference: of two threads that share one of them, the second to come may
    /// have read the clock first.
    pub fn elapsed(&self) -> Duration {
        match &*self.0 {
            Source::Running(running) => running.started.elapsed(),
            Source::Manual { elapsed, .. } => from_micros(elapsed.load(Ordering::Relaxed)),
        }
    }

    /// What the database says the time is, give or take `uncertainty`. From now on this clock says so too. Returns by how much
    /// the time that it follows had jumped, ahead or back; `None` when it did not, and when the clock is moved by hand.
    pub fn follow(&self, measured: Timestamp, uncertainty: Duration) -> Option<Duration> {
        let Source::Running(running) = &*self.0 else { return None };
        let elapsed = running.started.elapsed();
        let off = measured.as_micros().saturating_sub(running.at(elapsed).as_micros());
        let is_first = !running.is_following.swap(true, Ordering::Relaxed);
        let distance = Duration::from_micros(off.unsigned_abs());
        if distance <= uncertainty {
            return None;
        }
        running.base.fetch_add(off, Ordering::Relaxed);
        if is_first || distance < JUMP {
            return None;
        }
        running.jumped.store(micros(elapsed), Ordering::Relaxed);
        Some(distance)
    }

    /// By how many milliseconds the host's own clock is ahead of this one; negative when it is behind. A clock that is moved by
    /// hand has no host.
    pub fn host_ahead_ms(&self) -> i64 {
        if self.is_manual() { 0 } else { host_time().as_millis().saturating_sub(self.now().as_millis()) }
    }

    /// Whether the time that it follows has not jumped for so long: what was written before is of another time.
    pub fn is_steady_for(&self, time: Duration) -> bool {
        let Source::Running(running) = &*self.0 else { return true };
        let jumped = running.jumped.load(Ordering::Relaxed);
        jumped < 0 || running.started.elapsed().saturating_sub(from_micros(jumped)) >= time
    }

    /// Whether a test moves it.
    pub fn is_manual(&self) -> bool {
        matches!(*self.0, Source::Manual { .. })
    }

    /// Time passes, by a manual clock; a running clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { elapsed, .. } = &*self.0 {
            elapsed.fetch_add(micros(by), Ordering::Relaxed);
            self.set(self.now() + by);
        }
    }

    /// Sets a manual clock, and no time passes; a running clock stays as it is.
    pub fn set(&self, time: Timestamp) {
        if let Source::Manual { now, .. } = &*self.0 {
            now.store(time.as_micros(), Ordering::Relaxed);
        }
    }
}

impl Running {
    fn at(&self, elapsed: Duration) -> Timestamp {
        Timestamp::from_micros(self.base.load(Ordering::Relaxed).saturating_add(micros(elapsed)))
    }
}

/// What the host's clock says. Only a clock that begins, and the embedded database, ask for it.
#[expect(clippy::disallowed_methods, reason = "the one place where the system's time is read")]
pub fn host_time() -> Timestamp {
    Utc::now().into()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn from_micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
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
    fn a_manual_clock_that_is_set_lets_no_time_pass() {
        let clock = Clock::manual(Timestamp::from_micros(0));
        clock.advance(Duration::from_secs(60));
        clock.set(Timestamp::from_micros(7_200_000_000));
        clock.set(Timestamp::from_micros(0));
        assert_eq!((clock.now().as_micros(), clock.elapsed()), (0, Duration::from_secs(60)));
    }

    const HOUR: Duration = Duration::from_secs(3600);

    /// A host whose clock is an hour off follows the database, and its durations know nothing of it.
    #[test]
    fn a_running_clock_follows_the_time_it_is_told() {
        let (told, uncertainty) = (host_time(), Duration::from_millis(5));
        for wrong in [told - HOUR, told + HOUR] {
            let clock = Clock::running_from(wrong);
            assert_eq!(clock.follow(told, uncertainty), None, "the first time is no jump");
            assert!(clock.now().since(told) < JUMP && told.since(clock.now()) < JUMP);
            assert!(clock.elapsed() < JUMP && clock.is_steady_for(HOUR));
        }
    }

    #[test]
    fn a_jump_of_the_time_it_follows_is_noticed() {
        let (told, uncertainty) = (host_time(), Duration::from_millis(5));
        let clock = Clock::running_from(told);
        clock.follow(told, uncertainty);
        assert_eq!(clock.follow(clock.now() + Duration::from_millis(200), uncertainty), None, "a clock is inexact");
        assert!(clock.is_steady_for(HOUR));
        assert!(
            clock
                .follow(clock.now() - HOUR, uncertainty)
                .is_some_and(|by| by > HOUR.saturating_sub(JUMP) && by < HOUR + JUMP)
        );
        assert!(!clock.is_steady_for(HOUR) && clock.is_steady_for(Duration::ZERO));
        assert!(clock.now() < told);
    }

    #[test]
    fn arithmetic_stays_inside_the_calendar() {
        let late = Timestamp::from_micros(i64::MAX);
        assert_eq!(late + Duration::MAX, late);
    }
}
