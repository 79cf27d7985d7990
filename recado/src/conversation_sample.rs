//! A reservation of seed 003, between this process and the sandbox's bridge: a customer names a code in WhatsApp, the operator is
//! told in a group, and says yes there. Over HTTP, as a checkout, staff and a bridge see it.

use std::collections::HashSet;
use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use recado_sandbox::{Answered, Bridge, BridgeChat, BridgeFault, Rule, Writes};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::output::{count, say};
use crate::partner_sample::Ours;

/// Where the bridge posts messages.
pub(crate) const WEBHOOK: &str = "/api/v1/whatsapp/webhook/process-message/";
/// What came of them.
pub(crate) const REQUESTS: &str = "/api/v1/superadmin/whatsapp/reservations/";
const CODES: &str = "/api/v1/whatsapp/generate-reservation-code/";
const STAFF: &str = "/api/v1/superadmin/whatsapp/";

const EXPERIENCE: &str = "exp-7";
const ORGANIZER: &str = "org-1";
/// The group in which the operator is told.
const GROUP: &str = "120363041234567890";
const CUSTOMER: &str = "593991234567";
const OPERATOR: &str = "593990000009";

/// How long each wait may take. Telling an operator takes milliseconds; three retries take seven seconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Between two looks. A look is two requests on loopback, and a person does not notice this delay.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

type Failure = Box<dyn Error + Send + Sync>;

/// What was missing, in a sentence.
type Seen<T> = Result<T, String>;

/// How it is played.
#[derive(Args, Debug)]
pub(crate) struct Play {
    /// What the operator answers in WhatsApp
    #[arg(long, value_name = "TEXT", default_value = "1")]
    answer: String,
    /// What the bridge does wrong at first, when the operator is told: an HTTP status (400, 500, 503, …), drop, or zombie
    /// (it says that it sent, and nothing leaves)
    #[arg(long, value_name = "FAULT", value_parser = parse_fault)]
    fault: Option<BridgeFault>,
    /// How many texts it treats so
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3))]
    times: u32,
}

fn parse_fault(text: &str) -> Result<BridgeFault, String> {
    match text {
        "drop" => Ok(BridgeFault::Drop),
        "zombie" => Ok(BridgeFault::Zombie),
        _ => match text.parse() {
            Ok(400) => Ok(BridgeFault::NotRegistered),
            Ok(503) => Ok(BridgeFault::NotReady),
            Ok(status @ 401..=599) => Ok(BridgeFault::status(status)),
            _ => Err("write a status from 400 to 599, drop or zombie".to_owned()),
        },
    }
}

/// Plays it and prints it. Returns what was seen, or what was missing.
pub(crate) async fn play(url: &str, bridge: &Bridge, how: &Play) -> Result<Seen<String>, Failure> {
    let ours = Ours::at(url)?;
    prepare(&ours, bridge).await?;
    let code = issue(&ours).await?;
    if let Some(fault) = &how.fault {
        bridge.plan(Rule::always(fault.clone()).times(how.times).only("/api/send-message"));
        say(&format!("\nThe bridge misbehaves, {}: {}", count(how.times as usize, "text"), json!(fault)));
    }
    let scene = Scene { ours: &ours, bridge };
    let request = match scene.customer_writes(&code).await? {
        Ok(request) => request,
        Err(missing) => return Ok(Err(missing)),
    };
    let ended = scene.go_on(&request, &how.answer).await?;
    say_timeline(&scene.request(&request).await?);
    Ok(ended)
}

/// Makes the experience, its operator and the operator's group known, as another system and staff do.
async fn prepare(ours: &Ours<'_>, bridge: &Bridge) -> Result<(), Failure> {
    bridge.add_chat(BridgeChat::group(GROUP, "Tours del Sur, reservas", &[OPERATOR]));
    let path = format!("{STAFF}experiences/{EXPERIENCE}/");
    let organizer = json!({
        "id": ORGANIZER, "name": "Tours del Sur", "contact_phone": format!("+{OPERATOR}"),
        "contact_email": "reservas@example.com",
    });
    let body = json!({"title": "Islas Ballestas", "slug": "ballestas-paracas", "organizer": organizer});
    ours.send(Method::PUT, &path, &body).await?;
    say(&format!("\nPUT {path}\n  Islas Ballestas is known, and Tours del Sur has an operator"));
    let groups = ours.get(&format!("{STAFF}groups/")).await?;
    let group = named(&groups["groups"], "chat_id", &format!("{GROUP}@g.us"))?;
    let operators = ours.get(&format!("{STAFF}operators/?organizer_id={ORGANIZER}")).await?;
    let operator = operators["operators"][0]["id"].as_str().ok_or("no operator was made for the organizer")?;
    let path = format!("{STAFF}operators/{operator}/default-group/");
    ours.send(Method::PATCH, &path, &json!({ "group_id": group["id"] })).await?;
    say(&format!(
        "\nPATCH {STAFF}operators/…/default-group/\n  the bridge lists {}, and it is the operator's",
        group["name"]
    ));
    Ok(())
}

async fn issue(ours: &Ours<'_>) -> Result<String, Failure> {
    let body = json!({"experience_id": EXPERIENCE, "checkout_data": {"participants": {"total": 4}}});
    let issued = ours.post(CODES, body.to_string()).await?;
    let code = issued["code"].as_str().ok_or("the answer shows no code")?.to_owned();
    say(&format!("\nPOST {CODES}\n  {code}, until {}", issued["expires_at"].as_str().unwrap_or_default()));
    Ok(code)
}

/// Where it plays.
struct Scene<'a> {
    ours: &'a Ours<'a>,
    bridge: &'a Bridge,
}

impl Scene<'_> {
    /// The customer names the code. Returns the request that it made.
    async fn customer_writes(&self, code: &str) -> Result<Seen<String>, Failure> {
        let text = format!("Hola, mi código es {code}, somos 4 personas");
        say(&format!("\nThe customer writes, and the bridge posts it to {WEBHOOK}\n  │ {text}"));
        let answered = self.post(&self.bridge.message(CUSTOMER, &text)).await?;
        Ok(match answered["reservation_id"].as_str() {
            Some(request) => Ok(request.to_owned()),
            None => Err(format!("No request was made: {answered}")),
        })
    }

    /// The operator is told, and answers.
    async fn go_on(&self, request: &str, answer: &str) -> Result<Seen<String>, Failure> {
        let told = self.until(request, |request| request["status"] == "operator_notified").await?;
        let Some(told) = told else {
            return Ok(Err(format!("The operator was not told within {} s.", TIMEOUT.as_secs())));
        };
        let (by, chat_id) = (&told["told_by"], told["told_to"].as_str().unwrap_or_default());
        if by == "email" {
            return Ok(Err(format!("The operator was told by e-mail, at {chat_id}, and not in WhatsApp.")));
        }
        let Some(text) = self.came_back(chat_id).await? else {
            let waited = TIMEOUT.as_secs();
            return Ok(Err(format!("The notice never came back from WhatsApp within {waited} s: it did not leave.")));
        };
        let place = if by == "group" { "in the group" } else { "at the operator's number" };
        say(&format!("\nThe operator is told {place}, and the bridge posts the echo (from_me)"));
        text.lines().for_each(|line| say(&format!("  │ {line}")));
        self.operator_answers(request, chat_id, answer).await
    }

    async fn operator_answers(&self, request: &str, chat_id: &str, answer: &str) -> Result<Seen<String>, Failure> {
        say(&format!("\nThe operator answers there\n  │ {answer}"));
        let is_group = chat_id.ends_with("@g.us");
        let sender = is_group.then(|| (OPERATOR.to_owned(), "Operador".to_owned()));
        let writes = Writes { chat_id: chat_id.to_owned(), text: answer.to_owned(), sender, ..Writes::default() };
        let answered = self.post(&self.bridge.hears(writes)).await?;
        if answered["status"] != "operator_response_processed" {
            return Ok(Err(format!("{answer:?} is no answer: write 1 or 2, sí or no.")));
        }
        let stands = self.request(request).await?["status"].clone();
        Ok(match stands.as_str() {
            Some("availability_confirmed") => {
                Ok("Seen from the customer's message to availability_confirmed.".to_owned())
            }
            _ => Err(format!("The availability was not confirmed: the request is {stands}.")),
        })
    }

    /// The words of our text in this chat, when they have come back as a message with WhatsApp's own id.
    async fn came_back(&self, chat_id: &str) -> Result<Option<String>, Failure> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let sent: HashSet<String> = self.bridge.texts().into_iter().map(|text| text.id).collect();
            let listed = self.ours.get(&format!("{STAFF}messages/?chat_id={chat_id}")).await?;
            let messages = listed["messages"].as_array().into_iter().flatten();
            let mut echoes = messages.filter(|message| {
                message["type"] == "out" && message["whatsapp_id"].as_str().is_some_and(|id| sent.contains(id))
            });
            if let Some(echo) = echoes.next() {
                return Ok(echo["full_content"].as_str().map(str::to_owned));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The request as soon as it stands so; `None`: it did not in time.
    async fn until(&self, id: &str, stands: impl Fn(&Value) -> bool) -> Result<Option<Value>, Failure> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let request = self.request(id).await?;
            if stands(&request) {
                return Ok(Some(request));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn request(&self, id: &str) -> Result<Value, Failure> {
        self.ours.get(&format!("{STAFF}reservations/{id}/?lang=en")).await
    }

    /// The bridge posts a webhook.
    async fn post(&self, webhook: &Value) -> Result<Value, Failure> {
        let Answered { status, body } =
            self.bridge.post(webhook).await.ok_or("the bridge does not know where to post")?;
        match status {
            Some(200) => {
                say(&format!("  HTTP 200 {body}"));
                Ok(body)
            }
            Some(status) => Err(format!("{WEBHOOK} answers {status}: {body}").into()),
            None => Err(format!("{WEBHOOK} does not answer: {body}").into()),
        }
    }
}

/// The row of a list in which a field has this value.
fn named<'v>(rows: &'v Value, field: &str, value: &str) -> Result<&'v Value, String> {
    let mut rows = rows.as_array().into_iter().flatten();
    rows.find(|row| row[field] == value).ok_or_else(|| format!("{value} is not in the list"))
}

fn say_timeline(request: &Value) {
    say(&format!("\nThe request {} ({})", request["tour_code"].as_str().unwrap_or_default(), request["id"]));
    let mut began: Option<DateTime<Utc>> = None;
    for entry in request["timeline"].as_array().into_iter().flatten() {
        let Some(at) = entry["at"].as_str().and_then(|at| at.parse().ok()) else { continue };
        let since = at - *began.get_or_insert(at);
        let (what, text) = (entry["what"].as_str().unwrap_or_default(), entry["text"].as_str().unwrap_or_default());
        say(&format!("  {:>7.3} s  {what:<12}  {text}", since.as_seconds_f64()));
    }
    let passengers =
        count(usize::try_from(request["passengers"].as_u64().unwrap_or_default()).unwrap_or_default(), "passenger");
    say(&format!("  {passengers}, status {}", request["status"].as_str().unwrap_or_default()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_words_and_statuses() {
        assert_eq!(parse_fault("500"), Ok(BridgeFault::status(500)));
        assert_eq!(parse_fault("400"), Ok(BridgeFault::NotRegistered));
        assert_eq!(parse_fault("zombie"), Ok(BridgeFault::Zombie));
        for wrong in ["200", "399", "600", "", "hang", "-1"] {
            assert!(parse_fault(wrong).is_err(), "{wrong}");
        }
    }
}
