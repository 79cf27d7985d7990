//! What a provider reports of a message that it took.

use recado_kernel::word_enum;
use serde_json::Value;

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Report {
    /// The network has it: one tick.
    Sent,
    /// The device has it: two ticks.
    Delivered,
    /// It was opened: two blue ticks.
    Read,
    /// The network refused it for good.
    Failed,
}

word_enum!(Report, "a report");

impl Report {
    /// Evolution's word, or the number that Baileys has for it. `None` for what changes nothing (`PENDING`, `DELETED`) and
    /// for words of other versions.
    pub(crate) fn of(status: &Value) -> Option<Self> {
        let word = status.as_str().map(str::to_ascii_uppercase);
        match (word.as_deref(), status.as_i64()) {
            (Some("ERROR"), _) | (None, Some(0)) => Some(Self::Failed),
            (Some("SERVER_ACK"), _) | (None, Some(2)) => Some(Self::Sent),
            (Some("DELIVERY_ACK"), _) | (None, Some(3)) => Some(Self::Delivered),
            (Some("READ" | "PLAYED"), _) | (None, Some(4 | 5)) => Some(Self::Read),
            _ => None,
        }
    }
}
