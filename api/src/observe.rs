//! What is known of every request: its id, one line in the log, and its place in the metrics.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use tracing::Instrument;

use crate::client::Client;
use crate::envelope::Envelope;
use crate::request_id::{self, REQUEST_ID};

/// Gives the request an id, and tells of it when it is answered. The id is in every answer, errors included.
///
/// Answers are for their caller alone unless a route says otherwise: most hold data of people, some a key.
pub(crate) async fn observe<F: Future<Output = Response>>(
    context: &Context,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let id = request_id::sane_id(request.headers()).unwrap_or_else(|| {
        let id = Id::new(context.clock.now()).to_string();
        HeaderValue::try_from(id).expect("a UUID is visible ASCII")
    });
    // The template and not the path: what stands in a path may be somebody's identifier.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let method = method_name(request.method());
    let span = tracing::info_span!("request", request.id = id.to_str().unwrap_or_default());

    let envelope = Envelope::of(request.uri().path());
    let client = Client::of(request.extensions(), request.headers(), &context.config.trusted_proxies);
    request.extensions_mut().insert(client);

    let started = Instant::now();
    let serving = KEY.scope(RefCell::default(), async {
        let response = envelope.scope(next(request)).await;
        (response, KEY.with(RefCell::take))
    });
    let (mut response, key) = request_id::scope(id.clone(), serving).instrument(span.clone()).await;
    let status = response.status();
    span.in_scope(|| log(method, route, status, started.elapsed(), client, &key));
    count(method, route, status, started.elapsed());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

tokio::task_local! {
    /// By which key the request that this task serves is made.
    static KEY: RefCell<String>;
}

/// Notes by which key the request is made, for its line in the log: what a person recognises it by, never the key.
pub(crate) fn acts(label: &str) {
    // Outside of `observe`, in tests, there is no line.
    let _ = KEY.try_with(|key| label.clone_into(&mut key.borrow_mut()));
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
fn log(method: &str, route: &str, status: StatusCode, took: Duration, client: Client, key: &str) {
    let (status, duration_ms) = (status.as_u16(), took.as_micros() as f64 / 1000.0);
    let from = client.0.map(tracing::field::display);
    let is_probe = route.starts_with("/health") || route.starts_with("/api/v1/health") || route == "/metrics";
    if status >= 500 {
        tracing::error!(method, route, status, duration_ms, from, key, "{method} {route} was answered with {status}");
    } else if is_probe {
        tracing::debug!(method, route, status, duration_ms, from, key, "{method} {route} was answered with {status}");
    } else {
        tracing::info!(method, route, status, duration_ms, from, key, "{method} {route} was answered with {status}");
    }
}

fn count(method: &'static str, route: &str, status: StatusCode, took: Duration) {
    let route = route.to_owned();
    let labels = [("method", method.to_owned()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!("recado_http_requests_total", &labels).increment(1);
    metrics::histogram!("recado_http_request_duration_seconds", &labels[..2]).record(took.as_secs_f64());
}
