//! The Core service tells us about customers and vehicles (S002-32): taken in here, worked off on queue `sync`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::ids::Id;
use recado_notifications::customers::CustomerSync;
use recado_notifications::jobs::{SyncCustomer, SyncVehicle};
use recado_notifications::vehicles::VehicleSync;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::auth::InternalCaller;
use crate::extract::body::Json;
use crate::extract::fields::Fields;
use crate::extract::request::Request;
use crate::problem::Problem;
use crate::state::{Api, Routes};

type Answer = (StatusCode, axum::Json<Queued>);

/// Below the customers of the internal API.
pub(crate) fn customers() -> Routes {
    Routes::new().routes(routes!(customer))
}

/// Below the vehicles of the internal API.
pub(crate) fn vehicles() -> Routes {
    Routes::new().routes(routes!(vehicle))
}

/// Takes a customer in, as the Core service knows it (S002-60).
#[utoipa::path(post, path = "/sync", tag = "sync", request_body = CustomerSync,
    responses((status = 202, description = "It is kept, and worked off on queue `sync`", body = Queued)))]
async fn customer(
    _: InternalCaller,
    State(api): State<Arc<Api>>,
    Json(sync): Json<CustomerSync>,
) -> Result<Answer, Problem> {
    let sync = sync.checked(&api.context.config.default_country)?;
    let customer_id = sync.customer_id.clone();
    let task_id = api.enqueue.accept(&SyncCustomer(sync)).await?;
    Ok(queued(Queued { status: "accepted", message: "Customer sync queued", task_id, customer_id, plate: None }))
}

/// Takes a vehicle in, as the Core service knows it; reminders that its kilometres make due are announced (S002-61).
#[utoipa::path(post, path = "/sync", tag = "sync", request_body = VehicleSync,
    responses((status = 202, description = "It is kept, and worked off on queue `sync`", body = Queued)))]
async fn vehicle(
    _: InternalCaller,
    State(api): State<Arc<Api>>,
    Json(sync): Json<VehicleSync>,
) -> Result<Answer, Problem> {
    let sync = sync.checked()?;
    let (customer_id, plate) = (sync.customer_id.clone(), Some(sync.plate.clone()));
    let task_id = api.enqueue.accept(&SyncVehicle(sync)).await?;
    Ok(queued(Queued { status: "accepted", message: "Vehicle sync queued", task_id, customer_id, plate }))
}

/// Where to look for what became of it: `GET /api/internal/v1/tasks/{task_id}/status/`.
#[derive(Serialize, ToSchema)]
#[schema(as = SyncQueued)]
struct Queued {
    /// Always `accepted`.
    #[schema(examples("accepted"))]
    status: &'static str,
    /// The same in a sentence.
    #[schema(examples("Customer sync queued"))]
    message: &'static str,
    /// The task that writes it; its status tells what became of it.
    task_id: Id,
    /// Whom it is about.
    #[schema(examples("customer-001"))]
    customer_id: String,
    /// The vehicle's plate, in upper case; absent where a customer was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(examples("ABC123"))]
    plate: Option<String>,
}

fn queued(answer: Queued) -> Answer {
    (StatusCode::ACCEPTED, axum::Json(answer))
}

impl Request for CustomerSync {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            customer_id: fields.required("customer_id"),
            name: fields.optional("name"),
            first_name: fields.optional("first_name"),
            last_name: fields.optional("last_name"),
            email: fields.optional("email"),
            phone: fields.optional("phone"),
            whatsapp: fields.optional("whatsapp"),
            sync_version: fields.optional("sync_version"),
        })
    }
}

impl Request for VehicleSync {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            vehicle_id: fields.optional("vehicle_id"),
            customer_id: fields.required("customer_id"),
            plate: fields.required("plate"),
            brand: fields.optional("brand"),
            model: fields.optional("model"),
            year: fields.optional("year"),
            current_kilometers: fields.optional("current_kilometers"),
            last_service_date: fields.optional("last_service_date"),
            next_service_kilometers: fields.optional("next_service_kilometers"),
            image_url: fields.optional("image_url"),
            sync_version: fields.optional("sync_version"),
        })
    }
}
