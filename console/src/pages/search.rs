//! One field for everything. One answer leads straight there.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use recado_kernel::users::Role;
use recado_systems::search::{self, Answer, Found, Kind, Sought};

use crate::Console;
use crate::auth::{Look, May};
use crate::failure::Failure;
use crate::lists::Query;
use crate::page::{Page, html};
use crate::urls::encoded;

/// What was found of one kind.
struct Group {
    kind: Kind,
    rows: Vec<(String, Found)>,
    is_more: bool,
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    page: Page,
    query: String,
    groups: Vec<Group>,
}

/// `/admin/search/?q=`. What was looked for stands in no log.
pub(crate) async fn find(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let query = Query::read(&may.visit.query).text("q").unwrap_or_default();
    let catalogue = console.catalogue().await?;
    let mut session = console.context.db.read().await?;
    // Addresses are masked for all, so that parts of them are for those who may look at them.
    let sought = Sought { text: &query, sees_addresses: may.visit.may(Role::Operator) };
    let Answer { found, more } = search::find(&mut session, &catalogue, sought).await?;
    drop(session);
    if let ([only], true) = (found.as_slice(), more.is_empty()) {
        return Ok(Redirect::to(&path_of(only)).into_response());
    }
    let mut groups: Vec<Group> = Vec::new();
    for one in found {
        let row = (path_of(&one), one);
        match groups.last_mut().filter(|group| group.kind == row.1.kind) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group { kind: row.1.kind, is_more: more.contains(&row.1.kind), rows: vec![row] }),
        }
    }
    html(&SearchPage { page: Page::new(&console, &may.visit, "", "search-title"), query, groups })
}

/// The page of what was found.
fn path_of(found: &Found) -> String {
    let room = match found.kind {
        Kind::Customer => "customers",
        Kind::Vehicle => "vehicles",
        Kind::Notification => "notifications",
        Kind::Event => "events",
        Kind::Task => "tasks",
        Kind::Operation => "bulk",
        Kind::Workshop => "workshops",
        Kind::Partner => "partners",
        Kind::Endpoint => "webhooks/endpoints",
        Kind::Delivery => "webhooks/deliveries",
        Kind::Request => "conversations/requests",
        Kind::Template => "templates",
    };
    format!("/admin/{room}/{}/", encoded(&found.key))
}
