//! The ways to a person.

use std::fmt;
use std::str::FromStr;

use recado_kernel::addresses::{mask_email, mask_phone};
use recado_queue::lanes::Lane;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A way to reach a person. The wire and the database write it in lower case (`email`, `whatsapp`, `push`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    Email,
    Whatsapp,
    Push,
}

impl Channel {
    /// Every channel, in the order in which they are tried where a customer states no preference.
    pub const ALL: [Self; 3] = [Self::Email, Self::Whatsapp, Self::Push];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Whatsapp => "whatsapp",
            Self::Push => "push",
        }
    }

    /// The lane of its messages: a slow provider holds no other channel up.
    pub const fn lane(self) -> Lane {
        Lane::new(match self {
            Self::Email => "notifications.email",
            Self::Whatsapp => "notifications.whatsapp",
            Self::Push => "notifications.push",
        })
    }

    /// Whether its providers say later what became of a message. SMTP bounces are mails of their own and push services
    /// report nothing, so there only WhatsApp tells (d19).
    pub fn has_receipts(self) -> bool {
        match self {
            Self::Whatsapp => true,
            Self::Email | Self::Push => false,
        }
    }

    /// The name that staff read (`channel_display`, S002-52).
    pub fn display_name(self) -> &'static str {
        match self {
            Self::Email => "Email",
            Self::Whatsapp => "WhatsApp",
            Self::Push => "Push",
        }
    }
}

/// The lanes of all channels.
pub const LANES: [Lane; 3] = [Channel::Email.lane(), Channel::Whatsapp.lane(), Channel::Push.lane()];

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no channel.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a channel; choose email, whatsapp or push")]
pub struct UnknownChannel(String);

impl FromStr for Channel {
    type Err = UnknownChannel;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == word).ok_or_else(|| UnknownChannel(word.to_owned()))
    }
}

impl TryFrom<String> for Channel {
    type Error = UnknownChannel;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        word.parse()
    }
}

/// An address as somebody may see it who need not know where people are reached. `None` for pushes, which have none.
pub fn mask(channel: Channel, address: &str) -> Option<String> {
    match channel {
        Channel::Email => Some(mask_email(address)),
        Channel::Whatsapp => Some(mask_phone(address)),
        Channel::Push => None,
    }
}
