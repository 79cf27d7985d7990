//! WhatsApp by way of an Evolution API 2.x server.
//!
//! Evolution knows no idempotency key: a message that is sent twice arrives twice. So an answer that never came is
//! `Unknown`, and [`Whatsapp::find`] looks the message up before it is sent again (d27).

use std::time::Duration;

use async_trait::async_trait;
use recado_shared::clock::{Clock, Timestamp};
use recado_shared::config::WhatsappSettings;
use recado_shared::fallback::FailureClass;
use reqwest::header::HeaderValue;
use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

use super::{Lookup, Message, Provider, ProviderError, Receipt, Recipient, SendFailure, excerpt, wrong_adapter};
use crate::outbound;

/// No answer in time; the message may have left (S002-71).
pub(super) const TIMEOUT: &str = "WHATSAPP_TIMEOUT";
/// The server could not be reached, or answered as a broken server does (S002-71).
const HTTP_ERROR: &str = "WHATSAPP_HTTP_ERROR";
/// Evolution understood and said no (S002-71).
const API_ERROR: &str = "WHATSAPP_API_ERROR";

/// An answer to sendText is below 2 KiB, a page of findMessages some tens of KiB.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// How far Evolution's clock, which counts whole seconds, may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

pub(super) struct Whatsapp {
    http: Client,
    send_text: Url,
    find_messages: Url,
    api_key: HeaderValue,
    clock: Clock,
}

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
}

impl Whatsapp {
    /// # Errors
    /// When the URL or the key cannot be used, or TLS cannot be set up.
    pub(super) fn new(settings: &WhatsappSettings, clock: &Clock) -> Result<Self, ProviderError> {
        let base = Url::parse(&settings.url).ok().filter(|url| !url.cannot_be_a_base());
        let base = base.ok_or_else(|| ProviderError::Setting {
            variable: "EVOLUTION_API_URL",
            problem: "is not a URL; write e.g. https://evolution.example.com".to_owned(),
        })?;
        let mut api_key = HeaderValue::from_str(settings.api_key.expose_secret()).map_err(|_| ProviderError::Setting {
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
            http: outbound::trusted_client(settings.timeout).map_err(|error| ProviderError::Tls(error.into()))?,
            api_key,
            clock: clock.clone(),
        })
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.header("apikey", &self.api_key).send().await?;
        let status = response.status().as_u16();
        let retry_after = outbound::retry_after(response.headers(), self.clock.now());
        let body = outbound::read(response, LONGEST_ANSWER).await;
        let whole = body.is_some();
        let body = body.unwrap_or_default();
        let text = excerpt(&String::from_utf8_lossy(&body), self.api_key.to_str().ok());
        Ok(Answer { status, json: serde_json::from_slice(&body).unwrap_or_default(), text, whole, retry_after })
    }

    /// The record of a message in a chat, where Evolution has one.
    async fn find_in(&self, chat: &str, text: &str, since: Timestamp) -> Lookup {
        let filter = json!({"where": {"key": {"remoteJid": chat, "fromMe": true}}});
        let Ok(answer) = self.ask(self.http.post(self.find_messages.clone()).json(&filter)).await else {
            return Lookup::CannotTell;
        };
        match answer.json.pointer("/messages/records").and_then(Value::as_array) {
            Some(records) if answer.status < 300 => match records.iter().find(|record| is_record_of(record, chat, text, since)) {
                Some(record) => Lookup::Sent(Receipt {
                    provider_message_id: key_id(record),
                    answer: "found in the chat after an answer that never came".to_owned(),
                    ..Receipt::default()
                }),
                None => Lookup::NotFound,
            },
            _ => Lookup::CannotTell,
        }
    }
}

#[async_trait]
impl Provider for Whatsapp {
    async fn send(&self, message: &Message) -> Result<Receipt, SendFailure> {
        let number = number(message)?;
        // A JSON number is refused: the schema wants text.
        let body = json!({"number": number, "text": message.body});
        match self.ask(self.http.post(self.send_text.clone()).json(&body)).await {
            Ok(answer) => conclude(answer),
            Err(error) => Err(unanswered(&error)),
        }
    }

    async fn find(&self, message: &Message, since: Timestamp) -> Lookup {
        let Ok(number) = number(message) else { return Lookup::NotFound };
        // WhatsApp Web's chats bear the suffix; Evolution's own channel does without.
        match self.find_in(&format!("{number}@s.whatsapp.net"), &message.body, since).await {
            Lookup::NotFound => self.find_in(&number, &message.body, since).await,
            found => found,
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

fn conclude(answer: Answer) -> Result<Receipt, SendFailure> {
    let message_id = key_id(&answer.json);
    // An answer that broke off after a good status is good: Evolution answers when WhatsApp has the message.
    if (200..300).contains(&answer.status) && (message_id.is_some() || !answer.whole) {
        return Ok(Receipt {
            provider_message_id: message_id,
            status: Some(answer.status),
            answer: answer.text,
            gone: Vec::new(),
        });
    }
    let (class, code, reason) = classify(answer.status, &answer.json);
    let mut failure = SendFailure::new(class, code, reason);
    failure.status = Some(answer.status);
    failure.answer = Some(answer.text);
    failure.retry_after = answer.retry_after;
    Err(failure)
}

/// What an answer that is no receipt means. The shapes are Evolution 2.3's, whose `response.message` is text, a list of
/// texts, a list of lists of texts (its JSON schema), or a list of objects (numbers that WhatsApp does not know).
fn classify(status: u16, answer: &Value) -> (FailureClass, &'static str, String) {
    use FailureClass::{Misconfigured, Permanent, Transient, Unknown};
    let message = answer.pointer("/response/message").unwrap_or(&Value::Null);
    let says = |words: &str| mentions(message, words);
    match status {
        200..300 => (Misconfigured, HTTP_ERROR, "the answer is not Evolution's; check EVOLUTION_API_URL".to_owned()),
        300..400 => (Misconfigured, HTTP_ERROR, format!("the server redirects ({status}); set EVOLUTION_API_URL to where it leads")),
        401 | 403 => (Misconfigured, API_ERROR, format!("Evolution refuses the key ({status}); check EVOLUTION_API_KEY")),
        404 => (Misconfigured, API_ERROR, "Evolution does not know the instance; check EVOLUTION_INSTANCE and EVOLUTION_API_URL".to_owned()),
        _ if says("Connection Closed") || says("reading 'onWhatsApp'") => {
            (Transient, API_ERROR, "the WhatsApp session is down; connect the instance again with its QR code".to_owned())
        }
        400 if is_unregistered(message) => (Permanent, API_ERROR, "the number is not on WhatsApp".to_owned()),
        400 if is_schema(message) || says("Text is required") => {
            (Permanent, API_ERROR, "Evolution refuses the request as malformed (400)".to_owned())
        }
        // Whatever WhatsApp threw, put into a text: nothing says that it would be thrown again.
        400 => (Transient, API_ERROR, "WhatsApp failed to send (400)".to_owned()),
        408 | 425 | 429 => (Transient, HTTP_ERROR, format!("Evolution asks us to try later ({status})")),
        // A proxy gave up waiting for Evolution, which may well be sending.
        504 | 524 => (Unknown, TIMEOUT, format!("a proxy before Evolution had no answer in time ({status}); the message may have left")),
        500.. => (Transient, HTTP_ERROR, format!("Evolution failed ({status})")),
        _ => (Permanent, HTTP_ERROR, format!("Evolution refuses the message ({status})")),
    }
}

/// What a request without an answer means: before there was a connection nothing left; afterwards nobody knows.
fn unanswered(error: &reqwest::Error) -> SendFailure {
    let why = outbound::explain(error);
    if error.is_connect() {
        return SendFailure::new(FailureClass::Transient, HTTP_ERROR, format!("no connection to Evolution: {why}"));
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

/// `[{"jid": …, "exists": false, "number": …}]`
fn is_unregistered(message: &Value) -> bool {
    message.as_array().is_some_and(|parts| parts.iter().any(|part| part["exists"] == Value::Bool(false)))
}

/// `[["instance requires property \"text\""]]`
fn is_schema(message: &Value) -> bool {
    message.as_array().is_some_and(|parts| parts.iter().any(Value::is_array))
}

/// Whether a record of findMessages is our message: same chat, same words, not older than our first attempt.
fn is_record_of(record: &Value, chat: &str, text: &str, since: Timestamp) -> bool {
    let jid = record.pointer("/key/remoteJid").and_then(Value::as_str).unwrap_or(chat);
    let digits = |jid: &str| jid.split('@').next().unwrap_or_default().to_owned();
    let words = ["/message/conversation", "/message/extendedTextMessage/text"].into_iter().find_map(|path| record.pointer(path)?.as_str());
    let sent_at = match &record["messageTimestamp"] {
        Value::String(seconds) => seconds.parse().ok(),
        seconds => seconds.as_i64(),
    };
    let ours = record.pointer("/key/fromMe") != Some(&Value::Bool(false));
    let earliest = (since - CLOCK_SKEW).as_micros() / 1_000_000;
    ours && digits(jid) == digits(chat) && words == Some(text) && sent_at.is_some_and(|sent_at| sent_at >= earliest)
}
