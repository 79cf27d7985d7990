//! Conversations with the SMTP server, and the connections that wait for the next one.
//!
//! lettre speaks the protocol; the conversation is led here. lettre's own pool takes back a connection whose
//! conversation a timeout broke off, and the next mail then reads the answers to the previous one: a refused mail would
//! count as sent. Here a connection that was not led to its end is closed, and the caller learns how far it came.

use std::fmt;
use std::fs;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Ehlo, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter, ServerInfo};
use lettre::transport::smtp::response::Response;
use recado_kernel::config::{EmailSecurity, EmailSettings};
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout};

use super::super::provider::ProviderError;
use crate::outbound::{self, NoAddress, Reach};

/// A connection that was not used for this long is closed. Servers close theirs after 5 minutes (RFC 5321, section
/// 4.5.3.2.7), routers forget them earlier.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a waiting connection may take to answer before a fresh one is made instead.
const REUSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Per address of the server; a name may have several.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long we wait for the answer to our QUIT, in the background.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The server that takes our mails.
pub(super) struct Relay {
    host: String,
    port: u16,
    encryption: Encryption,
    credentials: Option<Credentials>,
    hello: ClientId,
    /// For a whole mail, connecting included.
    timeout: Duration,
    reach: Reach,
    waiting: Arc<Mutex<Waiting>>,
}

/// A mail for one recipient, ready to travel.
pub(super) struct Envelope {
    pub(super) from: Address,
    pub(super) to: Address,
    /// Header and body with CRLF line ends.
    pub(super) content: String,
}

/// How far the conversation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// TCP, TLS, greeting, EHLO.
    Connect,
    Auth,
    Sender,
    /// RCPT and DATA: the server may still refuse before it has seen the mail.
    Recipient,
    /// The mail was on its way, or whole in the server's hands.
    Content,
}

/// Why a mail was not taken.
#[derive(Debug)]
pub(super) struct SmtpError {
    pub(super) stage: Stage,
    pub(super) cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server said no. The text may name the recipient.
    Reply { code: u16, text: String },
    /// The time was up.
    Silence,
    /// The server's certificate is not one that we trust.
    Certificate,
    /// Its address is one to which we do not connect for those who wrote it.
    Forbidden,
    /// The server cannot do what the settings or the address ask for.
    Lacks(Ability),
    /// No connection, or one that broke.
    Broken(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ability {
    StartTls,
    Auth,
    SmtpUtf8,
}

enum Encryption {
    None,
    StartTls(TlsParameters),
    Implicit(TlsParameters),
}

impl Relay {
    /// # Errors
    /// When the certificate authority cannot be read or TLS cannot be set up.
    pub(super) fn new(settings: &EmailSettings, reach: Reach) -> Result<Self, ProviderError> {
        let encryption = match settings.security {
            EmailSecurity::Plain => Encryption::None,
            EmailSecurity::StartTls => Encryption::StartTls(tls(settings)?),
            EmailSecurity::ImplicitTls => Encryption::Implicit(tls(settings)?),
        };
        let credentials = match (&settings.user, &settings.password) {
            (Some(user), Some(password)) => Some(Credentials::new(user.clone(), password.expose_secret().to_owned())),
            _ => None,
        };
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            encryption,
            credentials,
            hello: ClientId::default(),
            timeout: settings.timeout,
            reach,
            waiting: Arc::default(),
        })
    }

    /// Delivers a mail and returns the server's last words, code first.
    pub(super) async fn send(&self, envelope: &Envelope) -> Result<(u16, String), SmtpError> {
        let mut stage = Stage::Connect;
        match timeout(self.timeout, self.converse(envelope, &mut stage)).await {
            Ok(Ok(response)) => Ok((response.code().into(), words(&response))),
            Ok(Err(cause)) => Err(SmtpError { stage, cause }),
            Err(_) => Err(SmtpError { stage, cause: Cause::Silence }),
        }
    }

    /// Dropping this future at any point closes the connection.
    async fn converse(&self, envelope: &Envelope, stage: &mut Stage) -> Result<Response, Cause> {
        let mut connection = self.begin(envelope, stage).await?;
        let outcome = transmit(&mut connection, envelope, stage).await;
        match &outcome {
            Ok(_) => self.keep(connection),
            Err(Cause::Reply { .. }) => dismiss(connection),
            Err(_) => {}
        }
        outcome
    }

    /// A connection on which the server has accepted our sender.
    ///
    /// One that waited may have been closed by the server in the meantime, which must not cost an attempt. Asking with
    /// NOOP first would cost every mail a round trip and leave a gap; so MAIL itself is the question, and whatever goes
    /// wrong is tried again on a fresh connection.
    async fn begin(&self, envelope: &Envelope, stage: &mut Stage) -> Result<Connection, Cause> {
        if let Some(mut waiting) = self.reuse()
            && let Ok(Ok(())) = timeout(REUSE_TIMEOUT, introduce(&mut waiting, envelope)).await
        {
            *stage = Stage::Sender;
            return Ok(waiting);
        }
        let mut connection = self.connect(stage).await?;
        *stage = Stage::Sender;
        match introduce(&mut connection, envelope).await {
            Ok(()) => Ok(connection),
            Err(cause) => {
                dismiss(connection);
                Err(cause)
            }
        }
    }

    async fn connect(&self, stage: &mut Stage) -> Result<Connection, Cause> {
        let implicit = match &self.encryption {
            Encryption::Implicit(parameters) => Some(parameters.clone()),
            Encryption::None | Encryption::StartTls(_) => None,
        };
        let timeout = Some(CONNECT_TIMEOUT);
        let mut connection = match self.reach {
            Reach::Anywhere => {
                let server = (self.host.as_str(), self.port);
                AsyncSmtpConnection::connect_tokio1(server, timeout, &self.hello, implicit, None).await?
            }
            Reach::Guarded { allow_private } => {
                let found = outbound::addresses(&self.host, self.port, allow_private).await?;
                AsyncSmtpConnection::connect_tokio1(found.as_slice(), timeout, &self.hello, implicit, None).await?
            }
        };
        if let Encryption::StartTls(parameters) = &self.encryption {
            if !connection.can_starttls() {
                return Err(Cause::Lacks(Ability::StartTls));
            }
            connection.starttls(parameters.clone(), &self.hello).await?;
        }
        let pipelining = offers_pipelining(&mut connection, &self.hello).await?;
        if let Some(credentials) = &self.credentials {
            *stage = Stage::Auth;
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            if connection.server_info().get_auth_mechanism(&mechanisms).is_none() {
                return Err(Cause::Lacks(Ability::Auth));
            }
            connection.auth(&mechanisms, credentials).await?;
        }
        Ok(Connection { smtp: connection, pipelining })
    }

    /// The connection that waited the shortest time, so that those too many grow old.
    fn reuse(&self) -> Option<Connection> {
        let parked = lock(&self.waiting).connections.pop()?;
        if parked.since.elapsed() < IDLE_TIMEOUT {
            return Some(parked.connection);
        }
        dismiss(parked.connection);
        None
    }

    /// Keeps a connection for the next mail. There are never more than mails that were under way at once.
    fn keep(&self, connection: Connection) {
        let mut waiting = lock(&self.waiting);
        waiting.connections.push(Parked { connection, since: Instant::now() });
        if !mem::replace(&mut waiting.reaping, true) {
            tokio::spawn(reap(Arc::downgrade(&self.waiting)));
        }
    }
}

/// A conversation with the server, between two mails or in the middle of one.
struct Connection {
    smtp: AsyncSmtpConnection,
    /// Whether the server takes commands before it has answered the ones before (RFC 2920).
    pipelining: bool,
}

/// lettre does not keep this answer of the server, so it is asked a second time; once per connection.
async fn offers_pipelining(connection: &mut AsyncSmtpConnection, hello: &ClientId) -> Result<bool, Cause> {
    let offers = connection.command(Ehlo::new(hello.clone())).await?;
    Ok(offers.message().any(|line| line.eq_ignore_ascii_case("PIPELINING")))
}

/// MAIL FROM, and the server's answer to it. With pipelining RCPT and DATA travel in the same packet: a mail then costs two
/// round trips and not four. Nothing of the mail itself is sent before they are answered.
async fn introduce(connection: &mut Connection, envelope: &Envelope) -> Result<(), Cause> {
    let mail = mail_from(connection.smtp.server_info(), envelope)?;
    if connection.pipelining {
        let rcpt = Rcpt::new(envelope.to.clone(), Vec::new());
        connection.smtp.command(format!("{mail}{rcpt}{Data}")).await?;
    } else {
        connection.smtp.command(mail).await?;
    }
    Ok(())
}

/// What this mail asks of the server.
fn mail_from(server: &ServerInfo, envelope: &Envelope) -> Result<Mail, Cause> {
    let mut parameters = Vec::new();
    // lettre encodes headers and bodies to ASCII; only addresses stay as they are (RFC 6531).
    let international =
        [&envelope.from, &envelope.to].into_iter().any(|address| !AsRef::<str>::as_ref(address).is_ascii());
    if international {
        if !server.supports_feature(Extension::SmtpUtfEight) {
            return Err(Cause::Lacks(Ability::SmtpUtf8));
        }
        parameters.extend([MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)]);
    }
    Ok(Mail::new(Some(envelope.from.clone()), parameters))
}

/// The rest of the conversation, after [`introduce`].
async fn transmit(connection: &mut Connection, envelope: &Envelope, stage: &mut Stage) -> Result<Response, Cause> {
    *stage = Stage::Recipient;
    let smtp = &mut connection.smtp;
    if connection.pipelining {
        smtp.read_response().await?;
        smtp.read_response().await?;
    } else {
        smtp.command(Rcpt::new(envelope.to.clone(), Vec::new())).await?;
        smtp.command(Data).await?;
    }
    *stage = Stage::Content;
    Ok(smtp.command(Transparent(&envelope.content)).await?)
}

/// A mail as it stands after DATA: dots doubled at the start of lines, a lone dot at the end (RFC 5321, section 4.5.2).
///
/// lettre would write the mail and the final dot one after the other, and the second write then waits for the server's
/// acknowledgement of the first (Nagle's algorithm): 44 ms for each mail on loopback, where one write takes 1 ms.
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
}

struct Parked {
    connection: Connection,
    since: Instant,
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
    tokio::spawn(async move { timeout(QUIT_TIMEOUT, connection.smtp.quit()).await.map(drop) });
}

/// Nothing under this lock can panic half-way, so a poisoned one is used like any other.
fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tls(settings: &EmailSettings) -> Result<TlsParameters, ProviderError> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    if let Some(path) = &settings.ca_file {
        for certificate in certificates(path)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| ProviderError::Tls(error.into()))
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

fn words(response: &Response) -> String {
    let text = response.message().collect::<Vec<_>>().join(" ");
    format!("{} {text}", response.code())
}

impl From<NoAddress> for Cause {
    fn from(error: NoAddress) -> Self {
        match error {
            NoAddress::Unknown(error) => Self::Broken(error.to_string()),
            NoAddress::Refused(_) => Self::Forbidden,
        }
    }
}

impl From<lettre::transport::smtp::Error> for Cause {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        let sources = || std::iter::successors(std::error::Error::source(&error), |source| source.source());
        let innermost = || sources().last().map_or_else(|| error.to_string(), ToString::to_string);
        if let Some(code) = error.status() {
            return Self::Reply { code: code.into(), text: innermost() };
        }
        if sources().any(|source| source.to_string().contains("certificate verify failed")) {
            return Self::Certificate;
        }
        if error.is_response() {
            // lettre's own text quotes the answer, which may name the recipient.
            return Self::Broken("the server ended the connection or does not speak SMTP".to_owned());
        }
        Self::Broken(innermost())
    }
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
            ("250-mail.example.com\r\n250-PIPELINING\r\n250 8BITMIME\r\n", &[1, 1, 3][..]),
            ("250-mail.example.com\r\n250 8BITMIME\r\n", &[1, 1, 1, 1, 1]),
        ];
        for (greeting, groups) in table {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let relay = Relay {
                host: "127.0.0.1".to_owned(),
                port: listener.local_addr().unwrap().port(),
                encryption: Encryption::None,
                credentials: None,
                hello: ClientId::default(),
                timeout: Duration::from_secs(10),
                reach: Reach::Anywhere,
                waiting: Arc::default(),
            };
            let envelope = Envelope {
                from: "taller@example.com".parse().unwrap(),
                to: "maria@example.com".parse().unwrap(),
                content: "Subject: Hola\r\n\r\nHola\r\n".to_owned(),
            };
            let (lines, sent) = tokio::join!(serve_one_mail(listener, greeting, groups), relay.send(&envelope));
            assert_eq!(sent.unwrap(), (250, "250 Taken".to_owned()));
            assert_eq!(lines[2..], ["MAIL FROM:<taller@example.com>", "RCPT TO:<maria@example.com>", "DATA"]);
        }
    }
}
