//! JSON whose long texts are left out while it comes: a webhook with a photograph has megabytes of base64, of which nothing is
//! used.

/// The longest text that is usually kept, in bytes. Names, ids and states are far shorter.
pub(crate) const LONGEST_TEXT: usize = 1024;

/// The longest where the words of people count: WhatsApp's own limit.
pub(crate) const LONGEST_WORDS: usize = 65_536;

/// Takes JSON in pieces of any size, and keeps it with an empty text in the place of each long one. What it is given need not
/// be JSON; then neither is what it keeps.
#[derive(Debug)]
pub(crate) struct Abridged {
    /// The longest text that is kept, in bytes.
    longest: usize,
    position: Position,
    /// Where in what is kept the current text began, and how long it is so far.
    began: usize,
    length: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    #[default]
    Outside,
    Inside,
    /// After a backslash.
    Escape,
}

impl Abridged {
    pub(crate) fn to(longest: usize) -> Self {
        Self { longest, position: Position::Outside, began: 0, length: 0 }
    }

    /// How much of what is kept will not be taken back: all but a text that has not ended.
    pub(crate) fn settled(&self, kept: usize) -> usize {
        if self.position == Position::Outside { kept } else { self.began }
    }

    /// So many bytes of what is kept, all settled, are moved elsewhere.
    pub(crate) fn forget(&mut self, settled: usize) {
        self.began = self.began.saturating_sub(settled);
    }

    /// Appends what is kept of a piece to `kept`, which holds what was kept before and not moved.
    pub(crate) fn read(&mut self, piece: &[u8], kept: &mut Vec<u8>) {
        for byte in piece {
            let after = match (self.position, byte) {
                (Position::Outside, b'"') => {
                    (self.began, self.length) = (kept.len() + 1, 0);
                    Position::Inside
                }
                (Position::Outside, _) | (Position::Inside, b'"') => Position::Outside,
                (Position::Inside, b'\\') => Position::Escape,
                (Position::Inside | Position::Escape, _) => Position::Inside,
            };
            let is_text = self.position != Position::Outside && after != Position::Outside;
            self.position = after;
            if is_text {
                self.length += 1;
                if self.length > self.longest {
                    kept.truncate(self.began);
                    continue;
                }
            }
            kept.push(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What is kept of a value, when its text comes in pieces of this size.
    fn abridged(value: &Value, size: usize) -> Value {
        let (mut abridged, mut kept) = (Abridged::to(LONGEST_TEXT), Vec::new());
        value.to_string().as_bytes().chunks(size).for_each(|piece| abridged.read(piece, &mut kept));
        serde_json::from_slice(&kept).unwrap()
    }

    #[test]
    fn long_texts_are_left_out() {
        let text = |length: usize| "\\\"ñ".chars().cycle().take(length).collect::<String>();
        let value = json!({"event": "messages.upsert", "data": [{"base64": text(100_000), "keyId": "ABC"}, text(200)]});
        let expected = json!({"event": "messages.upsert", "data": [{"base64": "", "keyId": "ABC"}, text(200)]});
        for size in [1, 2, 3, 1023, 1024, 1_000_000] {
            assert_eq!(abridged(&value, size), expected, "{size}");
        }
        assert_eq!(abridged(&json!("x".repeat(LONGEST_TEXT)), 7), json!("x".repeat(LONGEST_TEXT)));
        assert_eq!(abridged(&json!("x".repeat(LONGEST_TEXT + 1)), 7), json!(""));
    }

    proptest! {
        #[test]
        fn short_texts_stay_as_they_are(texts in prop::collection::vec("[\\PC\"\\\\\n]{0,40}", 0..20), size in 1_usize..50) {
            prop_assert_eq!(abridged(&json!(texts), size), json!(texts));
        }
    }
}
