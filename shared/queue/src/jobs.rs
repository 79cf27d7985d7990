//! What a task does: each system declares its kinds of job, and the queue stores them without knowing what they mean.

use std::time::Duration;

use recado_kernel::ids::Id;
use recado_kernel::retry::RetryPolicy;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lanes::{Lane, MAINTENANCE, Priority};

/// A kind of job, as its system declares it.
///
/// The name and the payload are stored. Renaming one strands the rows that are waiting: add the new name, keep reading the
/// old one with `#[serde(alias)]`, and drop it a release later.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    pub lane: Lane,
    pub priority: Priority,
    /// How often and how soon the job itself is tried again when *we* fail: no database, a bug. What a provider answers is
    /// for the job to decide.
    pub retry: RetryPolicy,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// 5 s, 10 s, 20 s, … for ten attempts, about 43 minutes in all.
pub const USUAL_RETRY: RetryPolicy = RetryPolicy { max_attempts: 10, base: Duration::from_secs(5) };

/// For a job that writes some rows.
pub const SHORT: Duration = Duration::from_secs(30);

/// For a job that goes through many rows, or is bounded by its provider's own time limit.
pub const LONG: Duration = Duration::from_secs(60 * 60);

impl Kind {
    /// A kind with the usual retries that goes by default and is done within [`SHORT`].
    pub const fn new(name: &'static str, lane: Lane) -> Self {
        Self { name, lane, priority: Priority::Default, retry: USUAL_RETRY, timeout: SHORT }
    }

    pub const fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    pub const fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

/// The payload of a kind.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    const KIND: Kind;

    /// The lane of this very job, where its payload decides.
    fn lane(&self) -> Lane {
        Self::KIND.lane
    }

    /// The content as it is stored beside the kind.
    fn payload(&self) -> Value {
        serde_json::to_value(self).expect("jobs are plain data, which always serialises")
    }
}

/// A row that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("this version cannot read a `{kind}` job{}", .source.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
pub struct UnreadableJob {
    kind: String,
    source: Option<serde_json::Error>,
}

impl UnreadableJob {
    /// No system declares this kind.
    pub fn unknown(kind: &str) -> Self {
        Self { kind: kind.to_owned(), source: None }
    }
}

/// Reads the payload of a row.
pub fn decode<J: Job>(payload: Value) -> Result<J, UnreadableJob> {
    serde_json::from_value(payload)
        .map_err(|source| UnreadableJob { kind: J::KIND.name.to_owned(), source: Some(source) })
}

/// Does nothing, and so shows that a worker listens and how fast.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ping {}

impl Job for Ping {
    const KIND: Kind = Kind::new("ping", MAINTENANCE);
}

/// Weekly: deletes what is past its retention (S002-82).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cleanup {}

impl Job for Cleanup {
    const KIND: Kind = Kind::new("cleanup", MAINTENANCE).priority(Priority::Low).timeout(LONG);
}

/// Walks through an action on many tasks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RunBulk {
    pub operation: Id,
}

impl Job for RunBulk {
    const KIND: Kind = Kind::new("run_bulk", MAINTENANCE).timeout(LONG);
}
