//! Queue `sync`: a vehicle as the Core service knows it, and the reminders that its kilometres make due (d18).

use recado_shared::context::Context;
use recado_shared::db::Violation;
use recado_shared::vehicles::{self, VehicleSync};
use serde_json::json;

use super::reminders;
use crate::run::{Outcome, Trouble};

pub(crate) async fn sync(context: &Context, vehicle: &VehicleSync) -> Result<Outcome, Trouble> {
    let mut session = context.db.begin().await?;
    let (synced, id) = match vehicles::sync(&mut session, vehicle, context.clock.now()).await {
        Ok(synced) => synced,
        Err(error) if error.violates("vehicles_plate_key", "vehicles.plate") => {
            return Ok(Outcome::Failed("the plate belongs to another vehicle; sync that one with its new plate first".into()));
        }
        Err(error) => return Err(error.into()),
    };
    session.commit().await?;
    let announced = reminders::announce(context, Some(id)).await?;
    Ok(Outcome::Done(json!({ "plate": vehicle.plate, "outcome": synced, "reminders_notified": announced.notified })))
}
