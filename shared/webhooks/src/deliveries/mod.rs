//! Deliveries: one webhook to one endpoint, however often it is tried. This module alone writes their table.

pub mod attempts;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::{Ids, Result, Session, columns, contains};
use recado_kernel::ids::Id;
use recado_kernel::person::Person;
use recado_kernel::{columns, sql, word_enum};
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, NewTask, State};
use utoipa::ToSchema;

use crate::canonical::NotCanonical;
use crate::endpoints::{self, DisabledReason, Endpoint};
use crate::jobs::{DeliverWebhook, FollowEndpoint};
use crate::notices::{self, Notice, NoticeKind};

/// A webhook for one endpoint.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Delivery {
    /// Also the id of its task.
    pub id: Id,
    pub endpoint_id: Id,
    /// The header `webhook-id`.
    pub message_id: Id,
    pub event_type: String,
    /// What it is about, in the words of the system that sent it.
    pub subject: Option<String>,
    /// The bytes that travel and that are signed; `None` after their retention.
    pub body: Option<String>,
    pub status: Status,
    /// Why it was skipped, failed or cancelled, or what the last attempt met.
    pub reason: Option<String>,
    /// `false`: one attempt and no more.
    pub retries: bool,
    pub is_test: bool,
    pub attempts: i32,
    pub last_status_code: Option<i32>,
    pub next_attempt_at: Option<Timestamp>,
    pub replay_of: Option<Id>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

columns!(Delivery {
    id: uuid = |delivery| delivery.id,
    endpoint_id: uuid = |delivery| delivery.endpoint_id,
    message_id: uuid = |delivery| delivery.message_id,
    event_type: text = |delivery| delivery.event_type.as_str(),
    subject: text = |delivery| delivery.subject.as_deref(),
    body: text = |delivery| delivery.body.as_deref(),
    status: text = |delivery| delivery.status.as_str(),
    reason: text = |delivery| delivery.reason.as_deref(),
    retries: bool = |delivery| delivery.retries,
    is_test: bool = |delivery| delivery.is_test,
    attempts: int4 = |delivery| delivery.attempts,
    last_status_code: int4 = |delivery| delivery.last_status_code,
    next_attempt_at: timestamptz = |delivery| delivery.next_attempt_at,
    replay_of: uuid = |delivery| delivery.replay_of,
    created_at: timestamptz = |delivery| delivery.created_at,
    finished_at: timestamptz = |delivery| delivery.finished_at,
});

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[schema(as = DeliveryStatus, rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Status {
    /// It will be tried, or tried again.
    Pending,
    Delivered,
    /// Every attempt failed.
    Failed,
    /// Stopped: its endpoint was disabled, or an operator cancelled it.
    Cancelled,
    /// The endpoint did not subscribe to its type (S000-15).
    Skipped,
}

word_enum!(Status, "a status of a delivery");

impl Delivery {
    /// An event for an endpoint. One that the endpoint does not want is skipped, and one for a disabled endpoint cancelled; both
    /// are recorded.
    ///
    /// `payload` is JSON; it travels in the endpoint's canonical form.
    ///
    /// # Errors
    /// When the payload has no canonical form.
    pub fn of_event(
        endpoint: &Endpoint,
        event_type: &str,
        payload: &str,
        now: Timestamp,
    ) -> std::result::Result<Self, NotCanonical> {
        let (status, reason) = if !endpoint.wants(event_type) {
            (Status::Skipped, Some(format!("the endpoint did not subscribe to {event_type}")))
        } else if endpoint.status == endpoints::Status::Disabled {
            (Status::Cancelled, Some("the endpoint is disabled".to_owned()))
        } else {
            (Status::Pending, None)
        };
        let goes = status == Status::Pending;
        let id = Id::new(now);
        Ok(Self {
            id,
            endpoint_id: endpoint.id,
            message_id: id,
            event_type: event_type.to_owned(),
            subject: None,
            body: Some(endpoint.canonical.body(payload)?),
            status,
            reason,
            retries: true,
            is_test: false,
            attempts: 0,
            last_status_code: None,
            next_attempt_at: goes.then_some(now),
            replay_of: None,
            created_at: now,
            finished_at: (!goes).then_some(now),
        })
    }

    /// A test: one attempt, whatever the endpoint subscribed.
    ///
    /// # Errors
    /// As [`of_event`](Self::of_event).
    pub fn of_test(
        endpoint: &Endpoint,
        event_type: &str,
        payload: &str,
        now: Timestamp,
    ) -> std::result::Result<Self, NotCanonical> {
        let test = Self::of_event(endpoint, event_type, payload, now)?;
        Ok(Self {
            status: Status::Pending,
            reason: None,
            retries: false,
            is_test: true,
            next_attempt_at: Some(now),
            finished_at: None,
            ..test
        })
    }

    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The same bytes under the same `webhook-id` once more, so that a partner who has it already notices.
    #[must_use]
    pub fn again(&self, now: Timestamp) -> Self {
        Self {
            id: Id::new(now),
            status: Status::Pending,
            reason: None,
            attempts: 0,
            last_status_code: None,
            next_attempt_at: Some(now),
            replay_of: Some(self.id),
            created_at: now,
            finished_at: None,
            ..self.clone()
        }
    }
}

/// Writes deliveries with their tasks, in the caller's transaction. Returns what to ring after the commit.
pub async fn send(session: &mut Session, deliveries: &[Delivery], now: Timestamp) -> Result<Vec<Ring>> {
    if deliveries.is_empty() {
        return Ok(Vec::new());
    }
    let pending = deliveries.iter().filter(|delivery| delivery.status == Status::Pending);
    let tasks: Vec<NewTask> = pending.map(|delivery| NewTask::now(delivery.id, &DeliverWebhook {}, now)).collect();
    columns::run(session, "insert into webhook_deliveries ({columns}) select {columns} from {rows} r", deliveries)
        .await?;
    Ok(tasks::insert(session, &tasks).await?.rings)
}

/// What an attempt, or a decision without one, changes of a delivery.
#[derive(Clone, Debug)]
pub struct Change {
    pub id: Id,
    pub status: Status,
    pub reason: Option<String>,
    /// Attempts in all.
    pub attempts: i32,
    pub last_status_code: Option<i32>,
    pub next_attempt_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

columns!(Change {
    id: uuid = |change| change.id,
    status: text = |change| change.status.as_str(),
    reason: text = |change| change.reason.as_deref(),
    attempts: int4 = |change| change.attempts,
    last_status_code: int4 = |change| change.last_status_code,
    next_attempt_at: timestamptz = |change| change.next_attempt_at,
    finished_at: timestamptz = |change| change.finished_at,
});

/// Writes changes. A delivery that has ended meanwhile stays as it ended.
pub async fn apply(session: &mut Session, changes: &[Change]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    columns::run(
        session,
        "update webhook_deliveries
         set status = r.status, reason = r.reason, attempts = r.attempts,
             last_status_code = coalesce(r.last_status_code, webhook_deliveries.last_status_code),
             next_attempt_at = r.next_attempt_at, finished_at = r.finished_at
         from {rows} r where webhook_deliveries.id = r.id and webhook_deliveries.status = 'pending'",
        changes,
    )
    .await?;
    Ok(())
}

/// Why an endpoint's deliveries were stopped, in words for people.
fn stopped(reason: DisabledReason) -> &'static str {
    match reason {
        DisabledReason::Gone => "the endpoint answered 410 and wants nothing any more",
        DisabledReason::Failing => "the endpoint took nothing for days and was disabled",
        DisabledReason::Owner => "its partner or integration is not active",
    }
}

/// Disables endpoints, and stops what was still to go to them. Whether each was disabled by this.
pub async fn disable(session: &mut Session, id: Id, reason: DisabledReason, now: Timestamp) -> Result<bool> {
    let changed = endpoints::set_status(session, id, endpoints::Status::Disabled, Some(reason), now).await?;
    // What is stopped is not rung for. A job that has the rest to do is found by a reader that hears nothing.
    follow_or_order(session, id, now).await?;
    Ok(changed)
}

/// Lets webhooks wait until [`resume`].
pub async fn pause(session: &mut Session, id: Id, now: Timestamp) -> Result<bool> {
    endpoints::set_status(session, id, endpoints::Status::Paused, None, now).await
}

/// Lets webhooks go out again, and at once what waited. What was cancelled stays so until it is replayed. The owner of an
/// endpoint that had been given up is told.
pub async fn resume(session: &mut Session, id: Id, now: Timestamp) -> Result<Vec<Ring>> {
    let before = endpoints::find(session, id).await?.and_then(|endpoint| endpoint.disabled_reason);
    let changed = endpoints::set_status(session, id, endpoints::Status::Active, None, now).await?;
    if changed && matches!(before, Some(DisabledReason::Gone | DisabledReason::Failing)) {
        notices::write(session, &[Notice::new(id, NoticeKind::Enabled, now)]).await?;
    }
    follow_or_order(session, id, now).await
}

/// So many deliveries follow their endpoint in one transaction. An endpoint that was away for days has hundreds of thousands, and a
/// statement about all of them would take longer than any may.
const STEP: i64 = 1_000;

/// A step of [`follow`].
#[derive(Debug, Default)]
pub struct Followed {
    /// To be rung after the commit.
    pub rings: Vec<Ring>,
    /// After which delivery to go on; `None` when that was all.
    pub next: Option<Id>,
}

/// Has the first of what waits for an endpoint follow its status now, and orders a job for the rest.
async fn follow_or_order(session: &mut Session, endpoint_id: Id, now: Timestamp) -> Result<Vec<Ring>> {
    let Followed { mut rings, next } = follow(session, endpoint_id, None, now).await?;
    if next.is_some() {
        let task = NewTask::now(Id::new(now), &FollowEndpoint { endpoint_id }, now);
        rings.extend(tasks::insert(session, std::slice::from_ref(&task)).await?.rings);
    }
    Ok(rings)
}

/// Has the next of what waits for an endpoint follow its status: stopped where it is disabled, due at once where it is active.
pub async fn follow(session: &mut Session, endpoint_id: Id, after: Option<Id>, now: Timestamp) -> Result<Followed> {
    let Some(endpoint) = endpoints::find(session, endpoint_id).await? else { return Ok(Followed::default()) };
    let waiting: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "select id from webhook_deliveries where endpoint_id = $1 and status = 'pending' and id > $2 order by id limit $3",
        endpoint_id,
        after.unwrap_or_default(),
        STEP
    )?;
    let waiting: Vec<Id> = waiting.into_iter().map(|(id,)| id).collect();
    let rings = match endpoint.status {
        endpoints::Status::Paused => return Ok(Followed::default()),
        endpoints::Status::Active => tasks::wake(session, &waiting, &[State::Scheduled], now).await?,
        endpoints::Status::Disabled => {
            let reason = stopped(endpoint.disabled_reason.unwrap_or(DisabledReason::Owner));
            close(session, &waiting, Status::Cancelled, reason, now).await?;
            tasks::cancel(session, &waiting, now).await?;
            Vec::new()
        }
    };
    let is_last = waiting.len() < STEP as usize;
    Ok(Followed { rings, next: if is_last { None } else { waiting.last().copied() } })
}

/// Tasks of deliveries begin again.
pub(crate) async fn restart(session: &mut Session, tasks: &[Id], now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update webhook_deliveries set status = 'pending', reason = null, attempts = 0, next_attempt_at = $2, finished_at = null
         where id = any($1)",
        Ids(tasks),
        now
    )?;
    Ok(())
}

/// Tasks of deliveries will not run any more.
pub(crate) async fn close(
    session: &mut Session,
    tasks: &[Id],
    status: Status,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    sql!(
        run,
        session,
        "update webhook_deliveries set status = $2, reason = $3, finished_at = $4, next_attempt_at = null
         where id = any($1) and status = 'pending'",
        Ids(tasks),
        status.as_str(),
        reason,
        now
    )?;
    Ok(())
}

/// The columns of a [`Delivery`], by name, so that a newer version may add some.
const COLUMNS: &str =
    "id, endpoint_id, message_id, event_type, subject, body, status, reason, retries, is_test, attempts,
    last_status_code, next_attempt_at, replay_of, created_at, finished_at";

pub async fn find(session: &mut Session, id: Id) -> Result<Option<Delivery>> {
    sql!(one Delivery, session, (&format!("select {COLUMNS} from webhook_deliveries where id = $1")), id)
}

/// These deliveries, in no order.
pub async fn all(session: &mut Session, ids: &[Id]) -> Result<Vec<Delivery>> {
    sql!(all Delivery, session, (&format!("select {COLUMNS} from webhook_deliveries where id = any($1)")), Ids(ids))
}

/// Which deliveries to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub endpoint_id: Option<Id>,
    pub status: Option<Status>,
    pub event_type: Option<String>,
    /// Part of the subject, in either case.
    pub subject: Option<String>,
    pub created_from: Option<Timestamp>,
    pub created_until: Option<Timestamp>,
    pub finished_from: Option<Timestamp>,
}

impl DeliveryFilter {
    fn conditions(&self) -> Filter {
        let mut asked = Filter::default();
        asked.equal("endpoint_id", self.endpoint_id);
        asked.equal("status", self.status.map(Status::as_str));
        asked.equal("event_type", self.event_type.as_deref());
        asked.when("subject ilike ? escape '\\'", self.subject.as_deref().map(contains));
        asked.when("created_at >= ?", self.created_from);
        asked.when("created_at < ?", self.created_until);
        asked.when("finished_at >= ?", self.finished_from);
        asked
    }
}

impl DeliveryFilter {
    /// The same conditions, and the first id that may be among them: ids begin with their moment, so the key's index ends the
    /// search where the window does.
    fn within_ids(&self) -> Filter {
        let mut asked = self.conditions();
        asked.when("id >= ?", self.created_from.map(Id::earliest));
        asked
    }
}

/// A page of the deliveries that fit, the newest first, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &DeliveryFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Delivery>, i64)> {
    let list = List {
        select: &format!("select {COLUMNS} from webhook_deliveries"),
        from: "webhook_deliveries",
        key: "id",
        order: &["id"],
        descending: true,
    };
    list.page(session, &filter.conditions(), limit, offset).await
}

/// A page of the deliveries that fit, the newest first, and whether there are more in its direction.
pub async fn page(
    session: &mut Session,
    filter: &DeliveryFilter,
    cursor: Cursor<Id>,
    limit: i64,
) -> Result<(Vec<Delivery>, bool)> {
    let select = format!("select {COLUMNS} from webhook_deliveries");
    filter.within_ids().page(session, &select, ("id", Order::Descending), cursor, limit).await
}

/// How many deliveries fit, up to one more than `most`.
pub async fn count_up_to(session: &mut Session, filter: &DeliveryFilter, most: i64) -> Result<i64> {
    filter.within_ids().count_up_to(session, "webhook_deliveries", most).await
}

/// The next deliveries that can be sent again, behind `after` and made by `until`, in the order of their ids.
pub(crate) async fn to_replay(
    session: &mut Session,
    filter: &DeliveryFilter,
    after: Option<Id>,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Delivery>> {
    let mut asked = replayable(filter, until);
    asked.when("id > ?", after);
    let text = format!("select {COLUMNS} from webhook_deliveries where {asked} order by id limit {limit}");
    asked.all(session, &text).await
}

/// How many deliveries that fit and were made by `until` can be sent again.
pub(crate) async fn count_to_replay(session: &mut Session, filter: &DeliveryFilter, until: Timestamp) -> Result<i64> {
    let asked = replayable(filter, until);
    let found: Vec<(i64,)> =
        asked.all(session, &format!("select count(*) from webhook_deliveries where {asked}")).await?;
    Ok(found.first().map_or(0, |(count,)| *count))
}

/// Of each message the last delivery by then, so that it goes once, however often it was sent again before, and does not go when it has
/// arrived meanwhile and only failures are asked for. What a replay makes at that moment is none of it.
fn replayable(filter: &DeliveryFilter, until: Timestamp) -> Filter {
    let mut asked = filter.conditions();
    asked.require("body is not null");
    asked.when("(created_at < ? or (created_at = ? and replay_of is null))", Some(until));
    asked.when(
        "not exists (select 1 from webhook_deliveries newer where newer.message_id = webhook_deliveries.message_id
             and newer.replay_of is not null and newer.created_at < ?
             and (newer.created_at > webhook_deliveries.created_at
                  or newer.created_at = webhook_deliveries.created_at
                     and (webhook_deliveries.replay_of is null or newer.id > webhook_deliveries.id)))",
        Some(until),
    );
    asked
}

/// How far a search for a person is, and how many rows named her.
pub type Searched = (Option<String>, u64);

/// Looks through the next deliveries behind `position` for a person, and empties what names her: body, subject, answers. What was
/// still to go out does not go. The position afterwards is `None` at the end.
pub async fn forget(
    session: &mut Session,
    person: &Person,
    position: Option<&str>,
    limit: i64,
    now: Timestamp,
) -> Result<Searched> {
    let after: Id = position.and_then(|position| position.parse().ok()).unwrap_or_default();
    let rows: Vec<(Id, String, Option<String>)> = sql!(
        all(Id, String, Option<String>),
        session,
        "select d.id, coalesce(d.body, '') || ' ' || coalesce(d.subject, ''),
                (select string_agg(a.response, ' ') from webhook_attempts a where a.delivery_id = d.id)
         from webhook_deliveries d where d.id > $1 and d.erased_at is null order by d.id limit $2",
        after,
        limit
    )?;
    let names = |(_, sent, answers): &&(Id, String, Option<String>)| {
        person.is_named_in(sent) || answers.as_deref().is_some_and(|answers| person.is_named_in(answers))
    };
    let hers: Vec<Id> = rows.iter().filter(names).map(|(id, ..)| *id).collect();
    if !hers.is_empty() {
        tasks::cancel(session, &hers, now).await?;
        close(session, &hers, Status::Cancelled, "it named a person who was forgotten", now).await?;
        sql!(
            run,
            session,
            "update webhook_deliveries set body = null, subject = null, erased_at = $2 where id = any($1)",
            Ids(&hers),
            now
        )?;
        sql!(run, session, "update webhook_attempts set response = null where delivery_id = any($1)", Ids(&hers))?;
    }
    let is_last = (rows.len() as i64) < limit;
    let position = rows.last().filter(|_| !is_last).map(|(id, ..)| id.to_string());
    Ok((position, hers.len() as u64))
}

/// Empties the bodies of a batch of deliveries that ended before this moment, and the answers of their attempts: they may be
/// about people. Returns how many there were.
pub async fn forget_bodies(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    let old: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "select id from webhook_deliveries where finished_at < $1 and body is not null order by finished_at limit $2",
        before,
        limit
    )?;
    let old: Vec<Id> = old.into_iter().map(|(id,)| id).collect();
    sql!(run, session, "update webhook_attempts set response = null where delivery_id = any($1)", Ids(&old))?;
    sql!(run, session, "update webhook_deliveries set body = null where id = any($1)", Ids(&old))
}

/// Deletes a batch of deliveries that ended before this moment, with their attempts. Returns how many there were.
pub async fn delete_finished(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    let old: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "select id from webhook_deliveries where finished_at < $1 order by finished_at limit $2",
        before,
        limit
    )?;
    let old: Vec<Id> = old.into_iter().map(|(id,)| id).collect();
    sql!(run, session, "delete from webhook_attempts where delivery_id = any($1)", Ids(&old))?;
    sql!(run, session, "delete from webhook_deliveries where id = any($1)", Ids(&old))
}
