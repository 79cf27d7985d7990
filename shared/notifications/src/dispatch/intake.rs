//! Where events are handed in. Those that arrive together share a transaction: one look-up, one statement that writes, one
//! ring ([`recado_kernel::group_commit`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::join_all;
use recado_kernel::db::{self, Session};
use recado_kernel::errors::explain;
use recado_kernel::group_commit::Group;
use recado_kernel::ids::Id;
use recado_queue::idempotency::{self, IdempotencyKey, Known};
use recado_queue::ring::Ring;
use recado_queue::tasks;
use serde_json::Value;

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

/// Where events are handed in.
#[derive(Clone)]
pub struct Intake {
    group: Group<Request, Answer>,
}

impl Intake {
    pub fn open(system: Notifications) -> Self {
        let group = Group::spawn(LARGEST_BATCH, move |requests: Arc<Vec<Request>>| {
            let system = system.clone();
            async move { accept(&system, &requests).await }
        });
        Self { group }
    }

    /// Returns when the event is committed, or refused.
    pub async fn accept(&self, request: Request) -> Answer {
        self.group.call(request).await.unwrap_or(Err(Rejection::Unavailable))
    }

    /// The same for many events at once, each with its own answer in its place. They share batches with whatever else
    /// arrives, and so does the room in the queue: a large number waits for its turn like many callers would.
    pub async fn accept_all(&self, requests: Vec<Request>) -> Vec<Answer> {
        join_all(requests.into_iter().map(|request| self.accept(request))).await
    }
}

/// Accepts a batch of events in one transaction, and rings for what is due.
///
/// When the database refuses the batch, each event is tried alone, so that one that is poison costs the others nothing.
pub async fn accept(system: &Notifications, requests: &[Request]) -> Vec<Answer> {
    let error = match commit(system, requests).await {
        Ok((answers, rings)) => {
            system.context.ring(&rings).await;
            return answers;
        }
        Err(error) => error,
    };
    if requests.len() == 1 || db::is_outage(&error) {
        let error = explain(&error);
        tracing::error!(error, events = requests.len(), "{} events could not be written: {error}", requests.len());
        return requests.iter().map(|_| Err(Rejection::Unavailable)).collect();
    }
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        answers.extend(Box::pin(accept(system, std::slice::from_ref(request))).await);
    }
    answers
}

async fn commit(system: &Notifications, requests: &[Request]) -> db::Result<(Vec<Answer>, Vec<Ring>)> {
    let now = system.context.clock.now();
    let keys: Vec<&IdempotencyKey> = requests.iter().filter_map(|request| request.idempotency.as_ref()).collect();
    let is_transaction = needs_transaction(requests);
    let mut session = if is_transaction { system.context.db.begin().await? } else { system.context.db.write().await? };
    let mut known = idempotency::take(&mut session, &keys, now).await?;
    let facts = Facts::gather(system, &mut session, requests, now).await?;

    let mut rows = Rows::default();
    let mut answers: Vec<Answer> = Vec::with_capacity(requests.len());
    for request in requests {
        if takes_long(request) {
            tokio::task::yield_now().await;
        }
        answers.push(once(request, &mut known, || rows.add(&facts, request)));
    }
    if !rows.journal.is_empty() && !is_transaction {
        session.commit().await?;
        session = system.context.db.begin().await?;
    }
    let inserted = notifications::insert(&mut session, &rows.tasks, &rows.chains).await?;
    let known_tasks: HashSet<Id> =
        rows.tasks.iter().map(|task| task.id).filter(|id| !inserted.ids.contains(id)).collect();
    rows.journal.retain(|entry| entry.task_id.is_none_or(|task| !known_tasks.contains(&task)));
    journal::record(&mut session, &rows.journal).await?;
    if !known_tasks.is_empty() {
        recall(&mut session, requests, &mut answers, &known_tasks).await?;
    }
    idempotency::keep(&mut session, &kept(requests, &answers)).await?;
    session.commit().await?;
    Ok((answers, inserted.rings))
}

/// Tasks and their chains are one statement, which needs no transaction around it. Whoever takes a key or makes a customer
/// writes before that.
fn needs_transaction(requests: &[Request]) -> bool {
    let writes_more =
        |request: &Request| request.idempotency.is_some() || request.unknown_customer == UnknownCustomer::Create;
    requests.iter().any(writes_more)
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
fn kept<'r>(requests: &'r [Request], answers: &[Answer]) -> Vec<(&'r IdempotencyKey, Option<Value>)> {
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
    requests: &[Request],
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
