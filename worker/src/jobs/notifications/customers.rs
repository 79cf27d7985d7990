//! Queue `sync`: a customer as the Core service knows it.

use std::sync::Arc;

use recado_notifications::customers::{self, CustomerSync};
use recado_notifications::jobs::SyncCustomer;
use recado_queue::tasks::Claimed;

use super::Notifier;
use serde_json::json;

use crate::registry::{JobError, Outcome};

pub(crate) async fn sync(
    notifier: Arc<Notifier>,
    _: Arc<Claimed>,
    SyncCustomer(customer): SyncCustomer,
) -> Result<Outcome, JobError> {
    let context = &notifier.system.context;
    let mut session = context.db.begin().await?;
    let synced = customers::sync(&mut session, &customer, context.clock.now()).await?;
    session.commit().await?;
    let CustomerSync { customer_id, warnings, .. } = customer;
    Ok(Outcome::Done(json!({ "customer_id": customer_id, "outcome": synced, "warnings": warnings })))
}
