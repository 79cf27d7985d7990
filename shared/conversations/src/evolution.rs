//! Evolution API as a bridge: what its webhooks say of chats, read as the Node service's are (contract, appendix 3).
//!
//! A body of any shape can be read. Only the instances that the settings name are listened to: an installation that merely sends
//! through Evolution stores no chats.

use serde_json::Value;

use recado_kernel::config::ConversationsSettings;
use recado_kernel::db::columns::bounded;

use crate::bridge::moment;
use crate::chats::{self, Kind};
use crate::incoming::Message;
use crate::sessions::{BRIDGE, Status, Told};

/// More reasons than these say nothing new.
pub const MOST_REASONS: usize = 10;

/// The longest id of a message or chat, in bytes.
const LONGEST_ID: usize = 255;
/// The longest name, in characters.
const LONGEST_NAME: usize = 255;
/// The longest text: WhatsApp's own limit, in characters.
const LONGEST_TEXT: usize = 65_536;
/// The longest QR code, in bytes.
const LONGEST_QR: usize = 4_096;

/// How many envelopes a text may be in: disappearing, edited, seen once, sent from another device.
const ENVELOPES: usize = 6;

/// What a webhook says of conversations.
#[derive(Debug, Default)]
pub struct Heard {
    pub messages: Vec<Message>,
    /// LIDs and the numbers, in digits, that turned out to be the same people.
    pub people: Vec<(String, String)>,
    /// What became of the session, and its name with us.
    pub told: Option<(String, Told)>,
    /// What was left aside, in sentences for the person who sets the webhook up.
    pub ignored: Vec<String>,
}

impl Heard {
    /// Reads a body. `None`: it is no event of conversations, or of an instance whose chats are not ours. `event` is the last part
    /// of the URL; the body's own word comes first.
    pub fn read(event: Option<&str>, body: &Value, settings: &ConversationsSettings) -> Option<Self> {
        let instance = body["instance"].as_str()?;
        let session = session_of(settings, instance)?;
        let event = body["event"].as_str().or(event).unwrap_or_default();
        let event = event.to_ascii_lowercase().replace(['-', '_'], ".");
        let data = &body["data"];
        let mut heard = Self::default();
        match event.as_str() {
            "messages.upsert" | "send.message" => {
                let items = data.as_array().map_or(std::slice::from_ref(data), Vec::as_slice);
                items.iter().for_each(|item| heard.take(item));
            }
            "connection.update" => heard.told = connection(body).map(|told| (session, told)),
            "qrcode.updated" => heard.told = qr(data).map(|told| (session, told)),
            _ => return None,
        }
        Some(heard)
    }

    fn take(&mut self, item: &Value) {
        match read(item) {
            Ok((message, lid)) => {
                let number = chats::phone_in(&message.chat_id).map(str::to_owned);
                self.people.extend(lid.zip(number));
                self.messages.push(message);
            }
            Err(reason) if self.ignored.len() < MOST_REASONS => self.ignored.push(reason.to_owned()),
            Err(_) => {}
        }
    }
}

/// The name of an instance's session with us; `None`: its chats are not ours. The first instance is the session that staff see
/// where there is no other bridge.
fn session_of(settings: &ConversationsSettings, instance: &str) -> Option<String> {
    let place = settings.evolution_instances.iter().position(|ours| ours == instance)?;
    Some(if place == 0 && settings.bridge.is_none() { BRIDGE.to_owned() } else { format!("evolution:{instance}") })
}

/// A message, and the LID of the chat where its number is known too.
fn read(item: &Value) -> Result<(Message, Option<String>), &'static str> {
    let key = &item["key"];
    let id = key["id"].as_str().map(str::trim).filter(|id| is_id(id)).ok_or("Falta key.id.")?;
    let jid = key["remoteJid"].as_str().and_then(jid).ok_or("Falta key.remoteJid.")?;
    if chats::is_broadcast(&jid) {
        return Err("Los estados y los canales no son conversaciones.");
    }
    let content = content(&item["message"]).ok_or("El mensaje no tiene contenido (una reacción, un aviso interno).")?;
    let is_ours = key["fromMe"].as_bool().unwrap_or_default();
    let kind = Kind::of(&jid, None);
    let alternatives = [&key["remoteJidAlt"], &key["senderPn"], &key["previousRemoteJid"]];
    let mut others = alternatives.into_iter().filter_map(Value::as_str).filter_map(self::jid);
    let (chat_id, lid) = match kind {
        Kind::Group => (jid, None),
        Kind::Individual if chats::is_lid(&jid) => match others.find(|other| chats::phone_in(other).is_some()) {
            Some(number) => (number, Some(jid)),
            None => (jid, None),
        },
        Kind::Individual => (jid, others.find(|other| chats::is_lid(other))),
    };
    let name = text(&item["pushName"]).map(|name| bounded(name.trim(), LONGEST_NAME).into_owned());
    let name = name.filter(|name| !name.is_empty() && !is_ours);
    let message = Message {
        whatsapp_id: id.to_owned(),
        kind,
        chat_name: None,
        whatsapp_name: name.clone().filter(|_| kind == Kind::Individual),
        profile_picture_url: None,
        phone: chats::phone_in(&chat_id).map(str::to_owned),
        text: bounded(&content.text, LONGEST_TEXT).into_owned(),
        sent_at: seconds(&item["messageTimestamp"]).and_then(moment),
        is_ours,
        sender_name: name,
        sender_phone: if kind == Kind::Group && !is_ours { participant(item) } else { None },
        media_type: content.media_type,
        reply_to_whatsapp_id: content.quoted.or_else(|| quoted(&item["contextInfo"])),
        chat_id,
    };
    Ok((message, lid))
}

/// Digits of who wrote in a group; `None` where only a LID is told.
fn participant(item: &Value) -> Option<String> {
    let key = &item["key"];
    let told = [&key["participantAlt"], &key["participantPn"], &key["participant"], &item["participant"]];
    let mut numbers = told.into_iter().filter_map(Value::as_str).filter_map(jid);
    numbers.find_map(|jid| chats::phone_in(&jid).map(str::to_owned))
}

/// An id of a chat as we write it: `593991234567:12@s.whatsapp.net`, with a device, is `593991234567@c.us`, and so are mere digits.
fn jid(raw: &str) -> Option<String> {
    let raw = raw.trim();
    if !is_id(raw) {
        return None;
    }
    let (user, server) = raw.split_once('@').unwrap_or((raw, "c.us"));
    let user = user.split(':').next().unwrap_or_default();
    if user.is_empty() || server.is_empty() {
        return None;
    }
    let server = if server == "s.whatsapp.net" { "c.us" } else { server };
    (raw.contains('@') || user.bytes().all(|byte| byte.is_ascii_digit())).then(|| format!("{user}@{server}"))
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID && !id.contains(char::is_control)
}

#[derive(Debug, Default, PartialEq)]
struct Content {
    text: String,
    media_type: Option<String>,
    quoted: Option<String>,
}

/// What a message of WhatsApp says; `None` where it is for programs, such as a reaction, a key or a deletion.
fn content(message: &Value) -> Option<Content> {
    let message = unwrap(message)?;
    if let Some(said) = text(&message["conversation"]) {
        return Some(Content { text: said, quoted: quoted(&message["messageContextInfo"]), ..Content::default() });
    }
    let plain = [
        ("extendedTextMessage", "text"),
        ("buttonsResponseMessage", "selectedDisplayText"),
        ("templateButtonReplyMessage", "selectedDisplayText"),
        ("listResponseMessage", "title"),
    ];
    for (name, field) in plain {
        if let Some(said) = text(&message[name][field]) {
            return Some(Content { text: said, media_type: None, quoted: quoted(&message[name]["contextInfo"]) });
        }
    }
    let media = [
        ("imageMessage", "image"),
        ("videoMessage", "video"),
        ("ptvMessage", "video"),
        ("audioMessage", "audio"),
        ("documentMessage", "document"),
        ("stickerMessage", "sticker"),
        ("locationMessage", "location"),
        ("liveLocationMessage", "location"),
        ("contactMessage", "contact"),
        ("contactsArrayMessage", "contact"),
        ("pollCreationMessage", "poll"),
        ("pollCreationMessageV3", "poll"),
    ];
    media.into_iter().find(|(name, _)| message[*name].is_object()).map(|(name, kind)| Content {
        text: text(&message[name]["caption"]).unwrap_or_default(),
        media_type: Some(kind.to_owned()),
        quoted: quoted(&message[name]["contextInfo"]),
    })
}

/// The message inside its envelopes.
fn unwrap(message: &Value) -> Option<&Value> {
    const NAMES: [&str; 7] = [
        "ephemeralMessage",
        "viewOnceMessage",
        "viewOnceMessageV2",
        "viewOnceMessageV2Extension",
        "documentWithCaptionMessage",
        "deviceSentMessage",
        "groupMentionedMessage",
    ];
    let mut message = message.as_object().map(|_| message)?;
    for _ in 0..ENVELOPES {
        match NAMES.iter().map(|name| &message[*name]["message"]).find(|inner| inner.is_object()) {
            Some(inner) => message = inner,
            None => return Some(message),
        }
    }
    None
}

fn quoted(context: &Value) -> Option<String> {
    context["stanzaId"].as_str().filter(|id| is_id(id)).map(str::to_owned)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A number, a text, or protobuf's `{"low": …, "high": 0}`.
fn seconds(value: &Value) -> Option<i64> {
    let value = value.get("low").unwrap_or(value);
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// What became of a session. `connecting` says nothing yet.
fn connection(body: &Value) -> Option<Told> {
    /// Baileys' `DisconnectReason.loggedOut`: the telephone unlinked the device.
    const LOGGED_OUT: i64 = 401;
    let data = &body["data"];
    let status = match data["state"].as_str()? {
        "open" => Status::Connected,
        "close" if data["statusReason"].as_i64() == Some(LOGGED_OUT) => Status::Expired,
        "close" => Status::Disconnected,
        _ => return None,
    };
    let number = [&data["wuid"], &body["sender"]].into_iter().filter_map(Value::as_str).find_map(jid);
    let phone_number = number.and_then(|jid| chats::phone_in(&jid).map(str::to_owned));
    let push_name = text(&data["profileName"]).map(|name| bounded(&name, LONGEST_NAME).into_owned());
    Some(Told::Status { status, phone_number, push_name })
}

/// The text of a QR code; Evolution sends the picture beside it.
fn qr(data: &Value) -> Option<Told> {
    let qr = text(&data["qrcode"]["code"]).or_else(|| text(&data["code"]))?;
    (qr.len() <= LONGEST_QR).then_some(Told::Qr { qr })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(item: &Value) -> (Message, Option<String>) {
        read(item).expect("it is a message")
    }

    #[test]
    fn ids_are_written_as_ours() {
        let table = [
            ("593991234567@s.whatsapp.net", Some("593991234567@c.us")),
            ("593991234567:12@s.whatsapp.net", Some("593991234567@c.us")),
            ("593991234567", Some("593991234567@c.us")),
            ("37881745801364:3@lid", Some("37881745801364@lid")),
            ("120363041@g.us", Some("120363041@g.us")),
            ("status@broadcast", Some("status@broadcast")),
            ("", None),
            ("@lid", None),
            ("x", None),
            ("a\n@c.us", None),
        ];
        for (raw, expected) in table {
            assert_eq!(jid(raw).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn words_are_found_in_every_envelope() {
        let inner = json!({"imageMessage": {"caption": "RES-1", "contextInfo": {"stanzaId": "A"}}});
        let expected =
            Content { text: "RES-1".to_owned(), media_type: Some("image".to_owned()), quoted: Some("A".to_owned()) };
        assert_eq!(content(&inner), Some(expected));
        for envelope in ["ephemeralMessage", "viewOnceMessageV2", "deviceSentMessage", "documentWithCaptionMessage"] {
            assert_eq!(content(&json!({envelope: {"message": inner}})), content(&inner), "{envelope}");
        }
        let said = |message: Value| content(&message).map(|content| content.text);
        assert_eq!(said(json!({"conversation": "1"})).as_deref(), Some("1"));
        assert_eq!(said(json!({"extendedTextMessage": {"text": "sí"}})).as_deref(), Some("sí"));
        assert_eq!(said(json!({"audioMessage": {}})).as_deref(), Some(""));
        for nothing in [
            json!(null),
            json!({}),
            json!([]),
            json!("x"),
            json!({"reactionMessage": {"text": "1"}}),
            json!({"protocolMessage": {"type": 0}}),
            json!({"conversation": ""}),
        ] {
            assert_eq!(said(nothing.clone()), None, "{nothing}");
        }
        let mut deep = json!({"conversation": "x"});
        for _ in 0..50 {
            deep = json!({"ephemeralMessage": {"message": deep}});
        }
        assert_eq!(said(deep), None);
    }

    #[test]
    fn a_person_is_known_by_her_number() {
        let of = |key: Value| one(&json!({"key": key, "message": {"conversation": "x"}, "pushName": "Ana"}));
        let number = "593991234567@s.whatsapp.net";
        for key in [
            json!({"id": "A", "remoteJid": "77@lid", "remoteJidAlt": number}),
            json!({"id": "A", "remoteJid": "77:2@lid", "senderPn": number}),
            json!({"id": "A", "remoteJid": number, "previousRemoteJid": "77@lid"}),
        ] {
            let (message, lid) = of(key.clone());
            assert_eq!((message.chat_id.as_str(), lid.as_deref()), ("593991234567@c.us", Some("77@lid")), "{key}");
            assert_eq!(message.phone.as_deref(), Some("593991234567"));
        }
        let (message, lid) = of(json!({"id": "A", "remoteJid": "77@lid"}));
        assert_eq!((message.chat_id.as_str(), message.phone, lid), ("77@lid", None, None));
        let group = json!({"id": "A", "remoteJid": "12@g.us", "participant": "77@lid", "participantAlt": number});
        let (message, lid) = of(group);
        assert_eq!((message.kind, message.sender_phone.as_deref(), lid), (Kind::Group, Some("593991234567"), None));
        assert_eq!((message.sender_name.as_deref(), message.whatsapp_name), (Some("Ana"), None));
    }

    #[test]
    fn what_cannot_be_kept_is_left_aside() {
        let said = json!({"conversation": "x"});
        for key in [
            json!(null),
            json!({}),
            json!({"id": "A"}),
            json!({"remoteJid": "1@c.us"}),
            json!({"id": "A", "remoteJid": 1}),
            json!({"id": "A", "remoteJid": "status@broadcast"}),
            json!({"id": "A", "remoteJid": "1@newsletter"}),
            json!({"id": "x".repeat(256), "remoteJid": "1@c.us"}),
        ] {
            assert!(read(&json!({"key": key, "message": said})).is_err(), "{key}");
        }
    }

    #[test]
    fn times_and_sessions_are_read_in_their_forms() {
        for good in [json!(1_768_919_400), json!("1768919400"), json!({"low": 1_768_919_400, "high": 0})] {
            assert_eq!(seconds(&good), Some(1_768_919_400), "{good}");
        }
        assert_eq!(seconds(&json!(null)), None);
        let status = |data: Value| match connection(&json!({ "data": data })) {
            Some(Told::Status { status, phone_number, .. }) => Some((status, phone_number)),
            _ => None,
        };
        let open = json!({"state": "open", "wuid": "593991234567@s.whatsapp.net"});
        assert_eq!(status(open), Some((Status::Connected, Some("593991234567".to_owned()))));
        assert_eq!(status(json!({"state": "close", "statusReason": 428})), Some((Status::Disconnected, None)));
        assert_eq!(status(json!({"state": "close", "statusReason": 401})), Some((Status::Expired, None)));
        assert_eq!(status(json!({"state": "connecting", "statusReason": 200})), None);
        assert!(matches!(qr(&json!({"qrcode": {"code": "2@abc"}})), Some(Told::Qr { qr }) if qr == "2@abc"));
    }
}
