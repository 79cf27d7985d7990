//! Who changed what: one entry for every write by a person, a key, a command or a schedule.
//!
//! An entry is written in the transaction of what it tells, so neither is there without the other. It holds no secret and no
//! address of a person: only ids, and the fields that changed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::db::filter::Filter;
use crate::db::{Result, Session};
use crate::ids::Id;
use crate::{sql, word_enum};

/// What sort of actor it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = ActorKind, rename_all = "snake_case")]
pub enum ActorKind {
    /// A person, in the console.
    Person,
    /// A key, over the API.
    Key,
    /// The command line.
    Command,
    /// Recurring work.
    Schedule,
    /// No person who can be named: the installation is open to its machine.
    Anonymous,
}

word_enum!(ActorKind, "a kind of actor");

/// Who acts, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub kind: ActorKind,
    pub name: String,
    /// The address from which it was asked; empty where it was not asked over a network.
    pub address: String,
    /// Empty where there was no request.
    pub request_id: String,
}

impl Actor {
    /// The command line, by the name of its command: who may run it, may use the database.
    pub fn command(name: &str) -> Self {
        Self { kind: ActorKind::Command, name: name.to_owned(), address: String::new(), request_id: String::new() }
    }
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Act {
    /// A verb of the program: `retry`, `cancel`, `log_in`.
    pub action: &'static str,
    /// A noun of the program: `task`, `user`.
    pub subject_kind: &'static str,
    /// Its id or name.
    pub subject: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl Act {
    #[expect(clippy::needless_pass_by_value, reason = "ids are given as they are, and texts borrowed")]
    pub fn new(action: &'static str, subject_kind: &'static str, subject: impl ToString) -> Self {
        Self { action, subject_kind, subject: subject.to_string(), before: None, after: None }
    }

    /// Only the fields that differ are kept. Both must be objects; neither may hold a secret or an address of a person.
    #[must_use]
    pub fn changed(mut self, before: Value, after: Value) -> Self {
        let (before, after) = differing(before, after);
        (self.before, self.after) = (before, after);
        self
    }

    /// What is there now and was not before.
    #[must_use]
    pub fn made(mut self, after: Value) -> Self {
        self.after = Some(after);
        self
    }
}

fn differing(before: Value, after: Value) -> (Option<Value>, Option<Value>) {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return (None, None) };
    let only = |one: &Map<String, Value>, other: &Map<String, Value>| {
        let fields = one.iter().filter(|(name, value)| other.get(*name) != Some(*value));
        Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    (Some(only(&before, &after)), Some(only(&after, &before)))
}

/// Writes one entry.
pub async fn write(session: &mut Session, actor: &Actor, act: &Act, now: Timestamp) -> Result<()> {
    write_each(session, actor, act, std::slice::from_ref(&act.subject), now).await
}

/// Writes one entry, and returns its id: for an undo that reads what was before.
pub async fn write_known(session: &mut Session, actor: &Actor, act: &Act, now: Timestamp) -> Result<Id> {
    let id = Id::new(now);
    write_rows(session, &[Row::of(id, actor, act, &act.subject, now)]).await?;
    Ok(id)
}

/// Writes the same entry for each of many subjects, with one statement.
pub async fn write_each(
    session: &mut Session,
    actor: &Actor,
    act: &Act,
    subjects: &[String],
    now: Timestamp,
) -> Result<()> {
    if subjects.is_empty() {
        return Ok(());
    }
    let rows: Vec<Row<'_>> = subjects.iter().map(|subject| Row::of(Id::new(now), actor, act, subject, now)).collect();
    write_rows(session, &rows).await
}

/// Writes entries of several people and acts, with one statement.
pub async fn write_all(session: &mut Session, entries: &[(&Actor, Act)], now: Timestamp) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let rows = entries.iter().map(|(actor, act)| Row::of(Id::new(now), actor, act, &act.subject, now));
    let rows: Vec<Row<'_>> = rows.collect();
    write_rows(session, &rows).await
}

async fn write_rows(session: &mut Session, rows: &[Row<'_>]) -> Result<()> {
    sql!(
        run,
        session,
        "insert into audit (id, at, actor_kind, actor, address, action, subject_kind, subject, before, after, request_id)
         select id, at, actor_kind, actor, address, action, subject_kind, subject, before, after, request_id
         from rows($1 as audit: id, at, actor_kind, actor, address, action, subject_kind, subject, before, after, request_id)",
        Json(&rows)
    )?;
    Ok(())
}

#[derive(Serialize)]
struct Row<'a> {
    id: Id,
    at: Timestamp,
    actor_kind: ActorKind,
    actor: &'a str,
    address: &'a str,
    action: &'a str,
    subject_kind: &'a str,
    subject: &'a str,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
    request_id: &'a str,
}

impl<'a> Row<'a> {
    fn of(id: Id, actor: &'a Actor, act: &'a Act, subject: &'a str, at: Timestamp) -> Self {
        Self {
            id,
            at,
            actor_kind: actor.kind,
            actor: &actor.name,
            address: &actor.address,
            action: act.action,
            subject_kind: act.subject_kind,
            subject,
            before: act.before.as_ref(),
            after: act.after.as_ref(),
            request_id: &actor.request_id,
        }
    }
}

/// An entry as it is read.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Entry {
    pub id: Id,
    pub at: Timestamp,
    pub actor_kind: ActorKind,
    pub actor: String,
    pub address: String,
    pub action: String,
    pub subject_kind: String,
    pub subject: String,
    pub before: Option<Json<Value>>,
    pub after: Option<Json<Value>>,
    pub request_id: String,
}

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub actor: Option<String>,
    pub action: Option<String>,
    pub subject_kind: Option<String>,
    pub subject: Option<String>,
    pub since: Option<Timestamp>,
}

/// One entry.
pub async fn find(session: &mut Session, id: Id) -> Result<Option<Entry>> {
    sql!(one Entry, session,
        "select id, at, actor_kind, actor, address, action, subject_kind, subject, before, after, request_id
         from audit where id = $1",
        id
    )
}

/// Entries, newest first, those older than `after`.
pub async fn page(session: &mut Session, filter: &AuditFilter, after: Option<Id>, limit: i64) -> Result<Vec<Entry>> {
    let mut asked = Filter::default();
    asked.equal("actor", filter.actor.as_deref());
    asked.equal("action", filter.action.as_deref());
    asked.equal("subject_kind", filter.subject_kind.as_deref());
    asked.equal("subject", filter.subject.as_deref());
    asked.when("id >= ?", filter.since.map(Id::earliest));
    asked.when("id < ?", after);
    let text = format!(
        "select id, at, actor_kind, actor, address, action, subject_kind, subject, before, after, request_id
         from audit where {asked} order by id desc limit {limit}"
    );
    asked.all(session, &text).await
}

/// Deletes entries that are older than `before`.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from audit where id in (select id from audit where id < $1 order by id limit $2)",
        Id::earliest(before),
        limit
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changed_is_kept() {
        let act = Act::new("edit", "template", 7);
        let act = act.changed(json!({"name": "a", "active": true}), json!({"name": "b", "active": true, "new": 1}));
        assert_eq!((act.before, act.after), (Some(json!({"name": "a"})), Some(json!({"name": "b", "new": 1}))));
    }
}
