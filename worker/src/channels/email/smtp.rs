//! Conversations with the SMTP server, and the connections that wait for the next mail.
//!
//! Led here, and not by a library's pool: a connection whose conversation was broken off must be closed, or the next mail
//! reads the answers to the previous one and a refused mail counts as sent; the caller learns how far it came; and what a
//! server says about a connection costs no attempt.

use std::fmt;
use std::fs;
use std::mem;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::Address;
use native_tls::{Certificate, Protocol};
use recado_kernel::config::{EmailSecurity, EmailSettings};
use recado_kernel::host_names::HeloName;
use recado_kernel::tls;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout};
use tokio_native_tls::TlsConnector;

use super::super::provider::ProviderError;
use super::error::{Ability, Cause, SmtpError, Stage};
use super::refusal;
use super::wire::{Reply, STEP_TIMEOUT, Wire};
use crate::outbound::{self, NoAddress, Reach};

/// A connection that was not used for this long is closed. Servers close theirs after 5 minutes (RFC 5321, section
/// 4.5.3.2.7), routers forget them earlier.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a waiting connection may take to answer before a fresh one is made instead.
const REUSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is closed on us this soon after a mail was closed because of the mail. Later it was the silence.
const CLOSED_AFTER_MAIL: Duration = Duration::from_secs(2);

/// How long it is remembered how many mails a server takes over one connection. Then it is asked again: servers change.
const LIMIT_REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// After so many mails without an answer in a row the server counts as silent. One alone may be the mail's.
const SILENT_AFTER: u32 = 3;

/// How long a mail waits for the one that asks a silent server. If it answers, it does so in this time.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long we wait for the answer to our QUIT, in the background.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The server that takes our mails.
pub(super) struct Relay {
    host: String,
    port: u16,
    security: EmailSecurity,
    tls: Option<TlsConnector>,
    login: Option<Login>,
    /// What we call ourselves; `None` for the address from which we speak.
    hello: Option<HeloName>,
    /// For a whole mail, connecting included.
    timeout: Duration,
    reach: Reach,
    waiting: Arc<Mutex<Waiting>>,
    silence: Silence,
}

/// Mails that a server was silent to, one after the other. A server that hangs would have every place of the lane soon, for its
/// whole time limit each, and the mails of all other accounts would wait. So one mail at a time asks whether it is back.
#[derive(Default)]
struct Silence {
    in_a_row: AtomicU32,
    asking: tokio::sync::Mutex<()>,
}

struct Login {
    user: String,
    password: SecretString,
}

/// A mail for one recipient, ready to travel.
pub(super) struct Envelope {
    pub(super) from: Address,
    pub(super) to: Address,
    /// Header and body with CRLF line ends.
    pub(super) content: String,
}

impl Relay {
    /// # Errors
    /// When the certificate authority cannot be read or TLS cannot be set up.
    pub(super) fn new(settings: &EmailSettings, hello: Option<HeloName>, reach: Reach) -> Result<Self, ProviderError> {
        let tls = (settings.security != EmailSecurity::Plain).then(|| tls(settings)).transpose()?;
        let login = match (&settings.user, &settings.password) {
            (Some(user), Some(password)) => Some(Login { user: user.clone(), password: password.clone() }),
            _ => None,
        };
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            security: settings.security,
            tls,
            login,
            hello: hello.or_else(full_host_name),
            timeout: settings.timeout,
            reach,
            waiting: Arc::default(),
            silence: Silence::default(),
        })
    }

    /// Delivers a mail and returns the server's last words, code first.
    pub(super) async fn send(&self, envelope: &Envelope) -> Result<(u16, String), SmtpError> {
        let mut stage = Stage::Connect;
        let _asking = self.silence.may_ask().await.map_err(|cause| SmtpError { stage, cause })?;
        let outcome = timeout(self.timeout, self.converse(envelope, &mut stage)).await;
        let outcome = outcome.unwrap_or(Err(Cause::Silence));
        self.silence.heard(&outcome);
        match outcome {
            Ok(reply) => Ok((reply.code, format!("{} {}", reply.code, reply.text()))),
            Err(cause) => Err(SmtpError { stage, cause }),
        }
    }

    /// Opens a connection as for a mail, with encryption and login, and closes it again.
    pub(super) async fn check(&self) -> Result<(), SmtpError> {
        let mut stage = Stage::Connect;
        let outcome = timeout(self.timeout, self.connect(&mut stage)).await.unwrap_or(Err(Cause::Silence));
        outcome.map(dismiss).map_err(|cause| SmtpError { stage, cause })
    }

    /// Over a connection that waited, or a fresh one. Dropping this future at any point closes the connection.
    ///
    /// What a server says about a connection that was used before must not cost an attempt: that it has idled too long, that
    /// it has carried enough mails, or no word at all. Asking with NOOP first would cost every mail a round trip and leave a
    /// gap; so the mail itself is the question, and is tried again over a fresh connection as long as it is certain that the
    /// server did not take it. What a fresh connection is told is meant.
    async fn converse(&self, envelope: &Envelope, stage: &mut Stage) -> Result<Reply, Cause> {
        let mut reached = None;
        if let Some(Parked { connection, since }) = self.reuse() {
            let (mails, idle) = (connection.mails, since.elapsed());
            match self.deliver(connection, envelope, stage).await {
                Err(cause) if is_about_the_connection(*stage, &cause) => {
                    let at_once = matches!(cause, Cause::Reply { .. }) || idle < CLOSED_AFTER_MAIL;
                    reached = at_once.then_some(mails);
                }
                outcome => return outcome,
            }
        }
        *stage = Stage::Connect;
        let connection = self.connect(stage).await?;
        let outcome = self.deliver(connection, envelope, stage).await;
        if let (Ok(_), Some(mails)) = (&outcome, reached) {
            lock(&self.waiting).limit = Some(Limit { mails, learned: Instant::now() });
        }
        outcome
    }

    /// Sends the mail over this connection, which is kept when it was led to its end.
    async fn deliver(
        &self,
        mut connection: Connection,
        envelope: &Envelope,
        stage: &mut Stage,
    ) -> Result<Reply, Cause> {
        let outcome = connection.transmit(envelope, stage).await;
        match &outcome {
            Ok(_) => self.keep(connection),
            Err(Cause::Reply { .. } | Cause::Lacks(_)) => dismiss(connection),
            Err(_) => {}
        }
        outcome
    }

    async fn connect(&self, stage: &mut Stage) -> Result<Connection, Cause> {
        *stage = Stage::Connect;
        let mut wire = Wire::connect(&self.addresses().await?).await?;
        if let (EmailSecurity::ImplicitTls, Some(tls)) = (self.security, &self.tls) {
            wire = wire.secure(tls, &self.host).await?;
        }
        *stage = Stage::Greeting;
        wire.answer(STEP_TIMEOUT).await?;
        *stage = Stage::Hello;
        let hello = self.hello.clone().unwrap_or_else(|| wire.local.into());
        let mut offers = greet(&mut wire, &hello).await?;
        if let (EmailSecurity::StartTls, Some(tls)) = (self.security, &self.tls) {
            *stage = Stage::StartTls;
            if !offers.starttls {
                return Err(Cause::Lacks(Ability::StartTls));
            }
            wire.ask("STARTTLS").await?;
            wire = wire.secure(tls, &self.host).await?;
            *stage = Stage::Hello;
            // What was offered before may have been somebody else's words (RFC 3207, section 4.2).
            offers = greet(&mut wire, &hello).await?;
        }
        if let Some(login) = &self.login {
            *stage = Stage::Auth;
            login.show(&mut wire, &offers).await?;
        }
        Ok(Connection { wire, offers, mails: 0 })
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Cause> {
        match self.reach {
            Reach::Anywhere => {
                let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
                Ok(found.map_err(|error| Cause::NoName(error.to_string()))?.collect())
            }
            Reach::Guarded { allow_private } => {
                outbound::addresses(&self.host, self.port, &allow_private.into()).await.map_err(|error| match error {
                    NoAddress::Unknown(error) => Cause::NoName(error.to_string()),
                    NoAddress::Refused(_) => Cause::Forbidden,
                })
            }
        }
    }

    /// The connection that waited the shortest time, so that those too many grow old. One that the server has ended, or over
    /// which it has said goodbye, is none.
    fn reuse(&self) -> Option<Parked> {
        loop {
            let mut parked = lock(&self.waiting).connections.pop()?;
            if parked.since.elapsed() < IDLE_TIMEOUT && parked.connection.wire.is_quiet() {
                return Some(parked);
            }
            dismiss(parked.connection);
        }
    }

    /// Keeps a connection for the next mail, unless it has carried all that the server takes over one. There are never more
    /// than mails that were under way at once.
    fn keep(&self, connection: Connection) {
        let mut waiting = lock(&self.waiting);
        if waiting.limit.as_ref().is_some_and(|limit| limit.is_reached(&connection)) {
            drop(waiting);
            return dismiss(connection);
        }
        waiting.connections.push(Parked { connection, since: Instant::now() });
        if !mem::replace(&mut waiting.reaping, true) {
            tokio::spawn(reap(Arc::downgrade(&self.waiting)));
        }
    }
}

impl Silence {
    /// The right to ask the server, which only one has at a time when it is silent.
    async fn may_ask(&self) -> Result<Option<tokio::sync::MutexGuard<'_, ()>>, Cause> {
        if self.in_a_row.load(Ordering::Relaxed) < SILENT_AFTER {
            return Ok(None);
        }
        timeout(PROBE_TIMEOUT, self.asking.lock()).await.map(Some).map_err(|_| Cause::StillSilent)
    }

    /// Any word of the server ends its silence.
    fn heard(&self, outcome: &Result<Reply, Cause>) {
        match outcome {
            Err(Cause::Silence) => self.in_a_row.fetch_add(1, Ordering::Relaxed),
            Ok(_) | Err(_) => self.in_a_row.swap(0, Ordering::Relaxed),
        };
    }
}

/// Whether this may be said of a connection that was used before and not of the mail, and the mail was certainly not taken.
fn is_about_the_connection(stage: Stage, cause: &Cause) -> bool {
    match (stage, cause) {
        // It may have been delivered: never twice.
        (Stage::Content, Cause::Silence | Cause::Broken(_) | Cause::NotSmtp) => false,
        (Stage::Content, Cause::Reply { code, text }) => *code == 421 || refusal::is_about_the_connection(text),
        // At MAIL nothing was asked for yet, so that asking again costs a round trip and tells the server nothing new.
        (_, Cause::Silence | Cause::Broken(_) | Cause::NotSmtp) | (Stage::Sender, Cause::Reply { .. }) => true,
        // 503: the server has forgotten where we were.
        (_, Cause::Reply { code, text }) => {
            (400..500).contains(code) || *code == 503 || refusal::is_about_the_connection(text)
        }
        _ => false,
    }
}

/// A conversation with the server, between two mails or in the middle of one.
struct Connection {
    wire: Wire,
    offers: Offers,
    /// How many it has carried.
    mails: u32,
}

/// What the server says it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offers {
    /// It takes commands before it has answered the ones before (RFC 2920).
    pipelining: bool,
    starttls: bool,
    smtp_utf8: bool,
    auth_plain: bool,
    auth_login: bool,
}

impl Offers {
    fn of(reply: &Reply) -> Self {
        let mut offers = Self::default();
        // The first line is the server's name.
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            // Servers before RFC 2554 write `AUTH=`.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("PIPELINING") => offers.pipelining = true,
                Some("STARTTLS") => offers.starttls = true,
                Some("SMTPUTF8") => offers.smtp_utf8 = true,
                Some("AUTH") => words.for_each(|mechanism| {
                    offers.auth_plain |= mechanism == "PLAIN";
                    offers.auth_login |= mechanism == "LOGIN";
                }),
                _ => {}
            }
        }
        offers
    }
}

/// EHLO, and HELO where the server does not know that word (RFC 5321, section 3.2).
async fn greet(wire: &mut Wire, hello: &HeloName) -> Result<Offers, Cause> {
    match wire.ask(&format!("EHLO {hello}")).await {
        Ok(reply) => Ok(Offers::of(&reply)),
        Err(Cause::Reply { code: 500 | 502, .. }) => {
            wire.ask(&format!("HELO {hello}")).await?;
            Ok(Offers::default())
        }
        Err(cause) => Err(cause),
    }
}

impl Login {
    /// Shows who we are (RFC 4954; RFC 4616 for PLAIN; LOGIN is what older servers have instead).
    async fn show(&self, wire: &mut Wire, offers: &Offers) -> Result<(), Cause> {
        let password = self.password.expose_secret();
        if offers.auth_plain {
            let proof = BASE64.encode(format!("\0{}\0{password}", self.user));
            return wire.ask(&format!("AUTH PLAIN {proof}")).await.map(drop);
        }
        if !offers.auth_login {
            return Err(Cause::Lacks(Ability::Auth));
        }
        wire.ask("AUTH LOGIN").await?;
        wire.ask(&BASE64.encode(&self.user)).await?;
        wire.ask(&BASE64.encode(password)).await.map(drop)
    }
}

impl Connection {
    /// MAIL, RCPT, DATA and the mail. With pipelining the three commands travel in the same packet: a mail then costs two
    /// round trips and not four. Nothing of the mail itself is sent before they are answered.
    async fn transmit(&mut self, envelope: &Envelope, stage: &mut Stage) -> Result<Reply, Cause> {
        *stage = Stage::Sender;
        let first = if self.mails == 0 { STEP_TIMEOUT } else { REUSE_TIMEOUT };
        let mail = self.mail_from(envelope)?;
        let rcpt = format!("RCPT TO:<{}>\r\n", envelope.to);
        const DATA: &str = "DATA\r\n";
        let together = if self.offers.pipelining { format!("{mail}{rcpt}{DATA}") } else { mail };
        self.wire.write(together.as_bytes()).await?;
        self.wire.answer(first).await?;
        for (next, command) in [(Stage::Recipient, rcpt.as_str()), (Stage::Data, DATA)] {
            *stage = next;
            if !self.offers.pipelining {
                self.wire.write(command.as_bytes()).await?;
            }
            self.wire.answer(STEP_TIMEOUT).await?;
        }
        *stage = Stage::Content;
        self.wire.write(Transparent(&envelope.content).to_string().as_bytes()).await?;
        // Filters read the whole mail before they answer; the time of the mail is the limit.
        let reply = self.wire.answer(Duration::MAX).await?;
        self.mails += 1;
        Ok(reply)
    }

    /// What this mail asks of the server.
    fn mail_from(&self, envelope: &Envelope) -> Result<String, Cause> {
        // Headers and bodies are encoded to ASCII; only addresses stay as they are (RFC 6531).
        let international =
            [&envelope.from, &envelope.to].into_iter().any(|address| !AsRef::<str>::as_ref(address).is_ascii());
        if international && !self.offers.smtp_utf8 {
            return Err(Cause::Lacks(Ability::SmtpUtf8));
        }
        let parameters = if international { " SMTPUTF8 BODY=8BITMIME" } else { "" };
        Ok(format!("MAIL FROM:<{}>{parameters}\r\n", envelope.from))
    }
}

/// A mail as it stands after DATA: dots doubled at the start of lines, a lone dot at the end (RFC 5321, section 4.5.2).
struct Transparent<'a>(&'a str);

impl fmt::Display for Transparent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.starts_with('.') {
            f.write_str(".")?;
        }
        f.write_str(&self.0.replace("\r\n.", "\r\n.."))?;
        f.write_str(if self.0.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" })
    }
}

#[derive(Default)]
struct Waiting {
    connections: Vec<Parked>,
    /// Whether a task already closes the old ones.
    reaping: bool,
    limit: Option<Limit>,
}

struct Parked {
    connection: Connection,
    since: Instant,
}

/// How many mails the server takes over one connection, as it showed.
struct Limit {
    mails: u32,
    learned: Instant,
}

impl Limit {
    fn is_reached(&self, connection: &Connection) -> bool {
        connection.mails >= self.mails && self.learned.elapsed() < LIMIT_REMEMBERED
    }
}

/// Closes what waited too long, until nothing waits.
async fn reap(waiting: Weak<Mutex<Waiting>>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT).await;
        let Some(waiting) = waiting.upgrade() else { return };
        let mut guard = lock(&waiting);
        let (old, young) =
            mem::take(&mut guard.connections).into_iter().partition(|parked| parked.since.elapsed() >= IDLE_TIMEOUT);
        guard.connections = young;
        guard.reaping = !guard.connections.is_empty();
        let finished = !guard.reaping;
        drop(guard);
        let old: Vec<Parked> = old;
        old.into_iter().for_each(|parked| dismiss(parked.connection));
        if finished {
            return;
        }
    }
}

/// Says goodbye in the background: RFC 5321 asks for a QUIT, but no mail needs to wait for its answer.
fn dismiss(mut connection: Connection) {
    tokio::spawn(async move { timeout(QUIT_TIMEOUT, connection.wire.ask("QUIT")).await.map(drop) });
}

/// Nothing under this lock can panic half-way, so a poisoned one is used like any other.
fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of this host, where it is one under which others could know it. In a container it is a number, and servers refuse
/// short names.
fn full_host_name() -> Option<HeloName> {
    const ONLY_HERE: [&str; 6] = [".localdomain", ".local", ".internal", ".lan", ".home", ".home.arpa"];
    let name = hostname::get().ok()?.into_string().ok()?.to_ascii_lowercase();
    name.parse().ok().filter(|_| !ONLY_HERE.iter().any(|suffix| name.ends_with(suffix)))
}

fn tls(settings: &EmailSettings) -> Result<TlsConnector, ProviderError> {
    let connector = match &settings.ca_file {
        None => tls::connector(),
        Some(path) => {
            let mut builder = native_tls::TlsConnector::builder();
            builder.min_protocol_version(Some(Protocol::Tlsv12));
            for certificate in certificates(path)? {
                builder.add_root_certificate(certificate);
            }
            builder.build()
        }
    };
    connector.map(TlsConnector::from).map_err(|error| ProviderError::Tls(error.into()))
}

/// Every certificate of a PEM file; lettre itself would read only the first.
fn certificates(path: &Path) -> Result<Vec<Certificate>, ProviderError> {
    let pem = fs::read_to_string(path).map_err(|source| ProviderError::CaFile { path: path.to_owned(), source })?;
    let unusable = |problem: &str| ProviderError::Setting {
        variable: "EMAIL_SSL_CAFILE",
        problem: format!("({}) {problem}; name a PEM file with -----BEGIN CERTIFICATE-----", path.display()),
    };
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let blocks: Vec<_> = pem.split(BEGIN).skip(1).map(|block| format!("{BEGIN}{block}")).collect();
    if blocks.is_empty() {
        return Err(unusable("holds no certificate"));
    }
    blocks
        .iter()
        .map(|block| Certificate::from_pem(block.as_bytes()).map_err(|_| unusable("holds a broken certificate")))
        .collect()
}

#[cfg(test)]
mod tests {
    use recado_sandbox::{Smtp, SmtpOptions, SmtpTls};

    use super::*;

    #[tokio::test]
    async fn every_certificate_of_a_bundle_is_read() {
        let options = || SmtpOptions { tls: SmtpTls::Implicit, ..SmtpOptions::default() };
        let (one, other) = (Smtp::start(options()).await.unwrap(), Smtp::start(options()).await.unwrap());
        let path = std::env::temp_dir().join(format!("recado-bundle-{}.pem", std::process::id()));
        let read = |content: String| {
            fs::write(&path, content).unwrap();
            certificates(&path).map(|certificates| certificates.len())
        };
        assert_eq!(read(format!("# Our own\n{}\n{}", one.certificate_pem(), other.certificate_pem())).unwrap(), 2);
        for wrong in ["", "taller", "-----BEGIN CERTIFICATE-----\nñ\n-----END CERTIFICATE-----\n"] {
            let error = read(wrong.to_owned()).unwrap_err().to_string();
            assert!(error.contains("EMAIL_SSL_CAFILE") && error.contains("name a PEM file"), "{error}");
        }
        fs::remove_file(&path).unwrap();
    }

    fn relay(port: u16) -> Relay {
        Relay {
            host: "127.0.0.1".to_owned(),
            port,
            security: EmailSecurity::Plain,
            tls: None,
            login: None,
            hello: None,
            timeout: Duration::from_secs(10),
            reach: Reach::Anywhere,
            waiting: Arc::default(),
            silence: Silence::default(),
        }
    }

    fn envelope() -> Envelope {
        Envelope {
            from: "taller@example.com".parse().unwrap(),
            to: "maria@example.com".parse().unwrap(),
            content: "Subject: Hola\r\n\r\nHola\r\n".to_owned(),
        }
    }

    #[test]
    fn dots_at_the_start_of_lines_are_doubled_and_one_ends_the_mail() {
        let table = [
            ("a\r\nb", "a\r\nb\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            (".a\r\n.\r\n..b\r\nc.d", "..a\r\n..\r\n...b\r\nc.d\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ];
        for (content, wire) in table {
            assert_eq!(Transparent(content).to_string(), wire);
        }
    }

    /// Plays a server for one mail. It answers the commands of a group only when all of them have come, as it must not wait
    /// where the client may not pipeline.
    async fn serve_one_mail(
        listener: tokio::net::TcpListener,
        greeting: &'static str,
        groups: &[usize],
    ) -> Vec<String> {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mail.example.com\r\n").await.unwrap();
        let mut lines = Vec::new();
        for group in groups {
            let mut answers = String::new();
            for _ in 0..*group {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                answers += match line.split(' ').next().unwrap().trim_end() {
                    "EHLO" => greeting,
                    "DATA" => "354 Go on\r\n",
                    _ => "250 Fine\r\n",
                };
                lines.push(line.trim_end().to_owned());
            }
            assert!(stream.buffer().is_empty(), "more came than one group: {lines:?}");
            stream.write_all(answers.as_bytes()).await.unwrap();
        }
        let mut line = String::new();
        while line != ".\r\n" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
        }
        stream.write_all(b"250 Taken\r\n").await.unwrap();
        lines
    }

    #[tokio::test]
    async fn commands_travel_together_only_where_the_server_takes_that() {
        let table = [
            ("250-mail.example.com\r\n250-PIPELINING\r\n250 8BITMIME\r\n", &[1, 3][..]),
            ("250-mail.example.com\r\n250 8BITMIME\r\n", &[1, 1, 1, 1]),
        ];
        for (greeting, groups) in table {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let relay = relay(listener.local_addr().unwrap().port());
            let envelope = envelope();
            let (lines, sent) = tokio::join!(serve_one_mail(listener, greeting, groups), relay.send(&envelope));
            assert_eq!(sent.unwrap(), (250, "250 Taken".to_owned()));
            assert_eq!(lines[1..], ["MAIL FROM:<taller@example.com>", "RCPT TO:<maria@example.com>", "DATA"]);
        }
    }
}
