//! Tour operators, and the group that each is told in (S003-10, S003-11).

use std::sync::Arc;

use axum::extract::State;
use recado_conversations::bindings::Unfit;
use recado_conversations::operations;
use recado_conversations::operators::{self, Changes, Listed, OperatorFilter};
use recado_conversations::organizers::{self, WithoutOperator};
use recado_kernel::db::{self, Session, Violation};
use recado_kernel::ids::Id;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{GroupChoice, GroupRef, OrganizerRef, country, group, no_group, organizer};
use crate::auth::{Admin, May};
use crate::extract::body::Json;
use crate::extract::page::MaybePaging;
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(show, change)).routes(routes!(choose_group))
}

/// Operators by name, and after them the organizers that have none. All of them, unless a page is asked for.
#[utoipa::path(get, path = "/", tag = "conversations", operation_id = "list_operators", params(OperatorQuery, MaybePaging),
    responses((status = 200, description = "The operators", body = Operators)))]
async fn list(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Query(query): Query<OperatorQuery>,
    paging: MaybePaging,
) -> Result<axum::Json<Operators>, Problem> {
    let mut session = api.context.db.read().await?;
    let orphans = organizers::without_operator(&mut session).await?;
    let organizers_without_operator = orphans.len();
    let orphans: Vec<_> = orphans.into_iter().filter(|organizer| query.asks_for(organizer)).collect();
    let filter = OperatorFilter { search: query.search, organizer_id: query.organizer_id };
    let (found, count) = operators::list(&mut session, &filter, paging.limit(), paging.offset()).await?;
    let total = count + i64::try_from(orphans.len()).unwrap_or(0);
    paging.check(total)?;
    let mut rows: Vec<OperatorView> = found.into_iter().map(OperatorView::from).collect();
    // They stand behind the last operator.
    let place = |number: i64| usize::try_from(number.max(0)).unwrap_or(usize::MAX);
    let room = place(paging.limit()) - rows.len().min(place(paging.limit()));
    rows.extend(orphans.into_iter().skip(place(paging.offset() - count)).take(room).map(OperatorView::from));
    Ok(axum::Json(Operators { operators: rows, total, organizers_without_operator }))
}

/// One operator.
#[utoipa::path(get, path = "/{id}", tag = "conversations", operation_id = "show_operator", params(("id" = Id, Path, description = "Id of the operator")),
    responses((status = 200, description = "The operator", body = OperatorView)))]
async fn show(
    _: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<OperatorView>, Problem> {
    view(&mut api.context.db.read().await?, id).await.map(axum::Json)
}

/// Changes the fields that are sent. Requests reach an operator in the group of the experience, else at `whatsapp_number`,
/// else at `contact_phone`, else at `contact_email`.
#[utoipa::path(patch, path = "/{id}", tag = "conversations", operation_id = "change_operator", params(("id" = Id, Path, description = "Id of the operator")),
    request_body = OperatorWrite, responses((status = 200, description = "The operator", body = OperatorView)))]
async fn change(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(sent): Json<OperatorWrite>,
) -> Result<axum::Json<OperatorView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let before = operators::lock(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let mut operator = before.clone();
    let changes = sent.changes();
    let organizer_id = changes.organizer_id.clone().flatten();
    let mut errors = FieldErrors::from(operator.change(changes, country(&api)));
    if let Some(organizer_id) = organizer_id
        && !organizers::exists(&mut session, &organizer_id).await?
    {
        errors.add("organizer_id", format!("No se conoce ningún organizador \"{organizer_id}\"."));
    }
    errors.none_or_problem()?;
    let now = api.context.clock.now();
    let written = operations::change_operator(&mut session, &before, &operator, &may.actor(), now).await;
    written.map_err(organizer_taken)?;
    let view = view(&mut session, id).await?;
    session.commit().await?;
    Ok(axum::Json(view))
}

/// Sets the group in which an operator is told of all its experiences that have none of their own; null takes it back.
#[utoipa::path(patch, path = "/{id}/default-group", tag = "conversations", operation_id = "choose_group_of_operator",
    params(("id" = Id, Path, description = "Id of the operator")), request_body = GroupChoice, responses(
    (status = 200, description = "The operator's group", body = DefaultGroup),
    (status = 404, description = "There is no such operator, or no such chat")))]
async fn choose_group(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(choice): Json<GroupChoice>,
) -> Result<axum::Json<DefaultGroup>, Problem> {
    let mut session = api.context.db.begin().await?;
    let before = operators::lock(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let mut operator = before.clone();
    let chosen = match choice.chosen() {
        None => None,
        Some(chat) => match group(&mut session, chat).await? {
            Ok(group) => Some(group),
            Err(Unfit::Unknown) => return Err(Problem::Nothing("No hay ningún grupo con este id.".to_owned())),
            Err(Unfit::NoGroup) => return Err(no_group()),
        },
    };
    operator.default_group = chosen.as_ref().map(|group| group.id);
    operations::change_operator(&mut session, &before, &operator, &may.actor(), api.context.clock.now()).await?;
    session.commit().await?;
    Ok(axum::Json(DefaultGroup { success: true, operator_id: id, default_group: chosen.map(GroupRef::from) }))
}

async fn view(session: &mut Session, id: Id) -> Result<OperatorView, Problem> {
    let operator = operators::find(session, id).await?.ok_or(Problem::NotFound)?;
    let listed = operators::describe(session, vec![operator]).await?.pop();
    Ok(listed.ok_or(Problem::NotFound)?.into())
}

fn organizer_taken(error: db::Error) -> Problem {
    if error.violates("tour_operators_organizer_key", "tour_operators.organizer_id") {
        return FieldErrors::one("organizer_id", "Este organizador ya tiene un operador; desvincúlelo antes.").into();
    }
    error.into()
}

request! {
    /// Which operators to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct OperatorQuery {
        /// Part of the name.
        search: Option<String>,
        /// The one of this organizer.
        organizer_id: Option<String>,
    }
}

impl OperatorQuery {
    fn asks_for(&self, organizer: &WithoutOperator) -> bool {
        let is_named = |part: &str| organizer.name.to_lowercase().contains(&part.to_lowercase());
        self.organizer_id.as_ref().is_none_or(|id| *id == organizer.id) && self.search.as_deref().is_none_or(is_named)
    }
}

request! {
    /// Changes to an operator.
    #[derive(ToSchema)]
    struct OperatorWrite {
        /// Name for people.
        #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
        name: Option<Option<String>>,
        /// Who is reached there.
        #[schema(value_type = Option<String>, max_length = 255)]
        contact_name: Option<Option<String>>,
        /// Telephone number; told there when there is no group and no `whatsapp_number`.
        #[schema(value_type = Option<String>)]
        contact_phone: Option<Option<String>>,
        /// E-mail address; told there when there is nothing else.
        #[schema(value_type = Option<String>)]
        contact_email: Option<Option<String>>,
        /// Number on WhatsApp.
        #[schema(value_type = Option<String>, examples("+593991234567"))]
        whatsapp_number: Option<Option<String>>,
        /// The organizer for whom it answers; null unlinks it.
        #[schema(value_type = Option<String>)]
        organizer_id: Option<Option<String>>,
    }
}

impl OperatorWrite {
    fn changes(self) -> Changes {
        Changes {
            // Null and a blank text are both no name, which is a mistake.
            name: self.name.map(Option::unwrap_or_default),
            contact_name: self.contact_name,
            contact_phone: self.contact_phone,
            contact_email: self.contact_email,
            whatsapp_number: self.whatsapp_number,
            organizer_id: self.organizer_id,
        }
    }
}

/// Operators.
#[derive(Debug, Serialize, ToSchema)]
struct Operators {
    /// Those of the page that was asked for, or all; organizers without an operator at the end, with `id` null.
    operators: Vec<OperatorView>,
    /// How many rows there are on all pages.
    #[schema(minimum = 0)]
    total: i64,
    /// How many organizers have no operator, whatever is asked for.
    organizers_without_operator: usize,
}

/// An operator, or an organizer that has none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TourOperator)]
struct OperatorView {
    /// Id of the operator; null: the organizer has none.
    id: Option<Id>,
    /// Name for people.
    name: String,
    /// Who is reached there.
    contact_name: Option<String>,
    /// Telephone number.
    contact_phone: Option<String>,
    /// E-mail address.
    contact_email: Option<String>,
    /// Number on WhatsApp.
    whatsapp_number: Option<String>,
    /// The organizer for whom it answers.
    organizer: Option<OrganizerRef>,
    /// The group in which it is told.
    default_whatsapp_group: Option<GroupRef>,
    /// It was made because its organizer had none.
    is_system_created: bool,
    /// For how many experiences it answers.
    #[schema(minimum = 0)]
    experiences_count: i64,
    /// True for an organizer that has none: `recado migrate_operators_to_organizers` makes it.
    needs_operator_creation: bool,
}

impl From<Listed> for OperatorView {
    fn from(Listed { operator, organizer_name, group, experiences }: Listed) -> Self {
        Self {
            id: Some(operator.id),
            name: operator.name,
            contact_name: operator.contact.contact_name,
            contact_phone: operator.contact.contact_phone,
            contact_email: operator.contact.contact_email,
            whatsapp_number: operator.whatsapp_number,
            organizer: organizer(operator.organizer_id, organizer_name),
            default_whatsapp_group: group.map(GroupRef::from),
            is_system_created: operator.is_system_created,
            experiences_count: experiences,
            needs_operator_creation: false,
        }
    }
}

impl From<WithoutOperator> for OperatorView {
    fn from(WithoutOperator { id, name, contact, experiences }: WithoutOperator) -> Self {
        Self {
            id: None,
            name: name.clone(),
            contact_name: contact.contact_name,
            contact_phone: contact.contact_phone,
            contact_email: contact.contact_email,
            whatsapp_number: None,
            organizer: Some(OrganizerRef { id, name }),
            default_whatsapp_group: None,
            is_system_created: false,
            experiences_count: experiences,
            needs_operator_creation: true,
        }
    }
}

/// The group in which an operator is told from now on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatorDefaultGroup)]
struct DefaultGroup {
    /// Always true.
    success: bool,
    /// Id of the operator.
    operator_id: Id,
    /// The group; null: none.
    default_group: Option<GroupRef>,
}
