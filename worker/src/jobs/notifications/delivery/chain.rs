//! The chain of a task: loaded together with others, and where it stands.

use std::collections::HashMap;
use std::sync::Arc;

use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::group_commit::Group;
use recado_kernel::ids::Id;
use recado_notifications::notifications::{self, Awaits, Chain, Notification, Status};
use recado_queue::context::Context;

/// Loads chains; claims that run at the same time share a statement.
pub(crate) type Chains = Group<Id, Result<Chain, Arc<db::Error>>>;

/// The most chains that share a statement.
const LARGEST_BATCH: usize = 1_000;

pub(crate) fn load_together(context: Context) -> Chains {
    Group::spawn(LARGEST_BATCH, move |tasks: Arc<Vec<Id>>| {
        let context = context.clone();
        async move {
            match load(&context, &tasks).await {
                Ok(mut chains) => tasks.iter().map(|task| Ok(chains.remove(task).unwrap_or_default())).collect(),
                Err(error) => {
                    let error = Arc::new(error);
                    tasks.iter().map(|_| Err(error.clone())).collect()
                }
            }
        }
    })
}

async fn load(context: &Context, tasks: &[Id]) -> db::Result<HashMap<Id, Chain>> {
    notifications::deliveries(&mut context.db.read().await?, tasks).await
}

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This message has its turn.
    Send(usize),
    /// It was sent, and its receipt may still come.
    Wait { sent: usize, until: Timestamp },
    /// Its receipt did not come in time.
    Silent(usize),
    /// It reached the person as far as is awaited.
    Arrived(usize),
    /// No message is left.
    Spent,
}

/// What a chain needs now. A message that needs no receipt, or has it, ends the chain, whatever else was begun meanwhile.
pub(super) fn next_step(chain: &[Notification], now: Timestamp) -> Step {
    let arrived = |notification: &Notification| notification.status.is_sent() && notification.waits_for().is_none();
    if let Some(position) = chain.iter().position(arrived) {
        return Step::Arrived(position);
    }
    if let Some(position) = chain.iter().position(|notification| notification.status == Status::Queued) {
        return Step::Send(position);
    }
    let next = chain.iter().position(|notification| notification.status == Status::Pending);
    let sent = chain.iter().rposition(|notification| notification.status.is_sent());
    match (sent, next) {
        (Some(sent), Some(_)) => match chain[sent].waits_for() {
            Some(Awaits { until, .. }) if now < until => Step::Wait { sent, until },
            _ => Step::Silent(sent),
        },
        // No channel is left to try; that a provider took it is what is known.
        (Some(sent), None) => Step::Arrived(sent),
        (None, Some(next)) => Step::Send(next),
        (None, None) => Step::Spent,
    }
}

/// Why each channel failed, in one line.
pub(super) fn reasons<'n>(chain: impl IntoIterator<Item = &'n Notification>) -> String {
    let reason = |notification: &Notification| {
        let code = notification.error_code.as_deref().unwrap_or("cancelled");
        format!("{}: {code} {}", notification.channel, notification.error_reason.as_deref().unwrap_or_default())
    };
    let reasons: Vec<String> = chain.into_iter().map(reason).map(|reason| reason.trim().to_owned()).collect();
    if reasons.is_empty() { "its notifications no longer exist".to_owned() } else { reasons.join("; ") }
}

#[cfg(test)]
mod tests {
    use recado_notifications::channels::Channel;
    use recado_notifications::orchestration::{Awaited, AwaitedReceipt};
    use recado_notifications::targets::Target;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn message(channel: Channel, status: Status, awaited: Option<AwaitedReceipt>) -> Notification {
        Notification {
            id: Id::of_name(channel.as_str()),
            correlation_id: Id::of_name("correlation"),
            task_id: Id::of_name("task"),
            event_type: "custom".to_owned(),
            customer_id: "customer-001".to_owned(),
            taller_id: None,
            target: Target::Clients,
            channel,
            fallback_order: 0,
            status,
            recipient_address: String::new(),
            template_name: String::new(),
            subject: String::new(),
            body: String::new(),
            is_html: false,
            error_code: None,
            error_reason: None,
            retry_count: 0,
            max_retries: 3,
            next_retry_at: None,
            unknown_since: None,
            unknown_until: None,
            paced_until: None,
            provider_message_id: None,
            provider: None,
            redrives: 0,
            awaits: awaited.map(|receipt| Awaited { receipt, seconds: 600 }),
            preferred: None,
            resend_of: None,
            template_id: None,
            template_version: None,
            critical: false,
            send_at: None,
            admitted_at: None,
            sent_at: status.is_sent().then(|| at(0)),
            delivered_at: None,
            read_at: None,
            created_at: at(0),
            updated_at: at(0),
        }
    }

    /// A chain of WhatsApp, which waits for a receipt or not, and email.
    #[test]
    fn where_a_chain_stands() {
        use AwaitedReceipt::{Delivered as ForDelivered, Read as ForRead};
        use Status::{Bounced, Cancelled, Delivered, Failed, Pending, Queued, Read, Sent};
        let wait = Step::Wait { sent: 0, until: at(600) };
        let silent = Step::Silent(0);
        let table = [
            ((Queued, None), Pending, 0, Step::Send(0)),
            ((Pending, None), Pending, 0, Step::Send(0)),
            ((Failed, None), Queued, 0, Step::Send(1)),
            ((Bounced, None), Pending, 0, Step::Send(1)),
            ((Sent, None), Pending, 0, Step::Arrived(0)),
            ((Failed, None), Sent, 0, Step::Arrived(1)),
            ((Failed, None), Failed, 0, Step::Spent),
            ((Cancelled, None), Cancelled, 0, Step::Spent),
            // Sent is not enough here.
            ((Sent, Some(ForDelivered)), Pending, 599, wait),
            ((Sent, Some(ForDelivered)), Pending, 600, silent),
            ((Delivered, Some(ForRead)), Pending, 599, wait),
            ((Delivered, Some(ForRead)), Pending, 600, silent),
            ((Delivered, Some(ForDelivered)), Pending, 0, Step::Arrived(0)),
            ((Read, Some(ForDelivered)), Pending, 0, Step::Arrived(0)),
            ((Read, Some(ForRead)), Pending, 900, Step::Arrived(0)),
            // The next channel has its turn.
            ((Sent, Some(ForDelivered)), Queued, 900, Step::Send(1)),
            ((Sent, Some(ForDelivered)), Sent, 900, Step::Arrived(1)),
            ((Delivered, Some(ForDelivered)), Queued, 900, Step::Arrived(0)),
            ((Sent, Some(ForDelivered)), Failed, 900, Step::Arrived(0)),
            ((Sent, Some(ForDelivered)), Cancelled, 0, Step::Arrived(0)),
        ];
        for ((whatsapp, awaited), email, now, expected) in table {
            let chain = [message(Channel::Whatsapp, whatsapp, awaited), message(Channel::Email, email, None)];
            assert_eq!(next_step(&chain, at(now)), expected, "{whatsapp:?} {awaited:?}, {email:?}, {now} s");
        }
        assert_eq!(next_step(&[], at(0)), Step::Spent);
    }
}
