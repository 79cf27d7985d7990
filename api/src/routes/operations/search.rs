//! One question that finds everything.

use std::sync::Arc;

use axum::extract::State;
use recado_systems::search::{self, Answer, Kind, LONGEST, Sought};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{May, Read};
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(find))
}

/// Finds customers by name, identifier, mail address and number, vehicles by plate, and whatever has an id, ours or a provider's.
///
/// Grouped by kind, at most ten of each. Mail addresses and numbers are found as a whole, however they are written; any part of them
/// only for keys with the scope `contacts` or `admin`. What is looked for stands in no log.
#[utoipa::path(get, path = "/", tag = "operations", params(SearchQuery),
    responses((status = 200, description = "What was found", body = SearchView)))]
async fn find(
    May { caller, .. }: May<Read>,
    State(api): State<Arc<Api>>,
    Query(SearchQuery { q }): Query<SearchQuery>,
) -> Result<axum::Json<SearchView>, Problem> {
    let mut session = api.context.db.read().await?;
    let catalogue = api.notifications.catalogue.current(&mut session).await?;
    let sought = Sought { text: &q, sees_addresses: caller.sees_contacts() };
    let Answer { found, more } = search::find(&mut session, &catalogue, sought).await?;
    let view = |one: search::Found| FoundView { kind: one.kind, key: one.key, name: one.name, detail: one.detail };
    Ok(axum::Json(SearchView { results: found.into_iter().map(view).collect(), more_of: more.into_iter().collect() }))
}

request! {
    /// What is looked for.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct SearchQuery {
        /// A name, a mail address, a number, a plate, a `RES-` code, or an id.
        #[param(max_length = 200)]
        q: String = String::new(),
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let is_long = self.q.chars().count() > LONGEST;
        is_long.then(|| ("q", format!("Asegúrese de que este campo no tenga más de {LONGEST} caracteres."))).into_iter().collect()
    }
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SearchResults)]
struct SearchView {
    /// Grouped by kind.
    results: Vec<FoundView>,
    /// Kinds of which there are more than are told.
    more_of: Vec<Kind>,
}

/// Something that was found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SearchResult)]
struct FoundView {
    /// What it is.
    kind: Kind,
    /// What names it in URLs.
    #[schema(examples("customer-001"))]
    key: String,
    /// How people call it.
    #[schema(examples("Carlos Mendoza"))]
    name: String,
    /// What tells it from others; addresses are masked.
    #[schema(examples("customer-001 · c***@example.com"))]
    detail: String,
}
