//! The agenda: whom we write to on which morning, and what would become of each message.

use chrono::{Days, NaiveDate, TimeZone};
use chrono_tz::Tz;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::Filter;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_queue::schedules;
use recado_queue::schedules::cron::CronExpression;

use super::{OPEN, OpenReminder, Standing, due};
use crate::dispatch::{self, Preview, Rejection, Request};
use crate::system::Notifications;

/// A reminder of the agenda.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Planned {
    #[sqlx(flatten)]
    pub reminder: OpenReminder,
    /// The first day on which its date makes it due; `None`: its kilometres do already.
    pub due_on: Option<NaiveDate>,
}

/// Where a page of [`agenda`] begins: behind this day and reminder.
pub type Reached = Option<(NaiveDate, Id)>;

/// Pending reminders that their date makes due until a day, in the order of these days. Those that kilometres have made due come with
/// [`due_by_distance`].
pub async fn agenda(session: &mut Session, until: NaiveDate, after: Reached, limit: i64) -> Result<Vec<Planned>> {
    let mut asked = Filter::default();
    asked.require("r.status = 'pending'");
    asked.when("r.due_on <= ?", Some(until));
    if let Some((day, id)) = after {
        let (day, id) = (asked.value(day), asked.value(id));
        asked.require(format!("(r.due_on, r.id) > ({day}, {id})"));
    }
    let text = format!("{} where {asked} order by r.due_on, r.id limit {limit}", planned());
    asked.all(session, &text).await
}

/// Pending reminders that kilometres make due now, and their date not yet on `day`. They were refused when the odometer was read, or
/// reach no one: otherwise they would be announced.
pub async fn due_by_distance(session: &mut Session, day: NaiveDate, limit: i64) -> Result<Vec<Planned>> {
    let mut asked = Filter::default();
    asked.require("r.status = 'pending' and r.kind <> 'date'");
    asked.require("v.current_kilometers >= r.target_kilometers - r.notify_before_km");
    asked.when("(r.due_on is null or r.due_on > ?)", Some(day));
    let text = format!("{} where {asked} order by r.id limit {limit}", planned());
    asked.all(session, &text).await
}

fn planned() -> String {
    OPEN.select.replacen("select r.id,", "select r.due_on, r.id,", 1)
}

/// What would become of a reminder that is due on a day.
#[derive(Clone, Debug)]
pub struct TriedReminder {
    pub reminder: OpenReminder,
    pub standing: Standing,
    pub outcome: std::result::Result<Preview, Rejection>,
}

/// What the schedule would announce at a moment, decided as it decides then, with customers, settings and odometers as they are now.
/// Nothing is sent. No more than `limit`, those whose date came first; and whether there are more.
///
/// # Errors
/// When the database does not answer.
pub async fn dry_run(system: &Notifications, at: Timestamp, limit: i64) -> Result<(Vec<TriedReminder>, bool)> {
    let day = at.date_in(system.context.config.time_zone);
    let mut session = system.context.db.read().await?;
    let mut planned = agenda(&mut session, day, None, limit + 1).await?;
    planned.extend(due_by_distance(&mut session, day, limit + 1).await?);
    drop(session);
    let has_more = planned.len() > limit as usize;
    planned.truncate(limit as usize);
    let reminders: Vec<OpenReminder> = planned.into_iter().map(|planned| planned.reminder).collect();
    let (fresh, _) = due(&reminders, day);
    let requests: Vec<Request> = fresh.iter().map(|(reminder, standing)| reminder.request(*standing)).collect();
    let outcomes = dispatch::preview(system, &requests, Some(at)).await?;
    let tried = |((reminder, standing), outcome): (&(&OpenReminder, Standing), _)| TriedReminder {
        reminder: (*reminder).clone(),
        standing: *standing,
        outcome,
    };
    Ok((fresh.iter().zip(outcomes).map(tried).collect(), has_more))
}

/// When reminders are announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mornings {
    /// The first run of each day that has one, with that day by the clocks of the installation, as the job reads it.
    pub runs: Vec<(Timestamp, NaiveDate)>,
    /// False: the schedule is switched off, and these are the runs that it would have.
    pub is_enabled: bool,
}

impl Mornings {
    /// The days alone.
    pub fn days(&self) -> Vec<NaiveDate> {
        self.runs.iter().map(|(_, day)| *day).collect()
    }
}

/// The runs of the schedule that announces reminders, of today and so many days after it.
pub async fn mornings(session: &mut Session, zone: Tz, now: Timestamp, days: u64) -> Result<Mornings> {
    let Some(schedule) = schedules::find(session, SCHEDULE).await? else { return Ok(Mornings::default()) };
    let (expression, own_zone) = (schedule.cron.parse::<CronExpression>(), schedule.zone(zone));
    let (Ok(expression), Ok(own_zone)) = (expression, own_zone) else { return Ok(Mornings::default()) };
    let last = now.date_in(zone).checked_add_days(Days::new(days)).unwrap_or(NaiveDate::MAX);
    Ok(Mornings { runs: runs(&expression, own_zone, zone, now, last), is_enabled: schedule.enabled })
}

fn runs(
    expression: &CronExpression,
    own_zone: Tz,
    zone: Tz,
    now: Timestamp,
    last: NaiveDate,
) -> Vec<(Timestamp, NaiveDate)> {
    let mut runs: Vec<(Timestamp, NaiveDate)> = Vec::new();
    let mut after = now.to_utc();
    while let Some(tick) = expression.next_after(after, own_zone) {
        let day = Timestamp::from(tick).date_in(zone);
        if day > last {
            break;
        }
        if runs.last().is_none_or(|(_, earlier)| *earlier != day) {
            runs.push((tick.into(), day));
        }
        // Of a day with many runs the rest is passed over: an hour before its end is still in it, however clocks change.
        let evening = day.and_hms_opt(23, 0, 0).and_then(|evening| zone.from_local_datetime(&evening).earliest());
        after = evening.map_or(tick, |evening| evening.to_utc().max(tick));
    }
    runs
}

/// The schedule that announces reminders.
pub const SCHEDULE: &str = "check_maintenance_reminders";

/// The morning on which a reminder is announced that is due from a day on: the first run then, or the next one for what was missed.
pub fn morning(due_on: Option<NaiveDate>, runs: &[NaiveDate]) -> Option<NaiveDate> {
    runs.iter().copied().find(|day| due_on.is_none_or(|due_on| due_on <= *day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn at(time: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(time).expect("a time").to_utc().into()
    }

    /// What was missed is written to on the next morning; a day without a run waits for the next one that has.
    #[test]
    fn a_reminder_has_its_morning() {
        let runs = [day("2026-01-19"), day("2026-01-20"), day("2026-01-23")];
        for (due_on, expected) in [
            (None, Some("2026-01-19")),
            (Some("2025-12-01"), Some("2026-01-19")),
            (Some("2026-01-20"), Some("2026-01-20")),
            (Some("2026-01-21"), Some("2026-01-23")),
            (Some("2026-01-24"), None),
        ] {
            assert_eq!(morning(due_on.map(day), &runs), expected.map(day), "{due_on:?}");
        }
    }

    /// Madrid sets its clocks forward on 2026-03-29 and back on 2026-10-25: eight in the morning stays eight in the morning.
    #[test]
    fn mornings_follow_the_clocks() {
        let eight: CronExpression = "0 8 * * *".parse().expect("a cron expression");
        let zone = Tz::Europe__Madrid;
        let found = |now: &str, last: &str| {
            let runs = runs(&eight, zone, zone, at(now), day(last));
            runs.into_iter().map(|(at, day)| format!("{day} {}", at.to_utc().format("%H:%M"))).collect::<Vec<_>>()
        };
        let spring = ["2026-03-28 07:00", "2026-03-29 06:00", "2026-03-30 06:00"];
        assert_eq!(found("2026-03-28T00:00:00Z", "2026-03-30"), spring);
        let autumn = ["2026-10-24 06:00", "2026-10-25 07:00", "2026-10-26 07:00"];
        assert_eq!(found("2026-10-24T00:00:00Z", "2026-10-26"), autumn);
        let often: CronExpression = "*/5 * * * *".parse().expect("a cron expression");
        let runs = runs(&often, zone, zone, at("2026-10-24T09:02:00Z"), day("2026-10-26"));
        assert_eq!(
            runs.iter().map(|(_, day)| day.to_string()).collect::<Vec<_>>(),
            ["2026-10-24", "2026-10-25", "2026-10-26"]
        );
    }
}
