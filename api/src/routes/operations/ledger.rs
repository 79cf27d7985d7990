//! The ledger as operators see it: tasks by state, kind, lane, age and error; retried and cancelled.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use recado_kernel::api_keys::Scope;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_queue::operations;
use recado_queue::tasks::{self, Listed, State as TaskState, Task, TaskFilter};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::queues::lanes_named;
use crate::auth::{Admin, May, Read};
use crate::extract::fields::{Field, choice};
use crate::extract::page::{Keyset, Slice};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{Conflict, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// How far back a search in the errors of tasks reaches that have not died, unless the caller says since when: no index holds them.
const SEARCHED: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_tasks))
        .routes(routes!(show_task))
        .routes(routes!(retry_task))
        .routes(routes!(cancel_task))
}

/// Tasks, the newest first.
///
/// Not counted: `next` leads from page to page, and costs the same on each. A search by `error` or `kind` reaches back a day unless
/// `since` or `state=dead` says otherwise.
#[utoipa::path(get, path = "/", tag = "operations", params(TaskQuery, Keyset),
    responses((status = 200, description = "A page of tasks", body = Slice<LedgerTask>)))]
async fn list_tasks(
    may: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<TaskQuery>,
    keyset: Keyset,
) -> Result<axum::Json<Slice<LedgerTask>>, Problem> {
    // Errors may name addresses, which are masked where they are shown: a search would tell one letter at a time.
    if query.error.is_some() && !may.caller.sees_contacts() {
        return Err(Problem::Forbidden { scope: Scope::Contacts });
    }
    let filter = query.filter(&api, keyset.after())?;
    let Listed { tasks, back_to } = tasks::list(&mut api.context.db.read().await?, &filter, keyset.limit()).await?;
    let slice = keyset.slice(tasks, |task| task.id, LedgerTask::from);
    Ok(axum::Json(keyset.go_on_behind(slice, back_to.map(|(id, _)| id))))
}

/// One task. Its story, with the messages that it sends, is at `/api/v1/tasks/{task_id}`.
#[utoipa::path(get, path = "/{task_id}", tag = "operations",
    params(("task_id" = Id, Path, description = "Id of the task")),
    responses((status = 200, description = "The task", body = LedgerTask)))]
async fn show_task(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(task_id): Segment<Id>,
) -> Result<axum::Json<LedgerTask>, Problem> {
    let task = find(&api, task_id).await?;
    Ok(axum::Json(task.into()))
}

/// Gives a dead or cancelled task a new life: a delivery begins at its first channel again.
#[utoipa::path(post, path = "/{task_id}/retry", tag = "operations",
    params(("task_id" = Id, Path, description = "Id of the task")),
    responses(
        (status = 200, description = "The task, queued again", body = LedgerTask),
        (status = 409, description = "It is neither dead nor cancelled; the problem says where it stands", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn retry_task(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(task_id): Segment<Id>,
) -> Result<axum::Json<LedgerTask>, Problem> {
    let retried = operations::retry(&api.context, &[task_id], &may.actor()).await?;
    let task = find(&api, task_id).await?;
    if retried.is_empty() {
        return Err(conflict(
            "not-dead",
            "La tarea no se puede reintentar",
            &task,
            "Solo se reintenta lo muerto o cancelado.",
        ));
    }
    Ok(axum::Json(task.into()))
}

/// Cancels a task that is not finished. A run that is under way is stopped at its worker's next heartbeat; what was sent stays sent.
#[utoipa::path(post, path = "/{task_id}/cancel", tag = "operations",
    params(("task_id" = Id, Path, description = "Id of the task")),
    responses(
        (status = 200, description = "The task, cancelled", body = LedgerTask),
        (status = 409, description = "It has ended; the problem says where it stands", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn cancel_task(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(task_id): Segment<Id>,
) -> Result<axum::Json<LedgerTask>, Problem> {
    let cancelled = operations::cancel(&api.context, &[task_id], &may.actor()).await?;
    let task = find(&api, task_id).await?;
    if cancelled.is_empty() {
        return Err(conflict("already-ended", "La tarea ya terminó", &task, "Lo que terminó no se cancela."));
    }
    Ok(axum::Json(task.into()))
}

async fn find(api: &Api, id: Id) -> Result<Task, Problem> {
    tasks::find(&mut api.context.db.read().await?, id).await?.ok_or(Problem::NotFound)
}

fn conflict(code: &'static str, title: &'static str, task: &Task, rule: &str) -> Problem {
    Problem::Conflict(Conflict { code, title, detail: format!("Su estado es {}. {rule}", task.state) })
}

request! {
    /// Which tasks are asked for.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Query)]
    struct TaskQuery {
        /// Where they stand.
        #[param(value_type = Option<TaskState>)]
        state: Option<TaskState>,
        /// What kind of work they are.
        #[param(required = false)]
        kind: Option<String>,
        /// A lane, or a queue with all its lanes.
        #[param(required = false)]
        lane: Option<String>,
        /// Written at this moment or later.
        #[param(required = false)]
        since: Option<Timestamp>,
        /// Written before this moment.
        #[param(required = false)]
        until: Option<Timestamp>,
        /// A part of the last error, in any case. Errors may name addresses, so this needs a key with `contacts`.
        #[param(required = false)]
        error: Option<String>,
    }
}

impl TaskQuery {
    fn filter(self, api: &Api, after: Option<Id>) -> Result<TaskFilter, Problem> {
        let is_indexed = self.state.is_some_and(|state| !matches!(state, TaskState::Success | TaskState::Cancelled));
        let searches = (self.error.is_some() || self.kind.is_some()) && !is_indexed;
        let since = self.since.or_else(|| searches.then(|| api.context.clock.now() - SEARCHED));
        Ok(TaskFilter {
            state: self.state,
            lanes: lanes_named(api, self.lane.as_deref())?,
            kind: self.kind,
            since,
            until: self.until,
            error: self.error,
            before: after,
            ..TaskFilter::default()
        })
    }
}

impl Field for TaskState {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

/// A task as a row of the ledger. What it carries is not shown: it may be about a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LedgerTask {
    /// Id of the task.
    task_id: Id,
    /// What kind of work it is.
    #[schema(examples("send_notification"))]
    kind: String,
    /// Lane in which it waits or waited.
    #[schema(examples("notifications.email"))]
    lane: String,
    /// Where it stands.
    state: TaskState,
    /// 0 high, 1 default, 2 low.
    priority: i16,
    /// Not before this moment.
    run_at: Timestamp,
    /// How often a worker took it up.
    attempts: i32,
    /// How many runs ended in trouble of ours.
    failures: i32,
    /// How many workers fell silent while it was the one task that can have done it.
    lost_leases: i32,
    /// The worker that holds it.
    worker: Option<String>,
    /// What went wrong last. Addresses of people are masked in the story of a task, and left out here.
    error: Option<String>,
    /// Id that joins everything that one event caused.
    correlation_id: Option<Id>,
    /// When it was written.
    created_at: Timestamp,
    /// When a worker took it up last.
    started_at: Option<Timestamp>,
    /// When it ended.
    finished_at: Option<Timestamp>,
}

impl From<Task> for LedgerTask {
    fn from(task: Task) -> Self {
        Self {
            task_id: task.id,
            kind: task.kind,
            lane: task.lane,
            state: task.state,
            priority: task.priority,
            run_at: task.run_at,
            attempts: task.attempt,
            failures: task.failures,
            lost_leases: task.lost_leases,
            worker: task.worker,
            error: task.error.as_deref().map(without_addresses),
            correlation_id: task.correlation_id,
            created_at: task.created_at,
            started_at: task.started_at,
            finished_at: task.finished_at,
        }
    }
}

/// An error without what looks like an address or a telephone number: providers repeat them, and whose it is is not known here.
fn without_addresses(error: &str) -> String {
    let masked = |word: &str| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let is_number = digits >= 8 && word.chars().all(|c| c.is_ascii_digit() || "+-().,:;@<>\"'".contains(c));
        if word.contains('@') || is_number { "***".to_owned() } else { word.to_owned() }
    };
    error.split(' ').map(masked).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_without_addresses() {
        assert_eq!(
            without_addresses("email: 550 5.1.1 <maria@example.com>: no such user (HTTP 400)"),
            "email: 550 5.1.1 *** no such user (HTTP 400)"
        );
        assert_eq!(without_addresses("no WhatsApp at +593987654321, sorry"), "no WhatsApp at *** sorry");
    }
}
