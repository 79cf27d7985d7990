//! How an appointment becomes a presence, as staff change it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use recado_crm::mapping::{self, Mapping, example};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::{Admin, May, Read};
use crate::extract::body::Json;
use crate::extract::fields::{Field, Fields};
use crate::extract::request::Request;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show, replace)).routes(routes!(preview))
}

/// The mapping in force.
#[utoipa::path(get, path = "/", tag = "crm", responses((status = 200, description = "The mapping", body = Mapping)))]
async fn show(_: May<Read>, State(api): State<Arc<Api>>) -> Result<axum::Json<Mapping>, Problem> {
    Ok(axum::Json(mapping::current(&mut api.context.db.read().await?).await?))
}

/// Replaces the mapping. It counts for the presences that are made from now on. What is left out gets its default.
#[utoipa::path(put, path = "/", tag = "crm", request_body = Mapping,
    responses((status = 200, description = "The mapping", body = Mapping)))]
async fn replace(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Json(Written(mapping)): Json<Written>,
) -> Result<axum::Json<Mapping>, Problem> {
    let mut session = api.context.db.begin().await?;
    mapping::replace(&mut session, &mapping, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    Ok(axum::Json(mapping))
}

/// Shows what a mapping makes of an example, and keeps nothing.
#[utoipa::path(post, path = "/preview", tag = "crm", request_body = Mapping,
    responses((status = 200, description = "The presence of the example", body = Preview)))]
async fn preview(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Json(Written(mapping)): Json<Written>,
) -> axum::Json<Preview> {
    let zone = api.context.config.crm.time_zone;
    axum::Json(Preview { presence: mapping.presence(&example(zone), zone), documento_temporal: true })
}

/// What a mapping makes of the example.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MappingPreview)]
struct Preview {
    /// The body of the webhook.
    #[schema(value_type = Object)]
    presence: Value,
    /// The document number is the telephone, until the real one is known (d25).
    documento_temporal: bool,
}

/// A mapping without mistakes.
struct Written(Mapping);

impl Request for Written {
    fn read(fields: &mut Fields) -> Option<Self> {
        let mut mapping = Mapping::default();
        fields.set("fields", &mut mapping.fields);
        fields.set("media", &mut mapping.media);
        fields.set("other_medium", &mut mapping.other_medium);
        fields.set("virtual_places", &mut mapping.virtual_places);
        fields.check(mapping.errors());
        Some(Self(mapping))
    }
}

impl Field for BTreeMap<String, String> {
    fn read(value: Value) -> Result<Self, String> {
        serde_json::from_value(value).map_err(|_| "Se esperaba un objeto cuyos valores son textos.".to_owned())
    }
}
