//! The faults of the push service.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::{Fault, check_status, milliseconds};

/// What the push service does wrong with a request that is right by itself. For a subscription that is gone see
/// [`Push::expire`](super::Push::expire) and [`Push::forget`](super::Push::forget).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum PushFault {
    /// Any status: 429 too many, 503 not now, 410 gone.
    Status {
        status: u16,
        /// The header `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Delivers the message, and only answers after `delay`.
    Slow {
        #[serde(with = "milliseconds", rename = "delay_ms")]
        delay: Duration,
    },
    /// Takes the message and never answers.
    Hang,
    /// Closes the connection without doing anything.
    Drop,
}

impl PushFault {
    /// Any status, without `Retry-After`.
    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None }
    }
}

impl Fault for PushFault {
    /// The token at the end of an endpoint.
    fn subject(raw: &str) -> String {
        raw.rsplit('/').next().unwrap_or_default().to_owned()
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Status { status, .. } => check_status(*status),
            Self::Slow { .. } | Self::Hang | Self::Drop => Ok(()),
        }
    }
}
