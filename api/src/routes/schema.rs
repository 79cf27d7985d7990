//! The document of the API (S002-34).

use std::sync::Arc;

use axum::extract::State;
use serde_json::Value;
use utoipa_axum::routes;

use super::Routes;
use crate::{Api, openapi};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show))
}

/// This document.
#[utoipa::path(get, path = "/", tag = "schema", responses((status = 200, description = "OpenAPI 3.1", body = Value)))]
async fn show(State(api): State<Arc<Api>>) -> axum::Json<Value> {
    axum::Json(openapi::complete(&api.document))
}
