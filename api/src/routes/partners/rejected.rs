//! Webhooks in the name of a partner that were refused: the newest of each, for the signature debugger.

use std::sync::Arc;

use axum::extract::State;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_partners::rejected::{self, Rejected};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{May, Read};
use crate::extract::page::{Page, Paging};
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

/// Webhooks that were refused with 401, the newest first; 50 of each partner are kept. `…/inbound/{id}/verification/` says what
/// was wrong with one.
#[utoipa::path(get, path = "/", tag = "webhooks", operation_id = "list_rejected_webhooks", params(RejectedQuery, Paging),
    responses((status = 200, description = "A page of webhooks", body = Page<RejectedView>)))]
async fn list(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(RejectedQuery { partner }): Query<RejectedQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<RejectedView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = rejected::list(&mut session, partner, paging.limit(), paging.offset()).await?;
    Ok(axum::Json(paging.page(found.into_iter().map(RejectedView::from).collect(), count)?))
}

/// A webhook that was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RejectedWebhook)]
struct RejectedView {
    /// Its id.
    id: Id,
    /// The partner in whose name it came, by its id in the registry.
    partner: Id,
    /// `missing`, `differing`, `wrong` or `stale`.
    #[schema(examples("wrong"))]
    refusal: String,
    /// Pairs of name and value, as they came; credentials that are no signature are masked.
    headers: Vec<(String, String)>,
    /// How long its body was.
    body_bytes: i32,
    /// When it came.
    received_at: Timestamp,
}

impl From<Rejected> for RejectedView {
    fn from(rejected: Rejected) -> Self {
        let Rejected { id, partner, refusal, headers, body_bytes, received_at, .. } = rejected;
        Self { id, partner, refusal, headers: headers.0, body_bytes, received_at }
    }
}

request! {
    /// Which webhooks to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct RejectedQuery {
        /// Only those in the name of this partner, by its id in the registry.
        partner: Option<Id>,
    }
}
