//! Who is told what on which channel: configurations and their matrices of phase × channel (S002-13 to S002-15, S002-49,
//! S002-50).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session, Violation};
use recado_kernel::ids::Id;
use recado_notifications::catalogue::{self, Catalogue, ServiceType};
use recado_notifications::catalogue_version;
use recado_notifications::channels::Channel;
use recado_notifications::orchestration::{
    self, AwaitedReceipt, Cell, DeliveryMode, MOST_CELLS, Orchestration, OrchestrationDraft, OrchestrationFilter,
};
use recado_notifications::targets::Target;
use recado_notifications::templates::{self, Template};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Admin, May, Read};
use crate::extract::body::{Changes, Form, Json, Written};
use crate::extract::fields::Fields;
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::extract::query::Query;
use crate::extract::request::{Request, Required, request};
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, create))
        .routes(routes!(show, replace, change, delete))
        .routes(routes!(update_matrix))
        .routes(routes!(initialize_phases))
}

/// Configurations, by service, audience and workshop.
#[utoipa::path(get, path = "/", tag = "orchestration", params(OrchestrationQuery, Paging),
    responses((status = 200, description = "A page of configurations", body = Page<OrchestrationView>)))]
async fn list(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(query): Query<OrchestrationQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<OrchestrationView>>, Problem> {
    let catalogue = api.catalogue().await?;
    let filter = query.filter(&catalogue)?;
    let mut found = catalogue.configurations();
    found.retain(|config| filter.takes(config));
    Ok(axum::Json(paging.cut(&found, |config| OrchestrationView::of(config, &catalogue))?))
}

/// Writes a new configuration. Its matrix is empty until `initialize_phases` or `update_matrix` fill it.
#[utoipa::path(post, path = "/", tag = "orchestration", request_body = OrchestrationDraft,
    responses((status = 201, description = "The configuration", body = OrchestrationView)))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Json(sent): Json<Changes>,
) -> Result<(StatusCode, axum::Json<OrchestrationView>), Problem> {
    let (draft, service) = of_a_service(sent.whole(OrchestrationDraft::default()), &*api.catalogue().await?)?;
    let mut session = api.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let inserted = orchestration::insert(&mut session, &draft, service, &may.actor(), api.context.clock.now()).await;
    let id = inserted.map_err(not_unique)?;
    session.commit().await?;
    Ok((StatusCode::CREATED, view(&api, id).await?))
}

/// One configuration with its matrix.
#[utoipa::path(get, path = "/{id}", tag = "orchestration",
    params(("id" = Id, Path, description = "Id of the configuration")),
    responses((status = 200, description = "The configuration", body = OrchestrationView)))]
async fn show(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<OrchestrationView>, Problem> {
    view(&api, id).await
}

/// Writes a configuration as a whole, except its matrix. What is required must be sent; the rest stays as it is where it is not.
#[utoipa::path(put, path = "/{id}", tag = "orchestration",
    params(("id" = Id, Path, description = "Id of the configuration")), request_body = OrchestrationDraft,
    responses((status = 200, description = "The configuration", body = OrchestrationView)))]
async fn replace(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(sent): Json<Changes>,
) -> Result<axum::Json<OrchestrationView>, Problem> {
    write(&api, &may, id, |config| sent.whole(OrchestrationDraft::from(config))).await
}

/// Changes the fields that are sent. The matrix is not one of them.
#[utoipa::path(patch, path = "/{id}", tag = "orchestration",
    params(("id" = Id, Path, description = "Id of the configuration")), request_body = OrchestrationDraft,
    responses((status = 200, description = "The configuration", body = OrchestrationView)))]
async fn change(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<OrchestrationView>, Problem> {
    write(&api, &may, id, |config| changes.over(OrchestrationDraft::from(config))).await
}

/// Deletes a configuration with its matrix. Events then use the next one in force, or are refused.
#[utoipa::path(delete, path = "/{id}", tag = "orchestration",
    params(("id" = Id, Path, description = "Id of the configuration")),
    responses((status = 204, description = "It is gone")))]
async fn delete(may: May<Admin>, State(api): State<Arc<Api>>, Segment(id): Segment<Id>) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let deleted = orchestration::delete(&mut session, id, &may.actor(), api.context.clock.now()).await?;
    deleted.ok_or(Problem::NotFound)?;
    session.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Writes cells of the matrix: all of those that are sent, or none when one of them is wrong.
///
/// Cells that are not sent stay as they are, and so do the fields of a cell that are not sent.
#[utoipa::path(post, path = "/{id}/update_matrix", tag = "orchestration",
    params(("id" = Id, Path, description = "Id of the configuration")), request_body = MatrixWrite,
    responses((status = 200, description = "The configuration with its whole matrix", body = OrchestrationView)))]
async fn update_matrix(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
    Json(MatrixWrite { configs }): Json<MatrixWrite>,
) -> Result<axum::Json<OrchestrationView>, Problem> {
    let (catalogue, now) = (api.catalogue().await?, api.context.clock.now());
    let mut session = api.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let before = orchestration::Matrix::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let mut changes = Matrix::of(id, before.cells.clone()).changed(configs, &catalogue, now);
    let named: Vec<Id> = changes.cells.iter().filter_map(|(_, cell)| cell.template_id).collect();
    changes.check_templates(&templates::find_many(&mut session, &named).await?, before.config.target);
    changes.errors.none_or_problem()?;
    let cells: Vec<Cell> = changes.cells.into_iter().map(|(_, cell)| cell).collect();
    let after = orchestration::Matrix { config: before.config.clone(), cells };
    orchestration::save(&mut session, &before, &after, &may.actor(), now).await?;
    session.commit().await?;
    view(&api, id).await
}

/// Adds the cells that the matrix lacks, switched off. Doing it again changes nothing.
#[utoipa::path(post, path = "/{id}/initialize_phases", tag = "orchestration",
    params(("id" = Id, Path, description = "Id of the configuration")),
    responses((status = 200, description = "The configuration with its whole matrix", body = OrchestrationView)))]
async fn initialize_phases(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(id): Segment<Id>,
) -> Result<axum::Json<OrchestrationView>, Problem> {
    let (catalogue, now) = (api.catalogue().await?, api.context.clock.now());
    let mut session = api.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    orchestration::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let of_phase = |phase: &catalogue::Phase| Channel::ALL.map(|channel| Cell::new(id, phase.id, channel, now));
    let whole: Vec<Cell> = catalogue.phases.iter().flat_map(of_phase).collect();
    orchestration::add_cells(&mut session, id, &whole, &may.actor(), now).await?;
    session.commit().await?;
    view(&api, id).await
}

async fn write(
    api: &Api,
    may: &May<Admin>,
    id: Id,
    draft: impl FnOnce(Orchestration) -> Written<OrchestrationDraft>,
) -> Result<axum::Json<OrchestrationView>, Problem> {
    let catalogue = api.catalogue().await?;
    let mut session = api.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let config = orchestration::find(&mut session, id).await?.ok_or(Problem::NotFound)?;
    let (draft, service) = of_a_service(draft(config.clone()), &catalogue)?;
    let (actor, now) = (may.actor(), api.context.clock.now());
    save(&mut session, &config, &draft, service, (&actor, now)).await.map_err(not_unique)?;
    session.commit().await?;
    view(api, id).await
}

async fn save(
    session: &mut Session,
    config: &Orchestration,
    draft: &OrchestrationDraft,
    service: Id,
    (actor, now): (&Actor, Timestamp),
) -> db::Result<()> {
    orchestration::replace(session, config, draft, service, actor, now).await?;
    orchestration::forget_misfits(session).await
}

/// The draft with the service that it means, unless something is wrong with it or there is no such service.
fn of_a_service(
    mut written: Written<OrchestrationDraft>,
    catalogue: &Catalogue,
) -> Result<(OrchestrationDraft, Id), Problem> {
    let service = catalogue.known_service(&written.record.service_type);
    let service = service.map_err(|error| written.check(vec![("service_type", error)])).ok();
    let draft = written.finish()?;
    Ok((draft, service.ok_or(Problem::NotFound)?))
}

/// SQLite names the index itself, because it is one of expressions.
fn not_unique(error: db::Error) -> Problem {
    if error.violates("orchestration_configs_key", "index 'orchestration_configs_key'") {
        let text = "Los campos service_type, target, taller_id deben formar un conjunto único. Cambie la configuración \
                    que ya existe.";
        return FieldErrors::one("non_field_errors", text).into();
    }
    error.into()
}

async fn view(api: &Api, id: Id) -> Result<axum::Json<OrchestrationView>, Problem> {
    let catalogue = api.catalogue().await?;
    let config = catalogue.configuration(id).ok_or(Problem::NotFound)?;
    Ok(axum::Json(OrchestrationView::of(config, &catalogue)))
}

/// The configuration of a type or subtype of service for one audience (S002-49).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Orchestration)]
struct OrchestrationView {
    /// Id of the configuration.
    id: Id,
    /// The type of service, or a subtype.
    service_type: Id,
    /// Its name.
    #[schema(examples("Mantenimiento Preventivo"))]
    service_type_name: String,
    /// Whom its messages address.
    target: Target,
    /// Only for this workshop; null for all that have none of their own.
    taller_id: Option<String>,
    /// Whether events may use it.
    is_active: bool,
    /// A note for staff.
    description: String,
    /// One channel after the other, or all at once.
    delivery_mode: DeliveryMode,
    /// The matrix: its cells, phase by phase.
    phase_configs: Vec<CellView>,
    /// When it was first written.
    created_at: Timestamp,
    /// When it or its matrix was last written.
    updated_at: Timestamp,
}

/// A cell of the matrix.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PhaseChannelConfig)]
struct CellView {
    /// Id of the cell.
    id: Id,
    /// The phase.
    phase: Id,
    /// Its name.
    #[schema(examples("Recepción"))]
    phase_name: String,
    /// The channel.
    channel: Channel,
    /// Whether the channel is used in this phase.
    enabled: bool,
    /// This template and no other; null for the best match.
    template: Option<Id>,
    /// Name of that template.
    template_name: Option<String>,
    /// The template that is really sent: the one that is named, or else the best match. An event of a type that has templates of
    /// its own is told in those. Null: there is none, and the channel is skipped.
    effective_template: Option<Id>,
    /// Its name.
    effective_template_name: Option<String>,
    /// Subtypes of the service with words of their own in this cell, which go before those.
    effective_by_subtype: Vec<SubtypeView>,
    /// Without this receipt in time the next channel is tried; null when it is enough that the message was sent.
    await_receipt: Option<AwaitedReceipt>,
    /// How long to wait for the receipt, in seconds.
    #[schema(minimum = 1, maximum = 604800)]
    await_seconds: Option<i32>,
}

/// What is sent instead to one subtype of the service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubtypeTemplate)]
struct SubtypeView {
    /// The subtype.
    subtype: Id,
    /// Its name.
    #[schema(examples("Frenos"))]
    subtype_name: String,
    /// The template that is really sent.
    template: Id,
    /// Its name.
    template_name: String,
}

impl OrchestrationView {
    fn of(config: &Orchestration, catalogue: &Catalogue) -> Self {
        let service = catalogue.service(config.service_type_id);
        Self {
            id: config.id,
            service_type: config.service_type_id,
            service_type_name: service.map(|service| service.name.clone()).unwrap_or_default(),
            target: config.target,
            taller_id: config.taller_id.clone(),
            is_active: config.is_active,
            description: config.description.clone(),
            delivery_mode: config.delivery_mode,
            phase_configs: catalogue.matrix(config.id).map(|cell| CellView::of(cell, config, catalogue)).collect(),
            created_at: config.created_at,
            updated_at: config.updated_at,
        }
    }
}

impl CellView {
    fn of(cell: &Cell, config: &Orchestration, catalogue: &Catalogue) -> Self {
        let effective = catalogue.effective(config, cell, None);
        let of_subtype = |subtype: &ServiceType| {
            let own = catalogue.effective(config, cell, Some(subtype.id))?;
            let is_own = effective.is_none_or(|effective| effective.id != own.id);
            is_own.then(|| SubtypeView {
                subtype: subtype.id,
                subtype_name: subtype.name.clone(),
                template: own.id,
                template_name: own.name.clone(),
            })
        };
        let phase = catalogue.phases.iter().find(|phase| phase.id == cell.phase_id);
        let template = cell.template_id.and_then(|id| catalogue.template(id));
        Self {
            id: cell.id,
            phase: cell.phase_id,
            phase_name: phase.map(|phase| phase.name.clone()).unwrap_or_default(),
            channel: cell.channel,
            enabled: cell.enabled,
            template: cell.template_id,
            template_name: template.map(|template| template.name.clone()),
            effective_template: effective.map(|template| template.id),
            effective_template_name: effective.map(|template| template.name.clone()),
            effective_by_subtype: catalogue.subtypes(config.service_type_id).filter_map(of_subtype).collect(),
            await_receipt: cell.await_receipt,
            await_seconds: cell.await_seconds,
        }
    }
}

impl Form for OrchestrationDraft {
    const REQUIRED: &'static [&'static str] = &["service_type"];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set("service_type", &mut self.service_type);
        fields.set("target", &mut self.target);
        fields.set_nullable("taller_id", &mut self.taller_id);
        fields.set("is_active", &mut self.is_active);
        fields.set("description", &mut self.description);
        fields.set("delivery_mode", &mut self.delivery_mode);
        // A form sends an empty text where nothing was chosen.
        self.taller_id = self.taller_id.take().filter(|taller| !taller.trim().is_empty());
        fields.check(self.errors());
    }
}

request! {
    /// Which configurations to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct OrchestrationQuery {
        /// Only those of this type or subtype of service, by UUID or slug.
        service_type_id: Option<String>,
        /// Only those for this audience.
        target: Option<Target>,
        /// Only this workshop's; `null` for those that belong to none.
        taller_id: Option<String>,
    }
}

impl OrchestrationQuery {
    /// With an id for a slug. An unknown id finds nothing; an unknown slug is an error.
    fn filter(self, catalogue: &Catalogue) -> Result<OrchestrationFilter, Problem> {
        let id = |reference: String| reference.parse().or_else(|_| catalogue.known_service(&reference));
        let service_type_id = self.service_type_id.map(id).transpose();
        let service_type_id = service_type_id.map_err(|error| FieldErrors::one("service_type_id", error))?;
        let taller_id = self.taller_id.map(|taller| (taller != "null").then_some(taller));
        Ok(OrchestrationFilter { service_type_id, target: self.target, taller_id })
    }
}

request! {
    /// Cells to write.
    #[derive(ToSchema)]
    struct MatrixWrite {
        /// The cells, at most 1000, each of them once.
        #[schema(max_items = 1000, value_type = Vec<CellWrite>)]
        configs: Vec<Fields>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let error = || ("configs", format!("Asegúrese de que este campo no tenga más de {MOST_CELLS} elementos."));
        (self.configs.len() > MOST_CELLS).then(error).into_iter().collect()
    }
}

request! {
    /// A cell to write. A field that is left out stays as it is.
    #[derive(ToSchema)]
    struct CellWrite {
        /// The phase, by UUID or slug.
        #[schema(value_type = String, examples("phase-reception"))]
        phase_id: Required<String>,
        /// The channel.
        #[schema(value_type = Channel)]
        channel: Required<Channel>,
        /// Whether the channel is used in this phase.
        #[schema(value_type = bool)]
        enabled: Required<bool>,
        /// This template, which must be for the channel and the audience; null for the best match.
        #[schema(value_type = Option<Id>)]
        template_id: Option<Option<Id>>,
        /// Without this receipt in time the next channel is tried; null when it is enough that the message was sent.
        #[schema(value_type = Option<AwaitedReceipt>)]
        await_receipt: Option<Option<AwaitedReceipt>>,
        /// How long to wait for the receipt, in seconds; required with `await_receipt`.
        #[schema(value_type = Option<i32>, minimum = 1, maximum = 604800, examples(3600))]
        await_seconds: Option<Option<i32>>,
    }
}

const _: () = assert!(MOST_CELLS == 1_000, "the description of MatrixWrite names the limit");

impl CellWrite {
    /// Takes over what was sent.
    fn change(&self, cell: &mut Cell) {
        cell.enabled = self.enabled.0.unwrap_or_default();
        cell.template_id = self.template_id.unwrap_or(cell.template_id);
        if let Some(await_receipt) = self.await_receipt {
            cell.await_receipt = await_receipt;
            // Without a receipt to wait for there is no time to wait.
            cell.await_seconds = cell.await_seconds.filter(|_| await_receipt.is_some());
        }
        cell.await_seconds = self.await_seconds.unwrap_or(cell.await_seconds);
    }
}

/// A matrix as it is.
struct Matrix {
    config: Id,
    cells: HashMap<(Id, Channel), Cell>,
}

/// What is to be written into a matrix: each cell with its number in the request, and what is wrong.
#[derive(Default)]
struct MatrixChanges {
    cells: Vec<(usize, Cell)>,
    errors: FieldErrors,
}

impl Matrix {
    fn of(config: Id, cells: Vec<Cell>) -> Self {
        Self { config, cells: cells.into_iter().map(|cell| ((cell.phase_id, cell.channel), cell)).collect() }
    }

    fn changed(&self, elements: Vec<Fields>, catalogue: &Catalogue, now: Timestamp) -> MatrixChanges {
        let mut changes = MatrixChanges::default();
        let mut numbers: HashMap<(Id, Channel), usize> = HashMap::new();
        for (number, mut fields) in elements.into_iter().enumerate() {
            if let Some(cell) = self.read_cell(&mut fields, catalogue, now) {
                match numbers.entry((cell.phase_id, cell.channel)) {
                    Entry::Vacant(free) => {
                        free.insert(number);
                        changes.cells.push((number, cell));
                    }
                    Entry::Occupied(first) => {
                        let error = format!("Repite la celda de `configs.{}`: envíe solo una.", first.get());
                        fields.check(vec![("non_field_errors", error)]);
                    }
                }
            }
            fields.report_to(&format!("configs.{number}"), &mut changes.errors);
        }
        changes
    }

    /// The cell that an element means, as it is to be; `None` when that cannot be told.
    fn read_cell(&self, fields: &mut Fields, catalogue: &Catalogue, now: Timestamp) -> Option<Cell> {
        let write = CellWrite::read(fields)?;
        let phase = write.phase_id.0.as_ref().and_then(|reference| {
            let found = catalogue.known_phase(reference);
            found.map_err(|error| fields.check(vec![("phase_id", error)])).ok()
        });
        let known = phase.zip(write.channel.0).map(|(phase, channel)| {
            let new = || Cell::new(self.config, phase, channel, now);
            self.cells.get(&(phase, channel)).cloned().unwrap_or_else(new)
        });
        // Without a cell the rest is checked all the same, to say what is wrong with it.
        let is_known = known.is_some();
        let mut cell = known.unwrap_or_else(|| Cell::new(self.config, self.config, Channel::Email, now));
        write.change(&mut cell);
        fields.check(cell.errors());
        is_known.then_some(cell)
    }
}

impl MatrixChanges {
    /// Refuses templates that do not exist, or that are for another channel or audience.
    fn check_templates(&mut self, templates: &[Template], target: Target) {
        let templates: HashMap<Id, &Template> = templates.iter().map(|template| (template.id, template)).collect();
        for (number, cell) in &self.cells {
            let Some(id) = cell.template_id else { continue };
            let error = match templates.get(&id) {
                None => Some(format!("Clave primaria \"{id}\" inválida - objeto no existe.")),
                Some(template) => cell.refuses(template, target).map(String::from),
            };
            if let Some(error) = error {
                self.errors.add(format!("configs.{number}.template_id"), error);
            }
        }
    }
}
