//! What deliveries change besides their tasks, written for many at once.

use async_trait::async_trait;
use recado_kernel::db::{self, Session};
use recado_webhooks::deliveries::attempts::{self, Attempt};
use recado_webhooks::deliveries::{self, Change};
use recado_webhooks::endpoints::{self, Taken};

use crate::registry::{Effects, Rows, ToWrite};

/// The rows of one delivery.
#[derive(Debug)]
pub(crate) struct WebhookRows {
    pub(super) change: Change,
    pub(super) attempt: Option<Attempt>,
    pub(super) taken: Option<Taken>,
}

/// How a delivery ended, or goes on.
pub(crate) type Sent = Effects<WebhookRows>;

/// One statement per table, and two for the endpoints.
#[async_trait]
impl Rows for WebhookRows {
    async fn write(session: &mut Session, batch: &[ToWrite<'_, Self>]) -> db::Result<()> {
        // What happened is true even when the claim is lost; what follows from it is for the claim in force to decide.
        let made: Vec<Attempt> = batch.iter().filter_map(|one| one.rows.attempt.clone()).collect();
        let taken: Vec<Taken> = batch.iter().filter_map(|one| one.rows.taken).collect();
        let in_force = batch.iter().filter(|one| one.in_force || one.rows.taken.is_some_and(|taken| taken.succeeded));
        let changes: Vec<Change> = in_force.map(|one| one.rows.change.clone()).collect();
        deliveries::apply(session, &changes).await?;
        attempts::record(session, &made).await?;
        for (endpoint_id, reason) in endpoints::count(session, &taken).await? {
            let now = taken.iter().map(|taken| taken.at).max().unwrap_or_default();
            deliveries::disable(session, endpoint_id, reason, now).await?;
            tracing::warn!(endpoint.id = %endpoint_id, %reason, "webhook endpoint {endpoint_id} is disabled: {reason}");
        }
        Ok(())
    }
}
