//! On which channels a customer can be reached now, and why not on the others.

use std::sync::Arc;

use axum::extract::State;
use recado_kernel::clock::Timestamp;
use recado_kernel::language::Language;
use recado_notifications::channels::Channel;
use recado_notifications::reachability::{self, Obstacle, Reach};
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

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show_reachability))
}

/// On which channels a customer can be reached now, in the order in which they would be tried, and why not on the others.
///
/// An event may still be kept from a channel by the matrix, or by a template that is missing: a dry run of the event tells.
#[utoipa::path(get, path = "/{customer_id}/reachability", tag = "customers",
    params(("customer_id" = String, Path, description = "Your own identifier of the customer"), ReachQuery, SpokenQuery),
    responses((status = 200, description = "Each channel", body = ReachabilityView)))]
async fn show_reachability(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
    Query(ReachQuery { taller_id }): Query<ReachQuery>,
    Spoken(language): Spoken,
) -> Result<axum::Json<ReachabilityView>, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.read().await?;
    let channels =
        reachability::of_customer(&api.notifications, &mut session, &customer_id, taller_id.as_deref(), now).await?;
    let channels = channels.ok_or(Problem::NotFound)?;
    Ok(axum::Json(ReachabilityView {
        customer_id,
        reachable: channels.iter().any(|channel| channel.obstacle.is_none()),
        channels: channels.into_iter().map(|channel| ReachView::of(&channel, language)).collect(),
        now,
    }))
}

request! {
    /// Who would write.
    #[derive(Debug, IntoParams)]
    #[into_params(parameter_in = Query)]
    struct ReachQuery {
        /// The workshop that would write to them; its settings count then.
        #[param(required = false)]
        taller_id: Option<String>,
    }
}

/// How a customer can be reached.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reachability)]
struct ReachabilityView {
    /// Your own identifier of the customer.
    customer_id: String,
    /// A message would leave now on at least one channel.
    reachable: bool,
    /// First those that would be tried, in their order.
    channels: Vec<ReachView>,
    /// When this was asked.
    now: Timestamp,
}

/// One channel of a customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReachabilityChannel)]
struct ReachView {
    /// The channel.
    channel: Channel,
    /// A message would leave on it now.
    reachable: bool,
    /// Its place in the order in which channels would be tried, from 0; null: it would not be tried.
    place: Option<usize>,
    /// What is in the way, for programs: `opted_out`, `suppressed`, `quiet_hours`, ….
    #[schema(value_type = Option<String>, examples("suppressed"))]
    obstacle: Option<Obstacle>,
    /// The same for people, with what helps.
    explanation: Option<&'static str>,
    /// When it ends by itself.
    until: Option<Timestamp>,
}

impl ReachView {
    fn of(reach: &Reach, language: Language) -> Self {
        Self {
            channel: reach.channel,
            reachable: reach.obstacle.is_none(),
            place: reach.place,
            obstacle: reach.obstacle,
            explanation: reach.obstacle.map(|obstacle| obstacle.explanation(language)),
            until: reach.until,
        }
    }
}
