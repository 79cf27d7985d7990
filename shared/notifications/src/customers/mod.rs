//! Customers: the people to whom messages go. Their rows are a copy of the Core service's, kept by syncs.

mod listing;
mod preferences;
mod recipients;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

pub use self::listing::{SearchIn, found, list, page};
pub use self::preferences::{
    Choice, Move, Preference, choice_errors, moved, opt_out, order, preferences, set_preferences,
};
pub use self::recipients::{Recipient, recipients};
use crate::channels::Channel;
use recado_kernel::addresses::{self, Mailbox};
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, Texts};
use recado_kernel::fields::{Wrong, blank, check_text, required};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sql;
use recado_kernel::time_of_day::TimeOfDay;

/// The longest `customer_id` (d15).
pub const LONGEST_CUSTOMER_ID: usize = 100;

/// The longest name, in characters, as in the service before.
const LONGEST_NAME: usize = 255;

/// The longest telephone, in characters, that the service before took whatever it said.
const LONGEST_TELEPHONE: usize = 20;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, sqlx::FromRow)]
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
    /// From when on they do not want to be disturbed, in their own time; set together with `quiet_until`.
    pub quiet_from: Option<TimeOfDay>,
    pub quiet_until: Option<TimeOfDay>,
    /// IANA name; `None` for the workshop's zone, or else `TIME_ZONE`.
    pub time_zone: Option<String>,
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

    /// Which of the numbers no numbering plan knows: they are written to all the same, and staff may want to look at them.
    pub fn unusual(&self) -> Vec<&'static str> {
        let numbers = [("phone", &self.phone), ("whatsapp", &self.whatsapp)];
        let is_unusual = |number: &Option<String>| number.as_deref().is_some_and(addresses::is_unusual_phone);
        numbers.into_iter().filter(|(_, number)| is_unusual(number)).map(|(field, _)| field).collect()
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

/// The columns of a [`Customer`], by name: a star would break the prepared statements of running processes when a newer
/// version adds one.
const COLUMNS: &str = "id, customer_id, first_name, last_name, email, phone, whatsapp, quiet_from, quiet_until, time_zone, \
     sync_version, created_at, updated_at";

pub async fn find_many(session: &mut Session, customer_ids: &[String]) -> Result<Vec<Customer>> {
    sql!(all Customer, session, (&format!("select {COLUMNS} from customers where customer_id = any($1)")), Texts(customer_ids))
}

pub async fn find(session: &mut Session, customer_id: &str) -> Result<Option<Customer>> {
    sql!(one Customer, session, (&format!("select {COLUMNS} from customers where customer_id = $1")), customer_id)
}

/// The customer, held until the end of the transaction, so that two changes of the same person do not lose each other.
pub async fn lock(session: &mut Session, customer_id: &str) -> Result<Option<Customer>> {
    sql!(one Customer, session, (&format!("select {COLUMNS} from customers where customer_id = $1 for update")), customer_id)
}

/// Writes a new customer; a `customer_id` that is taken violates `customers_customer_id_key`. The draft is
/// [checked](CustomerDraft::checked).
pub async fn insert(session: &mut Session, draft: &CustomerDraft, actor: &Actor, now: Timestamp) -> Result<Customer> {
    let customer = sql!(one Customer, session,
        (&format!("insert into customers (id, customer_id, first_name, last_name, email, phone, whatsapp, quiet_from, quiet_until,
             time_zone, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) returning {COLUMNS}")),
        Id::new(now), draft.customer_id.as_str(), draft.first_name.as_str(), draft.last_name.as_str(),
        draft.email.as_deref(), draft.phone.as_deref(), draft.whatsapp.as_deref(), draft.quiet_from,
        draft.quiet_until, draft.time_zone.as_deref(), now
    )?;
    let customer: Customer = customer.ok_or(sqlx::Error::RowNotFound)?;
    let (_, after) = facts(&Customer::default(), &customer);
    audit::write(session, actor, &Act::new("create", "customer", &customer.customer_id).made(after), now).await?;
    Ok(customer)
}

/// Replaces a customer that is locked. What the Core service synced later still wins by its version.
pub async fn replace(
    session: &mut Session,
    customer: &Customer,
    draft: &CustomerDraft,
    actor: &Actor,
    now: Timestamp,
) -> Result<Customer> {
    let written = sql!(one Customer, session,
        (&format!("update customers set first_name = $2, last_name = $3, email = $4, phone = $5, whatsapp = $6, quiet_from = $7,
             quiet_until = $8, time_zone = $9, updated_at = $10
         where customer_id = $1 returning {COLUMNS}")),
        customer.customer_id.as_str(), draft.first_name.as_str(), draft.last_name.as_str(), draft.email.as_deref(),
        draft.phone.as_deref(), draft.whatsapp.as_deref(), draft.quiet_from, draft.quiet_until,
        draft.time_zone.as_deref(), now
    )?;
    let written: Customer = written.ok_or(sqlx::Error::RowNotFound)?;
    let (before, after) = facts(customer, &written);
    let act = Act::new("change", "customer", &customer.customer_id).changed(before, after);
    audit::write(session, actor, &act, now).await?;
    Ok(written)
}

/// What the audit log keeps of a change: hours and zone as they are, and of names and addresses only which of them changed. An
/// entry outlives the person who is erased.
fn facts(before: &Customer, after: &Customer) -> (Value, Value) {
    let of = |customer: &Customer| {
        json!({
            "quiet_from": customer.quiet_from, "quiet_until": customer.quiet_until, "time_zone": customer.time_zone,
        })
    };
    let personal = [
        ("first_name", before.first_name != after.first_name),
        ("last_name", before.last_name != after.last_name),
        ("email", before.email != after.email),
        ("phone", before.phone != after.phone),
        ("whatsapp", before.whatsapp != after.whatsapp),
    ];
    let changed: Vec<&str> = personal.into_iter().filter(|(_, has)| *has).map(|(field, _)| field).collect();
    let (before, mut after) = (of(before), of(after));
    if !changed.is_empty() {
        after["written"] = json!(changed);
    }
    (before, after)
}

/// Somebody looked at the addresses of a customer, which are hidden otherwise.
pub async fn reveal(session: &mut Session, customer_id: &str, actor: &Actor, now: Timestamp) -> Result<()> {
    audit::write(session, actor, &Act::new("reveal", "customer", customer_id), now).await
}

/// What went with a customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    pub customers: u64,
    pub preferences: u64,
    pub subscriptions: u64,
    pub vehicles: u64,
    pub reminders: u64,
}

/// Deletes a customer with all that is theirs: preferences, devices, vehicles and reminders. What was sent stays in the log.
pub async fn delete(session: &mut Session, customer_id: &str, actor: &Actor, now: Timestamp) -> Result<Deleted> {
    let deleted = remove(session, customer_id).await?;
    if deleted.customers > 0 {
        let act = Act::new("delete", "customer", customer_id)
            .made(json!({"vehicles": deleted.vehicles, "reminders": deleted.reminders}));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(deleted)
}

/// The rows themselves, which an erasure deletes too.
pub(crate) async fn remove(session: &mut Session, customer_id: &str) -> Result<Deleted> {
    Ok(Deleted {
        reminders: sql!(
            run,
            session,
            "delete from reminders where vehicle_id in (select id from vehicles where customer_id = $1)",
            customer_id
        )?,
        vehicles: sql!(run, session, "delete from vehicles where customer_id = $1", customer_id)?,
        subscriptions: sql!(run, session, "delete from push_subscriptions where customer_id = $1", customer_id)?,
        preferences: sql!(run, session, "delete from channel_preferences where customer_id = $1", customer_id)?,
        customers: sql!(run, session, "delete from customers where customer_id = $1", customer_id)?,
    })
}

/// What people write about a customer (S002-52).
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(as = CustomerWrite)]
pub struct CustomerDraft {
    /// Your own identifier of the customer. It cannot be changed; in a PUT or PATCH it may be left out.
    #[schema(max_length = 100, examples("customer-001"))]
    pub customer_id: String,
    /// First name. `name` may be sent instead.
    #[schema(max_length = 255, examples("Carlos"))]
    pub first_name: String,
    /// Last name.
    #[schema(required = false, max_length = 255, examples("Mendoza"))]
    pub last_name: String,
    /// First and last name in one, divided at the first blank; counts only where neither of the two is sent.
    #[schema(max_length = 255, examples("Carlos Mendoza"))]
    pub name: Option<String>,
    /// Mail address; of `Carlos <carlos@example.com>` the address is kept.
    #[schema(max_length = 254, examples("carlos@example.com"))]
    pub email: Option<String>,
    /// Telephone number, in E.164 or as it is dialled in `DEFAULT_COUNTRY`; it is kept in E.164. One that no numbering plan
    /// knows is taken when its length is possible, and then stands in `unusual`.
    #[schema(examples("+593991234567"))]
    pub phone: Option<String>,
    /// Number for WhatsApp, written like `phone`; where it is empty, `phone` is used.
    #[schema(examples("+593991234567"))]
    pub whatsapp: Option<String>,
    /// Local time from which they do not want to be disturbed, `HH:MM`; goes with `quiet_until`.
    pub quiet_from: Option<TimeOfDay>,
    /// Local time at which messages may come again, `HH:MM`; before `quiet_from` it is the next morning's.
    pub quiet_until: Option<TimeOfDay>,
    /// Their time zone, by its IANA name; null for the workshop's.
    #[schema(examples("America/Guayaquil"))]
    pub time_zone: Option<String>,
}

impl CustomerDraft {
    /// Checks and normalises what was written; every error names its field. `country` is where numbers without a country
    /// code are dialled.
    pub fn checked(mut self, country: &str) -> std::result::Result<Self, Wrong> {
        let mut errors = Wrong::new();
        if self.customer_id.trim().is_empty() {
            errors.push(("customer_id", blank()));
        }
        check_text(&mut errors, "customer_id", Some(&self.customer_id), LONGEST_CUSTOMER_ID);
        if let Some(name) = self.name.take() {
            check_text(&mut errors, "name", Some(&name), LONGEST_NAME);
            let (first, last) = divided(&name);
            (self.first_name, self.last_name) = (first.to_owned(), last.to_owned());
        }
        for (field, value) in [("first_name", &mut self.first_name), ("last_name", &mut self.last_name)] {
            *value = value.trim().to_owned();
            check_text(&mut errors, field, Some(value), LONGEST_NAME);
        }
        normalise(&mut errors, "email", &mut self.email, email);
        for (field, value) in [("phone", &mut self.phone), ("whatsapp", &mut self.whatsapp)] {
            normalise(&mut errors, field, value, |number| phone(number, country));
        }
        check_quiet_hours(&mut errors, self.quiet_from, self.quiet_until);
        normalise(&mut errors, "time_zone", &mut self.time_zone, |zone| {
            let zone = zone.trim().parse::<chrono_tz::Tz>();
            zone.map(|zone| zone.name().to_owned()).map_err(|_| {
                Sentence::new(
                    "No es una zona horaria de la base IANA, por ejemplo America/Guayaquil.",
                    "This is not a time zone of the IANA database, for example America/Guayaquil.",
                )
            })
        });
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }
}

/// Both ends of the quiet hours or neither, and no empty span.
pub(crate) fn check_quiet_hours(errors: &mut Wrong, from: Option<TimeOfDay>, until: Option<TimeOfDay>) {
    for (field, value, other) in [("quiet_from", from, until), ("quiet_until", until, from)] {
        if value.is_none() && other.is_some() {
            let wrong = Sentence::new(
                "Indique ambas horas, quiet_from y quiet_until, o ninguna.",
                "Give both hours, quiet_from and quiet_until, or neither.",
            );
            errors.push((field, wrong));
        }
    }
    if from.is_some() && from == until {
        let wrong = Sentence::new("Debe ser distinta de quiet_from.", "It must differ from quiet_from.");
        errors.push(("quiet_until", wrong));
    }
}

impl From<Customer> for CustomerDraft {
    fn from(customer: Customer) -> Self {
        Self {
            customer_id: customer.customer_id,
            first_name: customer.first_name,
            last_name: customer.last_name,
            name: None,
            email: customer.email,
            phone: customer.phone,
            whatsapp: customer.whatsapp,
            quiet_from: customer.quiet_from,
            quiet_until: customer.quiet_until,
            time_zone: customer.time_zone,
        }
    }
}

/// A customer as the Core service sends it: the seed's form with `name`, and the wild form with two names (S002-60).
///
/// What is absent, null or blank erases nothing (d29).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CustomerSync {
    /// The Core service's identifier of the customer.
    #[schema(max_length = 100, examples("customer-001"))]
    pub customer_id: String,
    /// First and last name in one, divided at the first blank; counts only where neither of the two is sent. It or `first_name`
    /// must be there.
    #[serde(default)]
    #[schema(max_length = 255, examples("Carlos Mendoza"))]
    pub name: Option<String>,
    /// First name.
    #[serde(default)]
    #[schema(max_length = 255, examples("Carlos"))]
    pub first_name: Option<String>,
    /// Last name.
    #[serde(default)]
    #[schema(max_length = 255, examples("Mendoza"))]
    pub last_name: Option<String>,
    /// Mail address; of `Carlos <carlos@example.com>` the address is kept.
    #[serde(default)]
    #[schema(max_length = 254, examples("carlos@example.com"))]
    pub email: Option<String>,
    /// Telephone number, in E.164 or as it is dialled in `DEFAULT_COUNTRY`. One that is no number is left out, and said so in
    /// `warnings`.
    #[serde(default)]
    #[schema(examples("+593991234567"))]
    pub phone: Option<String>,
    /// Number for WhatsApp, likewise; where it is absent, `phone` is used.
    #[serde(default)]
    #[schema(examples("+593991234567"))]
    pub whatsapp: Option<String>,
    /// Grows with every change; an older version than the one that is here is acknowledged and ignored.
    #[serde(default)]
    #[schema(examples(7))]
    pub sync_version: Option<i64>,
    /// What was noticed about the fields; made by the check, and told again in the task's result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(ignore)]
    pub warnings: Vec<Warning>,
}

/// A field of a sync that was taken with a reservation, or left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SyncWarning)]
pub struct Warning {
    /// The field.
    #[schema(examples("phone"))]
    pub field: String,
    /// A stable word: `not_a_number`, the field was left out; `unusual_number`, it was taken.
    #[schema(examples("not_a_number"))]
    pub code: String,
    /// The same in a sentence. It does not repeat the value.
    #[schema(examples("No es un número de teléfono: el cliente se sincroniza sin él."))]
    pub detail: String,
}

impl Warning {
    fn new(field: &str, code: &str, detail: String) -> Self {
        Self { field: field.to_owned(), code: code.to_owned(), detail }
    }
}

impl CustomerSync {
    /// Checks and normalises what the caller sent; every error names its field. A telephone that is none costs that field and
    /// not the customer: a machine repeats what people typed years ago, and the other channel still works.
    pub fn checked(mut self, default_country: &str) -> std::result::Result<Self, Wrong> {
        let mut errors = Wrong::new();
        check_text(&mut errors, "customer_id", Some(&self.customer_id), LONGEST_CUSTOMER_ID);
        if self.customer_id.trim().is_empty() {
            errors.push(("customer_id", required()));
        }
        for (field, value) in [("name", &self.name), ("first_name", &self.first_name), ("last_name", &self.last_name)] {
            check_text(&mut errors, field, value.as_deref(), LONGEST_NAME);
        }
        normalise(&mut errors, "email", &mut self.email, email);
        self.warnings.clear();
        for (field, value) in [("phone", &mut self.phone), ("whatsapp", &mut self.whatsapp)] {
            let Some(text) = value.take().filter(|text| !text.trim().is_empty()) else { continue };
            match phone(&text, default_country) {
                Ok(number) => {
                    self.warnings.extend(unusual(field, &number));
                    *value = Some(number);
                }
                Err(error) if is_taken_for_a_telephone(&text, default_country) => {
                    let detail = format!("{error} El cliente se sincroniza sin este número.");
                    self.warnings.push(Warning::new(field, "not_a_number", detail));
                }
                Err(error) => errors.push((field, error)),
            }
        }
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }

    /// First and last name. A single name is divided at its first blank (d29).
    fn names(&self) -> (Option<&str>, Option<&str>) {
        match (&self.first_name, &self.last_name, &self.name) {
            (None, None, Some(name)) => {
                let (first, last) = divided(name);
                (Some(first), Some(last))
            }
            (first, last, _) => (first.as_deref(), last.as_deref()),
        }
    }
}

/// A name at its first blank (d29).
fn divided(name: &str) -> (&str, &str) {
    let name = name.trim();
    let (first, last) = name.split_once(char::is_whitespace).unwrap_or((name, ""));
    (first, last.trim_start())
}

/// Replaces a value by its one good spelling; an empty one is none.
fn normalise(
    errors: &mut Wrong,
    field: &'static str,
    value: &mut Option<String>,
    rule: impl Fn(&str) -> std::result::Result<String, Sentence>,
) {
    let Some(text) = value.take().filter(|text| !text.trim().is_empty()) else { return };
    match rule(&text) {
        Ok(normal) => *value = Some(normal),
        Err(error) => errors.push((field, error)),
    }
}

/// Also `Ana <ana@example.com>`, as address books hand it out.
fn email(text: &str) -> std::result::Result<String, Sentence> {
    let mailbox: std::result::Result<Mailbox, _> = text.parse();
    mailbox.map(|mailbox| mailbox.address).map_err(Sentence::from)
}

fn phone(text: &str, country: &str) -> std::result::Result<String, Sentence> {
    addresses::normalise_phone(text, country).map_err(Sentence::from)
}

/// What the service before took for a telephone without a look at it: up to 20 characters of anything. Two numbers in one
/// field are longer, and no mistake of the machine that repeats them.
fn is_taken_for_a_telephone(text: &str, country: &str) -> bool {
    let text = text.trim();
    let parts = || text.split(['/', ';', ',', '|', '\n']).flat_map(|part| part.split(" y ")).map(str::trim);
    let are_numbers = || parts().count() > 1 && parts().all(|part| phone(part, country).is_ok());
    text.chars().count() <= LONGEST_TELEPHONE || (text.len() <= LONGEST_NAME && are_numbers())
}

/// The reservation about a number that no numbering plan knows.
fn unusual(field: &str, number: &str) -> Option<Warning> {
    let detail = "El número no consta en el plan de numeración de su país: se usa igual. Revíselo.";
    addresses::is_unusual_phone(number).then(|| Warning::new(field, "unusual_number", detail.to_owned()))
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
         where coalesce($8 >= customers.sync_version, true)
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

    fn draft() -> CustomerDraft {
        CustomerDraft { customer_id: "customer-001".into(), ..CustomerDraft::default() }
    }

    #[test]
    fn a_draft_is_normalised() {
        let text = |text: &str| Some(text.to_owned());
        let written = CustomerDraft {
            name: text("Ana  de la Torre"),
            email: text(" Ana@EXAMPLE.com "),
            phone: text("099 123 4567"),
            whatsapp: text(" "),
            quiet_from: Some(TimeOfDay::from_minutes(21 * 60)),
            quiet_until: Some(TimeOfDay::from_minutes(7 * 60 + 30)),
            time_zone: text("America/Guayaquil"),
            ..draft()
        };
        let ana = written.checked("EC").expect("everything is right");
        assert_eq!((ana.first_name.as_str(), ana.last_name.as_str(), &ana.name), ("Ana", "de la Torre", &None));
        assert_eq!((ana.email.as_deref(), ana.phone.as_deref()), (Some("Ana@example.com"), Some("+593991234567")));
        assert_eq!(ana.whatsapp, None);
        assert_eq!(ana.clone().checked("EC"), Ok(ana), "what was checked stays as it is");
    }

    #[test]
    fn quiet_hours_are_two_times_or_none() {
        for (from, until, field) in [
            ("21:00", "", Some("quiet_until")),
            ("", "07:00", Some("quiet_from")),
            ("21:00", "21:00", Some("quiet_until")),
            ("", "", None),
            ("00:00", "23:59", None),
        ] {
            let draft = CustomerDraft { quiet_from: from.parse().ok(), quiet_until: until.parse().ok(), ..draft() };
            let errors = draft.checked("EC").err().unwrap_or_default();
            assert_eq!(errors.first().map(|(field, _)| *field), field, "{from}–{until}: {errors:?}");
        }
    }

    #[test]
    fn every_wrong_field_of_a_draft_is_named() {
        let wrong = CustomerDraft {
            first_name: "A\u{7}".into(),
            phone: Some("call me".into()),
            time_zone: Some("Quito".into()),
            ..CustomerDraft::default()
        };
        let errors = wrong.checked("EC").expect_err("four fields are wrong");
        assert_eq!(
            errors.iter().map(|(field, _)| *field).collect::<Vec<_>>(),
            ["customer_id", "first_name", "phone", "time_zone"]
        );
    }

    #[test]
    fn every_wrong_field_is_named() {
        let sync = CustomerSync {
            customer_id: "customer\r\n001".into(),
            email: Some("no-at-sign".into()),
            phone: Some("abc".repeat(7)),
            ..CustomerSync::default()
        };
        let errors = sync.checked("EC").expect_err("three fields are wrong");
        assert_eq!(errors.iter().map(|(field, _)| *field).collect::<Vec<_>>(), ["customer_id", "email", "phone"]);
    }

    /// What core systems hold in the field of a telephone: it costs that field, and the customer is synced without it.
    #[test]
    fn a_telephone_that_is_none_is_left_out_of_a_sync() {
        let sync = |phone: &str| {
            let sync = CustomerSync {
                customer_id: "c-1".into(),
                name: Some("Ana Peña".into()),
                email: Some(" Ana <ana@Example.com> ".into()),
                phone: Some(phone.to_owned()),
                ..CustomerSync::default()
            };
            sync.checked("EC")
        };
        for none in
            ["S/N", "0", "no tiene", "N/A", "--", "0991234567 / 0987654321", "022345678/0991234567", "0991234567 ext 5"]
        {
            let ana = sync(none).unwrap_or_else(|errors| panic!("{none}: {errors:?}"));
            assert_eq!((ana.phone.as_deref(), ana.email.as_deref()), (None, Some("ana@example.com")), "{none}");
            let [warning] = ana.warnings.as_slice() else { panic!("{none}: {:?}", ana.warnings) };
            assert_eq!((warning.field.as_str(), warning.code.as_str()), ("phone", "not_a_number"), "{none}");
        }
        assert!(
            sync("llamar después de las cinco").is_err(),
            "21 characters and more were an invalid payload before, too"
        );
        let usual = sync("099 123 4567").expect("a good number");
        assert_eq!((usual.phone.as_deref(), usual.warnings.len()), (Some("+593991234567"), 0));
        let unusual = sync("+593 0 90 012 3456").expect("a possible number");
        assert_eq!(
            (unusual.phone.as_deref(), unusual.warnings[0].code.as_str()),
            (Some("+593900123456"), "unusual_number")
        );
    }
}
