//! What pages about texts call their places: services and phases by their names, and where a template and a matrix are.

use recado_kernel::ids::Id;
use recado_notifications::catalogue::{Catalogue, ServiceType};
use recado_notifications::orchestration::Orchestration;
use recado_notifications::targets::Target;
use url::form_urlencoded;

const MATRIX: &str = "/admin/matrix/";

/// `Avería › Frenos`.
pub(super) fn service_name(catalogue: &Catalogue, id: Id) -> Option<String> {
    let service = catalogue.service(id)?;
    let parent = service.parent_id.and_then(|parent| catalogue.service(parent));
    Some(parent.map_or_else(|| service.name.clone(), |parent| format!("{} › {}", parent.name, service.name)))
}

pub(super) fn phase_name(catalogue: &Catalogue, id: Id) -> Option<String> {
    catalogue.phases.iter().find(|phase| phase.id == id).map(|phase| phase.name.clone())
}

/// Where a template is.
pub(super) fn template_path(id: Id) -> String {
    format!("/admin/templates/{id}/")
}

/// Where the matrix of a service is: by its slug, unless that means another.
pub(super) fn service_path(catalogue: &Catalogue, service: &ServiceType) -> String {
    let slug = Some(&service.slug).filter(|slug| catalogue.known_service(slug) == Ok(service.id));
    format!("{MATRIX}{}/", slug.cloned().unwrap_or_else(|| service.id.to_string()))
}

/// Where a configuration is shown.
pub(super) fn matrix_path(catalogue: &Catalogue, config: &Orchestration) -> String {
    let Some(service) = catalogue.service(config.service_type_id) else { return MATRIX.to_owned() };
    place_path(catalogue, service, config.target, config.taller_id.as_deref())
}

/// Where the matrix of a service is for an audience and a workshop.
pub(super) fn place_path(
    catalogue: &Catalogue,
    service: &ServiceType,
    target: Target,
    taller_id: Option<&str>,
) -> String {
    let (path, query) = (service_path(catalogue, service), place_query(target, taller_id));
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// Audience and workshop, as the query of a matrix names them.
pub(super) fn place_query(target: Target, taller_id: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if target != Target::default() {
        query.append_pair("target", target.as_str());
    }
    if let Some(taller_id) = taller_id {
        query.append_pair("taller_id", taller_id);
    }
    query.finish()
}
