//! The ways to a person. [`Providers`] knows all accounts and sends through them.
//!
//! To add a channel, write its adapter beside `whatsapp`: it implements [`Provider`](provider::Provider), reads its
//! provider's answers, and maps them once to a [`SendFailure`]. An adapter returns facts and changes no data.

mod account_cache;
mod accounts;
mod adapters;
mod answer;
mod circuit_breaker;
mod email;
mod failure;
mod message;
mod provider;
mod providers;
mod push;
mod whatsapp;

pub(crate) use accounts::Account;
pub(crate) use adapters::cut_off;
pub(crate) use failure::{SendFailure, channels_failure, is_accounts_fault, not_configured};
pub(crate) use message::{Message, Recipient, Subscription};
pub use provider::ProviderError;
pub(crate) use provider::{Likeness, Lookup, Record, SendReceipt};
pub(crate) use providers::Providers;
