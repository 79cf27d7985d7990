//! Messages that a provider has on record and of which no attempt got an answer: to which of ours each belongs. The same
//! words may go to the same person twice, and a record belongs to one message only.

use std::collections::HashSet;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::sql;

use super::Notification;

/// Messages that are older do not count as [`rivals`]: their attempts ended long ago.
const RIVALS_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Which other messages could own a record as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rivalry {
    /// The record names the recipient: messages to the same address that are being sent now. One of unknown outcome is no
    /// rival: which of the two records is whose makes no difference then.
    SameRecipient,
    /// The record does not say to whom it went: messages to anyone that are being sent now, or may have left, also those whose
    /// channel was given up in doubt.
    AnyRecipient,
}

/// Which of these names belong to other messages than this one.
pub async fn taken(session: &mut Session, provider_message_ids: &[&str], own: Id) -> Result<HashSet<String>> {
    let rows: Vec<(String,)> = sql!(
        all(String,),
        session,
        "select provider_message_id from attempts where provider_message_id = any($1) and notification_id <> $2
         union
         select provider_message_id from found_messages where provider_message_id = any($1) and notification_id <> $2",
        Texts(provider_message_ids),
        own
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// How many other messages with the same words a record could belong to.
pub async fn rivals(session: &mut Session, of: &Notification, rivalry: Rivalry, now: Timestamp) -> Result<usize> {
    let count: Option<(i64,)> = sql!(
        one(i64,),
        session,
        "select count(*) from notifications n join tasks t on t.id = n.task_id
         where n.created_at >= $1 and n.channel = $2 and n.status in ('queued', 'failed') and n.body = $3 and n.id <> $4
           and ((n.recipient_address = $5 and t.state = 'started' and n.status = 'queued' and n.unknown_since is null)
                or ($6 and (n.unknown_since is not null or (n.status = 'queued' and (t.state = 'started' or t.cut_off)))))",
        now - RIVALS_WINDOW,
        of.channel.as_str(),
        of.body.as_str(),
        of.id,
        of.recipient_address.as_str(),
        rivalry == Rivalry::AnyRecipient
    )?;
    Ok(count.map_or(0, |(count,)| usize::try_from(count).unwrap_or_default()))
}

/// Gives a record to a message, unless another one has it. Returns whether it has it now.
pub async fn take(session: &mut Session, provider_message_id: &str, own: Id) -> Result<bool> {
    sql!(
        run,
        session,
        "insert into found_messages (provider_message_id, notification_id) values ($1, $2) on conflict do nothing",
        provider_message_id,
        own
    )?;
    let owner: Option<(Id,)> = sql!(
        one(Id,),
        session,
        "select notification_id from found_messages where provider_message_id = $1",
        provider_message_id
    )?;
    Ok(owner.is_some_and(|(owner,)| owner == own))
}
