//! The matrix: which channel carries which phase, for an audience and a workshop. Changes are staged in a form, reviewed, and written
//! together.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use recado_kernel::audit;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_notifications::catalogue::{Catalogue, Phase, ServiceType};
use recado_notifications::catalogue_version;
use recado_notifications::channels::Channel;
use recado_notifications::orchestration::{self, AwaitedReceipt, Cell, DeliveryMode, Matrix, Orchestration};
use recado_notifications::targets::Target;
use recado_notifications::templates::Template;
use url::form_urlencoded;

use super::texts::{matrix_path, place_path, place_query, service_name, service_path, template_path};
use crate::Console;
use crate::auth::{Edit, Look, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::Asked;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};

const PATH: &str = "/admin/matrix/";

/// How long a cell waits for its receipt is said in the largest of these that it is a whole number of.
const UNITS: [(&str, i32); 3] = [("h", 3_600), ("min", 60), ("s", 1)];

// --- The services ---

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

// --- One matrix ---

/// Whose matrix it is.
#[derive(Clone)]
struct Place<'c> {
    service: &'c ServiceType,
    target: Target,
    taller_id: Option<String>,
}

impl<'c> Place<'c> {
    fn read(catalogue: &'c Catalogue, service: &str, target: &str, taller_id: Option<String>) -> Result<Self, Failure> {
        let id = catalogue.known_service(service).map_err(|_| Failure::NotFound)?;
        let service = catalogue.service(id).ok_or(Failure::NotFound)?;
        Ok(Self { service, target: target.parse().unwrap_or_default(), taller_id })
    }

    fn of_form(catalogue: &'c Catalogue, service: &str, form: &Form) -> Result<Self, Failure> {
        Self::read(catalogue, service, form.value("target"), form.optional("taller_id"))
    }

    fn own<'k>(&self, catalogue: &'k Catalogue) -> Option<&'k Orchestration> {
        catalogue.own_configuration(self.service.id, self.target, self.taller_id.as_deref())
    }

    fn inherited<'k>(&self, catalogue: &'k Catalogue) -> Option<&'k Orchestration> {
        catalogue.inherited(self.service, self.target, self.taller_id.as_deref())
    }

    fn query(&self) -> String {
        place_query(self.target, self.taller_id.as_deref())
    }

    fn path(&self, catalogue: &Catalogue) -> String {
        place_path(catalogue, self.service, self.target, self.taller_id.as_deref())
    }

    /// In how many cells its own matrix differs from the one that it would inherit.
    fn differences(&self, catalogue: &Catalogue) -> usize {
        let (own, inherited) = (self.own(catalogue), self.inherited(catalogue));
        let Some(own) = own else { return 0 };
        let cell = |config: Option<&Orchestration>, phase: Id, channel| {
            Settings::of(config.and_then(|config| catalogue.cell(config.id, phase, channel)))
        };
        let differs = |phase: &Phase| {
            let differs =
                |channel: &Channel| cell(Some(own), phase.id, *channel) != cell(inherited, phase.id, *channel);
            Channel::ALL.iter().filter(|channel| differs(channel)).count()
        };
        catalogue.phases.iter().map(differs).sum()
    }
}

/// What a cell says; one that is not there is switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Settings {
    enabled: bool,
    template_id: Option<Id>,
    awaits: Option<(AwaitedReceipt, i32)>,
}

impl Settings {
    fn of(cell: Option<&Cell>) -> Self {
        cell.map_or_else(Self::default, |cell| Self {
            enabled: cell.enabled,
            template_id: cell.template_id,
            awaits: cell.await_receipt.zip(cell.await_seconds),
        })
    }

    /// As a sentence: `on · best match · without «read» in 10 min, the next`.
    fn told(&self, page: &Page, catalogue: &Catalogue) -> String {
        let state = if self.enabled { page.t("matrix-on") } else { page.t("matrix-off") };
        let template = self.template_id.and_then(|id| catalogue.template(id));
        let template = template.map_or_else(|| page.t("matrix-best"), |template| template.name.clone());
        let waits = self.awaits.map(|(receipt, seconds)| {
            let time = page.took(&(f64::from(seconds) * 1_000.0));
            page.t2("matrix-waits", "receipt", page.word("matrix-receipt", receipt), "time", time)
        });
        [Some(state), Some(template), waits].into_iter().flatten().collect::<Vec<_>>().join(" · ")
    }
}

/// A matrix as it is now: its own, or the one that it inherits.
struct Now {
    own: Option<Matrix>,
    inherited: Option<Matrix>,
}

impl Now {
    fn of(place: &Place<'_>, catalogue: &Catalogue) -> Self {
        let matrix = |config: &Orchestration| Matrix {
            config: config.clone(),
            cells: catalogue.matrix(config.id).cloned().collect(),
        };
        Self { own: place.own(catalogue).map(matrix), inherited: place.inherited(catalogue).map(matrix) }
    }

    fn shown(&self) -> Option<&Matrix> {
        self.own.as_ref().or(self.inherited.as_ref())
    }

    fn cell(&self, phase: Id, channel: Channel) -> Settings {
        Settings::of(self.shown().and_then(|matrix| matrix.cell(phase, channel)))
    }

    /// When what is shown was last written, for two who change it at once.
    fn read_at(&self) -> i64 {
        self.shown().map_or(0, |matrix| matrix.config.updated_at.as_micros())
    }
}

fn name_of(phase: &Phase, channel: Channel, what: &str) -> String {
    format!("{}.{channel}.{what}", phase.slug)
}

/// A matrix as the fields of its form.
fn form_of(place: &Place<'_>, now: &Now, catalogue: &Catalogue) -> Form {
    let ticked = |is: bool| if is { "on".to_owned() } else { String::new() };
    let config = now.shown().map(|matrix| &matrix.config);
    let mut fields = vec![
        ("target".to_owned(), place.target.to_string()),
        ("taller_id".to_owned(), place.taller_id.clone().unwrap_or_default()),
        ("mode".to_owned(), config.map(|config| config.delivery_mode).unwrap_or_default().to_string()),
        ("is_active".to_owned(), ticked(config.is_none_or(|config| config.is_active))),
    ];
    for phase in &catalogue.phases {
        for channel in Channel::ALL {
            let cell = now.cell(phase.id, channel);
            let (wait, unit) = in_units(cell.awaits.map(|(_, seconds)| seconds));
            let mut field = |what: &str, value: String| fields.push((name_of(phase, channel, what), value));
            field("on", ticked(cell.enabled));
            field("template", cell.template_id.map(|id| id.to_string()).unwrap_or_default());
            if channel.has_receipts() {
                field("receipt", cell.awaits.map(|(receipt, _)| receipt.to_string()).unwrap_or_default());
                field("wait", wait);
                field("unit", unit.to_owned());
            }
        }
    }
    Form::of(fields.iter().map(|(name, value)| (name.as_str(), value.clone())))
}

/// Seconds in the largest unit that they are whole in.
fn in_units(seconds: Option<i32>) -> (String, &'static str) {
    let Some(seconds) = seconds else { return (String::new(), "min") };
    let (unit, size) = UNITS.into_iter().find(|(_, size)| seconds % size == 0).unwrap_or(("s", 1));
    ((seconds / size).to_string(), unit)
}

/// The cell that a form says, over what is there; what is wrong is added to the form.
fn read_cell(
    form: &mut Form,
    page: &Page,
    cell: &Cell,
    phase: &Phase,
    (catalogue, target): (&Catalogue, Target),
) -> Cell {
    let channel = cell.channel;
    let name = |what: &str| name_of(phase, channel, what);
    let mut read = Cell { enabled: form.is_ticked(&name("on")), ..cell.clone() };
    read.template_id = form.parsed(&name("template"), || page.t("template-wrong-choice"));
    if channel.has_receipts() {
        read.await_receipt = form.parsed(&name("receipt"), || page.t("template-wrong-choice"));
        let wait: Option<i32> = form.parsed(&name("wait"), || page.t("matrix-wrong-wait"));
        let unit = UNITS.into_iter().find(|(unit, _)| *unit == form.value(&name("unit"))).map_or(60, |(_, size)| size);
        // Without a receipt to wait for there is no time to wait.
        read.await_seconds = wait.filter(|_| read.await_receipt.is_some()).map(|wait| wait.saturating_mul(unit));
    }
    for (_, problem) in read.errors() {
        form.add_error(&name("wait"), problem);
    }
    if let Some(id) = read.template_id {
        match catalogue.template(id) {
            None => form.add_error(&name("template"), page.t("matrix-template-gone")),
            Some(template) => {
                if let Some(problem) = read.refuses(template, target) {
                    form.add_error(&name("template"), problem);
                }
            }
        }
    }
    read
}

/// What a form stages over what is there: the settings, and all cells.
struct Staged {
    mode: DeliveryMode,
    is_active: bool,
    cells: Vec<Cell>,
}

impl Staged {
    fn read(form: &mut Form, page: &Page, place: &Place<'_>, now: &Now, catalogue: &Catalogue) -> Self {
        let id = now.own.as_ref().map_or_else(|| Id::new(page.visit.now), |own| own.config.id);
        let mut cells = Vec::new();
        for phase in &catalogue.phases {
            for channel in Channel::ALL {
                let new = || Cell::new(id, phase.id, channel, page.visit.now);
                let known = now.shown().and_then(|matrix| matrix.cell(phase.id, channel));
                // An inherited cell becomes a row of its own.
                let cell = match (known, &now.own) {
                    (Some(known), Some(_)) => known.clone(),
                    (Some(known), None) => Cell { id: new().id, config_id: id, ..known.clone() },
                    (None, _) => new(),
                };
                cells.push(read_cell(form, page, &cell, phase, (catalogue, place.target)));
            }
        }
        Self {
            mode: form.parsed("mode", || page.t("template-wrong-choice")).unwrap_or_default(),
            is_active: form.is_ticked("is_active"),
            cells,
        }
    }

    /// The cells that are not what they were.
    fn changed(&self, now: &Now) -> Vec<&Cell> {
        let differs = |cell: &&Cell| Settings::of(Some(cell)) != now.cell(cell.phase_id, cell.channel);
        self.cells.iter().filter(differs).collect()
    }
}

#[derive(askama::Template)]
#[template(path = "matrix/show.html")]
struct ShowPage {
    page: Page,
    form: Form,
    path: String,
    query: String,
    service: String,
    service_path: String,
    target: Target,
    taller_id: String,
    workshops: Vec<(String, String)>,
    is_own: bool,
    is_inherited: bool,
    inherits_from: Option<(String, String)>,
    /// Deleting its own matrix leaves one to inherit.
    may_inherit: bool,
    differences: usize,
    rows: Vec<PhaseRow>,
    history: Option<Id>,
    units: [&'static str; 3],
    modes: Vec<(String, String)>,
}

struct PhaseRow {
    name: String,
    is_active: bool,
    cells: Vec<CellView>,
}

struct CellView {
    /// What the names of its fields begin with.
    key: String,
    label: String,
    channel: Channel,
    has_receipts: bool,
    /// Its fields, as the form has them.
    is_on: bool,
    chosen: String,
    receipt: String,
    wait: String,
    unit: String,
    /// The template that is sent, as the matrix is now.
    effective: Option<(String, String)>,
    templates: Vec<(String, String)>,
    /// What it would inherit, where that is something else.
    inherited: Option<String>,
    try_path: String,
    new_template: String,
    /// What is wrong with it.
    wrong: Option<String>,
}

/// `/admin/matrix/{service}/?target=…&taller_id=…`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(service): Path<String>,
) -> Result<Response, Failure> {
    let (asked, catalogue) = (Asked::read(&may.visit.query), console.catalogue().await?);
    let target = asked.text("target").unwrap_or_default();
    let place = Place::read(&catalogue, &service, &target, asked.text("taller_id"))?;
    let now = Now::of(&place, &catalogue);
    let form = form_of(&place, &now, &catalogue).read_at(now.read_at());
    html(&page_of(&console, &may, &catalogue, &place, &now, form))
}

fn page_of<P>(
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
fn workshops(catalogue: &Catalogue, place: &Place<'_>, page: &Page) -> Vec<(String, String)> {
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
    fn of(phase: &Phase, page: &Page, form: &Form, catalogue: &Catalogue, place: &Place<'_>, now: &Now) -> Self {
        let cells = Channel::ALL.map(|channel| CellView::of(phase, channel, page, form, catalogue, (place, now)));
        Self { name: phase.name.clone(), is_active: phase.is_active, cells: cells.into() }
    }
}

impl CellView {
    fn of(
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
fn effective(phase: &Phase, channel: Channel, catalogue: &Catalogue, now: &Now) -> Option<(String, String)> {
    let matrix = now.shown()?;
    let new = || Cell::new(matrix.config.id, phase.id, channel, matrix.config.updated_at);
    let cell = matrix.cell(phase.id, channel).cloned().unwrap_or_else(new);
    let template = catalogue.effective(&matrix.config, &cell, None)?;
    Some((template_path(template.id), template.name.clone()))
}

/// The templates that a cell may name.
fn templates(
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
fn try_path(phase: &Phase, place: &Place<'_>, catalogue: &Catalogue) -> String {
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
fn new_template(phase: &Phase, channel: Channel, place: &Place<'_>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("channel", channel.as_str()).append_pair("target", place.target.as_str());
    query.append_pair("phase", &phase.id.to_string()).append_pair("service", &place.service.id.to_string());
    format!("/admin/templates/new/?{}", query.finish())
}

// --- What is written ---

#[derive(askama::Template)]
#[template(path = "matrix/review.html")]
struct ReviewPage {
    page: Page,
    path: String,
    query: String,
    service: String,
    /// Whose matrix: a workshop, or all.
    taller_id: Option<String>,
    target: Target,
    /// It gets a matrix of its own with these changes.
    is_new: bool,
    changes: Vec<Change>,
    fields: Vec<(String, String)>,
}

struct Change {
    what: String,
    before: String,
    after: String,
}

/// Lists what a form stages, before it is written.
pub(crate) async fn review(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(service): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let catalogue = console.catalogue().await?;
    let place = Place::of_form(&catalogue, &service, &form)?;
    let now = Now::of(&place, &catalogue);
    let page = Page::new(&console, &may.visit, "matrix", "matrix-review");
    let staged = Staged::read(&mut form, &page, &place, &now, &catalogue);
    if form.is_ticked("back") {
        return html(&page_of(&console, &may, &catalogue, &place, &now, form));
    }
    form.find_conflicts(now.read_at(), &form_of(&place, &now, &catalogue));
    if form.is_wrong() {
        return refused(&page_of(&console, &may, &catalogue, &place, &now, form));
    }
    let changes = changes(&staged, &page, &now, &catalogue);
    html(&ReviewPage {
        path: service_path(&catalogue, place.service),
        query: place.query(),
        service: service_name(&catalogue, place.service.id).unwrap_or_default(),
        taller_id: place.taller_id.clone(),
        target: place.target,
        is_new: now.own.is_none(),
        changes,
        fields: form.fields().to_vec(),
        page,
    })
}

fn changes(staged: &Staged, page: &Page, now: &Now, catalogue: &Catalogue) -> Vec<Change> {
    let config = now.shown().map(|matrix| &matrix.config);
    let (mode, is_active) =
        config.map_or((DeliveryMode::default(), true), |config| (config.delivery_mode, config.is_active));
    let active = |is: bool| page.t(if is { "active" } else { "inactive" });
    let mut changes = Vec::new();
    if mode != staged.mode {
        let told = |mode: DeliveryMode| page.word("matrix-mode", mode);
        changes.push(Change { what: page.t("matrix-mode"), before: told(mode), after: told(staged.mode) });
    }
    if is_active != staged.is_active {
        changes.push(Change { what: page.t("state"), before: active(is_active), after: active(staged.is_active) });
    }
    let phase = |id: Id| catalogue.phases.iter().find(|phase| phase.id == id);
    changes.extend(staged.changed(now).into_iter().filter_map(|cell| {
        Some(Change {
            what: format!("{} · {}", phase(cell.phase_id)?.name, page.word("channel", cell.channel)),
            before: now.cell(cell.phase_id, cell.channel).told(page, catalogue),
            after: Settings::of(Some(cell)).told(page, catalogue),
        })
    }));
    changes
}

/// Writes what was reviewed, all of it or nothing.
pub(crate) async fn save(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(service): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let catalogue = console.catalogue().await?;
    let place = Place::of_form(&catalogue, &service, &form)?;
    let page = Page::new(&console, &may.visit, "matrix", "matrix-title");
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let now = read_now(&mut session, &place, &catalogue).await?;
    let staged = Staged::read(&mut form, &page, &place, &now, &catalogue);
    form.find_conflicts(now.read_at(), &form_of(&place, &now, &catalogue));
    if form.is_wrong() {
        drop(session);
        return refused(&page_of(&console, &may, &catalogue, &place, &now, form));
    }
    let undo = write(&mut session, &may, &place, &now, staged).await?;
    session.commit().await?;
    let there = place.path(&catalogue);
    Ok(match undo {
        Undo::Entry(entry) => then(&there, &Notice::new("matrix-saved", 1).undone_by(format!("{PATH}undo/{entry}/"))),
        Undo::Inherit => {
            let fields =
                [("target", place.target.as_str()), ("taller_id", place.taller_id.as_deref().unwrap_or_default())];
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            let undo = format!("{}inherit/?{query}", service_path(&catalogue, place.service));
            then(&there, &Notice::new("matrix-made", 1).undone_by(undo))
        }
        Undo::Nothing => then(&there, &Notice::new("matrix-same", 0)),
    })
}

/// The matrix as this transaction sees it: the catalogue in memory may be a moment older.
async fn read_now(session: &mut Session, place: &Place<'_>, catalogue: &Catalogue) -> Result<Now, Failure> {
    let taller_id = place.taller_id.as_deref();
    let own = orchestration::find_own(session, place.service.id, place.target, taller_id).await?;
    let own = match own {
        Some(config) => Matrix::find(session, config.id).await?,
        None => None,
    };
    Ok(Now { own, ..Now::of(place, catalogue) })
}

enum Undo {
    Entry(Id),
    /// Its own matrix is taken away again.
    Inherit,
    Nothing,
}

async fn write(
    session: &mut Session,
    may: &May<Edit>,
    place: &Place<'_>,
    now: &Now,
    staged: Staged,
) -> Result<Undo, Failure> {
    let (actor, at) = (may.visit.actor(), may.visit.now);
    let changed: Vec<Cell> = staged.changed(now).into_iter().cloned().collect();
    let Staged { mode, is_active, cells } = staged;
    let Some(own) = &now.own else {
        let config = Orchestration {
            id: cells.first().map_or_else(|| Id::new(at), |cell| cell.config_id),
            service_type_id: place.service.id,
            target: place.target,
            taller_id: place.taller_id.clone(),
            is_active,
            description: String::new(),
            delivery_mode: mode,
            created_at: at,
            updated_at: at,
        };
        orchestration::make(session, &Matrix { config, cells }, &actor, at).await?;
        return Ok(Undo::Inherit);
    };
    let config = Orchestration { is_active, delivery_mode: mode, ..own.config.clone() };
    let is_same = own.config.is_active == is_active && own.config.delivery_mode == mode;
    if is_same && changed.is_empty() {
        return Ok(Undo::Nothing);
    }
    let after = Matrix { config, cells: changed };
    Ok(Undo::Entry(orchestration::save(session, own, &after, &actor, at).await?))
}

/// Takes a matrix away, so that what it inherits counts again.
pub(crate) async fn inherit(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(service): Path<String>,
    form: Form,
) -> Result<Response, Failure> {
    let catalogue = console.catalogue().await?;
    let place = Place::of_form(&catalogue, &service, &form)?;
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let taller_id = place.taller_id.as_deref();
    let own = orchestration::find_own(&mut session, place.service.id, place.target, taller_id).await?;
    let own = own.ok_or(Failure::NotFound)?;
    let entry = orchestration::delete(&mut session, own.id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let notice = Notice::new("matrix-inherits", 1);
    let notice = match entry {
        Some(entry) => notice.undone_by(format!("{PATH}undo/{entry}/")),
        None => notice,
    };
    Ok(then(&place.path(&catalogue), &notice))
}

/// Gives a matrix back as it was before an entry of the audit log.
pub(crate) async fn undo(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(entry): Path<Id>,
) -> Result<Response, Failure> {
    let catalogue = console.catalogue().await?;
    let mut session = console.context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    let entry = audit::find(&mut session, entry).await?.ok_or(Failure::NotFound)?;
    let given_back = orchestration::give_back(&mut session, &entry, &may.visit.actor(), may.visit.now).await?;
    let (config, entry) = given_back.ok_or(Failure::NotFound)?;
    session.commit().await?;
    let notice = Notice::new("matrix-undone", 1);
    let notice = match entry {
        Some(entry) => notice.undone_by(format!("{PATH}undo/{entry}/")),
        None => notice,
    };
    Ok(then(&matrix_path(&catalogue, &config), &notice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_the_largest_unit_that_it_is_whole_in() {
        for (seconds, said) in
            [(None, ("", "min")), (Some(7_200), ("2", "h")), (Some(600), ("10", "min")), (Some(90), ("90", "s"))]
        {
            let (wait, unit) = in_units(seconds);
            assert_eq!((wait.as_str(), unit), said, "{seconds:?}");
        }
    }

    #[test]
    fn a_cell_that_is_not_there_is_switched_off() {
        let cell =
            Cell::new(Id::default(), Id::default(), Channel::Email, recado_kernel::clock::Timestamp::from_micros(0));
        assert_eq!(Settings::of(None), Settings::of(Some(&cell)));
        assert_ne!(Settings::of(None), Settings::of(Some(&Cell { enabled: true, ..cell })));
    }
}
