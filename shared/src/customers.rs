//! People whom we write to: a projection of the Core service, and what they told us about channels.

use serde::{Deserialize, Serialize};

use crate::addresses;
use crate::channels::Channel;
use crate::clock::Timestamp;
use crate::db::{Result, Session, Texts};
use crate::ids::Id;
use crate::sql;

/// The longest `customer_id` (d15).
pub const LONGEST_CUSTOMER_ID: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Customer {
    pub id: Id,
    /// The caller's own identifier.
    pub customer_id: String,
    pub first_name: String,
    pub last_name: String,
    pub email: Option<String>,
    /// E.164.
    pub phone: Option<String>,
    /// E.164; where it is absent, `phone` is used.
    pub whatsapp: Option<String>,
    #[serde(skip)]
    pub sync_version: Option<i64>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Customer {
    /// First and last name, as far as they are known.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name).trim().to_owned()
    }

    /// Where the person is reached on a channel that has addresses. Devices for pushes are subscriptions and not stored here.
    pub fn address(&self, channel: Channel) -> Option<&str> {
        match channel {
            Channel::Email => self.email.as_deref(),
            Channel::Whatsapp => self.whatsapp.as_deref().or(self.phone.as_deref()),
            Channel::Push => None,
        }
    }
}

/// What a customer decided about a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Preference {
    pub id: Id,
    #[serde(skip)]
    pub customer_id: String,
    #[sqlx(try_from = "String")]
    pub channel: Channel,
    pub enabled: bool,
    /// 1 is tried first.
    pub priority: i32,
}

pub async fn find_many(session: &mut Session, customer_ids: &[String]) -> Result<Vec<Customer>> {
    sql!(all Customer, session, "select * from customers where customer_id = any($1)", Texts(customer_ids))
}

pub async fn find(session: &mut Session, customer_id: &str) -> Result<Option<Customer>> {
    sql!(one Customer, session, "select * from customers where customer_id = $1", customer_id)
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

/// Sets the preferences of the channels that are named; the others stay as they are.
pub async fn set_preferences(
    session: &mut Session,
    customer_id: &str,
    choices: &[Choice],
    now: Timestamp,
) -> Result<()> {
    for choice in choices {
        sql!(
            run,
            session,
            "insert into channel_preferences (id, customer_id, channel, enabled, priority) values ($1, $2, $3, $4, $5)
             on conflict (customer_id, channel) do update set enabled = excluded.enabled, priority = excluded.priority",
            Id::new(now),
            customer_id,
            choice.channel.as_str(),
            choice.enabled,
            choice.priority
        )?;
    }
    Ok(())
}

/// A customer as the Core service sends it: the seed's form with `name`, and the wild form with two names (S002-60).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerSync {
    pub customer_id: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub first_name: Option<String>,
    #[serde(default)]
    pub last_name: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub phone: Option<String>,
    #[serde(default)]
    pub whatsapp: Option<String>,
    #[serde(default)]
    pub sync_version: Option<i64>,
}

impl CustomerSync {
    /// Checks and normalises what the caller sent; every error names its field.
    pub fn checked(mut self, default_country: &str) -> std::result::Result<Self, Vec<(&'static str, String)>> {
        let mut errors = Vec::new();
        check_text(&mut errors, "customer_id", Some(&self.customer_id), LONGEST_CUSTOMER_ID);
        if self.customer_id.trim().is_empty() {
            errors.push(("customer_id", "Este campo es requerido.".to_owned()));
        }
        for (field, value) in [("name", &self.name), ("first_name", &self.first_name), ("last_name", &self.last_name)] {
            check_text(&mut errors, field, value.as_deref(), 200);
        }
        normalise(&mut errors, "email", &mut self.email, addresses::normalise_email);
        normalise(&mut errors, "phone", &mut self.phone, |phone| addresses::normalise_phone(phone, default_country));
        normalise(&mut errors, "whatsapp", &mut self.whatsapp, |phone| {
            addresses::normalise_phone(phone, default_country)
        });
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }

    /// First and last name. A single name is divided at its first blank (d29).
    fn names(&self) -> (Option<&str>, Option<&str>) {
        match (&self.first_name, &self.last_name, &self.name) {
            (None, None, Some(name)) => {
                let name = name.trim();
                let (first, last) = name.split_once(char::is_whitespace).unwrap_or((name, ""));
                (Some(first), Some(last.trim_start()))
            }
            (first, last, _) => (first.as_deref(), last.as_deref()),
        }
    }
}

/// Text fields hold no control characters, so that nothing of them ever ends a header or a line.
pub(crate) fn check_text(
    errors: &mut Vec<(&'static str, String)>,
    field: &'static str,
    value: Option<&str>,
    longest: usize,
) {
    let Some(value) = value else { return };
    if value.chars().any(char::is_control) {
        errors.push((field, "No se permiten caracteres de control.".to_owned()));
    }
    if value.chars().count() > longest {
        errors.push((field, format!("Asegúrese de que este campo no tenga más de {longest} caracteres.")));
    }
}

fn normalise<E: std::fmt::Display>(
    errors: &mut Vec<(&'static str, String)>,
    field: &'static str,
    value: &mut Option<String>,
    rule: impl Fn(&str) -> std::result::Result<String, E>,
) {
    let Some(text) = value.take().filter(|text| !text.trim().is_empty()) else { return };
    match rule(&text) {
        Ok(normal) => *value = Some(normal),
        Err(error) => errors.push((field, error.to_string())),
    }
}

/// What a sync did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Synced {
    Created,
    Updated,
    /// A newer version is already here (d29).
    Stale,
}

/// Creates or updates. What is absent or null erases nothing; preferences are never touched (d29).
pub async fn sync(session: &mut Session, sync: &CustomerSync, now: Timestamp) -> Result<Synced> {
    let (first_name, last_name) = sync.names();
    let row: Option<(Timestamp,)> = sql!(one (Timestamp,), session,
        "insert into customers (id, customer_id, first_name, last_name, email, phone, whatsapp, sync_version, created_at, updated_at)
         values ($1, $2, coalesce($3, ''), coalesce($4, ''), $5, $6, $7, $8, $9, $9)
         on conflict (customer_id) do update set
             first_name = coalesce($3, customers.first_name), last_name = coalesce($4, customers.last_name),
             email = coalesce($5, customers.email), phone = coalesce($6, customers.phone),
             whatsapp = coalesce($7, customers.whatsapp), sync_version = coalesce($8, customers.sync_version),
             updated_at = $9
         where customers.sync_version is null or $8 is null or $8 >= customers.sync_version
         returning created_at",
        Id::new(now), sync.customer_id.as_str(), first_name, last_name, sync.email.as_deref(), sync.phone.as_deref(),
        sync.whatsapp.as_deref(), sync.sync_version, now
    )?;
    Ok(match row {
        Some((created_at,)) if created_at == now => Synced::Created,
        Some(_) => Synced::Updated,
        None => Synced::Stale,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_name_is_divided_at_its_first_blank() {
        let names = |name: &str| {
            let sync = CustomerSync { name: Some(name.to_owned()), ..CustomerSync::default() };
            let (first, last) = sync.names();
            (first.unwrap_or_default().to_owned(), last.unwrap_or_default().to_owned())
        };
        assert_eq!(names("Carlos Mendoza"), ("Carlos".into(), "Mendoza".into()));
        assert_eq!(names(" Ana  de la Torre "), ("Ana".into(), "de la Torre".into()));
        assert_eq!(names("Sócrates"), ("Sócrates".into(), String::new()));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let sync = CustomerSync {
            customer_id: "customer\r\n001".into(),
            email: Some("no-at-sign".into()),
            phone: Some("abc".into()),
            ..CustomerSync::default()
        };
        let errors = sync.checked("EC").expect_err("three fields are wrong");
        assert_eq!(errors.iter().map(|(field, _)| *field).collect::<Vec<_>>(), ["customer_id", "email", "phone"]);
    }
}
