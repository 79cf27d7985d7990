//! Recurring work: when it runs, in words and in moments, what became of its last runs, and changing it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_queue::operations::{self, RunScheduleError};
use recado_queue::schedules::cron::{ClockChange, CronExpression};
use recado_queue::schedules::wording::in_words;
use recado_queue::schedules::{self, Change, Misfire, Schedule, Zone};
use recado_queue::tasks::{self, TaskFilter};
use serde::Serialize;
use utoipa::ToSchema;

use super::ledger::LedgerTask;
use crate::auth::{Admin, May, Read};
use crate::extract::body::Json;
use crate::extract::language::{Spoken, SpokenQuery};
use crate::extract::page::{Keyset, Slice};
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{Conflict, FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// So many of the next runs are told.
const NEXT_RUNS: usize = 5;

/// So many of the last runs stand beside one schedule.
const LAST_RUNS: i64 = 5;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_schedules))
        .routes(routes!(show_schedule, change_schedule))
        .routes(routes!(run_schedule))
        .routes(routes!(list_runs))
}

/// Recurring work, by name.
#[utoipa::path(get, path = "/", tag = "operations", params(SpokenQuery),
    responses((status = 200, description = "The schedules", body = Vec<ScheduleView>)))]
async fn list_schedules(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Spoken(language): Spoken,
) -> Result<axum::Json<Vec<ScheduleView>>, Problem> {
    let found = schedules::all(&mut api.context.db.read().await?).await?;
    Ok(axum::Json(found.into_iter().map(|schedule| ScheduleView::of(schedule, &api, language)).collect()))
}

/// One schedule with its last runs.
#[utoipa::path(get, path = "/{name}", tag = "operations",
    params(("name" = String, Path, description = "Name of the schedule"), SpokenQuery),
    responses((status = 200, description = "The schedule", body = ScheduleDetail)))]
async fn show_schedule(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(name): Segment<String>,
    Spoken(language): Spoken,
) -> Result<axum::Json<ScheduleDetail>, Problem> {
    let schedule = find(&api, &name).await?;
    let filter = TaskFilter { schedule: Some(schedule.id), ..TaskFilter::default() };
    let runs = tasks::list(&mut api.context.db.read().await?, &filter, LAST_RUNS).await?;
    let schedule = ScheduleView::of(schedule, &api, language);
    Ok(axum::Json(ScheduleDetail { schedule, last_runs: runs.tasks.into_iter().map(LedgerTask::from).collect() }))
}

/// Changes when a schedule runs, or whether it does. It begins with its next tick: what it missed is not made up for.
#[utoipa::path(patch, path = "/{name}", tag = "operations", request_body = ScheduleWrite,
    params(("name" = String, Path, description = "Name of the schedule"), SpokenQuery),
    responses((status = 200, description = "The schedule", body = ScheduleView)))]
async fn change_schedule(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(name): Segment<String>,
    Spoken(language): Spoken,
    Json(write): Json<ScheduleWrite>,
) -> Result<axum::Json<ScheduleView>, Problem> {
    let change = write.change()?;
    let mut session = api.context.db.begin().await?;
    if !schedules::change(&mut session, &name, &change, &may.actor(), api.context.clock.now()).await? {
        return Err(unknown());
    }
    session.commit().await?;
    Ok(axum::Json(ScheduleView::of(find(&api, &name).await?, &api, language)))
}

/// Runs the job of a schedule now, whether it is enabled or not. Its next tick stays as it is.
#[utoipa::path(post, path = "/{name}/run", tag = "operations",
    params(("name" = String, Path, description = "Name of the schedule")),
    responses((status = 202, description = "The task that runs it", body = ScheduleRun)))]
async fn run_schedule(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(name): Segment<String>,
) -> Result<(StatusCode, axum::Json<ScheduleRun>), Problem> {
    let task_id = operations::run_schedule(&api.context, &name, &may.actor()).await.map_err(|error| match error {
        RunScheduleError::Unknown => unknown(),
        RunScheduleError::Database(error) => error.into(),
        RunScheduleError::Job(error) => Problem::Conflict(Conflict {
            code: "unknown-job",
            title: "Su trabajo no existe en esta versión",
            detail: error.to_string(),
        }),
    })?;
    Ok((StatusCode::ACCEPTED, axum::Json(ScheduleRun { task_id })))
}

/// The runs of a schedule, the newest first, by its ticks and by hand.
#[utoipa::path(get, path = "/{name}/runs", tag = "operations",
    params(("name" = String, Path, description = "Name of the schedule"), Keyset),
    responses((status = 200, description = "A page of runs", body = Slice<LedgerTask>)))]
async fn list_runs(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(name): Segment<String>,
    keyset: Keyset,
) -> Result<axum::Json<Slice<LedgerTask>>, Problem> {
    let schedule = find(&api, &name).await?;
    let filter = TaskFilter { schedule: Some(schedule.id), before: keyset.after(), ..TaskFilter::default() };
    let found = tasks::list(&mut api.context.db.read().await?, &filter, keyset.limit()).await?;
    Ok(axum::Json(keyset.slice(found.tasks, |task| task.id, LedgerTask::from)))
}

async fn find(api: &Api, name: &str) -> Result<Schedule, Problem> {
    schedules::find(&mut api.context.db.read().await?, name).await?.ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::Nothing(
        "No hay ninguna tarea programada con ese nombre. GET /api/v1/operations/schedules/ dice cuáles hay.".to_owned(),
    )
}

request! {
    /// What is changed in a schedule. What is absent stays as it is.
    #[derive(Debug, ToSchema)]
    #[schema(as = ScheduleWrite)]
    struct ScheduleWrite {
        /// Minute, hour, day of month, month and weekday.
        #[schema(value_type = Option<String>, examples("30 9 * * 1-5"))]
        cron: Option<String>,
        /// By whose clocks; null: the installation's, also when those change.
        #[schema(value_type = Option<String>, examples("America/Guayaquil"))]
        time_zone: Option<Option<String>>,
        /// Whether it runs at all.
        enabled: Option<bool>,
    }
}

impl ScheduleWrite {
    fn change(self) -> Result<Change, Problem> {
        let mut errors = FieldErrors::default();
        let mut cron = None;
        if let Some(text) = self.cron {
            match text.parse::<CronExpression>() {
                Ok(expression) => cron = Some(expression),
                Err(error) => errors.add("cron", format!("No es una expresión cron válida: {error}.")),
            }
        }
        let zone = match self.time_zone {
            None => None,
            Some(None) => Some(Zone::Installation),
            Some(Some(name)) => name.parse().map(Zone::Own).map_or_else(
                |_| {
                    errors.add(
                        "time_zone",
                        "No es una zona horaria. Use una de la base IANA, por ejemplo America/Guayaquil.",
                    );
                    None
                },
                Some,
            ),
        };
        errors.none_or_problem()?;
        Ok(Change { cron, zone, enabled: self.enabled })
    }
}

/// Recurring work.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
struct ScheduleView {
    /// Its name.
    #[schema(examples("check_maintenance_reminders"))]
    name: String,
    /// What it does.
    description: String,
    /// The kind of job that each run is.
    job: String,
    /// Minute, hour, day of month, month and weekday.
    #[schema(examples("0 8 * * *"))]
    cron: String,
    /// The same in words.
    #[schema(examples("todos los días a las 08:00"))]
    in_words: Option<String>,
    /// By whose clocks it runs.
    #[schema(examples("America/Guayaquil"))]
    time_zone: String,
    /// Whether that is a zone of its own, and not the installation's.
    has_own_zone: bool,
    /// Whether it runs at all.
    enabled: bool,
    /// What becomes of ticks that passed while nothing ran: `run_once` makes up for the latest, `skip` for none.
    #[schema(value_type = String)]
    misfire: Misfire,
    /// The tick that ran last.
    last_run_at: Option<Timestamp>,
    /// The tick that is next; null until a scheduler has looked.
    next_run_at: Option<Timestamp>,
    /// The next five runs; none when it is disabled.
    next_runs: Vec<NextRun>,
}

/// A run to come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScheduleNextRun)]
struct NextRun {
    /// When.
    at: Timestamp,
    /// The same on the clocks of its zone.
    #[schema(examples("2026-03-29T03:00:00+02:00"))]
    local: String,
    /// What a change of the clocks does to it; null on usual days.
    clock_change: Option<ClockChange>,
}

/// A schedule with its last runs.
#[derive(Debug, Serialize, ToSchema)]
struct ScheduleDetail {
    #[serde(flatten)]
    schedule: ScheduleView,
    /// The newest first, at most five.
    last_runs: Vec<LedgerTask>,
}

/// A run that was asked for.
#[derive(Debug, Serialize, ToSchema)]
struct ScheduleRun {
    /// Id of its task.
    task_id: Id,
}

impl ScheduleView {
    fn of(schedule: Schedule, api: &Api, language: Language) -> Self {
        let installation = api.context.config.time_zone;
        let zone = schedule.zone(installation).unwrap_or(installation);
        // A row that was written by hand may hold what cannot be read.
        let expression: Option<CronExpression> = schedule.cron.parse().ok();
        let now = api.context.clock.now().to_utc();
        let next_runs = expression.as_ref().filter(|_| schedule.enabled).map(|expression| {
            let run = |tick: chrono::DateTime<chrono::Utc>| NextRun {
                at: tick.into(),
                local: tick.with_timezone(&zone).to_rfc3339_opts(chrono::SecondsFormat::Secs, false),
                clock_change: expression.clock_change(tick, zone),
            };
            expression.upcoming(now, zone, NEXT_RUNS).into_iter().map(run).collect()
        });
        Self {
            in_words: expression.map(|expression| in_words(&expression, language)),
            name: schedule.name,
            description: schedule.description,
            job: schedule.job,
            cron: schedule.cron,
            time_zone: zone.name().to_owned(),
            has_own_zone: schedule.time_zone.is_some(),
            enabled: schedule.enabled,
            misfire: schedule.misfire,
            last_run_at: schedule.last_run_at,
            next_run_at: schedule.next_run_at.filter(|_| schedule.enabled),
            next_runs: next_runs.unwrap_or_default(),
        }
    }
}
