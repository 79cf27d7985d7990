//! What workshops configure, in memory: phases, types of service, the matrix and the compiled templates.
//!
//! Intake decides with this copy. It asks for the version in every batch and reads everything again after a write,
//! so a change counts for the next request and not after some minutes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::channels::Channel;
use crate::orchestration::{self, Cell, Orchestration};
use crate::targets::Target;
use crate::templates::rendering::CompiledTemplate;
use crate::templates::{self, Template, TemplateKey, TemplateScope};
use crate::workshops::{self, Workshop};
use recado_kernel::db::{Result, Session};
use recado_kernel::fields::Wrong;
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sql;

/// A step of a service, e.g. reception (S002-47).
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Phase {
    pub id: Id,
    pub slug: String,
    pub name: String,
    pub icon: String,
    pub description: String,
    #[serde(rename = "order")]
    pub position: i32,
    pub is_active: bool,
}

/// A type of service, or a subtype when it has a parent (S002-48).
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct ServiceType {
    pub id: Id,
    pub parent_id: Option<Id>,
    pub slug: String,
    pub name: String,
    pub icon: String,
    pub description: String,
    pub position: i32,
    pub is_active: bool,
}

/// Everything at one version. Phases and types stand in their order.
pub struct Catalogue {
    version: i64,
    pub phases: Vec<Phase>,
    pub service_types: Vec<ServiceType>,
    configs: HashMap<(Id, Target, Option<String>), Orchestration>,
    cells: HashMap<(Id, Id, Channel), Cell>,
    pub templates: Vec<Template>,
    /// The texts that could be compiled; staff see the error when they save one that cannot.
    compiled: HashMap<Id, CompiledTemplate>,
    /// By `taller_id`.
    workshops: HashMap<String, Workshop>,
}

impl Catalogue {
    async fn load(session: &mut Session, version: i64, strict_case: bool) -> Result<Self> {
        let phases = sql!(all Phase, session,
            "select id, slug, name, icon, description, position, is_active from service_phases order by position")?;
        let service_types = sql!(all ServiceType, session,
            "select id, parent_id, slug, name, icon, description, position, is_active from service_types order by position, slug")?;
        let (configs, cells) = orchestration::all(session).await?;
        let templates = templates::all(session).await?;
        let workshops = workshops::all(session).await?;
        let (templates, compiled) = compiled(templates, strict_case).await;
        Ok(Self {
            version,
            phases,
            service_types,
            configs: configs.into_iter().map(|c| ((c.service_type_id, c.target, c.taller_id.clone()), c)).collect(),
            cells: cells.into_iter().map(|cell| ((cell.config_id, cell.phase_id, cell.channel), cell)).collect(),
            compiled,
            templates,
            workshops: workshops.into_iter().map(|workshop| (workshop.taller_id.clone(), workshop)).collect(),
        })
    }

    /// A phase in use, by slug or id (d15).
    pub fn phase(&self, reference: &str) -> Option<&Phase> {
        self.any_phase(reference).filter(|phase| phase.is_active)
    }

    /// A phase by slug or id, in use or not.
    pub fn any_phase(&self, reference: &str) -> Option<&Phase> {
        let meant = meant(reference);
        self.phases.iter().find(|phase| meant(phase.id, &phase.slug))
    }

    /// A type in use, by slug or id; never a subtype, even where it carries the same slug (d9).
    pub fn service_type(&self, reference: &str) -> Option<&ServiceType> {
        self.any_service_type(reference).filter(|service| service.is_active)
    }

    /// A type by slug or id, in use or not; never a subtype (d9).
    pub fn any_service_type(&self, reference: &str) -> Option<&ServiceType> {
        let meant = meant(reference);
        let mut types = self.service_types.iter().filter(|service| service.parent_id.is_none());
        types.find(|service| meant(service.id, &service.slug))
    }

    /// A subtype of `parent` that is in use, by slug or id.
    pub fn subtype(&self, parent: Id, reference: &str) -> Option<&ServiceType> {
        self.any_subtype(parent, reference).filter(|subtype| subtype.is_active)
    }

    /// A subtype of `parent` by slug or id, in use or not.
    pub fn any_subtype(&self, parent: Id, reference: &str) -> Option<&ServiceType> {
        let meant = meant(reference);
        self.subtypes(parent).find(|subtype| meant(subtype.id, &subtype.slug))
    }

    /// A type or a subtype by its id.
    pub fn service(&self, id: Id) -> Option<&ServiceType> {
        self.service_types.iter().find(|service| service.id == id)
    }

    pub fn subtypes(&self, parent: Id) -> impl Iterator<Item = &ServiceType> {
        self.service_types.iter().filter(move |service| service.parent_id == Some(parent))
    }

    /// The configuration in force: the workshop's own before the global one, the subtype's before the type's.
    pub fn orchestration(
        &self,
        service_type_id: Id,
        subtype_id: Option<Id>,
        target: Target,
        taller_id: Option<&str>,
    ) -> Option<&Orchestration> {
        let workshops = taller_id.map(Some).into_iter().chain([None]);
        workshops
            .flat_map(|taller| subtype_id.into_iter().chain([service_type_id]).map(move |service| (service, taller)))
            .filter_map(|(service, taller)| self.configs.get(&(service, target, taller.map(str::to_owned))))
            .find(|config| config.is_active)
    }

    /// The configuration of exactly this service, audience and workshop, in force or not.
    pub fn own_configuration(&self, service: Id, target: Target, taller_id: Option<&str>) -> Option<&Orchestration> {
        self.configs.get(&(service, target, taller_id.map(str::to_owned)))
    }

    /// The configuration that would be in force if a service, by type or subtype, had none of its own for this workshop.
    pub fn inherited(&self, service: &ServiceType, target: Target, taller_id: Option<&str>) -> Option<&Orchestration> {
        let workshops = taller_id.map(Some).into_iter().chain([None]);
        let services = [Some(service.id), service.parent_id];
        let places = workshops.flat_map(|taller| services.into_iter().flatten().map(move |service| (service, taller)));
        places
            .filter(|place| *place != (service.id, taller_id))
            .filter_map(|(service, taller)| self.own_configuration(service, target, taller))
            .find(|config| config.is_active)
    }

    /// The workshops with settings of their own, by `taller_id`.
    pub fn workshops(&self) -> Vec<&Workshop> {
        let mut workshops: Vec<_> = self.workshops.values().collect();
        workshops.sort_by_key(|workshop| &workshop.taller_id);
        workshops
    }

    /// Every `taller_id` that has settings, a matrix or a template of its own.
    pub fn known_workshops(&self) -> BTreeSet<&str> {
        let of_configs = self.configs.values().filter_map(|config| config.taller_id.as_deref());
        let of_templates = self.templates.iter().filter_map(|template| template.taller_id.as_deref());
        self.workshops.keys().map(String::as_str).chain(of_configs).chain(of_templates).collect()
    }

    /// The settings of a workshop, where it has any.
    pub fn workshop(&self, taller_id: Option<&str>) -> Option<&Workshop> {
        self.workshops.get(taller_id?)
    }

    /// The cell of a matrix, where there is one.
    pub fn cell(&self, config: Id, phase: Id, channel: Channel) -> Option<&Cell> {
        self.cells.get(&(config, phase, channel))
    }

    /// All cells of a matrix that there are, phase by phase.
    pub fn matrix(&self, config: Id) -> impl Iterator<Item = &Cell> {
        let of_phase = move |phase: &Phase| Channel::ALL.map(|channel| self.cell(config, phase.id, channel));
        self.phases.iter().flat_map(of_phase).flatten()
    }

    /// A configuration by its id, in force or not.
    pub fn configuration(&self, id: Id) -> Option<&Orchestration> {
        self.configs.values().find(|config| config.id == id)
    }

    /// All configurations: by type or subtype of service in their order, then clients before staff, then the global one
    /// before those of workshops.
    pub fn configurations(&self) -> Vec<&Orchestration> {
        let mut configs: Vec<_> = self.configs.values().collect();
        let place = |id| self.service_types.iter().position(|service| service.id == id);
        configs.sort_by_cached_key(|config| {
            (place(config.service_type_id), config.target.as_str(), config.taller_id.clone(), config.id)
        });
        configs
    }

    /// A template by its id, in use or not.
    pub fn template(&self, id: Id) -> Option<&Template> {
        self.templates.iter().find(|template| template.id == id)
    }

    /// The compiled text of a template that is in use.
    pub fn compiled(&self, template: Id) -> Option<&CompiledTemplate> {
        self.compiled.get(&template)
    }

    /// The text for a key: the template of the event's subtype before the one that a cell names for the whole service, and that
    /// one before the best match.
    pub fn words(&self, cell: Option<&Cell>, key: &TemplateKey<'_>) -> Option<(&Template, &CompiledTemplate)> {
        let named = cell.and_then(|cell| Some((cell, self.template(cell.template_id?)?)));
        let template = match named.filter(|(_, template)| template.is_active) {
            Some((cell, named)) => self.of_the_subtype(cell, named, key).unwrap_or(named),
            None => templates::best(self.usable(), key)?,
        };
        Some((template, self.compiled.get(&template.id)?))
    }

    /// The best template of the event's own subtype, unless the cell speaks of that subtype already.
    fn of_the_subtype(&self, cell: &Cell, named: &Template, key: &TemplateKey<'_>) -> Option<&Template> {
        let subtype = key.subtype_id?;
        let is_for_it = named.subtype_id == Some(subtype)
            || self.configuration(cell.config_id).is_some_and(|config| config.service_type_id == subtype);
        let own = self.usable().filter(|template| template.subtype_id == Some(subtype));
        if is_for_it { None } else { templates::best(own, key) }
    }

    fn usable(&self) -> impl Iterator<Item = &Template> {
        self.templates.iter().filter(|template| self.compiled.contains_key(&template.id))
    }

    /// The template that a cell really sends, to an event of no special type; of this subtype, or of none.
    pub fn effective(&self, config: &Orchestration, cell: &Cell, subtype: Option<Id>) -> Option<&Template> {
        self.effective_for(config, cell, subtype, "")
    }

    fn effective_for(
        &self,
        config: &Orchestration,
        cell: &Cell,
        subtype: Option<Id>,
        event_type: &str,
    ) -> Option<&Template> {
        let service = self.service(config.service_type_id)?;
        let key = TemplateKey {
            channel: cell.channel,
            target: config.target,
            event_type,
            service_type_id: Some(service.parent_id.unwrap_or(service.id)),
            subtype_id: subtype.or_else(|| service.parent_id.map(|_| service.id)),
            phase_id: Some(cell.phase_id),
            taller_id: config.taller_id.as_deref(),
        };
        self.words(Some(cell), &key).map(|(template, _)| template)
    }

    /// The cells that name a template, and those that send it because it fits best. Where it is sent for some subtypes of a service
    /// only, there is one entry for each.
    pub fn uses(&self, template: &Template) -> Vec<Use<'_>> {
        let mut uses = Vec::new();
        for config in self.configurations().into_iter().filter(|config| config.target == template.target) {
            let cells = self.matrix(config.id).filter(|cell| cell.channel == template.channel);
            for cell in cells {
                self.uses_in(template, config, cell, &mut uses);
            }
        }
        uses
    }

    /// What a template wins against where it fits best, the best first, and what wins against it even there.
    pub fn rivals(&self, template: &Template) -> (Vec<&Template>, Vec<&Template>) {
        let fitting = templates::fitting(self.templates.iter(), &template.own_key());
        let place = fitting.iter().position(|one| one.id == template.id);
        let (before, behind) = fitting.split_at(place.unwrap_or(fitting.len()));
        (behind.get(1..).unwrap_or_default().to_vec(), before.to_vec())
    }

    fn uses_in<'c>(&'c self, template: &Template, config: &'c Orchestration, cell: &'c Cell, uses: &mut Vec<Use<'c>>) {
        let event_type = template.event_type.as_deref().unwrap_or_default();
        let is_sent =
            |subtype| self.effective_for(config, cell, subtype, event_type).is_some_and(|sent| sent.id == template.id);
        let is_named = cell.template_id == Some(template.id);
        let is_sent_to_all = is_sent(None);
        if is_named || is_sent_to_all {
            uses.push(Use { config, cell, subtype_id: None, is_named, is_sent: is_sent_to_all });
        }
        if !is_sent_to_all {
            let subtypes = self.subtypes(config.service_type_id).map(|subtype| subtype.id);
            let sent = subtypes.filter(|subtype| is_sent(Some(*subtype)));
            uses.extend(sent.map(|id| Use { config, cell, subtype_id: Some(id), is_named: false, is_sent: true }));
        }
    }
}

/// A place where a template is used.
#[derive(Clone, Copy)]
pub struct Use<'c> {
    pub config: &'c Orchestration,
    pub cell: &'c Cell,
    /// Only for events of this subtype; `None` for all.
    pub subtype_id: Option<Id>,
    /// The cell names it; else it fits best.
    pub is_named: bool,
    /// Whether it is what the cell would send, where the cell and its matrix are in use.
    pub is_sent: bool,
}

/// Ids for what people write. What is not known is an error in words, which say where to look.
impl Catalogue {
    /// What a template or a search names, each by slug or id (d15); a subtype stands inside its type (d9).
    ///
    /// # Errors
    ///
    /// Every name that leads nowhere, under the field that holds it: `service_type`, `subtype`, `phase`.
    pub fn place(
        &self,
        service_type: Option<&str>,
        subtype: Option<&str>,
        phase: Option<&str>,
    ) -> std::result::Result<TemplateScope, Wrong> {
        let mut errors = Wrong::new();
        let mut note =
            |field, found: std::result::Result<Id, Sentence>| found.map_err(|error| errors.push((field, error))).ok();
        let service_type_id =
            service_type.and_then(|reference| note("service_type", self.known_service_type(reference)));
        let subtype_id = subtype.and_then(|reference| match (service_type, service_type_id) {
            (None, _) => {
                let alone = Sentence::new(
                    "Indique también `service_type`, al que pertenece el subtipo.",
                    "Say `service_type` as well, to which the subtype belongs.",
                );
                note("subtype", Err(alone))
            }
            // What is wrong with the type was said already.
            (Some(_), None) => None,
            (Some(_), Some(parent)) => note("subtype", self.known_subtype(parent, reference)),
        });
        let phase_id = phase.and_then(|reference| note("phase", self.known_phase(reference)));
        if errors.is_empty() { Ok(TemplateScope { service_type_id, subtype_id, phase_id }) } else { Err(errors) }
    }

    /// The phase that a slug or an id means, in use or not.
    pub fn known_phase(&self, reference: &str) -> std::result::Result<Id, Sentence> {
        let found = self.any_phase(reference).map(|phase| phase.id);
        found.ok_or_else(|| unknown(("la fase", "phase"), reference, "phases"))
    }

    /// The type that a slug or an id means, in use or not; never a subtype (d9).
    pub fn known_service_type(&self, reference: &str) -> std::result::Result<Id, Sentence> {
        let found = self.any_service_type(reference).map(|service| service.id);
        found.ok_or_else(|| unknown(("el tipo de servicio", "type of service"), reference, "service-types"))
    }

    /// The subtypes of a slug or an id: those of any type, because different types may have subtypes of one slug (d9).
    pub fn known_subtypes(&self, reference: &str) -> std::result::Result<Vec<Id>, Sentence> {
        let meant = meant(reference);
        let subtypes = self.service_types.iter().filter(|service| service.parent_id.is_some());
        let found: Vec<Id> =
            subtypes.filter(|subtype| meant(subtype.id, &subtype.slug)).map(|subtype| subtype.id).collect();
        if found.is_empty() { Err(unknown(("el subtipo", "subtype"), reference, "service-types")) } else { Ok(found) }
    }

    /// The type or subtype that a slug or an id means. A slug means the type where both carry it (d9).
    pub fn known_service(&self, reference: &str) -> std::result::Result<Id, Sentence> {
        let service_type = self.known_service_type(reference);
        service_type.or_else(|error| match self.known_subtypes(reference).as_deref() {
            Ok([subtype]) => Ok(*subtype),
            Ok(_) => {
                let reference = shown(reference);
                Err(Sentence::new(
                    format!("Varios tipos tienen un subtipo \"{reference}\": indique su UUID."),
                    format!("Several types have a subtype \"{reference}\": say its UUID."),
                ))
            }
            Err(_) => Err(error),
        })
    }

    fn known_subtype(&self, parent: Id, reference: &str) -> std::result::Result<Id, Sentence> {
        if let Some(subtype) = self.any_subtype(parent, reference) {
            return Ok(subtype.id);
        }
        let parent = self.service(parent).map_or("", |parent| &parent.slug);
        let (reference, there) = (shown(reference), "/api/v1/notifications/service-types/");
        Err(Sentence::new(
            format!("El subtipo \"{reference}\" no pertenece al tipo de servicio \"{parent}\". Consulte {there}."),
            format!("The subtype \"{reference}\" is not one of the type of service \"{parent}\". See {there}."),
        ))
    }
}

/// The templates with the compiled texts of those that are in use. It takes a while where staff wrote many, so it runs beside
/// the requests.
async fn compiled(templates: Vec<Template>, strict_case: bool) -> (Vec<Template>, HashMap<Id, CompiledTemplate>) {
    let compile =
        move |template: &Template| match CompiledTemplate::compile(&template.subject, &template.body, strict_case) {
            Ok(compiled) => Some((template.id, compiled)),
            Err(error) => {
                let error = recado_kernel::errors::explain(&error);
                tracing::error!(template.id = %template.id, error, "template {} cannot be used: {error}", template.id);
                None
            }
        };
    let work = move || {
        let compiled = templates.iter().filter(|template| template.is_active).filter_map(compile).collect();
        (templates, compiled)
    };
    tokio::task::spawn_blocking(work).await.expect("compiling a template does not panic")
}

/// Whether a row is meant by a slug or an id.
fn meant(reference: &str) -> impl Fn(Id, &str) -> bool {
    let id: Option<Id> = reference.parse().ok();
    move |own, slug| slug == reference || Some(own) == id
}

fn unknown((que, what): (&str, &str), reference: &str, list: &str) -> Sentence {
    let reference = shown(reference);
    Sentence::new(
        format!("No existe {que} \"{reference}\". Consulte /api/v1/notifications/{list}/."),
        format!("There is no {what} \"{reference}\". See /api/v1/notifications/{list}/."),
    )
}

/// What a caller wrote, as it may stand in an error: short, and with nothing that a line cannot hold.
fn shown(reference: &str) -> String {
    reference.chars().take(60).collect::<String>().escape_debug().to_string()
}

/// The newest [`Catalogue`], shared by all who decide in this process.
#[derive(Clone, Default)]
pub struct Cache {
    newest: Arc<Mutex<Option<Arc<Catalogue>>>>,
    strict_case: bool,
}

impl Cache {
    pub fn new(strict_case: bool) -> Self {
        Self { newest: Arc::default(), strict_case }
    }

    /// The catalogue as the session sees it.
    ///
    /// Never ask in a transaction that has [touched](crate::catalogue_version::touch) it: its version is not committed yet, and when it is rolled
    /// back another one will carry that number.
    pub async fn current(&self, session: &mut Session) -> Result<Arc<Catalogue>> {
        let version: Option<(i64,)> = sql!(one(i64,), session, "select version from catalogue_version")?;
        self.at(version.map_or(0, |(version,)| version), session).await
    }

    /// The catalogue of this version, which the session has just seen.
    pub async fn at(&self, version: i64, session: &mut Session) -> Result<Arc<Catalogue>> {
        if let Some(newest) = self.newest().filter(|newest| newest.version == version) {
            return Ok(newest);
        }
        let loaded = Arc::new(Catalogue::load(session, version, self.strict_case).await?);
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded.clone());
        Ok(loaded)
    }

    fn newest(&self) -> Option<Arc<Catalogue>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(slug: &str, parent: Option<&str>, is_active: bool) -> ServiceType {
        ServiceType {
            id: Id::of_name(&format!("{parent:?}{slug}")),
            parent_id: parent.map(|parent| Id::of_name(&format!("None{parent}"))),
            slug: slug.to_owned(),
            name: String::new(),
            icon: String::new(),
            description: String::new(),
            position: 1,
            is_active,
        }
    }

    fn catalogue() -> Catalogue {
        Catalogue {
            version: 1,
            phases: vec![Phase {
                id: Id::of_name("phase"),
                slug: "phase-repair".into(),
                name: String::new(),
                icon: String::new(),
                description: String::new(),
                position: 1,
                is_active: false,
            }],
            service_types: vec![
                service("colision", None, true),
                service("averia", None, true),
                service("viejo", None, false),
                service("colision", Some("colision"), true),
                service("frenos", Some("averia"), true),
                service("otros", Some("averia"), true),
                service("otros", Some("colision"), true),
            ],
            configs: HashMap::new(),
            cells: HashMap::new(),
            templates: Vec::new(),
            compiled: HashMap::new(),
            workshops: HashMap::new(),
        }
    }

    /// d9: a slug that a type and its subtype share means the type, unless a subtype is asked for.
    #[test]
    fn types_and_subtypes_are_two_namespaces() {
        let catalogue = catalogue();
        let [parent, child] = [0, 3].map(|row: usize| catalogue.service_types[row].id);
        assert_eq!(catalogue.service_type("colision").map(|service| service.id), Some(parent));
        assert_eq!(catalogue.subtype(parent, "colision").map(|service| service.id), Some(child));
        assert_eq!(catalogue.service_type(&child.to_string()).map(|service| service.id), None);
        assert_eq!(catalogue.known_service("colision"), Ok(parent));
        assert_eq!(catalogue.known_service(&child.to_string()), Ok(child));
        assert_eq!(catalogue.known_service("frenos"), Ok(catalogue.service_types[4].id));
        assert!(catalogue.known_service("otros").is_err(), "two types have such a subtype");
    }

    /// What is out of use takes no events, but staff can still write about it.
    #[test]
    fn what_is_out_of_use_is_known_all_the_same() {
        let catalogue = catalogue();
        assert!(catalogue.service_type("viejo").is_none() && catalogue.any_service_type("viejo").is_some());
        assert!(catalogue.phase("phase-repair").is_none() && catalogue.known_phase("phase-repair").is_ok());
    }

    #[test]
    fn every_name_that_leads_nowhere_is_told() {
        let catalogue = catalogue();
        let fields = |service, subtype, phase| {
            let errors = catalogue.place(service, subtype, phase).err().unwrap_or_default();
            errors.into_iter().map(|(field, _)| field).collect::<Vec<_>>()
        };
        assert_eq!(fields(None, None, None), [""; 0]);
        assert_eq!(fields(Some("averia"), Some("frenos"), Some("phase-repair")), [""; 0]);
        assert_eq!(fields(Some("nada"), Some("frenos"), Some("nada")), ["service_type", "phase"]);
        assert_eq!(fields(Some("colision"), Some("frenos"), None), ["subtype"], "it belongs to another type");
        assert_eq!(fields(None, Some("frenos"), None), ["subtype"]);
    }
}
