//! What deliveries change besides their tasks, written for many at once.

use async_trait::async_trait;
use recado_kernel::db::{self, Session};
use recado_webhooks::deliveries::attempts::{self, Attempt};
use recado_webhooks::deliveries::{self, Change};
use recado_webhooks::endpoints::{self, AttemptOutcome, Finding, Found};
use recado_webhooks::notices::{self, Notice, NoticeKind};

use crate::registry::{Effects, Rows, ToWrite};

/// The rows of one delivery.
#[derive(Debug)]
pub(crate) struct WebhookRows {
    pub(super) change: Change,
    pub(super) attempt: Option<Attempt>,
    pub(super) attempt_outcome: Option<AttemptOutcome>,
}

/// How a delivery ended, or goes on.
pub(crate) type Sent = Effects<WebhookRows>;

/// One statement per table, and two for the endpoints.
#[async_trait]
impl Rows for WebhookRows {
    async fn write(session: &mut Session, batch: &[ToWrite<'_, Self>]) -> db::Result<()> {
        // What happened is true even when the claim is lost; what follows from it is for the claim in force to decide.
        let made: Vec<Attempt> = batch.iter().filter_map(|one| one.rows.attempt.clone()).collect();
        let outcomes: Vec<AttemptOutcome> = batch.iter().filter_map(|one| one.rows.attempt_outcome).collect();
        let in_force = batch
            .iter()
            .filter(|one| one.in_force || one.rows.attempt_outcome.is_some_and(|outcome| outcome.succeeded));
        let changes: Vec<Change> = in_force.map(|one| one.rows.change.clone()).collect();
        deliveries::apply(session, &changes).await?;
        attempts::record(session, &made).await?;
        let findings = endpoints::count(session, &outcomes).await?;
        if findings.is_empty() { Ok(()) } else { act(session, batch, &findings).await }
    }
}

/// Disables what is hopeless, and writes down what owners are told, once each.
async fn act(session: &mut Session, batch: &[ToWrite<'_, WebhookRows>], findings: &[Finding]) -> db::Result<()> {
    let mut notices = Vec::with_capacity(findings.len());
    for Finding { endpoint_id, what, since, at } in findings.iter().copied() {
        let (kind, reason) = match what {
            Found::Hopeless(reason) => {
                if !deliveries::disable(session, endpoint_id, reason, at).await? {
                    continue;
                }
                tracing::warn!(endpoint.id = %endpoint_id, %reason, "webhook endpoint {endpoint_id} is disabled: {reason}");
                (NoticeKind::Disabled, Some(reason))
            }
            Found::Failing => (NoticeKind::Failing, None),
            Found::Recovered => (NoticeKind::Recovered, None),
        };
        let of_it = |one: &&ToWrite<'_, WebhookRows>| {
            one.rows.attempt_outcome.is_some_and(|outcome| outcome.endpoint_id == endpoint_id)
        };
        let last = batch.iter().filter(of_it).filter_map(|one| one.rows.attempt.as_ref()).next_back();
        notices.push(Notice {
            reason,
            since,
            last_status_code: last.and_then(|attempt| attempt.status_code),
            last_error: last.and_then(|attempt| attempt.error.clone()),
            ..Notice::new(endpoint_id, kind, at)
        });
    }
    notices::write(session, &notices).await
}
