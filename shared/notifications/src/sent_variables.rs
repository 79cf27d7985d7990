//! Which variables callers send with which type of event: their names, by caller, and never a value. Staff who write a new variable into a
//! template learn from it who would not send it.
//!
//! Intake notes names in memory, and a statement a minute writes what is new. Each combination of caller, type of event and names is
//! looked at once a day; of what comes again only a number is compared.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::columns;
use recado_kernel::db::filter::Filter;
use recado_kernel::db::{Db, Result, Session, columns};
use recado_kernel::errors::explain;
use recado_kernel::language::Language;
use recado_kernel::sql;

use crate::dispatch::Event;
use crate::templates::rendering::{CompiledTemplate, Context, normalise};

/// What was sent longer ago does not count, and is deleted.
pub const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How often new names are written.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(60);

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// Bounds of a day, of memory and table alike: combinations that are looked at, and names that are noted. What is more is not noted.
const MOST_COMBINATIONS: usize = 20_000;
const MOST_NAMES: usize = 20_000;

/// In characters. Longer names are no variable of a template that anybody could read.
const LONGEST_NAME: usize = 100;

/// So many rows are read for one answer.
const MOST_READ: i64 = 50_000;

/// Notes what comes in. Cheap to clone; all clones note together.
#[derive(Clone)]
pub struct Noted(Arc<Inside>);

struct Inside {
    clock: Clock,
    today: Mutex<Today>,
}

#[derive(Default)]
struct Today {
    day: i64,
    /// Fingerprints of combinations that were looked at.
    combinations: HashSet<u64>,
    /// How many names were noted.
    names: usize,
    /// Those that are not written yet.
    waiting: BTreeSet<Sent>,
}

/// A caller has sent a variable with a type of event; without a variable: has sent such an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::FromRow)]
pub struct Sent {
    pub event_type: String,
    pub caller: String,
    /// As [`normalise`] writes it; empty for the event itself.
    pub variable: String,
}

struct Row {
    sent: Sent,
    at: Timestamp,
}

columns!(Row {
    event_type: text = |row| row.sent.event_type.as_str(),
    caller: text = |row| row.sent.caller.as_str(),
    variable: text = |row| row.sent.variable.as_str(),
    seen_at: timestamptz = |row| row.at,
});

impl Noted {
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inside { clock, today: Mutex::default() }))
    }

    /// Notes the names of an event's variables. An event with its own words needs none.
    pub fn note(&self, caller: &str, event: &Event) {
        if event.is_custom() {
            return;
        }
        let mut fingerprint = DefaultHasher::new();
        (caller, &event.event_type).hash(&mut fingerprint);
        event.context.iter().filter(|(_, value)| !value.is_null()).for_each(|(name, _)| name.hash(&mut fingerprint));
        let day = self.0.clock.now().as_micros().div_euclid(DAY_MICROS);
        let mut today = self.today();
        if today.day != day {
            today.day = day;
            today.combinations.clear();
            today.names = 0;
        }
        let is_full = today.combinations.len() >= MOST_COMBINATIONS || today.names >= MOST_NAMES;
        if is_full || !today.combinations.insert(fingerprint.finish()) {
            return;
        }
        let sent =
            |variable: String| Sent { event_type: event.event_type.clone(), caller: caller.to_owned(), variable };
        let names =
            event.context.iter().filter(|(name, value)| !value.is_null() && name.chars().count() <= LONGEST_NAME);
        let names: Vec<Sent> = names.map(|(name, _)| sent(normalise(name))).chain([sent(String::new())]).collect();
        today.names += names.len();
        today.waiting.extend(names);
    }

    fn today(&self) -> MutexGuard<'_, Today> {
        self.0.today.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is new, and deletes what is too old.
    ///
    /// # Errors
    /// When the database does not do its part. What was noted is kept for the next time.
    pub async fn write(&self, db: &Db) -> Result<()> {
        let waiting = std::mem::take(&mut self.today().waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let written = write(db, &waiting, self.0.clock.now()).await;
        if written.is_err() {
            self.today().waiting.extend(waiting);
        }
        written
    }

    pub(crate) async fn keep_writing(self, db: Db) {
        while !db.is_closed() {
            tokio::time::sleep(WRITE_EVERY).await;
            if let Err(error) = self.write(&db).await {
                tracing::debug!(error = %explain(&error), "the names of variables are written later");
            }
        }
    }
}

async fn write(db: &Db, sent: &BTreeSet<Sent>, now: Timestamp) -> Result<()> {
    // In their order: two processes that write the same names do not wait for each other in a circle.
    let rows: Vec<Row> = sent.iter().map(|sent| Row { sent: sent.clone(), at: now }).collect();
    let mut session = db.begin().await?;
    columns::run(
        &mut session,
        "insert into sent_variables ({columns}) select {columns} from {rows} r where true
         on conflict (event_type, caller, variable) do update set seen_at = excluded.seen_at",
        &rows,
    )
    .await?;
    sql!(run, &mut session, "delete from sent_variables where seen_at < $1", now - REMEMBERED)?;
    session.commit().await
}

/// What was sent lately, with this type of event or with any.
pub async fn lately(session: &mut Session, event_type: Option<&str>, now: Timestamp) -> Result<Vec<Sent>> {
    let mut asked = Filter::default();
    asked.when("seen_at >= ?", Some(now - REMEMBERED));
    asked.equal("event_type", event_type);
    asked
        .all(
            session,
            &format!("select event_type, caller, variable from sent_variables where {asked} limit {MOST_READ}"),
        )
        .await
}

/// A variable that a template needs and that not every caller sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// As it stands in the template.
    pub variable: String,
    /// How many callers have not sent it lately, and of how many.
    pub lacking: usize,
    pub callers: usize,
}

impl Gap {
    pub fn sentence(&self, language: Language) -> String {
        let Self { variable, lacking, callers } = self;
        language.pick(
            format!("{variable}: {lacking} de {callers} emisores no la enviaron en 30 días."),
            format!("{variable}: {lacking} of {callers} callers did not send it in 30 days."),
        )
    }
}

/// The variables that a template cannot do without and that a caller has not sent lately with any event that it is for. What is asked
/// for only under a condition is not missed, and the phase is ours to say.
pub fn gaps(template: &CompiledTemplate, sent: &[Sent], strict_case: bool) -> Vec<Gap> {
    let mut callers: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
    for sent in sent {
        callers.entry(&sent.caller).or_default().insert(&sent.variable);
    }
    let needed = template.missing(&Context::empty(strict_case).with("Fase", "x"));
    let labels = template.labels(&needed);
    let gap = |(id, variable): (&String, String)| {
        let name = normalise(id);
        let lacking = callers.values().filter(|names| !names.contains(name.as_str())).count();
        Gap { variable, lacking, callers: callers.len() }
    };
    needed.iter().zip(labels).map(gap).filter(|gap| gap.lacking > 0).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(event_type: &str, context: &serde_json::Value) -> Event {
        let event = json!({ "event_type": event_type, "customer_id": "c", "context": context });
        serde_json::from_value(event).expect("an event")
    }

    fn noted() -> (Clock, Noted) {
        let clock = Clock::manual(Timestamp::from_micros(DAY_MICROS));
        (clock.clone(), Noted::new(clock))
    }

    #[test]
    fn names_are_noted_once_a_day_and_values_never() {
        let (clock, noted) = noted();
        for _ in 0..3 {
            noted
                .note("panel", &event("vehicle_ready", &json!({ "Vehículo": "Haval", "orden": null, "placa": "ABC" })));
        }
        noted.note("panel", &event("custom", &json!({ "subject": "s", "body": "b" })));
        let waiting = std::mem::take(&mut noted.today().waiting);
        let told: Vec<&str> = waiting.iter().map(|sent| sent.variable.as_str()).collect();
        assert_eq!(told, ["", "placa", "vehiculo"]);
        noted.note("panel", &event("vehicle_ready", &json!({ "Vehículo": "Otro", "placa": "DEF" })));
        assert!(noted.today().waiting.is_empty(), "that was noted today");
        clock.advance(Duration::from_secs(24 * 60 * 60));
        noted.note("panel", &event("vehicle_ready", &json!({ "Vehículo": "Otro", "placa": "DEF" })));
        assert_eq!(noted.today().waiting.len(), 3);
    }

    #[test]
    fn memory_is_bounded_whatever_is_sent() {
        let (_, noted) = noted();
        for number in 0..2 * MOST_NAMES {
            noted.note("panel", &event("vehicle_ready", &json!({ format!("v{number}"): "x" })));
        }
        let today = noted.today();
        assert!(today.combinations.len() <= MOST_COMBINATIONS && today.waiting.len() <= MOST_NAMES + 1);
    }

    #[test]
    fn what_a_caller_does_not_send_is_told() {
        let (_, noted) = noted();
        noted.note("panel", &event("vehicle_ready", &json!({ "nombre": "x", "orden": "1" })));
        noted.note("crm", &event("vehicle_ready", &json!({ "nombre": "x" })));
        noted.note("app", &event("vehicle_received", &json!({ "nombre": "x" })));
        let sent: Vec<Sent> = noted.today().waiting.iter().cloned().collect();
        let template = |body: &str| CompiledTemplate::compile("", body, false).expect("a template");
        let told = gaps(&template("{{Nombre}} {{Órden}} {{Fase}} {% if Hora %}{{Hora}}{% endif %}"), &sent, false);
        assert_eq!(told, [Gap { variable: "Órden".into(), lacking: 2, callers: 3 }]);
        assert_eq!(told[0].sentence(Language::English), "Órden: 2 of 3 callers did not send it in 30 days.");
        assert!(gaps(&template("{{Nombre}}"), &sent, false).is_empty());
        assert!(gaps(&template("{{Orden}}"), &[], false).is_empty(), "nothing was sent yet");
    }
}
