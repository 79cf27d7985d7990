//! The systems of a program: what each of them declares, so that queue and worker need to know none of them.

use async_trait::async_trait;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;

use crate::jobs::{Cleanup, Job, Kind, Ping, RunBulk, UnreadableJob};
use crate::lanes::{Lane, MAINTENANCE, SYNC};

/// What a system tells the queue about itself.
pub struct System {
    pub name: &'static str,
    /// Lanes of its own, besides those that all share.
    pub lanes: &'static [Lane],
    pub kinds: &'static [Kind],
    pub rows: &'static dyn Rows,
}

/// The rows that a system keeps beside its tasks follow what is done to these, in the same transaction. Ids of tasks that
/// are not the system's own come along; it has no rows for them.
#[async_trait]
pub trait Rows: Sync {
    /// Dead or cancelled tasks begin again.
    async fn revived(&self, session: &mut Session, tasks: &[Id], now: Timestamp) -> Result<()>;

    /// Tasks will not run any more.
    async fn ended(&self, session: &mut Session, tasks: &[Id], end: End, now: Timestamp) -> Result<()>;

    /// Those of these tasks that are not to be retried among many, each with the reason as a stable word. One by one a person may
    /// still retry them.
    async fn refused(&self, _: &mut Session, _: &[Id]) -> Result<Vec<(Id, &'static str)>> {
        Ok(Vec::new())
    }
}

/// How tasks ended that did not end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Their own row says why.
    Dead,
    /// Their workers died or lost their lease too often.
    Poisoned,
    /// An operator cancelled them.
    Cancelled,
}

/// For a system whose tasks have no rows beside them.
pub struct NoRows;

#[async_trait]
impl Rows for NoRows {
    async fn revived(&self, _: &mut Session, _: &[Id], _: Timestamp) -> Result<()> {
        Ok(())
    }

    async fn ended(&self, _: &mut Session, _: &[Id], _: End, _: Timestamp) -> Result<()> {
        Ok(())
    }
}

/// What is there in every program: the shared lanes, and jobs about the queue itself.
pub const QUEUE: System = System {
    name: "queue",
    lanes: &[SYNC, MAINTENANCE],
    kinds: &[Ping::KIND, Cleanup::KIND, RunBulk::KIND],
    rows: &NoRows,
};

/// All systems of a program.
#[derive(Clone, Copy)]
pub struct Systems(&'static [System]);

impl Systems {
    pub const fn new(systems: &'static [System]) -> Self {
        Self(systems)
    }

    /// Every lane, in the order of the systems.
    pub fn lanes(self) -> Vec<Lane> {
        self.0.iter().flat_map(|system| system.lanes).copied().collect()
    }

    /// Every queue, as users name it, in the order of the systems.
    pub fn queues(self) -> Vec<&'static str> {
        let mut queues: Vec<&str> = self.0.iter().flat_map(|system| system.lanes).map(|lane| lane.queue()).collect();
        queues.dedup();
        queues
    }

    /// The lanes of a queue, or the one lane of that name; empty for a word that names neither.
    pub fn lanes_named(self, word: &str) -> Vec<Lane> {
        self.lanes().into_iter().filter(|lane| lane.queue() == word || lane.as_str() == word).collect()
    }

    /// The kind of this name.
    pub fn kind(self, name: &str) -> std::result::Result<&'static Kind, UnreadableJob> {
        let mut kinds = self.0.iter().flat_map(|system| system.kinds);
        kinds.find(|kind| kind.name == name).ok_or_else(|| UnreadableJob::unknown(name))
    }

    /// See [`Rows::revived`].
    pub async fn revived(self, session: &mut Session, tasks: &[Id], now: Timestamp) -> Result<()> {
        for system in self.0 {
            system.rows.revived(session, tasks, now).await?;
        }
        Ok(())
    }

    /// See [`Rows::ended`].
    pub async fn ended(self, session: &mut Session, tasks: &[Id], end: End, now: Timestamp) -> Result<()> {
        for system in self.0 {
            system.rows.ended(session, tasks, end, now).await?;
        }
        Ok(())
    }

    /// See [`Rows::refused`].
    pub async fn refused(self, session: &mut Session, tasks: &[Id]) -> Result<Vec<(Id, &'static str)>> {
        let mut refused = Vec::new();
        for system in self.0 {
            refused.extend(system.rows.refused(session, tasks).await?);
        }
        Ok(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTERS: System = System {
        name: "letters",
        lanes: &[Lane::new("letters.air"), Lane::new("letters.land")],
        kinds: &[],
        rows: &NoRows,
    };
    const SYSTEMS: Systems = Systems::new(&[LETTERS, QUEUE]);

    #[test]
    fn a_queue_names_its_lanes() {
        let names = |word| SYSTEMS.lanes_named(word).into_iter().map(Lane::as_str).collect::<Vec<_>>();
        assert_eq!(names("letters"), ["letters.air", "letters.land"]);
        assert_eq!(names("letters.land"), ["letters.land"]);
        assert_eq!(names("sync"), ["sync"]);
        assert!(names("emails").is_empty());
        assert_eq!(SYSTEMS.queues(), ["letters", "sync", "maintenance"]);
    }

    #[test]
    fn a_kind_of_another_version_is_an_error_that_names_it() {
        let error = SYSTEMS.kind("teleport").expect_err("unknown").to_string();
        assert!(error.contains("`teleport`"), "{error}");
        assert_eq!(SYSTEMS.kind("ping").expect("known").name, "ping");
    }
}
