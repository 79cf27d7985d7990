//! Answers that were given once are given again for the same `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header).

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::types::Json;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Rows, Session, Texts};
use recado_kernel::sql;

/// How long an answer is kept.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A key, and the request that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The caller's identity and the header's value.
    pub key: String,
    /// SHA-256 of the request's content.
    pub fingerprint: String,
}

impl IdempotencyKey {
    pub fn new(caller: &str, header: &str, request: &impl Serialize) -> Self {
        let request = serde_json::to_vec(request).expect("requests are plain data, which always serialises");
        Self { key: format!("{caller}:{header}"), fingerprint: hex::encode(Sha256::digest(request)) }
    }
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub enum Known {
    /// First seen now: do the work and [`keep`] the answer.
    New,
    /// A request with this fingerprint was given this answer.
    Seen { fingerprint: String, answer: Value },
}

#[derive(Serialize)]
struct Row<'a> {
    key: &'a str,
    fingerprint: &'a str,
    created_at: Timestamp,
}

/// Takes keys inside the transaction that does the work. Keys that another transaction is just using are waited for, so
/// exactly one request does the work.
pub async fn take(session: &mut Session, keys: &[&IdempotencyKey], now: Timestamp) -> Result<HashMap<String, Known>> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let wanted: Vec<&str> = keys.iter().map(|key| key.key.as_str()).collect();
    sql!(
        run,
        session,
        "delete from idempotency_keys where key = any($1) and created_at < $2",
        Texts(&wanted),
        now - KEPT_FOR
    )?;
    // All transactions take locks in the same order, so none wait in a circle.
    let mut rows: Vec<Row> =
        keys.iter().map(|key| Row { key: &key.key, fingerprint: &key.fingerprint, created_at: now }).collect();
    rows.sort_by_key(|row| row.key);
    rows.dedup_by_key(|row| row.key);
    let taken: Vec<(String,)> = sql!(
        all(String,),
        session,
        "insert into idempotency_keys (key, fingerprint, created_at)
         select key, fingerprint, created_at from rows($1 as idempotency_keys: key, fingerprint, created_at)
         where true
         on conflict (key) do nothing
         returning key",
        Rows::new(&rows)
    )?;
    let mut known: HashMap<String, Known> = taken.into_iter().map(|(key,)| (key, Known::New)).collect();
    let seen: Vec<&str> = rows.iter().map(|row| row.key).filter(|key| !known.contains_key(*key)).collect();
    if !seen.is_empty() {
        let answers: Vec<(String, String, Option<Json<Value>>)> = sql!(
            all(String, String, Option<Json<Value>>),
            session,
            "select key, fingerprint, response from idempotency_keys where key = any($1)",
            Texts(&seen)
        )?;
        for (key, fingerprint, answer) in answers {
            known.insert(key, Known::Seen { fingerprint, answer: answer.map_or(Value::Null, |Json(answer)| answer) });
        }
    }
    Ok(known)
}

/// Keeps the answers of the keys that were taken, and frees those whose request was refused: the caller may mend it.
pub async fn keep(session: &mut Session, answers: &[(&IdempotencyKey, Option<Value>)]) -> Result<()> {
    #[derive(Serialize)]
    struct Answer<'a> {
        key: &'a str,
        response: &'a Value,
    }
    let kept: Vec<Answer> = answers
        .iter()
        .filter_map(|(key, response)| Some(Answer { key: &key.key, response: response.as_ref()? }))
        .collect();
    let freed: Vec<&str> =
        answers.iter().filter(|(_, response)| response.is_none()).map(|(key, _)| key.key.as_str()).collect();
    if !kept.is_empty() {
        sql!(
            run,
            session,
            "update idempotency_keys set status = 202, response = r.response
             from rows($1 as idempotency_keys: key, response) r where idempotency_keys.key = r.key",
            Rows::new(&kept)
        )?;
    }
    if !freed.is_empty() {
        sql!(run, session, "delete from idempotency_keys where key = any($1)", Texts(&freed))?;
    }
    Ok(())
}

/// Forgets keys that were taken before `before`, at most `limit` of them.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from idempotency_keys where key in
             (select key from idempotency_keys where created_at < $1 order by created_at limit $2)",
        before,
        limit
    )
}
