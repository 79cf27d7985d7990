//! Hourly: counts the last days anew, because receipts come late (S002-28).

use recado_shared::analytics;
use recado_shared::context::Context;
use serde_json::json;

use crate::run::{Outcome, Trouble};

pub(crate) async fn count(context: &Context) -> Result<Outcome, Trouble> {
    let mut session = context.db.begin().await?;
    let days = analytics::count_unsettled(&mut session, context.config.time_zone, context.clock.now()).await?;
    session.commit().await?;
    Ok(Outcome::Done(json!({ "days": days })))
}
