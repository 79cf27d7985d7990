//! Whether the commercial application takes presences (S004-11).

use std::sync::Arc;

use axum::extract::State;
use recado_crm::commercial;
use recado_crm::mapping::{self, example};
use recado_kernel::ids::Id;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::KeyHolder;
use crate::problem::Problem;
use crate::routes::webhooks::outcome::{self, Outcome};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(send))
}

/// Sends a complete presence with an id of its own, once, and says how it was taken. A key is wanted here even where the API
/// is open, because a presence is written at the other end.
#[utoipa::path(post, path = "/", tag = "crm", security(("apiKey" = [])),
    responses((status = 200, description = "How it was taken", body = Tested)))]
async fn send(_: KeyHolder, State(api): State<Arc<Api>>) -> Result<axum::Json<Tested>, Problem> {
    let now = api.context.clock.now();
    let zone = api.context.config.crm.time_zone;
    let mut session = api.context.db.begin().await?;
    let mut presence = mapping::current(&mut session).await?.presence(&example(zone), zone);
    presence["id_presencia_crm"] = format!("TEST-{}", Id::new(now)).into();
    let told = commercial::test(&mut session, &api.context.config, &presence, now).await?;
    session.commit().await?;
    let Some(told) = told else {
        let error = "COMERCIAL_WEBHOOK_URL y COMERCIAL_WEBHOOK_TOKEN no están configurados.".to_owned();
        return Ok(axum::Json(Tested { success: false, status_code: None, response: error }));
    };
    api.context.ring(&told.rings).await;
    let outcome = match told.delivery_id {
        Some(id) => outcome::of_first_attempt(&api, id, outcome::TEST_TIMEOUT).await?,
        None => Outcome::default(),
    };
    Ok(axum::Json(Tested {
        success: outcome.delivered,
        status_code: outcome.status_code,
        response: outcome.response.or(outcome.error).unwrap_or_default(),
    }))
}

/// How a test was taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TestWebhookResult)]
struct Tested {
    /// Whether the application took it.
    success: bool,
    /// Its status code; null: no answer came.
    status_code: Option<i32>,
    /// The beginning of its answer, or why there was none.
    response: String,
}
