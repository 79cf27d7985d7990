//! Conversations (seed 003), one file per noun. Their URLs stand in `routes/mod.rs`.

pub(super) mod chats;
pub(super) mod codes;
pub(super) mod erasure;
pub(super) mod messages;
pub(super) mod requests;
pub(super) mod sending;
pub(super) mod sessions;
pub(super) mod sync;
pub(super) mod webhooks;

use recado_conversations::bridge::{Bridge, Failure};

use crate::problem::Problem;
use crate::state::Api;

/// What is said of an id to which one cannot write.
const NO_CHAT_ID: &str = "Escriba el id de WhatsApp de un chat, p. ej. 593991234567@c.us o 120363041234567890@g.us.";

/// The bridge, where there is one.
fn bridge_of(api: &Api) -> Result<&Bridge, Problem> {
    api.whatsapp
        .bridge()
        .ok_or_else(|| Problem::Bridge("No hay servicio de WhatsApp: configure WHATSAPP_SERVICE_URL.".to_owned()))
}

/// What the caller is told when the bridge did not do it. Nothing of it is a mistake of ours.
fn bridge_problem(failure: Failure) -> Problem {
    tracing::warn!(%failure, "the WhatsApp bridge did not do what a request asked: {failure}");
    Problem::Bridge(match failure {
        Failure::NotReady => {
            "WhatsApp no está conectado; escanee el código QR de …/superadmin/whatsapp/qr/.".to_owned()
        }
        Failure::Refused(why) => format!("El servicio de WhatsApp lo rechaza: {why}"),
        Failure::Unknown => "El servicio de WhatsApp no respondió a tiempo.".to_owned(),
        Failure::Unreachable(why) => format!("El servicio de WhatsApp no responde como debe: {why}"),
        Failure::Nonsense(why) => {
            format!("Lo que responde no es el servicio de WhatsApp ({why}); revise WHATSAPP_SERVICE_URL.")
        }
    })
}
