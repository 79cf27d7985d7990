//! Views: a list with its filters, by a name that a person gave it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::ids::Id;
use recado_kernel::saved_views::{self, View};

use crate::Console;
use crate::auth::{May, Own};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::{CURSOR, Query};
use crate::notice::{Notice, is_local, then};
use crate::page::{Page, html};
use crate::path::Path;

/// The longest name, in characters.
const LONGEST_NAME: usize = 60;

/// The longest filter, in bytes.
const LONGEST_QUERY: usize = 2_000;

#[derive(Template)]
#[template(path = "views/of_page.html")]
struct ViewsPart {
    page: Page,
    /// The list, and its filters as they are now.
    path: String,
    query: String,
    views: Vec<View>,
}

/// The views of one list, with a form to keep what is shown. It comes after the list, which does not wait for it.
pub(crate) async fn of_page(may: May<Own>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let user = may.visit.user.as_ref().ok_or(Failure::NotFound)?;
    let asked = Query::read(&may.visit.query);
    let path = asked.text("of").filter(|path| is_local(path)).ok_or(Failure::NotFound)?;
    let query = asked.with(&["of", CURSOR[0], CURSOR[1]], &[]);
    let views = saved_views::of_page(&mut console.context.db.read().await?, user.id, &path).await?;
    html(&ViewsPart { page: Page::new(&console, &may.visit, "", "views"), path, query, views })
}

/// Keeps a list under a name.
pub(crate) async fn save(may: May<Own>, State(console): State<Arc<Console>>, form: Form) -> Result<Response, Failure> {
    let user = may.visit.user.as_ref().ok_or(Failure::NotFound)?;
    let (name, path, query) = (form.text("name"), form.text("path"), form.text("query"));
    let is_good = (1..=LONGEST_NAME).contains(&name.chars().count()) && query.len() <= LONGEST_QUERY;
    let there = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
    if !is_local(&there) || path.contains('?') {
        return Err(Failure::Malformed);
    }
    let mut is_kept = false;
    if is_good {
        let mut session = console.context.db.begin().await?;
        is_kept = saved_views::save(&mut session, user.id, &name, &path, &query, may.visit.now).await?;
        session.commit().await?;
    }
    Ok(then(&there, &if is_kept { Notice::new("view-kept", 1) } else { Notice::new("view-refused", 0) }))
}

/// Forgets a view; its undo keeps it again.
pub(crate) async fn delete(
    may: May<Own>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let user = may.visit.user.as_ref().ok_or(Failure::NotFound)?;
    let mut session = console.context.db.begin().await?;
    let deleted = saved_views::delete(&mut session, user.id, id).await?;
    session.commit().await?;
    let View { name, path, query, .. } = deleted.ok_or(Failure::NotFound)?;
    let form = Form::of([("name", name), ("path", path), ("query", query)]);
    Ok(then("/admin/me/", &form.undo(Notice::new("view-deleted", 1), "/admin/views/")))
}
