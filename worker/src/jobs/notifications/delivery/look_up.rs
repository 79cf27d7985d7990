//! Whether a message has left already, when an attempt had no answer or a run was cut off (d27, docs/adr/0007).

use std::sync::Arc;

use recado_kernel::clock::Timestamp;
use recado_notifications::notifications::found::{self, Rivalry};

use super::Delivery;
use super::effects::Delivered;
use crate::channels::{Account, Likeness, Lookup, Message, Record, SendReceipt};
use crate::registry::JobError;

/// What a look-up came to.
enum LookUpOutcome {
    /// It left.
    Sent(Arc<Account>, SendReceipt),
    /// The provider has no record of it.
    NotSent,
    /// No provider was there to be asked that keeps records.
    NotAsked,
    /// The provider does not answer, or has a record that may be this message or another one's.
    Unclear,
}

impl Delivery<'_> {
    /// What follows from a look-up; `None` when the message may be sent.
    pub(super) async fn settle_doubt(&self, accounts: &[Arc<Account>]) -> Result<Option<Delivered>, JobError> {
        let Some(since) = self.unknown_since() else { return Ok(None) };
        let message = self.message().await?;
        let is_looked_up_again = self.current().unknown_until.is_some();
        let window = self.notifier.system.context.config.unknown_outcome_window;
        Ok(match self.look_up(accounts, &message, since).await? {
            LookUpOutcome::Sent(account, receipt) => Some(self.found(&account, receipt)),
            // The provider may be slow to write its record: it counts as missing when the window has closed.
            LookUpOutcome::NotSent if is_looked_up_again => Some(self.still_unknown()),
            // What was cut off may still be under way inside the provider: a look a moment later proves nothing.
            LookUpOutcome::NotSent if self.current().unknown_since.is_none() && !window.is_zero() => {
                Some(self.in_doubt(since, window))
            }
            LookUpOutcome::NotSent | LookUpOutcome::NotAsked => None,
            LookUpOutcome::Unclear if self.current().unknown_since.is_some() => Some(self.still_unknown()),
            // Looking up is switched off.
            LookUpOutcome::Unclear if window.is_zero() => None,
            LookUpOutcome::Unclear => Some(self.in_doubt(since, window)),
        })
    }

    /// Since when it is unknown whether this message left: an attempt had no answer, or a run was cut off.
    fn unknown_since(&self) -> Option<Timestamp> {
        let current = self.current();
        current.unknown_since.or(self.task.cut_off.then_some(current.created_at))
    }

    /// Did the message leave after all, and through which account? The one that was used is asked, also when messages may
    /// not leave through it any more; all of them when the run was cut off before it could say.
    async fn look_up(
        &self,
        accounts: &[Arc<Account>],
        message: &Message,
        since: Timestamp,
    ) -> Result<LookUpOutcome, JobError> {
        let (current, providers) = (self.current(), &self.notifier.providers);
        let asked = match current.unknown_since.and(current.provider.as_deref()) {
            Some(used) => match providers.named(current.channel, used).await? {
                Some(account) => vec![Arc::new(account)],
                // It was deleted, and with it the way to ask.
                None => return Ok(LookUpOutcome::Unclear),
            },
            None => accounts.to_vec(),
        };
        let mut outcome = LookUpOutcome::NotAsked;
        for account in asked {
            match providers.find(&account, message, since).await {
                Lookup::NoRecords => {}
                Lookup::CannotTell => outcome = LookUpOutcome::Unclear,
                Lookup::Records(records) => match self.own_record(&records).await? {
                    Owned::This(id) => return Ok(LookUpOutcome::Sent(account, receipt(id))),
                    Owned::Unclear => outcome = LookUpOutcome::Unclear,
                    Owned::None if matches!(outcome, LookUpOutcome::NotAsked) => outcome = LookUpOutcome::NotSent,
                    Owned::None => {}
                },
            }
        }
        Ok(outcome)
    }

    /// Which of these records is this message. A record that belongs to another of our messages is not; one that could
    /// belong to others too is this one only when there are more records than others.
    async fn own_record(&self, records: &[Record]) -> Result<Owned, JobError> {
        if let Some(named) = records.iter().find(|record| record.likeness == Likeness::OurName) {
            return Ok(Owned::This(named.provider_message_id.clone()));
        }
        if records.is_empty() {
            return Ok(Owned::None);
        }
        let current = self.current();
        let ids: Vec<&str> = records.iter().map(|record| record.provider_message_id.as_str()).collect();
        let mut session = self.notifier.system.context.db.begin().await?;
        let taken = found::taken(&mut session, &ids, current.id).await?;
        let mut owned = Owned::None;
        for (likeness, rivalry) in
            [(Likeness::Recipient, Rivalry::SameRecipient), (Likeness::Unnamed, Rivalry::AnyRecipient)]
        {
            let is_free =
                |record: &&Record| record.likeness == likeness && !taken.contains(&record.provider_message_id);
            let free: Vec<&Record> = records.iter().filter(is_free).collect();
            if free.is_empty() {
                continue;
            }
            if free.len() <= found::rivals(&mut session, current, rivalry, self.now).await? {
                owned = Owned::Unclear;
                break;
            }
            for record in free {
                if found::take(&mut session, &record.provider_message_id, current.id).await? {
                    session.commit().await?;
                    return Ok(Owned::This(record.provider_message_id.clone()));
                }
            }
        }
        Ok(owned)
    }
}

/// Whose record it is.
enum Owned {
    This(String),
    None,
    Unclear,
}

fn receipt(provider_message_id: String) -> SendReceipt {
    SendReceipt {
        provider_message_id: Some(provider_message_id),
        answer: "found among the provider's records after an answer that never came".to_owned(),
        ..SendReceipt::default()
    }
}
