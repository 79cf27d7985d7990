//! The mail as it travels: text and HTML side by side.

use std::time::SystemTime;

use lettre::address::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use recado_kernel::addresses::mail_domain;
use recado_kernel::clock::Timestamp;
use recado_notifications::mail_body::MailBody;

use super::super::message::Message;

/// The name by which bounces and replies refer to this mail. It is the same in every attempt, so that a mailbox that
/// receives two recognises the second.
pub(super) fn message_id(sender: &Mailbox, message: &Message) -> String {
    format!("<{}@{}>", message.notification_id, sender.email.domain())
}

/// The mail as it travels: text and HTML side by side, CRLF line ends. `None` when lettre refuses the headers.
pub(super) fn compose(sender: &Mailbox, to: &Address, message: &Message, now: Timestamp) -> Option<String> {
    let subject = without_controls(&message.subject);
    let MailBody { text, html } = MailBody::of(&subject, &message.body, message.is_html);
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
    use super::*;

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
