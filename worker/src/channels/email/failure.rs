//! What it means when an SMTP server does not take a mail.

use recado_notifications::fallback::FailureClass;

use super::super::answer::excerpt;
use super::super::failure::{Fault, SendFailure};
use super::smtp::{Ability, Cause, SmtpError, Stage};

/// The code of every failed email (S002-71).
pub(in crate::channels) const FAILED: &str = "EMAIL_SEND_FAILED";

pub(super) fn failure(error: &SmtpError) -> SendFailure {
    let (class, reason) = verdict(error.stage, &error.cause);
    let failure = match &error.cause {
        Cause::Reply { code, text } => SendFailure {
            status: Some(*code),
            answer: Some(excerpt(&format!("{code} {text}"), None)),
            bounced: error.stage == Stage::Recipient && is_bounce(*code, text),
            ..SendFailure::new(class, FAILED, format!("{reason} (SMTP {code})"))
        },
        Cause::Broken(why) => SendFailure::new(class, FAILED, format!("{reason}: {why}")),
        Cause::Silence | Cause::Certificate | Cause::Forbidden | Cause::Lacks(_) => {
            SendFailure::new(class, FAILED, reason)
        }
    };
    SendFailure { fault: fault(error.stage, &error.cause), ..failure }
}

/// Whether another server might take this very mail now. Greylisting and full mailboxes are about the recipient, and going
/// round them through another server is what spammers do.
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
        // No mail leaves while this lasts, and no certificate is repaired within our delays, so the next channel has its turn.
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
    use super::*;

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
