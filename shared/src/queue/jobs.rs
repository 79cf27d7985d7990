//! Every kind of work there is, on one page.
//!
//! A job's kind and payload are stored. Renaming a variant or a field of one strands the rows that are waiting: add the new
//! name, keep reading the old one with `#[serde(alias)]`, and drop it a release later.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Lane, Priority};
use crate::channels::Channel;
use crate::customers::CustomerSync;
use crate::dispatch::Event;
use crate::fallback::RetryPolicy;
use crate::receipts::Receipt;
use crate::vehicles::VehicleSync;

/// What a task does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload", rename_all = "snake_case")]
pub enum Job {
    /// Delivers the chain of notifications that carry this task's id, beginning on `channel`.
    SendNotification { channel: Channel },
    /// An event whose customer was unknown at the door (`DISPATCH_UNKNOWN_CUSTOMER=defer`).
    DispatchEvent(Box<Event>),
    /// Brings a customer up to date with the Core service.
    SyncCustomer(Box<CustomerSync>),
    /// Brings a vehicle up to date, and looks whether its kilometres made a reminder due.
    SyncVehicle(Box<VehicleSync>),
    /// Receipts of messages that a provider took: writes what became of them, and lets fall back what must (d32).
    ApplyReceipts { receipts: Vec<Receipt> },
    /// Daily at 08:00: dispatches the reminders that are due (S002-80).
    CheckMaintenanceReminders {},
    /// Every 15 minutes: gives notifications that failed for passing reasons another chance (S002-81, d13).
    RetryFailedNotifications {},
    /// Hourly: counts the days anew on which receipts may have come (S002-28).
    CountAnalytics {},
    /// Weekly: deletes what is past its retention (S002-82).
    Cleanup {},
    /// Does nothing, and so shows that a worker listens and how fast.
    Ping {},
}

/// A row that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("this version cannot read a `{kind}` job: {source}")]
pub struct UnreadableJob {
    kind: String,
    source: serde_json::Error,
}

impl Job {
    pub fn decode(kind: &str, payload: &Value) -> Result<Self, UnreadableJob> {
        serde_json::from_value(json!({ "kind": kind, "payload": payload }))
            .map_err(|source| UnreadableJob { kind: kind.to_owned(), source })
    }

    /// The job of a schedule, by its kind.
    pub fn scheduled(kind: &str) -> Result<Self, UnreadableJob> {
        Self::decode(kind, &json!({}))
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::SendNotification { .. } => "send_notification",
            Self::DispatchEvent(_) => "dispatch_event",
            Self::SyncCustomer(_) => "sync_customer",
            Self::SyncVehicle(_) => "sync_vehicle",
            Self::ApplyReceipts { .. } => "apply_receipts",
            Self::CheckMaintenanceReminders {} => "check_maintenance_reminders",
            Self::RetryFailedNotifications {} => "retry_failed_notifications",
            Self::CountAnalytics {} => "count_analytics",
            Self::Cleanup {} => "cleanup",
            Self::Ping {} => "ping",
        }
    }

    /// The content alone, as it is stored beside the kind.
    pub fn payload(&self) -> Value {
        let tagged = serde_json::to_value(self).expect("jobs are plain data, which always serialises");
        match tagged {
            Value::Object(mut object) => object.remove("payload").unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }

    pub fn lane(&self) -> Lane {
        match self {
            Self::SendNotification { channel } => (*channel).into(),
            Self::SyncCustomer(_) | Self::SyncVehicle(_) | Self::ApplyReceipts { .. } => Lane::Sync,
            Self::DispatchEvent(_)
            | Self::CheckMaintenanceReminders {}
            | Self::RetryFailedNotifications {}
            | Self::CountAnalytics {}
            | Self::Cleanup {}
            | Self::Ping {} => Lane::Maintenance,
        }
    }

    pub fn priority(&self) -> Priority {
        match self {
            Self::SyncCustomer(_)
            | Self::SyncVehicle(_)
            | Self::ApplyReceipts { .. }
            | Self::SendNotification { .. }
            | Self::Ping {} => Priority::Default,
            Self::DispatchEvent(_) => Priority::High,
            Self::CheckMaintenanceReminders {}
            | Self::RetryFailedNotifications {}
            | Self::CountAnalytics {}
            | Self::Cleanup {} => Priority::Low,
        }
    }

    /// How often and how soon the job itself is tried again when *we* are in trouble: no database, a bug. What a provider
    /// answers is decided in [`crate::fallback`].
    ///
    /// 5 s, 10 s, 20 s, … for ten attempts, about 43 minutes in all.
    pub fn retry(&self) -> RetryPolicy {
        RetryPolicy { max_attempts: 10, base: Duration::from_secs(5) }
    }

    /// How long one attempt may take. A delivery is ended by its provider's own time limit; this one is only the last resort.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::DispatchEvent(_)
            | Self::SyncCustomer(_)
            | Self::SyncVehicle(_)
            | Self::ApplyReceipts { .. }
            | Self::Ping {} => Duration::from_secs(30),
            Self::SendNotification { .. }
            | Self::CheckMaintenanceReminders {}
            | Self::RetryFailedNotifications {}
            | Self::CountAnalytics {}
            | Self::Cleanup {} => Duration::from_secs(3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_and_payload_come_back_as_the_job() {
        for job in [
            Job::SendNotification { channel: Channel::Whatsapp },
            Job::ApplyReceipts { receipts: Vec::new() },
            Job::CheckMaintenanceReminders {},
            Job::RetryFailedNotifications {},
            Job::CountAnalytics {},
            Job::Cleanup {},
            Job::Ping {},
        ] {
            let back = Job::decode(job.kind(), &job.payload()).expect("readable");
            assert_eq!(format!("{back:?}"), format!("{job:?}"));
        }
    }

    #[test]
    fn a_kind_of_another_version_is_an_error_that_names_it() {
        let error = Job::decode("teleport", &json!({})).expect_err("unknown").to_string();
        assert!(error.contains("`teleport`"), "{error}");
    }
}
