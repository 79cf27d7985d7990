//! Who is told what, on which channels: the matrix of phase × channel that a workshop configures, and the plan for one event.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::channels::Channel;
use crate::customers::{Customer, Preference};
use crate::db::{Result, Session};
use crate::ids::Id;
use crate::sql;

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

    fn from_str(word: &str) -> std::result::Result<Self, String> {
        match word {
            "clients" => Ok(Self::Clients),
            "staff" => Ok(Self::Staff),
            _ => Err(format!("`{word}` is not an audience; choose clients or staff")),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(word: String) -> std::result::Result<Self, String> {
        word.parse()
    }
}

/// Whether the channels of an event are tried one after the other, or all at once (d12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryMode {
    #[default]
    Fallback,
    All,
}

impl DeliveryMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fallback => "fallback",
            Self::All => "all",
        }
    }
}

impl TryFrom<String> for DeliveryMode {
    type Error = String;

    fn try_from(word: String) -> std::result::Result<Self, String> {
        match word.as_str() {
            "fallback" => Ok(Self::Fallback),
            "all" => Ok(Self::All),
            _ => Err(format!("`{word}` is not a delivery mode; choose fallback or all")),
        }
    }
}

/// The sign that a message arrived. A cell may wait for it before it tries the next channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum AwaitedReceipt {
    /// It reached the device or the mailbox.
    Delivered,
    /// Somebody opened it.
    Read,
}

impl AwaitedReceipt {
    /// The word of the wire and of the column `await_receipt`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

impl fmt::Display for AwaitedReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AwaitedReceipt {
    type Err = String;

    fn from_str(word: &str) -> std::result::Result<Self, String> {
        match word {
            "delivered" => Ok(Self::Delivered),
            "read" => Ok(Self::Read),
            _ => Err(format!("`{word}` is not a receipt; choose delivered or read")),
        }
    }
}

/// The configuration of a type or subtype of service for one audience.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Orchestration {
    pub id: Id,
    pub service_type_id: Id,
    #[sqlx(try_from = "String")]
    pub target: Target,
    pub taller_id: Option<String>,
    pub is_active: bool,
    pub description: String,
    #[sqlx(try_from = "String")]
    pub delivery_mode: DeliveryMode,
}

/// One cell of its matrix.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Cell {
    pub id: Id,
    pub config_id: Id,
    pub phase_id: Id,
    #[sqlx(try_from = "String")]
    pub channel: Channel,
    pub enabled: bool,
    /// This template and no other; `None` for the best match.
    pub template_id: Option<Id>,
    /// Without this receipt [`await_seconds`](Self::await_seconds) after the message was sent, the next channel is tried.
    /// `None`: that it was sent is enough.
    pub await_receipt: Option<AwaitedReceipt>,
    /// How long to wait for the receipt, 1 to [`LONGEST_AWAIT`]; there when `await_receipt` is.
    pub await_seconds: Option<i32>,
}

/// The longest that a message may wait for its receipt, in seconds: a week.
pub const LONGEST_AWAIT: i32 = 7 * 24 * 60 * 60;

pub async fn all(session: &mut Session) -> Result<(Vec<Orchestration>, Vec<Cell>)> {
    let configs = sql!(all Orchestration, session,
        "select id, service_type_id, target, taller_id, is_active, description, delivery_mode from orchestration_configs"
    )?;
    let cells = sql!(all Cell, session, 
        "select id, config_id, phase_id, channel, enabled, template_id, await_receipt, await_seconds from phase_channel_configs")?;
    Ok((configs, cells))
}

/// Why a channel is not used. The word is stable, the sentence is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    DisabledInMatrix,
    NotRequested,
    OptedOut,
    NoAddress,
    NoPushSubscription,
    NoTemplate,
}

impl SkipReason {
    pub fn code(self) -> &'static str {
        match self {
            Self::DisabledInMatrix => "disabled_in_matrix",
            Self::NotRequested => "not_requested",
            Self::OptedOut => "opted_out",
            Self::NoAddress => "no_address",
            Self::NoPushSubscription => "no_push_subscription",
            Self::NoTemplate => "no_template",
        }
    }

    pub fn explanation(self) -> &'static str {
        match self {
            Self::DisabledInMatrix => "El canal está apagado en la matriz de orquestación para esta fase.",
            Self::NotRequested => "El recordatorio se avisa solo por otros canales.",
            Self::OptedOut => "El cliente desactivó este canal en sus preferencias.",
            Self::NoAddress => "El cliente no tiene dirección o número para este canal.",
            Self::NoPushSubscription => "El cliente no tiene ningún dispositivo suscrito a notificaciones push.",
            Self::NoTemplate => "No hay una plantilla activa para este canal en este contexto.",
        }
    }
}

/// A person, as the plan needs to know them.
pub struct Person<'a> {
    pub customer: &'a Customer,
    pub preferences: &'a [&'a Preference],
    pub devices: i64,
    /// The only channels that may be used this time; empty for all.
    pub only: &'a [Channel],
}

/// The channels to try, in order, and the ones that are left out with the reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Channels {
    pub chosen: Vec<Channel>,
    pub skipped: Vec<(Channel, SkipReason)>,
}

/// Which channels an event takes to a person (flow 2 and 3 of seed 002).
///
/// First what the person prefers, by priority; then the enabled channels that the preferences do not mention. A preference
/// that is switched off removes its channel for good.
pub fn choose(person: &Person<'_>, enabled: impl Fn(Channel) -> bool) -> Channels {
    let preference = |channel| person.preferences.iter().find(|preference| preference.channel == channel);
    let mut order = Channel::ALL;
    order.sort_by_key(|channel| preference(*channel).map_or(i32::MAX, |preference| preference.priority));

    let mut channels = Channels::default();
    for channel in order {
        let reason = if !enabled(channel) {
            Some(SkipReason::DisabledInMatrix)
        } else if !person.only.is_empty() && !person.only.contains(&channel) {
            Some(SkipReason::NotRequested)
        } else if preference(channel).is_some_and(|preference| !preference.enabled) {
            Some(SkipReason::OptedOut)
        } else if channel == Channel::Push {
            (person.devices == 0).then_some(SkipReason::NoPushSubscription)
        } else {
            person.customer.address(channel).is_none().then_some(SkipReason::NoAddress)
        };
        match reason {
            Some(reason) => channels.skipped.push((channel, reason)),
            None => channels.chosen.push(channel),
        }
    }
    channels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn customer(email: Option<&str>, phone: Option<&str>) -> Customer {
        let epoch = Timestamp::from_micros(0);
        Customer {
            id: Id::of_name("c"),
            customer_id: "customer-001".into(),
            first_name: String::new(),
            last_name: String::new(),
            email: email.map(str::to_owned),
            phone: phone.map(str::to_owned),
            whatsapp: None,
            quiet_from: None,
            quiet_until: None,
            time_zone: None,
            sync_version: None,
            created_at: epoch,
            updated_at: epoch,
        }
    }

    fn preference(channel: Channel, enabled: bool, priority: i32) -> Preference {
        Preference { id: Id::of_name("p"), customer_id: "customer-001".into(), channel, enabled, priority }
    }

    #[test]
    fn without_preferences_the_enabled_channels_are_tried_in_their_own_order() {
        let customer = customer(Some("c@example.com"), Some("+593991234567"));
        let plan = choose(&Person { customer: &customer, preferences: &[], devices: 1, only: &[] }, |_| true);
        assert_eq!(plan, Channels { chosen: Channel::ALL.to_vec(), skipped: vec![] });
    }

    /// What a reminder asks for narrows the choice; it overrides neither the matrix nor an opt-out.
    #[test]
    fn only_the_channels_that_are_asked_for() {
        let customer = customer(Some("c@example.com"), Some("+593991234567"));
        let refused = [preference(Channel::Whatsapp, false, 1)];
        let refused: Vec<&Preference> = refused.iter().collect();
        let only = [Channel::Whatsapp, Channel::Push];
        let plan = choose(&Person { customer: &customer, preferences: &refused, devices: 1, only: &only }, |_| true);
        assert_eq!(plan.chosen, [Channel::Push]);
        assert_eq!(
            plan.skipped,
            [(Channel::Whatsapp, SkipReason::OptedOut), (Channel::Email, SkipReason::NotRequested)]
        );
    }

    #[test]
    fn preferences_order_and_opt_out_and_every_gap_has_its_reason() {
        let customer = customer(None, Some("+593991234567"));
        let preferences = [preference(Channel::Push, true, 1), preference(Channel::Whatsapp, true, 2)];
        let preferences: Vec<&Preference> = preferences.iter().collect();
        let plan = choose(&Person { customer: &customer, preferences: &preferences, devices: 0, only: &[] }, |_| true);
        assert_eq!(plan.chosen, [Channel::Whatsapp]);
        assert_eq!(
            plan.skipped,
            [(Channel::Push, SkipReason::NoPushSubscription), (Channel::Email, SkipReason::NoAddress)]
        );

        let refused = [preference(Channel::Whatsapp, false, 1)];
        let refused: Vec<&Preference> = refused.iter().collect();
        let plan = choose(&Person { customer: &customer, preferences: &refused, devices: 1, only: &[] }, |channel| {
            channel != Channel::Push
        });
        assert!(plan.chosen.is_empty());
        assert!(plan.skipped.contains(&(Channel::Whatsapp, SkipReason::OptedOut)));
        assert!(plan.skipped.contains(&(Channel::Push, SkipReason::DisabledInMatrix)));
    }
}
