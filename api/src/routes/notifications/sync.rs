//! The Core service tells us about customers and vehicles (S002-32): taken in here, worked off on queue `sync`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::ids::Id;
use recado_notifications::customers::{CustomerSync, Warning};
use recado_notifications::jobs::{SyncCustomer, SyncVehicle};
use recado_notifications::vehicles::VehicleSync;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::InternalCaller;
use crate::extract::body::{Changes, Form, Json};
use crate::extract::fields::{Fields, PeoplesDate};
use crate::problem::Problem;
use crate::routing::routes;
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
    Json(sent): Json<Changes>,
) -> Result<Answer, Problem> {
    let country = &api.context.config.default_country;
    let sync = sent.whole(CustomerSync::default()).checked(|sync| sync.checked(country)).finish()?;
    let (customer_id, warnings) = (sync.customer_id.clone(), sync.warnings.clone());
    let task_id = api.enqueue.accept(&SyncCustomer(sync)).await?;
    let message = "Customer sync queued";
    Ok(queued(Queued { status: "accepted", message, task_id, customer_id, plate: None, warnings }))
}

/// Takes a vehicle in, as the Core service knows it; reminders that its kilometres make due are announced (S002-61).
#[utoipa::path(post, path = "/sync", tag = "sync", request_body = VehicleSync,
    responses((status = 202, description = "It is kept, and worked off on queue `sync`", body = Queued)))]
async fn vehicle(_: InternalCaller, State(api): State<Arc<Api>>, Json(sent): Json<Changes>) -> Result<Answer, Problem> {
    let sync = sent.whole(VehicleSync::default()).checked(VehicleSync::checked).finish()?;
    let (customer_id, plate) = (sync.customer_id.clone(), Some(sync.plate.clone()));
    let task_id = api.enqueue.accept(&SyncVehicle(sync)).await?;
    let (message, warnings) = ("Vehicle sync queued", Vec::new());
    Ok(queued(Queued { status: "accepted", message, task_id, customer_id, plate, warnings }))
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
    /// Fields that were left out or taken with a reservation; the task's result says so again. Absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

fn queued(answer: Queued) -> Answer {
    (StatusCode::ACCEPTED, axum::Json(answer))
}

impl Form for CustomerSync {
    const REQUIRED: &'static [&'static str] = &["customer_id"];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set("customer_id", &mut self.customer_id);
        fields.set_nullable("name", &mut self.name);
        fields.set_nullable("first_name", &mut self.first_name);
        fields.set_nullable("last_name", &mut self.last_name);
        fields.set_nullable("email", &mut self.email);
        fields.set_nullable("phone", &mut self.phone);
        fields.set_nullable("whatsapp", &mut self.whatsapp);
        fields.set_nullable("sync_version", &mut self.sync_version);
        if self.name.is_none() && self.first_name.is_none() {
            fields.check(vec![("name", "Este campo es requerido: envíe name, o first_name.".to_owned())]);
        }
    }
}

impl Form for VehicleSync {
    const REQUIRED: &'static [&'static str] = &["customer_id", "plate", "brand", "model"];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set_nullable("vehicle_id", &mut self.vehicle_id);
        fields.set("customer_id", &mut self.customer_id);
        fields.set("plate", &mut self.plate);
        fields.set_nullable("brand", &mut self.brand);
        fields.set_nullable("model", &mut self.model);
        fields.set_nullable("year", &mut self.year);
        fields.set_nullable("current_kilometers", &mut self.current_kilometers);
        // People typed it into the core system.
        self.last_service_date = fields.optional("last_service_date").map(|PeoplesDate(date)| date);
        fields.set_nullable("next_service_kilometers", &mut self.next_service_kilometers);
        fields.set_nullable("image_url", &mut self.image_url);
        fields.set_nullable("sync_version", &mut self.sync_version);
    }
}
