//! The dialog of one SMTP connection, from the greeting to the end.

use std::{io, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::net::TcpStream;

use super::{
    command::{Command, Sender, needs_smtputf8},
    fault::{DialogState, SmtpFault, SmtpStage, applies},
    mail::{Envelope, Mail},
    reply::Reply,
    server::{Server, SmtpTls},
    wire::{Line, Wire},
};
use crate::stand_in::now;

/// The largest message that is accepted, in bytes; offered as `SIZE` (RFC 1870).
pub const SIZE_LIMIT: usize = 10 * 1024 * 1024;

/// The longest command line in bytes: 512 (RFC 5321 §4.5.3.1.4) and room for the parameters of the extensions.
const COMMAND_LIMIT: usize = 2048;

/// The longest line of an authentication exchange in bytes (RFC 4954 §4).
const AUTH_LIMIT: usize = 12_288;

/// How many recipients one message may have; RFC 5321 §4.5.3.1.8 asks for a hundred at least.
const RECIPIENT_LIMIT: usize = 1000;

/// Talks with one client.
pub(super) async fn serve(stream: TcpStream, server: Arc<Server>) {
    if let Err(error) = converse(stream, server).await {
        tracing::debug!(%error, "an SMTP connection to the sandbox ended early");
    }
}

/// What happens after a command.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Listen,
    StartTls,
    Close,
    /// Close without a reply.
    HangUp,
}

struct Session {
    server: Arc<Server>,
    wire: Wire,
    tls: bool,
    greeted: bool,
    /// What the client calls itself.
    hello: String,
    /// How many mails this connection has carried.
    mails: usize,
    offers_utf8: bool,
    user: Option<String>,
    transaction: Option<Transaction>,
}

struct Transaction {
    sender: Sender,
    recipients: Vec<String>,
}

async fn converse(stream: TcpStream, server: Arc<Server>) -> io::Result<()> {
    let fault = server.stand_in.take_fault(&[], |rule| applies(rule, &DialogState::at(SmtpStage::Connect)));
    if fault == Some(SmtpFault::RefuseConnection) {
        return Ok(());
    }
    let mut wire = Wire::new(stream);
    let implicit = server.certificate.as_ref().filter(|_| server.tls == SmtpTls::Implicit);
    if let Some(certificate) = implicit {
        wire = wire.start_tls(&certificate.acceptor).await?;
    }
    let greeting = fault.and_then(|fault| fault.reply());
    let greeting = greeting.unwrap_or_else(|| Reply::new(220, "sandbox.recado ESMTP"));
    wire.reply(&greeting);
    if !greeting.accepts() {
        return wire.close().await;
    }
    Session::new(server, wire).run().await
}

impl Session {
    fn new(server: Arc<Server>, wire: Wire) -> Self {
        Self {
            tls: server.tls == SmtpTls::Implicit,
            server,
            wire,
            greeted: false,
            hello: String::new(),
            mails: 0,
            offers_utf8: true,
            user: None,
            transaction: None,
        }
    }

    async fn run(mut self) -> io::Result<()> {
        loop {
            let line = self.wire.read_line(COMMAND_LIMIT).await?;
            let next = match line {
                Line::Text(line) => match Command::parse(&line) {
                    Ok(command) => self.obey(command).await?,
                    Err(refusal) => self.reply(&refusal),
                },
                Line::TooLong => self.reply(&Reply::new(500, "5.5.6 Line too long")),
                Line::Idle => self.reply(&Reply::new(421, "4.4.2 Idle for too long, closing")),
                Line::End => Next::Close,
            };
            match next {
                Next::Listen => {}
                Next::StartTls => self = self.secured().await?,
                Next::Close => return self.wire.close().await,
                Next::HangUp => return Ok(()),
            }
        }
    }

    async fn obey(&mut self, command: Command) -> io::Result<Next> {
        Ok(match command {
            Command::Ehlo(name) => self.greet(name, true),
            Command::Helo(name) => self.greet(name, false),
            Command::StartTls => self.starttls(),
            Command::Auth(mechanism, initial) => self.auth(&mechanism, initial).await?,
            Command::Mail(sender) => self.mail(sender),
            Command::Rcpt(recipient) => self.rcpt(recipient),
            Command::Data => self.data().await?,
            Command::Rset => {
                self.transaction = None;
                self.reply(&Reply::new(250, "2.0.0 Ok"))
            }
            Command::Noop => self.reply(&Reply::new(250, "2.0.0 Ok")),
            Command::Vrfy => self.reply(&Reply::new(252, "2.1.5 Send some mail and see")),
            Command::Help => self.reply(&Reply::new(214, "2.0.0 See RFC 5321")),
            Command::Quit => {
                self.wire.reply(&Reply::new(221, "2.0.0 Bye"));
                Next::Close
            }
        })
    }

    fn greet(&mut self, hello: String, extended: bool) -> Next {
        self.transaction = None;
        self.hello = hello;
        let state = DialogState { extended, ..self.dialog_state(SmtpStage::Ehlo) };
        let fault = self.server.stand_in.take_fault(&[], |rule| applies(rule, &state));
        self.offers_utf8 = fault != Some(SmtpFault::NoSmtpUtf8);
        let reply = match fault {
            Some(SmtpFault::NoSmtpUtf8) | None => Some(Reply::new(250, self.offer(extended))),
            Some(other) => other.reply(),
        };
        self.accept_or(reply, |session| session.greeted = true)
    }

    /// The extensions, one a line.
    fn offer(&self, extended: bool) -> String {
        let mut text = "sandbox.recado".to_owned();
        if extended {
            text.push_str("\nPIPELINING\n8BITMIME\nENHANCEDSTATUSCODES\nSIZE ");
            text.push_str(&SIZE_LIMIT.to_string());
            if self.offers_utf8 {
                text.push_str("\nSMTPUTF8");
            }
            if self.needs_tls() {
                text.push_str("\nSTARTTLS");
            } else if self.server.auth.is_some() {
                text.push_str("\nAUTH PLAIN LOGIN");
            }
        }
        text
    }

    fn starttls(&mut self) -> Next {
        if !self.needs_tls() {
            return self.reply(&Reply::new(502, "5.5.1 STARTTLS is not offered here"));
        }
        self.wire.reply(&Reply::new(220, "2.0.0 Ready to start TLS"));
        Next::StartTls
    }

    /// RFC 3207 §4.2: after the handshake the session starts again, and the client greets again.
    async fn secured(mut self) -> io::Result<Self> {
        self.wire.flush().await?;
        let Some(certificate) = &self.server.certificate else {
            return Ok(self);
        };
        let wire = self.wire.start_tls(&certificate.acceptor).await?;
        let mut session = Self::new(Arc::clone(&self.server), wire);
        session.tls = true;
        Ok(session)
    }

    async fn auth(&mut self, mechanism: &str, initial: Option<String>) -> io::Result<Next> {
        let Some(expected) = self.server.auth.clone() else {
            return Ok(self.reply(&Reply::new(502, "5.5.1 AUTH is not offered here")));
        };
        if self.needs_tls() {
            return Ok(self.reply(&must_start_tls()));
        }
        if !self.greeted || self.user.is_some() || self.transaction.is_some() {
            return Ok(self.reply(&Reply::new(503, "5.5.1 AUTH comes once, between EHLO and MAIL")));
        }
        let given = match mechanism {
            "PLAIN" => self.auth_plain(initial).await?,
            "LOGIN" => self.auth_login(initial).await?,
            _ => return Ok(self.reply(&Reply::new(504, "5.5.4 Only PLAIN and LOGIN are offered"))),
        };
        let right = match given {
            None => Reply::new(501, "5.5.2 That was not base64, or cancelled"),
            Some(given) if given == expected => Reply::new(235, "2.7.0 Welcome"),
            Some(_) => Reply::new(535, "5.7.8 Wrong user or password"),
        };
        let reply = self.planned(SmtpStage::Auth, &[], right);
        Ok(self.accept_or(reply, |session| session.user = Some(expected.0)))
    }

    /// RFC 4616: `authorization NUL user NUL password`.
    async fn auth_plain(&mut self, initial: Option<String>) -> io::Result<Option<(String, String)>> {
        let response = match initial {
            Some(response) => decoded(response.as_bytes()),
            None => self.ask("").await?,
        };
        Ok(response.and_then(|response| {
            let mut fields = response.splitn(3, '\0').skip(1);
            Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
        }))
    }

    async fn auth_login(&mut self, initial: Option<String>) -> io::Result<Option<(String, String)>> {
        let user = match initial {
            Some(response) => decoded(response.as_bytes()),
            None => self.ask("Username:").await?,
        };
        let Some(user) = user else {
            return Ok(None);
        };
        Ok(self.ask("Password:").await?.map(|password| (user, password)))
    }

    async fn ask(&mut self, question: &str) -> io::Result<Option<String>> {
        // Not a `Reply`, which leaves out a text of no lines.
        self.wire.challenge(&BASE64_STANDARD.encode(question));
        match self.wire.read_line(AUTH_LIMIT).await? {
            Line::Text(line) => Ok(decoded(&line)),
            Line::TooLong => Ok(None),
            Line::End | Line::Idle => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn mail(&mut self, sender: Sender) -> Next {
        let refusal = if !self.greeted {
            Reply::new(503, "5.5.1 Say EHLO first")
        } else if self.needs_tls() {
            must_start_tls()
        } else if self.server.auth.is_some() && self.user.is_none() {
            Reply::new(530, "5.7.0 Authentication required")
        } else if self.transaction.is_some() {
            Reply::new(503, "5.5.1 A message has been begun already")
        } else if sender.size.is_some_and(|size| size > SIZE_LIMIT) {
            too_large()
        } else if sender.smtputf8 && !self.offers_utf8 {
            Reply::new(555, "5.5.4 SMTPUTF8 is not offered here")
        } else {
            let reply = self.planned(SmtpStage::MailFrom, &[], Reply::new(250, "2.1.0 Ok"));
            return self.accept_or(reply, |session| {
                session.transaction = Some(Transaction { sender, recipients: Vec::new() });
            });
        };
        self.reply(&refusal)
    }

    fn rcpt(&mut self, recipient: String) -> Next {
        let Some(transaction) = &self.transaction else {
            return self.reply(&Reply::new(503, "5.5.1 MAIL comes before RCPT"));
        };
        if !recipient.is_ascii() && !transaction.sender.smtputf8 {
            return self.reply(&needs_smtputf8());
        }
        if transaction.recipients.len() >= RECIPIENT_LIMIT {
            return self.reply(&Reply::new(452, "4.5.3 Too many recipients"));
        }
        let reply = self.planned(SmtpStage::Recipient, &[&recipient], Reply::new(250, "2.1.5 Ok"));
        self.accept_or(reply, |session| {
            if let Some(transaction) = &mut session.transaction {
                transaction.recipients.push(recipient);
            }
        })
    }

    async fn data(&mut self) -> io::Result<Next> {
        let Some(transaction) = &self.transaction else {
            return Ok(self.reply(&Reply::new(503, "5.5.1 MAIL comes before DATA")));
        };
        if transaction.recipients.is_empty() {
            return Ok(self.reply(&Reply::new(554, "5.5.1 No recipient was accepted")));
        }
        let go_ahead = Reply::new(354, "End with a line that is only a dot");
        let Some(reply) = self.planned(SmtpStage::Data, &[], go_ahead) else {
            return Ok(Next::HangUp);
        };
        let next = self.reply(&reply);
        if !reply.accepts() {
            return Ok(next);
        }
        let message = self.wire.read_message(SIZE_LIMIT).await?;
        match (message, self.transaction.take()) {
            (Some(raw), Some(transaction)) => self.deliver(transaction, raw).await,
            _ => Ok(self.reply(&too_large())),
        }
    }

    async fn deliver(&mut self, transaction: Transaction, raw: Vec<u8>) -> io::Result<Next> {
        let recipients: Vec<&str> = transaction.recipients.iter().map(String::as_str).collect();
        let fault = self.fault(SmtpStage::EndOfData, &recipients);
        let accepted = Reply::new(250, "2.0.0 Ok, recorded");
        match fault {
            Some(SmtpFault::Slow { delay }) => {
                self.record(transaction, raw);
                tokio::time::sleep(delay).await;
                Ok(self.reply(&accepted))
            }
            Some(SmtpFault::DropAfterData { record }) => {
                if record {
                    self.record(transaction, raw);
                }
                Ok(Next::HangUp)
            }
            Some(SmtpFault::MailsPerConnection { hang_up: true, .. }) => Ok(Next::HangUp),
            other => {
                let reply = other.and_then(|fault| fault.reply()).unwrap_or(accepted);
                if reply.accepts() {
                    self.record(transaction, raw);
                }
                Ok(self.reply(&reply))
            }
        }
    }

    fn record(&mut self, transaction: Transaction, raw: Vec<u8>) {
        self.mails += 1;
        let envelope = Envelope {
            hello: self.hello.clone(),
            sender: transaction.sender.address,
            recipients: transaction.recipients,
            smtputf8: transaction.sender.smtputf8,
            tls: self.tls,
            user: self.user.clone(),
        };
        self.server.stand_in.record(Mail::new(now(), envelope, raw));
    }

    /// Where STARTTLS is offered it is also required, so that a client that skips it fails.
    fn needs_tls(&self) -> bool {
        self.server.tls == SmtpTls::StartTls && !self.tls
    }

    fn fault(&self, stage: SmtpStage, recipients: &[&str]) -> Option<SmtpFault> {
        let state = self.dialog_state(stage);
        self.server.stand_in.take_fault(recipients, |rule| applies(rule, &state))
    }

    fn dialog_state(&self, stage: SmtpStage) -> DialogState<'_> {
        let accepted = self.transaction.as_ref().map_or(0, |open| open.recipients.len());
        DialogState { accepted, mails: self.mails, hello: &self.hello, ..DialogState::at(stage) }
    }

    /// The right reply, or the one that a fault puts in its place; `None` to hang up.
    fn planned(&self, stage: SmtpStage, recipients: &[&str], right: Reply) -> Option<Reply> {
        match self.fault(stage, recipients) {
            None => Some(right),
            Some(fault) => fault.reply(),
        }
    }

    /// Replies, and does what the command is for if the reply accepts it.
    fn accept_or(&mut self, reply: Option<Reply>, accept: impl FnOnce(&mut Self)) -> Next {
        let Some(reply) = reply else {
            return Next::HangUp;
        };
        if reply.accepts() {
            accept(self);
        }
        self.reply(&reply)
    }

    /// RFC 5321 §3.8: after a 421 the server closes.
    fn reply(&mut self, reply: &Reply) -> Next {
        self.wire.reply(reply);
        if reply.code == 421 { Next::Close } else { Next::Listen }
    }
}

fn must_start_tls() -> Reply {
    Reply::new(530, "5.7.0 Must issue a STARTTLS command first")
}

fn too_large() -> Reply {
    Reply::new(552, format!("5.3.4 Message larger than {SIZE_LIMIT} bytes"))
}

fn decoded(response: &[u8]) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(response).ok()?;
    String::from_utf8(bytes).ok()
}
