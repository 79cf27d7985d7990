//! Deliveries: what was sent to partners, each with its attempts, and sending one again.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_partners::connections;
use recado_queue::context::Context;
use recado_queue::tasks::MOST_TOLD;
use recado_webhooks::deliveries::attempts::{self, Attempt};
use recado_webhooks::deliveries::{self, Delivery, DeliveryFilter, Status};
use recado_webhooks::endpoints::{self, EndpointFilter};
use recado_webhooks::operations;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::failure::Failure;
use crate::lists::{Around, CURSOR, Query, ROWS, Window};
use crate::live::Topic;
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Page, html};
use crate::pages::endpoints::commit;
use crate::path::Path;

const PATH: &str = "/admin/webhooks/deliveries/";

/// Endpoints that a filter offers; more are searched for on their own page.
const OFFERED: i64 = 200;

/// The longest text that a page shows of a body or an answer, in characters.
const LONGEST: usize = 20_000;

/// How a status is coloured.
pub(crate) fn tone(status: Status) -> &'static str {
    match status {
        Status::Pending => "started",
        Status::Delivered => "success",
        Status::Failed => "dead",
        Status::Cancelled | Status::Skipped => "cancelled",
    }
}

/// A delivery in a list.
pub(crate) struct Row {
    pub(crate) id: Id,
    pub(crate) event_type: String,
    pub(crate) subject: Option<String>,
    pub(crate) endpoint: String,
    pub(crate) endpoint_id: Id,
    pub(crate) status: Status,
    pub(crate) tone: &'static str,
    pub(crate) reason: Option<String>,
    pub(crate) attempts: i64,
    pub(crate) code: Option<i32>,
    pub(crate) is_test: bool,
    pub(crate) is_replay: bool,
    pub(crate) created_at: Timestamp,
}

impl Row {
    fn of(delivery: Delivery, endpoint: String, is_shown: bool) -> Self {
        let masked = |text: String| if is_shown { text } else { masking::text(&text) };
        Self {
            id: delivery.id,
            event_type: delivery.event_type,
            subject: delivery.subject.map(masked),
            endpoint,
            endpoint_id: delivery.endpoint_id,
            status: delivery.status,
            tone: tone(delivery.status),
            reason: delivery.reason.as_deref().map(masking::text),
            attempts: delivery.attempts.into(),
            code: delivery.last_status_code,
            is_test: delivery.is_test,
            is_replay: delivery.replay_of.is_some(),
            created_at: delivery.created_at,
        }
    }

    /// Of one endpoint, whose name stands on the page already.
    pub(crate) fn all(deliveries: Vec<Delivery>, page: &Page) -> Vec<Self> {
        let is_shown = page.may_operate();
        deliveries.into_iter().map(|one| Self::of(one, String::new(), is_shown)).collect()
    }
}

// --- The list ---

struct Wanted {
    asked: Query,
    window: Window,
    filter: DeliveryFilter,
}

impl Wanted {
    /// Reads a query. A partner stands for its endpoint.
    async fn read(session: &mut Session, query: &str, now: Timestamp) -> db::Result<Self> {
        let asked = Query::read(query);
        let window: Window = asked.get("window").unwrap_or_default();
        let mut endpoint_id = asked.get("endpoint");
        if let Some(partner) = asked.get("partner") {
            let connection = connections::of_partner(session, partner).await?;
            endpoint_id = Some(connection.map_or_else(Id::default, |connection| connection.endpoint_id));
        }
        let filter = DeliveryFilter {
            endpoint_id,
            status: asked.get("status"),
            event_type: asked.text("event_type"),
            subject: asked.text("subject"),
            created_from: window.since(now),
            ..DeliveryFilter::default()
        };
        Ok(Self { asked, window, filter })
    }

    fn query(&self) -> String {
        self.asked.with(&CURSOR, &[])
    }
}

#[derive(Template)]
#[template(path = "deliveries/list.html")]
struct ListPage {
    page: Page,
    window: Window,
    windows: [Window; 4],
    status: Option<Status>,
    statuses: [Status; 5],
    event_type: String,
    subject: String,
    /// `None`: all.
    endpoint: Option<Id>,
    endpoints: Vec<(Id, String)>,
    query: String,
    rows: Vec<Row>,
    around: Around,
    is_filtered: bool,
    /// Where what is listed is sent again, when an endpoint is chosen.
    replay: Option<String>,
}

/// `/admin/webhooks/deliveries/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let visit = &may.visit;
    let mut session = console.context.db.read().await?;
    let wanted = Wanted::read(&mut session, &visit.query, visit.now).await?;
    let (found, has_more) = deliveries::page(&mut session, &wanted.filter, wanted.asked.cursor(), ROWS).await?;
    let mut ids: Vec<Id> = found.iter().map(|delivery| delivery.endpoint_id).collect();
    ids.dedup();
    let names: HashMap<Id, String> =
        endpoints::all(&mut session, &ids).await?.into_iter().map(|endpoint| (endpoint.id, endpoint.name)).collect();
    let (offered, _) = endpoints::list(&mut session, &EndpointFilter::default(), OFFERED, 0).await?;
    drop(session);
    let page = Page::new(&console, visit, "deliveries", "deliveries-title");
    let ends = (found.first().map(|one| one.id), found.last().map(|one| one.id));
    let is_shown = page.may_operate();
    let row = |delivery: Delivery| {
        let name = names.get(&delivery.endpoint_id).cloned().unwrap_or_default();
        Row::of(delivery, name, is_shown)
    };
    let replay = wanted.filter.endpoint_id.filter(|id| *id != Id::default()).map(|id| {
        let since = wanted.filter.created_from.map(|at| at.as_micros().to_string()).unwrap_or_default();
        let kept = wanted
            .asked
            .with(&[CURSOR[0], CURSOR[1], "endpoint", "partner", "window", "subject"], &[("since_us", &since)]);
        format!("/admin/webhooks/endpoints/{id}/replay/?{kept}")
    });
    html(&ListPage {
        window: wanted.window,
        windows: Window::ALL,
        status: wanted.filter.status,
        statuses: Status::ALL,
        event_type: wanted.filter.event_type.clone().unwrap_or_default(),
        subject: wanted.filter.subject.clone().unwrap_or_default(),
        endpoint: wanted.filter.endpoint_id,
        endpoints: offered.into_iter().map(|endpoint| (endpoint.id, endpoint.name)).collect(),
        query: wanted.query(),
        around: Around::of(&wanted.asked, PATH, ends.0, ends.1, has_more),
        rows: found.into_iter().map(row).collect(),
        is_filtered: !wanted.query().is_empty(),
        replay: replay.filter(|_| page.may_operate()),
        page,
    })
}

#[derive(Template)]
#[template(path = "deliveries/count.html")]
struct CountPart {
    page: Page,
    count: i64,
    is_more: bool,
}

/// How many a filter finds, up to a limit.
pub(crate) async fn count(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let mut session = console.context.db.read().await?;
    let wanted = Wanted::read(&mut session, &may.visit.query, may.visit.now).await?;
    let count = deliveries::count_up_to(&mut session, &wanted.filter, MOST_TOLD).await?;
    let page = Page::new(&console, &may.visit, "deliveries", "deliveries-title");
    html(&CountPart { page, count: count.min(MOST_TOLD), is_more: count > MOST_TOLD })
}

// --- One ---

/// What is known of a delivery on its way, as plain data.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Facts {
    id: Id,
    status: Status,
    reason: Option<String>,
    attempts: i64,
    code: Option<i32>,
    next_us: Option<i64>,
    finished_us: Option<i64>,
    has_body: bool,
    tries: Vec<Try>,
}

/// One attempt.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Try {
    number: i64,
    started_us: i64,
    took_ms: f64,
    code: Option<i32>,
    error: Option<String>,
    /// Names and values, as sent; secret ones are masked where they are kept.
    headers: Vec<(String, String)>,
    response: Option<String>,
}

impl Facts {
    fn of(delivery: &Delivery, attempts: Vec<Attempt>) -> Self {
        Self {
            id: delivery.id,
            status: delivery.status,
            reason: delivery.reason.as_deref().map(masking::text),
            attempts: delivery.attempts.into(),
            code: delivery.last_status_code,
            next_us: delivery.next_attempt_at.filter(|_| delivery.status == Status::Pending).map(Timestamp::as_micros),
            finished_us: delivery.finished_at.map(Timestamp::as_micros),
            has_body: delivery.body.is_some(),
            tries: attempts.into_iter().rev().map(Try::from).collect(),
        }
    }

    fn tone(&self) -> &'static str {
        tone(self.status)
    }

    fn next_at(&self) -> Option<Timestamp> {
        self.next_us.map(Timestamp::from_micros)
    }

    fn finished_at(&self) -> Option<Timestamp> {
        self.finished_us.map(Timestamp::from_micros)
    }
}

impl From<Attempt> for Try {
    fn from(attempt: Attempt) -> Self {
        let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let headers = attempt
            .request_headers
            .0
            .as_object()
            .map(|headers| headers.iter().map(|(name, one)| (name.clone(), value(one))).collect::<Vec<_>>());
        Self {
            number: attempt.number.into(),
            started_us: attempt.started_at.as_micros(),
            took_ms: f64::from(attempt.duration_ms),
            code: attempt.status_code,
            error: attempt.error.as_deref().map(masking::text),
            headers: headers.unwrap_or_default(),
            response: attempt.response.map(|response| masking::text(&response)),
        }
    }
}

impl Try {
    fn started_at(&self) -> Timestamp {
        Timestamp::from_micros(self.started_us)
    }
}

/// One delivery.
pub(crate) const ONE: Topic = Topic { name: "delivery", sample, draw };

fn sample<'a>(context: &'a Context, id: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let Ok(id) = id.parse() else { return Ok(Value::Null) };
        let mut session = context.db.read().await?;
        let Some(delivery) = deliveries::find(&mut session, id).await? else { return Ok(Value::Null) };
        let attempts = attempts::of(&mut session, id).await?;
        Ok(json!(Facts::of(&delivery, attempts)))
    }
    .boxed()
}

#[derive(Template)]
#[template(path = "deliveries/facts.html")]
struct FactsPart<'a> {
    page: &'a Page,
    facts: Facts,
}

fn draw(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(facts) = Facts::deserialize(value) else { return Vec::new() };
    FactsPart { page, facts }.render().map(|html| vec![("facts".to_owned(), html)]).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "deliveries/show.html")]
struct ShowPage {
    page: Page,
    facts: Facts,
    event_type: String,
    subject: Option<String>,
    message_id: Id,
    endpoint_id: Id,
    endpoint: Option<String>,
    created_at: Timestamp,
    replay_of: Option<Id>,
    is_test: bool,
    body: Option<String>,
    body_bytes: i64,
}

/// `/admin/webhooks/deliveries/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.read().await?;
    let delivery = deliveries::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let attempts = attempts::of(&mut session, id).await?;
    let endpoint = endpoints::find(&mut session, delivery.endpoint_id).await?;
    drop(session);
    let page = Page::new(&console, &may.visit, "deliveries", "delivery-title");
    let page = page.about(&delivery.event_type).watching(format!("delivery:{id}"));
    let is_shown = page.may_operate();
    html(&ShowPage {
        facts: Facts::of(&delivery, attempts),
        subject: delivery.subject.map(|text| if is_shown { text } else { masking::text(&text) }),
        message_id: delivery.message_id,
        endpoint_id: delivery.endpoint_id,
        endpoint: endpoint.map(|endpoint| endpoint.name),
        created_at: delivery.created_at,
        replay_of: delivery.replay_of,
        is_test: delivery.is_test,
        body_bytes: delivery.body.as_ref().map_or(0, |body| body.len() as i64),
        body: delivery.body.map(|body| body_shown(&body, is_shown)),
        event_type: delivery.event_type,
        page,
    })
}

/// A body: to the letter, or with its words hidden.
pub(crate) fn body_shown(body: &str, is_shown: bool) -> String {
    let text = match serde_json::from_str::<Value>(body) {
        Ok(value) if !is_shown => serde_json::to_string_pretty(&masking::payload(&value)).unwrap_or_default(),
        Err(_) if !is_shown => "•••".to_owned(),
        _ => body.to_owned(),
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

/// Sends a delivery again.
pub(crate) async fn replay(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let delivery = deliveries::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let endpoint = endpoints::find(&mut session, delivery.endpoint_id).await?;
    let is_stopped = endpoint.is_none_or(|endpoint| endpoint.status == endpoints::Status::Disabled);
    let there = format!("{PATH}{id}/");
    if is_stopped {
        return Ok(then(&there, &Notice::new("endpoint-stopped", 0)));
    }
    if delivery.body.is_none() {
        return Ok(then(&there, &Notice::new("body-gone", 0)));
    }
    let (again, rings) = operations::replay_one(&mut session, &delivery, &may.visit.actor(), may.visit.now).await?;
    commit(&console, session, &rings).await?;
    Ok(then(&format!("{PATH}{}/", again.id), &Notice::new("replayed", 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_to_those_who_act_and_hidden_from_those_who_look() {
        let body = r#"{"data":{"name":"Ana","id":"RES-1"},"n":1.50}"#;
        assert_eq!(body_shown(body, true), body);
        let hidden = body_shown(body, false);
        assert!(!hidden.contains("Ana") && hidden.contains("RES-1"), "{hidden}");
        assert_eq!(body_shown("no JSON of Ana", false), "•••");
        assert_eq!(body_shown(&"x".repeat(100_000), true).chars().count(), LONGEST + 1);
    }
}
