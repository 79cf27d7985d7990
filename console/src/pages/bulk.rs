//! One action on many tasks: how far it is, and how it is stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State as Shared;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_queue::bulk::{self, Bulk, BulkState, Verdict};
use recado_queue::context::Context;
use recado_queue::tasks::{MOST_TOLD, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::failure::Failure;
use crate::lists::{Around, Query, ROWS};
use crate::live::Topic;
use crate::notice::{Notice, then};
use crate::page::{Page, html};
use crate::path::Path;

#[derive(Template)]
#[template(path = "bulk/list.html")]
struct ListPage {
    page: Page,
    operations: Vec<Bulk>,
    around: Around,
}

/// `/admin/bulk/`
pub(crate) async fn list(may: May<Look>, Shared(console): Shared<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let after = asked.get("after");
    let mut operations = bulk::page(&mut console.context.db.read().await?, after, ROWS + 1).await?;
    let has_more = operations.len() > ROWS as usize;
    operations.truncate(ROWS as usize);
    let last = operations.last().map(|operation| operation.id);
    let mut around = Around::of(&asked, "/admin/bulk/", None, last, has_more);
    around.newer = after.is_some().then(|| "/admin/bulk/".to_owned());
    html(&ListPage { page: Page::new(&console, &may.visit, "bulk", "bulk-title"), operations, around })
}

/// What the page watches.
pub(crate) const ONE: Topic = Topic { name: "bulk", sample, draw };

fn sample<'a>(context: &'a Context, id: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let Ok(id) = id.parse() else { return Ok(Value::Null) };
        let mut session = context.db.read().await?;
        let Some(found) = bulk::find(&mut session, id).await? else { return Ok(Value::Null) };
        Ok(json!(Progress::of(&found).with_outcome(&mut session, &found).await?))
    }
    .boxed()
}

fn draw(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(progress) = Progress::deserialize(value) else { return Vec::new() };
    let part = ProgressPart { page, progress: &progress };
    part.render().map(|html| vec![("progress".to_owned(), html)]).unwrap_or_default()
}

/// How far an operation is.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Progress {
    id: Id,
    state: BulkState,
    total: i64,
    done: i64,
    seen: i64,
    pace: i64,
    /// By the state that they were in, or the reason: the messages `refusal-…`.
    skipped: Vec<(String, i64)>,
    left_out: Vec<(String, i64)>,
    trial: i64,
    tried: Vec<Id>,
    verdict: Option<Verdict>,
    /// Where the tasks of a list stand now.
    outcome: Vec<(State, i64)>,
    finished_at_us: Option<i64>,
}

impl Progress {
    fn of(bulk: &Bulk) -> Self {
        Self {
            id: bulk.id,
            state: bulk.state,
            total: bulk.total.max(bulk.seen()).into(),
            done: bulk.done.into(),
            seen: bulk.seen().into(),
            pace: bulk.pace.into(),
            skipped: by_reason(&bulk.skipped.0),
            left_out: by_reason(&bulk.left_out.0),
            trial: bulk.trial.into(),
            tried: bulk.tried.0.clone(),
            verdict: bulk.verdict,
            outcome: Vec::new(),
            finished_at_us: bulk.finished_at.map(Timestamp::as_micros),
        }
    }

    /// With where its tasks stand. Not of a large one: that would be counted every two seconds.
    async fn with_outcome(mut self, session: &mut Session, bulk: &Bulk) -> db::Result<Self> {
        if i64::from(bulk.total) <= MOST_TOLD {
            self.outcome = bulk::outcome(session, bulk).await?;
        }
        Ok(self)
    }

    /// It stopped by itself.
    fn has_failed(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Failed | Verdict::Silent))
    }

    fn percent(&self) -> i64 {
        if self.state == BulkState::Done { 100 } else { (self.seen * 100).checked_div(self.total).unwrap_or_default() }
    }

    /// Minutes that are left at its pace.
    fn minutes(&self) -> Option<i64> {
        let left = self.total - self.seen;
        (self.pace > 0 && left > 0 && !self.state.is_over()).then(|| (left + self.pace - 1) / self.pace)
    }

    fn finished_at(&self) -> Option<Timestamp> {
        self.finished_at_us.map(Timestamp::from_micros)
    }
}

fn by_reason(counts: &BTreeMap<String, i32>) -> Vec<(String, i64)> {
    counts.iter().map(|(reason, count)| (reason.clone(), (*count).into())).collect()
}

#[derive(Template)]
#[template(path = "bulk/progress.html")]
struct ProgressPart<'a> {
    page: &'a Page,
    progress: &'a Progress,
}

#[derive(Template)]
#[template(path = "bulk/show.html")]
struct ShowPage {
    page: Page,
    bulk: Bulk,
    progress: Progress,
}

/// `/admin/bulk/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    Shared(console): Shared<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.read().await?;
    let bulk = bulk::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let progress = Progress::of(&bulk).with_outcome(&mut session, &bulk).await?;
    drop(session);
    let page = Page::new(&console, &may.visit, "bulk", "bulk-one").about(short(id)).watching(format!("bulk:{id}"));
    html(&ShowPage { page, bulk, progress })
}

/// Stops after the chunk that is under way.
pub(crate) async fn stop(
    may: May<Operate>,
    Shared(console): Shared<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let stopped = bulk::stop(&console.context, id, &may.visit.actor()).await?;
    let notice = if stopped { Notice::new("bulk-stopped", 1) } else { Notice::new("nothing-to-do", 0) };
    let undo = format!("/admin/bulk/{id}/resume/");
    Ok(then(&format!("/admin/bulk/{id}/"), &if stopped { notice.undone_by(undo) } else { notice }))
}

/// Goes on from where it was stopped.
pub(crate) async fn resume(
    may: May<Operate>,
    Shared(console): Shared<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let resumed = bulk::resume(&console.context, id, &may.visit.actor()).await?;
    let notice = if resumed { Notice::new("bulk-resumed", 1) } else { Notice::new("nothing-to-do", 0) };
    Ok(then(&format!("/admin/bulk/{id}/"), &notice))
}

/// The end of an id tells it from its neighbours: the beginning is the time.
pub(crate) fn short(id: Id) -> String {
    let text = id.to_string();
    text[text.len() - 8..].to_owned()
}
