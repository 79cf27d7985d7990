//! What staff do with sessions, chats, requests and groups. Each writes to the audit log; what was said stands there nowhere.

use std::time::Duration;

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Result, Session};
use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::jobs::Job;
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, NewTask};
use serde_json::{Value, json};

use crate::bindings;
use crate::bridge::{Bridge, Failure, Target};
use crate::chats::listing;
use crate::jobs::TellOperator;
use crate::messages::history;
use crate::notices;
use crate::operators::{self, Operator};
use crate::pacing::{Pacing, Purpose};
use crate::requests::{self, Status, Step};
use crate::sends;
use crate::sessions::{self, BRIDGE, Told};

/// What the audit log calls them.
pub const REQUEST: &str = "reservation_request";
pub const EXPERIENCE: &str = "experience";
pub const OPERATOR: &str = "tour_operator";
pub const SESSION: &str = "whatsapp_session";
pub const CHAT: &str = "whatsapp_chat";

/// What staff decide about a request that is held; see [`requests::decide`].
pub async fn decide(
    session: &mut Session,
    id: Id,
    status: Status,
    step: Step,
    actor: &Actor,
    now: Timestamp,
) -> Result<std::result::Result<Status, Status>> {
    let decided = requests::decide(session, id, status, step, &actor.name, now).await?;
    if let Ok(next) = decided {
        let action = if step == Step::Confirm { "confirm" } else { "reject" };
        let act = Act::new(action, REQUEST, id).changed(json!({ "status": status }), json!({ "status": next }));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(decided)
}

/// Tells the operator again, by any means. `None`: a request that stands so does not allow it.
pub async fn tell_again(
    session: &mut Session,
    id: Id,
    status: Status,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Vec<Ring>>> {
    if !notices::restart(session, id, status, now).await? {
        return Ok(None);
    }
    let task = NewTask::now(Id::new(now), &TellOperator { request_id: id }, now);
    let inserted = tasks::insert(session, &[task]).await?;
    audit::write(session, actor, &Act::new("tell", REQUEST, id), now).await?;
    Ok(Some(inserted.rings))
}

/// Staff choose a group for an experience, or take their choice back.
pub async fn choose_group(
    session: &mut Session,
    experience_id: &str,
    group: Option<Id>,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let before = chosen(session, experience_id).await?;
    match group {
        Some(group) => bindings::choose(session, experience_id, group, now).await?,
        None => bindings::unchoose(session, experience_id).await?,
    }
    let act = Act::new("choose_group", EXPERIENCE, experience_id).changed(before, json!({ "chosen": group }));
    audit::write(session, actor, &act, now).await
}

async fn chosen(session: &mut Session, experience_id: &str) -> Result<Value> {
    let levels = bindings::levels(session, experience_id).await?;
    Ok(json!({ "chosen": levels.and_then(|levels| levels.chosen) }))
}

/// Writes an operator as it is now.
pub async fn change_operator(
    session: &mut Session,
    before: &Operator,
    operator: &Operator,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    operators::write(session, operator, now).await?;
    let facts = |one: &Operator| json!({ "organizer_id": one.organizer_id, "default_group": one.default_group });
    let mut after = facts(operator);
    if before.contact != operator.contact || before.whatsapp_number != operator.whatsapp_number {
        // Names and addresses of people are not written down, but that they changed is.
        after["contact_changed"] = json!(true);
    }
    if before.name != operator.name {
        after["name_changed"] = json!(true);
    }
    let act = Act::new("change", OPERATOR, operator.id).changed(facts(before), after);
    audit::write(session, actor, &act, now).await
}

/// Fetches chats, or the history of one, from the bridge: a job does it. Returns its task.
pub async fn sync(session: &mut Session, job: &impl Job, actor: &Actor, now: Timestamp) -> Result<(Id, Vec<Ring>)> {
    let id = Id::new(now);
    let inserted = tasks::insert(session, &[NewTask::now(id, job, now)]).await?;
    audit::write(session, actor, &Act::new("sync", SESSION, BRIDGE).made(json!({ "task": id })), now).await?;
    Ok((id, inserted.rings))
}

/// Somebody looks at a number or a name that is hidden from others.
pub async fn reveal(session: &mut Session, kind: &'static str, id: Id, actor: &Actor, now: Timestamp) -> Result<()> {
    audit::write(session, actor, &Act::new("reveal", kind, id), now).await
}

/// Why the bridge's session was not started again, or a text not given to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Bridge(#[from] Failure),
    /// The number has sent as much as it may.
    #[error(
        "the number has sent as much as WHATSAPP_DAILY_LIMIT allows in a day; the next text may leave in {} minutes",
        .0.as_secs().div_ceil(60)
    )]
    Paced(Duration),
    #[error("the database did not do its part")]
    Database(#[from] db::Error),
}

/// Starts the bridge's session again: a telephone that is linked connects again, and one that is not gets a new QR code.
///
/// # Errors
/// When the bridge does not do it, or the database fails.
pub async fn restart(context: &Context, bridge: &Bridge, actor: &Actor) -> std::result::Result<(), Error> {
    bridge.restart().await?;
    let now = context.clock.now();
    let told = Told::Status { status: sessions::Status::Disconnected, phone_number: None, push_name: None };
    let mut session = context.db.begin().await?;
    sessions::tell(&mut session, &told, now).await?;
    audit::write(&mut session, actor, &Act::new("restart", SESSION, BRIDGE), now).await?;
    session.commit().await?;
    Ok(())
}

/// A text that was given to the bridge.
#[derive(Clone, Debug)]
pub struct Given {
    /// The message as it is stored here.
    pub message: Id,
    /// WhatsApp's id, where the bridge told it.
    pub whatsapp_id: Option<String>,
    /// `false`: the bridge did not answer in time, so it may have left; it is not sent again.
    pub is_certain: bool,
}

/// Writes a text into a chat.
///
/// # Errors
/// When the number has sent as much as it may, or the bridge refuses; then nothing left.
pub async fn send(
    context: &Context,
    bridge: &Bridge,
    target: &Target,
    text: &str,
    actor: &Actor,
) -> std::result::Result<Given, Error> {
    // A number that sends too much is banned by WhatsApp.
    let pacing = (Pacing::of(&context.config.conversations), Purpose::Other);
    let chat_id = target.chat_id();
    let mut session = context.db.begin().await?;
    let place = sessions::take_place(&mut session, BRIDGE, (&chat_id, text), pacing, context.clock.now()).await?;
    let place = place.map_err(Error::Paced)?;
    session.commit().await?;
    let (whatsapp_id, is_certain) = match bridge.send(target, text).await {
        Ok(sent) => (sent.message_id, true),
        Err(Failure::Unknown) => (None, false),
        Err(failure) => {
            let mut session = context.db.write().await?;
            sends::give_back(&mut session, place).await?;
            session.commit().await?;
            return Err(failure.into());
        }
    };
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let chat = listing::chat_of(&mut session, target, now).await?;
    let message = history::store_sent(&mut session, chat, whatsapp_id.as_deref(), text, now).await?;
    sends::given(&mut session, place, Some(message), now).await?;
    let facts = json!({ "message": message, "characters": text.chars().count() });
    audit::write(&mut session, actor, &Act::new("send", CHAT, chat).made(facts), now).await?;
    session.commit().await?;
    Ok(Given { message, whatsapp_id, is_certain })
}
