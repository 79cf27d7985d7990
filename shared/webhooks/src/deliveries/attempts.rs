//! Attempts: every request, as it was sent and answered.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, columns};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql};
use serde_json::Value;
use sqlx::types::Json;

/// One request to an endpoint.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Attempt {
    pub id: Id,
    pub delivery_id: Id,
    /// 1 is the first.
    pub number: i32,
    pub started_at: Timestamp,
    pub duration_ms: i32,
    /// `None`: no answer came.
    pub status_code: Option<i32>,
    /// Why it failed; `None`: it did not.
    pub error: Option<String>,
    /// As sent; secret values are masked.
    pub request_headers: Json<Value>,
    /// The beginning of the answer; `None` after its retention.
    pub response: Option<String>,
}

columns!(Attempt {
    id: uuid = |attempt| attempt.id,
    delivery_id: uuid = |attempt| attempt.delivery_id,
    number: int4 = |attempt| attempt.number,
    started_at: timestamptz = |attempt| attempt.started_at,
    duration_ms: int4 = |attempt| attempt.duration_ms,
    status_code: int4 = |attempt| attempt.status_code,
    error: text = |attempt| attempt.error.as_deref(),
    request_headers: jsonb = |attempt| &attempt.request_headers,
    response: text = |attempt| attempt.response.as_deref(),
});

/// Writes attempts down. Writing one twice is harmless. An answer that comes after a person was forgotten is not kept: it may
/// repeat what was sent.
pub async fn record(session: &mut Session, attempts: &[Attempt]) -> Result<()> {
    if attempts.is_empty() {
        return Ok(());
    }
    columns::run(
        session,
        "insert into webhook_attempts (id, delivery_id, number, started_at, duration_ms, status_code, error, request_headers,
             response)
         select r.id, r.delivery_id, r.number, r.started_at, r.duration_ms, r.status_code, r.error, r.request_headers,
             case when exists (select 1 from webhook_deliveries d where d.id = r.delivery_id and d.erased_at is not null)
                  then null else r.response end
         from {rows} r where true on conflict do nothing",
        attempts,
    )
    .await?;
    Ok(())
}

/// The attempts of a delivery, oldest first.
pub async fn of(session: &mut Session, delivery_id: Id) -> Result<Vec<Attempt>> {
    sql!(all Attempt, session,
        "select id, delivery_id, number, started_at, duration_ms, status_code, error, request_headers, response
         from webhook_attempts where delivery_id = $1 order by number, id",
        delivery_id
    )
}
