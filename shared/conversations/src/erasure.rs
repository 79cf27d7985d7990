//! A person asks to be forgotten: their chats and what they said are deleted; of their requests only codes, states and times
//! remain.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::tasks;
use serde::Serialize;
use utoipa::ToSchema;

use crate::sync::runs;
use crate::{chats, messages, requests, sends};

/// What was erased, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ErasedConversations)]
pub struct Erased {
    /// Chats with this person.
    pub chats: u64,
    /// What was said there, and what they said in groups.
    pub messages: u64,
    /// Requests that were emptied of what is theirs.
    pub requests: u64,
    /// Jobs that were cancelled: operators who were about to be told.
    pub cancelled: u64,
}

impl Erased {
    /// Whether there was nothing about this person.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Erases a person who is reached at one of these numbers, in whatever spelling, inside one transaction. Numbers without the code
/// of a country are to be completed before.
pub async fn erase(session: &mut Session, phones: &[String], now: Timestamp) -> Result<Erased> {
    let digits = |phone: &String| phone.chars().filter(char::is_ascii_digit).collect::<String>();
    let phones: Vec<String> = phones.iter().map(digits).filter(|digits| !digits.is_empty()).collect();
    if phones.is_empty() {
        return Ok(Erased::default());
    }
    let chat_ids: Vec<String> = phones.iter().map(|digits| chats::of_phone(digits)).collect();
    // Two chats may have turned out to be of one person.
    let found: Vec<(Id, String)> = sql!(
        all(Id, String),
        session,
        "with theirs as (select id, merged_into from whatsapp_chats where kind = 'individual' and (phone = any($1) or chat_id = any($2)))
         select id, chat_id from whatsapp_chats where id in (
             select id from theirs
             union select merged_into from theirs where merged_into is not null
             union select c.id from whatsapp_chats c join theirs on c.merged_into = theirs.id)",
        Texts(&phones),
        Texts(&chat_ids)
    )?;
    let theirs: Vec<Id> = found.iter().map(|(id, _)| *id).collect();
    let chat_ids: Vec<&str> =
        found.iter().map(|(_, id)| id.as_str()).chain(chat_ids.iter().map(String::as_str)).collect();
    sends::erase(session, &chat_ids).await?;
    runs::erase(session, &chat_ids).await?;
    let of_requests = requests::erase(session, &theirs, &phones, now).await?;
    // A task that tells the operator has the id of its request.
    let cancelled = tasks::cancel(session, &of_requests, now).await?;
    Ok(Erased {
        messages: messages::erase(session, &theirs, &phones).await?,
        chats: sql!(run, session, "delete from whatsapp_chats where id = any($1)", Ids(&theirs))?,
        requests: of_requests.len() as u64,
        cancelled: cancelled.len() as u64,
    })
}
