//! Whether a message may leave now: permission, quiet hours, throttle, and its customer's share of the worker.

use std::sync::Arc;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_notifications::dispatch::DeferReason;
use recado_notifications::journal::{Entry, Fact};
use recado_notifications::notifications::{Change, pacing};

use super::Delivery;
use super::effects::Delivered;
use super::permission::{Permission, PermissionRequest};
use super::share;
use crate::channels::Account;
use crate::registry::JobError;

/// How long what intake decided about quiet hours holds. A queue that is worked off in this time does not ask again.
const INTAKE_VALID_FOR: Duration = Duration::from_secs(60);

impl Delivery<'_> {
    /// A message has its turn: looks it up where it may have left, asks for permission, sends, and decides what follows.
    pub(super) async fn take_step(&self) -> Result<Delivered, JobError> {
        if self.lane() != self.task.lane {
            // Revived in the middle of its chain: each channel has a lane of its own.
            return Ok(self.later(self.now, None, Vec::new()));
        }
        let accounts = self.accounts().await?;
        if let Some(delivered) = self.settle_doubt(&accounts).await? {
            return Ok(delivered);
        }
        // After the look-up, which takes its time; and a message that has left disturbs no quiet hours any more.
        match self.permission().await? {
            Permission::Granted => {}
            Permission::Refused(code, reason) => return Ok(self.refused(code, reason)),
            Permission::Quiet(until) => return Ok(self.quiet_until(until)),
        }
        if let Some(place) = self.throttled_to().await? {
            return Ok(self.throttled_until(place));
        }
        let Some(_share) = self.notifier.shares.of(self.current()) else {
            return Ok(self.later(self.now + share::RETURN, None, Vec::new()));
        };
        self.attempt_in_order(&accounts, &self.message().await?).await
    }

    /// What was switched off or suppressed since intake counts until the attempt begins (d12). For a first attempt that follows
    /// intake at once this was loaded with its chain; before every later one all is asked again, quiet hours too.
    async fn permission(&self) -> Result<Permission, JobError> {
        if self.is_later_attempt() {
            return self.permission_now().await;
        }
        Ok(self.refusal.map_or(Permission::Granted, Permission::from))
    }

    async fn permission_now(&self) -> Result<Permission, JobError> {
        let now = self.notifier.system.context.clock.now();
        Ok(self.notifier.permissions.call(PermissionRequest::about(self.current(), now)).await??)
    }

    /// The end of a message that was refused while it was tried. An attempt that has begun ends outside quiet hours or not.
    pub(super) async fn refused_meanwhile(&self) -> Result<Option<Delivered>, JobError> {
        Ok(match self.permission_now().await? {
            Permission::Refused(code, reason) => Some(self.refused(code, reason)),
            Permission::Granted | Permission::Quiet(_) => None,
        })
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
