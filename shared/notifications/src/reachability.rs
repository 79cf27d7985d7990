//! On which channels a person can be reached now, and why not on the others. The same choice as for an event, without a phase: the
//! matrix may still switch a channel off.

use chrono_tz::Tz;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::language::Language;
use recado_kernel::word_enum;
use recado_queue::pauses::{self, Pause};

use crate::channels::Channel;
use crate::orchestration::{self, Person, SkipReason};
use crate::quiet_hours::Rest;
use crate::system::Notifications;
use crate::{customers, suppressions};

/// One channel of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    pub channel: Channel,
    /// Its place among the channels that an event would try, from 0; `None`: it would not be tried.
    pub place: Option<usize>,
    /// Why nothing would leave on it now; `None`: it would.
    pub obstacle: Option<Obstacle>,
    /// When the obstacle ends by itself.
    pub until: Option<Timestamp>,
}

/// What stands between a person and a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Obstacle {
    DisabledByWorkshop,
    OptedOut,
    NoAddress,
    NoPushSubscription,
    Suppressed,
    /// A message would be kept until they are over, unless it is critical.
    QuietHours,
    /// No worker takes messages of the channel: an operator paused it.
    Paused,
}

word_enum!(Obstacle, "an obstacle");

impl Obstacle {
    /// Why, and what helps.
    pub fn explanation(self, language: Language) -> &'static str {
        match self {
            Self::DisabledByWorkshop => language.pick(
                "El taller tiene este canal apagado. Enciéndalo en sus ajustes.",
                "The workshop has switched this channel off. Switch it on in its settings.",
            ),
            Self::OptedOut => language.pick(
                "El cliente desactivó este canal en sus preferencias.",
                "The customer switched this channel off in their preferences.",
            ),
            Self::NoAddress => language.pick(
                "El cliente no tiene dirección o número para este canal. Añádalo al cliente.",
                "The customer has no address or number for this channel. Add it to the customer.",
            ),
            Self::NoPushSubscription => language.pick(
                "El cliente no tiene ningún dispositivo suscrito a notificaciones push.",
                "The customer has no device that is subscribed to push notifications.",
            ),
            Self::Suppressed => language.pick(
                "La dirección está suprimida, por ejemplo porque rebotó. Corríjala, o levante la supresión.",
                "The address is suppressed, for example because it bounced. Correct it, or lift the suppression.",
            ),
            Self::QuietHours => language.pick(
                "Son sus horas de silencio: lo que no sea crítico sale cuando terminen.",
                "These are their quiet hours: what is not critical leaves when they end.",
            ),
            Self::Paused => language.pick(
                "La cola de este canal está pausada: los mensajes esperan.",
                "The queue of this channel is paused: messages wait.",
            ),
        }
    }
}

/// A reason of the choice, where it can be given without a phase.
fn obstacle(reason: SkipReason) -> Option<Obstacle> {
    match reason {
        SkipReason::DisabledByWorkshop => Some(Obstacle::DisabledByWorkshop),
        SkipReason::OptedOut => Some(Obstacle::OptedOut),
        SkipReason::NoAddress => Some(Obstacle::NoAddress),
        SkipReason::NoPushSubscription => Some(Obstacle::NoPushSubscription),
        SkipReason::Suppressed => Some(Obstacle::Suppressed),
        SkipReason::DisabledInMatrix | SkipReason::NotRequested | SkipReason::NoTemplate => None,
    }
}

/// All channels: first those that would be tried, in their order, then the others.
pub fn reach(person: &Person<'_>, pauses: &[Pause], zone: Tz, now: Timestamp) -> Vec<Reach> {
    let channels = orchestration::choose(person, |_| true);
    let quiet_until = Rest::of(person.customer, person.workshop, zone).and_then(|rest| rest.until(now));
    let chosen = channels.chosen.into_iter().enumerate().map(|(place, channel)| {
        let (obstacle, until) = match (pauses::of_lane(pauses, channel.lane()), quiet_until) {
            (Some(pause), _) => (Some(Obstacle::Paused), pause.until),
            (None, Some(until)) => (Some(Obstacle::QuietHours), Some(until)),
            (None, None) => (None, None),
        };
        Reach { channel, place: Some(place), obstacle, until }
    });
    let skipped = channels.skipped.into_iter().filter_map(|skipped| {
        let obstacle = obstacle(skipped.reason)?;
        Some(Reach { channel: skipped.channel, place: None, obstacle: Some(obstacle), until: None })
    });
    chosen.chain(skipped).collect()
}

/// How a person can be reached now by a workshop, or by none that is named. `None`: there is no such customer.
pub async fn of_customer(
    system: &Notifications,
    session: &mut Session,
    customer_id: &str,
    taller_id: Option<&str>,
    now: Timestamp,
) -> Result<Option<Vec<Reach>>> {
    let Some(recipient) = customers::recipients(session, &[customer_id]).await?.pop() else { return Ok(None) };
    let addresses = suppressions::addresses(std::iter::once(&recipient.customer));
    let suppressed = suppressions::among(session, &addresses).await?;
    let pauses = pauses::in_force(session, now).await?;
    let catalogue = system.catalogue.current(session).await?;
    let is_suppressed = |channel: &Channel| {
        let address = recipient.customer.address(*channel).map(|address| suppressions::key(*channel, address));
        address.is_some_and(|address| suppressed.contains(&(*channel, address)))
    };
    let suppressed: Vec<Channel> = Channel::ALL.into_iter().filter(is_suppressed).collect();
    let preferences: Vec<_> = recipient.preferences.iter().collect();
    let person = Person {
        customer: &recipient.customer,
        preferences: &preferences,
        devices: recipient.devices,
        only: &[],
        suppressed: &suppressed,
        workshop: catalogue.workshop(taller_id),
    };
    Ok(Some(reach(&person, &pauses, system.context.config.time_zone, now)))
}

#[cfg(test)]
mod tests {
    use recado_kernel::ids::Id;

    use super::*;
    use crate::customers::{Customer, Preference};

    fn now() -> Timestamp {
        chrono::DateTime::parse_from_rfc3339("2026-01-20T23:30:00Z").expect("a time").to_utc().into()
    }

    fn told(
        customer: &Customer,
        refused: &[Channel],
        devices: i64,
        suppressed: &[Channel],
        pauses: &[Pause],
    ) -> Vec<String> {
        let preferences: Vec<Preference> = refused
            .iter()
            .map(|channel| Preference {
                id: Id::of_name("p"),
                customer_id: "c".into(),
                channel: *channel,
                enabled: false,
                priority: 1,
            })
            .collect();
        let preferences: Vec<&Preference> = preferences.iter().collect();
        let person = Person { customer, preferences: &preferences, devices, only: &[], suppressed, workshop: None };
        let word = |one: Reach| {
            let obstacle = one.obstacle.map_or("now", Obstacle::as_str);
            format!(
                "{} {} {obstacle}",
                one.channel,
                one.place.map_or_else(|| "-".to_owned(), |place| place.to_string())
            )
        };
        reach(&person, pauses, Tz::UTC, now()).into_iter().map(word).collect()
    }

    #[test]
    fn every_channel_is_told_with_its_obstacle() {
        let reachable = Customer {
            email: Some("a@example.com".into()),
            phone: Some("+593991234567".into()),
            ..Customer::default()
        };
        let night =
            Customer { quiet_from: "21:00".parse().ok(), quiet_until: "07:00".parse().ok(), ..reachable.clone() };
        let pause = Pause {
            queue: "notifications.email".into(),
            reason: "r".into(),
            paused_by: "op".into(),
            paused_at: now(),
            until: None,
        };
        let nothing: &[Channel] = &[];
        assert_eq!(told(&reachable, nothing, 1, nothing, &[]), ["email 0 now", "whatsapp 1 now", "push 2 now"]);
        assert_eq!(
            told(&night, nothing, 0, nothing, std::slice::from_ref(&pause)),
            ["email 0 paused", "whatsapp 1 quiet_hours", "push - no_push_subscription"]
        );
        assert_eq!(
            told(&reachable, &[Channel::Whatsapp], 1, &[Channel::Email], &[]),
            ["push 0 now", "whatsapp - opted_out", "email - suppressed"]
        );
        assert_eq!(
            told(&Customer::default(), nothing, 0, nothing, &[]),
            ["email - no_address", "whatsapp - no_address", "push - no_push_subscription"]
        );
    }

    #[test]
    fn every_obstacle_is_explained_in_both_languages() {
        for obstacle in Obstacle::ALL {
            let [spanish, english] = Language::ALL.map(|language| obstacle.explanation(language));
            assert!(spanish.len() > 20 && english.len() > 20 && spanish != english, "{obstacle}");
        }
    }
}
