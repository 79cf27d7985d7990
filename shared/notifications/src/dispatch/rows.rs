//! What is written for an event.

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_queue::tasks::NewTask;

use super::event::{DEFERRED_BY, Event};
use super::facts::{Decision, Facts};
use super::plan::{Plan, Words};
use super::receipt::{Receipt, Skipped, planned};
use super::rejection::Rejection;
use super::send_time::SendTime;
use super::{Request, UnknownCustomer};
use crate::channels::Channel;
use crate::jobs::{DispatchEvent, SendNotification};
use crate::journal::{Entry, Fact};
use crate::notifications::reserve::InReserve;
use crate::notifications::{NewNotification, Status};
use crate::orchestration::SkippedChannel;

/// The rows that a batch of events becomes.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) tasks: Vec<NewTask>,
    pub(super) chains: Vec<NewNotification>,
    pub(super) journal: Vec<Entry>,
}

impl Rows {
    /// Decides about a request, and takes up the rows that it becomes.
    pub(super) fn add(&mut self, facts: &Facts, request: &Request) -> Result<Receipt, Rejection> {
        let correlation_id = request.event.correlation_id;
        let decision = facts.decide(request)?;
        let correlation_id = correlation_id.unwrap_or_else(|| Id::new(facts.now));
        match decision {
            None => self.wait_for_customer(facts.now, request, correlation_id),
            Some(Decision { plan, .. }) if plan.messages.is_empty() => {
                self.journal.extend(skips(facts.now, &request.event, correlation_id, &plan));
                Ok(receipt(correlation_id, Vec::new(), &plan.skipped, None))
            }
            Some(Decision { plan, send_time, .. }) => Ok(self.chains(facts, request, correlation_id, plan, send_time)),
        }
    }

    fn chains(
        &mut self,
        facts: &Facts,
        request: &Request,
        correlation_id: Id,
        plan: Plan,
        send_time: SendTime,
    ) -> Receipt {
        let event = &request.event;
        let (skipped, decided) = (plan.skipped.clone(), plan.decided);
        let mut messages = Vec::new();
        for (number, chain) in plan.into_chains().into_iter().enumerate() {
            let task_id = Id::new(facts.now);
            let job = SendNotification { channel: chain[0].channel };
            let mut task = NewTask::at(task_id, &job, send_time.at, facts.now).correlated(correlation_id);
            if let Some(key) = &request.unique_key {
                task = task.unique(format!("{key}:{number}"));
            }
            self.tasks.push(task);
            let mut first = first_of(facts, event, correlation_id, task_id, chain);
            first.decided = decided;
            if number == 0 {
                first.skipped.clone_from(&skipped);
            }
            messages.extend(planned(&first));
            self.chains.push(first);
        }
        if let (Some(reason), Some(first)) = (send_time.reason, messages.first()) {
            let fact = Fact::Deferred { reason, until: send_time.at };
            self.journal.push(entry(facts.now, event, correlation_id, Some(first.task_id), None, fact));
        }
        receipt(correlation_id, messages, &skipped, Some(send_time))
    }

    /// The customer is refused, or the event waits for the sync that is perhaps under way (d14).
    fn wait_for_customer(
        &mut self,
        now: Timestamp,
        request: &Request,
        correlation_id: Id,
    ) -> Result<Receipt, Rejection> {
        if request.unknown_customer != UnknownCustomer::Defer {
            return Err(Rejection::no_such_customer(&request.event.customer_id));
        }
        let task_id = Id::new(now);
        let job = DispatchEvent(Event { correlation_id: Some(correlation_id), ..request.event.clone() });
        self.tasks.push(NewTask::at(task_id, &job, now + DEFERRED_BY[0], now).correlated(correlation_id));
        Ok(Receipt { task_id: Some(task_id), ..receipt(correlation_id, Vec::new(), &[], None) })
    }
}

fn receipt(
    correlation_id: Id,
    messages: Vec<super::Planned>,
    skipped: &[SkippedChannel],
    send_time: Option<SendTime>,
) -> Receipt {
    Receipt {
        success: true,
        correlation_id,
        notifications_queued: messages.iter().filter(|message| message.status == Status::Queued).count(),
        errors: Vec::new(),
        task_id: messages.first().map(|message| message.task_id),
        send_at: send_time.and_then(|send_time| send_time.later()),
        deferred: send_time.and_then(|send_time| send_time.reason),
        notifications: messages,
        skipped: skipped.iter().map(Skipped::from).collect(),
    }
}

/// The chain's own row, with the messages behind the first in reserve.
fn first_of(facts: &Facts, event: &Event, correlation_id: Id, task_id: Id, chain: Vec<Words>) -> NewNotification {
    let id = Id::new(facts.now).at_place(0);
    let last = chain.len() - 1;
    let mut messages = chain.into_iter();
    let first = messages.next().expect("a chain has a first message");
    let reserve = (1..).zip(messages).map(|(place, words)| in_reserve(id, place, usize::from(place) == last, words));
    NewNotification {
        id,
        correlation_id,
        task_id,
        event_type: event.event_type.clone(),
        customer_id: event.customer_id.clone(),
        taller_id: event.taller_id.clone(),
        target: event.target,
        channel: first.channel,
        fallback_order: 0,
        status: Status::Queued,
        recipient_address: first.address,
        template_id: first.template_id,
        template_version: first.template_version,
        template_name: first.template_name,
        subject: first.subject,
        body: first.body,
        is_html: first.is_html,
        max_retries: facts.retry.max_attempts as i32,
        // Only what has a channel behind it waits for a receipt.
        awaits: first.awaits.filter(|_| last > 0),
        preferred: first.preferred,
        critical: event.critical,
        send_at: event.send_at.filter(|wished| *wished > facts.now),
        resend_of: None,
        reserve: reserve.collect(),
        skipped: Vec::new(),
        decided: None,
        created_at: facts.now,
    }
}

fn in_reserve(first: Id, place: u8, is_last: bool, words: Words) -> InReserve {
    InReserve {
        id: first.at_place(place),
        place: place.into(),
        channel: words.channel,
        recipient_address: words.address,
        template_id: words.template_id,
        template_version: words.template_version,
        template_name: words.template_name,
        subject: words.subject,
        body: words.body,
        is_html: words.is_html,
        awaits: words.awaits.filter(|_| !is_last),
        preferred: words.preferred,
    }
}

/// Why an event reaches no one. Where there is a chain, its row tells which channels it does not use.
fn skips(now: Timestamp, event: &Event, correlation_id: Id, plan: &Plan) -> impl Iterator<Item = Entry> {
    plan.skipped.iter().map(move |SkippedChannel { channel, reason }| {
        entry(now, event, correlation_id, None, Some(*channel), Fact::Skipped { reason: *reason })
    })
}

fn entry(
    now: Timestamp,
    event: &Event,
    correlation_id: Id,
    task_id: Option<Id>,
    channel: Option<Channel>,
    fact: Fact,
) -> Entry {
    Entry {
        id: Id::new(now),
        at: now,
        correlation_id,
        customer_id: event.customer_id.clone(),
        task_id,
        notification_id: None,
        channel,
        fact,
    }
}
