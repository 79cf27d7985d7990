//! Reservation codes, issued to the checkout that shows them to a customer (S003-23).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_conversations::codes;
use recado_kernel::clock::Timestamp;
use recado_kernel::fields::check_text;
use recado_kernel::ids::Id;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::auth::{Dispatch, May};
use crate::extract::body::Json;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(issue))
}

/// Issues a code for an experience. A customer who writes it in a chat of ours asks for a reservation; it holds for 24 hours.
#[utoipa::path(post, path = "/", tag = "reservations", operation_id = "generate_reservation_code",
    request_body = CodeWrite, responses((status = 201, description = "The code", body = CodeView)))]
async fn issue(
    _: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Json(CodeWrite { experience_id, checkout_data }): Json<CodeWrite>,
) -> Result<(StatusCode, axum::Json<CodeView>), Problem> {
    let now = api.context.clock.now();
    let day = now.date_in(api.context.config.time_zone);
    let mut session = api.context.db.begin().await?;
    let issued = codes::issue(&mut session, &experience_id, &checkout_data.unwrap_or_default(), day, now).await?;
    let issued = issued.ok_or_else(|| {
        let error = "No existe esa experiencia. Regístrela con PUT /api/v1/superadmin/whatsapp/experiences/{id}/.";
        FieldErrors::one("experience_id", error)
    })?;
    session.commit().await?;
    let code =
        CodeView { code: issued.code, expires_at: issued.expires_at, code_id: issued.id, product_type: "experience" };
    Ok((StatusCode::CREATED, axum::Json(code)))
}

request! {
    /// For what a code is issued.
    #[derive(ToSchema)]
    #[schema(as = ReservationCodeWrite)]
    struct CodeWrite {
        /// The experience, by its id in your system.
        #[schema(min_length = 1, max_length = 100, examples("exp-7"))]
        experience_id: String,
        /// What the checkout knows; `participants.total` is the number of people.
        #[schema(value_type = Option<Object>, examples(json!({"participants": {"total": 4}})))]
        checkout_data: Option<Map<String, Value>>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        if self.experience_id.trim().is_empty() {
            errors.push(("experience_id", "Este campo no puede estar en blanco.".to_owned()));
        }
        check_text(&mut errors, "experience_id", Some(&self.experience_id), 100);
        errors
    }
}

/// A code.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReservationCode)]
struct CodeView {
    /// What the customer writes.
    #[schema(examples("RES-ISLAS--20260120-9F86D081"))]
    code: String,
    /// Until when it holds.
    expires_at: Timestamp,
    /// Id of the code.
    code_id: Id,
    /// Always `experience`.
    #[schema(examples("experience"))]
    product_type: &'static str,
}
