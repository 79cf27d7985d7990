//! Channel preferences: which channels a customer wants, and in which order.

use serde::{Deserialize, Serialize};

use crate::channels::Channel;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Rows, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::sql;

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
pub fn choice_errors(choices: &[Choice]) -> Vec<(&'static str, String)> {
    let mut errors = Vec::new();
    if choices.is_empty() {
        errors.push(("channels", "Esta lista no puede estar vacía.".to_owned()));
    }
    for (number, choice) in choices.iter().enumerate() {
        if choices[..number].iter().any(|earlier| earlier.channel == choice.channel) {
            errors.push(("channels", format!("Elemento {number}: el canal \"{}\" está repetido.", choice.channel)));
        }
        if choice.priority < 1 {
            errors.push(("channels", format!("Elemento {number}: priority: 1 es la más alta; use 1 o más.")));
        }
    }
    errors
}

/// Sets the preferences of the channels that are named; the others stay as they are.
pub async fn set_preferences(
    session: &mut Session,
    customer_id: &str,
    choices: &[Choice],
    now: Timestamp,
) -> Result<()> {
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
    fn choices_name_each_channel_once_and_count_from_one() {
        let choice = |channel, priority| Choice { channel, enabled: true, priority };
        assert!(choice_errors(&[choice(Channel::Email, 1), choice(Channel::Push, 1)]).is_empty());
        for wrong in [vec![], vec![choice(Channel::Email, 0)], vec![choice(Channel::Push, 1), choice(Channel::Push, 2)]]
        {
            assert_eq!(choice_errors(&wrong).len(), 1, "{wrong:?}");
        }
    }
}
