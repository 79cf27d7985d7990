//! What is known of every request: its id, one line in the log, and its place in the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use recado_kernel::ids::Id;
use tracing::Instrument;

use crate::envelope::Envelope;
use crate::request_id::{self, REQUEST_ID};
use crate::state::Api;

/// Gives the request an id, and tells of it when it is answered. The id is in every answer, errors included.
pub(crate) async fn observe(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let id = request_id::sane_id(request.headers()).unwrap_or_else(|| {
        let id = Id::new(api.context.clock.now()).to_string();
        HeaderValue::try_from(id).expect("a UUID is visible ASCII")
    });
    // The template and not the path: what stands in a path may be somebody's identifier.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let method = method_name(request.method());
    let span = tracing::info_span!("request", request.id = id.to_str().unwrap_or_default());

    let envelope = Envelope::of(request.uri().path());

    let started = Instant::now();
    let serving = envelope.scope(next.run(request));
    let mut response = request_id::scope(id.clone(), serving).instrument(span.clone()).await;
    let status = response.status();
    span.in_scope(|| log(method, route, status, started.elapsed()));
    count(method, route, status, started.elapsed());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Methods by their names; whatever a caller invents is one word, so that it cannot fill our memory with metrics.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Probes come every few seconds; they are only worth a line when they fail.
fn log(method: &str, route: &str, status: StatusCode, took: Duration) {
    let (status, duration_ms) = (status.as_u16(), took.as_micros() as f64 / 1000.0);
    let is_probe = route.starts_with("/health") || route.starts_with("/api/v1/health") || route == "/metrics";
    if status >= 500 {
        tracing::error!(method, route, status, duration_ms, "{method} {route} was answered with {status}");
    } else if is_probe {
        tracing::debug!(method, route, status, duration_ms, "{method} {route} was answered with {status}");
    } else {
        tracing::info!(method, route, status, duration_ms, "{method} {route} was answered with {status}");
    }
}

fn count(method: &'static str, route: &str, status: StatusCode, took: Duration) {
    let route = route.to_owned();
    let labels = [("method", method.to_owned()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!("recado_http_requests_total", &labels).increment(1);
    metrics::histogram!("recado_http_request_duration_seconds", &labels[..2]).record(took.as_secs_f64());
}
