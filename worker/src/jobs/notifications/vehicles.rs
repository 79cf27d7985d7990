//! Queue `sync`: a vehicle as the Core service knows it, and the reminders that its kilometres make due (d18).

use std::sync::Arc;

use recado_kernel::db::{self, Violation};
use recado_kernel::ids::Id;
use recado_notifications::customers::Synced;
use recado_notifications::jobs::SyncVehicle;
use recado_notifications::vehicles::{self, VehicleSync};
use recado_queue::context::Context;
use recado_queue::tasks::Claimed;
use serde_json::json;

use super::{Notifier, reminders};
use crate::registry::{JobError, Outcome};

pub(crate) async fn sync(
    notifier: Arc<Notifier>,
    _: Arc<Claimed>,
    SyncVehicle(vehicle): SyncVehicle,
) -> Result<Outcome, JobError> {
    let context = &notifier.system.context;
    let stored = match store(context, &vehicle).await {
        // Another job may just have created it; on the second look it is there.
        Err(error) if is_taken(&error) => store(context, &vehicle).await,
        stored => stored,
    };
    let (synced, id) = match stored {
        Ok(stored) => stored,
        Err(error) if is_taken(&error) => {
            return Err(JobError::fail("the plate belongs to another vehicle; sync that one with its new plate first"));
        }
        Err(error) => return Err(error.into()),
    };
    let announced = reminders::announce(&notifier.system, Some(id)).await?;
    Ok(Outcome::Done(json!({ "plate": vehicle.plate, "outcome": synced, "reminders_notified": announced.notified })))
}

async fn store(context: &Context, vehicle: &VehicleSync) -> db::Result<(Synced, Id)> {
    let mut session = context.db.begin().await?;
    let stored = vehicles::sync(&mut session, vehicle, context.clock.now()).await?;
    session.commit().await?;
    Ok(stored)
}

fn is_taken(error: &sqlx::Error) -> bool {
    error.violates("vehicles_plate_key", "vehicles.plate")
        || error.violates("vehicles_vehicle_id_key", "vehicles.vehicle_id")
}
