//! The CRM: how an appointment becomes a presence, with a live example, and both ends of it as lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_crm::appointments::{self, Status};
use recado_crm::mapping::{self, FIELDS, Mapping, VALUES, example};
use recado_crm::presences::{self, Presence, PresenceFilter};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;

use crate::Console;
use crate::auth::{Edit, Look, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::{Around, Query, ROWS, Window};
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};

const MAPPING: &str = "/admin/crm/mapping/";
const PRESENCES: &str = "/admin/crm/presences/";
const APPOINTMENTS: &str = "/admin/crm/appointments/";

// --- The mapping ---

#[derive(Template)]
#[template(path = "crm/mapping.html")]
struct MappingPage {
    page: Page,
    form: Form,
    fields: [&'static str; 15],
    values: [&'static str; 11],
    preview: Preview,
}

#[derive(Template)]
#[template(path = "crm/preview.html")]
struct PreviewPart {
    page: Page,
    preview: Preview,
}

/// What a mapping makes of the example.
struct Preview {
    given: String,
    made: String,
    wrong: Vec<String>,
}

/// `/admin/crm/mapping/`
pub(crate) async fn show(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let mapping = mapping::current(&mut console.context.db.read().await?).await?;
    html(&page_of(&console, &may, form_of(&mapping), &mapping))
}

fn page_of<P>(console: &Console, may: &May<P>, form: Form, mapping: &Mapping) -> MappingPage {
    let page = Page::new(console, &may.visit, "crm", "crm-title");
    MappingPage { form, fields: FIELDS, values: VALUES, preview: preview_of(console, mapping, page.speaks()), page }
}

fn preview_of(console: &Console, mapping: &Mapping, language: Language) -> Preview {
    let zone = console.context.config.crm.time_zone;
    let appointment = example(zone);
    let lead = serde_json::json!({
        "id": appointment.id, "lead": appointment.lead, "fecha_hora": "2024-01-15T14:30:00",
        "lugar": appointment.place,
    });
    let wrong: Vec<String> = mapping.errors().into_iter().map(|(_, error)| error.told(language).to_owned()).collect();
    let made = if wrong.is_empty() { mapping.presence(&appointment, zone) } else { serde_json::Value::Null };
    Preview {
        given: serde_json::to_string_pretty(&lead).unwrap_or_default(),
        made: serde_json::to_string_pretty(&made).unwrap_or_default(),
        wrong,
    }
}

fn form_of(mapping: &Mapping) -> Form {
    let media: String = mapping.media.iter().map(|(theirs, ours)| format!("{theirs} = {ours}\n")).collect();
    let mut fields: Vec<(&str, String)> =
        FIELDS.into_iter().map(|field| (field, mapping.fields.get(field).cloned().unwrap_or_default())).collect();
    fields.push(("media", media));
    fields.push(("other_medium", mapping.other_medium.clone()));
    fields.push(("virtual_places", mapping.virtual_places.join("\n")));
    Form::of(fields)
}

/// What the form says. Fields that are left empty are left out.
fn mapping_of(form: &mut Form, page: &Page) -> Mapping {
    let mut media = BTreeMap::new();
    for line in form.value("media").to_owned().lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.rsplit_once('=') {
            Some((theirs, ours)) if !theirs.trim().is_empty() && !ours.trim().is_empty() => {
                media.insert(theirs.trim().to_owned(), ours.trim().to_owned());
            }
            _ => form.add_error("media", page.t("crm-wrong-media")),
        }
    }
    let fields = FIELDS.into_iter().filter_map(|field| Some((field.to_owned(), form.optional(field)?))).collect();
    let lines = |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    Mapping {
        fields,
        media,
        other_medium: form.text("other_medium"),
        virtual_places: lines(form.value("virtual_places")),
    }
}

/// Puts a mapping in force, for the presences that are made from now on.
pub(crate) async fn save(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "crm", "crm-title");
    let mapping = mapping_of(&mut form, &page);
    for (_, error) in mapping.errors() {
        // The draft names all fields together; what is wrong is said beside the one that it names.
        let said = error.told(page.speaks());
        let field = FIELDS.into_iter().find(|field| said.contains(&format!("\"{field}\"")));
        form.add_error(field.unwrap_or("media"), said);
    }
    if form.is_wrong() {
        return refused(&page_of(&console, &may, form, &mapping));
    }
    let mut session = console.context.db.begin().await?;
    let before = form_of(&mapping::current(&mut session).await?);
    mapping::replace(&mut session, &mapping, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    Ok(then(MAPPING, &before.undo(Notice::new("saved", 1), MAPPING)))
}

/// What the form would make of the example, while it is written. Nothing is kept.
pub(crate) async fn preview(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "crm", "crm-title");
    let mapping = mapping_of(&mut form, &page);
    let preview = preview_of(&console, &mapping, page.speaks());
    html(&PreviewPart { page, preview })
}

// --- Appointments ---

struct AppointmentRow {
    id: String,
    person: String,
    status: Status,
    starts_at: Timestamp,
    place: String,
    realized_at: Option<Timestamp>,
    delivery_id: Option<Id>,
    updated_at: Timestamp,
}

#[derive(Template)]
#[template(path = "crm/appointments.html")]
struct AppointmentsPage {
    page: Page,
    search: String,
    rows: Vec<AppointmentRow>,
    around: Around,
}

/// `/admin/crm/appointments/`
pub(crate) async fn appointments(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let (search, before) = (asked.text("id"), asked.get("before_us").map(Timestamp::from_micros));
    let mut session = console.context.db.read().await?;
    let mut found = appointments::latest(&mut session, search.as_deref(), before, ROWS + 1).await?;
    drop(session);
    let page = Page::new(&console, &may.visit, "crm", "appointments-title");
    let is_shown = page.may_operate();
    let has_more = found.len() > ROWS as usize;
    found.truncate(ROWS as usize);
    let last = found.last().map(|(_, updated_at)| updated_at.as_micros().to_string());
    let older = last.filter(|_| has_more).map(|last| format!("{APPOINTMENTS}?before_us={last}"));
    let row = |(listed, updated_at): (appointments::Listed, Timestamp)| AppointmentRow {
        person: if is_shown { listed.appointment.lead.nombre } else { masking::name(&listed.appointment.lead.nombre) },
        id: listed.appointment.id,
        status: listed.appointment.status,
        starts_at: listed.appointment.starts_at,
        place: listed.appointment.place.unwrap_or_default(),
        realized_at: listed.realized_at,
        delivery_id: listed.delivery_id,
        updated_at,
    };
    html(&AppointmentsPage {
        page,
        search: search.unwrap_or_default(),
        rows: found.into_iter().map(row).collect(),
        around: Around { newer: before.map(|_| APPOINTMENTS.to_owned()), older },
    })
}

// --- Presences ---

struct PresenceRow {
    id_crm: String,
    person: String,
    document: String,
    project: String,
    medium: String,
    attended_at: Timestamp,
    has_sale: bool,
    created_at: Timestamp,
}

#[derive(Template)]
#[template(path = "crm/presences.html")]
struct PresencesPage {
    page: Page,
    search: String,
    window: Window,
    windows: [Window; 4],
    rows: Vec<PresenceRow>,
    around: Around,
}

/// `/admin/crm/presences/`
pub(crate) async fn presences(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let search = asked.text("id");
    let window: Window = asked.get("window").unwrap_or(Window::All);
    let filter = PresenceFilter {
        id_presencia_crm: search.clone(),
        attended_from: window.since(may.visit.now),
        ..PresenceFilter::default()
    };
    let mut session = console.context.db.read().await?;
    let (found, has_more) = presences::page(&mut session, &filter, asked.cursor(), ROWS).await?;
    drop(session);
    let page = Page::new(&console, &may.visit, "crm", "presences-title");
    let is_shown = page.may_operate();
    let ends = (found.first().map(|one| one.id), found.last().map(|one| one.id));
    let row = |Presence { told, created_at, sale_id, .. }: Presence| PresenceRow {
        id_crm: told.id_presencia_crm,
        person: if is_shown { told.client_name } else { masking::name(&told.client_name) },
        document: if is_shown { told.document_number } else { masking::phone(&told.document_number) },
        project: told.project.unwrap_or_default(),
        medium: told.medium.unwrap_or_default(),
        attended_at: told.attended_at,
        has_sale: sale_id.is_some(),
        created_at,
    };
    html(&PresencesPage {
        page,
        search: search.unwrap_or_default(),
        window,
        windows: Window::ALL,
        around: Around::of(&asked, PRESENCES, ends.0, ends.1, has_more),
        rows: found.into_iter().map(row).collect(),
    })
}
