//! Recurring work: rows that any number of schedulers may look at. Each tick becomes exactly one task.

pub mod cron;

use std::time::Duration;

use serde::Serialize;

use self::cron::CronExpression;
use crate::ring::Ring;
use crate::systems::Systems;
use crate::tasks::{self, NewTask};
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
    pub time_zone: String,
    pub job: String,
    pub description: String,
    pub enabled: bool,
    pub misfire: Misfire,
    pub last_run_at: Option<Timestamp>,
    pub next_run_at: Option<Timestamp>,
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
}

impl Schedule {
    /// Decides what is due. A schedule that never ran before begins with its next tick.
    pub fn due(&self, now: Timestamp) -> std::result::Result<Due, String> {
        let expression: CronExpression = self.cron.parse().map_err(|error: cron::CronError| error.to_string())?;
        let zone = self.time_zone.parse().map_err(|_| format!("`{}` is not a time zone", self.time_zone))?;
        let next = expression.next_after(now.to_utc(), zone).map(Timestamp::from);
        let Some(expected) = self.next_run_at.filter(|expected| *expected <= now) else {
            return Ok(Due { fire: None, next: self.next_run_at.or(next) });
        };
        let before = expected - Duration::from_micros(1);
        let latest = expression.latest_at_or_before(now.to_utc(), before.to_utc(), zone);
        let tick = latest.map_or(expected, |(tick, _)| tick.into());
        let late = now.since(tick) > MISFIRE_AFTER;
        Ok(Due { fire: (!late || self.misfire == Misfire::RunOnce).then_some(tick), next })
    }
}

pub async fn all(session: &mut Session) -> Result<Vec<Schedule>> {
    sql!(all Schedule, session,
        "select id, name, cron, time_zone, job, description, enabled, misfire, last_run_at, next_run_at from schedules order by name"
    )
}

pub async fn find(session: &mut Session, name: &str) -> Result<Option<Schedule>> {
    sql!(one Schedule, session,
        "select id, name, cron, time_zone, job, description, enabled, misfire, last_run_at, next_run_at from schedules where name = $1",
        name
    )
}

/// Whether there is such a schedule. One that is enabled again begins with its next tick: what it missed was not wanted.
pub async fn set_enabled(session: &mut Session, name: &str, enabled: bool, now: Timestamp) -> Result<bool> {
    let changed = sql!(run, session,
        "update schedules set next_run_at = case when enabled and $2 then next_run_at end, enabled = $2, updated_at = $3
         where name = $1",
        name, enabled, now
    )?;
    Ok(changed > 0)
}

/// Turns every tick that is due into a task. Schedulers that look at the same time pass over each other's rows, and the
/// task's unique key stands in the way of the rest.
pub async fn tick(session: &mut Session, systems: Systems, now: Timestamp) -> Result<Vec<Ring>> {
    let due = sql!(all Schedule, session,
        "select id, name, cron, time_zone, job, description, enabled, misfire, last_run_at, next_run_at from schedules
         where enabled and (next_run_at is null or next_run_at <= $1) order by name for update skip locked",
        now
    )?;
    let mut ticks = Vec::new();
    for schedule in &due {
        let kind = systems.kind(&schedule.job).map_err(|error| error.to_string());
        match schedule.due(now).and_then(|due| Ok((due, kind?))) {
            Ok((due, kind)) => {
                if let Some(fire) = due.fire {
                    ticks.push(
                        NewTask::scheduled(Id::new(now), kind, now)
                            .unique(format!("schedule:{}:{fire}", schedule.name)),
                    );
                }
                sql!(
                    run,
                    session,
                    "update schedules set next_run_at = $2, last_run_at = coalesce($3, last_run_at), updated_at = $4 where id = $1",
                    schedule.id,
                    due.next,
                    due.fire,
                    now
                )?;
            }
            Err(reason) => tracing::error!(schedule.name, reason, "schedule {} cannot run: {reason}", schedule.name),
        }
    }
    Ok(tasks::insert(session, &ticks).await?.rings)
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
            time_zone: "America/Guayaquil".into(),
            job: "check_maintenance_reminders".into(),
            description: String::new(),
            enabled: true,
            misfire,
            last_run_at: None,
            next_run_at: next_run_at.map(at),
        }
    }

    /// S002-80: 08:00 in Guayaquil is 13:00 UTC.
    #[test]
    fn a_tick_fires_once_and_names_the_next() {
        let due = schedule(Misfire::RunOnce, Some("2026-01-20T13:00:00Z")).due(at("2026-01-20T13:00:01Z"));
        assert_eq!(due, Ok(Due { fire: Some(at("2026-01-20T13:00:00Z")), next: Some(at("2026-01-21T13:00:00Z")) }));
        let fresh = schedule(Misfire::RunOnce, None).due(at("2026-01-20T13:00:01Z"));
        assert_eq!(fresh, Ok(Due { fire: None, next: Some(at("2026-01-21T13:00:00Z")) }));
    }

    #[test]
    fn ticks_that_nobody_saw_are_made_up_for_once_or_not_at_all() {
        let after_three_days = at("2026-01-23T20:00:00Z");
        let next = Some(at("2026-01-24T13:00:00Z"));
        let due = |misfire| schedule(misfire, Some("2026-01-20T13:00:00Z")).due(after_three_days);
        assert_eq!(due(Misfire::RunOnce), Ok(Due { fire: Some(at("2026-01-23T13:00:00Z")), next }));
        assert_eq!(due(Misfire::Skip), Ok(Due { fire: None, next }));
    }
}
