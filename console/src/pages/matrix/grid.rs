//! One matrix as a grid of phases and channels.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use recado_kernel::ids::Id;
use recado_notifications::catalogue::{Catalogue, Phase};
use recado_notifications::channels::Channel;
use recado_notifications::orchestration::{AwaitedReceipt, Cell, DeliveryMode};
use recado_notifications::targets::Target;
use recado_notifications::templates::Template;
use url::form_urlencoded;

use super::staging::{Now, Place, Settings, UNITS, form_of};
use crate::Console;
use crate::auth::{Look, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::Query;
use crate::page::{Page, html};
use crate::pages::texts::{matrix_path, service_name, service_path, template_path};
use crate::path::Path;

#[derive(askama::Template)]
#[template(path = "matrix/show.html")]
pub(super) struct ShowPage {
    pub(super) page: Page,
    pub(super) form: Form,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) service: String,
    pub(super) service_path: String,
    pub(super) target: Target,
    pub(super) taller_id: String,
    pub(super) workshops: Vec<(String, String)>,
    pub(super) is_own: bool,
    pub(super) is_inherited: bool,
    pub(super) inherits_from: Option<(String, String)>,
    /// Deleting its own matrix leaves one to inherit.
    pub(super) may_inherit: bool,
    pub(super) differences: usize,
    pub(super) rows: Vec<PhaseRow>,
    pub(super) history: Option<Id>,
    pub(super) units: [&'static str; 3],
    pub(super) modes: Vec<(String, String)>,
}

pub(super) struct PhaseRow {
    pub(super) name: String,
    pub(super) is_active: bool,
    pub(super) cells: Vec<CellView>,
}

pub(super) struct CellView {
    /// What the names of its fields begin with.
    pub(super) key: String,
    pub(super) label: String,
    pub(super) channel: Channel,
    pub(super) has_receipts: bool,
    /// Its fields, as the form has them.
    pub(super) is_on: bool,
    pub(super) chosen: String,
    pub(super) receipt: String,
    pub(super) wait: String,
    pub(super) unit: String,
    /// The template that is sent, as the matrix is now.
    pub(super) effective: Option<(String, String)>,
    pub(super) templates: Vec<(String, String)>,
    /// What it would inherit, where that is something else.
    pub(super) inherited: Option<String>,
    pub(super) try_path: String,
    pub(super) new_template: String,
    /// What is wrong with it.
    pub(super) wrong: Option<String>,
}

/// `/admin/matrix/{service}/?target=…&taller_id=…`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(service): Path<String>,
) -> Result<Response, Failure> {
    let (asked, catalogue) = (Query::read(&may.visit.query), console.catalogue().await?);
    let target = asked.text("target").unwrap_or_default();
    let place = Place::read(&catalogue, &service, &target, asked.text("taller_id"))?;
    let now = Now::of(&place, &catalogue);
    let form = form_of(&place, &now, &catalogue).read_at(now.read_at());
    html(&page_of(&console, &may, &catalogue, &place, &now, form))
}

pub(super) fn page_of<P>(
    console: &Console,
    may: &May<P>,
    catalogue: &Catalogue,
    place: &Place<'_>,
    now: &Now,
    form: Form,
) -> ShowPage {
    let service = service_name(catalogue, place.service.id).unwrap_or_default();
    let page = Page::new(console, &may.visit, "matrix", "matrix-title").about(&service);
    let differences = place.differences(catalogue);
    let inherits_from = now.inherited.as_ref().map(|matrix| {
        let service = service_name(catalogue, matrix.config.service_type_id).unwrap_or_default();
        let whose = matrix.config.taller_id.clone().unwrap_or_else(|| page.t("matrix-everywhere"));
        (matrix_path(catalogue, &matrix.config), format!("{service} · {whose}"))
    });
    let rows = catalogue.phases.iter().map(|phase| PhaseRow::of(phase, &page, &form, catalogue, place, now)).collect();
    ShowPage {
        path: service_path(catalogue, place.service),
        query: place.query(),
        service_path: service_path(catalogue, place.service),
        target: place.target,
        taller_id: place.taller_id.clone().unwrap_or_default(),
        workshops: workshops(catalogue, place, &page),
        is_own: now.own.is_some(),
        is_inherited: now.own.is_none() && now.inherited.is_some(),
        may_inherit: now.own.is_some() && now.inherited.is_some(),
        differences,
        rows,
        history: now.own.as_ref().map(|own| own.config.id),
        units: UNITS.map(|(unit, _)| unit),
        modes: DeliveryMode::ALL.iter().map(|mode| (mode.to_string(), page.word("matrix-mode", mode))).collect(),
        inherits_from,
        service,
        page,
        form,
    }
}

/// The workshops to choose from, with how much each differs.
pub(super) fn workshops(catalogue: &Catalogue, place: &Place<'_>, page: &Page) -> Vec<(String, String)> {
    let mut ids = catalogue.known_workshops();
    ids.extend(place.taller_id.as_deref());
    let label = |taller_id: &str| {
        let place = Place { taller_id: Some(taller_id.to_owned()), ..place.clone() };
        let name = catalogue.workshop(Some(taller_id)).map_or(taller_id, |workshop| &workshop.name);
        let label = match place.own(catalogue) {
            Some(_) => page.t2("matrix-workshop-differs", "name", name, "count", place.differences(catalogue)),
            None => name.to_owned(),
        };
        (taller_id.to_owned(), label)
    };
    std::iter::once((String::new(), page.t("matrix-everywhere"))).chain(ids.into_iter().map(label)).collect()
}

impl PhaseRow {
    pub(super) fn of(
        phase: &Phase,
        page: &Page,
        form: &Form,
        catalogue: &Catalogue,
        place: &Place<'_>,
        now: &Now,
    ) -> Self {
        let cells = Channel::ALL.map(|channel| CellView::of(phase, channel, page, form, catalogue, (place, now)));
        Self { name: phase.name.clone(), is_active: phase.is_active, cells: cells.into() }
    }
}

impl CellView {
    pub(super) fn of(
        phase: &Phase,
        channel: Channel,
        page: &Page,
        form: &Form,
        catalogue: &Catalogue,
        (place, now): (&Place<'_>, &Now),
    ) -> Self {
        let key = format!("{}.{channel}", phase.slug);
        let wrong =
            ["on", "template", "receipt", "wait"].into_iter().find_map(|what| form.error(&format!("{key}.{what}")));
        let settings = now.cell(phase.id, channel);
        let inherited = now.inherited.as_ref().filter(|_| now.own.is_some());
        let inherited = inherited.map(|matrix| Settings::of(matrix.cell(phase.id, channel)));
        let inherited = inherited.filter(|inherited| *inherited != settings);
        Self {
            label: format!("{} · {}", phase.name, page.word("channel", channel)),
            is_on: form.is_ticked(&format!("{key}.on")),
            chosen: form.text(&format!("{key}.template")),
            receipt: form.text(&format!("{key}.receipt")),
            wait: form.text(&format!("{key}.wait")),
            unit: form.text(&format!("{key}.unit")),
            has_receipts: channel.has_receipts(),
            effective: effective(phase, channel, catalogue, now),
            templates: templates(channel, page, catalogue, place, settings.template_id),
            inherited: inherited.map(|inherited| inherited.told(page, catalogue)),
            try_path: try_path(phase, place, catalogue),
            new_template: new_template(phase, channel, place),
            wrong: wrong.map(str::to_owned),
            channel,
            key,
        }
    }
}

/// What a cell sends now; one that is not there would send what fits best.
pub(super) fn effective(phase: &Phase, channel: Channel, catalogue: &Catalogue, now: &Now) -> Option<(String, String)> {
    let matrix = now.shown()?;
    let new = || Cell::new(matrix.config.id, phase.id, channel, matrix.config.updated_at);
    let cell = matrix.cell(phase.id, channel).cloned().unwrap_or_else(new);
    let template = catalogue.effective(&matrix.config, &cell, None)?;
    Some((template_path(template.id), template.name.clone()))
}

/// The templates that a cell may name.
pub(super) fn templates(
    channel: Channel,
    page: &Page,
    catalogue: &Catalogue,
    place: &Place<'_>,
    chosen: Option<Id>,
) -> Vec<(String, String)> {
    let of_service = |template: &Template| {
        let own = [template.subtype_id, template.service_type_id].into_iter().flatten().next();
        own.is_none_or(|own| own == place.service.id || Some(own) == place.service.parent_id)
    };
    let fits = |template: &&Template| {
        let is_open = template.is_active && of_service(template);
        template.channel == channel && template.target == place.target && is_open || Some(template.id) == chosen
    };
    let named = catalogue.templates.iter().filter(fits).map(|one| (one.id.to_string(), one.name.clone()));
    std::iter::once((String::new(), page.t("matrix-best"))).chain(named).collect()
}

/// The dry run of a cell.
pub(super) fn try_path(phase: &Phase, place: &Place<'_>, catalogue: &Catalogue) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let parent = place.service.parent_id.and_then(|parent| catalogue.service(parent));
    query.append_pair("service_type_id", &parent.unwrap_or(place.service).slug);
    if parent.is_some() {
        query.append_pair("subtype_id", &place.service.slug);
    }
    query.append_pair("phase_id", &phase.slug).append_pair("target", place.target.as_str());
    if let Some(taller_id) = &place.taller_id {
        query.append_pair("taller_id", taller_id);
    }
    format!("/admin/try/?{}", query.finish())
}

/// Where a template for a cell that has none is written.
pub(super) fn new_template(phase: &Phase, channel: Channel, place: &Place<'_>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("channel", channel.as_str()).append_pair("target", place.target.as_str());
    query.append_pair("phase", &phase.id.to_string()).append_pair("service", &place.service.id.to_string());
    format!("/admin/templates/new/?{}", query.finish())
}
