//! Every kind of job about notifications, on one page. How each one runs stands in `worker/src/jobs/notifications/`.

use recado_queue::jobs::{Job, Kind, LONG};
use recado_queue::lanes::{Lane, MAINTENANCE, Priority, SYNC};
use serde::{Deserialize, Serialize};

use crate::channels::Channel;
use crate::customers::CustomerSync;
use crate::dispatch::event::Event;
use crate::receipts::ProviderReceipt;
use crate::vehicles::VehicleSync;

/// What the worker must know how to run.
pub const KINDS: [Kind; 11] = [
    SendNotification::KIND,
    DispatchEvent::KIND,
    SyncCustomer::KIND,
    SyncVehicle::KIND,
    ApplyReceipts::KIND,
    CheckMaintenanceReminders::KIND,
    RetryFailedNotifications::KIND,
    CountAnalytics::KIND,
    ForgetPerson::KIND,
    CheckAccount::KIND,
    SendTest::KIND,
];

/// Delivers the chain of notifications that carry this task's id, beginning on `channel`. An attempt is ended by its
/// provider's own time limit; the job's is only the last resort.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SendNotification {
    pub channel: Channel,
}

impl Job for SendNotification {
    const KIND: Kind = Kind::new("send_notification", Channel::Email.lane()).timeout(LONG);

    fn lane(&self) -> Lane {
        self.channel.lane()
    }
}

/// Sends the test that carries this task's id (`test_sends`), once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SendTest {
    pub channel: Channel,
}

impl Job for SendTest {
    const KIND: Kind = Kind::new("send_test", Channel::Email.lane()).priority(Priority::High).timeout(LONG);

    fn lane(&self) -> Lane {
        self.channel.lane()
    }
}

/// An event whose customer was unknown at intake (`DISPATCH_UNKNOWN_CUSTOMER=defer`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DispatchEvent(pub Event);

impl Job for DispatchEvent {
    const KIND: Kind = Kind::new("dispatch_event", MAINTENANCE).priority(Priority::High);
}

/// Brings a customer up to date with the Core service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SyncCustomer(pub CustomerSync);

impl Job for SyncCustomer {
    const KIND: Kind = Kind::new("sync_customer", SYNC);
}

/// Brings a vehicle up to date, and looks whether its kilometres made a reminder due.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SyncVehicle(pub VehicleSync);

impl Job for SyncVehicle {
    const KIND: Kind = Kind::new("sync_vehicle", SYNC);
}

/// Receipts of messages that a provider took: writes what became of them, and lets fall back what must (d32).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApplyReceipts {
    pub receipts: Vec<ProviderReceipt>,
}

impl Job for ApplyReceipts {
    const KIND: Kind = Kind::new("apply_receipts", SYNC);
}

/// Daily at 08:00: dispatches the reminders that are due (S002-80).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CheckMaintenanceReminders {}

impl Job for CheckMaintenanceReminders {
    const KIND: Kind = Kind::new("check_maintenance_reminders", MAINTENANCE).priority(Priority::Low).timeout(LONG);
}

/// Every 15 minutes: gives notifications that failed for passing reasons another chance (S002-81, d13).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RetryFailedNotifications {}

impl Job for RetryFailedNotifications {
    const KIND: Kind = Kind::new("retry_failed_notifications", MAINTENANCE).priority(Priority::Low).timeout(LONG);
}

/// Hourly: counts the days again on which receipts may have come (S002-28).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CountAnalytics {}

impl Job for CountAnalytics {
    const KIND: Kind = Kind::new("count_analytics", MAINTENANCE).priority(Priority::Low).timeout(LONG);
}

/// Looks through what other systems keep for a person who was erased; its row in `erasures` says how far it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ForgetPerson {}

impl Job for ForgetPerson {
    const KIND: Kind = Kind::new("forget_person", MAINTENANCE).timeout(LONG);
}

/// Tries whether a provider's account would take messages, without sending one: a person asks for it and reads the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckAccount {
    pub channel: Channel,
    /// As attempts name it: `env`, or the name of its row.
    pub account: String,
}

impl Job for CheckAccount {
    const KIND: Kind = Kind::new("check_account", MAINTENANCE).priority(Priority::High);
}

#[cfg(test)]
mod tests {
    use recado_queue::jobs::decode;

    use super::*;

    #[test]
    fn a_payload_comes_back_as_the_job() {
        let job = SendNotification { channel: Channel::Whatsapp };
        assert_eq!(job.lane().as_str(), "notifications.whatsapp");
        assert_eq!(decode::<SendNotification>(job.payload()).expect("readable").channel, Channel::Whatsapp);
        let test = SendTest { channel: Channel::Push };
        assert_eq!(decode::<SendTest>(test.payload()).expect("readable").lane(), Channel::Push.lane());
        let receipts = decode::<ApplyReceipts>(ApplyReceipts { receipts: Vec::new() }.payload()).expect("readable");
        assert!(receipts.receipts.is_empty());
        decode::<CountAnalytics>(CountAnalytics {}.payload()).expect("readable");
    }
}
