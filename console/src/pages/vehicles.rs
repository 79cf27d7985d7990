//! Vehicles: found by plate or by the Core service's identifier, changed in a form, with what is due on them.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::db::{self, Violation};
use recado_kernel::ids::Id;
use recado_notifications::reminders::{self, Reminder, ReminderFilter};
use recado_notifications::vehicles::{self, Vehicle, VehicleDraft};

use super::customers;
use crate::Console;
use crate::auth::{Edit, Look, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::{Around, Query, ROWS};
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;
use crate::urls::encoded;

const PATH: &str = "/admin/vehicles/";

/// So many reminders stand beside a vehicle.
const REMINDERS: i64 = 50;

#[derive(Template)]
#[template(path = "vehicles/list.html")]
struct ListPage {
    page: Page,
    search: String,
    rows: Vec<Row>,
    around: Around,
}

struct Row {
    id: Id,
    plate: String,
    name: String,
    customer_id: String,
    customer_path: String,
    kilometers: Option<i64>,
    remaining: Option<i64>,
    updated_at: Timestamp,
}

impl From<Vehicle> for Row {
    fn from(vehicle: Vehicle) -> Self {
        Self {
            name: vehicle.display_name(),
            remaining: vehicle.remaining_km().map(i64::from),
            id: vehicle.id,
            plate: vehicle.plate,
            customer_path: customers::path_of(&vehicle.customer_id),
            customer_id: vehicle.customer_id,
            kilometers: vehicle.current_kilometers.map(i64::from),
            updated_at: vehicle.updated_at,
        }
    }
}

/// `/admin/vehicles/`. By plate.
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let (search, customer_id) = (asked.text("search"), asked.text("customer_id"));
    let (after, before) = (asked.text("after"), asked.text("before"));
    let cursor = Cursor::of_link(after.as_deref(), before.as_deref());
    let mut session = console.context.db.read().await?;
    let (found, has_more) =
        vehicles::page(&mut session, customer_id.as_deref(), search.as_deref(), cursor, ROWS).await?;
    drop(session);
    let end = |vehicle: Option<&Vehicle>| vehicle.map(|vehicle| vehicle.plate.clone());
    html(&ListPage {
        page: Page::new(&console, &may.visit, "vehicles", "vehicles-title"),
        search: search.unwrap_or_default(),
        around: Around::of_texts(&asked, PATH, end(found.first()), end(found.last()), has_more),
        rows: found.into_iter().map(Row::from).collect(),
    })
}

#[derive(Template)]
#[template(path = "vehicles/show.html")]
struct ShowPage {
    page: Page,
    form: Form,
    path: String,
    vehicle: Option<Vehicle>,
    customer_path: String,
    reminders: Vec<Reminder>,
}

/// `/admin/vehicles/new/?customer_id=`
pub(crate) async fn new(may: May<Edit>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let customer_id = Query::read(&may.visit.query).text("customer_id").unwrap_or_default();
    let draft = VehicleDraft { customer_id, ..VehicleDraft::default() };
    html(&page_of(&console, &may, None, form_of(&draft), Vec::new()))
}

/// `/admin/vehicles/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.read().await?;
    let found = vehicles::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let filter = ReminderFilter { vehicle_id: Some(id), ..ReminderFilter::default() };
    let (reminders, _) = reminders::page(&mut session, &filter, Cursor::Start, REMINDERS).await?;
    drop(session);
    let form = form_of(&VehicleDraft::from(found.clone())).read_at(found.updated_at.as_micros());
    html(&page_of(&console, &may, Some(found), form, reminders))
}

fn page_of<P>(
    console: &Console,
    may: &May<P>,
    vehicle: Option<Vehicle>,
    form: Form,
    reminders: Vec<Reminder>,
) -> ShowPage {
    match vehicle {
        Some(vehicle) => ShowPage {
            page: Page::new(console, &may.visit, "vehicles", "vehicle-title").about(&vehicle.plate),
            path: format!("{PATH}{}/", vehicle.id),
            customer_path: customers::path_of(&vehicle.customer_id),
            vehicle: Some(vehicle),
            form,
            reminders,
        },
        None => ShowPage {
            page: Page::new(console, &may.visit, "vehicles", "vehicle-new"),
            path: PATH.to_owned(),
            customer_path: String::new(),
            vehicle,
            form,
            reminders,
        },
    }
}

fn form_of(draft: &VehicleDraft) -> Form {
    let number = |number: Option<i32>| number.map(|number| number.to_string()).unwrap_or_default();
    Form::of([
        ("customer_id", draft.customer_id.clone()),
        ("plate", draft.plate.clone()),
        ("brand", draft.brand.clone()),
        ("model", draft.model.clone()),
        ("year", number(draft.year)),
        ("current_kilometers", number(draft.current_kilometers)),
        ("next_service_kilometers", number(draft.next_service_kilometers)),
        ("last_service_date", draft.last_service_date.map(|day| day.to_string()).unwrap_or_default()),
        ("image_url", draft.image_url.clone().unwrap_or_default()),
    ])
}

fn draft_of(form: &mut Form, page: &Page) -> VehicleDraft {
    let wrong = || page.t("people-wrong-number");
    let draft = VehicleDraft {
        customer_id: form.text("customer_id"),
        plate: form.text("plate").to_uppercase(),
        brand: form.text("brand"),
        model: form.text("model"),
        year: form.parsed("year", wrong),
        current_kilometers: form.parsed("current_kilometers", wrong),
        next_service_kilometers: form.parsed("next_service_kilometers", wrong),
        last_service_date: form.parsed("last_service_date", || page.t("people-wrong-day")),
        image_url: form.optional("image_url"),
    };
    form.add_errors(page.speaks(), draft.errors());
    draft
}

/// Adds a vehicle.
pub(crate) async fn create(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut shown = page_of(&console, &may, None, Form::default(), Vec::new());
    let draft = draft_of(&mut form, &shown.page);
    let mut session = console.context.db.begin().await?;
    form.add_errors(shown.page.speaks(), vehicles::conflicts(&mut session, &draft, None).await?);
    if !form.is_wrong() {
        match vehicles::insert(&mut session, &draft, &may.visit.actor(), may.visit.now).await {
            Ok(Some(made)) => {
                session.commit().await?;
                let there = format!("{PATH}{}/", made.id);
                let undo = format!("{there}delete/?typed={}", encoded(&made.plate));
                return Ok(then(&there, &Notice::new("vehicle-made", 1).undone_by(undo)));
            }
            Ok(None) => form.add_error("customer_id", vehicles::unknown_customer().told(shown.page.speaks())),
            Err(error) if is_taken(&error) => {
                form.add_error("plate", vehicles::plate_taken().told(shown.page.speaks()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    shown.form = form;
    refused(&shown)
}

/// Changes a vehicle.
pub(crate) async fn save(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let vehicle = vehicles::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let before = form_of(&VehicleDraft::from(vehicle.clone()));
    let mut shown = page_of(&console, &may, Some(vehicle.clone()), Form::default(), Vec::new());
    let draft = draft_of(&mut form, &shown.page);
    form.add_errors(shown.page.speaks(), vehicles::conflicts(&mut session, &draft, Some(id)).await?);
    form.find_conflicts(vehicle.updated_at.as_micros(), &before);
    if !form.is_wrong() {
        match vehicles::replace(&mut session, &vehicle, &draft, &may.visit.actor(), may.visit.now).await {
            Ok(Some(_)) => {
                session.commit().await?;
                let there = format!("{PATH}{id}/");
                return Ok(then(&there, &before.undo(Notice::new("saved", 1), &there)));
            }
            Ok(None) => form.add_error("customer_id", vehicles::unknown_customer().told(shown.page.speaks())),
            Err(error) if is_taken(&error) => {
                form.add_error("plate", vehicles::plate_taken().told(shown.page.speaks()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    shown.form = form;
    refused(&shown)
}

/// Deletes a vehicle with its reminders: its plate is typed.
pub(crate) async fn delete(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let vehicle = vehicles::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    if form.text("typed").to_uppercase() != vehicle.plate.trim().to_uppercase() {
        let mut again = form_of(&VehicleDraft::from(vehicle.clone())).read_at(vehicle.updated_at.as_micros());
        let mut shown = page_of(&console, &may, Some(vehicle), Form::default(), Vec::new());
        again.add_error("typed", shown.page.t("people-mistyped"));
        shown.form = again;
        return refused(&shown);
    }
    vehicles::delete(&mut session, id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    Ok(then(PATH, &Notice::new("vehicle-deleted", 1)))
}

fn is_taken(error: &db::Error) -> bool {
    error.violates("vehicles_plate_key", "vehicles.plate")
}
