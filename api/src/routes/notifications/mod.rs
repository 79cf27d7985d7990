//! The notifications system, one file per noun. Its URLs stand in `routes/mod.rs`.

pub(crate) mod analytics;
pub(crate) mod catalogue;
pub(crate) mod customers;
pub(crate) mod dispatch;
#[expect(clippy::module_inception, reason = "one noun has one file name in every room, the noun of the same name too")]
pub(crate) mod notifications;
pub(crate) mod orchestration;
pub(crate) mod provider_accounts;
pub(crate) mod push;
pub(crate) mod reachability;
pub(crate) mod receipts;
pub(crate) mod reminders;
pub(crate) mod suppressions;
pub(crate) mod sync;
pub(crate) mod template_versions;
pub(crate) mod templates;
pub(crate) mod unsubscribe;
pub(crate) mod vehicles;
pub(crate) mod workshops;
