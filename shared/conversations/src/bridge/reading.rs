//! What bridges write, read with patience: a field of an odd type is as if it were absent, and a row without an id is left out.

use std::fmt;
use std::marker::PhantomData;

use recado_kernel::clock::Timestamp;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use super::{LastMessage, Listed, Remembered, Status};

/// The longest text of a bridge that is kept where a sentence is expected: names, errors.
const LONGEST_WORDS: usize = 200;

/// WhatsApp's id of a message without what `whatsapp-web.js` puts around it in histories: `false_593991234567@c.us_3EB0AB`, in
/// groups with the sender behind it. Its webhooks have the bare id, and both must be one message.
pub fn bare_id(id: &str) -> &str {
    let Some(rest) = id.strip_prefix("true_").or_else(|| id.strip_prefix("false_")) else { return id };
    let Some((chat, rest)) = rest.split_once('_') else { return id };
    if !chat.contains('@') {
        return id;
    }
    let bare = match rest.split_once('_') {
        Some((bare, sender)) if sender.contains('@') || sender == "out" => bare,
        _ => rest,
    };
    if bare.is_empty() { id } else { bare }
}

/// Milliseconds begin here (d31): as seconds it would be the year 2286.
const FIRST_MILLISECOND: i64 = 10_000_000_000;

/// When something was said, from a bridge's seconds or milliseconds (d31); `None` for what is no moment.
pub fn moment(timestamp: i64) -> Option<Timestamp> {
    let micros =
        if timestamp > FIRST_MILLISECOND { timestamp.checked_mul(1_000) } else { timestamp.checked_mul(1_000_000) };
    // After the year 9999 no database of ours can write it.
    micros.filter(|micros| (0..253_402_300_800_000_000).contains(micros)).map(Timestamp::from_micros)
}

/// A thing of a list, from its JSON; `None` where it is none.
pub(super) trait Row: Sized {
    fn read(value: &Value) -> Option<Self>;
}

/// A list whose rows are read one after the other, so that the JSON of all is never held at once.
pub(super) struct Rows<T>(pub(super) Vec<T>);

impl<'de, T: Row> Deserialize<'de> for Rows<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<T>(PhantomData<T>);
        impl<'de, T: Row> Visitor<'de> for Each<T> {
            type Value = Rows<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Rows<T>, A::Error> {
                let mut read = Vec::new();
                while let Some(row) = rows.next_element::<Value>()? {
                    read.extend(T::read(&row));
                }
                Ok(Rows(read))
            }
        }
        deserializer.deserialize_seq(Each(PhantomData))
    }
}

impl Row for Listed {
    fn read(row: &Value) -> Option<Self> {
        let chat_id = text(&row["chat_id"]).filter(|id| id.len() <= LONGEST_WORDS && id.contains('@'))?;
        let is_group = chat_id.ends_with("@g.us");
        let last = &row["last_message"];
        let last_message = last.is_object().then(|| LastMessage {
            text: text(&last["text"]).or_else(|| text(&last["body"])).unwrap_or_default(),
            timestamp: number(&last["timestamp"]),
        });
        Some(Self {
            is_group,
            name: words(&row["name"]).filter(|name| !name.starts_with("Unknown")),
            whatsapp_name: words(&row["whatsapp_name"]),
            profile_picture_url: text(&row["profile_picture_url"])
                .filter(|url| url.starts_with("http") && url.len() <= 2048),
            phone: phone(&chat_id, &row["phone"]),
            description: text(&row["description"]),
            participants: row["participants"].as_array().filter(|_| is_group).cloned(),
            unread_count: number(&row["unread_count"]).and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
            last_message,
            chat_id,
        })
    }
}

impl Row for Remembered {
    fn read(row: &Value) -> Option<Self> {
        let id = text(&row["whatsapp_id"]).or_else(|| text(&row["id"])).filter(|id| id.len() <= LONGEST_WORDS)?;
        Some(Self {
            id: bare_id(&id).to_owned(),
            written_id: id,
            from_me: row["from_me"].as_bool().unwrap_or_else(|| row["type"] == "out"),
            text: text(&row["content"]).or_else(|| text(&row["text"])).unwrap_or_default(),
            timestamp: number(&row["timestamp"]),
            sender_name: words(&row["sender_name"]),
            sender_phone: text(&row["sender_phone"]).map(|phone| digits(&phone)).filter(|phone| is_phone(phone)),
            // `chat` is how whatsapp-web.js calls a text.
            media_type: words(&row["media_type"]).filter(|kind| kind != "chat"),
            reply_to: text(&row["reply_to_whatsapp_id"]).map(|id| bare_id(&id).to_owned()),
        })
    }
}

pub(super) fn status(value: &Value) -> Option<Status> {
    Some(Status {
        is_ready: value.get("isReady")?.as_bool()?,
        push_name: words(&value["number"]),
        phone_number: text(&value["phone_number"]).map(|phone| digits(&phone)).filter(|phone| is_phone(phone)),
        has_qr: value["hasQR"].as_bool().unwrap_or_default(),
        is_connecting: false,
    })
}

/// The number of a person. The Node service has the digits of a LID there when it knows no number (d31).
fn phone(chat_id: &str, said: &Value) -> Option<String> {
    let (user, server) = chat_id.split_once('@')?;
    match server {
        "c.us" | "s.whatsapp.net" => Some(user.to_owned()).filter(|user| is_phone(user)),
        "lid" => text(said).map(|phone| digits(&phone)).filter(|phone| phone != user && is_phone(phone)),
        _ => None,
    }
}

/// E.164 has at most 15 digits.
fn is_phone(digits: &str) -> bool {
    (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn digits(phone: &str) -> String {
    phone.chars().filter(char::is_ascii_digit).collect()
}

pub(super) fn text(value: &Value) -> Option<String> {
    // PostgreSQL has no text with a NUL in it.
    value.as_str().filter(|text| !text.is_empty()).map(|text| text.replace('\0', ""))
}

/// A short text: a name, an error.
pub(super) fn words(value: &Value) -> Option<String> {
    text(value).map(|text| text.trim().chars().take(LONGEST_WORDS).collect::<String>()).filter(|text| !text.is_empty())
}

fn number(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a cast of floats saturates")]
    value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_of_histories_are_those_of_webhooks() {
        for (id, bare) in [
            ("3EB0AB", "3EB0AB"),
            ("false_593991234567@c.us_3EB0AB", "3EB0AB"),
            ("true_593991234567@c.us_3EB0AB", "3EB0AB"),
            ("false_120363@g.us_3EB0AB_593991234567@c.us", "3EB0AB"),
            ("true_120363@g.us_3EB0AB_out", "3EB0AB"),
            ("false_37881745801364@lid_3EB0AB", "3EB0AB"),
            ("false_alarm", "false_alarm"),
            ("false_@c.us_", "false_@c.us_"),
            ("true_a_b_c", "true_a_b_c"),
            ("", ""),
        ] {
            assert_eq!(bare_id(id), bare, "{id}");
        }
    }

    #[test]
    fn rows_that_are_none_are_left_out_and_odd_fields_are_absent() {
        let list = json!([
            {"chat_id": "593991234567@c.us", "name": 7, "phone": null, "unread_count": -1, "last_message": "x"},
            {"chat_id": 5}, null, [], "chat",
            {"chat_id": "37881745801364@lid", "name": "Unknown", "phone": "+37881745801364"},
            {"chat_id": "99@lid", "phone": "+593 99 123 4567"},
            {"chat_id": "1203@g.us", "phone": "1203", "participants": [{"id": "1@c.us"}], "last_message": {"text": "Hola", "timestamp": 1.5}},
        ]);
        let rows = serde_json::from_value::<Rows<Listed>>(list).expect("a list").0;
        let phones: Vec<_> = rows.iter().map(|row| row.phone.as_deref()).collect();
        assert_eq!(phones, [Some("593991234567"), None, Some("593991234567"), None]);
        assert_eq!(rows[1].name, None);
        assert_eq!(rows[3].participants.as_ref().map(Vec::len), Some(1));
        assert_eq!(rows[3].last_message, Some(LastMessage { text: "Hola".to_owned(), timestamp: Some(1) }));
    }

    /// d31.
    #[test]
    fn moments_are_seconds_or_milliseconds() {
        let second = |timestamp| moment(timestamp).map(|at| at.as_micros() / 1_000_000);
        assert_eq!(second(1_768_919_400), Some(1_768_919_400));
        assert_eq!(second(1_768_919_400_123), Some(1_768_919_400));
        assert_eq!(second(0), Some(0));
        assert_eq!(second(4_102_444_800), Some(4_102_444_800), "the year 2100");
        for none in [-1, i64::MIN, i64::MAX, 253_402_300_800_000] {
            assert_eq!(second(none), None, "{none}");
        }
    }
}
