//! What a caller is answered.

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rejection::Rejection;
use super::send_time::DeferReason;
use crate::channels::Channel;
use crate::notifications::reserve::InReserve;
use crate::notifications::{NewNotification, Notification, Status};
use crate::orchestration::{SkipReason, SkippedChannel};

/// What was accepted (S002-41).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// Always true here.
    #[schema(examples(true))]
    pub success: bool,
    /// The event's id: the caller's, or one of ours.
    pub correlation_id: Id,
    /// How many messages are on their way now: 1, or one per channel in mode `all`, or 0 when every channel was skipped.
    #[schema(minimum = 0, examples(1))]
    pub notifications_queued: usize,
    /// Always empty here.
    #[schema(examples(json!([])))]
    pub errors: Vec<String>,
    /// Whose status tells the story; in mode `all` the first of several. Null when every channel was skipped.
    pub task_id: Option<Id>,
    /// The messages, in the order in which they are tried.
    pub notifications: Vec<Planned>,
    /// Channels that are not used, each with its reason.
    pub skipped: Vec<Skipped>,
    /// When the first message leaves; null: at once.
    #[serde(default)]
    pub send_at: Option<Timestamp>,
    /// Why it leaves later; null: it does not.
    #[serde(default)]
    pub deferred: Option<DeferReason>,
}

/// A message that will be sent, or would be if the ones before it fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Planned {
    /// The message's id.
    pub id: Id,
    /// The task that delivers it and the others of its chain.
    pub task_id: Id,
    /// On which channel.
    pub channel: Channel,
    /// `queued`: it has its turn. `pending`: it waits for the ones before it to fail.
    #[schema(value_type = String, examples("queued"))]
    pub status: Status,
    /// Its place in the chain; 0 is tried first.
    #[schema(examples(0))]
    pub fallback_order: i32,
    /// Name of the template.
    #[schema(examples("Cita agendada (clientes, email)"))]
    pub template: String,
}

/// A channel that will not be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// The channel.
    pub channel: Channel,
    /// A stable word: `disabled_in_matrix`, `opted_out`, `no_address`, `no_push_subscription`, `no_template`, ….
    #[schema(value_type = String, examples("no_push_subscription"))]
    pub reason: SkipReason,
    /// A sentence for people.
    #[schema(examples("El cliente no tiene ningún dispositivo suscrito a notificaciones push."))]
    pub detail: String,
}

/// The messages of a chain that is about to be written, the first one and those in reserve.
pub(crate) fn planned(first: &NewNotification) -> impl Iterator<Item = Planned> {
    let in_reserve = |message: &InReserve| Planned {
        id: message.id,
        task_id: first.task_id,
        channel: message.channel,
        status: Status::Pending,
        fallback_order: message.place,
        template: message.template_name.clone(),
    };
    let first_one = Planned {
        id: first.id,
        task_id: first.task_id,
        channel: first.channel,
        status: first.status,
        fallback_order: first.fallback_order,
        template: first.template_name.clone(),
    };
    std::iter::once(first_one).chain(first.reserve.iter().map(in_reserve))
}

impl From<&Notification> for Planned {
    fn from(notification: &Notification) -> Self {
        Self {
            id: notification.id,
            task_id: notification.task_id,
            channel: notification.channel,
            status: notification.status,
            fallback_order: notification.fallback_order,
            template: notification.template_name.clone(),
        }
    }
}

impl From<&SkippedChannel> for Skipped {
    fn from(SkippedChannel { channel, reason }: &SkippedChannel) -> Self {
        Self { channel: *channel, reason: *reason, detail: reason.explanation(Language::Spanish).to_owned() }
    }
}

/// An accepted event. `replayed` when the answer is an old one, for the same idempotency key.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub receipt: Receipt,
    pub replayed: bool,
}

pub type Answer = Result<Accepted, Rejection>;
