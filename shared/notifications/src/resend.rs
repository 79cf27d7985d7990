//! Sending again: the same words to the same address, as a new notification, with the channels that came after it as its
//! fallbacks. Permission is asked again, because the customer may have said no since.

use crate::channels::Channel;
use crate::customers;
use crate::dispatch::{Accepted, Receipt, SendTime, planned};
use crate::jobs::SendNotification;
use crate::journal::{self, Entry, Fact};
use crate::notifications::reserve::InReserve;
use crate::notifications::{self, NewNotification, Notification, Status};
use crate::orchestration::SkipReason;
use crate::quiet_hours::Rest;
use crate::suppressions;
use crate::system::Notifications;
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_queue::idempotency::{self, IdempotencyKey, Known};
use recado_queue::tasks::{self, NewTask};
use serde_json::json;

/// Why a notification is not sent again.
#[derive(Debug, thiserror::Error)]
pub enum ResendError {
    #[error("there is no such notification")]
    Unknown,
    /// It may still leave by itself.
    #[error("it is still on its way")]
    OnItsWay,
    /// Its words and address were erased.
    #[error("its words were erased")]
    Erased,
    /// The customer does not want it, or the address takes nothing: a stable word, and a sentence for people.
    #[error("{detail}")]
    Refused { reason: &'static str, detail: String },
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    #[error("the database did not do its part")]
    Database(#[from] db::Error),
}

/// Sends a notification again and returns what was accepted, or what was accepted before for the same key.
///
/// # Errors
/// When it may not or cannot be sent again; nothing is written then.
pub async fn resend(
    system: &Notifications,
    id: Id,
    key: Option<&IdempotencyKey>,
    actor: &Actor,
) -> Result<Accepted, ResendError> {
    let now = system.context.clock.now();
    let mut session = system.context.db.begin().await?;
    if let Some(receipt) = known(&mut session, key, now).await? {
        return Ok(Accepted { receipt, replayed: true });
    }
    let mut chain = notifications::chain_of(&mut session, id).await?;
    let position = chain.iter().position(|message| message.id == id).ok_or(ResendError::Unknown)?;
    let chain = chain.split_off(position);
    check(&mut session, &chain[0]).await?;

    let send_time = send_time(system, &mut session, &chain[0], now).await?;
    let (task, first) = copy(&chain, send_time, now);
    let task_id = task.id;
    let rings = notifications::insert(&mut session, &[task], std::slice::from_ref(&first)).await?.rings;
    journal::record(&mut session, &[entry(&chain[0], &first, now)]).await?;
    let act = Act::new("resend", "notification", id).made(json!({ "as": first.id }));
    audit::write(&mut session, actor, &act, now).await?;
    let receipt = Receipt {
        success: true,
        correlation_id: chain[0].correlation_id,
        notifications_queued: 1,
        errors: Vec::new(),
        task_id: Some(task_id),
        notifications: planned(&first).collect(),
        skipped: Vec::new(),
        send_at: send_time.later(),
        deferred: send_time.reason,
    };
    if let Some(key) = key {
        idempotency::keep(&mut session, &[(key, serde_json::to_value(&receipt).ok())]).await?;
    }
    session.commit().await?;
    system.context.ring(&rings).await;
    Ok(Accepted { receipt, replayed: false })
}

/// The receipt that was given for this key.
async fn known(
    session: &mut Session,
    key: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<Option<Receipt>, ResendError> {
    let Some(key) = key else { return Ok(None) };
    let Some(Known::Seen { fingerprint, answer }) = idempotency::take(session, &[key], now).await?.remove(&key.key)
    else {
        return Ok(None);
    };
    if fingerprint != key.fingerprint {
        return Err(ResendError::KeyReused);
    }
    serde_json::from_value(answer).map(Some).map_err(|_| ResendError::KeyReused)
}

async fn check(session: &mut Session, record: &Notification) -> Result<(), ResendError> {
    let task = tasks::find(session, record.task_id).await?;
    if record.status.is_open() && task.is_some_and(|task| !task.state.is_final()) {
        return Err(ResendError::OnItsWay);
    }
    let has_address = record.channel == Channel::Push || !record.recipient_address.is_empty();
    if !has_address || (record.subject.is_empty() && record.body.is_empty()) {
        return Err(ResendError::Erased);
    }
    let customer = [record.customer_id.clone()];
    let preferences = customers::preferences(session, &customer).await?;
    if preferences.iter().any(|preference| preference.channel == record.channel && !preference.enabled) {
        let reason = SkipReason::OptedOut;
        return Err(ResendError::Refused {
            reason: reason.as_str(),
            detail: reason.explanation(Language::Spanish).to_owned(),
        });
    }
    if suppressions::contains_address(session, record.channel, &record.recipient_address).await? {
        let reason = SkipReason::Suppressed;
        return Err(ResendError::Refused {
            reason: reason.as_str(),
            detail: reason.explanation(Language::Spanish).to_owned(),
        });
    }
    Ok(())
}

/// Quiet hours hold it back like the first time.
async fn send_time(
    system: &Notifications,
    session: &mut Session,
    record: &Notification,
    now: Timestamp,
) -> db::Result<SendTime> {
    let catalogue = system.catalogue.current(session).await?;
    let workshop = catalogue.workshop(record.taller_id.as_deref());
    let customer = customers::find(session, &record.customer_id).await?;
    let rest = customer.and_then(|customer| Rest::of(&customer, workshop, system.context.config.time_zone));
    Ok(SendTime::of(None, record.critical, now, rest))
}

/// A chain of its own, with the words and addresses of the old one.
fn copy(chain: &[Notification], send_time: SendTime, now: Timestamp) -> (NewTask, NewNotification) {
    let original = &chain[0];
    let task_id = Id::new(now);
    let task = NewTask::at(task_id, &SendNotification { channel: original.channel }, send_time.at, now)
        .correlated(original.correlation_id);
    let id = Id::new(now).at_place(0);
    let last = chain.len() - 1;
    let reserve = (1_u8..).zip(&chain[1..]).map(|(place, message)| InReserve {
        id: id.at_place(place),
        place: place.into(),
        channel: message.channel,
        recipient_address: message.recipient_address.clone(),
        template_id: message.template_id,
        template_version: message.template_version,
        template_name: message.template_name.clone(),
        subject: message.subject.clone(),
        body: message.body.clone(),
        is_html: message.is_html,
        awaits: message.awaits.filter(|_| usize::from(place) < last),
        preferred: message.preferred,
    });
    let first = NewNotification {
        id,
        correlation_id: original.correlation_id,
        task_id,
        event_type: original.event_type.clone(),
        customer_id: original.customer_id.clone(),
        taller_id: original.taller_id.clone(),
        target: original.target,
        channel: original.channel,
        fallback_order: 0,
        status: Status::Queued,
        recipient_address: original.recipient_address.clone(),
        template_id: original.template_id,
        template_version: original.template_version,
        template_name: original.template_name.clone(),
        subject: original.subject.clone(),
        body: original.body.clone(),
        is_html: original.is_html,
        max_retries: original.max_retries,
        // Only what has a channel behind it waits for a receipt.
        awaits: original.awaits.filter(|_| last > 0),
        preferred: original.preferred,
        critical: original.critical,
        send_at: None,
        resend_of: Some(original.id),
        reserve: reserve.collect(),
        skipped: Vec::new(),
        decided: None,
        created_at: now,
    };
    (task, first)
}

fn entry(original: &Notification, copy: &NewNotification, now: Timestamp) -> Entry {
    Entry::about(original, Fact::Resent { copy: copy.id }, now)
}
