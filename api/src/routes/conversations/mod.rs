//! Conversations (seed 003), one file per noun. Their URLs stand in `routes/mod.rs`.

pub(crate) mod chats;
pub(crate) mod codes;
pub(crate) mod erasure;
pub(crate) mod evolution;
pub(crate) mod experiences;
pub(crate) mod messages;
pub(crate) mod operators;
pub(crate) mod requests;
pub(crate) mod sending;
pub(crate) mod sessions;
pub(crate) mod sync;
pub(crate) mod webhooks;

use std::sync::Arc;

use recado_conversations::bindings::{self, Group, Unfit};
use recado_conversations::bridge::{Bridge, Failure};
use recado_conversations::operations;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::extract::fields::Field;
use crate::extract::request::request;
use crate::problem::{FieldErrors, MISSING, Problem};
use crate::state::Api;

request! {
    /// A group that is to be told, or none.
    #[derive(ToSchema)]
    #[schema(as = WhatsappGroupChoice)]
    struct GroupChoice {
        /// Id of the chat of a group, as `groups/` lists it; null takes the choice back.
        #[schema(value_type = Option<Id>, required)]
        group_id: Option<Option<ChatRef>>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        // What is missing changes nothing: only null unlinks.
        self.group_id.is_none().then(|| ("group_id", MISSING.to_owned())).into_iter().collect()
    }
}

/// The id of a chat. A blank text is no id, and no null either.
struct ChatRef(Id);

impl Field for ChatRef {
    const BLANK_IS_NOTHING: bool = false;

    fn read(value: Value) -> Result<Self, String> {
        Id::read(value).map(Self)
    }
}

impl GroupChoice {
    fn chosen(&self) -> Option<Id> {
        self.group_id.as_ref().and_then(Option::as_ref).map(|ChatRef(id)| *id)
    }
}

/// A group as experiences and operators show it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhatsappGroupRef)]
struct GroupRef {
    /// Id of its chat.
    id: Id,
    /// WhatsApp's own id.
    #[schema(examples("120363041234567890@g.us"))]
    chat_id: String,
    /// Its name; null where the bridge did not say.
    #[schema(examples("Operador Andes"))]
    name: Option<String>,
}

impl From<Group> for GroupRef {
    fn from(Group { id, chat_id, name }: Group) -> Self {
        Self { id, chat_id, name }
    }
}

/// An organizer as experiences and operators show it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrganizerRef)]
struct OrganizerRef {
    /// The other system's id.
    #[schema(examples("org-7"))]
    id: String,
    /// Its name.
    #[schema(examples("Andes Expediciones"))]
    name: String,
}

/// The reference of an organizer that was found with something else.
fn organizer(id: Option<String>, name: Option<String>) -> Option<OrganizerRef> {
    id.map(|id| OrganizerRef { name: name.unwrap_or_else(|| id.clone()), id })
}

/// The group that a request names (S003-27).
async fn group(session: &mut Session, id: Id) -> Result<Result<Group, Unfit>, Problem> {
    Ok(bindings::fit(session, id).await?)
}

fn no_group() -> Problem {
    FieldErrors::one("group_id", "Este chat es de una persona; elija un grupo.").into()
}

/// The country of numbers that are written without one.
fn country(api: &Arc<Api>) -> &str {
    &api.context.config.default_country
}

/// What is said of an id to which one cannot write.
const NO_CHAT_ID: &str = "Escriba el id de WhatsApp de un chat, p. ej. 593991234567@c.us o 120363041234567890@g.us.";

/// The bridge, where there is one.
fn bridge_of(api: &Api) -> Result<&Bridge, Problem> {
    api.whatsapp
        .bridge()
        .ok_or_else(|| Problem::Bridge("No hay servicio de WhatsApp: configure WHATSAPP_SERVICE_URL.".to_owned()))
}

/// What the caller is told when an operation of staff was not done.
fn operation_problem(error: operations::Error) -> Problem {
    match error {
        operations::Error::Bridge(failure) => bridge_problem(failure),
        operations::Error::Paced(wait) => Problem::Throttled { seconds: wait.as_secs().max(1) },
        operations::Error::Database(error) => error.into(),
    }
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
