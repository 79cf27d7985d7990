//! One field for everything that has an id. One answer leads straight there.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use recado_kernel::ids::Id;
use recado_queue::{bulk, tasks};

use crate::Console;
use crate::auth::{Look, May};
use crate::failure::Failure;
use crate::lists::Asked;
use crate::page::{Page, html};

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    page: Page,
    query: String,
}

/// `/admin/search/?q=`. What was looked for stands in no log.
pub(crate) async fn find(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let query = Asked::read(&may.visit.query).text("q").unwrap_or_default();
    if let Ok(id) = query.parse::<Id>() {
        let mut session = console.context.db.read().await?;
        if tasks::find(&mut session, id).await?.is_some() {
            return Ok(Redirect::to(&format!("/admin/tasks/{id}/")).into_response());
        }
        if bulk::find(&mut session, id).await?.is_some() {
            return Ok(Redirect::to(&format!("/admin/bulk/{id}/")).into_response());
        }
    }
    html(&SearchPage { page: Page::new(&console, &may.visit, "", "search-title"), query })
}
