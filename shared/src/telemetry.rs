//! What the program tells of itself: logs on standard error, metrics for Prometheus.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts logging. `json` for machines, else for people; `RUST_LOG` chooses what. Later calls change nothing.
pub fn start_logging(json: bool, default_filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = if json { logs.json().flatten_event(true).try_init() } else { logs.with_target(false).try_init() };
}

/// Starts counting. Later calls change nothing.
pub fn start_metrics() {
    METRICS.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Another recorder can only be one that a test installed.
        let _ = metrics::set_global_recorder(recorder);
        handle
    });
}

/// The metrics in Prometheus' text format; empty before [`start_metrics`].
pub fn metrics() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}
