//! The faults of a bridge.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::{Fault, check_status, milliseconds};

/// What a bridge does wrong. It is about one chat (its WhatsApp id), one route (its path), or everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum BridgeFault {
    /// WhatsApp is not connected: 503 `WhatsApp no listo`, and `isReady` is false.
    NotReady,
    /// The number is not on WhatsApp: 400, when something is sent.
    NotRegistered,
    /// Any status, with a body.
    Status {
        status: u16,
        #[serde(default)]
        body: String,
    },
    /// Does what it is asked, and answers after `delay`.
    Slow {
        #[serde(with = "milliseconds", rename = "delay_ms")]
        delay: Duration,
    },
    /// Sends, and never answers.
    AcceptThenHang,
    /// Sends, and closes the connection instead of answering.
    AcceptThenDrop,
    /// Never answers, and does nothing.
    Hang,
    /// Closes the connection.
    Drop,
    /// A page of HTML with status 200, as a proxy before a bridge says it.
    Nonsense,
    /// Says that all is well, and nothing leaves: no echo comes.
    Zombie,
}

impl BridgeFault {
    /// A status with the body of an error.
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            body: r#"{"error":"Protocol error (Runtime.callFunctionOn): Target closed."}"#.to_owned(),
        }
    }
}

impl Fault for BridgeFault {
    /// A chat's id, the digits of a number, or a path, with and without a slash at its end.
    fn subject(raw: &str) -> String {
        raw.trim_end_matches('/').trim_end_matches("@c.us").to_owned()
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
    fn faults_in_json() {
        let rule = Rule::always(BridgeFault::NotRegistered).times(2).only("593991234567@c.us");
        assert_eq!(Rule::from_json(&json!({"fault": "not_registered", "times": 2, "only": "593991234567"})), Ok(rule));
        let slow = BridgeFault::Slow { delay: Duration::from_millis(50) };
        assert_eq!(Rule::from_json(&json!({"fault": "slow", "delay_ms": 50})), Ok(Rule::always(slow)));
        assert!(Rule::<BridgeFault>::from_json(&json!({"fault": "status", "status": 99})).is_err());
    }
}
