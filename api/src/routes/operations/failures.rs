//! Messages that failed, by their cause.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_notifications::channels::Channel;
use recado_notifications::failures::{self, Cause, Code, Sign};
use recado_notifications::retry::{self, Group};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{May, Read};
use crate::extract::language::{Spoken, SpokenQuery};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

/// The longest window.
const MOST_HOURS: i64 = 24 * 30;

/// Messages that are named of one cause.
const EXAMPLES: i64 = 5;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list_causes)).routes(routes!(list_codes)).routes(routes!(show_cause))
}

/// Why messages failed, the most frequent cause first: channel, account and code, with what the code means and what to do about it.
///
/// Counted are messages that were accepted in the window and ended as `failed` or `bounced`; one whose event reached the person on
/// another channel is among them. What is still being tried is not.
#[utoipa::path(get, path = "/", tag = "operations", params(FailureQuery, SpokenQuery),
    responses((status = 200, description = "The causes", body = FailuresView)))]
async fn list_causes(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(FailureQuery { hours }): Query<FailureQuery>,
    Spoken(language): Spoken,
) -> Result<axum::Json<FailuresView>, Problem> {
    let now = api.context.clock.now();
    let window = std::time::Duration::from_secs(hours.unsigned_abs() * 3600);
    let causes = failures::causes(&mut api.context.db.read().await?, window, now).await?;
    Ok(axum::Json(FailuresView {
        hours,
        since: now - window,
        causes: causes.into_iter().map(|cause| CauseView::of(cause, language)).collect(),
    }))
}

/// Every code with which a message may fail, with what it means and what to do about it.
#[utoipa::path(get, path = "/codes", tag = "operations", params(SpokenQuery),
    responses((status = 200, description = "The codes", body = Vec<CodeView>)))]
async fn list_codes(_: May<Read>, Spoken(language): Spoken) -> axum::Json<Vec<CodeView>> {
    axum::Json(failures::CODES.iter().map(|code| CodeView::of(code, language)).collect())
}

/// One cause: its messages, the last that was heard of the account, and how many a retry would try again.
///
/// The cause is written `channel:account:CODE`, with nothing where there is none. `POST /api/v1/operations/bulk/` retries it.
#[utoipa::path(get, path = "/{cause}", tag = "operations", params(FailureQuery, SpokenQuery,
        ("cause" = String, Path, description = "Channel, account and code, e.g. `email:env:EMAIL_SEND_FAILED`")),
    responses((status = 200, description = "The cause", body = OneCauseView)))]
async fn show_cause(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(cause): Segment<String>,
    Query(FailureQuery { hours }): Query<FailureQuery>,
    Spoken(language): Spoken,
) -> Result<axum::Json<OneCauseView>, Problem> {
    let group: Group = cause.parse().map_err(|_| {
        Problem::Nothing("Escriba canal:cuenta:CÓDIGO, como los nombra GET /api/v1/operations/failures/.".to_owned())
    })?;
    let now = api.context.clock.now();
    let window = std::time::Duration::from_secs(hours.unsigned_abs() * 3600);
    let mut session = api.context.db.read().await?;
    let causes = failures::causes(&mut session, window, now).await?;
    let found = causes.into_iter().find(|cause| Group::of(cause) == group);
    let found = found.ok_or_else(|| Problem::Nothing("Nada falló así en ese período.".to_owned()))?;
    let examples = retry::examples(&mut session, &group, now - window, now, EXAMPLES).await?;
    let weighed = retry::weigh(&mut session, &group, now - window, now).await?;
    let sign = match &group.account {
        Some(account) => failures::sign(&mut session, group.channel, account, found.last, now).await?,
        None => Sign::default(),
    };
    Ok(axum::Json(OneCauseView {
        cause: CauseView::of(found, language),
        example_ids: examples.iter().map(|example| example.id).collect(),
        account_last_sent_at: sign.last_sent,
        account_sent_since: sign.sent_since,
        account_tried_since: sign.tried_since,
        would_retry: weighed.tasks.len() as i64,
        would_not_retry: weighed.refused.iter().map(|(why, count)| (why.as_str().to_owned(), *count)).collect(),
    }))
}

request! {
    /// Which failures are asked for.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Query)]
    struct FailureQuery {
        /// How far back, in hours.
        #[param(value_type = Option<i64>, minimum = 1, maximum = 720, default = 24)]
        hours: i64 = 24,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let is_wrong = !(1..=MOST_HOURS).contains(&self.hours);
        is_wrong.then(|| ("hours", format!("Asegúrese de que este valor esté entre 1 y {MOST_HOURS}."))).into_iter().collect()
    }
}

/// What failed in a window.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Failures)]
struct FailuresView {
    /// How long the window is.
    hours: i64,
    /// When it begins.
    since: Timestamp,
    /// The most frequent first.
    causes: Vec<CauseView>,
}

/// Messages that failed alike.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FailureCause)]
struct CauseView {
    /// Channel on which they were tried.
    channel: Channel,
    /// The account that was tried last; null where no attempt was made.
    #[schema(examples("env"))]
    account: Option<String>,
    /// The code, for programs.
    #[schema(examples("WHATSAPP_API_ERROR"))]
    code: Option<String>,
    /// How many.
    count: i64,
    /// When the first of them was accepted.
    first_at: Timestamp,
    /// When the last of them was accepted.
    last_at: Timestamp,
    /// Id of one of the newest.
    example_id: Id,
    /// How many in each of 24 equal parts of the window, oldest first.
    series: Vec<i64>,
    /// What the code means; null for one that this version does not give.
    meaning: Option<&'static str>,
    /// What to do about it.
    remedy: Option<&'static str>,
}

impl CauseView {
    fn of(cause: Cause, language: Language) -> Self {
        let code = cause.code.as_deref().and_then(Code::find);
        Self {
            channel: cause.channel,
            account: cause.account,
            count: cause.count,
            first_at: cause.first,
            last_at: cause.last,
            example_id: cause.example,
            series: cause.series,
            meaning: code.map(|code| code.meaning(language)),
            remedy: code.map(|code| code.remedy(language)),
            code: cause.code,
        }
    }
}

/// Messages that failed alike, and what a retry would do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FailureCauseDetail)]
struct OneCauseView {
    #[serde(flatten)]
    cause: CauseView,
    /// The newest of its messages.
    example_ids: Vec<Id>,
    /// When the account last took a message; null when that was never seen.
    account_last_sent_at: Option<Timestamp>,
    /// How many it took since the last of these failed.
    account_sent_since: i64,
    /// How many attempts there were since then.
    account_tried_since: i64,
    /// How many a retry would try again.
    would_retry: i64,
    /// How many it would not, by reason: reached, opted_out, suppressed, erased, cancelled, on_its_way, gone.
    would_not_retry: BTreeMap<String, i64>,
}

/// A code with which a message may fail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FailureCode)]
struct CodeView {
    /// The code.
    #[schema(examples("EMAIL_SEND_FAILED"))]
    code: &'static str,
    /// What it means.
    meaning: &'static str,
    /// What to do about it.
    remedy: &'static str,
}

impl CodeView {
    fn of(code: &Code, language: Language) -> Self {
        Self { code: code.code, meaning: code.meaning(language), remedy: code.remedy(language) }
    }
}
