//! Dispatch: an event comes in, and everything about it is decided while the caller waits.
//!
//! Which channels, in which order, to which address, in exactly which words. So every mistake of a caller is an answer that
//! names it, and the worker has nothing left to misunderstand. A request walks down this room once: `intake` shares a
//! transaction among those that arrive together, `facts` gathers what their decisions need, `plan` decides, `rows` says what
//! is written, `receipt` what is answered.

pub(crate) mod event;
mod facts;
mod intake;
mod plan;
mod preview;
mod receipt;
mod rejection;
mod rows;
mod send_time;

pub use event::{CUSTOM, DEFERRED_BY, EVENT_TYPES, Event, MINIMUM_FIELDS};
pub use intake::{Intake, accept};
pub use plan::Plan;
pub use preview::{Preview, PreviewMessage, preview};
use recado_kernel::audit::Actor;
use recado_kernel::config::UnknownCustomer;
use recado_queue::idempotency::IdempotencyKey;
pub(crate) use receipt::planned;
pub use receipt::{Accepted, Answer, Planned, Receipt, Skipped};
pub use rejection::Rejection;
pub use send_time::{DeferReason, FARTHEST, SendTime};

use crate::channels::Channel;

/// An event and how its sender wants it handled.
#[derive(Clone, Debug)]
pub struct Request {
    pub event: Event,
    pub idempotency: Option<IdempotencyKey>,
    /// At most one dispatch ever carries this key: the due cycle of a reminder.
    pub unique_key: Option<String>,
    pub unknown_customer: UnknownCustomer,
    /// The only channels that may carry it; empty for all. A reminder names those that announce it.
    pub only: Vec<Channel>,
    /// The person who sends it by hand: that is written to the audit log, in the transaction of the event. `None` for programs, whose
    /// events are no changes of anything.
    pub by: Option<Actor>,
}
