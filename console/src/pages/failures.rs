//! Messages that failed, by their cause, with what it means and what to do.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_notifications::failures::{self, Cause, Code, Sign};
use recado_notifications::retry::{self, Group, How, Refusal, USUAL_TRIAL};
use recado_queue::pauses::{self, Pause};

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::chart::Spark;
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::Query;
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;
use crate::urls::encoded;

/// How far back a person may look, in hours: the messages `failures-hours-…`.
const HOURS: [u64; 4] = [1, 24, 168, 720];

/// Without a word it is a day.
const USUAL_HOURS: u64 = 24;

/// Messages that are shown of a cause.
const EXAMPLES: i64 = 5;

/// More than so many are retried only when their number was typed.
const TYPED_FROM: i64 = 20;

#[derive(Template)]
#[template(path = "failures/list.html")]
struct ListPage {
    page: Page,
    hours: u64,
    choices: [u64; 4],
    causes: Vec<Row>,
    total: i64,
}

/// Messages that failed alike.
struct Row {
    /// Where its page is.
    path: String,
    channel: &'static str,
    /// Where its tasks are.
    lane: &'static str,
    account: Option<String>,
    code: Option<String>,
    count: i64,
    first: Timestamp,
    last: Timestamp,
    example: Id,
    spark: Spark,
    meaning: Option<&'static str>,
    remedy: Option<&'static str>,
}

impl Row {
    fn of(cause: Cause, language: Language) -> Self {
        let code = cause.code.as_deref().and_then(Code::find);
        Self {
            path: path_of(&Group::of(&cause)),
            channel: cause.channel.as_str(),
            lane: cause.channel.lane().as_str(),
            account: cause.account,
            count: cause.count,
            first: cause.first,
            last: cause.last,
            example: cause.example,
            spark: Spark::of(&cause.series),
            meaning: code.map(|code| code.meaning(language)),
            remedy: code.map(|code| code.remedy(language)),
            code: cause.code,
        }
    }
}

/// How far back a query asks for.
fn hours_of(asked: &Query) -> u64 {
    asked.get("hours").filter(|hours| HOURS.contains(hours)).unwrap_or(USUAL_HOURS)
}

fn window_of(hours: u64) -> Duration {
    Duration::from_secs(hours * 60 * 60)
}

/// Where the page of a cause is: an account and a code may hold anything.
fn path_of(group: &Group) -> String {
    format!("/admin/failures/{}/", encoded(&group.to_string()))
}

/// `/admin/failures/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let visit = &may.visit;
    let hours = hours_of(&Query::read(&visit.query));
    let causes = failures::causes(&mut console.context.db.read().await?, window_of(hours), visit.now).await?;
    let language = visit.words.language;
    html(&ListPage {
        page: Page::new(&console, visit, "failures", "failures-title"),
        hours,
        choices: HOURS,
        total: causes.iter().map(|cause| cause.count).sum(),
        causes: causes.into_iter().map(|cause| Row::of(cause, language)).collect(),
    })
}

// --- One cause ---

#[derive(Template)]
#[template(path = "failures/show.html")]
struct ShowPage {
    page: Page,
    hours: u64,
    choices: [u64; 4],
    path: String,
    group: Group,
    meaning: Option<&'static str>,
    remedy: Option<&'static str>,
    /// `None`: nothing failed like this in this time.
    cause: Option<Row>,
    examples: Vec<Example>,
    sign: Option<Sign>,
    pause: Option<Pause>,
    asof: i64,
}

/// A message of a cause.
struct Example {
    id: Id,
    correlation_id: Id,
    created_at: Timestamp,
    reason: String,
}

impl From<retry::Example> for Example {
    fn from(example: retry::Example) -> Self {
        Self {
            id: example.id,
            correlation_id: example.correlation_id,
            created_at: example.created_at,
            reason: masking::text(example.error_reason.as_deref().unwrap_or_default()),
        }
    }
}

/// `/admin/failures/{group}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(group): Path<String>,
) -> Result<Response, Failure> {
    let visit = &may.visit;
    let group: Group = group.parse().map_err(|_| Failure::NotFound)?;
    let hours = hours_of(&Query::read(&visit.query));
    let mut session = console.context.db.read().await?;
    let causes = failures::causes(&mut session, window_of(hours), visit.now).await?;
    let found = causes.into_iter().find(|cause| Group::of(cause) == group);
    let examples = retry::examples(&mut session, &group, visit.now - window_of(hours), visit.now, EXAMPLES).await?;
    let sign = match (&group.account, &found) {
        (Some(account), Some(cause)) => {
            Some(failures::sign(&mut session, group.channel, account, cause.last, visit.now).await?)
        }
        _ => None,
    };
    let pauses = pauses::in_force(&mut session, visit.now).await?;
    drop(session);
    let (language, code) = (visit.words.language, group.code.as_deref().and_then(Code::find));
    html(&ShowPage {
        page: Page::new(&console, visit, "failures", "failure-group-title").about(&group),
        hours,
        choices: HOURS,
        path: path_of(&group),
        meaning: code.map(|code| code.meaning(language)),
        remedy: code.map(|code| code.remedy(language)),
        cause: found.map(|cause| Row::of(cause, language)),
        examples: examples.into_iter().map(Example::from).collect(),
        sign,
        pause: pauses::of_lane(&pauses, group.channel.lane()).cloned(),
        asof: visit.now.as_micros(),
        group,
    })
}

// --- Retrying it ---

#[derive(Template)]
#[template(path = "failures/retry.html")]
struct RetryPage {
    page: Page,
    hours: u64,
    path: String,
    group: Group,
    go: i64,
    all: i64,
    refused: Vec<(Refusal, i64)>,
    is_more: bool,
    asof: i64,
    frozen_at: Timestamp,
    trial: i64,
    paces: [u16; 5],
    asks_for_number: bool,
    form: Form,
}

/// What is retried, as both the question and its answer name it.
struct Frozen {
    hours: u64,
    asof: Timestamp,
}

impl Frozen {
    fn read(hours: Option<u64>, asof: Option<i64>, now: Timestamp) -> Self {
        let asof = asof.map(Timestamp::from_micros).filter(|asof| *asof <= now);
        Self { hours: hours.filter(|hours| HOURS.contains(hours)).unwrap_or(USUAL_HOURS), asof: asof.unwrap_or(now) }
    }

    fn since(&self) -> Timestamp {
        self.asof - window_of(self.hours)
    }
}

/// `/admin/failures/{group}/retry/`: how many will go, and how many will not and why, before any does.
pub(crate) async fn confirm(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(group): Path<String>,
) -> Result<Response, Failure> {
    let group: Group = group.parse().map_err(|_| Failure::NotFound)?;
    let asked = Query::read(&may.visit.query);
    let frozen = Frozen::read(asked.get("hours"), asked.get("asof"), may.visit.now);
    let form = Form::of([("how", "trial".to_owned()), ("pace", "60".to_owned())]);
    html(&retry_page(&console, &may, group, &frozen, form).await?)
}

async fn retry_page(
    console: &Console,
    may: &May<Operate>,
    group: Group,
    frozen: &Frozen,
    form: Form,
) -> Result<RetryPage, Failure> {
    let weighed = retry::weigh(&mut console.context.db.read().await?, &group, frozen.since(), frozen.asof).await?;
    let go = i64::try_from(weighed.tasks.len()).unwrap_or(i64::MAX);
    Ok(RetryPage {
        page: Page::new(console, &may.visit, "failures", "failure-retry-title").about(&group),
        hours: frozen.hours,
        path: path_of(&group),
        group,
        go,
        all: weighed.all(),
        is_more: weighed.is_more,
        refused: weighed.refused.into_iter().collect(),
        asof: frozen.asof.as_micros(),
        frozen_at: frozen.asof,
        trial: i64::from(USUAL_TRIAL).min(go),
        paces: [0, 20, 60, 300, 1_000],
        asks_for_number: go > TYPED_FROM,
        form,
    })
}

/// Begins it, as it was confirmed.
pub(crate) async fn start(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(group): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let group: Group = group.parse().map_err(|_| Failure::NotFound)?;
    let (hours, asof) = (form.value("hours").parse().ok(), form.value("asof").parse().ok());
    let frozen = Frozen::read(hours, asof, may.visit.now);
    let told: i64 = form.value("total").parse().unwrap_or_default();
    let digits: String = form.value("typed").chars().filter(char::is_ascii_digit).collect();
    if told > TYPED_FROM && digits != told.to_string() {
        let mut shown = retry_page(&console, &may, group, &frozen, Form::default()).await?;
        form.add_error("typed", shown.page.t("bulk-mistyped"));
        shown.form = form;
        return refused(&shown);
    }
    let trial = if form.value("how") == "all" { 0 } else { USUAL_TRIAL };
    let how = How { trial, pace: form.value("pace").parse().unwrap_or_default() };
    let started = retry::start(&console.context, &group, frozen.since(), frozen.asof, how, &may.visit.actor()).await?;
    Ok(match started {
        Some((id, _)) => then(&format!("/admin/bulk/{id}/"), &Notice::new("bulk-started", 1)),
        None => then(&path_of(&group), &Notice::new("nothing-to-do", 0)),
    })
}
