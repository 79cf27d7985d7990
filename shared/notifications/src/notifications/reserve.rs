//! Messages in reserve: decided at intake like the first one, and kept in the row of their chain until they have their turn.
//! Most never do.

use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use serde::{Deserialize, Serialize};

use super::{NewNotification, Notification, Status};
use crate::channels::Channel;
use crate::orchestration::Awaited;

/// A message in reserve. What it shares with the first one of its chain stands there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InReserve {
    pub id: Id,
    /// Its place in the chain, from 1.
    pub place: i32,
    pub channel: Channel,
    pub recipient_address: String,
    pub template_id: Option<Id>,
    /// Its number among the versions of the template.
    pub template_version: Option<i32>,
    pub template_name: String,
    pub subject: String,
    pub body: String,
    pub is_html: bool,
    pub awaits: Option<Awaited>,
    pub preferred: Option<i32>,
}

/// A row of `notifications` with what waits in reserve behind it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct ChainRow {
    #[sqlx(flatten)]
    pub(super) notification: Notification,
    pub(super) reserve: Option<String>,
    pub(super) reserve_status: Status,
    pub(super) reserve_reason: Option<String>,
}

/// As it is written: JSON, or nothing.
pub(super) fn write(reserve: &[InReserve]) -> Option<String> {
    (!reserve.is_empty()).then(|| serde_json::to_string(reserve).expect("plain data always serialises"))
}

/// What was written. Text that this version cannot read counts as nothing: a chain that cannot go on must not stop others.
pub(super) fn read(id: Id, reserve: Option<&str>) -> Vec<InReserve> {
    let Some(text) = reserve else { return Vec::new() };
    serde_json::from_str(text).unwrap_or_else(|error| {
        let error = explain(&error);
        tracing::error!(notification.id = %id, error, "the reserve of notification {id} cannot be read: {error}");
        Vec::new()
    })
}

/// Whole chains, each in its order, with the messages that have no row yet.
pub(super) fn unfold(rows: Vec<ChainRow>) -> Vec<Notification> {
    let mut messages: Vec<Notification> = Vec::with_capacity(rows.len());
    let mut waiting = Vec::new();
    for row in rows {
        let reserve = read(row.notification.id, row.reserve.as_deref());
        waiting.extend(reserve.into_iter().map(|message| message.as_pending(&row)));
        messages.push(row.notification);
    }
    if waiting.is_empty() {
        return messages;
    }
    let had_turn: std::collections::HashSet<Id> = messages.iter().map(|message| message.id).collect();
    messages.extend(waiting.into_iter().filter(|message| !had_turn.contains(&message.id)));
    messages.sort_by_key(|message| (message.task_id, message.fallback_order));
    messages
}

impl InReserve {
    fn as_pending(&self, chain: &ChainRow) -> Notification {
        let first = &chain.notification;
        Notification {
            id: self.id,
            channel: self.channel,
            fallback_order: self.place,
            status: chain.reserve_status,
            recipient_address: self.recipient_address.clone(),
            template_id: self.template_id,
            template_version: self.template_version,
            template_name: self.template_name.clone(),
            subject: self.subject.clone(),
            body: self.body.clone(),
            is_html: self.is_html,
            error_code: None,
            error_reason: chain.reserve_reason.clone(),
            retry_count: 0,
            next_retry_at: None,
            unknown_since: None,
            unknown_until: None,
            paced_until: None,
            provider_message_id: None,
            provider: None,
            redrives: 0,
            awaits: self.awaits,
            preferred: self.preferred,
            admitted_at: None,
            sent_at: None,
            delivered_at: None,
            read_at: None,
            updated_at: first.created_at,
            ..first.clone()
        }
    }
}

/// A message that has its turn, as a row of its own.
pub(super) fn as_row(message: &Notification) -> NewNotification {
    NewNotification {
        id: message.id,
        correlation_id: message.correlation_id,
        task_id: message.task_id,
        event_type: message.event_type.clone(),
        customer_id: message.customer_id.clone(),
        taller_id: message.taller_id.clone(),
        target: message.target,
        channel: message.channel,
        fallback_order: message.fallback_order,
        status: message.status,
        recipient_address: message.recipient_address.clone(),
        template_id: message.template_id,
        template_version: message.template_version,
        template_name: message.template_name.clone(),
        subject: message.subject.clone(),
        body: message.body.clone(),
        is_html: message.is_html,
        max_retries: message.max_retries,
        awaits: message.awaits,
        preferred: message.preferred,
        critical: message.critical,
        send_at: message.send_at,
        resend_of: message.resend_of,
        reserve: Vec::new(),
        skipped: Vec::new(),
        decided: None,
        created_at: message.created_at,
    }
}
