//! Whether a message may leave now, and whether it has left already: permission, look-up, quiet hours, throttle.

use std::sync::Arc;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_notifications::dispatch::DeferReason;
use recado_notifications::journal::{Entry, Fact};
use recado_notifications::notifications::{Change, pacing};

use super::Delivery;
use super::effects::Delivered;
use super::permission::{Permission, PermissionRequest};
use crate::channels::{Account, Lookup, Message, SendReceipt};
use crate::registry::JobError;

/// How long the decisions of intake hold. A queue that is worked off in this time asks for no permission again.
const INTAKE_VALID_FOR: Duration = Duration::from_secs(60);

impl Delivery<'_> {
    /// A message has its turn: asks for permission, sends, and decides what follows.
    pub(super) async fn take_step(&self) -> Result<Delivered, JobError> {
        if self.lane() != self.task.lane {
            // Revived in the middle of its chain: each channel has a lane of its own.
            return Ok(self.later(self.now, None, Vec::new()));
        }
        let permission = self.permission().await?;
        if let Permission::Refused(code, reason) = permission {
            return Ok(self.refused(code, reason));
        }
        let accounts = self.accounts().await?;
        let message = self.message().await?;
        if let Some(since) = self.unknown_since() {
            if let Some((account, receipt)) = self.look_up(&accounts, &message, since).await? {
                return Ok(self.found(&account, receipt));
            }
            if self.current().unknown_since.is_some() {
                return Ok(self.still_unknown(since));
            }
        }
        // After the look-up: a message that has left disturbs no quiet hours any more.
        if let Permission::Quiet(until) = permission {
            return Ok(self.quiet_until(until));
        }
        if let Some(place) = self.throttled_to().await? {
            return Ok(self.throttled_until(place));
        }
        self.attempt_in_order(&accounts, &message).await
    }

    /// Asks again before every later attempt, so that an opt-out between dispatch and fallback counts (d12). A first attempt
    /// that follows intake at once was decided there, and costs no query.
    async fn permission(&self) -> Result<Permission, JobError> {
        if !self.is_later_attempt() {
            return Ok(Permission::Granted);
        }
        Ok(self.notifier.permissions.call(PermissionRequest::about(self.current(), self.now)).await??)
    }

    /// Time has passed since intake, so that its decisions may be different now.
    fn is_later_attempt(&self) -> bool {
        let (current, task) = (self.current(), self.task);
        let has_waited = current.send_at.is_some() || self.now.since(task.created_at) >= INTAKE_VALID_FOR;
        has_waited || task.attempt > 1 || self.position > 0 || current.retry_count > 0
    }

    /// The accounts to try, in their order.
    async fn accounts(&self) -> Result<Vec<Arc<Account>>, JobError> {
        let current = self.current();
        let place_at = current.paced_until.and(current.provider.as_deref());
        Ok(self.notifier.providers.accounts(current.taller_id.as_deref(), current.channel, place_at).await?)
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
    ) -> Result<Option<(Arc<Account>, SendReceipt)>, JobError> {
        let (current, providers) = (self.current(), &self.notifier.providers);
        let asked = match current.unknown_since.and(current.provider.as_deref()) {
            Some(used) => providers.named(current.channel, used).await?.map(Arc::new).into_iter().collect(),
            None => accounts.to_vec(),
        };
        for account in asked {
            if let Lookup::Sent(receipt) = providers.find(&account, message, since).await {
                return Ok(Some((account, receipt)));
            }
        }
        Ok(None)
    }

    fn quiet_until(&self, until: Timestamp) -> Delivered {
        self.deferred(until, Fact::Deferred { reason: DeferReason::QuietHours, until })
    }

    /// The moment at which this customer may get another message, when it is not now.
    async fn throttled_to(&self) -> Result<Option<Timestamp>, JobError> {
        let context = &self.notifier.system.context;
        let per_hour = context.config.recipient_throttle_per_hour;
        let current = self.current();
        if per_hour == 0 || current.critical {
            return Ok(None);
        }
        // A message that has a place keeps it, until it has left the window.
        if let Some(place) = current.admitted_at.filter(|place| self.now < *place + pacing::THROTTLE_WINDOW) {
            return Ok((place > self.now).then_some(place));
        }
        let mut session = context.db.begin().await?;
        let place = pacing::admit(&mut session, current, per_hour, self.now).await?;
        session.commit().await?;
        Ok((place > self.now).then_some(place))
    }

    fn throttled_until(&self, place: Timestamp) -> Delivered {
        let per_hour = self.notifier.system.context.config.recipient_throttle_per_hour;
        self.deferred(place, Fact::Throttled { per_hour, until: place })
    }

    /// It leaves later, and the journal says why. No attempt was made and none is counted.
    fn deferred(&self, at: Timestamp, fact: Fact) -> Delivered {
        let current = self.current();
        let change =
            Change { next_retry_at: Some(at), unknown_since: current.unknown_since, ..Change::of(current, self.now) };
        let mut delivered = self.later(at, None, vec![change]);
        delivered.rows.journal.push(Entry::about(current, fact, self.now));
        delivered
    }
}
