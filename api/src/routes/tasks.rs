//! What became of a task: Celery's words for the clients of seed 002 (S002-62), and the whole story for everybody else.

use std::sync::Arc;

use axum::extract::State;
use recado_shared::addresses::{mask_email, mask_phone};
use recado_shared::channels::Channel;
use recado_shared::clock::Timestamp;
use recado_shared::db;
use recado_shared::ids::Id;
use recado_shared::notifications::{self, Attempt, Awaits, Notification, Status};
use recado_shared::orchestration::AwaitedReceipt;
use recado_shared::tasks::{self, State as TaskState, Task};
use serde::Serialize;
use serde_json::Value;

use crate::Api;
use crate::auth::{InternalCaller, May, Read};
use crate::path::Segment;
use crate::problem::Problem;

/// The status of a task, for services of the same house (S002-33, d20). Unknown and expired ids are 404.
pub(crate) async fn show_internal(
    _: InternalCaller,
    State(api): State<Arc<Api>>,
    Segment(task_id): Segment<Id>,
) -> Result<axum::Json<TaskView>, Problem> {
    find(&api, task_id).await
}

/// The same for applications.
pub(crate) async fn show(
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
        let attempts =
            if chain.is_empty() { Vec::new() } else { notifications::attempts(&mut session, task_id).await? };
        Ok(Some(Self { task, chain, attempts }))
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct TaskView {
    task_id: Id,
    status: &'static str,
    ready: bool,
    successful: bool,
    failed: bool,
    #[serde(flatten)]
    outcome: Outcome,
    kind: String,
    queue: String,
    state: TaskState,
    /// How often a worker took it up.
    attempts: i32,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run_at: Option<Timestamp>,
    /// Also of an attempt that will be made up for.
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Id>,
    #[serde(flatten)]
    delivery: Option<Delivery>,
}

/// What Celery's clients read once a task is ready; nothing before.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Success { result: Option<Value> },
    Failure { error: String },
    NotYet {},
}

#[derive(Debug, Serialize)]
struct Delivery {
    /// The channel that delivered, or else the one that is being tried, or else the last that was.
    channel: Channel,
    notifications: Vec<NotificationView>,
}

#[derive(Debug, Serialize)]
struct NotificationView {
    id: Id,
    channel: Channel,
    status: Status,
    fallback_order: i32,
    /// Masked: whoever may ask for a task need not learn where people are reached.
    recipient: Option<String>,
    template: String,
    /// Attempts that were made, the successful one included.
    attempts: usize,
    /// Failed attempts that count towards `max_attempts`.
    retry_count: i32,
    max_attempts: i32,
    next_retry_at: Option<Timestamp>,
    error_code: Option<String>,
    error_reason: Option<String>,
    provider_message_id: Option<String>,
    sent_at: Option<Timestamp>,
    /// When the provider said that it arrived.
    delivered_at: Option<Timestamp>,
    /// When the provider said that it was opened.
    read_at: Option<Timestamp>,
    /// The receipt without which the next channel is tried; absent when none is awaited any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    awaits: Option<AwaitsView>,
    attempts_log: Vec<AttemptView>,
}

#[derive(Debug, Serialize)]
struct AwaitsView {
    /// `delivered` or `read`.
    receipt: AwaitedReceipt,
    /// Then the next channel is tried.
    until: Timestamp,
}

#[derive(Debug, Serialize)]
struct AttemptView {
    at: Timestamp,
    duration_ms: i32,
    outcome: String,
    error_code: Option<String>,
    error_reason: Option<String>,
    provider_status: Option<i32>,
}

impl TaskView {
    fn of(Story { task, chain, attempts }: Story) -> Self {
        let is_waiting = task.state == TaskState::Scheduled && awaits_receipt(&chain);
        let delivery = channel_in_force(&chain).map(|channel| Delivery {
            channel,
            notifications: chain
                .into_iter()
                .map(|notification| NotificationView::of(notification, &attempts, is_waiting))
                .collect(),
        });
        Self {
            task_id: task.id,
            // Sent, and not yet known to have arrived: nothing is being retried.
            status: if is_waiting { "STARTED" } else { task.state.celery(task.attempt) },
            ready: task.state.is_final(),
            successful: task.state == TaskState::Success,
            failed: task.state == TaskState::Dead,
            outcome: Outcome::of(&task),
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
            delivery,
        }
    }
}

impl Outcome {
    fn of(task: &Task) -> Self {
        match task.state {
            TaskState::Success => Self::Success { result: task.result.as_ref().map(|result| result.0.clone()) },
            TaskState::Dead => Self::Failure { error: task.error.clone().unwrap_or_else(|| "failed".to_owned()) },
            TaskState::Cancelled => Self::Failure { error: "cancelled".to_owned() },
            TaskState::Scheduled | TaskState::Queued | TaskState::Started => Self::NotYet {},
        }
    }
}

impl NotificationView {
    fn of(notification: Notification, attempts: &[Attempt], is_waiting: bool) -> Self {
        let own = attempts.iter().filter(|attempt| attempt.notification_id == notification.id);
        let attempts_log: Vec<AttemptView> = own.map(AttemptView::of).collect();
        let awaits = notification.awaits().filter(|_| is_waiting);
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
            error_reason: notification.error_reason,
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
    fn of(attempt: &Attempt) -> Self {
        Self {
            at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            outcome: attempt.outcome.clone(),
            error_code: attempt.error_code.clone(),
            error_reason: attempt.error_reason.clone(),
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
    chain.iter().any(|notification| notification.awaits().is_some())
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
