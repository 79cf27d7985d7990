//! What became of messages, and control over those that have not left (S002-70).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono_tz::Tz;
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_notifications::cancellation::{self, Cancellation};
use recado_notifications::channels::{self, Channel};
use recado_notifications::dispatch::{Receipt, Rejection};
use recado_notifications::journal::{self, Line};
use recado_notifications::next::Next;
use recado_notifications::notifications::attempts::{self, Attempt};
use recado_notifications::notifications::records::{self, NotificationFilter, Record};
use recado_notifications::notifications::{Notification, Status};
use recado_notifications::resend::{self, ResendError};
use recado_notifications::story::Story;
use recado_notifications::targets::Target;
use recado_notifications::timeline::{Timeline, TimelineEntry};
use recado_notifications::why::Why;
use recado_queue::context::Context;
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::dispatch::replayable;
use crate::auth::keys::Caller;
use crate::auth::{Dispatch, May, Read};
use crate::extract::language::{Spoken, SpokenQuery};
use crate::extract::once::IdempotencyHeader;
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{Conflict, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(cancel))
        .routes(routes!(send_again))
        .routes(routes!(event))
}

/// Messages, newest first.
///
/// Without their words, and with masked addresses. No more than 100000 are counted; narrow the question to see older ones.
#[utoipa::path(get, path = "/", tag = "notifications", params(NotificationQuery, Paging),
    responses((status = 200, description = "A page of messages", body = Page<NotificationView>)))]
async fn list(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<NotificationQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<NotificationView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = records::list(&mut session, &query.into(), paging.limit(), paging.offset()).await?;
    let views = found.into_iter().map(|record| NotificationView::of(record, false)).collect();
    Ok(axum::Json(paging.page(views, count)?))
}

/// One message with its story.
///
/// The timeline holds every decision about its chain: why this channel, what was skipped, why it waited, what each provider
/// said, what comes next.
#[utoipa::path(get, path = "/{id}", tag = "notifications",
    params(("id" = Id, Path, description = "Id of the message"), SpokenQuery),
    responses((status = 200, description = "The message", body = NotificationDetail)))]
async fn show(
    May { caller, .. }: May<Read>,
    Spoken(language): Spoken,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<NotificationDetail>, Problem> {
    let detail = NotificationDetail::find(&api, id, &caller, language).await?;
    detail.map(axum::Json).ok_or(Problem::NotFound)
}

/// Cancels a message before it leaves, and the channels that would come after it.
///
/// 200 with the message, also when it was cancelled before; 409 when it has left, or is just leaving.
#[utoipa::path(post, path = "/{id}/cancel", tag = "notifications",
    params(("id" = Id, Path, description = "Id of the message"), SpokenQuery),
    responses(
        (status = 200, description = "It will not leave", body = NotificationDetail),
        (status = 409, description = "It has left or failed; the problem says when and how", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn cancel(
    may: May<Dispatch>,
    Spoken(language): Spoken,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<NotificationDetail>, Problem> {
    match cancellation::cancel_delivery(&api.context, id, &may.actor()).await? {
        Cancellation::Cancelled => {
            let detail = NotificationDetail::find(&api, id, &may.caller, language).await?;
            detail.map(axum::Json).ok_or(Problem::NotFound)
        }
        Cancellation::Unknown => Err(Problem::NotFound),
        Cancellation::Leaving => Err(Problem::Conflict(Conflict {
            code: "notification-leaving",
            title: "La notificación está saliendo",
            detail: "Se está entregando, o el proveedor aún no dijo si la tiene. Consulte la notificación dentro de un momento."
                .to_owned(),
        })),
        Cancellation::TooLate(chain) => Err(too_late(&chain, api.context.config.time_zone)),
    }
}

/// Sends a message again: a new one with the same words and address.
///
/// The channels that came after it are its fallbacks. 409 when the customer has said no since, or when it is still on its way.
#[utoipa::path(post, path = "/{id}/resend", tag = "notifications",
    params(("id" = Id, Path, description = "Id of the message"), IdempotencyHeader),
    responses(
        (status = 202, description = "It is accepted", body = Receipt),
        (status = 409, description = "It may not or cannot be sent again; the problem says why", body = Value,
            content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key was used for another request", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn send_again(
    may: May<Dispatch>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    key: IdempotencyHeader,
) -> Result<Response, Problem> {
    let key = key.of(&may.caller, &json!({ "resend": id }));
    let accepted = resend::resend(&api.notifications, id, key.as_ref(), &may.actor()).await?;
    Ok(replayable(accepted))
}

/// The story of an event: its messages, and what was decided about it, also when it reached no one.
#[utoipa::path(get, path = "/events/{correlation_id}", tag = "events",
    params(("correlation_id" = Id, Path, description = "The event's id, as its receipt named it"), SpokenQuery),
    responses((status = 200, description = "The story", body = EventStory)))]
async fn event(
    May { caller, .. }: May<Read>,
    Spoken(language): Spoken,
    State(api): State<Arc<Api>>,
    Segment(correlation_id): Segment<Id>,
) -> Result<axum::Json<EventStory>, Problem> {
    let mut session = api.context.db.read().await?;
    let chain = records::of_correlation(&mut session, correlation_id, MAX_STORY_ENTRIES).await?;
    let mut journal = journal::of_correlation(&mut session, correlation_id, MAX_STORY_ENTRIES).await?;
    if chain.is_empty() && journal.is_empty() {
        return Err(Problem::NotFound);
    }
    let mut tasks: Vec<Id> = chain.iter().map(|record| record.task_id).collect();
    tasks.dedup();
    let attempts = attempts::of_tasks(&mut session, &tasks).await?;
    journal.extend(records::skipped(&mut session, &tasks).await?);
    let timeline = tell(&chain, &attempts, &journal, &api.context, (&caller, language));
    let sees_contacts = caller.sees_contacts();
    Ok(axum::Json(EventStory {
        correlation_id,
        notifications: chain.into_iter().map(|record| NotificationView::of(record, sees_contacts)).collect(),
        timeline,
    }))
}

/// The most messages and journal lines of one event's story.
const MAX_STORY_ENTRIES: i64 = 500;

/// Characters of a body that are shown (S002-70).
const PREVIEW_CHARS: usize = 500;

fn tell(
    chain: &[Record],
    attempts: &[Attempt],
    journal: &[Line],
    context: &Context,
    (caller, language): (&Caller, Language),
) -> Vec<TimelineEntry> {
    let (zone, shows_answers) = (context.config.time_zone, caller.sees_contacts());
    Timeline { chain, attempts, journal, zone, language, shows_answers }.tell()
}

fn too_late(chain: &[Record], zone: Tz) -> Problem {
    let hour = |at: Timestamp| format!("{} ({zone})", at.to_utc().with_timezone(&zone).format("%Y-%m-%d %H:%M:%S"));
    let sent = chain.iter().find(|record| record.status.is_sent() || record.sent_at.is_some());
    match sent {
        Some(sent) => Problem::Conflict(Conflict {
            code: "notification-sent",
            title: "La notificación ya salió",
            detail: format!("Salió por {} el {}.", sent.channel, hour(sent.sent_at.unwrap_or(sent.updated_at))),
        }),
        None => {
            let last = chain.iter().map(|record| record.updated_at).max().unwrap_or_default();
            let channels: Vec<&str> = chain.iter().map(|record| record.channel.as_str()).collect();
            Problem::Conflict(Conflict {
                code: "notification-failed",
                title: "La entrega ya terminó sin éxito",
                detail: format!("Falló por {} el {}; no queda nada que cancelar.", channels.join(", "), hour(last)),
            })
        }
    }
}

impl From<ResendError> for Problem {
    fn from(error: ResendError) -> Self {
        const TITLE: &str = "La notificación no se vuelve a enviar";
        let conflict = |code, detail: &str| Self::Conflict(Conflict { code, title: TITLE, detail: detail.to_owned() });
        match error {
            ResendError::Unknown => Self::NotFound,
            ResendError::OnItsWay => {
                conflict("notification-on-its-way", "Todavía está en camino; espere o cancélela antes.")
            }
            ResendError::Erased => conflict("notification-erased", "Su texto o su dirección se borraron."),
            ResendError::Refused { reason: "suppressed", detail } => conflict("address-suppressed", &detail),
            ResendError::Refused { detail, .. } => conflict("customer-opted-out", &detail),
            ResendError::KeyReused => Self::Dispatch { rejection: Rejection::KeyReused, minimum_fields: &[] },
            ResendError::Database(error) => Self::Database(error),
        }
    }
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Notification)]
struct NotificationView {
    /// Its id.
    id: Id,
    /// The event that it belongs to.
    correlation_id: Id,
    /// The task that delivers it and the others of its chain.
    task_id: Id,
    /// What happened.
    #[schema(examples("appointment_scheduled"))]
    event_type: String,
    /// Whom it is for.
    #[schema(examples("customer-001"))]
    customer_id: String,
    /// The workshop, where the event named one.
    taller_id: Option<String>,
    /// The audience.
    target: Target,
    /// On which channel.
    channel: Channel,
    /// Where it stands.
    status: Status,
    /// Its place in the chain; 0 is tried first.
    #[schema(examples(0))]
    fallback_order: i32,
    /// Address or number, masked unless the key has the scope `contacts` or `admin`; null for pushes, which go to all devices.
    #[schema(examples("c***@example.com"))]
    recipient_address: Option<String>,
    /// The template, where there was one.
    template_id: Option<Id>,
    /// Which of its versions: `/api/v1/notifications/templates/{id}/versions/{version}/` has the text with its variables.
    template_version: Option<i32>,
    /// Its name.
    #[schema(examples("Cita agendada (clientes, email)"))]
    template_name: String,
    /// What went wrong last, for programs.
    #[schema(examples("EMAIL_SEND_FAILED"))]
    error_code: Option<String>,
    /// What went wrong last, for people.
    error_reason: Option<String>,
    /// Failed attempts on this channel.
    retry_count: i32,
    /// After so many the next channel is tried.
    max_retries: i32,
    /// When it is tried again, or leaves.
    next_retry_at: Option<Timestamp>,
    /// The message before it in its chain.
    parent_log: Option<Id>,
    /// The message that this one repeats on request.
    resend_of: Option<Id>,
    /// The provider's own name of it.
    provider_message_id: Option<String>,
    /// The channel's account that took it.
    provider: Option<String>,
    /// Quiet hours and the throttle do not hold it back.
    critical: bool,
    /// Not before this time, as the caller wished.
    send_at: Option<Timestamp>,
    /// When a provider took it.
    sent_at: Option<Timestamp>,
    /// When it arrived, as far as the provider says so.
    delivered_at: Option<Timestamp>,
    /// When it was read, as far as the provider says so.
    read_at: Option<Timestamp>,
    /// When the event was accepted.
    created_at: Timestamp,
    /// When something last changed.
    updated_at: Timestamp,
}

impl NotificationView {
    fn of(record: Record, shows_address: bool) -> Self {
        let parent_log = record.parent();
        let address = record.recipient_address;
        let error_reason = match shows_address {
            true => record.error_reason,
            false => record.error_reason.map(|reason| channels::without(record.channel, &address, &reason)),
        };
        let recipient_address = match shows_address && record.channel != Channel::Push {
            true => Some(address),
            false => channels::mask(record.channel, &address),
        };
        Self {
            id: record.id,
            correlation_id: record.correlation_id,
            task_id: record.task_id,
            event_type: record.event_type,
            customer_id: record.customer_id,
            taller_id: record.taller_id,
            target: record.target,
            channel: record.channel,
            status: record.status,
            fallback_order: record.fallback_order,
            recipient_address,
            template_id: record.template_id,
            template_version: record.template_version,
            template_name: record.template_name,
            error_code: record.error_code,
            error_reason,
            retry_count: record.retry_count,
            max_retries: record.max_retries,
            next_retry_at: record.next_retry_at,
            parent_log,
            resend_of: record.resend_of,
            provider_message_id: record.provider_message_id,
            provider: record.provider,
            critical: record.critical,
            send_at: record.send_at,
            sent_at: record.sent_at,
            delivered_at: record.delivered_at,
            read_at: record.read_at,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// A message with its words and its story.
#[derive(Debug, Serialize, ToSchema)]
struct NotificationDetail {
    #[serde(flatten)]
    notification: NotificationView,
    /// Subject of an email, title of a push.
    subject: String,
    /// The first 500 characters of its text.
    body_preview: String,
    /// Whether the text is HTML.
    is_html: bool,
    /// All messages of its chain, this one included, in the order in which they are tried.
    chain: Vec<Sibling>,
    /// What happened, oldest first.
    timeline: Vec<TimelineEntry>,
    /// What happens next, and when.
    next: Option<NextView>,
    /// Why each channel was used, or not: every rule, as it decided, and whether its setting is another one by now.
    channels: Vec<Why>,
}

/// What happens next to a chain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Next)]
struct NextView {
    #[serde(flatten)]
    next: Next,
    /// The same for people.
    #[schema(examples("WhatsApp se envió y espera la confirmación de entrega. Si no llega a tiempo, sigue Push."))]
    text: String,
}

/// A message of the same chain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChainLink)]
struct Sibling {
    /// Its id.
    id: Id,
    /// Its channel.
    channel: Channel,
    /// Where it stands.
    status: Status,
    /// Its place; 0 is tried first.
    fallback_order: i32,
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
struct EventStory {
    /// The event's id.
    correlation_id: Id,
    /// Its messages, at most 500; none when it reached no one.
    notifications: Vec<NotificationView>,
    /// What happened, oldest first.
    timeline: Vec<TimelineEntry>,
}

impl NotificationDetail {
    async fn find(api: &Api, id: Id, caller: &Caller, language: Language) -> db::Result<Option<Self>> {
        let mut session = api.context.db.read().await?;
        let Some(mut story) = Story::of(&api.notifications, &mut session, id).await? else { return Ok(None) };
        drop(session);
        let Some(position) = story.messages.iter().position(|message| message.id == id) else { return Ok(None) };
        let timeline = story.timeline(api.context.config.time_zone, language, caller.sees_contacts());
        let Notification { subject, body, is_html, .. } = story.messages.swap_remove(position);
        Ok(Some(Self {
            notification: NotificationView::of(story.chain[position].clone(), caller.sees_contacts()),
            subject,
            body_preview: body.chars().take(PREVIEW_CHARS).collect(),
            is_html,
            chain: story.chain.iter().map(Sibling::from).collect(),
            timeline,
            next: story.next.map(|next| NextView { text: next.sentence(language), next }),
            channels: story.channels,
        }))
    }
}

impl From<&Record> for Sibling {
    fn from(record: &Record) -> Self {
        Self { id: record.id, channel: record.channel, status: record.status, fallback_order: record.fallback_order }
    }
}

request! {
    /// Which messages to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct NotificationQuery {
        /// Only this customer's.
        customer_id: Option<String>,
        /// Only those that stand there.
        #[param(inline)]
        status: Option<Status>,
        /// Only this channel's.
        #[param(inline)]
        channel: Option<Channel>,
        /// Only about this.
        event_type: Option<String>,
        /// Only of this event.
        correlation_id: Option<Id>,
        /// Only of this chain.
        task_id: Option<Id>,
        /// Only of this workshop.
        taller_id: Option<String>,
        /// Only those whose last attempt met this error.
        error_code: Option<String>,
        /// Only those that this account took, or that it was tried on last.
        provider: Option<String>,
        /// Accepted at this time or later (RFC 3339).
        from: Option<Timestamp>,
        /// Accepted before this time (RFC 3339).
        to: Option<Timestamp>,
    }
}

impl From<NotificationQuery> for NotificationFilter {
    fn from(
        NotificationQuery {
            customer_id,
            status,
            channel,
            event_type,
            correlation_id,
            task_id,
            taller_id,
            error_code,
            provider,
            from,
            to,
        }: NotificationQuery,
    ) -> Self {
        Self {
            customer_id,
            status,
            channel,
            event_type,
            correlation_id,
            task_id,
            taller_id,
            error_code,
            provider,
            from,
            to,
        }
    }
}
