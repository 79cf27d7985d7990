//! The mail server, by raw dialog and by a real client.

use std::{fmt::Debug, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{MultiPart, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use recado_sandbox::{Rule, SIZE_LIMIT, Smtp, SmtpFault, SmtpOptions, SmtpStage, SmtpTls};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_native_tls::TlsStream;

use crate::SOON;

const MAIL: &str = "MAIL FROM:<avisos@taller.ec>";
const RCPT: &str = "RCPT TO:<maria@cliente.ec>";
const LETTER: &str = "Subject: Hola\r\n\r\nListo\r\n.";

#[tokio::test]
async fn a_pipelined_dialog_is_answered_in_order() {
    let smtp = plain().await;
    let mut client = Dialog::open(&smtp).await;
    client
        .send(
            "EHLO me\r\nMAIL FROM:<a@b.ec> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<c@d.ec>\r\nRCPT TO:<e@f.ec>\r\nDATA\r\n",
        )
        .await;
    let ehlo = client.reply().await;
    for extension in ["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 10485760", "ENHANCEDSTATUSCODES"] {
        assert!(ehlo.lines().any(|line| line[4..] == *extension), "{extension} in {ehlo}");
    }
    for code in ["250", "250", "250", "354"] {
        assert_eq!(&client.reply().await[..3], code);
    }
    client.send("Subject: Puntos\r\n\r\n..\r\n...tres\r\nuno.\r\n.\r\nRSET\r\nNOOP\r\nQUIT\r\n").await;
    for code in ["250", "250", "250", "221"] {
        assert_eq!(&client.reply().await[..3], code);
    }
    client.expect_end().await;

    let mails = smtp.wait_for(1, SOON).await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].raw(), b"Subject: Puntos\r\n\r\n.\r\n..tres\r\nuno.\r\n");
    assert_eq!(mails[0].envelope_from(), "a@b.ec");
    assert_eq!(mails[0].envelope_to(), ["c@d.ec", "e@f.ec"]);
    assert_eq!(mails[0].subject(), Some("Puntos"));
}

#[tokio::test]
async fn a_bare_line_feed_does_not_end_a_message() {
    let smtp = plain().await;
    let mut client = Dialog::greeted(&smtp).await;
    client.expect(&[(MAIL, 250), (RCPT, 250), ("DATA", 354)]).await;
    let smuggled = "Subject: a\r\n\r\nb\n.\nMAIL FROM:<x@y.ec>\r\n.\n\r\nc\r\n.";
    assert_eq!(client.say(smuggled).await, "250 2.0.0 Ok, recorded");
    assert_eq!(smtp.messages().len(), 1);
}

#[tokio::test]
async fn commands_out_of_place_are_refused_and_the_dialog_goes_on() {
    let smtp = plain().await;
    let mut client = Dialog::open(&smtp).await;
    client
        .expect(&[
            (MAIL, 503), // Before EHLO.
            ("HELO me", 250),
            (RCPT, 503),
            ("DATA", 503),
            ("STARTTLS", 502),
            ("AUTH PLAIN", 502),
            ("VRFY maria", 252),
            ("HELP", 214),
            ("EXPN all", 502),
            ("QUE?", 500),
            (MAIL, 250),
            (MAIL, 503),
            ("DATA", 554), // No one to send it to.
            ("RCPT TO:<ñandú@cliente.ec>", 553),
            ("RSET", 250),
            (RCPT, 503),
            ("MAIL FROM:<ñ@b.ec> SMTPUTF8", 250),
            ("RCPT TO:<ñandú@cliente.ec>", 250),
            ("EHLO again", 250), // Forgets the message.
            ("DATA", 503),
        ])
        .await;
    assert_eq!(client.say(&"X".repeat(5000)).await, "500 5.5.6 Line too long");
    assert_eq!(&client.say("NOOP").await[..3], "250");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_before_or_after_it_is_sent() {
    let smtp = plain().await;
    let mut client = Dialog::greeted(&smtp).await;
    let declared = format!("{MAIL} SIZE={}", SIZE_LIMIT + 1);
    client.expect(&[(&declared, 552), (MAIL, 250), (RCPT, 250), ("DATA", 354)]).await;
    let line = format!("{}\r\n", "x".repeat(998));
    let large = format!("{}.", line.repeat(SIZE_LIMIT / line.len() + 1));
    assert_eq!(&client.say(&large).await[..3], "552");
    assert_eq!(smtp.received(), 0);
    client.send_letter().await;
    assert_eq!(smtp.received(), 1);
}

#[tokio::test]
async fn users_prove_who_they_are() {
    let smtp = start(SmtpTls::Plain, Some(("ana", "cl\u{e1}ve"))).await;
    let mut client = Dialog::open(&smtp).await;
    assert!(client.say("EHLO me").await.contains("AUTH PLAIN LOGIN"));
    client
        .expect(&[
            (MAIL, 530),
            ("AUTH CRAM-MD5", 504),
            ("AUTH PLAIN !", 501),
            ("AUTH PLAIN AGFuYQBvdHJh", 535), // "\0ana\0otra"
            ("AUTH LOGIN", 334),
            ("*", 501),
            ("AUTH LOGIN YW5h", 334),
            ("Y2zDoXZl", 235),
            ("AUTH PLAIN", 503),
            (MAIL, 250),
        ])
        .await;
    let mut other = Dialog::greeted(&smtp).await;
    other.expect(&[("AUTH PLAIN", 334), ("AGFuYQBjbMOhdmU=", 235)]).await;
    other.send_letter().await;
    assert_eq!(smtp.messages()[0].user(), Some("ana"));
}

#[tokio::test]
async fn starttls_is_required_where_it_is_offered() {
    let smtp = start(SmtpTls::StartTls, Some(("ana", "x"))).await;
    let mut client = Dialog::open(&smtp).await;
    let ehlo = client.say("EHLO me").await;
    assert!(ehlo.contains("STARTTLS") && !ehlo.contains("AUTH"), "{ehlo}");
    client.expect(&[(MAIL, 530), ("AUTH PLAIN AGFuYQB4", 530)]).await;
    // What an attacker in the middle puts behind the command is not obeyed.
    client.send("STARTTLS\r\nQUIT\r\n").await;
    assert_eq!(&client.reply().await[..3], "220");
    let mut client = client.secured(&smtp).await;
    client.expect(&[(MAIL, 503)]).await; // The greeting does not count any more.
    let ehlo = client.say("EHLO me").await;
    assert!(ehlo.contains("AUTH") && !ehlo.contains("STARTTLS"), "{ehlo}");
    client.expect(&[("AUTH PLAIN AGFuYQB4", 235), ("STARTTLS", 502)]).await;
    client.send_letter().await;
    assert!(smtp.messages()[0].tls());
}

#[tokio::test]
async fn implicit_tls_speaks_tls_from_the_first_byte() {
    let smtp = start(SmtpTls::Implicit, None).await;
    let stream = handshake(TcpStream::connect(smtp.addr()).await.expect("listening"), &smtp).await;
    let mut client = Dialog::new(stream);
    assert_eq!(&client.reply().await[..3], "220");
    assert!(!client.say("EHLO me").await.contains("STARTTLS"));
    client.send_letter().await;
    assert!(smtp.messages()[0].tls());
}

#[tokio::test]
async fn a_fault_that_is_a_reply_stands_where_it_belongs() {
    let text = "4.7.0 mañana".to_owned();
    for (fault, replies) in [
        (SmtpFault::GreetingBusy, vec!["421 4.3.2 Service not available, closing transmission channel"]),
        (
            SmtpFault::RejectMailFrom { code: 451, text: text.clone() },
            vec!["220", "250", "451 4.7.0 mañana", "503", "503"],
        ),
        (
            SmtpFault::reject_recipient(550),
            vec!["220", "250", "250", "550 5.1.1 No such user here", "554 5.5.1 No recipient was accepted"],
        ),
        (SmtpFault::reject_recipient(421), vec!["220", "250", "250", "421"]),
        (SmtpFault::TooManyRecipients { limit: 0 }, vec!["220", "250", "250", "452 4.5.3", "554"]),
        (
            SmtpFault::Reply { stage: SmtpStage::Data, code: 451, text },
            vec!["220", "250", "250", "250", "451 4.7.0 mañana"],
        ),
        (SmtpFault::reject_data(554), vec!["220", "250", "250", "250", "354", "554 5.7.1 Message refused"]),
        (SmtpFault::reject_data(421), vec!["220", "250", "250", "250", "354", "421"]),
    ] {
        let smtp = plain().await;
        smtp.misbehave(fault.clone());
        let mut client = Dialog::new(TcpStream::connect(smtp.addr()).await.expect("listening"));
        let last = replies.len() - 1;
        for (at, (line, expected)) in ["", "EHLO me", MAIL, RCPT, "DATA", LETTER].iter().zip(&replies).enumerate() {
            let reply = if at == 0 { client.reply().await } else { client.say(line).await };
            let reply = reply.lines().last().unwrap_or_default();
            assert!(reply.starts_with(expected), "{fault:?}, {line}: {reply}");
            if at == last && expected.starts_with("421") {
                client.expect_end().await;
            }
        }
        assert_eq!(smtp.received(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_accepted_and_closed() {
    let smtp = plain().await;
    smtp.misbehave_times(SmtpFault::RefuseConnection, 1);
    Dialog::new(TcpStream::connect(smtp.addr()).await.expect("listening")).expect_end().await;
    Dialog::greeted(&smtp).await.send_letter().await;
    assert_eq!((smtp.connections(), smtp.received()), (2, 1));
}

#[tokio::test]
async fn a_connection_may_end_where_the_answer_should_be() {
    for record in [false, true] {
        let smtp = plain().await;
        smtp.misbehave(SmtpFault::DropAfterData { record });
        let mut client = Dialog::greeted(&smtp).await;
        client.expect(&[(MAIL, 250), (RCPT, 250), ("DATA", 354)]).await;
        client.send(&format!("{LETTER}\r\n")).await;
        client.expect_end().await;
        assert_eq!(smtp.received(), usize::from(record));
    }
}

#[tokio::test]
async fn a_slow_server_has_the_message_before_it_says_so() {
    let smtp = plain().await;
    smtp.misbehave(SmtpFault::Slow { delay: Duration::from_secs(3600) });
    let mut client = Dialog::greeted(&smtp).await;
    client.expect(&[(MAIL, 250), (RCPT, 250), ("DATA", 354)]).await;
    client.send(&format!("{LETTER}\r\n")).await;
    assert_eq!(smtp.wait_for(1, SOON).await.len(), 1);
    timeout(Duration::from_millis(50), client.reply()).await.expect_err("no answer yet");
}

#[tokio::test]
async fn a_server_may_not_know_smtputf8() {
    let smtp = plain().await;
    smtp.misbehave(SmtpFault::NoSmtpUtf8);
    let mut client = Dialog::open(&smtp).await;
    assert!(!client.say("EHLO me").await.contains("SMTPUTF8"));
    client.expect(&[("MAIL FROM:<ñ@b.ec> SMTPUTF8", 555), (MAIL, 250), (RCPT, 250)]).await;
}

#[tokio::test]
async fn recipients_beyond_the_limit_are_refused_one_by_one() {
    let smtp = plain().await;
    smtp.misbehave(SmtpFault::TooManyRecipients { limit: 1 });
    let mut client = Dialog::greeted(&smtp).await;
    client.expect(&[(MAIL, 250), (RCPT, 250), ("RCPT TO:<jose@cliente.ec>", 452), ("DATA", 354), (LETTER, 250)]).await;
    assert_eq!(smtp.messages()[0].envelope_to(), ["maria@cliente.ec"]);
}

#[tokio::test]
async fn a_fault_may_concern_one_recipient_and_end_by_itself() {
    let smtp = plain().await;
    smtp.plan(Rule::always(SmtpFault::reject_recipient(451)).only("Maria@Cliente.ec").times(2));
    smtp.misbehave_for("luis@cliente.ec", SmtpFault::RefuseConnection);
    smtp.misbehave_for("eva@cliente.ec", SmtpFault::reject_data(554));
    let mut client = Dialog::greeted(&smtp).await;
    client
        .expect(&[
            (MAIL, 250),
            (RCPT, 451),
            ("RCPT TO:<jose@cliente.ec>", 250),
            ("RCPT TO:<MARIA@cliente.ec>", 451),
            (RCPT, 250),
            ("DATA", 354),
            (LETTER, 250),
            (MAIL, 250),
            ("RCPT TO:<eva@cliente.ec>", 250),
            ("DATA", 354),
            (LETTER, 554),
            (MAIL, 250),
        ])
        .await;
    client.send("RCPT TO:<luis@cliente.ec>\r\n").await;
    client.expect_end().await;
    smtp.behave();
    let mut client = Dialog::greeted(&smtp).await;
    client.expect(&[(MAIL, 250), ("RCPT TO:<luis@cliente.ec>", 250)]).await;
    assert_eq!(smtp.messages()[0].envelope_to(), ["jose@cliente.ec", "maria@cliente.ec"]);
}

#[tokio::test]
async fn many_clients_at_once_are_all_served() {
    let smtp = plain().await;
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let smtp = smtp.clone();
        clients.spawn(async move {
            let mut client = Dialog::greeted(&smtp).await;
            for _ in 0..20 {
                client.send_letter().await;
            }
        });
    }
    clients.join_all().await;
    assert_eq!((smtp.received(), smtp.connections()), (1000, 50));
}

#[tokio::test]
async fn the_server_ends_with_its_last_clone() {
    let smtp = plain().await;
    let mut client = Dialog::greeted(&smtp).await;
    let address = smtp.addr();
    let clone = smtp.clone();
    drop(smtp);
    assert_eq!(&client.say("NOOP").await[..3], "250");
    drop(clone);
    client.expect_end().await;
    TcpStream::connect(address).await.expect_err("no listener");
}

#[tokio::test]
async fn a_real_client_delivers_and_keeps_its_connection() {
    let smtp = start(SmtpTls::StartTls, Some(("ana", "secreto"))).await;
    let root = Certificate::from_pem(smtp.certificate_pem().as_bytes()).expect("a certificate");
    let trust = TlsParameters::builder("localhost".to_owned()).add_root_certificate(root);
    let client = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(smtp.addr().port())
        .tls(Tls::Required(trust.build().expect("TLS")))
        .credentials(Credentials::new("ana".to_owned(), "secreto".to_owned()))
        .build();
    for to in ["María <maria@cliente.ec>", "ñandú@cliente.ec"] {
        let bodies = MultiPart::alternative_plain_html(".\nEstá listo".to_owned(), "<p>Está listo 🚗</p>".to_owned());
        let message = Message::builder()
            .from("Taller Ñ <avisos@taller.ec>".parse().expect("an address"))
            .to(to.parse().expect("an address"))
            .subject("Su vehículo está listo 🚗")
            .message_id(Some("<id-1@taller.ec>".to_owned()))
            .multipart(bodies)
            .expect("a message");
        client.send(message).await.expect("accepted");
        tokio::task::yield_now().await; // The client puts its connection back in a task of its own.
    }
    let mails = smtp.wait_for(2, SOON).await;
    assert_eq!(mails[0].from(), Some("Taller Ñ <avisos@taller.ec>"));
    assert_eq!(mails[0].to(), ["María <maria@cliente.ec>"]);
    assert_eq!(mails[0].subject(), Some("Su vehículo está listo 🚗"));
    assert_eq!(mails[0].message_id(), Some("id-1@taller.ec"));
    assert_eq!(mails[0].text().map(|text| text.replace("\r\n", "\n")).as_deref(), Some(".\nEstá listo"));
    assert_eq!(mails[0].html(), Some("<p>Está listo 🚗</p>"));
    assert_eq!(mails[1].envelope_to(), ["ñandú@cliente.ec"]);
    assert!(mails[1].smtputf8() && mails[1].tls());
    assert_eq!(smtp.connections(), 1);
}

#[tokio::test]
async fn a_real_client_tells_temporary_from_permanent() {
    let smtp = plain().await;
    let message = Message::builder()
        .from("avisos@taller.ec".parse().expect("an address"))
        .to("maria@cliente.ec".parse().expect("an address"))
        .header(ContentType::TEXT_PLAIN)
        .body("Hola".to_owned())
        .expect("a message");
    for (fault, permanent) in [
        (SmtpFault::reject_recipient(550), true),
        (SmtpFault::reject_recipient(451), false),
        (SmtpFault::reject_data(554), true),
        (SmtpFault::GreetingBusy, false),
    ] {
        smtp.misbehave_times(fault.clone(), 1);
        let client =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1").port(smtp.addr().port()).build();
        let error = client.send(message.clone()).await.expect_err("refused");
        assert_eq!((error.is_permanent(), error.is_transient()), (permanent, !permanent), "{fault:?}: {error}");
        client.send(message.clone()).await.expect("accepted");
    }
}

async fn plain() -> Smtp {
    start(SmtpTls::Plain, None).await
}

async fn start(tls: SmtpTls, auth: Option<(&str, &str)>) -> Smtp {
    let options = SmtpOptions {
        tls,
        auth: auth.map(|(user, password)| (user.to_owned(), password.to_owned())),
        ..SmtpOptions::default()
    };
    Smtp::start(options).await.expect("a free port")
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Debug + Send + 'static>(stream: S, smtp: &Smtp) -> TlsStream<S> {
    let root = native_tls::Certificate::from_pem(smtp.certificate_pem().as_bytes()).expect("a certificate");
    let connector = native_tls::TlsConnector::builder().add_root_certificate(root).build();
    let connector = tokio_native_tls::TlsConnector::from(connector.expect("TLS"));
    connector.connect("127.0.0.1", stream).await.expect("the certificate is trusted")
}

/// A client that says what it is told, and hears what it is answered.
struct Dialog<S> {
    stream: BufReader<S>,
}

impl Dialog<TcpStream> {
    async fn open(smtp: &Smtp) -> Self {
        let mut dialog = Self::new(TcpStream::connect(smtp.addr()).await.expect("listening"));
        assert_eq!(&dialog.reply().await[..3], "220");
        dialog
    }

    async fn greeted(smtp: &Smtp) -> Self {
        let mut dialog = Self::open(smtp).await;
        assert_eq!(&dialog.say("EHLO me").await[..3], "250");
        dialog
    }

    async fn secured(self, smtp: &Smtp) -> Dialog<TlsStream<TcpStream>> {
        Dialog::new(handshake(self.stream.into_inner(), smtp).await)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialog<S> {
    fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.expect("sent");
        self.stream.flush().await.expect("sent");
    }

    async fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n")).await;
        self.reply().await
    }

    async fn expect(&mut self, dialog: &[(&str, u16)]) {
        for (line, code) in dialog {
            let reply = self.say(line).await;
            assert_eq!(reply[..3], code.to_string(), "{line}: {reply}");
        }
    }

    async fn send_letter(&mut self) {
        self.expect(&[(MAIL, 250), (RCPT, 250), ("DATA", 354), (LETTER, 250)]).await;
    }

    /// All lines of one reply.
    async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            let read = timeout(SOON, self.stream.read_line(&mut reply)).await;
            assert_ne!(read.expect("an answer").expect("readable"), 0, "closed after {reply:?}");
            assert!(reply.ends_with("\r\n"), "{reply:?}");
            if reply.as_bytes()[start + 3] == b' ' {
                return reply.trim_end().to_owned();
            }
        }
    }

    async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too: the server need not have read everything.
        timeout(SOON, self.stream.read_to_end(&mut rest)).await.expect("closed").ok();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}
