//! What a delivery changes besides its task, written for many deliveries at once.

use async_trait::async_trait;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_notifications::journal::{self, Entry};
use recado_notifications::notifications::attempts::{self, Attempt};
use recado_notifications::notifications::{self, Change, Status};
use recado_notifications::push;
use recado_notifications::suppressions::{self, Bounce};

use crate::registry::{self, Effects, Outcome, ToWrite, Writer};

/// The rows of one delivery.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) changes: Vec<Change>,
    pub(crate) attempts: Vec<Attempt>,
    /// Push subscriptions that no longer exist.
    pub(crate) gone: Vec<Id>,
    /// Addresses that were refused for good.
    pub(crate) bounces: Vec<Bounce>,
    /// Decisions that no other row tells; a plain success has none.
    pub(crate) journal: Vec<Entry>,
}

impl Rows {
    pub(crate) fn with(self, outcome: Outcome) -> Effects {
        Effects { outcome, rows: Some(registry::Rows { content: Box::new(self), writer: &Deliveries }) }
    }
}

/// The rows of a task, and whether its claim was still in force.
fn rows_of<'b>(one: &ToWrite<'b>) -> Option<(&'b Rows, bool)> {
    Some((one.content.downcast_ref()?, one.in_force))
}

/// Writes them: one statement per table.
struct Deliveries;

#[async_trait]
impl Writer for Deliveries {
    fn name(&self) -> &'static str {
        "deliveries"
    }

    async fn write(&self, session: &mut Session, batch: &[ToWrite<'_>]) -> db::Result<()> {
        let batch: Vec<(&Rows, bool)> = batch.iter().filter_map(rows_of).collect();
        let in_force = || batch.iter().filter(|(_, in_force)| *in_force).map(|(rows, _)| *rows);

        // That a message was sent is true even when the claim is lost; everything else is for the claim in force to decide.
        let stays = |change: &Change, in_force: bool| in_force || change.status == Status::Sent;
        let changes = batch
            .iter()
            .flat_map(|(rows, in_force)| rows.changes.iter().filter(|change| stays(change, *in_force)).cloned());
        notifications::apply(session, &changes.collect::<Vec<Change>>()).await?;
        let written = batch.iter().flat_map(|(rows, _)| rows.attempts.iter().cloned());
        attempts::record(session, &written.collect::<Vec<Attempt>>()).await?;
        // A claim that was lost may be about a person who was erased meanwhile.
        let lost = batch.iter().filter(|(_, in_force)| !in_force);
        let late = lost.flat_map(|(rows, _)| rows.attempts.iter().map(|attempt| (attempt.notification_id, attempt.id)));
        attempts::forget_late_answers(session, &late.collect::<Vec<(Id, Id)>>()).await?;
        let entries = in_force().flat_map(|rows| rows.journal.iter().cloned());
        journal::record(session, &entries.collect::<Vec<Entry>>()).await?;
        let gone: Vec<Id> = batch.iter().flat_map(|(rows, _)| rows.gone.iter().copied()).collect();
        if !gone.is_empty() {
            push::remove(session, &gone).await?;
        }
        // The address of a lost claim bounces again at the next attempt.
        let bounces = in_force().flat_map(|rows| rows.bounces.iter().cloned());
        suppressions::record(session, &bounces.collect::<Vec<Bounce>>()).await
    }
}
