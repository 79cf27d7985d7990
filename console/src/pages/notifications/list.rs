//! The list of messages.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::ids::Id;
use recado_notifications::channels::{self, Channel};
use recado_notifications::dispatch::EVENT_TYPES;
use recado_notifications::failures::CODES;
use recado_notifications::notifications::Status;
use recado_notifications::notifications::records::{self, NotificationFilter, Record};
use recado_queue::context::Context;
use recado_queue::tasks::MOST_TOLD;
use serde_json::{Value, json};

use super::PATH;
use crate::Console;
use crate::auth::{Look, May};
use crate::failure::Failure;
use crate::lists::{Around, CURSOR, Query, ROWS, Window};
use crate::live::Topic;
use crate::page::{Page, html};

/// What a query of the list asks for. The same words stand in the URL of the page, of its count and of its topic.
struct Wanted {
    asked: Query,
    window: Window,
    filter: NotificationFilter,
}

impl Wanted {
    fn read(query: &str, now: Timestamp) -> Self {
        let asked = Query::read(query);
        let window: Window = asked.get("window").unwrap_or_default();
        let filter = NotificationFilter {
            channel: asked.get("channel"),
            status: asked.get("status"),
            event_type: asked.text("event_type"),
            customer_id: asked.text("customer_id"),
            provider: asked.text("provider"),
            error_code: asked.text("error_code"),
            taller_id: asked.text("taller_id"),
            correlation_id: asked.get("correlation_id"),
            from: window.since(now),
            ..NotificationFilter::default()
        };
        Self { asked, window, filter }
    }

    /// The filters alone, as they stand in URLs.
    fn query(&self) -> String {
        self.asked.with(&CURSOR, &[])
    }
}

/// A message in a list, without its words.
pub(crate) struct Row {
    pub(crate) id: Id,
    pub(crate) channel: Channel,
    pub(crate) status: Status,
    pub(crate) event_type: String,
    /// One of ours, which has a word.
    pub(crate) is_known_event: bool,
    pub(crate) customer_id: String,
    pub(crate) address: Option<String>,
    pub(crate) error_code: Option<String>,
    pub(crate) created_at: Timestamp,
}

impl From<Record> for Row {
    fn from(record: Record) -> Self {
        Self {
            id: record.id,
            channel: record.channel,
            status: record.status,
            is_known_event: is_known_event(&record.event_type),
            event_type: record.event_type,
            customer_id: record.customer_id,
            address: channels::mask(record.channel, &record.recipient_address)
                .filter(|_| !record.recipient_address.is_empty()),
            error_code: record.error_code,
            created_at: record.created_at,
        }
    }
}

/// Whether a type of event is one of ours, which has a word; others are the program's own notices.
pub(crate) fn is_known_event(event_type: &str) -> bool {
    EVENT_TYPES.contains(&event_type)
}

#[derive(Template)]
#[template(path = "notifications/list.html")]
struct ListPage {
    page: Page,
    window: Window,
    windows: [Window; 4],
    channels: [Channel; 3],
    statuses: [Status; 8],
    event_types: [&'static str; 8],
    codes: Vec<&'static str>,
    filter: NotificationFilter,
    channel: &'static str,
    status: &'static str,
    event_type: String,
    customer_id: String,
    provider: String,
    error_code: String,
    taller_id: String,
    query: String,
    rows: Vec<Row>,
    around: Around,
    is_filtered: bool,
}

/// `/admin/notifications/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let visit = &may.visit;
    let wanted = Wanted::read(&visit.query, visit.now);
    let cursor = wanted.asked.cursor();
    let mut session = console.context.db.read().await?;
    let (found, has_more) = records::keyset(&mut session, &wanted.filter, cursor, ROWS).await?;
    drop(session);
    let ends = (found.first().map(|record| record.id), found.last().map(|record| record.id));
    let mut page = Page::new(&console, visit, "notifications", "messages-title");
    if cursor == Cursor::Start {
        let newest = ends.0.unwrap_or_else(|| Id::earliest(visit.now));
        page = page.watching(format!("notifications-new:{newest}&{}", wanted.query()));
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let filter = wanted.filter.clone();
    html(&ListPage {
        page,
        window: wanted.window,
        windows: Window::ALL,
        channels: Channel::ALL,
        statuses: Status::ALL,
        event_types: EVENT_TYPES,
        codes: CODES.iter().map(|code| code.code).collect(),
        channel: filter.channel.map_or("", Channel::as_str),
        status: filter.status.map_or("", Status::as_str),
        event_type: text(&filter.event_type),
        customer_id: text(&filter.customer_id),
        provider: text(&filter.provider),
        error_code: text(&filter.error_code),
        taller_id: text(&filter.taller_id),
        filter,
        query: wanted.query(),
        around: Around::of(&wanted.asked, PATH, ends.0, ends.1, has_more),
        rows: found.into_iter().map(Row::from).collect(),
        is_filtered: !wanted.query().is_empty(),
    })
}

#[derive(Template)]
#[template(path = "notifications/count.html")]
struct CountPart {
    page: Page,
    count: i64,
    is_more: bool,
}

/// How many a filter finds, up to a limit: it comes after the page, so that no page waits for it.
pub(crate) async fn count(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let wanted = Wanted::read(&may.visit.query, may.visit.now);
    let count = records::count_up_to(&mut console.context.db.read().await?, &wanted.filter, MOST_TOLD).await?;
    let page = Page::new(&console, &may.visit, "notifications", "messages-title");
    html(&CountPart { page, count: count.min(MOST_TOLD), is_more: count > MOST_TOLD })
}

/// How many messages are newer than the first of a list: rows do not move by themselves, a button shows them.
pub(crate) const NEW: Topic = Topic { name: "notifications-new", sample: sample_new, draw: draw_new };

fn sample_new<'a>(context: &'a Context, argument: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let (first, query) = argument.split_once('&').unwrap_or((argument, ""));
        let Ok(first) = first.parse() else { return Ok(Value::Null) };
        let filter = Wanted::read(query, context.clock.now()).filter;
        let mut session = context.db.read().await?;
        let (found, has_more) = records::keyset(&mut session, &filter, Cursor::Before(first), ROWS).await?;
        Ok(json!({ "count": found.len(), "is_more": has_more, "query": query }))
    }
    .boxed()
}

#[derive(Template)]
#[template(path = "notifications/new.html")]
struct NewPart<'a> {
    page: &'a Page,
    count: i64,
    is_more: bool,
    query: &'a str,
}

fn draw_new(value: &Value, page: &Page) -> Vec<(String, String)> {
    let count = value["count"].as_i64().unwrap_or_default();
    let (is_more, query) = (value["is_more"] == true, value["query"].as_str().unwrap_or_default());
    let part = NewPart { page, count, is_more, query };
    part.render().map(|html| vec![("new".to_owned(), html)]).unwrap_or_default()
}
