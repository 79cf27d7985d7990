//! Phases and types of service (S002-2, S002-11, S002-12). They come with the seed and cannot be written here.

use std::sync::Arc;

use axum::extract::State;
use recado_kernel::ids::Id;
use recado_notifications::catalogue::{Catalogue, Phase, ServiceType};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{May, Read};
use crate::extract::page::{Page, Paging};
use crate::extract::path::Segment;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

/// `catalog/`, which browsers of any origin may read.
pub(crate) fn catalog() -> Routes {
    Routes::new().routes(routes!(show))
}

/// `phases/`
pub(crate) fn phases() -> Routes {
    Routes::new().routes(routes!(list_phases)).routes(routes!(show_phase))
}

/// `service-types/`
pub(crate) fn service_types() -> Routes {
    Routes::new().routes(routes!(list_service_types)).routes(routes!(show_service_type))
}

/// The slugs that a dispatch may name: types of service and phases that are in use, in their order.
#[utoipa::path(get, path = "/", tag = "catalogue",
    responses((status = 200, description = "Types of service and phases", body = Slugs)))]
async fn show(_: May<Read>, State(api): State<Arc<Api>>) -> Result<axum::Json<Slugs>, Problem> {
    Ok(axum::Json(Slugs::of(&*api.catalogue().await?)))
}

/// The phases of a service, in their order.
#[utoipa::path(get, path = "/", tag = "catalogue", params(Paging),
    responses((status = 200, description = "A page of phases", body = Page<PhaseView>)))]
async fn list_phases(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    paging: Paging,
) -> Result<axum::Json<Page<PhaseView>>, Problem> {
    let catalogue = api.catalogue().await?;
    Ok(axum::Json(paging.cut(&catalogue.phases.iter().collect::<Vec<_>>(), |phase| PhaseView::of(phase))?))
}

/// One phase.
#[utoipa::path(get, path = "/{id}", tag = "catalogue",
    params(("id" = String, Path, description = "UUID or slug of the phase", example = "phase-reception")),
    responses((status = 200, description = "The phase", body = PhaseView)))]
async fn show_phase(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(reference): Segment<String>,
) -> Result<axum::Json<PhaseView>, Problem> {
    let catalogue = api.catalogue().await?;
    catalogue.any_phase(&reference).map(|phase| axum::Json(PhaseView::of(phase))).ok_or(Problem::NotFound)
}

/// The types of service with their subtypes, in their order.
#[utoipa::path(get, path = "/", tag = "catalogue", params(Paging),
    responses((status = 200, description = "A page of types of service", body = Page<ServiceTypeView>)))]
async fn list_service_types(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    paging: Paging,
) -> Result<axum::Json<Page<ServiceTypeView>>, Problem> {
    let catalogue = api.catalogue().await?;
    let types: Vec<_> = catalogue.service_types.iter().filter(|service| service.parent_id.is_none()).collect();
    Ok(axum::Json(paging.cut(&types, |service| ServiceTypeView::of(service, &catalogue))?))
}

/// One type of service with its subtypes. A slug never means a subtype (d9).
#[utoipa::path(get, path = "/{id}", tag = "catalogue",
    params(("id" = String, Path, description = "UUID or slug of the type of service", example = "averia-revision")),
    responses((status = 200, description = "The type of service", body = ServiceTypeView)))]
async fn show_service_type(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(reference): Segment<String>,
) -> Result<axum::Json<ServiceTypeView>, Problem> {
    let catalogue = api.catalogue().await?;
    let found = catalogue.any_service_type(&reference).ok_or(Problem::NotFound)?;
    Ok(axum::Json(ServiceTypeView::of(found, &catalogue)))
}

/// What a dispatch may name. The keys stand in the order in which seed 002 shows them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Catalog)]
struct Slugs {
    /// Types of service in use, in their order.
    service_types: Vec<ServiceTypeSlug>,
    /// Phases in use, in their order.
    phases: Vec<PhaseSlug>,
}

/// A type of service as the catalogue names it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CatalogServiceType)]
struct ServiceTypeSlug {
    /// What a dispatch sends as `service_type_id`.
    #[schema(examples("averia-revision"))]
    slug: String,
    /// What people read.
    #[schema(examples("Avería/Revisión"))]
    name: String,
    /// Name of a Lucide icon.
    #[schema(examples("AlertTriangle"))]
    icon: String,
    /// Subtypes in use; absent when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    subtypes: Vec<SubtypeSlug>,
}

/// A subtype as the catalogue names it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CatalogSubtype)]
struct SubtypeSlug {
    /// What a dispatch sends as `subtype_id`.
    #[schema(examples("averia-frenos"))]
    slug: String,
    /// What people read.
    #[schema(examples("Frenos"))]
    name: String,
    /// Name of a Lucide icon.
    #[schema(examples("Circle"))]
    icon: String,
}

/// A phase as the catalogue names it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CatalogPhase)]
struct PhaseSlug {
    /// What a dispatch sends as `phase_id`.
    #[schema(examples("phase-reception"))]
    slug: String,
    /// What people read.
    #[schema(examples("Recepción"))]
    name: String,
    /// Name of a Lucide icon.
    #[schema(examples("ClipboardCheck"))]
    icon: String,
    /// Its place in the flow, from 1.
    order: i32,
}

impl Slugs {
    fn of(catalogue: &Catalogue) -> Self {
        let types = catalogue.service_types.iter().filter(|service| service.is_active && service.parent_id.is_none());
        Self {
            service_types: types.map(|service| ServiceTypeSlug::of(service, catalogue)).collect(),
            phases: catalogue.phases.iter().filter(|phase| phase.is_active).map(PhaseSlug::of).collect(),
        }
    }
}

impl ServiceTypeSlug {
    fn of(service: &ServiceType, catalogue: &Catalogue) -> Self {
        let subtypes = catalogue.subtypes(service.id).filter(|subtype| subtype.is_active);
        Self {
            slug: service.slug.clone(),
            name: service.name.clone(),
            icon: service.icon.clone(),
            subtypes: subtypes.map(SubtypeSlug::of).collect(),
        }
    }
}

impl SubtypeSlug {
    fn of(subtype: &ServiceType) -> Self {
        Self { slug: subtype.slug.clone(), name: subtype.name.clone(), icon: subtype.icon.clone() }
    }
}

impl PhaseSlug {
    fn of(phase: &Phase) -> Self {
        Self { slug: phase.slug.clone(), name: phase.name.clone(), icon: phase.icon.clone(), order: phase.position }
    }
}

/// A phase (S002-47).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Phase)]
struct PhaseView {
    /// Id of the phase.
    id: Id,
    /// Its stable name, which a dispatch may send.
    #[schema(examples("phase-reception"))]
    slug: String,
    /// What people read.
    #[schema(examples("Recepción"))]
    name: String,
    /// Name of a Lucide icon.
    #[schema(examples("ClipboardCheck"))]
    icon: String,
    /// Its place in the flow, from 1.
    order: i32,
    /// Whether events may name it.
    is_active: bool,
    /// What happens in it.
    description: String,
}

impl PhaseView {
    fn of(phase: &Phase) -> Self {
        Self {
            id: phase.id,
            slug: phase.slug.clone(),
            name: phase.name.clone(),
            icon: phase.icon.clone(),
            order: phase.position,
            is_active: phase.is_active,
            description: phase.description.clone(),
        }
    }
}

/// A type of service (S002-48).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceType)]
struct ServiceTypeView {
    /// Id of the type.
    id: Id,
    /// Its stable name, which a dispatch may send.
    #[schema(examples("averia-revision"))]
    slug: String,
    /// What people read.
    #[schema(examples("Avería/Revisión"))]
    name: String,
    /// Name of a Lucide icon.
    #[schema(examples("AlertTriangle"))]
    icon: String,
    /// Its place in lists, from 1.
    order: i32,
    /// Whether events may name it.
    is_active: bool,
    /// What the service is.
    description: String,
    /// Its subtypes, in their order.
    subtypes: Vec<SubtypeView>,
}

/// A subtype of a service (S002-48). Its slug is unique inside its type only (d9).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subtype)]
struct SubtypeView {
    /// Id of the subtype.
    id: Id,
    /// Its stable name, which a dispatch may send as `subtype_id`.
    #[schema(examples("averia-frenos"))]
    slug: String,
    /// What people read.
    #[schema(examples("Frenos"))]
    name: String,
    /// Name of a Lucide icon.
    #[schema(examples("Circle"))]
    icon: String,
    /// Its place in lists, from 1.
    order: i32,
    /// Whether events may name it.
    is_active: bool,
    /// What the service is.
    description: String,
}

impl ServiceTypeView {
    fn of(service: &ServiceType, catalogue: &Catalogue) -> Self {
        Self {
            id: service.id,
            slug: service.slug.clone(),
            name: service.name.clone(),
            icon: service.icon.clone(),
            order: service.position,
            is_active: service.is_active,
            description: service.description.clone(),
            subtypes: catalogue.subtypes(service.id).map(SubtypeView::of).collect(),
        }
    }
}

impl SubtypeView {
    fn of(subtype: &ServiceType) -> Self {
        Self {
            id: subtype.id,
            slug: subtype.slug.clone(),
            name: subtype.name.clone(),
            icon: subtype.icon.clone(),
            order: subtype.position,
            is_active: subtype.is_active,
            description: subtype.description.clone(),
        }
    }
}
