//! What happened in each minute, ten minutes or hour.

use std::sync::Arc;

use axum::extract::State;
use recado_kernel::clock::Timestamp;
use recado_queue::samples::{self, BOUNDS_MS, Point, SampleFilter, Summary, Window};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::queues::lanes_named;
use crate::auth::{May, Read};
use crate::extract::fields::{Field, choice};
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show_samples))
}

/// What happened in the last hour by the minute, in the last day by ten minutes, or in the last thirty days by the hour.
///
/// Processes count in memory and write once a minute: the newest point is up to two minutes behind.
#[utoipa::path(get, path = "/", tag = "operations", params(SampleQuery),
    responses((status = 200, description = "A point for each span, oldest first", body = SeriesView)))]
async fn show_samples(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<SampleQuery>,
) -> Result<axum::Json<SeriesView>, Problem> {
    let now = api.context.clock.now();
    let lanes = lanes_named(&api, query.lane.as_deref())?;
    let filter = SampleFilter { lanes, account: query.account.clone() };
    let begin = query.window.begin(now);
    let found = samples::since(&mut api.context.db.read().await?, begin, &filter).await?;
    let (points, total) = samples::series(&found, query.window, now);
    let step_minutes = query.window.step().into();
    let (window, lane, account) = (query.window, query.lane, query.account);
    Ok(axum::Json(SeriesView { window, lane, account, step_minutes, buckets_ms: &BOUNDS_MS, points, total, now }))
}

request! {
    /// Which samples are asked for.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Query)]
    struct SampleQuery {
        /// A lane, or a queue with all its lanes; all without it.
        #[param(required = false)]
        lane: Option<String>,
        /// The account through which messages left: `env`, or the name of a provider account.
        #[param(required = false)]
        account: Option<String>,
        /// `60m`, `24h` or `30d`.
        #[param(value_type = Option<String>, default = "60m")]
        window: Window = Window::Hour,
    }
}

impl Field for Window {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

/// A window of samples.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Samples)]
struct SeriesView {
    /// How far it reaches back.
    #[schema(value_type = String, examples("60m"))]
    window: Window,
    /// The lane or queue that was asked for.
    lane: Option<String>,
    /// The account that was asked for.
    account: Option<String>,
    /// How long a point is.
    step_minutes: i32,
    /// The upper ends of the buckets from which quantiles are reckoned, in milliseconds.
    #[schema(value_type = Vec<i64>)]
    buckets_ms: &'static [u64],
    /// Oldest first; the last is under way.
    points: Vec<Point>,
    /// All of it together.
    total: Summary,
    /// When this was asked.
    now: Timestamp,
}
