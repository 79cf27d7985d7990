//! Lines, messages and replies on an SMTP connection.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    time::timeout,
};
use tokio_native_tls::TlsAcceptor;

use super::reply::Reply;

/// RFC 5321 §4.5.3.2.7: a server waits five minutes for the next line.
const IDLE: Duration = Duration::from_secs(300);

/// Large enough for most messages, so that one of them is one read.
const BUFFER: usize = 32 * 1024;

/// One connection. Replies collect in `unsent` and leave when the client has nothing more to say, so that a pipelined
/// group of commands is answered with one packet.
pub(super) struct Wire {
    stream: BufReader<Box<dyn Duplex>>,
    unsent: Vec<u8>,
}

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What came instead of a line, or the line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(Vec<u8>),
    TooLong,
    /// The client has closed its side.
    End,
    /// The client has said nothing for five minutes.
    Idle,
}

impl Wire {
    pub(super) fn new(stream: impl Duplex + 'static) -> Self {
        Self { stream: BufReader::with_capacity(BUFFER, Box::new(stream)), unsent: Vec::new() }
    }

    /// Reads up to the next line end, keeping no more than `limit` bytes of it.
    pub(super) async fn read_line(&mut self, limit: usize) -> io::Result<Line> {
        match timeout(IDLE, self.line(limit)).await {
            Ok(line) => line,
            Err(_) => Ok(Line::Idle),
        }
    }

    /// Reads a message up to the dot that ends it. `None` when it is larger than `limit`; it has been read all the
    /// same, because a client does not listen before its dot.
    pub(super) async fn read_message(&mut self, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let mut message = DotText::new(limit);
        loop {
            let bytes = timeout(IDLE, self.fill()).await.map_err(io::Error::from)??;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (used, ended) = message.feed(bytes);
            self.stream.consume(used);
            if ended {
                return Ok(message.finish());
            }
        }
    }

    /// Puts a reply in the queue.
    pub(super) fn reply(&mut self, reply: &Reply) {
        reply.write_to(&mut self.unsent);
    }

    /// Puts a question of an authentication exchange in the queue (RFC 4954 §4); it may be empty.
    pub(super) fn challenge(&mut self, question: &str) {
        self.unsent.extend_from_slice(format!("334 {question}\r\n").as_bytes());
    }

    /// Sends what is in the queue.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.stream.get_mut().write_all(&self.unsent).await?;
        self.unsent.clear();
        self.stream.get_mut().flush().await
    }

    /// Goes on in TLS. What the client sent in the clear behind its `STARTTLS` is thrown away: obeying it would let
    /// an attacker in the middle send commands as the client (CVE-2011-0411).
    pub(super) async fn start_tls(self, acceptor: &TlsAcceptor) -> io::Result<Self> {
        let plain = self.stream.into_inner();
        let stream = timeout(IDLE, acceptor.accept(plain)).await.map_err(io::Error::from)?;
        Ok(Self::new(stream.map_err(io::Error::other)?))
    }

    /// Sends what is in the queue and closes the connection; TLS is shut down first.
    pub(super) async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.get_mut().shutdown().await
    }

    async fn line(&mut self, limit: usize) -> io::Result<Line> {
        let mut line = Vec::new();
        let mut length = 0;
        loop {
            let bytes = self.fill().await?;
            if bytes.is_empty() {
                return Ok(Line::End);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(bytes.len(), |at| at + 1);
            length += used;
            if length <= limit {
                line.extend_from_slice(&bytes[..used]);
            }
            self.stream.consume(used);
            match end {
                None => {}
                Some(_) if length > limit => return Ok(Line::TooLong),
                Some(_) => {
                    let text = line.trim_ascii_end().len();
                    line.truncate(text);
                    return Ok(Line::Text(line));
                }
            }
        }
    }

    async fn fill(&mut self) -> io::Result<&[u8]> {
        if self.stream.buffer().is_empty() && !self.unsent.is_empty() {
            self.flush().await?;
        }
        self.stream.fill_buf().await
    }
}

/// Takes a message out of its transport form (RFC 5321 §4.5.2): a dot that a line starts with is there to be removed,
/// and only `CRLF . CRLF` ends the message. A bare line feed does not start a line, or a message could be smuggled
/// inside another.
struct DotText {
    text: Vec<u8>,
    state: State,
    limit: usize,
    too_large: bool,
}

#[derive(Clone, Copy)]
enum State {
    LineStart,
    /// After a dot at the start of a line.
    Dot,
    /// After a dot and a carriage return.
    DotReturn,
    Text,
    /// After a carriage return.
    Return,
}

impl DotText {
    fn new(limit: usize) -> Self {
        Self { text: Vec::new(), state: State::LineStart, limit, too_large: false }
    }

    /// Takes bytes; says how many belonged to the message, and whether it has ended with them.
    fn feed(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let next = rest[0];
            match (self.state, next) {
                (State::LineStart, b'.') => self.step(&[], State::Dot),
                (State::Dot, b'\r') => self.step(&[], State::DotReturn),
                (State::DotReturn, b'\n') => return (at + 1, true),
                (State::DotReturn, _) => {
                    // Not the end after all; the byte is looked at again.
                    self.step(b"\r", State::Return);
                    continue;
                }
                (State::Return, b'\n') => self.step(b"\n", State::LineStart),
                (_, b'\r') => self.step(b"\r", State::Return),
                (State::LineStart | State::Dot | State::Text | State::Return, _) => {
                    let run = rest.iter().position(|byte| *byte == b'\r').unwrap_or(rest.len());
                    self.step(&rest[..run], State::Text);
                    at += run;
                    continue;
                }
            }
            at += 1;
        }
        (at, false)
    }

    fn step(&mut self, text: &[u8], state: State) {
        self.too_large |= self.text.len() + text.len() > self.limit;
        if !self.too_large {
            self.text.extend_from_slice(text);
        }
        self.state = state;
    }

    fn finish(self) -> Option<Vec<u8>> {
        (!self.too_large).then_some(self.text)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What a client does to a message before sending it.
    fn stuffed(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line_start = true;
        for (at, byte) in message.iter().enumerate() {
            if line_start && *byte == b'.' {
                out.push(b'.');
            }
            out.push(*byte);
            line_start = *byte == b'\n' && at > 0 && message[at - 1] == b'\r';
        }
        out.extend_from_slice(b".\r\n");
        out
    }

    #[test]
    fn dots_are_removed_however_the_bytes_are_cut() {
        for message in [
            &b""[..],
            b"Hola\r\n",
            b".\r\n",
            b"..\r\n.\r\n...\r\n",
            b"a\r\n.b\r\n\r\n",
            b".\r\r\n",
            b"smuggled\n.\nMAIL FROM:<a@b.ec>\r\n",
            b"bare\r.\rreturns\r\n",
            b".\rx\r\n",
        ] {
            let sent = [stuffed(message), b"QUIT\r\n".to_vec()].concat();
            for size in 1..=sent.len() {
                let mut text = DotText::new(1000);
                let mut total = 0;
                for chunk in sent.chunks(size) {
                    let (used, ended) = text.feed(chunk);
                    total += used;
                    if ended {
                        break;
                    }
                }
                assert_eq!(&sent[total..], b"QUIT\r\n", "{message:?} by {size}");
                assert_eq!(text.finish().as_deref(), Some(message), "by {size}");
            }
        }
    }

    #[test]
    fn a_message_over_the_limit_is_read_to_its_end() {
        let mut text = DotText::new(5);
        assert_eq!(text.feed(b"123456\r\n.\r\nRSET"), (11, true));
        assert_eq!(text.finish(), None);
        let mut text = DotText::new(5);
        assert_eq!(text.feed(b"123\r\n.\r\n"), (8, true));
        assert_eq!(text.finish(), Some(b"123\r\n".to_vec()));
    }

    #[tokio::test]
    async fn lines_have_a_limit_and_the_next_one_is_not_lost() {
        let (mut client, server) = duplex(64);
        let mut wire = Wire::new(server);
        let long = [vec![b'x'; 5000], b"\r\nNOOP\r\nQUI".to_vec()].concat();
        let write = async {
            client.write_all(&long).await.expect("written");
            drop(client);
        };
        let read = async {
            assert_eq!(wire.read_line(512).await.expect("read"), Line::TooLong);
            assert_eq!(wire.read_line(512).await.expect("read"), Line::Text(b"NOOP".to_vec()));
            assert_eq!(wire.read_line(512).await.expect("read"), Line::End);
        };
        tokio::join!(write, read);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_not_waited_for_for_ever() {
        let (_client, server) = duplex(64);
        assert_eq!(Wire::new(server).read_line(512).await.expect("no error"), Line::Idle);
    }
}
