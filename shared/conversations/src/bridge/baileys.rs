//! What Evolution API writes of messages, in the words of its library Baileys: in webhooks and in histories alike. A value of any
//! shape can be read.

use recado_kernel::db::columns::bounded;
use serde_json::Value;

/// The longest id of a message or chat, in bytes.
const LONGEST_ID: usize = 255;
/// The longest name, in characters.
pub(crate) const LONGEST_NAME: usize = 255;
/// The longest text: WhatsApp's own limit, in characters.
const LONGEST_TEXT: usize = 65_536;

/// How many envelopes a text may be in: disappearing, edited, seen once, sent from another device.
const ENVELOPES: usize = 6;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: String,
    /// WhatsApp's id of the chat, as we write it: of a person of whom the number is known, that of the number.
    pub(crate) chat_id: String,
    /// Where that is so: the LID.
    pub(crate) lid: Option<String>,
    pub(crate) is_ours: bool,
    pub(crate) text: String,
    /// Seconds since 1970.
    pub(crate) sent_at: Option<i64>,
    /// As the sender calls herself.
    pub(crate) sender_name: Option<String>,
    /// Digits of who wrote, in a group.
    pub(crate) sender_phone: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) quoted: Option<String>,
}

/// The digits of a person's chat, if its id tells them.
pub(crate) fn digits_of(chat_id: &str) -> Option<&str> {
    let digits = chat_id.strip_suffix("@c.us")?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

fn is_lid(chat_id: &str) -> bool {
    chat_id.ends_with("@lid")
}

/// Reads a message.
///
/// # Errors
/// Why it is none of a conversation, in a sentence for the person who sets the webhook up.
pub(crate) fn read(item: &Value) -> Result<Record, &'static str> {
    let key = &item["key"];
    let id = key["id"].as_str().map(str::trim).filter(|id| is_id(id)).ok_or("Falta key.id.")?;
    let jid = key["remoteJid"].as_str().and_then(jid).ok_or("Falta key.remoteJid.")?;
    if jid.ends_with("@broadcast") || jid.ends_with("@newsletter") {
        return Err("Los estados y los canales no son conversaciones.");
    }
    let content = content(&item["message"]).ok_or("El mensaje no tiene contenido (una reacción, un aviso interno).")?;
    let is_ours = key["fromMe"].as_bool().unwrap_or_default();
    let is_group = jid.ends_with("@g.us");
    let (chat_id, lid) = if is_group { (jid, None) } else { person(key, jid) };
    let name = text(&item["pushName"]).map(|name| bounded(name.trim(), LONGEST_NAME).into_owned());
    Ok(Record {
        id: id.to_owned(),
        chat_id,
        lid,
        is_ours,
        text: bounded(&content.text, LONGEST_TEXT).into_owned(),
        sent_at: seconds(&item["messageTimestamp"]),
        sender_name: name.filter(|name| !name.is_empty() && !is_ours),
        sender_phone: if is_group && !is_ours { participant(item) } else { None },
        media_type: content.media_type,
        quoted: content.quoted.or_else(|| quoted(&item["contextInfo"])),
    })
}

/// A person's chat, by her number where that is told, and her LID where both are.
pub(crate) fn person(key: &Value, jid: String) -> (String, Option<String>) {
    let alternatives = [&key["remoteJidAlt"], &key["senderPn"], &key["previousRemoteJid"]];
    let mut others = alternatives.into_iter().filter_map(Value::as_str).filter_map(self::jid);
    if !is_lid(&jid) {
        return (jid, others.find(|other| is_lid(other)));
    }
    match others.find(|other| digits_of(other).is_some()) {
        Some(number) => (number, Some(jid)),
        None => (jid, None),
    }
}

/// Digits of who wrote in a group; `None` where only a LID is told.
fn participant(item: &Value) -> Option<String> {
    let key = &item["key"];
    let told = [&key["participantAlt"], &key["participantPn"], &key["participant"], &item["participant"]];
    let mut numbers = told.into_iter().filter_map(Value::as_str).filter_map(jid);
    numbers.find_map(|jid| digits_of(&jid).map(str::to_owned))
}

/// An id of a chat as we write it: `593991234567:12@s.whatsapp.net`, with a device, is `593991234567@c.us`, and so are mere digits.
pub(crate) fn jid(raw: &str) -> Option<String> {
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
pub(crate) struct Content {
    pub(crate) text: String,
    pub(crate) media_type: Option<String>,
    pub(crate) quoted: Option<String>,
}

/// What a message of WhatsApp says; `None` where it is for programs, such as a reaction, a key or a deletion.
pub(crate) fn content(message: &Value) -> Option<Content> {
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

pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A number, a text, or protobuf's `{"low": …, "high": 0}`.
pub(crate) fn seconds(value: &Value) -> Option<i64> {
    let value = value.get("low").unwrap_or(value);
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
    fn times_are_read_in_their_forms() {
        for good in [json!(1_768_919_400), json!("1768919400"), json!({"low": 1_768_919_400, "high": 0})] {
            assert_eq!(seconds(&good), Some(1_768_919_400), "{good}");
        }
        assert_eq!(seconds(&json!(null)), None);
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
}
