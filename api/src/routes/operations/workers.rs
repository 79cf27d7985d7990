//! Who works now, on what, and the wish that one takes nothing more.

use std::sync::Arc;

use axum::extract::State;
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_queue::lanes::Lane;
use recado_queue::workers::{self, RunningTask, Wish, WorkerRow};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Admin, May, Read};
use crate::extract::path::Segment;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list_workers)).routes(routes!(drain, take_back))
}

/// Workers as their last heartbeats described them, the oldest first. One that fell silent stays for an hour or so.
#[utoipa::path(get, path = "/", tag = "operations",
    responses((status = 200, description = "The workers", body = WorkersView)))]
async fn list_workers(_: May<Read>, State(api): State<Arc<Api>>) -> Result<axum::Json<WorkersView>, Problem> {
    let found = workers::list(&mut api.context.db.read().await?).await?;
    let (now, lease) = (api.context.clock.now(), api.context.config.worker.lease);
    let unattended = workers::unattended(api.context.systems, &found, now, lease);
    let mut versions: Vec<String> =
        found.iter().filter(|worker| worker.is_live(now, lease)).map(|worker| worker.version.clone()).collect();
    versions.sort();
    versions.dedup();
    Ok(axum::Json(WorkersView {
        versions,
        unattended: unattended.into_iter().map(Lane::as_str).collect(),
        workers: found.into_iter().map(|worker| WorkerView::of(worker, &api)).collect(),
    }))
}

/// Asks a worker to take nothing more. It hears of it at its next heartbeat, within 10 s at the usual lease, finishes what it holds,
/// and stays idle until it is stopped or the wish is taken back.
#[utoipa::path(post, path = "/{id}/drain", tag = "operations",
    params(("id" = String, Path, description = "Id of the worker, as the list has it")),
    responses((status = 200, description = "The worker", body = WorkerView)))]
async fn drain(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
) -> Result<axum::Json<WorkerView>, Problem> {
    wish(&api, &id, Wish::Drain, &may.actor()).await
}

/// Lets a worker that was asked to drain take tasks again, from its next heartbeat on.
#[utoipa::path(delete, path = "/{id}/drain", tag = "operations",
    params(("id" = String, Path, description = "Id of the worker, as the list has it")),
    responses((status = 200, description = "The worker", body = WorkerView)))]
async fn take_back(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
) -> Result<axum::Json<WorkerView>, Problem> {
    wish(&api, &id, Wish::TakeBack, &may.actor()).await
}

async fn wish(api: &Api, id: &str, wish: Wish, actor: &Actor) -> Result<axum::Json<WorkerView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let wished = workers::wish(&mut session, id, wish, actor, api.context.clock.now()).await?;
    let (worker, _) = wished.ok_or_else(|| Problem::Nothing("No hay ningún worker con ese id.".to_owned()))?;
    session.commit().await?;
    Ok(axum::Json(WorkerView::of(worker, api)))
}

/// All workers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Workers)]
struct WorkersView {
    /// The versions of those that are live; more than one while a deploy is under way.
    versions: Vec<String>,
    /// Lanes from which no worker takes tasks.
    #[schema(value_type = Vec<String>)]
    unattended: Vec<&'static str>,
    /// The oldest first.
    workers: Vec<WorkerView>,
}

/// A worker process.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Worker)]
struct WorkerView {
    /// Host, process, and something random: a restart is another worker.
    #[schema(examples("worker-1:17:0c8f4e1f"))]
    id: String,
    /// `working`, `draining` (it takes nothing more), or `silent` (its tasks go to others).
    #[schema(examples("working"))]
    state: &'static str,
    /// The lanes that it reads.
    lanes: Vec<String>,
    /// Jobs at once, per lane.
    concurrency: i32,
    /// Tasks that it holds, running or about to.
    held: i32,
    /// How many of them run.
    running: i32,
    /// Those that have run longest, at most 20.
    running_tasks: Vec<RunningTask>,
    /// The version of its program.
    version: String,
    /// When it started.
    started_at: Timestamp,
    /// When it was last heard of.
    seen_at: Timestamp,
    /// Since when it is asked to take nothing more.
    drain_since: Option<Timestamp>,
    /// Who asked.
    drain_by: Option<String>,
    /// How far its host's clock is ahead of the database's, in milliseconds; negative when it is behind.
    clock_ahead_ms: i64,
}

impl WorkerView {
    fn of(worker: WorkerRow, api: &Api) -> Self {
        let is_live = worker.is_live(api.context.clock.now(), api.context.config.worker.lease);
        let state = match (is_live, worker.drain_since) {
            (false, _) => "silent",
            (true, Some(_)) => "draining",
            (true, None) => "working",
        };
        Self {
            state,
            lanes: worker.queues.split(',').map(|lane| lane.trim().to_owned()).collect(),
            id: worker.id,
            concurrency: worker.concurrency,
            held: worker.held,
            running: worker.running,
            running_tasks: worker.running_tasks.0,
            version: worker.version,
            started_at: worker.started_at,
            seen_at: worker.seen_at,
            drain_since: worker.drain_since,
            drain_by: worker.drain_by,
            clock_ahead_ms: worker.clock_ahead_ms,
        }
    }
}
