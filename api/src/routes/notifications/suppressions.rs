//! Addresses to which nothing is sent any more (`bounced`, S002-70). Who mends them needs the scope
//! `contacts` to see them in full.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Violation};
use recado_kernel::ids::Id;
use recado_notifications::channels::{self, Channel};
use recado_notifications::suppressions::{self, Reason, Suppression, SuppressionDraft, SuppressionFilter};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::keys::Caller;
use crate::auth::{Admin, May, Read};
use crate::extract::body::{Changes, Form};
use crate::extract::fields::Fields;
use crate::extract::once::{Created, IdempotencyHeader, Once};
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(show, lift)).routes(routes!(restore))
}

/// Suppressed addresses, the newest first. They are masked, and found only as a whole, unless the key has the scope `contacts` or
/// `admin`.
#[utoipa::path(get, path = "/", tag = "suppressions", params(SuppressionQuery, Paging),
    responses((status = 200, description = "A page of suppressions", body = Page<SuppressionView>)))]
async fn list(
    May { caller, .. }: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<SuppressionQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<SuppressionView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let filter = SuppressionFilter { is_whole: !caller.sees_contacts(), ..query.into() };
    let (found, count) = suppressions::list(&mut session, &filter, paging.limit(), paging.offset()).await?;
    let views = found.into_iter().map(|suppression| SuppressionView::of(suppression, &caller)).collect();
    Ok(axum::Json(paging.page(views, count)?))
}

/// Suppresses an address by hand.
#[utoipa::path(post, path = "/", tag = "suppressions", params(IdempotencyHeader), request_body = SuppressionDraft,
    responses(
        (status = 201, description = "The suppression", body = SuppressionView),
        (status = 422, description = "The Idempotency-Key was used for another request", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Once { key, body: sent }: Once<Changes>,
) -> Result<Created<SuppressionView>, Problem> {
    let country = &api.context.config.default_country;
    let draft = sent.whole(SuppressionDraft::default()).checked(|draft| draft.checked(country)).finish()?;
    let mut session = api.context.db.begin().await?;
    if let Some(made) = key.made::<Id>(&mut session, &may.caller, api.context.clock.now()).await? {
        let suppression = suppressions::find(&mut session, made).await?.ok_or(Problem::NotFound)?;
        return Ok(Created::Before(suppression.into()));
    }
    let now = api.context.clock.now();
    let created = suppressions::insert(&mut session, &draft, &may.actor(), now).await.map_err(already_there)?;
    key.keep(&mut session, &may.caller, &created.id).await?;
    session.commit().await?;
    Ok(Created::Now(created.into()))
}

/// One suppression.
#[utoipa::path(get, path = "/{id}", tag = "suppressions",
    params(("id" = Id, Path, description = "Id of the suppression")),
    responses((status = 200, description = "The suppression", body = SuppressionView)))]
async fn show(
    May { caller, .. }: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<SuppressionView>, Problem> {
    let found = suppressions::find(&mut api.context.db.read().await?, id).await?.ok_or(Problem::NotFound)?;
    Ok(axum::Json(SuppressionView::of(found, &caller)))
}

/// Lifts a suppression: the address is written to again from the next event on.
#[utoipa::path(delete, path = "/{id}", tag = "suppressions",
    params(("id" = Id, Path, description = "Id of the suppression")),
    responses((status = 204, description = "It is lifted")))]
async fn lift(may: May<Admin>, State(api): State<Arc<Api>>, Segment(id): Segment<Id>) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let lifted = suppressions::lift(&mut session, id, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    if lifted.is_some() { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::NotFound) }
}

/// Takes it back that a suppression was lifted: nothing is sent to the address again. Possible for an hour.
#[utoipa::path(post, path = "/{id}/restore", tag = "suppressions",
    params(("id" = Id, Path, description = "Id of the suppression")),
    responses((status = 200, description = "The suppression", body = SuppressionView)))]
async fn restore(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<SuppressionView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let restored = suppressions::restore(&mut session, id, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    Ok(axum::Json(restored.ok_or(Problem::NotFound)?.into()))
}

fn already_there(error: db::Error) -> Problem {
    if error.violates("suppressions_key", "suppressions.channel, suppressions.address") {
        return FieldErrors::one("address", "Esta dirección ya está en la lista de supresión.").into();
    }
    error.into()
}

/// A suppressed address.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Suppression)]
struct SuppressionView {
    /// Id of the suppression.
    id: Id,
    /// The channel on which nothing is sent.
    channel: Channel,
    /// A mail address in lower case, or a telephone number in E.164.
    #[schema(examples("maria@example.com"))]
    address: String,
    /// Why: `bounced`, `complained`, `unsubscribed` or `manual`.
    #[schema(examples("bounced"))]
    reason: Reason,
    /// What the provider said, or what staff noted.
    #[schema(examples("550 5.1.1 No such user here"))]
    detail: String,
    /// The message that bounced.
    notification_id: Option<Id>,
    /// Since when.
    created_at: Timestamp,
}

impl SuppressionView {
    /// With the address masked, unless the caller may see it.
    fn of(suppression: Suppression, caller: &Caller) -> Self {
        let mut view = Self::from(suppression);
        if !caller.sees_contacts() {
            view.detail = channels::without(view.channel, &view.address, &view.detail);
            view.address = channels::mask(view.channel, &view.address).unwrap_or_default();
        }
        view
    }
}

impl From<Suppression> for SuppressionView {
    fn from(suppression: Suppression) -> Self {
        let Suppression { id, channel, address, reason, detail, notification_id, created_at } = suppression;
        Self { id, channel, address, reason, detail, notification_id, created_at }
    }
}

impl Form for SuppressionDraft {
    const REQUIRED: &'static [&'static str] = &["channel", "address"];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set_nullable("channel", &mut self.channel);
        fields.set("address", &mut self.address);
        fields.set("detail", &mut self.detail);
    }
}

request! {
    /// Which suppressions to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct SuppressionQuery {
        /// Only this channel: `email` or `whatsapp`.
        channel: Option<Channel>,
        /// Only of this reason.
        reason: Option<Reason>,
        /// Part of the address, in either case.
        search: Option<String>,
    }
}

impl From<SuppressionQuery> for SuppressionFilter {
    fn from(SuppressionQuery { channel, reason, search }: SuppressionQuery) -> Self {
        Self { channel, reason, search, is_whole: false }
    }
}
