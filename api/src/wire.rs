//! What travels over a connection, looked at before it is understood: how far a request has come, and whether its head is one
//! that every server would read alike.
//!
//! hyper takes a bare LF for the end of a line, and drops `Content-Length` beside `Transfer-Encoding`. A proxy that reads such a
//! head in another way sees other requests than we do (RFC 9112, sections 2.2 and 11.2). The byte that makes it ambiguous is
//! replaced by NUL, which hyper answers with 400. hyper's own answers are replaced too, by ours ([`unreadable`]).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connections::{Connection, Heard};
use crate::unreadable::{self, Ambiguity, Spoiled};

/// The longest head, in bytes, and how much of a body is taken from a connection at once.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;

pub(crate) struct Wire {
    stream: TcpStream,
    connection: Arc<Connection>,
    head: Head,
    /// What is said in place of hyper's own words, and how much of it has been written.
    replaced: Option<(Vec<u8>, usize)>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, head: Head::default(), replaced: None }
    }

    /// Writes to the end what stands for these last words of hyper's.
    fn poll_replace(&mut self, cx: &mut Context<'_>, words: &[u8], status: StatusCode) -> Poll<io::Result<usize>> {
        let spoiled = self.head.spoiled;
        let (answer, written) =
            self.replaced.get_or_insert_with(|| (unreadable::answer(status, spoiled, MAX_HEAD_BYTES), 0));
        while *written < answer.len() {
            let more = ready!(Pin::new(&mut self.stream).poll_write(cx, &answer[*written..]))?;
            if more == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += more;
            self.connection.told();
        }
        Poll::Ready(Ok(words.len()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, connection, head, .. } = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buffer))?;
        let bytes = &mut buffer.filled_mut()[before..];
        if let Some(last) = bytes.last().copied() {
            match connection.heard() {
                Heard::NewHead => {
                    head.begin();
                    head.read(bytes);
                }
                Heard::Head => head.read(bytes),
                Heard::Body => {}
            }
            head.last = last;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let bytes = match unreadable::find(bytes) {
            Some((0, status)) => return wire.poll_replace(cx, bytes, status),
            // What comes before is an answer of ours.
            Some((begin, _)) => &bytes[..begin],
            None => bytes,
        };
        let Self { stream, connection, .. } = wire;
        let written = ready!(Pin::new(stream).poll_write(cx, bytes))?;
        connection.told();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper's own words have no body, so they come alone or last.
        let slices = match slices {
            [only] => return self.poll_write(cx, only),
            [before @ .., last] if unreadable::find(last).is_some() => before,
            slices => slices,
        };
        let Self { stream, connection, .. } = self.get_mut();
        let written = ready!(Pin::new(stream).poll_write_vectored(cx, slices))?;
        connection.told();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The longest name that is looked for, with its colon.
const LONGEST_NAME: usize = "transfer-encoding:".len();

/// A head as it comes, in pieces of any size.
#[derive(Debug, Default)]
struct Head {
    has_ended: bool,
    /// A line that is not empty came; empty ones before it are skipped (RFC 9112, section 2.2).
    has_begun: bool,
    /// The beginning of the line that is being read, in lower case, and how long it is.
    line: [u8; LONGEST_NAME],
    length: usize,
    has_length: bool,
    has_encoding: bool,
    /// How long it is so far, in bytes.
    bytes: usize,
    /// What it was spoiled for.
    spoiled: Option<Spoiled>,
    /// The byte before those that come next.
    last: u8,
}

impl Head {
    fn begin(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// Looks at bytes up to the end of the head, and spoils what makes it ambiguous.
    fn read(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.has_ended {
                return;
            }
            self.bytes += 1;
            // hyper's own limit is that of its buffer, which may hold more than one head.
            if self.bytes > MAX_HEAD_BYTES {
                self.spoiled = self.spoiled.or(Some(Spoiled::ByLength));
                *byte = 0;
            }
            match *byte {
                b'\n' => {
                    let ambiguity = if self.last == b'\r' { self.ends_line() } else { Some(Ambiguity::BareLf) };
                    if let Some(ambiguity) = ambiguity {
                        self.spoiled = self.spoiled.or(Some(Spoiled::By(ambiguity)));
                        *byte = 0;
                    }
                }
                b'\r' => {}
                other => {
                    if let Some(place) = self.line.get_mut(self.length) {
                        *place = other.to_ascii_lowercase();
                    }
                    self.length += 1;
                }
            }
            self.last = *byte;
        }
    }

    /// Whether the line that ends here makes the head ambiguous, and how.
    fn ends_line(&mut self) -> Option<Ambiguity> {
        let line = &self.line[..self.length.min(LONGEST_NAME)];
        self.has_length |= line.starts_with(b"content-length:");
        self.has_encoding |= line.starts_with(b"transfer-encoding:");
        self.has_ended = self.has_begun && self.length == 0;
        self.has_begun |= self.length > 0;
        self.length = 0;
        (self.has_length && self.has_encoding).then_some(Ambiguity::TwoLengths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hyper is given of these bytes, when they come in pieces of this size.
    fn passed(text: &str, size: usize) -> String {
        let (mut head, mut bytes) = (Head::default(), text.as_bytes().to_vec());
        bytes.chunks_mut(size).for_each(|piece| head.read(piece));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_head_that_all_read_alike_is_passed_on_and_so_is_its_body() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n{\n}",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\n\r\n",
            "POST / HTTP/1.1\r\nX-Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            for size in [1, 2, 3, 7, 1000] {
                assert_eq!(passed(text, size), text, "{size}");
            }
        }
    }

    #[test]
    fn what_two_servers_could_read_differently_is_spoiled() {
        for text in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
        ] {
            for size in [1, 2, 3, 7, 1000] {
                assert!(passed(text, size).contains('\0'), "{text:?} in pieces of {size}");
            }
        }
    }
}
