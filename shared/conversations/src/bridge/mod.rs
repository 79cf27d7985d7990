//! The bridge: a service beside a telephone that speaks to WhatsApp for us, as we ask it.
//!
//! Whatever it does, the caller gets a [`Failure`] in bounded time: each question has its limit (S003-20), answers are read up to
//! a size, no redirect is followed. An answer's odd rows are left out; an answer that is no answer is [`Failure::Nonsense`].
//!
//! The API asks it too, while a request waits. Its address is the operator's own setting, so there is nothing to guard against
//! (docs/adr/0013-the-api-asks-the-bridge.md).

pub(crate) mod baileys;
mod evolution;
mod http;
mod node;
mod reading;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use recado_kernel::config::{BridgeKind, Config};
use serde_json::Value;

use self::evolution::Evolution;
use self::node::Node;
pub use self::reading::{bare_id, moment};

/// Limit of the list of all chats (S003-20).
const CHATS_LIMIT: Duration = Duration::from_secs(30);
/// Limit of one chat's history (S003-20).
const HISTORY_LIMIT: Duration = Duration::from_secs(60);

/// Through which WhatsApp is asked. Cheap to clone.
#[derive(Clone)]
pub struct Bridge {
    service: Arc<Service>,
}

/// The kinds of bridge.
enum Service {
    Node(Node),
    Evolution(Evolution),
}

/// To whom a text goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `…@g.us`
    Group(String),
    /// `…@lid`: an id that must be used as it is (d31).
    Chat(String),
    /// Digits.
    Phone(String),
}

impl Target {
    /// The one that an id of WhatsApp names. `None`: it is none to which one can write, such as `status@broadcast`.
    pub fn of(chat_id: &str) -> Option<Self> {
        let (user, server) = chat_id.split_once('@')?;
        let is_digits = !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit());
        match server {
            // Old groups have a hyphen: creator and time.
            "g.us" if !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
                Some(Self::Group(chat_id.to_owned()))
            }
            "lid" if is_digits => Some(Self::Chat(chat_id.to_owned())),
            "c.us" | "s.whatsapp.net" if is_digits => Some(Self::Phone(user.to_owned())),
            _ => None,
        }
    }

    /// WhatsApp's id of the chat.
    pub fn chat_id(&self) -> String {
        match self {
            Self::Group(id) | Self::Chat(id) => id.clone(),
            Self::Phone(digits) => format!("{digits}@c.us"),
        }
    }
}

/// A text was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// WhatsApp's id. The public Node service does not tell it (d31a): it comes with the echo.
    pub message_id: Option<String>,
}

/// Why the bridge did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The bridge works, but its session of WhatsApp is not connected. Later.
    #[error("WhatsApp is not connected at the bridge; scan its QR code with the telephone")]
    NotReady,
    /// It understood, and says no: a number that is not on WhatsApp, a chat that it does not know. It would say so again.
    #[error("the bridge refuses: {0}")]
    Refused(String),
    /// A text may have left, or not: the time was up, or the connection broke, after it was sent to the bridge (d27).
    #[error("the bridge did not answer in time; the message may have left")]
    Unknown,
    /// It cannot be reached, does not answer a question in time, or fails. Later; a text has not left.
    #[error("the bridge cannot be asked: {0}")]
    Unreachable(String),
    /// What answers is no bridge, such as the login page of a proxy. A text has not left.
    #[error("what answers is not a bridge ({0}); check WHATSAPP_SERVICE_URL, or EVOLUTION_API_URL where that is none")]
    Nonsense(String),
}

/// The bridge cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    #[error(
        "the URL of the bridge cannot be used ({0}); look at WHATSAPP_SERVICE_URL, or EVOLUTION_API_URL where that is not set"
    )]
    Url(#[from] url::ParseError),
    #[error("EVOLUTION_API_KEY has letters that no HTTP header may have; copy it again")]
    Key,
    #[error("no HTTP client for the bridge can be set up")]
    Client(#[from] reqwest::Error),
}

/// What a bridge says of its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub is_ready: bool,
    /// As the owner of the telephone calls herself; the Node service names it `number`.
    pub push_name: Option<String>,
    /// Digits.
    pub phone_number: Option<String>,
    pub has_qr: bool,
    /// It is connecting: mostly it is back in a moment, and sometimes it waits for a QR code to be scanned.
    pub is_connecting: bool,
}

/// A chat or group as the bridge lists it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// WhatsApp's own.
    pub chat_id: String,
    pub is_group: bool,
    pub name: Option<String>,
    pub whatsapp_name: Option<String>,
    pub profile_picture_url: Option<String>,
    /// Digits; only where the bridge really knows them.
    pub phone: Option<String>,
    pub description: Option<String>,
    /// `None`: the bridge does not say.
    pub participants: Option<Vec<Value>>,
    pub unread_count: u32,
    pub last_message: Option<LastMessage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastMessage {
    pub text: String,
    /// Seconds or milliseconds since 1970, as the bridge says it (d31).
    pub timestamp: Option<i64>,
}

/// A message of a chat's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// WhatsApp's id, bare: see [`bare_id`].
    pub id: String,
    /// The same as the bridge wrote it.
    pub written_id: String,
    pub from_me: bool,
    pub text: String,
    /// Seconds or milliseconds since 1970, as the bridge says it (d31).
    pub timestamp: Option<i64>,
    pub sender_name: Option<String>,
    /// Digits.
    pub sender_phone: Option<String>,
    pub media_type: Option<String>,
    pub reply_to: Option<String>,
}

impl Bridge {
    /// The bridge that the settings name; `None` when there is none.
    ///
    /// # Errors
    /// When its URL cannot be used, or TLS cannot be set up.
    pub fn new(config: &Config) -> Result<Option<Self>, BridgeError> {
        let Some(settings) = &config.conversations.bridge else { return Ok(None) };
        let service = match &settings.kind {
            BridgeKind::Node => Service::Node(Node::new(settings)?),
            BridgeKind::Evolution { instance, api_key } => {
                Service::Evolution(Evolution::new(settings, instance, api_key)?)
            }
        };
        Ok(Some(Self { service: Arc::new(service) }))
    }

    /// Has a text sent. It is not repeated here, whatever happens.
    ///
    /// # Errors
    /// See [`Failure`], which says whether the text may have left.
    pub async fn send(&self, to: &Target, text: &str) -> Result<Sent, Failure> {
        match &*self.service {
            Service::Node(node) => node.send(to, text).await,
            Service::Evolution(evolution) => evolution.send(to, text).await,
        }
    }

    /// How its session is.
    ///
    /// # Errors
    /// When the bridge does not say.
    pub async fn status(&self) -> Result<Status, Failure> {
        match &*self.service {
            Service::Node(node) => node.status().await,
            Service::Evolution(evolution) => evolution.status().await,
        }
    }

    /// The QR code that waits to be scanned, as the text to be drawn; `None` when there is none. Evolution API makes one when it is
    /// asked and the telephone is not linked.
    ///
    /// # Errors
    /// When the bridge does not say.
    pub async fn qr(&self) -> Result<Option<String>, Failure> {
        match &*self.service {
            Service::Node(node) => node.qr().await,
            Service::Evolution(evolution) => evolution.qr().await,
        }
    }

    /// All chats, groups among them. 30 s.
    ///
    /// # Errors
    /// When the bridge does not say.
    pub async fn chats(&self) -> Result<Vec<Listed>, Failure> {
        match &*self.service {
            Service::Node(node) => node.chats().await,
            Service::Evolution(evolution) => evolution.chats().await,
        }
    }

    /// All groups.
    ///
    /// # Errors
    /// When the bridge does not say.
    pub async fn groups(&self) -> Result<Vec<Listed>, Failure> {
        match &*self.service {
            Service::Node(node) => node.groups().await,
            Service::Evolution(evolution) => evolution.groups().await,
        }
    }

    /// The newest messages of a chat, at most `limit`, oldest first. 60 s.
    ///
    /// # Errors
    /// When the bridge does not say; [`Failure::Refused`] when it does not know the chat.
    pub async fn messages(&self, chat_id: &str, limit: u32) -> Result<Vec<Remembered>, Failure> {
        match &*self.service {
            Service::Node(node) => node.messages(chat_id, limit).await,
            Service::Evolution(evolution) => evolution.messages(chat_id, limit).await,
        }
    }

    /// One group, with its participants.
    ///
    /// # Errors
    /// When the bridge does not say.
    pub async fn group_info(&self, chat_id: &str) -> Result<Listed, Failure> {
        match &*self.service {
            Service::Node(node) => node.group_info(chat_id).await,
            Service::Evolution(evolution) => evolution.group_info(chat_id).await,
        }
    }

    /// Starts its session again: a telephone that is linked connects again, and one that is not gets a new QR code.
    ///
    /// # Errors
    /// When the bridge does not do it; [`Failure::Refused`] by bridges that cannot.
    pub async fn restart(&self) -> Result<(), Failure> {
        match &*self.service {
            Service::Node(node) => node.restart().await,
            Service::Evolution(evolution) => evolution.restart().await,
        }
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Bridge")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_their_target() {
        let group = |id: &str| Some(Target::Group(id.to_owned()));
        assert_eq!(Target::of("120363041@g.us"), group("120363041@g.us"));
        assert_eq!(Target::of("593991234567-1531234567@g.us"), group("593991234567-1531234567@g.us"));
        assert_eq!(Target::of("37881745801364@lid"), Some(Target::Chat("37881745801364@lid".to_owned())));
        assert_eq!(Target::of("593991234567@c.us"), Some(Target::Phone("593991234567".to_owned())));
        assert_eq!(Target::of("593991234567@s.whatsapp.net"), Some(Target::Phone("593991234567".to_owned())));
        for none in ["", "593991234567", "@c.us", "@g.us", "a@c.us", "status@broadcast", "1@newsletter", "1@c.us@c.us"]
        {
            assert_eq!(Target::of(none), None, "{none}");
        }
    }
}
