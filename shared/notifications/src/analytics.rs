//! How much was sent, how it went, and how long it took.
//!
//! Finished days are counted once into `analytics_counts` and again every hour for a week, because receipts come late; today
//! is counted when somebody asks. A notification that waits in reserve, or was cancelled there, is no message and is not
//! counted.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;
use serde::Serialize;

use crate::channels::Channel;
use crate::notifications::Status;
use crate::notifications::records::{is_little_open, narrowed};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::{Db, Result, Rows, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;

/// The longest period of a summary, in days. Counts are kept a little longer.
pub const LONGEST_PERIOD: i64 = 365;

/// So many finished days are counted again, because receipts may still come.
const UNSETTLED_DAYS: u64 = 7;

/// Messages that are alike, counted.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Count {
    pub day: NaiveDate,
    #[sqlx(try_from = "String")]
    pub channel: Channel,
    #[sqlx(try_from = "String")]
    pub status: Status,
    pub event_type: String,
    pub total: i64,
    pub timed: i64,
    pub seconds: f64,
}

/// A day of the calendar as a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Day {
    day: NaiveDate,
    starts_at: Timestamp,
    ends_at: Timestamp,
    counted_at: Timestamp,
}

impl Day {
    fn new(day: NaiveDate, zone: Tz, now: Timestamp) -> Self {
        Self { day, starts_at: midnight(day, zone), ends_at: midnight(day + Days::new(1), zone), counted_at: now }
    }
}

/// The first moment of a day. Where the clocks skip midnight, the day begins when they strike again.
fn midnight(day: NaiveDate, zone: Tz) -> Timestamp {
    let local = day.and_time(NaiveTime::MIN);
    let hours = (0..=3).map(|hours| local + chrono::TimeDelta::hours(hours));
    let first = hours.filter_map(|local| zone.from_local_datetime(&local).earliest()).next();
    first.map_or_else(|| local.and_utc(), |moment| moment.to_utc()).into()
}

/// Which days a summary of so many days covers: today and the ones before it.
pub fn period(days: i64, zone: Tz, now: Timestamp) -> (NaiveDate, NaiveDate) {
    let today = now.date_in(zone);
    let before = u64::try_from(days.clamp(1, LONGEST_PERIOD) - 1).unwrap_or_default();
    (today.checked_sub_days(Days::new(before)).unwrap_or(today), today)
}

/// The finished days from the first on, counted. The first caller pays for the days that were not counted yet, which are
/// counted one by one: each has the time of a statement.
pub async fn finished(db: &Db, first: NaiveDate, zone: Tz, now: Timestamp) -> Result<Vec<Count>> {
    let uncounted = uncounted(&mut db.read().await?, first, zone, now).await?;
    for day in uncounted {
        let mut session = db.begin().await?;
        count_days(&mut session, &[day]).await?;
        session.commit().await?;
    }
    let today = now.date_in(zone);
    sql!(all Count, &mut db.read().await?,
        "select day, channel, status, event_type, total, timed, seconds from analytics_counts where day >= $1 and day < $2",
        first, today
    )
}

/// Today, counted as it is now: it reads the rows of the day.
pub async fn today(db: &Db, zone: Tz, now: Timestamp) -> Result<Vec<Count>> {
    count_today(&mut db.read().await?, Day::new(now.date_in(zone), zone, now)).await
}

/// Finished days since the first notification that are not counted, or were under another time zone.
async fn uncounted(session: &mut Session, first: NaiveDate, zone: Tz, now: Timestamp) -> Result<Vec<Day>> {
    let today = now.date_in(zone);
    let oldest: Option<(Option<Timestamp>,)> =
        sql!(one(Option<Timestamp>), session, "select min(created_at) from notifications")?;
    let Some(oldest) = oldest.and_then(|(oldest,)| oldest) else { return Ok(Vec::new()) };
    let first = first.max(oldest.date_in(zone));
    let counted: Vec<(NaiveDate, Timestamp)> =
        sql!(all(NaiveDate, Timestamp), session, "select day, starts_at from analytics_days where day >= $1", first)?;
    let counted: BTreeMap<NaiveDate, Timestamp> = counted.into_iter().collect();
    let days = first.iter_days().take_while(|day| *day < today).map(|day| Day::new(day, zone, now));
    Ok(days.filter(|day| counted.get(&day.day) != Some(&day.starts_at)).collect())
}

/// Hourly: counts the finished days again on which something may still have changed. Returns how many. Each is a transaction of its own:
/// together they would take longer than a statement may, where a day has millions of messages.
pub async fn count_unsettled(db: &Db, zone: Tz, now: Timestamp) -> Result<usize> {
    let today = now.date_in(zone);
    let mut counted = 0;
    for day in (1..=UNSETTLED_DAYS).filter_map(|ago| today.checked_sub_days(Days::new(ago))) {
        let mut session = db.begin().await?;
        count_days(&mut session, &[Day::new(day, zone, now)]).await?;
        session.commit().await?;
        counted += 1;
    }
    Ok(counted)
}

/// Counts these days, whether they were counted before or not.
async fn count_days(session: &mut Session, days: &[Day]) -> Result<()> {
    let rows = || Rows::new(days);
    // A process that counts the same days at the same time waits here, and then counts the same.
    sql!(run, session,
        "insert into analytics_days (day, starts_at, ends_at, counted_at)
         select day, starts_at, ends_at, counted_at from rows($1 as analytics_days: day, starts_at, ends_at, counted_at)
         where true
         on conflict (day) do update set starts_at = excluded.starts_at, ends_at = excluded.ends_at, counted_at = excluded.counted_at",
        rows()
    )?;
    sql!(
        run,
        session,
        "delete from analytics_counts where day in (select day from rows($1 as analytics_days: day))",
        rows()
    )?;
    sql!(
        run,
        session,
        "insert into analytics_counts (day, channel, status, event_type, total, timed, seconds)
         select d.day, n.channel, n.status, n.event_type, count(*), count(n.sent_at),
                coalesce(sum(elapsed(n.created_at, coalesce(n.delivered_at, n.sent_at))), 0.0)
         from rows($1 as analytics_days: day, starts_at, ends_at) d
         join notifications n on n.created_at >= d.starts_at and n.created_at < d.ends_at
         where n.status not in ('pending', 'cancelled') or n.fallback_order = 0
         group by d.day, n.channel, n.status, n.event_type",
        rows()
    )?;
    Ok(())
}

async fn count_today(session: &mut Session, today: Day) -> Result<Vec<Count>> {
    sql!(all Count, session,
        "select $3 as day, channel, status, event_type, count(*) as total, count(sent_at) as timed,
                coalesce(sum(elapsed(created_at, coalesce(delivered_at, sent_at))), 0.0) as seconds
         from notifications
         where created_at >= $1 and created_at < $2 and (status not in ('pending', 'cancelled') or fallback_order = 0)
         group by channel, status, event_type",
        today.starts_at, today.ends_at, today.day
    )
}

/// Deletes counts that no summary shows any more.
pub async fn delete_old(session: &mut Session, zone: Tz, now: Timestamp) -> Result<u64> {
    let (first, _) = period(LONGEST_PERIOD, zone, now);
    sql!(run, session, "delete from analytics_counts where day < $1", first)?;
    sql!(run, session, "delete from analytics_days where day < $1", first)
}

/// A line of the log of notifications.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Recent {
    pub id: Id,
    pub event_type: String,
    #[sqlx(try_from = "String")]
    pub channel: Channel,
    pub customer_id: String,
    #[sqlx(try_from = "String")]
    pub status: Status,
    pub sent_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub template_name: String,
    pub error_reason: Option<String>,
}

/// The newest messages, of one channel or status or of all.
pub async fn recent(
    session: &mut Session,
    channel: Option<Channel>,
    status: Option<Status>,
    limit: i64,
) -> Result<Vec<Recent>> {
    let mut asked = Filter::default();
    asked.equal("n.channel", channel.map(Channel::as_str));
    asked.equal("n.status", status.map(Status::as_str));
    let little = is_little_open(session, status).await?;
    if let Some(narrowed) = status.and_then(|status| narrowed(status, little)) {
        asked.require(narrowed);
    }
    asked.require("(n.status not in ('pending', 'cancelled') or n.fallback_order = 0)");
    RECENT.rows(session, &asked, limit, 0).await
}

/// The log, newest first.
const RECENT: List<'_> = List {
    select: "select n.id, n.event_type, n.channel, n.customer_id, n.status, n.sent_at, n.created_at, n.template_name, n.error_reason
             from notifications n",
    from: "notifications n",
    key: "n.id",
    order: &["n.created_at", "n.id"],
    descending: true,
};

/// What is most likely true of a message: email and push have no receipts, so what their providers took counts as delivered.
pub fn inferred(channel: Channel, status: Status) -> Status {
    match (channel, status) {
        (Channel::Email | Channel::Push, Status::Sent) => Status::Delivered,
        (_, status) => status,
    }
}

/// How the attempts of a channel went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelHealth {
    pub success: i64,
    pub failed: i64,
}

impl ChannelHealth {
    pub fn total(self) -> i64 {
        self.success + self.failed
    }

    /// In per cent; 100 when nothing was tried.
    pub fn success_rate(self) -> f64 {
        if self.total() == 0 { 100.0 } else { percent(self.success, self.total()) }
    }

    /// Without traffic, or at least nine of ten succeed (S002-58).
    pub fn is_healthy(self) -> bool {
        self.success_rate() >= 90.0
    }
}

/// Two decimals; 0 of nothing.
pub fn percent(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 10_000.0 / whole as f64).round() / 100.0 }
}

/// The health of each channel since a moment: what was sent, and what failed for good (S002-58).
pub async fn health(session: &mut Session, since: Timestamp) -> Result<BTreeMap<Channel, ChannelHealth>> {
    let rows: Vec<(String, String, i64)> = sql!(
        all(String, String, i64),
        session,
        "select channel, status, count(*) from notifications
         where created_at >= $1 and status in ('sent', 'delivered', 'read', 'failed', 'bounced')
         group by channel, status",
        since
    )?;
    let mut health: BTreeMap<Channel, ChannelHealth> =
        Channel::ALL.into_iter().map(|channel| (channel, ChannelHealth::default())).collect();
    for (channel, status, count) in rows {
        let (Ok(channel), Ok(status)) = (channel.parse(), Status::try_from(status)) else { continue };
        let of_channel = health.entry(channel).or_default();
        if Status::is_sent(status) {
            of_channel.success += count;
        } else {
            of_channel.failed += count;
        }
    }
    Ok(health)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(text).expect("a time").to_utc().into()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn days_begin_at_the_workshops_midnight() {
        for (zone, date, expected) in [
            (Tz::America__Guayaquil, "2026-01-20", "2026-01-20T05:00:00Z"),
            (Tz::UTC, "2026-01-20", "2026-01-20T00:00:00Z"),
            // Clocks went from 24:00 to 01:00, so this day began at one.
            (Tz::America__Santiago, "2026-09-06", "2026-09-06T04:00:00Z"),
            // Clocks went back from 24:00 to 23:00: midnight of the next day is one hour later.
            (Tz::America__Santiago, "2026-04-05", "2026-04-05T04:00:00Z"),
        ] {
            assert_eq!(midnight(day(date), zone), at(expected), "{zone} {date}");
        }
    }

    #[test]
    fn a_period_ends_today() {
        let now = at("2026-01-20T03:00:00Z");
        assert_eq!(period(1, Tz::America__Guayaquil, now), (day("2026-01-19"), day("2026-01-19")));
        assert_eq!(period(30, Tz::America__Guayaquil, now), (day("2025-12-21"), day("2026-01-19")));
        assert_eq!(period(i64::MAX, Tz::UTC, now).0, day("2025-01-21"));
        assert_eq!(period(i64::MIN, Tz::UTC, now).0, day("2026-01-20"));
    }

    /// S002-58.
    #[test]
    fn nine_of_ten_are_healthy() {
        let health = |success, failed| ChannelHealth { success, failed };
        assert!(health(0, 0).is_healthy() && health(9, 1).is_healthy() && !health(8, 1).is_healthy());
        assert_eq!((health(0, 0).success_rate(), health(2, 1).success_rate()), (100.0, 66.67));
    }

    #[test]
    fn a_receipt_is_inferred_where_there_are_none() {
        assert_eq!(inferred(Channel::Email, Status::Sent), Status::Delivered);
        assert_eq!(inferred(Channel::Whatsapp, Status::Sent), Status::Sent);
        assert_eq!(inferred(Channel::Push, Status::Failed), Status::Failed);
    }
}
