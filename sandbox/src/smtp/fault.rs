//! The faults of the mail server.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reply::Reply;
use crate::faults::{Fault, Rule, milliseconds};

/// What the mail server does wrong.
///
/// A fault that is planned for one recipient shows when that recipient is named (`RCPT TO`), or at the end of the
/// message if that is where it belongs, because the server does not know earlier whom a message is for.
///
/// Where a `text` may be given, an empty one stands for the usual text of the code. A reply with code 421 closes the
/// connection, as RFC 5321 §3.8 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum SmtpFault {
    /// Accepts the connection and closes it at once.
    RefuseConnection,
    /// Greets with 421 and closes: too busy to talk.
    GreetingBusy,
    /// Refuses the sender.
    RejectMailFrom {
        #[serde(default = "permanent")]
        code: u16,
        #[serde(default)]
        text: String,
    },
    /// Refuses a recipient: 550 does not exist, 451 try again later (greylisting), 452 mailbox full, 421 goes away.
    RejectRecipient {
        #[serde(default = "permanent")]
        code: u16,
        #[serde(default)]
        text: String,
    },
    /// Accepts `limit` recipients of a message and answers 452 to each one more.
    TooManyRecipients {
        #[serde(default)]
        limit: usize,
    },
    /// Refuses the message after having read it, as a content filter does; it is not recorded.
    RejectData {
        #[serde(default = "refused")]
        code: u16,
        #[serde(default)]
        text: String,
    },
    /// Records the message, and only answers after `delay`.
    Slow {
        #[serde(with = "milliseconds", rename = "delay_ms")]
        delay: Duration,
    },
    /// Closes the connection where the answer to the message should be. With `record` the message was accepted all the
    /// same: the case in which a client that tries again delivers twice.
    DropAfterData {
        #[serde(default)]
        record: bool,
    },
    /// Lets a connection carry `limit` mails. After that it answers so at this stage, and with 421 or `hang_up` closes.
    MailsPerConnection {
        limit: usize,
        stage: SmtpStage,
        #[serde(default = "busy")]
        code: u16,
        #[serde(default)]
        text: String,
        /// Closes without a word.
        #[serde(default)]
        hang_up: bool,
    },
    /// Refuses clients that call themselves by a short name, at this stage: `ehlo`, or `recipient` as Postfix does by default.
    ShortHello { stage: SmtpStage },
    /// A server of the time before RFC 1869: knows HELO only.
    HeloOnly,
    /// A server of the time before RFC 6531: does not offer SMTPUTF8.
    NoSmtpUtf8,
    /// Any reply at any point of the dialog, instead of the right one.
    Reply {
        stage: SmtpStage,
        code: u16,
        #[serde(default)]
        text: String,
    },
}

/// The points of an SMTP dialog at which a server may refuse, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpStage {
    /// The greeting.
    Connect,
    /// `EHLO` or `HELO`.
    Ehlo,
    /// The end of an authentication exchange.
    Auth,
    /// `MAIL FROM`.
    MailFrom,
    /// `RCPT TO`.
    Recipient,
    /// The command `DATA`.
    Data,
    /// The dot that ends a message.
    EndOfData,
}

impl SmtpFault {
    /// Refuses recipients with a code and its usual text.
    pub fn reject_recipient(code: u16) -> Self {
        Self::RejectRecipient { code, text: String::new() }
    }

    /// Refuses messages with a code and its usual text.
    pub fn reject_data(code: u16) -> Self {
        Self::RejectData { code, text: String::new() }
    }

    fn stage(&self) -> SmtpStage {
        match self {
            Self::RefuseConnection | Self::GreetingBusy => SmtpStage::Connect,
            Self::NoSmtpUtf8 | Self::HeloOnly => SmtpStage::Ehlo,
            Self::RejectMailFrom { .. } => SmtpStage::MailFrom,
            Self::RejectRecipient { .. } | Self::TooManyRecipients { .. } => SmtpStage::Recipient,
            Self::RejectData { .. } | Self::Slow { .. } | Self::DropAfterData { .. } => SmtpStage::EndOfData,
            Self::Reply { stage, .. } | Self::MailsPerConnection { stage, .. } | Self::ShortHello { stage } => *stage,
        }
    }

    /// What the server says instead of the right reply; `None` where the fault is not a reply.
    pub(super) fn reply(&self) -> Option<Reply> {
        let (code, text) = match self {
            Self::RefuseConnection
            | Self::Slow { .. }
            | Self::DropAfterData { .. }
            | Self::MailsPerConnection { hang_up: true, .. } => return None,
            Self::ShortHello { .. } => (504, "5.5.2 Helo command rejected: need fully-qualified hostname"),
            Self::HeloOnly => (502, "5.5.1 Command not implemented"),
            Self::GreetingBusy => (421, ""),
            Self::NoSmtpUtf8 => (553, "5.6.7 Internationalized addresses are not supported"),
            Self::TooManyRecipients { .. } => (452, "4.5.3 Too many recipients"),
            Self::RejectMailFrom { code, text }
            | Self::RejectRecipient { code, text }
            | Self::RejectData { code, text }
            | Self::MailsPerConnection { code, text, .. }
            | Self::Reply { code, text, .. } => (*code, text.as_str()),
        };
        let text = if text.is_empty() { usual_text(code) } else { text };
        Some(Reply::new(code, text.replace('\r', "")))
    }

    fn code(&self) -> Option<u16> {
        self.reply().map(|reply| reply.code)
    }

    /// Whether there is a reason for it here.
    fn has_reason(&self, state: &DialogState<'_>) -> bool {
        match self {
            Self::TooManyRecipients { limit } => state.accepted >= *limit,
            Self::MailsPerConnection { limit, .. } => state.mails >= *limit,
            Self::ShortHello { .. } => !state.hello.contains(['.', '[']),
            Self::HeloOnly => state.extended,
            _ => true,
        }
    }
}

/// Where a dialog stands, as far as faults ask about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct DialogState<'a> {
    pub(super) stage: SmtpStage,
    /// How many recipients of this mail have been accepted.
    pub(super) accepted: usize,
    /// How many mails the connection has carried.
    pub(super) mails: usize,
    /// What the client calls itself.
    pub(super) hello: &'a str,
    /// Whether it said EHLO.
    pub(super) extended: bool,
}

impl DialogState<'_> {
    pub(super) fn at(stage: SmtpStage) -> Self {
        Self { stage, accepted: 0, mails: 0, hello: "", extended: false }
    }
}

impl Fault for SmtpFault {
    /// Mail servers compare addresses without regard to case, nearly always the local part too.
    fn subject(raw: &str) -> String {
        raw.trim().to_lowercase()
    }

    fn check(&self) -> Result<(), String> {
        match self.code() {
            Some(code) if !(200..=599).contains(&code) => {
                Err(format!("`code` is an SMTP reply code from 200 to 599, such as 550 or 451, not {code}"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a rule has something to do here.
pub(super) fn applies(rule: &Rule<SmtpFault>, state: &DialogState<'_>) -> bool {
    let due = match rule.only {
        None => rule.fault.stage(),
        Some(_) => rule.fault.stage().max(SmtpStage::Recipient),
    };
    due == state.stage && rule.fault.has_reason(state)
}

fn busy() -> u16 {
    421
}

fn permanent() -> u16 {
    550
}

fn refused() -> u16 {
    554
}

fn usual_text(code: u16) -> &'static str {
    match code {
        421 => "4.3.2 Service not available, closing transmission channel",
        450 => "4.2.1 Mailbox busy",
        451 => "4.7.1 Try again later",
        452 => "4.2.2 Mailbox full",
        550 => "5.1.1 No such user here",
        552 => "5.2.2 Mailbox full",
        553 => "5.1.3 Mailbox name not allowed",
        554 => "5.7.1 Message refused",
        535 => "5.7.8 Authentication credentials invalid",
        400..=499 => "4.0.0 Temporary failure",
        500..=599 => "5.0.0 Permanent failure",
        _ => "2.0.0 Ok",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_for_one_recipient_waits_until_the_recipient_is_known() {
        let early = Rule::always(SmtpFault::GreetingBusy);
        assert!(applies(&early, &DialogState::at(SmtpStage::Connect)));
        assert!(applies(&early.clone().only("a@b.ec"), &DialogState::at(SmtpStage::Recipient)));
        let late = Rule::always(SmtpFault::reject_data(554)).only("a@b.ec");
        assert!(!applies(&late, &DialogState::at(SmtpStage::Recipient)));
        assert!(applies(&late, &DialogState::at(SmtpStage::EndOfData)));
    }

    #[test]
    fn recipients_within_the_limit_do_not_use_the_rule_up() {
        let rule = Rule::always(SmtpFault::TooManyRecipients { limit: 2 });
        let at = |accepted| DialogState { accepted, ..DialogState::at(SmtpStage::Recipient) };
        let refused = [0, 1, 2, 3].map(|accepted| applies(&rule, &at(accepted)));
        assert_eq!(refused, [false, false, true, true]);
    }

    #[test]
    fn faults_in_json() {
        for (json, expected) in [
            (json!({"fault": "reject_recipient", "code": 451}), SmtpFault::reject_recipient(451)),
            (json!({"fault": "reject_recipient"}), SmtpFault::reject_recipient(550)),
            (json!({"fault": "slow", "delay_ms": 1500}), SmtpFault::Slow { delay: Duration::from_millis(1500) }),
            (json!({"fault": "drop_after_data", "record": true}), SmtpFault::DropAfterData { record: true }),
            (json!({"fault": "no_smtp_utf8"}), SmtpFault::NoSmtpUtf8),
            (json!({"fault": "helo_only"}), SmtpFault::HeloOnly),
            (
                json!({"fault": "short_hello", "stage": "recipient"}),
                SmtpFault::ShortHello { stage: SmtpStage::Recipient },
            ),
            (
                json!({"fault": "mails_per_connection", "limit": 1, "stage": "recipient", "code": 450}),
                SmtpFault::MailsPerConnection {
                    limit: 1,
                    stage: SmtpStage::Recipient,
                    code: 450,
                    text: String::new(),
                    hang_up: false,
                },
            ),
            (
                json!({"fault": "reply", "stage": "end_of_data", "code": 250, "text": "?"}),
                SmtpFault::Reply { stage: SmtpStage::EndOfData, code: 250, text: "?".to_owned() },
            ),
        ] {
            let rule = Rule::from_json(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
            assert_eq!(rule, Rule::always(expected));
        }
        let error = Rule::<SmtpFault>::from_json(&json!({"fault": "reject_data", "code": 55})).expect_err("no code");
        assert!(error.contains("`code`"), "{error}");
    }
}
