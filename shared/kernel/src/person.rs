//! A person, by what texts call her: for finding what is kept about somebody who asks to be forgotten. Pure.
//!
//! Bodies of webhooks are in other systems' words, so there is no column to ask. A text is read once, and looked through for
//! the person's own identifier, her e-mail addresses, and her phone numbers in whatever spelling.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::addresses;

/// By what a person is recognised. `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The identifier that our callers have for her.
    pub id: String,
    /// In lower case.
    pub emails: Vec<String>,
    /// In E.164.
    pub phones: Vec<String>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Person([REDACTED])")
    }
}

/// Identifiers that are shorter, or digits alone, stand in texts for much else: they only count as the value of a key that
/// says whose they are.
const SHORTEST_SPECIFIC_ID: usize = 6;

/// Digits of a phone number may be written in groups; more than these are no number.
const MOST_GROUPS: usize = 7;
const MOST_DIGITS: usize = 20;

impl Person {
    /// A person with these addresses, e-mail and phone in any order.
    pub fn new(id: &str, addresses: impl IntoIterator<Item = String>) -> Self {
        let mut person = Self { id: id.to_owned(), ..Self::default() };
        for address in addresses {
            if address.starts_with('+') {
                person.phones.push(address);
            } else if address.contains('@') && !address.contains('/') {
                person.emails.push(address.to_lowercase());
            }
        }
        for list in [&mut person.emails, &mut person.phones] {
            list.sort_unstable();
            list.dedup();
        }
        person
    }

    /// Whether a text names her.
    pub fn is_named_in(&self, text: &str) -> bool {
        let text = unescaped(text).to_lowercase();
        self.emails.iter().any(|email| stands_in(&text, email, is_of_an_address))
            || self.has_phone_in(&text)
            || self.has_id_in(&text)
    }

    fn has_id_in(&self, text: &str) -> bool {
        let id = self.id.to_lowercase();
        if id.len() >= SHORTEST_SPECIFIC_ID && id.chars().any(char::is_alphabetic) {
            return stands_in(text, &id, is_of_a_word);
        }
        !id.is_empty() && serde_json::from_str(text).is_ok_and(|value| is_whose(&value, &id))
    }

    fn has_phone_in(&self, text: &str) -> bool {
        let numbers: Vec<(&str, &str)> = self.phones.iter().filter_map(|phone| addresses::parts(phone)).collect();
        if numbers.is_empty() {
            return false;
        }
        let groups = digit_groups(text);
        (0..groups.len()).any(|first| {
            let mut digits = String::new();
            for (place, (group, joins)) in groups[first..].iter().enumerate().take(MOST_GROUPS) {
                if place > 0 && !joins {
                    return false;
                }
                digits.push_str(group);
                if digits.len() > MOST_DIGITS {
                    return false;
                }
                if numbers.iter().any(|number| is_number(&digits, *number)) {
                    return true;
                }
            }
            false
        })
    }
}

/// Whether these digits are a number: alone, with a zero before it, or with the country code in one of its spellings.
fn is_number(digits: &str, (country, national): (&str, &str)) -> bool {
    let Some(before) = digits.strip_suffix(national) else { return false };
    let before = before.strip_prefix("00").unwrap_or(before);
    matches!(before, "" | "0") || before.strip_prefix(country).is_some_and(|rest| matches!(rest, "" | "0"))
}

/// The digits of a text, and of each group whether only what people write within numbers stands before it.
fn digit_groups(text: &str) -> Vec<(&str, bool)> {
    let mut groups: Vec<(&str, bool)> = Vec::new();
    let mut end = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let begins = at;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        let between = &text[end..begins];
        let joins = between.chars().count() <= 3
            && between.chars().all(|c| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '+' | '\u{a0}' | '\u{2011}'));
        groups.push((&text[begins..at], joins));
        end = at;
    }
    groups
}

/// Whether a word stands in a text, and is not a part of a longer one.
fn stands_in(text: &str, word: &str, belongs: fn(char) -> bool) -> bool {
    !word.is_empty()
        && text.match_indices(word).any(|(at, found)| {
            let before = text[..at].chars().next_back();
            let mut after = text[at + found.len()..].chars();
            let goes_on = match after.next() {
                // A dot may end a sentence.
                Some('.') => belongs('.') && after.next().is_some_and(char::is_alphanumeric),
                Some(letter) => belongs(letter),
                None => false,
            };
            !goes_on && !before.is_some_and(belongs)
        })
}

fn is_of_a_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-')
}

fn is_of_an_address(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | '+')
}

/// Whether a key that speaks of a customer has this value.
fn is_whose(value: &Value, id: &str) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(key, value)| {
            let speaks = ["customer", "client", "persona", "contact"].iter().any(|word| key.contains(word));
            let is_it = match value {
                Value::String(text) => text == id,
                Value::Number(number) => number.to_string() == id,
                _ => false,
            };
            (speaks && is_it) || is_whose(value, id)
        }),
        Value::Array(values) => values.iter().any(|value| is_whose(value, id)),
        _ => false,
    }
}

/// A text with its JSON escapes resolved: `\u006d` hides no name, and the `n` of `\n` belongs to no word.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let code = escape.strip_prefix('u').and_then(|code| code.get(..4));
        let (letter, length) = match (code.and_then(|code| u32::from_str_radix(code, 16).ok()), escape.chars().next()) {
            (Some(code), _) => (char::from_u32(code).filter(|letter| !matches!(letter, '"' | '\\')), 5),
            (None, Some('/')) => (Some('/'), 1),
            (None, Some('b' | 'f' | 'n' | 'r' | 't' | '"' | '\\')) => (None, 1),
            (None, _) => (Some('\\'), 0),
        };
        plain.push(letter.unwrap_or(' '));
        rest = &escape[length..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zoraida() -> Person {
        let addresses = ["Zoraida.Q@example.com", "+593985550123", "https://push.example.com/x@y"];
        Person::new("customer-777", addresses.map(str::to_owned))
    }

    #[test]
    fn she_is_recognised_in_every_spelling() {
        for text in [
            r#"{"customer_id": "customer-777"}"#,
            "Llamar a CUSTOMER-777.",
            r#"{"notes": "hola\ncustomer-777"}"#,
            r#"{"email":"zoraida.q@EXAMPLE.com"}"#,
            r#"{"email":"zoraida.q\u0040example.com"}"#,
            "Zoraida <zoraida.q@example.com>.",
            "+593985550123",
            "593985550123@s.whatsapp.net",
            "0985550123",
            "985550123",
            "098-555-0123",
            "+593 (0)98 555 01 23",
            "00593 98.555.0123",
            r#"{"celular": 985550123, "guests": 50}"#,
            "2026 098 555 0123 7",
        ] {
            assert!(zoraida().is_named_in(text), "{text}");
        }
    }

    #[test]
    fn others_are_not() {
        for text in [
            "",
            r#"{"customer_id": "customer-7770"}"#,
            "other-customer-777",
            "zoraida.q@example.com.ec",
            "a-zoraida.q@example.com",
            "0985550124",
            "10985550123",
            "9855501234",
            "985,550123",
            r"\u00",
            r"\",
        ] {
            assert!(!zoraida().is_named_in(text), "{text}");
        }
    }

    #[test]
    fn a_short_identifier_counts_only_where_a_key_says_whose_it_is() {
        let person = Person::new("7", []);
        assert!(person.is_named_in(r#"{"data": [{"customer_id": 7}]}"#));
        assert!(person.is_named_in(r#"{"cliente": "7"}"#));
        for text in [r#"{"guests": 7}"#, "7", r#"{"customer_id": 77}"#, r#"{"customer": {"age": 7}}"#] {
            assert!(!person.is_named_in(text), "{text}");
        }
        assert!(!Person::new("", []).is_named_in("{}"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = zoraida().is_named_in(&text);
        }

        #[test]
        fn escapes_of_any_kind_are_read(text in "[\\\\u0-9a-f\"/ñ]*") {
            let _ = zoraida().is_named_in(&text);
        }
    }
}
