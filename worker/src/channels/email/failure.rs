//! What it means when an SMTP server does not take a mail, and what to do about it.

use recado_notifications::fallback::FailureClass;

use super::super::answer::excerpt;
use super::super::failure::{Fault, SendFailure};
use super::error::{Ability, Cause, SmtpError, Stage};
use super::refusal::Subject;

/// The code of every failed email (S002-71).
pub(in crate::channels) const FAILED: &str = "EMAIL_SEND_FAILED";

pub(super) fn failure(error: &SmtpError) -> SendFailure {
    let (stage, cause) = (error.stage, &error.cause);
    match cause {
        Cause::Reply { code, text } => refused(stage, *code, text),
        Cause::Broken(why) | Cause::Handshake(why) | Cause::NoName(why) => {
            let (class, reason) = verdict(stage, cause);
            with_fault(stage, cause, SendFailure::new(class, FAILED, format!("{reason}: {why}")))
        }
        Cause::Silence
        | Cause::StillSilent
        | Cause::Certificate
        | Cause::Forbidden
        | Cause::Lacks(_)
        | Cause::NotSmtp => {
            let (class, reason) = verdict(stage, cause);
            with_fault(stage, cause, SendFailure::new(class, FAILED, reason))
        }
    }
}

/// Whether another server might take this very mail now.
fn with_fault(stage: Stage, cause: &Cause, failure: SendFailure) -> SendFailure {
    let is_messages = matches!(
        (cause, stage),
        // It may have been delivered.
        (Cause::Silence | Cause::Broken(_) | Cause::NotSmtp, Stage::Content) | (Cause::Lacks(Ability::SmtpUtf8), _)
    );
    SendFailure { fault: if is_messages { Fault::Message } else { Fault::Account }, ..failure }
}

/// What a broken-off conversation means, and the remedy.
///
/// A mail that the server had in whole when it fell silent may have been delivered. It counts as transient all the same:
/// no SMTP server can be asked afterwards, and a second copy bears the same Message-ID.
fn verdict(stage: Stage, cause: &Cause) -> (FailureClass, &'static str) {
    use FailureClass::{Misconfigured, Permanent, Transient};
    match (cause, stage) {
        (Cause::Silence | Cause::Broken(_) | Cause::NotSmtp, Stage::Content) => {
            (Transient, "the SMTP server had the mail and did not answer; it may have been delivered")
        }
        (Cause::Silence | Cause::Broken(_), Stage::Connect) => {
            (Transient, "no connection to the SMTP server; check EMAIL_HOST and EMAIL_PORT if this lasts")
        }
        // A server that wants TLS from the first byte waits for ours.
        (Cause::Silence, Stage::Greeting) => (
            Transient,
            "the SMTP server did not say a word; on a port for implicit TLS, such as 465, set EMAIL_USE_SSL=true",
        ),
        (Cause::Silence, _) => (Transient, "the SMTP server did not answer in time"),
        (Cause::StillSilent, _) => {
            (Transient, "the SMTP server has not answered other mails lately, so that this one was not tried")
        }
        (Cause::Broken(_), _) => (Transient, "the conversation with the SMTP server broke off"),
        (Cause::NoName(_), _) => {
            (Transient, "the SMTP server's name cannot be looked up; check EMAIL_HOST if this lasts")
        }
        (Cause::NotSmtp, Stage::Greeting) => {
            (Misconfigured, "what answers is no SMTP server; check EMAIL_HOST and EMAIL_PORT")
        }
        (Cause::NotSmtp, _) => (Transient, "the SMTP server gave an answer that is none"),
        // No mail leaves while this lasts, and no certificate is repaired within our delays, so the next channel has its turn.
        (Cause::Certificate, _) => {
            (Misconfigured, "the SMTP server's certificate is not trusted; check EMAIL_HOST, or set EMAIL_SSL_CAFILE")
        }
        (Cause::Handshake(why), _) if is_no_tls(why) => (
            Misconfigured,
            "the SMTP server does not speak TLS from the first byte; check EMAIL_PORT and EMAIL_USE_SSL",
        ),
        (Cause::Handshake(_), _) => (
            Transient,
            "no encryption was agreed upon with the SMTP server; check EMAIL_PORT and EMAIL_USE_SSL if this lasts",
        ),
        (Cause::Forbidden, _) => (
            Misconfigured,
            "EMAIL_HOST leads to an address that is not connected to; use a public one, or set OUTBOUND_ALLOW_PRIVATE_NETWORKS=true",
        ),
        (Cause::Lacks(Ability::StartTls), _) => {
            (Misconfigured, "the SMTP server offers no STARTTLS; check EMAIL_PORT, EMAIL_USE_TLS and EMAIL_USE_SSL")
        }
        (Cause::Lacks(Ability::Auth), _) => (
            Misconfigured,
            "the SMTP server offers no login by PLAIN or LOGIN; encrypt with EMAIL_USE_TLS and EMAIL_USE_SSL, or unset EMAIL_HOST_USER",
        ),
        (Cause::Lacks(Ability::SmtpUtf8), _) => {
            (Permanent, "the address has letters beyond ASCII, which the SMTP server does not support (SMTPUTF8)")
        }
        // Read by `refused`.
        (Cause::Reply { .. }, _) => (Transient, "the SMTP server refuses"),
    }
}

/// OpenSSL's words for an answer that is no TLS record.
fn is_no_tls(why: &str) -> bool {
    ["wrong version number", "packet length too long", "unknown protocol", "http request"]
        .iter()
        .any(|said| why.contains(said))
}

fn refused(stage: Stage, code: u16, text: &str) -> SendFailure {
    let subject = subject(stage, code, text);
    let class = class(stage, code, subject);
    let reason = reason(stage, code, subject);
    SendFailure {
        status: Some(code),
        answer: Some(excerpt(&format!("{code} {text}"), None)),
        bounced: code >= 500 && subject == Subject::NoMailbox,
        fault: fault(stage, code, subject),
        ..SendFailure::new(class, FAILED, format!("{reason} (SMTP {code})"))
    }
}

/// What a refusal speaks of, where the stage leaves less room than the words.
fn subject(stage: Stage, code: u16, text: &str) -> Subject {
    let said = Subject::of(code, text);
    if said.is_ours() {
        return said;
    }
    match (stage, said) {
        // With 421 the server says goodbye, whatever it was asked (RFC 5321, section 3.8).
        _ if code == 421 => Subject::Unexplained,
        (Stage::Hello, _) if code >= 500 => Subject::Hello,
        (Stage::Auth, _) if code >= 500 => Subject::Login,
        // No recipient was named: "no such user" is the sender.
        (Stage::Sender, Subject::NoMailbox | Subject::Unexplained) if code >= 500 => Subject::Sender,
        (Stage::Connect | Stage::Greeting | Stage::StartTls, _) => Subject::Unexplained,
        // Of a recipient only: RFC 5321, section 4.2.3, "exceeded storage allocation".
        (Stage::Recipient, Subject::Unexplained) if code == 552 => Subject::FullMailbox,
        (_, said) => said,
    }
}

fn class(stage: Stage, code: u16, subject: Subject) -> FailureClass {
    match subject {
        _ if code < 500 => FailureClass::Transient,
        Subject::Greylisting | Subject::Quota => FailureClass::Transient,
        _ if subject.is_ours() || stage < Stage::Sender => FailureClass::Misconfigured,
        _ => FailureClass::Permanent,
    }
}

/// Whether another account might take this very mail now. Greylisting and full mailboxes are about the recipient, and going
/// round them through another server is what spammers do.
fn fault(stage: Stage, code: u16, subject: Subject) -> Fault {
    let is_accounts = match stage {
        _ if code == 421 || subject.is_ours() => true,
        Stage::Recipient | Stage::Data => false,
        // The mail was seen and refused for what is in it; 4xx is want of space or strength.
        Stage::Content => code < 500,
        Stage::Sender => subject != Subject::Size,
        Stage::Connect | Stage::Greeting | Stage::Hello | Stage::StartTls | Stage::Auth => true,
    };
    if is_accounts { Fault::Account } else { Fault::Message }
}

/// What is wrong, and which setting repairs it.
fn reason(stage: Stage, code: u16, subject: Subject) -> &'static str {
    match (subject, stage) {
        (Subject::Login, _) => {
            "the SMTP server wants a login, or refuses ours; check EMAIL_HOST_USER and EMAIL_HOST_PASSWORD"
        }
        (Subject::Tls, _) => "the SMTP server wants an encrypted connection; set EMAIL_USE_TLS=true",
        (Subject::Hello, _) => {
            "the SMTP server does not accept what we call ourselves (EHLO); set EMAIL_HELO_NAME to the full name of this host"
        }
        (Subject::Sender, _) => {
            "the SMTP server refuses the sender; check DEFAULT_FROM_EMAIL, and the workshop's own sender if it has one"
        }
        (Subject::SenderDomain, _) => {
            "the sender's domain does not vouch for the SMTP server (SPF, DKIM, DMARC); correct the domain's DNS records, or check DEFAULT_FROM_EMAIL"
        }
        (Subject::Relaying, _) => {
            "the SMTP server sends nothing to others for us; check EMAIL_HOST, EMAIL_HOST_USER and EMAIL_HOST_PASSWORD"
        }
        (Subject::Reputation, _) => {
            "the SMTP server does not trust the address from which mails come (block list, reverse DNS); ask its provider, or check EMAIL_HOST"
        }
        (Subject::Quota, _) => {
            "the SMTP server takes no more mails from this account for now; ask its provider about limits"
        }
        (Subject::FullMailbox, _) => "the recipient's mailbox is full",
        (Subject::Size, _) => "the mail is larger than the SMTP server takes",
        (Subject::NoMailbox, _) if code >= 500 => "the SMTP server says that there is no such mailbox",
        (Subject::Content, _) if code >= 500 => "the SMTP server refuses the mail",
        (_, Stage::Connect | Stage::Greeting | Stage::StartTls) if code >= 500 => {
            "the SMTP server does not serve us; check EMAIL_HOST and EMAIL_PORT"
        }
        (Subject::Unexplained, Stage::Recipient) if code >= 500 => "the SMTP server refuses the recipient",
        (Subject::Unexplained, _) if code >= 500 => "the SMTP server refuses the mail",
        _ => "the SMTP server asks us to try later",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(stage: Stage, code: u16, text: &str) -> SendFailure {
        failure(&SmtpError { stage, cause: Cause::Reply { code, text: text.to_owned() } })
    }

    #[test]
    fn only_what_is_said_of_the_mailbox_is_a_bounce() {
        let table = [
            (Stage::Recipient, 550, "5.1.1 No such user here", true),
            (Stage::Recipient, 550, "5.1.10 Recipient has null MX", true),
            (Stage::Recipient, 550, "No such user", true),
            (Stage::Recipient, 550, "5.2.1 Mailbox disabled", true),
            // Yahoo says so when it has read the mail.
            (Stage::Content, 554, "delivery error: dd This user doesn't have a yahoo.com account", true),
            (Stage::Sender, 550, "5.1.1 No such user here", false),
            (Stage::Recipient, 450, "4.1.1 User unknown", false),
            (Stage::Recipient, 421, "4.1.1 User unknown", false),
            (Stage::Recipient, 550, "", false),
            (Stage::Recipient, 551, "User not local", false),
            (Stage::Recipient, 553, "sorry", false),
            (Stage::Recipient, 552, "5.2.2 Mailbox full", false),
            (Stage::Recipient, 550, "5.7.1 Blocked: your host is listed", false),
            (Stage::Recipient, 554, "5.7.1 Relay access denied", false),
            (Stage::Recipient, 554, "No valid recipients", false),
            (Stage::Recipient, 552, "Too much mail data", false),
            (Stage::Recipient, 550, "5.1.8 Sender's domain does not exist", false),
            (Stage::Recipient, 550, "5.1.0 Address rejected", false),
        ];
        for (stage, code, text, expected) in table {
            assert_eq!(of(stage, code, text).bounced, expected, "{code} {text}");
        }
    }

    /// `530 Must issue a STARTTLS command first` was explained as a wrong login, and `504` at EHLO as a wrong port
    /// (chatmail/core#1847, gogs/gogs#973).
    #[test]
    fn each_remedy_names_the_setting_that_repairs_it() {
        let table = [
            (Stage::Sender, 530, "5.7.0 Must issue a STARTTLS command first", "EMAIL_USE_TLS"),
            (Stage::Auth, 538, "5.7.11 Encryption required for requested authentication mechanism", "EMAIL_USE_TLS"),
            (Stage::Auth, 535, "5.7.8 Wrong user or password", "EMAIL_HOST_PASSWORD"),
            (Stage::Auth, 504, "Unrecognized authentication type", "EMAIL_HOST_USER"),
            (Stage::Hello, 504, "5.5.2 <vm>: Helo command rejected: need fully-qualified hostname", "EMAIL_HELO_NAME"),
            (Stage::Hello, 501, "Invalid domain name", "EMAIL_HELO_NAME"),
            (Stage::Hello, 550, "Access denied", "EMAIL_HELO_NAME"),
            (
                Stage::Recipient,
                504,
                "5.5.2 <vm>: Helo command rejected: need fully-qualified hostname",
                "EMAIL_HELO_NAME",
            ),
            (Stage::Recipient, 550, "Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", "EMAIL_HELO_NAME"),
            (Stage::Recipient, 450, "4.7.1 <vm>: Helo command rejected: Host not found", "EMAIL_HELO_NAME"),
            (Stage::Recipient, 550, "relay not permitted", "EMAIL_HOST_USER"),
            (Stage::Recipient, 550, "5.7.23 SPF validation failed", "DEFAULT_FROM_EMAIL"),
            (Stage::Content, 550, "5.7.26 Unauthenticated email is not accepted due to DMARC policy", "DNS"),
            (Stage::Sender, 553, "5.7.1 Sender address rejected", "DEFAULT_FROM_EMAIL"),
            (Stage::Sender, 550, "no", "DEFAULT_FROM_EMAIL"),
            (Stage::Greeting, 554, "no", "EMAIL_HOST"),
            (Stage::Greeting, 554, "5.7.1 your IP is on a blocklist", "block list"),
        ];
        for (stage, code, text, named) in table {
            let failure = of(stage, code, text);
            assert!(failure.reason.contains(named), "{code} {text}: {}", failure.reason);
            assert!(failure.fault == Fault::Account && !failure.bounced, "{code} {text}: {failure:?}");
        }
    }

    #[test]
    fn whose_fault_it_is() {
        let broken = || Cause::Broken("reset".to_owned());
        let reply = |code| Cause::Reply { code, text: String::new() };
        let table = [
            (Stage::Connect, broken(), Fault::Account),
            (Stage::Greeting, reply(554), Fault::Account),
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
            let error = SmtpError { stage, cause };
            assert_eq!(failure(&error).fault, expected, "{error:?}");
        }
    }

    #[test]
    fn what_only_a_stage_explains() {
        use FailureClass::{Misconfigured, Permanent, Transient};
        let reply = |code| Cause::Reply { code, text: String::new() };
        let table = [
            (Stage::Greeting, reply(554), Misconfigured),
            (Stage::Hello, reply(421), Transient),
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
            (Stage::StartTls, Cause::Lacks(Ability::StartTls), Misconfigured),
            (Stage::Auth, Cause::Lacks(Ability::Auth), Misconfigured),
            (Stage::Sender, Cause::Lacks(Ability::SmtpUtf8), Permanent),
            (Stage::Connect, Cause::Broken("Connection refused".to_owned()), Transient),
            (Stage::Connect, Cause::Handshake("wrong version number".to_owned()), Misconfigured),
            (Stage::Greeting, Cause::NotSmtp, Misconfigured),
        ];
        for (stage, cause, class) in table {
            let error = SmtpError { stage, cause };
            assert_eq!(failure(&error).class, class, "{error:?}");
        }
    }
}
