//! The texts that staff write: where each belongs, what it says, and where it is used.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_notifications::catalogue::{Catalogue, Use};
use recado_notifications::catalogue_version;
use recado_notifications::channels::Channel;
use recado_notifications::dispatch::{CUSTOM, EVENT_TYPES};
use recado_notifications::orchestration;
use recado_notifications::targets::Target;
use recado_notifications::templates::{self, Template, TemplateDraft, TemplateFilter, TemplateScope};
use recado_notifications::test_sends::{self, TestSend};

use super::template_preview::{Chip, Preview, Wanted, off_runtime, palette, preview};
use super::texts::{matrix_path, phase_name, service_name, template_path};
use crate::Console;
use crate::auth::{Edit, Look, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::{Around, Query, ROWS};
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;

const PATH: &str = "/admin/templates/";

/// Tests that the editor shows.
const NEWEST_TESTS: i64 = 3;

// --- The list ---

#[derive(askama::Template)]
#[template(path = "templates/list.html")]
struct ListPage {
    page: Page,
    form: Form,
    choices: Choices,
    rows: Vec<Row>,
    around: Around,
    is_filtered: bool,
}

/// A template in a list.
struct Row {
    path: String,
    name: String,
    /// For which service, and which event.
    about: Option<String>,
    event_type: Option<String>,
    phase: Option<String>,
    taller_id: Option<String>,
    channel: Channel,
    target: Target,
    is_active: bool,
    is_default: bool,
    updated_at: Timestamp,
}

impl Row {
    fn of(template: &Template, catalogue: &Catalogue) -> Self {
        let service = template.subtype_id.or(template.service_type_id);
        Self {
            path: template_path(template.id),
            name: template.name.clone(),
            about: service.and_then(|id| service_name(catalogue, id)),
            event_type: template.event_type.clone(),
            phase: template.phase_id.and_then(|id| phase_name(catalogue, id)),
            taller_id: template.taller_id.clone(),
            channel: template.channel,
            target: template.target,
            is_active: template.is_active,
            is_default: template.is_default,
            updated_at: template.updated_at,
        }
    }
}

/// What there is to choose from: values, each with its label.
pub(super) struct Choices {
    pub(super) channels: Vec<(String, String)>,
    pub(super) targets: Vec<(String, String)>,
    /// Types and subtypes.
    pub(super) services: Vec<(String, String)>,
    pub(super) phases: Vec<(String, String)>,
    pub(super) events: Vec<(String, String)>,
    pub(super) workshops: Vec<(String, String)>,
}

impl Choices {
    /// `open` is what the choice of nothing is called.
    pub(super) fn of(catalogue: &Catalogue, page: &Page, open: &str) -> Self {
        let nothing = || (String::new(), open.to_owned());
        let with_nothing = |others: Vec<(String, String)>| std::iter::once(nothing()).chain(others).collect();
        let types = catalogue.service_types.iter().filter(|service| service.parent_id.is_none());
        let services = types.flat_map(|service| std::iter::once(service).chain(catalogue.subtypes(service.id)));
        let services =
            services.map(|service| (service.id.to_string(), service_name(catalogue, service.id).unwrap_or_default()));
        let phases = catalogue.phases.iter().map(|phase| (phase.id.to_string(), phase.name.clone()));
        let workshop = |taller_id: &str| {
            let named = catalogue.workshop(Some(taller_id));
            let label = named.map_or_else(|| taller_id.to_owned(), |one| format!("{} ({taller_id})", one.name));
            (taller_id.to_owned(), label)
        };
        let events = EVENT_TYPES.iter().filter(|event| **event != CUSTOM);
        Self {
            channels: Channel::ALL.iter().map(|one| (one.to_string(), page.word("channel", one))).collect(),
            targets: Target::ALL.iter().map(|one| (one.to_string(), page.word("template-target", one))).collect(),
            services: with_nothing(services.collect()),
            phases: with_nothing(phases.collect()),
            events: with_nothing(events.map(|event| ((*event).to_owned(), (*event).to_owned())).collect()),
            workshops: with_nothing(catalogue.known_workshops().into_iter().map(workshop).collect()),
        }
    }
}

/// `/admin/templates/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let (asked, catalogue) = (Query::read(&may.visit.query), console.catalogue().await?);
    let page = Page::new(&console, &may.visit, "templates", "templates-title");
    let is_active = match asked.text("state").as_deref() {
        Some("active") => Some(true),
        Some("inactive") => Some(false),
        _ => None,
    };
    let service = asked.get::<Id>("service").and_then(|id| catalogue.service(id));
    let filter = TemplateFilter {
        channel: asked.get("channel"),
        target: asked.get("target"),
        event_type: asked.text("event_type"),
        service_type_id: service.filter(|one| one.parent_id.is_none()).map(|one| one.id),
        subtype_ids: service.filter(|one| one.parent_id.is_some()).map(|one| vec![one.id]),
        phase_id: asked.get("phase"),
        taller_id: asked.text("taller_id").map(Some),
        is_active,
        search: asked.text("search"),
    };
    let mut found: Vec<&Template> = catalogue.templates.iter().filter(|template| filter.takes(template)).collect();
    sort(&mut found, &catalogue);
    let (rows, has_more) = cut(&found, asked.get("after"), asked.get("before"));
    let around = Around::of(&asked, PATH, rows.first().map(|one| one.id), rows.last().map(|one| one.id), has_more);
    let names = ["channel", "target", "service", "phase", "event_type", "taller_id", "state", "search"];
    let fields = names.map(|name| (name, asked.text(name).unwrap_or_default()));
    html(&ListPage {
        choices: Choices::of(&catalogue, &page, &page.t("all")),
        is_filtered: fields.iter().any(|(_, value)| !value.is_empty()),
        form: Form::of(fields),
        rows: rows.into_iter().map(|template| Row::of(template, &catalogue)).collect(),
        around,
        page,
    })
}

/// By phase in the order of the work, channel, audience, workshop and name; what is for every phase comes first.
fn sort(templates: &mut [&Template], catalogue: &Catalogue) {
    let place = |id: Option<Id>| id.and_then(|id| catalogue.phases.iter().position(|phase| phase.id == id));
    templates.sort_by_cached_key(|template| {
        let owner = (template.target.as_str(), template.taller_id.clone(), template.name.clone());
        (place(template.phase_id), template.channel, owner, template.id)
    });
}

/// The page behind or before a template, and whether there is more on its far side.
fn cut<'t>(found: &[&'t Template], after: Option<Id>, before: Option<Id>) -> (Vec<&'t Template>, bool) {
    let place = |id: Id| found.iter().position(|template| template.id == id);
    let rows = ROWS as usize;
    if let Some(end) = before.and_then(place) {
        let start = end.saturating_sub(rows);
        return (found[start..end].to_vec(), start > 0);
    }
    let start = after.and_then(place).map_or(0, |place| place + 1);
    let end = found.len().min(start + rows);
    (found[start..end].to_vec(), end < found.len())
}

// --- One of them ---

#[derive(askama::Template)]
#[template(path = "templates/show.html")]
pub(super) struct EditorPage {
    pub(super) page: Page,
    form: Form,
    path: String,
    template: Option<Template>,
    choices: Choices,
    palette: Vec<Chip>,
    preview: Preview,
    channel: Channel,
    uses: Vec<UseRow>,
    beats: Vec<(String, String)>,
    loses_to: Vec<(String, String)>,
    tests: Vec<TestSend>,
}

/// A cell of the matrix in which a template is used.
struct UseRow {
    path: String,
    service: String,
    phase: String,
    taller_id: Option<String>,
    is_named: bool,
    /// It is what the cell sends, and the cell is in use.
    is_sent: bool,
}

impl UseRow {
    fn of(one: &Use<'_>, catalogue: &Catalogue) -> Self {
        let service = one.subtype_id.unwrap_or(one.config.service_type_id);
        Self {
            path: matrix_path(catalogue, one.config),
            service: service_name(catalogue, service).unwrap_or_default(),
            phase: phase_name(catalogue, one.cell.phase_id).unwrap_or_default(),
            taller_id: one.config.taller_id.clone(),
            is_named: one.is_named,
            is_sent: one.is_sent && one.config.is_active && one.cell.enabled,
        }
    }
}

/// `/admin/templates/new/`: empty, or for the place that a link names.
pub(crate) async fn new(may: May<Edit>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let draft = TemplateDraft {
        channel: asked.get("channel").or(Some(Channel::Email)),
        target: asked.get("target").unwrap_or_default(),
        phase: asked.text("phase"),
        service_type: asked.text("service"),
        taller_id: asked.text("taller_id"),
        ..TemplateDraft::default()
    };
    editor(&console, &may, None, form_of(&draft), draft, None).await
}

/// `/admin/templates/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let template = find(&console, id).await?;
    let draft = TemplateDraft::from(template.clone());
    let form = form_of(&draft).read_at(template.updated_at.as_micros());
    editor(&console, &may, Some(template), form, draft, None).await
}

pub(super) async fn find(console: &Console, id: Id) -> Result<Template, Failure> {
    templates::find(&mut console.context.db.read().await?, id).await?.ok_or(Failure::NotFound)
}

/// Draws the editor.
pub(super) async fn editor<P>(
    console: &Console,
    may: &May<P>,
    template: Option<Template>,
    form: Form,
    draft: TemplateDraft,
    preview: Option<Preview>,
) -> Result<Response, Failure> {
    html(&editor_page(console, may, template, form, &draft, preview).await?)
}

pub(super) async fn editor_page<P>(
    console: &Console,
    may: &May<P>,
    template: Option<Template>,
    form: Form,
    draft: &TemplateDraft,
    drawn: Option<Preview>,
) -> Result<EditorPage, Failure> {
    let page = match &template {
        Some(template) => Page::new(console, &may.visit, "templates", "template-title").about(&template.name),
        None => Page::new(console, &may.visit, "templates", "template-new"),
    };
    let catalogue = console.catalogue().await?;
    let place = place_of(&catalogue, draft);
    let preview = match drawn {
        Some(preview) => preview,
        None => {
            let customer = form.text("customer");
            preview(console, &page, Wanted { draft, place, saved: template.as_ref(), customer }).await?
        }
    };
    let tests = match &template {
        Some(template) => test_sends::newest(&mut console.context.db.read().await?, template.id, NEWEST_TESTS).await?,
        None => Vec::new(),
    };
    let (uses, beats, loses_to) = usage(&catalogue, template.clone()).await;
    Ok(EditorPage {
        choices: Choices::of(&catalogue, &page, &page.t("template-anything")),
        palette: palette(console, draft, may.visit.now).await?,
        path: template.as_ref().map_or_else(|| PATH.to_owned(), |template| template_path(template.id)),
        channel: draft.channel.unwrap_or(Channel::Email),
        page,
        form,
        template,
        preview,
        uses,
        beats,
        loses_to,
        tests,
    })
}

type Usage = (Vec<UseRow>, Vec<(String, String)>, Vec<(String, String)>);

/// Where a template is used, what it wins against and what wins against it.
async fn usage(catalogue: &Arc<Catalogue>, template: Option<Template>) -> Usage {
    let (Some(template), catalogue) = (template, catalogue.clone()) else { return Usage::default() };
    let work = move || {
        let (beats, loses_to) = catalogue.rivals(&template);
        let rivals =
            |found: Vec<&Template>| found.iter().map(|one| (template_path(one.id), one.name.clone())).collect();
        let uses = catalogue.uses(&template).iter().map(|one| UseRow::of(one, &catalogue)).collect();
        (uses, rivals(beats), rivals(loses_to))
    };
    off_runtime(work).await
}

#[derive(askama::Template)]
#[template(path = "templates/preview.html")]
struct PreviewPart {
    page: Page,
    preview: Preview,
}

/// The preview of a form as it stands: for htmx the part alone, and without scripts the whole page.
pub(crate) async fn show_preview(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    mut form: Form,
) -> Result<Response, Failure> {
    let catalogue = console.catalogue().await?;
    let saved = form.text("id").parse::<Id>().ok().and_then(|id| catalogue.template(id).cloned());
    let page = Page::new(&console, &may.visit, "templates", "template-title");
    // Who may only look has no fields to send.
    if !page.may_edit() {
        let template = saved.clone().ok_or(Failure::NotFound)?;
        form = form_of(&TemplateDraft::from(template));
    }
    let customer = form.optional("pick").unwrap_or_else(|| form.text("customer"));
    let (draft, place) = draft_of(&mut form, &page, &catalogue);
    let wanted = Wanted { draft: &draft, place, saved: saved.as_ref(), customer: customer.clone() };
    let preview = preview(&console, &page, wanted).await?;
    if headers.contains_key("hx-request") {
        return html(&PreviewPart { page, preview });
    }
    form.set("customer", customer);
    editor(&console, &may, saved, form, draft, Some(preview)).await
}

// --- What is written ---

/// A template as the fields of its form. Type and subtype are one choice.
pub(super) fn form_of(draft: &TemplateDraft) -> Form {
    let ticked = |is: bool| if is { "on".to_owned() } else { String::new() };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Form::of([
        ("name", draft.name.clone()),
        ("subject", draft.subject.clone()),
        ("body", draft.body.clone()),
        ("channel", draft.channel.map(|channel| channel.to_string()).unwrap_or_default()),
        ("target", draft.target.to_string()),
        ("event_type", text(&draft.event_type)),
        ("service", text(if draft.subtype.is_some() { &draft.subtype } else { &draft.service_type })),
        ("phase", text(&draft.phase)),
        ("taller_id", text(&draft.taller_id)),
        ("is_default", ticked(draft.is_default)),
        ("is_active", ticked(draft.is_active)),
    ])
}

/// What a form says, with what is wrong in it added to the form.
pub(super) fn draft_of(form: &mut Form, page: &Page, catalogue: &Catalogue) -> (TemplateDraft, TemplateScope) {
    let service = form.parsed::<Id>("service", || page.t("template-wrong-choice"));
    let service = service.and_then(|id| catalogue.service(id));
    let (service_type, subtype) = match service {
        Some(service) => match service.parent_id {
            Some(parent) => (Some(parent), Some(service.id)),
            None => (Some(service.id), None),
        },
        None => (None, None),
    };
    let draft = TemplateDraft {
        name: form.text("name"),
        subject: form.text("subject"),
        body: form.value("body").to_owned(),
        channel: form.parsed("channel", || page.t("template-wrong-choice")),
        target: form.parsed("target", || page.t("template-wrong-choice")).unwrap_or_default(),
        event_type: form.optional("event_type"),
        service_type: service_type.map(|id| id.to_string()),
        subtype: subtype.map(|id| id.to_string()),
        phase: form.optional("phase"),
        taller_id: form.optional("taller_id"),
        is_default: form.is_ticked("is_default"),
        is_active: form.is_ticked("is_active"),
    };
    let is_known = |event: &String| EVENT_TYPES.contains(&event.as_str()) && event != CUSTOM;
    if draft.event_type.as_ref().is_some_and(|event| !is_known(event)) {
        form.add_error("event_type", page.t("template-wrong-choice"));
    }
    form.add_errors(page.speaks(), draft.errors());
    let place = catalogue.place(draft.service_type.as_deref(), draft.subtype.as_deref(), draft.phase.as_deref());
    (draft, place.map_err(|errors| form.add_errors(page.speaks(), errors)).unwrap_or_default())
}

fn place_of(catalogue: &Catalogue, draft: &TemplateDraft) -> TemplateScope {
    let place = catalogue.place(draft.service_type.as_deref(), draft.subtype.as_deref(), draft.phase.as_deref());
    place.unwrap_or_default()
}

/// The same, with what could never be rendered.
async fn checked(form: &mut Form, page: &Page, console: &Console) -> Result<(TemplateDraft, TemplateScope), Failure> {
    let catalogue = console.catalogue().await?;
    let (draft, place) = draft_of(form, page, &catalogue);
    let (texts, strict_case) = (draft.clone(), console.context.config.template_strict_case);
    form.add_errors(page.speaks(), off_runtime(move || texts.flaws(strict_case)).await);
    Ok((draft, place))
}

/// Makes a template.
pub(crate) async fn create(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "templates", "template-new");
    let (draft, place) = checked(&mut form, &page, &console).await?;
    if form.is_wrong() {
        return refused(&editor_page(&console, &may, None, form, &draft, None).await?);
    }
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let id = templates::insert(&mut session, &draft, place, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let there = template_path(id);
    Ok(then(&there, &Notice::new("template-made", 1).undone_by(format!("{there}delete/"))))
}

/// Changes a template. Its undo is the version that was there before.
pub(crate) async fn save(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "templates", "template-title");
    let (draft, place) = checked(&mut form, &page, &console).await?;
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let template = templates::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    form.find_conflicts(template.updated_at.as_micros(), &form_of(&TemplateDraft::from(template.clone())));
    if form.is_wrong() {
        drop(session);
        return refused(&editor_page(&console, &may, Some(template), form, &draft, None).await?);
    }
    write(&mut session, &template, &draft, place, &may).await?;
    session.commit().await?;
    Ok(then(&template_path(id), &Notice::new("template-saved", 1).undone_by(restore_path(&template))))
}

/// The form that makes a template what it is here.
fn restore_path(template: &Template) -> String {
    format!("{}versions/{}/restore/", template_path(template.id), template.version)
}

async fn write(
    session: &mut Session,
    template: &Template,
    draft: &TemplateDraft,
    place: TemplateScope,
    may: &May<Edit>,
) -> Result<(), Failure> {
    templates::replace(session, template, draft, place, &may.visit.actor(), may.visit.now).await?;
    Ok(orchestration::forget_misfits(session).await?)
}

/// Takes a template into use.
pub(crate) async fn enable(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    switch(&may, &console, id, true).await
}

/// Takes a template out of use.
pub(crate) async fn disable(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    switch(&may, &console, id, false).await
}

async fn switch(may: &May<Edit>, console: &Console, id: Id, is_active: bool) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let template = templates::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    if template.is_active == is_active {
        return Ok(then(&template_path(id), &Notice::new("nothing-to-do", 0)));
    }
    let draft = TemplateDraft { is_active, ..TemplateDraft::from(template.clone()) };
    write(&mut session, &template, &draft, template.place(), may).await?;
    session.commit().await?;
    let (notice, back) = match is_active {
        true => (Notice::new("template-enabled", 1), "disable"),
        false => (Notice::new("template-disabled", 1), "enable"),
    };
    Ok(then(&template_path(id), &notice.undone_by(format!("{}{back}/", template_path(id)))))
}

/// Deletes a template. Its versions stay, and its undo restores the last.
pub(crate) async fn delete(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let deleted = templates::delete(&mut session, id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let deleted = deleted.ok_or(Failure::NotFound)?;
    Ok(then(PATH, &Notice::new("template-deleted", 1).undone_by(restore_path(&deleted))))
}
