//! The faults of a partner.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::{Fault, check_status, milliseconds};

/// What a partner does wrong with a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum PartnerFault {
    /// Any status; 410 says that it wants nothing any more.
    Status {
        status: u16,
        #[serde(default)]
        body: String,
        /// The header `Retry-After`: seconds or an HTTP date.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// Sends the caller somewhere else.
    Redirect { to: String },
    /// Takes it, and only answers after `delay`.
    Slow {
        #[serde(with = "milliseconds", rename = "delay_ms")]
        delay: Duration,
    },
    /// Takes it and never answers.
    Hang,
    /// Takes it and closes the connection.
    Drop,
    /// Reads the body and writes it again before it verifies, as compact JSON: a mistake that many receivers make. What is not
    /// signed in that form is a 401.
    Reserialise,
}

impl PartnerFault {
    /// A status with an empty body.
    pub fn status(status: u16) -> Self {
        Self::Status { status, body: String::new(), retry_after: None }
    }
}

impl Fault for PartnerFault {
    /// The path, with and without a slash at its end.
    fn subject(raw: &str) -> String {
        raw.trim_end_matches('/').to_owned()
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
        let json = json!({"fault": "status", "status": 503, "retry_after": "7", "times": 2, "only": "/hooks/"});
        let fault = PartnerFault::Status { status: 503, body: String::new(), retry_after: Some("7".to_owned()) };
        assert_eq!(Rule::from_json(&json), Ok(Rule::always(fault).times(2).only("/hooks")));
        let slow = PartnerFault::Slow { delay: Duration::from_millis(50) };
        assert_eq!(Rule::from_json(&json!({"fault": "slow", "delay_ms": 50})), Ok(Rule::always(slow)));
        assert!(Rule::<PartnerFault>::from_json(&json!({"fault": "status", "status": 99})).is_err());
    }
}
