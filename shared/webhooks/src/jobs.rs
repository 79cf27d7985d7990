//! Every kind of job about webhooks. How each one runs stands in `worker/src/jobs/webhooks/`.

use recado_kernel::ids::Id;
use recado_queue::jobs::{Job, Kind, LONG};
use recado_queue::lanes::{Lane, MAINTENANCE, Priority, SYNC};
use serde::{Deserialize, Serialize};

/// Requests to partners. One that is slow holds up no message.
pub const LANE: Lane = Lane::new("webhooks");

/// What the worker must know how to run.
pub const KINDS: [Kind; 4] = [DeliverWebhook::KIND, ReplayWebhooks::KIND, AnnounceEndpoint::KIND, FollowEndpoint::KIND];

/// Tries the delivery that carries this task's id. An attempt is ended by its endpoint's own time limit; the job's is only the
/// last resort.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct DeliverWebhook {}

impl Job for DeliverWebhook {
    const KIND: Kind = Kind::new("deliver_webhook", LANE).timeout(LONG);
}

/// Tells of the notice that carries this task's id: its owner by e-mail, and those who subscribed by webhook.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AnnounceEndpoint {}

impl Job for AnnounceEndpoint {
    const KIND: Kind = Kind::new("announce_endpoint", SYNC);
}

/// Has what waits for an endpoint follow its status, in steps: stopped where it was disabled, sent where it is active again. Ordered where
/// that is too much for the transaction that changed the status.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct FollowEndpoint {
    pub endpoint_id: Id,
}

impl Job for FollowEndpoint {
    const KIND: Kind = Kind::new("follow_endpoint", MAINTENANCE).timeout(LONG);
}

/// Sends many deliveries again, in steps; its row in `webhook_replays` says how far it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ReplayWebhooks {
    pub replay_id: Id,
}

impl Job for ReplayWebhooks {
    const KIND: Kind = Kind::new("replay_webhooks", MAINTENANCE).priority(Priority::Low).timeout(LONG);
}
