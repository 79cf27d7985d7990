//! The JSON of Evolution API 2.3.6, as recorded from the real program and read in its source.

use std::collections::HashSet;

use axum::{
    Json,
    response::{Html, IntoResponse, Response},
};
use chrono::{DateTime, Local, Utc};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    message::{ChatName, WhatsappMessage, WhatsappStatus},
    world::Heard,
};

/// Evolution's error body: `{"status", "error", "response": {"message"}}`, where the message may be anything.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    message: Value,
}

impl Refusal {
    fn new(status: StatusCode, message: Value) -> Self {
        Self { status, error: status.canonical_reason().unwrap_or("Error"), message }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({
            "status": self.status.as_u16(),
            "error": self.error,
            "response": {"message": self.message},
        });
        (self.status, Json(body)).into_response()
    }
}

pub(super) fn unauthorized() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, json!("Unauthorized"))
}

pub(super) fn unknown_instance(name: &str) -> Refusal {
    let message = format!("The \"{name}\" instance does not exist");
    Refusal::new(StatusCode::NOT_FOUND, json!([message]))
}

pub(super) fn unknown_route(method: &str, path: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, json!([format!("Cannot {method} {path}")]))
}

/// Express answers before Evolution does, and Evolution gives the answer its own shape but the wrong name.
pub(super) fn invalid_json(position: usize) -> Refusal {
    let message = format!("Expected property name or '}}' in JSON at position {position}");
    Refusal { error: "Internal Server Error", ..Refusal::new(StatusCode::BAD_REQUEST, json!(message)) }
}

/// The complaints of the JSON schema: a list in a list.
pub(super) fn schema(complaints: &[String]) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, json!([complaints]))
}

/// An exception that Evolution threw itself, or turned into text.
pub(super) fn bad_request(message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, json!([message]))
}

pub(super) fn not_on_whatsapp(number: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, json!([on_whatsapp(number, false)]))
}

pub(super) fn connection_closed() -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, json!("Connection Closed"))
}

pub(super) fn never_started() -> Refusal {
    let message = "Cannot read properties of undefined (reading 'onWhatsApp')";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, json!(message))
}

/// What `/chat/whatsappNumbers` says without a session: an exception of a library, as it is.
pub(super) fn precondition_required() -> Response {
    let body = json!({
        "data": null,
        "isBoom": true,
        "isServer": false,
        "output": {
            "statusCode": 428,
            "payload": {"statusCode": 428, "error": "Precondition Required", "message": "Connection Closed"},
            "headers": {},
        },
    });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// Any status; see [`EvolutionFault::Status`](super::fault::EvolutionFault::Status) for the body.
pub(super) fn status(status: u16, body: &Value, retry_after: Option<u64>) -> Response {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match body {
        Value::Null => Refusal::new(code, json!(code.canonical_reason().unwrap_or("Error"))).into_response(),
        Value::String(page) => (code, Html(page.clone())).into_response(),
        body => (code, Json(body)).into_response(),
    };
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

pub(super) fn connection_state(instance: &str, state: &str) -> Value {
    json!({"instance": {"instanceName": instance, "state": state}})
}

/// The 201 of a Baileys instance.
pub(super) fn accepted(message: &WhatsappMessage, instance_id: &str) -> Value {
    json!({
        "key": key(message),
        "pushName": "Você",
        "status": message.status,
        "message": {"conversation": message.text},
        "contextInfo": null,
        "messageType": "conversation",
        "messageTimestamp": message.at.timestamp(),
        "instanceId": instance_id,
        "source": "web",
    })
}

/// One row of `/chat/whatsappNumbers`.
pub(super) fn on_whatsapp(number: &str, exists: bool) -> Value {
    json!({"jid": jid(number), "exists": exists, "number": number})
}

/// What `/chat/findMessages` is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Query {
    r#where: Where,
    /// From 1.
    page: Option<usize>,
    /// The size of a page; the name is Evolution's.
    offset: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Where {
    key: Key,
    message_timestamp: Option<Period>,
    /// `/chat/findStatusMessage` has the two flat.
    id: Option<String>,
    remote_jid: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Key {
    id: Option<String>,
    remote_jid: Option<String>,
    from_me: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Period {
    gte: DateTime<Utc>,
    lte: DateTime<Utc>,
}

impl Query {
    fn wants(&self, line: &Line<'_>) -> bool {
        let Where { key, message_timestamp, .. } = &self.r#where;
        let within = |period: &Period| (period.gte.timestamp()..=period.lte.timestamp()).contains(&line.at.timestamp());
        key.id.as_ref().is_none_or(|id| *id == line.id)
            && key.remote_jid.as_ref().is_none_or(|jid| *jid == line.jid)
            && key.from_me.is_none_or(|from_me| from_me == line.from_me)
            && message_timestamp.as_ref().is_none_or(within)
    }

    fn wants_receipts_of(&self, message: &WhatsappMessage) -> bool {
        let wanted = &self.r#where;
        wanted.id.as_ref().is_none_or(|id| *id == message.id)
            && wanted.remote_jid.as_ref().is_none_or(|jid| *jid == message.jid)
    }

    fn page(&self) -> usize {
        self.page.unwrap_or(1).max(1)
    }

    fn size(&self) -> usize {
        self.offset.filter(|size| *size > 0).unwrap_or(50)
    }

    fn cut<T>(&self, rows: impl Iterator<Item = T>) -> Vec<T> {
        let skip = self.size().saturating_mul(self.page() - 1);
        rows.skip(skip).take(self.size()).collect()
    }
}

/// A message that was sent or heard, as it is looked for.
struct Line<'l> {
    id: &'l str,
    jid: &'l str,
    from_me: bool,
    at: DateTime<Utc>,
    record: Value,
}

/// All that is on record, the newest first.
fn lines<'l>(sent: &'l [WhatsappMessage], heard: &'l [Heard], instance_id: &str) -> Vec<Line<'l>> {
    let sent = sent.iter().map(|message| Line {
        id: &message.id,
        jid: &message.jid,
        from_me: true,
        at: message.at,
        record: record(message, instance_id),
    });
    let heard = heard.iter().map(|heard| Line {
        id: &heard.id,
        jid: &heard.jid,
        from_me: false,
        at: heard.at,
        record: heard.record.clone(),
    });
    let mut lines: Vec<Line<'_>> = heard.chain(sent).collect();
    lines.sort_by_key(|line| line.at);
    lines.reverse();
    lines
}

/// A message that was sent, as histories have it.
pub(super) fn record(message: &WhatsappMessage, instance_id: &str) -> Value {
    let updates = message.receipts.iter().map(|status| json!({"status": status}));
    json!({
        "id": row_id(message),
        "key": key(message),
        "pushName": "Você",
        "messageType": "conversation",
        "message": recorded(message),
        "messageTimestamp": message.at.timestamp(),
        "instanceId": instance_id,
        "source": "web",
        "contextInfo": null,
        "MessageUpdate": updates.collect::<Vec<_>>(),
    })
}

/// `/chat/findMessages`: newest first.
pub(super) fn found_messages(sent: &[WhatsappMessage], heard: &[Heard], query: &Query, instance_id: &str) -> Value {
    let found: Vec<_> = lines(sent, heard, instance_id).into_iter().filter(|line| query.wants(line)).collect();
    json!({"messages": {
        "total": found.len(),
        "pages": found.len().div_ceil(query.size()),
        "currentPage": query.page(),
        "records": query.cut(found.into_iter().map(|line| line.record)),
    }})
}

/// `/chat/findChats`: the chats in which something was said, with what was said last.
pub(super) fn found_chats(sent: &[WhatsappMessage], heard: &[Heard], instance_id: &str) -> Value {
    let mut seen = HashSet::new();
    let lines = lines(sent, heard, instance_id).into_iter().filter(|line| seen.insert(line.jid.to_owned()));
    let row = |line: Line<'_>| {
        json!({
            "id": format!("cm{}", line.id.to_ascii_lowercase()),
            "remoteJid": line.jid,
            "pushName": if line.from_me { Value::Null } else { line.record["pushName"].clone() },
            "profilePicUrl": null,
            "updatedAt": line.at,
            "windowStart": null,
            "windowExpires": null,
            "windowActive": false,
            "lastMessage": line.record,
            "unreadCount": 0,
            "isSaved": true,
        })
    };
    lines.map(row).collect()
}

/// Whose telephone it is.
pub(super) const OWNER: &str = "593999000111@s.whatsapp.net";

/// A row of `/instance/fetchInstances`.
pub(super) fn instance(id: &str, name: &str, state: &str) -> Value {
    json!({
        "id": id,
        "name": name,
        "connectionStatus": state,
        "ownerJid": OWNER,
        "profileName": "Tours",
        "profilePicUrl": null,
        "integration": "WHATSAPP-BAILEYS",
        "number": null,
    })
}

pub(super) fn unknown_group() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, json!(["Error fetching group", "item-not-found"]))
}

/// The body of a webhook.
pub(super) fn webhook(event: &str, data: &Value, at: DateTime<Utc>, from: &Sender<'_>) -> Value {
    // Evolution writes local time and a Z all the same; a client has to cope with that.
    let local = at.with_timezone(&Local).format("%Y-%m-%dT%H:%M:%S%.3fZ");
    json!({
        "event": event,
        "instance": from.instance,
        "data": data,
        "date_time": local.to_string(),
        "server_url": from.server_url,
        "apikey": from.api_key,
    })
}

/// `/chat/findStatusMessage`: the receipts, oldest first.
pub(super) fn found_receipts(messages: &[WhatsappMessage], query: &Query, instance_id: &str) -> Value {
    let wanted = messages.iter().filter(|message| query.wants_receipts_of(message));
    let rows = wanted.flat_map(|message| {
        message.receipts.iter().enumerate().map(move |(index, status)| {
            json!({
                "id": format!("{}-{index}", row_id(message)),
                "keyId": message.id,
                "remoteJid": message.jid,
                "fromMe": true,
                "participant": null,
                "pollUpdates": null,
                "status": status,
                "messageId": row_id(message),
                "instanceId": instance_id,
            })
        })
    });
    json!(query.cut(rows))
}

/// The names in a webhook's body.
pub(super) struct Sender<'a> {
    pub(super) instance: &'a str,
    pub(super) instance_id: &'a str,
    pub(super) server_url: &'a str,
    pub(super) api_key: &'a str,
}

/// The body of the webhook `messages.update`.
pub(super) fn receipt(
    message: &WhatsappMessage,
    status: WhatsappStatus,
    at: DateTime<Utc>,
    from: &Sender<'_>,
) -> Value {
    let data = json!({
        "keyId": message.id,
        "remoteJid": message.jid,
        "fromMe": true,
        "status": status,
        "instanceId": from.instance_id,
        "messageId": row_id(message),
    });
    webhook("messages.update", &data, at, from)
}

/// Evolution's `createJid`, without its special cases for Brazil, Mexico and Argentina.
pub(super) fn jid(number: &str) -> String {
    if ["@g.us", "@s.whatsapp.net", "@lid", "@broadcast"].iter().any(|known| number.contains(known)) {
        return number.to_owned();
    }
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    // As long as this is no telephone number but a group.
    let domain = if digits.len() >= 18 { "g.us" } else { "s.whatsapp.net" };
    format!("{digits}@{domain}")
}

/// By which name WhatsApp knows the chat with a number, and the number beside a hidden one.
pub(super) fn chat(number: &str, name: ChatName) -> (String, Option<String>) {
    let plain = jid(number);
    let digits = plain.split('@').next().unwrap_or_default();
    let hidden = || format!("9{}@lid", digits.chars().rev().collect::<String>());
    match name {
        ChatName::Number => (plain, None),
        ChatName::OldNumber => (jid(&old_number(digits)), None),
        ChatName::HiddenWithNumber => (hidden(), Some(plain)),
        ChatName::Hidden => (hidden(), None),
    }
}

fn old_number(digits: &str) -> String {
    match (digits.get(..2), digits.len()) {
        (Some("55"), 13) => format!("{}{}", &digits[..4], &digits[5..]),
        (Some("52"), 12) => format!("521{}", &digits[2..]),
        _ => digits.to_owned(),
    }
}

/// A message as its chat keeps it.
fn recorded(message: &WhatsappMessage) -> Value {
    match message.is_wrapped {
        false => json!({"conversation": message.text}),
        true => json!({"ephemeralMessage": {"message": {"extendedTextMessage": {"text": message.text}}}}),
    }
}

fn key(message: &WhatsappMessage) -> Value {
    let mut key = json!({"remoteJid": message.jid, "fromMe": true, "id": message.id});
    if let Some(alt) = &message.jid_alt {
        key["remoteJidAlt"] = json!(alt);
    }
    key
}

/// The message's row in Evolution's own database, whose id has nothing to do with WhatsApp's.
fn row_id(message: &WhatsappMessage) -> String {
    format!("cm{}", message.id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, number: &str, second: i64) -> WhatsappMessage {
        WhatsappMessage {
            id: id.to_owned(),
            number: number.to_owned(),
            jid: jid(number),
            jid_alt: None,
            is_wrapped: false,
            text: "Hola".to_owned(),
            at: DateTime::from_timestamp(second, 0).expect("a time"),
            status: WhatsappStatus::Read,
            receipts: vec![WhatsappStatus::DeliveryAck, WhatsappStatus::Read],
        }
    }

    fn query(json: Value) -> Query {
        serde_json::from_value(json).expect("a query")
    }

    #[test]
    fn numbers_become_jids() {
        for (number, expected) in [
            ("593991234567", "593991234567@s.whatsapp.net"),
            ("+593 99 123-4567", "593991234567@s.whatsapp.net"),
            ("593991234567@s.whatsapp.net", "593991234567@s.whatsapp.net"),
            ("120363426504089458", "120363426504089458@g.us"),
            ("120363426504089458@g.us", "120363426504089458@g.us"),
        ] {
            assert_eq!(jid(number), expected);
        }
    }

    #[test]
    fn messages_are_found_newest_first_by_page_recipient_and_time() {
        let messages = [message("A", "1", 10), message("B", "2", 20), message("C", "1", 30)];
        for (wanted, ids) in [
            (json!({}), vec!["C", "B", "A"]),
            (json!({"where": {"key": {"remoteJid": "1@s.whatsapp.net"}}}), vec!["C", "A"]),
            (json!({"where": {"key": {"id": "B", "fromMe": true}}}), vec!["B"]),
            (json!({"offset": 2, "page": 2}), vec!["A"]),
            (
                json!({"where": {"messageTimestamp": {"gte": "1970-01-01T00:00:15Z", "lte": "1970-01-01T00:00:25Z"}}}),
                vec!["B"],
            ),
        ] {
            let found = found_messages(&messages, &[], &query(wanted.clone()), "i");
            let records = found["messages"]["records"].as_array().expect("records");
            let found: Vec<_> = records.iter().filter_map(|record| record["key"]["id"].as_str()).collect();
            assert_eq!(found, ids, "{wanted}");
        }
        let page = found_messages(&messages, &[], &query(json!({"offset": 2, "page": 2})), "i");
        assert_eq!((&page["messages"]["total"], &page["messages"]["pages"]), (&json!(3), &json!(2)));
    }

    #[test]
    fn receipts_are_found_by_the_flat_key() {
        let messages = [message("A", "1", 10), message("B", "2", 20)];
        let found = found_receipts(&messages, &query(json!({"where": {"id": "B"}})), "i");
        let statuses: Vec<_> = found.as_array().expect("rows").iter().map(|row| &row["status"]).collect();
        assert_eq!(statuses, ["DELIVERY_ACK", "READ"]);
        assert_eq!(found[0]["keyId"], "B");
    }
}
