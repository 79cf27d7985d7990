//! The stream of a page: what it watches, as it changes.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::Console;
use crate::auth::{Look, May};
use crate::lists::Query;
use crate::page::Page;
use crate::pages::TOPICS;

/// `/admin/live?topics=…&topics=…`
pub(crate) async fn stream(may: May<Look>, State(console): State<Arc<Console>>) -> Response {
    let wanted = Query::read(&may.visit.query).all("topics");
    let page = Page::new(&console, &may.visit, "", "tasks-title");
    console.live.stream(TOPICS, wanted, page)
}
