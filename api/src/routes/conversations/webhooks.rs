//! Where the WhatsApp bridge tells of messages, of its session and of its QR code (S003-1, S003-2, S003-3).
//!
//! Its bodies are read with patience, because a message that is refused is lost: a field of an odd type is as if it were absent,
//! and only what a message cannot be kept without is asked for.

use std::sync::Arc;

use axum::extract::State;
use recado_conversations::bridge::bare_id;
use recado_conversations::chats::Kind;
use recado_conversations::incoming::{Effect, Message, Outcome};
use recado_conversations::requests::Status as RequestStatus;
use recado_conversations::sessions::{self, Status as SessionStatus, Told};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::columns::bounded;
use recado_kernel::ids::Id;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::BridgeCall;
use crate::extract::json;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(process_message)).routes(routes!(status)).routes(routes!(qr))
}

/// The longest id of a message or chat. WhatsApp's have some 40 characters; an index takes no text of any length.
const LONGEST_ID: usize = 255;

/// The longest text of a message: WhatsApp's own limit.
const LONGEST_TEXT: usize = 65_536;

/// The longest name of a person or chat.
const LONGEST_NAME: usize = 255;

/// The longest URL of a picture.
const LONGEST_URL: usize = 2_048;

/// The longest QR code: WhatsApp's have some 240 characters.
const LONGEST_QR: usize = 4_096;

/// Larger numbers are milliseconds (d31).
const LAST_SECOND: f64 = 1e10;

/// The end of the year 9999, in seconds: what lies behind is no time of a message.
const END_OF_TIME: f64 = 253_402_300_799.0;

/// Takes a message. It is kept once by its `id`, however often it is told; the reservation codes in it are requests when this is
/// answered, and an operator is told of them afterwards.
#[utoipa::path(post, path = "/process-message", tag = "whatsapp-webhooks", operation_id = "whatsapp_process_message",
    security(("bridgeSignature" = []), ("bridgeSecret" = [])), request_body = MessageWebhook,
    responses((status = 200, description = "It is kept, now or before", body = Processed)))]
async fn process_message(
    State(api): State<Arc<Api>>,
    BridgeCall(body): BridgeCall,
) -> Result<axum::Json<Processed>, Problem> {
    let message = read_message(&object(body.as_slice())?)?;
    count("message");
    let taken = api.incoming.take(message).await.map_err(|_| Problem::Unavailable)?;
    Ok(axum::Json(taken.into()))
}

/// Takes what the bridge says of its session.
#[utoipa::path(post, path = "/status", tag = "whatsapp-webhooks", operation_id = "whatsapp_status_webhook",
    security(("bridgeSignature" = []), ("bridgeSecret" = [])), request_body = StatusWebhook,
    responses((status = 200, description = "It is kept", body = Acknowledged)))]
async fn status(
    State(api): State<Arc<Api>>,
    BridgeCall(body): BridgeCall,
) -> Result<axum::Json<Acknowledged>, Problem> {
    let fields = object(body.as_slice())?;
    let word = text(&fields["status"]).ok_or_else(|| wrong("status", "Este campo es requerido."))?;
    let status: SessionStatus =
        word.trim().to_ascii_lowercase().parse().map_err(|_| {
            wrong("status", &format!("No es una opción válida. Use {}.", SessionStatus::WORDS.join(", ")))
        })?;
    let told = Told::Status { status, phone_number: digits(&fields["phone_number"]), push_name: name(&fields["name"]) };
    tell(&api, told, "status").await
}

/// Takes the QR code that waits to be scanned.
#[utoipa::path(post, path = "/qr", tag = "whatsapp-webhooks", operation_id = "whatsapp_qr_webhook",
    security(("bridgeSignature" = []), ("bridgeSecret" = [])), request_body = QrWebhook,
    responses((status = 200, description = "It is kept", body = Acknowledged)))]
async fn qr(State(api): State<Arc<Api>>, BridgeCall(body): BridgeCall) -> Result<axum::Json<Acknowledged>, Problem> {
    let fields = object(body.as_slice())?;
    let qr = match &fields["qr"] {
        Value::String(qr) if !qr.trim().is_empty() => qr.trim().to_owned(),
        Value::Null | Value::String(_) => return Err(wrong("qr", "Este campo es requerido.")),
        _ => return Err(wrong("qr", "No es una cadena válida.")),
    };
    if qr.chars().count() > LONGEST_QR {
        return Err(wrong("qr", &format!("Asegúrese de que este campo no tenga más de {LONGEST_QR} caracteres.")));
    }
    tell(&api, Told::Qr { qr }, "qr").await
}

async fn tell(api: &Api, told: Told, kind: &'static str) -> Result<axum::Json<Acknowledged>, Problem> {
    count(kind);
    let mut session = api.context.db.begin().await?;
    sessions::tell(&mut session, &told, api.context.clock.now()).await?;
    session.commit().await?;
    Ok(axum::Json(Acknowledged { status: "ok" }))
}

fn count(kind: &'static str) {
    metrics::counter!("recado_whatsapp_webhooks_total", "kind" => kind).increment(1);
}

fn wrong(field: &str, error: &str) -> Problem {
    FieldErrors::one(field, error).into()
}

/// The fields of a body; those that are missing are null.
fn object(bytes: &[u8]) -> Result<Value, Problem> {
    let value = json::parse_patiently(bytes).map_err(Problem::Malformed)?;
    if value.is_object() { Ok(value) } else { Err(Problem::Malformed("Se esperaba un objeto JSON.".to_owned())) }
}

/// The words of the original for a message without an id.
const NO_ID: &str = "Missing message ID";

fn read_message(fields: &Value) -> Result<Message, Problem> {
    let id = id(&fields["id"], "id")?.ok_or_else(|| Problem::Malformed(NO_ID.to_owned()))?;
    let chat_id = id_of_chat(fields)?;
    let kind = Kind::of(&chat_id, fields["chat_type"].as_str().map(str::trim));
    Ok(Message {
        whatsapp_id: bare_id(&id).to_owned(),
        kind,
        chat_name: name(&fields["chat_name"]),
        whatsapp_name: name(&fields["whatsapp_name"]),
        profile_picture_url: text(&fields["profile_picture_url"])
            .filter(|url| url.starts_with("http") && url.len() <= LONGEST_URL),
        phone: digits(&fields["phone"]),
        text: words(fields),
        sent_at: timestamp(&fields["timestamp"]),
        is_ours: is_true(&fields["from_me"]),
        sender_name: name(&fields["sender_name"]),
        sender_phone: digits(&fields["sender_phone"]),
        // What WhatsApp Web calls a text is no medium.
        media_type: name(&fields["media_type"]).filter(|kind| kind != "chat" && kind != "text"),
        reply_to_whatsapp_id: id_or_none(&fields["reply_to_whatsapp_id"]).map(|id| bare_id(&id).to_owned()),
        chat_id,
    })
}

fn id_of_chat(fields: &Value) -> Result<String, Problem> {
    id(&fields["chat_id"], "chat_id")?.ok_or_else(|| wrong("chat_id", "Este campo es requerido."))
}

/// WhatsApp's id, which some bridges leave in the object that their library has for it. `None`: there is none.
fn id(value: &Value, field: &str) -> Result<Option<String>, Problem> {
    let value = value.get("_serialized").unwrap_or(value);
    let id = match value {
        Value::Null => return Ok(None),
        Value::String(id) => id.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => return Err(wrong(field, "No es una cadena válida.")),
    };
    if id.chars().count() > LONGEST_ID {
        return Err(wrong(field, &format!("Asegúrese de que este campo no tenga más de {LONGEST_ID} caracteres.")));
    }
    Ok((!id.is_empty()).then_some(id))
}

fn id_or_none(value: &Value) -> Option<String> {
    id(value, "").ok().flatten()
}

/// What was said: the text, and the caption of a picture where that comes by itself.
fn words(fields: &Value) -> String {
    let said = text(&fields["text"]).or_else(|| text(&fields["body"])).unwrap_or_default();
    let said = match text(&fields["caption"]) {
        Some(caption) if said.trim().is_empty() => caption,
        Some(caption) if !said.contains(caption.as_str()) => format!("{said}\n{caption}"),
        _ => said,
    };
    bounded(&said, LONGEST_TEXT).into_owned()
}

/// A text, or a number as one.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn name(value: &Value) -> Option<String> {
    let text = text(value)?;
    let name = text.trim();
    (!name.is_empty()).then(|| bounded(name, LONGEST_NAME).into_owned())
}

/// The digits of a number, of which no one has more than 20: those of a group's id.
fn digits(value: &Value) -> Option<String> {
    let digits: String = text(value)?.chars().filter(char::is_ascii_digit).take(20).collect();
    (!digits.is_empty()).then_some(digits)
}

/// Seconds or milliseconds since 1970, as a number or a text, with or without a fraction; or RFC 3339.
fn timestamp(value: &Value) -> Option<Timestamp> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => match text.trim().parse() {
            Ok(number) => number,
            Err(_) => return chrono::DateTime::parse_from_rfc3339(text.trim()).ok().map(|time| time.to_utc().into()),
        },
        _ => return None,
    };
    let seconds = if number > LAST_SECOND { number / 1_000.0 } else { number };
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (0.0..=END_OF_TIME).contains(&seconds).then(|| Timestamp::from_micros((seconds * 1e6) as i64))
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(word) => matches!(word.trim().to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on"),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A message, as a bridge tells of it. What is of another type is as if it were absent.
#[derive(ToSchema)]
#[schema(as = WhatsappMessageWebhook)]
#[expect(dead_code, reason = "it describes the body, which is read with more patience than a type has")]
struct MessageWebhook {
    /// WhatsApp's id of the message.
    #[schema(min_length = 1, max_length = 255, examples("3EB0C767D097B7C7E5A4"))]
    id: String,
    /// WhatsApp's id of the chat.
    #[schema(
        min_length = 1,
        max_length = 255,
        examples("593991234567@c.us", "120363041234567890@g.us", "37881745801364@lid")
    )]
    chat_id: String,
    /// `individual` or `group`; the end of `chat_id` counts more.
    #[schema(examples("individual"))]
    chat_type: Option<String>,
    /// As the telephone's address book has the chat.
    chat_name: Option<String>,
    /// As the person calls herself.
    whatsapp_name: Option<String>,
    /// Her picture.
    profile_picture_url: Option<String>,
    /// Digits of the chat. Not believed where `chat_id` is a LID or a group.
    #[schema(examples("593991234567"))]
    phone: Option<String>,
    /// What was said, or the caption of a medium.
    #[schema(examples("Hola, mi código es RES-ISLAS--20260120-9F86D081, somos 4 personas"))]
    text: Option<String>,
    /// When, by the sender's clock: seconds since 1970, or milliseconds.
    #[schema(examples(1768919400))]
    timestamp: Option<f64>,
    /// One of ours.
    from_me: Option<bool>,
    /// Who wrote, in a group.
    sender_name: Option<String>,
    /// Their number, in digits.
    sender_phone: Option<String>,
    /// Kind of the medium; the medium itself is not taken.
    #[schema(examples("image"))]
    media_type: Option<String>,
    /// WhatsApp's id of the message that is quoted.
    reply_to_whatsapp_id: Option<String>,
}

/// What a bridge says of its session.
#[derive(ToSchema)]
#[schema(as = WhatsappStatusWebhook)]
#[expect(dead_code, reason = "it describes the body")]
struct StatusWebhook {
    /// `disconnected`, `qr_pending`, `connected` or `expired`.
    #[schema(examples("connected"))]
    status: String,
    /// Number of the telephone.
    phone_number: Option<String>,
    /// As its owner calls herself.
    name: Option<String>,
}

/// A QR code.
#[derive(ToSchema)]
#[schema(as = WhatsappQrWebhook)]
#[expect(dead_code, reason = "it describes the body")]
struct QrWebhook {
    /// The text that the picture shows.
    #[schema(min_length = 1, max_length = 4096)]
    qr: String,
}

/// It is kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhatsappAcknowledged)]
struct Acknowledged {
    /// Always `ok`.
    #[schema(examples("ok"))]
    status: &'static str,
}

/// What became of a message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhatsappMessageProcessed)]
struct Processed {
    /// `saved` (one of ours), `already_processed`, `reservation_created`, `operator_response_processed` or `processed`.
    #[schema(examples("reservation_created"))]
    status: &'static str,
    /// Our id of the message.
    message_id: Id,
    /// The request that it made; the first of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation_id: Option<Id>,
    /// All requests that it made, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation_ids: Option<Vec<Id>>,
    /// How the request stands that an operator's answer was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation_status: Option<RequestStatus>,
}

impl From<Outcome> for Processed {
    fn from(Outcome { message_id, effect }: Outcome) -> Self {
        let of =
            |status| Self { status, message_id, reservation_id: None, reservation_ids: None, reservation_status: None };
        match effect {
            Effect::Saved => of("saved"),
            Effect::AlreadyProcessed => of("already_processed"),
            Effect::Processed => of("processed"),
            Effect::Answered(status) => Self { reservation_status: Some(status), ..of("operator_response_processed") },
            Effect::Requested(ids) => Self {
                reservation_id: ids.first().copied(),
                reservation_ids: (ids.len() > 1).then_some(ids),
                ..of("reservation_created")
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// d31: seconds and milliseconds, and what is none.
    #[test]
    fn moments_come_in_many_forms() {
        let told = |value: Value| timestamp(&value).map(|time| time.to_string());
        let noon = Some("2026-01-20T14:30:00.000000Z".to_owned());
        for good in [
            json!(1_768_919_400),
            json!(1_768_919_400_000_i64),
            json!(1_768_919_400.0),
            json!("1768919400"),
            json!(" 1768919400000 "),
            json!("2026-01-20T09:30:00-05:00"),
        ] {
            assert_eq!(told(good.clone()), noon, "{good}");
        }
        assert_eq!(told(json!(0)).as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        assert_eq!(told(json!(4_102_444_800_i64)).as_deref(), Some("2100-01-01T00:00:00.000000Z"));
        assert_eq!(told(json!(4_102_444_800_000_i64)).as_deref(), Some("2100-01-01T00:00:00.000000Z"));
        for none in
            [json!(null), json!(-1), json!(1e300), json!("mañana"), json!("NaN"), json!("inf"), json!([1]), json!(true)]
        {
            assert_eq!(told(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn odd_fields_are_as_if_they_were_absent() {
        let odd = json!({
            "id": {"_serialized": "false_593991234567@c.us_3EB0AB"}, "chat_id": 593, "chat_type": 7, "chat_name": ["x"],
            "phone": "+593 99-123", "text": 42, "caption": "RES-A1", "timestamp": {}, "from_me": "no", "media_type": "chat",
            "reply_to_whatsapp_id": [],
        });
        let message = read_message(&odd).expect("it can be kept");
        assert_eq!((message.whatsapp_id.as_str(), message.chat_id.as_str()), ("3EB0AB", "593"));
        assert_eq!((message.text.as_str(), message.phone.as_deref()), ("42\nRES-A1", Some("59399123")));
        assert!(!message.is_ours && message.chat_name.is_none() && message.media_type.is_none());
        assert!(message.sent_at.is_none() && message.reply_to_whatsapp_id.is_none());
    }
}
