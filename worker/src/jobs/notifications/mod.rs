//! Jobs about notifications. What kinds there are stands in `shared/notifications/src/jobs.rs`.

mod analytics;
mod check_account;
mod customers;
mod delivery;
mod dispatch;
mod receipts;
mod reminders;
mod retry_failed;
mod test_sends;
mod vehicles;

use std::sync::Arc;

use recado_notifications::system::Notifications;

use self::delivery::{Chains, Permissions, Shares};
use crate::channels::{ProviderError, Providers};
use crate::registry::Jobs;

/// What these jobs hold.
pub(crate) struct Notifier {
    system: Notifications,
    providers: Providers,
    chains: Chains,
    permissions: Permissions,
    shares: Shares,
}

pub(crate) fn register(jobs: &mut Jobs, system: Notifications) -> Result<(), ProviderError> {
    let notifier = Arc::new(Notifier {
        providers: Providers::new(&system.context)?,
        chains: delivery::load_together(system.context.clone()),
        permissions: delivery::ask_together(system.clone()),
        shares: Shares::default(),
        system,
    });
    jobs.add(&notifier, delivery::send);
    jobs.add(&notifier, retry_failed::run);
    jobs.add(&notifier, test_sends::send);
    jobs.add(&notifier, dispatch::again);
    jobs.add(&notifier, customers::sync);
    jobs.add(&notifier, vehicles::sync);
    jobs.add(&notifier, receipts::apply);
    jobs.add(&notifier, reminders::check);
    jobs.add(&notifier, analytics::count);
    jobs.add(&notifier, check_account::run);
    Ok(())
}
