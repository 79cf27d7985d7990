//! Records of messages, as Evolution's findMessages lists them: which of them may be ours.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::names::Name;
use crate::channels::provider::{Likeness, Record};

/// What is looked for.
pub(super) struct Search {
    /// The name that we gave the message.
    pub(super) our_name: String,
    /// As [`comparable`] writes them.
    pub(super) words: String,
    /// Names of the recipient.
    pub(super) recipient: Vec<Name>,
}

/// A record that may be ours, before it is clear whose chat it stands in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: String,
    /// In Evolution's seconds since 1970.
    sent_at: i64,
    /// Whose chat it is, in all names that are given.
    chat: Vec<Name>,
    /// Names besides: in a chat of two they may be our own.
    others: Vec<Name>,
}

impl Search {
    pub(super) fn new(our_name: String, words: &str, number: &str) -> Self {
        Self { our_name, words: comparable(words), recipient: Name::of(number).into_iter().collect() }
    }

    /// Reads a record: sent by us, at `earliest` or later, in our words or under our name.
    pub(super) fn read(&self, record: &Value, earliest: i64) -> Option<Candidate> {
        let key = &record["key"];
        let id = key["id"].as_str()?.to_owned();
        let sent_at = sent_at(record);
        let is_ours = id == self.our_name
            || (sent_at.is_some_and(|sent_at| sent_at >= earliest)
                && words(&record["message"], LARGEST_DEPTH).is_some_and(|words| comparable(words) == self.words));
        if key["fromMe"] == Value::Bool(false) || !is_ours {
            return None;
        }
        let names = |fields: &[&str]| {
            let given = fields.iter().flat_map(|field| [key[*field].as_str(), record[*field].as_str()]);
            given.flatten().filter_map(Name::of).collect()
        };
        Some(Candidate {
            id,
            sent_at: sent_at.unwrap_or(earliest),
            chat: names(&["remoteJid", "remoteJidAlt", "previousRemoteJid"]),
            others: names(&["participant", "participantAlt", "participantPn", "recipientPn", "senderPn"]),
        })
    }

    /// Whether a candidate's chat is told by the names that are known so far.
    pub(super) fn is_settled(&self, candidate: &Candidate) -> bool {
        self.likeness(candidate) == Some(Likeness::OurName)
            || self.is_recipient(candidate)
            || candidate.chat.contains(&Name::Many)
    }

    /// Whether one of the candidates went to our recipient.
    pub(super) fn is_among(&self, candidates: &[Candidate]) -> bool {
        let likenesses = candidates.iter().map(|candidate| self.likeness(candidate));
        likenesses.flatten().any(|likeness| likeness != Likeness::Unnamed)
    }

    /// The candidates that may be ours, the oldest first.
    pub(super) fn records(&self, mut candidates: Vec<Candidate>) -> Vec<Record> {
        candidates.sort_by(|one, other| (one.sent_at, &one.id).cmp(&(other.sent_at, &other.id)));
        candidates.dedup_by(|one, other| one.id == other.id);
        let record = |candidate: Candidate| {
            let likeness = self.likeness(&candidate)?;
            Some(Record { provider_message_id: candidate.id, likeness })
        };
        candidates.into_iter().filter_map(record).collect()
    }

    fn likeness(&self, candidate: &Candidate) -> Option<Likeness> {
        if candidate.id == self.our_name {
            return Some(Likeness::OurName);
        }
        if self.is_recipient(candidate) {
            return Some(Likeness::Recipient);
        }
        let is_anothers = |name: &Name| match name {
            Name::Number(_) | Name::Many => true,
            // Not the recipient's, where that one is known.
            Name::Hidden(_) => self.recipient.iter().any(|known| matches!(known, Name::Hidden(_))),
        };
        (!candidate.chat.iter().any(is_anothers)).then_some(Likeness::Unnamed)
    }

    fn is_recipient(&self, candidate: &Candidate) -> bool {
        candidate.chat.iter().chain(&candidate.others).any(|name| self.recipient.contains(name))
    }
}

/// When a record's message was sent, in Evolution's seconds since 1970.
pub(super) fn sent_at(record: &Value) -> Option<i64> {
    match &record["messageTimestamp"] {
        Value::String(seconds) => seconds.parse().ok(),
        // Large integers of protobuf, as JavaScript writes them.
        Value::Object(long) => long.get("low")?.as_i64(),
        seconds => seconds.as_i64(),
    }
}

/// Wrappers within wrappers; no client nests as deep as this.
const LARGEST_DEPTH: usize = 8;

/// What WhatsApp wraps a message into: disappearing messages, view once, edits, messages of another device of ours.
const WRAPPERS: [&str; 9] = [
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "editedMessage",
    "deviceSentMessage",
    "documentWithCaptionMessage",
    "botInvokeMessage",
    "protocolMessage",
];

/// The text of a message, wherever WhatsApp has put it.
fn words(message: &Value, depth: usize) -> Option<&str> {
    const TEXTS: [&str; 5] = [
        "/conversation",
        "/extendedTextMessage/text",
        "/imageMessage/caption",
        "/documentMessage/caption",
        "/videoMessage/caption",
    ];
    let own = TEXTS.into_iter().find_map(|path| message.pointer(path)?.as_str());
    own.or_else(|| {
        let depth = depth.checked_sub(1)?;
        WRAPPERS.into_iter().find_map(|wrapper| {
            let inner = message.get(wrapper)?;
            // A wrapper holds the message itself, or names it once more.
            ["message", "editedMessage"]
                .into_iter()
                .find_map(|field| words(inner.get(field)?, depth))
                .or_else(|| words(inner, depth))
        })
    })
}

/// Words as they are compared: WhatsApp and Evolution trim them, change line ends and compose letters.
fn comparable(words: &str) -> String {
    // Without marks that are not seen: some clients add or drop the one that asks for the coloured form of a sign.
    let seen = words.nfc().filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{fe0e}' | '\u{fe0f}' | '\u{feff}'));
    let seen: String = seen.collect();
    seen.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SINCE: i64 = 1_795_386_948;

    fn search(number: &str) -> Search {
        Search::new("3EB0FF".to_owned(), "Hola, señora 🚗\n\nSu vehículo está listo", number)
    }

    fn record(key: Value, message: Value, at: Value) -> Value {
        Value::from_iter([("key", key), ("message", message), ("messageTimestamp", at)])
    }

    fn likeness(search: &Search, record: &Value) -> Option<Likeness> {
        search.read(record, SINCE).and_then(|candidate| search.likeness(&candidate))
    }

    fn plain() -> Value {
        json!({"conversation": "Hola, señora 🚗\n\nSu vehículo está listo"})
    }

    /// The chat has another name than the number (evolution-api#1872, #2687, #2062, #447; chatwoot#259; camel#4280).
    #[test]
    fn whose_chat_a_record_stands_in() {
        use Likeness::{OurName, Recipient, Unnamed};
        let table = [
            ("593991234567", json!({"remoteJid": "593991234567@s.whatsapp.net"}), Some(Recipient)),
            ("593991234567", json!({"remoteJid": "593991234567"}), Some(Recipient)),
            ("593991234567", json!({"remoteJid": "593991234567:12@s.whatsapp.net"}), Some(Recipient)),
            ("593991234567", json!({"remoteJid": "593991234567@c.us"}), Some(Recipient)),
            (
                "593991234567",
                json!({"remoteJid": "2715@lid", "remoteJidAlt": "593991234567@s.whatsapp.net"}),
                Some(Recipient),
            ),
            (
                "593991234567",
                json!({"remoteJid": "2715@lid", "participant": "593991234567@s.whatsapp.net"}),
                Some(Recipient),
            ),
            (
                "593991234567",
                json!({"remoteJid": "2715@lid", "participant": "593900000000@s.whatsapp.net"}),
                Some(Unnamed),
            ),
            ("593991234567", json!({"remoteJid": "2715@lid", "remoteJidAlt": "593900000000@s.whatsapp.net"}), None),
            ("593991234567", json!({"remoteJid": "2715@lid"}), Some(Unnamed)),
            ("593991234567", json!({}), Some(Unnamed)),
            ("593991234567", json!({"remoteJid": "593990000000@s.whatsapp.net"}), None),
            ("593991234567", json!({"remoteJid": "120363426504089458@g.us"}), None),
            ("593991234567", json!({"remoteJid": "593991234567@s.whatsapp.net", "fromMe": false}), None),
            ("5511987654321", json!({"remoteJid": "551187654321@s.whatsapp.net"}), Some(Recipient)),
            ("551187654321", json!({"remoteJid": "5511987654321@s.whatsapp.net"}), Some(Recipient)),
            ("525512345678", json!({"remoteJid": "5215512345678@s.whatsapp.net"}), Some(Recipient)),
            ("5491123456789", json!({"remoteJid": "541123456789@s.whatsapp.net"}), Some(Recipient)),
            ("593991234567", json!({"remoteJid": "2715@lid", "id": "3EB0FF"}), Some(OurName)),
        ];
        for (number, key, expected) in table {
            let mut whole = json!({"id": "X", "fromMe": true});
            whole.as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
            let record = record(whole, plain(), json!(SINCE));
            assert_eq!(likeness(&search(number), &record), expected, "{number} {key}");
        }
        // Where the hidden name is known, another one is somebody else.
        let mut known = search("593991234567");
        known.recipient.push(Name::Hidden("2715".to_owned()));
        for (lid, expected) in [("2715@lid", Some(Recipient)), ("2716@lid", None)] {
            let record = record(json!({"id": "X", "remoteJid": lid}), plain(), json!(SINCE));
            assert_eq!(likeness(&known, &record), expected, "{lid}");
        }
    }

    /// Disappearing messages, view once, edits: the text stands within (evolution-api#1872, #2062).
    #[test]
    fn the_words_are_found_in_every_wrapping() {
        let extended = json!({"extendedTextMessage": {"text": "Hola, señora 🚗\n\nSu vehículo está listo"}});
        let inside = |wrapper: &str, message: Value| json!({ wrapper: {"message": message}, "messageContextInfo": {} });
        let decomposed: String = "Hola, señora 🚗\n\nSu vehículo está listo".nfd().collect();
        let ours = [
            plain(),
            extended.clone(),
            inside("ephemeralMessage", extended.clone()),
            inside("ephemeralMessage", plain()),
            inside("viewOnceMessage", plain()),
            inside("viewOnceMessageV2", extended.clone()),
            inside("deviceSentMessage", inside("ephemeralMessage", extended.clone())),
            inside(
                "documentWithCaptionMessage",
                json!({"documentMessage": {"caption": "Hola, señora 🚗 Su vehículo está listo"}}),
            ),
            inside("editedMessage", json!({"protocolMessage": {"editedMessage": plain()}})),
            json!({"protocolMessage": {"editedMessage": extended}}),
            json!({"conversation": "  Hola, señora 🚗\r\n\r\nSu vehículo está listo\n"}),
            json!({"conversation": decomposed}),
            json!({"conversation": "Hola, señora 🚗\u{fe0f}\n\nSu vehículo está listo\u{200b}"}),
        ];
        let key = json!({"id": "X", "fromMe": true, "remoteJid": "593991234567@s.whatsapp.net"});
        for message in ours {
            let record = record(key.clone(), message, json!(SINCE));
            assert_eq!(likeness(&search("593991234567"), &record), Some(Likeness::Recipient), "{record}");
        }
        let mut deep = plain();
        for _ in 0..1_000 {
            deep = json!({"ephemeralMessage": {"message": deep}});
        }
        for other in [json!({"conversation": "Hola"}), json!({"imageMessage": {}}), Value::Null, json!([]), deep] {
            let record = record(key.clone(), other, json!(SINCE));
            assert_eq!(likeness(&search("593991234567"), &record), None);
        }
    }

    #[test]
    fn an_older_message_is_not_ours() {
        let key = json!({"id": "X", "fromMe": true, "remoteJid": "593991234567"});
        let table = [
            (json!(SINCE), true),
            (json!(SINCE.to_string()), true),
            (json!({"low": SINCE, "high": 0, "unsigned": true}), true),
            (json!(SINCE - 1), false),
            (Value::Null, false),
            (json!("ayer"), false),
        ];
        for (at, ours) in table {
            let record = record(key.clone(), plain(), at);
            assert_eq!(likeness(&search("593991234567"), &record).is_some(), ours, "{record}");
        }
        for nothing in [Value::Null, json!([]), json!({"key": {"id": 7}})] {
            assert_eq!(search("593991234567").read(&nothing, SINCE), None);
        }
    }

    #[test]
    fn each_record_is_listed_once_and_the_oldest_first() {
        let search = search("593991234567");
        let read = |id: &str, at: i64| {
            let key = json!({"id": id, "remoteJid": "593991234567"});
            search.read(&record(key, plain(), json!(at)), SINCE).expect("ours")
        };
        let records =
            search.records(vec![read("C", SINCE + 9), read("B", SINCE), read("A", SINCE + 3), read("B", SINCE)]);
        let ids: Vec<_> = records.iter().map(|record| record.provider_message_id.as_str()).collect();
        assert_eq!(ids, ["B", "A", "C"]);
    }
}
