//! Daily at 08:00: who is told that a service is due (S002-80).

use std::sync::Arc;

use recado_kernel::ids::Id;
use recado_notifications::dispatch::{self, Rejection, Request};
use recado_notifications::jobs::CheckMaintenanceReminders;
use recado_notifications::reminders::{self, OpenReminder, Standing};
use recado_notifications::system::Notifications;
use recado_queue::context::Context;
use recado_queue::tasks::Claimed;

use super::Notifier;
use serde::Serialize;
use serde_json::json;

use crate::registry::{JobError, Outcome};

/// How many reminders are looked at, and dispatched, together.
const PAGE_SIZE: i64 = 200;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Announced {
    pub(crate) checked: usize,
    pub(crate) notified: usize,
    pub(crate) overdue: usize,
    /// Due, but the event was refused or reaches no one: no such customer, no address. They are tried again the next day.
    pub(crate) refused: usize,
}

pub(crate) async fn check(
    notifier: Arc<Notifier>,
    _: Arc<Claimed>,
    _: CheckMaintenanceReminders,
) -> Result<Outcome, JobError> {
    let announced = announce(&notifier.system, None).await?;
    Ok(Outcome::Done(json!(announced)))
}

/// Dispatches what is due, of one vehicle or of all.
///
/// It may die anywhere and run twice: the task of each due cycle has a key of its own, so a second run finds the message
/// already there and only marks the reminder.
pub(crate) async fn announce(system: &Notifications, vehicle: Option<Id>) -> Result<Announced, JobError> {
    let context = &system.context;
    let today = context.clock.now().date_in(context.config.time_zone);
    let mut announced = Announced::default();
    let mut last = None;
    loop {
        let page = reminders::open(&mut context.db.read().await?, vehicle, last, PAGE_SIZE).await?;
        let Some(reminder) = page.last() else { return Ok(announced) };
        last = Some(reminder.id);
        announced.checked += page.len();
        let (fresh, known) = reminders::due(&page, today);
        dispatch_all(system, &fresh, &mut announced).await?;
        mark_overdue(context, &known, &mut announced).await?;
    }
}

async fn dispatch_all(
    system: &Notifications,
    due: &[(&OpenReminder, Standing)],
    announced: &mut Announced,
) -> Result<(), JobError> {
    let requests: Vec<Request> = due.iter().map(|(reminder, standing)| reminder.request(*standing)).collect();
    if requests.is_empty() {
        return Ok(());
    }
    let context = &system.context;
    let answers = dispatch::accept(system, &requests).await;
    let mut session = context.db.begin().await?;
    for ((reminder, standing), answer) in due.iter().zip(answers) {
        match answer {
            // No one could be reached; perhaps tomorrow.
            Ok(accepted) if accepted.receipt.notifications_queued == 0 => announced.refused += 1,
            Ok(_) => {
                reminders::mark(&mut session, reminder.id, *standing, true, context.clock.now()).await?;
                announced.notified += 1;
            }
            Err(Rejection::Unavailable) => return Err("the ledger could not be written".into()),
            Err(reason) => {
                tracing::warn!(reminder.id = %reminder.id, %reason, "reminder {} cannot be announced: {reason}", reminder.id);
                announced.refused += 1;
            }
        }
    }
    session.commit().await?;
    Ok(())
}

/// What was announced and has passed since is only marked: each due cycle is one message.
async fn mark_overdue(
    context: &Context,
    known: &[(&OpenReminder, Standing)],
    announced: &mut Announced,
) -> Result<(), JobError> {
    let mut session = context.db.begin().await?;
    for (reminder, standing) in known.iter().filter(|(_, standing)| *standing == Standing::Overdue) {
        reminders::mark(&mut session, reminder.id, *standing, false, context.clock.now()).await?;
        announced.overdue += 1;
    }
    session.commit().await?;
    Ok(())
}
