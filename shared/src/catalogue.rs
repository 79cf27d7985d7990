//! What workshops configure, in memory: phases, types of service, the matrix and the compiled templates.
//!
//! The door decides with this copy. It asks for the version in every batch and reads everything anew when somebody wrote,
//! so a change counts for the next request and not after some minutes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::channels::Channel;
use crate::db::{Result, Session};
use crate::ids::Id;
use crate::orchestration::{self, Cell, Orchestration, Target};
use crate::sql;
use crate::templates::words::CompiledTemplate;
use crate::templates::{self, Occasion, Template};
use crate::workshops::{self, Workshop};

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
        let compile = |template: &Template| match CompiledTemplate::compile(
            &template.subject,
            &template.body,
            strict_case,
        ) {
            Ok(compiled) => Some((template.id, compiled)),
            Err(error) => {
                tracing::error!(template.id = %template.id, %error, "template {} cannot be used: {error}", template.id);
                None
            }
        };
        Ok(Self {
            version,
            phases,
            service_types,
            configs: configs.into_iter().map(|c| ((c.service_type_id, c.target, c.taller_id.clone()), c)).collect(),
            cells: cells.into_iter().map(|cell| ((cell.config_id, cell.phase_id, cell.channel), cell)).collect(),
            compiled: templates.iter().filter(|template| template.is_active).filter_map(compile).collect(),
            templates,
            workshops: workshops.into_iter().map(|workshop| (workshop.taller_id.clone(), workshop)).collect(),
        })
    }

    /// By slug or id (d15).
    pub fn phase(&self, reference: &str) -> Option<&Phase> {
        let id: Option<Id> = reference.parse().ok();
        self.phases.iter().filter(|phase| phase.is_active).find(|phase| phase.slug == reference || Some(phase.id) == id)
    }

    /// A type by slug or id; never a subtype, even where it carries the same slug (d9).
    pub fn service_type(&self, reference: &str) -> Option<&ServiceType> {
        let id: Option<Id> = reference.parse().ok();
        let mut types = self.service_types.iter().filter(|service| service.is_active && service.parent_id.is_none());
        types.find(|service| service.slug == reference || Some(service.id) == id)
    }

    /// A subtype of `parent` by slug or id.
    pub fn subtype(&self, parent: Id, reference: &str) -> Option<&ServiceType> {
        let id: Option<Id> = reference.parse().ok();
        let mut subtypes = self.subtypes(parent).filter(|subtype| subtype.is_active);
        subtypes.find(|subtype| subtype.slug == reference || Some(subtype.id) == id)
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

    /// The settings of a workshop, where it has any.
    pub fn workshop(&self, taller_id: Option<&str>) -> Option<&Workshop> {
        self.workshops.get(taller_id?)
    }

    pub fn cell(&self, config: Id, phase: Id, channel: Channel) -> Option<&Cell> {
        self.cells.get(&(config, phase, channel))
    }

    /// The words for an occasion: the template that the cell names, else the best match.
    pub fn words(&self, cell: Option<&Cell>, occasion: &Occasion<'_>) -> Option<(&Template, &CompiledTemplate)> {
        let named = cell
            .and_then(|cell| cell.template_id)
            .and_then(|id| self.templates.iter().find(|template| template.id == id && template.is_active));
        let usable = self.templates.iter().filter(|template| self.compiled.contains_key(&template.id));
        let template = named.or_else(|| templates::best(usable, occasion))?;
        Some((template, self.compiled.get(&template.id)?))
    }
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
    pub async fn current(&self, session: &mut Session) -> Result<Arc<Catalogue>> {
        let version: Option<(i64,)> = sql!(one(i64,), session, "select version from catalogue_version")?;
        let version = version.map_or(0, |(version,)| version);
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

/// To be called in every transaction that changes what the catalogue shows.
pub async fn touch(session: &mut Session) -> Result<()> {
    sql!(run, session, "update catalogue_version set version = version + 1")?;
    Ok(())
}
