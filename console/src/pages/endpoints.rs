//! Endpoints: where webhooks go, how they are taken there, and sending many again.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::addresses::normalise_email;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::outbound::check_url;
use recado_partners::payload::payload;
use recado_partners::standing::Policy;
use recado_partners::{connections, registration, system};
use recado_queue::context::Context;
use recado_queue::ring::Ring;
use recado_webhooks::answers;
use recado_webhooks::deliveries::{self, Delivery, Status as DeliveryStatus};
use recado_webhooks::endpoints::{self, Change, DisabledReason, Endpoint, EndpointFilter, Status};
use recado_webhooks::operations;
use recado_webhooks::replays::{self, Conditions, Replay};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Console;
use crate::auth::{Administer, Look, May, Operate};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::Query;
use crate::live::Topic;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;

const PATH: &str = "/admin/webhooks/endpoints/";

/// There are hundreds of endpoints, and not thousands: a list that is longer is searched.
const ROWS: i64 = 200;

/// Replays on the page of an endpoint.
const REPLAYS: i64 = 10;

/// More than so many are sent again only when their number was typed.
const TYPED_FROM: i64 = 20;

/// The most types of events that an endpoint subscribes, and the longest, in characters.
const MOST_EVENTS: usize = 100;
const LONGEST_EVENT: usize = 100;

/// The type of an event that is a test.
pub(crate) const TEST_EVENT: &str = "webhook.test";

fn tone(status: Status) -> &'static str {
    match status {
        Status::Active => "success",
        Status::Paused => "warning",
        Status::Disabled => "dead",
    }
}

// --- The list ---

#[derive(Template)]
#[template(path = "endpoints/list.html")]
struct ListPage {
    page: Page,
    search: String,
    status: Option<Status>,
    statuses: [Status; 3],
    rows: Vec<Row>,
    has_more: bool,
    is_filtered: bool,
}

struct Row {
    id: Id,
    name: String,
    site: String,
    status: Status,
    tone: &'static str,
    reason: Option<DisabledReason>,
    is_open: bool,
    failures: i64,
    last_success_at: Option<Timestamp>,
}

/// `/admin/webhooks/endpoints/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let filter = EndpointFilter { system: None, status: asked.get("status"), search: asked.text("search") };
    let (found, count) = endpoints::list(&mut console.context.db.read().await?, &filter, ROWS, 0).await?;
    let now = may.visit.now;
    let row = |endpoint: Endpoint| Row {
        id: endpoint.id,
        site: operations::site(&endpoint.url),
        name: endpoint.name,
        status: endpoint.status,
        tone: tone(endpoint.status),
        reason: endpoint.disabled_reason,
        is_open: endpoint.health.open_until.is_some_and(|until| now < until),
        failures: endpoint.health.consecutive_failures.into(),
        last_success_at: endpoint.health.last_success_at,
    };
    html(&ListPage {
        page: Page::new(&console, &may.visit, "endpoints", "endpoints-title"),
        is_filtered: filter.status.is_some() || filter.search.is_some(),
        search: filter.search.unwrap_or_default(),
        status: filter.status,
        statuses: Status::ALL,
        rows: found.into_iter().map(row).collect(),
        has_more: count > ROWS,
    })
}

// --- One ---

/// How an endpoint stands and how it took its webhooks, as plain data.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Facts {
    pub(crate) id: Id,
    pub(crate) site: String,
    pub(crate) status: Status,
    pub(crate) reason: Option<DisabledReason>,
    pub(crate) since_us: i64,
    pub(crate) sent: i64,
    pub(crate) failed: i64,
    pub(crate) p95_ms: Option<f64>,
    pub(crate) failed_percent: Option<i64>,
    pub(crate) attempts: i64,
    pub(crate) last_success_us: Option<i64>,
    pub(crate) failures: i64,
    pub(crate) failing_since_us: Option<i64>,
    pub(crate) open_until_us: Option<i64>,
    pub(crate) replays: Vec<Progress>,
}

/// How far a replay is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Progress {
    id: Id,
    replayed: i64,
    /// Of how many; counted while it runs.
    total: Option<i64>,
    created_us: i64,
    finished_us: Option<i64>,
}

impl Facts {
    pub(crate) async fn of(session: &mut Session, endpoint: &Endpoint, now: Timestamp) -> db::Result<Self> {
        let lately = answers::lately(session, endpoint.id).await?;
        let mut replays = Vec::new();
        for replay in replays::of_endpoint(session, endpoint.id, REPLAYS).await? {
            replays.push(Progress::of(session, replay).await?);
        }
        let health = &endpoint.health;
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
        Ok(Self {
            id: endpoint.id,
            site: operations::site(&endpoint.url),
            status: endpoint.status,
            reason: endpoint.disabled_reason,
            since_us: endpoint.status_changed_at.as_micros(),
            sent: health.sent_count,
            failed: health.failed_count,
            p95_ms: lately.p95_ms.map(f64::from),
            failed_percent: lately.failed_percent(),
            attempts: lately.attempts,
            last_success_us: micros(health.last_success_at),
            failures: health.consecutive_failures.into(),
            failing_since_us: micros(health.failing_since),
            open_until_us: micros(health.open_until.filter(|until| now < *until)),
            replays,
        })
    }

    fn tone(&self) -> &'static str {
        tone(self.status)
    }

    /// A moment of it.
    pub(crate) fn at(&self, us: &i64) -> Timestamp {
        Timestamp::from_micros(*us)
    }

    /// It was given up, and can be enabled here.
    fn was_given_up(&self) -> bool {
        matches!(self.reason, Some(DisabledReason::Gone | DisabledReason::Failing))
    }
}

impl Progress {
    async fn of(session: &mut Session, replay: Replay) -> db::Result<Self> {
        let total = match replay.finished_at {
            Some(_) => None,
            None => Some(replays::count(session, replay.endpoint_id, &replay.conditions.0, replay.created_at).await?),
        };
        Ok(Self {
            id: replay.id,
            replayed: replay.replayed.into(),
            total,
            created_us: replay.created_at.as_micros(),
            finished_us: replay.finished_at.map(Timestamp::as_micros),
        })
    }

    fn percent(&self) -> i64 {
        match self.total {
            Some(total) if total > 0 => (100 * self.replayed / total).clamp(0, 100),
            _ => 100,
        }
    }
}

/// One endpoint.
pub(crate) const ONE: Topic = Topic { name: "endpoint", sample, draw };

fn sample<'a>(context: &'a Context, id: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let Ok(id) = id.parse() else { return Ok(Value::Null) };
        let mut session = context.db.read().await?;
        let Some(endpoint) = endpoints::find(&mut session, id).await? else { return Ok(Value::Null) };
        Ok(json!(Facts::of(&mut session, &endpoint, context.clock.now()).await?))
    }
    .boxed()
}

#[derive(Template)]
#[template(path = "endpoints/facts.html")]
struct FactsPart<'a> {
    page: &'a Page,
    facts: Facts,
}

fn draw(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(facts) = Facts::deserialize(value) else { return Vec::new() };
    FactsPart { page, facts }.render().map(|html| vec![("facts".to_owned(), html)]).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "endpoints/show.html")]
struct ShowPage {
    page: Page,
    facts: Facts,
    name: String,
    /// Whose it is.
    partner: Option<(Id, String)>,
    events: Vec<String>,
    canonical: String,
    has_headers: bool,
    headers: Vec<String>,
    /// Its URL is fixed by the environment.
    is_environments: bool,
    disabled_at: Option<Timestamp>,
    test_event: &'static str,
    form: Form,
}

/// `/admin/webhooks/endpoints/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    html(&load(&console, &may, id).await?)
}

async fn load<P>(console: &Console, may: &May<P>, id: Id) -> Result<ShowPage, Failure> {
    let mut session = console.context.db.read().await?;
    let endpoint = endpoints::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let connection = connections::of_endpoint(&mut session, id).await?;
    let facts = Facts::of(&mut session, &endpoint, may.visit.now).await?;
    drop(session);
    let page = Page::new(console, &may.visit, "endpoints", "endpoint-title").about(&endpoint.name);
    Ok(ShowPage {
        page: page.watching(format!("endpoint:{id}")),
        facts,
        form: form_of(&endpoint),
        partner: connection.map(|connection| (connection.partner.id, connection.partner.name)),
        canonical: endpoint.canonical.to_string(),
        has_headers: endpoint.has_headers(),
        headers: endpoint.signature_headers.0.clone(),
        is_environments: endpoint.system != system::NAME,
        disabled_at: endpoint.disabled_at,
        test_event: TEST_EVENT,
        events: endpoint.events.map(|events| events.0).unwrap_or_default(),
        name: endpoint.name,
    })
}

fn form_of(endpoint: &Endpoint) -> Form {
    let events = endpoint.events.as_ref().map(|events| events.0.join("\n"));
    Form::of([
        ("name", endpoint.name.clone()),
        ("url", endpoint.url.clone()),
        ("events", events.unwrap_or_default()),
        ("timeout_seconds", endpoint.timeout_seconds.to_string()),
        ("concurrency", endpoint.concurrency.to_string()),
        ("rate_per_minute", endpoint.rate_per_minute.map(|rate| rate.to_string()).unwrap_or_default()),
        ("owner_email", endpoint.owner_email.clone().unwrap_or_default()),
    ])
    .read_at(endpoint.updated_at.as_micros())
}

/// What the form says; what is wrong stands in it then.
fn change_of(console: &Console, form: &mut Form, page: &Page, before: &Endpoint) -> Change {
    let mut number = |name: &str, most: i32| -> Option<i32> {
        let wrong = || page.t2("endpoint-wrong-number", "least", 1_i64, "most", i64::from(most));
        let found: Option<i32> = form.parsed(name, wrong);
        if found.is_some_and(|number| !(1..=most).contains(&number)) {
            form.add_error(name, wrong());
        }
        found
    };
    let timeout = number("timeout_seconds", 60).unwrap_or(before.timeout_seconds);
    let concurrency = number("concurrency", 100).unwrap_or(before.concurrency);
    let rate_per_minute = number("rate_per_minute", 60_000);
    let (name, url) = (form.text("name"), form.text("url"));
    if name.is_empty() || name.chars().count() > 255 {
        form.add_error("name", page.t("endpoint-wrong-name"));
    }
    let is_environments = before.system != system::NAME;
    if url != before.url && is_environments {
        form.add_error("url", page.t("endpoint-of-environment"));
    } else if url != before.url {
        check_endpoint_url(console, form, page, "url", &url);
    }
    let listed = read_events(form, page);
    let events = if listed.is_empty() && before.events.is_none() { None } else { Some(listed) };
    let owner_email = match form.optional("owner_email").as_deref().map(normalise_email).transpose() {
        Ok(email) => email,
        Err(error) => {
            form.add_error("owner_email", Sentence::from(error).told(page.speaks()));
            None
        }
    };
    Change {
        name,
        url,
        events,
        canonical: before.canonical,
        profile: before.profile(),
        timeout: Duration::from_secs(timeout.unsigned_abs().into()),
        retry_schedule: before.retry_schedule.as_ref().map(|schedule| schedule.0.clone()),
        concurrency,
        rate_per_minute,
        owner_email,
    }
}

/// Changes an endpoint. What is on its way goes to the new URL; at another URL its circuit closes.
pub(crate) async fn save(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let (actor, now) = (may.visit.actor(), may.visit.now);
    let mut session = console.context.db.begin().await?;
    let endpoint = endpoints::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let before = form_of(&endpoint);
    let page = Page::new(&console, &may.visit, "endpoints", "endpoint-title");
    let change = change_of(&console, &mut form, &page, &endpoint);
    form.find_conflicts(endpoint.updated_at.as_micros(), &before);
    if form.is_wrong() {
        drop(session);
        return refused(&ShowPage { form, ..load(&console, &may, id).await? });
    }
    operations::change(&mut session, &endpoint, &change, &actor, now).await?;
    if connections::of_endpoint(&mut session, id).await?.is_some() {
        let events = change.events.as_deref().unwrap_or_default();
        registration::show_change(&mut session, id, &change.url, events).await?;
    }
    let moved = change.url != endpoint.url && endpoint.status == Status::Active;
    let rings = if moved { deliveries::resume(&mut session, id, now).await? } else { Vec::new() };
    commit(&console, session, &rings).await?;
    let there = format!("{PATH}{id}/");
    Ok(then(&there, &before.undo(Notice::new("saved", 1), &there)))
}

/// Lets its webhooks wait.
pub(crate) async fn pause(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let endpoint = endpoints::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let there = format!("{PATH}{id}/");
    if endpoint.status != Status::Active {
        return Ok(then(&there, &Notice::new("nothing-to-do", 0)));
    }
    operations::pause(&mut session, &endpoint, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    Ok(then(&there, &Notice::new("endpoint-paused", 1).undone_by(format!("{there}resume/"))))
}

/// Lets its webhooks go out again; one that was given up begins again, and what it missed can be sent again.
pub(crate) async fn resume(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let endpoint = endpoints::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let there = format!("{PATH}{id}/");
    if endpoint.status == Status::Active {
        return Ok(then(&there, &Notice::new("nothing-to-do", 0)));
    }
    let connection = connections::of_endpoint(&mut session, id).await?;
    let is_owner_active = connection.is_none_or(|one| one.standing(policy(&console)).is_active());
    if endpoint.disabled_reason == Some(DisabledReason::Owner) || !is_owner_active {
        return Ok(then(&there, &Notice::new("owner-inactive", 0)));
    }
    let rings = operations::resume(&mut session, &endpoint, &may.visit.actor(), may.visit.now).await?;
    commit(&console, session, &rings).await?;
    Ok(then(
        &there,
        &match endpoint.status {
            Status::Disabled => Notice::new("endpoint-enabled", 1),
            _ => Notice::new("endpoint-resumed", 1).undone_by(format!("{there}pause/")),
        },
    ))
}

/// Sends a test event of a type.
pub(crate) async fn test(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let endpoint = endpoints::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let there = format!("{PATH}{id}/");
    if endpoint.status == Status::Disabled {
        return Ok(then(&there, &Notice::new("endpoint-stopped", 0)));
    }
    let wanted = form.text("event_type");
    let is_listed = endpoint.events.as_ref().is_some_and(|events| events.0.contains(&wanted));
    let event_type = if is_listed { wanted.as_str() } else { TEST_EVENT };
    let test = test_of(&endpoint, event_type, may.visit.now).ok_or(Failure::Malformed)?;
    let rings = operations::test(&mut session, &test, &may.visit.actor(), may.visit.now).await?;
    commit(&console, session, &rings).await?;
    Ok(then(&format!("/admin/webhooks/deliveries/{}/", test.id), &Notice::new("test-sent", 1)))
}

// --- Many again ---

#[derive(Template)]
#[template(path = "endpoints/replay.html")]
struct ReplayPage {
    page: Page,
    id: Id,
    name: String,
    form: Form,
    statuses: Vec<(String, String)>,
    disabled_at: Option<Timestamp>,
    is_stopped: bool,
    total: i64,
    asks_for_number: bool,
    /// The conditions that were counted, to be sent back as they are.
    frozen: String,
    since: Option<Timestamp>,
}

/// Which deliveries a form asks for. What is made from now on is never among them.
fn conditions_of(form: &Form, endpoint: &Endpoint, now: Timestamp) -> Conditions {
    let missed = form.is_ticked("since_disabled");
    let since = form.text("since_us").parse().ok().map(Timestamp::from_micros);
    let hours = form.text("hours").parse::<u64>().ok().filter(|hours| (1..=24 * 365).contains(hours));
    let since = hours.map(|hours| now - Duration::from_secs(hours * 60 * 60)).or(since);
    Conditions {
        status: form.text("status").parse().ok().or(missed.then_some(DeliveryStatus::Cancelled)),
        event_type: form.optional("event_type"),
        created_from: since.filter(|_| !missed),
        created_until: Some(now),
        finished_from: endpoint.disabled_at.filter(|_| missed),
    }
}

/// `/admin/webhooks/endpoints/{id}/replay/`: how many would be sent again, before any is.
pub(crate) async fn confirm_replay(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    // A condition that is none would leave all of them.
    let status = form.text("status");
    if !status.is_empty() && status.parse::<DeliveryStatus>().is_err() {
        return Err(Failure::Malformed);
    }
    let mut session = console.context.db.read().await?;
    let endpoint = endpoints::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let conditions = conditions_of(&form, &endpoint, may.visit.now);
    html(&replay_page(&console, &may, &mut session, endpoint, form, &conditions).await?)
}

async fn replay_page(
    console: &Console,
    may: &May<Operate>,
    session: &mut Session,
    endpoint: Endpoint,
    form: Form,
    conditions: &Conditions,
) -> Result<ReplayPage, Failure> {
    let total = replays::count(session, endpoint.id, conditions, may.visit.now).await?;
    let page = Page::new(console, &may.visit, "endpoints", "replay-title").about(&endpoint.name);
    let mut statuses = vec![(String::new(), page.t("all"))];
    let again = [DeliveryStatus::Failed, DeliveryStatus::Cancelled, DeliveryStatus::Delivered];
    statuses.extend(again.map(|one| (one.to_string(), page.word("delivery-status", one))));
    Ok(ReplayPage {
        page,
        id: endpoint.id,
        name: endpoint.name,
        form,
        statuses,
        disabled_at: endpoint.disabled_at,
        is_stopped: endpoint.status == Status::Disabled,
        total,
        asks_for_number: total > TYPED_FROM,
        frozen: serde_json::to_string(conditions).unwrap_or_default(),
        since: conditions.created_from.or(conditions.finished_from),
    })
}

/// Orders it, as it was confirmed.
pub(crate) async fn replay(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let conditions: Conditions = serde_json::from_str(form.value("frozen")).map_err(|_| Failure::Malformed)?;
    if conditions.created_until.is_none_or(|until| until > may.visit.now) {
        return Err(Failure::Malformed);
    }
    let mut session = console.context.db.begin().await?;
    let endpoint = endpoints::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let there = format!("{PATH}{id}/");
    if endpoint.status == Status::Disabled {
        return Ok(then(&there, &Notice::new("endpoint-stopped", 0)));
    }
    let total = replays::count(&mut session, id, &conditions, may.visit.now).await?;
    let typed: String = form.text("typed").chars().filter(char::is_ascii_digit).collect();
    if total > TYPED_FROM && typed != total.to_string() {
        let page = Page::new(&console, &may.visit, "endpoints", "replay-title");
        form.add_error("typed", page.t("replay-mistyped"));
        return refused(&replay_page(&console, &may, &mut session, endpoint, form, &conditions).await?);
    }
    let (_, rings) = operations::replay_many(&mut session, id, &conditions, &may.visit.actor(), may.visit.now).await?;
    commit(&console, session, &rings).await?;
    Ok(then(&there, &Notice::new("replay-ordered", usize::try_from(total).unwrap_or_default())))
}

// --- What pages of partners use too ---

/// What the operator demands of partners.
pub(crate) fn policy(console: &Console) -> Policy {
    Policy { require_kyc: console.context.config.partner_require_kyc }
}

/// What is wrong with a URL that webhooks go to.
pub(crate) fn check_endpoint_url(console: &Console, form: &mut Form, page: &Page, field: &str, url: &str) {
    if let Err(error) = check_url(url, console.context.config.allow_private_networks) {
        form.add_error(field, Sentence::from(error).told(page.speaks()));
    }
}

/// Types of events, one a line or with blanks between them.
pub(crate) fn read_events(form: &mut Form, page: &Page) -> Vec<String> {
    let text = form.value("events").to_owned();
    let mut events: Vec<String> = Vec::new();
    for event in text.split([' ', '\n', ',', '\t']).map(str::trim).filter(|event| !event.is_empty()) {
        if !events.iter().any(|known| known == event) {
            events.push(event.to_owned());
        }
    }
    let is_long = events.iter().any(|event| event.chars().count() > LONGEST_EVENT || event.contains(char::is_control));
    if events.len() > MOST_EVENTS || is_long {
        form.add_error("events", page.t("partner-wrong-events"));
    }
    events
}

/// Makes it last, and rings for those who go on with it.
pub(crate) async fn commit(console: &Console, session: Session, rings: &[Ring]) -> db::Result<()> {
    session.commit().await?;
    console.context.ring(rings).await;
    Ok(())
}

/// A webhook that is a test, for an endpoint that gets something.
pub(crate) fn test_of(endpoint: &Endpoint, event_type: &str, now: Timestamp) -> Option<Delivery> {
    let body = payload(event_type, &json!({ "test": true }), now);
    Delivery::of_test(endpoint, event_type, &body, now).ok()
}
