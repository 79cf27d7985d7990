//! JSON from outside. What Python, PostgreSQL and our own parser would read differently is refused here, so that no later
//! code has to consider it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

/// How deep objects and lists may be nested. Django's templates get along with three.
const MAX_DEPTH: usize = 64;

/// Reads JSON strictly: UTF-8, nothing after its end, at most 64 levels deep, no key twice in an object (RFC 7493,
/// section 2.3), and no NUL character, which PostgreSQL cannot store.
///
/// # Errors
///
/// What is wrong and where, for the caller to read.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    value.map_err(|error| {
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Eof if bytes.trim_ascii().is_empty() => "El cuerpo está vacío; envíe un objeto JSON.".to_owned(),
            Category::Data => format!("JSON no admitido (línea {line}, columna {column}): {reason}"),
            Category::Syntax | Category::Eof | Category::Io => {
                format!("JSON inválido (línea {line}, columna {column}): {reason}")
            }
        }
    })
}

/// The same of a sender whose messages must not be lost for a letter: NULs are left out, and halves of surrogate pairs and bytes
/// that are no UTF-8 are replaced (U+FFFD), as JavaScript does when it writes such a text.
///
/// # Errors
///
/// As [`parse`].
pub(crate) fn parse_patiently(bytes: &[u8]) -> Result<Value, String> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("\\u") { parse(mend(&text).as_bytes()) } else { parse(text.as_bytes()) }
}

/// JSON without escapes that stand for no character.
fn mend(json: &str) -> String {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = rest.find('\\') {
        mended.push_str(&rest[..start]);
        rest = &rest[start..];
        let (kept, length) = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0), _) => ("", 6),
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (&rest[..12], 12),
            (Some(0xD800..=0xDFFF), _) => ("\\ufffd", 6),
            (Some(_), _) => (&rest[..6], 6),
            // A backslash and what it escapes, so that the second of two begins nothing.
            (None, _) => {
                let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                (&rest[..length], length)
            }
        };
        mended.push_str(kept);
        rest = &rest[length..];
    }
    mended.push_str(rest);
    mended
}

/// The UTF-16 unit of the escape with which a text begins.
fn unit(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("\\u")?.get(..4)?;
    if hex.bytes().all(|digit| digit.is_ascii_hexdigit()) { u32::from_str_radix(hex, 16).ok() } else { None }
}

/// Builds a value, and knows how deep it stands.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("hay más de {MAX_DEPTH} niveles de anidamiento")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        if text.contains('\0') {
            return Err(E::custom("un texto contiene el carácter NUL (\\u0000); quítelo"));
        }
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut values = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            if key.contains('\0') {
                return Err(A::Error::custom("una clave contiene el carácter NUL (\\u0000); quítelo"));
            }
            if values.contains_key(&key) {
                return Err(A::Error::custom(format!("la clave \"{}\" está repetida", key.escape_debug())));
            }
            let value = object.next_value_seed(inside)?;
            values.insert(key, value);
        }
        Ok(values.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        parse(json.as_bytes()).expect_err("must be refused")
    }

    #[test]
    fn ordinary_json_is_read() {
        let json = r#"{"a": [1, -2, 2.5, "ñ", null, true, {}], "b": 18446744073709551615}"#;
        assert_eq!(parse(json.as_bytes()), Ok(serde_json::from_str(json).unwrap()));
    }

    /// S003-1: nothing is lost for a letter.
    #[test]
    fn letters_that_are_none_cost_no_message() {
        let table = [
            (r#"{"a":"x\u0000y"}"#, "xy"),
            (r#"{"a":"\ud83d\ude00"}"#, "😀"),
            (r#"{"a":"\uD83D!"}"#, "\u{fffd}!"),
            (r#"{"a":"\ude00\ud83d"}"#, "\u{fffd}\u{fffd}"),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
            (r#"{"a":"\\u0000 \\\\ud800"}"#, r"\u0000 \\ud800"),
            (r#"{"a":"\u00f1\n"}"#, "ñ\n"),
        ];
        for (json, expected) in table {
            assert_eq!(parse_patiently(json.as_bytes()).expect(json)["a"], expected, "{json}");
        }
        assert_eq!(parse_patiently(b"{\"a\":\"\xff\"}").expect("a text")["a"], "\u{fffd}");
        for wrong in ["{", r#"{"a":"\"#, r#"{"a":"\u12"}"#, r#"{"a":"\ñ"}"#, ""] {
            parse_patiently(wrong.as_bytes()).expect_err(wrong);
        }
    }

    #[test]
    fn every_refusal_says_what_and_where() {
        assert_eq!(error(""), "El cuerpo está vacío; envíe un objeto JSON.");
        assert_eq!(error(" \n"), "El cuerpo está vacío; envíe un objeto JSON.");
        assert!(error("{\n\"a\": x}").starts_with("JSON inválido (línea 2, columna 6): "), "{}", error("{\n\"a\": x}"));
        assert!(error(r#"{"a":1,"a":2}"#).contains("la clave \"a\" está repetida"));
        assert!(error(r#"["a\u0000b"]"#).contains("carácter NUL"));
        assert!(error(r#"{"\u0000":1}"#).contains("carácter NUL"));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for json in ["nul", "{} {}", r#"{"a":1,}"#, "1e999", r#"["\ud800"]"#, "'a'", "NaN", "\u{feff}{}", r#"{"a"}"#] {
            parse(json.as_bytes()).expect_err(json);
        }
        parse(b"[\"\xff\xfe\"]").expect_err("not UTF-8");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(error(&nested(MAX_DEPTH + 1)).contains("64 niveles"));
        assert!(error(&"{\"a\":".repeat(10_000)).contains("64 niveles"));
        assert!(error(&"[".repeat(1_000_000)).contains("64 niveles"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_can_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_is_accepted_means_what_serde_reads(text in "[\\[\\]{}:,\"a0-9.eE+\\-\\\\u ]{0,40}") {
            if let Ok(value) = parse(text.as_bytes()) {
                proptest::prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
