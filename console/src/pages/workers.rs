//! Workers: who works, in which version, on what, and the wish that one takes nothing more.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::workers::{self, RunningTask, Wish, WorkerRow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::failure::Failure;
use crate::live::Topic;
use crate::notice::{Notice, then};
use crate::page::{Page, html};
use crate::path::Path;
use crate::urls::encoded;

const PATH: &str = "/admin/workers/";

/// A host's clock that is further off than this is shown.
const CLOCK_OFF_MS: i64 = 1_000;

#[derive(Template)]
#[template(path = "workers/list.html")]
struct ListPage {
    page: Page,
    fleet: Fleet,
}

/// `/admin/workers/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "workers", "workers-title").watching("workers".to_owned());
    html(&ListPage { page, fleet: fleet(&console.context).await? })
}

/// All workers, as plain data.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Fleet {
    /// The versions of those that are live; more than one while a deploy is under way.
    versions: Vec<String>,
    /// Lanes from which no worker takes tasks.
    unattended: Vec<String>,
    processes: Vec<Process>,
}

/// A worker process.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Process {
    id: String,
    /// The messages `worker-state-…`: working, draining (it takes nothing more), silent (its tasks go to others).
    state: String,
    lanes: String,
    /// Jobs at once, per lane.
    concurrency: i64,
    /// Tasks that it holds, and how many of them run.
    held: i64,
    running: i64,
    tasks: Vec<RunningTask>,
    version: String,
    started_at: Timestamp,
    seen_at: Timestamp,
    drain_since: Option<Timestamp>,
    drain_by: Option<String>,
    /// How far its host's clock is off, where that is worth a look.
    clock_off_ms: Option<i64>,
}

impl Process {
    fn of(worker: WorkerRow, is_live: bool) -> Self {
        let state = match (is_live, worker.drain_since) {
            (false, _) => "silent",
            (true, Some(_)) => "draining",
            (true, None) => "working",
        };
        Self {
            id: worker.id,
            state: state.to_owned(),
            lanes: worker.queues.split(',').map(str::trim).collect::<Vec<_>>().join(", "),
            concurrency: worker.concurrency.into(),
            held: worker.held.into(),
            running: worker.running.into(),
            tasks: worker.running_tasks.0,
            version: worker.version,
            started_at: worker.started_at,
            seen_at: worker.seen_at,
            drain_since: worker.drain_since,
            drain_by: worker.drain_by,
            clock_off_ms: Some(worker.clock_ahead_ms).filter(|ms| ms.abs() > CLOCK_OFF_MS),
        }
    }

    fn is_draining(&self) -> bool {
        self.drain_since.is_some()
    }

    /// Its id as a part of a URL: a host may be called anything.
    fn in_url(&self) -> String {
        encoded(&self.id)
    }
}

async fn fleet(context: &Context) -> db::Result<Fleet> {
    let (now, lease) = (context.clock.now(), context.config.worker.lease);
    let found = workers::list(&mut context.db.read().await?).await?;
    let unattended = workers::unattended(context.systems, &found, now, lease);
    let live = found.iter().filter(|worker| worker.is_live(now, lease));
    let mut versions: Vec<String> = live.map(|worker| worker.version.clone()).collect();
    versions.sort();
    versions.dedup();
    let process = |worker: WorkerRow| {
        let is_live = worker.is_live(now, lease);
        Process::of(worker, is_live)
    };
    Ok(Fleet {
        versions,
        unattended: unattended.into_iter().map(Lane::as_str).map(str::to_owned).collect(),
        processes: found.into_iter().map(process).collect(),
    })
}

/// The workers, live.
pub(crate) const FLEET: Topic = Topic { name: "workers", sample: sample_fleet, draw: draw_fleet };

fn sample_fleet<'a>(context: &'a Context, _: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move { Ok(json!(fleet(context).await?)) }.boxed()
}

#[derive(Template)]
#[template(path = "workers/fleet.html")]
struct FleetPart<'a> {
    page: &'a Page,
    fleet: &'a Fleet,
}

fn draw_fleet(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(fleet) = Fleet::deserialize(value) else { return Vec::new() };
    FleetPart { page, fleet: &fleet }.render().map(|html| vec![("fleet".to_owned(), html)]).unwrap_or_default()
}

/// Asks a worker to take nothing more.
pub(crate) async fn drain(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    wish(&console, &may, &id, Wish::Drain).await
}

/// Lets a worker that was asked to drain take tasks again.
pub(crate) async fn take_back(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    wish(&console, &may, &id, Wish::TakeBack).await
}

async fn wish(console: &Console, may: &May<Operate>, id: &str, wish: Wish) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let wished = workers::wish(&mut session, id, wish, &may.visit.actor(), may.visit.now).await?;
    let (_, is_new) = wished.ok_or(Failure::NotFound)?;
    if !is_new {
        return Ok(then(PATH, &Notice::new("nothing-to-do", 0)));
    }
    session.commit().await?;
    let id = encoded(id);
    let notice = match wish {
        Wish::Drain => Notice::new("draining", 1).undone_by(format!("{PATH}{id}/take-back/")),
        Wish::TakeBack => Notice::new("taking-again", 1).undone_by(format!("{PATH}{id}/drain/")),
    };
    Ok(then(PATH, &notice))
}
