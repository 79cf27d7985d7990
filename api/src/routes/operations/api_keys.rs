//! Keys of the API (d21): shown once, kept as a digest.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::api_keys::{self, ApiKey, KeyDraft, Scope, Scopes};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::{Admin, May};
use crate::extract::body::{Form, Whole};
use crate::extract::fields::{Field, Fields, choice};
use crate::extract::once::{Created, IdempotencyHeader, Once};
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::problem::{Conflict, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// Keys, oldest first, those that were revoked too. Of each only the beginning is known.
#[utoipa::path(get, path = "/", tag = "api-keys", params(Paging),
    responses((status = 200, description = "A page of keys", body = Page<KeyView>)))]
async fn list(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    paging: Paging,
) -> Result<axum::Json<Page<KeyView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = api_keys::page(&mut session, paging.limit(), paging.offset()).await?;
    Ok(axum::Json(paging.page(found.into_iter().map(KeyView::from).collect(), count)?))
}

/// Makes a key. The answer shows it, and nothing else ever will. It works at once.
#[utoipa::path(post, path = "/", tag = "api-keys", params(IdempotencyHeader), request_body = KeyDraft,
    responses(
        (status = 201, description = "The key, this once", body = NewKey),
        (status = 422, description = "The Idempotency-Key was used for another request", body = Value,
            content_type = "application/problem+json"),
        (status = 409, description = "It was made with this Idempotency-Key, and is shown but once", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Once { key: once, body: Whole(draft) }: Once<Whole<KeyDraft>>,
) -> Result<Created<NewKey>, Problem> {
    let now = api.context.clock.now();
    let KeyDraft { name, scopes } = draft;
    let scopes = Scopes(scopes);
    let mut session = api.context.db.begin().await?;
    if let Some(made) = once.made::<Id>(&mut session, &may.caller, now).await? {
        return Err(Problem::Conflict(Conflict {
            code: "api-key-shown-once",
            title: "La clave ya se creó",
            detail: format!(
                "Con este Idempotency-Key se creó la clave {made}, que no se muestra otra vez. Revóquela y cree otra con un Idempotency-Key nuevo."
            ),
        }));
    }
    let (id, key) = api_keys::create(&mut session, &name, &scopes, &may.actor(), now).await?;
    once.keep(&mut session, &may.caller, &id).await?;
    session.commit().await?;
    Ok(Created::Now(NewKey { id, name, scopes: scopes.0, created_at: now, key: key.expose_secret().to_owned() }))
}

/// Revokes a key. This process refuses it at once, every other within 30 s.
#[utoipa::path(delete, path = "/{id}", tag = "api-keys", params(("id" = Id, Path, description = "Id of the key")),
    responses((status = 204, description = "It opens nothing any more")))]
async fn revoke(may: May<Admin>, State(api): State<Arc<Api>>, Segment(id): Segment<Id>) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let now = api.context.clock.now();
    let revoked = api_keys::revoke(&mut session, &id.to_string(), &may.actor(), now).await?;
    session.commit().await?;
    api.keys.forget();
    revoked.map(|_| StatusCode::NO_CONTENT).ok_or(Problem::NotFound)
}

/// A key, as far as it is known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct KeyView {
    /// Id of the key.
    id: Id,
    /// Who uses it.
    name: String,
    /// Its first characters, by which a person recognises it.
    #[schema(examples("rk_Zm9vYmF"))]
    prefix: String,
    /// What it may do.
    #[schema(examples(json!(["dispatch", "read"])))]
    scopes: Vec<Scope>,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last used, right to 30 s.
    last_used_at: Option<Timestamp>,
    /// Since when it opens nothing any more.
    revoked_at: Option<Timestamp>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes.0,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = NewApiKey)]
struct NewKey {
    /// Id of the key.
    id: Id,
    /// Who uses it.
    name: String,
    /// What it may do.
    #[schema(examples(json!(["dispatch", "read"])))]
    scopes: Vec<Scope>,
    /// When it was made.
    created_at: Timestamp,
    /// The key itself, for `Authorization: Bearer`. It is shown now and never again.
    #[schema(examples("rk_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE"))]
    key: String,
}

impl Field for Scope {
    fn read(value: Value) -> Result<Self, String> {
        choice(value, Self::ALL, Self::as_str)
    }
}

impl Form for KeyDraft {
    const REQUIRED: &'static [&'static str] = &["name", "scopes"];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set("name", &mut self.name);
        fields.set("scopes", &mut self.scopes);
        fields.check(self.errors());
    }
}
