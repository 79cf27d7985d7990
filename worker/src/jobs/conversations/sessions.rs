//! Every 45 s: asks the bridge how its session is, judges whether to believe it, and tells staff when that changes.
//!
//! The public bridge posts that it is connected, and never that it is not any more (d31a). So it is asked.

use std::sync::Arc;
use std::time::Duration;

use recado_conversations::bridge::{Bridge, Failure};
use recado_conversations::health::{Announcement, Standing};
use recado_conversations::jobs::{AnnounceSession, CatchUp, WatchSession};
use recado_conversations::pacing::{Pacing, Purpose};
use recado_conversations::sessions::{self, BRIDGE, Status, WhatsappSession};
use recado_conversations::sync::SyncError;
use recado_conversations::{sends, sync};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_partners::payload::payload;
use recado_partners::system as partners;
use recado_queue::context::Context;
use recado_queue::jobs::Job;
use recado_queue::ring::Ring;
use recado_queue::tasks::{self, Claimed, NewTask, State, TaskFilter};
use recado_webhooks::deliveries::{self, Delivery};
use recado_webhooks::endpoints;
use serde_json::json;

use super::ConversationJobs;
use crate::channels::{Message, Recipient};
use crate::registry::{JobError, Outcome};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(45);

/// When the last look was longer ago than this, this program was away: the public bridge posts what is five minutes old again, and no
/// older.
const LONG_AGO: Duration = Duration::from_secs(5 * 60);

/// Between two comparisons of the bridge's chats with ours.
const COMPARE_EVERY: Duration = Duration::from_secs(5 * 60);

/// Sees that the session is watched, where there is a bridge. There is one such task, however many workers start.
pub(crate) async fn begin(context: &Context) -> db::Result<()> {
    if context.config.conversations.bridge.is_none() {
        return Ok(());
    }
    let now = context.clock.now();
    let mut session = context.db.read().await?;
    for state in [State::Scheduled, State::Queued, State::Started] {
        let filter =
            TaskFilter { kind: Some(WatchSession::KIND.name.to_owned()), state: Some(state), ..TaskFilter::default() };
        if !tasks::list(&mut session, &filter, 1).await?.tasks.is_empty() {
            return Ok(());
        }
    }
    drop(session);
    // Workers that start together have one.
    let minute = now.as_micros() / 60_000_000;
    let task =
        NewTask::now(Id::new(now), &WatchSession {}, now).unique(format!("{}:{minute}", WatchSession::KIND.name));
    let mut session = context.db.write().await?;
    let inserted = tasks::insert(&mut session, &[task]).await?;
    session.commit().await?;
    context.ring(&inserted.rings).await;
    Ok(())
}

pub(super) async fn watch(
    conversations: Arc<ConversationJobs>,
    _: Arc<Claimed>,
    _: WatchSession,
) -> Result<Outcome, JobError> {
    let Some(bridge) = &conversations.bridge else {
        return Ok(Outcome::Done(json!({ "reason": "there is no bridge any more" })));
    };
    // A database that is away is away for a while; the next look is another one.
    if let Err(error) = look(&conversations.context, bridge).await {
        let error = explain(&error);
        tracing::warn!(error, "the session of WhatsApp could not be looked at: {error}");
    }
    let at = conversations.context.clock.now() + EVERY;
    Ok(Outcome::Later { at, lane: WatchSession::KIND.lane, because: None })
}

async fn look(context: &Context, bridge: &Bridge) -> db::Result<()> {
    let asked = bridge.status().await;
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let before = sessions::find(&mut session, BRIDGE).await?;
    match &asked {
        Ok(status) => sessions::observe(&mut session, BRIDGE, status, now).await?,
        Err(_) => sessions::miss(&mut session, BRIDGE, now).await?,
    }
    let is_connecting = asked.as_ref().is_ok_and(|status| status.is_connecting);
    let grace = context.config.conversations.reconnect_grace;
    let why = asked.as_ref().err().map(Failure::to_string).unwrap_or_default();
    let (mut work, mut rings) = (Vec::new(), Vec::new());
    for known in sessions::all(&mut session).await? {
        let standing = standing(&mut session, &known, now).await?;
        let lost_for = known.lost_at.map(|lost| now.since(lost)).unwrap_or_default();
        if standing.is_early(is_connecting && known.name == BRIDGE, lost_for, grace) {
            continue;
        }
        let announcement = standing.after(known.announced);
        if announcement != Announcement::Nothing {
            sessions::announce(&mut session, &known.name, standing).await?;
        }
        if announcement == Announcement::Tell {
            log(&known.name, standing, &why);
            rings.extend(tell_endpoints(&mut session, &known, standing, now).await?);
            if context.config.conversations.alert_email.is_some() {
                let job = AnnounceSession { session: known.name.clone(), standing, at: now };
                work.push(NewTask::now(Id::new(now), &job, now));
            }
        }
    }
    let after = sessions::find(&mut session, BRIDGE).await?;
    if let Some(since) = after.as_ref().and_then(|after| missed_since(before.as_ref(), after, now)) {
        sessions::caught_up(&mut session, BRIDGE, now).await?;
        work.push(NewTask::now(Id::new(now), &CatchUp { since }, now));
    }
    rings.extend(tasks::insert(&mut session, &work).await?.rings);
    sends::forget(&mut session, now).await?;
    session.commit().await?;
    context.ring(&rings).await;
    match after {
        Some(after) if after.status == Status::Connected => compare(context, bridge, &after).await,
        _ => Ok(()),
    }
}

/// How a session stands. Only that of the bridge is asked, so only its word is doubted.
async fn standing(session: &mut Session, known: &WhatsappSession, now: Timestamp) -> db::Result<Standing> {
    if known.status != Status::Connected {
        return Ok(Standing::of(None));
    }
    if known.name != BRIDGE {
        return Ok(Standing::Sound);
    }
    let opinion = sessions::judge(session, known, now).await?;
    sessions::keep(session, BRIDGE, &opinion, now).await?;
    Ok(Standing::of(Some((opinion.verdict, opinion.is_silent))))
}

/// Now and then the bridge's chats are compared with ours: webhooks that do not arrive are found out so, whatever keeps them away.
async fn compare(context: &Context, bridge: &Bridge, known: &WhatsappSession) -> db::Result<()> {
    let now = context.clock.now();
    if known.compared_at.is_some_and(|compared| now.since(compared) < COMPARE_EVERY) {
        return Ok(());
    }
    // What was said before the session was known here is none of ours.
    let from = known.caught_up_at.unwrap_or(known.created_at).max(known.created_at);
    let missed = match sync::behind(context, bridge, from).await {
        Ok(missed) => missed,
        Err(SyncError::Database(error)) => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "the chats of WhatsApp could not be compared with ours: {error}");
            None
        }
    };
    let mut session = context.db.begin().await?;
    sessions::compared(&mut session, BRIDGE, now).await?;
    let mut rings = Vec::new();
    if let Some(since) = missed {
        tracing::warn!("the WhatsApp bridge has messages whose webhooks did not come; they are fetched");
        sessions::caught_up(&mut session, BRIDGE, now).await?;
        let task = NewTask::now(Id::new(now), &CatchUp { since }, now);
        rings = tasks::insert(&mut session, &[task]).await?.rings;
    }
    session.commit().await?;
    context.ring(&rings).await;
    Ok(())
}

/// A webhook to every endpoint that names the event's type; a subscription to everything is not meant. It is written with what is
/// known from now on, so it is told once. What receivers are told are names and states, never numbers.
async fn tell_endpoints(
    session: &mut Session,
    known: &WhatsappSession,
    standing: Standing,
    now: Timestamp,
) -> db::Result<Vec<Ring>> {
    let event_type = standing.event_type();
    let since = match standing {
        Standing::Lost => known.lost_at,
        Standing::Zombie => known.zombie_since.or(Some(now)),
        Standing::Silent | Standing::Sound => None,
    };
    let data = json!({
        "session": known.name,
        "standing": standing,
        "before": known.announced,
        "status": known.status,
        "since": since,
        "at": now,
    });
    let body = payload(event_type, &data, now);
    let listening = endpoints::listening(session, partners::NAME).await?;
    let made: Vec<Delivery> = listening
        .iter()
        .filter(|one| one.events.is_some() && one.wants(event_type))
        .map(|one| Delivery::of_event(one, event_type, &body, now).map(|made| made.about(known.name.clone())))
        .collect::<Result<_, _>>()
        .expect("names and words have a canonical form");
    deliveries::send(session, &made, now).await
}

/// Since when messages may have been missed, if any: the session was lost and is back, or it has not been looked at for long.
fn missed_since(before: Option<&WhatsappSession>, after: &WhatsappSession, now: Timestamp) -> Option<Timestamp> {
    if after.status != Status::Connected {
        return None;
    }
    let lost = after.lost_at.filter(|lost| after.caught_up_at.is_none_or(|caught_up| caught_up < *lost));
    let unseen = before.and_then(|before| before.last_seen_at).filter(|seen| now.since(*seen) > LONG_AGO);
    [lost, unseen].into_iter().flatten().min()
}

fn log(session: &str, standing: Standing, why: &str) {
    match standing {
        Standing::Lost => {
            tracing::warn!(session, why, "the WhatsApp session is lost; nothing leaves through the bridge");
        }
        Standing::Zombie => {
            tracing::error!(
                session,
                "the WhatsApp session calls itself connected, and what is sent does not come back; it rests"
            );
        }
        Standing::Silent => {
            tracing::warn!(session, "no message has come through the WhatsApp session for longer than is usual");
        }
        Standing::Sound => tracing::info!(session, "the WhatsApp session has recovered"),
    }
    metrics::counter!("recado_whatsapp_session_changes_total", "to" => standing.as_str()).increment(1);
}

pub(super) async fn announce(
    conversations: Arc<ConversationJobs>,
    task: Arc<Claimed>,
    AnnounceSession { session: name, standing, at }: AnnounceSession,
) -> Result<Outcome, JobError> {
    let Some(address) = &conversations.context.config.conversations.alert_email else {
        return Ok(Outcome::Done(json!({ "told": false, "reason": "WHATSAPP_ALERT_EMAIL is not set" })));
    };
    let zone = conversations.context.config.time_zone;
    let when = at.to_utc().with_timezone(&zone).format("%d/%m/%Y %H:%M");
    let (subject, body) = words(standing);
    let which = if name == BRIDGE { String::new() } else { format!("\n\nSesión: {name}.") };
    let message = Message {
        notification_id: task.id,
        correlation_id: task.id,
        recipient: Recipient::Email(address.clone()),
        subject: subject.to_owned(),
        body: format!("{body}{which}\n\nVisto el {when} ({zone})."),
        is_html: false,
        click_url: None,
        unsubscribe_url: None,
        sender: None,
    };
    let mut last = "no mail server is configured; set EMAIL_HOST".to_owned();
    for account in conversations.providers.accounts(None, Channel::Email, None).await? {
        match conversations.providers.send(&account, &message).await {
            Ok(_) => return Ok(Outcome::Done(json!({ "told": true }))),
            Err(failure) => last = failure.reason,
        }
    }
    Err(last.into())
}

/// Subject and text of a mail to staff.
fn words(standing: Standing) -> (&'static str, &'static str) {
    match standing {
        Standing::Lost => (
            "WhatsApp se desconectó",
            "La sesión de WhatsApp ya no está conectada: no entran ni salen mensajes.\n\nSi no vuelve sola en unos minutos, \
             escanee el código QR (recado whatsapp qr). Lo que llegue mientras tanto se recupera al volver.",
        ),
        Standing::Zombie => (
            "WhatsApp dice estar conectado, pero los mensajes no salen",
            "Los últimos mensajes enviados no aparecen en el teléfono. Los avisos van por el siguiente canal, y la sesión se \
             prueba de nuevo cada 15 minutos.\n\nReinicie la sesión (POST …/superadmin/whatsapp/restart/) o el servicio, y \
             revise que el teléfono tenga conexión.",
        ),
        Standing::Silent => (
            "Por WhatsApp no llega ningún mensaje",
            "La sesión dice estar conectada, pero hace más tiempo de lo habitual que no llega ningún mensaje.\n\nEscriba al \
             número desde otro teléfono. Si el mensaje no aparece, los webhooks no llegan: revise el registro del servicio de \
             WhatsApp y reinicie la sesión.",
        ),
        Standing::Sound => ("WhatsApp está conectado", "La sesión de WhatsApp funciona de nuevo."),
    }
}

impl ConversationJobs {
    /// Whether texts may be given to the session. When that cannot be asked, they may.
    pub(super) async fn is_session_used(&self) -> bool {
        let asked = async {
            let mut session = self.context.db.read().await?;
            sessions::is_used(&mut session, BRIDGE, self.context.clock.now()).await
        };
        asked.await.unwrap_or(true)
    }

    /// Takes a place for a notice within what the number may send in a day. `Err` within: how long it has to wait.
    pub(super) async fn take_place(&self, chat_id: &str, text: &str) -> db::Result<Result<Id, Duration>> {
        let pacing = (Pacing::of(&self.context.config.conversations), Purpose::Notice);
        let (mut session, now) = (self.context.db.begin().await?, self.context.clock.now());
        let place = sessions::take_place(&mut session, BRIDGE, (chat_id, text), pacing, now).await?;
        session.commit().await?;
        Ok(place)
    }

    /// Notes that a text was given to the bridge, or that it was not. What is not noted costs only evidence.
    pub(super) async fn settle_place(&self, place: Id, is_given: bool) {
        let note = async {
            let mut session = self.context.db.write().await?;
            match is_given {
                true => sends::given(&mut session, place, None, self.context.clock.now()).await?,
                false => sends::give_back(&mut session, place).await?,
            }
            session.commit().await
        };
        if let Err(error) = note.await {
            let error = explain(&error);
            tracing::warn!(error, "a text that was sent could not be noted: {error}");
        }
    }
}
