//! The ledger: every task with its state, what may be done about it, and the same for many.
//!
//! It is the model of a page: filters in the URL, a window that is said, counts that come after, topics that keep it live, actions
//! that say first what they will do, and a bulk action on a frozen selection.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::ids::Id;
use recado_queue::bulk::{self, Action, MOST_NAMED, Selection};
use recado_queue::context::Context;
use recado_queue::operations;
use recado_queue::tasks::{self, MOST_TOLD, State as TaskState, Task, TaskFilter};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::failure::Failure;
use crate::lists::{Around, CURSOR, Query, ROWS, Window};
use crate::live::Topic;
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::pages::bulk::short;
use crate::path::Path;

const PATH: &str = "/admin/tasks/";

/// More than so many are acted on only when their number was typed.
const TYPED_FROM: i64 = 20;

// --- The list ---

/// What a query of the list asks for. The same words stand in the URL of the page, of its count and of its topic.
struct Wanted {
    asked: Query,
    window: Window,
    filter: TaskFilter,
}

impl Wanted {
    fn read(context: &Context, query: &str, now: Timestamp) -> Self {
        let asked = Query::read(query);
        let window: Window = asked.get("window").unwrap_or_default();
        let lanes = asked.text("lane").map(|word| context.systems.lanes_named(&word)).unwrap_or_default();
        let filter = TaskFilter {
            ids: asked.all("id").into_iter().take(MOST_NAMED).collect(),
            state: asked.get("state"),
            lanes,
            kind: asked.text("kind"),
            error: asked.text("error"),
            since: window.since(now),
            ..TaskFilter::default()
        };
        Self { asked, window, filter }
    }

    /// What is done to many is done to those that were asked for: a word that means nothing here would leave all of them.
    fn is_understood(&self) -> bool {
        let known = ["state", "lane", "kind", "error", "window", "id", "action", "asof", CURSOR[0], CURSOR[1]];
        self.asked.has_only(&known)
            && self.asked.is_read::<TaskState>("state")
            && self.asked.is_read::<Window>("window")
            && self.asked.is_read::<Action>("action")
            && self.asked.is_read::<Id>("id")
            && self.asked.is_read::<i64>("asof")
            && (self.asked.text("lane").is_none() || !self.filter.lanes.is_empty())
    }

    /// The filters alone, as they stand in URLs.
    fn query(&self) -> String {
        self.asked.with(&[CURSOR[0], CURSOR[1], "action", "asof", "id"], &[])
    }
}

#[derive(Template)]
#[template(path = "tasks/list.html")]
struct ListPage {
    page: Page,
    window: Window,
    windows: [Window; 4],
    states: [TaskState; 6],
    state: Option<TaskState>,
    lanes: Vec<&'static str>,
    lane: String,
    kind: String,
    error: String,
    query: String,
    /// When the list was read: what fails later is no part of a bulk action that begins here.
    asof: i64,
    rows: Vec<Row>,
    around: Around,
    counts: Vec<Count>,
    is_filtered: bool,
}

/// A task in a list.
struct Row {
    id: Id,
    short: String,
    kind: String,
    lane: String,
    state: TaskState,
    attempt: i64,
    created_at: Timestamp,
    error: Option<String>,
}

impl From<Task> for Row {
    fn from(task: Task) -> Self {
        Self {
            id: task.id,
            short: short(task.id),
            kind: task.kind,
            lane: task.lane,
            state: task.state,
            attempt: task.attempt.into(),
            created_at: task.created_at,
            error: task.error.as_deref().map(|error| masking::text(error.lines().next().unwrap_or_default())),
        }
    }
}

/// `/admin/tasks/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let (visit, context) = (&may.visit, &console.context);
    let wanted = Wanted::read(context, &visit.query, visit.now);
    let cursor = wanted.asked.cursor();
    let mut session = context.db.read().await?;
    let (found, has_more) = tasks::page(&mut session, &wanted.filter, cursor, ROWS).await?;
    drop(session);
    let ends = (found.first().map(|task| task.id), found.last().map(|task| task.id));
    let newest = ends.0.unwrap_or_else(|| Id::earliest(visit.now));
    let mut page = Page::new(&console, visit, "tasks", "tasks-title").watching("tasks".to_owned());
    if cursor == Cursor::Start {
        page = page.watching(format!("tasks-new:{newest}&{}", wanted.query()));
    }
    html(&ListPage {
        page,
        window: wanted.window,
        windows: Window::ALL,
        states: TaskState::ALL,
        state: wanted.filter.state,
        lanes: context.systems.lanes().into_iter().map(recado_queue::lanes::Lane::as_str).collect(),
        lane: wanted.asked.text("lane").unwrap_or_default(),
        kind: wanted.filter.kind.clone().unwrap_or_default(),
        error: wanted.filter.error.clone().unwrap_or_default(),
        query: wanted.query(),
        asof: visit.now.as_micros(),
        around: Around::of(&wanted.asked, PATH, ends.0, ends.1, has_more),
        rows: found.into_iter().map(Row::from).collect(),
        counts: counts(context).await?,
        is_filtered: !wanted.query().is_empty(),
    })
}

#[derive(Template)]
#[template(path = "tasks/count.html")]
struct CountPart {
    page: Page,
    count: i64,
    is_more: bool,
}

/// How many a filter finds, up to a limit: it comes after the page, so that no page waits for it.
pub(crate) async fn count(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let wanted = Wanted::read(&console.context, &may.visit.query, may.visit.now);
    let count = tasks::count(&mut console.context.db.read().await?, &wanted.filter).await?;
    let page = Page::new(&console, &may.visit, "tasks", "tasks-title");
    html(&CountPart { page, count: count.min(MOST_TOLD), is_more: count > MOST_TOLD })
}

// --- What it watches ---

/// How many are in each state that is not good: the strip above the list.
pub(crate) const COUNTS: Topic = Topic { name: "tasks", sample: sample_counts, draw: draw_counts };

/// A state, and how many tasks are in it.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
struct Count {
    state: TaskState,
    count: i64,
    /// There are more than were counted.
    is_more: bool,
}

async fn counts(context: &Context) -> db::Result<Vec<Count>> {
    let mut session = context.db.read().await?;
    let found = tasks::count_unfinished(&mut session, &context.systems.lanes()).await?;
    let states = [TaskState::Queued, TaskState::Started, TaskState::Scheduled, TaskState::Dead];
    let of = |state| {
        let count: i64 = found.iter().filter(|one| one.state == state).map(|one| one.count).sum();
        Count { state, count: count.min(MOST_TOLD), is_more: count > MOST_TOLD }
    };
    Ok(states.into_iter().map(of).collect())
}

fn sample_counts<'a>(context: &'a Context, _: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move { Ok(json!(counts(context).await?)) }.boxed()
}

#[derive(Template)]
#[template(path = "tasks/counts.html")]
struct CountsPart<'a> {
    page: &'a Page,
    counts: Vec<Count>,
}

fn draw_counts(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(counts) = Vec::<Count>::deserialize(value) else { return Vec::new() };
    CountsPart { page, counts }.render().map(|html| vec![("counts".to_owned(), html)]).unwrap_or_default()
}

/// How many tasks are newer than the first of a list: rows do not move by themselves, a button shows them.
pub(crate) const NEW: Topic = Topic { name: "tasks-new", sample: sample_new, draw: draw_new };

fn sample_new<'a>(context: &'a Context, argument: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let (first, query) = argument.split_once('&').unwrap_or((argument, ""));
        let Ok(first) = first.parse() else { return Ok(Value::Null) };
        let filter = Wanted::read(context, query, context.clock.now()).filter;
        let (found, has_more) =
            tasks::page(&mut context.db.read().await?, &filter, Cursor::Before(first), ROWS).await?;
        Ok(json!({ "count": found.len(), "is_more": has_more, "query": query }))
    }
    .boxed()
}

#[derive(Template)]
#[template(path = "tasks/new.html")]
struct NewPart<'a> {
    page: &'a Page,
    count: i64,
    is_more: bool,
    query: &'a str,
}

fn draw_new(value: &Value, page: &Page) -> Vec<(String, String)> {
    let count = value["count"].as_i64().unwrap_or_default();
    let (is_more, query) = (value["is_more"] == true, value["query"].as_str().unwrap_or_default());
    let part = NewPart { page, count, is_more, query };
    part.render().map(|html| vec![("new".to_owned(), html)]).unwrap_or_default()
}

/// One task.
pub(crate) const ONE: Topic = Topic { name: "task", sample: sample_one, draw: draw_one };

fn sample_one<'a>(context: &'a Context, id: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let Ok(id) = id.parse() else { return Ok(Value::Null) };
        let found = tasks::find(&mut context.db.read().await?, id).await?;
        Ok(found.map_or(Value::Null, |task| json!(Facts::of(task))))
    }
    .boxed()
}

fn draw_one(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(facts) = Facts::deserialize(value) else { return Vec::new() };
    FactsPart { page, facts: &facts }.render().map(|html| vec![("facts".to_owned(), html)]).unwrap_or_default()
}

// --- One task ---

/// What is known of a task, as plain data: addresses are masked here already.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
struct Facts {
    id: Id,
    kind: String,
    lane: String,
    state: TaskState,
    attempt: i64,
    failures: i64,
    lost_leases: i64,
    worker: Option<String>,
    error: Option<String>,
    /// Moments in microseconds, as they follow each other.
    created_us: i64,
    run_us: i64,
    started_us: Option<i64>,
    finished_us: Option<i64>,
}

impl Facts {
    fn of(task: Task) -> Self {
        Self {
            id: task.id,
            kind: task.kind,
            lane: task.lane,
            state: task.state,
            attempt: task.attempt.into(),
            failures: task.failures.into(),
            lost_leases: task.lost_leases.into(),
            worker: task.worker,
            error: task.error.as_deref().map(masking::text),
            created_us: task.created_at.as_micros(),
            run_us: task.run_at.as_micros(),
            started_us: task.started_at.map(Timestamp::as_micros),
            finished_us: task.finished_at.map(Timestamp::as_micros),
        }
    }

    /// What happened when, in this order: messages `task-moment-…`.
    fn moments(&self) -> Vec<(&'static str, Timestamp)> {
        let mut moments = vec![("created", self.created_us)];
        if self.state == TaskState::Scheduled {
            moments.push(("due", self.run_us));
        }
        moments.extend(self.started_us.map(|at| ("started", at)));
        moments.extend(self.finished_us.map(|at| ("finished", at)));
        moments.sort_by_key(|(_, at)| *at);
        moments.into_iter().map(|(word, at)| (word, Timestamp::from_micros(at))).collect()
    }

    fn can_be_retried(&self) -> bool {
        self.state.can_be_retried()
    }

    fn can_be_cancelled(&self) -> bool {
        !self.state.is_final()
    }
}

#[derive(Template)]
#[template(path = "tasks/facts.html")]
struct FactsPart<'a> {
    page: &'a Page,
    facts: &'a Facts,
}

#[derive(Template)]
#[template(path = "tasks/show.html")]
struct ShowPage {
    page: Page,
    facts: Facts,
    payload: String,
    correlation_id: Option<Id>,
}

/// `/admin/tasks/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let task = tasks::find(&mut console.context.db.read().await?, id).await?.ok_or(Failure::NotFound)?;
    let payload = serde_json::to_string_pretty(&masking::payload(&task.payload.0)).unwrap_or_default();
    let page = Page::new(&console, &may.visit, "tasks", "task-title").about(&task.kind).watching(format!("task:{id}"));
    let correlation_id = task.correlation_id;
    html(&ShowPage { page, payload, correlation_id, facts: Facts::of(task) })
}

/// A task that is dead or cancelled begins again.
pub(crate) async fn retry(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let retried = operations::retry(&console.context, &[id], &may.visit.actor()).await?;
    let notice = if retried.is_empty() { Notice::new("nothing-to-do", 0) } else { Notice::new("retried", 1) };
    Ok(then(&format!("{PATH}{id}/"), &notice))
}

/// A task that has not ended will not run. It is undone by a retry.
pub(crate) async fn cancel(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let cancelled = operations::cancel(&console.context, &[id], &may.visit.actor()).await?;
    let notice = match cancelled.is_empty() {
        true => Notice::new("nothing-to-do", 0),
        false => Notice::new("cancelled", 1).undone_by(format!("{PATH}{id}/retry/")),
    };
    Ok(then(&format!("{PATH}{id}/"), &notice))
}

// --- Many tasks ---

#[derive(Template)]
#[template(path = "tasks/bulk.html")]
struct BulkPage {
    page: Page,
    action: Action,
    selection: String,
    total: i64,
    is_more: bool,
    frozen_at: Timestamp,
    asks_for_number: bool,
    was_mistyped: bool,
    back: String,
}

/// `/admin/tasks/bulk/`: what will happen to how many, before it happens. What was ticked, or else what the filter found when the
/// list was drawn.
pub(crate) async fn confirm_bulk(may: May<Operate>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let visit = &may.visit;
    let wanted = Wanted::read(&console.context, &visit.query, visit.now);
    if !wanted.is_understood() {
        return Err(Failure::Malformed);
    }
    let action = wanted.asked.get("action").unwrap_or(Action::Retry);
    let asof = wanted.asked.get("asof").map(Timestamp::from_micros).filter(|asof| *asof <= visit.now);
    let frozen_at = asof.unwrap_or(visit.now);
    let filter = TaskFilter { since: wanted.window.since(frozen_at), ..wanted.filter.clone() };
    let filter = if filter.ids.is_empty() { filter } else { TaskFilter { ids: filter.ids, ..TaskFilter::default() } };
    let selection = Selection::of(&acted_on(filter, action), frozen_at);
    confirm(&console, &may, action, &selection, false).await
}

/// Without a state, an action means those that it can do something about.
fn acted_on(filter: TaskFilter, action: Action) -> TaskFilter {
    let state = filter.state.or((action == Action::Retry && filter.ids.is_empty()).then_some(TaskState::Dead));
    TaskFilter { state, ..filter }
}

async fn confirm(
    console: &Console,
    may: &May<Operate>,
    action: Action,
    selection: &Selection,
    was_mistyped: bool,
) -> Result<Response, Failure> {
    let count = tasks::count(&mut console.context.db.read().await?, &selection.filter()).await?;
    let part = BulkPage {
        page: Page::new(console, &may.visit, "tasks", "bulk-confirm-title"),
        action,
        selection: serde_json::to_string(selection).unwrap_or_default(),
        total: count.min(MOST_TOLD),
        is_more: count > MOST_TOLD,
        frozen_at: Timestamp::from_micros(selection.frozen_at_us),
        asks_for_number: count > TYPED_FROM,
        was_mistyped,
        back: format!("{PATH}?{}", Wanted::read(&console.context, &may.visit.query, may.visit.now).query()),
    };
    if was_mistyped { refused(&part) } else { html(&part) }
}

#[derive(Deserialize)]
pub(crate) struct BulkForm {
    action: Action,
    selection: String,
    #[serde(default)]
    typed: String,
    /// How many the person was told.
    total: i64,
    #[serde(default)]
    pace: String,
}

/// Begins it, as it was confirmed.
pub(crate) async fn start_bulk(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    form: Result<Form<BulkForm>, FormRejection>,
) -> Result<Response, Failure> {
    let Form(form) = form.map_err(|_| Failure::Malformed)?;
    let selection: Selection = serde_json::from_str(&form.selection).map_err(|_| Failure::Malformed)?;
    let is_named = selection.ids.len() <= MOST_NAMED && selection.frozen_at_us <= may.visit.now.as_micros();
    if !is_named {
        return Err(Failure::Malformed);
    }
    let digits: String = form.typed.chars().filter(char::is_ascii_digit).collect();
    if form.total > TYPED_FROM && digits != form.total.to_string() {
        return confirm(&console, &may, form.action, &selection, true).await;
    }
    let pace = form.pace.trim().parse().unwrap_or_default();
    let id = bulk::start(&console.context, form.action, &selection, pace, &may.visit.actor()).await?;
    Ok(then(&format!("/admin/bulk/{id}/"), &Notice::new("bulk-started", 1)))
}
