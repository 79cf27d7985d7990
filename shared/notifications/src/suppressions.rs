//! Addresses to which nothing is sent any more, until staff lift it: they bounced, or a person asked for it.
//!
//! A mailbox that does not exist is written to once. Mail servers take a sender that goes on for a spammer, and then
//! refuse all of its mails. Telephone numbers are not put here by themselves: one that is not on WhatsApp today may be
//! tomorrow, and asking costs nothing.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::channels::Channel;
use crate::customers::Customer;
use crate::notifications::Notification;
use recado_kernel::addresses::{Mailbox, normalise_phone};
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::{Ids, Result, Rows, Session, Texts, contains};
use recado_kernel::fields::{Wrong, check_text, null};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sql;
use recado_kernel::word_enum;

/// A suppressed address.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Suppression {
    pub id: Id,
    pub channel: Channel,
    /// As [`key`] writes it.
    pub address: String,
    pub reason: Reason,
    /// What the provider said, or what staff noted.
    pub detail: String,
    /// The message that bounced.
    pub notification_id: Option<Id>,
    pub created_at: Timestamp,
}

/// Why nothing is sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = SuppressionReason, rename_all = "snake_case")]
pub enum Reason {
    /// A provider refused it for good.
    Bounced,
    /// The person called a message spam.
    Complained,
    /// The person asked the provider to stop.
    Unsubscribed,
    /// Staff put it there.
    Manual,
}

word_enum!(Reason, "a reason to suppress an address");

/// What staff write about an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(as = SuppressionWrite)]
pub struct SuppressionDraft {
    /// `email` or `whatsapp`. Pushes have no address; a customer switches them off in the preferences.
    #[schema(value_type = Option<String>, examples("email"))]
    pub channel: Option<Channel>,
    /// A mail address, or a telephone number in international form.
    #[schema(max_length = 254, examples("maria@example.com"))]
    pub address: String,
    /// Why, for those who read the list later.
    #[schema(max_length = 500, examples("Pidió por teléfono que no le escribamos."))]
    pub detail: String,
}

impl SuppressionDraft {
    /// The draft with its address as [`key`] writes it. Every error names its field.
    ///
    /// # Errors
    /// The fields that are wrong, each with the remedy.
    pub fn checked(mut self, country: &str) -> std::result::Result<Self, Wrong> {
        let mut errors = Wrong::new();
        let address = match self.channel {
            Some(Channel::Email) => self.address.parse().map(|mailbox: Mailbox| mailbox.address),
            Some(Channel::Whatsapp) => normalise_phone(&self.address, country),
            Some(Channel::Push) => {
                let wrong = Sentence::new(
                    "Las notificaciones push no tienen dirección. Use email o whatsapp, o las preferencias del cliente.",
                    "Pushes have no address. Use email or whatsapp, or the customer's preferences.",
                );
                errors.push(("channel", wrong));
                Ok(String::new())
            }
            // Nothing can be said about the address then.
            None => {
                errors.push(("channel", null()));
                Ok(String::new())
            }
        };
        match (address, self.channel) {
            (Ok(address), Some(channel)) => self.address = key(channel, &address),
            (Ok(_), None) => {}
            (Err(error), _) => errors.push(("address", error.into())),
        }
        check_text(&mut errors, "detail", Some(&self.detail), 500);
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }
}

/// An address that a provider refused for good.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bounce {
    id: Id,
    channel: Channel,
    address: String,
    reason: Reason,
    detail: String,
    notification_id: Id,
    created_at: Timestamp,
}

impl Bounce {
    /// The address of this message bounced; `words` are the provider's.
    pub fn of(notification: &Notification, words: &str, now: Timestamp) -> Self {
        Self {
            id: Id::new(now),
            channel: notification.channel,
            address: key(notification.channel, &notification.recipient_address),
            reason: Reason::Bounced,
            detail: words.to_owned(),
            notification_id: notification.id,
            created_at: now,
        }
    }
}

/// The form in which addresses are compared. The part before the `@` may tell cases apart (RFC 5321, section 2.4), but no
/// mailbox that is worth writing to does.
pub fn key(channel: Channel, address: &str) -> String {
    match channel {
        Channel::Email => address.to_lowercase(),
        Channel::Whatsapp | Channel::Push => address.to_owned(),
    }
}

/// All addresses of these customers, as [`key`] writes them.
pub fn addresses<'c>(customers: impl Iterator<Item = &'c Customer>) -> Vec<String> {
    let of = |customer| {
        let channels = [Channel::Email, Channel::Whatsapp].into_iter();
        channels.filter_map(move |channel| Some(key(channel, Customer::address(customer, channel)?)))
    };
    customers.flat_map(of).collect()
}

/// The columns of a [`Suppression`], by name: a star would break the prepared statements of running processes when a newer
/// version adds one.
const COLUMNS: &str = "id, channel, address, reason, detail, notification_id, created_at";

/// Those of the addresses that are suppressed.
pub async fn among(session: &mut Session, addresses: &[String]) -> Result<HashSet<(Channel, String)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        channel: Channel,
        address: String,
    }
    // All channels are named because the index begins with the channel.
    let rows = sql!(all Row, session,
        "select channel, address from suppressions where channel = any($1) and address = any($2)",
        Texts(&Channel::ALL), Texts(addresses)
    )?;
    Ok(rows.into_iter().map(|row| (row.channel, row.address)).collect())
}

/// Whether nothing is to be sent to this address any more.
pub async fn contains_address(session: &mut Session, channel: Channel, address: &str) -> Result<bool> {
    Ok(among(session, &[key(channel, address)]).await?.iter().any(|(suppressed, _)| *suppressed == channel))
}

/// Writes bounces down. An address that is suppressed already keeps its first reason.
pub async fn record(session: &mut Session, bounces: &[Bounce]) -> Result<()> {
    if bounces.is_empty() {
        return Ok(());
    }
    sql!(
        run,
        session,
        "insert into suppressions (id, channel, address, reason, detail, notification_id, created_at)
         select id, channel, address, reason, detail, notification_id, created_at
         from rows($1 as suppressions: id, channel, address, reason, detail, notification_id, created_at)
         where true
         on conflict do nothing",
        Rows::new(bounces)
    )?;
    Ok(())
}

/// Takes back what [`record`] wrote of these messages' addresses: it was not about them. What staff or a person asked for stays.
pub async fn take_back(session: &mut Session, bounces: &[(Id, String)]) -> Result<()> {
    if bounces.is_empty() {
        return Ok(());
    }
    let (messages, addresses): (Vec<Id>, Vec<String>) = bounces.iter().cloned().unzip();
    sql!(
        run,
        session,
        "delete from suppressions
         where channel = $1 and address = any($2) and reason = $3 and notification_id = any($4)",
        Channel::Email,
        Texts(&addresses),
        Reason::Bounced,
        Ids(&messages)
    )?;
    Ok(())
}

/// Which suppressions to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct SuppressionFilter {
    pub channel: Option<Channel>,
    pub reason: Option<Reason>,
    /// Part of an address, in either case.
    pub search: Option<String>,
    /// `search` is a whole address: who does not see addresses could find one out, letter by letter, by searching for it.
    pub is_whole: bool,
}

/// A page of the suppressions that fit, the newest first, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &SuppressionFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Suppression>, i64)> {
    let asked = filter.conditions();
    let list = List {
        select: &format!("select {COLUMNS} from suppressions"),
        from: "suppressions",
        key: "id",
        order: &["created_at", "id"],
        descending: true,
    };
    list.page(session, &asked, limit, offset).await
}

impl SuppressionFilter {
    fn conditions(&self) -> Filter {
        let mut asked = Filter::default();
        asked.equal("reason", self.reason.map(Reason::as_str));
        let search = self.search.as_deref();
        match (self.is_whole, search) {
            // All channels are named because the index begins with the channel.
            (true, Some(search)) => {
                let channels = self.channel.map_or(Channel::ALL.to_vec(), |channel| vec![channel]);
                let channels: Vec<&str> = channels.into_iter().map(Channel::as_str).collect();
                asked.when("channel = any(?)", Some(channels));
                asked.equal("address", Some(search.trim().to_lowercase()));
            }
            _ => {
                asked.equal("channel", self.channel.map(Channel::as_str));
                asked.when("address ilike ? escape '\\'", search.map(contains));
            }
        }
        asked
    }
}

/// Suppressions that fit, the newest first, and whether there are more in the direction in which the page was turned.
pub async fn page(
    session: &mut Session,
    filter: &SuppressionFilter,
    cursor: Cursor<(Timestamp, Id)>,
    limit: i64,
) -> Result<(Vec<Suppression>, bool)> {
    let mut asked = filter.conditions();
    if let Some(((at, id), sign)) = cursor.beyond(Order::Descending) {
        let (at, id) = (asked.value(at), asked.value(id));
        asked.require(format!("(created_at, id) {sign} ({at}, {id})"));
    }
    let direction = cursor.direction(Order::Descending);
    let text = format!(
        "select {COLUMNS} from suppressions where {asked} order by created_at {direction}, id {direction} limit {}",
        limit.saturating_add(1)
    );
    Ok(cursor.cut(asked.all(session, &text).await?, limit))
}

pub async fn find(session: &mut Session, id: Id) -> Result<Option<Suppression>> {
    sql!(one Suppression, session, (&format!("select {COLUMNS} from suppressions where id = $1")), id)
}

/// Those of a customer's addresses.
pub async fn of_customer(session: &mut Session, customer: &Customer) -> Result<Vec<Suppression>> {
    let addresses = addresses(std::iter::once(customer));
    sql!(all Suppression, session,
        (&format!("select {COLUMNS} from suppressions where channel = any($1) and address = any($2) order by created_at desc, id desc")),
        Texts(&Channel::ALL), Texts(&addresses)
    )
}

/// Suppresses an address by hand. One that is suppressed already violates `suppressions_key`.
///
/// # Errors
/// When the database refuses.
pub async fn insert(
    session: &mut Session,
    draft: &SuppressionDraft,
    actor: &Actor,
    now: Timestamp,
) -> Result<Suppression> {
    let inserted = sql!(one Suppression, session,
        (&format!("insert into suppressions (id, channel, address, reason, detail, created_at)
         values ($1, $2, $3, $4, $5, $6) returning {COLUMNS}")),
        Id::new(now), draft.channel, draft.address.as_str(), Reason::Manual, draft.detail.as_str(), now
    )?;
    let inserted: Suppression = inserted.ok_or(sqlx::Error::RowNotFound)?;
    let act = Act::new("suppress", "suppression", inserted.id).made(facts(&inserted));
    audit::write(session, actor, &act, now).await?;
    Ok(inserted)
}

/// Lifts a suppression; what it was, if it was there. [`restore`] takes it back for an hour.
pub async fn lift(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<Option<Suppression>> {
    let lifted: Option<Suppression> =
        sql!(one Suppression, session, (&format!("delete from suppressions where id = $1 returning {COLUMNS}")), id)?;
    sql!(run, session, "delete from lifted_suppressions where lifted_at < $1 or id = $2", now - KEPT, id)?;
    let Some(suppression) = lifted else { return Ok(None) };
    sql!(
        run,
        session,
        "insert into lifted_suppressions (id, channel, address, reason, detail, notification_id, created_at, lifted_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        suppression.id,
        suppression.channel,
        suppression.address.as_str(),
        suppression.reason,
        suppression.detail.as_str(),
        suppression.notification_id,
        suppression.created_at,
        now
    )?;
    let act = Act::new("lift", "suppression", id).changed(facts(&suppression), json!({}));
    audit::write(session, actor, &act, now).await?;
    Ok(Some(suppression))
}

/// Suppresses an address again that was lifted within the last hour. `None`: it was not. One that another suppression has by now stays
/// with that one.
pub async fn restore(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<Option<Suppression>> {
    sql!(
        run,
        session,
        "insert into suppressions (id, channel, address, reason, detail, notification_id, created_at)
         select id, channel, address, reason, detail, notification_id, created_at from lifted_suppressions
         where id = $1 and lifted_at >= $2
         on conflict do nothing",
        id,
        now - KEPT
    )?;
    let gone = sql!(run, session, "delete from lifted_suppressions where id = $1", id)?;
    let restored = find(session, id).await?;
    if let Some(suppression) = restored.as_ref().filter(|_| gone > 0) {
        let act = Act::new("suppress", "suppression", id).made(facts(suppression));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(restored)
}

/// How long a suppression that was lifted can be taken back.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// What the audit log keeps: no address, and not what the provider said, for it repeats the address.
fn facts(suppression: &Suppression) -> Value {
    json!({
        "channel": suppression.channel, "reason": suppression.reason, "notification_id": suppression.notification_id,
        "since": suppression.created_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(channel: Option<Channel>, address: &str) -> SuppressionDraft {
        SuppressionDraft { channel, address: address.to_owned(), detail: String::new() }
    }

    #[test]
    fn addresses_are_written_as_messages_carry_them() {
        let address = |channel, address| draft(Some(channel), address).checked("EC").map(|draft| draft.address);
        assert_eq!(address(Channel::Email, " Maria@Example.COM "), Ok("maria@example.com".to_owned()));
        assert_eq!(address(Channel::Whatsapp, "099 123 4567"), Ok("+593991234567".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (channel, address, field) in [
            (Some(Channel::Email), "maria", "address"),
            (Some(Channel::Whatsapp), "12", "address"),
            (Some(Channel::Push), "x", "channel"),
        ] {
            let errors = draft(channel, address).checked("EC").expect_err(address);
            assert_eq!(errors.iter().map(|(field, _)| *field).collect::<Vec<_>>(), [field]);
        }
    }
}
