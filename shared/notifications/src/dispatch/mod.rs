//! The door: an event comes in, and everything about it is decided while the caller waits.
//!
//! Which channels, in which order, to which address, in exactly which words. So every mistake of a caller is an answer that
//! names it, and the worker has nothing left to misunderstand. Events that arrive together share a transaction
//! ([`recado_kernel::group_commit`]): one look-up of customers, one insert per table, one commit, one ring.

pub(crate) mod event;
mod plan;
mod preview;
mod send_time;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use event::{CUSTOM, DEFERRED_BY, EVENT_TYPES, Event, MINIMUM_FIELDS};
use futures::future::join_all;
pub use plan::Plan;
pub use preview::{Preview, PreviewMessage, preview};
pub use send_time::{DeferReason, FARTHEST, SendTime};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::catalogue::Catalogue;
use crate::channels::Channel;
use crate::customers::{self, Customer, CustomerSync, Preference};
use crate::jobs::{DispatchEvent, SendNotification};
use crate::journal::{self, Entry, Kind};
use crate::notifications::{self, NewNotification, Notification, Status};
use crate::orchestration::{Person, SkipReason};
use crate::quiet_hours::Rest;
use crate::system::Notifications;
use crate::{push, suppressions};
use recado_kernel::clock::Timestamp;
use recado_kernel::config::UnknownCustomer;
use recado_kernel::db::{self, Session};
use recado_kernel::group_commit::Group;
use recado_kernel::ids::Id;
use recado_kernel::retry::RetryPolicy;
use recado_queue::context::Context;
use recado_queue::idempotency::{self, IdempotencyKey, Known};
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, NewTask};

/// An event and how its sender wants it handled.
#[derive(Clone, Debug)]
pub struct Request {
    pub event: Event,
    pub idempotency: Option<IdempotencyKey>,
    /// At most one dispatch ever carries this key: the due cycle of a reminder.
    pub unique_key: Option<String>,
    pub unknown_customer: UnknownCustomer,
    /// The only channels that may carry it; empty for all. A reminder names those that announce it.
    pub only: Vec<Channel>,
}

/// What was accepted (S002-41).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// Always true here.
    #[schema(examples(true))]
    pub success: bool,
    /// The event's id: the caller's, or one of ours.
    pub correlation_id: Id,
    /// How many messages are on their way now: 1, or one per channel in mode `all`, or 0 when every channel was skipped.
    #[schema(minimum = 0, examples(1))]
    pub notifications_queued: usize,
    /// Always empty here.
    #[schema(examples(json!([])))]
    pub errors: Vec<String>,
    /// Whose status tells the story; in mode `all` the first of several. Null when every channel was skipped.
    pub task_id: Option<Id>,
    /// The messages, in the order in which they are tried.
    pub notifications: Vec<Planned>,
    /// Channels that are not used, each with its reason.
    pub skipped: Vec<Skipped>,
    /// When the first message leaves; null: at once.
    #[serde(default)]
    pub send_at: Option<Timestamp>,
    /// Why it leaves later; null: it does not.
    #[serde(default)]
    pub deferred: Option<DeferReason>,
}

/// A message that will be sent, or would be if the ones before it fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Planned {
    /// The message's id.
    pub id: Id,
    /// The task that delivers it and the others of its chain.
    pub task_id: Id,
    /// On which channel.
    pub channel: Channel,
    /// `queued`: it has its turn. `pending`: it waits for the ones before it to fail.
    #[schema(examples("queued"))]
    pub status: String,
    /// Its place in the chain; 0 is tried first.
    #[schema(examples(0))]
    pub fallback_order: i32,
    /// Name of the template.
    #[schema(examples("Cita agendada (clientes, email)"))]
    pub template: String,
}

/// A channel that will not be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// The channel.
    pub channel: Channel,
    /// A stable word: `disabled_in_matrix`, `opted_out`, `no_address`, `no_push_subscription`, `no_template`, ….
    #[schema(examples("no_push_subscription"))]
    pub reason: String,
    /// A sentence for people.
    #[schema(examples("El cliente no tiene ningún dispositivo suscrito a notificaciones push."))]
    pub detail: String,
}

impl From<&NewNotification> for Planned {
    fn from(notification: &NewNotification) -> Self {
        Self {
            id: notification.id,
            task_id: notification.task_id,
            channel: notification.channel,
            status: notification.status.as_str().to_owned(),
            fallback_order: notification.fallback_order,
            template: notification.template_name.clone(),
        }
    }
}

impl From<&Notification> for Planned {
    fn from(notification: &Notification) -> Self {
        Self {
            id: notification.id,
            task_id: notification.task_id,
            channel: notification.channel,
            status: notification.status.as_str().to_owned(),
            fallback_order: notification.fallback_order,
            template: notification.template_name.clone(),
        }
    }
}

impl From<&(Channel, SkipReason)> for Skipped {
    fn from((channel, reason): &(Channel, SkipReason)) -> Self {
        Self { channel: *channel, reason: reason.code().to_owned(), detail: reason.explanation().to_owned() }
    }
}

/// Why an event was not accepted. All but the last two are the caller's to mend.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Rejection {
    /// Fields with their errors, in the shape that clients of Django parse.
    #[error("fields are wrong: {0:?}")]
    Fields(Vec<(String, String)>),
    /// The event makes no sense here: no such slug, customer or configuration.
    #[error("{0}")]
    Refused(String),
    /// The context lacks what the words need (S002-42).
    #[error("variables are missing: {0:?}")]
    MissingVariables(Vec<String>),
    /// A template of the workshop cannot be rendered.
    #[error("the template `{template}` cannot be rendered: {reason}")]
    Template { template: String, reason: String },
    /// The key stands for another request.
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    /// The batch was lost to trouble of ours; nothing of it was written.
    #[error("the ledger could not be written")]
    Unavailable,
}

/// An accepted event. `replayed` when the answer is an old one, for the same idempotency key.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub receipt: Receipt,
    pub replayed: bool,
}

pub type Answer = Result<Accepted, Rejection>;

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
        tracing::error!(error = %error, events = requests.len(), "{} events could not be written: {error}", requests.len());
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
    let mut session = system.context.db.begin().await?;
    let keys: Vec<&IdempotencyKey> = requests.iter().filter_map(|request| request.idempotency.as_ref()).collect();
    let mut known = idempotency::take(&mut session, &keys, now).await?;
    let facts = Facts::gather(system, &mut session, requests, now).await?;

    let mut batch = Batch::default();
    let mut answers: Vec<Answer> =
        requests.iter().map(|request| once(request, &mut known, || batch.add(&facts, request))).collect();
    let Written { rings, known_tasks } = batch.write(&mut session).await?;
    if !known_tasks.is_empty() {
        recall(&mut session, requests, &mut answers, &known_tasks).await?;
    }
    idempotency::keep(&mut session, &kept(requests, &answers)).await?;
    session.commit().await?;
    Ok((answers, rings))
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

/// What the decisions of a batch need to know, gathered with one statement each.
struct Facts {
    catalogue: Arc<Catalogue>,
    customers: HashMap<String, Customer>,
    preferences: HashMap<String, Vec<Preference>>,
    devices: HashMap<String, i64>,
    /// Addresses to which nothing is sent.
    suppressed: HashSet<(Channel, String)>,
    retry: RetryPolicy,
    strict_case: bool,
    zone: chrono_tz::Tz,
    now: Timestamp,
}

/// What is decided about an event for a customer whom we know.
struct Decision<'f> {
    customer: &'f Customer,
    plan: Plan,
    send_time: SendTime,
}

impl Facts {
    /// The whole decision, for a dispatch and for a dry run alike. `None`: the customer is unknown, and what can be said
    /// without her is right.
    fn decide(&self, request: &Request) -> Result<Option<Decision<'_>>, Rejection> {
        let event = &request.event;
        send_time::check(event, self.now)?;
        let Some(customer) = self.customers.get(&event.customer_id) else {
            // What is wrong whoever the customer is, the caller hears now.
            Plan::check(&self.catalogue, event, self.strict_case)?;
            return Ok(None);
        };
        let preferences = self.preferences.get(&event.customer_id).map(Vec::as_slice).unwrap_or_default();
        let devices = self.devices.get(&event.customer_id).copied().unwrap_or_default();
        let preferences: Vec<&Preference> = preferences.iter().collect();
        let suppressed = self.suppressed(customer);
        let workshop = self.catalogue.workshop(event.taller_id.as_deref());
        let only = &request.only;
        let person = Person { customer, preferences: &preferences, devices, only, suppressed: &suppressed, workshop };
        let plan = Plan::of(&self.catalogue, event, &person, self.strict_case)?;
        let rest = Rest::of(customer, workshop, self.zone);
        Ok(Some(Decision { customer, plan, send_time: SendTime::of(event.send_at, event.critical, self.now, rest) }))
    }

    async fn gather(
        system: &Notifications,
        session: &mut Session,
        requests: &[Request],
        now: Timestamp,
    ) -> db::Result<Self> {
        let context = &system.context;
        let mut ids: Vec<String> = requests.iter().map(|request| request.event.customer_id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let catalogue = system.catalogue.current(session).await?;
        create_unknown(context, session, &catalogue, requests, &ids, now).await?;
        let customers = customers::find_many(session, &ids).await?;
        let mut preferences: HashMap<String, Vec<Preference>> = HashMap::new();
        for preference in customers::preferences(session, &ids).await? {
            preferences.entry(preference.customer_id.clone()).or_default().push(preference);
        }
        Ok(Self {
            suppressed: suppressions::among(session, &suppressions::addresses(&customers)).await?,
            catalogue,
            customers: customers.into_iter().map(|customer| (customer.customer_id.clone(), customer)).collect(),
            preferences,
            devices: push::counts(session, &ids).await?.into_iter().collect(),
            retry: context.config.retry,
            strict_case: context.config.template_strict_case,
            zone: context.config.time_zone,
            now,
        })
    }
}

impl Facts {
    /// The channels on which nothing is sent to this customer's address.
    fn suppressed(&self, customer: &Customer) -> Vec<Channel> {
        let is_suppressed = |channel: &Channel| {
            let address = customer.address(*channel).map(|address| suppressions::key(*channel, address));
            address.is_some_and(|address| self.suppressed.contains(&(*channel, address)))
        };
        // Nearly always there is nothing to look for.
        if self.suppressed.is_empty() { Vec::new() } else { Channel::ALL.into_iter().filter(is_suppressed).collect() }
    }
}

/// `DISPATCH_UNKNOWN_CUSTOMER=create`: a customer whom we do not know is made from the event's own context (d14).
async fn create_unknown(
    context: &Context,
    session: &mut Session,
    catalogue: &Catalogue,
    requests: &[Request],
    ids: &[String],
    now: Timestamp,
) -> db::Result<()> {
    if !requests.iter().any(|request| request.unknown_customer == UnknownCustomer::Create) {
        return Ok(());
    }
    // An event that is refused for another reason leaves nobody behind.
    let strict_case = context.config.template_strict_case;
    let creating = |request: &&Request| {
        request.unknown_customer == UnknownCustomer::Create
            && Plan::check(catalogue, &request.event, strict_case).is_ok()
    };
    let known: Vec<String> = customers::find_many(session, ids).await?.into_iter().map(|c| c.customer_id).collect();
    for request in requests.iter().filter(creating).filter(|request| !known.contains(&request.event.customer_id)) {
        let mut new = CustomerSync {
            customer_id: request.event.customer_id.clone(),
            name: request.event.text("nombre"),
            email: request.event.text("email"),
            phone: request.event.text("telefono").or_else(|| request.event.text("phone")),
            whatsapp: request.event.text("whatsapp"),
            ..CustomerSync::default()
        };
        // An address that cannot be used is left out; the channel is then skipped with that reason.
        for (field, _) in new.clone().checked(&context.config.default_country).err().unwrap_or_default() {
            match field {
                "email" => new.email = None,
                "phone" => new.phone = None,
                "whatsapp" => new.whatsapp = None,
                _ => new.name = None,
            }
        }
        if let Ok(new) = new.checked(&context.config.default_country) {
            customers::sync(session, &new, now).await?;
        }
    }
    Ok(())
}

/// The rows that a batch of events becomes.
#[derive(Default)]
struct Batch {
    tasks: Vec<NewTask>,
    notifications: Vec<NewNotification>,
    journal: Vec<Entry>,
}

/// What [`Batch::write`] did.
struct Written {
    /// To be rung after the commit.
    rings: Vec<Ring>,
    /// Tasks that were not written, because their unique key was known.
    known_tasks: HashSet<Id>,
}

impl Batch {
    /// Decides about a request, and takes up the rows that it becomes.
    fn add(&mut self, facts: &Facts, request: &Request) -> Result<Receipt, Rejection> {
        let event = &request.event;
        let decision = facts.decide(request)?;
        let correlation_id = event.correlation_id.unwrap_or_else(|| Id::new(facts.now));
        let Some(Decision { plan, send_time, .. }) = decision else {
            return self.unknown_customer(facts, request, correlation_id);
        };
        let mut planned = Vec::with_capacity(plan.messages.len());
        for (number, chain) in plan.chains().enumerate() {
            let task_id = Id::new(facts.now);
            let job = SendNotification { channel: chain[0].channel };
            let mut task = NewTask::at(task_id, &job, send_time.at, facts.now).correlated(correlation_id);
            if let Some(key) = &request.unique_key {
                task = task.unique(format!("{key}:{number}"));
            }
            self.tasks.push(task);
            for (order, message) in chain.iter().enumerate() {
                let mut notification = message.notification(facts, event, correlation_id, task_id, order);
                if order + 1 < chain.len() {
                    // Only who has somewhere to go waits for a receipt.
                    (notification.await_receipt, notification.await_seconds) = message.awaits.unzip();
                }
                planned.push(Planned::from(&notification));
                self.notifications.push(notification);
            }
        }
        self.journal.extend(entries(facts, event, correlation_id, &planned, &plan, send_time));
        Ok(Receipt {
            success: true,
            correlation_id,
            notifications_queued: planned.iter().filter(|planned| planned.status == Status::Queued.as_str()).count(),
            errors: Vec::new(),
            task_id: planned.first().map(|planned| planned.task_id),
            send_at: send_time.later().filter(|_| !planned.is_empty()),
            deferred: send_time.reason.filter(|_| !planned.is_empty()),
            notifications: planned,
            skipped: plan.skipped.iter().map(Skipped::from).collect(),
        })
    }

    /// The customer is refused, or the event waits for the sync that is perhaps under way (d14).
    fn unknown_customer(&mut self, facts: &Facts, request: &Request, correlation_id: Id) -> Result<Receipt, Rejection> {
        if request.unknown_customer != UnknownCustomer::Defer {
            return Err(no_such_customer(&request.event.customer_id));
        }
        let task_id = Id::new(facts.now);
        let event = Event { correlation_id: Some(correlation_id), ..request.event.clone() };
        let run_at = facts.now + DEFERRED_BY[0];
        self.tasks.push(NewTask::at(task_id, &DispatchEvent(event), run_at, facts.now).correlated(correlation_id));
        Ok(Receipt {
            success: true,
            correlation_id,
            notifications_queued: 0,
            errors: Vec::new(),
            task_id: Some(task_id),
            notifications: Vec::new(),
            skipped: Vec::new(),
            send_at: None,
            deferred: None,
        })
    }

    async fn write(mut self, session: &mut Session) -> db::Result<Written> {
        let inserted = tasks::insert(session, &self.tasks).await?;
        let known_tasks: HashSet<Id> =
            self.tasks.iter().map(|task| task.id).filter(|id| !inserted.ids.contains(id)).collect();
        if !known_tasks.is_empty() {
            self.notifications.retain(|notification| !known_tasks.contains(&notification.task_id));
            self.journal.retain(|entry| entry.task_id.is_none_or(|task| !known_tasks.contains(&task)));
        }
        notifications::insert(session, &self.notifications).await?;
        journal::record(session, &self.journal).await?;
        Ok(Written { rings: inserted.rings, known_tasks })
    }
}

/// What the journal keeps of a decision at the door: channels that are not used, and why it does not leave at once. An event
/// for which there is nothing to say costs no row.
fn entries(
    facts: &Facts,
    event: &Event,
    correlation_id: Id,
    planned: &[Planned],
    plan: &Plan,
    send_time: SendTime,
) -> Vec<Entry> {
    let first = planned.first();
    let entry = |kind, channel, detail| Entry {
        id: Id::new(facts.now),
        at: facts.now,
        correlation_id,
        customer_id: event.customer_id.clone(),
        task_id: first.map(|planned| planned.task_id),
        notification_id: None,
        channel,
        kind,
        detail,
    };
    let skipped = plan.skipped.iter().map(|(channel, reason)| {
        entry(Kind::Skipped, Some(*channel), format!("{}: {}", reason.code(), reason.explanation()))
    });
    let deferred = send_time.reason.filter(|_| first.is_some()).map(|reason| {
        let detail = format!("{}: {}", reason.as_str(), reason.sentence(send_time.at, facts.zone));
        entry(Kind::Deferred, None, detail)
    });
    skipped.chain(deferred).collect()
}

fn no_such_customer(customer_id: &str) -> Rejection {
    Rejection::Refused(format!(
        "No existe el cliente con customer_id `{customer_id}`. Sincronícelo primero en /api/internal/v1/customers/sync/."
    ))
}

impl plan::Words {
    fn notification(
        &self,
        facts: &Facts,
        event: &Event,
        correlation_id: Id,
        task_id: Id,
        order: usize,
    ) -> NewNotification {
        NewNotification {
            id: Id::new(facts.now),
            correlation_id,
            task_id,
            event_type: event.event_type.clone(),
            customer_id: event.customer_id.clone(),
            taller_id: event.taller_id.clone(),
            target: event.target.as_str(),
            channel: self.channel,
            fallback_order: order as i32,
            status: if order == 0 { Status::Queued } else { Status::Pending },
            recipient_address: self.address.clone(),
            template_id: self.template_id,
            template_name: self.template_name.clone(),
            subject: self.subject.clone(),
            body: self.body.clone(),
            is_html: self.is_html,
            max_retries: facts.retry.max_attempts as i32,
            await_receipt: None,
            await_seconds: None,
            preferred: self.preferred,
            critical: event.critical,
            send_at: event.send_at.filter(|wished| *wished > facts.now),
            resend_of: None,
            created_at: facts.now,
        }
    }
}
