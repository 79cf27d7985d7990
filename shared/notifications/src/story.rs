//! The story of a message: all that is known of its chain, gathered for those who tell it.

use chrono_tz::Tz;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::language::Language;

use crate::journal::{self, Line};
use crate::next::{Around, Next};
use crate::notifications::attempts::{self, Attempt};
use crate::notifications::records::{self, Record};
use crate::notifications::{self, Notification};
use crate::system::Notifications;
use crate::timeline::{Timeline, TimelineEntry};
use crate::why::{self, Why};

/// What is known of a chain.
#[derive(Clone, Debug)]
pub struct Story {
    /// The chain in its order, with its words.
    pub messages: Vec<Notification>,
    /// The same without them.
    pub chain: Vec<Record>,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
    /// Decisions that no other row tells.
    pub journal: Vec<Line>,
    /// What happens next, and when.
    pub next: Option<Next>,
    /// Why each channel was used, or not.
    pub channels: Vec<Why>,
}

impl Story {
    /// The story of the chain that a message belongs to; `None`: there is no such message.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(system: &Notifications, session: &mut Session, message: Id) -> Result<Option<Self>> {
        let messages = notifications::chain_of(session, message).await?;
        let Some(task_id) = messages.iter().find(|one| one.id == message).map(|one| one.task_id) else {
            return Ok(None);
        };
        let attempts = attempts::of_task(session, task_id).await?;
        let mut journal = journal::of_task(session, task_id).await?;
        journal.extend(records::skipped(session, &[task_id]).await?);
        let around = Around::gather(&system.context, session, &[task_id]).await?;
        let next = around.next(&messages, &attempts, &journal);
        let chain: Vec<Record> = messages.iter().map(Record::from).collect();
        let catalogue = system.catalogue.current(session).await?;
        let channels = why::of_chain(session, &catalogue, &chain, &journal).await?.channels;
        Ok(Some(Self { messages, chain, attempts, journal, next, channels }))
    }

    /// What happened, oldest first. `shows_answers`: with what providers said, which may name addresses.
    pub fn timeline(&self, zone: Tz, language: Language, shows_answers: bool) -> Vec<TimelineEntry> {
        let Self { chain, attempts, journal, .. } = self;
        Timeline { chain, attempts, journal, zone, language, shows_answers }.tell()
    }
}
