//! Integrations of partners (S001-7, S001-8).

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_partners::integrations::{Integration, IntegrationDraft, Kind};
use recado_partners::partners::check_paragraph;
use recado_partners::registry::{self, Refusal};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{PartnerId, settle};
use crate::auth::{Admin, May};
use crate::extract::body::{Json, MaybeJson};
use crate::extract::fields::{Field, choice};
use crate::extract::path::Segment;
use crate::extract::request::request;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(create)).routes(routes!(revoke))
}

/// Connects a system of a partner (S001-7). Secrets in `configuracion` (API keys, passwords, tokens, at every depth) are
/// sealed, and shown as asterisks.
#[utoipa::path(post, path = "/{id}/integraciones", tag = "integrations",
    params(("id" = Id, Path, description = "Id of the partner")), request_body = IntegrationWrite, responses(
    (status = 201, description = "It is in force", body = IntegrationAnswer),
    (status = 410, description = "`PARTNER_ELIMINADO`")))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    PartnerId(partner): PartnerId,
    Json(IntegrationWrite { tipo, nombre, descripcion, configuracion }): Json<IntegrationWrite>,
) -> Result<(StatusCode, axum::Json<IntegrationAnswer>), Problem> {
    let draft = IntegrationDraft {
        kind: tipo,
        name: nombre,
        description: descripcion,
        configuration: configuracion.unwrap_or_default(),
    };
    let errors = draft.errors();
    if !errors.is_empty() {
        return Err(errors.into());
    }
    let (now, key) = (api.context.clock.now(), api.context.config.secret_key.as_ref());
    let mut session = api.context.db.begin().await?;
    let done = registry::integrate(&mut session, partner, draft, key, &may.actor(), now).await?;
    let integration = settle(&api, session, done).await?;
    let answer = IntegrationAnswer { mensaje: "Integración creada exitosamente", integracion: integration.into() };
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

/// Ends an integration (S001-8). The body may be absent.
#[utoipa::path(put, path = "/integraciones/{id}/revocar", tag = "integrations",
    params(("id" = Id, Path, description = "Id of the integration")), request_body = Option<RevocationWrite>, responses(
    (status = 200, description = "It is revoked", body = Revoked),
    (status = 410, description = "`INTEGRACION_YA_REVOCADA`")))]
async fn revoke(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    IntegrationId(id): IntegrationId,
    MaybeJson(RevocationWrite { motivo }): MaybeJson<RevocationWrite>,
) -> Result<axum::Json<Revoked>, Problem> {
    let mut session = api.context.db.begin().await?;
    let done = registry::revoke(&mut session, id, motivo.as_deref(), &may.actor(), api.context.clock.now()).await?;
    settle(&api, session, done).await?;
    Ok(axum::Json(Revoked { mensaje: "Integración revocada exitosamente", integracion_id: id, motivo }))
}

/// The integration that a URL names. What is no id names none.
struct IntegrationId(Id);

impl<S: Send + Sync> FromRequestParts<S> for IntegrationId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Segment::from_request_parts(parts, state).await;
        Ok(named.map(|Segment(id)| Self(id)).map_err(|_| Refusal::IntegrationNotFound)?)
    }
}

impl Field for Kind {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

request! {
    /// An integration that is to be made.
    #[derive(ToSchema)]
    struct IntegrationWrite {
        /// How data is exchanged.
        tipo: Kind,
        /// Name for people.
        #[schema(min_length = 1, max_length = 255, examples("Integración API REST"))]
        nombre: String,
        /// What it is for.
        #[schema(max_length = 2000, examples("Integración para sincronización de datos"))]
        descripcion: Option<String>,
        /// Whatever the integration needs; at most 64 KiB.
        #[schema(examples(json!({"endpoint": "https://api.partner.com/webhook", "api_key": "secret_key_here"})))]
        configuracion: Option<Map<String, Value>>,
    }
}

request! {
    /// Why an integration ends.
    #[derive(ToSchema)]
    struct RevocationWrite {
        /// The reason, for those who look at it later.
        #[schema(max_length = 2000, examples("Cambio de proveedor de servicios"))]
        motivo: Option<String>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        check_paragraph(&mut errors, "motivo", self.motivo.as_deref());
        errors
    }
}

/// An integration.
#[derive(Serialize, ToSchema)]
#[schema(as = Integration)]
pub(super) struct IntegrationView {
    /// Id of the integration.
    id: Id,
    /// Whose it is.
    partner_id: Id,
    /// How data is exchanged.
    tipo: Kind,
    /// Name for people.
    nombre: String,
    /// What it is for.
    descripcion: Option<String>,
    /// Its settings, with `********` in the place of every secret.
    configuracion: Value,
    /// False: it was revoked.
    activa: bool,
    /// When it was made.
    fecha_creacion: Timestamp,
    /// When it was revoked.
    fecha_revocacion: Option<Timestamp>,
    /// Why it was revoked.
    motivo_revocacion: Option<String>,
}

impl From<Integration> for IntegrationView {
    fn from(integration: Integration) -> Self {
        Self {
            id: integration.id,
            partner_id: integration.partner_id,
            tipo: integration.kind,
            activa: integration.is_in_force(),
            nombre: integration.name,
            descripcion: integration.description,
            configuracion: integration.configuration.0,
            fecha_creacion: integration.created_at,
            fecha_revocacion: integration.revoked_at,
            motivo_revocacion: integration.revocation_reason,
        }
    }
}

/// What was done, and the integration.
#[derive(Serialize, ToSchema)]
struct IntegrationAnswer {
    /// What was done, for people.
    mensaje: &'static str,
    /// The integration as it is now.
    integracion: IntegrationView,
}

/// An integration was revoked.
#[derive(Serialize, ToSchema)]
#[schema(as = RevokedIntegration)]
struct Revoked {
    /// What was done, for people.
    mensaje: &'static str,
    /// Id of the integration.
    integracion_id: Id,
    /// Why, as it was said.
    motivo: Option<String>,
}
