//! Whether the database takes what is written: by what callers wanted to write lately, and else by a write of our own.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Db, Error, Outage, Result, outage};
use crate::clock::Timestamp;
use crate::ids::Id;
use crate::sql;

/// A write of a caller says for so long how the database is.
const TRUSTED_FOR: Duration = Duration::from_secs(3);

/// What a probe waits for locks, in PostgreSQL's words: shorter than the one who asks waits for it.
const SHORT_LIMITS: &str = "set local lock_timeout = '1s'; set local statement_timeout = '1500ms'";

/// A row of its own page, so that a write needs room as an event does.
const FILLER: &str = "x";
const FILLER_LENGTH: usize = 8_000;

impl Db {
    /// A caller's work was written, or was not because of this error. [`Db::last_write`] says so for a few seconds.
    pub fn note_write(&self, outcome: std::result::Result<(), &Error>) {
        let outcome = match outcome {
            Ok(()) => None,
            // What is wrong with a statement or its data says nothing about the database.
            Err(error) => match outage(error) {
                Some(outage) => Some(outage),
                None => return,
            },
        };
        *self.experience().last_write.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), outcome));
    }

    /// How it went with the last work of a caller, where that is seconds ago.
    pub fn last_write(&self) -> Option<std::result::Result<(), Outage>> {
        let last = *self.experience().last_write.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, outcome) = last.filter(|(at, _)| at.elapsed() < TRUSTED_FOR)?;
        Some(outcome.map_or(Ok(()), Err))
    }

    /// Whether work can be written into these tables: writes a row that needs room, while no other transaction holds the tables. To be
    /// asked at most every few seconds, where [`Db::last_write`] says nothing.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn can_write(&self, tables: &[&str], now: Timestamp) -> std::result::Result<(), Outage> {
        let written = self.write_probe(tables, now).await;
        written.map_err(|error| {
            tracing::warn!(%error, "nothing can be written into the database: {error}");
            outage(&error).unwrap_or(Outage::Unavailable)
        })
    }

    async fn write_probe(&self, tables: &[&str], now: Timestamp) -> Result<()> {
        let mut session = self.begin().await?;
        if let Self::Postgres { .. } = self {
            session.run_plain(SHORT_LIMITS).await?;
            // What an insert needs, so that it waits for the holder of a table as an insert would.
            sql!(run, &mut session, (&format!("lock table {} in row exclusive mode", tables.join(", "))))?;
        }
        let id = Id::new(now);
        // Written before the old one is deleted: a database that is full must not have its room back first.
        sql!(
            run,
            &mut session,
            "insert into write_probes (id, written_at, filler) values ($1, $2, $3)",
            id,
            now,
            FILLER.repeat(FILLER_LENGTH)
        )?;
        sql!(
            run,
            &mut session,
            "delete from write_probes where id in (
                 select id from write_probes where id <> $1 order by id limit 100 for update skip locked)",
            id
        )?;
        session.commit().await
    }

    fn experience(&self) -> &super::Experience {
        match self {
            Self::Postgres { experience, .. } | Self::Sqlite { experience, .. } => experience,
        }
    }
}
