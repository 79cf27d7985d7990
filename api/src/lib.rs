//! The HTTP API of Recado.
//!
//! All URLs stand on one page, `routes/mod.rs`. A handler's signature says what it needs: who may call is an extractor
//! (`May<Dispatch>`), and so is a body that was read and checked (`Json<Event>`). Whatever goes wrong is a `Problem`, and
//! its answer is chosen in one exhaustive match.

pub mod cli;

mod auth;
mod bodies;
mod checks;
mod client;
mod connections;
mod console;
mod cors;
mod envelope;
mod extract;
mod framing;
mod hosts;
mod observe;
mod openapi;
mod problem;
mod request_id;
#[expect(unused_qualifications, reason = "utoipa's macros write whole paths")]
mod routes;
mod routing;
mod sampled;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod unreadable;
mod wire;

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use recado_conversations::bridge::Bridge;
use recado_conversations::incoming::Incoming;
use recado_conversations::refresh::Refresh;
use recado_conversations::sync;
use recado_kernel::errors::explain;
use recado_notifications::dispatch::Intake;
use recado_notifications::system::Notifications;
use recado_partners::rejected::Rejections;
use recado_queue::context::Context;
use recado_queue::enqueue::Enqueue;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Layer;
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};

use crate::auth::guessing::Guesses;
use crate::auth::keys::KeyRing;
use crate::auth::rate_limit::{self, Limits};
use crate::bodies::Memory;
use crate::checks::Checks;
use crate::connections::Connections;
use crate::openapi::Document;
use crate::problem::Problem;
use crate::sampled::Sampled;
use crate::state::Api;

/// How long a request may take. Longer than its parts have together, so that a work is over before its caller is told that
/// it took too long: 20 s for the body, 10 s for a connection, 15 s for a transaction, 12 s for its commit.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is noted that the webhooks of WhatsApp are taken.
const ATTEND_EVERY: Duration = Duration::from_secs(30);

/// How long a stopping server lets its requests finish.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole API as a service: cheap to clone, and the same for tests and for [`serve`].
///
/// The layer lies around the router and not inside, because a router chooses the route before its layers run. Every URL is
/// understood with and without a slash at its end, without a redirect (d24).
pub type App = NormalizePath<Router>;

/// Builds the API. It must be called inside a Tokio runtime, because the group commit runs as a task there.
pub fn router(context: Context) -> App {
    router_until(context, CancellationToken::new())
}

/// [`router`], whose endless answers end when `stop` does.
fn router_until(context: Context, stop: CancellationToken) -> App {
    let (routes, document) = routes::all();
    let notifications = Notifications::new(context.clone());
    let api = Arc::new(Api {
        intake: Intake::open(notifications.clone()),
        notifications,
        whatsapp: Refresh::new(context.clone(), bridge(&context)),
        incoming: Incoming::open(context.clone()),
        enqueue: Enqueue::open(context.clone()),
        keys: KeyRing::new(context.clone()),
        limits: Limits::new(context.config.api_rate_limit_per_minute, &context.clock),
        guesses: Guesses::new(&context.clock),
        rejections: Rejections::default(),
        checks: Checks::new(context.clone()),
        bodies: Memory::new(context.config.api_body_memory),
        today: Sampled::when_costly(&context.clock),
        document: LazyLock::new(Box::new(move || Document::of(&document))),
        context,
    });
    let router = routes
        .merge(console::routes(&api, stop))
        .layer(middleware::from_fn_with_state(api.clone(), pass))
        .with_state(api);
    NormalizePathLayer::trim_trailing_slash().layer(router)
}

/// One that cannot be set up is as if it were away: lists are stale, and the log says why.
fn bridge(context: &Context) -> Option<Bridge> {
    Bridge::new(&context.config).unwrap_or_else(|error| {
        let error = explain(&error);
        tracing::error!(error, "the WhatsApp bridge cannot be used: {error}");
        None
    })
}

/// Serves the API on every listener until `stop`; then accepts nothing more and finishes what runs, for at most 10 s.
///
/// # Errors
///
/// When a server panics, which is a bug of ours. A listener that fails is tried again.
pub async fn serve(context: Context, listeners: Vec<TcpListener>, stop: CancellationToken) -> io::Result<()> {
    let (setting, proxies) = (context.config.api_max_connections, context.config.trusted_proxies.clone());
    let connections = Arc::new(Connections::new(connections::Limits::new(setting, proxies)));
    let app = router_until(context.clone(), stop.clone());
    if context.config.conversations.bridge.is_some() {
        tokio::spawn(attend(context, stop.clone()));
    }
    let mut servers = JoinSet::new();
    for listener in listeners {
        servers.spawn(server::serve(listener, app.clone(), connections.clone(), stop.clone()));
    }
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    let all_ended = async {
        while let Some(ended) = servers.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    };
    tokio::select! {
        result = all_ended => result,
        () = too_late => {
            tracing::warn!("requests were still running {} s after the stop; they are cut off", DRAIN_TIMEOUT.as_secs());
            Ok(())
        }
    }
}

/// Says that this process takes the webhooks of WhatsApp. After a time in which none did, what was said meanwhile is fetched.
async fn attend(context: Context, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(ATTEND_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = sync::attend(&context).await {
            let error = explain(&error);
            tracing::debug!(error, "that webhooks of WhatsApp are taken could not be noted: {error}");
        }
    }
}

/// What every request passes, from the outside in. It is one layer, for each would be a box and a clone around every route, and for
/// every request.
async fn pass(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    // In boxes, because an async function holds what it is given twice, and each step the next.
    let route = |request| within_time(Box::pin(next.run(request)));
    let check = |request| rate_limit::tell(Box::pin(hosts::check(&api, request, route)));
    let allow = |request| cors::allow(&api.context.config, request, |request| Box::pin(unbroken(check(request))));
    let lend = |request| Box::pin(bodies::lend(&api.bodies, request, allow));
    observe::observe(&api.context, request, lend).await
}

async fn within_time(serving: impl Future<Output = Response>) -> Response {
    tokio::time::timeout(REQUEST_TIMEOUT, serving).await.unwrap_or_else(|_| Problem::TimedOut.into_response())
}

/// A panic is a bug of ours; it costs one answer and not the process.
async fn unbroken(serving: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(serving).catch_unwind().await.unwrap_or_else(|panic| answer_panic(&*panic))
}

fn answer_panic(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    tracing::error!("a request handler panicked: {}", text.unwrap_or("without a text"));
    Problem::Panicked.into_response()
}
