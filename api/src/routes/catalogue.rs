//! The slugs that a dispatch may name (S002-2).

use std::sync::Arc;

use axum::extract::State;
use recado_shared::catalogue::{Catalogue, Phase, ServiceType};
use serde::Serialize;

use crate::Api;
use crate::auth::{May, Read};
use crate::problem::Problem;

/// Shows the types of service and the phases that are in use, in their order.
pub(crate) async fn show(_: May<Read>, State(api): State<Arc<Api>>) -> Result<axum::Json<Answer>, Problem> {
    let catalogue = api.context.catalogue.current(&mut api.context.db.read().await?).await?;
    Ok(axum::Json(Answer::of(&catalogue)))
}

/// The keys stand in the order in which seed 002 shows them.
#[derive(Serialize)]
pub(crate) struct Answer {
    service_types: Vec<ServiceTypeItem>,
    phases: Vec<PhaseItem>,
}

#[derive(Serialize)]
struct ServiceTypeItem {
    slug: String,
    name: String,
    icon: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subtypes: Vec<ServiceTypeItem>,
}

#[derive(Serialize)]
struct PhaseItem {
    slug: String,
    name: String,
    icon: String,
    order: i32,
}

impl Answer {
    fn of(catalogue: &Catalogue) -> Self {
        let types = catalogue.service_types.iter().filter(|service| service.is_active && service.parent_id.is_none());
        Self {
            service_types: types.map(|service| ServiceTypeItem::of(service, catalogue)).collect(),
            phases: catalogue.phases.iter().filter(|phase| phase.is_active).map(PhaseItem::of).collect(),
        }
    }
}

impl ServiceTypeItem {
    fn of(service: &ServiceType, catalogue: &Catalogue) -> Self {
        let subtypes = catalogue.subtypes(service.id).filter(|subtype| subtype.is_active);
        Self {
            slug: service.slug.clone(),
            name: service.name.clone(),
            icon: service.icon.clone(),
            subtypes: subtypes.map(|subtype| Self::of(subtype, catalogue)).collect(),
        }
    }
}

impl PhaseItem {
    fn of(phase: &Phase) -> Self {
        Self { slug: phase.slug.clone(), name: phase.name.clone(), icon: phase.icon.clone(), order: phase.position }
    }
}
