//! The choice of channels for one event: the matrix, what the customer prefers, and where they can be reached. Pure.

use recado_kernel::language::Language;
use recado_kernel::word_enum;
use serde::{Deserialize, Serialize};

use crate::channels::Channel;
use crate::customers::{Customer, Preference};
use crate::workshops::Workshop;

/// Why a channel is not used. The word is stable, the sentence is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum SkipReason {
    DisabledInMatrix,
    NotRequested,
    DisabledByWorkshop,
    OptedOut,
    NoAddress,
    NoPushSubscription,
    NoTemplate,
    /// The address stands on the list of suppressions: it bounced, or staff put it there.
    Suppressed,
}

word_enum!(SkipReason, "a reason to skip a channel");

impl SkipReason {
    pub fn explanation(self, language: Language) -> &'static str {
        match self {
            Self::DisabledInMatrix => language.pick(
                "El canal está apagado en la matriz de orquestación para esta fase.",
                "The channel is switched off in the orchestration matrix for this phase.",
            ),
            Self::NotRequested => language.pick(
                "El recordatorio se avisa solo por otros canales.",
                "The reminder is told on other channels only.",
            ),
            Self::DisabledByWorkshop => {
                language.pick("El taller tiene este canal apagado.", "The workshop has switched this channel off.")
            }
            Self::OptedOut => language.pick(
                "El cliente desactivó este canal en sus preferencias.",
                "The customer switched this channel off in their preferences.",
            ),
            Self::NoAddress => language.pick(
                "El cliente no tiene dirección o número para este canal.",
                "The customer has no address or number for this channel.",
            ),
            Self::NoPushSubscription => language.pick(
                "El cliente no tiene ningún dispositivo suscrito a notificaciones push.",
                "The customer has no device that is subscribed to push notifications.",
            ),
            Self::Suppressed => language.pick(
                "La dirección está en la lista de supresión (por ejemplo, porque rebotó). Corríjala en el cliente, o \
                 levante la supresión en /api/v1/notifications/suppressions/.",
                "The address is on the suppression list (for example because it bounced). Correct it in the customer, or \
                 lift the suppression at /api/v1/notifications/suppressions/.",
            ),
            Self::NoTemplate => language.pick(
                "No hay una plantilla activa para este canal en este contexto.",
                "There is no active template for this channel in this context.",
            ),
        }
    }
}

/// A channel that a chain does not use, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedChannel {
    pub channel: Channel,
    pub reason: SkipReason,
}

/// A customer, as the choice needs to know them.
pub struct Person<'a> {
    pub customer: &'a Customer,
    pub preferences: &'a [&'a Preference],
    pub devices: i64,
    /// The only channels that may be used this time; empty for all.
    pub only: &'a [Channel],
    /// Channels on which their address is suppressed.
    pub suppressed: &'a [Channel],
    /// The workshop that writes to them, where it has settings.
    pub workshop: Option<&'a Workshop>,
}

impl Person<'_> {
    /// The priority that they gave a channel; `None` when they said nothing about it.
    pub fn priority(&self, channel: Channel) -> Option<i32> {
        self.preferences.iter().find(|preference| preference.channel == channel).map(|preference| preference.priority)
    }
}

/// Why a channel has its place, for staff, from the priority that the customer gave it.
pub fn reason(preferred: Option<i32>, language: Language) -> String {
    match preferred {
        Some(priority) => language.pick(
            format!("Prioridad {priority} en las preferencias del cliente."),
            format!("Priority {priority} in the customer's preferences."),
        ),
        None => {
            let order = Channel::WORDS.join(", ");
            language.pick(
                format!("El cliente no indicó una preferencia para este canal; vale el orden de la matriz: {order}."),
                format!("The customer stated no preference for this channel; the matrix's own order holds: {order}."),
            )
        }
    }
}

/// The channels to try, in order, and the ones that are left out with the reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Channels {
    pub chosen: Vec<Channel>,
    pub skipped: Vec<SkippedChannel>,
}

/// Which channels an event takes to a customer (flow 2 and 3 of seed 002).
///
/// First what the customer prefers, by priority; then the enabled channels that the preferences do not mention. A preference
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
        } else if person.workshop.is_some_and(|workshop| !workshop.is_enabled(channel)) {
            Some(SkipReason::DisabledByWorkshop)
        } else if preference(channel).is_some_and(|preference| !preference.enabled) {
            Some(SkipReason::OptedOut)
        } else if channel == Channel::Push {
            (person.devices == 0).then_some(SkipReason::NoPushSubscription)
        } else {
            match person.customer.address(channel) {
                None => Some(SkipReason::NoAddress),
                Some(_) => person.suppressed.contains(&channel).then_some(SkipReason::Suppressed),
            }
        };
        match reason {
            Some(reason) => channels.skipped.push(SkippedChannel { channel, reason }),
            None => channels.chosen.push(channel),
        }
    }
    channels
}

#[cfg(test)]
mod tests {
    use recado_kernel::ids::Id;

    use super::*;

    fn customer(email: Option<&str>, phone: Option<&str>) -> Customer {
        Customer {
            customer_id: "customer-001".into(),
            email: email.map(str::to_owned),
            phone: phone.map(str::to_owned),
            ..Customer::default()
        }
    }

    fn preference(channel: Channel, enabled: bool, priority: i32) -> Preference {
        Preference { id: Id::of_name("p"), customer_id: "customer-001".into(), channel, enabled, priority }
    }

    #[test]
    fn without_preferences_the_enabled_channels_are_tried_in_their_own_order() {
        let customer = customer(Some("c@example.com"), Some("+593991234567"));
        let plan = choose(
            &Person { customer: &customer, preferences: &[], devices: 1, only: &[], suppressed: &[], workshop: None },
            |_| true,
        );
        assert_eq!(plan, Channels { chosen: Channel::ALL.to_vec(), skipped: vec![] });
    }

    /// What a reminder asks for narrows the choice; it overrides neither the matrix nor an opt-out.
    #[test]
    fn only_the_channels_that_are_asked_for() {
        let customer = customer(Some("c@example.com"), Some("+593991234567"));
        let refused = [preference(Channel::Whatsapp, false, 1)];
        let refused: Vec<&Preference> = refused.iter().collect();
        let only = [Channel::Whatsapp, Channel::Push];
        let plan = choose(
            &Person {
                customer: &customer,
                preferences: &refused,
                devices: 1,
                only: &only,
                suppressed: &[],
                workshop: None,
            },
            |_| true,
        );
        assert_eq!(plan.chosen, [Channel::Push]);
        assert_eq!(
            plan.skipped,
            [
                SkippedChannel { channel: Channel::Whatsapp, reason: SkipReason::OptedOut },
                SkippedChannel { channel: Channel::Email, reason: SkipReason::NotRequested }
            ]
        );
    }

    #[test]
    fn a_suppressed_address_is_left_out_and_says_so() {
        let customer = customer(Some("c@example.com"), Some("+593991234567"));
        let person = Person {
            customer: &customer,
            preferences: &[],
            devices: 0,
            only: &[],
            suppressed: &[Channel::Email],
            workshop: None,
        };
        let plan = choose(&person, |channel| channel != Channel::Push);
        assert_eq!(plan.chosen, [Channel::Whatsapp]);
        assert!(plan.skipped.contains(&SkippedChannel { channel: Channel::Email, reason: SkipReason::Suppressed }));
    }

    #[test]
    fn preferences_order_and_opt_out_and_every_gap_has_its_reason() {
        let customer = customer(None, Some("+593991234567"));
        let preferences = [preference(Channel::Push, true, 1), preference(Channel::Whatsapp, true, 2)];
        let preferences: Vec<&Preference> = preferences.iter().collect();
        let plan = choose(
            &Person {
                customer: &customer,
                preferences: &preferences,
                devices: 0,
                only: &[],
                suppressed: &[],
                workshop: None,
            },
            |_| true,
        );
        assert_eq!(plan.chosen, [Channel::Whatsapp]);
        assert_eq!(
            plan.skipped,
            [
                SkippedChannel { channel: Channel::Push, reason: SkipReason::NoPushSubscription },
                SkippedChannel { channel: Channel::Email, reason: SkipReason::NoAddress }
            ]
        );

        let refused = [preference(Channel::Whatsapp, false, 1)];
        let refused: Vec<&Preference> = refused.iter().collect();
        let plan = choose(
            &Person {
                customer: &customer,
                preferences: &refused,
                devices: 1,
                only: &[],
                suppressed: &[],
                workshop: None,
            },
            |channel| channel != Channel::Push,
        );
        assert!(plan.chosen.is_empty());
        assert!(plan.skipped.contains(&SkippedChannel { channel: Channel::Whatsapp, reason: SkipReason::OptedOut }));
        assert!(
            plan.skipped.contains(&SkippedChannel { channel: Channel::Push, reason: SkipReason::DisabledInMatrix })
        );
    }
}
