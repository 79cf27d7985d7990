//! Maintenance reminders: due by date, by kilometres, or by whichever comes first.

use chrono::{Datelike, Days, NaiveDate};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::config::UnknownCustomer;
use crate::db::{Result, Session};
use crate::dispatch::{Event, Request};
use crate::ids::Id;
use crate::orchestration::Target;
use crate::sql;

/// What makes a reminder due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Kilometers,
    Date,
    Both,
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(word: String) -> std::result::Result<Self, String> {
        match word.as_str() {
            "kilometers" => Ok(Self::Kilometers),
            "date" => Ok(Self::Date),
            "both" => Ok(Self::Both),
            _ => Err(format!("`{word}` is not a kind of reminder; choose kilometers, date or both")),
        }
    }
}

/// An open reminder with what it needs to be judged and announced.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OpenReminder {
    pub id: Id,
    #[sqlx(try_from = "String")]
    pub kind: Kind,
    pub description: String,
    pub target_kilometers: Option<i32>,
    pub target_date: Option<NaiveDate>,
    pub status: String,
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
        let by_date =
            matches!(self.kind, Kind::Date | Kind::Both).then_some(self.target_date).flatten().map(|target| {
                let notice = Days::new(u64::try_from(self.notify_before_days).unwrap_or_default());
                standing(today, target.checked_sub_days(notice).unwrap_or(target), target.succ_opt().unwrap_or(target))
            });
        let kilometers = self.current_kilometers.zip(self.target_kilometers);
        let by_distance = matches!(self.kind, Kind::Kilometers | Kind::Both).then_some(kilometers).flatten().map(
            |(current, target)| {
                standing(current, target.saturating_sub(self.notify_before_km.max(0)), target.saturating_add(1))
            },
        );
        match (by_date, by_distance) {
            (Some(Standing::Overdue), _) | (_, Some(Standing::Overdue)) => Standing::Overdue,
            (Some(Standing::Due), _) | (_, Some(Standing::Due)) => Standing::Due,
            _ => Standing::NotYet,
        }
    }

    /// The event that announces it. The key makes each due cycle one message, whoever else looks at the same time (d18).
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
            },
            idempotency: None,
            unique_key: Some(format!("reminder:{}:{}", self.id, self.due_cycle)),
            unknown_customer: UnknownCustomer::Reject,
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
    sql!(all OpenReminder, session,
        "select r.id, r.kind, r.description, r.target_kilometers, r.target_date, r.status, r.notify_before_days,
                r.notify_before_km, r.due_cycle, v.customer_id, v.plate, v.brand, v.model, v.year, v.current_kilometers,
                c.first_name, c.last_name
         from reminders r join vehicles v on v.id = r.vehicle_id left join customers c on c.customer_id = v.customer_id
         where r.status in ('pending', 'notified') and (r.vehicle_id = $1 or $2) and (r.id > $3 or $4)
         order by r.id limit $5",
        vehicle, vehicle.is_none(), after, after.is_none(), limit
    )
}

/// It was announced, or its target passed after it had been.
pub async fn mark(session: &mut Session, id: Id, standing: Standing, announced: bool, now: Timestamp) -> Result<()> {
    let status = if standing == Standing::Overdue { "overdue" } else { "notified" };
    sql!(run, session,
        "update reminders set status = $2, last_notified_at = case when $3 then $4 else last_notified_at end, updated_at = $4
         where id = $1 and status in ('pending', 'notified')",
        id, status, announced, now
    )?;
    Ok(())
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
            status: "pending".into(),
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
    fn the_context_holds_what_the_reminder_has() {
        let context = reminder(Kind::Date, Some("2026-01-20"), None, None).request(Standing::Due).event.context;
        assert_eq!(context["fecha"], "20 de Enero, 2026");
        assert_eq!(context["vehiculo"], "Haval H6 2024");
        assert!(!context.contains_key("kilometraje"));
    }
}
