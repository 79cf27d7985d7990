//! Vehicles (S002-22, S002-53).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::NaiveDate;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Violation};
use recado_kernel::ids::Id;
use recado_notifications::vehicles::{self, Vehicle, VehicleDraft, VehicleFilter};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May, Read};
use crate::extract::body::{Changes, Form, Json, Written};
use crate::extract::fields::Fields;
use crate::extract::once::{Created, IdempotencyHeader, Once};
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(show, replace, change, delete))
}

/// Vehicles, by plate.
#[utoipa::path(get, path = "/", tag = "vehicles", params(VehicleQuery, Paging),
    responses((status = 200, description = "A page of vehicles", body = Page<VehicleView>)))]
async fn list(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<VehicleQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<VehicleView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = vehicles::list(&mut session, &query.into(), paging.limit(), paging.offset()).await?;
    Ok(axum::Json(paging.page(found.into_iter().map(VehicleView::from).collect(), count)?))
}

/// Adds a vehicle to a customer who is known.
#[utoipa::path(post, path = "/", tag = "vehicles", params(IdempotencyHeader), request_body = VehicleDraft,
    responses(
        (status = 201, description = "The vehicle", body = VehicleView),
        (status = 422, description = "The Idempotency-Key was used for another request", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Once { key, body: sent }: Once<Changes>,
) -> Result<Created<VehicleView>, Problem> {
    let mut session = api.context.db.begin().await?;
    if let Some(made) = key.made::<Id>(&mut session, &may.caller, api.context.clock.now()).await? {
        let vehicle = vehicles::find(&mut session, made).await?.ok_or(Problem::NotFound)?;
        return Ok(Created::Before(vehicle.into()));
    }
    let mut written = sent.whole(VehicleDraft::default());
    written.check(vehicles::conflicts(&mut session, &written.record, None).await?);
    let draft = written.finish()?;
    let created = vehicles::insert(&mut session, &draft, &may.actor(), api.context.clock.now()).await;
    let created = created.map_err(plate_taken)?;
    let created = created.ok_or_else(unknown_customer)?;
    key.keep(&mut session, &may.caller, &created.id).await?;
    session.commit().await?;
    Ok(Created::Now(created.into()))
}

/// One vehicle.
#[utoipa::path(get, path = "/{id}", tag = "vehicles", params(("id" = Id, Path, description = "Id of the vehicle")),
    responses((status = 200, description = "The vehicle", body = VehicleView)))]
async fn show(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<VehicleView>, Problem> {
    let vehicle = vehicles::find(&mut api.context.db.read().await?, id).await?.ok_or(Problem::NotFound)?;
    Ok(axum::Json(vehicle.into()))
}

/// Writes a vehicle as a whole. What is required must be sent; the rest stays as it is where it is not.
#[utoipa::path(put, path = "/{id}", tag = "vehicles", params(("id" = Id, Path, description = "Id of the vehicle")),
    request_body = VehicleDraft, responses((status = 200, description = "The vehicle", body = VehicleView)))]
async fn replace(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(sent): Json<Changes>,
) -> Result<axum::Json<VehicleView>, Problem> {
    write(&api, &may, id, |vehicle| sent.whole(VehicleDraft::from(vehicle))).await
}

/// Changes the fields that are sent.
#[utoipa::path(patch, path = "/{id}", tag = "vehicles", params(("id" = Id, Path, description = "Id of the vehicle")),
    request_body = VehicleDraft, responses((status = 200, description = "The vehicle", body = VehicleView)))]
async fn change(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<VehicleView>, Problem> {
    write(&api, &may, id, |vehicle| changes.over(VehicleDraft::from(vehicle))).await
}

/// Deletes a vehicle with its reminders.
#[utoipa::path(delete, path = "/{id}", tag = "vehicles", params(("id" = Id, Path, description = "Id of the vehicle")),
    responses((status = 204, description = "It is gone")))]
async fn delete(may: May<Admin>, State(api): State<Arc<Api>>, Segment(id): Segment<Id>) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let existed = vehicles::delete(&mut session, id, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::NotFound) }
}

async fn write(
    api: &Api,
    may: &May<Admin>,
    id: Id,
    draft: impl FnOnce(Vehicle) -> Written<VehicleDraft>,
) -> Result<axum::Json<VehicleView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let vehicle = vehicles::lock(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let mut draft = draft(vehicle.clone());
    draft.check(vehicles::conflicts(&mut session, &draft.record, Some(id)).await?);
    let draft = draft.finish()?;
    let now = api.context.clock.now();
    let written = vehicles::replace(&mut session, &vehicle, &draft, &may.actor(), now).await.map_err(plate_taken)?;
    let written = written.ok_or_else(unknown_customer)?;
    session.commit().await?;
    Ok(axum::Json(written.into()))
}

fn plate_taken(error: db::Error) -> Problem {
    if error.violates("vehicles_plate_key", "vehicles.plate") {
        return FieldErrors::one("plate", vehicles::plate_taken()).into();
    }
    error.into()
}

fn unknown_customer() -> Problem {
    FieldErrors::one("customer_id", vehicles::unknown_customer()).into()
}

/// A vehicle.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Vehicle)]
pub(super) struct VehicleView {
    /// Id of the vehicle.
    id: Id,
    /// The Core service's own identifier, where it has one.
    vehicle_id: Option<String>,
    /// Whose vehicle it is.
    customer_id: String,
    /// Make, e.g. Haval.
    brand: String,
    /// Model, e.g. H6.
    model: String,
    /// Year of manufacture.
    year: Option<i32>,
    /// Licence plate, in upper case.
    plate: String,
    /// Brand, model and year.
    #[schema(examples("Haval H6 2024"))]
    display_name: String,
    /// Odometer, in kilometres.
    current_kilometers: Option<i32>,
    /// Day of the last service.
    last_service_date: Option<NaiveDate>,
    /// Odometer at which the next service is due, in kilometres.
    next_service_kilometers: Option<i32>,
    /// Kilometres until the next service; negative when it is overdue.
    remaining_km: Option<i32>,
    /// Picture of the vehicle.
    image_url: Option<String>,
    /// When it was first written.
    created_at: Timestamp,
    /// When it was last written.
    updated_at: Timestamp,
}

impl From<Vehicle> for VehicleView {
    fn from(vehicle: Vehicle) -> Self {
        Self {
            display_name: vehicle.display_name(),
            remaining_km: vehicle.remaining_km(),
            id: vehicle.id,
            vehicle_id: vehicle.vehicle_id,
            customer_id: vehicle.customer_id,
            brand: vehicle.brand,
            model: vehicle.model,
            year: vehicle.year,
            plate: vehicle.plate,
            current_kilometers: vehicle.current_kilometers,
            last_service_date: vehicle.last_service_date,
            next_service_kilometers: vehicle.next_service_kilometers,
            image_url: vehicle.image_url,
            created_at: vehicle.created_at,
            updated_at: vehicle.updated_at,
        }
    }
}

impl Form for VehicleDraft {
    const REQUIRED: &'static [&'static str] = &["customer_id", "brand", "model", "plate"];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set("customer_id", &mut self.customer_id);
        fields.set("brand", &mut self.brand);
        fields.set("model", &mut self.model);
        fields.set_nullable("year", &mut self.year);
        fields.set("plate", &mut self.plate);
        fields.set_nullable("current_kilometers", &mut self.current_kilometers);
        fields.set_nullable("last_service_date", &mut self.last_service_date);
        fields.set_nullable("next_service_kilometers", &mut self.next_service_kilometers);
        fields.set_nullable("image_url", &mut self.image_url);
        self.plate = self.plate.trim().to_uppercase();
        fields.check(self.errors());
    }
}

request! {
    /// Which vehicles to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct VehicleQuery {
        /// Only this customer's.
        customer_id: Option<String>,
        /// Part of the plate, in either case.
        plate: Option<String>,
        /// The same as `plate`.
        search: Option<String>,
    }
}

impl From<VehicleQuery> for VehicleFilter {
    fn from(VehicleQuery { customer_id, plate, search }: VehicleQuery) -> Self {
        Self { customer_id, plate: plate.or(search) }
    }
}
