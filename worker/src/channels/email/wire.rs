//! Bytes to and from a mail server: connections, TLS, commands and their replies. Every step has its time, and what a server
//! says has a size.
//!
//! Replies are read by us because libraries take those that are not UTF-8 for a broken conversation: a Spanish server of the
//! nineties that has taken a mail and says so in Latin-1 would get it again.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::FutureExt;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_native_tls::TlsConnector;

use super::error::Cause;

/// Per address of the server; a name may have several.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For one answer before the mail is sent. Servers that slow senders down take 5 to 15 s.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// When a connection has been silent for this long, its other end is asked whether it is there, and again …
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
/// … each time this has passed …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// … and given up after so many questions.
const KEEPALIVE_RETRIES: u32 = 3;

/// How long what we sent may go without the other end's acknowledgement.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(20);

/// How much of a line of a reply is kept, in bytes. RFC 5321, section 4.5.3.1.5, allows 512.
const MAX_LINE_BYTES: usize = 2_048;

/// How much of a reply is kept, and how much of it is read at all, before the server counts as one that does not end.
const MAX_REPLY_BYTES: usize = 8 * 1024;
const MAX_READ_BYTES: usize = 1024 * 1024;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection to a mail server.
pub(super) struct Wire {
    stream: BufReader<Box<dyn Duplex>>,
    /// The address from which we speak.
    pub(super) local: IpAddr,
}

/// What the server answered to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) lines: Vec<String>,
}

impl Reply {
    pub(super) fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// The reply, where the server goes on.
    fn accepted(self) -> Result<Self, Cause> {
        if self.code < 400 { Ok(self) } else { Err(Cause::Reply { code: self.code, text: self.text() }) }
    }
}

impl Wire {
    /// A connection to the first of the addresses that answers.
    pub(super) async fn connect(addresses: &[SocketAddr]) -> Result<Self, Cause> {
        let mut last = Cause::NoName("the name has no address".to_owned());
        for address in addresses {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Self::over(stream).map_err(|error| Cause::Broken(error.to_string())),
                Ok(Err(error)) => last = Cause::Broken(error.to_string()),
                Err(_) => last = Cause::Silence,
            }
        }
        Err(last)
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        let local = stream.local_addr()?.ip();
        stream.set_nodelay(true)?;
        notice_dead_ends(&stream)?;
        Ok(Self { stream: BufReader::new(Box::new(stream)), local })
    }

    /// The same connection, encrypted from here on.
    pub(super) async fn secure(self, tls: &TlsConnector, host: &str) -> Result<Self, Cause> {
        // What came before the handshake was said by somebody on the way (CVE-2011-0411).
        if !self.stream.buffer().is_empty() {
            return Err(Cause::Handshake("the server spoke before the encryption began".to_owned()));
        }
        let handshake = timeout(STEP_TIMEOUT, tls.connect(host, self.stream.into_inner()));
        match handshake.await {
            Ok(Ok(stream)) => Ok(Self { stream: BufReader::new(Box::new(stream)), local: self.local }),
            Ok(Err(error)) => Err(handshake_failed(&error)),
            Err(_) => Err(Cause::Silence),
        }
    }

    /// Sends one command and reads its answer.
    pub(super) async fn ask(&mut self, command: &str) -> Result<Reply, Cause> {
        let asked = async {
            self.write(format!("{command}\r\n").as_bytes()).await?;
            self.read().await
        };
        timeout(STEP_TIMEOUT, asked).await.unwrap_or(Err(Cause::Silence))?.accepted()
    }

    /// The answer to a command that was sent before.
    pub(super) async fn answer(&mut self, limit: Duration) -> Result<Reply, Cause> {
        timeout(limit, self.read()).await.unwrap_or(Err(Cause::Silence))?.accepted()
    }

    /// Sends bytes as they are. They travel in one piece: with two the second would wait for the acknowledgement of the first
    /// (Nagle's algorithm).
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        let stream = self.stream.get_mut();
        let written = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        written.await.map_err(|error| Cause::Broken(error.to_string()))
    }

    /// Whether nothing has come that was not asked for: neither a goodbye nor the end of the connection.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.stream.fill_buf().now_or_never().is_none()
    }

    /// A whole reply, of as many lines as it has; more than is kept is read and dropped.
    async fn read(&mut self) -> Result<Reply, Cause> {
        let (mut lines, mut kept, mut read) = (Vec::new(), 0, 0);
        loop {
            let line = self.line(&mut read).await?;
            let (code, is_last, text) = part(&line).ok_or(Cause::NotSmtp)?;
            if kept + text.len() <= MAX_REPLY_BYTES {
                kept += text.len();
                lines.push(text.to_owned());
            }
            if is_last {
                return Ok(Reply { code, lines });
            }
            if read > MAX_READ_BYTES {
                return Err(Cause::NotSmtp);
            }
        }
    }

    async fn line(&mut self, read: &mut usize) -> Result<String, Cause> {
        let mut line = Vec::new();
        loop {
            let buffer = self.stream.fill_buf().await.map_err(|error| Cause::Broken(error.to_string()))?;
            if buffer.is_empty() {
                return Err(Cause::Broken("the server ended the connection".to_owned()));
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            let room = MAX_LINE_BYTES.saturating_sub(line.len()).min(used);
            line.extend_from_slice(&buffer[..room]);
            self.stream.consume(used);
            *read += used;
            if end.is_some() {
                return Ok(decoded(line));
            }
            if *read > MAX_READ_BYTES {
                return Err(Cause::NotSmtp);
            }
        }
    }
}

/// Line ends are dropped. What is not UTF-8 is Latin-1, in which each byte is a letter.
fn decoded(line: Vec<u8>) -> String {
    let cut = line.len() >= MAX_LINE_BYTES;
    let text = match String::from_utf8(line) {
        Ok(text) => text,
        // A letter that was cut in two makes no other alphabet.
        Err(error) if cut && error.utf8_error().error_len().is_none() => {
            String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned()
        }
        Err(error) => error.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
    };
    text.trim_end_matches(['\r', '\n']).to_owned()
}

/// Code, whether it is the last line, and text of a line of a reply (RFC 5321, section 4.2.1).
fn part(line: &str) -> Option<(u16, bool, &str)> {
    let code = line.get(..3)?.parse().ok().filter(|code| (200..600).contains(code))?;
    match line.as_bytes().get(3) {
        None => Some((code, true, "")),
        Some(b' ' | b'\t') => Some((code, true, line[4..].trim())),
        Some(b'-') => Some((code, false, line[4..].trim())),
        Some(_) => None,
    }
}

/// Hosts die and firewalls forget without a word. The kernel asks, so that a connection that is gone is known to be.
fn notice_dead_ends(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(ACKNOWLEDGED_WITHIN))?;
    Ok(())
}

fn handshake_failed(error: &native_tls::Error) -> Cause {
    let mut causes = std::iter::successors(Some(error as &(dyn Error + 'static)), |cause| (*cause).source());
    if causes.any(|cause| cause.to_string().contains("certificate verify failed")) {
        return Cause::Certificate;
    }
    Cause::Handshake(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(said: &'static [u8]) -> Wire {
        let stream: Box<dyn Duplex> = Box::new(tokio::io::join(said, tokio::io::sink()));
        Wire { stream: BufReader::new(stream), local: IpAddr::from([127, 0, 0, 1]) }
    }

    #[tokio::test]
    async fn replies_are_read_as_servers_write_them() {
        let table: [(&[u8], u16, &str); 6] = [
            (b"250 2.0.0 Ok\r\n", 250, "2.0.0 Ok"),
            (b"250-uno\r\n250-dos\r\n250 tres\r\n", 250, "uno dos tres"),
            (b"250\r\n", 250, ""),
            (b"220 a line feed alone\n", 220, "a line feed alone"),
            (b"250 Mensaje aceptado, a\xf1o 2026\r\n", 250, "Mensaje aceptado, año 2026"),
            ("250 Aceptado, año\r\n".as_bytes(), 250, "Aceptado, año"),
        ];
        for (said, code, text) in table {
            let reply = wire(said).answer(STEP_TIMEOUT).await.expect("a reply");
            assert_eq!((reply.code, reply.text().as_str()), (code, text));
        }
    }

    #[tokio::test]
    async fn what_is_no_reply_is_not_taken_for_one() {
        for said in ["HTTP/1.1 400 Bad Request\r\n", "25\r\n", "250x\r\n", "999 no\r\n", "\r\n"] {
            assert_eq!(wire(said.as_bytes()).answer(STEP_TIMEOUT).await, Err(Cause::NotSmtp), "{said}");
        }
        let ended = wire(b"250-and then").answer(STEP_TIMEOUT).await;
        assert!(matches!(ended, Err(Cause::Broken(_))), "{ended:?}");
    }

    /// A server that says 40,000 letters has taken the mail all the same, and what it says fills no memory.
    #[tokio::test]
    async fn a_long_reply_is_one_and_only_its_beginning_is_kept() {
        let long = format!("250 {}\r\n220 next\r\n", "ñ".repeat(40_000)).leak();
        let mut long = wire(long.as_bytes());
        let reply = long.answer(STEP_TIMEOUT).await.expect("a reply");
        assert!(reply.code == 250 && reply.text().len() <= MAX_LINE_BYTES, "{}", reply.text().len());
        assert!(reply.text().chars().all(|letter| letter == 'ñ'));
        assert_eq!(long.answer(STEP_TIMEOUT).await.expect("the next one").code, 220, "nothing is left over");

        let many = format!("{}250 end\r\n", "250-line\r\n".repeat(20_000)).leak();
        assert!(wire(many.as_bytes()).answer(STEP_TIMEOUT).await.expect("a reply").text().len() < 2 * MAX_REPLY_BYTES);
        let endless = "2".repeat(2 * MAX_READ_BYTES).leak();
        assert_eq!(wire(endless.as_bytes()).answer(STEP_TIMEOUT).await, Err(Cause::NotSmtp));
    }
}
