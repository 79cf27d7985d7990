//! A WhatsApp message as the sandbox keeps it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A text that the Evolution API took for sending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WhatsappMessage {
    /// `key.id` of the answer, and `keyId` of the receipts.
    pub id: String,
    /// As the client wrote it.
    pub number: String,
    /// What WhatsApp makes of the number: `593991234567@s.whatsapp.net`.
    pub jid: String,
    /// The number behind a hidden chat, where WhatsApp tells it: `remoteJidAlt`.
    pub jid_alt: Option<String>,
    /// The chat has disappearing messages: the record's text stands within.
    pub is_wrapped: bool,
    /// With its line breaks and emoji.
    pub text: String,
    /// When it was taken.
    pub at: DateTime<Utc>,
    /// The newest receipt.
    pub status: WhatsappStatus,
    /// All receipts in their order; `PENDING` is not one.
    pub receipts: Vec<WhatsappStatus>,
}

/// By which name WhatsApp knows a chat, and Evolution files its messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChatName {
    /// The number as it was written.
    #[default]
    Number,
    /// The number as it was when its owner registered: Brazil's without the ninth digit, Mexico's with the 1.
    OldNumber,
    /// `…@lid`, with the number beside it.
    HiddenWithNumber,
    /// `…@lid` alone.
    Hidden,
}

/// How far a message has come (Baileys' `WAMessageStatus`, as Evolution spells it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WhatsappStatus {
    /// WhatsApp refused it.
    Error,
    /// Taken by Evolution, not yet by WhatsApp.
    Pending,
    /// WhatsApp has it: one tick.
    ServerAck,
    /// The recipient's telephone has it: two ticks.
    DeliveryAck,
    /// The recipient has seen it: two blue ticks.
    Read,
    /// A voice message was listened to.
    Played,
    /// Withdrawn.
    Deleted,
}
