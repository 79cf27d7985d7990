//! Maintenance reminders (S002-23, S002-24, S002-54, d17).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::NaiveDate;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::dispatch::Preview;
use recado_notifications::reminders::{
    self, Kind, Planned, Reminder, ReminderDraft, ReminderFilter, Standing, Status, TriedReminder,
};
use recado_notifications::vehicles;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May, Read};
use crate::extract::body::{Changes, Form, Json, Written};
use crate::extract::fields::{Field, Fields, choice};
use crate::extract::once::{Created, IdempotencyHeader, Once};
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, create))
        .routes(routes!(show_agenda))
        .routes(routes!(dry_run))
        .routes(routes!(show, replace, change, delete))
        .routes(routes!(complete))
        .routes(routes!(cancel))
}

/// Reminders, the newest first.
#[utoipa::path(get, path = "/", tag = "reminders", params(ReminderQuery, Paging),
    responses((status = 200, description = "A page of reminders", body = Page<ReminderView>)))]
async fn list(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<ReminderQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<ReminderView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = reminders::list(&mut session, &query.into(), paging.limit(), paging.offset()).await?;
    Ok(axum::Json(paging.page(found.into_iter().map(ReminderView::from).collect(), count)?))
}

/// Adds a reminder to a vehicle. It is announced once it is due, at 08:00 or when the vehicle's kilometres are synced.
#[utoipa::path(post, path = "/", tag = "reminders", params(IdempotencyHeader), request_body = ReminderDraft,
    responses(
        (status = 201, description = "The reminder", body = ReminderView),
        (status = 422, description = "The Idempotency-Key was used for another request", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Once { key, body: sent }: Once<Changes>,
) -> Result<Created<ReminderView>, Problem> {
    let mut session = api.context.db.begin().await?;
    if let Some(made) = key.made::<Id>(&mut session, &may.caller, api.context.clock.now()).await? {
        let reminder = reminders::find(&mut session, made).await?.ok_or(Problem::NotFound)?;
        return Ok(Created::Before(reminder.into()));
    }
    let draft = of_a_vehicle(&mut session, sent.whole(ReminderDraft::default())).await?;
    let created = reminders::insert(&mut session, &draft, &may.actor(), api.context.clock.now()).await?;
    let created = created.ok_or_else(unknown_vehicle)?;
    key.keep(&mut session, &may.caller, &created.id).await?;
    session.commit().await?;
    Ok(Created::Now(created.into()))
}

/// One reminder.
#[utoipa::path(get, path = "/{id}", tag = "reminders", params(("id" = Id, Path, description = "Id of the reminder")),
    responses((status = 200, description = "The reminder", body = ReminderView)))]
async fn show(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<ReminderView>, Problem> {
    let reminder = reminders::find(&mut api.context.db.read().await?, id).await?.ok_or(Problem::NotFound)?;
    Ok(axum::Json(reminder.into()))
}

/// Writes a reminder as a whole. What is required must be sent; the rest stays as it is where it is not.
#[utoipa::path(put, path = "/{id}", tag = "reminders", params(("id" = Id, Path, description = "Id of the reminder")),
    request_body = ReminderDraft, responses((status = 200, description = "The reminder", body = ReminderView)))]
async fn replace(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(sent): Json<Changes>,
) -> Result<axum::Json<ReminderView>, Problem> {
    // The vehicle has two names, and the check of a whole record knows neither of them.
    let is_of_a_vehicle = sent.has("vehicle") || sent.has("vehicle_id");
    write(&api, &may, id, |reminder| {
        let mut known = ReminderDraft::from(reminder);
        known.vehicle = known.vehicle.filter(|_| is_of_a_vehicle);
        sent.whole(known)
    })
    .await
}

/// Changes the fields that are sent. A reminder that becomes `pending` again is announced again when it is due.
#[utoipa::path(patch, path = "/{id}", tag = "reminders", params(("id" = Id, Path, description = "Id of the reminder")),
    request_body = ReminderDraft, responses((status = 200, description = "The reminder", body = ReminderView)))]
async fn change(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<ReminderView>, Problem> {
    write(&api, &may, id, |reminder| changes.over(ReminderDraft::from(reminder))).await
}

/// Deletes a reminder. What it announced stays in the log.
#[utoipa::path(delete, path = "/{id}", tag = "reminders", params(("id" = Id, Path, description = "Id of the reminder")),
    responses((status = 204, description = "It is gone")))]
async fn delete(may: May<Admin>, State(api): State<Arc<Api>>, Segment(id): Segment<Id>) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let existed = reminders::delete(&mut session, id, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::NotFound) }
}

/// The service was done: the reminder is completed. Saying so again changes nothing.
#[utoipa::path(post, path = "/{id}/complete", tag = "reminders",
    params(("id" = Id, Path, description = "Id of the reminder")),
    responses((status = 200, description = "The reminder", body = ReminderView)))]
async fn complete(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<ReminderView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let completed = reminders::complete(&mut session, id, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    Ok(axum::Json(completed.ok_or(Problem::NotFound)?.into()))
}

/// The reminder is not wanted any more: it is cancelled, and announced to no one. Saying so again changes nothing.
#[utoipa::path(post, path = "/{id}/cancel", tag = "reminders",
    params(("id" = Id, Path, description = "Id of the reminder")),
    responses((status = 200, description = "The reminder", body = ReminderView)))]
async fn cancel(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<ReminderView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let cancelled = reminders::cancel(&mut session, id, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    Ok(axum::Json(cancelled.ok_or(Problem::NotFound)?.into()))
}

/// Whom we write to on which morning: pending reminders in the order of their days, at most 1,000.
///
/// A day on which the schedule does not run waits for the next one, and so does what was due before. Reminders that only kilometres
/// will make due have no morning yet.
#[utoipa::path(get, path = "/agenda", tag = "reminders", params(AgendaQuery),
    responses((status = 200, description = "The mornings", body = AgendaView)))]
async fn show_agenda(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(AgendaQuery { days }): Query<AgendaQuery>,
) -> Result<axum::Json<AgendaView>, Problem> {
    let days = days.unwrap_or(DAYS);
    if !(0..=MOST_DAYS).contains(&days) {
        return Err(FieldErrors::one("days", format!("Debe estar entre 0 y {MOST_DAYS}.")).into());
    }
    let (now, zone) = (api.context.clock.now(), api.context.config.time_zone);
    let mut session = api.context.db.read().await?;
    let mornings = reminders::mornings(&mut session, zone, now, days.unsigned_abs()).await?;
    let runs = mornings.days();
    let (first, last) = (runs.first().copied(), runs.last().copied());
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(axum::Json(AgendaView { is_enabled: mornings.is_enabled, mornings: Vec::new() }));
    };
    let mut planned = reminders::due_by_distance(&mut session, first, MOST_PLANNED).await?;
    planned.extend(reminders::agenda(&mut session, last, None, MOST_PLANNED).await?);
    let morning = |(at, day): &(Timestamp, NaiveDate)| MorningView {
        at: *at,
        day: *day,
        reminders: planned
            .iter()
            .filter(|one| reminders::morning(one.due_on, &runs) == Some(*day))
            .map(PlannedView::from)
            .collect(),
    };
    let mornings_with = mornings.runs.iter().map(morning).filter(|morning| !morning.reminders.is_empty());
    Ok(axum::Json(AgendaView { is_enabled: mornings.is_enabled, mornings: mornings_with.collect() }))
}

/// What the schedule would announce at its next run, or at a moment: to whom, on which channels, and why not on others. Nothing is sent.
///
/// It is decided as it will be decided then, with customers, settings and odometers as they are now. At most 200 reminders.
#[utoipa::path(get, path = "/dry-run", tag = "reminders", params(ReminderDryRunQuery),
    responses((status = 200, description = "What would be sent", body = ReminderDryRunView)))]
async fn dry_run(
    May { caller, .. }: May<Read>,
    State(api): State<Arc<Api>>,
    Query(ReminderDryRunQuery { at }): Query<ReminderDryRunQuery>,
) -> Result<axum::Json<ReminderDryRunView>, Problem> {
    let now = api.context.clock.now();
    let next = match at {
        Some(at) => Some(at),
        None => {
            let mut session = api.context.db.read().await?;
            let mornings = reminders::mornings(&mut session, api.context.config.time_zone, now, 366).await?;
            mornings.runs.first().map(|(at, _)| *at)
        }
    };
    let at = next.unwrap_or(now);
    let (tried, has_more) = reminders::dry_run(&api.notifications, at, MOST_TRIED).await?;
    let view = |one: TriedReminder| {
        let (preview, error) = match one.outcome {
            Ok(preview) => (Some(if caller.sees_contacts() { preview } else { preview.masked() }), None),
            Err(rejection) => (None, Some(rejection.to_string())),
        };
        TriedReminderView { id: one.reminder.id, is_overdue: one.standing == Standing::Overdue, preview, error }
    };
    Ok(axum::Json(ReminderDryRunView { at, reminders: tried.into_iter().map(view).collect(), has_more }))
}

/// Days that the agenda shows unless others are asked for.
const DAYS: i64 = 30;

const MOST_DAYS: i64 = 366;

const MOST_PLANNED: i64 = 1_000;

const MOST_TRIED: i64 = 200;

async fn write(
    api: &Api,
    may: &May<Admin>,
    id: Id,
    draft: impl FnOnce(Reminder) -> Written<ReminderDraft>,
) -> Result<axum::Json<ReminderView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let reminder = reminders::lock(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let draft = of_a_vehicle(&mut session, draft(reminder.clone())).await?;
    let written = reminders::replace(&mut session, &reminder, &draft, &may.actor(), api.context.clock.now()).await?;
    let written = written.ok_or_else(unknown_vehicle)?;
    session.commit().await?;
    Ok(axum::Json(written.into()))
}

/// The draft, unless something is wrong with it or there is no such vehicle.
async fn of_a_vehicle(session: &mut Session, mut written: Written<ReminderDraft>) -> Result<ReminderDraft, Problem> {
    let vehicle = written.record.vehicle;
    if let Some(vehicle) = vehicle
        && vehicles::find(session, vehicle).await?.is_none()
    {
        written.check(vec![("vehicle", UNKNOWN_VEHICLE.to_owned())]);
    }
    written.finish()
}

const UNKNOWN_VEHICLE: &str = "No existe un vehículo con este id.";

fn unknown_vehicle() -> Problem {
    FieldErrors::one("vehicle", UNKNOWN_VEHICLE).into()
}

/// A reminder.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reminder)]
pub(super) struct ReminderView {
    /// Id of the reminder.
    id: Id,
    /// Id of the vehicle.
    vehicle: Id,
    /// The vehicle's licence plate.
    #[schema(examples("ABC123"))]
    vehicle_plate: String,
    /// The vehicle's brand, model and year.
    #[schema(examples("Haval H6 2024"))]
    vehicle_display: String,
    /// Whose vehicle it is.
    #[schema(examples("customer-001"))]
    customer_id: String,
    /// What makes it due.
    #[serde(rename = "type")]
    kind: Kind,
    /// What is to be done.
    #[schema(examples("Cambio de aceite"))]
    description: String,
    /// Odometer at which it is due, in kilometres.
    target_kilometers: Option<i32>,
    /// Day on which it is due.
    target_date: Option<NaiveDate>,
    /// The only channels that announce it; empty for the customer's own preferences.
    notify_via: Vec<Channel>,
    /// Where it stands.
    status: Status,
    /// How many days before the date it is announced.
    notify_before_days: i32,
    /// How many kilometres before the target it is announced.
    notify_before_km: i32,
    /// When it was last announced.
    last_notified_at: Option<Timestamp>,
    /// When it was first written.
    created_at: Timestamp,
    /// When it was last written.
    updated_at: Timestamp,
}

impl From<Reminder> for ReminderView {
    fn from(reminder: Reminder) -> Self {
        Self {
            vehicle_display: reminder.vehicle_display(),
            id: reminder.id,
            vehicle: reminder.vehicle_id,
            vehicle_plate: reminder.plate,
            customer_id: reminder.customer_id,
            kind: reminder.kind,
            description: reminder.description,
            target_kilometers: reminder.target_kilometers,
            target_date: reminder.target_date,
            notify_via: reminder.notify_via.0,
            status: reminder.status,
            notify_before_days: reminder.notify_before_days,
            notify_before_km: reminder.notify_before_km,
            last_notified_at: reminder.last_notified_at,
            created_at: reminder.created_at,
            updated_at: reminder.updated_at,
        }
    }
}

/// Whom we write to on which morning.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReminderAgenda)]
struct AgendaView {
    /// False: the schedule is switched off, and these are the mornings that it would have.
    is_enabled: bool,
    /// Mornings on which something is announced.
    mornings: Vec<MorningView>,
}

/// A morning.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReminderMorning)]
struct MorningView {
    /// When the schedule runs.
    at: Timestamp,
    /// The day of it, by the clocks of the installation.
    day: NaiveDate,
    /// What is announced then.
    reminders: Vec<PlannedView>,
}

/// A reminder of the agenda.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlannedReminder)]
struct PlannedView {
    /// Id of the reminder.
    id: Id,
    /// Whom it is announced to.
    #[schema(examples("customer-001"))]
    customer_id: String,
    /// The vehicle's licence plate.
    #[schema(examples("ABC123"))]
    vehicle_plate: String,
    /// What is to be done.
    #[schema(examples("Cambio de aceite"))]
    description: String,
    /// Day on which it is due.
    target_date: Option<NaiveDate>,
    /// The first day on which it may be announced; null where kilometres have made it due.
    due_on: Option<NaiveDate>,
}

impl From<&Planned> for PlannedView {
    fn from(Planned { reminder, due_on }: &Planned) -> Self {
        Self {
            id: reminder.id,
            customer_id: reminder.customer_id.clone(),
            vehicle_plate: reminder.plate.clone(),
            description: reminder.description.clone(),
            target_date: reminder.target_date,
            due_on: *due_on,
        }
    }
}

/// What would be announced.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReminderDryRun)]
struct ReminderDryRunView {
    /// The moment for which it was decided.
    at: Timestamp,
    /// What is due then.
    reminders: Vec<TriedReminderView>,
    /// More are due than are told.
    has_more: bool,
}

/// What would become of a reminder.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TriedReminder)]
struct TriedReminderView {
    /// Id of the reminder.
    id: Id,
    /// Its target will have passed.
    is_overdue: bool,
    /// The decision, as a dry run of the event tells it; null when the event would be refused.
    preview: Option<Preview>,
    /// Why it would be refused.
    error: Option<String>,
}

impl Form for ReminderDraft {
    /// The vehicle has two names, so the check asks for it.
    const REQUIRED: &'static [&'static str] = &["type", "description"];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set_nullable("vehicle_id", &mut self.vehicle);
        fields.set_nullable("vehicle", &mut self.vehicle);
        fields.set("type", &mut self.kind);
        fields.set("description", &mut self.description);
        fields.set_nullable("target_kilometers", &mut self.target_kilometers);
        fields.set_nullable("target_date", &mut self.target_date);
        fields.set("notify_via", &mut self.notify_via);
        fields.set_nullable("status", &mut self.status);
        fields.set("notify_before_days", &mut self.notify_before_days);
        fields.set("notify_before_km", &mut self.notify_before_km);
        self.notify_via.sort_unstable();
        self.notify_via.dedup();
        fields.check(self.errors());
    }
}

impl Field for Kind {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

impl Field for Status {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

request! {
    /// Which reminders to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct ReminderQuery {
        /// Exactly this status.
        status: Option<Status>,
        /// True: pending, notified or overdue. False: completed or cancelled.
        open: Option<bool>,
        /// Only of this customer's vehicles.
        customer_id: Option<String>,
        /// Only of this vehicle.
        vehicle_id: Option<Id>,
    }
}

request! {
    /// How far the agenda looks.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct AgendaQuery {
        /// So many days after today.
        #[param(minimum = 0, maximum = 366, default = 30)]
        days: Option<i64>,
    }
}

request! {
    /// For which moment it is decided.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct ReminderDryRunQuery {
        /// Left out, the next run of the schedule.
        at: Option<Timestamp>,
    }
}

impl From<ReminderQuery> for ReminderFilter {
    fn from(ReminderQuery { status, open, customer_id, vehicle_id }: ReminderQuery) -> Self {
        Self { status, open, customer_id, vehicle_id }
    }
}
