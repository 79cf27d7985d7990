//! Maintenance reminders: due by date, by kilometres, or by whichever comes first.

mod agenda;

use chrono::{Datelike, Days, NaiveDate};
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use utoipa::ToSchema;

pub use self::agenda::{
    Mornings, Planned, Reached, SCHEDULE, TriedReminder, agenda, dry_run, due_by_distance, morning, mornings,
};
use crate::channels::Channel;
use crate::dispatch::{Event, Request};
use crate::targets::Target;
use crate::vehicles;
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::config::UnknownCustomer;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::{Result, Session};
use recado_kernel::fields::{Wrong, between, blank, check_day, check_text, required};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sql;
use recado_kernel::word_enum;

/// What makes a reminder due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(rename_all = "snake_case")]
#[schema(as = ReminderType)]
pub enum Kind {
    /// The odometer.
    Kilometers,
    /// The calendar.
    #[default]
    Date,
    /// Whichever comes first.
    Both,
}

word_enum!(Kind, "a kind of reminder");

impl Kind {
    fn by_distance(self) -> bool {
        matches!(self, Self::Kilometers | Self::Both)
    }

    fn by_date(self) -> bool {
        matches!(self, Self::Date | Self::Both)
    }
}

/// Where a reminder stands (d17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(rename_all = "snake_case")]
#[schema(as = ReminderStatus)]
pub enum Status {
    /// Waits until it is due.
    Pending,
    /// It was announced.
    Notified,
    /// Its target has passed.
    Overdue,
    /// The service was done.
    Completed,
    /// It is not wanted any more.
    Cancelled,
}

word_enum!(Status, "a status");

impl Status {
    /// Whether its service is still to come.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Notified | Self::Overdue)
    }
}

/// A reminder with the vehicle that it is about (S002-54).
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Reminder {
    pub id: Id,
    pub vehicle_id: Id,
    pub kind: Kind,
    pub description: String,
    /// Odometer, in kilometres.
    pub target_kilometers: Option<i32>,
    pub target_date: Option<NaiveDate>,
    /// The only channels that announce it; empty for the customer's own preferences.
    pub notify_via: Json<Vec<Channel>>,
    pub status: Status,
    pub notify_before_days: i32,
    pub notify_before_km: i32,
    pub last_notified_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub customer_id: String,
    pub plate: String,
    pub brand: String,
    pub model: String,
    pub year: Option<i32>,
}

impl Reminder {
    /// The vehicle's brand, model and year, as far as they are known.
    pub fn vehicle_display(&self) -> String {
        vehicles::display_name(&self.brand, &self.model, self.year)
    }
}

/// What people write about a reminder (S002-54).
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = ReminderWrite)]
pub struct ReminderDraft {
    /// Id of the vehicle; `vehicle_id` is understood too.
    #[schema(required, nullable = false)]
    pub vehicle: Option<Id>,
    /// What makes it due; the targets that it needs must be set.
    #[schema(rename = "type")]
    pub kind: Kind,
    /// What is to be done.
    #[schema(max_length = 500, examples("Cambio de aceite"))]
    pub description: String,
    /// Odometer at which it is due, in kilometres; needed by the types `kilometers` and `both`.
    #[schema(minimum = 0, maximum = 10000000, examples(30000))]
    pub target_kilometers: Option<i32>,
    /// Day on which it is due; needed by the types `date` and `both`.
    #[schema(examples("2026-07-20"))]
    pub target_date: Option<NaiveDate>,
    /// The only channels that may announce it; empty for the customer's own preferences.
    #[schema(required = false, examples(json!(["email", "whatsapp"])))]
    pub notify_via: Vec<Channel>,
    /// Left out, it stays as it is; a new reminder is pending. Written back to `pending`, it is announced again.
    #[schema(nullable = false)]
    pub status: Option<Status>,
    /// How many days before the date it is announced.
    #[schema(required = false, minimum = 0, maximum = 365, default = 7)]
    pub notify_before_days: i32,
    /// How many kilometres before the target it is announced.
    #[schema(required = false, minimum = 0, maximum = 100000, default = 500)]
    pub notify_before_km: i32,
}

impl Default for ReminderDraft {
    fn default() -> Self {
        Self {
            vehicle: None,
            kind: Kind::default(),
            description: String::new(),
            target_kilometers: None,
            target_date: None,
            notify_via: Vec::new(),
            status: None,
            notify_before_days: 7,
            notify_before_km: 500,
        }
    }
}

impl ReminderDraft {
    /// What is wrong with it; every error names its field.
    pub fn errors(&self) -> Wrong {
        let mut errors = Wrong::new();
        if self.vehicle.is_none() {
            errors.push(("vehicle", required()));
        }
        if self.description.trim().is_empty() {
            errors.push(("description", blank()));
        }
        check_text(&mut errors, "description", Some(&self.description), 500);
        let needed = |field| {
            Sentence::new(
                format!("Con type \"{}\" el campo {field} es requerido.", self.kind),
                format!("With type \"{}\" the field {field} is required.", self.kind),
            )
        };
        if self.kind.by_date() && self.target_date.is_none() {
            errors.push(("target_date", needed("target_date")));
        }
        if self.kind.by_distance() && self.target_kilometers.is_none() {
            errors.push(("target_kilometers", needed("target_kilometers")));
        }
        check_day(&mut errors, "target_date", self.target_date);
        let counts = [
            ("target_kilometers", self.target_kilometers.unwrap_or_default(), 10_000_000),
            ("notify_before_days", self.notify_before_days, 365),
            ("notify_before_km", self.notify_before_km, 100_000),
        ];
        for (field, value, most) in counts {
            if !(0..=most).contains(&value) {
                errors.push((field, between(0, most)));
            }
        }
        errors
    }
}

impl ReminderDraft {
    /// The first day on which its date makes it due.
    pub fn due_on(&self) -> Option<NaiveDate> {
        let target = self.kind.by_date().then_some(self.target_date)??;
        Some(due_from(target, self.notify_before_days))
    }
}

impl From<Reminder> for ReminderDraft {
    fn from(reminder: Reminder) -> Self {
        Self {
            vehicle: Some(reminder.vehicle_id),
            kind: reminder.kind,
            description: reminder.description,
            target_kilometers: reminder.target_kilometers,
            target_date: reminder.target_date,
            notify_via: reminder.notify_via.0,
            status: None,
            notify_before_days: reminder.notify_before_days,
            notify_before_km: reminder.notify_before_km,
        }
    }
}

/// Which reminders to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct ReminderFilter {
    pub status: Option<Status>,
    /// Pending, notified or overdue; false for the other two.
    pub open: Option<bool>,
    pub customer_id: Option<String>,
    pub vehicle_id: Option<Id>,
}

/// A reminder with its vehicle; the condition follows.
const SELECT: &str =
    "select r.id, r.vehicle_id, r.kind, r.description, r.target_kilometers, r.target_date, r.notify_via,
           r.status, r.notify_before_days, r.notify_before_km, r.last_notified_at, r.created_at, r.updated_at,
           v.customer_id, v.plate, v.brand, v.model, v.year
    from reminders r join vehicles v on v.id = r.vehicle_id";

pub async fn find(session: &mut Session, id: Id) -> Result<Option<Reminder>> {
    sql!(one Reminder, session, (&format!("{SELECT} where r.id = $1")), id)
}

/// The reminder, held until the end of the transaction, so that two changes of it do not lose each other.
pub async fn lock(session: &mut Session, id: Id) -> Result<Option<Reminder>> {
    let held: Option<(Id,)> = sql!(one(Id,), session, "select id from reminders where id = $1 for update", id)?;
    if held.is_none() { Ok(None) } else { find(session, id).await }
}

/// A page of the reminders that fit, the newest first, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &ReminderFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Reminder>, i64)> {
    let list = List {
        select: SELECT,
        // Vehicles are looked at only where they are asked for; a reminder always has one.
        from: match filter.customer_id {
            Some(_) => "reminders r join vehicles v on v.id = r.vehicle_id",
            None => "reminders r",
        },
        key: "r.id",
        order: &["r.id"],
        descending: true,
    };
    list.page(session, &filter.conditions(), limit, offset).await
}

impl ReminderFilter {
    /// Each status is walked by itself where nothing finds fewer reminders.
    fn conditions(&self) -> Filter {
        let mut asked = Filter::default();
        asked.equal("v.customer_id", self.customer_id.as_deref());
        asked.equal("r.vehicle_id", self.vehicle_id);
        if self.status.is_none() && self.open.is_none() {
            return asked;
        }
        let fits = |status: &Status| {
            self.status.is_none_or(|asked| asked == *status) && self.open.is_none_or(|open| open == status.is_open())
        };
        let statuses: Vec<&str> = Status::ALL.into_iter().filter(fits).map(Status::as_str).collect();
        if self.customer_id.is_some() || self.vehicle_id.is_some() || statuses.is_empty() {
            asked.when("r.status = any(?)", Some(statuses));
        } else {
            asked.either("r.status = ?", statuses);
        }
        asked
    }
}

/// Reminders that fit, the newest first, and whether there are more in the direction in which the page was turned.
pub async fn page(
    session: &mut Session,
    filter: &ReminderFilter,
    cursor: Cursor<Id>,
    limit: i64,
) -> Result<(Vec<Reminder>, bool)> {
    let mut asked = Filter::default();
    asked.equal("v.customer_id", filter.customer_id.as_deref());
    asked.equal("r.vehicle_id", filter.vehicle_id);
    asked.equal("r.status", filter.status.map(Status::as_str));
    if let Some(open) = filter.open {
        let statuses = Status::ALL.into_iter().filter(|status| status.is_open() == open).map(Status::as_str);
        asked.when("r.status = any(?)", Some(statuses.collect::<Vec<_>>()));
    }
    asked.page(session, SELECT, ("r.id", Order::Descending), cursor, limit).await
}

/// Writes a new reminder. `None` when its vehicle is unknown.
pub async fn insert(
    session: &mut Session,
    draft: &ReminderDraft,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Reminder>> {
    let id = Id::new(now);
    sql!(
        run,
        session,
        "insert into reminders (id, vehicle_id, kind, description, target_kilometers, target_date, notify_via, status,
             notify_before_days, notify_before_km, due_on, due_cycle, created_at, updated_at)
         select $1, id, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $12 from vehicles where id = $2",
        id,
        draft.vehicle,
        draft.kind,
        draft.description.as_str(),
        draft.target_kilometers,
        draft.target_date,
        Json(&draft.notify_via),
        draft.status.unwrap_or(Status::Pending),
        draft.notify_before_days,
        draft.notify_before_km,
        draft.due_on(),
        now
    )?;
    let made = find(session, id).await?;
    if let Some(made) = &made {
        audit::write(session, actor, &Act::new("create", "reminder", id).made(facts(made)), now).await?;
    }
    Ok(made)
}

/// Replaces a reminder that is locked. `None` when its vehicle is unknown. One that becomes pending again begins its next due
/// cycle, so that it is announced once more (d18).
pub async fn replace(
    session: &mut Session,
    reminder: &Reminder,
    draft: &ReminderDraft,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Reminder>> {
    let written = sql!(
        run,
        session,
        "update reminders set vehicle_id = $2, kind = $3, description = $4, target_kilometers = $5, target_date = $6,
             notify_via = $7, notify_before_days = $8, notify_before_km = $9,
             due_cycle = due_cycle + case when $10 = 'pending' and status <> 'pending' then 1 else 0 end,
             status = coalesce($10, status), due_on = $11, updated_at = $12
         where id = $1 and exists (select 1 from vehicles where id = $2)",
        reminder.id,
        draft.vehicle,
        draft.kind,
        draft.description.as_str(),
        draft.target_kilometers,
        draft.target_date,
        Json(&draft.notify_via),
        draft.notify_before_days,
        draft.notify_before_km,
        draft.status,
        draft.due_on(),
        now
    )?;
    if written == 0 {
        return Ok(None);
    }
    let written = find(session, reminder.id).await?;
    if let Some(written) = &written {
        let (before, mut after) = (facts(reminder), facts(written));
        if reminder.description != written.description {
            after["written"] = json!(["description"]);
        }
        audit::write(session, actor, &Act::new("change", "reminder", reminder.id).changed(before, after), now).await?;
    }
    Ok(written)
}

/// The service was done. Saying so again changes nothing; `None` when there is no such reminder.
pub async fn complete(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<Option<Reminder>> {
    set_status(session, id, Status::Completed, "complete", actor, now).await
}

/// It is not wanted any more, and is announced to no one. Saying so again changes nothing; `None` when there is no such reminder.
pub async fn cancel(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<Option<Reminder>> {
    set_status(session, id, Status::Cancelled, "cancel", actor, now).await
}

/// Takes back that a service was done or is not wanted: it is as it was. A status that only the clock gives can be given back too.
pub async fn reopen(
    session: &mut Session,
    id: Id,
    status: Status,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Reminder>> {
    if status.is_open() { set_status(session, id, status, "reopen", actor, now).await } else { find(session, id).await }
}

async fn set_status(
    session: &mut Session,
    id: Id,
    status: Status,
    action: &'static str,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Reminder>> {
    let Some(before) = lock(session, id).await? else { return Ok(None) };
    if before.status == status {
        return Ok(Some(before));
    }
    sql!(run, session, "update reminders set status = $2, updated_at = $3 where id = $1", id, status, now)?;
    let act = Act::new(action, "reminder", id).changed(json!({"status": before.status}), json!({ "status": status }));
    audit::write(session, actor, &act, now).await?;
    find(session, id).await
}

/// Deletes a reminder; false when there is none.
pub async fn delete(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<bool> {
    let Some(reminder) = find(session, id).await? else { return Ok(false) };
    let is_deleted = sql!(run, session, "delete from reminders where id = $1", id)? > 0;
    if is_deleted {
        let act = Act::new("delete", "reminder", id).changed(facts(&reminder), json!({}));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(is_deleted)
}

/// What the audit log keeps of a reminder: all but its description, which is free text.
fn facts(reminder: &Reminder) -> Value {
    json!({
        "vehicle": reminder.vehicle_id, "type": reminder.kind, "target_kilometers": reminder.target_kilometers,
        "target_date": reminder.target_date, "notify_via": reminder.notify_via.0, "status": reminder.status,
        "notify_before_days": reminder.notify_before_days, "notify_before_km": reminder.notify_before_km,
    })
}

/// An open reminder with what it needs to be judged and announced.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OpenReminder {
    pub id: Id,
    pub kind: Kind,
    pub description: String,
    pub target_kilometers: Option<i32>,
    pub target_date: Option<NaiveDate>,
    /// The only channels that announce it; empty for the customer's own preferences.
    pub notify_via: Json<Vec<Channel>>,
    pub status: Status,
    pub notify_before_days: i32,
    pub notify_before_km: i32,
    pub due_cycle: i32,
    pub customer_id: String,
    pub plate: String,
    pub brand: String,
    pub model: String,
    pub year: Option<i32>,
    pub current_kilometers: Option<i32>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
}

/// How a reminder stands on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    NotYet,
    /// Inside the notice that the reminder asks for.
    Due,
    /// The target itself has passed.
    Overdue,
}

impl OpenReminder {
    /// A target that is not set never comes.
    pub fn standing(&self, today: NaiveDate) -> Standing {
        let by_date = self.kind.by_date().then_some(self.target_date).flatten().map(|target| {
            standing(today, due_from(target, self.notify_before_days), target.succ_opt().unwrap_or(target))
        });
        let kilometers = self.current_kilometers.zip(self.target_kilometers);
        let by_distance = self.kind.by_distance().then_some(kilometers).flatten().map(|(current, target)| {
            standing(current, target.saturating_sub(self.notify_before_km.max(0)), target.saturating_add(1))
        });
        match (by_date, by_distance) {
            (Some(Standing::Overdue), _) | (_, Some(Standing::Overdue)) => Standing::Overdue,
            (Some(Standing::Due), _) | (_, Some(Standing::Due)) => Standing::Due,
            _ => Standing::NotYet,
        }
    }

    /// The event that announces it. The key makes each due cycle one message, even when two processes look at the same time (d18).
    pub fn request(&self, standing: Standing) -> Request {
        let event_type = if standing == Standing::Overdue { "maintenance_overdue" } else { "maintenance_reminder" };
        Request {
            event: Event {
                event_type: event_type.to_owned(),
                service_type_id: Some("mantenimiento-preventivo".to_owned()),
                phase_id: Some("phase-schedule".to_owned()),
                subtype_id: None,
                customer_id: self.customer_id.clone(),
                target: Target::Clients,
                taller_id: None,
                context: self.context(),
                correlation_id: None,
                send_at: None,
                critical: false,
            },
            idempotency: None,
            unique_key: Some(format!("reminder:{}:{}", self.id, self.due_cycle)),
            unknown_customer: UnknownCustomer::Reject,
            only: self.notify_via.0.clone(),
            by: None,
        }
    }

    /// The variables of S002-80; what a reminder does not have is absent.
    fn context(&self) -> Map<String, Value> {
        let name =
            [self.first_name.as_deref(), self.last_name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let year = self.year.map(|year| year.to_string()).unwrap_or_default();
        let vehicle = format!("{} {} {year}", self.brand, self.model);
        let mut context = Map::new();
        let mut put = |key: &str, value: String| {
            let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            if !value.is_empty() {
                context.insert(key.to_owned(), value.into());
            }
        };
        put("nombre", if name.trim().is_empty() { "cliente".to_owned() } else { name });
        put("vehiculo", if vehicle.trim().is_empty() { self.plate.clone() } else { vehicle });
        put("placa", self.plate.clone());
        put("descripcion", self.description.clone());
        put("fecha", self.target_date.map(in_spanish).unwrap_or_default());
        put("kilometraje", self.target_kilometers.map(|km| km.to_string()).unwrap_or_default());
        context
    }
}

/// The first day of the notice before a date.
fn due_from(target: NaiveDate, notify_before_days: i32) -> NaiveDate {
    let notice = Days::new(u64::try_from(notify_before_days).unwrap_or_default());
    target.checked_sub_days(notice).unwrap_or(target)
}

fn standing<T: PartialOrd + Copy>(now: T, due_from: T, overdue_from: T) -> Standing {
    if now >= overdue_from {
        Standing::Overdue
    } else if now >= due_from {
        Standing::Due
    } else {
        Standing::NotYet
    }
}

/// `20 de Enero, 2026`, as the documents write dates.
fn in_spanish(date: NaiveDate) -> String {
    const MONTHS: [&str; 12] = [
        "Enero",
        "Febrero",
        "Marzo",
        "Abril",
        "Mayo",
        "Junio",
        "Julio",
        "Agosto",
        "Septiembre",
        "Octubre",
        "Noviembre",
        "Diciembre",
    ];
    format!("{} de {}, {}", date.day(), MONTHS[date.month0() as usize], date.year())
}

/// A page of open reminders after `after`, of one vehicle or of all, in the order of their ids.
pub async fn open(
    session: &mut Session,
    vehicle: Option<Id>,
    after: Option<Id>,
    limit: i64,
) -> Result<Vec<OpenReminder>> {
    let mut asked = Filter::default();
    asked.when("r.id > ?", after);
    let statuses = [Status::Pending, Status::Notified].map(Status::as_str);
    match vehicle {
        Some(vehicle) => {
            asked.equal("r.vehicle_id", Some(vehicle));
            asked.when("r.status = any(?)", Some(statuses.to_vec()));
        }
        None => asked.either("r.status = ?", statuses),
    }
    OPEN.rows(session, &asked, limit, 0).await
}

/// Open reminders with all that their messages say.
const OPEN: List<'_> = List {
    select: "select r.id, r.kind, r.description, r.target_kilometers, r.target_date, r.notify_via, r.status,
                r.notify_before_days, r.notify_before_km, r.due_cycle, v.customer_id, v.plate, v.brand, v.model, v.year, v.current_kilometers,
                c.first_name, c.last_name
         from reminders r join vehicles v on v.id = r.vehicle_id left join customers c on c.customer_id = v.customer_id",
    from: "reminders r",
    key: "r.id",
    order: &["r.id"],
    descending: false,
};

/// It was announced, or its target passed after it had been.
pub async fn mark(session: &mut Session, id: Id, standing: Standing, announced: bool, now: Timestamp) -> Result<()> {
    let status = if standing == Standing::Overdue { Status::Overdue } else { Status::Notified };
    sql!(run, session,
        "update reminders set status = $2, last_notified_at = case when $3 then $4 else last_notified_at end, updated_at = $4
         where id = $1 and status in ('pending', 'notified')",
        id, status.as_str(), announced, now
    )?;
    Ok(())
}

/// Reminders that are due, each with why.
pub type Due<'r> = Vec<(&'r OpenReminder, Standing)>;

/// Of these reminders those that are due on a day: first those that would be announced, then those that have been and whose target
/// may have passed since. What is announced and what a dry run tells are this.
pub fn due(reminders: &[OpenReminder], today: NaiveDate) -> (Due<'_>, Due<'_>) {
    let standing = reminders.iter().map(|reminder| (reminder, reminder.standing(today)));
    standing
        .filter(|(_, standing)| *standing != Standing::NotYet)
        .partition(|(reminder, _)| reminder.status == Status::Pending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn reminder(
        kind: Kind,
        target_date: Option<&str>,
        target_kilometers: Option<i32>,
        current: Option<i32>,
    ) -> OpenReminder {
        OpenReminder {
            id: Id::of_name("r"),
            kind,
            description: "Cambio de aceite".into(),
            target_kilometers,
            target_date: target_date.map(day),
            notify_via: Json(Vec::new()),
            status: Status::Pending,
            notify_before_days: 7,
            notify_before_km: 500,
            due_cycle: 0,
            customer_id: "customer-001".into(),
            plate: "ABC123".into(),
            brand: "Haval".into(),
            model: "H6".into(),
            year: Some(2024),
            current_kilometers: current,
            first_name: None,
            last_name: None,
        }
    }

    /// S002-80: due when `target_date - notify_before_days <= today`; the day itself is not yet overdue.
    #[test]
    fn by_date() {
        let reminder = reminder(Kind::Date, Some("2026-01-20"), Some(100), Some(99_999));
        for (today, expected) in [
            ("2026-01-12", Standing::NotYet),
            ("2026-01-13", Standing::Due),
            ("2026-01-20", Standing::Due),
            ("2026-01-21", Standing::Overdue),
        ] {
            assert_eq!(reminder.standing(day(today)), expected, "{today}");
        }
    }

    /// d18: kilometres count too.
    #[test]
    fn by_kilometres_or_by_whichever_comes_first() {
        let standing =
            |kind, current| reminder(kind, Some("2026-01-20"), Some(10_000), current).standing(day("2026-01-01"));
        assert_eq!(standing(Kind::Kilometers, Some(9_499)), Standing::NotYet);
        assert_eq!(standing(Kind::Kilometers, Some(9_500)), Standing::Due);
        assert_eq!(standing(Kind::Both, Some(10_001)), Standing::Overdue);
        assert_eq!(standing(Kind::Kilometers, None), Standing::NotYet);
        assert_eq!(standing(Kind::Date, Some(10_001)), Standing::NotYet);
    }

    #[test]
    fn a_type_needs_its_targets() {
        let date = Some(day("2026-01-20"));
        for (kind, target_date, target_kilometers, wrong) in [
            (Kind::Date, date, None, vec![]),
            (Kind::Date, None, Some(1), vec!["target_date"]),
            (Kind::Kilometers, None, Some(1), vec![]),
            (Kind::Kilometers, date, None, vec!["target_kilometers"]),
            (Kind::Both, date, Some(1), vec![]),
            (Kind::Both, None, None, vec!["target_date", "target_kilometers"]),
            (Kind::Both, Some(day("0001-01-01")), Some(-1), vec!["target_date", "target_kilometers"]),
        ] {
            let draft = ReminderDraft {
                vehicle: Some(Id::of_name("v")),
                kind,
                description: "Cambio de aceite".into(),
                target_kilometers,
                target_date,
                ..ReminderDraft::default()
            };
            assert_eq!(draft.errors().into_iter().map(|(field, _)| field).collect::<Vec<_>>(), wrong, "{draft:?}");
        }
        let nothing = ReminderDraft { notify_before_days: 366, ..ReminderDraft::default() }.errors();
        let fields: Vec<_> = nothing.iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, ["vehicle", "description", "target_date", "notify_before_days"]);
    }

    #[test]
    fn the_context_holds_what_the_reminder_has() {
        let context = reminder(Kind::Date, Some("2026-01-20"), None, None).request(Standing::Due).event.context;
        assert_eq!(context["fecha"], "20 de Enero, 2026");
        assert_eq!(context["vehiculo"], "Haval H6 2024");
        assert!(!context.contains_key("kilometraje"));
    }
}
