//! Lanes: what waits in each, how fast it goes, who reads it, and pauses.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_notifications::channels::Channel;
use recado_notifications::notifications::pacing;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::pauses::{self, Pause, PauseError};
use recado_queue::samples::{self, Figures, SampleFilter, Summary};
use recado_queue::tasks::{self, Count, State as TaskState};
use recado_queue::workers::{self, WorkerRow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::failure::Failure;
use crate::lists::Query;
use crate::live::Topic;
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Markup, Page, html, refused};
use crate::path::Path;

const PATH: &str = "/admin/queues/";

/// Rates and quantiles are those of the last minutes.
const LATELY: Duration = Duration::from_secs(10 * 60);
const LATELY_MINUTES: f64 = 10.0;

/// After so many minutes a pause may end by itself.
const PAUSES: [i64; 4] = [30, 60, 240, 1_440];

/// An undo that is longer than this does not fit into a cookie.
const LONGEST_UNDO: usize = 1_000;

#[derive(Template)]
#[template(path = "queues/list.html")]
struct ListPage {
    page: Page,
    lanes: Vec<LaneRow>,
    names: Vec<&'static str>,
    minutes: [i64; 4],
    /// The queue that is about to be paused, or whose history is asked for.
    chosen: String,
    reason: String,
    wrong: Option<&'static str>,
}

impl ListPage {
    async fn read(console: &Console, page: Page) -> db::Result<Self> {
        Ok(Self {
            page,
            lanes: lanes(&console.context).await?,
            names: pauses::names(console.context.systems),
            minutes: PAUSES,
            chosen: String::new(),
            reason: String::new(),
            wrong: None,
        })
    }
}

/// `/admin/queues/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "queues", "queues-title").watching("queues".to_owned());
    let chosen = Query::read(&may.visit.query).text("queue");
    let list = ListPage::read(&console, page).await?;
    let chosen = chosen.filter(|name| list.names.contains(&name.as_str())).unwrap_or_default();
    html(&ListPage { chosen, ..list })
}

// --- What is known of a lane ---

/// A lane at a glance, as plain data.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct LaneRow {
    lane: String,
    queued: i64,
    /// Since when the oldest queued task is due.
    oldest_at: Option<Timestamp>,
    accepted_per_minute: f64,
    runs_per_minute: f64,
    wait_p95_ms: Option<f64>,
    run_p95_ms: Option<f64>,
    /// When nothing will wait, if it goes on like this; `None`: what waits does not become less, or nothing does.
    empty_in_ms: Option<f64>,
    /// Live workers that take its tasks.
    workers: i64,
    paced_until: Option<Timestamp>,
    pause: Option<PauseRow>,
}

/// A pause that holds for a lane.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct PauseRow {
    /// As it was paused: the lane, or its queue.
    queue: String,
    reason: String,
    by: String,
    until: Option<Timestamp>,
}

impl From<&Pause> for PauseRow {
    fn from(pause: &Pause) -> Self {
        let (queue, reason, by) = (pause.queue.clone(), masking::text(&pause.reason), pause.paused_by.clone());
        Self { queue, reason, by, until: pause.until }
    }
}

impl LaneRow {
    fn of(lane: Lane, counts: &[Count], lately: Option<&Figures>) -> Self {
        let waiting = counts.iter().find(|one| one.lane == lane.as_str() && one.state == TaskState::Queued);
        let queued = waiting.map_or(0, |count| count.count);
        let nothing = Figures::default();
        let lately = lately.unwrap_or(&nothing);
        let (runs, summary) = (lately.runs.count(), Summary::from(lately));
        Self {
            lane: lane.as_str().to_owned(),
            queued,
            oldest_at: waiting.and_then(|count| count.oldest),
            accepted_per_minute: lately.accepted as f64 / LATELY_MINUTES,
            runs_per_minute: runs as f64 / LATELY_MINUTES,
            wait_p95_ms: summary.wait_p95_ms,
            run_p95_ms: summary.run_p95_ms,
            empty_in_ms: empty_in_ms(queued, lately.accepted, runs),
            workers: 0,
            paced_until: None,
            pause: None,
        }
    }
}

/// How long so many tasks take, when so many came and so many ran in the last minutes.
fn empty_in_ms(queued: i64, accepted: i64, runs: i64) -> Option<f64> {
    let per_ms = (runs - accepted) as f64 / (LATELY.as_secs_f64() * 1_000.0);
    (queued > 0 && per_ms > 0.0).then(|| (queued as f64 / per_ms).ceil())
}

/// All lanes.
pub(super) async fn lanes(context: &Context) -> db::Result<Vec<LaneRow>> {
    let (now, lease, lanes) = (context.clock.now(), context.config.worker.lease, context.systems.lanes());
    let mut session = context.db.read().await?;
    let counts = tasks::count_unfinished(&mut session, &lanes).await?;
    let workers = workers::list(&mut session).await?;
    let pauses = pauses::in_force(&mut session, now).await?;
    let samples = samples::since(&mut session, now - LATELY, &SampleFilter::default()).await?;
    let given_away_until = pacing::given_away_until(&mut session, now).await?;
    drop(session);
    let lately = samples::by_lane(&samples);
    let reads =
        |worker: &&WorkerRow, lane| worker.takes_tasks(now, lease) && worker.lanes(context.systems).contains(&lane);
    let row = |lane: Lane| LaneRow {
        workers: workers.iter().filter(|worker| reads(worker, lane)).count() as i64,
        paced_until: given_away_until.filter(|_| lane == Channel::Whatsapp.lane()),
        pause: pauses::of_lane(&pauses, lane).map(PauseRow::from),
        ..LaneRow::of(lane, &counts, lately.get(lane.as_str()))
    };
    Ok(lanes.into_iter().map(row).collect())
}

/// The table of lanes, for a page that shows more than it. Such a page watches `queues`.
pub(super) fn table(lanes: Vec<LaneRow>, page: &Page) -> Result<Markup, Failure> {
    let part = LanesPart { page, lanes };
    Ok(Markup(part.render().map_err(Failure::Drawing)?))
}

/// The table of lanes, live.
pub(crate) const LANES: Topic = Topic { name: "queues", sample: sample_lanes, draw: draw_lanes };

fn sample_lanes<'a>(context: &'a Context, _: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move { Ok(json!(lanes(context).await?)) }.boxed()
}

#[derive(Template)]
#[template(path = "queues/lanes.html")]
struct LanesPart<'a> {
    page: &'a Page,
    lanes: Vec<LaneRow>,
}

fn draw_lanes(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(lanes) = Vec::<LaneRow>::deserialize(value) else { return Vec::new() };
    LanesPart { page, lanes }.render().map(|html| vec![("lanes".to_owned(), html)]).unwrap_or_default()
}

// --- Pauses ---

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PauseForm {
    queue: String,
    reason: String,
    minutes: String,
}

/// Pauses a queue or a lane. An undo says in the URL what a person says in the form.
pub(crate) async fn pause(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    form: Result<Form<PauseForm>, FormRejection>,
) -> Result<Response, Failure> {
    let (context, visit, now) = (&console.context, &may.visit, may.visit.now);
    let Form(mut form) = form.map_err(|_| Failure::Malformed)?;
    let asked = Query::read(&visit.query);
    let minutes =
        form.minutes.trim().parse::<u64>().ok().filter(|minutes| (1..=PAUSES[3].unsigned_abs()).contains(minutes));
    let mut until = minutes.map(|minutes| now + Duration::from_secs(60 * minutes));
    if let Some(queue) = asked.text("queue") {
        (form.queue, form.reason) = (queue, asked.text("reason").unwrap_or_default());
        until = asked.get("until").map(Timestamp::from_micros);
    }
    let actor = visit.actor();
    let pause = match Pause::new(context.systems, &form.queue, &form.reason, &actor.name, until, now) {
        Ok(pause) => pause,
        Err(error) => {
            let page = Page::new(&console, visit, "queues", "queues-title");
            let list = ListPage::read(&console, page).await?;
            let chosen = Some(form.queue).filter(|name| list.names.contains(&name.as_str())).unwrap_or_default();
            return refused(&ListPage { chosen, reason: form.reason, wrong: Some(told(&error)), ..list });
        }
    };
    let mut session = context.db.begin().await?;
    let before = pauses::pause(&mut session, &pause, &actor).await?;
    session.commit().await?;
    let undo = match before {
        Some(before) => again(&before),
        None => Some(format!("{PATH}{}/resume/", pause.queue)),
    };
    Ok(then(PATH, &undone(Notice::new("paused", 1), undo)))
}

/// Ends a pause; its undo pauses again, with the reason and the end that there were.
pub(crate) async fn resume(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let (context, now) = (&console.context, may.visit.now);
    pauses::check_name(context.systems, &name).map_err(|_| Failure::NotFound)?;
    let mut session = context.db.begin().await?;
    let Some(ended) = pauses::resume(&mut session, &name, &may.visit.actor(), now).await? else {
        return Ok(then(PATH, &Notice::new("nothing-to-do", 0)));
    };
    session.commit().await?;
    Ok(then(PATH, &undone(Notice::new("resumed", 1), again(&ended))))
}

fn undone(notice: Notice, path: Option<String>) -> Notice {
    match path {
        Some(path) => notice.undone_by(path),
        None => notice,
    }
}

/// The form that makes a pause once more; `None` where it is too long to be kept.
fn again(pause: &Pause) -> Option<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("queue", &pause.queue).append_pair("reason", &pause.reason);
    if let Some(until) = pause.until {
        query.append_pair("until", &until.as_micros().to_string());
    }
    Some(format!("{PATH}pause/?{}", query.finish())).filter(|path| path.len() <= LONGEST_UNDO)
}

/// The message `pause-wrong-…`.
fn told(error: &PauseError) -> &'static str {
    match error {
        PauseError::Unknown { .. } => "queue",
        PauseError::NoReason => "reason",
        PauseError::LongReason => "long",
        PauseError::Over => "over",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_worked_off_at_the_pace_of_the_last_minutes() {
        assert_eq!(empty_in_ms(0, 0, 600), None, "nothing waits");
        assert_eq!(empty_in_ms(600, 0, 600), Some(600_000.0));
        assert_eq!(empty_in_ms(600, 300, 600), Some(1_200_000.0));
        assert_eq!(empty_in_ms(600, 600, 600), None, "it does not become less");
    }

    #[test]
    fn an_undo_fits_into_a_cookie() {
        let pause = |reason: &str| Pause {
            queue: "sync".into(),
            reason: reason.into(),
            paused_by: "ana".into(),
            paused_at: Timestamp::from_micros(0),
            until: Some(Timestamp::from_micros(9)),
        };
        let short = again(&pause("está caída & más"));
        assert!(
            short.as_deref().is_some_and(|path| path.ends_with("+%26+m%C3%A1s&until=9") && path.is_ascii()),
            "{short:?}"
        );
        assert_eq!(again(&pause(&"ñ".repeat(400))), None);
    }
}
