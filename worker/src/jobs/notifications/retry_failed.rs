//! Every 15 minutes: chains that failed for passing reasons begin again (d13).

use std::sync::Arc;

use recado_notifications::jobs::RetryFailedNotifications;
use recado_notifications::notifications::redrive;
use recado_queue::tasks::Claimed;
use serde_json::json;

use super::Notifier;
use crate::registry::{JobError, Outcome};

/// How many failed chains are taken at a time (S002-81).
const LARGEST_BATCH: i64 = 100;

pub(super) async fn run(
    notifier: Arc<Notifier>,
    _: Arc<Claimed>,
    _: RetryFailedNotifications,
) -> Result<Outcome, JobError> {
    let context = &notifier.system.context;
    let mut session = context.db.begin().await?;
    let rings = redrive::redrive_failed(&mut session, context.clock.now(), LARGEST_BATCH).await?;
    session.commit().await?;
    context.ring(&rings).await;
    Ok(Outcome::Done(json!({ "redriven": rings.len() })))
}
