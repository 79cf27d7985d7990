//! Webhooks that were refused: the newest of each partner, so that it can be told what its sender does wrong.
//!
//! Strangers write here, so what is kept is bounded: in bytes, in number per partner, and in time ([`Rejections`]).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::{Ids, Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::person::Person;
use recado_kernel::sql;
use recado_webhooks::dialect::Refusal;
use sqlx::types::Json;

use crate::erasure::Searched;

/// The largest body that is kept, in bytes.
pub const LARGEST_BODY: usize = 64 * 1024;

/// How many are kept for a partner.
pub const MOST_KEPT: i64 = 50;

/// The most headers that are kept of a request, and the longest value of one, in characters.
const MOST_HEADERS: usize = 50;
const LONGEST_VALUE: usize = 1_000;

/// What stands in the place of a credential.
const MASK: &str = "***";

/// A webhook that was refused.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Rejected {
    pub id: Id,
    pub partner: Id,
    /// `missing`, `differing`, `wrong` or `stale`.
    pub refusal: String,
    /// Names in lower case, with their values.
    pub headers: Json<Vec<(String, String)>>,
    body: Option<String>,
    /// How long its body was.
    pub body_bytes: i32,
    pub received_at: Timestamp,
}

impl Rejected {
    /// The bytes that came; `None` when they were too many to be kept.
    pub fn body(&self) -> Option<Vec<u8>> {
        self.body.as_ref().and_then(|text| STANDARD.decode(text).ok())
    }
}

/// Looks through the next refused webhooks behind `position`, and deletes those that name the person: they serve to look at
/// their words, and for nothing else.
pub async fn forget(session: &mut Session, person: &Person, position: Option<&str>, limit: i64) -> Result<Searched> {
    let after: Id = position.and_then(|position| position.parse().ok()).unwrap_or_default();
    let rows: Vec<Rejected> = sql!(
        all Rejected,
        session,
        "select id, partner, refusal, headers, body, body_bytes, received_at from partner_rejected_webhooks
         where id > $1 order by id limit $2",
        after,
        limit
    )?;
    let names = |one: &&Rejected| {
        let body = one.body().unwrap_or_default();
        person.is_named_in(&String::from_utf8_lossy(&body))
            || one.headers.0.iter().any(|(_, value)| person.is_named_in(value))
    };
    let hers: Vec<Id> = rows.iter().filter(names).map(|one| one.id).collect();
    if !hers.is_empty() {
        sql!(run, session, "delete from partner_rejected_webhooks where id = any($1)", Ids(&hers))?;
    }
    let is_last = (rows.len() as i64) < limit;
    Ok((rows.last().filter(|_| !is_last).map(|one| one.id.to_string()), hers.len() as u64))
}

/// Keeps a webhook that was refused, and deletes what is more than [`MOST_KEPT`] of its partner.
pub async fn keep(
    session: &mut Session,
    partner: Id,
    refusal: Refusal,
    headers: &[(String, String)],
    body: &[u8],
    now: Timestamp,
) -> Result<()> {
    let kept_body = Some(body).filter(|body| body.len() <= LARGEST_BODY).map(|body| STANDARD.encode(body));
    sql!(
        run,
        session,
        "insert into partner_rejected_webhooks (id, partner, refusal, headers, body, body_bytes, received_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        Id::new(now),
        partner,
        refusal.word(),
        Json(kept_headers(headers)),
        kept_body,
        i32::try_from(body.len()).unwrap_or(i32::MAX),
        now
    )?;
    sql!(
        run,
        session,
        "delete from partner_rejected_webhooks where id in
             (select id from partner_rejected_webhooks where partner = $1 order by id desc limit 1000 offset $2)",
        partner,
        MOST_KEPT
    )?;
    Ok(())
}

/// The headers, without credentials. A signature that was refused is none.
fn kept_headers(headers: &[(String, String)]) -> Vec<(String, String)> {
    let kept = |(name, value): &(String, String)| {
        let is_secret = ["authorization", "cookie", "token", "secret", "password", "api-key", "apikey"]
            .iter()
            .any(|word| name.contains(word));
        let value: String = if is_secret { MASK.to_owned() } else { value.chars().take(LONGEST_VALUE).collect() };
        (name.chars().take(LONGEST_VALUE).collect(), value.replace('\0', "\u{fffd}"))
    };
    headers.iter().take(MOST_HEADERS).map(kept).collect()
}

const COLUMNS: &str = "id, partner, refusal, headers, body, body_bytes, received_at";

pub async fn find(session: &mut Session, id: Id) -> Result<Option<Rejected>> {
    sql!(one Rejected, session, (&format!("select {COLUMNS} from partner_rejected_webhooks where id = $1")), id)
}

/// A page of those of a partner, or of all, the newest first, and how many there are.
pub async fn list(session: &mut Session, partner: Option<Id>, limit: i64, offset: i64) -> Result<(Vec<Rejected>, i64)> {
    let mut asked = Filter::default();
    asked.equal("partner", partner);
    let list = List {
        select: &format!("select {COLUMNS} from partner_rejected_webhooks"),
        from: "partner_rejected_webhooks",
        key: "id",
        order: &["id"],
        descending: true,
    };
    list.page(session, &asked, limit, offset).await
}

/// A page of those of a partner, or of all, received since then, the newest first, and whether there are more in its direction.
pub async fn page(
    session: &mut Session,
    partner: Option<Id>,
    since: Option<Timestamp>,
    cursor: Cursor<Id>,
    limit: i64,
) -> Result<(Vec<Rejected>, bool)> {
    let mut asked = Filter::default();
    asked.equal("partner", partner);
    asked.when("id >= ?", since.map(Id::earliest));
    let select = format!("select {COLUMNS} from partner_rejected_webhooks");
    asked.page(session, &select, ("id", Order::Descending), cursor, limit).await
}

/// Deletes a batch of what was refused before this moment. Returns how many there were.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from partner_rejected_webhooks where id in
             (select id from partner_rejected_webhooks where received_at < $1 order by received_at limit $2)",
        before,
        limit
    )
}

/// How many refusals of a partner are written down per minute, by this process: strangers can cause them.
const PER_MINUTE: u32 = 10;

/// The most partners that are counted at a time.
const MOST_COUNTED: usize = 10_000;

/// How many refusals were written down lately.
#[derive(Default)]
pub struct Rejections {
    lately: Mutex<HashMap<Id, (Timestamp, u32)>>,
}

impl Rejections {
    /// Whether another one of this partner is written down.
    pub fn admit(&self, partner: Id, now: Timestamp) -> bool {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = Duration::from_secs(60);
        if lately.len() >= MOST_COUNTED {
            lately.retain(|_, (since, _)| now.since(*since) < minute);
        }
        let (since, count) = lately.entry(partner).or_insert((now, 0));
        if now.since(*since) >= minute {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= PER_MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_in_is_not_kept() {
        let headers = [("authorization", "Bearer x"), ("x-partner-signature", "test"), ("x-long", &"a".repeat(2_000))];
        let kept = kept_headers(&headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((kept[0].1.as_str(), kept[1].1.as_str(), kept[2].1.len()), (MASK, "test", LONGEST_VALUE));
    }

    #[test]
    fn strangers_fill_no_table() {
        let (rejections, partner) = (Rejections::default(), Id::new(Timestamp::default()));
        let at = |seconds: u64| Timestamp::default() + Duration::from_secs(seconds);
        let admitted = (0..100).filter(|_| rejections.admit(partner, at(0))).count();
        assert_eq!(admitted, PER_MINUTE as usize);
        assert!(rejections.admit(Id::new(Timestamp::default()), at(0)), "each partner by itself");
        assert!(!rejections.admit(partner, at(59)) && rejections.admit(partner, at(60)));
    }
}
