//! The event of seed 002's example: sent over HTTP to ourselves, and watched until it is delivered.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use recado_kernel::api_keys::{self, Scope, Scopes};
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::dispatch::Receipt;
use recado_notifications::notifications::{Attempt, Notification, Status};
use recado_queue::context::Context;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::health::loopback_client;
use crate::moments::span;
use crate::output::say;
use crate::providers::{self, CUSTOMER_ID, StandIns};
use crate::tasks::Story;
use crate::up::Installation;

/// Where events are handed in.
pub(crate) const PATH: &str = "/api/v1/notifications/events/dispatch/";

/// Between two looks at the task. A look costs some microseconds; a person notices more than this.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How much of a message is shown.
const SHOWN_LINES: usize = 8;

type Failure = Box<dyn Error + Send + Sync>;

/// The body of the example, in the order of the seed's own `curl`.
pub(crate) const EVENT: &str = concat!(
    r#"{"event_type": "appointment_scheduled", "service_type_id": "mantenimiento-preventivo", "phase_id": "phase-schedule", "#,
    r#""customer_id": "customer-001", "target": "clients", "context": {"nombre": "Carlos Mendoza", "placa": "ABC123", "#,
    r#""vehiculo": "Haval H6 2024", "fecha": "20 de Enero, 2026", "hora": "14:30"}}"#
);

/// Sends the sample and tells its story while it happens. Returns whether it was delivered within `patience`.
///
/// It is not sent where it could leave this machine.
pub(crate) async fn send(installation: &Installation, patience: Duration) -> Result<bool, Failure> {
    if providers::reach_the_world(&installation.context.config) {
        say("\nReal providers are configured, so nothing is sent to Carlos Mendoza, who is only an example.");
        return Ok(false);
    }
    let key = Key::borrow(&installation.context).await?;
    let receipt = dispatch(&installation.url, key.text()).await;
    key.give_back(&installation.context).await?;
    let (receipt, status, took) = receipt?;
    let Some(task) = receipt.task_id else {
        let reasons: Vec<&str> = receipt.skipped.iter().map(|skipped| skipped.detail.as_str()).collect();
        say(&format!("\nThe sample event was accepted, and there is nothing to send: {}", reasons.join("; ")));
        return Ok(false);
    };
    say(&format!("\nPOST {PATH}\n  appointment_scheduled for {CUSTOMER_ID}, Carlos Mendoza"));
    say(&format!("  {status} in {:.1} ms, task {task}\n", took.as_secs_f64() * 1000.0));
    let channel = watch(&installation.context, task, patience).await?;
    match channel {
        Some(channel) => show_arrival(installation.stand_ins.as_ref(), channel),
        None => say(&format!("\nIt was not delivered within {}; `recado tasks show {task}` says why.", span(patience))),
    }
    Ok(channel.is_some())
}

async fn dispatch(url: &str, key: Option<&str>) -> Result<(Receipt, String, Duration), Failure> {
    let mut request =
        loopback_client()?.post(format!("{url}{PATH}")).header("Content-Type", "application/json").body(EVENT);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let asked = Instant::now();
    let answer = request.send().await?;
    let (took, status, body) = (asked.elapsed(), answer.status(), answer.text().await?);
    let receipt =
        serde_json::from_str(&body).map_err(|_| format!("the API answered {status} to the sample event: {body}"))?;
    Ok((receipt, status.to_string(), took))
}

/// Prints what happens to the task until a message was sent, or all failed. Returns the channel that took it.
async fn watch(context: &Context, task: Id, patience: Duration) -> db::Result<Option<Channel>> {
    let deadline = Instant::now() + patience;
    let mut told = Vec::new();
    loop {
        let story = Story::read(&mut context.db.read().await?, task).await?;
        let Some(story) = story else { return Ok(None) };
        for (at, text) in timeline(&story) {
            if !told.contains(&text) {
                say(&format!("  {:>7.3} s  {text}", at.since(story.task.created_at).as_secs_f64()));
                told.push(text);
            }
        }
        let sent = story.notifications.iter().find(|notification| notification.status.is_sent());
        if let Some(sent) = sent.filter(|_| story.task.state.is_final()) {
            return Ok(Some(sent.channel));
        }
        if story.task.state.is_final() || Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What has happened so far, in the order in which it happened. Every text occurs once.
fn timeline(story: &Story) -> Vec<(Timestamp, String)> {
    let mut events = vec![(story.task.created_at, describe_plan(&story.notifications))];
    let mut numbers = HashMap::new();
    for attempt in &story.attempts {
        let number = numbers.entry(attempt.notification_id).or_insert(0);
        *number += 1;
        let took = Duration::from_millis(u64::try_from(attempt.duration_ms).unwrap_or_default());
        events.push((attempt.started_at + took, describe_attempt(*number, attempt)));
    }
    events.extend(story.notifications.iter().filter_map(describe_state));
    events.sort_by_key(|(at, _)| *at);
    events
}

fn describe_plan(chain: &[Notification]) -> String {
    let channels: Vec<&str> = chain.iter().map(|notification| notification.channel.as_str()).collect();
    match channels.split_first() {
        Some((first, [])) => format!("queued for {first}"),
        Some((first, others)) => format!("queued for {first} (if that fails: {})", others.join(", then ")),
        None => "queued".to_owned(),
    }
}

fn describe_attempt(number: usize, attempt: &Attempt) -> String {
    let code = attempt.provider_status.map(|code| format!(", the provider said {code}"));
    let Attempt { channel, outcome, duration_ms, .. } = attempt;
    format!("{channel}: attempt {number}, {outcome} after {duration_ms} ms{}", code.unwrap_or_default())
}

/// Where a message stands, when that is news.
fn describe_state(notification: &Notification) -> Option<(Timestamp, String)> {
    let Notification { channel, status, retry_count, updated_at, .. } = notification;
    if let Some(sent_at) = notification.sent_at.filter(|_| status.is_sent()) {
        return Some((sent_at, format!("{channel}: sent to {}", notification.recipient_address)));
    }
    let reason = notification.error_reason.as_deref().unwrap_or("no reason given");
    if *status == Status::Failed {
        return Some((*updated_at, format!("{channel}: given up, {reason}")));
    }
    let wait = span(notification.next_retry_at?.since(*updated_at));
    Some((*updated_at, format!("{channel}: failed {retry_count} times ({reason}), again in {wait}")))
}

fn show_arrival(stand_ins: Option<&StandIns>, channel: Channel) {
    let Some(arrived) = stand_ins.and_then(|stand_ins| stand_ins.newest(channel)) else {
        return;
    };
    say(&format!("\nWhat arrived\n  {}", arrived.title));
    for line in arrived.text.lines().filter(|line| !line.trim().is_empty()).take(SHOWN_LINES) {
        say(&format!("  │ {line}"));
    }
}

/// What the sample shows at the door: nothing where it is open, a configured key, or one that lives for this request.
enum Key {
    NotNeeded,
    Configured(SecretString),
    Made { id: Id, key: SecretString },
}

impl Key {
    async fn borrow(context: &Context) -> db::Result<Self> {
        let access = &context.config.access;
        if access.anonymous {
            return Ok(Self::NotNeeded);
        }
        if let Some(key) = access.api_keys.first() {
            return Ok(Self::Configured(key.clone()));
        }
        let mut session = context.db.begin().await?;
        let (id, key) =
            api_keys::create(&mut session, "recado up (sample)", &Scopes(vec![Scope::Dispatch]), context.clock.now())
                .await?;
        session.commit().await?;
        Ok(Self::Made { id, key })
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::NotNeeded => None,
            Self::Configured(key) | Self::Made { key, .. } => Some(key.expose_secret()),
        }
    }

    async fn give_back(self, context: &Context) -> db::Result<()> {
        let Self::Made { id, .. } = self else { return Ok(()) };
        let mut session = context.db.begin().await?;
        api_keys::revoke(&mut session, &id.to_string(), context.clock.now()).await?;
        session.commit().await
    }
}
