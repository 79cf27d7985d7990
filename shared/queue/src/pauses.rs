//! Lanes from which no worker takes tasks for a while. Nothing else changes: tasks are accepted, become due and are rung, and what
//! a worker holds when the pause comes is finished.
//!
//! Workers read the pauses with each heartbeat, three times in the length of a lease. So a pause holds everywhere after 10 s at the
//! usual lease, and it ends at its moment by the clock that all follow.

use recado_kernel::addresses::mask_in_text;
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::sql;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::lanes::Lane;
use crate::systems::Systems;

/// A lane, or a queue with all its lanes, that is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Pause {
    /// The lane, or the queue.
    #[schema(examples("notifications.whatsapp"))]
    pub queue: String,
    /// Why.
    #[schema(examples("La sesión de WhatsApp está caída"))]
    pub reason: String,
    /// Who paused it.
    pub paused_by: String,
    /// Since when.
    pub paused_at: Timestamp,
    /// Then it ends by itself; null: when somebody resumes it.
    pub until: Option<Timestamp>,
}

impl Pause {
    /// Whether it holds for a lane.
    pub fn covers(&self, lane: Lane) -> bool {
        self.queue == lane.as_str() || self.queue == lane.queue()
    }

    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// A pause that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PauseError {
    #[error("there is no queue `{name}`; there are: {}", .known.join(", "))]
    Unknown { name: String, known: Vec<&'static str> },
    #[error("say why it is paused: those who find it paused will ask")]
    NoReason,
    #[error("the reason is longer than {LONGEST_REASON} characters")]
    LongReason,
    #[error("its end lies in the past")]
    Over,
}

/// In characters.
pub const LONGEST_REASON: usize = 500;

/// The names that can be paused: every lane, and every queue that has several.
pub fn names(systems: Systems) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = systems.lanes().iter().flat_map(|lane| [lane.queue(), lane.as_str()]).collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl Pause {
    /// # Errors
    /// When there is no such queue, or the reason or the end cannot be.
    pub fn new(
        systems: Systems,
        queue: &str,
        reason: &str,
        paused_by: &str,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> std::result::Result<Self, PauseError> {
        let reason = reason.trim();
        check_name(systems, queue)?;
        if reason.is_empty() {
            return Err(PauseError::NoReason);
        }
        if reason.chars().count() > LONGEST_REASON {
            return Err(PauseError::LongReason);
        }
        if until.is_some_and(|until| until <= now) {
            return Err(PauseError::Over);
        }
        let (queue, reason, paused_by) = (queue.to_owned(), reason.to_owned(), paused_by.to_owned());
        Ok(Self { queue, reason, paused_by, paused_at: now, until })
    }
}

/// # Errors
/// When it names no queue and no lane; the error lists what there is.
pub fn check_name(systems: Systems, name: &str) -> std::result::Result<(), PauseError> {
    let known = names(systems);
    if known.contains(&name) { Ok(()) } else { Err(PauseError::Unknown { name: name.to_owned(), known }) }
}

/// Pauses a queue; one that is paused already gets the new reason and end. Returns the pause that was in force.
pub async fn pause(session: &mut Session, pause: &Pause, actor: &Actor) -> Result<Option<Pause>> {
    let now = pause.paused_at;
    let before = in_force(session, now).await?.into_iter().find(|one| one.queue == pause.queue);
    sql!(
        run,
        session,
        "insert into pauses (queue, reason, paused_by, paused_at, until) values ($1, $2, $3, $4, $5)
         on conflict (queue) do update set reason = excluded.reason, paused_by = excluded.paused_by,
             paused_at = excluded.paused_at, until = excluded.until",
        pause.queue.as_str(),
        pause.reason.as_str(),
        pause.paused_by.as_str(),
        pause.paused_at,
        pause.until
    )?;
    let act = Act::new("pause", "queue", &pause.queue).changed(facts(before.as_ref()), facts(Some(pause)));
    audit::write(session, actor, &act, now).await?;
    Ok(before)
}

/// Ends a pause. Returns the one that was in force.
pub async fn resume(session: &mut Session, queue: &str, actor: &Actor, now: Timestamp) -> Result<Option<Pause>> {
    let ended = sql!(one Pause, session,
        "delete from pauses where queue = $1 returning queue, reason, paused_by, paused_at, until",
        queue
    )?;
    let ended = ended.filter(|pause| !pause.is_over(now));
    if ended.is_some() {
        let act = Act::new("resume", "queue", queue).changed(facts(ended.as_ref()), facts(None));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(ended)
}

/// A pause as the audit log keeps it.
fn facts(pause: Option<&Pause>) -> Value {
    let Some(pause) = pause else { return json!({}) };
    json!({ "reason": mask_in_text(&pause.reason), "until": pause.until })
}

/// The pauses that are in force, by name.
pub async fn in_force(session: &mut Session, now: Timestamp) -> Result<Vec<Pause>> {
    sql!(all Pause, session,
        "select queue, reason, paused_by, paused_at, until from pauses where until is null or until > $1 order by queue",
        now
    )
}

/// Forgets those whose end has passed.
pub async fn forget_over(session: &mut Session, now: Timestamp) -> Result<u64> {
    sql!(run, session, "delete from pauses where until <= $1", now)
}

/// The pause that holds for a lane: its own before its queue's.
pub fn of_lane(pauses: &[Pause], lane: Lane) -> Option<&Pause> {
    let own = pauses.iter().find(|pause| pause.queue == lane.as_str());
    own.or_else(|| pauses.iter().find(|pause| pause.covers(lane)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lanes::{MAINTENANCE, SYNC};
    use crate::systems::QUEUE;

    const SYSTEMS: Systems = Systems::new(&[QUEUE]);

    fn now() -> Timestamp {
        Timestamp::from_micros(1_000_000_000)
    }

    fn new(queue: &str, reason: &str, until: Option<Timestamp>) -> std::result::Result<Pause, PauseError> {
        Pause::new(SYSTEMS, queue, reason, "op-1", until, now())
    }

    #[test]
    fn a_pause_says_what_why_and_until_when() {
        let later = now() + Duration::from_secs(1);
        assert!(new("sync", "  mantenimiento ", Some(later)).is_ok_and(|pause| pause.reason == "mantenimiento"));
        assert_eq!(new("sync", " ", None), Err(PauseError::NoReason));
        assert_eq!(new("sync", &"x".repeat(501), None), Err(PauseError::LongReason));
        assert_eq!(new("sync", "x", Some(now())), Err(PauseError::Over));
        let unknown = new("party", "x", None).expect_err("unknown").to_string();
        assert!(unknown.contains("`party`") && unknown.contains("maintenance, sync"), "{unknown}");
    }

    #[test]
    fn a_queue_covers_its_lanes_and_ends_at_its_moment() {
        let email = Lane::new("notifications.email");
        let pause = |queue: &str| Pause {
            queue: queue.into(),
            ..new("sync", "x", Some(now() + Duration::from_secs(1))).expect("a pause")
        };
        assert!(pause("notifications").covers(email) && pause("notifications.email").covers(email));
        assert!(!pause("notifications.push").covers(email) && !pause("sync").covers(MAINTENANCE));
        let both = [pause("notifications"), pause("notifications.email")];
        assert_eq!(of_lane(&both, email).map(|pause| pause.queue.as_str()), Some("notifications.email"));
        assert_eq!(of_lane(&both, SYNC), None);
        assert!(!pause("sync").is_over(now()) && pause("sync").is_over(now() + Duration::from_secs(1)));
    }
}
