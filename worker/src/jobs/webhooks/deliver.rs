//! Delivers a webhook: one attempt, and the decision what follows.
//!
//! ```text
//! load ─► may it go now? (disabled, paused, circuit open, no room) ─► attempt ─► retry::after_attempt ─► effects
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::SharedString;
use rand::Rng;
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::group_commit::Group;
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::samples::Attempted;
use recado_queue::tasks::Claimed;
use recado_webhooks::deliveries::attempts::Attempt;
use recado_webhooks::deliveries::{self, Change, Delivery, Status};
use recado_webhooks::endpoints::{self, AttemptOutcome, Endpoint};
use recado_webhooks::jobs::{DeliverWebhook, LANE};
use recado_webhooks::labels;
use recado_webhooks::retry::{Next, Reception, after_attempt};
use serde_json::json;

use super::Sender;
use super::attempt::{self, Tried};
use super::callers::Callers;
use super::effects::{Sent, WebhookRows};
use super::gate::Entered;
use super::target::Target;
use crate::registry::{Effects, JobError, Outcome};

/// Loads deliveries with their endpoints; claims that run at the same time share the statements.
pub(super) type Loaded = Group<Id, Result<Option<(Delivery, Arc<Target>)>, Arc<db::Error>>>;

/// The most deliveries that share the statements.
const LARGEST_BATCH: usize = 500;

/// A paused endpoint is looked at again after this long. Resuming it wakes its deliveries at once, but for one that was just about to
/// begin its wait.
const PAUSED_WAIT: Duration = Duration::from_secs(15 * 60);

pub(super) fn load_together(context: Context, callers: Callers) -> Loaded {
    let callers = Arc::new(callers);
    Group::spawn(LARGEST_BATCH, move |ids: Arc<Vec<Id>>| {
        let (context, callers) = (context.clone(), callers.clone());
        async move {
            match load(&context, &callers, &ids).await {
                Ok(mut found) => ids.iter().map(|id| Ok(found.remove(id))).collect(),
                Err(error) => {
                    let error = Arc::new(error);
                    ids.iter().map(|_| Err(error.clone())).collect()
                }
            }
        }
    })
}

async fn load(context: &Context, callers: &Callers, ids: &[Id]) -> db::Result<HashMap<Id, (Delivery, Arc<Target>)>> {
    let mut session = context.db.read().await?;
    let deliveries = deliveries::all(&mut session, ids).await?;
    let mut needed: Vec<Id> = deliveries.iter().map(|delivery| delivery.endpoint_id).collect();
    needed.sort_unstable();
    needed.dedup();
    let endpoints = endpoints::all(&mut session, &needed).await?;
    let (key, now) = (context.config.secret_key.as_ref(), context.clock.now());
    let target = |endpoint: Endpoint| (endpoint.id, Arc::new(Target::new(endpoint, callers, key, now)));
    let targets: HashMap<Id, Arc<Target>> = endpoints.into_iter().map(target).collect();
    let pairs = deliveries.into_iter().filter_map(|delivery| {
        let target = targets.get(&delivery.endpoint_id)?.clone();
        Some((delivery.id, (delivery, target)))
    });
    Ok(pairs.collect())
}

pub(super) async fn deliver(sender: Arc<Sender>, task: Arc<Claimed>, _: DeliverWebhook) -> Result<Effects, JobError> {
    let Some((delivery, target)) = sender.loaded.call(task.id).await?? else {
        return Err(JobError::fail("its delivery or its endpoint no longer exists"));
    };
    if delivery.status != Status::Pending {
        return Ok(Outcome::Done(json!({ "status": delivery.status })).into());
    }
    let (now, endpoint) = (sender.context.clock.now(), &target.endpoint);
    let entered = match may_go(&sender, &delivery, endpoint, now).await {
        Ok(entered) => entered,
        Err(Wait { until, because }) => return Ok(later(&delivery, until, because).into()),
    };
    if endpoint.status == endpoints::Status::Disabled {
        return Ok(stopped(&delivery, now).into());
    }
    let tried = attempt::make(&delivery, &target, now).await;
    drop(entered);
    Ok(follow(&sender, &delivery, endpoint, tried).into())
}

/// It does not go yet.
struct Wait {
    until: Timestamp,
    because: &'static str,
}

/// A test goes out at once: a person waits for its answer.
async fn may_go(
    sender: &Sender,
    delivery: &Delivery,
    endpoint: &Endpoint,
    now: Timestamp,
) -> Result<Option<Entered>, Wait> {
    if delivery.is_test || endpoint.status == endpoints::Status::Disabled {
        return Ok(None);
    }
    if endpoint.status == endpoints::Status::Paused {
        return Err(Wait { until: now + PAUSED_WAIT, because: "the endpoint is paused" });
    }
    if let Some(until) = endpoint.health.open_until.filter(|until| now < *until) {
        return Err(Wait { until, because: "the endpoint failed too often; the circuit is open" });
    }
    let wait = |wait: Duration| {
        // Spread, so that those that wait do not come back together.
        let until = now + wait.mul_f64(rand::rng().random_range(1.0..2.0));
        Wait { until, because: "the endpoint has enough requests under way" }
    };
    sender.gates.enter(endpoint, now).await.map(Some).map_err(wait)
}

fn later(delivery: &Delivery, until: Timestamp, because: &str) -> Sent {
    Effects {
        outcome: Outcome::Later { at: until, lane: LANE, because: Some(because.to_owned()) },
        rows: WebhookRows {
            change: Change { next_attempt_at: Some(until), ..unchanged(delivery) },
            attempt: None,
            attempt_outcome: None,
        },
    }
}

fn stopped(delivery: &Delivery, now: Timestamp) -> Sent {
    let reason = "its endpoint is disabled";
    let change = Change {
        status: Status::Cancelled,
        reason: Some(reason.to_owned()),
        next_attempt_at: None,
        finished_at: Some(now),
        ..unchanged(delivery)
    };
    let outcome = Outcome::Done(json!({ "status": Status::Cancelled, "reason": reason }));
    Effects { outcome, rows: WebhookRows { change, attempt: None, attempt_outcome: None } }
}

fn unchanged(delivery: &Delivery) -> Change {
    Change {
        id: delivery.id,
        status: delivery.status,
        reason: delivery.reason.clone(),
        attempts: delivery.attempts,
        last_status_code: delivery.last_status_code,
        next_attempt_at: delivery.next_attempt_at,
        finished_at: delivery.finished_at,
    }
}

/// Turns the decision into what is written.
fn follow(sender: &Sender, delivery: &Delivery, endpoint: &Endpoint, tried: Tried) -> Sent {
    let Tried { reception, attempt } = tried;
    let ended = sender.context.clock.now();
    let schedule = schedule(sender, delivery, endpoint);
    let number = attempt.number.unsigned_abs();
    let next = after_attempt(&reception, number, &schedule, rand::rng().random_range(-1.0..1.0));
    let reason = reception.reason();
    let (status, at) = match next {
        Next::Delivered => (Status::Delivered, None),
        // The wait counts from the end of the attempt.
        Next::RetryIn(wait) => (Status::Pending, Some(ended + wait)),
        Next::Gone | Next::GiveUp => (Status::Failed, None),
    };
    let outcome = match at {
        Some(at) => Outcome::Later { at, lane: LANE, because: reason.clone() },
        None if status == Status::Delivered => {
            Outcome::Done(json!({ "status": status, "status_code": attempt.status_code }))
        }
        None => Outcome::Failed(reason.clone().unwrap_or_default()),
    };
    let how = match status {
        Status::Delivered => Attempted::Sent,
        Status::Pending => Attempted::Deferred,
        Status::Failed | Status::Cancelled | Status::Skipped => Attempted::Failed,
    };
    // Not by endpoint: partners may be many, and each has its own list of deliveries.
    let took = Duration::from_millis(attempt.duration_ms.unsigned_abs().into());
    sender.context.samples.attempted(LANE, "", how, took);
    let change = Change {
        id: delivery.id,
        status,
        reason,
        attempts: attempt.number,
        last_status_code: attempt.status_code,
        next_attempt_at: at,
        finished_at: at.is_none().then_some(ended),
    };
    let attempt_outcome = AttemptOutcome {
        endpoint_id: endpoint.id,
        succeeded: status == Status::Delivered,
        gone: matches!(next, Next::Gone),
        at: ended,
    };
    count(endpoint, &next, &reception, &attempt);
    Effects { outcome, rows: WebhookRows { change, attempt: Some(attempt), attempt_outcome: Some(attempt_outcome) } }
}

/// Names of endpoints are few, and neither URLs nor secrets are among the labels.
fn count(endpoint: &Endpoint, next: &Next, reception: &Reception, attempt: &Attempt) {
    let system = ("system", SharedString::from(endpoint.system.clone()));
    let name = ("endpoint", SharedString::from(labels::of(endpoint.id, &endpoint.name)));
    let outcome = match reception {
        reception if reception.is_success() => "delivered",
        reception if reception.is_gone() => "gone",
        Reception::Answered { .. } => "refused",
        Reception::Silent(_) => "no_answer",
        Reception::Impossible(_) => "not_called",
    };
    let of_outcome = [system.clone(), name.clone(), ("outcome", outcome.into())];
    metrics::counter!("recado_webhook_attempts_total", &of_outcome).increment(1);
    let seconds = f64::from(attempt.duration_ms) / 1_000.0;
    metrics::histogram!("recado_webhook_attempt_seconds", &[system.clone(), name.clone()]).record(seconds);
    let ended = match next {
        Next::RetryIn(_) => return,
        Next::Delivered => "delivered",
        Next::Gone | Next::GiveUp => "failed",
    };
    metrics::counter!("recado_webhook_deliveries_total", &[system, name, ("outcome", ended.into())]).increment(1);
}

fn schedule(sender: &Sender, delivery: &Delivery, endpoint: &Endpoint) -> Vec<Duration> {
    match &endpoint.retry_schedule {
        _ if !delivery.retries => Vec::new(),
        Some(own) => own.iter().map(|seconds| Duration::try_from_secs_f64(*seconds).unwrap_or_default()).collect(),
        None => sender.context.config.webhook_retry_schedule.clone(),
    }
}
