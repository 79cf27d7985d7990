//! Inbound webhooks: what partners sent us, what was taken and what was refused, and why.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_partners::inbound::{self, InboundEvent, InboundFilter};
use recado_partners::itinerary::Told;
use recado_partners::rejected::{self, Rejected};
use recado_partners::{connections, partners};
use recado_webhooks::debugger::{self, Report};

use crate::Console;
use crate::auth::{Look, May};
use crate::failure::Failure;
use crate::lists::{Around, Query, ROWS, Window};
use crate::masking;
use crate::page::{Page, html};
use crate::pages::deliveries::body_shown;
use crate::pages::signatures;
use crate::path::Path;

const PATH: &str = "/admin/webhooks/inbound/";

#[derive(Template)]
#[template(path = "inbound/list.html")]
struct ListPage {
    page: Page,
    refused: bool,
    partner: Option<(Id, String)>,
    event_type: String,
    window: Window,
    windows: [Window; 4],
    rows: Vec<Row>,
    around: Around,
    is_filtered: bool,
    /// The other list, with the same filters.
    taken_url: String,
    refused_url: String,
}

struct Row {
    id: Id,
    /// The type of the event; of one that was refused, why.
    what: String,
    partner: String,
    /// How it was signed.
    dialect: String,
    bytes: i64,
    received_at: Timestamp,
    processed_at: Option<Timestamp>,
}

/// `/admin/webhooks/inbound/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let visit = &may.visit;
    let asked = Query::read(&visit.query);
    let window: Window = asked.get("window").unwrap_or_default();
    let refused = asked.text("verdict").as_deref() == Some("refused");
    let partner: Option<Id> = asked.get("partner");
    let event_type = asked.text("event_type").filter(|_| !refused);
    let (since, cursor) = (window.since(visit.now), asked.cursor());
    let mut session = console.context.db.read().await?;
    let (mut rows, has_more, of) = if refused {
        let (found, has_more) = rejected::page(&mut session, partner, since, cursor, ROWS).await?;
        let of: Vec<Id> = found.iter().map(|one| one.partner).collect();
        (found.into_iter().map(Row::from).collect::<Vec<_>>(), has_more, of)
    } else {
        let filter = InboundFilter { partner, event_type: event_type.clone() };
        let (found, has_more) = inbound::page(&mut session, &filter, since, cursor, ROWS).await?;
        let of: Vec<Id> = found.iter().map(|one| one.partner).collect();
        (found.into_iter().map(Row::from).collect(), has_more, of)
    };
    let names = names(&mut session, of.iter().copied().chain(partner)).await?;
    drop(session);
    for (row, of) in rows.iter_mut().zip(of) {
        row.partner = names.get(&of).cloned().unwrap_or_default();
    }
    let ends = (rows.first().map(|one| one.id), rows.last().map(|one| one.id));
    html(&ListPage {
        page: Page::new(&console, visit, "inbound", "inbound-title"),
        refused,
        taken_url: format!("{PATH}?{}", asked.with(&["after", "before", "verdict"], &[])),
        refused_url: format!("{PATH}?{}", asked.with(&["after", "before", "verdict"], &[("verdict", "refused")])),
        partner: partner.map(|id| (id, names.get(&id).cloned().unwrap_or_default())),
        is_filtered: partner.is_some() || event_type.is_some(),
        event_type: event_type.unwrap_or_default(),
        window,
        windows: Window::ALL,
        around: Around::of(&asked, PATH, ends.0, ends.1, has_more),
        rows,
    })
}

impl From<InboundEvent> for Row {
    fn from(event: InboundEvent) -> Self {
        Self {
            id: event.id,
            what: event.event_type,
            partner: String::new(),
            dialect: event.dialect,
            bytes: event.body.map_or(0, |body| body.len() as i64),
            received_at: event.received_at,
            processed_at: event.processed_at,
        }
    }
}

impl From<Rejected> for Row {
    fn from(one: Rejected) -> Self {
        Self {
            id: one.id,
            what: one.refusal,
            partner: String::new(),
            dialect: String::new(),
            bytes: one.body_bytes.into(),
            received_at: one.received_at,
            processed_at: None,
        }
    }
}

/// Names of partners, by id.
async fn names(session: &mut Session, ids: impl Iterator<Item = Id>) -> db::Result<HashMap<Id, String>> {
    let mut ids: Vec<Id> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    partners::names(session, &ids).await.map(|names| names.into_iter().collect())
}

// --- One ---

#[derive(Template)]
#[template(path = "inbound/show.html")]
struct ShowPage {
    page: Page,
    id: Id,
    /// The type of the event; `None`: it was refused.
    event_type: Option<String>,
    /// Why, if it was.
    refusal: Option<String>,
    partner: Option<(Id, String)>,
    received_at: Timestamp,
    processed_at: Option<Timestamp>,
    headers: Vec<(String, String)>,
    body: Option<String>,
    body_bytes: i64,
    itinerary: Vec<Step>,
    external_event_id: String,
    report: Option<Report>,
}

/// A service of the itinerary that a webhook tells of.
struct Step {
    name: String,
    provider: String,
    status: String,
    told_at: Timestamp,
}

/// `/admin/webhooks/inbound/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "inbound", "inbound-one");
    let mut session = console.context.db.read().await?;
    if let Some(event) = inbound::find(&mut session, id).await? {
        let name = names(&mut session, [event.partner].into_iter()).await?.remove(&event.partner);
        drop(session);
        return html(&taken(page, event, name));
    }
    let one = rejected::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let connection = connections::of_partner(&mut session, one.partner).await?;
    drop(session);
    let body = one.body();
    let report = match (&connection, &body) {
        (Some(connection), Some(body)) => {
            let verifier = signatures::of_partner(&console, connection, may.visit.now);
            let reveal = signatures::revealed_to(&may.visit);
            let (headers, told) = (one.headers.0.clone(), (one.received_at, page.speaks()));
            match verifier {
                Some(verifier) => Some(signatures::examine(verifier, reveal, headers, body.clone(), told).await?),
                None => None,
            }
        }
        _ => None,
    };
    let is_shown = page.may_operate();
    html(&ShowPage {
        page: page.about(&one.refusal),
        id,
        event_type: None,
        refusal: Some(one.refusal),
        partner: connection.map(|connection| (connection.partner.id, connection.partner.name)),
        received_at: one.received_at,
        processed_at: None,
        headers: one.headers.0,
        body: body.map(|body| body_shown(&String::from_utf8_lossy(&body), is_shown)),
        body_bytes: one.body_bytes.into(),
        itinerary: Vec::new(),
        external_event_id: String::new(),
        report: report.filter(|_| is_shown),
    })
}

fn taken(page: Page, event: InboundEvent, partner: Option<String>) -> ShowPage {
    let is_shown = page.may_operate();
    let told = event.body.as_deref().and_then(|body| Told::read(&event.event_type, body, event.received_at));
    let shown = |text: Option<String>| text.map(|text| if is_shown { text } else { masking::name(&text) });
    let (external_event_id, itinerary) = told.map_or_else(Default::default, |told| {
        let step = Step {
            name: told.service.name.clone().or(told.service.service_id.clone()).unwrap_or_default(),
            provider: shown(told.service.provider.clone()).unwrap_or_default(),
            status: told.service.status.clone().unwrap_or_default(),
            told_at: told.service.told_at,
        };
        (told.external_event_id, vec![step])
    });
    ShowPage {
        // A difference shows bytes of the body.
        report: event
            .body
            .as_deref()
            .filter(|_| is_shown)
            .map(|body| debugger::remember(&event.dialect, body.as_bytes(), page.speaks())),
        page: page.about(&event.event_type),
        id: event.id,
        refusal: None,
        partner: partner.map(|name| (event.partner, name)),
        received_at: event.received_at,
        processed_at: event.processed_at,
        headers: Vec::new(),
        body_bytes: event.body.as_ref().map_or(0, |body| body.len() as i64),
        body: event.body.map(|body| body_shown(&body, is_shown)),
        event_type: Some(event.event_type),
        itinerary,
        external_event_id,
    }
}
