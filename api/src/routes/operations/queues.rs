//! Where work waits, how fast it goes, and pauses.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::clock::Timestamp;
use recado_notifications::channels::Channel;
use recado_notifications::notifications::pacing;
use recado_queue::lanes::Lane;
use recado_queue::pauses::{self, LONGEST_REASON, Pause, PauseError};
use recado_queue::samples::{self, Figures, SampleFilter, Summary};
use recado_queue::tasks::{Count, State as TaskState};
use recado_queue::workers::{self, WorkerRow};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Admin, May, Read};
use crate::extract::body::Json;
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// Rates and quantiles are those of the last minutes.
const LATELY: Duration = Duration::from_secs(10 * 60);
const LATELY_MINUTES: f64 = 10.0;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list_queues)).routes(routes!(show_pause, pause, resume))
}

/// Every lane: what waits, since when, how fast it goes and until when it will be empty, who reads it, and whether it is paused.
///
/// What waits is counted at most every 5 s, and up to 100,000; rates are those of the last ten minutes.
#[utoipa::path(get, path = "/", tag = "operations",
    responses((status = 200, description = "The lanes", body = Vec<LaneView>)))]
async fn list_queues(_: May<Read>, State(api): State<Arc<Api>>) -> Result<axum::Json<Vec<LaneView>>, Problem> {
    let now = api.context.clock.now();
    let figures = api.checks.figures().await;
    let counts = figures.tasks.as_ref().ok_or(Problem::Unavailable)?;
    let mut session = api.context.db.read().await?;
    let workers = workers::list(&mut session).await?;
    let pauses = pauses::in_force(&mut session, now).await?;
    let samples = samples::since(&mut session, now - LATELY, &SampleFilter::default()).await?;
    let given_away_until = pacing::given_away_until(&mut session, now).await?;
    drop(session);
    let rates = samples::by_lane(&samples);
    let lease = api.context.config.worker.lease;
    let reads = |worker: &WorkerRow, lane: Lane| {
        worker.takes_tasks(now, lease) && worker.lanes(api.context.systems).contains(&lane)
    };
    let view = |lane: Lane| {
        let rung = figures.depths.iter().flatten().find(|(other, _)| *other == lane).map(|(_, depth)| *depth);
        LaneView {
            waiting_in_redis: rung,
            workers: workers.iter().filter(|worker| reads(worker, lane)).count(),
            paused: pauses::of_lane(&pauses, lane).cloned(),
            paced_until: given_away_until.filter(|_| lane == Channel::Whatsapp.lane()),
            ..LaneView::of(lane, counts, rates.get(lane.as_str()))
        }
    };
    Ok(axum::Json(api.context.systems.lanes().into_iter().map(view).collect()))
}

/// The pause of a queue or a lane, when it has one of its own.
#[utoipa::path(get, path = "/{name}/pause", tag = "operations",
    params(("name" = String, Path, description = "A lane, or a queue with all its lanes")),
    responses((status = 200, description = "The pause", body = Pause)))]
async fn show_pause(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(name): Segment<String>,
) -> Result<axum::Json<Pause>, Problem> {
    pauses::check_name(api.context.systems, &name).map_err(|error| problem(&error))?;
    let found = pauses::in_force(&mut api.context.db.read().await?, api.context.clock.now()).await?;
    let own = found.into_iter().find(|pause| pause.queue == name);
    own.map(axum::Json).ok_or_else(|| not_paused(&name))
}

/// Pauses a queue or a lane: no worker takes its tasks, from the next heartbeat on, within 10 s at the usual lease.
///
/// Nothing is lost: tasks are accepted and wait, what a worker holds already is finished, and with the end of the pause work goes on by
/// itself. Pausing what is paused gives it the new reason and end.
#[utoipa::path(post, path = "/{name}/pause", tag = "operations", request_body = PauseWrite,
    params(("name" = String, Path, description = "A lane, or a queue with all its lanes")),
    responses((status = 200, description = "The pause", body = Pause)))]
async fn pause(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(name): Segment<String>,
    Json(PauseWrite { reason, until }): Json<PauseWrite>,
) -> Result<axum::Json<Pause>, Problem> {
    let now = api.context.clock.now();
    let pause = Pause::new(api.context.systems, &name, &reason, &may.caller.label, until, now);
    let pause = pause.map_err(|error| problem(&error))?;
    let mut session = api.context.db.begin().await?;
    pauses::pause(&mut session, &pause, &may.actor()).await?;
    session.commit().await?;
    Ok(axum::Json(pause))
}

/// Ends a pause: work goes on from the next heartbeat of each worker on.
#[utoipa::path(delete, path = "/{name}/pause", tag = "operations",
    params(("name" = String, Path, description = "A lane, or a queue with all its lanes, as it was paused")),
    responses((status = 204, description = "It is not paused any more")))]
async fn resume(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(name): Segment<String>,
) -> Result<StatusCode, Problem> {
    pauses::check_name(api.context.systems, &name).map_err(|error| problem(&error))?;
    let mut session = api.context.db.begin().await?;
    let ended = pauses::resume(&mut session, &name, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    ended.map(|_| StatusCode::NO_CONTENT).ok_or_else(|| not_paused(&name))
}

fn not_paused(name: &str) -> Problem {
    Problem::Nothing(format!(
        "\"{name}\" no tiene una pausa propia. GET /api/v1/operations/queues/ dice qué está pausado y con qué nombre."
    ))
}

fn problem(error: &PauseError) -> Problem {
    match error {
        PauseError::Unknown { known, .. } => {
            Problem::Nothing(format!("No hay ninguna cola con ese nombre. Hay: {}.", known.join(", ")))
        }
        PauseError::NoReason => {
            FieldErrors::one("reason", "Diga por qué: quien la encuentre pausada lo preguntará.").into()
        }
        PauseError::LongReason => FieldErrors::one(
            "reason",
            format!("Asegúrese de que este campo no tenga más de {LONGEST_REASON} caracteres."),
        )
        .into(),
        PauseError::Over => FieldErrors::one("until", "Debe estar en el futuro.").into(),
    }
}

/// The lanes that a word names.
///
/// # Errors
/// When it names none; the error lists what there is.
pub(super) fn lanes_named(api: &Api, word: Option<&str>) -> Result<Vec<Lane>, Problem> {
    let Some(word) = word else { return Ok(Vec::new()) };
    let lanes = api.context.systems.lanes_named(word);
    if lanes.is_empty() {
        let known = pauses::names(api.context.systems).join(", ");
        return Err(FieldErrors::one("lane", format!("No hay ninguna cola con ese nombre. Use: {known}.")).into());
    }
    Ok(lanes)
}

request! {
    /// A pause to be made.
    #[derive(Debug, ToSchema)]
    #[schema(as = PauseWrite)]
    struct PauseWrite {
        /// Why, for those who find it paused.
        #[schema(max_length = 500, examples("La sesión de WhatsApp está caída"))]
        reason: String,
        /// Then it ends by itself; without it, when somebody resumes it.
        until: Option<Timestamp>,
    }
}

/// A lane at a glance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lane)]
struct LaneView {
    /// The queue that it belongs to.
    #[schema(value_type = String, examples("notifications"))]
    queue: &'static str,
    /// Its name.
    #[schema(value_type = String, examples("notifications.email"))]
    lane: &'static str,
    /// Tasks that wait for a worker.
    queued: i64,
    /// Tasks whose time has not come.
    scheduled: i64,
    /// Tasks in the hands of workers.
    started: i64,
    /// Tasks that were given up.
    dead: i64,
    /// Rings that no worker has read; null when Redis does not answer.
    waiting_in_redis: Option<u64>,
    /// Since when the oldest queued task is due.
    oldest_at: Option<Timestamp>,
    /// Tasks that are accepted per minute.
    accepted_per_minute: f64,
    /// Runs of tasks that end per minute, well or not.
    runs_per_minute: f64,
    /// In how many seconds nothing will wait, if it goes on like this; null when what waits does not become less.
    empty_in_seconds: Option<i64>,
    /// The last ten minutes.
    lately: Summary,
    /// Messages of a paced provider wait for their turn until then.
    paced_until: Option<Timestamp>,
    /// Live workers that take its tasks.
    workers: usize,
    /// The pause that holds for it, its own or its queue's.
    paused: Option<Pause>,
}

impl LaneView {
    fn of(lane: Lane, counts: &[Count], lately: Option<&Figures>) -> Self {
        let of = |state| counts.iter().find(|count| count.lane == lane.as_str() && count.state == state);
        let count = |state| of(state).map_or(0, |count| count.count);
        let nothing = Figures::default();
        let lately = lately.unwrap_or(&nothing);
        let (queued, runs) = (count(TaskState::Queued), lately.runs.count());
        Self {
            queue: lane.queue(),
            lane: lane.as_str(),
            queued,
            scheduled: count(TaskState::Scheduled),
            started: count(TaskState::Started),
            dead: count(TaskState::Dead),
            waiting_in_redis: None,
            oldest_at: of(TaskState::Queued).and_then(|count| count.oldest),
            accepted_per_minute: per_minute(lately.accepted),
            runs_per_minute: per_minute(runs),
            empty_in_seconds: empty_in(queued, lately.accepted, runs),
            lately: lately.into(),
            paced_until: None,
            workers: 0,
            paused: None,
        }
    }
}

fn per_minute(count: i64) -> f64 {
    (count as f64 / LATELY_MINUTES * 10.0).round() / 10.0
}

/// In how many seconds so many tasks are worked off, when so many came and so many ran in the last minutes.
fn empty_in(queued: i64, accepted: i64, runs: i64) -> Option<i64> {
    if queued == 0 {
        return Some(0);
    }
    let per_second = (runs - accepted) as f64 / LATELY.as_secs_f64();
    (per_second > 0.0).then(|| (queued as f64 / per_second).ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_worked_off_at_the_pace_of_the_last_minutes() {
        assert_eq!(empty_in(0, 9, 0), Some(0));
        assert_eq!(empty_in(600, 0, 600), Some(600));
        assert_eq!(empty_in(600, 300, 600), Some(1_200));
        assert_eq!(empty_in(600, 600, 600), None, "it does not become less");
        assert_eq!(empty_in(600, 0, 0), None);
        assert_eq!((per_minute(0), per_minute(7), per_minute(4_000)), (0.0, 0.7, 400.0));
    }
}
