//! Weekly: deletes what is past its retention (S002-82), in small steps, so that nothing waits for it.

use std::sync::Arc;

use recado_conversations::{codes, messages, requests};
use recado_kernel::audit;
use recado_notifications::{analytics, journal, notifications};
use recado_partners::{events, inbound, rejected};
use recado_queue::context::Context;
use recado_queue::jobs::Cleanup;
use recado_queue::tasks::Claimed;
use recado_queue::{bulk, idempotency, tasks};
use recado_webhooks::{deliveries, notices};
use serde_json::json;

use crate::registry::{JobError, Outcome};

const LARGEST_BATCH: i64 = 1_000;

/// Dead tasks stay this many times longer: they may still be looked at, or retried.
const DEAD_RETENTION_FACTOR: u32 = 4;

pub(crate) async fn run(context: Arc<Context>, _: Arc<Claimed>, _: Cleanup) -> Result<Outcome, JobError> {
    let now = context.clock.now();
    let tasks_before = now - context.config.task_retention;
    let dead_before = now - context.config.task_retention * DEAD_RETENTION_FACTOR;
    let notifications_before = now - context.config.notification_retention;
    let webhooks_before = now - context.config.webhook_retention;
    let messages_before = now - context.config.conversations.message_retention;
    let requests_before = now - context.config.conversations.request_retention;
    let mut deleted = [0; What::ALL.len()];
    for (what, deleted) in What::ALL.into_iter().zip(&mut deleted) {
        loop {
            let mut session = context.db.begin().await?;
            let step = match what {
                What::Tasks => tasks::delete_finished(&mut session, tasks_before, dead_before, LARGEST_BATCH).await?,
                What::Notifications => {
                    notifications::delete_finished(&mut session, notifications_before, LARGEST_BATCH).await?
                }
                What::Journal => journal::delete_before(&mut session, notifications_before, LARGEST_BATCH).await?,
                What::WebhookBodies => deliveries::forget_bodies(&mut session, webhooks_before, LARGEST_BATCH).await?,
                What::Webhooks => {
                    deliveries::delete_finished(&mut session, notifications_before, LARGEST_BATCH).await?
                }
                What::InboundWebhooks => inbound::delete_before(&mut session, webhooks_before, LARGEST_BATCH).await?,
                What::RejectedWebhooks => rejected::delete_before(&mut session, webhooks_before, LARGEST_BATCH).await?,
                What::Notices => notices::delete_before(&mut session, notifications_before, LARGEST_BATCH).await?,
                What::PartnerEvents => events::delete_before(&mut session, notifications_before, LARGEST_BATCH).await?,
                What::WhatsappMessages => messages::delete_before(&mut session, messages_before, LARGEST_BATCH).await?,
                What::Reservations => requests::delete_before(&mut session, requests_before, LARGEST_BATCH).await?,
                What::ReservationCodes => codes::delete_expired(&mut session, requests_before, LARGEST_BATCH).await?,
                What::Audit => audit::delete_before(&mut session, notifications_before, LARGEST_BATCH).await?,
                What::BulkOperations => bulk::delete_before(&mut session, notifications_before, LARGEST_BATCH).await?,
            };
            session.commit().await?;
            *deleted += step;
            if step < LARGEST_BATCH as u64 {
                break;
            }
        }
    }
    let mut session = context.db.begin().await?;
    let idempotency_keys = idempotency::delete_old(&mut session, now).await?;
    analytics::delete_old(&mut session, context.config.time_zone, now).await?;
    session.commit().await?;
    let [
        tasks,
        notifications,
        journal,
        webhook_bodies,
        webhooks,
        inbound_webhooks,
        rejected_webhooks,
        notices,
        partner_events,
        whatsapp_messages,
        reservations,
        reservation_codes,
        audit,
        bulk_operations,
    ] = deleted;
    Ok(Outcome::Done(json!({
        "tasks": tasks,
        "notifications": notifications,
        "journal": journal,
        "webhook_bodies": webhook_bodies,
        "webhooks": webhooks,
        "inbound_webhooks": inbound_webhooks,
        "rejected_webhooks": rejected_webhooks,
        "notices": notices,
        "partner_events": partner_events,
        "whatsapp_messages": whatsapp_messages,
        "reservations": reservations,
        "reservation_codes": reservation_codes,
        "audit": audit,
        "bulk_operations": bulk_operations,
        "idempotency_keys": idempotency_keys,
    })))
}

#[derive(Clone, Copy)]
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
    Reservations,
    ReservationCodes,
    Audit,
    BulkOperations,
}

impl What {
    const ALL: [Self; 14] = [
        Self::Tasks,
        Self::Notifications,
        Self::Journal,
        Self::WebhookBodies,
        Self::Webhooks,
        Self::InboundWebhooks,
        Self::RejectedWebhooks,
        Self::Notices,
        Self::PartnerEvents,
        Self::WhatsappMessages,
        Self::Reservations,
        Self::ReservationCodes,
        Self::Audit,
        Self::BulkOperations,
    ];
}
