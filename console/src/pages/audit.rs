//! Who changed what: the whole log, and the history of one thing.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::audit::{self, AuditFilter, Entry};

use crate::Console;
use crate::auth::{Administer, Look, May};
use crate::failure::Failure;
use crate::lists::{Around, Query, ROWS, Window};
use crate::page::{Page, html};
use crate::path::Path;

/// Entries of a history.
const NEWEST: i64 = 20;

#[derive(Template)]
#[template(path = "audit/list.html")]
struct AuditPage {
    page: Page,
    window: Window,
    windows: [Window; 4],
    actor: String,
    action: String,
    subject: String,
    entries: Vec<Entry>,
    around: Around,
}

/// `/admin/audit/`
pub(crate) async fn list(may: May<Administer>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let window: Window = asked.get("window").unwrap_or_default();
    let filter = AuditFilter {
        actor: asked.text("actor"),
        action: asked.text("action"),
        subject_kind: asked.text("subject_kind"),
        subject: asked.text("subject"),
        since: window.since(may.visit.now),
    };
    let after = asked.get("after");
    let mut entries = audit::page(&mut console.context.db.read().await?, &filter, after, ROWS + 1).await?;
    let has_more = entries.len() > ROWS as usize;
    entries.truncate(ROWS as usize);
    let ends = (entries.first().map(|entry| entry.id), entries.last().map(|entry| entry.id));
    let mut around = Around::of(&asked, "/admin/audit/", ends.0, ends.1, has_more);
    // It is read backwards only: the way forward is back to the beginning.
    around.newer = after.is_some().then(|| format!("/admin/audit/?{}", asked.with(&["after"], &[])));
    html(&AuditPage {
        page: Page::new(&console, &may.visit, "audit", "audit-title"),
        window,
        windows: Window::ALL,
        actor: filter.actor.unwrap_or_default(),
        action: filter.action.unwrap_or_default(),
        subject: filter.subject.unwrap_or_default(),
        entries,
        around,
    })
}

#[derive(Template)]
#[template(path = "audit/history.html")]
struct HistoryPart {
    page: Page,
    entries: Vec<Entry>,
}

/// What was done to one thing, as part of its page: `/admin/audit/of/task/{id}/`.
pub(crate) async fn history(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path((kind, subject)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let filter = AuditFilter { subject_kind: Some(kind), subject: Some(subject), ..AuditFilter::default() };
    let entries = audit::page(&mut console.context.db.read().await?, &filter, None, NEWEST).await?;
    html(&HistoryPart { page: Page::new(&console, &may.visit, "", "history"), entries })
}
