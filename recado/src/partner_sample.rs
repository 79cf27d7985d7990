//! The exchange of seed 000, between this process and the sandbox's partner: a reservation, a service that is sold for it, and
//! the itinerary that comes of it. Over HTTP, as partners and clients see it.

use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use recado_sandbox::{Partner, PartnerFault, Rule, Verdict};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::health::loopback_client;
use crate::output::{count, say};

/// Option A of the document.
pub(crate) const REGISTER: &str = "/partners/register/findyourwork";
pub(crate) const NOTIFY: &str = "/partners/findyourwork/notify-event";
/// Where the partner sends its own.
pub(crate) const INBOUND: &str = "/webhooks/partner/findyourwork";
/// What it sent.
pub(crate) const RECEIVED: &str = "/api/v1/webhooks/inbound/";
const DELIVERIES: &str = "/api/v1/webhooks/deliveries/";

/// The request of the document's `notify-event`.
pub(crate) const RESERVATION: &str = concat!(
    r#"{"reservation_id": "RES-2026-001", "event_name": "Cena Corporativa TechCorp", "date": "2026-02-15", "time": "19:00", "#,
    r#""guests": 50, "contact_name": "María García", "contact_phone": "0991234567", "contact_email": "maria@techcorp.com", "#,
    r#""services_requested": ["dj", "decoracion", "fotografia"], "notes": "Celebración de aniversario"}"#
);

const CONFIRMED: &str = "event.reservation_confirmed";
const UPDATED: &str = "event.updated";

/// How long the exchange may take. A slow partner and four retries take less than half of it.
const TIMEOUT: Duration = Duration::from_secs(45);

/// Between two looks. A look is a few requests on loopback, and a person does not notice this delay.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Longer than the caller of `notify-event` is kept waiting, so that it is told 202.
const SLOW: Duration = Duration::from_secs(6);

/// Characters of an answer that are shown.
const SHOWN: usize = 80;

type Failure = Box<dyn Error + Send + Sync>;

/// What the partner does wrong at first.
#[derive(Args, Debug)]
pub(crate) struct Misbehaviour {
    /// What the partner does wrong at first: an HTTP status (500, 429, 410, …), slow, drop, redirect, or reserialise
    /// (it writes the body again before it verifies)
    #[arg(long, value_name = "FAULT", value_parser = parse_fault)]
    fault: Option<PartnerFault>,
    /// How many webhooks it treats so
    // A fifth failure in a row opens the circuit, and then nothing is seen for a minute.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=4))]
    times: u32,
}

fn parse_fault(text: &str) -> Result<PartnerFault, String> {
    match text {
        "slow" => Ok(PartnerFault::Slow { delay: SLOW }),
        "drop" => Ok(PartnerFault::Drop),
        "redirect" => Ok(PartnerFault::Redirect { to: "http://127.0.0.1/elsewhere/".to_owned() }),
        "reserialise" => Ok(PartnerFault::Reserialise),
        _ => match text.parse() {
            Ok(status @ (429 | 503)) => {
                Ok(PartnerFault::Status { status, body: String::new(), retry_after: Some("2".to_owned()) })
            }
            Ok(status @ 300..=599) => Ok(PartnerFault::status(status)),
            _ => Err("write a status from 300 to 599, slow, drop, redirect or reserialise".to_owned()),
        },
    }
}

/// The body of the registration. With a secret both know it already.
pub(crate) fn registration(partner: &Partner, secret: Option<&str>) -> Value {
    let url = format!("{}/webhooks/partner/", partner.url());
    let mut body = json!({ "webhook_url": url, "contact_email": "dev@findyourwork.com" });
    if let Some(secret) = secret {
        body["shared_secret"] = secret.into();
    }
    body
}

/// Runs the exchange and prints it. Returns what was seen, or what was missing.
pub(crate) async fn exchange(
    url: &str,
    partner: &Partner,
    misbehaviour: &Misbehaviour,
) -> Result<Result<String, String>, Failure> {
    let ours = Ours::at(url)?;
    let registered = ours.post(REGISTER, registration(partner, None).to_string()).await?;
    let secret = registered["shared_secret"].as_str().ok_or("the registration shows no secret")?;
    say(&format!("\nPOST {REGISTER}\n  {} is registered, and its secret shown this once", registered["partner_id"]));
    partner.set_secret(secret);
    partner.answer_to(&format!("{url}{INBOUND}"));
    if let Misbehaviour { fault: Some(fault), times } = misbehaviour {
        partner.plan(Rule::always(fault.clone()).times(*times));
        say(&format!(
            "\nThe partner misbehaves, {}: {}",
            count(*times as usize, "time"),
            serde_json::to_string(fault)?
        ));
    }
    say(&format!("\nPOST {NOTIFY}"));
    let told = ours.post(NOTIFY, RESERVATION.to_owned()).await;
    match &told {
        Ok(told) => say(&format!("  {}\n", told["message"].as_str().unwrap_or_default())),
        Err(error) => say(&format!("  {error}\n")),
    }
    watch(&ours, partner).await
}

/// Prints what either end sees, until the exchange is complete or cannot be any more.
async fn watch(ours: &Ours<'_>, partner: &Partner) -> Result<Result<String, String>, Failure> {
    let deadline = Instant::now() + TIMEOUT;
    let mut printed: Vec<String> = Vec::new();
    let mut began = None;
    loop {
        let deliveries = ours.deliveries().await?;
        let mut seen = told_by_us(&deliveries);
        seen.extend(received_by_us(&ours.get(RECEIVED).await?));
        seen.extend(seen_by(partner));
        seen.sort_by_key(|entry| entry.at);
        for TimelineEntry { at, text } in
            seen.into_iter().filter(|entry| !printed.contains(&entry.text)).collect::<Vec<_>>()
        {
            let began = *began.get_or_insert(at);
            say(&format!("  {:>7.3} s  {text}", (at - began).as_seconds_f64()));
            printed.push(text);
        }
        match verdict(&deliveries, partner) {
            Some(ended) => return Ok(ended),
            None if Instant::now() >= deadline => {
                return Ok(Err(format!("It was not complete within {} s.", TIMEOUT.as_secs())));
            }
            None => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

/// How the exchange ended, when it has.
fn verdict(deliveries: &[Value], partner: &Partner) -> Option<Result<String, String>> {
    let of_type = |event_type: &str| deliveries.iter().find(|one| one["event_type"] == event_type);
    for event_type in [CONFIRMED, UPDATED] {
        let Some(delivery) = of_type(event_type) else { continue };
        if !matches!(delivery["status"].as_str(), Some("pending" | "delivered")) {
            let reason = delivery["reason"].as_str().unwrap_or("no reason given");
            return Some(Err(format!("{event_type} did not arrive: {reason}.")));
        }
    }
    if let Some(refused) = partner.told().messages().into_iter().find(|told| told.status != Some(200)) {
        return Some(Err(format!("service.booked_for_event was not taken: {}", refused.answer)));
    }
    let arrived = |event_type| of_type(event_type).is_some_and(|one| one["status"] == "delivered");
    if !arrived(CONFIRMED) || !arrived(UPDATED) {
        return None;
    }
    let unsigned = partner.messages().into_iter().find(|webhook| !is_right(webhook.verdict));
    Some(match unsigned {
        None => Ok("Seen at both ends, and every signature was right.".to_owned()),
        Some(webhook) => Err(format!("A signature was wrong: {:?}", webhook.verdict)),
    })
}

/// A receiver that re-serialises compactly is the one that cannot accept what is signed by default.
fn is_right(verdict: Verdict) -> bool {
    verdict.raw && verdict.rewritten && verdict.standard
}

/// Something that happened. Every text occurs once.
struct TimelineEntry {
    at: DateTime<Utc>,
    text: String,
}

/// An entry of our end; what has no time of its own is left out.
fn here(at: &Value, text: &str) -> Option<TimelineEntry> {
    let at = at.as_str()?.parse().ok()?;
    Some(TimelineEntry { at, text: format!("restaurant   {text}") })
}

fn there(at: DateTime<Utc>, text: &str) -> TimelineEntry {
    TimelineEntry { at, text: format!("marketplace  {text}") }
}

/// What we keep of the webhooks that we send: each attempt, as it was answered.
fn told_by_us(deliveries: &[Value]) -> Vec<TimelineEntry> {
    let mut entries = Vec::new();
    for delivery in deliveries {
        let event_type = delivery["event_type"].as_str().unwrap_or_default();
        entries.extend(here(&delivery["created_at"], &format!("{event_type} is kept, and goes out")));
        for attempt in delivery["attempts"].as_array().into_iter().flatten() {
            let answer = match (attempt["status_code"].as_i64(), attempt["error"].as_str()) {
                (Some(status), None) => format!("HTTP {status}, delivered"),
                (_, error) => error.unwrap_or("no answer").to_owned(),
            };
            let text =
                format!("{event_type}: attempt {} after {} ms: {answer}", attempt["number"], attempt["duration_ms"]);
            let ended = here(&attempt["started_at"], &text).map(|entry| {
                let took = attempt["duration_ms"].as_u64().map(Duration::from_millis).unwrap_or_default();
                TimelineEntry { at: entry.at + took, ..entry }
            });
            entries.extend(ended);
        }
    }
    entries
}

/// What we keep of the webhooks that come in.
fn received_by_us(page: &Value) -> Vec<TimelineEntry> {
    let of = |event: &Value| {
        let event_type = event["event_type"].as_str().unwrap_or_default();
        let dialect = event["dialect"].as_str().unwrap_or_default();
        let taken = here(&event["received_at"], &format!("{event_type} came, its signature is right: {dialect}"));
        let joined = here(&event["processed_at"], &format!("{event_type} joined the itinerary"));
        [taken, joined]
    };
    page["results"].as_array().into_iter().flatten().flat_map(of).flatten().collect()
}

/// What the partner saw and did.
fn seen_by(partner: &Partner) -> Vec<TimelineEntry> {
    let mut counts = std::collections::HashMap::new();
    let mut entries = Vec::new();
    for webhook in partner.messages() {
        let payload = webhook.json();
        let event_type = payload["event_type"].as_str().unwrap_or_default().to_owned();
        let number = counts.entry(event_type.clone()).and_modify(|number| *number += 1).or_insert(1);
        let signatures = signatures(webhook.verdict);
        let mut text = format!("{event_type} came{}, signature {signatures}", again(*number));
        if let Some(services) = payload["data"]["updates"]["services"].as_array() {
            text += &format!("; the itinerary is {}", services.iter().map(service).collect::<Vec<_>>().join(", "));
        }
        entries.push(there(webhook.at, &text));
    }
    for told in partner.told().messages() {
        let status = told.status.map_or("no answer".to_owned(), |status| format!("HTTP {status}"));
        let answer: String = told.answer.chars().take(SHOWN).collect();
        let text = format!("service.booked_for_event was sent, signed in X-HMAC-Signature: {status} {answer}");
        entries.push(there(told.at, &text));
    }
    entries
}

fn again(number: usize) -> String {
    if number == 1 { String::new() } else { format!(" ({number} times now)") }
}

/// Which of the verifiers of real partners agree.
fn signatures(Verdict { raw, rewritten, standard, compact: _ }: Verdict) -> String {
    let verifiers =
        [("of the bytes", raw), ("of json.dumps(sort_keys=True)", rewritten), ("of Standard Webhooks", standard)];
    let told = verifiers.map(|(name, is_right)| format!("{} {name}", if is_right { "✓" } else { "✗" }));
    told.join(", ")
}

fn service(service: &Value) -> String {
    let word = |name: &str| service[name].as_str().unwrap_or("?").to_owned();
    let (name, provider, time, status) = (word("name"), word("provider"), word("time"), word("status"));
    format!("{name} by {provider} for {} at {time} ({status})", service["price"])
}

/// Our own API.
pub(crate) struct Ours<'a> {
    client: reqwest::Client,
    url: &'a str,
}

impl<'a> Ours<'a> {
    pub(crate) fn at(url: &'a str) -> reqwest::Result<Self> {
        Ok(Self { client: loopback_client()?, url })
    }

    pub(crate) async fn post(&self, path: &str, body: String) -> Result<Value, Failure> {
        let request = self.client.post(format!("{}{path}", self.url)).header("Content-Type", "application/json");
        answer(request.body(body).send().await?).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        answer(self.client.get(format!("{}{path}", self.url)).send().await?).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.client.request(method, format!("{}{path}", self.url));
        answer(request.json(body).send().await?).await
    }

    /// With their attempts.
    async fn deliveries(&self) -> Result<Vec<Value>, Failure> {
        let page = self.get(DELIVERIES).await?;
        let ids = page["results"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str());
        let mut deliveries = Vec::new();
        for id in ids {
            deliveries.push(self.get(&format!("{DELIVERIES}{id}/")).await?);
        }
        Ok(deliveries)
    }
}

async fn answer(response: reqwest::Response) -> Result<Value, Failure> {
    let (status, path) = (response.status(), response.url().path().to_owned());
    let text = response.text().await?;
    if !status.is_success() {
        return Err(format!("{path} answers {status}: {text}").into());
    }
    Ok(serde_json::from_str(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_words_and_statuses() {
        assert_eq!(parse_fault("500"), Ok(PartnerFault::status(500)));
        assert_eq!(parse_fault("drop"), Ok(PartnerFault::Drop));
        assert!(matches!(parse_fault("429"), Ok(PartnerFault::Status { retry_after: Some(_), .. })));
        for wrong in ["200", "99", "1000", "", "hang", "-1"] {
            assert!(parse_fault(wrong).is_err(), "{wrong}");
        }
    }
}
