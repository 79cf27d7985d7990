//! What became of a message after a provider took it: delivered, read, or refused after all.
//!
//! Evolution API posts receipts to us as webhooks (d32). They come twice, in disorder, and even before we know that the
//! message was sent; so a status only moves forward, and a receipt whose message is not known yet is looked at again.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::channels::Channel;
use crate::fallback::{Decision, Failure, after_failure};
use crate::journal::{self, Entry, Fact, FallbackReason};
use crate::notifications::{self, Notification, Progress, Status};
use crate::provider_accounts::LONGEST_TIMEOUT;
use crate::reports::Report;
use recado_kernel::clock::Timestamp;
use recado_kernel::config::Config;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, State};

/// The code of a message that its provider took and refused later.
pub const ERROR_CODE: &str = "WHATSAPP_RECEIPT_ERROR";

/// One receipt, as it was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderReceipt {
    /// The provider's own id of the message.
    pub provider_message_id: String,
    pub report: Report,
    /// When it came to us. Evolution's own time is local time that claims to be UTC.
    pub at: Timestamp,
}

/// What a webhook of Evolution says to us.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Webhook {
    pub receipts: Vec<ProviderReceipt>,
    /// The state of an instance's session.
    pub connection: Option<Connection>,
    /// What was left aside, in sentences for the person who sets the webhook up; at most [`MOST_REASONS`].
    pub ignored: Vec<String>,
}

/// Whether the telephone of an instance is connected.
#[derive(Debug, PartialEq, Eq)]
pub struct Connection {
    pub instance: String,
    /// `open`, `connecting` or `close`.
    pub state: String,
}

/// More reasons than these say nothing new.
pub const MOST_REASONS: usize = 10;

/// In bytes; as much as is kept of the id in a provider's answer. Key ids of WhatsApp have about 20 characters, those of
/// Evolution's own channel are UUIDs.
const LONGEST_ID: usize = 255;

impl Webhook {
    /// Reads a body of whatever shape. `event` is the last part of the URL, which Evolution adds when it is told to send by
    /// event; the body's own word comes first.
    pub fn read(event: Option<&str>, body: &Value, now: Timestamp) -> Self {
        let event = body["event"].as_str().or(event).unwrap_or_default();
        // `messages-update`, `MESSAGES_UPDATE` and `messages.update` are the same.
        let event = event.to_ascii_lowercase().replace(['-', '_'], ".");
        let mut webhook = Self::default();
        match event.as_str() {
            "messages.update" | "messages.upsert" | "send.message" => {
                for item in items(&body["data"]) {
                    webhook.take(&event, item, now);
                }
            }
            "connection.update" => webhook.connection = connection(body),
            "" => webhook.ignore(|| "El cuerpo no dice de qué evento se trata (event).".to_owned()),
            _ => webhook.ignore(|| format!("El evento \"{}\" no se usa.", shown(&event))),
        }
        webhook
    }

    fn take(&mut self, event: &str, item: &Value, now: Timestamp) {
        let id = item["keyId"].as_str().or(item["key"]["id"].as_str());
        let from_us = item["fromMe"].as_bool().or(item["key"]["fromMe"].as_bool()).unwrap_or(true);
        let status = if item["status"].is_null() { &item["update"]["status"] } else { &item["status"] };
        let Some(id) = id.filter(|id| is_id(id)) else {
            return self.ignore(|| format!("{event}: falta keyId."));
        };
        if !from_us {
            return self.ignore(|| format!("{event}: el mensaje no es nuestro (fromMe)."));
        }
        match Report::of(status) {
            Some(report) => {
                self.receipts.push(ProviderReceipt { provider_message_id: id.to_owned(), report, at: now });
            }
            None if status.is_null() => self.ignore(|| format!("{event}: sin status.")),
            None => self.ignore(|| format!("{event}: el status {} no cambia nada.", shown(&status.to_string()))),
        }
    }

    fn ignore(&mut self, reason: impl FnOnce() -> String) {
        if self.ignored.len() < MOST_REASONS {
            self.ignored.push(reason());
        }
    }
}

/// One object, or a list of them.
fn items(data: &Value) -> &[Value] {
    match data {
        Value::Array(items) => items,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

fn connection(body: &Value) -> Option<Connection> {
    let data = &body["data"];
    let instance = data["instance"].as_str().or(body["instance"].as_str())?;
    Some(Connection { instance: shown(instance), state: shown(data["state"].as_str()?) })
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID && !id.contains(char::is_control)
}

/// A word of a stranger, fit for a log line and an answer.
fn shown(text: &str) -> String {
    text.chars().take(64).collect::<String>().escape_debug().to_string()
}

/// How long a receipt waits for its message. It may overtake the commit of "sent" by a moment; but where Evolution took the
/// message and did not answer, its id is only known when the look-ups have found it (d27). The message may have left through
/// an account of the database, so the longest time limit counts that one may have.
pub fn match_window(config: &Config) -> Duration {
    let of_rows = Duration::from_secs(LONGEST_TIMEOUT.unsigned_abs().into());
    let unanswered = config.whatsapp.as_ref().map_or(of_rows, |settings| settings.timeout.max(of_rows));
    unanswered + config.unknown_outcome_window
}

/// What [`apply`] did.
#[derive(Debug, Default)]
pub struct Applied {
    /// Receipts of messages that are not known, or not yet.
    pub unknown: usize,
    /// To be rung after the commit.
    pub rings: Vec<Ring>,
    /// For each message that is known to have arrived now, the account through which it left.
    pub arrived_through: Vec<String>,
}

/// Moves the messages of these receipts forward, and wakes the tasks for which that changes something: one that waited for
/// the receipt, and one whose message was refused after all, so that the next channel has its turn. The same receipt twice
/// changes nothing the second time.
pub async fn apply(session: &mut Session, receipts: &[ProviderReceipt], now: Timestamp) -> Result<Applied> {
    let ids: Vec<&str> = receipts.iter().map(|receipt| receipt.provider_message_id.as_str()).collect();
    let found = notifications::of_provider(session, Channel::Whatsapp, &ids).await?;
    let mut of: HashMap<&str, Vec<&ProviderReceipt>> = HashMap::new();
    for receipt in receipts {
        of.entry(&receipt.provider_message_id).or_default().push(receipt);
    }
    let mut effect = Effect::default();
    let mut unknown = receipts.len();
    let mut arrived_through = Vec::new();
    for notification in &found {
        let own = of.remove(notification.provider_message_id.as_deref().unwrap_or_default()).unwrap_or_default();
        unknown -= own.len();
        if effect.add(notification, &own, now) {
            arrived_through.push(notification.provider.clone().unwrap_or_default());
        }
    }
    Ok(Applied { unknown, rings: effect.write(session, now).await?, arrived_through })
}

/// What some receipts change.
#[derive(Debug, Default)]
struct Effect {
    progress: Vec<Progress>,
    entries: Vec<Entry>,
    /// Tasks whose message was refused after it had been taken.
    refused: Vec<Id>,
    /// Tasks that wait, and need not any more.
    arrived: Vec<Id>,
}

impl Effect {
    /// Returns whether it is known to have arrived now, and was not before.
    fn add(&mut self, notification: &Notification, receipts: &[&ProviderReceipt], now: Timestamp) -> bool {
        let mut after = notification.clone();
        for receipt in receipts {
            let Some(status) = advance(&after, receipt.report) else { continue };
            after.status = status;
            after.error_code = (status == Status::Failed).then(|| ERROR_CODE.to_owned());
            match receipt.report {
                Report::Delivered => after.delivered_at = after.delivered_at.or(Some(receipt.at)),
                Report::Read => {
                    // Who read it has it.
                    after.delivered_at = after.delivered_at.or(Some(receipt.at));
                    after.read_at = after.read_at.or(Some(receipt.at));
                }
                Report::Sent | Report::Failed => {}
            }
            self.entries.push(Entry::about(notification, Fact::Receipt { report: receipt.report }, receipt.at));
        }
        if after.status == notification.status {
            return false;
        }
        let is_refused = after.status == Status::Failed;
        self.progress.push(Progress {
            id: after.id,
            status: after.status,
            error_code: is_refused.then_some(ERROR_CODE),
            error_reason: is_refused.then_some("WhatsApp refused the message after Evolution had taken it"),
            delivered_at: after.delivered_at,
            read_at: after.read_at,
            updated_at: now,
        });
        if is_refused {
            self.refused.push(after.task_id);
        } else if after.waits_for().is_none() {
            self.arrived.push(after.task_id);
        }
        notification.delivered_at.is_none() && after.delivered_at.is_some()
    }

    async fn write(mut self, session: &mut Session, now: Timestamp) -> Result<Vec<Ring>> {
        if self.progress.is_empty() {
            return Ok(Vec::new());
        }
        notifications::advance(session, &self.progress).await?;
        let mut rings = tasks::wake(session, &self.arrived, &[State::Scheduled], now).await?;
        if !self.refused.is_empty() {
            let (stranded, entries) = fall_back(session, &self.refused, now).await?;
            self.entries.extend(entries);
            rings.extend(tasks::wake(session, &stranded, &[State::Scheduled, State::Success], now).await?);
        }
        journal::record(session, &self.entries).await?;
        Ok(rings)
    }
}

/// What follows when messages of these tasks were refused after they had been taken. Returns the tasks that have to look at
/// their chains again; one without a next channel has failed.
async fn fall_back(session: &mut Session, task_ids: &[Id], now: Timestamp) -> Result<(Vec<Id>, Vec<Entry>)> {
    let notifications = notifications::chains(session, task_ids).await?;
    let (mut woken, mut next) = (Vec::new(), Vec::new());
    for chain in notifications.chunk_by(|one, next| one.task_id == next.task_id) {
        let Some(refused) = chain.iter().rposition(is_refused) else { continue };
        match after_failure(chain, refused, Failure::FailedReceipt) {
            Decision::Nothing => continue,
            Decision::FallBack { next: position } => next.push(&chain[position]),
            // The task itself says how its chain ended.
            Decision::RetryIn(_) | Decision::KeepSent { .. } | Decision::GiveUp => {}
        }
        woken.push(chain[refused].task_id);
    }
    let ids: Vec<Id> = next.iter().map(|notification| notification.id).collect();
    notifications::queue(session, &ids, now).await?;
    let entry = |next: &&Notification| {
        Entry::about(next, Fact::FellBack { to: next.channel, why: FallbackReason::RefusedLater }, now)
    };
    Ok((woken, next.iter().map(entry).collect()))
}

/// A receipt said that the provider refused it.
fn is_refused(notification: &Notification) -> bool {
    notification.status == Status::Failed && notification.error_code.as_deref() == Some(ERROR_CODE)
}

/// Where a receipt moves a message: only forward, sent → delivered → read. A refusal counts as long as nothing arrived; and
/// what arrived after a refusal was not refused.
fn advance(notification: &Notification, report: Report) -> Option<Status> {
    use Status::{Bounced, Cancelled, Delivered, Failed, Pending, Queued, Read, Sent};
    let refused = is_refused(notification);
    match (report, notification.status) {
        (Report::Delivered, Sent | Queued) => Some(Delivered),
        (Report::Read, Sent | Queued | Delivered) => Some(Read),
        (Report::Delivered, Failed) if refused => Some(Delivered),
        (Report::Read, Failed) if refused => Some(Read),
        (Report::Failed, Sent) => Some(Failed),
        (_, Sent | Queued | Delivered | Read | Failed | Pending | Bounced | Cancelled) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::orchestration::{Awaited, AwaitedReceipt};
    use crate::targets::Target;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_000_000)
    }

    fn notification(status: Status) -> Notification {
        Notification {
            id: Id::of_name("notification"),
            correlation_id: Id::of_name("correlation"),
            task_id: Id::of_name("task"),
            event_type: "custom".to_owned(),
            customer_id: "customer-001".to_owned(),
            taller_id: None,
            target: Target::Clients,
            channel: Channel::Whatsapp,
            fallback_order: 0,
            status,
            recipient_address: "+593991234567".to_owned(),
            template_name: String::new(),
            subject: String::new(),
            body: "Hola".to_owned(),
            is_html: false,
            error_code: None,
            error_reason: None,
            retry_count: 0,
            max_retries: 3,
            next_retry_at: None,
            unknown_since: None,
            unknown_until: None,
            paced_until: None,
            provider_message_id: Some("A".to_owned()),
            provider: None,
            redrives: 0,
            awaits: None,
            preferred: None,
            resend_of: None,
            template_id: None,
            template_version: None,
            critical: false,
            send_at: None,
            admitted_at: None,
            sent_at: Some(now()),
            delivered_at: None,
            read_at: None,
            created_at: now(),
            updated_at: now(),
        }
    }

    fn reports(webhook: &Webhook) -> Vec<(&str, Report)> {
        webhook.receipts.iter().map(|receipt| (receipt.provider_message_id.as_str(), receipt.report)).collect()
    }

    #[test]
    fn every_spelling_of_the_event_and_both_shapes_of_data() {
        let one = json!({"keyId": "A", "fromMe": true, "status": "DELIVERY_ACK"});
        for event in ["messages.update", "MESSAGES_UPDATE", "messages-update", "Messages.Update"] {
            for data in [one.clone(), json!([one.clone()])] {
                let webhook = Webhook::read(None, &json!({"event": event, "data": data.clone()}), now());
                assert_eq!(reports(&webhook), [("A", Report::Delivered)], "{event}");
                assert_eq!(Webhook::read(Some(event), &json!({"data": data}), now()), webhook, "{event}");
            }
        }
        // Recorded: Evolution's own channel says that it sent, without a status.
        let sent = json!({"event": "send.message", "data": {"key": {"fromMe": true, "id": "152efeb2"}}});
        let webhook = Webhook::read(None, &sent, now());
        assert_eq!((reports(&webhook), webhook.ignored.len()), (vec![], 1));
    }

    #[test]
    fn the_words_of_evolution() {
        let table = [
            (json!("ERROR"), Some(Report::Failed)),
            (json!("PENDING"), None),
            (json!("SERVER_ACK"), Some(Report::Sent)),
            (json!("DELIVERY_ACK"), Some(Report::Delivered)),
            (json!("READ"), Some(Report::Read)),
            (json!("PLAYED"), Some(Report::Read)),
            (json!("DELETED"), None),
            (json!(0), Some(Report::Failed)),
            (json!(1), None),
            (json!(3), Some(Report::Delivered)),
            (json!(5), Some(Report::Read)),
            (json!(6), None),
            (json!("read"), Some(Report::Read)),
            (json!(null), None),
            (json!({}), None),
            (json!(2.5), None),
        ];
        for (word, report) in table {
            assert_eq!(Report::of(&word), report, "{word}");
        }
    }

    #[test]
    fn a_session_tells_its_state() {
        let recorded = json!({"event": "connection.update", "instance": "wa1",
            "data": {"instance": "wa1", "state": "connecting", "statusReason": 200}});
        let connection = Webhook::read(None, &recorded, now()).connection.expect("a state");
        assert_eq!((connection.instance.as_str(), connection.state.as_str()), ("wa1", "connecting"));
        assert_eq!(Webhook::read(None, &json!({"event": "connection.update"}), now()).connection, None);
    }

    #[test]
    fn a_strangers_reasons_are_bounded() {
        let body = json!({"event": "messages.update", "data": vec![json!({}); 1000]});
        assert_eq!(Webhook::read(None, &body, now()).ignored.len(), MOST_REASONS);
        let long = json!({"event": "x\n".repeat(1000)});
        assert!(Webhook::read(None, &long, now()).ignored[0].len() < 200);
        let id = json!({"event": "messages.update", "data": {"keyId": "x".repeat(256), "status": "READ"}});
        assert!(Webhook::read(None, &id, now()).receipts.is_empty());
    }

    /// The furthest of the reports, in whatever order they come: a refusal counts for less than any sign of arrival.
    fn furthest(reports: &[Report]) -> Status {
        match reports {
            _ if reports.contains(&Report::Read) => Status::Read,
            _ if reports.contains(&Report::Delivered) => Status::Delivered,
            _ if reports.contains(&Report::Failed) => Status::Failed,
            _ => Status::Sent,
        }
    }

    #[test]
    fn in_whatever_order_a_message_only_moves_forward() {
        let all = [Report::Sent, Report::Delivered, Report::Read, Report::Failed];
        for number in 0..4 * 4 * 4 {
            let order = [all[number % 4], all[number / 4 % 4], all[number / 16]];
            let mut message = notification(Status::Sent);
            for (number, report) in order.into_iter().enumerate() {
                if let Some(status) = advance(&message, report) {
                    message.status = status;
                    message.error_code = (status == Status::Failed).then(|| ERROR_CODE.to_owned());
                }
                assert_eq!(message.status, furthest(&order[..=number]), "{order:?}");
            }
        }
    }

    #[test]
    fn what_failed_otherwise_or_was_cancelled_stays() {
        for status in [Status::Failed, Status::Cancelled, Status::Bounced, Status::Pending] {
            for report in [Report::Sent, Report::Delivered, Report::Read, Report::Failed] {
                assert_eq!(advance(&notification(status), report), None, "{status:?} {report:?}");
            }
        }
        assert_eq!(advance(&notification(Status::Queued), Report::Failed), None, "the newer attempt decides");
    }

    #[test]
    fn several_receipts_at_once_are_one_move_and_wake_who_waits() {
        let receipt = |report| ProviderReceipt { provider_message_id: "A".to_owned(), report, at: now() };
        let receipts = [receipt(Report::Delivered), receipt(Report::Delivered), receipt(Report::Read)];
        let mut waiting = notification(Status::Sent);
        waiting.awaits = Some(Awaited { receipt: AwaitedReceipt::Read, seconds: 60 });

        let mut effect = Effect::default();
        effect.add(&waiting, &receipts.iter().collect::<Vec<_>>(), now());
        assert_eq!((effect.progress.len(), effect.progress[0].status, effect.entries.len()), (1, Status::Read, 2));
        assert_eq!((effect.arrived, effect.refused), (vec![waiting.task_id], vec![]));

        let mut not_yet = Effect::default();
        not_yet.add(&waiting, &[&receipts[0]], now());
        assert_eq!((not_yet.progress[0].status, not_yet.arrived), (Status::Delivered, vec![]));
    }
}
