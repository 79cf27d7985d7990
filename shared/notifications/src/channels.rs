//! The ways to a person.

use recado_kernel::addresses::{mask_email, mask_phone};
use recado_kernel::word_enum;
use recado_queue::lanes::Lane;
use utoipa::ToSchema;

/// A way to reach a person: `email`, `whatsapp` or `push`. Where a customer states no preference, they are tried in this order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr, strum::VariantArray, ToSchema,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Whatsapp,
    Push,
}

word_enum!(Channel, "a channel");

impl Channel {
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

/// A text with this address masked wherever it stands: providers repeat the address that they refuse.
pub fn without(channel: Channel, address: &str, text: &str) -> String {
    let Some(masked) = mask(channel, address).filter(|_| !address.is_empty()) else { return text.to_owned() };
    // Evolution names a number without its plus.
    let bare = address.trim_start_matches('+');
    text.replace(address, &masked).replace(bare, masked.trim_start_matches('+'))
}

/// An address with its middle hidden, for callers who need not know it. `None` for pushes, which have none.
pub fn mask(channel: Channel, address: &str) -> Option<String> {
    match channel {
        Channel::Email => Some(mask_email(address)),
        Channel::Whatsapp => Some(mask_phone(address)),
        Channel::Push => None,
    }
}
