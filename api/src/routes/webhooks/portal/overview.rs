//! What stands at the beginning: the endpoint, its deliveries by filter, and what can be done with all of them.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self};
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_partners::events::PortalAction;
use recado_partners::payload::payload;
use recado_partners::standing::Standing;
use recado_partners::{partners, portal, registration};
use recado_webhooks::deliveries::{self, Delivery, DeliveryFilter, Status as DeliveryStatus};
use recado_webhooks::endpoints::{DisabledReason, Endpoint, Status};
use recado_webhooks::replays::{self, Conditions, Replay};
use secrecy::ExposeSecret;
use url::form_urlencoded;

use super::super::outcome::{self, TEST_TIMEOUT};
use super::deliveries::DeliveryRow;
use super::form::{Form, form};
use super::times::{local, read_local, time_of};
use super::visitor::{Actor, Frame, Refused, Visitor, go, key, page};
use super::words::{delivery_status, done, explanation, policy, stopped};
use crate::extract::body::RawBody;
use crate::problem::{FieldErrors, Problem};
use crate::state::Api;

/// Deliveries on a page.
pub(super) const PAGE: i64 = 25;

/// The last page that is shown; filters lead further back.
pub(super) const LAST_PAGE: i64 = 400;

/// Replays that are shown.
pub(super) const REPLAYS: i64 = 3;

/// The type of an event that only tests have.
pub(super) const TEST_EVENT: &str = "webhook.test";

pub(super) async fn overview(State(api): State<Arc<Api>>, visitor: Visitor, parts: Parts) -> Result<Response, Refused> {
    let query = Form::read(parts.uri.query().unwrap_or_default().as_bytes());
    show_overview(&api, visitor, &query, StatusCode::OK, String::new()).await
}

pub(super) async fn show_overview(
    api: &Api,
    visitor: Visitor,
    query: &Form,
    status: StatusCode,
    mut error: String,
) -> Result<Response, Refused> {
    let Visitor { frame, connection, endpoint } = visitor;
    let asked = DeliveryQuery::read(api, &frame, query, endpoint.id);
    error.extend(asked.errors.iter().map(|error| format!("{error} ")));
    let found = async {
        let mut session = api.context.db.read().await?;
        let page = deliveries::list(&mut session, &asked.filter, PAGE, PAGE * (asked.page - 1)).await?;
        db::Result::Ok((page, replays::of_endpoint(&mut session, endpoint.id, REPLAYS).await?))
    };
    let ((found, count), replays) = match found.await {
        Ok(found) => found,
        Err(error) => return Err(Refused::problem(frame, error.into())),
    };
    let standing = connection.standing(policy(api)).with_endpoint(&endpoint);
    let has_more = PAGE * asked.page < count && asked.page < LAST_PAGE;
    let statuses = DeliveryStatus::ALL.iter().map(|status| Choice {
        word: status.as_str(),
        label: delivery_status(frame.language, *status).0,
        chosen: asked.filter.status == Some(*status),
    });
    let events = endpoint.events.as_ref().map(|events| events.0.clone()).unwrap_or_default();
    let overview = OverviewPage {
        done: done(frame.language, query.get("done")),
        error: error.trim_end().to_owned(),
        statuses: statuses.collect(),
        count,
        zone: api.context.config.time_zone.to_string(),
        deliveries: found.iter().map(|delivery| DeliveryRow::of(api, frame.language, delivery)).collect(),
        newer: if asked.page > 1 { asked.query(asked.page - 1) } else { String::new() },
        older: if has_more { asked.query(asked.page + 1) } else { String::new() },
        since: local(api, api.context.clock.now() - Duration::from_secs(24 * 60 * 60)),
        replays: replays.iter().map(|replay| ReplayRow::of(api, replay)).collect(),
        tests: std::iter::once(TEST_EVENT.to_owned()).chain(events).collect(),
        endpoint: EndpointView::of(api, frame.language, &endpoint, standing),
        filter: asked.shown,
        frame,
    };
    Ok(page(status, &overview))
}

pub(super) async fn replay_many(
    State(api): State<Arc<Api>>,
    Actor(visitor): Actor,
    body: Result<RawBody, Problem>,
) -> Result<Response, Refused> {
    let form = form(body, &visitor)?;
    let since = form.get("since");
    let from = if since.is_empty() { Ok(None) } else { read_local(&api, since).map(Some).ok_or(()) };
    let (Ok(from), None) = (from, stopped(&api, &visitor)) else {
        let wrong = visitor.frame.t(
            "Escriba la fecha y la hora desde la que reenviar.",
            "Write the date and time since when to send again.",
        );
        let reason = stopped(&api, &visitor).unwrap_or_else(|| wrong.to_owned());
        return show_overview(&api, visitor, &Form::default(), StatusCode::CONFLICT, reason).await;
    };
    let since_disabled = form.get("which") == "disabled";
    let conditions = Conditions {
        status: match form.get("which") {
            "all" => None,
            "disabled" => Some(DeliveryStatus::Cancelled),
            _ => Some(DeliveryStatus::Failed),
        },
        created_from: from.filter(|_| !since_disabled),
        finished_from: visitor.endpoint.disabled_at.filter(|_| since_disabled),
        ..Conditions::default()
    };
    let acted = async {
        let now = api.context.clock.now();
        let mut session = api.context.db.begin().await?;
        let (replay, mut rings) = replays::order(&mut session, visitor.endpoint.id, &conditions, now).await?;
        let partner = visitor.connection.partner.id;
        rings.extend(
            portal::record(&mut session, partner, PortalAction::ReenvioOrdenado, Some(replay), &visitor.by(), now)
                .await?,
        );
        session.commit().await?;
        api.context.ring(&rings).await;
        Ok::<_, Problem>(())
    };
    match acted.await {
        Ok(()) => Ok(go(&visitor.frame, "?done=ordered")),
        Err(problem) => Err(Refused::problem(visitor.frame, problem)),
    }
}

pub(super) async fn send_test(
    State(api): State<Arc<Api>>,
    Actor(visitor): Actor,
    body: Result<RawBody, Problem>,
) -> Result<Response, Refused> {
    let form = form(body, &visitor)?;
    let event_type = form.get("event_type");
    let is_known = event_type == TEST_EVENT || visitor.endpoint.wants(event_type) && visitor.endpoint.events.is_some();
    if let Some(reason) = stopped(&api, &visitor) {
        return show_overview(&api, visitor, &Form::default(), StatusCode::CONFLICT, reason).await;
    }
    if !is_known {
        let text =
            visitor.frame.t("Elija un tipo de evento de la lista.", "Choose a type of event of the list.").to_owned();
        return show_overview(&api, visitor, &Form::default(), StatusCode::BAD_REQUEST, text).await;
    }
    let acted = async {
        let now = api.context.clock.now();
        let data = serde_json::json!({ "test": true, "message": "Prueba desde el portal" });
        let body = payload(event_type, &data, now);
        let delivery = Delivery::of_test(&visitor.endpoint, event_type, &body, now)
            .map_err(|error| FieldErrors::one("event_type", error.to_string()))?;
        let mut session = api.context.db.begin().await?;
        let mut rings = deliveries::send(&mut session, std::slice::from_ref(&delivery), now).await?;
        let partner = visitor.connection.partner.id;
        rings.extend(
            portal::record(&mut session, partner, PortalAction::PruebaEnviada, Some(delivery.id), &visitor.by(), now)
                .await?,
        );
        session.commit().await?;
        api.context.ring(&rings).await;
        outcome::of_first_attempt(&api, delivery.id, TEST_TIMEOUT).await?;
        Ok::<_, Problem>(delivery.id)
    };
    match acted.await {
        Ok(id) => Ok(go(&visitor.frame, &format!("/deliveries/{id}?done=tested"))),
        Err(problem) => Err(Refused::problem(visitor.frame, problem)),
    }
}

/// Lets webhooks go out again to an endpoint that was given up. One that staff stopped is theirs to start.
pub(super) async fn resume(State(api): State<Arc<Api>>, Actor(visitor): Actor) -> Result<Response, Refused> {
    let own_standing = visitor.connection.standing(policy(&api));
    if !can_resume(&visitor.endpoint) || !own_standing.is_active() {
        let standing = own_standing.with_endpoint(&visitor.endpoint);
        let reason = explanation(visitor.frame.language, standing).to_owned();
        return show_overview(&api, visitor, &Form::default(), StatusCode::CONFLICT, reason).await;
    }
    let acted = async {
        let now = api.context.clock.now();
        let mut session = api.context.db.begin().await?;
        let mut rings = deliveries::resume(&mut session, visitor.endpoint.id, now).await?;
        let (partner, endpoint) = (visitor.connection.partner.id, visitor.endpoint.id);
        rings.extend(
            portal::record(&mut session, partner, PortalAction::EndpointReactivado, Some(endpoint), &visitor.by(), now)
                .await?,
        );
        session.commit().await?;
        api.context.ring(&rings).await;
        Ok::<_, Problem>(())
    };
    match acted.await {
        Ok(()) => Ok(go(&visitor.frame, "?done=resumed")),
        Err(problem) => Err(Refused::problem(visitor.frame, problem)),
    }
}

pub(super) fn can_resume(endpoint: &Endpoint) -> bool {
    endpoint.status == Status::Disabled
        && matches!(endpoint.disabled_reason, Some(DisabledReason::Gone | DisabledReason::Failing))
}

/// The new secret stands on this page and nowhere else.
pub(super) async fn rotate_secret(State(api): State<Arc<Api>>, Actor(visitor): Actor) -> Result<Response, Refused> {
    let acted = async {
        let key = key(&api)?;
        let now = api.context.clock.now();
        let partner = visitor.connection.partner.id;
        let mut session = api.context.db.begin().await?;
        partners::lock(&mut session, partner).await?.ok_or(Problem::NotFound)?;
        let secret = registration::rotate(&mut session, &visitor.connection, key, &visitor.by(), now).await?;
        let rings =
            portal::record(&mut session, partner, PortalAction::SecretoRotado, None, &visitor.by(), now).await?;
        session.commit().await?;
        api.context.ring(&rings).await;
        Ok::<_, Problem>(secret)
    };
    match acted.await {
        Ok(secret) => {
            let secret = secret.text().expose_secret().to_owned();
            Ok(page(StatusCode::OK, &SecretPage { frame: visitor.frame, secret }))
        }
        Err(problem) => Err(Refused::problem(visitor.frame, problem)),
    }
}

/// Which deliveries are asked for.
pub(super) struct DeliveryQuery {
    pub(super) filter: DeliveryFilter,
    pub(super) shown: ShownFilter,
    pub(super) page: i64,
    pub(super) errors: Vec<String>,
}

/// The filter as it stands in its fields.
pub(super) struct ShownFilter {
    pub(super) status: String,
    pub(super) event_type: String,
    pub(super) subject: String,
    pub(super) from: String,
    pub(super) until: String,
}

impl DeliveryQuery {
    pub(super) fn read(api: &Api, frame: &Frame, query: &Form, endpoint: Id) -> Self {
        let text = |name: &str| query.get(name).trim().replace(char::is_control, "");
        let shown = ShownFilter {
            status: text("status"),
            event_type: text("event_type"),
            subject: text("subject"),
            from: text("from"),
            until: text("until"),
        };
        let mut errors = Vec::new();
        let mut time = |text: &str| {
            let read = read_local(api, text);
            if read.is_none() && !text.is_empty() {
                errors.push(
                    frame
                        .t("Escriba fechas como 2026-01-20T14:30.", "Write dates such as 2026-01-20T14:30.")
                        .to_owned(),
                );
            }
            read
        };
        let (created_from, created_until) = (time(&shown.from), time(&shown.until));
        let status = shown.status.parse().ok();
        if status.is_none() && !shown.status.is_empty() {
            errors.push(frame.t("Elija un estado de la lista.", "Choose a status of the list.").to_owned());
        }
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let filter = DeliveryFilter {
            endpoint_id: Some(endpoint),
            status,
            event_type: some(&shown.event_type),
            subject: some(&shown.subject),
            created_from,
            created_until,
            finished_from: None,
        };
        let page = query.get("page").parse().unwrap_or(1).clamp(1, LAST_PAGE);
        Self { filter, shown, page, errors }
    }

    /// The query of another page.
    pub(super) fn query(&self, page: i64) -> String {
        let ShownFilter { status, event_type, subject, from, until } = &self.shown;
        let fields =
            [("status", status), ("event_type", event_type), ("subject", subject), ("from", from), ("until", until)];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(fields.into_iter().filter(|(_, value)| !value.is_empty()));
        query.append_pair("page", &page.to_string()).finish()
    }
}

#[derive(Template)]
#[template(path = "portal/secret.html")]
pub(super) struct SecretPage {
    pub(super) frame: Frame,
    pub(super) secret: String,
}

#[derive(Template)]
#[template(path = "portal/overview.html")]
pub(super) struct OverviewPage {
    pub(super) frame: Frame,
    pub(super) done: String,
    pub(super) error: String,
    pub(super) endpoint: EndpointView,
    pub(super) statuses: Vec<Choice>,
    pub(super) filter: ShownFilter,
    pub(super) count: i64,
    pub(super) zone: String,
    pub(super) deliveries: Vec<DeliveryRow>,
    /// Queries of the pages beside this one; empty where there is none.
    pub(super) newer: String,
    pub(super) older: String,
    pub(super) since: String,
    pub(super) replays: Vec<ReplayRow>,
    pub(super) tests: Vec<String>,
}

pub(super) struct Choice {
    pub(super) word: &'static str,
    pub(super) label: &'static str,
    pub(super) chosen: bool,
}

pub(super) struct EndpointView {
    pub(super) status: &'static str,
    pub(super) tone: &'static str,
    pub(super) explanation: &'static str,
    pub(super) url: String,
    pub(super) events: String,
    pub(super) sent: i64,
    pub(super) failed: i64,
    pub(super) consecutive: i32,
    pub(super) last_success: String,
    pub(super) failing_since: String,
    pub(super) open_until: String,
    pub(super) can_resume: bool,
}

impl EndpointView {
    pub(super) fn of(api: &Api, language: Language, endpoint: &Endpoint, standing: Standing) -> Self {
        let health = &endpoint.health;
        let time = |at: Option<Timestamp>| at.map(|at| time_of(api, at)).unwrap_or_default();
        let is_failing = health.consecutive_failures > 0;
        let (status, tone) = match endpoint.status {
            Status::Active if is_failing => (language.pick("Activo, con fallos.", "Active, failing."), "wait"),
            Status::Active => (language.pick("Activo.", "Active."), "good"),
            Status::Paused => (language.pick("En pausa: los webhooks esperan.", "Paused: webhooks wait."), "wait"),
            Status::Disabled => (language.pick("Desactivado.", "Disabled."), "bad"),
        };
        let all = language.pick("todos", "all").to_owned();
        Self {
            status,
            tone,
            explanation: if endpoint.status == Status::Paused { "" } else { explanation(language, standing) },
            url: endpoint.url.clone(),
            events: endpoint.events.as_ref().map_or(all, |events| events.0.join(", ")),
            sent: health.sent_count,
            failed: health.failed_count,
            consecutive: health.consecutive_failures,
            last_success: health.last_success_at.map_or_else(|| "–".to_owned(), |at| time_of(api, at)),
            failing_since: time(health.failing_since),
            open_until: time(health.open_until.filter(|until| api.context.clock.now() < *until)),
            can_resume: can_resume(endpoint),
        }
    }
}

pub(super) struct ReplayRow {
    pub(super) created: String,
    pub(super) replayed: i32,
    pub(super) runs: bool,
}

impl ReplayRow {
    pub(super) fn of(api: &Api, replay: &Replay) -> Self {
        Self { created: time_of(api, replay.created_at), replayed: replay.replayed, runs: replay.finished_at.is_none() }
    }
}
