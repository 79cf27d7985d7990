//! Searches for a person who was erased, through what other systems keep about people: bodies of webhooks, appointments.
//!
//! These tables know no customer, so no index leads to what names one. A search reads them once from the beginning to the end,
//! in small steps, each in a transaction of its own with the place that it reached; what is older than its retention is gone
//! anyway. Which tables there are is the worker's to know.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::person::Person;
use recado_kernel::sealed;
use recado_kernel::sql;
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, NewTask};
use secrecy::{ExposeSecret, SecretString};

use crate::jobs::ForgetPerson;

/// A search that is under way.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Search {
    /// Also the id of its task.
    pub id: Id,
    person: String,
    /// Which table is being read; the words are the worker's. Empty at the beginning.
    pub stage: String,
    /// The last row of it that was read.
    pub position: Option<String>,
    /// Rows that named the person, and were emptied.
    pub emptied: i64,
}

/// What a sealed person is bound to.
fn owner(id: Id) -> String {
    format!("erasure:{id}")
}

/// Orders a search, in the transaction that erases. Returns its id, which is also its task's, and what to ring afterwards.
///
/// Until it is over it has to know whom it looks for; with a `SECRET_KEY` that is sealed.
pub async fn order(
    session: &mut Session,
    person: &Person,
    key: Option<&SecretString>,
    now: Timestamp,
) -> Result<(Id, Vec<Ring>)> {
    let id = Id::new(now);
    let encode = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Encode(error);
    let text = serde_json::to_string(person).map_err(|error| encode(error.into()))?;
    let text = match key {
        Some(key) => sealed::seal(key, &owner(id), &text.into()).map_err(|error| encode(error.into()))?,
        None => text,
    };
    sql!(
        run,
        session,
        "insert into erasures (id, person, stage, emptied, created_at) values ($1, $2, '', 0, $3)",
        id,
        text,
        now
    )?;
    let task = NewTask::now(id, &ForgetPerson {}, now);
    Ok((id, tasks::insert(session, std::slice::from_ref(&task)).await?.rings))
}

/// The search of a task, held until the end of the transaction. `None`: it is over.
pub async fn take(session: &mut Session, id: Id) -> Result<Option<Search>> {
    sql!(one Search, session,
        "select id, person, stage, position, emptied from erasures where id = $1 and finished_at is null for update", id)
}

impl Search {
    /// Whom it looks for; `None` when that was sealed with another key.
    pub fn person(&self, key: Option<&SecretString>) -> Option<Person> {
        let opened = match key {
            Some(key) => sealed::open(key, &owner(self.id), &self.person).ok(),
            None => None,
        };
        let text = opened.as_ref().map_or(self.person.as_str(), |text| text.expose_secret());
        serde_json::from_str(text).ok()
    }
}

/// Writes how far it is.
pub async fn save(session: &mut Session, search: &Search) -> Result<()> {
    sql!(
        run,
        session,
        "update erasures set stage = $2, position = $3, emptied = $4 where id = $1",
        search.id,
        search.stage.as_str(),
        search.position.as_deref(),
        search.emptied
    )?;
    Ok(())
}

/// It is over, and forgets whom it looked for.
pub async fn finish(session: &mut Session, search: &Search, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update erasures set stage = 'finished', position = null, emptied = $2, person = null, finished_at = $3 where id = $1",
        search.id,
        search.emptied,
        now
    )?;
    Ok(())
}

/// Deletes a batch of searches that ended before this moment. Returns how many there were.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from erasures where id in (select id from erasures where finished_at < $1 order by id limit $2)",
        before,
        limit
    )
}
