//! Evolution API as a bridge: what its webhooks say of chats, read as the Node service's are (contract, appendix 3).
//!
//! A body of any shape can be read. Only the instances that the settings name are listened to: an installation that merely sends
//! through Evolution stores no chats.

use serde_json::Value;

use recado_kernel::config::{BridgeKind, ConversationsSettings};
use recado_kernel::db::columns::bounded;

use crate::bridge::baileys::{self, LONGEST_NAME, jid, text};
use crate::bridge::moment;
use crate::chats::{self, Kind};
use crate::incoming::Message;
use crate::sessions::{BRIDGE, Status, Told};

/// More reasons than these say nothing new.
pub const MOST_REASONS: usize = 10;

/// The longest QR code, in bytes.
const LONGEST_QR: usize = 4_096;

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
    let has_node = settings.bridge.as_ref().is_some_and(|bridge| matches!(bridge.kind, BridgeKind::Node));
    Some(if place == 0 && !has_node { BRIDGE.to_owned() } else { format!("evolution:{instance}") })
}

/// A message as it takes effect, and the LID of the chat where its number is known too.
fn read(item: &Value) -> Result<(Message, Option<String>), &'static str> {
    let record = baileys::read(item)?;
    let kind = Kind::of(&record.chat_id, None);
    let message = Message {
        whatsapp_id: record.id,
        kind,
        chat_name: None,
        whatsapp_name: record.sender_name.clone().filter(|_| kind == Kind::Individual),
        profile_picture_url: None,
        phone: chats::phone_in(&record.chat_id).map(str::to_owned),
        text: record.text,
        sent_at: record.sent_at.and_then(moment),
        is_ours: record.is_ours,
        sender_name: record.sender_name,
        sender_phone: record.sender_phone,
        media_type: record.media_type,
        reply_to_whatsapp_id: record.quoted,
        chat_id: record.chat_id,
    };
    Ok((message, record.lid))
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
    fn sessions_are_read_in_their_forms() {
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
