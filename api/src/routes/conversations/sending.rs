//! Staff write into a chat.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_conversations::bridge::{Failure, Target};
use recado_conversations::operations;
use serde::Serialize;
use utoipa::ToSchema;

use super::{bridge_of, operation_problem};
use crate::auth::{Admin, May};
use crate::extract::body::Json;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// The longest text that WhatsApp takes, in characters.
const LONGEST_TEXT: usize = 65_536;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(send))
}

/// Sends a text. It is stored, and bears WhatsApp's own id as soon as that is known.
///
/// A bridge that did not answer in time may have sent it: that is `202`, and it is not sent again.
#[utoipa::path(post, path = "/send-message", tag = "conversations", request_body = SendWrite, responses(
    (status = 200, description = "The bridge took it", body = SentAnswer),
    (status = 202, description = "It may have left: the bridge did not answer in time", body = SentAnswer),
    (status = 400, description = "A field is wrong, or the number is not on WhatsApp"),
    (status = 503, description = "There is no bridge, or it cannot send now; nothing left")))]
async fn send(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Json(SendWrite { chat_id, text }): Json<SendWrite>,
) -> Result<(StatusCode, axum::Json<SentAnswer>), Problem> {
    let target = Target::of(&chat_id).ok_or_else(|| FieldErrors::one("chat_id", super::NO_CHAT_ID))?;
    let bridge = bridge_of(&api)?;
    let given =
        operations::send(&api.context, bridge, &target, &text, &may.actor()).await.map_err(|error| match error {
            operations::Error::Bridge(Failure::Refused(why)) => {
                FieldErrors::one("chat_id", format!("El servicio de WhatsApp lo rechaza: {why}")).into()
            }
            error => operation_problem(error),
        })?;
    let status = if given.is_certain { StatusCode::OK } else { StatusCode::ACCEPTED };
    let message_id = given.whatsapp_id.unwrap_or_else(|| given.message.to_string());
    Ok((status, axum::Json(SentAnswer { success: true, message_id })))
}

request! {
    /// A text to be sent.
    #[derive(ToSchema)]
    struct SendWrite {
        /// WhatsApp's id of the chat: of a person, a group or a LID.
        #[schema(examples("593991234567@c.us", "120363041234567890@g.us"))]
        chat_id: String,
        /// What it says.
        #[schema(min_length = 1, max_length = 65536, examples("¡Hola! Su reserva está confirmada."))]
        text: String,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        if self.text.trim().is_empty() {
            errors.push(("text", "Este campo no puede estar en blanco.".to_owned()));
        }
        if self.text.chars().count() > LONGEST_TEXT {
            errors.push(("text", format!("Asegúrese de que este campo no tenga más de {LONGEST_TEXT} caracteres.")));
        }
        if Target::of(&self.chat_id).is_none() {
            errors.push(("chat_id", super::NO_CHAT_ID.to_owned()));
        }
        errors
    }
}

/// A text was sent.
#[derive(Serialize, ToSchema)]
#[schema(as = WhatsappSent)]
struct SentAnswer {
    /// Always true.
    success: bool,
    /// WhatsApp's id, where the bridge told it; else the id of the message here.
    message_id: String,
}
