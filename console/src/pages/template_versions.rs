//! What a template ever was: who wrote it and when, what changed, and the way back.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::catalogue::Catalogue;
use recado_notifications::templates::versions::{self, Change, DiffLine, LineChange, Version, changed_fields, lines};
use recado_notifications::templates::{self};
use recado_notifications::{catalogue_version, orchestration};
use serde_json::Value;

use super::template_preview::off_runtime;
use super::texts::{phase_name, service_name, template_path};
use crate::Console;
use crate::auth::{Edit, Look, May};
use crate::failure::Failure;
use crate::lists::Query;
use crate::notice::{Notice, then};
use crate::page::{Page, html};
use crate::path::Path;

/// Versions of a page.
const ROWS: i64 = 50;

#[derive(askama::Template)]
#[template(path = "templates/versions.html")]
struct ListPage {
    page: Page,
    id: Id,
    name: String,
    /// It is there; else it was deleted.
    is_there: bool,
    rows: Vec<Row>,
    older: Option<String>,
    is_first: bool,
}

struct Row {
    path: String,
    version: i32,
    change: Change,
    restored_from: Option<i32>,
    author: Option<String>,
    written_at: Timestamp,
    name: String,
    is_active: bool,
}

impl From<Version> for Row {
    fn from(version: Version) -> Self {
        Self {
            path: path(version.template_id, version.version),
            version: version.version,
            change: version.change,
            restored_from: version.restored_from,
            author: version.author,
            written_at: version.written_at,
            name: version.name,
            is_active: version.is_active,
        }
    }
}

fn path(template: Id, version: i32) -> String {
    format!("{}versions/{version}/", template_path(template))
}

/// `/admin/templates/{id}/versions/`
pub(crate) async fn list(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let before = Query::read(&may.visit.query).get::<i32>("before");
    let mut session = console.context.db.read().await?;
    let mut found = versions::before(&mut session, id, before, ROWS + 1).await?;
    let is_there = templates::find(&mut session, id).await?.is_some();
    drop(session);
    let has_more = found.len() > ROWS as usize;
    found.truncate(ROWS as usize);
    let name = found.first().ok_or(Failure::NotFound)?.name.clone();
    let last = found.last().map(|version| version.version).filter(|_| has_more);
    html(&ListPage {
        page: Page::new(&console, &may.visit, "templates", "template-versions").about(&name),
        id,
        name,
        is_there,
        older: last.map(|last| format!("{}versions/?before={last}", template_path(id))),
        is_first: before.is_none(),
        rows: found.into_iter().map(Row::from).collect(),
    })
}

#[derive(askama::Template)]
#[template(path = "templates/version.html")]
struct ShowPage {
    page: Page,
    version: Version,
    /// The number of the text that is in use; none when the template was deleted.
    current: Option<i32>,
    /// What it is compared with; none before the first.
    against: Option<i32>,
    is_against_current: bool,
    fields: Vec<Field>,
    subject: Vec<DiffLine>,
    body: Vec<DiffLine>,
}

/// A field that is not the same.
struct Field {
    name: &'static str,
    before: String,
    after: String,
}

/// `/admin/templates/{id}/versions/{version}/`: compared with the version before it, or with `?against=` another one.
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path((id, number)): Path<(Id, i32)>,
) -> Result<Response, Failure> {
    let against = Query::read(&may.visit.query).get::<i32>("against");
    let wanted = against.unwrap_or(number.saturating_sub(1));
    let mut session = console.context.db.read().await?;
    let found = versions::find_many(&mut session, id, &[wanted, number]).await?;
    let current = templates::find(&mut session, id).await?.map(|template| template.version);
    drop(session);
    let of = |number: i32| found.iter().find(|one| one.version == number).cloned();
    let (version, other) = (of(number).ok_or(Failure::NotFound)?, of(wanted));
    let catalogue = console.catalogue().await?;
    let (one, another) = (version.clone(), other.clone());
    // From the older text to the newer one, whichever was asked for.
    let work = move || match another {
        Some(another) if another.version > one.version => compared(Some(&one), &another, &catalogue),
        another => compared(another.as_ref(), &one, &catalogue),
    };
    let (fields, subject, body) = off_runtime(work).await;
    html(&ShowPage {
        page: Page::new(&console, &may.visit, "templates", "template-version").about(&version.name),
        against: other.map(|other| other.version),
        is_against_current: against.is_some() && current == Some(wanted),
        version,
        current,
        fields,
        subject,
        body,
    })
}

type Compared = (Vec<Field>, Vec<DiffLine>, Vec<DiffLine>);

fn compared(before: Option<&Version>, after: &Version, catalogue: &Catalogue) -> Compared {
    let mut texts = (Vec::new(), Vec::new());
    let mut fields = Vec::new();
    for (name, old, new) in changed_fields(before, after) {
        match name {
            "subject" => texts.0 = lines(text(&old), text(&new)),
            "body" => texts.1 = lines(text(&old), text(&new)),
            _ => fields.push(Field { name, before: told(&old, catalogue), after: told(&new, catalogue) }),
        }
    }
    (fields, texts.0, texts.1)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A value as people read it: names for ids of services and phases.
fn told(value: &Value, catalogue: &Catalogue) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => {
            let named = text.parse::<Id>().ok();
            let named = named.and_then(|id| service_name(catalogue, id).or_else(|| phase_name(catalogue, id)));
            named.unwrap_or_else(|| text.clone())
        }
        other => other.to_string(),
    }
}

/// Makes a template what it was, also one that was deleted. Its undo restores what was there, or deletes it again.
pub(crate) async fn restore(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path((id, number)): Path<(Id, i32)>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let found = versions::find_many(&mut session, id, &[number]).await?;
    let version = found.into_iter().next().ok_or(Failure::NotFound)?;
    let before = templates::find(&mut session, id).await?;
    versions::restore(&mut session, &version, &may.visit.actor(), may.visit.now).await?;
    orchestration::forget_misfits(&mut session).await?;
    session.commit().await?;
    let undo = match before {
        Some(template) => format!("{}restore/", path(id, template.version)),
        None => format!("{}delete/", template_path(id)),
    };
    Ok(then(&template_path(id), &Notice::new("template-restored", 1).undone_by(undo)))
}
