//! Workshops with settings of their own (S002-49, d15).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Violation};
use recado_kernel::ids::Id;
use recado_kernel::time_of_day::TimeOfDay;
use recado_notifications::workshops::{self, Workshop, WorkshopDraft, WorkshopFilter};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May, Read};
use crate::extract::body::{Changes, Form, Json, Whole};
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
    Routes::new().routes(routes!(list, create)).routes(routes!(show, replace, change, delete))
}

/// Workshops, by taller_id.
#[utoipa::path(get, path = "/", tag = "workshops", params(WorkshopQuery, Paging),
    responses((status = 200, description = "A page of workshops", body = Page<WorkshopView>)))]
async fn list(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<WorkshopQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<WorkshopView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let (found, count) = workshops::list(&mut session, &query.into(), paging.limit(), paging.offset()).await?;
    Ok(axum::Json(paging.page(found.into_iter().map(WorkshopView::from).collect(), count)?))
}

/// Gives a workshop settings of its own. They count from the next event on.
#[utoipa::path(post, path = "/", tag = "workshops", params(IdempotencyHeader), request_body = WorkshopDraft,
    responses(
        (status = 201, description = "The workshop", body = WorkshopView),
        (status = 422, description = "The Idempotency-Key was used for another request", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Once { key, body: Whole(draft) }: Once<Whole<WorkshopDraft>>,
) -> Result<Created<WorkshopView>, Problem> {
    let mut session = api.context.db.begin().await?;
    if let Some(made) = key.made::<String>(&mut session, &may.caller, api.context.clock.now()).await? {
        let workshop = workshops::find(&mut session, &made).await?.ok_or(Problem::NotFound)?;
        return Ok(Created::Before(workshop.into()));
    }
    let created =
        workshops::insert(&mut session, &draft, &may.actor(), api.context.clock.now()).await.map_err(taken)?;
    key.keep(&mut session, &may.caller, &created.taller_id).await?;
    session.commit().await?;
    Ok(Created::Now(created.into()))
}

/// One workshop.
#[utoipa::path(get, path = "/{taller_id}", tag = "workshops",
    params(("taller_id" = String, Path, description = "The caller's own identifier of the workshop")),
    responses((status = 200, description = "The workshop", body = WorkshopView)))]
async fn show(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(taller_id): Segment<String>,
) -> Result<axum::Json<WorkshopView>, Problem> {
    let found = workshops::find(&mut api.context.db.read().await?, &taller_id).await?;
    Ok(axum::Json(found.ok_or(Problem::NotFound)?.into()))
}

/// Writes the settings of a workshop as a whole. What is required must be sent; the rest stays as it is where it is not.
#[utoipa::path(put, path = "/{taller_id}", tag = "workshops",
    params(("taller_id" = String, Path, description = "The caller's own identifier of the workshop")),
    request_body = WorkshopDraft, responses((status = 200, description = "The workshop", body = WorkshopView)))]
async fn replace(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(taller_id): Segment<String>,
    Json(sent): Json<Changes>,
) -> Result<axum::Json<WorkshopView>, Problem> {
    write(&api, &may, &taller_id, |workshop| sent.whole(WorkshopDraft::from(workshop)).finish()).await
}

/// Changes the fields that are sent.
#[utoipa::path(patch, path = "/{taller_id}", tag = "workshops",
    params(("taller_id" = String, Path, description = "The caller's own identifier of the workshop")),
    request_body = WorkshopDraft, responses((status = 200, description = "The workshop", body = WorkshopView)))]
async fn change(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(taller_id): Segment<String>,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<WorkshopView>, Problem> {
    write(&api, &may, &taller_id, |workshop| changes.onto(WorkshopDraft::from(workshop))).await
}

/// Forgets a workshop's settings; events that name it are as if it never had any. Its provider accounts stay.
#[utoipa::path(delete, path = "/{taller_id}", tag = "workshops",
    params(("taller_id" = String, Path, description = "The caller's own identifier of the workshop")),
    responses((status = 204, description = "It is gone")))]
async fn delete(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(taller_id): Segment<String>,
) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let deleted = workshops::delete(&mut session, &taller_id, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    deleted.map(|_| StatusCode::NO_CONTENT).ok_or(Problem::NotFound)
}

async fn write(
    api: &Api,
    may: &May<Admin>,
    taller_id: &str,
    draft: impl FnOnce(Workshop) -> Result<WorkshopDraft, Problem>,
) -> Result<axum::Json<WorkshopView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let workshop = workshops::lock(&mut session, taller_id).await?.ok_or(Problem::NotFound)?;
    let (draft, now) = (draft(workshop.clone())?, api.context.clock.now());
    let written = workshops::replace(&mut session, &workshop, &draft, &may.actor(), now).await.map_err(taken)?;
    session.commit().await?;
    Ok(axum::Json(written.into()))
}

fn taken(error: db::Error) -> Problem {
    if error.violates("workshops_taller_id_key", "workshops.taller_id") {
        return FieldErrors::one("taller_id", "Ya existe un taller con este taller_id.").into();
    }
    error.into()
}

/// A workshop with settings of its own.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Workshop)]
struct WorkshopView {
    /// Id of these settings; URLs use `taller_id`.
    id: Id,
    /// The identifier that events carry.
    taller_id: String,
    /// Name for people.
    name: String,
    /// False: events that name this workshop are refused.
    is_active: bool,
    /// IANA name of its time zone; null for TIME_ZONE.
    #[schema(examples("America/Guayaquil"))]
    time_zone: Option<String>,
    /// Start of its quiet hours, local time; null for none.
    quiet_from: Option<TimeOfDay>,
    /// End of its quiet hours, local time.
    quiet_until: Option<TimeOfDay>,
    /// Sender of its mails; null for the account's own.
    from_email: Option<String>,
    /// Whether anything is sent by email.
    email_enabled: bool,
    /// Whether anything is sent by WhatsApp.
    whatsapp_enabled: bool,
    /// Whether anything is sent as a push.
    push_enabled: bool,
    /// When it was first written.
    created_at: Timestamp,
    /// When it was last written.
    updated_at: Timestamp,
}

impl From<Workshop> for WorkshopView {
    fn from(workshop: Workshop) -> Self {
        Self {
            id: workshop.id,
            taller_id: workshop.taller_id,
            name: workshop.name,
            is_active: workshop.is_active,
            time_zone: workshop.time_zone,
            quiet_from: workshop.quiet_from,
            quiet_until: workshop.quiet_until,
            from_email: workshop.from_email,
            email_enabled: workshop.email_enabled,
            whatsapp_enabled: workshop.whatsapp_enabled,
            push_enabled: workshop.push_enabled,
            created_at: workshop.created_at,
            updated_at: workshop.updated_at,
        }
    }
}

impl Form for WorkshopDraft {
    const REQUIRED: &'static [&'static str] = &["taller_id", "name"];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set("taller_id", &mut self.taller_id);
        fields.set("name", &mut self.name);
        fields.set("is_active", &mut self.is_active);
        fields.set_nullable("time_zone", &mut self.time_zone);
        fields.set_nullable("quiet_from", &mut self.quiet_from);
        fields.set_nullable("quiet_until", &mut self.quiet_until);
        fields.set_nullable("from_email", &mut self.from_email);
        fields.set("email_enabled", &mut self.email_enabled);
        fields.set("whatsapp_enabled", &mut self.whatsapp_enabled);
        fields.set("push_enabled", &mut self.push_enabled);
        fields.check(self.errors());
    }
}

request! {
    /// Which workshops to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct WorkshopQuery {
        /// Only those that are active, or that are not.
        is_active: Option<bool>,
        /// Part of the name, in either case.
        search: Option<String>,
    }
}

impl From<WorkshopQuery> for WorkshopFilter {
    fn from(WorkshopQuery { is_active, search }: WorkshopQuery) -> Self {
        Self { is_active, search }
    }
}
