//! The mail as it travels: text and HTML side by side.

use std::time::SystemTime;

use lettre::address::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use recado_kernel::addresses::mail_domain;
use recado_kernel::clock::Timestamp;

use super::super::message::Message;
use super::super::plain_text::plain_text;

/// The name by which bounces and replies refer to this mail. It is the same in every attempt, so that a mailbox that
/// receives two recognises the second.
pub(super) fn message_id(sender: &Mailbox, message: &Message) -> String {
    format!("<{}@{}>", message.notification_id, sender.email.domain())
}

/// The mail as it travels: text and HTML side by side, CRLF line ends. `None` when lettre refuses the headers.
pub(super) fn compose(sender: &Mailbox, to: &Address, message: &Message, now: Timestamp) -> Option<String> {
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
    (plain_text(body), html)
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
pub(super) fn mailbox(text: &str) -> Option<Mailbox> {
    let Some((name, address)) = text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) else {
        return Some(Mailbox::new(None, recipient(text)?));
    };
    let name = without_controls(name.trim().trim_matches('"'));
    Some(Mailbox::new(Some(name).filter(|name| !name.is_empty()), recipient(address)?))
}

/// An address in which nothing hides that an SMTP command or a header could end with. An international domain is written as DNS
/// knows it, which every server takes (RFC 5891).
pub(super) fn recipient(address: &str) -> Option<Address> {
    let address = address.trim();
    let suspicious = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>');
    if address.contains(suspicious) {
        return None;
    }
    match address.rsplit_once('@') {
        Some((local, domain)) if !domain.is_ascii() => Address::new(local, mail_domain(domain).ok()?).ok(),
        _ => address.parse().ok(),
    }
}

/// A line break in a subject would begin a header of its own.
fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use recado_kernel::ids::Id;

    use super::*;
    use crate::channels::Recipient;

    fn message(body: &str) -> Message {
        Message {
            notification_id: Id::of_name(body),
            correlation_id: Id::of_name("correlation"),
            recipient: Recipient::Email("maria@example.com".to_owned()),
            subject: "Asunto".to_owned(),
            body: body.to_owned(),
            is_html: body.starts_with('<'),
            click_url: None,
            unsubscribe_url: None,
            sender: None,
        }
    }

    #[test]
    fn a_name_that_looks_like_html_is_only_text() {
        let text = Message { is_html: false, ..message("Hola, <b>María</b>") };
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
        let (text, html) = bodies("Asunto", &message(document));
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
        // An international domain, as people write it (bitwarden/server#1512, anymail/django-anymail#444).
        let international = |text: &str| mailbox(text).map(|mailbox| mailbox.email.to_string());
        assert_eq!(international("Taller <avisos@señal.example>").as_deref(), Some("avisos@xn--seal-hqa.example"));
        assert_eq!(international("avisos@SEÑAL.example").as_deref(), Some("avisos@xn--seal-hqa.example"));
        assert_eq!(international("josé@señal.example").as_deref(), Some("josé@xn--seal-hqa.example"));
        for wrong in ["", "Taller", "Taller <>", "Taller <a b@c.ec>", "a@b.ec, c@d.ec"] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }
}
