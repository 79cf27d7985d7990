//! The console, mounted: what it must know of a request that only the server can tell.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use recado_console::Visitor;
use tokio_util::sync::CancellationToken;

use crate::auth::openness;
use crate::client::{self, Client};
use crate::problem::Problem;
use crate::request_id;
use crate::state::Api;

/// The pages under `/admin`, and the way there from the address alone.
pub(crate) fn routes(api: &Arc<Api>, stop: CancellationToken) -> Router<Arc<Api>> {
    let forgetful = api.clone();
    let on_revoked = Box::new(move || forgetful.keys.forget());
    let pages = recado_console::router(api.notifications.clone(), on_revoked, stop);
    pages.layer(middleware::from_fn_with_state(api.clone(), introduce)).route("/", get(home))
}

/// A person who types the address is led to the pages; to a program there is nothing here.
async fn home(headers: HeaderMap) -> Response {
    let accepts = headers.get(ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") {
        Redirect::to("/admin/").into_response()
    } else {
        Problem::NotFound.into_response()
    }
}

async fn introduce(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let is_let_in = match openness::is_of_this_machine(&api, &parts).await {
        Ok(is_let_in) => is_let_in,
        Err(problem) => return problem.into_response(),
    };
    let proxies = &api.context.config.trusted_proxies;
    let peer = client::peer(&parts.extensions);
    let visitor = Visitor {
        address: Client::known(&parts.extensions),
        host: client::host(&parts).to_owned(),
        request_id: request_id::current().unwrap_or_default(),
        through_our_proxy: peer.is_some_and(|ip| proxies.iter().any(|network| network.contains(ip))),
        is_let_in,
    };
    parts.extensions.insert(visitor);
    next.run(Request::from_parts(parts, body)).await
}
