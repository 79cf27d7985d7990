//! Replays: many deliveries of an endpoint, sent again in steps.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, NewTask};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use crate::deliveries::{self, Delivery, DeliveryFilter, Status};
use crate::jobs::ReplayWebhooks;

/// Deliveries per step.
const STEP: i64 = 200;

/// An order to send deliveries again, and how far it is.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Replay {
    pub id: Id,
    pub endpoint_id: Id,
    pub conditions: Json<Conditions>,
    /// The last delivery that was sent again.
    pub position: Option<Id>,
    pub replayed: i32,
    /// What is made later is never among them.
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

/// Which deliveries; `None` leaves a question out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    pub status: Option<Status>,
    pub event_type: Option<String>,
    pub created_from: Option<Timestamp>,
    pub created_until: Option<Timestamp>,
    pub finished_from: Option<Timestamp>,
}

/// Orders a replay. Returns its id, which is also its task's, and what to ring after the commit.
pub async fn order(
    session: &mut Session,
    endpoint_id: Id,
    conditions: &Conditions,
    now: Timestamp,
) -> Result<(Id, Vec<Ring>)> {
    let id = Id::new(now);
    sql!(
        run,
        session,
        "insert into webhook_replays (id, endpoint_id, conditions, replayed, created_at) values ($1, $2, $3, 0, $4)",
        id,
        endpoint_id,
        Json(conditions),
        now
    )?;
    let task = NewTask::now(id, &ReplayWebhooks { replay_id: id }, now);
    Ok((id, tasks::insert(session, std::slice::from_ref(&task)).await?.rings))
}

/// How many deliveries a replay that is ordered at `now` would send again, of those until the moment that its conditions name.
pub async fn count(session: &mut Session, endpoint_id: Id, conditions: &Conditions, now: Timestamp) -> Result<i64> {
    let until = conditions.created_until.unwrap_or(now);
    deliveries::count_to_replay(session, &conditions.filter(endpoint_id), until).await
}

impl Conditions {
    fn filter(&self, endpoint_id: Id) -> DeliveryFilter {
        DeliveryFilter {
            endpoint_id: Some(endpoint_id),
            status: self.status,
            event_type: self.event_type.clone(),
            created_from: self.created_from,
            created_until: self.created_until,
            finished_from: self.finished_from,
            ..DeliveryFilter::default()
        }
    }
}

const COLUMNS: &str = "id, endpoint_id, conditions, position, replayed, created_at, finished_at";

pub async fn find(session: &mut Session, id: Id) -> Result<Option<Replay>> {
    sql!(one Replay, session, (&format!("select {COLUMNS} from webhook_replays where id = $1")), id)
}

/// The replays of an endpoint, the newest first.
pub async fn of_endpoint(session: &mut Session, endpoint_id: Id, limit: i64) -> Result<Vec<Replay>> {
    sql!(all Replay, session,
        (&format!("select {COLUMNS} from webhook_replays where endpoint_id = $1 order by id desc limit $2")),
        endpoint_id, limit)
}

/// What a step did.
#[derive(Debug)]
pub struct Step {
    /// To be rung after the commit.
    pub rings: Vec<Ring>,
    pub is_last: bool,
}

/// Sends the next deliveries again, in the caller's transaction: how far it is stands there with them, so that a replay that
/// was cut off goes on where it was.
pub async fn step(session: &mut Session, replay: &mut Replay, now: Timestamp) -> Result<Step> {
    let filter = replay.conditions.filter(replay.endpoint_id);
    let found = deliveries::to_replay(session, &filter, replay.position, replay.created_at, STEP).await?;
    let again: Vec<Delivery> = found.iter().map(|delivery| delivery.again(now)).collect();
    let rings = deliveries::send(session, &again, now).await?;
    let is_last = found.len() < STEP as usize;
    replay.position = found.last().map(|delivery| delivery.id).or(replay.position);
    replay.replayed += found.len() as i32;
    replay.finished_at = is_last.then_some(now);
    sql!(
        run,
        session,
        "update webhook_replays set position = $2, replayed = $3, finished_at = $4 where id = $1",
        replay.id,
        replay.position,
        replay.replayed,
        replay.finished_at
    )?;
    Ok(Step { rings, is_last })
}
