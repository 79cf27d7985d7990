//! The story of a message: its chain as a rail, what happens next, why these channels, and all that happened.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_kernel::users::Role;
use recado_notifications::channels::{self, Channel};
use recado_notifications::customers;
use recado_notifications::failures::Code;
use recado_notifications::journal::Line;
use recado_notifications::next::{Next, What};
use recado_notifications::notifications::attempts::Attempt;
use recado_notifications::notifications::records::{self, NotificationFilter, Record};
use recado_notifications::notifications::{self, Notification, Status};
use recado_notifications::orchestration::SkipReason;
use recado_notifications::story::Known;
use recado_notifications::timeline::{Timeline, TimelineEntry};
use recado_notifications::why::{self, Reasons, Why};
use recado_queue::context::Context;
use recado_queue::tasks::State as TaskState;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::list::is_known_event;
use crate::Console;
use crate::auth::{Look, May, Visit};
use crate::failure::Failure;
use crate::lists::{Query, Window};
use crate::live::Topic;
use crate::masking;
use crate::page::{Page, html};
use crate::path::Path;
use crate::urls::encoded;

/// More of the same failure are not counted.
const MOST_ALIKE: i64 = 1_000;

/// A chain with all that is known of it, as plain data. Addresses, and what providers said of them, are masked here already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Story {
    pub(crate) chain: Vec<Record>,
    attempts: Vec<Attempt>,
    journal: Vec<Line>,
    pub(crate) next: Option<Next>,
    state: Option<TaskState>,
}

impl Story {
    /// The chains of these tasks, each table asked once.
    pub(crate) async fn load(context: &Context, session: &mut Session, task_ids: &[Id]) -> db::Result<Vec<Self>> {
        let known = Known::of_tasks(context, session, task_ids).await?;
        Ok(known.into_iter().map(Self::of).collect())
    }

    fn of(known: Known) -> Self {
        let Known { messages, attempts, journal, next, state } = known;
        Self { chain: messages.iter().map(Record::from).collect(), attempts, journal, next, state }.masked()
    }

    fn masked(mut self) -> Self {
        for record in &mut self.chain {
            let (channel, address) = (record.channel, std::mem::take(&mut record.recipient_address));
            let hide = |said: &mut Option<String>| {
                *said = said.take().map(|said| masking::text(&channels::without(channel, &address, &said)));
            };
            hide(&mut record.error_reason);
            let own = self.attempts.iter_mut().filter(|attempt| attempt.notification_id == record.id);
            own.for_each(|attempt| {
                hide(&mut attempt.error_reason);
                hide(&mut attempt.provider_answer);
            });
            record.recipient_address =
                channels::mask(channel, &address).filter(|_| !address.is_empty()).unwrap_or_default();
        }
        for line in &mut self.journal {
            hide_texts(&mut line.facts.0);
        }
        self
    }

    fn first(&self) -> &Record {
        &self.chain[0]
    }

    pub(crate) fn task_id(&self) -> Id {
        self.first().task_id
    }

    /// The message that decided how it stands: the furthest, or the last one that failed.
    fn decisive(&self) -> &Record {
        let reached = self.chain.iter().rfind(|record| record.status.is_sent());
        let failed = self.chain.iter().rfind(|record| matches!(record.status, Status::Failed | Status::Bounced));
        reached.or(failed).unwrap_or(self.first())
    }

    fn may_be_cancelled(&self) -> bool {
        let is_open = self.state.is_some_and(|state| !state.is_final());
        is_open && !self.chain.iter().any(|record| record.status.is_sent())
    }

    fn may_be_retried(&self) -> bool {
        self.state.is_some_and(TaskState::can_be_retried)
    }

    /// Moments, told in the language of a page.
    fn told(&self, page: &Page) -> Vec<Entry> {
        let timeline = Timeline {
            chain: &self.chain,
            attempts: &self.attempts,
            journal: &self.journal,
            zone: page.visit.zone,
            language: page.visit.words.language,
            shows_answers: true,
        };
        timeline.tell().into_iter().map(Entry::from).collect()
    }
}

/// What a provider said stands in the journal too, where a channel was given up.
fn hide_texts(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match value {
                    Value::String(text) if name == "reason" && text.contains(' ') => *text = masking::text(text),
                    other => hide_texts(other),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide_texts),
        _ => {}
    }
}

/// A line of a timeline.
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    kind: String,
    pub(crate) text: String,
    /// What the provider answered, word for word.
    pub(crate) answer: Option<String>,
    /// Another message that it speaks of.
    pub(crate) message: Option<Id>,
}

impl Entry {
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self.kind.as_str(), "failed" | "suppressed")
    }

    pub(crate) fn is_good(&self) -> bool {
        matches!(self.kind.as_str(), "delivered" | "read")
    }

    pub(crate) fn is_suppression(&self) -> bool {
        self.kind == "suppressed"
    }
}

impl From<TimelineEntry> for Entry {
    fn from(entry: TimelineEntry) -> Self {
        let text = |name: &str| entry.facts.get(name).and_then(Value::as_str);
        Self {
            at: entry.at,
            answer: text("provider_answer").filter(|answer| !answer.is_empty()).map(str::to_owned),
            message: text("copy").or(text("resend_of")).and_then(|id| id.parse().ok()),
            text: entry.text,
            kind: entry.kind,
        }
    }
}

// --- What it watches ---

/// The part of a story that moves.
pub(crate) const ONE: Topic = Topic { name: "story", sample: sample_one, draw: draw_one };

fn sample_one<'a>(context: &'a Context, task_id: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let Ok(task_id) = task_id.parse() else { return Ok(Value::Null) };
        let mut session = context.db.read().await?;
        let found = Story::load(context, &mut session, &[task_id]).await?;
        Ok(found.first().map_or(Value::Null, |story| json!(story)))
    }
    .boxed()
}

fn draw_one(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(story) = Story::deserialize(value) else { return Vec::new() };
    let drawn = Moving::of(page, &story).render();
    drawn.map(|html| vec![("story".to_owned(), html)]).unwrap_or_default()
}

/// Rail, next step, actions and timeline: `notifications/moving.html`.
#[derive(Template)]
#[template(path = "notifications/moving.html")]
pub(crate) struct Moving<'a> {
    page: &'a Page,
    story: &'a Story,
    stops: Vec<Stop<'a>>,
    next: Option<Step>,
    timeline: Vec<Entry>,
    /// Makes a form that is sent twice do its work once.
    once: Id,
}

impl<'a> Moving<'a> {
    pub(crate) fn of(page: &'a Page, story: &'a Story) -> Self {
        Self {
            page,
            story,
            stops: stops(story),
            next: story.next.as_ref().map(|next| Step::of(next, page)),
            timeline: story.told(page),
            once: Id::new(page.visit.now),
        }
    }
}

/// A channel on the rail.
pub(crate) struct Stop<'a> {
    pub(crate) record: &'a Record,
    /// When it came to stand where it stands.
    pub(crate) since: Option<Timestamp>,
    /// A receipt that it waits for: the message `message-awaits-…`, and until when.
    pub(crate) awaits: Option<(&'static str, Timestamp)>,
}

pub(crate) fn stops(story: &Story) -> Vec<Stop<'_>> {
    let stops = story.chain.iter().map(|record| {
        let awaits = story.next.as_ref().filter(|next| next.channel == Some(record.channel));
        let awaits = awaits.and_then(|next| match next.what {
            What::AwaitsDelivered => Some(("delivered", next.at?)),
            What::AwaitsRead => Some(("read", next.at?)),
            _ => None,
        });
        Stop { record, since: since(record), awaits }
    });
    stops.collect()
}

fn since(record: &Record) -> Option<Timestamp> {
    match record.status {
        Status::Pending | Status::Queued => None,
        Status::Sent => record.sent_at,
        Status::Delivered => record.delivered_at,
        Status::Read => record.read_at,
        Status::Bounced | Status::Failed | Status::Cancelled => Some(record.updated_at),
    }
}

/// The next step, told.
pub(crate) struct Step {
    pub(crate) text: String,
    pub(crate) at: Option<Timestamp>,
    pub(crate) held_until: Option<Timestamp>,
    pub(crate) is_over: bool,
}

impl Step {
    pub(crate) fn of(next: &Next, page: &Page) -> Self {
        Self {
            text: next.sentence(page.visit.words.language),
            at: next.at,
            held_until: next.held_until,
            is_over: next.is_over(),
        }
    }
}

// --- The page ---

/// A row of the table of reasons.
struct Reason {
    why: Why,
    /// Why it was not used, in words.
    told: Option<&'static str>,
    template_path: String,
}

/// The words of a message, for those who may read them.
struct Text {
    id: Id,
    channel: Channel,
    subject: String,
    body: String,
    is_html: bool,
    template: Option<(Id, String, Option<i32>)>,
}

/// Others that failed alike lately.
struct Alike {
    count: i64,
    is_more: bool,
    query: String,
}

#[derive(Template)]
#[template(path = "notifications/show.html")]
struct ShowPage<'a> {
    page: &'a Page,
    id: Id,
    moving: Moving<'a>,
    record: &'a Record,
    is_known_event: bool,
    name: Option<String>,
    customer_path: String,
    person_query: String,
    workshop_path: Option<String>,
    matrix_path: Option<String>,
    reasons: Vec<Reason>,
    texts: Vec<Text>,
    may_read_words: bool,
    code: Option<(&'static str, &'static str)>,
    alike: Option<Alike>,
    revealed: Option<Vec<(Channel, String)>>,
}

/// `/admin/notifications/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    draw(&console, &may.visit, id, None).await
}

/// Whether a person may read what was written to another.
pub(super) fn may_read_words(visit: &Visit) -> bool {
    visit.may(Role::Operator) || visit.may(Role::Editor)
}

pub(super) async fn draw(
    console: &Console,
    visit: &Arc<Visit>,
    id: Id,
    revealed: Option<Vec<(Channel, String)>>,
) -> Result<Response, Failure> {
    let context = &console.context;
    let catalogue = console.catalogue().await?;
    let mut session = context.db.read().await?;
    let messages = notifications::chain_of(&mut session, id).await?;
    let task_id = messages.first().ok_or(Failure::NotFound)?.task_id;
    let story = Story::load(context, &mut session, &[task_id]).await?.pop().ok_or(Failure::NotFound)?;
    // The addresses as they are, which are compared with the customer's.
    let records: Vec<Record> = messages.iter().map(Record::from).collect();
    let reasons = why::of_chain(&mut session, &catalogue, &records, &story.journal).await?;
    let customer = customers::find(&mut session, &story.first().customer_id).await?;
    let record = story.chain.iter().find(|record| record.id == id).ok_or(Failure::NotFound)?;
    // Its own failure, or that of its chain.
    let failed = if record.error_code.is_some() { record } else { story.decisive() };
    let alike = alike(&mut session, failed, visit).await?;
    drop(session);
    let may_read_words = may_read_words(visit);
    let page = Page::new(console, visit, "notifications", "message-title").about(&record.customer_id);
    let page = page.watching(format!("story:{task_id}"));
    let code = failed.error_code.as_deref().and_then(Code::find);
    let language = visit.words.language;
    html(&ShowPage {
        id,
        moving: Moving::of(&page, &story),
        record,
        is_known_event: is_known_event(&record.event_type),
        name: customer.map(|customer| customer.full_name()).filter(|name| !name.is_empty()),
        customer_path: format!("/admin/customers/{}/", encoded(&record.customer_id)),
        person_query: Query::default().with(&[], &[("customer_id", record.customer_id.as_str()), ("window", "all")]),
        workshop_path: record.taller_id.as_deref().map(|taller| format!("/admin/workshops/{}/", encoded(taller))),
        matrix_path: reasons.service.as_deref().map(|service| format!("/admin/matrix/{}/", encoded(service))),
        reasons: told(reasons, language),
        texts: if may_read_words { messages.into_iter().map(text).collect() } else { Vec::new() },
        may_read_words,
        code: code.map(|code| (code.meaning(language), code.remedy(language))),
        alike,
        revealed,
        page: &page,
    })
}

fn told(reasons: Reasons, language: recado_kernel::language::Language) -> Vec<Reason> {
    let row = |why: Why| Reason {
        told: why.reason.map(|reason: SkipReason| reason.explanation(language)),
        template_path: why.template_id.map(|id| format!("/admin/templates/{id}/")).unwrap_or_default(),
        why,
    };
    reasons.channels.into_iter().map(row).collect()
}

fn text(message: Notification) -> Text {
    Text {
        id: message.id,
        channel: message.channel,
        subject: message.subject,
        body: message.body,
        is_html: message.is_html,
        template: message.template_id.map(|id| (id, message.template_name, message.template_version)),
    }
}

/// How many failed alike in the last day, this one not counted.
async fn alike(session: &mut Session, record: &Record, visit: &Visit) -> db::Result<Option<Alike>> {
    let Some(code) = record.error_code.clone().filter(|_| record.status.is_closed()) else { return Ok(None) };
    let filter = NotificationFilter {
        error_code: Some(code.clone()),
        channel: Some(record.channel),
        from: Window::Day.since(visit.now),
        ..NotificationFilter::default()
    };
    let is_counted = filter.from.is_some_and(|from| record.created_at >= from);
    let count = records::count_up_to(session, &filter, MOST_ALIKE).await?;
    let query = Query::default().with(&[], &[("channel", record.channel.as_str()), ("error_code", code.as_str())]);
    Ok(Some(Alike {
        is_more: count > MOST_ALIKE,
        count: (count.min(MOST_ALIKE) - i64::from(is_counted && count <= MOST_ALIKE)).max(0),
        query,
    }))
}
