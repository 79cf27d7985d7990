//! Reservation requests: the list, the story of each, and what staff decide about one.

use std::sync::Arc;

use axum::extract::State;
use recado_conversations::operations;
use recado_conversations::requests::{self, Event, Request, RequestFilter, Status, Step, What};
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May};
use crate::extract::language::{Spoken, SpokenQuery};
use crate::extract::page::MaybePaging;
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
        .routes(routes!(confirm))
        .routes(routes!(reject))
        .routes(routes!(tell))
}

/// Requests, the newest first: all of them, or a page where `page` or `page_size` is asked for.
#[utoipa::path(get, path = "/", tag = "reservations", operation_id = "list_reservations", params(RequestQuery, MaybePaging),
    responses((status = 200, description = "The requests", body = RequestList)))]
async fn list(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Query(query): Query<RequestQuery>,
    paging: MaybePaging,
) -> Result<axum::Json<RequestList>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, total) = requests::list(&mut session, &query.into(), paging.limit(), paging.offset()).await?;
    let (next, previous) = paging.neighbours(total)?;
    let count = paging.is_asked().then_some(total);
    let reservations = found.into_iter().map(RequestView::from).collect();
    Ok(axum::Json(RequestList { reservations, count, next, previous }))
}

/// One request, with its story.
#[utoipa::path(get, path = "/{id}", tag = "reservations", operation_id = "show_reservation",
    params(("id" = Id, Path, description = "Id of the request"), SpokenQuery),
    responses((status = 200, description = "The request", body = RequestStory)))]
async fn show(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Spoken(language): Spoken,
) -> Result<axum::Json<RequestStory>, Problem> {
    story(&api, id, language).await
}

/// Staff confirm a request: what was asked for is reserved.
#[utoipa::path(post, path = "/{id}/confirm", tag = "reservations", operation_id = "confirm_reservation",
    params(("id" = Id, Path, description = "Id of the request")),
    responses((status = 200, description = "It is confirmed", body = RequestStory),
              (status = 409, description = "It was confirmed or refused before, or its time was up", body = serde_json::Value,
                  content_type = "application/problem+json")))]
async fn confirm(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<RequestStory>, Problem> {
    decide(&api, id, Step::Confirm, &may.actor()).await
}

/// Staff refuse a request.
#[utoipa::path(post, path = "/{id}/reject", tag = "reservations", operation_id = "reject_reservation",
    params(("id" = Id, Path, description = "Id of the request")),
    responses((status = 200, description = "It is refused", body = RequestStory),
              (status = 409, description = "It was confirmed or refused before, or its time was up", body = serde_json::Value,
                  content_type = "application/problem+json")))]
async fn reject(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<RequestStory>, Problem> {
    decide(&api, id, Step::Reject, &may.actor()).await
}

async fn decide(api: &Api, id: Id, step: Step, by: &Actor) -> Result<axum::Json<RequestStory>, Problem> {
    let mut session = api.context.db.begin().await?;
    let status = requests::lock(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let decided = operations::decide(&mut session, id, status, step, by, api.context.clock.now()).await?;
    decided.map_err(not_as_it_stands)?;
    session.commit().await?;
    story(api, id, Language::default()).await
}

/// Tells the operator again, by the first means that there is: after none was there, none worked, or it is not known whether a
/// notice left.
#[utoipa::path(post, path = "/{id}/tell", tag = "reservations", operation_id = "tell_operator_of_reservation",
    params(("id" = Id, Path, description = "Id of the request")),
    responses((status = 200, description = "The operator will be told", body = RequestStory),
              (status = 409, description = "The operator was told, or it is decided", body = serde_json::Value,
                  content_type = "application/problem+json")))]
async fn tell(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<RequestStory>, Problem> {
    let now = api.context.clock.now();
    let mut session = api.context.db.begin().await?;
    let status = requests::lock(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let told = operations::tell_again(&mut session, id, status, &may.actor(), now).await?;
    let rings = told.ok_or_else(|| not_as_it_stands(status))?;
    session.commit().await?;
    api.context.ring(&rings).await;
    story(&api, id, Language::default()).await
}

fn not_as_it_stands(status: Status) -> Problem {
    Problem::Conflict(Conflict {
        code: "reservation-not-open",
        title: "La solicitud ya no lo permite",
        detail: format!("La solicitud está en \"{status}\"."),
    })
}

async fn story(api: &Api, id: Id, language: Language) -> Result<axum::Json<RequestStory>, Problem> {
    let mut session = api.context.db.read().await?;
    let request = requests::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let events = requests::story(&mut session, id).await?;
    let timeline = events.iter().map(|event| Entry::of(event, language)).collect();
    let (told_by, told_to) = (request.told_by.clone(), request.told_to.clone());
    let (notified_at, answered_at) = (request.notified_at, request.answered_at);
    let (chat, message) = (request.chat, request.message);
    Ok(axum::Json(RequestStory {
        request: request.into(),
        chat,
        message,
        told_by,
        told_to,
        notified_at,
        answered_at,
        timeline,
    }))
}

request! {
    /// Which requests to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct RequestQuery {
        /// Only that of this code.
        #[param(example = "RES-ISLAS--20260120-9F86D081")]
        tour_code: Option<String>,
        /// Only those that stand so.
        #[param(inline)]
        status: Option<Status>,
        /// Only those of this operator.
        operator_id: Option<Id>,
    }
}

impl From<RequestQuery> for RequestFilter {
    fn from(RequestQuery { tour_code, status, operator_id }: RequestQuery) -> Self {
        Self { code: tour_code.map(|code| code.to_ascii_uppercase()), status, operator: operator_id }
    }
}

/// Requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReservationList)]
struct RequestList {
    /// The requests.
    reservations: Vec<RequestView>,
    /// How many there are on all pages, where a page was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<i64>,
    /// URL of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// URL of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

/// A request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reservation)]
struct RequestView {
    /// Id of the request.
    id: Id,
    /// The code that was named.
    #[schema(examples("RES-ISLAS--20260120-9F86D081"))]
    tour_code: String,
    /// For how many people.
    #[schema(minimum = 1)]
    passengers: i32,
    /// How it stands.
    status: Status,
    /// Who answers for the experience; null where the code was not issued here.
    operator: Option<OperatorView>,
    /// What is asked for; null likewise.
    experience: Option<ExperienceView>,
    /// Digits of the customer; null where only a LID is known.
    customer_phone: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When it becomes `timeout` without an answer.
    timeout_at: Timestamp,
}

/// An operator.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReservationOperator)]
struct OperatorView {
    /// Id of the operator.
    id: Id,
    /// Their name.
    name: String,
}

/// An experience.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReservationExperience)]
struct ExperienceView {
    /// Its id in your system.
    id: String,
    /// Its title.
    title: String,
}

impl From<Request> for RequestView {
    fn from(request: Request) -> Self {
        let operator = request.operator.zip(request.operator_name).map(|(id, name)| OperatorView { id, name });
        let experience =
            request.experience_id.zip(request.experience_title).map(|(id, title)| ExperienceView { id, title });
        Self {
            id: request.id,
            tour_code: request.code,
            passengers: request.passengers,
            status: request.status,
            operator,
            experience,
            customer_phone: request.customer_phone,
            created_at: request.created_at,
            timeout_at: request.timeout_at,
        }
    }
}

/// A request with its story.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReservationStory)]
struct RequestStory {
    #[serde(flatten)]
    request: RequestView,
    /// Our id of the chat in which the code was named.
    chat: Id,
    /// Our id of the message that named it first.
    message: Id,
    /// How the operator is told: `group`, `number`, `phone` or `email`; null: not at all.
    told_by: Option<String>,
    /// Where: WhatsApp's id of a chat, or a mail address.
    told_to: Option<String>,
    /// When the notice was accepted.
    notified_at: Option<Timestamp>,
    /// When the operator answered.
    answered_at: Option<Timestamp>,
    /// What happened, from the beginning.
    timeline: Vec<Entry>,
}

/// Something that happened to a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReservationEntry)]
struct Entry {
    /// When.
    at: Timestamp,
    /// What, for programs.
    what: What,
    /// In a sentence.
    #[schema(examples("Se avisó al operador en su grupo de WhatsApp."))]
    text: String,
}

impl Entry {
    fn of(event: &Event, language: Language) -> Self {
        Self { at: event.at, what: event.what, text: event.sentence(language) }
    }
}
