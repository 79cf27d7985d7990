//! Recurring work: when it runs, in words and in moments, what became of its last runs, running it now, and switching it off.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono_tz::Tz;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_queue::operations::{self, RunScheduleError};
use recado_queue::schedules::cron::{ClockChange, CronExpression};
use recado_queue::schedules::wording::in_words;
use recado_queue::schedules::{self, Change, Misfire, Schedule, Zone};
use recado_queue::tasks::{self, State as TaskState, Task, TaskFilter};

use crate::Console;
use crate::auth::{Administer, Look, May, Operate};
use crate::failure::Failure;
use crate::form::Form;
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;

const PATH: &str = "/admin/schedules/";

/// So many of the next runs are told.
const NEXT_RUNS: usize = 5;

/// So many of the last runs stand beside one schedule.
const LAST_RUNS: i64 = 20;

/// A schedule as it is shown.
struct Plan {
    name: String,
    description: String,
    job: String,
    cron: String,
    /// `None`: what stands there cannot be read, and it does not run.
    in_words: Option<String>,
    zone: Tz,
    is_enabled: bool,
    misfire: Misfire,
    last_run_at: Option<Timestamp>,
    next_runs: Vec<NextRun>,
}

/// A run to come.
struct NextRun {
    at: Timestamp,
    /// The same on the clocks of its zone.
    local: String,
    /// What a change of the clocks does to it: the messages `clock-change-…`.
    clock_change: Option<&'static str>,
}

impl Plan {
    fn of(schedule: Schedule, installation: Tz, now: Timestamp, language: Language) -> Self {
        // A row that was written by hand may hold what cannot be read.
        let zone = schedule.zone(installation).unwrap_or(installation);
        let expression: Option<CronExpression> = schedule.cron.parse().ok();
        let next_runs = expression.as_ref().filter(|_| schedule.enabled);
        Self {
            next_runs: next_runs.map(|expression| next_runs_of(expression, zone, now)).unwrap_or_default(),
            in_words: expression.map(|expression| in_words(&expression, language)),
            name: schedule.name,
            description: schedule.description,
            job: schedule.job,
            cron: schedule.cron,
            zone,
            is_enabled: schedule.enabled,
            misfire: schedule.misfire,
            last_run_at: schedule.last_run_at,
        }
    }

    fn next_run(&self) -> Option<&NextRun> {
        self.next_runs.first()
    }
}

fn next_runs_of(expression: &CronExpression, zone: Tz, now: Timestamp) -> Vec<NextRun> {
    let run = |tick: chrono::DateTime<chrono::Utc>| NextRun {
        at: tick.into(),
        local: tick.with_timezone(&zone).format("%Y-%m-%d %H:%M %:z").to_string(),
        clock_change: expression.clock_change(tick, zone).map(|change| match change {
            ClockChange::MovedBehindGap => "gap",
            ClockChange::FirstOfTwo => "twice",
        }),
    };
    expression.upcoming(now.to_utc(), zone, NEXT_RUNS).into_iter().map(run).collect()
}

#[derive(Template)]
#[template(path = "schedules/list.html")]
struct ListPage {
    page: Page,
    plans: Vec<Plan>,
}

/// `/admin/schedules/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let (visit, zone) = (&may.visit, console.context.config.time_zone);
    let found = schedules::all(&mut console.context.db.read().await?).await?;
    let language = visit.words.language;
    html(&ListPage {
        page: Page::new(&console, visit, "schedules", "schedules-title"),
        plans: found.into_iter().map(|schedule| Plan::of(schedule, zone, visit.now, language)).collect(),
    })
}

/// A run that began or ended.
struct Run {
    id: Id,
    state: TaskState,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
    error: Option<String>,
}

impl From<Task> for Run {
    fn from(task: Task) -> Self {
        let error = task.error.as_deref().map(|error| masking::text(error.lines().next().unwrap_or_default()));
        Self { id: task.id, state: task.state, created_at: task.created_at, finished_at: task.finished_at, error }
    }
}

#[derive(Template)]
#[template(path = "schedules/show.html")]
struct ShowPage {
    page: Page,
    plan: Plan,
    runs: Vec<Run>,
    form: Form,
}

/// `/admin/schedules/{name}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    html(&show_page(&console, &may, &name, None).await?)
}

/// `form`: what was typed, and is wrong.
async fn show_page<P>(console: &Console, may: &May<P>, name: &str, form: Option<Form>) -> Result<ShowPage, Failure> {
    let visit = &may.visit;
    let mut session = console.context.db.read().await?;
    let schedule = schedules::find(&mut session, name).await?.ok_or(Failure::NotFound)?;
    let filter = TaskFilter { schedule: Some(schedule.id), ..TaskFilter::default() };
    let runs = tasks::list(&mut session, &filter, LAST_RUNS).await?.tasks;
    drop(session);
    Ok(ShowPage {
        page: Page::new(console, visit, "schedules", "schedule-title").about(&schedule.name),
        form: form.unwrap_or_else(|| form_of(&schedule)),
        plan: Plan::of(schedule, console.context.config.time_zone, visit.now, visit.words.language),
        runs: runs.into_iter().map(Run::from).collect(),
    })
}

// --- What is written ---

fn form_of(schedule: &Schedule) -> Form {
    let zone = schedule.time_zone.clone().unwrap_or_default();
    Form::of([("cron", schedule.cron.clone()), ("time_zone", zone)])
}

/// Changes when a schedule runs. It begins with its next tick: what it missed is not made up for.
pub(crate) async fn save(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "schedules", "schedule-title");
    let cron = form.text("cron").parse::<CronExpression>();
    if let Err(error) = &cron {
        form.add_error("cron", page.t1("cron-unreadable", "cron", error.to_string()));
    }
    let zone: Option<Tz> = form.parsed("time_zone", || page.t("time-zone-help"));
    if form.is_wrong() {
        return refused(&show_page(&console, &may, &name, Some(form)).await?);
    }
    let zone = zone.map_or(Zone::Installation, Zone::Own);
    let change = Change { cron: cron.ok(), zone: Some(zone), enabled: None };
    let mut session = console.context.db.begin().await?;
    let before = schedules::find(&mut session, &name).await?.ok_or(Failure::NotFound)?;
    schedules::change(&mut session, &name, &change, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let there = format!("{PATH}{name}/");
    Ok(then(&there, &form_of(&before).undo(Notice::new("saved", 1), &there)))
}

/// Runs the job of a schedule now, whether it is enabled or not. Its next tick stays as it is.
pub(crate) async fn run(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let there = format!("{PATH}{name}/");
    match operations::run_schedule(&console.context, &name, &may.visit.actor()).await {
        Ok(task) => {
            Ok(then(&there, &Notice::new("schedule-runs", 1).undone_by(format!("/admin/tasks/{task}/cancel/"))))
        }
        Err(RunScheduleError::Unknown) => Err(Failure::NotFound),
        Err(RunScheduleError::Job(_)) => Ok(then(&there, &Notice::new("schedule-unknown-job", 0))),
        Err(RunScheduleError::Database(error)) => Err(error.into()),
    }
}

/// Lets a schedule tick.
pub(crate) async fn enable(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    set_enabled(&console, &may, &name, true).await
}

/// Stops a schedule.
pub(crate) async fn disable(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    set_enabled(&console, &may, &name, false).await
}

async fn set_enabled(console: &Console, may: &May<Operate>, name: &str, enabled: bool) -> Result<Response, Failure> {
    let now = may.visit.now;
    let mut session = console.context.db.begin().await?;
    let schedule = schedules::find(&mut session, name).await?.ok_or(Failure::NotFound)?;
    let there = format!("{PATH}{}/", schedule.name);
    if schedule.enabled == enabled {
        return Ok(then(&there, &Notice::new("nothing-to-do", 0)));
    }
    schedules::set_enabled(&mut session, name, enabled, &may.visit.actor(), now).await?;
    session.commit().await?;
    let notice = match enabled {
        true => Notice::new("schedule-enabled", 1).undone_by(format!("{there}disable/")),
        false => Notice::new("schedule-disabled", 1).undone_by(format!("{there}enable/")),
    };
    Ok(then(&there, &notice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_that_is_skipped_and_the_one_that_comes_twice_are_told() {
        let at = |text: &str| Timestamp::from(chrono::DateTime::parse_from_rfc3339(text).expect("a time").to_utc());
        let changes = |cron: &str, after: &str| -> Vec<Option<&'static str>> {
            let runs = next_runs_of(&cron.parse().expect("a cron"), Tz::Europe__Madrid, at(after));
            runs.iter().map(|run| run.clock_change).collect()
        };
        assert_eq!(changes("30 2 * * *", "2026-03-28T12:00:00Z"), [Some("gap"), None, None, None, None]);
        assert_eq!(changes("30 2 * * *", "2026-10-24T12:00:00Z"), [Some("twice"), None, None, None, None]);
    }
}
