//! The document of the API (S002-34).

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::openapi::Document;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show))
}

/// This document.
///
/// It changes with the version of the program only: ask again with `If-None-Match`.
#[utoipa::path(get, path = "/", tag = "schema",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of the copy that you have")),
    responses(
        (status = 200, description = "OpenAPI 3.1", body = Value,
            headers(("ETag" = String, description = "Names this edition of the document"))),
        (status = 304, description = "Your copy is up to date"),
    ))]
async fn show(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let Document { text, etag } = &*api.document;
    // Ask each time, so that a new version is seen at once.
    let freshness = [(ETAG, etag.as_str()), (CACHE_CONTROL, "no-cache")];
    let known = headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)) {
        return (StatusCode::NOT_MODIFIED, freshness).into_response();
    }
    ([(CONTENT_TYPE, "application/json")], freshness, text.clone()).into_response()
}
