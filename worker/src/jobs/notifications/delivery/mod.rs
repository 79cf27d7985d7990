//! Delivers a chain of notifications: one channel after the other until a provider takes the message.
//!
//! ```text
//! chain: load, next_step ─► step: did it leave already (look_up)? may it leave now? ─► attempt: account by account
//!                                                                                │
//! effects: rows, table by table ◄─ follow_up: sent, retry, next channel, end ◄───┘
//! ```

mod attempt;
mod chain;
mod effects;
mod follow_up;
mod look_up;
mod permission;
mod share;
mod step;

use std::sync::Arc;

use recado_kernel::clock::Timestamp;
use recado_notifications::jobs::SendNotification;
use recado_notifications::notifications::{Notification, Refusal};
use recado_queue::lanes::Lane;
use recado_queue::tasks::Claimed;

pub(super) use self::chain::{Chains, load_together};
use self::chain::{Step, next_step, reasons};
use self::effects::Delivered;
pub(super) use self::permission::{Permissions, ask_together};
pub(super) use self::share::Shares;
use super::Notifier;
use crate::registry::{JobError, Outcome};

/// One step towards the person: what the chain needs now.
pub(super) async fn send(
    notifier: Arc<Notifier>,
    task: Arc<Claimed>,
    _: SendNotification,
) -> Result<Delivered, JobError> {
    let chain = notifier.chains.call(task.id).await??;
    let now = notifier.system.context.clock.now();
    let (chain, refusal) = (chain.messages, chain.refusal);
    let delivery = |position| Delivery { notifier: &notifier, task: &task, chain: &chain, refusal, position, now };
    match next_step(&chain, now) {
        Step::Send(position) => delivery(position).take_step().await,
        Step::Wait { sent, until } => Ok(delivery(sent).later(until, None, Vec::new())),
        Step::Silent(position) => Ok(delivery(position).silent()),
        Step::Arrived(position) => Ok(delivery(position).arrived()),
        Step::Spent => Ok(Delivered::new(Outcome::Failed(reasons(&chain)), Vec::new())),
    }
}

/// One notification of a chain, at its turn.
#[derive(Clone, Copy)]
struct Delivery<'d> {
    notifier: &'d Notifier,
    task: &'d Claimed,
    chain: &'d [Notification],
    /// Why the first message may not leave any more, as it was loaded.
    refusal: Option<Refusal>,
    position: usize,
    /// When the step began.
    now: Timestamp,
}

impl Delivery<'_> {
    fn current(&self) -> &Notification {
        &self.chain[self.position]
    }

    fn lane(&self) -> Lane {
        self.current().channel.lane()
    }
}
