//! The audiences: whom a text is written for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The audience of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    #[default]
    Clients,
    Staff,
}

impl Target {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Staff => "staff",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "clients" => Ok(Self::Clients),
            "staff" => Ok(Self::Staff),
            _ => Err(format!("`{word}` is not an audience; choose clients or staff")),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        word.parse()
    }
}
