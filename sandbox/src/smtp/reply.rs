//! Replies as text (RFC 5321 §4.2).

use std::borrow::Cow;

/// A reply code and its text. Every line of the text becomes a line of the reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    text: Cow<'static, str>,
}

impl Reply {
    pub(super) fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into() }
    }

    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.lines().peekable();
        while let Some(line) = lines.next() {
            let mark = if lines.peek().is_some() { '-' } else { ' ' };
            out.extend_from_slice(format!("{}{mark}{line}\r\n", self.code).as_bytes());
        }
    }

    /// Whether the client may go on.
    pub(super) fn accepts(&self) -> bool {
        self.code < 400
    }
}
