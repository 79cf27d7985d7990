//! The Core service tells us about customers and vehicles (S002-32): taken in here, worked off on queue `sync`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_shared::customers::CustomerSync;
use recado_shared::ids::Id;
use recado_shared::queue::Job;
use recado_shared::vehicles::VehicleSync;
use serde::Serialize;

use crate::Api;
use crate::auth::InternalCaller;
use crate::body::{Body, Fields, Json};
use crate::problem::Problem;

type Answer = (StatusCode, axum::Json<Queued>);

/// Takes a customer in (S002-60).
pub(crate) async fn customer(
    _: InternalCaller,
    State(api): State<Arc<Api>>,
    Json(sync): Json<CustomerSync>,
) -> Result<Answer, Problem> {
    let sync = sync.checked(&api.context.config.default_country)?;
    let customer_id = sync.customer_id.clone();
    let task_id = api.inbox.accept(&Job::SyncCustomer(Box::new(sync))).await?;
    Ok(queued(Queued { status: "accepted", message: "Customer sync queued", task_id, customer_id, plate: None }))
}

/// Takes a vehicle in (S002-61).
pub(crate) async fn vehicle(
    _: InternalCaller,
    State(api): State<Arc<Api>>,
    Json(sync): Json<VehicleSync>,
) -> Result<Answer, Problem> {
    let sync = sync.checked()?;
    let (customer_id, plate) = (sync.customer_id.clone(), Some(sync.plate.clone()));
    let task_id = api.inbox.accept(&Job::SyncVehicle(Box::new(sync))).await?;
    Ok(queued(Queued { status: "accepted", message: "Vehicle sync queued", task_id, customer_id, plate }))
}

/// Where to look for what became of it: `GET /api/internal/v1/tasks/{task_id}/status/`.
#[derive(Serialize)]
pub(crate) struct Queued {
    status: &'static str,
    message: &'static str,
    task_id: Id,
    customer_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    plate: Option<String>,
}

fn queued(answer: Queued) -> Answer {
    (StatusCode::ACCEPTED, axum::Json(answer))
}

impl Body for CustomerSync {
    fn read(fields: &mut Fields) -> Self {
        Self {
            customer_id: fields.required("customer_id"),
            name: fields.optional("name"),
            first_name: fields.optional("first_name"),
            last_name: fields.optional("last_name"),
            email: fields.optional("email"),
            phone: fields.optional("phone"),
            whatsapp: fields.optional("whatsapp"),
            sync_version: fields.optional("sync_version"),
        }
    }
}

impl Body for VehicleSync {
    fn read(fields: &mut Fields) -> Self {
        Self {
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
        }
    }
}
