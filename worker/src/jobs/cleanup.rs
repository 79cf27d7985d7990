//! Weekly: deletes what is past its retention (S002-82), in small steps, so that nothing waits for it.

use std::sync::Arc;

use recado_conversations::sync::runs;
use recado_conversations::{codes, messages, requests};
use recado_kernel::audit;
use recado_kernel::clock::Timestamp;
use recado_kernel::config::Config;
use recado_kernel::db::{self, Session};
use recado_kernel::word_enum;
use recado_notifications::{analytics, journal, notifications, searches, test_sends};
use recado_partners::{events, inbound, rejected};
use recado_queue::context::Context;
use recado_queue::jobs::Cleanup;
use recado_queue::tasks::Claimed;
use recado_queue::{bulk, idempotency, tasks};
use recado_webhooks::{deliveries, notices};
use serde_json::{Map, Value};

use crate::registry::{JobError, Outcome};

const LARGEST_BATCH: i64 = 1_000;

/// Dead tasks stay this many times longer: they may still be looked at, or retried.
const DEAD_RETENTION_FACTOR: u32 = 4;

pub(crate) async fn run(context: Arc<Context>, _: Arc<Claimed>, _: Cleanup) -> Result<Outcome, JobError> {
    let now = context.clock.now();
    let ages = Ages::of(&context.config, now);
    let mut deleted = Map::new();
    for what in What::ALL.iter().copied() {
        deleted.insert(what.to_string(), delete_all(&context, what, ages).await?.into());
    }
    let mut session = context.db.begin().await?;
    analytics::delete_old(&mut session, context.config.time_zone, now).await?;
    session.commit().await?;
    Ok(Outcome::Done(Value::Object(deleted)))
}

/// Deletes one kind of thing, a batch in each transaction. Returns how many there were.
async fn delete_all(context: &Context, what: What, ages: Ages) -> db::Result<u64> {
    let mut deleted = 0;
    loop {
        let mut session = context.db.begin().await?;
        let step = what.delete(&mut session, ages).await?;
        session.commit().await?;
        deleted += step;
        if step < LARGEST_BATCH as u64 {
            return Ok(deleted);
        }
    }
}

/// The moments before which things are past their retention.
#[derive(Clone, Copy)]
struct Ages {
    tasks: Timestamp,
    dead_tasks: Timestamp,
    notifications: Timestamp,
    webhooks: Timestamp,
    whatsapp_messages: Timestamp,
    reservations: Timestamp,
    idempotency_keys: Timestamp,
}

impl Ages {
    fn of(config: &Config, now: Timestamp) -> Self {
        Self {
            tasks: now - config.task_retention,
            dead_tasks: now - config.task_retention * DEAD_RETENTION_FACTOR,
            notifications: now - config.notification_retention,
            webhooks: now - config.webhook_retention,
            whatsapp_messages: now - config.conversations.message_retention,
            reservations: now - config.conversations.request_retention,
            idempotency_keys: now - idempotency::KEPT_FOR,
        }
    }
}

/// What is deleted, in this order. The job's answer counts it under this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
enum What {
    Tasks,
    Notifications,
    Journal,
    /// Bodies and answers of webhooks that went out; what became of them stays.
    WebhookBodies,
    Webhooks,
    InboundWebhooks,
    RejectedWebhooks,
    /// What owners of endpoints were told.
    Notices,
    PartnerEvents,
    WhatsappMessages,
    WhatsappSyncs,
    Reservations,
    ReservationCodes,
    /// Searches for people who were erased, after their end.
    Erasures,
    Audit,
    BulkOperations,
    TestSends,
    IdempotencyKeys,
}

word_enum!(What, "what a cleanup deletes");

impl What {
    /// Deletes a batch. Returns how many there were.
    async fn delete(self, session: &mut Session, ages: Ages) -> db::Result<u64> {
        let batch = LARGEST_BATCH;
        match self {
            Self::Tasks => tasks::delete_finished(session, ages.tasks, ages.dead_tasks, batch).await,
            Self::Notifications => notifications::delete_finished(session, ages.notifications, batch).await,
            Self::Journal => journal::delete_before(session, ages.notifications, batch).await,
            Self::WebhookBodies => deliveries::forget_bodies(session, ages.webhooks, batch).await,
            Self::Webhooks => deliveries::delete_finished(session, ages.notifications, batch).await,
            Self::InboundWebhooks => inbound::delete_before(session, ages.webhooks, batch).await,
            Self::RejectedWebhooks => rejected::delete_before(session, ages.webhooks, batch).await,
            Self::Notices => notices::delete_before(session, ages.notifications, batch).await,
            Self::PartnerEvents => events::delete_before(session, ages.notifications, batch).await,
            Self::WhatsappMessages => messages::delete_before(session, ages.whatsapp_messages, batch).await,
            Self::WhatsappSyncs => runs::delete_before(session, ages.tasks, batch).await,
            Self::Reservations => requests::delete_before(session, ages.reservations, batch).await,
            Self::ReservationCodes => codes::delete_expired(session, ages.reservations, batch).await,
            Self::Erasures => searches::delete_before(session, ages.notifications, batch).await,
            Self::Audit => audit::delete_before(session, ages.notifications, batch).await,
            Self::BulkOperations => bulk::delete_before(session, ages.notifications, batch).await,
            Self::TestSends => test_sends::delete_before(session, ages.tasks, batch).await,
            Self::IdempotencyKeys => idempotency::delete_before(session, ages.idempotency_keys, batch).await,
        }
    }
}
