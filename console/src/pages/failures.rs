//! Messages that failed, by their cause, with what it means and what to do.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_notifications::failures::{self, Cause, Code};

use crate::Console;
use crate::auth::{Look, May};
use crate::chart::Spark;
use crate::failure::Failure;
use crate::lists::Asked;
use crate::page::{Page, html};

/// How far back a person may look, in hours: the messages `failures-hours-…`.
const HOURS: [u64; 4] = [1, 24, 168, 720];

/// Without a word it is a day.
const USUAL_HOURS: u64 = 24;

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

/// `/admin/failures/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let visit = &may.visit;
    let hours = Asked::read(&visit.query).get("hours").filter(|hours| HOURS.contains(hours)).unwrap_or(USUAL_HOURS);
    let window = Duration::from_secs(hours * 60 * 60);
    let causes = failures::causes(&mut console.context.db.read().await?, window, visit.now).await?;
    let language = visit.words.language;
    html(&ListPage {
        page: Page::new(&console, visit, "failures", "failures-title"),
        hours,
        choices: HOURS,
        total: causes.iter().map(|cause| cause.count).sum(),
        causes: causes.into_iter().map(|cause| Row::of(cause, language)).collect(),
    })
}
