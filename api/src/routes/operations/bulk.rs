//! One action on many tasks: begun, watched, stopped, gone on with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::retry::{self, Group, How, USUAL_TRIAL, Weighed};
use recado_queue::bulk::{self, Action, Bulk, BulkState, MOST_NAMED, MOST_TRIED, Plan, Selection, Verdict};
use recado_queue::tasks::{self, MOST_TOLD, State as TaskState, TaskFilter};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::queues::lanes_named;
use crate::auth::{Admin, May, Read};
use crate::extract::body::Json;
use crate::extract::fields::{Field, choice};
use crate::extract::page::{Keyset, Slice};
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{Conflict, FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// How far back a cause is looked for unless asked otherwise, and at most, in hours.
const USUAL_HOURS: i64 = 24;
const MOST_HOURS: i64 = 24 * 30;

/// A trial that the caller says nothing about.
const UNSAID: i64 = -1;

/// The highest pace, in tasks a minute.
const MOST_PACE: i64 = 60_000;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_bulk, start_bulk))
        .routes(routes!(show_bulk))
        .routes(routes!(stop_bulk))
        .routes(routes!(resume_bulk))
}

/// Operations on many tasks, the newest first.
#[utoipa::path(get, path = "/", tag = "operations", params(Keyset),
    responses((status = 200, description = "A page of operations", body = Slice<BulkView>)))]
async fn list_bulk(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    keyset: Keyset,
) -> Result<axum::Json<Slice<BulkView>>, Problem> {
    let found = bulk::page(&mut api.context.db.read().await?, keyset.after(), keyset.limit()).await?;
    Ok(axum::Json(keyset.slice(found, |bulk| bulk.id, BulkView::from)))
}

/// One operation: how far it is, what was passed over and why, and how its trial ended.
#[utoipa::path(get, path = "/{bulk_id}", tag = "operations",
    params(("bulk_id" = Id, Path, description = "Id of the operation")),
    responses((status = 200, description = "The operation", body = BulkView)))]
async fn show_bulk(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(bulk_id): Segment<Id>,
) -> Result<axum::Json<BulkView>, Problem> {
    Ok(axum::Json(find(&api, bulk_id).await?.into()))
}

/// Retries or cancels many tasks: named ones, all that a filter finds, or all messages that failed of one cause.
///
/// What it acts on is frozen now: what arrives or fails later is never touched. A worker walks through it in chunks, at the pace that is
/// asked for, and goes on after a crash where it was. With `trial`, so many go first and their result is awaited; if most of them fail
/// again the operation stops by itself. Retried are never messages whose person was reached on another channel or said no, whose address
/// is suppressed, or that were erased: `skipped` and `left_out` count them by reason. With `dry_run` nothing is done, and the answer says
/// how many would go and how many would not.
#[utoipa::path(post, path = "/", tag = "operations", request_body = BulkWrite,
    responses(
        (status = 200, description = "With `dry_run`: what would be done", body = BulkOutlook),
        (status = 202, description = "The operation, which a worker takes up", body = BulkView),
        (status = 409, description = "There is nothing to do it to", body = Value, content_type = "application/problem+json"),
    ))]
async fn start_bulk(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Json(asked): Json<BulkWrite>,
) -> Result<Response, Problem> {
    let now = api.context.clock.now();
    let usual = if asked.cause.is_some() { USUAL_TRIAL } else { 0 };
    let how = How { trial: u16::try_from(asked.trial).unwrap_or(usual), pace: narrow(asked.pace) };
    let id = if let Some(cause) = &asked.cause {
        let since = now - Duration::from_secs(asked.hours.unsigned_abs() * 3600);
        if asked.dry_run {
            let weighed = retry::weigh(&mut api.context.db.read().await?, &cause.0, since, now).await?;
            return Ok(axum::Json(BulkOutlook::from(&weighed)).into_response());
        }
        let started = retry::start(&api.context, &cause.0, since, now, how, &may.actor()).await?;
        started.map(|(id, _)| id).ok_or_else(nothing_to_do)?
    } else {
        let selection = Selection::of(&asked.filter(&api)?, now);
        let total = tasks::count(&mut api.context.db.read().await?, &selection.filter()).await?;
        if asked.dry_run {
            let outlook =
                BulkOutlook { total: total.min(MOST_TOLD), is_more: total > MOST_TOLD, left_out: BTreeMap::new() };
            return Ok(axum::Json(outlook).into_response());
        }
        if total == 0 {
            return Err(nothing_to_do());
        }
        let plan = Plan {
            action: asked.action,
            selection: &selection,
            pace: how.pace,
            trial: how.trial,
            left_out: &BTreeMap::new(),
        };
        bulk::begin(&api.context, &plan, &[], &may.actor()).await?
    };
    let made = find(&api, id).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(BulkView::from(made))).into_response())
}

/// Stops an operation after the chunk that is under way. What was done stays done.
#[utoipa::path(post, path = "/{bulk_id}/stop", tag = "operations",
    params(("bulk_id" = Id, Path, description = "Id of the operation")),
    responses(
        (status = 200, description = "The operation, stopped", body = BulkView),
        (status = 409, description = "It is over already; the problem says where it stands", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn stop_bulk(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(bulk_id): Segment<Id>,
) -> Result<axum::Json<BulkView>, Problem> {
    let stopped = bulk::stop(&api.context, bulk_id, &may.actor()).await?;
    let found = find(&api, bulk_id).await?;
    if !stopped {
        return Err(conflict(
            "already-over",
            "La operación ya terminó",
            &found,
            "Solo se detiene lo que está en marcha.",
        ));
    }
    Ok(axum::Json(found.into()))
}

/// Goes on with an operation that was stopped, from where it was; one whose trial failed goes on with the rest.
#[utoipa::path(post, path = "/{bulk_id}/resume", tag = "operations",
    params(("bulk_id" = Id, Path, description = "Id of the operation")),
    responses(
        (status = 200, description = "The operation, which a worker takes up", body = BulkView),
        (status = 409, description = "It is not stopped; the problem says where it stands", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn resume_bulk(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(bulk_id): Segment<Id>,
) -> Result<axum::Json<BulkView>, Problem> {
    let resumed = bulk::resume(&api.context, bulk_id, &may.actor()).await?;
    let found = find(&api, bulk_id).await?;
    if !resumed {
        return Err(conflict("not-stopped", "La operación no está detenida", &found, "Solo sigue lo que se detuvo."));
    }
    Ok(axum::Json(found.into()))
}

async fn find(api: &Api, id: Id) -> Result<Bulk, Problem> {
    bulk::find(&mut api.context.db.read().await?, id).await?.ok_or(Problem::NotFound)
}

fn conflict(code: &'static str, title: &'static str, bulk: &Bulk, rule: &str) -> Problem {
    Problem::Conflict(Conflict { code, title, detail: format!("Su estado es {}. {rule}", bulk.state) })
}

fn nothing_to_do() -> Problem {
    Problem::Conflict(Conflict {
        code: "nothing-to-do",
        title: "No hay nada que hacer",
        detail: "Ninguna tarea cumple lo pedido. Con \"dry_run\": true se ve cuántas hay y por qué no se tocan."
            .to_owned(),
    })
}

fn narrow(number: i64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// A cause, as `GET /api/v1/operations/failures/` tells its channel, account and code.
#[derive(Debug)]
struct CauseText(Group);

impl Field for CauseText {
    fn read(value: Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let wrong =
            "Escriba canal:cuenta:CÓDIGO, por ejemplo email:env:EMAIL_SEND_FAILED; lo que no hay se deja vacío.";
        text.parse().map(Self).map_err(|_| wrong.to_owned())
    }
}

impl Field for Action {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

request! {
    /// An action on many tasks.
    #[derive(Debug, ToSchema)]
    #[schema(as = BulkWrite)]
    struct BulkWrite {
        /// What is done to each.
        action: Action,
        /// Only these tasks, at most 1,000.
        ids: Option<Vec<Id>>,
        /// All messages that failed alike: channel, account and code with colons between them, nothing where there is none. Only to retry.
        #[schema(value_type = Option<String>, examples("whatsapp:env:WHATSAPP_API_ERROR"))]
        cause: Option<CauseText>,
        /// With `cause`: accepted in so many hours.
        #[schema(minimum = 1, maximum = 720, default = 24, required = false)]
        hours: i64 = USUAL_HOURS,
        /// Tasks in this state; for a retry `dead` or `cancelled`, and without it `dead`.
        state: Option<TaskState>,
        /// A lane, or a queue with all its lanes.
        #[schema(examples("notifications.email"))]
        lane: Option<String>,
        /// What kind of work they are.
        #[schema(examples("send_notification"))]
        kind: Option<String>,
        /// A part of the last error, in any case.
        error: Option<String>,
        /// Written at this moment or later.
        since: Option<Timestamp>,
        /// So many go first, and their result is awaited; 0: none. With `cause` it is 5 unless said.
        #[schema(minimum = 0, maximum = 50, required = false)]
        trial: i64 = UNSAID,
        /// Tasks a minute; 0: as fast as it goes.
        #[schema(minimum = 0, maximum = 60000, default = 0, required = false)]
        pace: i64 = 0,
        /// Only say what would be done.
        #[schema(default = false, required = false)]
        dry_run: bool = false,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        let named = self.ids.as_ref().map_or(0, Vec::len);
        let filters = [self.state.is_some(), self.lane.is_some(), self.kind.is_some(), self.error.is_some(), self.since.is_some()];
        let is_filtered = filters.contains(&true);
        let between = |low: i64, high: i64| format!("Asegúrese de que este valor esté entre {low} y {high}.");
        if self.ids.as_ref().is_some_and(Vec::is_empty) || named > MOST_NAMED {
            errors.push(("ids", format!("Nombre de 1 a {MOST_NAMED} tareas, o use un filtro.")));
        }
        if usize::from(self.ids.is_some()) + usize::from(self.cause.is_some()) + usize::from(is_filtered) != 1 {
            let rule = "Diga qué tareas: con \"ids\", con \"cause\", o con un filtro (state, lane, kind, error, since), y solo con uno de los tres.";
            errors.push(("ids", rule.to_owned()));
        }
        if self.action == Action::Retry && self.state.is_some_and(|state| !state.can_be_retried()) {
            errors.push(("state", "Solo se reintentan las tareas en estado dead o cancelled.".to_owned()));
        }
        if self.cause.is_some() && self.action != Action::Retry {
            errors.push(("cause", "Lo que falló ya terminó: solo se reintenta.".to_owned()));
        }
        if !(1..=MOST_HOURS).contains(&self.hours) {
            errors.push(("hours", between(1, MOST_HOURS)));
        }
        if !(UNSAID..=i64::from(MOST_TRIED)).contains(&self.trial) {
            errors.push(("trial", between(0, i64::from(MOST_TRIED))));
        }
        if !(0..=MOST_PACE).contains(&self.pace) {
            errors.push(("pace", between(0, MOST_PACE)));
        }
        errors
    }
}

impl BulkWrite {
    fn filter(&self, api: &Api) -> Result<TaskFilter, Problem> {
        if let Some(ids) = &self.ids {
            return Ok(TaskFilter { ids: ids.clone(), ..TaskFilter::default() });
        }
        if self.error.as_deref().is_some_and(str::is_empty) {
            return Err(FieldErrors::one("error", "Este campo no puede estar en blanco.").into());
        }
        Ok(TaskFilter {
            state: self.state.or((self.action == Action::Retry).then_some(TaskState::Dead)),
            lanes: lanes_named(api, self.lane.as_deref())?,
            kind: self.kind.clone(),
            error: self.error.clone(),
            since: self.since,
            ..TaskFilter::default()
        })
    }
}

/// What an operation would do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkOutlook)]
struct BulkOutlook {
    /// How many it would be done to; more than 10,000 of a filter are not counted.
    total: i64,
    /// There are more than were counted.
    is_more: bool,
    /// How many not, by reason.
    left_out: BTreeMap<String, i64>,
}

impl From<&Weighed> for BulkOutlook {
    fn from(weighed: &Weighed) -> Self {
        Self {
            total: weighed.tasks.len() as i64,
            is_more: weighed.is_more,
            left_out: weighed.refused.iter().map(|(reason, count)| (reason.as_str().to_owned(), *count)).collect(),
        }
    }
}

/// An operation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkOperation)]
struct BulkView {
    /// Id of the operation.
    bulk_id: Id,
    /// What is done to each task.
    action: Action,
    /// Where it stands.
    state: BulkState,
    /// Which tasks, as it was frozen.
    #[schema(value_type = Object)]
    selection: Selection,
    /// Who asked for it.
    actor: String,
    /// When it was made: what failed later is no part of it.
    created_at: Timestamp,
    /// How many there were then; more than 10,000 of a filter are not counted.
    total: i32,
    /// To how many it was done.
    done: i32,
    /// How many were passed over, by the state that they were in or the reason.
    skipped: BTreeMap<String, i32>,
    /// How many were left out when it was made, by reason; they are no part of the total.
    left_out: BTreeMap<String, i32>,
    /// Tasks a minute; 0: as fast as it goes.
    pace: i32,
    /// So many go first; 0: none.
    trial: i32,
    /// The tasks that went first.
    tried: Vec<Id>,
    /// How the trial ended; null: not yet, or there is none.
    verdict: Option<Verdict>,
    /// When it was done or stopped.
    finished_at: Option<Timestamp>,
}

impl From<Bulk> for BulkView {
    fn from(bulk: Bulk) -> Self {
        Self {
            bulk_id: bulk.id,
            action: bulk.action,
            state: bulk.state,
            selection: bulk.selection.0,
            actor: bulk.actor,
            created_at: bulk.created_at,
            total: bulk.total,
            done: bulk.done,
            skipped: bulk.skipped.0,
            left_out: bulk.left_out.0,
            pace: bulk.pace,
            trial: bulk.trial,
            tried: bulk.tried.0,
            verdict: bulk.verdict,
            finished_at: bulk.finished_at,
        }
    }
}
