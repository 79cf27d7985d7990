//! The event of seed 002's example, with its customer: sent over HTTP to this process, and watched until it is delivered.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use recado_kernel::api_keys::{self, Scope, Scopes};
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::customers::{self, CustomerSync};
use recado_notifications::dispatch::Receipt;
use recado_notifications::notifications::attempts::Attempt;
use recado_notifications::notifications::{Notification, Status};
use recado_notifications::push::{self, NewSubscription};
use recado_queue::context::Context;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::health::loopback_client;
use crate::output::say;
use crate::provider_settings::can_reach_people;
use crate::stand_ins::StandIns;
use crate::tasks::TaskDetails;
use crate::times::span;

/// Where events are accepted.
pub(crate) const PATH: &str = "/api/v1/notifications/events/dispatch/";

/// How long the sample may take until it no longer counts as delivered.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Between two reads of the task. A read takes microseconds, and a person does not notice this delay.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Lines of a message that are shown.
const SHOWN_LINES: usize = 8;

/// The customer of the example.
const CUSTOMER_ID: &str = "customer-001";

type Failure = Box<dyn Error + Send + Sync>;

/// The body of the example, in the order of the seed's own `curl`.
pub(crate) const EVENT: &str = concat!(
    r#"{"event_type": "appointment_scheduled", "service_type_id": "mantenimiento-preventivo", "phase_id": "phase-schedule", "#,
    r#""customer_id": "customer-001", "target": "clients", "context": {"nombre": "Carlos Mendoza", "placa": "ABC123", "#,
    r#""vehiculo": "Haval H6 2024", "fecha": "20 de Enero, 2026", "hora": "14:30"}}"#
);

/// Sends the sample and prints what happens to it. Returns whether it was delivered in time.
///
/// It is not sent where it could leave this machine: Carlos is an example, but somebody may have his number.
pub(crate) async fn send(context: &Context, url: &str, stand_ins: Option<&StandIns>) -> Result<bool, Failure> {
    if can_reach_people(&context.config) {
        say("\nReal providers are configured, so nothing is sent to Carlos Mendoza, who is only an example.");
        return Ok(false);
    }
    let key = Key::for_sample(context).await?;
    let receipt = dispatch(url, key.text()).await;
    key.revoke_temporary(context).await?;
    let (receipt, status, took) = receipt?;
    let Some(task) = receipt.task_id else {
        let reasons: Vec<&str> = receipt.skipped.iter().map(|skipped| skipped.detail.as_str()).collect();
        say(&format!("\nThe sample event was accepted, and there is nothing to send: {}", reasons.join("; ")));
        return Ok(false);
    };
    say(&format!("\nPOST {PATH}\n  appointment_scheduled for {CUSTOMER_ID}, Carlos Mendoza"));
    say(&format!("  {status} in {:.1} ms, task {task}\n", took.as_secs_f64() * 1000.0));
    let channel = watch(context, task).await?;
    match channel {
        Some(channel) => show_arrival(stand_ins, channel),
        None => say(&format!("\nIt was not delivered within {}; `recado tasks show {task}` says why.", span(TIMEOUT))),
    }
    Ok(channel.is_some())
}

/// Adds the example's customer, so that the example works on the command line too. Not where messages reach people.
pub(crate) async fn prepare(context: &Context, stand_ins: Option<&StandIns>) -> db::Result<()> {
    if can_reach_people(&context.config) { Ok(()) } else { add_customer(context, stand_ins).await }
}

/// Makes sure that the example's customer exists and can be reached on every channel.
async fn add_customer(context: &Context, stand_ins: Option<&StandIns>) -> db::Result<()> {
    let mut session = context.db.begin().await?;
    if customers::find(&mut session, CUSTOMER_ID).await?.is_none() {
        let customer = CustomerSync {
            customer_id: CUSTOMER_ID.to_owned(),
            name: Some("Carlos Mendoza".to_owned()),
            email: Some("carlos@example.com".to_owned()),
            phone: Some("+593991234567".to_owned()),
            ..CustomerSync::default()
        };
        customers::sync(&mut session, &customer, context.clock.now()).await?;
    }
    session.commit().await?;
    match stand_ins {
        Some(stand_ins) => open_browser(context, stand_ins).await,
        None => Ok(()),
    }
}

/// Gives the customer a browser in the sandbox.
async fn open_browser(context: &Context, stand_ins: &StandIns) -> db::Result<()> {
    let mut session = context.db.begin().await?;
    // The sandbox of an earlier run is gone, and its browsers with it.
    for old in push::of_customer(&mut session, CUSTOMER_ID).await? {
        if old.endpoint.starts_with("http://127.0.0.1:") {
            push::unsubscribe(&mut session, &old.endpoint).await?;
        }
    }
    let browser = stand_ins.subscribe();
    let subscription = NewSubscription {
        customer_id: CUSTOMER_ID.to_owned(),
        endpoint: browser.endpoint,
        p256dh: browser.p256dh,
        auth: browser.auth,
        user_agent: Some("Recado sandbox".to_owned()),
    };
    push::subscribe(&mut session, &subscription, context.clock.now()).await?;
    session.commit().await
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
async fn watch(context: &Context, task: Id) -> db::Result<Option<Channel>> {
    let deadline = Instant::now() + TIMEOUT;
    let mut printed = Vec::new();
    loop {
        let details = TaskDetails::read(&mut context.db.read().await?, task).await?;
        let Some(details) = details else { return Ok(None) };
        for (at, text) in timeline(&details) {
            if !printed.contains(&text) {
                say(&format!("  {:>7.3} s  {text}", at.since(details.task.created_at).as_secs_f64()));
                printed.push(text);
            }
        }
        let sent = details.notifications.iter().find(|notification| notification.status.is_sent());
        if let Some(sent) = sent.filter(|_| details.task.state.is_final()) {
            return Ok(Some(sent.channel));
        }
        if details.task.state.is_final() || Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// What has happened so far, in the order in which it happened. Every text occurs once.
fn timeline(details: &TaskDetails) -> Vec<(Timestamp, String)> {
    let mut events = vec![(details.task.created_at, describe_plan(&details.notifications))];
    let mut numbers = HashMap::new();
    for attempt in &details.attempts {
        let number = numbers.entry(attempt.notification_id).or_insert(0);
        *number += 1;
        let took = Duration::from_millis(u64::try_from(attempt.duration_ms).unwrap_or_default());
        events.push((attempt.started_at + took, describe_attempt(*number, attempt)));
    }
    events.extend(details.notifications.iter().filter_map(describe_state));
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

/// The state of a message, where it has ended or failed.
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

/// What the sample authenticates with: nothing where the API is open, a configured key, or a key for this one request.
enum Key {
    NotNeeded,
    Configured(SecretString),
    Temporary { id: Id, key: SecretString },
}

impl Key {
    async fn for_sample(context: &Context) -> db::Result<Self> {
        let access = &context.config.access;
        if access.anonymous || access.open_on_this_machine {
            return Ok(Self::NotNeeded);
        }
        if let Some(key) = access.api_keys.first() {
            return Ok(Self::Configured(key.clone()));
        }
        let mut session = context.db.begin().await?;
        let (id, key) = api_keys::create(
            &mut session,
            "recado up (sample)",
            &Scopes(vec![Scope::Dispatch]),
            &Actor::command("recado up"),
            context.clock.now(),
        )
        .await?;
        session.commit().await?;
        Ok(Self::Temporary { id, key })
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::NotNeeded => None,
            Self::Configured(key) | Self::Temporary { key, .. } => Some(key.expose_secret()),
        }
    }

    async fn revoke_temporary(self, context: &Context) -> db::Result<()> {
        let Self::Temporary { id, .. } = self else { return Ok(()) };
        let mut session = context.db.begin().await?;
        api_keys::revoke(&mut session, &id.to_string(), &Actor::command("recado up"), context.clock.now()).await?;
        session.commit().await
    }
}
