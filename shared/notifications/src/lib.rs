//! Notifications: an event becomes messages to a person, by email, WhatsApp or Web Push (seed 002).
//!
//! One noun, one file. What each one is about stands in its first lines; [`system`] says what the queue must know.

pub mod analytics;
pub mod browser_tokens;
pub mod cancellation;
pub mod catalogue;
pub mod catalogue_version;
pub mod channels;
pub mod customers;
pub mod dispatch;
pub mod erasure;
pub mod failures;
pub mod fallback;
pub mod jobs;
pub mod journal;
pub mod mail_body;
pub mod next;
pub mod notices;
pub mod notifications;
pub mod orchestration;
pub mod plain_text;
pub mod provider_accounts;
pub mod push;
pub mod quiet_hours;
pub mod reachability;
pub mod receipts;
pub mod reminders;
pub mod reports;
pub mod resend;
pub mod retry;
pub mod reveal;
pub mod searches;
pub mod seed;
pub mod sent_variables;
pub mod story;
pub mod suppressions;
pub mod system;
pub mod targets;
pub mod templates;
pub mod test_sends;
pub mod timeline;
pub mod unsubscribe;
pub mod vehicles;
pub mod why;
pub mod workshops;
