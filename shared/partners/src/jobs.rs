//! Every kind of job about partners, on one page. How each one runs stands in `worker/src/jobs/partners/`.

use recado_queue::jobs::{Job, Kind};
use recado_queue::lanes::SYNC;
use serde::{Deserialize, Serialize};

/// What the worker must know how to run.
pub const KINDS: [Kind; 2] = [PublishPartnerEvent::KIND, ProcessInboundEvent::KIND];

/// Tells those who subscribed of the event that carries this task's id.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PublishPartnerEvent {}

impl Job for PublishPartnerEvent {
    const KIND: Kind = Kind::new("publish_partner_event", SYNC);
}

/// Lets the webhook of a partner that carries this task's id take effect.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ProcessInboundEvent {}

impl Job for ProcessInboundEvent {
    const KIND: Kind = Kind::new("process_inbound_event", SYNC);
}
