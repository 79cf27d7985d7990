//! What an adapter does, and what it answers.

use std::path::PathBuf;

use async_trait::async_trait;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;

use super::answer::{excerpt, message_id};
use super::failure::SendFailure;
use super::message::Message;

/// Takes messages to people on one channel.
#[async_trait]
pub(crate) trait Provider: Send + Sync {
    /// Sends a message. It may be called again for the same message after a failure.
    async fn send(&self, message: &Message) -> Result<SendReceipt, SendFailure>;

    /// After an unknown outcome: did this message leave, at `since` or later?
    async fn find(&self, _message: &Message, _since: Timestamp) -> Lookup {
        Lookup::CannotTell
    }
}

/// What a provider said when it took the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendReceipt {
    /// The name under which later receipts speak of this message.
    pub(crate) provider_message_id: Option<String>,
    /// HTTP status or SMTP code.
    pub(crate) status: Option<u16>,
    /// The provider's words, at most [`MAX_ANSWER_CHARS`](super::answer::MAX_ANSWER_CHARS) characters, without secrets.
    pub(crate) answer: String,
    /// Push subscriptions that no longer exist.
    pub(crate) gone: Vec<Id>,
}

impl SendReceipt {
    /// The receipt as it is kept, whatever its adapter has read (see [`answer`](super::answer)).
    pub(super) fn kept(self) -> Self {
        Self {
            provider_message_id: self.provider_message_id.as_deref().and_then(message_id),
            answer: excerpt(&self.answer, None),
            ..self
        }
    }
}

/// What became of a message whose outcome was unknown (d27).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Sent(SendReceipt),
    /// The provider keeps record and has none of this message.
    NotFound,
    /// The provider keeps no record, or does not answer.
    CannotTell,
}

/// Settings with which a provider cannot work. The variable and the remedy are named.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("{variable} {problem}")]
    Setting { variable: &'static str, problem: String },
    #[error("the certificate authority in EMAIL_SSL_CAFILE ({}) cannot be read; name a readable PEM file", path.display())]
    CaFile { path: PathBuf, source: std::io::Error },
    #[error("TLS cannot be set up; is the system's trust store (ca-certificates) installed?")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}
