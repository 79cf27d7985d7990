//! What Prometheus scrapes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics::SharedString;
use recado_kernel::clock::Timestamp;
use recado_kernel::telemetry;
use recado_queue::lanes::Lane;
use recado_queue::tasks::{Count, State as TaskState};
use recado_webhooks::endpoints::{Circuit, Status};
use recado_webhooks::labels;

use crate::routing::routes;
use crate::state::{Api, Routes};

/// The states that are counted at each scrape: bounded by what is waiting, running or dead. What was finished is counted
/// by the workers when it happens.
const COUNTED: [TaskState; 4] = [TaskState::Scheduled, TaskState::Queued, TaskState::Started, TaskState::Dead];

/// `/metrics`
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(render))
}

/// Everything that was counted in this process, and the ledger and the queue as they were a few seconds ago at most. More than
/// 100,000 tasks of a lane and state are counted as 100,000.
///
/// What cannot be asked is left as it was last seen: a scrape is most wanted when something is down.
#[utoipa::path(get, path = "/", tag = "health", operation_id = "metrics",
    responses((status = 200, description = "Prometheus' text format, version 0.0.4", body = String,
        content_type = "text/plain")))]
async fn render(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let figures = api.checks.figures().await;
    if let Some(counts) = &figures.tasks {
        gauge_tasks(&api, counts);
    }
    if let Some(depths) = &figures.depths {
        gauge_depths(depths);
    }
    if let Some(circuits) = &figures.circuits {
        gauge_circuits(circuits, api.context.clock.now());
    }
    if let Some(is_connected) = api.checks.whatsapp().await {
        metrics::gauge!("recado_whatsapp_session_connected").set(f64::from(u8::from(is_connected)));
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics())
}

fn gauge_tasks(api: &Api, counts: &[Count]) {
    for gauge in task_gauges(&api.context.systems.lanes(), counts, api.context.clock.now()) {
        let labels = [("queue", gauge.lane.queue()), ("lane", gauge.lane.as_str())];
        let of_state = [labels[0], labels[1], ("state", gauge.state.as_str())];
        metrics::gauge!("recado_tasks", &of_state).set(gauge.count as f64);
        if gauge.state == TaskState::Queued {
            metrics::gauge!("recado_oldest_task_seconds", &labels).set(gauge.oldest_seconds);
        }
    }
}

fn gauge_depths(depths: &[(Lane, u64)]) {
    for (lane, depth) in depths {
        let labels = [("queue", lane.queue()), ("lane", lane.as_str())];
        metrics::gauge!("recado_queue_depth", &labels).set(*depth as f64);
    }
}

/// 1 for the state in which each endpoint is, and 0 for the others.
fn gauge_circuits(circuits: &[Circuit], now: Timestamp) {
    for circuit in circuits {
        let state = circuit_state(circuit, now);
        for one in CIRCUIT_STATES {
            let system = ("system", SharedString::from(circuit.system.clone()));
            let endpoint = ("endpoint", SharedString::from(labels::of(circuit.id, &circuit.name)));
            let gauge = metrics::gauge!("recado_webhook_endpoint_state", &[system, endpoint, ("state", one.into())]);
            gauge.set(f64::from(u8::from(one == state)));
        }
    }
}

/// What an endpoint can be.
const CIRCUIT_STATES: [&str; 4] = ["active", "open", "paused", "disabled"];

fn circuit_state(circuit: &Circuit, now: Timestamp) -> &'static str {
    match circuit.status {
        Status::Active if circuit.open_until.is_some_and(|until| now < until) => "open",
        other => other.as_str(),
    }
}

#[derive(Debug, PartialEq)]
struct TaskGauge {
    lane: Lane,
    state: TaskState,
    count: i64,
    /// How long the oldest has been due.
    oldest_seconds: f64,
}

/// One gauge for every lane and state, also where there is nothing: a gauge that is not set again would keep its last value.
fn task_gauges(lanes: &[Lane], counts: &[Count], now: Timestamp) -> Vec<TaskGauge> {
    let found: HashMap<(&str, &str), &Count> =
        counts.iter().map(|count| ((count.lane.as_str(), count.state.as_str()), count)).collect();
    let gauge = |lane: Lane, state: TaskState| {
        let count = found.get(&(lane.as_str(), state.as_str()));
        let oldest = count.and_then(|count| count.oldest);
        TaskGauge {
            lane,
            state,
            count: count.map_or(0, |count| count.count),
            oldest_seconds: oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()),
        }
    };
    lanes.iter().flat_map(|lane| COUNTED.map(|state| gauge(*lane, state))).collect()
}

#[cfg(test)]
mod tests {
    use recado_queue::lanes::{MAINTENANCE, SYNC};

    use super::*;

    #[test]
    fn what_is_empty_is_zero_and_what_waits_has_an_age() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let counts = [Count { lane: "sync".into(), state: TaskState::Queued, count: 3, oldest: Some(at(40)) }];
        let gauges = task_gauges(&[SYNC, MAINTENANCE], &counts, at(100));
        assert_eq!(gauges.len(), 2 * COUNTED.len());
        let waiting: Vec<&TaskGauge> = gauges.iter().filter(|gauge| gauge.count > 0).collect();
        let expected = TaskGauge { lane: SYNC, state: TaskState::Queued, count: 3, oldest_seconds: 60.0 };
        assert_eq!(waiting, [&expected]);
    }
}
