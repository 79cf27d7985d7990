//! Email over SMTP, or into files where `EMAIL_BACKEND=file`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use lettre::address::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::config::{EmailBackend, EmailSettings};
use recado_kernel::db::private_folder;
use recado_notifications::fallback::FailureClass;

use super::smtp::{Ability, Cause, Envelope, Relay, Stage, Trouble};
use super::{Fault, Message, Provider, ProviderError, Reach, Receipt, Recipient, SendFailure, excerpt, wrong_adapter};

/// The code of every failed email (S002-71).
pub(super) const FAILED: &str = "EMAIL_SEND_FAILED";

pub(super) struct Email {
    outbox: Outbox,
    sender: Mailbox,
    clock: Clock,
}

enum Outbox {
    Relay(Relay),
    Folder(PathBuf),
}

impl Email {
    /// # Errors
    /// When the sender is no mailbox, or TLS cannot be set up with these settings.
    pub(super) fn new(settings: &EmailSettings, reach: Reach, clock: &Clock) -> Result<Self, ProviderError> {
        let sender = mailbox(&settings.from).ok_or_else(|| ProviderError::Setting {
            variable: "DEFAULT_FROM_EMAIL",
            problem: format!(
                "is `{}`; write an address, or a name and an address: Taller <taller@example.com>",
                settings.from
            ),
        })?;
        let outbox = match &settings.backend {
            EmailBackend::Smtp => Outbox::Relay(Relay::new(settings, reach)?),
            EmailBackend::File(folder) => Outbox::Folder(folder.clone()),
        };
        Ok(Self { outbox, sender, clock: clock.clone() })
    }
}

#[async_trait]
impl Provider for Email {
    async fn send(&self, message: &Message) -> Result<Receipt, SendFailure> {
        let Recipient::Email(address) = &message.recipient else {
            return Err(wrong_adapter(message, FAILED));
        };
        let to = recipient(address).ok_or_else(|| permanent("the recipient's address is not an email address"))?;
        // A workshop's sender was checked when it was written; if it is none after all, a mail from ours is better than none.
        let sender = message.sender.as_deref().and_then(mailbox).unwrap_or_else(|| self.sender.clone());
        let message_id = message_id(&sender, message);
        let content = compose(&sender, &to, message, self.clock.now())
            .ok_or_else(|| permanent("the mail cannot be written with these headers"))?;
        let parcel = Envelope { from: sender.email.clone(), to, content };
        let (status, answer) = match &self.outbox {
            Outbox::Relay(relay) => {
                let (code, words) = relay.send(&parcel).await.map_err(|trouble| failure(&trouble))?;
                (Some(code), excerpt(&words, None))
            }
            Outbox::Folder(folder) => {
                (None, store(folder, message, &parcel.content).await.map_err(|error| unwritable(&error))?)
            }
        };
        Ok(Receipt { provider_message_id: Some(message_id), status, answer, gone: Vec::new() })
    }
}

/// The name by which bounces and replies refer to this mail. It is the same in every attempt, so that a mailbox that
/// receives two recognises the second.
fn message_id(sender: &Mailbox, message: &Message) -> String {
    format!("<{}@{}>", message.notification_id, sender.email.domain())
}

/// The mail as it travels: text and HTML side by side, CRLF line ends. `None` when lettre refuses the headers.
fn compose(sender: &Mailbox, to: &Address, message: &Message, now: Timestamp) -> Option<String> {
    let subject = without_controls(&message.subject);
    let (text, html) = bodies(&subject, message);
    let header = |name, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
    let mut mail = lettre::Message::builder()
        .from(sender.clone())
        .to(Mailbox::new(None, to.clone()))
        .date(SystemTime::from(now.to_utc()).max(SystemTime::UNIX_EPOCH))
        .message_id(Some(message_id(sender, message)))
        .subject(subject)
        .raw_header(header("X-Correlation-ID", message.correlation_id.to_string()))
        // RFC 3834: holiday notices and other robots do not answer a robot.
        .raw_header(header("Auto-Submitted", "auto-generated".to_owned()));
    if let Some(url) = &message.unsubscribe_url {
        mail = mail.raw_header(header("List-Unsubscribe", format!("<{url}>")));
        // RFC 8058, section 3.1: one click is only offered over HTTPS.
        if url.starts_with("https://") {
            mail = mail.raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()));
        }
    }
    let mail = mail.multipart(MultiPart::alternative_plain_html(text, html)).ok()?;
    String::from_utf8(mail.formatted()).ok()
}

/// The same words twice: for programs that show text, and for those that show HTML.
fn bodies(subject: &str, message: &Message) -> (String, String) {
    let body = message.body.as_str();
    if !message.is_html {
        return (body.to_owned(), page(subject, &paragraphs(body)));
    }
    let html = if is_document(body) { body.to_owned() } else { page(subject, body) };
    (text_of(body), html)
}

/// Columns of the text part, so that `> ` of a reply still fits into 80 (RFC 3676, section 4.2).
const TEXT_WIDTH: usize = 76;

pub(super) fn text_of(html: &str) -> String {
    let rendered =
        html2text::config::plain_no_decorate().link_footnotes(true).string_from_read(html.as_bytes(), TEXT_WIDTH);
    // It only fails when a table does not fit; unwrapped it is still readable.
    rendered.unwrap_or_else(|_| html.to_owned()).trim_end().to_owned()
}

/// A whole HTML document, which brings its own head.
fn is_document(body: &str) -> bool {
    let start: String = body.trim_start().chars().take(9).collect::<String>().to_ascii_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html")
}

/// Plain text as HTML: an empty line ends a paragraph, a line end stays one.
fn paragraphs(text: &str) -> String {
    let text = escape(&text.replace("\r\n", "\n"));
    let paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.trim_matches('\n')).filter(|paragraph| !paragraph.is_empty());
    paragraphs.map(|paragraph| format!("<p>{}</p>\n", paragraph.replace('\n', "<br>\n"))).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The frame around a body: readable width, real contrast, no images. Styles stand inline because mail programs drop
/// the rest, and the layout is a table because Outlook knows nothing else.
fn page(subject: &str, content: &str) -> String {
    format!(
        r##"<!doctype html>
<html lang="es">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body style="margin:0;padding:0;background-color:#f4f5f7">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0">
<tr><td align="center" style="padding:24px 12px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:600px;background-color:#ffffff;border-radius:8px">
<tr><td style="padding:16px 28px;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:16px;line-height:1.6;color:#1f2933;text-align:left">
{content}
</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
"##,
        title = escape(subject),
    )
}

/// `Name <address>` or an address alone. The name needs no quotes, as people write it: `Taller S.A. <taller@example.com>`.
fn mailbox(text: &str) -> Option<Mailbox> {
    let Some((name, address)) = text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) else {
        return Some(Mailbox::new(None, recipient(text)?));
    };
    let name = without_controls(name.trim().trim_matches('"'));
    Some(Mailbox::new(Some(name).filter(|name| !name.is_empty()), recipient(address)?))
}

/// An address in which nothing hides that an SMTP command or a header could end with.
fn recipient(address: &str) -> Option<Address> {
    let address = address.trim();
    let suspicious = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>');
    if address.contains(suspicious) { None } else { address.parse().ok() }
}

/// A line break in a subject would begin a header of its own.
fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// Writes the mail as a file that mail programs open. An attempt that is repeated writes the same file.
async fn store(folder: &Path, message: &Message, content: &str) -> io::Result<String> {
    private_folder(folder)?;
    let path = folder.join(format!("{}.eml", message.notification_id));
    let unfinished = path.with_extension("part");
    tokio::fs::write(&unfinished, content).await?;
    tokio::fs::rename(&unfinished, &path).await?;
    Ok(format!("written to {}", path.display()))
}

fn unwritable(error: &io::Error) -> SendFailure {
    let reason = format!("the mail cannot be written to RECADO_HOME/mail: {error}");
    SendFailure::new(FailureClass::Misconfigured, FAILED, reason)
}

fn permanent(reason: &str) -> SendFailure {
    SendFailure::new(FailureClass::Permanent, FAILED, reason)
}

fn failure(trouble: &Trouble) -> SendFailure {
    let (class, reason) = verdict(trouble.stage, &trouble.cause);
    let failure = match &trouble.cause {
        Cause::Reply { code, text } => SendFailure {
            status: Some(*code),
            answer: Some(excerpt(&format!("{code} {text}"), None)),
            bounced: trouble.stage == Stage::Recipient && is_bounce(*code, text),
            ..SendFailure::new(class, FAILED, format!("{reason} (SMTP {code})"))
        },
        Cause::Broken(why) => SendFailure::new(class, FAILED, format!("{reason}: {why}")),
        Cause::Silence | Cause::Certificate | Cause::Forbidden | Cause::Lacks(_) => {
            SendFailure::new(class, FAILED, reason)
        }
    };
    SendFailure { fault: fault(trouble.stage, &trouble.cause), ..failure }
}

/// Whether another server might take this very mail now. Greylisting and full mailboxes are about the recipient, and going
/// round them by another door is what spammers do.
fn fault(stage: Stage, cause: &Cause) -> Fault {
    let is_messages = match (cause, stage) {
        // With 421 the server says goodbye, whatever it was asked (RFC 5321, section 3.8).
        (Cause::Reply { code, .. }, Stage::Recipient) => *code != 421,
        // The mail was seen and refused for what is in it; 4xx is want of space or strength.
        (Cause::Reply { code, .. }, Stage::Content) => *code >= 500,
        // It may have been delivered.
        (Cause::Silence | Cause::Broken(_), Stage::Content) | (Cause::Lacks(Ability::SmtpUtf8), _) => true,
        _ => false,
    };
    if is_messages { Fault::Message } else { Fault::Account }
}

/// Whether a refusal at RCPT speaks of the mailbox, so that it will be the same next year. The enhanced code knows best
/// (RFC 3463, section 3: 5.1.x no such address, 5.2.1 switched off); a full mailbox (5.2.2), a policy or a list of
/// spammers (5.7.x) say nothing about the address. Without one, 550, 551 and 553 name the mailbox (RFC 5321, section 4.2.3).
fn is_bounce(code: u16, text: &str) -> bool {
    match enhanced(text) {
        Some((5, 1, 0..=6 | 10) | (5, 2, 1)) => code >= 500,
        Some(_) => false,
        None => matches!(code, 550 | 551 | 553),
    }
}

/// The enhanced status code at the beginning of a reply (RFC 2034, section 4), e.g. `5.1.1`.
fn enhanced(text: &str) -> Option<(u16, u16, u16)> {
    let mut parts = text.split_whitespace().next()?.split('.').map(str::parse);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(class)), Some(Ok(subject)), Some(Ok(detail)), None) => Some((class, subject, detail)),
        _ => None,
    }
}

/// What a broken-off conversation means, and the remedy.
///
/// A mail that the server had in whole when it fell silent may have been delivered. It counts as transient all the same:
/// no SMTP server can be asked afterwards, and a second copy bears the same Message-ID.
fn verdict(stage: Stage, cause: &Cause) -> (FailureClass, &'static str) {
    use FailureClass::{Misconfigured, Permanent, Transient};
    match (cause, stage) {
        (Cause::Reply { code, .. }, _) => refusal(stage, *code),
        (Cause::Silence | Cause::Broken(_), Stage::Content) => {
            (Transient, "the SMTP server had the mail and did not answer; it may have been delivered")
        }
        (Cause::Silence, _) => (Transient, "the SMTP server did not answer in time"),
        (Cause::Broken(_), _) => (Transient, "no conversation with the SMTP server"),
        // No mail leaves while this lasts, and nobody repairs a certificate within our delays; so the next channel at once.
        (Cause::Certificate, _) => {
            (Misconfigured, "the SMTP server's certificate is not trusted; check EMAIL_HOST, or set EMAIL_SSL_CAFILE")
        }
        (Cause::Forbidden, _) => (
            Misconfigured,
            "EMAIL_HOST leads to an address that is not connected to; use a public one, or set OUTBOUND_ALLOW_PRIVATE_NETWORKS=true",
        ),
        (Cause::Lacks(Ability::StartTls), _) => {
            (Misconfigured, "the SMTP server offers no STARTTLS; check EMAIL_PORT, EMAIL_USE_TLS and EMAIL_USE_SSL")
        }
        (Cause::Lacks(Ability::Auth), _) => {
            (Misconfigured, "the SMTP server offers no login by PLAIN or LOGIN; unset EMAIL_HOST_USER or use TLS")
        }
        (Cause::Lacks(Ability::SmtpUtf8), _) => {
            (Permanent, "the address has letters beyond ASCII, which the SMTP server does not support (SMTPUTF8)")
        }
    }
}

/// What a reply with this code means at this stage (RFC 5321, section 4.2.1; RFC 4954, section 6 for the login).
fn refusal(stage: Stage, code: u16) -> (FailureClass, &'static str) {
    use FailureClass::{Misconfigured, Permanent, Transient};
    const LOGIN: &str = "the SMTP server refuses our login; check EMAIL_HOST_USER and EMAIL_HOST_PASSWORD";
    match (code, stage) {
        (530 | 534 | 535 | 538, _) | (500.., Stage::Auth) => (Misconfigured, LOGIN),
        (500.., Stage::Connect) => {
            (Misconfigured, "the SMTP server does not serve us; check EMAIL_HOST and EMAIL_PORT")
        }
        (500.., Stage::Sender) => (Misconfigured, "the SMTP server refuses the sender; check DEFAULT_FROM_EMAIL"),
        (500.., Stage::Recipient) => (Permanent, "the SMTP server refuses the recipient"),
        (500.., Stage::Content) => (Permanent, "the SMTP server refuses the mail"),
        _ => (Transient, "the SMTP server asks us to try later"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use recado_kernel::config::EmailSecurity;
    use recado_kernel::ids::Id;
    use recado_sandbox::{Mail, Smtp, SmtpFault, SmtpOptions, SmtpStage, SmtpTls};

    use super::*;

    const TEST_TIMEOUT: Duration = Duration::from_secs(10);

    fn message(to: &str, body: &str) -> Message {
        Message {
            notification_id: Id::of_name(&format!("{to} {body}")),
            correlation_id: Id::of_name("correlation"),
            recipient: Recipient::Email(to.to_owned()),
            subject: "Su vehículo está listo 🚗".to_owned(),
            body: body.to_owned(),
            is_html: body.starts_with('<'),
            click_url: None,
            unsubscribe_url: None,
            sender: None,
        }
    }

    fn settings(smtp: &Smtp) -> EmailSettings {
        EmailSettings {
            backend: EmailBackend::Smtp,
            host: "127.0.0.1".to_owned(),
            port: smtp.addr().port(),
            security: EmailSecurity::Plain,
            user: None,
            password: None,
            from: "Taller Ñandú S.A. <avisos@taller.example.com>".to_owned(),
            timeout: TEST_TIMEOUT,
            ca_file: None,
        }
    }

    fn email(settings: &EmailSettings) -> Email {
        Email::new(settings, Reach::Anywhere, &Clock::system()).expect("usable settings")
    }

    /// The server's certificate as the file that `EMAIL_SSL_CAFILE` names.
    fn trust(smtp: &Smtp) -> PathBuf {
        let path = std::env::temp_dir().join(format!("recado-ca-{}-{}.pem", std::process::id(), smtp.addr().port()));
        std::fs::write(&path, smtp.certificate_pem()).unwrap();
        path
    }

    async fn only_mail(smtp: &Smtp) -> Mail {
        let mails = smtp.wait_for(1, TEST_TIMEOUT).await;
        assert_eq!(mails.len(), 1);
        mails[0].clone()
    }

    #[test]
    fn only_what_is_said_of_the_mailbox_is_a_bounce() {
        let table = [
            (550, "5.1.1 No such user here", true),
            (550, "5.1.10 Recipient has null MX", true),
            (550, "No such user", true),
            (551, "User not local", true),
            (550, "5.2.1 Mailbox disabled", true),
            (552, "5.2.2 Mailbox full", false),
            (550, "5.7.1 Blocked: your host is listed", false),
            (554, "5.7.1 Relay access denied", false),
            (554, "No valid recipients", false),
            (552, "Too much mail data", false),
            (550, "5.1.8 Sender's domain does not exist", false),
            (450, "4.2.1 Greylisted", false),
        ];
        for (code, text, expected) in table {
            assert_eq!(is_bounce(code, text), expected, "{code} {text}");
        }
    }

    #[test]
    fn whose_fault_it_is() {
        let reply = |code| Cause::Reply { code, text: String::new() };
        let broken = || Cause::Broken("reset".to_owned());
        let table = [
            (Stage::Connect, broken(), Fault::Account),
            (Stage::Connect, reply(554), Fault::Account),
            (Stage::Auth, reply(535), Fault::Account),
            (Stage::Sender, reply(550), Fault::Account),
            (Stage::Recipient, Cause::Silence, Fault::Account),
            (Stage::Recipient, reply(421), Fault::Account),
            (Stage::Recipient, reply(450), Fault::Message),
            (Stage::Recipient, reply(550), Fault::Message),
            (Stage::Content, reply(452), Fault::Account),
            (Stage::Content, reply(552), Fault::Message),
            (Stage::Content, Cause::Silence, Fault::Message),
            (Stage::Content, broken(), Fault::Message),
            (Stage::Sender, Cause::Lacks(Ability::SmtpUtf8), Fault::Message),
            (Stage::Connect, Cause::Certificate, Fault::Account),
        ];
        for (stage, cause, expected) in table {
            assert_eq!(fault(stage, &cause), expected, "{stage:?} {cause:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_somebody_wrote_into_the_database_is_guarded() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let send = async |allow_private| {
            let reach = Reach::Guarded { allow_private };
            let email = Email::new(&settings(&smtp), reach, &Clock::system()).expect("usable settings");
            email.send(&message("maria@example.com", "Hola")).await
        };
        let refused = send(false).await.unwrap_err();
        assert_eq!((refused.class, refused.fault), (FailureClass::Misconfigured, Fault::Account));
        assert!(refused.reason.contains("OUTBOUND_ALLOW_PRIVATE_NETWORKS"), "{}", refused.reason);
        assert_eq!(smtp.received(), 0);
        send(true).await.expect("accepted");
    }

    #[tokio::test]
    async fn a_workshops_sender_takes_the_accounts_place() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let sender = Some("Taller Norte <norte@taller.example.com>".to_owned());
        let message = Message { sender, ..message("maria@example.com", "Hola") };
        email(&settings(&smtp)).send(&message).await.expect("accepted");
        let mail = only_mail(&smtp).await;
        assert_eq!(mail.from(), Some("Taller Norte <norte@taller.example.com>"));
        assert_eq!(mail.envelope_from(), "norte@taller.example.com");
    }

    #[tokio::test]
    async fn a_mail_arrives_in_both_forms_with_every_letter_intact() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let now = Timestamp::from_micros(1_768_919_400_000_000);
        let provider = Email::new(&settings(&smtp), Reach::Anywhere, &Clock::manual(now)).unwrap();
        let message =
            message("maria@example.com", "Hola, María 👋\n¿Nos visita mañana?\n\n.Un punto al inicio\n.\nAdiós & <3");

        let receipt = provider.send(&message).await.expect("accepted");

        let mail = only_mail(&smtp).await;
        assert_eq!(mail.subject(), Some("Su vehículo está listo 🚗"));
        assert_eq!(mail.from(), Some("Taller Ñandú S.A. <avisos@taller.example.com>"));
        assert_eq!(
            (mail.envelope_from(), mail.envelope_to()),
            ("avisos@taller.example.com", &["maria@example.com".to_owned()][..])
        );
        assert_eq!(mail.text().unwrap().replace("\r\n", "\n").trim_end(), message.body);
        let html = mail.html().unwrap().replace("\r\n", "\n");
        assert!(html.starts_with("<!doctype html>") && html.contains(r#"<html lang="es">"#));
        assert!(html.contains("<p>Hola, María 👋<br>\n¿Nos visita mañana?</p>"), "{html}");
        assert!(html.contains("Adiós &amp; &lt;3"), "{html}");
        assert_eq!(mail.header("Date"), Some("Tue, 20 Jan 2026 14:30:00 +0000"));
        assert_eq!(mail.header("Auto-Submitted"), Some("auto-generated"));
        assert_eq!(mail.header("X-Correlation-ID"), Some(message.correlation_id.to_string().as_str()));
        let message_id = format!("{}@taller.example.com", message.notification_id);
        assert_eq!(mail.message_id(), Some(message_id.as_str()));
        assert_eq!(receipt.provider_message_id, Some(format!("<{message_id}>")));
        assert_eq!(receipt.status, Some(250));
        assert!(receipt.answer.starts_with("250 "), "{}", receipt.answer);
    }

    #[tokio::test]
    async fn a_html_body_gets_a_text_that_people_can_read() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let body = r#"<p>Hola, <strong>María</strong>:</p><ul><li>Placa: ABC-1234</li></ul><p><a href="https://taller.example.com/7">Ver la orden</a></p>"#;
        email(&settings(&smtp)).send(&message("maria@example.com", body)).await.unwrap();
        let mail = only_mail(&smtp).await;
        assert!(mail.html().unwrap().contains(body));
        let text = mail.text().unwrap().replace("\r\n", "\n");
        for part in ["Hola, María:", "* Placa: ABC-1234", "Ver la orden", "https://taller.example.com/7"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert!(!text.contains("<p>") && !text.contains("**"), "{text}");
    }

    #[tokio::test]
    async fn tls_and_login_as_the_port_asks() {
        for (tls, security) in
            [(SmtpTls::StartTls, EmailSecurity::StartTls), (SmtpTls::Implicit, EmailSecurity::ImplicitTls)]
        {
            let auth = Some(("taller".to_owned(), "clave ñ".to_owned()));
            let smtp = Smtp::start(SmtpOptions { tls, auth, ..SmtpOptions::default() }).await.unwrap();
            let mut settings = settings(&smtp);
            settings.security = security;
            settings.user = Some("taller".to_owned());
            settings.password = Some("clave ñ".into());
            let message = message("maria@example.com", "Hola");

            let distrusted = email(&settings).send(&message).await.unwrap_err();
            assert_eq!(distrusted.class, FailureClass::Misconfigured, "{distrusted:?}");
            assert!(distrusted.reason.contains("EMAIL_SSL_CAFILE"), "{}", distrusted.reason);

            settings.ca_file = Some(trust(&smtp));
            let provider = email(&settings);
            provider.send(&message).await.expect("accepted");
            let mail = only_mail(&smtp).await;
            assert!(mail.tls());
            assert_eq!(mail.user(), Some("taller"));

            settings.password = Some("otra".into());
            let refused = email(&settings).send(&message).await.unwrap_err();
            assert_eq!((refused.class, refused.status), (FailureClass::Misconfigured, Some(535)));
            settings.user = None;
            let anonymous = email(&settings).send(&message).await.unwrap_err();
            assert_eq!((anonymous.class, anonymous.status), (FailureClass::Misconfigured, Some(530)));
            assert_eq!(smtp.received(), 1);
            std::fs::remove_file(settings.ca_file.unwrap()).unwrap();
        }
    }

    #[tokio::test]
    async fn a_server_without_what_the_settings_ask_for_gets_nothing() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let message = message("maria@example.com", "Hola");
        let mut plain = settings(&smtp);
        plain.security = EmailSecurity::StartTls;
        let failure = email(&plain).send(&message).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Misconfigured);
        assert!(failure.reason.contains("STARTTLS"), "{}", failure.reason);

        let mut login = settings(&smtp);
        (login.user, login.password) = (Some("taller".to_owned()), Some("clave".into()));
        let failure = email(&login).send(&message).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Misconfigured);
        assert!(failure.reason.contains("EMAIL_HOST_USER"), "{}", failure.reason);
        assert_eq!(smtp.received(), 0);
    }

    #[tokio::test]
    async fn every_way_to_be_refused_has_its_class() {
        use FailureClass::{Misconfigured, Permanent, Transient};
        let reply = |stage, code| SmtpFault::Reply { stage, code, text: String::new() };
        let mail_from = |code| SmtpFault::RejectMailFrom { code, text: String::new() };
        let table = [
            (SmtpFault::RefuseConnection, Transient, None),
            (SmtpFault::GreetingBusy, Transient, Some(421)),
            (reply(SmtpStage::Connect, 554), Misconfigured, Some(554)),
            (reply(SmtpStage::Ehlo, 421), Transient, Some(421)),
            (mail_from(451), Transient, Some(451)),
            (mail_from(553), Misconfigured, Some(553)),
            (mail_from(530), Misconfigured, Some(530)),
            (SmtpFault::reject_recipient(550), Permanent, Some(550)),
            (SmtpFault::reject_recipient(451), Transient, Some(451)),
            (SmtpFault::reject_recipient(421), Transient, Some(421)),
            (SmtpFault::TooManyRecipients { limit: 0 }, Transient, Some(452)),
            (reply(SmtpStage::Data, 554), Permanent, Some(554)),
            (SmtpFault::reject_data(554), Permanent, Some(554)),
            (SmtpFault::reject_data(452), Transient, Some(452)),
            (SmtpFault::DropAfterData { record: false }, Transient, None),
        ];
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        for (fault, class, status) in table {
            smtp.misbehave(fault.clone());
            let failure = provider.send(&message("maria@example.com", "Hola")).await.unwrap_err();
            assert_eq!(
                (failure.class, failure.status, failure.code),
                (class, status, "EMAIL_SEND_FAILED"),
                "{fault:?}"
            );
            assert!(!failure.reason.contains("maria"), "a reason may be logged: {}", failure.reason);
            assert_eq!(failure.answer.is_some(), status.is_some(), "{fault:?}");
        }
        assert_eq!(smtp.received(), 0);
    }

    #[tokio::test]
    async fn an_address_beyond_ascii_needs_a_server_that_knows_it() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        provider.send(&message("josé@example.com", "Hola")).await.expect("the server offers SMTPUTF8");
        let mail = only_mail(&smtp).await;
        assert!(mail.smtputf8());
        assert_eq!(mail.envelope_to(), ["josé@example.com"]);

        smtp.misbehave(SmtpFault::NoSmtpUtf8);
        let failure = email(&settings(&smtp)).send(&message("josé@example.com", "Hola")).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Permanent);
        assert!(failure.reason.contains("SMTPUTF8"), "{}", failure.reason);
    }

    #[tokio::test]
    async fn nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let mut settings = settings(&smtp);
        settings.port = listener.local_addr().unwrap().port();
        drop(listener);
        let failure = email(&settings).send(&message("maria@example.com", "Hola")).await.unwrap_err();
        assert_eq!((failure.class, failure.status), (FailureClass::Transient, None));
    }

    #[tokio::test]
    async fn mails_share_a_connection_and_one_that_the_server_closed_costs_nothing() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        for body in ["uno", "dos", "tres"] {
            provider.send(&message("maria@example.com", body)).await.unwrap();
        }
        assert_eq!(smtp.connections(), 1);
        // The waiting connection says goodbye when it is used: 421, as after a server's idle limit.
        smtp.misbehave_times(SmtpFault::RejectMailFrom { code: 421, text: String::new() }, 1);
        provider.send(&message("maria@example.com", "cuatro")).await.expect("sent over a fresh connection");
        assert_eq!((smtp.connections(), smtp.received()), (2, 4));
    }

    /// The danger of a pool: the answer to a mail that was given up would be read as the answer to the next one.
    #[tokio::test]
    async fn a_mail_that_is_given_up_does_not_lend_its_answers_to_the_next() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let mut settings = settings(&smtp);
        settings.timeout = Duration::from_secs(1);
        let provider = email(&settings);
        smtp.misbehave_for("lenta@example.com", SmtpFault::Slow { delay: Duration::from_secs(30) });
        smtp.misbehave_for("nadie@example.com", SmtpFault::reject_recipient(550));

        let slow = provider.send(&message("lenta@example.com", "Hola")).await.unwrap_err();
        assert_eq!((slow.class, slow.status), (FailureClass::Transient, None));
        assert!(slow.reason.contains("may have been delivered"), "{}", slow.reason);
        let refused = provider.send(&message("nadie@example.com", "Hola")).await.unwrap_err();
        assert_eq!((refused.class, refused.status), (FailureClass::Permanent, Some(550)));
        assert_eq!(smtp.connections(), 2);
    }

    #[tokio::test]
    async fn every_attempt_bears_the_same_message_id() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        let message = message("maria@example.com", "Hola");
        smtp.misbehave_times(SmtpFault::DropAfterData { record: true }, 1);
        assert_eq!(provider.send(&message).await.unwrap_err().class, FailureClass::Transient);
        provider.send(&message).await.expect("the second attempt");
        let mails = smtp.wait_for(2, TEST_TIMEOUT).await;
        assert_eq!(mails[0].message_id(), mails[1].message_id());
    }

    #[tokio::test]
    async fn line_breaks_inject_neither_headers_nor_commands() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let mut settings = settings(&smtp);
        settings.from = "Taller\r\nBcc: todos@example.com <avisos@taller.example.com>".to_owned();
        let provider = email(&settings);
        let mut sneaky = message("maria@example.com", "Hola\r\n.\r\nMAIL FROM:<yo@example.com>\r\n");
        sneaky.subject = "Listo\r\nBcc: todos@example.com\r\n\r\n<script>".to_owned();
        provider.send(&sneaky).await.expect("sent as one mail");
        let mail = only_mail(&smtp).await;
        assert_eq!(mail.header("Bcc"), None);
        assert_eq!(mail.subject(), Some("Listo  Bcc: todos@example.com    <script>"));
        assert!(mail.text().unwrap().contains("MAIL FROM:<yo@example.com>"));

        for address in [
            "maria@example.com\r\nRCPT TO:<todos@example.com>",
            "maria@example.com>\r\nDATA",
            "<maria@example.com>",
            "maria @example.com",
            "\"a\r\nb\"@example.com",
            "maria@example.com, todos@example.com",
            "maria",
            "",
        ] {
            let failure = provider.send(&message(address, "Hola")).await.unwrap_err();
            assert_eq!(failure.class, FailureClass::Permanent, "{address:?}");
        }
        assert_eq!(smtp.received(), 1);
    }

    #[tokio::test]
    async fn many_mails_at_once_arrive_once_each() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        let messages: Vec<_> = (0..60).map(|n| message(&format!("cliente{n}@example.com"), "Hola")).collect();
        let outcomes = futures::future::join_all(messages.iter().map(|message| provider.send(message))).await;
        assert!(outcomes.iter().all(Result::is_ok));
        let mut recipients: Vec<_> =
            smtp.wait_for(60, TEST_TIMEOUT).await.iter().map(|mail| mail.envelope_to()[0].clone()).collect();
        recipients.sort();
        recipients.dedup();
        assert_eq!(recipients.len(), 60);
    }

    #[tokio::test]
    async fn the_file_backend_writes_what_a_mail_program_opens() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let folder = std::env::temp_dir().join(format!("recado-mail-{}", std::process::id()));
        let mut settings = settings(&smtp);
        settings.backend = EmailBackend::File(folder.clone());
        let provider = email(&settings);
        let message = message("maria@example.com", "Hola");
        for _ in 0..2 {
            provider.send(&message).await.expect("written");
        }
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files, [folder.join(format!("{}.eml", message.notification_id))]);
        assert!(std::fs::read_to_string(&files[0]).unwrap().contains("To: maria@example.com\r\n"));
        std::fs::remove_dir_all(&folder).unwrap();

        std::fs::write(&folder, "a file where the folder should be").unwrap();
        assert_eq!(provider.send(&message).await.unwrap_err().class, FailureClass::Misconfigured);
        std::fs::remove_file(&folder).unwrap();
    }

    #[test]
    fn a_name_that_looks_like_html_is_only_text() {
        let text = Message { is_html: false, ..message("maria@example.com", "Hola, <b>María</b>") };
        let (plain, html) = bodies("Asunto", &text);
        assert_eq!(plain, "Hola, <b>María</b>");
        assert!(html.contains("Hola, &lt;b&gt;María&lt;/b&gt;"), "{html}");
    }

    #[test]
    fn a_document_is_told_from_a_part_of_one() {
        assert!(
            is_document("\n<!DOCTYPE html><html>…") && is_document("<HTML lang=es>") && !is_document("<p>Ñandú</p>")
        );
    }

    #[test]
    fn a_whole_document_is_left_alone() {
        let document = "<!doctype html><html><body><h1>Hola</h1><p>María</p></body></html>";
        let (text, html) = bodies("Asunto", &message("maria@example.com", document));
        assert_eq!(html, document);
        assert_eq!(text, "# Hola\n\nMaría");
    }

    #[test]
    fn senders_are_read_as_people_write_them() {
        let shown = |text: &str| mailbox(text).map(|mailbox| (mailbox.name.clone(), mailbox.email.to_string()));
        let named = |name: &str| Some((Some(name.to_owned()), "a@b.ec".to_owned()));
        assert_eq!(shown("a@b.ec"), Some((None, "a@b.ec".to_owned())));
        assert_eq!(shown("<a@b.ec>"), Some((None, "a@b.ec".to_owned())));
        assert_eq!(shown("Taller S.A. <a@b.ec>"), named("Taller S.A."));
        assert_eq!(shown("\"Taller, Quito\" <a@b.ec> "), named("Taller, Quito"));
        for wrong in ["", "Taller", "Taller <>", "Taller <a b@c.ec>", "a@b.ec, c@d.ec"] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_only_a_stage_explains() {
        use FailureClass::{Misconfigured, Permanent, Transient};
        let reply = |code| Cause::Reply { code, text: String::new() };
        let table = [
            (Stage::Connect, reply(554), Misconfigured),
            (Stage::Auth, reply(535), Misconfigured),
            (Stage::Auth, reply(500), Misconfigured),
            (Stage::Auth, reply(454), Transient),
            (Stage::Sender, reply(550), Misconfigured),
            (Stage::Recipient, reply(550), Permanent),
            (Stage::Recipient, reply(530), Misconfigured),
            (Stage::Content, reply(552), Permanent),
            (Stage::Content, reply(452), Transient),
            (Stage::Connect, Cause::Silence, Transient),
            (Stage::Content, Cause::Silence, Transient),
            (Stage::Connect, Cause::Certificate, Misconfigured),
            (Stage::Connect, Cause::Lacks(Ability::StartTls), Misconfigured),
            (Stage::Auth, Cause::Lacks(Ability::Auth), Misconfigured),
            (Stage::Sender, Cause::Lacks(Ability::SmtpUtf8), Permanent),
            (Stage::Connect, Cause::Broken("Connection refused".to_owned()), Transient),
        ];
        for (stage, cause, class) in table {
            assert_eq!(verdict(stage, &cause).0, class, "{stage:?} {cause:?}");
        }
    }
}
