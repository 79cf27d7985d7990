//! Why a message was not taken, and whether another account may do better.

use std::time::Duration;

use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::fallback::FailureClass;
use recado_notifications::push::Finding;

use super::answer::excerpt;
use super::message::Message;

/// Why a provider did not take the message, read once, here, where its dialect is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SendFailure {
    pub(crate) class: FailureClass,
    /// A stable code for programs (S002-71).
    pub(crate) code: &'static str,
    /// A sentence for people. It names no address, so that it may be logged.
    pub(crate) reason: String,
    /// HTTP status or SMTP code, where there was an answer.
    pub(crate) status: Option<u16>,
    /// The provider's words, at most [`MAX_ANSWER_CHARS`](super::answer::MAX_ANSWER_CHARS) characters, without secrets. They may name the recipient.
    pub(crate) answer: Option<String>,
    /// The earliest time at which the provider wants to hear from us again.
    pub(crate) retry_after: Option<Duration>,
    /// What was found out about devices.
    pub(crate) devices: Vec<(Id, Finding)>,
    /// The recipient's address itself was refused for good: it should not be written to again.
    pub(crate) bounced: bool,
    /// Messages whose addresses were taken for bounced, and were not: they are written to again.
    pub(crate) not_bounced: Option<Box<InARow>>,
    pub(crate) fault: Fault,
    /// The server took no mail, and has not done so for this long: it was not asked for anything, so that no attempt was made.
    pub(crate) unavailable_for: Option<Duration>,
}

/// Refusals through one account, one after the other. Boxed where it is used: failures are passed on by value, and few have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InARow(pub(crate) Vec<Bounced>);

/// An address that a message was refused at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounced {
    pub(crate) notification_id: Id,
    /// As suppressions write it.
    pub(crate) address: String,
}

/// Whose fault a failure is, as far as its adapter can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The account's: its server, its login, its session. Nothing was accepted, and every message would fail alike.
    Account,
    /// The message's or the recipient's; or it is unknown what became of the message.
    Message,
}

impl SendFailure {
    /// A failure of which nothing is known but this. Settings that cannot work are the account's fault.
    pub(crate) fn new(class: FailureClass, code: &'static str, reason: impl Into<String>) -> Self {
        let fault = if class == FailureClass::Misconfigured { Fault::Account } else { Fault::Message };
        Self {
            class,
            code,
            reason: reason.into(),
            status: None,
            answer: None,
            retry_after: None,
            devices: Vec::new(),
            bounced: false,
            not_bounced: None,
            fault,
            unavailable_for: None,
        }
    }

    /// The failure as it is kept, whatever its adapter has read (see [`answer`](super::answer)).
    pub(super) fn kept(self) -> Self {
        let answer = self.answer.as_deref().map(|answer| excerpt(answer, None));
        Self { reason: excerpt(&self.reason, None), answer, ..self }
    }

    /// The same, with the remedy in the words of an account of the database instead of the environment's.
    pub(super) fn of_row(self) -> Self {
        let reason = ROW_WORDS.iter().fold(self.reason, |reason, (variable, word)| reason.replace(variable, word));
        Self { reason, ..self }
    }
}

/// The variables that adapters name in their remedies, and what stands for each in an account of the database. A name that
/// begins like another comes before it.
const ROW_WORDS: [(&str, &str); 14] = [
    ("EMAIL_HOST_USER", "settings.user"),
    ("EMAIL_HOST_PASSWORD", "secret"),
    ("EMAIL_HOST", "settings.host"),
    ("EMAIL_PORT", "settings.port"),
    ("EMAIL_USE_TLS and EMAIL_USE_SSL", "settings.security"),
    ("EMAIL_USE_TLS=true", "settings.security to starttls"),
    ("EMAIL_USE_SSL=true", "settings.security to tls"),
    ("EMAIL_USE_SSL", "settings.security"),
    ("EMAIL_USE_TLS", "settings.security"),
    ("set EMAIL_SSL_CAFILE", "add its authority to the system's trust store"),
    ("DEFAULT_FROM_EMAIL", "settings.from_email"),
    ("EVOLUTION_API_URL", "settings.url"),
    ("EVOLUTION_API_KEY", "secret"),
    ("EVOLUTION_INSTANCE", "settings.instance"),
];

/// Whether another account of the same channel may do better, at once and without the risk of a second message: this one
/// could not be reached, refused us, or is out of order. A mailbox that does not exist does not exist for the next server
/// either, and what may have left must not leave twice (d27).
pub(crate) fn is_accounts_fault(failure: &SendFailure) -> bool {
    failure.fault == Fault::Account && failure.class != FailureClass::Unknown
}

/// The failure of a channel whose accounts were tried one after the other: the last one's. But where an earlier one may
/// work again in a while, an account that never will does not end the channel.
pub(crate) fn channels_failure(earlier: &[SendFailure], last: SendFailure) -> SendFailure {
    let passing = earlier.iter().find(|failure| failure.class == FailureClass::Transient);
    match passing {
        Some(passing) if last.class == FailureClass::Misconfigured => passing.clone(),
        _ => last,
    }
}

/// The failure of a message on a channel that has no account at all.
pub(crate) fn not_configured(channel: Channel) -> SendFailure {
    let (code, variable) = match channel {
        Channel::Email => ("EMAIL_NOT_CONFIGURED", "EMAIL_HOST"),
        Channel::Whatsapp => ("WHATSAPP_NOT_CONFIGURED", "EVOLUTION_API_URL or WHATSAPP_SERVICE_URL"),
        Channel::Push => ("PUSH_NOT_CONFIGURED", "VAPID_PUBLIC_KEY"),
    };
    let reason = format!("the channel {channel} is not configured; set {variable}");
    SendFailure::new(FailureClass::Misconfigured, code, reason)
}

/// A message was handed to the adapter of another channel: an error of ours, not of the caller.
pub(super) fn wrong_adapter(message: &Message, code: &'static str) -> SendFailure {
    let channel = message.recipient.channel();
    SendFailure::new(
        FailureClass::Permanent,
        code,
        format!("a message for {channel} reached the adapter of another channel"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_accounts_own_fault_moves_a_message_to_the_next() {
        use FailureClass::{Misconfigured, Permanent, Transient, Unknown};
        let failure = |class, fault| SendFailure { fault, ..SendFailure::new(class, "CODE", "") };
        let table = [
            (Misconfigured, Fault::Account, true),
            (Transient, Fault::Account, true),
            (Transient, Fault::Message, false),
            (Permanent, Fault::Message, false),
            (Unknown, Fault::Account, false),
        ];
        for (class, fault, expected) in table {
            assert_eq!(is_accounts_fault(&failure(class, fault)), expected, "{class:?} {fault:?}");
        }
        assert!(is_accounts_fault(&SendFailure::new(Misconfigured, "CODE", "")));
        assert!(!is_accounts_fault(&SendFailure::new(Transient, "CODE", "")));
    }

    #[test]
    fn a_second_account_that_never_works_does_not_end_what_the_first_could_do_later() {
        use FailureClass::{Misconfigured, Permanent, Transient};
        let failure = |class| SendFailure::new(class, "CODE", "");
        let class = |earlier: &[FailureClass], last| {
            let earlier: Vec<SendFailure> = earlier.iter().copied().map(failure).collect();
            channels_failure(&earlier, failure(last)).class
        };
        assert_eq!(class(&[], Misconfigured), Misconfigured);
        assert_eq!(class(&[Misconfigured], Misconfigured), Misconfigured);
        assert_eq!(class(&[Misconfigured, Transient], Misconfigured), Transient);
        assert_eq!(class(&[Transient], Permanent), Permanent, "the recipient's word is the last");
        assert_eq!(class(&[Misconfigured], Transient), Transient);
    }

    #[test]
    fn remedies_name_what_the_reader_can_change() {
        let reason = "check EMAIL_HOST, EMAIL_HOST_USER and EMAIL_HOST_PASSWORD, or EVOLUTION_API_KEY";
        let failure = SendFailure::new(FailureClass::Misconfigured, "CODE", reason).of_row();
        assert_eq!(failure.reason, "check settings.host, settings.user and secret, or secret");
    }
}
