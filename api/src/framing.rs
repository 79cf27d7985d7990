//! Where each request on a connection begins and ends, pure. Requests may come back to back, and every head among them is looked
//! at: what one server takes for a body and another for a request is how requests are smuggled (RFC 9112, section 11.2).
//!
//! What could be read in two ways is spoiled: one byte of it becomes NUL, which hyper answers with 400.

use crate::unreadable::{Ambiguity, Spoiled};

/// The longest head, in bytes, and how much of a body is taken from a connection at once.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;

/// The longest name that is looked for, with its colon.
const LONGEST_NAME: usize = "transfer-encoding:".len();

/// A connection's requests as they come, in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    position: Position,
    head: Head,
    /// The byte before those that come next.
    last: u8,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    #[default]
    Head,
    /// A body, of which so many bytes are still to come.
    Body(u64),
    /// The line with the size of a chunk; what it says so far, and whether its digits have ended.
    ChunkSize(u64, bool),
    /// A chunk with the line end behind it.
    Chunk(u64),
    /// The lines behind the last chunk; whether the one that comes has a letter yet.
    Trailer(bool),
}

/// A head, as far as it has come.
#[derive(Debug, Default)]
struct Head {
    /// A line that is not empty came; empty ones before it are skipped (RFC 9112, section 2.2).
    has_begun: bool,
    /// The line that ended last was empty.
    is_empty_line: bool,
    /// The beginning of the line that is being read, in lower case, and how long it is.
    line: [u8; LONGEST_NAME],
    length: usize,
    /// The number that stands in this line, behind the name.
    number: u64,
    content_length: Option<u64>,
    has_encoding: bool,
    bytes: usize,
    /// What it was spoiled for.
    spoiled: Option<Spoiled>,
}

impl Framing {
    /// Why a head was spoiled, if one was.
    pub(crate) fn spoiled(&self) -> Option<Spoiled> {
        self.head.spoiled
    }

    /// Follows these bytes, and spoils what is ambiguous among them.
    pub(crate) fn read(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            // Bodies are stepped over as a whole.
            let passed = match &mut self.position {
                Position::Body(left) | Position::Chunk(left) => {
                    let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= passed as u64;
                    passed
                }
                Position::Head | Position::ChunkSize(..) | Position::Trailer(_) => {
                    self.step(&mut bytes[0]);
                    1
                }
            };
            self.last = bytes[passed - 1];
            bytes = &mut bytes[passed..];
            match self.position {
                Position::Body(0) => self.begin(),
                Position::Chunk(0) => self.position = Position::ChunkSize(0, false),
                _ => {}
            }
        }
    }

    fn begin(&mut self) {
        // hyper ends a connection on which a head was spoiled; until then it is known why.
        let spoiled = self.head.spoiled;
        (self.position, self.head) = (Position::Head, Head { spoiled, ..Head::default() });
    }

    fn step(&mut self, byte: &mut u8) {
        match self.position {
            Position::Head => {
                if self.head.read(byte, self.last) {
                    match self.head.body() {
                        Position::Head => self.begin(),
                        body => self.position = body,
                    }
                }
            }
            Position::ChunkSize(size, has_ended) => {
                self.position = match (*byte as char).to_digit(16).filter(|_| !has_ended) {
                    Some(digit) => Position::ChunkSize(size.saturating_mul(16).saturating_add(digit.into()), false),
                    None if *byte == b'\n' && size == 0 => Position::Trailer(false),
                    None if *byte == b'\n' => Position::Chunk(size.saturating_add(2)),
                    None => Position::ChunkSize(size, true),
                };
            }
            Position::Trailer(has_letters) => match *byte {
                b'\r' => {}
                b'\n' if has_letters => self.position = Position::Trailer(false),
                b'\n' => self.begin(),
                _ => self.position = Position::Trailer(true),
            },
            Position::Body(_) | Position::Chunk(_) => {}
        }
    }
}

impl Head {
    /// Looks at one byte, and spoils it if it makes the head ambiguous. Whether the head ends with it.
    fn read(&mut self, byte: &mut u8, last: u8) -> bool {
        self.bytes += 1;
        // hyper's own limit is that of its buffer, which may hold more than one head.
        if self.bytes > MAX_HEAD_BYTES {
            self.spoil(byte, Spoiled::ByLength);
            return false;
        }
        match *byte {
            b'\n' => {
                let ambiguity = if last == b'\r' { self.ends_line() } else { Some(Ambiguity::BareLf) };
                match ambiguity {
                    Some(ambiguity) => self.spoil(byte, Spoiled::By(ambiguity)),
                    None => return self.has_ended(),
                }
            }
            b'\r' => {}
            other => {
                if let Some(place) = self.line.get_mut(self.length) {
                    *place = other.to_ascii_lowercase();
                }
                if self.length >= "content-length:".len() && other.is_ascii_digit() {
                    self.number = self.number.saturating_mul(10).saturating_add(u64::from(other - b'0'));
                }
                self.length += 1;
            }
        }
        false
    }

    fn spoil(&mut self, byte: &mut u8, spoiled: Spoiled) {
        self.spoiled = self.spoiled.or(Some(spoiled));
        *byte = 0;
    }

    /// Whether the line that ends here makes the head ambiguous, and how.
    fn ends_line(&mut self) -> Option<Ambiguity> {
        let line = &self.line[..self.length.min(LONGEST_NAME)];
        if line.starts_with(b"content-length:") {
            self.content_length = Some(self.number);
        }
        self.has_encoding |= line.starts_with(b"transfer-encoding:");
        self.is_empty_line = self.length == 0;
        self.has_begun |= self.length > 0;
        (self.length, self.number) = (0, 0);
        (self.content_length.is_some() && self.has_encoding).then_some(Ambiguity::TwoLengths)
    }

    fn has_ended(&self) -> bool {
        self.has_begun && self.is_empty_line
    }

    /// What follows this head.
    fn body(&self) -> Position {
        match self.content_length {
            _ if self.has_encoding => Position::ChunkSize(0, false),
            Some(length) if length > 0 => Position::Body(length),
            _ => Position::Head,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What hyper is given of these bytes, when they come in pieces of this size.
    fn passed(text: &str, size: usize) -> String {
        let (mut framing, mut bytes) = (Framing::default(), text.as_bytes().to_vec());
        bytes.chunks_mut(size).for_each(|piece| framing.read(piece));
        String::from_utf8(bytes).unwrap()
    }

    /// Requests that all servers read alike, with bodies that look like ambiguous heads.
    const GOOD: [&str; 7] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n{\n}",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 21\r\n\r\nGET / HTTP/1.1\nHost:\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{\n\r\nA\r\n0123456\n\n}\r\n0\r\nX: y\r\n\r\n",
        "POST / HTTP/1.1\r\nX-Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];

    const AMBIGUOUS: [&str; 6] = [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
    ];

    proptest! {
        /// However requests follow each other and however they are cut, the good ones pass as they came, and an ambiguous one
        /// behind them is found.
        #[test]
        fn every_head_is_looked_at(before in prop::collection::vec(0..GOOD.len(), 0..5), wrong in 0..AMBIGUOUS.len(), size in 1..200_usize) {
            let good: String = before.iter().map(|number| GOOD[*number]).collect();
            prop_assert_eq!(passed(&good, size), good.clone());
            let spoiled = passed(&(good.clone() + AMBIGUOUS[wrong]), size);
            prop_assert!(spoiled.starts_with(&good) && spoiled[good.len()..].contains('\0'), "{:?}", spoiled);
        }
    }

    #[test]
    fn a_head_ends_somewhere() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES));
        assert!(passed(&long, 1000).contains('\0'));
        let many = GOOD[0].repeat(MAX_HEAD_BYTES / 10);
        assert_eq!(passed(&many, 1000), many, "many short heads are no long one");
    }
}
