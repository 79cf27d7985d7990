//! What the queue must know about notifications.

use async_trait::async_trait;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::systems::{End, Rows, System};

use crate::notifications::Status;
use crate::sent_variables::Noted;
use crate::{catalogue, channels, jobs, notifications, retry};

/// To be listed with the other systems of the program.
pub const NOTIFICATIONS: System =
    System { name: "notifications", lanes: &channels::LANES, kinds: &jobs::KINDS, rows: &Chains };

/// What a process holds to work with notifications. Cheap to clone; all clones are the same thing.
#[derive(Clone)]
pub struct Notifications {
    pub context: Context,
    pub catalogue: catalogue::Cache,
    pub sent_variables: Noted,
}

impl Notifications {
    pub fn new(context: Context) -> Self {
        let catalogue = catalogue::Cache::new(context.config.template_strict_case);
        let sent_variables = Noted::new(context.clock.clone());
        Self { context, catalogue, sent_variables }
    }
}

/// The messages of a chain follow its task.
struct Chains;

#[async_trait]
impl Rows for Chains {
    async fn revived(&self, session: &mut Session, tasks: &[Id], now: Timestamp) -> Result<()> {
        notifications::restart(session, tasks, now).await
    }

    async fn ended(&self, session: &mut Session, tasks: &[Id], end: End, now: Timestamp) -> Result<()> {
        let (status, reason) = match end {
            End::Dead => (Status::Failed, "its task is dead; the task says why"),
            End::Poisoned => (Status::Failed, "its workers died or fell silent three times"),
            End::Cancelled => (Status::Cancelled, "cancelled by an operator"),
        };
        notifications::close(session, tasks, status, reason, now).await
    }

    async fn refused(&self, session: &mut Session, tasks: &[Id]) -> Result<Vec<(Id, &'static str)>> {
        let refused = retry::refusals(session, tasks).await?;
        Ok(refused.into_iter().map(|(task, why)| (task, why.as_str())).collect())
    }
}
