//! Sessions of WhatsApp: whether a message would leave, what is wrong when it would not, the QR code, and the pace.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_conversations::bridge::Bridge;
use recado_conversations::jobs::SyncChats;
use recado_conversations::operations::{self, Error};
use recado_conversations::pacing::Pacing;
use recado_conversations::sends;
use recado_conversations::sessions::{self, BRIDGE, Status, Told, WhatsappSession};
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::qr::Drawing;
use recado_queue::context::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Console;
use crate::auth::{Administer, Look, May, Operate};
use crate::failure::Failure;
use crate::live::Topic;
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Markup, Page, html};
use crate::pages::endpoints::commit;

const PATH: &str = "/admin/whatsapp/";

/// How a session stands, as plain data.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Facts {
    name: String,
    /// It is the bridge's, and no account of Evolution.
    is_bridge: bool,
    /// A message would leave, as far as is known.
    is_sound: bool,
    status: Status,
    number: Option<String>,
    push_name: Option<String>,
    /// Since when it stands so.
    since_us: Option<i64>,
    seen_us: Option<i64>,
    confirmed_us: Option<i64>,
    unconfirmed: i64,
    warnings: Vec<String>,
    qr: Option<String>,
    sent: i64,
    /// How many may leave within 24 hours; `None`: as many as one likes.
    limit: Option<i64>,
    daily_limit: i64,
    /// Days until the whole limit holds.
    warm_up_left: i64,
}

impl Facts {
    async fn of(context: &Context, session: &mut db::Session, known: WhatsappSession) -> db::Result<Self> {
        let now = context.clock.now();
        let is_bridge = known.name == BRIDGE;
        let is_connected = known.status == Status::Connected;
        let opinion = if is_connected { Some(sessions::judge(session, &known, now).await?) } else { None };
        let lately = sends::lately(session, &known.name, now).await?;
        let pacing = Pacing::of(&context.config.conversations);
        let limit = if is_bridge { pacing.limit_at(Some(known.created_at), now) } else { None };
        let age_days = i64::try_from(now.since(known.created_at).as_secs() / 86_400).unwrap_or(i64::MAX);
        let mut warnings: Vec<String> =
            opinion.iter().flat_map(sessions::Opinion::warnings).map(str::to_owned).collect();
        if !is_connected {
            warnings.push(format!("not_connected_{}", known.status));
        }
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
        Ok(Self {
            is_bridge,
            is_sound: opinion.is_some_and(|opinion| opinion.verdict.is_used()),
            status: known.status,
            number: known.phone_number.as_deref().map(masking::phone),
            push_name: known.push_name,
            since_us: micros(if is_connected { known.connected_at } else { known.lost_at }),
            seen_us: micros(known.last_seen_at),
            confirmed_us: micros(opinion.and_then(|opinion| opinion.last_confirmed)),
            unconfirmed: opinion.map_or(0, |opinion| opinion.unconfirmed),
            warnings,
            qr: known.qr_code.filter(|_| known.status == Status::QrPending),
            sent: lately.last_day,
            limit: limit.map(i64::from),
            daily_limit: pacing.daily_limit.into(),
            warm_up_left: (i64::from(pacing.warm_up_days) - age_days).max(0),
            name: known.name,
        })
    }

    fn tone(&self) -> &'static str {
        match (self.is_sound, self.status) {
            (true, _) if self.warnings.is_empty() => "success",
            (true, _) => "warning",
            (false, Status::QrPending) => "started",
            (false, _) => "dead",
        }
    }

    fn at(&self, us: &i64) -> Timestamp {
        Timestamp::from_micros(*us)
    }

    /// The code, drawn. Its size is an attribute; it has no words of others in it.
    fn drawing(&self) -> Option<Markup> {
        self.qr.as_deref().and_then(Drawing::of).map(|drawing| Markup(drawing.svg()))
    }

    fn left(&self) -> i64 {
        self.limit.map_or(0, |limit| (limit - self.sent).max(0))
    }

    fn percent(&self) -> i64 {
        self.limit.map_or(0, |limit| (100 * self.sent / limit.max(1)).clamp(0, 100))
    }
}

async fn all(context: &Context) -> db::Result<Vec<Facts>> {
    let mut session = context.db.read().await?;
    let mut facts = Vec::new();
    for known in sessions::all(&mut session).await? {
        facts.push(Facts::of(context, &mut session, known).await?);
    }
    facts.sort_by_key(|one| !one.is_bridge);
    Ok(facts)
}

/// All sessions.
pub(crate) const SESSIONS: Topic = Topic { name: "whatsapp", sample, draw };

fn sample<'a>(context: &'a Context, _: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move { Ok(json!(all(context).await?)) }.boxed()
}

#[derive(Template)]
#[template(path = "whatsapp/sessions.html")]
struct SessionsPart<'a> {
    page: &'a Page,
    sessions: Vec<Facts>,
}

fn draw(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(sessions) = Vec::<Facts>::deserialize(value) else { return Vec::new() };
    let part = SessionsPart { page, sessions };
    part.render().map(|html| vec![("sessions".to_owned(), html)]).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "whatsapp/show.html")]
struct ShowPage {
    page: Page,
    sessions: Vec<Facts>,
    has_bridge: bool,
    instances: Vec<String>,
}

/// `/admin/whatsapp/`
pub(crate) async fn show(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let settings = &console.context.config.conversations;
    let page = Page::new(&console, &may.visit, "whatsapp", "whatsapp-title").watching("whatsapp".to_owned());
    let sessions = all(&console.context).await?;
    let heard = |name: &&String| !sessions.iter().any(|one| one.name == **name);
    html(&ShowPage {
        instances: settings.evolution_instances.iter().filter(heard).cloned().collect(),
        has_bridge: settings.bridge.is_some(),
        sessions,
        page,
    })
}

fn bridge(console: &Console) -> Option<Bridge> {
    Bridge::new(&console.context.config).ok().flatten()
}

/// Asks the bridge how it is at this moment, and for the code where one waits.
pub(crate) async fn check(may: May<Operate>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let Some(bridge) = bridge(&console) else { return Ok(then(PATH, &Notice::new("whatsapp-no-bridge", 0))) };
    let asked = bridge.status().await;
    let code = match &asked {
        Ok(status) if !status.is_ready => bridge.qr().await.ok().flatten(),
        _ => None,
    };
    let now = may.visit.now;
    let mut session = console.context.db.begin().await?;
    match (&asked, code) {
        (Ok(_), Some(qr)) => sessions::tell(&mut session, &Told::Qr { qr }, now).await?,
        (Ok(status), None) => sessions::observe(&mut session, BRIDGE, status, now).await?,
        (Err(_), _) => sessions::miss(&mut session, BRIDGE, now).await?,
    }
    if let Some(known) = sessions::find(&mut session, BRIDGE).await?
        && known.status == Status::Connected
    {
        let opinion = sessions::judge(&mut session, &known, now).await?;
        sessions::keep(&mut session, BRIDGE, &opinion, now).await?;
    }
    session.commit().await?;
    let notice = if asked.is_ok() { Notice::new("whatsapp-asked", 1) } else { Notice::new("whatsapp-silent", 1) };
    Ok(then(PATH, &notice))
}

/// Starts the bridge's session again.
pub(crate) async fn restart(may: May<Administer>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let Some(bridge) = bridge(&console) else { return Ok(then(PATH, &Notice::new("whatsapp-no-bridge", 0))) };
    match operations::restart(&console.context, &bridge, &may.visit.actor()).await {
        Ok(()) => Ok(then(PATH, &Notice::new("whatsapp-restarted", 1))),
        Err(Error::Database(error)) => Err(error.into()),
        Err(_) => Ok(then(PATH, &Notice::new("whatsapp-silent", 0))),
    }
}

/// Fetches all chats; the page of the task shows how far it is.
pub(crate) async fn sync(may: May<Operate>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let (id, rings) = operations::sync(&mut session, &SyncChats {}, &may.visit.actor(), may.visit.now).await?;
    commit(&console, session, &rings).await?;
    Ok(then(&format!("/admin/tasks/{id}/"), &Notice::new("whatsapp-sync", 1)))
}
