//! Every 45 s: asks the bridge how its session is, judges whether to believe it, and tells staff when that changes.
//!
//! The public bridge posts that it is connected, and never that it is not any more (d31a). So it is asked.

use std::sync::Arc;
use std::time::Duration;

use recado_conversations::bridge::{Bridge, Failure};
use recado_conversations::jobs::{AnnounceSession, CatchUp, News, WatchSession};
use recado_conversations::sends;
use recado_conversations::sessions::{self, BRIDGE, Status, WhatsappSession};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::errors::explain;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_queue::context::Context;
use recado_queue::jobs::Job;
use recado_queue::tasks::{self, Claimed, NewTask, State, TaskFilter};
use serde_json::json;

use super::Concierge;
use crate::channels::{Message, Recipient};
use crate::registry::{JobError, Outcome};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(45);

/// When the last look was longer ago than this, this program was away: the public bridge posts what is five minutes old again, and no
/// older.
const LONG_AGO: Duration = Duration::from_secs(5 * 60);

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

pub(super) async fn watch(concierge: Arc<Concierge>, _: Arc<Claimed>, _: WatchSession) -> Result<Outcome, JobError> {
    let Some(bridge) = &concierge.bridge else {
        return Ok(Outcome::Done(json!({ "reason": "there is no bridge any more" })));
    };
    // A database that is away is away for a while; the next look is another one.
    if let Err(error) = look(&concierge.context, bridge).await {
        let error = explain(&error);
        tracing::warn!(error, "the session of WhatsApp could not be looked at: {error}");
    }
    let at = concierge.context.clock.now() + EVERY;
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
    let Some(after) = sessions::find(&mut session, BRIDGE).await? else { return session.commit().await };
    let mut work = Vec::new();
    let news = news(&mut session, before.as_ref(), &after, now).await?;
    if let Some(news) = news {
        log(news, &asked.as_ref().err().map(Failure::to_string).unwrap_or_default());
        if context.config.conversations.alert_email.is_some() {
            work.push(NewTask::now(Id::new(now), &AnnounceSession { news, at: now }, now));
        }
    }
    if let Some(since) = missed_since(before.as_ref(), &after, now) {
        sessions::caught_up(&mut session, BRIDGE, now).await?;
        work.push(NewTask::now(Id::new(now), &CatchUp { since }, now));
    }
    let rings = tasks::insert(&mut session, &work).await?.rings;
    sends::forget(&mut session, now).await?;
    session.commit().await?;
    context.ring(&rings).await;
    Ok(())
}

/// What there is to tell. A session whose texts do not come back is told of once, and so is its return.
async fn news(
    session: &mut Session,
    before: Option<&WhatsappSession>,
    after: &WhatsappSession,
    now: Timestamp,
) -> db::Result<Option<News>> {
    let was_connected = before.map(|before| before.status == Status::Connected);
    if after.status != Status::Connected {
        return Ok((was_connected == Some(true)).then_some(News::Lost));
    }
    let opinion = sessions::judge(session, after, now).await?;
    let changed = sessions::keep(session, BRIDGE, &opinion, now).await?;
    Ok(match (changed, opinion.verdict.is_used()) {
        (true, false) => Some(News::Zombie),
        (true, true) => Some(News::Back),
        (false, _) => (was_connected == Some(false)).then_some(News::Back),
    })
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

fn log(news: News, why: &str) {
    match news {
        News::Lost => tracing::warn!(why, "the WhatsApp session is lost; nothing leaves through the bridge"),
        News::Zombie => {
            tracing::error!(
                "the WhatsApp session calls itself connected, and what is sent does not come back; it rests"
            );
        }
        News::Back => tracing::info!("the WhatsApp session is connected"),
    }
    let word = match news {
        News::Lost => "lost",
        News::Zombie => "zombie",
        News::Back => "back",
    };
    metrics::counter!("recado_whatsapp_session_changes_total", "to" => word).increment(1);
}

pub(super) async fn announce(
    concierge: Arc<Concierge>,
    task: Arc<Claimed>,
    AnnounceSession { news, at }: AnnounceSession,
) -> Result<Outcome, JobError> {
    let Some(address) = &concierge.context.config.conversations.alert_email else {
        return Ok(Outcome::Done(json!({ "told": false, "reason": "WHATSAPP_ALERT_EMAIL is not set" })));
    };
    let zone = concierge.context.config.time_zone;
    let when = at.to_utc().with_timezone(&zone).format("%d/%m/%Y %H:%M");
    let (subject, body) = words(news);
    let message = Message {
        notification_id: task.id,
        correlation_id: task.id,
        recipient: Recipient::Email(address.clone()),
        subject: subject.to_owned(),
        body: format!("{body}\n\nVisto el {when} ({zone})."),
        is_html: false,
        click_url: None,
        unsubscribe_url: None,
        sender: None,
    };
    let mut last = "no mail server is configured; set EMAIL_HOST".to_owned();
    for account in concierge.providers.accounts(None, Channel::Email, None).await? {
        match concierge.providers.send(&account, &message).await {
            Ok(_) => return Ok(Outcome::Done(json!({ "told": true }))),
            Err(failure) => last = failure.reason,
        }
    }
    Err(last.into())
}

/// Subject and text of a mail to staff.
fn words(news: News) -> (&'static str, &'static str) {
    match news {
        News::Lost => (
            "WhatsApp se desconectó",
            "La sesión de WhatsApp ya no está conectada: no entran ni salen mensajes.\n\nSi no vuelve sola en unos minutos, \
             escanee el código QR (recado whatsapp qr). Lo que llegue mientras tanto se recupera al volver.",
        ),
        News::Zombie => (
            "WhatsApp dice estar conectado, pero los mensajes no salen",
            "Los últimos mensajes enviados no aparecen en el teléfono. Los avisos van por el siguiente canal, y la sesión se \
             prueba de nuevo cada 15 minutos.\n\nReinicie la sesión (POST …/superadmin/whatsapp/restart/) o el servicio, y \
             revise que el teléfono tenga conexión.",
        ),
        News::Back => ("WhatsApp está conectado", "La sesión de WhatsApp funciona de nuevo."),
    }
}

impl Concierge {
    /// Whether texts may be given to the session. When that cannot be asked, they may.
    pub(super) async fn is_session_used(&self) -> bool {
        let asked = async {
            let mut session = self.context.db.read().await?;
            sessions::is_used(&mut session, BRIDGE, self.context.clock.now()).await
        };
        asked.await.unwrap_or(true)
    }

    /// Notes that a text was given to the bridge. One that is not noted costs only evidence.
    pub(super) async fn note_sent(&self, chat_id: &str, text: &str) {
        let note = async {
            let mut session = self.context.db.write().await?;
            sends::note(&mut session, BRIDGE, chat_id, text, None, self.context.clock.now()).await?;
            session.commit().await
        };
        if let Err(error) = note.await {
            let error = explain(&error);
            tracing::warn!(error, "a text that was sent could not be noted: {error}");
        }
    }
}
