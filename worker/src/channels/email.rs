//! Email over SMTP, or into files where `EMAIL_BACKEND=file`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use lettre::address::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use recado_shared::clock::{Clock, Timestamp};
use recado_shared::config::{EmailBackend, EmailSettings};
use recado_shared::fallback::FailureClass;

use super::smtp::{Ability, Cause, Parcel, Relay, Stage, Trouble};
use super::{Message, Provider, ProviderError, Receipt, Recipient, SendFailure, excerpt, wrong_adapter};

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
    pub(super) fn new(settings: &EmailSettings, clock: &Clock) -> Result<Self, ProviderError> {
        let sender = mailbox(&settings.from).ok_or_else(|| ProviderError::Setting {
            variable: "DEFAULT_FROM_EMAIL",
            problem: format!("is `{}`; write an address, or a name and an address: Taller <taller@example.com>", settings.from),
        })?;
        let outbox = match &settings.backend {
            EmailBackend::Smtp => Outbox::Relay(Relay::new(settings)?),
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
        let message_id = message_id(&self.sender, message);
        let content = compose(&self.sender, &to, message, self.clock.now())
            .ok_or_else(|| permanent("the mail cannot be written with these headers"))?;
        let parcel = Parcel { from: self.sender.email.clone(), to, content };
        let (status, answer) = match &self.outbox {
            Outbox::Relay(relay) => {
                let (code, words) = relay.send(&parcel).await.map_err(|trouble| failure(&trouble))?;
                (Some(code), excerpt(&words, None))
            }
            Outbox::Folder(folder) => (None, store(folder, message, &parcel.content).await.map_err(|error| unwritable(&error))?),
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
    let (text, html) = bodies(&subject, &message.body);
    let header = |name, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
    let mail = lettre::Message::builder()
        .from(sender.clone())
        .to(Mailbox::new(None, to.clone()))
        .date(SystemTime::from(now.to_utc()).max(SystemTime::UNIX_EPOCH))
        .message_id(Some(message_id(sender, message)))
        .subject(subject)
        .raw_header(header("X-Correlation-ID", message.correlation_id.to_string()))
        // RFC 3834: holiday notices and other robots do not answer a robot.
        .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(text, html))
        .ok()?;
    String::from_utf8(mail.formatted()).ok()
}

/// The same words twice: for programs that show text, and for those that show HTML.
fn bodies(subject: &str, body: &str) -> (String, String) {
    if is_document(body) {
        return (text_of(body), body.to_owned());
    }
    if is_html(body) {
        return (text_of(body), page(subject, body));
    }
    (body.to_owned(), page(subject, &paragraphs(body)))
}

/// Columns of the text part, so that `> ` of a reply still fits into 80 (RFC 3676, section 4.2).
const TEXT_WIDTH: usize = 76;

fn text_of(html: &str) -> String {
    let rendered = html2text::config::plain_no_decorate().link_footnotes(true).string_from_read(html.as_bytes(), TEXT_WIDTH);
    // It only fails when a table does not fit; unwrapped it is still readable.
    rendered.unwrap_or_else(|_| html.to_owned()).trim_end().to_owned()
}

/// A whole HTML document, which brings its own head.
fn is_document(body: &str) -> bool {
    let start: String = body.trim_start().chars().take(9).collect::<String>().to_ascii_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html")
}

/// Elements by which a body is known to be HTML. A `<` alone is not enough: people write `<3` and `a < b`.
const ELEMENTS: [&str; 24] = [
    "a", "b", "blockquote", "br", "center", "div", "em", "font", "h1", "h2", "h3", "h4", "hr", "i", "img", "li", "ol", "p",
    "section", "span", "strong", "table", "u", "ul",
];

fn is_html(body: &str) -> bool {
    body.split('<').skip(1).any(|rest| {
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let closed = rest[name.len()..].starts_with(|c: char| c == '>' || c == '/' || c.is_ascii_whitespace());
        closed && rest.contains('>') && ELEMENTS.contains(&name.as_str())
    })
}

/// Plain text as HTML: an empty line ends a paragraph, a line end stays one.
fn paragraphs(text: &str) -> String {
    let text = escape(&text.replace("\r\n", "\n"));
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.trim_matches('\n')).filter(|paragraph| !paragraph.is_empty());
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
    tokio::fs::create_dir_all(folder).await?;
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
    let mut failure = SendFailure::new(class, FAILED, reason);
    if let Cause::Reply { code, text } = &trouble.cause {
        failure.status = Some(*code);
        failure.answer = Some(excerpt(&format!("{code} {text}"), None));
    }
    failure
}

/// What a broken-off conversation means, and the remedy.
///
/// A mail that the server had in whole when it fell silent may have been delivered. It counts as transient all the same:
/// no SMTP server can be asked afterwards, and a second copy bears the same Message-ID.
fn verdict(stage: Stage, cause: &Cause) -> (FailureClass, String) {
    use FailureClass::{Misconfigured, Permanent, Transient};
    match (cause, stage) {
        (Cause::Reply { code: code @ (530 | 534 | 535 | 538), .. }, _) | (Cause::Reply { code: code @ 500.., .. }, Stage::Auth) => {
            (Misconfigured, format!("the SMTP server refuses our login ({code}); check EMAIL_HOST_USER and EMAIL_HOST_PASSWORD"))
        }
        (Cause::Reply { code: code @ 500.., .. }, Stage::Connect) => {
            (Misconfigured, format!("the SMTP server does not serve us ({code}); check EMAIL_HOST and EMAIL_PORT"))
        }
        (Cause::Reply { code: code @ 500.., .. }, Stage::Sender) => {
            (Misconfigured, format!("the SMTP server refuses the sender ({code}); check DEFAULT_FROM_EMAIL"))
        }
        (Cause::Reply { code: code @ 500.., .. }, Stage::Recipient) => {
            (Permanent, format!("the SMTP server refuses the recipient ({code})"))
        }
        (Cause::Reply { code: code @ 500.., .. }, Stage::Content) => (Permanent, format!("the SMTP server refuses the mail ({code})")),
        (Cause::Reply { code, .. }, _) => (Transient, format!("the SMTP server asks us to try later ({code})")),
        (Cause::Silence | Cause::Broken(_), Stage::Content) => {
            (Transient, "the SMTP server had the mail and did not answer; it may have been delivered".to_owned())
        }
        (Cause::Silence, _) => (Transient, "the SMTP server did not answer in time".to_owned()),
        // No mail leaves while this lasts, and nobody repairs a certificate within our delays; so the next channel at once.
        (Cause::Certificate, _) => {
            (Misconfigured, "the SMTP server's certificate is not trusted; check EMAIL_HOST, or set EMAIL_SSL_CAFILE".to_owned())
        }
        (Cause::Lacks(Ability::StartTls), _) => {
            (Misconfigured, "the SMTP server offers no STARTTLS; check EMAIL_PORT, EMAIL_USE_TLS and EMAIL_USE_SSL".to_owned())
        }
        (Cause::Lacks(Ability::Auth), _) => {
            (Misconfigured, "the SMTP server offers no login by PLAIN or LOGIN; unset EMAIL_HOST_USER or use TLS".to_owned())
        }
        (Cause::Lacks(Ability::SmtpUtf8), _) => {
            (Permanent, "the address has letters beyond ASCII, which the SMTP server does not support (SMTPUTF8)".to_owned())
        }
        (Cause::Broken(why), _) => (Transient, format!("no conversation with the SMTP server: {why}")),
    }
}
