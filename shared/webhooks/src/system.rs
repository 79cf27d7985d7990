//! What the queue must know about webhooks.

use async_trait::async_trait;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_queue::systems::{End, Rows, System};

use crate::deliveries::{self, Status};
use crate::jobs;

/// To be listed with the other systems of the program.
pub const WEBHOOKS: System = System { name: "webhooks", lanes: &[jobs::LANE], kinds: &jobs::KINDS, rows: &Deliveries };

/// A delivery follows its task.
struct Deliveries;

#[async_trait]
impl Rows for Deliveries {
    async fn revived(&self, session: &mut Session, tasks: &[Id], now: Timestamp) -> Result<()> {
        deliveries::restart(session, tasks, now).await
    }

    async fn ended(&self, session: &mut Session, tasks: &[Id], end: End, now: Timestamp) -> Result<()> {
        let (status, reason) = match end {
            End::Dead => (Status::Failed, "its task is dead; the task says why"),
            End::Poisoned => (Status::Failed, "its workers died or fell silent three times"),
            End::Cancelled => (Status::Cancelled, "cancelled by an operator"),
        };
        deliveries::close(session, tasks, status, reason, now).await
    }
}
