//! The story of a message: all that is known of its chain, gathered once for all who tell it.

use chrono_tz::Tz;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_queue::context::Context;
use recado_queue::tasks::State;

use crate::journal::{self, Line};
use crate::next::{Around, Next};
use crate::notifications::attempts::{self, Attempt};
use crate::notifications::records::{self, Record};
use crate::notifications::{self, Notification};
use crate::system::Notifications;
use crate::timeline::{Timeline, TimelineEntry};
use crate::why::{self, Why};

/// All that is known of a chain, as it is kept.
#[derive(Clone, Debug)]
pub struct Known {
    /// The chain in its order, with its words. Never empty.
    pub messages: Vec<Notification>,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
    /// Decisions that no other row tells.
    pub journal: Vec<Line>,
    /// What happens next, and when.
    pub next: Option<Next>,
    /// In which state the task of the chain is; `None`: it is gone.
    pub state: Option<State>,
}

impl Known {
    /// The chains of these tasks that are there, each table asked once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of_tasks(context: &Context, session: &mut Session, task_ids: &[Id]) -> Result<Vec<Self>> {
        let messages = notifications::chains(session, task_ids).await?;
        let attempts = attempts::of_tasks(session, task_ids).await?;
        let mut journal = journal::of_tasks(session, task_ids).await?;
        journal.extend(records::skipped(session, task_ids).await?);
        let around = Around::gather(context, session, task_ids).await?;
        let known = |task_id: &Id| {
            let messages: Vec<Notification> =
                messages.iter().filter(|message| message.task_id == *task_id).cloned().collect();
            let of_chain = |attempt: &&Attempt| messages.iter().any(|message| message.id == attempt.notification_id);
            let attempts: Vec<Attempt> = attempts.iter().filter(of_chain).cloned().collect();
            let journal: Vec<Line> = journal.iter().filter(|line| line.task_id == Some(*task_id)).cloned().collect();
            let next = around.next(&messages, &attempts, &journal);
            Self { messages, attempts, journal, next, state: around.state(*task_id) }
        };
        Ok(task_ids.iter().map(known).filter(|known| !known.messages.is_empty()).collect())
    }
}

/// What is told of a chain.
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
        let found = notifications::chain_of(session, message).await?;
        let Some(task_id) = found.iter().find(|one| one.id == message).map(|one| one.task_id) else {
            return Ok(None);
        };
        let Some(known) = Known::of_tasks(&system.context, session, &[task_id]).await?.pop() else { return Ok(None) };
        let Known { messages, attempts, journal, next, state: _ } = known;
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
