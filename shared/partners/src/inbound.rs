//! Webhooks that partners send us: each is kept once, and takes effect afterwards (d5).

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List, Place};
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, NewTask};
use recado_webhooks::dialect::{Dialect, Signed};
use sha2::{Digest, Sha256};

use crate::jobs::ProcessInboundEvent;

/// A webhook that was verified.
#[derive(Clone, Debug)]
pub struct NewInboundEvent {
    pub partner: Id,
    pub event_type: String,
    pub body: String,
    pub dialect: Dialect,
    /// The header `webhook-id`.
    pub webhook_id: Option<String>,
}

impl NewInboundEvent {
    /// What makes two webhooks the same one. An id that the sender did not sign could be changed to get past.
    fn dedupe_key(&self) -> String {
        match &self.webhook_id {
            Some(id) if self.dialect.signed == Signed::Standard => format!("id:{id}"),
            _ => format!("sha256:{}", hex::encode(Sha256::digest(self.body.as_bytes()))),
        }
    }

    /// Whether its type means something to us; others are kept and acknowledged (S000-21).
    fn has_meaning(&self) -> bool {
        self.event_type.starts_with("service.") || self.event_type.starts_with("provider.")
    }
}

/// What became of a webhook.
#[derive(Debug)]
pub struct Kept {
    /// It was here before.
    pub is_duplicate: bool,
    /// To be rung after the commit.
    pub rings: Vec<Ring>,
}

/// Keeps a webhook, in the caller's transaction, with the task that lets it take effect. Of twenty that come at once one is
/// kept.
pub async fn keep(session: &mut Session, new: &NewInboundEvent, now: Timestamp) -> Result<Kept> {
    let id = Id::new(now);
    let kept = sql!(
        run,
        session,
        "insert into partner_inbound_events (id, partner, dedupe_key, event_type, body, dialect, received_at)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (partner, dedupe_key) do nothing",
        id,
        new.partner,
        new.dedupe_key(),
        new.event_type.as_str(),
        new.body.as_str(),
        new.dialect.to_string(),
        now
    )?;
    let is_duplicate = kept == 0;
    let rings = if is_duplicate || !new.has_meaning() {
        Vec::new()
    } else {
        tasks::insert(session, &[NewTask::now(id, &ProcessInboundEvent {}, now)]).await?.rings
    };
    Ok(Kept { is_duplicate, rings })
}

/// A webhook as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct InboundEvent {
    pub id: Id,
    pub partner: Id,
    pub event_type: String,
    pub body: Option<String>,
    /// How it was signed, in words.
    pub dialect: String,
    pub received_at: Timestamp,
    pub processed_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, partner, event_type, body, dialect, received_at, processed_at";

/// The webhook of a task, held until the end of the transaction. `None` when it took effect already, or is gone.
pub async fn take(session: &mut Session, id: Id) -> Result<Option<InboundEvent>> {
    sql!(one InboundEvent, session,
        (&format!("select {COLUMNS} from partner_inbound_events where id = $1 and processed_at is null for update")), id)
}

pub async fn find(session: &mut Session, id: Id) -> Result<Option<InboundEvent>> {
    sql!(one InboundEvent, session,
        (&format!("select {COLUMNS} from partner_inbound_events where id = $1")), id)
}

/// It took effect.
pub async fn settle(session: &mut Session, id: Id, now: Timestamp) -> Result<()> {
    sql!(run, session, "update partner_inbound_events set processed_at = $2 where id = $1", id, now)?;
    Ok(())
}

/// Which webhooks to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct InboundFilter {
    pub partner: Option<Id>,
    pub event_type: Option<String>,
}

/// A page of the webhooks that fit, the newest first, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &InboundFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<InboundEvent>, i64)> {
    let mut asked = Filter::default();
    asked.equal("partner", filter.partner);
    asked.equal("event_type", filter.event_type.as_deref());
    let list = List {
        select: &format!("select {COLUMNS} from partner_inbound_events"),
        from: "partner_inbound_events",
        key: "id",
        order: &["id"],
        descending: true,
    };
    list.page(session, &asked, limit, offset).await
}

/// A page of the webhooks that fit, received since then, the newest first, and whether there are more in its direction.
pub async fn page(
    session: &mut Session,
    filter: &InboundFilter,
    since: Option<Timestamp>,
    place: Place,
    limit: i64,
) -> Result<(Vec<InboundEvent>, bool)> {
    let mut asked = Filter::default();
    asked.equal("partner", filter.partner);
    asked.equal("event_type", filter.event_type.as_deref());
    asked.when("id >= ?", since.map(Id::earliest));
    let select = format!("select {COLUMNS} from partner_inbound_events");
    asked.newest(session, &select, "id", place, limit).await
}

/// Deletes a batch of what was received before this moment. Returns how many there were.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from partner_inbound_events where id in
             (select id from partner_inbound_events where received_at < $1 order by id limit $2)",
        before,
        limit
    )
}
