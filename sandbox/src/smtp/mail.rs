//! A mail as it arrived, and decoded.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use chrono::{DateTime, Utc};
use mail_parser::{Address, Message, MessageParser, PartType};
use serde::{Serialize, Serializer};

/// A mail that the server accepted. Cheap to clone.
///
/// The envelope (who sent it, to whom) is what was said in the dialog; everything else is read from the message the
/// first time that it is asked for.
#[derive(Clone)]
pub struct Mail(Arc<Received>);

/// What the session knows about a mail.
pub(super) struct Envelope {
    pub(super) hello: String,
    pub(super) sender: String,
    pub(super) recipients: Vec<String>,
    pub(super) smtputf8: bool,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
}

struct Received {
    at: DateTime<Utc>,
    envelope: Envelope,
    raw: Vec<u8>,
    decoded: OnceLock<Decoded>,
}

/// The headers and bodies of a message, decoded.
#[derive(Debug, Default)]
struct Decoded {
    from: Option<String>,
    to: Vec<String>,
    subject: Option<String>,
    message_id: Option<String>,
    text: Option<String>,
    html: Option<String>,
    headers: Vec<(String, String)>,
}

impl Mail {
    pub(super) fn new(at: DateTime<Utc>, envelope: Envelope, raw: Vec<u8>) -> Self {
        Self(Arc::new(Received { at, envelope, raw, decoded: OnceLock::new() }))
    }

    /// When the message had arrived completely.
    pub fn at(&self) -> DateTime<Utc> {
        self.0.at
    }

    /// What the client called itself (`EHLO`).
    pub fn hello(&self) -> &str {
        &self.0.envelope.hello
    }

    /// The envelope's sender (`MAIL FROM`), where a bounce would go; empty for the null sender.
    pub fn envelope_from(&self) -> &str {
        &self.0.envelope.sender
    }

    /// The recipients that were accepted (`RCPT TO`).
    pub fn envelope_to(&self) -> &[String] {
        &self.0.envelope.recipients
    }

    /// Whether the client asked for SMTPUTF8 (RFC 6531).
    pub fn smtputf8(&self) -> bool {
        self.0.envelope.smtputf8
    }

    /// Whether the message came over TLS.
    pub fn tls(&self) -> bool {
        self.0.envelope.tls
    }

    /// The user that the client authenticated as.
    pub fn user(&self) -> Option<&str> {
        self.0.envelope.user.as_deref()
    }

    /// The message without its transport dots, with CRLF line ends, as it was sent.
    pub fn raw(&self) -> &[u8] {
        &self.0.raw
    }

    /// The header `From`, decoded: `Taller Andino <avisos@taller.ec>`.
    pub fn from(&self) -> Option<&str> {
        self.decoded().from.as_deref()
    }

    /// The addresses of the header `To`, decoded.
    pub fn to(&self) -> &[String] {
        &self.decoded().to
    }

    /// The header `Subject`, decoded.
    pub fn subject(&self) -> Option<&str> {
        self.decoded().subject.as_deref()
    }

    /// The header `Message-ID` without its angle brackets.
    pub fn message_id(&self) -> Option<&str> {
        self.decoded().message_id.as_deref()
    }

    /// The body as plain text, decoded; `None` when the message has no such part.
    pub fn text(&self) -> Option<&str> {
        self.decoded().text.as_deref()
    }

    /// The body as HTML, decoded; `None` when the message has no such part.
    pub fn html(&self) -> Option<&str> {
        self.decoded().html.as_deref()
    }

    /// The first header of that name (in any case), unfolded but otherwise as it was sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers().iter();
        headers.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).next()
    }

    /// All headers in their order, unfolded but otherwise as they were sent.
    pub fn headers(&self) -> &[(String, String)] {
        &self.decoded().headers
    }

    /// Read late, because a benchmark that receives thousands of messages per second looks at few of them.
    fn decoded(&self) -> &Decoded {
        self.0.decoded.get_or_init(|| Decoded::read(&self.0.raw))
    }
}

impl Decoded {
    fn read(raw: &[u8]) -> Self {
        let Some(message) = MessageParser::default().parse(raw) else {
            return Self::default(); // No header at all.
        };
        Self {
            from: addresses(message.from()).into_iter().next(),
            to: addresses(message.to()),
            subject: message.subject().map(str::to_owned),
            message_id: message.message_id().map(str::to_owned),
            text: text(&message),
            html: html(&message),
            headers: message.headers_raw().map(|(name, value)| (name.to_owned(), unfolded(value))).collect(),
        }
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Mail")
            .field("envelope_from", &self.envelope_from())
            .field("envelope_to", &self.envelope_to())
            .field("subject", &self.subject())
            .field("text", &self.text())
            .field("html", &self.html())
            .finish_non_exhaustive()
    }
}

impl Serialize for Mail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View<'a> {
            at: DateTime<Utc>,
            envelope_from: &'a str,
            envelope_to: &'a [String],
            from: Option<&'a str>,
            to: &'a [String],
            subject: Option<&'a str>,
            message_id: Option<&'a str>,
            text: Option<&'a str>,
            html: Option<&'a str>,
            tls: bool,
            headers: &'a [(String, String)],
        }
        let view = View {
            at: self.at(),
            envelope_from: self.envelope_from(),
            envelope_to: self.envelope_to(),
            from: self.from(),
            to: self.to(),
            subject: self.subject(),
            message_id: self.message_id(),
            text: self.text(),
            html: self.html(),
            tls: self.tls(),
            headers: self.headers(),
        };
        view.serialize(serializer)
    }
}

fn addresses(header: Option<&Address<'_>>) -> Vec<String> {
    let known = header.into_iter().flat_map(Address::iter);
    known
        .filter_map(|one| {
            let address = one.address()?;
            Some(match one.name() {
                Some(name) => format!("{name} <{address}>"),
                None => address.to_owned(),
            })
        })
        .collect()
}

/// The parser offers an HTML body converted to text where there is no text; that is not what was sent.
fn text(message: &Message<'_>) -> Option<String> {
    message.text_bodies().find_map(|part| match &part.body {
        PartType::Text(text) => Some(text.to_string()),
        _ => None,
    })
}

fn html(message: &Message<'_>) -> Option<String> {
    message.html_bodies().find_map(|part| match &part.body {
        PartType::Html(html) => Some(html.to_string()),
        _ => None,
    })
}

/// RFC 5322 §2.2.3: a line break before white space is not part of a header's value.
fn unfolded(value: &str) -> String {
    value.replace("\r\n", "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(raw: &str) -> Mail {
        let envelope = Envelope {
            hello: "[127.0.0.1]".to_owned(),
            sender: "avisos@taller.ec".to_owned(),
            recipients: vec!["maria@cliente.ec".to_owned()],
            smtputf8: false,
            tls: false,
            user: None,
        };
        Mail::new(DateTime::UNIX_EPOCH, envelope, raw.replace('\n', "\r\n").into_bytes())
    }

    #[test]
    fn a_message_in_two_forms_is_decoded() {
        let mail = mail(
            "From: =?utf-8?b?VGFsbGVyIMOB?= <avisos@taller.ec>\n\
             To: Maria <maria@cliente.ec>, jose@cliente.ec\n\
             Subject: =?utf-8?b?VmVow61jdWxvIGxpc3RvIPCfmpc=?=\n\
             Message-ID: <7f@taller.ec>\n\
             List-Unsubscribe: <https://taller.ec/baja?a=1>,\n <mailto:baja@taller.ec>\n\
             MIME-Version: 1.0\n\
             Content-Type: multipart/alternative; boundary=x\n\
             \n\
             --x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nEst=C3=A1 listo\n\
             --x\nContent-Type: text/html; charset=utf-8\n\n<p>Está listo</p>\n\
             --x--\n",
        );
        assert_eq!(mail.from(), Some("Taller Á <avisos@taller.ec>"));
        assert_eq!(mail.to(), ["Maria <maria@cliente.ec>", "jose@cliente.ec"]);
        assert_eq!(mail.subject(), Some("Vehículo listo 🚗"));
        assert_eq!(mail.message_id(), Some("7f@taller.ec"));
        assert_eq!(mail.text().map(str::trim_end), Some("Está listo"));
        assert_eq!(mail.html().map(str::trim_end), Some("<p>Está listo</p>"));
        assert_eq!(mail.header("list-unsubscribe"), Some("<https://taller.ec/baja?a=1>, <mailto:baja@taller.ec>"));
        assert_eq!(mail.headers()[0].0, "From");
    }

    #[test]
    fn html_alone_is_not_passed_off_as_text() {
        let mail = mail("Subject: Hola\nContent-Type: text/html\n\n<b>Hola</b>\n");
        assert_eq!(mail.text(), None);
        assert_eq!(mail.html().map(str::trim_end), Some("<b>Hola</b>"));
    }

    #[test]
    fn text_alone_is_not_passed_off_as_html() {
        let mail = mail("Subject: Hola\n\nHola\n");
        assert_eq!(mail.text().map(str::trim_end), Some("Hola"));
        assert_eq!(mail.html(), None);
    }

    #[test]
    fn anything_may_be_sent() {
        for raw in ["", "\n", "no header here", "Subject:", ": \n\n\n"] {
            let mail = mail(raw);
            assert_eq!(mail.header("X-Nothing"), None);
            serde_json::to_value(&mail).expect("a view of anything");
        }
    }
}
