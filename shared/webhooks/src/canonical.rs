//! JSON as Python writes it.
//!
//! Partners sign what `json.dumps` makes of a payload and send something else, or verify what it makes of the body that they
//! received (d1). To sign and to verify for them, the same bytes are needed: the order of the keys, the blanks, the escapes,
//! and the spelling of numbers.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// Deeper than this is no payload of a webhook. It bounds the recursion.
const DEEPEST: usize = 64;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// Keys by code point (`sort_keys=True`), or as they came.
    pub sorted: bool,
    pub separators: Separators,
    pub letters: Letters,
}

/// What stands between the parts of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Separators {
    /// `", "` and `": "`, which Python writes by default.
    Spaced,
    /// `","` and `":"`.
    Compact,
}

/// How letters beyond ASCII are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Letters {
    /// `\u00f3`, and U+007F too (`ensure_ascii=True`, Python's default).
    Escaped,
    Utf8,
}

/// What a partner of seed 000 makes of a payload with `json.dumps(payload, sort_keys=True)`. Webhooks travel in this form.
pub const PYTHON_DEFAULT: Form = Form { sorted: true, separators: Separators::Spaced, letters: Letters::Escaped };

/// `json.dumps(payload, sort_keys=True, separators=(",", ":"))`.
pub const PYTHON_COMPACT: Form = Form { sorted: true, separators: Separators::Compact, letters: Letters::Escaped };

/// Why a document has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum NotCanonical {
    #[error("it is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("the key `{0}` stands twice in one object")]
    DuplicateKey(String),
    #[error("it is nested more than {DEEPEST} levels deep")]
    TooDeep,
    #[error("the number {0} is beyond what a double holds")]
    NumberTooLarge(String),
}

/// A JSON document whose numbers still stand as they were written.
#[derive(Debug)]
pub struct Document<'t>(Node<'t>);

#[derive(Debug)]
enum Node<'t> {
    Object(Vec<(String, Node<'t>)>),
    Array(Vec<Node<'t>>),
    Text(String),
    Number(Cow<'t, str>),
    /// `true`, `false` or `null`.
    Word(&'t str),
}

impl<'t> Document<'t> {
    /// Reads a document. Numbers are kept as they stand, because the sender signed them so.
    ///
    /// # Errors
    /// When it is no JSON, holds half of a surrogate pair, is too deep, or an object has a key twice: two readers would
    /// understand different things.
    pub fn read(text: &'t str) -> Result<Self, NotCanonical> {
        // From here on the text is known to be JSON, and finding its parts is easy.
        serde_json::from_str::<IgnoredAny>(text)?;
        let mut reader = Reader { text, position: 0 };
        reader.node(0).map(Self)
    }

    /// Spells numbers as Python does after `json.loads`: `250.00` becomes `250.0`, `1E5` becomes `100000.0`, whole numbers
    /// stay as they are. A receiver that reads the body and writes it again then gets the same bytes.
    ///
    /// # Errors
    /// When a number is larger than a double can be: Python reads `inf` and writes `Infinity`, which is no JSON.
    pub fn with_pythons_numbers(mut self) -> Result<Self, NotCanonical> {
        self.0.spell_numbers(pythons_number)?;
        Ok(self)
    }

    /// Spells numbers as `JSON.stringify` does after `JSON.parse`: `250.0` becomes `250`, and a whole number of more than 53
    /// bits loses its last digits.
    ///
    /// # Errors
    /// When a number is larger than a double can be.
    pub fn with_javascripts_numbers(mut self) -> Result<Self, NotCanonical> {
        self.0.spell_numbers(javascripts_number)?;
        Ok(self)
    }

    /// One field of the object that this is, in this form.
    pub fn write_field(&self, name: &str, form: Form) -> Option<String> {
        let Node::Object(fields) = &self.0 else { return None };
        let (_, value) = fields.iter().find(|(key, _)| key == name)?;
        let mut written = String::new();
        value.write(form, &mut written);
        Some(written)
    }

    /// Keys as they came, each part on a line of its own, as `json.dumps(…, indent=2)` and `JSON.stringify(…, null, 2)` write.
    pub fn write_indented(&self, indent: usize, letters: Letters) -> String {
        let mut written = String::new();
        self.0.write_indented(indent, 0, letters, &mut written);
        written
    }

    /// The document in this form.
    pub fn write(&self, form: Form) -> String {
        let mut written = String::new();
        self.0.write(form, &mut written);
        written
    }
}

impl Node<'_> {
    fn spell_numbers(&mut self, spell: fn(&str) -> Result<String, NotCanonical>) -> Result<(), NotCanonical> {
        match self {
            Self::Object(fields) => fields.iter_mut().try_for_each(|(_, value)| value.spell_numbers(spell)),
            Self::Array(values) => values.iter_mut().try_for_each(|value| value.spell_numbers(spell)),
            Self::Number(token) => {
                *token = Cow::Owned(spell(token)?);
                Ok(())
            }
            Self::Text(_) | Self::Word(_) => Ok(()),
        }
    }

    fn write(&self, form: Form, written: &mut String) {
        match self {
            Self::Object(fields) => write_object(fields, form, written),
            Self::Array(values) => {
                written.push('[');
                for (number, value) in values.iter().enumerate() {
                    written.push_str(if number == 0 { "" } else { form.separators.between() });
                    value.write(form, written);
                }
                written.push(']');
            }
            Self::Text(text) => write_text(text, form.letters, written),
            Self::Number(token) => written.push_str(token),
            Self::Word(word) => written.push_str(word),
        }
    }

    fn write_indented(&self, indent: usize, depth: usize, letters: Letters, written: &mut String) {
        let line = |written: &mut String, depth: usize| {
            written.push('\n');
            written.extend(std::iter::repeat_n(' ', indent * depth));
        };
        match self {
            Self::Object(fields) if !fields.is_empty() => {
                for (number, (key, value)) in fields.iter().enumerate() {
                    written.push(if number == 0 { '{' } else { ',' });
                    line(written, depth + 1);
                    write_text(key, letters, written);
                    written.push_str(": ");
                    value.write_indented(indent, depth + 1, letters, written);
                }
                line(written, depth);
                written.push('}');
            }
            Self::Array(values) if !values.is_empty() => {
                for (number, value) in values.iter().enumerate() {
                    written.push(if number == 0 { '[' } else { ',' });
                    line(written, depth + 1);
                    value.write_indented(indent, depth + 1, letters, written);
                }
                line(written, depth);
                written.push(']');
            }
            other => other.write(Form { sorted: false, separators: Separators::Compact, letters }, written),
        }
    }
}

fn write_object(fields: &[(String, Node<'_>)], form: Form, written: &mut String) {
    let mut order: Vec<&(String, Node<'_>)> = fields.iter().collect();
    if form.sorted {
        // The order of UTF-8 bytes is the order of code points, by which Python compares.
        order.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    written.push('{');
    for (number, (key, value)) in order.into_iter().enumerate() {
        written.push_str(if number == 0 { "" } else { form.separators.between() });
        write_text(key, form.letters, written);
        written.push_str(form.separators.after_key());
        value.write(form, written);
    }
    written.push('}');
}

impl Separators {
    fn between(self) -> &'static str {
        match self {
            Self::Spaced => ", ",
            Self::Compact => ",",
        }
    }

    fn after_key(self) -> &'static str {
        match self {
            Self::Spaced => ": ",
            Self::Compact => ":",
        }
    }
}

/// The escapes of CPython's `json.encoder`.
fn write_text(text: &str, letters: Letters, written: &mut String) {
    written.push('"');
    for letter in text.chars() {
        match letter {
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            '\u{8}' => written.push_str("\\b"),
            '\u{c}' => written.push_str("\\f"),
            '\0'..='\u{1f}' => write_escape(letter, written),
            ' '..='~' => written.push(letter),
            _ if letters == Letters::Utf8 => written.push(letter),
            _ => write_escape(letter, written),
        }
    }
    written.push('"');
}

/// `\u00f3`; a letter beyond the first plane is a surrogate pair.
fn write_escape(letter: char, written: &mut String) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        written.push_str(&format!("\\u{unit:04x}"));
    }
}

/// What Python writes after it read this number.
fn pythons_number(token: &str) -> Result<String, NotCanonical> {
    if !token.contains(['.', 'e', 'E']) {
        return Ok(if token == "-0" { "0".to_owned() } else { token.to_owned() });
    }
    match token.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(pythons_float(number)),
        _ => Err(NotCanonical::NumberTooLarge(token.to_owned())),
    }
}

/// What JavaScript writes after it read this number (ECMA-262, Number::toString).
fn javascripts_number(token: &str) -> Result<String, NotCanonical> {
    let number: f64 = token.parse().map_err(|_| NotCanonical::NumberTooLarge(token.to_owned()))?;
    match number.abs() {
        size if !size.is_finite() => Err(NotCanonical::NumberTooLarge(token.to_owned())),
        0.0 => Ok("0".to_owned()),
        // Without an exponent Rust writes the same digits.
        size if (1e-6..1e21).contains(&size) => Ok(number.to_string()),
        _ => {
            let scientific = format!("{number:e}");
            Ok(if scientific.contains("e-") { scientific } else { scientific.replace('e', "e+") })
        }
    }
}

/// `repr(float)`: the shortest digits that mean this number; with an exponent below 1e-4 and from 1e16 on.
fn pythons_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("{:e} writes an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} writes a whole exponent");
    if (-4..16).contains(&exponent) {
        // Without an exponent Rust writes the same digits, and `250` for 250.0.
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Finds the parts of a text that is known to be JSON.
struct Reader<'t> {
    text: &'t str,
    position: usize,
}

impl<'t> Reader<'t> {
    fn node(&mut self, depth: usize) -> Result<Node<'t>, NotCanonical> {
        if depth > DEEPEST {
            return Err(NotCanonical::TooDeep);
        }
        match self.peek() {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Node::Text),
            b't' | b'f' | b'n' => Ok(Node::Word(self.token(|byte| byte.is_ascii_alphabetic()))),
            _ => Ok(Node::Number(Cow::Borrowed(
                self.token(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')),
            ))),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node<'t>, NotCanonical> {
        let mut fields: Vec<(String, Node<'t>)> = Vec::new();
        self.skip();
        while self.peek() != b'}' {
            let key = self.string()?;
            self.expect(b':');
            fields.push((key, self.node(depth + 1)?));
            self.expect(b',');
        }
        self.skip();
        match twice(&fields) {
            Some(key) => Err(NotCanonical::DuplicateKey(key)),
            None => Ok(Node::Object(fields)),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Node<'t>, NotCanonical> {
        let mut values = Vec::new();
        self.skip();
        while self.peek() != b']' {
            values.push(self.node(depth + 1)?);
            self.expect(b',');
        }
        self.skip();
        Ok(Node::Array(values))
    }

    fn string(&mut self) -> Result<String, NotCanonical> {
        self.peek();
        let rest = &self.text.as_bytes()[self.position + 1..];
        let mut length = 0;
        while rest[length] != b'"' {
            length += if rest[length] == b'\\' { 2 } else { 1 };
        }
        let token = &self.text[self.position..self.position + length + 2];
        self.position += length + 2;
        Ok(serde_json::from_str(token)?)
    }

    fn token(&mut self, belongs: impl Fn(u8) -> bool) -> &'t str {
        let rest = &self.text[self.position..];
        let length = rest.bytes().position(|byte| !belongs(byte)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    /// The next byte that is no blank. The text is a whole document, so there is one.
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while bytes[self.position].is_ascii_whitespace() {
            self.position += 1;
        }
        bytes[self.position]
    }

    fn skip(&mut self) {
        self.position += 1;
    }

    /// Passes over this byte where it comes next; the last part of a list has no comma.
    fn expect(&mut self, byte: u8) {
        if self.peek() == byte {
            self.skip();
        }
    }
}

/// A key that stands twice.
fn twice(fields: &[(String, Node<'_>)]) -> Option<String> {
    let mut keys: Vec<&str> = fields.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAYLOAD: &str = r#"{"event_type":"service.booked_for_event","timestamp":"2026-01-19T16:00:00Z","source":"findyourwork","data":{"external_event_id":"RES-2026-001","service_name":"Decoración","price":250.0,"provider":{"id":456,"name":"DJ Sounds Pro","rating":4.8}}}"#;

    fn written(text: &str, form: Form) -> String {
        Document::read(text).expect("a document").write(form)
    }

    /// What Python's `json.dumps(json.loads(text), sort_keys=True)` writes.
    fn python(text: &str) -> String {
        Document::read(text).and_then(Document::with_pythons_numbers).expect("a document").write(PYTHON_DEFAULT)
    }

    #[test]
    fn the_forms_of_d1() {
        assert_eq!(
            written(PAYLOAD, PYTHON_DEFAULT),
            r#"{"data": {"external_event_id": "RES-2026-001", "price": 250.0, "provider": {"id": 456, "name": "DJ Sounds Pro", "rating": 4.8}, "service_name": "Decoraci\u00f3n"}, "event_type": "service.booked_for_event", "source": "findyourwork", "timestamp": "2026-01-19T16:00:00Z"}"#
        );
        assert!(
            written(PAYLOAD, PYTHON_COMPACT)
                .starts_with(r#"{"data":{"external_event_id":"RES-2026-001","price":250.0,"#)
        );
        let as_sent = Form { sorted: false, separators: Separators::Compact, letters: Letters::Utf8 };
        assert_eq!(written(PAYLOAD, as_sent), PAYLOAD);
    }

    /// Computed with CPython 3.11.
    #[test]
    fn numbers_are_spelled_as_python_spells_them() {
        let table = [
            ("250.0", "250.0"),
            ("250.00", "250.0"),
            ("2.5e2", "250.0"),
            ("1E5", "100000.0"),
            ("1e16", "1e+16"),
            ("1e15", "1000000000000000.0"),
            ("1e22", "1e+22"),
            ("0.00001", "1e-05"),
            ("0.0001", "0.0001"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("-0.0", "-0.0"),
            ("-0", "0"),
            ("123456789012345678.0", "1.2345678901234568e+17"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("5e-324", "5e-324"),
            ("1e-400", "0.0"),
        ];
        for (token, spelled) in table {
            assert_eq!(python(token), spelled, "{token}");
            assert_eq!(written(token, PYTHON_DEFAULT), token, "read alone, {token} stays as it is");
        }
        assert!(matches!(pythons_number("1e999"), Err(NotCanonical::NumberTooLarge(_))));
    }

    /// Computed with Node.js 20.
    #[test]
    fn numbers_are_spelled_as_javascript_spells_them() {
        let table = [
            ("250.0", "250"),
            ("-0.0", "0"),
            ("1E5", "100000"),
            ("1e21", "1e+21"),
            ("123456789012345678901234567890", "1.2345678901234568e+29"),
            ("9007199254740993", "9007199254740992"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("0.30000000000000004", "0.30000000000000004"),
        ];
        for (token, spelled) in table {
            let document = Document::read(token).and_then(Document::with_javascripts_numbers).expect("a document");
            assert_eq!(document.write(PYTHON_DEFAULT), spelled, "{token}");
        }
    }

    #[test]
    fn a_document_is_indented_and_its_fields_stand_alone() {
        let document = Document::read(r#"{"a":[1,{}],"b":{"c":"ó"}}"#).expect("a document");
        assert_eq!(
            document.write_indented(2, Letters::Utf8),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n    \"c\": \"ó\"\n  }\n}"
        );
        assert_eq!(document.write_field("b", PYTHON_DEFAULT).as_deref(), Some(r#"{"c": "\u00f3"}"#));
        assert_eq!(document.write_field("z", PYTHON_DEFAULT), None);
    }

    #[test]
    fn letters_are_escaped_as_python_escapes_them() {
        assert_eq!(python(r#""é/\/\u007f\u2028\ud83c\udf89""#), r#""\u00e9//\u007f\u2028\ud83c\udf89""#);
        assert_eq!(python("\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\\""), "\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\\"");
        let utf8 = Form { letters: Letters::Utf8, ..PYTHON_DEFAULT };
        assert_eq!(written(r#""\u00e9\u007f\ud83c\udf89\u0001""#, utf8), "\"é\u{7f}🎉\\u0001\"");
    }

    #[test]
    fn blanks_words_and_empty_parts() {
        assert_eq!(
            written(" { \"b\" : [ ] , \"a\" : { } , \"\" : [ true , null , -1 ] } ", PYTHON_DEFAULT),
            r#"{"": [true, null, -1], "a": {}, "b": []}"#
        );
    }

    #[test]
    fn what_two_readers_would_understand_differently_has_no_canonical_form() {
        let refused = |text: &str| Document::read(text).expect_err(text);
        assert!(matches!(refused(r#"{"a":1,"b":2,"a":3}"#), NotCanonical::DuplicateKey(key) if key == "a"));
        assert!(matches!(refused(r#"{"a":1,"\u0061":3}"#), NotCanonical::DuplicateKey(_)));
        assert!(matches!(refused(r#""\ud800""#), NotCanonical::NotJson(_)));
        for text in ["", "{", "{\"a\":NaN}", "[1,]", "'a'", "{\"a\" 1}", "01"] {
            assert!(matches!(refused(text), NotCanonical::NotJson(_)), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(refused(&deep), NotCanonical::TooDeep | NotCanonical::NotJson(_)));
    }

    proptest! {
        /// The canonical form is a fixed point: a receiver that reads it and writes it again gets the same bytes.
        #[test]
        fn writing_again_changes_nothing(number: f64, text: String, key in "[a-z]{1,3}", whole: i64) {
            let value = serde_json::json!({ "z": [number, whole, text], key: { "b": text, "a": null, &text: true } });
            let once = python(&value.to_string());
            prop_assert_eq!(python(&once), once.clone());
            let understood: serde_json::Value = serde_json::from_str(&once).expect("JSON");
            prop_assert_eq!(understood["z"][2].as_str(), value["z"][2].as_str());
        }
    }
}
