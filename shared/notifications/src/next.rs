//! What happens next to a chain, and when: for those who wait for it. Pure, from the rows as they are.

use std::collections::HashMap;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_kernel::word_enum;
use recado_queue::context::Context;
use recado_queue::pauses::{self, Pause};
use recado_queue::tasks::{self, State, TaskFilter};
use recado_queue::workers;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::channels::Channel;
use crate::dispatch::DeferReason;
use crate::journal::{Fact, Line};
use crate::notifications::attempts::{Attempt, Outcome};
use crate::notifications::redrive::{MOST_REDRIVES, REDRIVE_WINDOW};
use crate::notifications::{Notification, Status};
use crate::orchestration::AwaitedReceipt;

/// The next thing that happens to a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = NextStep)]
pub struct Next {
    /// What it is.
    pub what: What,
    /// On which channel; null when it concerns none.
    pub channel: Option<Channel>,
    /// When; null: as soon as a worker is free, or never.
    pub at: Option<Timestamp>,
    /// The channel that has its turn if this one fails; null: there is none.
    pub then: Option<Channel>,
    /// What keeps it from happening; null: nothing.
    pub held: Option<HeldBy>,
    /// When that ends by itself.
    pub held_until: Option<Timestamp>,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = NextKind, rename_all = "snake_case")]
pub enum What {
    /// It goes out as soon as a worker takes it.
    Sends,
    /// A worker is handing it to the provider.
    IsSending,
    /// It leaves when the caller wished.
    LeavesAsWished,
    /// It leaves when the quiet hours end.
    LeavesAfterQuietHours,
    /// It leaves when the person has not got so many messages in an hour.
    LeavesAfterThrottle,
    /// It leaves at the place that the provider's pace has for it.
    LeavesInPace,
    /// A failed attempt is made again.
    Retries,
    /// The provider is asked whether it left, because an attempt had no answer.
    LooksUp,
    /// It was sent; without its receipt by then, the next channel has its turn.
    AwaitsDelivered,
    AwaitsRead,
    /// The sweep of failed messages gives it another chance.
    IsSwept,
    /// It was read, or it arrived, or it was sent and that is enough.
    NothingRead,
    NothingDelivered,
    NothingSent,
    /// Every channel failed.
    NothingFailed,
    /// It was cancelled.
    NothingCancelled,
    /// Its words were erased.
    NothingErased,
}

word_enum!(What, "a next step");

/// What keeps a message that could go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = HeldBy, rename_all = "snake_case")]
pub enum HeldBy {
    /// An operator paused the queue of its channel.
    Paused,
    /// No worker takes messages of its channel.
    NoWorker,
}

word_enum!(HeldBy, "an obstacle to a message");

/// What stands around chains: their tasks, pauses, and lanes that no worker reads.
#[derive(Clone, Debug)]
pub struct Around {
    tasks: HashMap<Id, (State, Timestamp)>,
    pauses: Vec<Pause>,
    unattended: Vec<Channel>,
    now: Timestamp,
}

impl Around {
    /// Asks for it, for all these tasks together.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gather(context: &Context, session: &mut Session, task_ids: &[Id]) -> Result<Self> {
        let now = context.clock.now();
        let filter = TaskFilter { ids: task_ids.to_vec(), ..TaskFilter::default() };
        let most = i64::try_from(task_ids.len()).unwrap_or(i64::MAX - 1);
        let found = match task_ids {
            [] => Vec::new(),
            _ => tasks::page(session, &filter, Cursor::Start, most).await?.0,
        };
        let fleet = workers::list(session).await?;
        let unattended = workers::unattended(context.systems, &fleet, now, context.config.worker.lease);
        Ok(Self {
            tasks: found.into_iter().map(|task| (task.id, (task.state, task.run_at))).collect(),
            pauses: pauses::in_force(session, now).await?,
            unattended: Channel::ALL.into_iter().filter(|channel| unattended.contains(&channel.lane())).collect(),
            now,
        })
    }

    /// In which state the task of a chain is; `None`: it is gone.
    pub fn state(&self, task_id: Id) -> Option<State> {
        self.tasks.get(&task_id).map(|(state, _)| *state)
    }

    /// What happens next to a chain; `None` for one without messages.
    pub fn next(&self, chain: &[Notification], attempts: &[Attempt], journal: &[Line]) -> Option<Next> {
        let task = self.tasks.get(&chain.first()?.task_id).copied();
        let Self { pauses, unattended, now, .. } = self;
        Known { chain, task, attempts, journal, pauses, unattended, now: *now }.next()
    }
}

/// What is known of a chain.
pub struct Known<'k> {
    /// In its order.
    pub chain: &'k [Notification],
    /// State of its task, and when that runs; `None`: the task is gone, its chain has ended.
    pub task: Option<(State, Timestamp)>,
    /// Oldest first.
    pub attempts: &'k [Attempt],
    /// Oldest first.
    pub journal: &'k [Line],
    pub pauses: &'k [Pause],
    /// Channels whose messages no worker takes.
    pub unattended: &'k [Channel],
    pub now: Timestamp,
}

impl Known<'_> {
    /// The next thing; `None` for a chain without messages.
    pub fn next(&self) -> Option<Next> {
        self.chain.first()?;
        Some(match self.task {
            Some((state, run_at)) if !state.is_final() => self.goes_on(state, run_at),
            _ => self.ended(),
        })
    }

    fn goes_on(&self, state: State, run_at: Timestamp) -> Next {
        let awaiting = self.chain.iter().position(|message| message.waits_for().is_some());
        let begun = self.chain.iter().position(|message| message.status == Status::Queued);
        let Some(position) = begun.or(awaiting).or_else(|| self.after(None)) else { return self.ended() };
        let current = &self.chain[position];
        let (what, at) = match current.waits_for() {
            Some(awaits) if begun.is_none() => match awaits.receipt {
                AwaitedReceipt::Delivered => (What::AwaitsDelivered, Some(awaits.until)),
                AwaitedReceipt::Read => (What::AwaitsRead, Some(awaits.until)),
            },
            _ if state == State::Started => (What::IsSending, None),
            _ if run_at > self.now => (self.why_later(current), Some(run_at)),
            _ => (What::Sends, None),
        };
        let pause = pauses::of_lane(self.pauses, current.channel.lane());
        let held = match pause {
            _ if what == What::IsSending => None,
            Some(_) => Some(HeldBy::Paused),
            None => self.unattended.contains(&current.channel).then_some(HeldBy::NoWorker),
        };
        Next {
            what,
            channel: Some(current.channel),
            at,
            then: self.after(Some(position)).map(|next| self.chain[next].channel),
            held,
            held_until: pause.filter(|_| held.is_some()).and_then(|pause| pause.until),
        }
    }

    /// The message that has its turn after this one.
    fn after(&self, position: Option<usize>) -> Option<usize> {
        let is_open = |other: usize| self.chain[other].status.is_open() && Some(other) != position;
        (0..self.chain.len()).find(|other| is_open(*other))
    }

    /// Why a message does not leave before its task runs.
    fn why_later(&self, current: &Notification) -> What {
        if current.unknown_until.is_some() {
            return What::LooksUp;
        }
        if current.next_retry_at.is_some() && self.attempts.iter().any(|attempt| attempt.notification_id == current.id)
        {
            return What::Retries;
        }
        let decided = self.journal.iter().rev().find_map(|line| match line.fact()? {
            Fact::Deferred { reason: DeferReason::SendAt, until } if until > self.now => Some(What::LeavesAsWished),
            Fact::Deferred { reason: DeferReason::QuietHours, until } if until > self.now => {
                Some(What::LeavesAfterQuietHours)
            }
            Fact::Throttled { until, .. } if until > self.now => Some(What::LeavesAfterThrottle),
            _ => None,
        });
        match decided {
            Some(what) => what,
            None if current.paced_until.is_some() => What::LeavesInPace,
            None if current.next_retry_at.is_some() => What::Retries,
            None => What::LeavesAsWished,
        }
    }

    fn ended(&self) -> Next {
        let has = |status| self.chain.iter().find(|message| message.status == status);
        let reached = [Status::Read, Status::Delivered, Status::Sent].into_iter().find_map(has);
        let nothing = |what, channel| Next { what, channel, at: None, then: None, held: None, held_until: None };
        if let Some(message) = reached {
            let what = match message.status {
                Status::Read => What::NothingRead,
                Status::Delivered => What::NothingDelivered,
                _ => What::NothingSent,
            };
            return nothing(what, Some(message.channel));
        }
        if self.chain.iter().all(|message| message.subject.is_empty() && message.body.is_empty()) {
            return nothing(What::NothingErased, None);
        }
        if let Some(swept) = self.swept() {
            return nothing(What::IsSwept, Some(swept));
        }
        match has(Status::Failed).or_else(|| has(Status::Bounced)) {
            Some(_) => nothing(What::NothingFailed, None),
            None => nothing(What::NothingCancelled, None),
        }
    }

    /// The channel that the sweep tries again, as `redrive_failed` finds it: the task died, the chain is young, and its last attempt on
    /// the channel failed for a passing reason.
    fn swept(&self) -> Option<Channel> {
        let first = self.chain.first()?;
        let is_dead = self.task.is_some_and(|(state, _)| state == State::Dead);
        let is_young = first.created_at >= self.now - REDRIVE_WINDOW + Duration::from_secs(60);
        if !is_dead || !is_young || first.redrives >= MOST_REDRIVES {
            return None;
        }
        let is_passing = |message: &&Notification| {
            let last = self.attempts.iter().rfind(|attempt| attempt.notification_id == message.id);
            message.status == Status::Failed && last.is_some_and(|last| last.outcome == Outcome::Transient)
        };
        self.chain.iter().find(is_passing).map(|message| message.channel)
    }
}

impl Next {
    /// Whether nothing more happens by itself.
    pub fn is_over(&self) -> bool {
        self.at.is_none() && !matches!(self.what, What::Sends | What::IsSending | What::IsSwept)
    }

    /// What staff read; the moment stands beside it, for it is written in the reader's zone and counted down.
    pub fn sentence(&self, language: Language) -> String {
        let channel = self.channel.map_or("", Channel::display_name);
        let what = self.what.sentence(channel, language);
        let then = self.then.filter(|_| self.at.is_some() || !self.is_over()).map(|then| {
            let then = then.display_name();
            match self.what {
                What::AwaitsDelivered | What::AwaitsRead => language.pick(
                    format!(" Si no llega a tiempo, sigue {then}."),
                    format!(" If it does not come in time, {then} is next."),
                ),
                _ => language.pick(format!(" Si falla, sigue {then}."), format!(" If it fails, {then} is next.")),
            }
        });
        let held = self.held.map(|held| format!(" {}", held.sentence(language)));
        format!("{what}{}{}", then.unwrap_or_default(), held.unwrap_or_default())
    }
}

impl What {
    fn sentence(self, channel: &str, language: Language) -> String {
        let (spanish, english) = match self {
            Self::Sends => ("{} sale en cuanto lo tome un worker.", "{} goes out as soon as a worker takes it."),
            Self::IsSending => ("Un worker lo está entregando por {}.", "A worker is handing it over by {}."),
            Self::LeavesAsWished => (
                "{} sale a la hora que pidió quien envió el evento.",
                "{} goes out at the time that the sender of the event asked for.",
            ),
            Self::LeavesAfterQuietHours => {
                ("{} sale cuando terminen las horas de silencio.", "{} goes out when the quiet hours end.")
            }
            Self::LeavesAfterThrottle => (
                "La persona ya recibió muchos mensajes en una hora: {} sale después.",
                "The person got many messages within an hour: {} goes out afterwards.",
            ),
            Self::LeavesInPace => {
                ("{} espera su turno en el ritmo del proveedor.", "{} waits for its turn in the provider's pace.")
            }
            Self::Retries => ("Se intenta de nuevo por {}.", "It is tried again by {}."),
            Self::LooksUp => (
                "Un intento por {} quedó sin respuesta: se pregunta al proveedor si salió, para no enviarlo dos veces.",
                "An attempt by {} had no answer: the provider is asked whether it left, so that it is not sent twice.",
            ),
            Self::AwaitsDelivered => (
                "{} se envió y espera la confirmación de entrega.",
                "{} was sent and waits for the receipt of delivery.",
            ),
            Self::AwaitsRead => (
                "{} se envió y espera la confirmación de lectura.",
                "{} was sent and waits for the receipt of reading.",
            ),
            Self::IsSwept => (
                "Falló por un motivo pasajero: el repaso de fallidos lo intenta otra vez por {}.",
                "It failed for a passing reason: the sweep of failed messages tries it again by {}.",
            ),
            Self::NothingRead => ("Nada más: se leyó por {}.", "Nothing more: it was read on {}."),
            Self::NothingDelivered => ("Nada más: llegó por {}.", "Nothing more: it arrived by {}."),
            Self::NothingSent => (
                "Nada más: se envió por {}. El proveedor lo aceptó; que haya llegado no consta.",
                "Nothing more: it was sent by {}. The provider took it; that it arrived is not known.",
            ),
            Self::NothingFailed => ("Nada más: fallaron todos los canales.", "Nothing more: every channel failed."),
            Self::NothingCancelled => ("Nada más: se canceló.", "Nothing more: it was cancelled."),
            Self::NothingErased => ("Nada más: sus textos se borraron.", "Nothing more: its words were erased."),
        };
        language.pick(spanish, english).replace("{}", channel)
    }
}

impl HeldBy {
    fn sentence(self, language: Language) -> &'static str {
        match self {
            Self::Paused => language.pick("Pero su cola está en pausa.", "But its queue is paused."),
            Self::NoWorker => language.pick("Pero ningún worker lee su carril.", "But no worker reads its lane."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fallback::tests::message;
    use crate::journal::Entry;
    use crate::orchestration::Awaited;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(1_768_919_400_000_000 + second * 1_000_000)
    }

    const CHANNELS: [Channel; 3] = [Channel::Email, Channel::Whatsapp, Channel::Push];

    fn chain(statuses: &[Status]) -> Vec<Notification> {
        let of = |(place, (status, channel)): (usize, (&Status, Channel))| Notification {
            id: Id::of_name("chain").at_place(place as u8),
            channel,
            subject: "s".into(),
            created_at: at(0),
            sent_at: status.is_sent().then(|| at(0)),
            ..message(*status)
        };
        statuses.iter().zip(CHANNELS).enumerate().map(of).collect()
    }

    fn attempt(of: &Notification, outcome: Outcome) -> Attempt {
        Attempt {
            id: Id::of_name("attempt"),
            notification_id: of.id,
            number: 1,
            channel: of.channel,
            started_at: at(1),
            duration_ms: 1,
            outcome,
            error_code: None,
            error_reason: None,
            provider_status: None,
            provider_answer: None,
            provider: None,
            provider_message_id: None,
        }
    }

    fn decided(fact: Fact) -> Vec<Line> {
        vec![Entry::about(&message(Status::Queued), fact, at(0)).into()]
    }

    fn next(chain: &[Notification], task: Option<(State, i64)>, journal: &[Line], attempts: &[Attempt]) -> Next {
        let task = task.map(|(state, second)| (state, at(second)));
        let known = Known { chain, task, attempts, journal, pauses: &[], unattended: &[], now: at(10) };
        known.next().expect("the chain has messages")
    }

    #[test]
    fn each_state_of_a_chain_has_its_next_step() {
        use Status::{Bounced, Cancelled, Delivered, Failed, Pending, Queued, Read, Sent};
        type Row<'s> = (&'s [Status], Option<(State, i64)>, What, Option<i64>, Option<Channel>);
        let table: [Row<'_>; 11] = [
            (&[Queued, Pending], Some((State::Queued, 0)), What::Sends, None, Some(Channel::Whatsapp)),
            (&[Queued], Some((State::Started, 0)), What::IsSending, None, None),
            (&[Failed, Queued, Pending], Some((State::Queued, 0)), What::Sends, None, Some(Channel::Push)),
            (&[Failed, Pending], Some((State::Queued, 0)), What::Sends, None, None),
            (&[Queued], Some((State::Scheduled, 60)), What::LeavesAsWished, Some(60), None),
            (&[Read], Some((State::Success, 0)), What::NothingRead, None, None),
            (&[Failed, Delivered], Some((State::Success, 0)), What::NothingDelivered, None, None),
            (&[Sent, Pending], None, What::NothingSent, None, None),
            (&[Bounced, Failed], Some((State::Dead, 0)), What::NothingFailed, None, None),
            (&[Cancelled], Some((State::Cancelled, 0)), What::NothingCancelled, None, None),
            (&[Queued, Cancelled], Some((State::Scheduled, 60)), What::LeavesAsWished, Some(60), None),
        ];
        for (statuses, task, what, moment, then) in table {
            let found = next(&chain(statuses), task, &[], &[]);
            assert_eq!((found.what, found.at, found.then), (what, moment.map(at), then), "{statuses:?} {task:?}");
        }
    }

    #[test]
    fn what_waits_says_what_for() {
        let scheduled = Some((State::Scheduled, 60));
        let mut one = chain(&[Status::Queued]);
        for (fact, what) in [
            (Fact::Deferred { reason: DeferReason::QuietHours, until: at(60) }, What::LeavesAfterQuietHours),
            (Fact::Deferred { reason: DeferReason::SendAt, until: at(60) }, What::LeavesAsWished),
            (Fact::Throttled { per_hour: 3, until: at(60) }, What::LeavesAfterThrottle),
            (Fact::Deferred { reason: DeferReason::QuietHours, until: at(5) }, What::LeavesAsWished),
        ] {
            assert_eq!(next(&one, scheduled, &decided(fact.clone()), &[]).what, what, "{fact:?}");
        }
        one[0].next_retry_at = Some(at(60));
        let tried = [attempt(&one[0], Outcome::Transient)];
        assert_eq!(next(&one, scheduled, &[], &tried).what, What::Retries);
        one[0].unknown_until = Some(at(70));
        assert_eq!(next(&one, scheduled, &[], &tried).what, What::LooksUp);
        (one[0].unknown_until, one[0].next_retry_at, one[0].paced_until) = (None, None, Some(at(60)));
        assert_eq!(next(&one, scheduled, &[], &[]).what, What::LeavesInPace);
    }

    #[test]
    fn a_receipt_is_awaited_until_its_time_and_no_longer() {
        let mut two = chain(&[Status::Sent, Status::Pending]);
        two[0].awaits = Some(Awaited { receipt: AwaitedReceipt::Delivered, seconds: 60 });
        let found = next(&two, Some((State::Scheduled, 60)), &[], &[]);
        let expected = (What::AwaitsDelivered, Some(at(60)), Some(Channel::Whatsapp));
        assert_eq!((found.what, found.at, found.then), expected);
        two[0].awaits = Some(Awaited { receipt: AwaitedReceipt::Read, seconds: 60 });
        assert_eq!(next(&two, Some((State::Scheduled, 60)), &[], &[]).what, What::AwaitsRead);
        // The next channel has its turn already.
        two[1].status = Status::Queued;
        assert_eq!(next(&two, Some((State::Queued, 0)), &[], &[]).channel, Some(Channel::Whatsapp));
    }

    #[test]
    fn what_failed_for_a_passing_reason_is_swept() {
        let mut one = chain(&[Status::Failed]);
        let tried = |outcome| [attempt(&chain(&[Status::Failed])[0], outcome)];
        let dead = Some((State::Dead, 0));
        assert_eq!(next(&one, dead, &[], &tried(Outcome::Transient)).what, What::IsSwept);
        assert_eq!(next(&one, dead, &[], &tried(Outcome::Permanent)).what, What::NothingFailed);
        one[0].redrives = MOST_REDRIVES;
        assert_eq!(next(&one, dead, &[], &tried(Outcome::Transient)).what, What::NothingFailed);
    }

    #[test]
    fn a_pause_or_a_missing_worker_holds_it() {
        let chain = chain(&[Status::Queued]);
        let pause = Pause {
            queue: "notifications".into(),
            reason: "r".into(),
            paused_by: "op".into(),
            paused_at: at(0),
            until: Some(at(99)),
        };
        let held = |pauses: &[Pause], unattended: &[Channel]| {
            let task = Some((State::Queued, at(0)));
            let known = Known { chain: &chain, task, attempts: &[], journal: &[], pauses, unattended, now: at(10) };
            let next = known.next().expect("a message");
            (next.held, next.held_until)
        };
        assert_eq!(held(&[pause], &[]), (Some(HeldBy::Paused), Some(at(99))));
        assert_eq!(held(&[], &[Channel::Email]), (Some(HeldBy::NoWorker), None));
        assert_eq!(held(&[], &[Channel::Push]), (None, None));
    }

    #[test]
    fn every_step_is_told_in_both_languages() {
        for what in What::ALL {
            for held in [None, Some(HeldBy::Paused), Some(HeldBy::NoWorker)] {
                let next = Next {
                    what,
                    channel: Some(Channel::Email),
                    at: Some(at(0)),
                    then: Some(Channel::Push),
                    held,
                    held_until: None,
                };
                let [spanish, english] = Language::ALL.map(|language| next.sentence(language));
                assert!(spanish != english && !spanish.contains("{}") && !english.contains("{}"), "{what}");
                assert!(spanish.contains("Push") && english.contains("Push"), "{spanish} {english}");
            }
        }
    }
}
