//! Experiences of another system, and the group that is told of each (S003-8, S003-9).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_conversations::bindings::{self, Binding, Unfit};
use recado_conversations::contacts::Contact;
use recado_conversations::experiences::{self, Experience, ExperienceFilter, Told};
use recado_conversations::operations;
use recado_conversations::organizers::Organizer;
use recado_kernel::db::Session;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{GroupChoice, GroupRef, OrganizerRef, country, group, no_group, organizer};
use crate::auth::{Admin, May};
use crate::extract::body::Json;
use crate::extract::fields::Fields;
use crate::extract::page::MaybePaging;
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::{Member, Request, request};
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(keep)).routes(routes!(choose_group))
}

/// Experiences with the group that is told of each, by title. All of them, unless a page is asked for.
#[utoipa::path(get, path = "/", tag = "conversations", operation_id = "list_experiences", params(ExperienceQuery, MaybePaging),
    responses((status = 200, description = "The experiences", body = Experiences)))]
async fn list(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Query(ExperienceQuery { search, organizer_id }): Query<ExperienceQuery>,
    paging: MaybePaging,
) -> Result<axum::Json<Experiences>, Problem> {
    let mut session = api.context.db.read().await?;
    let filter = ExperienceFilter { search, organizer_id };
    let (found, total) = experiences::list(&mut session, &filter, paging.limit(), paging.offset()).await?;
    paging.check(total)?;
    Ok(axum::Json(Experiences { experiences: views(&mut session, found).await?, total }))
}

/// Tells of an experience of another system, with its organizer (d30). The first time, its operator is made where there is
/// none, and its group is that of the operator; later, title, slug and organizer change and no group does (S003-26).
#[utoipa::path(put, path = "/{id}", tag = "conversations", operation_id = "keep_experience",
    params(("id" = String, Path, description = "The other system's id, at most 100 characters")),
    request_body = ExperienceWrite, responses(
    (status = 200, description = "It was known", body = ExperienceView),
    (status = 201, description = "It is new", body = ExperienceView)))]
async fn keep(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
    Json(ExperienceWrite { title, slug, organizer }): Json<ExperienceWrite>,
) -> Result<(StatusCode, axum::Json<ExperienceView>), Problem> {
    let organizer = organizer.map(|organizer| organizer.map(Organizer::from));
    let mut told = Told { id, title, slug, organizer };
    let mut errors = FieldErrors::from(told.tidy());
    if let Some(Some(organizer)) = &mut told.organizer {
        for (field, error) in organizer.tidy(country(&api)) {
            errors.add(format!("organizer.{field}"), error);
        }
    }
    errors.none_or_problem()?;
    let mut session = api.context.db.begin().await?;
    let is_new = experiences::keep(&mut session, &told, api.context.clock.now()).await?;
    let view = view(&mut session, &told.id).await?;
    session.commit().await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, axum::Json(view)))
}

/// Chooses the group that is told of an experience, or takes the choice back with null: what is beneath it holds again,
/// the operator's group or the one that it had at first.
#[utoipa::path(patch, path = "/{id}/group", tag = "conversations", operation_id = "choose_group_of_experience",
    params(("id" = String, Path, description = "The other system's id")), request_body = GroupChoice,
    responses((status = 200, description = "The group that is told now", body = Chosen)))]
async fn choose_group(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<String>,
    Json(choice): Json<GroupChoice>,
) -> Result<axum::Json<Chosen>, Problem> {
    let mut session = api.context.db.begin().await?;
    experiences::find(&mut session, &id).await?.ok_or(Problem::NotFound)?;
    let chosen = match choice.chosen() {
        None => None,
        Some(chat) => match group(&mut session, chat).await? {
            Ok(group) => Some(group.id),
            Err(Unfit::Unknown) => return Err(FieldErrors::one("group_id", "No hay ningún grupo con este id.").into()),
            Err(Unfit::NoGroup) => return Err(no_group()),
        },
    };
    operations::choose_group(&mut session, &id, chosen, &may.actor(), api.context.clock.now()).await?;
    let now = bindings::current(&mut session, &[id.as_str()]).await?.into_iter().next();
    session.commit().await?;
    let is_override = now.as_ref().is_some_and(|binding| binding.is_override);
    let group = now.and_then(|binding| binding.group).map(GroupRef::from);
    Ok(axum::Json(Chosen { success: true, experience_id: id, group, is_override }))
}

async fn view(session: &mut Session, id: &str) -> Result<ExperienceView, Problem> {
    let found = experiences::find(session, id).await?;
    views(session, found.into_iter().collect()).await?.pop().ok_or(Problem::NotFound)
}

async fn views(session: &mut Session, found: Vec<Experience>) -> Result<Vec<ExperienceView>, Problem> {
    let ids: Vec<&str> = found.iter().map(|experience| experience.id.as_str()).collect();
    let bindings = bindings::current(session, &ids).await?;
    let bound = |experience: Experience| {
        let binding = bindings.iter().find(|binding| binding.experience_id == experience.id);
        ExperienceView::of(experience, binding)
    };
    Ok(found.into_iter().map(bound).collect())
}

request! {
    /// Which experiences to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct ExperienceQuery {
        /// Part of the title or the slug.
        search: Option<String>,
        /// Those of this organizer.
        organizer_id: Option<String>,
    }
}

request! {
    /// An experience of another system.
    #[derive(ToSchema)]
    struct ExperienceWrite {
        /// What it is called.
        #[schema(min_length = 1, max_length = 255, examples("Tour al volcán"))]
        title: String,
        /// Its name in URLs, from which its reservation codes begin. Default: made from the title.
        #[schema(max_length = 255, examples("tour-al-volcan"))]
        slug: Option<String>,
        /// Whose it is; null: of no organizer. Absent: it stays.
        #[schema(value_type = Option<OrganizerWrite>)]
        organizer: Option<Option<OrganizerWrite>>,
    }
}

request! {
    /// An organizer of another system. What is not told stays as it is.
    #[derive(ToSchema)]
    struct OrganizerWrite {
        /// The other system's id, at most 100 characters.
        #[schema(min_length = 1, max_length = 100, examples("org-7"))]
        id: String,
        /// Name of the business.
        #[schema(min_length = 1, max_length = 255, examples("Andes Expediciones"))]
        name: String,
        /// Who is reached there.
        #[schema(max_length = 255)]
        contact_name: Option<String>,
        /// Telephone number.
        #[schema(examples("+593991234567"))]
        contact_phone: Option<String>,
        /// E-mail address.
        #[schema(max_length = 254, examples("reservas@example.com"))]
        contact_email: Option<String>,
    }
}

impl Member for Option<Option<OrganizerWrite>> {
    fn take(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let is_there = fields.has(name);
        let taken = fields.within_nullable(name, <OrganizerWrite as Request>::read);
        (!is_there || taken.is_some()).then_some(taken)
    }
}

impl From<OrganizerWrite> for Organizer {
    fn from(OrganizerWrite { id, name, contact_name, contact_phone, contact_email }: OrganizerWrite) -> Self {
        Self { id, name, contact: Contact { contact_name, contact_phone, contact_email } }
    }
}

/// Experiences.
#[derive(Debug, Serialize, ToSchema)]
struct Experiences {
    /// Those of the page that was asked for, or all.
    experiences: Vec<ExperienceView>,
    /// How many there are on all pages.
    #[schema(minimum = 0)]
    total: i64,
}

/// An experience.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Experience)]
struct ExperienceView {
    /// The other system's id.
    #[schema(examples("exp-12"))]
    id: String,
    /// What it is called.
    #[schema(examples("Tour al volcán"))]
    title: String,
    /// Its name in URLs.
    #[schema(examples("tour-al-volcan"))]
    slug: String,
    /// Whose it is.
    organizer: Option<OrganizerRef>,
    /// The group that is told of its requests; null: none, then the operator is told by other means.
    current_whatsapp_group: Option<CurrentGroup>,
    /// There is a group, and it was not chosen for this experience.
    is_using_default_group: bool,
    /// Staff chose a group for this experience.
    has_custom_binding: bool,
}

/// The group that is told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CurrentWhatsappGroup)]
struct CurrentGroup {
    #[serde(flatten)]
    group: GroupRef,
    /// Staff chose it for this experience.
    is_override: bool,
}

impl ExperienceView {
    fn of(Experience { id, title, slug, organizer_id, organizer_name }: Experience, binding: Option<&Binding>) -> Self {
        let is_override = binding.is_some_and(|binding| binding.is_override);
        let group = binding.and_then(|binding| binding.group.clone());
        Self {
            id,
            title,
            slug,
            organizer: organizer(organizer_id, organizer_name),
            is_using_default_group: group.is_some() && !is_override,
            has_custom_binding: is_override,
            current_whatsapp_group: group.map(|group| CurrentGroup { group: group.into(), is_override }),
        }
    }
}

/// The group that is told of an experience from now on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChosenWhatsappGroup)]
struct Chosen {
    /// Always true.
    success: bool,
    /// The other system's id.
    experience_id: String,
    /// The group that is told now; null: none.
    group: Option<GroupRef>,
    /// It was chosen for this experience.
    is_override: bool,
}
