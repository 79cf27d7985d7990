//! Recurring work: rows that any number of schedulers may look at. Each tick becomes exactly one task.

pub mod cron;
pub mod wording;

use std::time::Duration;

use chrono_tz::Tz;
use serde::Serialize;
use serde_json::json;

use self::cron::CronExpression;
use crate::ring::Ring;
use crate::systems::Systems;
use crate::tasks::{self, NewTask};
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_kernel::word_enum;

/// A tick that is this late was missed: nothing was running when it came.
pub const MISFIRE_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Schedule {
    pub id: Id,
    pub name: String,
    pub cron: String,
    /// Whose clocks `cron` is read by; `None`: the installation's.
    pub time_zone: Option<String>,
    pub job: String,
    pub description: String,
    pub enabled: bool,
    pub misfire: Misfire,
    pub last_run_at: Option<Timestamp>,
    pub next_run_at: Option<Timestamp>,
    /// For which zone `next_run_at` was reckoned.
    #[serde(skip)]
    pub planned_zone: Option<String>,
}

/// What happens to ticks that passed while nothing ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Misfire {
    /// The latest one is made up for, the ones before it are not.
    RunOnce,
    Skip,
}

word_enum!(Misfire, "a misfire policy");

/// What a schedule does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The tick to run, if any.
    pub fire: Option<Timestamp>,
    pub next: Option<Timestamp>,
    /// The zone for which `next` holds.
    pub zone: Tz,
}

impl Schedule {
    /// The zone by whose clocks it runs: its own, or else the installation's.
    ///
    /// # Errors
    /// When its own is none.
    pub fn zone(&self, installation: Tz) -> std::result::Result<Tz, String> {
        match &self.time_zone {
            Some(zone) => zone.parse().map_err(|_| format!("`{zone}` is not a time zone")),
            None => Ok(installation),
        }
    }

    /// Decides what is due. A schedule that never ran before begins with its next tick, and so does one whose clocks have
    /// changed: what was due by the old ones is still run.
    pub fn due(&self, now: Timestamp, installation: Tz) -> std::result::Result<Due, String> {
        let expression: CronExpression = self.cron.parse().map_err(|error: cron::CronError| error.to_string())?;
        let zone = self.zone(installation)?;
        let next = expression.next_after(now.to_utc(), zone).map(Timestamp::from);
        let is_planned = self.planned_zone.as_deref() == Some(zone.name());
        let Some(expected) = self.next_run_at.filter(|expected| *expected <= now) else {
            return Ok(Due { fire: None, next: self.next_run_at.filter(|_| is_planned).or(next), zone });
        };
        let before = expected - Duration::from_micros(1);
        let latest = expression.latest_at_or_before(now.to_utc(), before.to_utc(), zone);
        let tick = latest.map_or(expected, |(tick, _)| tick.into());
        let late = now.since(tick) > MISFIRE_AFTER;
        Ok(Due { fire: (!late || self.misfire == Misfire::RunOnce).then_some(tick), next, zone })
    }
}

const COLUMNS: &str =
    "id, name, cron, time_zone, job, description, enabled, misfire, last_run_at, next_run_at, planned_zone";

pub async fn all(session: &mut Session) -> Result<Vec<Schedule>> {
    sql!(all Schedule, session, (&format!("select {COLUMNS} from schedules order by name")))
}

pub async fn find(session: &mut Session, name: &str) -> Result<Option<Schedule>> {
    sql!(one Schedule, session, (&format!("select {COLUMNS} from schedules where name = $1")), name)
}

/// What staff change in a schedule. `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub cron: Option<CronExpression>,
    pub zone: Option<Zone>,
    pub enabled: Option<bool>,
}

/// Whose clocks a schedule shall run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// The installation's, also when that changes.
    Installation,
    Own(Tz),
}

/// Whether there is such a schedule. One that is enabled again, or runs at other hours, begins with its next tick: what it
/// missed was not wanted.
pub async fn change(session: &mut Session, name: &str, change: &Change, actor: &Actor, now: Timestamp) -> Result<bool> {
    let Some(schedule) = find(session, name).await? else { return Ok(false) };
    let Change { cron, zone, enabled } = change;
    let is_enabled = enabled.unwrap_or(schedule.enabled);
    let keeps_its_plan = cron.is_none() && zone.is_none() && schedule.enabled && is_enabled;
    let zone = match zone {
        None => schedule.time_zone.as_deref(),
        Some(Zone::Installation) => None,
        Some(Zone::Own(zone)) => Some(zone.name()),
    };
    let cron = cron.as_ref().map_or_else(|| schedule.cron.clone(), CronExpression::to_string);
    sql!(
        run,
        session,
        "update schedules set cron = $2, time_zone = $3, enabled = $4, updated_at = $5,
             next_run_at = case when $6 then next_run_at end
         where name = $1",
        name,
        cron.as_str(),
        zone,
        is_enabled,
        now,
        keeps_its_plan
    )?;
    let act = Act::new(action(change, schedule.enabled), "schedule", name).changed(
        json!({ "cron": schedule.cron, "time_zone": schedule.time_zone, "enabled": schedule.enabled }),
        json!({ "cron": cron, "time_zone": zone, "enabled": is_enabled }),
    );
    audit::write(session, actor, &act, now).await?;
    Ok(true)
}

/// What the audit log calls a change.
fn action(change: &Change, was_enabled: bool) -> &'static str {
    match change {
        Change { cron: None, zone: None, enabled: Some(enabled) } if *enabled != was_enabled => {
            if *enabled {
                "enable"
            } else {
                "disable"
            }
        }
        _ => "change",
    }
}

/// Lets a schedule tick, or stops it. Returns whether there is such a schedule.
pub async fn set_enabled(
    session: &mut Session,
    name: &str,
    enabled: bool,
    actor: &Actor,
    now: Timestamp,
) -> Result<bool> {
    change(session, name, &Change { enabled: Some(enabled), ..Change::default() }, actor, now).await
}

/// Turns every tick that is due into a task. Schedulers that look at the same time pass over each other's rows, and the
/// task's unique key stands in the way of the rest.
///
/// `installation` is the zone (`TIME_ZONE`) of schedules that have none of their own. Those that were planned for another are
/// planned again.
pub async fn tick(session: &mut Session, systems: Systems, installation: Tz, now: Timestamp) -> Result<Vec<Ring>> {
    let due = sql!(all Schedule, session,
        (&format!("select {COLUMNS} from schedules
            where enabled and (next_run_at is null or next_run_at <= $1
                or coalesce(time_zone, $2) is distinct from planned_zone)
            order by name for update skip locked")),
        now, installation.name()
    )?;
    let (mut ticks, mut runs) = (Vec::new(), Vec::new());
    for schedule in &due {
        let kind = systems.kind(&schedule.job).map_err(|error| error.to_string());
        match schedule.due(now, installation).and_then(|due| Ok((due, kind?))) {
            Ok((due, kind)) => {
                if let Some(fire) = due.fire {
                    let id = Id::new(now);
                    let key = format!("schedule:{}:{fire}", schedule.name);
                    ticks.push(NewTask::scheduled(id, kind, now).unique(key));
                    runs.push((id, schedule.id));
                }
                sql!(
                    run,
                    session,
                    "update schedules set next_run_at = $2, last_run_at = coalesce($3, last_run_at), planned_zone = $4,
                         updated_at = $5
                     where id = $1",
                    schedule.id,
                    due.next,
                    due.fire,
                    due.zone.name(),
                    now
                )?;
            }
            Err(reason) => tracing::error!(schedule.name, reason, "schedule {} cannot run: {reason}", schedule.name),
        }
    }
    let inserted = tasks::insert(session, &ticks).await?;
    tasks::belong_to(session, &runs).await?;
    Ok(inserted.rings)
}

/// When the next schedule is due.
pub async fn next_due(session: &mut Session) -> Result<Option<Timestamp>> {
    let next: Option<(Option<Timestamp>,)> =
        sql!(one(Option<Timestamp>), session, "select min(next_run_at) from schedules where enabled")?;
    Ok(next.and_then(|(next,)| next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(text).expect("a time").to_utc().into()
    }

    fn schedule(misfire: Misfire, next_run_at: Option<&str>) -> Schedule {
        Schedule {
            id: Id::of_name("s"),
            name: "check_maintenance_reminders".into(),
            cron: "0 8 * * *".into(),
            time_zone: None,
            job: "check_maintenance_reminders".into(),
            description: String::new(),
            enabled: true,
            misfire,
            last_run_at: None,
            next_run_at: next_run_at.map(at),
            planned_zone: Some("America/Guayaquil".into()),
        }
    }

    use chrono_tz::America::Guayaquil;
    use chrono_tz::Europe::Madrid;

    fn due(schedule: &Schedule, now: &str, installation: Tz) -> (Option<Timestamp>, Option<Timestamp>) {
        let due = schedule.due(at(now), installation).expect("it can be reckoned");
        (due.fire, due.next)
    }

    /// S002-80: 08:00 in Guayaquil is 13:00 UTC.
    #[test]
    fn a_tick_fires_once_and_names_the_next() {
        let planned = schedule(Misfire::RunOnce, Some("2026-01-20T13:00:00Z"));
        let (today, tomorrow) = (Some(at("2026-01-20T13:00:00Z")), Some(at("2026-01-21T13:00:00Z")));
        assert_eq!(due(&planned, "2026-01-20T13:00:01Z", Guayaquil), (today, tomorrow));
        let fresh = schedule(Misfire::RunOnce, None);
        assert_eq!(due(&fresh, "2026-01-20T13:00:01Z", Guayaquil), (None, tomorrow));
    }

    #[test]
    fn ticks_that_no_one_saw_are_made_up_for_once_or_not_at_all() {
        let next = Some(at("2026-01-24T13:00:00Z"));
        let after_three_days =
            |misfire| due(&schedule(misfire, Some("2026-01-20T13:00:00Z")), "2026-01-23T20:00:00Z", Guayaquil);
        assert_eq!(after_three_days(Misfire::RunOnce), (Some(at("2026-01-23T13:00:00Z")), next));
        assert_eq!(after_three_days(Misfire::Skip), (None, next));
    }

    /// A schedule kept the zone in which it was seeded, whatever TIME_ZONE said (django-celery-beat#625, #194, #134).
    #[test]
    fn a_schedule_without_a_zone_follows_the_installations() {
        let planned = schedule(Misfire::RunOnce, Some("2026-01-20T13:00:00Z"));
        let (now, eight_in_madrid) = ("2026-01-20T10:00:00Z", Some(at("2026-01-21T07:00:00Z")));
        assert_eq!(due(&planned, now, Madrid), (None, eight_in_madrid));
        // What was due by the old clocks is not lost.
        let late = "2026-01-20T13:05:00Z";
        assert_eq!(due(&planned, late, Madrid), (Some(at("2026-01-20T13:00:00Z")), eight_in_madrid));
        // One of its own stays.
        let own = Schedule { time_zone: Some("America/Guayaquil".into()), ..planned };
        assert_eq!(due(&own, now, Madrid), (None, Some(at("2026-01-20T13:00:00Z"))));
    }
}
