//! What became of a task: Celery's words for the clients of seed 002 (S002-62), and the whole story for all others.

use std::sync::Arc;

use axum::extract::State;
use recado_kernel::addresses::{mask_email, mask_phone};
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_notifications::channels::{self, Channel};
use recado_notifications::notifications::attempts::{self, Attempt};
use recado_notifications::notifications::{self, Awaits, Notification, Status};
use recado_notifications::orchestration::AwaitedReceipt;
use recado_queue::tasks::{self, CeleryStatus, State as TaskState, Task};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::{InternalCaller, May, Read};
use crate::extract::path::Segment;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

/// `/api/internal/v1/tasks`
pub(crate) fn internal_routes() -> Routes {
    Routes::new().routes(routes!(show_internal))
}

/// `/api/v1/tasks`
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show))
}

/// What became of a task, for services of the same house.
///
/// Unknown ids are 404, and so are those of tasks that ended longer ago than they are kept.
#[utoipa::path(get, path = "/{task_id}/status", tag = "tasks", operation_id = "status",
    params(("task_id" = Id, Path, description = "Id of the task, from the answer that accepted it")),
    responses((status = 200, description = "The task", body = TaskView)))]
async fn show_internal(
    _: InternalCaller,
    State(api): State<Arc<Api>>,
    Segment(task_id): Segment<Id>,
) -> Result<axum::Json<TaskView>, Problem> {
    find(&api, task_id).await
}

/// What became of a task, for applications.
#[utoipa::path(get, path = "/{task_id}", tag = "tasks",
    params(("task_id" = Id, Path, description = "Id of the task, from the answer that accepted it")),
    responses((status = 200, description = "The task", body = TaskView)))]
async fn show(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(task_id): Segment<Id>,
) -> Result<axum::Json<TaskView>, Problem> {
    find(&api, task_id).await
}

async fn find(api: &Api, task_id: Id) -> Result<axum::Json<TaskView>, Problem> {
    let story = Story::read(api, task_id).await?.ok_or(Problem::NotFound)?;
    Ok(axum::Json(TaskView::of(story)))
}

/// The rows that a task's story is told from.
struct Story {
    task: Task,
    /// In the order in which the channels are tried; empty unless the task sends something.
    chain: Vec<Notification>,
    /// Oldest first.
    attempts: Vec<Attempt>,
}

impl Story {
    async fn read(api: &Api, task_id: Id) -> db::Result<Option<Self>> {
        let mut session = api.context.db.read().await?;
        let Some(task) = tasks::find(&mut session, task_id).await? else {
            return Ok(None);
        };
        let chain = notifications::chains(&mut session, &[task_id]).await?;
        let attempts = if chain.is_empty() { Vec::new() } else { attempts::of_task(&mut session, task_id).await? };
        Ok(Some(Self { task, chain, attempts }))
    }
}

/// A task in Celery's words, and its whole story.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Task)]
struct TaskView {
    /// Id of the task.
    task_id: Id,
    /// Where it stands, as Celery would say it.
    status: CeleryStatus,
    /// Whether it has ended.
    ready: bool,
    /// Whether it ended well.
    successful: bool,
    /// Whether it was given up.
    failed: bool,
    /// What came of it; only there when it ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    /// Why it did not end well; only there when it was given up or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What kind of work it is.
    #[schema(examples("send_notification"))]
    kind: String,
    /// Queue in which it waits or waited.
    #[schema(examples("notifications"))]
    queue: String,
    /// Where it stands, as the ledger says it.
    state: TaskState,
    /// How often a worker took it up.
    attempts: i32,
    /// When it was accepted.
    created_at: Timestamp,
    /// When a worker took it up last.
    started_at: Option<Timestamp>,
    /// When it ended.
    finished_at: Option<Timestamp>,
    /// When it goes on; only there while it waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run_at: Option<Timestamp>,
    /// What went wrong last, also when it will be made up for.
    last_error: Option<String>,
    /// Id that joins everything that one event caused.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Id>,
    /// The channel that delivered, or else the one that is being tried, or else the last that was; only there for messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<Channel>,
    /// The message on each channel, in the order in which they are tried; only there for messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<Vec<NotificationView>>,
}

/// A message on one channel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaskNotification)]
struct NotificationView {
    /// Id of the message.
    id: Id,
    /// Channel on which it goes.
    channel: Channel,
    /// Where it stands.
    status: Status,
    /// Its place in the order of the channels, from 0.
    fallback_order: i32,
    /// To whom, masked: a caller who may ask for a task need not learn where people are reached. A push has no address.
    #[schema(examples("c***@example.com"))]
    recipient: Option<String>,
    /// Name of the template whose words it has.
    template: String,
    /// Attempts that were made, the successful one included.
    attempts: usize,
    /// Failed attempts that count towards `max_attempts`.
    retry_count: i32,
    /// After so many failed attempts the next channel has its turn.
    max_attempts: i32,
    /// When it is tried again.
    next_retry_at: Option<Timestamp>,
    /// Why it failed, for programs.
    #[schema(examples("WHATSAPP_TIMEOUT"))]
    error_code: Option<String>,
    /// Why it failed, for people.
    error_reason: Option<String>,
    /// What the provider calls it.
    provider_message_id: Option<String>,
    /// When the provider took it.
    sent_at: Option<Timestamp>,
    /// When the provider said that it arrived.
    delivered_at: Option<Timestamp>,
    /// When the provider said that it was opened.
    read_at: Option<Timestamp>,
    /// The receipt without which the next channel is tried; absent when none is awaited any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    awaits: Option<AwaitsView>,
    /// All attempts, oldest first.
    attempts_log: Vec<AttemptView>,
}

/// A receipt that is waited for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaskAwaits)]
struct AwaitsView {
    /// `delivered` or `read`.
    receipt: AwaitedReceipt,
    /// Then the next channel is tried.
    until: Timestamp,
}

/// An attempt to hand a message to its provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaskAttempt)]
struct AttemptView {
    /// When it began.
    at: Timestamp,
    /// How long it took, in milliseconds.
    duration_ms: i32,
    /// How it ended.
    #[schema(examples("sent"))]
    outcome: String,
    /// Why it failed, for programs.
    error_code: Option<String>,
    /// Why it failed, for people.
    error_reason: Option<String>,
    /// What the provider answered: a status of HTTP or of SMTP.
    provider_status: Option<i32>,
}

impl TaskView {
    fn of(Story { mut task, chain, attempts }: Story) -> Self {
        for message in &chain {
            let without = |error: String| channels::without(message.channel, &message.recipient_address, &error);
            task.error = task.error.map(without);
        }
        let is_waiting = task.state == TaskState::Scheduled && awaits_receipt(&chain);
        let channel = channel_in_force(&chain);
        let views = chain.into_iter().map(|notification| NotificationView::of(notification, &attempts, is_waiting));
        let notifications = channel.map(|_| views.collect());
        let (result, error) = outcome(&task);
        Self {
            task_id: task.id,
            // Sent, and not yet known to have arrived: nothing is being retried.
            status: if is_waiting { CeleryStatus::Started } else { task.state.celery(task.attempt) },
            ready: task.state.is_final(),
            successful: task.state == TaskState::Success,
            failed: task.state == TaskState::Dead,
            result,
            error,
            kind: task.kind,
            queue: task.lane.split('.').next().unwrap_or_default().to_owned(),
            state: task.state,
            attempts: task.attempt,
            created_at: task.created_at,
            started_at: task.started_at,
            finished_at: task.finished_at,
            next_run_at: (task.state == TaskState::Scheduled).then_some(task.run_at),
            last_error: task.error,
            correlation_id: task.correlation_id,
            channel,
            notifications,
        }
    }
}

/// What Celery's clients read once a task is ready, and nothing before: its result or its error.
fn outcome(task: &Task) -> (Option<Value>, Option<String>) {
    match task.state {
        TaskState::Success => (Some(task.result.as_ref().map_or(Value::Null, |result| result.0.clone())), None),
        TaskState::Dead => (None, Some(task.error.clone().unwrap_or_else(|| "failed".to_owned()))),
        TaskState::Cancelled => (None, Some("cancelled".to_owned())),
        TaskState::Scheduled | TaskState::Queued | TaskState::Started => (None, None),
    }
}

impl NotificationView {
    fn of(notification: Notification, attempts: &[Attempt], is_waiting: bool) -> Self {
        let own = attempts.iter().filter(|attempt| attempt.notification_id == notification.id);
        let attempts_log: Vec<AttemptView> = own.map(|attempt| AttemptView::of(attempt, &notification)).collect();
        let awaits = notification.waits_for().filter(|_| is_waiting);
        let awaits = awaits.map(|Awaits { receipt, until }| AwaitsView { receipt, until });
        Self {
            id: notification.id,
            channel: notification.channel,
            status: notification.status,
            fallback_order: notification.fallback_order,
            recipient: masked(notification.channel, &notification.recipient_address),
            template: notification.template_name,
            attempts: attempts_log.len(),
            retry_count: notification.retry_count,
            max_attempts: notification.max_retries,
            next_retry_at: notification.next_retry_at,
            error_code: notification.error_code,
            error_reason: notification
                .error_reason
                .map(|reason| channels::without(notification.channel, &notification.recipient_address, &reason)),
            provider_message_id: notification.provider_message_id,
            sent_at: notification.sent_at,
            delivered_at: notification.delivered_at,
            read_at: notification.read_at,
            awaits,
            attempts_log,
        }
    }
}

impl AttemptView {
    fn of(attempt: &Attempt, notification: &Notification) -> Self {
        let masked = |reason: &String| channels::without(notification.channel, &notification.recipient_address, reason);
        Self {
            at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            outcome: attempt.outcome.to_string(),
            error_code: attempt.error_code.clone(),
            error_reason: attempt.error_reason.as_ref().map(masked),
            provider_status: attempt.provider_status,
        }
    }
}

fn channel_in_force(chain: &[Notification]) -> Option<Channel> {
    let sent = chain.iter().find(|notification| notification.status.is_sent());
    let tried = || chain.iter().find(|notification| notification.status == Status::Queued);
    let last = || chain.iter().rfind(|notification| notification.status != Status::Pending);
    sent.or_else(tried).or_else(last).or(chain.first()).map(|notification| notification.channel)
}

/// Whether the chain only waits for a receipt: something was sent, and no other message has its turn.
fn awaits_receipt(chain: &[Notification]) -> bool {
    chain.iter().any(|notification| notification.waits_for().is_some())
        && !chain.iter().any(|notification| notification.status == Status::Queued)
}

/// A push has no address of its own: it goes to all devices of the customer.
fn masked(channel: Channel, address: &str) -> Option<String> {
    match channel {
        Channel::Email => Some(mask_email(address)),
        Channel::Whatsapp => Some(mask_phone(address)),
        Channel::Push => None,
    }
}
