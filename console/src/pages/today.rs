//! How things are: the diagnosis in one sentence with what is wrong and what to do, the figures of a window, and the lanes.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono_tz::Tz;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_queue::context::Context;
use recado_queue::samples::{self, Point, SampleFilter, Window};
use recado_systems::diagnosis::{self, Finding, What, facts, sentences};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::queues;
use crate::Console;
use crate::auth::{Look, May};
use crate::chart::Spark;
use crate::failure::Failure;
use crate::lists::Query;
use crate::live::Topic;
use crate::masking;
use crate::page::{Markup, Page, html};
use recado_kernel::language::Language;

#[derive(Template)]
#[template(path = "today/show.html")]
struct TodayPage {
    page: Page,
    diagnosis: Diagnosis,
    window: Window,
    windows: [Window; 3],
    measures: Vec<Measure>,
    /// Spans in which something happened, the newest first.
    spans: Vec<Span>,
    lanes: Markup,
}

/// A span of the table behind the charts.
struct Span {
    at: Timestamp,
    values: [i64; 4],
}

/// `/admin/`
pub(crate) async fn show(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let (visit, context) = (&may.visit, &console.context);
    let window = Query::read(&visit.query).get("window").unwrap_or(Window::Hour);
    let mut page = Page::new(&console, visit, "today", "today-title").watching("findings".to_owned());
    page = page.watching("queues".to_owned());
    if window == Window::Hour {
        page = page.watching("figures".to_owned());
    }
    // Each part asks for itself, and none waits for another.
    let (found, points, lanes) =
        tokio::try_join!(Found::gather(context), points(context, window), queues::lanes(context))?;
    let lanes = queues::table(lanes, &page)?;
    html(&TodayPage {
        diagnosis: found.told(visit.words.language, visit.zone),
        window,
        windows: [Window::Hour, Window::Day, Window::Month],
        measures: Measure::all(&points),
        spans: points.iter().rev().map(Span::of).filter(|span| span.values.iter().any(|value| *value > 0)).collect(),
        lanes,
        page,
    })
}

// --- The diagnosis ---

/// What a diagnosis found, before it is told.
struct Found {
    findings: Vec<Finding>,
    now: Timestamp,
}

/// A diagnosis as a person reads it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Diagnosis {
    is_well: bool,
    summary: String,
    findings: Vec<Told>,
}

/// A finding as a person reads it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Told {
    /// The messages `severity-…`.
    severity: String,
    sentence: String,
    remedy: String,
    /// The page where it is mended: the messages `go-…`.
    goes_to: Option<String>,
}

impl Found {
    async fn gather(context: &Context) -> db::Result<Self> {
        let facts = facts::gather(context).await?;
        Ok(Self { findings: diagnosis::diagnose(&facts), now: facts.now })
    }

    fn told(&self, language: Language, zone: Tz) -> Diagnosis {
        let told = |finding: &Finding| {
            let told = sentences::tell(finding, language, zone, self.now);
            Told {
                severity: finding.severity.as_str().to_owned(),
                sentence: masking::text(&told.sentence),
                remedy: told.remedy,
                goes_to: mended_at(&finding.what).map(str::to_owned),
            }
        };
        Diagnosis {
            is_well: diagnosis::is_well(&self.findings),
            summary: masking::text(&sentences::summary(&self.findings, language, zone, self.now)),
            findings: self.findings.iter().map(told).collect(),
        }
    }
}

/// The page of the console on which a finding is looked at, where there is one.
fn mended_at(what: &What) -> Option<&'static str> {
    match what {
        What::LaneUnread { .. }
        | What::WorkerSilent { .. }
        | What::WorkerDraining { .. }
        | What::MixedVersions { .. }
        | What::ClockOff { .. } => Some("workers"),
        What::LaneSlow { .. } | What::LanePaused { .. } => Some("queues"),
        What::AccountFailing { .. } | What::ReceiptsStopped { .. } | What::SuppressionsSpike { .. } => Some("failures"),
        What::DeadGrowing { .. } | What::DeadTasks => Some("tasks"),
        What::PendingMigrations { .. }
        | What::QueueDown { .. }
        | What::SchedulerSilent
        | What::EndpointDisabled { .. }
        | What::OpenToStrangers => None,
    }
}

/// The diagnosis, live: told once in each language, by the clocks of the installation and by UTC.
pub(crate) const FINDINGS: Topic = Topic { name: "findings", sample: sample_findings, draw: draw_findings };

fn sample_findings<'a>(context: &'a Context, _: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let found = Found::gather(context).await?;
        let mut told = Map::new();
        for language in Language::ALL {
            for zone in [context.config.time_zone, Tz::UTC] {
                told.insert(of(language.as_str(), zone.name()), json!(found.told(language, zone)));
            }
        }
        Ok(Value::Object(told))
    }
    .boxed()
}

fn of(language: &str, zone: &str) -> String {
    format!("{language} {zone}")
}

#[derive(Template)]
#[template(path = "today/findings.html")]
struct FindingsPart<'a> {
    page: &'a Page,
    diagnosis: &'a Diagnosis,
}

fn draw_findings(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(diagnosis) = Diagnosis::deserialize(&value[of(page.language(), page.zone())]) else { return Vec::new() };
    let part = FindingsPart { page, diagnosis: &diagnosis };
    part.render().map(|html| vec![("findings".to_owned(), html)]).unwrap_or_default()
}

// --- Figures ---

async fn points(context: &Context, window: Window) -> db::Result<Vec<Point>> {
    let now = context.clock.now();
    let mut session = context.db.read().await?;
    let samples = samples::since(&mut session, window.begin(now), &SampleFilter::default()).await?;
    drop(session);
    Ok(samples::series(&samples, window, now).0)
}

/// What is counted, in the order in which it stands: the messages `measure-…`.
const MEASURES: [&str; 4] = ["accepted", "sent", "delivered", "failed"];

/// One thing that is counted, over a window.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Measure {
    word: String,
    total: i64,
    series: Vec<i64>,
}

impl Measure {
    fn all(points: &[Point]) -> Vec<Self> {
        let spans: Vec<Span> = points.iter().map(Span::of).collect();
        let measure = |(place, word): (usize, &&str)| {
            let series: Vec<i64> = spans.iter().map(|span| span.values[place]).collect();
            Self { word: (*word).to_owned(), total: series.iter().sum(), series }
        };
        MEASURES.iter().enumerate().map(measure).collect()
    }

    fn spark(&self) -> Spark {
        Spark::of(&self.series)
    }
}

impl Span {
    fn of(point: &Point) -> Self {
        let summary = &point.summary;
        Self { at: point.at, values: [summary.accepted, summary.sent, summary.delivered, summary.failed] }
    }
}

/// The figures of the last hour, live.
pub(crate) const FIGURES: Topic = Topic { name: "figures", sample: sample_figures, draw: draw_figures };

fn sample_figures<'a>(context: &'a Context, _: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move { Ok(json!(Measure::all(&points(context, Window::Hour).await?))) }.boxed()
}

#[derive(Template)]
#[template(path = "today/figures.html")]
struct FiguresPart<'a> {
    page: &'a Page,
    measures: Vec<Measure>,
}

fn draw_figures(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(measures) = Vec::<Measure>::deserialize(value) else { return Vec::new() };
    FiguresPart { page, measures }.render().map(|html| vec![("figures".to_owned(), html)]).unwrap_or_default()
}
