//! The faults of the Evolution API.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::faults::{Fault, check_status, milliseconds};

/// What the Evolution API does wrong when it is asked to send. A request that is wrong by itself gets its own
/// error, and does not use a fault up.
///
/// Faults without a recipient that are about the server or the session, and not about one message, show on the other
/// routes too, without being used up there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum EvolutionFault {
    /// 400 `exists: false`: the number has no WhatsApp.
    NotOnWhatsapp,
    /// 401, as if the key had been changed.
    Unauthorized,
    /// 404, as if the instance had been deleted.
    UnknownInstance,
    /// 500 `Connection Closed`: the session with WhatsApp is down.
    ConnectionClosed,
    /// 500 `reading 'onWhatsApp'`: the session was never started.
    NeverStarted,
    /// 400 with an exception as text: what version 2 does with most failures of its own while it sends.
    StringifiedError400,
    /// 400 with the complaint of the JSON schema.
    Schema400,
    /// Any status.
    Status {
        status: u16,
        /// JSON, or a string that is sent as HTML, as a proxy in front does; nothing is Evolution's own error body.
        #[serde(default)]
        body: Value,
        /// The header `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Sends the message, and only answers after `delay`.
    Slow {
        #[serde(with = "milliseconds", rename = "delay_ms")]
        delay: Duration,
    },
    /// Sends the message and never answers: the client cannot know.
    AcceptThenHang,
    /// Sends the message and closes the connection: the client cannot know.
    AcceptThenDrop,
    /// Sends as it should; everything that is read fails with 503.
    NoRecords,
    /// Closes the connection without doing anything.
    Drop,
}

impl EvolutionFault {
    /// Any status with Evolution's own error body.
    pub fn status(status: u16) -> Self {
        Self::Status { status, body: Value::Null, retry_after: None }
    }

    /// Whether the whole server is affected, and not only the sending.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Unauthorized | Self::UnknownInstance | Self::NoRecords | Self::Status { .. } | Self::Drop => true,
            Self::NotOnWhatsapp
            | Self::ConnectionClosed
            | Self::NeverStarted
            | Self::StringifiedError400
            | Self::Schema400
            | Self::Slow { .. }
            | Self::AcceptThenHang
            | Self::AcceptThenDrop => false,
        }
    }
}

impl Fault for EvolutionFault {
    /// Digits only: `+593 99 123 4567`, `593991234567` and `593991234567@s.whatsapp.net` are one number.
    fn subject(raw: &str) -> String {
        let number = raw.split('@').next().unwrap_or_default();
        number.chars().filter(char::is_ascii_digit).collect()
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Status { status, .. } => check_status(*status),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::faults::Rule;

    #[test]
    fn a_number_has_many_spellings() {
        for spelling in ["593991234567", "+593 99 123-4567", "593991234567@s.whatsapp.net"] {
            assert_eq!(EvolutionFault::subject(spelling), "593991234567");
        }
    }

    #[test]
    fn faults_in_json() {
        let json = json!({"fault": "status", "status": 429, "retry_after": 7, "times": 2, "only": "+593 99"});
        let rule = Rule::from_json(&json).expect("a rule");
        let expected = EvolutionFault::Status { status: 429, body: Value::Null, retry_after: Some(7) };
        assert_eq!(rule, Rule::always(expected).times(2).only("59399"));
        for (name, fault) in [
            ("accept_then_hang", EvolutionFault::AcceptThenHang),
            ("stringified_error400", EvolutionFault::StringifiedError400),
            ("schema400", EvolutionFault::Schema400),
        ] {
            assert_eq!(Rule::from_json(&json!({ "fault": name })), Ok(Rule::always(fault)));
        }
        let error = Rule::<EvolutionFault>::from_json(&json!({"fault": "status", "status": 100}));
        assert!(error.expect_err("informational").contains("`status`"));
    }
}
