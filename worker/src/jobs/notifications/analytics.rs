//! Hourly: counts the last days again, because receipts come late (S002-28).

use std::sync::Arc;

use recado_notifications::analytics;
use recado_notifications::jobs::CountAnalytics;
use recado_queue::tasks::Claimed;

use super::Notifier;
use serde_json::json;

use crate::registry::{JobError, Outcome};

pub(crate) async fn count(notifier: Arc<Notifier>, _: Arc<Claimed>, _: CountAnalytics) -> Result<Outcome, JobError> {
    let context = &notifier.system.context;
    let days = analytics::count_unsettled(&context.db, context.config.time_zone, context.clock.now()).await?;
    Ok(Outcome::Done(json!({ "days": days })))
}
