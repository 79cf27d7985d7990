//! The services, and where their matrices differ.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use recado_notifications::catalogue::{Catalogue, ServiceType};
use recado_notifications::channels::Channel;
use recado_notifications::targets::Target;

use super::staging::Place;
use crate::Console;
use crate::auth::{Look, May};
use crate::failure::Failure;
use crate::page::{Page, html};
use crate::pages::texts::service_path;

#[derive(askama::Template)]
#[template(path = "matrix/list.html")]
struct ListPage {
    page: Page,
    rows: Vec<ServiceRow>,
}

struct ServiceRow {
    path: String,
    name: String,
    is_subtype: bool,
    audiences: Vec<Audience>,
}

/// What a service has for one audience.
struct Audience {
    target: Target,
    path: String,
    /// Its own, or that of its type.
    is_own: bool,
    /// None: there is no matrix, and events are refused.
    on: Option<usize>,
    cells: usize,
    workshops: Vec<Differing>,
}

/// A workshop with a matrix of its own.
struct Differing {
    taller_id: String,
    path: String,
    differences: usize,
}

/// `/admin/matrix/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let catalogue = console.catalogue().await?;
    let types = catalogue.service_types.iter().filter(|service| service.parent_id.is_none());
    let services = types.flat_map(|service| std::iter::once(service).chain(catalogue.subtypes(service.id)));
    html(&ListPage {
        page: Page::new(&console, &may.visit, "matrix", "matrix-title"),
        rows: services.map(|service| ServiceRow::of(service, &catalogue)).collect(),
    })
}

impl ServiceRow {
    fn of(service: &ServiceType, catalogue: &Catalogue) -> Self {
        Self {
            path: service_path(catalogue, service),
            name: service.name.clone(),
            is_subtype: service.parent_id.is_some(),
            audiences: Target::ALL.map(|target| Audience::of(service, target, catalogue)).into(),
        }
    }
}

impl Audience {
    fn of(service: &ServiceType, target: Target, catalogue: &Catalogue) -> Self {
        let place = Place { service, target, taller_id: None };
        let own = place.own(catalogue).filter(|config| config.is_active);
        let config = own.or_else(|| place.inherited(catalogue));
        let on = config.map(|config| catalogue.matrix(config.id).filter(|cell| cell.enabled).count());
        let of_workshop = |taller_id: &str| {
            let place = Place { taller_id: Some(taller_id.to_owned()), ..place.clone() };
            place.own(catalogue)?;
            let differences = place.differences(catalogue);
            Some(Differing { path: place.path(catalogue), taller_id: taller_id.to_owned(), differences })
        };
        Self {
            target,
            path: place.path(catalogue),
            is_own: own.is_some(),
            on,
            cells: catalogue.phases.iter().filter(|phase| phase.is_active).count() * Channel::ALL.len(),
            workshops: catalogue.known_workshops().into_iter().filter_map(of_workshop).collect(),
        }
    }
}
