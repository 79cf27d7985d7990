//! Workshops with settings of their own.
//!
//! It is the model of a page on which things are changed: a list, a form that is shown again with what is wrong in it, two people
//! who change the same, and an undo for each change.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Violation};
use recado_notifications::workshops::{self, Workshop, WorkshopDraft, WorkshopFilter};

use crate::Console;
use crate::auth::{Administer, Look, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::Query;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;
use crate::urls::encoded;

const PATH: &str = "/admin/workshops/";

/// There are dozens of workshops, and not thousands: a list that is longer is searched.
const ROWS: i64 = 200;

// --- The list ---

#[derive(Template)]
#[template(path = "workshops/list.html")]
struct ListPage {
    page: Page,
    search: String,
    workshops: Vec<Row>,
    has_more: bool,
}

struct Row {
    path: String,
    taller_id: String,
    name: String,
    is_active: bool,
    time_zone: Option<String>,
    /// Channels on which it does not send.
    closed: Vec<&'static str>,
    updated_at: Timestamp,
}

impl From<Workshop> for Row {
    fn from(workshop: Workshop) -> Self {
        let channels = [
            ("email", workshop.email_enabled),
            ("whatsapp", workshop.whatsapp_enabled),
            ("push", workshop.push_enabled),
        ];
        Self {
            path: path_of(&workshop.taller_id),
            taller_id: workshop.taller_id,
            name: workshop.name,
            is_active: workshop.is_active,
            time_zone: workshop.time_zone,
            closed: channels.into_iter().filter(|(_, is_open)| !is_open).map(|(channel, _)| channel).collect(),
            updated_at: workshop.updated_at,
        }
    }
}

/// `/admin/workshops/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let search = Query::read(&may.visit.query).text("search");
    let filter = WorkshopFilter { search: search.clone(), ..WorkshopFilter::default() };
    let (found, count) = workshops::list(&mut console.context.db.read().await?, &filter, ROWS, 0).await?;
    html(&ListPage {
        page: Page::new(&console, &may.visit, "workshops", "workshops-title"),
        search: search.unwrap_or_default(),
        workshops: found.into_iter().map(Row::from).collect(),
        has_more: count > ROWS,
    })
}

// --- One workshop ---

#[derive(Template)]
#[template(path = "workshops/show.html")]
struct ShowPage {
    page: Page,
    form: Form,
    /// Where the form goes: to the workshop, or to the list where there is none yet.
    path: String,
    /// What is there; `None` while it is written for the first time.
    workshop: Option<Workshop>,
}

/// `/admin/workshops/new/`
pub(crate) async fn new(may: May<Administer>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    html(&page_of(&console, &may, None, form_of(&WorkshopDraft::default())))
}

/// `/admin/workshops/{taller_id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(taller_id): Path<String>,
) -> Result<Response, Failure> {
    let found = workshops::find(&mut console.context.db.read().await?, &taller_id).await?.ok_or(Failure::NotFound)?;
    let form = form_of(&WorkshopDraft::from(found.clone())).read_at(found.updated_at.as_micros());
    html(&page_of(&console, &may, Some(found), form))
}

fn page_of<P>(console: &Console, may: &May<P>, workshop: Option<Workshop>, form: Form) -> ShowPage {
    match workshop {
        Some(workshop) => ShowPage {
            page: Page::new(console, &may.visit, "workshops", "workshop-title").about(&workshop.name),
            path: path_of(&workshop.taller_id),
            workshop: Some(workshop),
            form,
        },
        None => ShowPage {
            page: Page::new(console, &may.visit, "workshops", "workshop-new"),
            path: PATH.to_owned(),
            workshop,
            form,
        },
    }
}

/// Where a workshop is: its `taller_id` may hold anything but a slash.
fn path_of(taller_id: &str) -> String {
    format!("{PATH}{}/", encoded(taller_id))
}

// --- What is written ---

/// A workshop as the fields of its form.
fn form_of(draft: &WorkshopDraft) -> Form {
    let ticked = |is: bool| if is { "on".to_owned() } else { String::new() };
    let time = |time: Option<recado_kernel::time_of_day::TimeOfDay>| time.map(|time| time.to_string());
    Form::of([
        ("taller_id", draft.taller_id.clone()),
        ("name", draft.name.clone()),
        ("is_active", ticked(draft.is_active)),
        ("time_zone", draft.time_zone.clone().unwrap_or_default()),
        ("quiet_from", time(draft.quiet_from).unwrap_or_default()),
        ("quiet_until", time(draft.quiet_until).unwrap_or_default()),
        ("from_email", draft.from_email.clone().unwrap_or_default()),
        ("email_enabled", ticked(draft.email_enabled)),
        ("whatsapp_enabled", ticked(draft.whatsapp_enabled)),
        ("push_enabled", ticked(draft.push_enabled)),
    ])
}

/// What a form says, with what is wrong in it added to the form.
fn draft_of(form: &mut Form, page: &Page) -> WorkshopDraft {
    let draft = WorkshopDraft {
        taller_id: form.text("taller_id"),
        name: form.text("name"),
        is_active: form.is_ticked("is_active"),
        time_zone: form.optional("time_zone"),
        quiet_from: form.parsed("quiet_from", || page.t("form-wrong-time")),
        quiet_until: form.parsed("quiet_until", || page.t("form-wrong-time")),
        from_email: form.optional("from_email"),
        email_enabled: form.is_ticked("email_enabled"),
        whatsapp_enabled: form.is_ticked("whatsapp_enabled"),
        push_enabled: form.is_ticked("push_enabled"),
    };
    form.add_errors(page.speaks(), draft.errors());
    draft
}

/// Makes a workshop. The undo of a deletion comes here too.
pub(crate) async fn create(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut shown = page_of(&console, &may, None, Form::default());
    let draft = draft_of(&mut form, &shown.page);
    if !form.is_wrong() {
        let mut session = console.context.db.begin().await?;
        match workshops::insert(&mut session, &draft, &may.visit.actor(), may.visit.now).await {
            Ok(made) => {
                session.commit().await?;
                let there = path_of(&made.taller_id);
                return Ok(then(&there, &Notice::new("workshop-made", 1).undone_by(format!("{there}delete/"))));
            }
            Err(error) if is_taken(&error) => form.add_error("taller_id", shown.page.t("workshop-taken")),
            Err(error) => return Err(error.into()),
        }
    }
    shown.form = form;
    refused(&shown)
}

/// Changes a workshop.
pub(crate) async fn save(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(taller_id): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let workshop = workshops::lock(&mut session, &taller_id).await?.ok_or(Failure::NotFound)?;
    let before = form_of(&WorkshopDraft::from(workshop.clone()));
    let mut shown = page_of(&console, &may, Some(workshop.clone()), Form::default());
    let draft = draft_of(&mut form, &shown.page);
    form.find_conflicts(workshop.updated_at.as_micros(), &before);
    if !form.is_wrong() {
        match workshops::replace(&mut session, &workshop, &draft, &may.visit.actor(), may.visit.now).await {
            Ok(written) => {
                session.commit().await?;
                let there = path_of(&written.taller_id);
                return Ok(then(&there, &before.undo(Notice::new("saved", 1), &there)));
            }
            Err(error) if is_taken(&error) => form.add_error("taller_id", shown.page.t("workshop-taken")),
            Err(error) => return Err(error.into()),
        }
    }
    shown.form = form;
    refused(&shown)
}

/// Deletes a workshop's settings; its undo writes them again.
pub(crate) async fn delete(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(taller_id): Path<String>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let deleted = workshops::delete(&mut session, &taller_id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let deleted = deleted.ok_or(Failure::NotFound)?;
    Ok(then(PATH, &form_of(&deleted.into()).undo(Notice::new("workshop-deleted", 1), PATH)))
}

fn is_taken(error: &db::Error) -> bool {
    error.violates("workshops_taller_id_key", "workshops.taller_id")
}
