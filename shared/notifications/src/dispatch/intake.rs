//! Where events are handed in. Those that arrive together share a transaction: one look-up, one statement that writes, one
//! ring ([`recado_kernel::group_commit`]).
//!
//! What a caller is told is refused is not written, and is not written later either: the caller's next try would be a second
//! message. So no statement that writes begins after [`WRITES_WITHIN`], the server ends it by its own time limits, and where
//! an answer never came, the ids of the batch are looked up over another connection before anybody is told anything.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::db::{self, Outage, Session};
use recado_kernel::errors::explain;
use recado_kernel::group_commit::Group;
use recado_kernel::ids::Id;
use recado_queue::idempotency::{self, IdempotencyKey, Known};
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, Inserted};
use serde_json::{Value, json};

use super::event::Event;
use super::facts::Facts;
use super::receipt::{Accepted, Answer, Planned, Receipt};
use super::rejection::Rejection;
use super::rows::Rows;
use super::{Request, UnknownCustomer};
use crate::journal;
use crate::notifications::{self, Notification};
use crate::system::Notifications;

/// The largest number of events that share a transaction.
const LARGEST_BATCH: usize = 500;

/// So many do not wait for the batch before.
const LARGE_BATCH: usize = 20;

/// An event that could not be written for so long is refused. The API answers within 60 s: 20 s may pass before the event is
/// read, a statement ends within 12 s, and then there is time to look what became of it.
const WRITES_WITHIN: Duration = Duration::from_secs(8);

/// A statement that writes events does nothing when the server begins it later than this after it told what it knows, by its
/// own clock: it was frozen, or the network held the statement back, and the callers have been told something else.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);

/// How long to look for what may have been written.
const LOOKS_FOR: Duration = Duration::from_secs(12);

/// Where events are handed in.
#[derive(Clone)]
pub struct Intake {
    group: Group<(Instant, Request), Answer>,
}

impl Intake {
    pub fn open(system: Notifications) -> Self {
        if !system.context.clock.is_manual() {
            tokio::spawn(system.sent_variables.clone().keep_writing(system.context.db.clone()));
        }
        let group =
            Group::spawn_overlapping(LARGEST_BATCH, LARGE_BATCH, move |arrived: Arc<Vec<(Instant, Request)>>| {
                let system = system.clone();
                async move {
                    let Some(first) = arrived.iter().map(|(at, _)| *at).min() else { return Vec::new() };
                    let requests: Vec<&Request> = arrived.iter().map(|(_, request)| request).collect();
                    accept_since(&system, &requests, first).await
                }
            });
        Self { group }
    }

    /// Returns when the event is committed, or refused.
    pub async fn accept(&self, request: Request) -> Answer {
        self.group.call((Instant::now(), request)).await.unwrap_or(Err(Rejection::Unavailable))
    }

    /// The same for many events at once, each with its own answer in its place. They share batches with whatever else
    /// arrives, and so does the room in the queue: a large number waits for its turn like many callers would.
    pub async fn accept_all(&self, requests: Vec<Request>) -> Vec<Answer> {
        join_all(requests.into_iter().map(|request| self.accept(request))).await
    }
}

/// Accepts a batch of events in one transaction, and rings for what is due.
pub async fn accept(system: &Notifications, requests: &[Request]) -> Vec<Answer> {
    let requests: Vec<&Request> = requests.iter().collect();
    accept_since(system, &requests, Instant::now()).await
}

/// The same for events of which the first has waited since then.
///
/// When the database refuses the batch, each event is tried alone, so that one that is poison costs the others nothing.
async fn accept_since(system: &Notifications, requests: &[&Request], since: Instant) -> Vec<Answer> {
    let error = match commit(system, requests, since).await {
        Ok(written) => {
            if !written.is_nothing {
                system.context.db.note_write(Ok(()));
            }
            system.context.ring(&written.rings).await;
            return written.answers;
        }
        Err(error) => error,
    };
    system.context.db.note_write(Err(&error));
    if requests.len() == 1 || db::is_outage(&error) {
        let error = explain(&error);
        tracing::error!(error, events = requests.len(), "{} events could not be written: {error}", requests.len());
        return requests.iter().map(|_| Err(Rejection::Unavailable)).collect();
    }
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        answers.extend(Box::pin(accept_since(system, std::slice::from_ref(request), since)).await);
    }
    answers
}

/// A batch that is committed.
struct Written {
    answers: Vec<Answer>,
    rings: Vec<Ring>,
    /// No row was to be written: all were refused, or are repetitions.
    is_nothing: bool,
}

/// What is decided about a batch, and how far the writing of it has come.
#[derive(Default)]
struct Batch {
    rows: Rows,
    answers: Vec<Answer>,
    /// From here on it may have been written.
    has_begun: bool,
}

async fn commit(system: &Notifications, requests: &[&Request], since: Instant) -> db::Result<Written> {
    let mut batch = Batch::default();
    let mut written = write(system, requests, since, &mut batch).await;
    if written.as_ref().is_err_and(|error| is_worth_another(error, &batch)) && since.elapsed() < WRITES_WITHIN {
        batch = Batch::default();
        written = write(system, requests, since, &mut batch).await;
    }
    let rings = match written {
        Ok(rings) => rings,
        Err(error) if batch.has_begun && db::may_have_written(&error) => {
            settle(system, requests, since, &mut batch, error).await?
        }
        Err(error) => return Err(error),
    };
    let is_nothing = batch.rows.tasks.is_empty() && batch.rows.journal.is_empty();
    Ok(Written { answers: batch.answers, rings, is_nothing })
}

/// Whether nothing was written, for a reason that another connection does not have: this one had ended, or leads to a server
/// that is read-only now. That costs callers nothing.
fn is_worth_another(error: &db::Error, batch: &Batch) -> bool {
    db::outage(error) == Some(Outage::ReadOnly) || (!batch.has_begun && db::is_connection_lost(error))
}

async fn write(
    system: &Notifications,
    requests: &[&Request],
    since: Instant,
    batch: &mut Batch,
) -> db::Result<Vec<Ring>> {
    let now = system.context.clock.now();
    let keys: Vec<&IdempotencyKey> = requests.iter().filter_map(|request| request.idempotency.as_ref()).collect();
    let is_transaction = needs_transaction(requests);
    let mut session = if is_transaction { system.context.db.begin().await? } else { system.context.db.write().await? };
    let mut known = idempotency::take(&mut session, &keys, now).await?;
    let facts = Facts::gather(system, &mut session, requests, now).await?;

    let rows = &mut batch.rows;
    batch.answers = Vec::with_capacity(requests.len());
    for request in requests {
        if takes_long(request) {
            tokio::task::yield_now().await;
        }
        batch.answers.push(once(request, &mut known, || rows.add(&facts, request)));
    }
    if !rows.journal.is_empty() && !is_transaction {
        session.commit().await?;
        session = system.context.db.begin().await?;
    }
    if let Some(asked_at) = facts.asked_at {
        session.not_after(asked_at + BEGINS_WITHIN);
    }
    if since.elapsed() > WRITES_WITHIN {
        return Err(db::too_late());
    }
    batch.has_begun = true;
    let inserted = notifications::insert(&mut session, &rows.tasks, &rows.chains).await?;
    let known_tasks: HashSet<Id> =
        rows.tasks.iter().map(|task| task.id).filter(|id| !inserted.ids.contains(id)).collect();
    if !known_tasks.is_empty() && requests.iter().all(|request| request.unique_key.is_none()) {
        // Their ids are new, so it was the server that began too late.
        return Err(db::too_late());
    }
    rows.journal.retain(|entry| entry.task_id.is_none_or(|task| !known_tasks.contains(&task)));
    journal::record(&mut session, &rows.journal).await?;
    if !known_tasks.is_empty() {
        recall(&mut session, requests, &mut batch.answers, &known_tasks).await?;
    }
    idempotency::keep(&mut session, &kept(requests, &batch.answers)).await?;
    audit::write_all(&mut session, &acts(requests, &batch.answers), now).await?;
    session.commit().await?;
    for task in rows.tasks.iter().filter(|task| inserted.ids.contains(&task.id)) {
        system.context.samples.accepted(task.lane(), 1);
    }
    Ok(inserted.rings)
}

/// Finds out, over another connection, what became of a batch whose answer did not come: its rows are written once more, and
/// those that stand are passed over, for the ids are ours. A transaction that is still under way is waited for by the same
/// statement. Where nothing stands and there is time, the batch is committed now; else it is not, and the callers are told so.
///
/// # Errors
/// The first error, where nothing stands. Where that cannot be found out, the batch may stand nevertheless.
async fn settle(
    system: &Notifications,
    requests: &[&Request],
    since: Instant,
    batch: &mut Batch,
    error: db::Error,
) -> db::Result<Vec<Ring>> {
    // A job that is run again gets its answer by its key, and what took keys of callers is one transaction with them.
    let can_be_repeated = !needs_transaction(requests) && requests.iter().all(|request| request.unique_key.is_none());
    if batch.rows.tasks.is_empty() || requests.iter().any(|request| request.unique_key.is_some()) {
        return Err(error);
    }
    let looking = async {
        let mut session = system.context.db.begin().await?;
        let repeats = can_be_repeated && since.elapsed() < WRITES_WITHIN;
        let inserted = notifications::insert_again(&mut session, &batch.rows.tasks, &batch.rows.chains).await?;
        if inserted.ids.is_empty() {
            let all = batch.rows.tasks.iter().map(|task| (task.id,)).collect();
            return Ok(Some(Inserted::of(&batch.rows.tasks, all).rings));
        }
        if !repeats {
            return Ok(None);
        }
        journal::record(&mut session, &batch.rows.journal).await?;
        session.commit().await?;
        Ok::<_, db::Error>(Some(inserted.rings))
    };
    match tokio::time::timeout(LOOKS_FOR, looking).await {
        Ok(Ok(Some(rings))) => Ok(rings),
        Ok(Ok(None)) => Err(error),
        Ok(Err(again)) => {
            let events = requests.len();
            tracing::error!(error = %again, events, "whether {events} events were written is not known: {again}");
            Err(error)
        }
        Err(_) => {
            let events = requests.len();
            tracing::error!(events, "whether {events} events were written is not known: the database does not answer");
            Err(error)
        }
    }
}

/// Tasks and their chains are one statement, which needs no transaction around it. A batch that takes a key or makes a customer
/// writes before that, and one that a person sends by hand writes that down after it.
fn needs_transaction(requests: &[&Request]) -> bool {
    let writes_more = |request: &&Request| {
        request.idempotency.is_some() || request.unknown_customer == UnknownCustomer::Create || request.by.is_some()
    };
    requests.iter().any(writes_more)
}

/// Who sent which event by hand, of those that are accepted.
fn acts<'r>(requests: &[&'r Request], answers: &[Answer]) -> Vec<(&'r Actor, Act)> {
    let act = |(request, answer): (&&'r Request, &Answer)| {
        let (actor, accepted) = (request.by.as_ref()?, answer.as_ref().ok().filter(|accepted| !accepted.replayed)?);
        let Event { event_type, customer_id, .. } = &request.event;
        let sent = json!({ "event_type": event_type, "customer_id": customer_id });
        Some((actor, Act::new("send", "event", accepted.receipt.correlation_id).made(sent)))
    };
    requests.iter().zip(answers).filter_map(act).collect()
}

/// An event that brings its own template: that one was not compiled beforehand, which takes up to some milliseconds. Others
/// have their turn before it.
fn takes_long(request: &Request) -> bool {
    request.event.is_custom()
        && request.event.context.values().any(|value| value.as_str().is_some_and(|text| text.contains('{')))
}

/// Does the work of a request unless its key says that it is done.
fn once(
    request: &Request,
    known: &mut HashMap<String, Known>,
    work: impl FnOnce() -> Result<Receipt, Rejection>,
) -> Answer {
    let Some(key) = &request.idempotency else {
        return work().map(|receipt| Accepted { receipt, replayed: false });
    };
    if let Some(Known::Seen { fingerprint, answer }) = known.get(&key.key) {
        if *fingerprint != key.fingerprint {
            return Err(Rejection::KeyReused);
        }
        let receipt = serde_json::from_value(answer.clone()).map_err(|_| Rejection::KeyReused)?;
        return Ok(Accepted { receipt, replayed: true });
    }
    let receipt = work()?;
    let answer = serde_json::to_value(&receipt).unwrap_or(Value::Null);
    known.insert(key.key.clone(), Known::Seen { fingerprint: key.fingerprint.clone(), answer });
    Ok(Accepted { receipt, replayed: false })
}

/// The answers to remember: the first one of each key, or none where it was refused.
fn kept<'r>(requests: &[&'r Request], answers: &[Answer]) -> Vec<(&'r IdempotencyKey, Option<Value>)> {
    let mut kept: HashMap<&str, (&IdempotencyKey, Option<Value>)> = HashMap::new();
    for (request, answer) in requests.iter().zip(answers) {
        let Some(key) = &request.idempotency else { continue };
        match answer {
            Ok(Accepted { replayed: true, .. }) | Err(Rejection::KeyReused) => {}
            Ok(Accepted { receipt, .. }) => {
                kept.insert(&key.key, (key, serde_json::to_value(receipt).ok()));
            }
            Err(_) => {
                kept.entry(&key.key).or_insert((key, None));
            }
        }
    }
    kept.into_values().collect()
}

/// Requests whose unique key was dispatched before get the receipt of what was written then: a job that runs again after a
/// crash must not speak of messages that do not exist.
async fn recall(
    session: &mut Session,
    requests: &[&Request],
    answers: &mut [Answer],
    known_tasks: &HashSet<Id>,
) -> db::Result<()> {
    let is_known = |receipt: &Receipt| receipt.task_id.is_some_and(|task| known_tasks.contains(&task));
    let mut recalled: Vec<(String, &mut Receipt)> = Vec::new();
    for (request, answer) in requests.iter().zip(answers) {
        if let (Some(key), Ok(Accepted { receipt, .. })) = (&request.unique_key, answer)
            && is_known(receipt)
        {
            recalled.push((format!("{key}:0"), receipt));
        }
    }
    let keys: Vec<&str> = recalled.iter().map(|(key, _)| key.as_str()).collect();
    let tasks: HashMap<String, Id> = tasks::with_unique_keys(session, &keys).await?.into_iter().collect();
    let ids: Vec<Id> = tasks.values().copied().collect();
    let chains = notifications::chains(session, &ids).await?;
    for (key, receipt) in recalled {
        let Some(task_id) = tasks.get(&key) else { continue };
        let chain: Vec<&Notification> = chains.iter().filter(|message| message.task_id == *task_id).collect();
        receipt.task_id = Some(*task_id);
        receipt.correlation_id = chain.first().map_or(receipt.correlation_id, |message| message.correlation_id);
        receipt.notifications = chain.into_iter().map(Planned::from).collect();
    }
    Ok(())
}
