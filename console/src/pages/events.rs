//! The story of an event: everyone it reached, on every channel, and what was decided where it reached no one.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_notifications::journal::{self, Line};
use recado_notifications::notifications::records;
use recado_notifications::timeline;
use recado_queue::context::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::notifications::story::{Step, Stop, Story, stops};
use crate::Console;
use crate::auth::{Look, May};
use crate::failure::Failure;
use crate::live::Topic;
use crate::page::{Page, html};
use crate::path::Path;

/// A caller may give many events the same id; more of them are not shown.
const MOST_MESSAGES: i64 = 200;
const MOST_LINES: i64 = 200;

/// All that is known of an event, as plain data with masked addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Event {
    stories: Vec<Story>,
    /// What was decided where no message was made.
    unsent: Vec<Line>,
    is_cut: bool,
}

impl Event {
    async fn load(context: &Context, correlation_id: Id) -> db::Result<Option<Self>> {
        let mut session = context.db.read().await?;
        let found = records::of_correlation(&mut session, correlation_id, MOST_MESSAGES).await?;
        let lines = journal::of_correlation(&mut session, correlation_id, MOST_LINES).await?;
        if found.is_empty() && lines.is_empty() {
            return Ok(None);
        }
        let is_cut = found.len() >= MOST_MESSAGES as usize;
        let mut tasks: Vec<Id> = found.into_iter().map(|record| record.task_id).collect();
        tasks.dedup();
        let stories = Story::load(context, &mut session, &tasks).await?;
        let unsent = lines.into_iter().filter(|line| line.task_id.is_none()).collect();
        Ok(Some(Self { stories, unsent, is_cut }))
    }
}

/// What moves on the page of an event.
pub(crate) const ONE: Topic = Topic { name: "event", sample, draw };

fn sample<'a>(context: &'a Context, correlation_id: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let Ok(correlation_id) = correlation_id.parse() else { return Ok(Value::Null) };
        Ok(Event::load(context, correlation_id).await?.map_or(Value::Null, |event| json!(event)))
    }
    .boxed()
}

fn draw(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(event) = Event::deserialize(value) else { return Vec::new() };
    let drawn = ChainsPart::of(page, &event).render();
    drawn.map(|html| vec![("chains".to_owned(), html)]).unwrap_or_default()
}

/// One chain of the event.
struct Chain<'a> {
    story: &'a Story,
    stops: Vec<Stop<'a>>,
    next: Option<Step>,
}

#[derive(Template)]
#[template(path = "events/chains.html")]
struct ChainsPart<'a> {
    page: &'a Page,
    chains: Vec<Chain<'a>>,
    /// When, and what.
    unsent: Vec<(Timestamp, String)>,
    is_cut: bool,
}

impl<'a> ChainsPart<'a> {
    fn of(page: &'a Page, event: &'a Event) -> Self {
        let chain = |story: &'a Story| Chain {
            story,
            stops: stops(story),
            next: story.next.as_ref().map(|next| Step::of(next, page)),
        };
        let (zone, language) = (page.visit.zone, page.visit.words.language);
        Self {
            page,
            chains: event.stories.iter().map(chain).collect(),
            unsent: event.unsent.iter().map(|line| (line.at, timeline::text(line, zone, language))).collect(),
            is_cut: event.is_cut,
        }
    }
}

#[derive(Template)]
#[template(path = "events/show.html")]
struct ShowPage<'a> {
    page: &'a Page,
    correlation_id: Id,
    part: ChainsPart<'a>,
}

/// `/admin/events/{correlation_id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(correlation_id): Path<Id>,
) -> Result<Response, Failure> {
    let event = Event::load(&console.context, correlation_id).await?.ok_or(Failure::NotFound)?;
    let page = Page::new(&console, &may.visit, "notifications", "message-event-title").about(correlation_id);
    let page = page.watching(format!("event:{correlation_id}"));
    html(&ShowPage { page: &page, correlation_id, part: ChainsPart::of(&page, &event) })
}
