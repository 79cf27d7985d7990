//! Queue `sync`: a vehicle as the Core service knows it, and the reminders that its kilometres make due (d18).

use recado_shared::context::Context;
use recado_shared::customers::Synced;
use recado_shared::db::{self, Violation};
use recado_shared::ids::Id;
use recado_shared::vehicles::{self, VehicleSync};
use serde_json::json;

use super::reminders;
use crate::run::{Outcome, Trouble};

pub(crate) async fn sync(context: &Context, vehicle: &VehicleSync) -> Result<Outcome, Trouble> {
    let stored = match store(context, vehicle).await {
        // Somebody else may just have created it; on the second look it is there.
        Err(error) if is_taken(&error) => store(context, vehicle).await,
        stored => stored,
    };
    let (synced, id) = match stored {
        Ok(stored) => stored,
        Err(error) if is_taken(&error) => {
            return Ok(Outcome::Failed(
                "the plate belongs to another vehicle; sync that one with its new plate first".into(),
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let announced = reminders::announce(context, Some(id)).await?;
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
