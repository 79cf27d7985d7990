//! What an adapter does, and what it answers.

use std::path::PathBuf;

use async_trait::async_trait;
use recado_conversations::bridge::BridgeError;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::push::Finding;

use super::answer::{excerpt, message_id};
use super::failure::SendFailure;
use super::message::Message;

/// Takes messages to people on one channel.
#[async_trait]
pub(crate) trait Provider: Send + Sync {
    /// Sends a message. It may be called again for the same message after a failure.
    async fn send(&self, message: &Message) -> Result<SendReceipt, SendFailure>;

    /// Whether it would take a message now: it is reached, and lets us in. Nothing is sent. Where there is no server to ask,
    /// because each browser names its own, usable settings are all that can be known.
    async fn check(&self) -> Result<String, SendFailure> {
        Ok("its settings can be used".to_owned())
    }

    /// After an unknown outcome: what has the provider on record that may be this message, sent at `since` or later?
    async fn find(&self, _message: &Message, _since: Timestamp) -> Lookup {
        Lookup::NoRecords
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
    /// What was found out about devices.
    pub(crate) devices: Vec<(Id, Finding)>,
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

/// What a provider has on record of a message whose outcome was unknown (d27).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// What may be this message, the oldest first. None: it has no such message.
    Records(Vec<Record>),
    /// This provider keeps no records, so that nothing can be asked.
    NoRecords,
    /// It does not answer, or not what it was asked.
    CannotTell,
}

/// A message that a provider has on record, with the words of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) provider_message_id: String,
    pub(crate) likeness: Likeness,
}

impl Record {
    /// Whether its name can be kept (see [`answer`](super::answer)).
    pub(super) fn fits(&self) -> bool {
        message_id(&self.provider_message_id).is_some()
    }
}

/// How far a record names our message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// It bears the name that we gave the message: no other has it.
    OurName,
    /// It went to our recipient.
    Recipient,
    /// It went to somebody whom the provider calls by a name that we cannot read.
    Unnamed,
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
    #[error(transparent)]
    Bridge(#[from] BridgeError),
}
