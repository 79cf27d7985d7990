//! Addresses and words of people, hidden: what a viewer sees of a payload or an error.

use serde_json::{Map, Value};

use recado_kernel::addresses::{mask_email, mask_in_text, mask_phone};
use recado_kernel::ids::Id;

/// The longest error that is drawn.
const LONGEST: usize = 4_000;

/// A payload whose shape stays, and whose words go: ids, numbers, moments and our own words are shown.
pub(crate) fn payload(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => Value::String(if is_plain(text) { text.clone() } else { hidden(text) }),
        Value::Array(values) => Value::Array(values.iter().map(payload).collect()),
        Value::Object(fields) => Value::Object(fields.iter().map(field).collect::<Map<_, _>>()),
    }
}

/// Fields that hold identifiers and words of the program, whatever they look like.
const SHOWN: [&str; 7] = ["channel", "kind", "lane", "operation", "state", "status", "target"];

fn field((name, value): (&String, &Value)) -> (String, Value) {
    let is_shown = name == "id" || name.ends_with("_id") || SHOWN.contains(&name.as_str());
    let shown = match value {
        Value::String(text) if is_shown && !text.contains('@') => value.clone(),
        other => payload(other),
    };
    (name.clone(), shown)
}

fn is_plain(text: &str) -> bool {
    text.is_empty() || text.parse::<Id>().is_ok() || chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

fn hidden(text: &str) -> String {
    if text.contains('@') && !text.contains(' ') { mask_email(text) } else { "•••".to_owned() }
}

/// A person's name, of which the first letter is left.
pub(crate) fn name(name: &str) -> String {
    name.trim().chars().next().map_or_else(String::new, |first| format!("{first}•••"))
}

/// A telephone number, in whatever spelling.
pub(crate) fn phone(number: &str) -> String {
    mask_phone(&number.chars().filter(|one| one.is_ascii_digit() || *one == '+').collect::<String>())
}

/// WhatsApp's id of a chat: a person's number is hidden, a group's id is none.
pub(crate) fn chat(chat_id: &str) -> String {
    match chat_id.split_once('@') {
        Some((number, end)) if end != "g.us" => format!("{}@{end}", mask_phone(number)),
        _ => chat_id.to_owned(),
    }
}

/// A text in which addresses are hidden, as far as it is drawn.
pub(crate) fn text(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(end, _)| end);
    mask_in_text(&text[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_of_people_are_hidden_and_ids_are_not() {
        let given = json!({"customer_id": "c-1", "name": "María", "email": "maria@example.com", "count": 3,
            "operation": "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90", "context": {"Placa": "ABC-1234"}, "channel": "email"});
        let shown = payload(&given);
        assert_eq!(
            (&shown["customer_id"], &shown["count"], &shown["channel"]),
            (&json!("c-1"), &json!(3), &json!("email"))
        );
        assert_eq!((&shown["name"], &shown["context"]["Placa"]), (&json!("•••"), &json!("•••")));
        assert!(!shown.to_string().contains("maria@"), "{shown}");
    }

    #[test]
    fn an_error_keeps_its_sense() {
        let shown = text("550 5.1.1 <maria@example.com>: unknown; +593987654321 refused after 30 s");
        assert!(shown.starts_with("550 5.1.1 <") && shown.ends_with("refused after 30 s"), "{shown}");
        assert!(!shown.contains("maria@") && !shown.contains("987654"), "{shown}");
        assert_eq!(text(""), "");
    }
}
