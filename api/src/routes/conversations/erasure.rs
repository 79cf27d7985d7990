//! A person who wrote to us asks to be forgotten.

use std::sync::Arc;

use axum::extract::State;
use recado_conversations::erasure::{self, Erased};
use recado_kernel::addresses::normalise_phone;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Admin, May};
use crate::extract::path::Segment;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(forget))
}

/// Forgets a person: their chats and what they said are deleted, and their requests lose what is theirs. Customers of
/// notifications are forgotten at `customers/{customer_id}/?erase=true`, which reaches their chats too.
///
/// The bridge may tell of the last minutes once more: repeat it until it answers 404.
#[utoipa::path(delete, path = "/{phone}", tag = "reservations", operation_id = "erase_whatsapp_person",
    params(("phone" = String, Path, description = "Their number, in any spelling", example = "+593 99 123 4567")),
    responses((status = 200, description = "They are forgotten", body = ErasedView)))]
async fn forget(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(phone): Segment<String>,
) -> Result<axum::Json<ErasedView>, Problem> {
    let spellings: Vec<String> =
        normalise_phone(&phone, &api.context.config.default_country).ok().into_iter().chain([phone]).collect();
    let mut session = api.context.db.begin().await?;
    let erased = erasure::erase(&mut session, &spellings, api.context.clock.now()).await?;
    if erased.is_nothing() {
        return Err(Problem::NotFound);
    }
    session.commit().await?;
    Ok(axum::Json(ErasedView { erased }))
}

/// What was erased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErasedPerson)]
struct ErasedView {
    /// By kind.
    erased: Erased,
}
