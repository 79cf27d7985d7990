//! WhatsApp by way of an Evolution API 2.x server.
//!
//! Evolution knows no idempotency key: a message that is sent twice arrives twice. So an answer that never came is
//! `Unknown`, and [`Whatsapp::find`] looks for the message among Evolution's records before it is sent again (d27).

mod bridge;
mod names;
mod records;

use std::time::Duration;

use async_trait::async_trait;
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::config::WhatsappSettings;
use recado_kernel::ids::Id;
use recado_kernel::outbound::check_url;
use recado_notifications::fallback::FailureClass;
use reqwest::header::HeaderValue;
use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

pub(super) use self::bridge::ThroughBridge;
use self::names::Name;
use self::records::{Candidate, Search, sent_at};
use super::answer::excerpt;
use super::failure::{Fault, SendFailure, wrong_adapter};
use super::message::{Message, Recipient};
use super::provider::{Lookup, Provider, ProviderError, SendReceipt};
use crate::outbound::{self, Connections, Reach};

/// No answer in time; the message may have left (S002-71).
pub(super) const TIMEOUT: &str = "WHATSAPP_TIMEOUT";
/// The server could not be reached, or answered as a broken server does (S002-71).
const HTTP_ERROR: &str = "WHATSAPP_HTTP_ERROR";
/// Evolution understood and said no (S002-71).
const API_ERROR: &str = "WHATSAPP_API_ERROR";

/// An answer to sendText is below 2 KiB, a page of findMessages some tens of KiB; records of pictures bring their preview along.
const MAX_ANSWER_BYTES: usize = 2 * 1024 * 1024;

/// How much older than our attempt a record may be: Evolution counts whole seconds, and so does the `Date` of its answers, by
/// which we know how far its clock is from ours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// Records on a page of findMessages, and the pages that are read. Evolution lists the newest first, of all chats; a thousand
/// are some hours of a number that sends as fast as WhatsApp lets it.
const PAGE_SIZE: usize = 50;
const MOST_PAGES: usize = 20;

pub(super) struct Whatsapp {
    http: Client,
    send_text: Url,
    find_messages: Url,
    whatsapp_numbers: Url,
    connection_state: Url,
    api_key: HeaderValue,
    clock: Clock,
}

/// Evolution did not say what it was asked.
struct Unclear;

/// What Evolution answered.
struct Answer {
    status: u16,
    /// The body; `Null` where it is not JSON.
    json: Value,
    /// The beginning of the body, fit to be kept.
    text: String,
    /// Whether the body came to its end.
    whole: bool,
    retry_after: Option<Duration>,
    /// By how many seconds Evolution's clock is ahead of ours; 0 where it does not tell the time.
    ahead: i64,
}

impl Whatsapp {
    /// # Errors
    /// When the URL or the key cannot be used, or TLS cannot be set up.
    pub(super) fn new(settings: &WhatsappSettings, reach: Reach, clock: &Clock) -> Result<Self, ProviderError> {
        let base = Url::parse(&settings.url).ok().filter(|url| !url.cannot_be_a_base());
        let base = base.ok_or_else(|| ProviderError::Setting {
            variable: "EVOLUTION_API_URL",
            problem: "is not a URL; write e.g. https://evolution.example.com".to_owned(),
        })?;
        let mut api_key =
            HeaderValue::from_str(settings.api_key.expose_secret()).map_err(|_| ProviderError::Setting {
                variable: "EVOLUTION_API_KEY",
                problem: "holds characters that no HTTP header may have; copy it again".to_owned(),
            })?;
        api_key.set_sensitive(true);
        let route = |group, action| {
            let mut url = base.clone();
            // Segments are percent-encoded here: an instance may be called `Taller Norte`.
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().extend([group, action, settings.instance.as_str()]);
            }
            url
        };
        Ok(Self {
            send_text: route("message", "sendText"),
            find_messages: route("chat", "findMessages"),
            whatsapp_numbers: route("chat", "whatsappNumbers"),
            connection_state: route("instance", "connectionState"),
            http: client(&base, reach, settings.timeout)?,
            api_key,
            clock: clock.clone(),
        })
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.header("apikey", &self.api_key).send().await?;
        let status = response.status().as_u16();
        let now = self.clock.now();
        let retry_after = outbound::retry_after(response.headers(), now);
        let date = outbound::date(response.headers());
        let ahead = date.map_or(0, |date| seconds(date) - seconds(now));
        let body = outbound::read(response, MAX_ANSWER_BYTES).await;
        let whole = body.is_some();
        let body = body.unwrap_or_default();
        let text = excerpt(&String::from_utf8_lossy(&body), self.api_key.to_str().ok());
        Ok(Answer { status, json: serde_json::from_slice(&body).unwrap_or_default(), text, whole, retry_after, ahead })
    }

    /// What Evolution has on record that may be this message: in the chat that bears the number, and in all others, because
    /// the chat may bear another name.
    async fn search(&self, search: &mut Search, number: &str, since: Timestamp) -> Result<Vec<Candidate>, Unclear> {
        let chat = format!("{number}@s.whatsapp.net");
        let mut candidates = self.read_pages(search, Some(&chat), since).await?;
        match self.read_pages(search, None, since).await {
            Ok(others) => candidates.extend(others),
            // There are more pages than are read, and none before them is ours.
            Err(Unclear) if !search.is_among(&candidates) => return Err(Unclear),
            Err(Unclear) => {}
        }
        if candidates.iter().any(|candidate| !search.is_settled(candidate)) {
            search.recipient.extend(self.names_of(number).await);
        }
        Ok(candidates)
    }

    async fn read_pages(
        &self,
        search: &Search,
        chat: Option<&str>,
        since: Timestamp,
    ) -> Result<Vec<Candidate>, Unclear> {
        let mut candidates = Vec::new();
        let mut first = Value::Null;
        for page in 1..=MOST_PAGES {
            let mut key = json!({"fromMe": true});
            if let Some(chat) = chat {
                key["remoteJid"] = chat.into();
            }
            let question = json!({"where": {"key": key}, "page": page, "offset": PAGE_SIZE});
            let answer = self.ask(self.http.post(self.find_messages.clone()).json(&question)).await;
            let answer = answer.ok().filter(|answer| answer.status < 300 && answer.whole).ok_or(Unclear)?;
            let listed = answer.json.pointer("/messages/records").unwrap_or(&answer.json);
            let records = listed.as_array().ok_or(Unclear)?;
            let earliest = seconds(since) + answer.ahead - CLOCK_TOLERANCE.as_secs().cast_signed();
            candidates.extend(records.iter().filter_map(|record| search.read(record, earliest)));
            let pages = answer.json.pointer("/messages/pages").and_then(Value::as_u64).unwrap_or(1);
            let is_older = |record: &Value| sent_at(record).is_some_and(|sent_at| sent_at < earliest);
            if records.is_empty() || pages <= page as u64 || records.last().is_some_and(is_older) {
                return Ok(candidates);
            }
            // A server that answers with the same page for ever tells nothing about the next one.
            if records[0] == first {
                break;
            }
            first = records[0].clone();
        }
        if search.is_among(&candidates) { Ok(candidates) } else { Err(Unclear) }
    }

    /// The names by which WhatsApp knows a number; none where Evolution does not say.
    async fn names_of(&self, number: &str) -> Vec<Name> {
        let question = json!({ "numbers": [number] });
        let answer = self.ask(self.http.post(self.whatsapp_numbers.clone()).json(&question)).await;
        let Some(answer) = answer.ok().filter(|answer| answer.status < 300) else { return Vec::new() };
        let found = answer.json.as_array().into_iter().flatten();
        found.flat_map(|one| [one["jid"].as_str(), one["lid"].as_str()]).flatten().filter_map(Name::of).collect()
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000_000)
}

/// The name that we give a message. Versions of Evolution that take it file the message under it; the others make one of
/// their own. It is the same at every attempt: should WhatsApp get the message twice, it shows it once.
fn our_name(id: Id) -> String {
    // What WhatsApp Web's own names begin with, and as long as they are.
    let random = &id.as_bytes()[7..];
    random.iter().fold("3EB0".to_owned(), |name, byte| format!("{name}{byte:02X}"))
}

fn client(base: &Url, reach: Reach, timeout: Duration) -> Result<Client, ProviderError> {
    let client = match reach {
        Reach::Anywhere => outbound::trusted_client(base, timeout, Connections::OneEach),
        Reach::Guarded { allow_private } => {
            // A literal address passes no resolver.
            check_url(base.as_str(), allow_private).map_err(|error| ProviderError::Setting {
                variable: "EVOLUTION_API_URL",
                problem: format!("cannot be used: {error}"),
            })?;
            outbound::client(allow_private, timeout, Connections::OneEach)
        }
    };
    client.map_err(|error| ProviderError::Tls(error.into()))
}

#[async_trait]
impl Provider for Whatsapp {
    async fn send(&self, message: &Message) -> Result<SendReceipt, SendFailure> {
        let number = number(message)?;
        // A JSON number is refused: the schema wants text.
        let body = json!({"number": number, "text": message.body, "messageId": our_name(message.notification_id)});
        match self.ask(self.http.post(self.send_text.clone()).json(&body)).await {
            Ok(answer) => conclude(answer),
            Err(error) => Err(unanswered(&error)),
        }
    }

    async fn check(&self) -> Result<String, SendFailure> {
        let answer =
            self.ask(self.http.get(self.connection_state.clone())).await.map_err(|error| unanswered(&error))?;
        match answer.json.pointer("/instance/state").and_then(Value::as_str) {
            Some("open") => Ok("Evolution was reached, and the instance is connected".to_owned()),
            Some(_) => Err(SendFailure {
                fault: Fault::Account,
                status: Some(answer.status),
                ..SendFailure::new(FailureClass::Transient, API_ERROR, SESSION_DOWN)
            }),
            None => conclude(answer).map(|receipt| receipt.answer),
        }
    }

    async fn find(&self, message: &Message, since: Timestamp) -> Lookup {
        let Ok(number) = number(message) else {
            return Lookup::Records(Vec::new());
        };
        let mut search = Search::new(our_name(message.notification_id), &message.body, &number);
        match self.search(&mut search, &number, since).await {
            Ok(candidates) => Lookup::Records(search.records(candidates)),
            Err(Unclear) => Lookup::CannotTell,
        }
    }
}

/// The recipient's digits, as Evolution wants them.
fn number(message: &Message) -> Result<String, SendFailure> {
    let Recipient::Whatsapp(number) = &message.recipient else {
        return Err(wrong_adapter(message, API_ERROR));
    };
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return Err(SendFailure::new(FailureClass::Permanent, API_ERROR, "the recipient's number has no digits"));
    }
    Ok(digits)
}

fn conclude(answer: Answer) -> Result<SendReceipt, SendFailure> {
    let message_id = key_id(&answer.json);
    // An answer that broke off after a good status is good: Evolution answers when WhatsApp has the message.
    if (200..300).contains(&answer.status) && (message_id.is_some() || !answer.whole) {
        return Ok(SendReceipt {
            provider_message_id: message_id,
            status: Some(answer.status),
            answer: answer.text,
            ..SendReceipt::default()
        });
    }
    let (class, code, reason) = classify(answer.status, &answer.json);
    let mut failure = SendFailure::new(class, code, format!("{reason} (HTTP {})", answer.status));
    failure.status = Some(answer.status);
    failure.answer = Some(answer.text);
    failure.retry_after = answer.retry_after;
    failure.fault = fault(answer.status, class, reason);
    Err(failure)
}

/// What an answer that is no receipt means.
fn classify(status: u16, answer: &Value) -> (FailureClass, &'static str, &'static str) {
    use FailureClass::{Misconfigured, Permanent, Transient, Unknown};
    if let Some((class, reason)) = read_complaint(status, answer.pointer("/response/message")) {
        return (class, API_ERROR, reason);
    }
    match status {
        200..300 => (Misconfigured, HTTP_ERROR, "the answer is not Evolution's; check EVOLUTION_API_URL"),
        300..400 => (Misconfigured, HTTP_ERROR, "the server redirects; set EVOLUTION_API_URL to where it leads"),
        401 | 403 => (Misconfigured, API_ERROR, "Evolution refuses the key; check EVOLUTION_API_KEY"),
        404 => (Misconfigured, API_ERROR, "no such instance; check EVOLUTION_INSTANCE and EVOLUTION_API_URL"),
        // Whatever WhatsApp threw, put into a text: nothing says that it would be thrown again.
        400 => (Transient, API_ERROR, "WhatsApp failed to send"),
        408 | 425 | 429 => (Transient, HTTP_ERROR, "Evolution asks us to try later"),
        // A proxy gave up waiting for Evolution, which may well be sending.
        504 | 524 => (Unknown, TIMEOUT, "a proxy before Evolution had no answer in time; the message may have left"),
        500.. => (Transient, HTTP_ERROR, "Evolution failed"),
        _ => (Permanent, HTTP_ERROR, "Evolution refuses the message"),
    }
}

/// Whether another instance might send this very message now. A 400 that is not understood may be about the recipient.
fn fault(status: u16, class: FailureClass, reason: &str) -> Fault {
    match class {
        FailureClass::Misconfigured => Fault::Account,
        FailureClass::Transient if status != 400 || reason == SESSION_DOWN => Fault::Account,
        FailureClass::Transient | FailureClass::Permanent | FailureClass::Unknown => Fault::Message,
    }
}

const SESSION_DOWN: &str = "the WhatsApp session is down; connect the instance again with its QR code";

/// What Evolution's own words say beyond the status. `response.message` is a text, a list of texts, a list of lists of
/// texts (from the JSON schema), or a list of objects (about numbers).
fn read_complaint(status: u16, message: Option<&Value>) -> Option<(FailureClass, &'static str)> {
    use FailureClass::{Permanent, Transient};
    let message = message?;
    if status < 500 && status != 400 {
        return None;
    }
    if mentions(message, "Connection Closed") || mentions(message, "reading 'onWhatsApp'") {
        return Some((Transient, SESSION_DOWN));
    }
    let parts = message.as_array().filter(|_| status == 400)?;
    if parts.iter().any(|part| part["exists"] == Value::Bool(false)) {
        return Some((Permanent, "the number is not on WhatsApp"));
    }
    let is_schema = parts.iter().any(Value::is_array) || mentions(message, "Text is required");
    is_schema.then_some((Permanent, "Evolution refuses the request as malformed"))
}

/// What a request without an answer means: before there was a connection nothing left; afterwards it is unknown.
fn unanswered(error: &reqwest::Error) -> SendFailure {
    let why = outbound::explain(error);
    // Every message would fail alike, until the settings are corrected.
    if let Some(refusal) = outbound::refusal(error) {
        let reason = format!("the address of EVOLUTION_API_URL is refused: {refusal}");
        return SendFailure::new(FailureClass::Misconfigured, HTTP_ERROR, reason);
    }
    if outbound::is_tls_refused(error) {
        let reason = format!("no TLS with Evolution ({why}); check EVOLUTION_API_URL and the server's certificate");
        return SendFailure::new(FailureClass::Misconfigured, HTTP_ERROR, reason);
    }
    if error.is_connect() {
        let reason = format!("no connection to Evolution: {why}");
        return SendFailure { fault: Fault::Account, ..SendFailure::new(FailureClass::Transient, HTTP_ERROR, reason) };
    }
    let reason = if error.is_timeout() {
        "Evolution did not answer in time; the message may have left".to_owned()
    } else {
        format!("the connection to Evolution broke before the answer ({why}); the message may have left")
    };
    SendFailure::new(FailureClass::Unknown, TIMEOUT, reason)
}

fn key_id(record: &Value) -> Option<String> {
    record.pointer("/key/id").and_then(Value::as_str).map(str::to_owned)
}

fn mentions(message: &Value, words: &str) -> bool {
    match message {
        Value::String(text) => text.contains(words),
        Value::Array(parts) => parts.iter().any(|part| mentions(part, words)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use recado_sandbox::{ChatName, Evolution, EvolutionFault, EvolutionOptions};

    use super::*;
    use crate::channels::provider::Likeness;

    const TEST_TIMEOUT: Duration = Duration::from_secs(10);

    fn message(text: &str) -> Message {
        Message {
            notification_id: Id::of_name(text),
            correlation_id: Id::of_name("correlation"),
            recipient: Recipient::Whatsapp("+593991234567".to_owned()),
            subject: String::new(),
            body: text.to_owned(),
            is_html: false,
            click_url: None,
            unsubscribe_url: None,
            sender: None,
        }
    }

    async fn evolution() -> Evolution {
        let options = EvolutionOptions {
            instance: "Taller Norte/1".to_owned(),
            api_key: "K-123".to_owned(),
            ..EvolutionOptions::default()
        };
        Evolution::start(options).await.unwrap()
    }

    fn settings(evolution: &Evolution) -> WhatsappSettings {
        WhatsappSettings {
            url: evolution.url().to_owned(),
            api_key: evolution.api_key().into(),
            instance: evolution.instance().to_owned(),
            timeout: TEST_TIMEOUT,
        }
    }

    fn whatsapp(settings: &WhatsappSettings) -> Whatsapp {
        Whatsapp::new(settings, Reach::Anywhere, &Clock::system()).expect("usable settings")
    }

    #[tokio::test]
    async fn a_message_arrives_with_every_letter_intact() {
        let evolution = evolution().await;
        let text = "Hola, *María* 👋\n\n🚗 Ñandú, placa *ABC-1234* \"lista\"";
        let receipt = whatsapp(&settings(&evolution)).send(&message(text)).await.expect("accepted");
        let messages = evolution.wait_for(1, TEST_TIMEOUT).await;
        assert_eq!((messages[0].number.as_str(), messages[0].text.as_str()), ("593991234567", text));
        assert_eq!(receipt.provider_message_id.as_deref(), Some(messages[0].id.as_str()));
        assert_eq!(receipt.status, Some(201));
    }

    #[tokio::test]
    async fn every_fault_has_its_class_and_code() {
        use FailureClass::{Misconfigured, Permanent, Transient, Unknown};
        let table = [
            (EvolutionFault::NotOnWhatsapp, Permanent, "WHATSAPP_API_ERROR", Some(400)),
            (EvolutionFault::Schema400, Permanent, "WHATSAPP_API_ERROR", Some(400)),
            (EvolutionFault::StringifiedError400, Transient, "WHATSAPP_API_ERROR", Some(400)),
            (EvolutionFault::Unauthorized, Misconfigured, "WHATSAPP_API_ERROR", Some(401)),
            (EvolutionFault::UnknownInstance, Misconfigured, "WHATSAPP_API_ERROR", Some(404)),
            (EvolutionFault::ConnectionClosed, Transient, "WHATSAPP_API_ERROR", Some(500)),
            (EvolutionFault::NeverStarted, Transient, "WHATSAPP_API_ERROR", Some(500)),
            (EvolutionFault::status(403), Misconfigured, "WHATSAPP_API_ERROR", Some(403)),
            (EvolutionFault::status(502), Transient, "WHATSAPP_HTTP_ERROR", Some(502)),
            (EvolutionFault::status(504), Unknown, "WHATSAPP_TIMEOUT", Some(504)),
            (EvolutionFault::status(413), Permanent, "WHATSAPP_HTTP_ERROR", Some(413)),
            (EvolutionFault::status(302), Misconfigured, "WHATSAPP_HTTP_ERROR", Some(302)),
            (EvolutionFault::Drop, Unknown, "WHATSAPP_TIMEOUT", None),
            (EvolutionFault::AcceptThenDrop, Unknown, "WHATSAPP_TIMEOUT", None),
        ];
        let evolution = evolution().await;
        let whatsapp = whatsapp(&settings(&evolution));
        for (fault, class, code, status) in table {
            evolution.misbehave(fault.clone());
            let failure = whatsapp.send(&message("Hola")).await.unwrap_err();
            assert_eq!((failure.class, failure.code, failure.status), (class, code, status), "{fault:?}");
            assert!(!failure.reason.contains("593"), "a reason may be logged: {}", failure.reason);
        }
    }

    #[tokio::test]
    async fn the_servers_wish_to_wait_is_passed_on() {
        let evolution = evolution().await;
        evolution.misbehave(EvolutionFault::Status { status: 429, body: Value::Null, retry_after: Some(90) });
        let failure = whatsapp(&settings(&evolution)).send(&message("Hola")).await.unwrap_err();
        assert_eq!((failure.class, failure.retry_after), (FailureClass::Transient, Some(Duration::from_secs(90))));
    }

    #[tokio::test]
    async fn a_page_of_another_server_is_no_receipt() {
        let evolution = evolution().await;
        for body in [json!("<h1>Bienvenido</h1>"), json!({"status": "ok"})] {
            evolution.misbehave(EvolutionFault::Status { status: 200, body, retry_after: None });
            let failure = whatsapp(&settings(&evolution)).send(&message("Hola")).await.unwrap_err();
            assert_eq!(failure.class, FailureClass::Misconfigured);
            assert!(failure.reason.contains("EVOLUTION_API_URL"), "{}", failure.reason);
        }
    }

    #[tokio::test]
    async fn after_a_silence_the_message_is_found_or_known_to_be_missing() {
        let evolution = evolution().await;
        let hasty = WhatsappSettings { timeout: Duration::from_secs(1), ..settings(&evolution) };
        let (hasty, whatsapp) = (whatsapp(&hasty), whatsapp(&settings(&evolution)));
        let before = Clock::system().now();

        evolution.misbehave_times(EvolutionFault::AcceptThenHang, 1);
        let left = message("Su vehículo está listo 🚗");
        let failure = hasty.send(&left).await.unwrap_err();
        assert_eq!((failure.class, failure.code, failure.status), (FailureClass::Unknown, "WHATSAPP_TIMEOUT", None));
        let sent = evolution.wait_for(1, TEST_TIMEOUT).await;
        assert_eq!(found(whatsapp.find(&left, before).await), [(sent[0].id.clone(), Likeness::Recipient)]);
        let later = before + Duration::from_secs(60);
        assert_eq!(whatsapp.find(&left, later).await, Lookup::Records(Vec::new()), "that one was earlier");

        evolution.misbehave_times(EvolutionFault::Drop, 1);
        let lost = message("Su cita es mañana");
        assert_eq!(whatsapp.send(&lost).await.unwrap_err().class, FailureClass::Unknown);
        assert_eq!(whatsapp.find(&lost, before).await, Lookup::Records(Vec::new()));

        let silent = [
            EvolutionFault::status(503),
            EvolutionFault::Drop,
            EvolutionFault::Unauthorized,
            EvolutionFault::NoRecords,
        ];
        for fault in silent {
            evolution.misbehave(fault);
            assert_eq!(whatsapp.find(&left, before).await, Lookup::CannotTell);
        }
    }

    fn found(lookup: Lookup) -> Vec<(String, Likeness)> {
        let Lookup::Records(records) = lookup else { panic!("{lookup:?}") };
        records.into_iter().map(|record| (record.provider_message_id, record.likeness)).collect()
    }

    /// Evolution had the message on record each time, under another name or within another message, and it was sent again
    /// (evolution-api#1872, #2687, #2062, #447; chatwoot#259, camel#4280).
    #[tokio::test]
    async fn a_message_is_found_by_whatever_name_its_chat_has() {
        let table = [
            ("+5511987654321", ChatName::OldNumber, Likeness::Recipient),
            ("+525512345678", ChatName::OldNumber, Likeness::Recipient),
            ("+593991234567", ChatName::HiddenWithNumber, Likeness::Recipient),
            ("+593991234567", ChatName::Hidden, Likeness::Unnamed),
        ];
        for (number, name, likeness) in table {
            let evolution = evolution().await;
            evolution.name_chats(name);
            evolution.wrap_messages();
            let whatsapp = whatsapp(&settings(&evolution));
            let before = Clock::system().now();
            let message =
                Message { recipient: Recipient::Whatsapp(number.to_owned()), ..message("Su vehículo está listo") };
            evolution.misbehave_times(EvolutionFault::AcceptThenDrop, 1);
            whatsapp.send(&message).await.unwrap_err();
            // The page is full of other chats, and the filter by chat finds nothing (evolution-api#1632).
            for other in 0..2 * PAGE_SIZE {
                evolution.write_by_hand(&format!("59399{other:07}"), "Buenos días");
            }
            let sent = evolution.messages();
            assert_eq!(
                found(whatsapp.find(&message, before).await),
                [(sent[0].id.clone(), likeness)],
                "{number} {name:?}"
            );
        }
    }

    #[tokio::test]
    async fn where_evolution_takes_names_the_message_is_known_by_ours() {
        let evolution = evolution().await;
        evolution.take_names();
        evolution.name_chats(ChatName::Hidden);
        let whatsapp = whatsapp(&settings(&evolution));
        let before = Clock::system().now();
        evolution.write_by_hand("593990000000", "Hola");
        evolution.misbehave_times(EvolutionFault::AcceptThenDrop, 1);
        whatsapp.send(&message("Hola")).await.unwrap_err();
        let records = found(whatsapp.find(&message("Hola"), before).await);
        assert!(records.contains(&(our_name(message("Hola").notification_id), Likeness::OurName)), "{records:?}");
    }

    /// More has been sent since than is read: perhaps the message is behind it.
    #[tokio::test]
    async fn what_lies_beyond_the_last_page_is_unknown() {
        let evolution = evolution().await;
        let whatsapp = whatsapp(&settings(&evolution));
        let before = Clock::system().now();
        for other in 0..=MOST_PAGES * PAGE_SIZE {
            evolution.write_by_hand(&format!("59399{other:07}"), "Buenos días");
        }
        assert_eq!(whatsapp.find(&message("Hola"), before).await, Lookup::CannotTell);
        assert_eq!(
            whatsapp.find(&message("Hola"), Clock::system().now() + Duration::from_secs(60)).await,
            Lookup::Records(Vec::new())
        );
    }

    /// An address inside our own network is refused by the guard: every message would be, until the settings are corrected.
    #[tokio::test]
    async fn a_refused_address_or_certificate_is_our_settings_fault() {
        let evolution = evolution().await;
        let port = Url::parse(evolution.url()).unwrap().port().unwrap();
        let at = |url: String| {
            let settings = WhatsappSettings { url, ..settings(&evolution) };
            whatsapp(&settings)
        };
        // A name is judged when it is looked up.
        let inside = Whatsapp {
            http: outbound::client(false, TEST_TIMEOUT, Connections::OneEach).unwrap(),
            ..at(format!("http://localhost:{port}"))
        };
        for whatsapp in [inside, at(format!("https://127.0.0.1:{port}"))] {
            let failure = whatsapp.send(&message("Hola")).await.unwrap_err();
            assert_eq!((failure.class, failure.fault), (FailureClass::Misconfigured, Fault::Account), "{failure:?}");
            assert!(failure.reason.contains("EVOLUTION_API_URL"), "{}", failure.reason);
        }
    }

    #[tokio::test]
    async fn without_a_connection_nothing_has_left() {
        let evolution = evolution().await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let settings = WhatsappSettings { url: closed, ..settings(&evolution) };
        let failure = whatsapp(&settings).send(&message("Hola")).await.unwrap_err();
        assert_eq!((failure.class, failure.code), (FailureClass::Transient, "WHATSAPP_HTTP_ERROR"));
        assert_eq!(failure.fault, Fault::Account);
        assert_eq!(whatsapp(&settings).find(&message("Hola"), Clock::system().now()).await, Lookup::CannotTell);
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let settings = |url: &str, key: &str| WhatsappSettings {
            url: url.to_owned(),
            api_key: key.to_owned().into(),
            instance: "taller".to_owned(),
            timeout: TEST_TIMEOUT,
        };
        let refused =
            |settings| Whatsapp::new(&settings, Reach::Anywhere, &Clock::system()).err().expect("refused").to_string();
        assert!(refused(settings("http://", "key")).contains("EVOLUTION_API_URL"));
        assert!(refused(settings("http://evolution:8080", "key\n")).contains("EVOLUTION_API_KEY"));
        let behind_a_path =
            Whatsapp::new(&settings("https://example.com/evolution", "key"), Reach::Anywhere, &Clock::system())
                .unwrap();
        assert_eq!(behind_a_path.send_text.as_str(), "https://example.com/evolution/message/sendText/taller");
    }

    /// The answers of Evolution API 2.3.6 as recorded from the real program.
    #[test]
    fn recorded_answers() {
        use FailureClass::{Misconfigured, Permanent, Transient};
        let error =
            |status: u16, message: Value| json!({"status": status, "error": "…", "response": {"message": message}});
        let table = [
            (401, error(401, json!("Unauthorized")), Misconfigured),
            (403, error(403, json!(["This name \"taller\" is already in use."])), Misconfigured),
            (404, error(404, json!(["The \"noexiste\" instance does not exist"])), Misconfigured),
            (404, error(404, json!(["Cannot GET /no/such"])), Misconfigured),
            (400, error(400, json!([["instance requires property \"text\""]])), Permanent),
            (400, error(400, json!([["Invalid format"]])), Permanent),
            (400, error(400, json!(["Text is required"])), Permanent),
            (400, error(400, json!([{"jid": "593@s.whatsapp.net", "exists": false, "number": "593"}])), Permanent),
            (400, error(400, json!("Expected property name or '}' in JSON at position 1")), Transient),
            (400, error(400, json!(["Error: Timed Out"])), Transient),
            (400, error(400, json!(["Error: Connection Closed"])), Transient),
            (500, error(500, json!("Connection Closed")), Transient),
            (500, error(500, json!("Cannot read properties of undefined (reading 'onWhatsApp')")), Transient),
            (500, Value::Null, Transient),
        ];
        for (status, answer, class) in table {
            let (found, code, reason) = classify(status, &answer);
            assert_eq!(found, class, "{status} {answer}");
            let is_accounts = class == Misconfigured || status >= 500 || reason == SESSION_DOWN;
            assert_eq!(fault(status, found, reason) == Fault::Account, is_accounts, "{status} {answer}");
            let session = answer.to_string().contains("Connection Closed") || answer.to_string().contains("onWhatsApp");
            assert_eq!(reason.contains("session is down"), session, "{reason}");
            assert_eq!(code, if answer.is_null() { "WHATSAPP_HTTP_ERROR" } else { "WHATSAPP_API_ERROR" });
        }
    }
}
