//! Vehicles: a projection of the Core service.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::customers::{self, LONGEST_CUSTOMER_ID, Synced};
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::search::{self, Extent, Sought};
use recado_kernel::db::{Result, Session, Texts};
use recado_kernel::fields::{Wrong, between, blank, check_day, check_text, check_url, required};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sql;

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Vehicle {
    pub id: Id,
    pub vehicle_id: Option<String>,
    pub customer_id: String,
    pub brand: String,
    pub model: String,
    pub year: Option<i32>,
    pub plate: String,
    pub current_kilometers: Option<i32>,
    pub last_service_date: Option<NaiveDate>,
    pub next_service_kilometers: Option<i32>,
    pub image_url: Option<String>,
    #[serde(skip)]
    pub sync_version: Option<i64>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Vehicle {
    /// Brand, model and year, as far as they are known.
    pub fn display_name(&self) -> String {
        display_name(&self.brand, &self.model, self.year)
    }

    /// Kilometres until the next service; negative when it is overdue.
    pub fn remaining_km(&self) -> Option<i32> {
        Some(self.next_service_kilometers? - self.current_kilometers?)
    }
}

/// Brand, model and year, as far as they are known.
pub fn display_name(brand: &str, model: &str, year: Option<i32>) -> String {
    let year = year.map(|year| year.to_string()).unwrap_or_default();
    [brand, model, &year].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What people write about a vehicle (S002-53). Plates are compared in upper case and without blanks around them.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(as = VehicleWrite)]
pub struct VehicleDraft {
    /// Whose vehicle it is; the customer must be known.
    #[schema(max_length = 100, examples("customer-001"))]
    pub customer_id: String,
    /// Make.
    #[schema(max_length = 100, examples("Haval"))]
    pub brand: String,
    /// Model.
    #[schema(max_length = 100, examples("H6"))]
    pub model: String,
    /// Year of manufacture.
    #[schema(minimum = 1886, maximum = 2200, examples(2024))]
    pub year: Option<i32>,
    /// Belongs to one vehicle only.
    #[schema(max_length = 20, examples("ABC123"))]
    pub plate: String,
    /// Odometer, in kilometres.
    #[schema(minimum = 0, maximum = 10000000, examples(24500))]
    pub current_kilometers: Option<i32>,
    /// Day of the last service.
    pub last_service_date: Option<NaiveDate>,
    /// Odometer at which the next service is due, in kilometres.
    #[schema(minimum = 0, maximum = 10000000, examples(30000))]
    pub next_service_kilometers: Option<i32>,
    /// URL of a picture, `http` or `https`.
    #[schema(max_length = 2000)]
    pub image_url: Option<String>,
}

impl VehicleDraft {
    /// What is wrong with it; every error names its field.
    pub fn errors(&self) -> Wrong {
        let mut errors = Wrong::new();
        let required = [
            ("customer_id", &self.customer_id),
            ("brand", &self.brand),
            ("model", &self.model),
            ("plate", &self.plate),
        ];
        for (field, value) in required {
            if value.trim().is_empty() {
                errors.push((field, blank()));
            }
        }
        check_text(&mut errors, "customer_id", Some(&self.customer_id), LONGEST_CUSTOMER_ID);
        check_text(&mut errors, "brand", Some(&self.brand), 100);
        check_text(&mut errors, "model", Some(&self.model), 100);
        check_text(&mut errors, "plate", Some(&self.plate), 20);
        check_url(&mut errors, "image_url", self.image_url.as_deref(), 2000);
        check_day(&mut errors, "last_service_date", self.last_service_date);
        check_counts(&mut errors, self.year, self.current_kilometers, self.next_service_kilometers);
        errors
    }
}

impl From<Vehicle> for VehicleDraft {
    fn from(vehicle: Vehicle) -> Self {
        Self {
            customer_id: vehicle.customer_id,
            brand: vehicle.brand,
            model: vehicle.model,
            year: vehicle.year,
            plate: vehicle.plate,
            current_kilometers: vehicle.current_kilometers,
            last_service_date: vehicle.last_service_date,
            next_service_kilometers: vehicle.next_service_kilometers,
            image_url: vehicle.image_url,
        }
    }
}

/// Which vehicles to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct VehicleFilter {
    pub customer_id: Option<String>,
    /// Part of a plate, in either case.
    pub plate: Option<String>,
}

/// The columns of a [`Vehicle`], by name: a star would break the prepared statements of running processes when a newer
/// version adds one.
const COLUMNS: &str = "id, vehicle_id, customer_id, brand, model, year, plate, current_kilometers, last_service_date, \
     next_service_kilometers, image_url, sync_version, created_at, updated_at";

pub async fn find_by_plate(session: &mut Session, plate: &str) -> Result<Option<Vehicle>> {
    sql!(one Vehicle, session, (&format!("select {COLUMNS} from vehicles where plate = $1")), plate)
}

/// The vehicles with these plates.
pub async fn of_plates(session: &mut Session, plates: &[String]) -> Result<Vec<Vehicle>> {
    sql!(all Vehicle, session, (&format!("select {COLUMNS} from vehicles where plate = any($1) order by plate")), Texts(plates))
}

pub async fn find(session: &mut Session, id: Id) -> Result<Option<Vehicle>> {
    sql!(one Vehicle, session, (&format!("select {COLUMNS} from vehicles where id = $1")), id)
}

/// The vehicle, held until the end of the transaction, so that two changes of it do not lose each other.
pub async fn lock(session: &mut Session, id: Id) -> Result<Option<Vehicle>> {
    sql!(one Vehicle, session, (&format!("select {COLUMNS} from vehicles where id = $1 for update")), id)
}

/// A page of the vehicles that fit, by plate, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &VehicleFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Vehicle>, i64)> {
    let mut asked = Filter::default();
    asked.equal("customer_id", filter.customer_id.as_deref());
    if let Some(plate) = &filter.plate {
        let condition = found_in(&mut asked, session.is_embedded(), &["plate"], plate);
        asked.require(condition);
    }
    let list = List {
        select: &format!("select {COLUMNS} from vehicles"),
        from: "vehicles",
        key: "plate",
        order: &["plate"],
        descending: false,
    };
    list.page(session, &asked, limit, offset).await
}

/// That this is part of a plate or, where that is asked too, of the Core service's identifier.
fn found_in(asked: &mut Filter, is_embedded: bool, texts: &[&str], search: &str) -> String {
    let sought = Sought { texts, word: search.to_owned(), extent: Extent::Part };
    search::VEHICLES.condition(asked, is_embedded, &[sought])
}

/// Vehicles by plate, and whether there are more in the direction in which the page was turned. `search` is part of a plate, or of
/// the Core service's identifier.
pub async fn page(
    session: &mut Session,
    customer_id: Option<&str>,
    search: Option<&str>,
    cursor: Cursor<&str>,
    limit: i64,
) -> Result<(Vec<Vehicle>, bool)> {
    let mut asked = Filter::default();
    asked.equal("customer_id", customer_id);
    if let Some(search) = search {
        let condition = found_in(&mut asked, session.is_embedded(), &["plate", "vehicle_id"], search.trim());
        asked.require(condition);
    }
    let select = format!("select {COLUMNS} from vehicles");
    asked.page(session, &select, ("plate", Order::Ascending), cursor, limit).await
}

/// Writes a new vehicle. `None` when its customer is unknown; a plate that is taken violates `vehicles_plate_key`.
pub async fn insert(
    session: &mut Session,
    draft: &VehicleDraft,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Vehicle>> {
    let made: Option<Vehicle> = sql!(one Vehicle, session,
        (&format!("insert into vehicles (id, customer_id, brand, model, year, plate, current_kilometers, last_service_date,
             next_service_kilometers, image_url, created_at, updated_at)
         select $1, customer_id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11 from customers where customer_id = $2
         returning {COLUMNS}")),
        Id::new(now), draft.customer_id.as_str(), draft.brand.as_str(), draft.model.as_str(), draft.year,
        draft.plate.as_str(), draft.current_kilometers, draft.last_service_date, draft.next_service_kilometers,
        draft.image_url.as_deref(), now
    )?;
    if let Some(made) = &made {
        audit::write(session, actor, &Act::new("create", "vehicle", made.id).made(facts(made)), now).await?;
    }
    Ok(made)
}

/// What the audit log keeps of a vehicle: what it is, and not by which a person is known: plate and picture.
fn facts(vehicle: &Vehicle) -> Value {
    json!({
        "customer_id": vehicle.customer_id, "brand": vehicle.brand, "model": vehicle.model, "year": vehicle.year,
        "current_kilometers": vehicle.current_kilometers, "last_service_date": vehicle.last_service_date,
        "next_service_kilometers": vehicle.next_service_kilometers,
    })
}

/// What other rows say against a draft: its customer is unknown, or its plate belongs to another vehicle than `own`.
pub async fn conflicts(session: &mut Session, draft: &VehicleDraft, own: Option<Id>) -> Result<Wrong> {
    let mut errors = Wrong::new();
    if customers::find(session, &draft.customer_id).await?.is_none() {
        errors.push(("customer_id", unknown_customer()));
    }
    if find_by_plate(session, &draft.plate).await?.is_some_and(|other| Some(other.id) != own) {
        errors.push(("plate", plate_taken()));
    }
    Ok(errors)
}

/// Said of the field `customer_id`.
pub fn unknown_customer() -> Sentence {
    Sentence::new(
        "No existe un cliente con este customer_id. Créelo o sincronícelo primero.",
        "There is no customer with this customer_id. Create or synchronise it first.",
    )
}

/// Said of the field `plate`.
pub fn plate_taken() -> Sentence {
    Sentence::new("Ya existe un vehículo con esta placa.", "There is a vehicle with this plate already.")
}

/// Replaces a vehicle that is locked. `None` when its customer is unknown; a plate that is taken violates `vehicles_plate_key`.
pub async fn replace(
    session: &mut Session,
    vehicle: &Vehicle,
    draft: &VehicleDraft,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Vehicle>> {
    let written: Option<Vehicle> = sql!(one Vehicle, session,
        (&format!("update vehicles set customer_id = $2, brand = $3, model = $4, year = $5, plate = $6, current_kilometers = $7,
             last_service_date = $8, next_service_kilometers = $9, image_url = $10, updated_at = $11
         where id = $1 and exists (select 1 from customers where customer_id = $2)
         returning {COLUMNS}")),
        vehicle.id, draft.customer_id.as_str(), draft.brand.as_str(), draft.model.as_str(), draft.year, draft.plate.as_str(),
        draft.current_kilometers, draft.last_service_date, draft.next_service_kilometers, draft.image_url.as_deref(), now
    )?;
    if let Some(written) = &written {
        let (before, mut after) = (facts(vehicle), facts(written));
        let hidden = [("plate", vehicle.plate != written.plate), ("image_url", vehicle.image_url != written.image_url)];
        let changed: Vec<&str> = hidden.into_iter().filter(|(_, has)| *has).map(|(field, _)| field).collect();
        if !changed.is_empty() {
            after["written"] = json!(changed);
        }
        let act = Act::new("change", "vehicle", vehicle.id).changed(before, after);
        audit::write(session, actor, &act, now).await?;
    }
    Ok(written)
}

/// Deletes a vehicle with its reminders; false when there is none.
pub async fn delete(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<bool> {
    let deleted: Option<Vehicle> =
        sql!(one Vehicle, session, (&format!("delete from vehicles where id = $1 returning {COLUMNS}")), id)?;
    if let Some(vehicle) = &deleted {
        let act = Act::new("delete", "vehicle", id).changed(facts(vehicle), json!({}));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(deleted.is_some())
}

/// A vehicle as the Core service sends it (S002-61). What is absent, null or blank erases nothing (d29).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VehicleSync {
    /// The Core service's own identifier; without one the plate identifies the vehicle.
    #[serde(default)]
    #[schema(max_length = 100, examples("v-1001"))]
    pub vehicle_id: Option<String>,
    /// Whose vehicle it is; the customer may be synced later.
    #[schema(max_length = 100, examples("customer-001"))]
    pub customer_id: String,
    /// Licence plate; upper and lower case are the same.
    #[schema(max_length = 20, examples("ABC123"))]
    pub plate: String,
    /// Make.
    #[serde(default)]
    #[schema(required, nullable = false, max_length = 100, examples("Haval"))]
    pub brand: Option<String>,
    /// Model.
    #[serde(default)]
    #[schema(required, nullable = false, max_length = 100, examples("H6"))]
    pub model: Option<String>,
    /// Year of manufacture.
    #[serde(default)]
    #[schema(minimum = 1886, maximum = 2200, examples(2024))]
    pub year: Option<i32>,
    /// Odometer, in kilometres; reminders by distance are looked at with it.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 10000000, examples(24500))]
    pub current_kilometers: Option<i32>,
    /// Day of the last service; also with the day first, as in `20/01/2026`.
    #[serde(default)]
    pub last_service_date: Option<NaiveDate>,
    /// Odometer at which the next service is due, in kilometres.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 10000000, examples(30000))]
    pub next_service_kilometers: Option<i32>,
    /// URL of a picture, `http` or `https`.
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub image_url: Option<String>,
    /// Grows with every change; an older version than the one that is here is acknowledged and ignored.
    #[serde(default)]
    #[schema(examples(7))]
    pub sync_version: Option<i64>,
}

impl VehicleSync {
    /// Checks what the caller sent; every error names its field. Plates are compared in upper case and without blanks.
    pub fn checked(mut self) -> std::result::Result<Self, Wrong> {
        let mut errors = Wrong::new();
        self.plate = self.plate.trim().to_uppercase();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let needed = [
            ("customer_id", self.customer_id.clone()),
            ("plate", self.plate.clone()),
            ("brand", text(&self.brand)),
            ("model", text(&self.model)),
        ];
        for (field, value) in needed {
            if value.trim().is_empty() {
                errors.push((field, required()));
            }
        }
        check_text(&mut errors, "customer_id", Some(&self.customer_id), LONGEST_CUSTOMER_ID);
        check_text(&mut errors, "vehicle_id", self.vehicle_id.as_deref(), 100);
        check_text(&mut errors, "plate", Some(&self.plate), 20);
        check_text(&mut errors, "brand", self.brand.as_deref(), 100);
        check_text(&mut errors, "model", self.model.as_deref(), 100);
        check_url(&mut errors, "image_url", self.image_url.as_deref(), 2000);
        check_day(&mut errors, "last_service_date", self.last_service_date);
        check_counts(&mut errors, self.year, self.current_kilometers, self.next_service_kilometers);
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }
}

fn check_counts(
    errors: &mut Wrong,
    year: Option<i32>,
    current_kilometers: Option<i32>,
    next_service_kilometers: Option<i32>,
) {
    let counts = [
        ("year", year, 1886..=2200),
        ("current_kilometers", current_kilometers, 0..=10_000_000),
        ("next_service_kilometers", next_service_kilometers, 0..=10_000_000),
    ];
    for (field, value, range) in counts {
        if value.is_some_and(|value| !range.contains(&value)) {
            errors.push((field, between(range.start(), range.end())));
        }
    }
}

/// Creates or updates, by the Core service's id or else by plate. What is absent erases nothing, and an older version is
/// ignored (d29). A plate that belongs to another vehicle violates `vehicles_plate_key`.
pub async fn sync(session: &mut Session, sync: &VehicleSync, now: Timestamp) -> Result<(Synced, Id)> {
    let known: Option<(Id, Option<i64>)> = sql!(
        one(Id, Option<i64>),
        session,
        "select id, sync_version from vehicles where vehicle_id = $1 or plate = $2
         order by case when vehicle_id = $1 then 0 else 1 end limit 1 for update",
        sync.vehicle_id.as_deref(),
        sync.plate.as_str()
    )?;
    match known {
        Some((id, version)) if version.zip(sync.sync_version).is_some_and(|(have, sent)| sent < have) => {
            Ok((Synced::Stale, id))
        }
        Some((id, _)) => update(session, id, sync, now).await.map(|()| (Synced::Updated, id)),
        None => create(session, sync, now).await.map(|id| (Synced::Created, id)),
    }
}

async fn update(session: &mut Session, id: Id, sync: &VehicleSync, now: Timestamp) -> Result<()> {
    sql!(run, session,
        "update vehicles set vehicle_id = coalesce($2, vehicle_id), customer_id = $3, plate = $4, brand = coalesce($5, brand),
             model = coalesce($6, model), year = coalesce($7, year), current_kilometers = coalesce($8, current_kilometers),
             last_service_date = coalesce($9, last_service_date),
             next_service_kilometers = coalesce($10, next_service_kilometers), image_url = coalesce($11, image_url),
             sync_version = coalesce($12, sync_version), updated_at = $13
         where id = $1",
        id, sync.vehicle_id.as_deref(), sync.customer_id.as_str(), sync.plate.as_str(), sync.brand.as_deref(),
        sync.model.as_deref(), sync.year, sync.current_kilometers, sync.last_service_date, sync.next_service_kilometers,
        sync.image_url.as_deref(), sync.sync_version, now
    )?;
    Ok(())
}

async fn create(session: &mut Session, sync: &VehicleSync, now: Timestamp) -> Result<Id> {
    let id = Id::new(now);
    sql!(run, session,
        "insert into vehicles (id, vehicle_id, customer_id, plate, brand, model, year, current_kilometers, last_service_date,
             next_service_kilometers, image_url, sync_version, created_at, updated_at)
         values ($1, $2, $3, $4, coalesce($5, ''), coalesce($6, ''), $7, $8, $9, $10, $11, $12, $13, $13)",
        id, sync.vehicle_id.as_deref(), sync.customer_id.as_str(), sync.plate.as_str(), sync.brand.as_deref(),
        sync.model.as_deref(), sync.year, sync.current_kilometers, sync.last_service_date, sync.next_service_kilometers,
        sync.image_url.as_deref(), sync.sync_version, now
    )?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_named() {
        let sync = VehicleSync {
            customer_id: "customer-001".into(),
            plate: " ".into(),
            brand: Some("Haval\0".into()),
            year: Some(3),
            current_kilometers: Some(-1),
            image_url: Some("foto.jpg".into()),
            last_service_date: NaiveDate::from_ymd_opt(12026, 1, 1),
            ..VehicleSync::default()
        };
        let errors = sync.checked().expect_err("seven fields are wrong");
        assert_eq!(
            errors.iter().map(|(field, _)| *field).collect::<Vec<_>>(),
            ["plate", "model", "brand", "image_url", "last_service_date", "year", "current_kilometers"]
        );
    }
}
