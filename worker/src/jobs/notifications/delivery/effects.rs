//! What a delivery changes besides its task, written for many deliveries at once.

use async_trait::async_trait;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_notifications::journal::{self, Entry};
use recado_notifications::notifications::attempts::{self, Attempt};
use recado_notifications::notifications::{self, Change, Status};
use recado_notifications::push::{self, Finding};
use recado_notifications::suppressions::{self, Bounce};

use crate::registry::{Effects, Outcome, Rows, ToWrite};

/// The rows of one delivery.
#[derive(Debug, Default)]
pub(crate) struct DeliveryRows {
    pub(super) changes: Vec<Change>,
    pub(super) attempts: Vec<Attempt>,
    /// What was found out about devices.
    pub(super) devices: Vec<(Id, Finding)>,
    /// Addresses that were refused for good.
    pub(super) bounces: Vec<Bounce>,
    /// Messages and addresses that were taken for refused for good, and were not.
    pub(super) not_bounced: Vec<(Id, String)>,
    /// Decisions that no other row tells; a plain success has none.
    pub(super) journal: Vec<Entry>,
}

/// How a delivery ended.
pub(crate) type Delivered = Effects<DeliveryRows>;

impl Delivered {
    pub(super) fn new(outcome: Outcome, changes: Vec<Change>) -> Self {
        Self { outcome, rows: DeliveryRows { changes, ..DeliveryRows::default() } }
    }

    /// `attempts` stand in the order in which they were made.
    pub(super) fn with_attempts(mut self, mut attempts: Vec<Attempt>) -> Self {
        attempts.iter_mut().zip(1..).for_each(|(attempt, number)| attempt.number = number);
        self.rows.attempts = attempts;
        self
    }
}

/// One statement per table.
#[async_trait]
impl Rows for DeliveryRows {
    async fn write(session: &mut Session, batch: &[ToWrite<'_, Self>]) -> db::Result<()> {
        let (mut changes, mut made, mut devices, mut bounces, mut journal) =
            <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
        // A claim that was lost may be about a person who was erased meanwhile.
        let mut late_attempts: Vec<(Id, Id)> = Vec::new();
        let mut not_bounced: Vec<(Id, String)> = Vec::new();
        for ToWrite { rows, in_force } in batch {
            // What happened is true even when the claim is lost: the attempts, and that a message was sent. Everything else
            // is for the claim in force to decide; an address that bounced bounces again at its attempt.
            made.extend_from_slice(&rows.attempts);
            not_bounced.extend_from_slice(&rows.not_bounced);
            devices.extend_from_slice(&rows.devices);
            if *in_force {
                changes.extend_from_slice(&rows.changes);
                bounces.extend_from_slice(&rows.bounces);
                journal.extend_from_slice(&rows.journal);
            } else {
                changes.extend(rows.changes.iter().filter(|change| change.status == Status::Sent).cloned());
                late_attempts.extend(rows.attempts.iter().map(|attempt| (attempt.notification_id, attempt.id)));
            }
        }
        notifications::apply(session, &changes).await?;
        attempts::record(session, &made).await?;
        attempts::forget_late_answers(session, &late_attempts).await?;
        journal::record(session, &journal).await?;
        if !devices.is_empty() {
            let now = made.iter().map(|attempt| attempt.started_at).max().unwrap_or_default();
            push::record(session, &devices, now).await?;
        }
        suppressions::record(session, &bounces).await?;
        suppressions::take_back(session, &not_bounced).await
    }

    /// That a message was sent, and that attempts were made, is written even when a provider's words cannot be.
    fn without_words(&self) -> Option<Self> {
        let mut plain = Self { changes: self.changes.clone(), attempts: self.attempts.clone(), ..Self::default() };
        for change in &mut plain.changes {
            (change.error_reason, change.provider_message_id) = (None, None);
        }
        for attempt in &mut plain.attempts {
            (attempt.error_reason, attempt.provider_answer, attempt.provider_message_id) = (None, None, None);
        }
        Some(plain)
    }
}
