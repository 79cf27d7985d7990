//! Links, for staff.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_partners::connections::{self, Connection};
use recado_partners::events::PortalAction;
use recado_partners::{partners, portal};
use recado_webhooks::portal::{LONGEST_LIFETIME, SHORTEST_LIFETIME, USUAL_LIFETIME};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Admin, May};
use crate::extract::body::Json;
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::{Conflict, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// Links, for staff.
pub(crate) fn links() -> Routes {
    Routes::new().routes(routes!(create_link)).routes(routes!(revoke_links))
}

/// Makes a link under which a partner sees its own deliveries, sends them again, rotates its secret and tests its signature. Who
/// has the link needs no key: send it to the partner alone. It is good for 24 hours where nothing else is said, 7 days at most.
#[utoipa::path(post, path = "/", tag = "webhooks", operation_id = "create_portal_link", request_body = PortalLinkRequest, responses(
    (status = 201, description = "The link", body = PortalLink),
    (status = 404, description = "There is no such partner with webhooks"),
    (status = 409, description = "PUBLIC_URL or SECRET_KEY is not set, or the partner is deleted")))]
async fn create_link(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Json(asked): Json<PortalLinkRequest>,
) -> Result<(StatusCode, axum::Json<PortalLink>), Problem> {
    let config = &api.context.config;
    let missing = |name| {
        let detail = format!("Falta {name} en el entorno: sin ella no hay enlaces al portal.");
        Problem::Conflict(Conflict { code: "portal-not-configured", title: "El portal no está configurado", detail })
    };
    let public_url = config.public_url.as_deref().ok_or_else(|| missing("PUBLIC_URL"))?;
    let key = config.secret_key.as_ref().ok_or_else(|| missing("SECRET_KEY"))?;
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    let connection = named(&mut session, &asked.partner_id).await?;
    if connection.partner.status == partners::Status::Deleted {
        return Err(Problem::Conflict(Conflict {
            code: "partner-deleted",
            title: "El partner está eliminado",
            detail: "Un partner eliminado no tiene portal.".to_owned(),
        }));
    }
    let pass = portal::pass(&connection, asked.lifetime(), now);
    let rings =
        portal::record(&mut session, connection.partner.id, PortalAction::EnlaceCreado, None, &may.actor(), now)
            .await?;
    session.commit().await?;
    api.context.ring(&rings).await;
    Ok((StatusCode::CREATED, axum::Json(PortalLink { url: pass.url(public_url, key), expires_at: pass.expires_at })))
}

/// Makes all links useless that a partner was given so far.
#[utoipa::path(delete, path = "/{partner_id}", tag = "webhooks", operation_id = "revoke_portal_links",
    params(("partner_id" = String, Path, description = "Id of the partner, its slug or its `partner_id`")), responses(
    (status = 204, description = "They open nothing any more"),
    (status = 404, description = "There is no such partner with webhooks")))]
async fn revoke_links(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(partner_id): Segment<String>,
) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let connection = named(&mut session, &partner_id).await?;
    let rings = portal::revoke(&mut session, connection.partner.id, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    api.context.ring(&rings).await;
    Ok(StatusCode::NO_CONTENT)
}

/// The partner of this id, slug or `partner_id`.
async fn named(session: &mut Session, reference: &str) -> Result<Connection, Problem> {
    let found = match reference.parse::<Id>() {
        Ok(id) => connections::of_partner(session, id).await?,
        Err(_) => connections::find(session, reference).await?,
    };
    let sentence = format!("No hay ningún partner con webhooks \"{}\".", reference.escape_debug());
    found.ok_or(Problem::Nothing(sentence))
}

request! {
    /// A link to the portal that is to be made.
    #[derive(ToSchema)]
    struct PortalLinkRequest {
        /// Id of the partner, its slug or its `partner_id`.
        #[schema(min_length = 1, max_length = 255, examples("findyourwork"))]
        partner_id: String,
        /// For how long it is good.
        #[schema(minimum = 60, maximum = 604800, default = 86400, examples(86400))]
        expires_in_seconds: Option<i64>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let (shortest, longest) = (SHORTEST_LIFETIME.as_secs() as i64, LONGEST_LIFETIME.as_secs() as i64);
        let is_wrong = self.expires_in_seconds.is_some_and(|seconds| !(shortest..=longest).contains(&seconds));
        let error = format!("Debe estar entre {shortest} (un minuto) y {longest} (siete días).");
        is_wrong.then_some(("expires_in_seconds", error)).into_iter().collect()
    }
}

impl PortalLinkRequest {
    pub(super) fn lifetime(&self) -> Duration {
        self.expires_in_seconds.map_or(USUAL_LIFETIME, |seconds| Duration::from_secs(seconds.unsigned_abs()))
    }
}

/// A link to the portal of a partner.
#[derive(Serialize, ToSchema)]
struct PortalLink {
    /// Where it leads. It is a secret: who has it acts for the partner.
    #[schema(examples("https://avisos.example.com/portal/enter/AZ…"))]
    url: String,
    /// Until when it is good.
    expires_at: Timestamp,
}
