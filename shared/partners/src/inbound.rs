//! Webhooks that partners send us: each is kept once, and takes effect afterwards (d5).

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, NewTask};
use recado_webhooks::canonical::{Document, PYTHON_DEFAULT};
use recado_webhooks::dialect::Dialect;
use sha2::{Digest, Sha256};

use crate::jobs::ProcessInboundEvent;

/// A webhook that was verified.
#[derive(Clone, Debug)]
pub struct NewInboundEvent {
    pub partner: Id,
    pub event_type: String,
    pub body: String,
    pub dialect: Dialect,
}

impl NewInboundEvent {
    /// Whether its type means something to us; others are kept and acknowledged (S000-21).
    fn has_meaning(&self) -> bool {
        self.event_type.starts_with("service.") || self.event_type.starts_with("provider.")
    }

    /// Of the payload in one form, because a signature may fit the payload in another form than the bytes that came: with other
    /// blanks between its parts it is the same webhook.
    fn payload_digest(&self) -> String {
        let document = Document::read(&self.body).ok();
        let payload = document.map_or_else(|| self.body.clone(), |document| document.write(PYTHON_DEFAULT));
        hex::encode(Sha256::digest(payload))
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
    let is_duplicate = !insert_once(session, id, new, now).await?;
    let rings = if is_duplicate || !new.has_meaning() {
        Vec::new()
    } else {
        tasks::insert(session, &[NewTask::now(id, &ProcessInboundEvent {}, now)]).await?.rings
    };
    Ok(Kept { is_duplicate, rings })
}

/// Writes a webhook, unless it was here before. Returns whether it is written.
///
/// An id that the sender signed makes two webhooks the same one, or two different ones. Without it the payload does (d5): who
/// strips the id and its signature from a request that carries another signature too has no second webhook, whichever of the two
/// comes first.
async fn insert_once(session: &mut Session, id: Id, new: &NewInboundEvent, now: Timestamp) -> Result<bool> {
    let digest = new.payload_digest();
    if insert(session, id, new, Some(&digest), now).await? {
        return Ok(true);
    }
    let Some(message_id) = new.dialect.message_id.as_deref() else { return Ok(false) };
    // Its id is known, or its payload. The row holds the id from here on: another request with it waits for our commit.
    if !insert(session, id, new, None, now).await? {
        return Ok(false);
    }
    let nameless = sql!(
        one(Id,),
        session,
        "select id from partner_inbound_events
         where partner = $1 and payload_sha256 = $2 and message_id is null for update",
        new.partner,
        digest.as_str()
    )?;
    // The same payload under two ids, as its sender means it.
    let Some((nameless,)) = nameless else { return Ok(true) };
    // It came without its id before, and has one now.
    sql!(run, session, "delete from partner_inbound_events where id = $1", id)?;
    sql!(run, session, "update partner_inbound_events set message_id = $2 where id = $1", nameless, message_id)?;
    Ok(false)
}

/// Whether neither id nor payload were there.
async fn insert(
    session: &mut Session,
    id: Id,
    new: &NewInboundEvent,
    payload_digest: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let written = sql!(
        run,
        session,
        "insert into partner_inbound_events
             (id, partner, message_id, payload_sha256, event_type, body, dialect, received_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        id,
        new.partner,
        new.dialect.message_id.as_deref(),
        payload_digest,
        new.event_type.as_str(),
        new.body.as_str(),
        new.dialect.to_string(),
        now
    )?;
    Ok(written > 0)
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
    cursor: Cursor<Id>,
    limit: i64,
) -> Result<(Vec<InboundEvent>, bool)> {
    let mut asked = Filter::default();
    asked.equal("partner", filter.partner);
    asked.equal("event_type", filter.event_type.as_deref());
    asked.when("id >= ?", since.map(Id::earliest));
    let select = format!("select {COLUMNS} from partner_inbound_events");
    asked.page(session, &select, ("id", Order::Descending), cursor, limit).await
}

/// Deletes a batch of what was received before this moment. Returns how many there were.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from partner_inbound_events where id in
             (select id from partner_inbound_events where id < $3 and received_at < $1 order by id limit $2)",
        before,
        limit,
        Id::earliest(before)
    )
}
