//! Channel preferences: which channels a customer wants, and in which order.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::channels::Channel;
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Rows, Session, Texts};
use recado_kernel::fields::Wrong;
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sql;
use recado_kernel::word_enum;

/// What a customer decided about a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Preference {
    pub id: Id,
    #[serde(skip)]
    pub customer_id: String,
    pub channel: Channel,
    pub enabled: bool,
    /// 1 is tried first.
    pub priority: i32,
}

/// In the order in which each customer wants to be reached.
pub async fn preferences(session: &mut Session, customer_ids: &[String]) -> Result<Vec<Preference>> {
    sql!(all Preference, session,
        "select id, customer_id, channel, enabled, priority from channel_preferences
         where customer_id = any($1) order by customer_id, priority, channel",
        Texts(customer_ids)
    )
}

/// One channel's place in a customer's preferences, as a caller states it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Choice {
    pub channel: Channel,
    pub enabled: bool,
    pub priority: i32,
}

/// What is wrong with a set of choices.
pub fn choice_errors(choices: &[Choice]) -> Wrong {
    let mut errors = Wrong::new();
    if choices.is_empty() {
        errors.push(("channels", Sentence::new("Esta lista no puede estar vacía.", "This list may not be empty.")));
    }
    for (number, choice) in choices.iter().enumerate() {
        if choices[..number].iter().any(|earlier| earlier.channel == choice.channel) {
            let wrong = Sentence::new(
                format!("Elemento {number}: el canal \"{}\" está repetido.", choice.channel),
                format!("Element {number}: the channel \"{}\" is there twice.", choice.channel),
            );
            errors.push(("channels", wrong));
        }
        if choice.priority < 1 {
            let wrong = Sentence::new(
                format!("Elemento {number}: priority: 1 es la más alta; use 1 o más."),
                format!("Element {number}: priority: 1 is the highest; use 1 or more."),
            );
            errors.push(("channels", wrong));
        }
    }
    errors
}

/// What becomes of one channel when a person arranges them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Move {
    Up,
    Down,
    On,
    Off,
}

word_enum!(Move, "a move");

/// The channels in the order in which they are tried, and which are on: those with an opinion first, then the others.
pub fn order(preferences: &[Preference]) -> Vec<(Channel, bool)> {
    let mut stated: Vec<&Preference> = preferences.iter().collect();
    stated.sort_by_key(|one| (one.priority, one.channel));
    let mut order: Vec<(Channel, bool)> = stated.iter().map(|one| (one.channel, one.enabled)).collect();
    let others = Channel::ALL.into_iter().filter(|channel| stated.iter().all(|one| one.channel != *channel));
    order.extend(others.map(|channel| (channel, true)));
    order
}

/// The choices after a move of one channel; nothing when it leaves everything as it is. `Up` undoes `Down`, and `On` undoes `Off`.
pub fn moved(preferences: &[Preference], channel: Channel, by: Move) -> Vec<Choice> {
    let before = order(preferences);
    let mut order = before.clone();
    let Some(place) = order.iter().position(|(one, _)| *one == channel) else { return Vec::new() };
    match by {
        Move::Up if place > 0 => order.swap(place, place - 1),
        Move::Down if place + 1 < order.len() => order.swap(place, place + 1),
        Move::On => order[place].1 = true,
        Move::Off => order[place].1 = false,
        Move::Up | Move::Down => {}
    }
    if order == before {
        return Vec::new();
    }
    let choice = |(place, (channel, enabled)): (usize, (Channel, bool))| Choice {
        channel,
        enabled,
        priority: i32::try_from(place + 1).unwrap_or(i32::MAX),
    };
    order.into_iter().enumerate().map(choice).collect()
}

/// Sets the preferences of the channels that are named; the others stay as they are. The customer is locked.
pub async fn set_preferences(
    session: &mut Session,
    customer_id: &str,
    choices: &[Choice],
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let before = preferences(session, &[customer_id.to_owned()]).await?;
    write(session, customer_id, choices, now).await?;
    let after = preferences(session, &[customer_id.to_owned()]).await?;
    let act = Act::new("set_preferences", "customer", customer_id).changed(facts(&before), facts(&after));
    audit::write(session, actor, &act, now).await
}

/// What the audit log keeps: by channel, its place and whether it is on.
fn facts(preferences: &[Preference]) -> Value {
    let fact = |one: &Preference| (one.channel.to_string(), json!({"enabled": one.enabled, "priority": one.priority}));
    Value::Object(preferences.iter().map(fact).collect::<Map<_, _>>())
}

async fn write(session: &mut Session, customer_id: &str, choices: &[Choice], now: Timestamp) -> Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: Id,
        customer_id: &'a str,
        channel: Channel,
        enabled: bool,
        priority: i32,
    }
    let row = |choice: &Choice| Row {
        id: Id::new(now),
        customer_id,
        channel: choice.channel,
        enabled: choice.enabled,
        priority: choice.priority,
    };
    let rows: Vec<Row> = choices.iter().map(row).collect();
    sql!(
        run,
        session,
        "insert into channel_preferences (id, customer_id, channel, enabled, priority)
         select id, customer_id, channel, enabled, priority
         from rows($1 as channel_preferences: id, customer_id, channel, enabled, priority)
         where true
         on conflict (customer_id, channel) do update set enabled = excluded.enabled, priority = excluded.priority",
        Rows::new(&rows)
    )?;
    Ok(())
}

/// Switches a channel off for a customer, who keeps its priority. False when there is no such customer.
pub async fn opt_out(session: &mut Session, customer_id: &str, channel: Channel, now: Timestamp) -> Result<bool> {
    let changed = sql!(
        run,
        session,
        "insert into channel_preferences (id, customer_id, channel, enabled, priority)
         select $1, customer_id, $3, false, $4 from customers where customer_id = $2
         on conflict (customer_id, channel) do update set enabled = false",
        Id::new(now),
        customer_id,
        channel,
        LAST_PRIORITY
    )?;
    Ok(changed > 0)
}

/// The priority of a channel that a customer has only switched off.
const LAST_PRIORITY: i32 = 99;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_moves_and_comes_back() {
        let preference = |channel, enabled, priority| Preference {
            id: Id::of_name("p"),
            customer_id: "c".into(),
            channel,
            enabled,
            priority,
        };
        let stated = [preference(Channel::Push, true, 9), preference(Channel::Whatsapp, false, 2)];
        let shown = |choices: &[Choice]| {
            choices.iter().map(|one| format!("{} {} {}", one.channel, one.enabled, one.priority)).collect::<Vec<_>>()
        };
        let up = moved(&stated, Channel::Push, Move::Up);
        assert_eq!(shown(&up), ["push true 1", "whatsapp false 2", "email true 3"]);
        let kept: Vec<Preference> = up.iter().map(|one| preference(one.channel, one.enabled, one.priority)).collect();
        assert_eq!(shown(&moved(&kept, Channel::Push, Move::Down))[0], "whatsapp false 1");
        assert_eq!(shown(&moved(&[], Channel::Email, Move::Off)), ["email false 1", "whatsapp true 2", "push true 3"]);
        for (channel, nothing) in
            [(Channel::Whatsapp, Move::Up), (Channel::Email, Move::Down), (Channel::Push, Move::On)]
        {
            assert!(moved(&stated, channel, nothing).is_empty(), "{channel} {nothing}");
        }
    }

    #[test]
    fn choices_name_each_channel_once_and_count_from_one() {
        let choice = |channel, priority| Choice { channel, enabled: true, priority };
        assert!(choice_errors(&[choice(Channel::Email, 1), choice(Channel::Push, 1)]).is_empty());
        for wrong in [vec![], vec![choice(Channel::Email, 0)], vec![choice(Channel::Push, 1), choice(Channel::Push, 2)]]
        {
            assert_eq!(choice_errors(&wrong).len(), 1, "{wrong:?}");
        }
    }
}
