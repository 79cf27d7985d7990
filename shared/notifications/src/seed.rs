//! The catalogue that a workshop starts with, from two files that staff can read: `seed/catalogue.toml` and
//! `seed/templates.toml`.
//!
//! Every row's id follows from its name, so loading twice, or in two processes at once, changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue_version;
use crate::channels::Channel;
use crate::targets::Target;
use crate::templates::versions::{self, Written};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Ids, Result, Rows, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;

const CATALOGUE: &str = include_str!("../seed/catalogue.toml");
const TEMPLATES: &str = include_str!("../seed/templates.toml");

#[derive(Deserialize)]
struct CatalogueFile {
    phases: Vec<Phase>,
    service_types: Vec<ServiceType>,
    configurations: Vec<Configuration>,
    schedules: Vec<Schedule>,
}

#[derive(Deserialize)]
struct Phase {
    slug: String,
    name: String,
    icon: String,
    order: i32,
    description: String,
}

#[derive(Deserialize)]
struct ServiceType {
    slug: String,
    name: String,
    icon: String,
    description: String,
    #[serde(default)]
    subtypes: Vec<ServiceType>,
}

#[derive(Deserialize)]
struct Configuration {
    service_type: String,
    target: Target,
    description: String,
    /// The channels that are on, by phase.
    matrix: BTreeMap<String, Vec<Channel>>,
}

#[derive(Deserialize)]
struct Schedule {
    name: String,
    cron: String,
    job: String,
    description: String,
    misfire: String,
}

#[derive(Deserialize)]
struct TemplatesFile {
    templates: Vec<Template>,
}

#[derive(Deserialize)]
struct Template {
    name: String,
    channel: Channel,
    target: Target,
    service_type: Option<String>,
    subtype: Option<String>,
    phase: Option<String>,
    event_type: Option<String>,
    #[serde(default)]
    is_default: bool,
    subject: String,
    body: String,
}

fn phase_id(slug: &str) -> Id {
    Id::of_name(&format!("phase:{slug}"))
}

fn service_id(slug: &str) -> Id {
    Id::of_name(&format!("service:{slug}"))
}

fn subtype_id(parent: &str, slug: &str) -> Id {
    Id::of_name(&format!("service:{parent}:{slug}"))
}

/// What [`load`] created and what there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Totals {
    pub phases: i64,
    pub service_types: i64,
    pub subtypes: i64,
    pub templates: i64,
    pub configurations: i64,
    pub cells: i64,
    pub schedules: i64,
}

/// Loads what is missing. With `force`, what came from the seed is written again, and what staff changed in it is lost.
pub async fn load(session: &mut Session, force: bool, now: Timestamp) -> Result<()> {
    let catalogue: CatalogueFile = toml::from_str(CATALOGUE).expect("the file is part of the program and tested");
    let templates: TemplatesFile = toml::from_str(TEMPLATES).expect("the file is part of the program and tested");
    if force {
        forget(session, &catalogue).await?;
    }
    load_phases(session, &catalogue.phases, force).await?;
    load_service_types(session, &catalogue.service_types, force).await?;
    load_templates(session, &templates.templates, now).await?;
    load_configurations(session, &catalogue, now).await?;
    load_cells(session, &catalogue).await?;
    load_schedules(session, &catalogue.schedules, now).await?;
    catalogue_version::touch(session).await
}

/// Removes what the seed brought, except phases and types: other rows refer to those, so they are overwritten.
async fn forget(session: &mut Session, catalogue: &CatalogueFile) -> Result<()> {
    let configurations: Vec<Id> = catalogue.configurations.iter().map(Configuration::id).collect();
    sql!(run, session, "delete from phase_channel_configs where config_id = any($1)", Ids(&configurations))?;
    sql!(run, session, "delete from orchestration_configs where id = any($1)", Ids(&configurations))?;
    sql!(run, session, "delete from templates where is_seed")?;
    let schedules: Vec<Id> = catalogue.schedules.iter().map(Schedule::id).collect();
    sql!(run, session, "delete from schedules where id = any($1)", Ids(&schedules))?;
    Ok(())
}

async fn load_phases(session: &mut Session, phases: &[Phase], force: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: Id,
        slug: &'a str,
        name: &'a str,
        icon: &'a str,
        description: &'a str,
        position: i32,
        is_active: bool,
    }
    let rows: Vec<Row> = phases
        .iter()
        .map(|phase| Row {
            id: phase_id(&phase.slug),
            slug: &phase.slug,
            name: &phase.name,
            icon: &phase.icon,
            description: &phase.description,
            position: phase.order,
            is_active: true,
        })
        .collect();
    sql!(
        run,
        session,
        "insert into service_phases (id, slug, name, icon, description, position, is_active)
         select id, slug, name, icon, description, position, is_active
         from rows($1 as service_phases: id, slug, name, icon, description, position, is_active)
         where true
         on conflict (id) do update set name = excluded.name, icon = excluded.icon, description = excluded.description,
             position = excluded.position, is_active = excluded.is_active
         where $2",
        Rows::new(&rows),
        force
    )?;
    Ok(())
}

async fn load_service_types(session: &mut Session, types: &[ServiceType], force: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: Id,
        parent_id: Option<Id>,
        slug: &'a str,
        name: &'a str,
        icon: &'a str,
        description: &'a str,
        position: usize,
        is_active: bool,
    }
    fn row<'a>(parent: Option<&str>, position: usize, service: &'a ServiceType) -> Row<'a> {
        Row {
            id: parent.map_or_else(|| service_id(&service.slug), |parent| subtype_id(parent, &service.slug)),
            parent_id: parent.map(service_id),
            slug: &service.slug,
            name: &service.name,
            icon: &service.icon,
            description: &service.description,
            position: position + 1,
            is_active: true,
        }
    }
    let parents: Vec<Row> = types.iter().enumerate().map(|(position, service)| row(None, position, service)).collect();
    let subtypes: Vec<Row> = types
        .iter()
        .flat_map(|parent| {
            let subtypes = parent.subtypes.iter().enumerate();
            subtypes.map(|(position, subtype)| row(Some(&parent.slug), position, subtype))
        })
        .collect();
    for rows in [parents, subtypes] {
        sql!(run, session,
            "insert into service_types (id, parent_id, slug, name, icon, description, position, is_active)
             select id, parent_id, slug, name, icon, description, position, is_active
             from rows($1 as service_types: id, parent_id, slug, name, icon, description, position, is_active)
             where true
             on conflict (id) do update set name = excluded.name, icon = excluded.icon, description = excluded.description,
                 position = excluded.position, is_active = excluded.is_active
             where $2",
            Rows::new(&rows), force
        )?;
    }
    Ok(())
}

async fn load_templates(session: &mut Session, templates: &[Template], now: Timestamp) -> Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: Id,
        name: &'a str,
        subject: &'a str,
        body: &'a str,
        channel: Channel,
        target: Target,
        event_type: Option<&'a str>,
        service_type_id: Option<Id>,
        subtype_id: Option<Id>,
        phase_id: Option<Id>,
        is_default: bool,
        is_active: bool,
        is_seed: bool,
        created_at: Timestamp,
    }
    let rows: Vec<Row> = templates
        .iter()
        .map(|template| Row {
            id: Id::of_name(&format!("template:{}", template.name)),
            name: &template.name,
            subject: &template.subject,
            body: template.body.trim_end(),
            channel: template.channel,
            target: template.target,
            event_type: template.event_type.as_deref(),
            service_type_id: template.service_type.as_deref().map(service_id),
            subtype_id: template
                .service_type
                .as_deref()
                .zip(template.subtype.as_deref())
                .map(|(t, s)| subtype_id(t, s)),
            phase_id: template.phase.as_deref().map(phase_id),
            is_default: template.is_default,
            is_active: true,
            is_seed: true,
            created_at: now,
        })
        .collect();
    sql!(run, session,
        "insert into templates (id, name, subject, body, channel, target, event_type, service_type_id, subtype_id, phase_id,
             is_default, is_active, is_seed, version, created_at, updated_at)
         select id, name, subject, body, channel, target, event_type, service_type_id, subtype_id, phase_id,
             is_default, is_active, is_seed,
             (select coalesce(max(v.version), 0) + 1 from template_versions v where v.template_id = r.id), created_at, created_at
         from rows($1 as templates: id, name, subject, body, channel, target, event_type, service_type_id, subtype_id, phase_id,
             is_default, is_active, is_seed, created_at) r
         where true on conflict do nothing",
        Rows::new(&rows)
    )?;
    let ids: Vec<Id> = rows.iter().map(|row| row.id).collect();
    versions::keep(session, &ids, &Written::with_the_program(now)).await?;
    Ok(())
}

impl Configuration {
    fn id(&self) -> Id {
        Id::of_name(&format!("orchestration:{}:{}", self.service_type, self.target))
    }
}

async fn load_configurations(session: &mut Session, catalogue: &CatalogueFile, now: Timestamp) -> Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: Id,
        service_type_id: Id,
        target: Target,
        is_active: bool,
        description: &'a str,
        delivery_mode: &'static str,
        created_at: Timestamp,
    }
    let rows: Vec<Row> = catalogue
        .configurations
        .iter()
        .map(|config| Row {
            id: config.id(),
            service_type_id: service_id(&config.service_type),
            target: config.target,
            is_active: true,
            description: &config.description,
            delivery_mode: "fallback",
            created_at: now,
        })
        .collect();
    sql!(run, session,
        "insert into orchestration_configs (id, service_type_id, target, is_active, description, delivery_mode, created_at, updated_at)
         select id, service_type_id, target, is_active, description, delivery_mode, created_at, created_at
         from rows($1 as orchestration_configs: id, service_type_id, target, is_active, description, delivery_mode, created_at)
         where true on conflict do nothing",
        Rows::new(&rows)
    )?;
    Ok(())
}

/// Every configuration gets its whole matrix, 5 phases × 3 channels; what the file does not name is off.
async fn load_cells(session: &mut Session, catalogue: &CatalogueFile) -> Result<()> {
    #[derive(Serialize)]
    struct Row {
        id: Id,
        config_id: Id,
        phase_id: Id,
        channel: Channel,
        enabled: bool,
    }
    let mut rows = Vec::new();
    for config in &catalogue.configurations {
        for phase in &catalogue.phases {
            let enabled = config.matrix.get(&phase.slug).map(Vec::as_slice).unwrap_or_default();
            rows.extend(Channel::ALL.map(|channel| Row {
                id: Id::of_name(&format!("cell:{}:{}:{channel}", config.id(), phase.slug)),
                config_id: config.id(),
                phase_id: phase_id(&phase.slug),
                channel,
                enabled: enabled.contains(&channel),
            }));
        }
    }
    sql!(
        run,
        session,
        "insert into phase_channel_configs (id, config_id, phase_id, channel, enabled)
         select id, config_id, phase_id, channel, enabled
         from rows($1 as phase_channel_configs: id, config_id, phase_id, channel, enabled)
         where config_id in (select id from orchestration_configs) on conflict do nothing",
        Rows::new(&rows)
    )?;
    Ok(())
}

impl Schedule {
    fn id(&self) -> Id {
        Id::of_name(&format!("schedule:{}", self.name))
    }
}

async fn load_schedules(session: &mut Session, schedules: &[Schedule], now: Timestamp) -> Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: Id,
        name: &'a str,
        cron: &'a str,
        job: &'a str,
        description: &'a str,
        enabled: bool,
        misfire: &'a str,
        created_at: Timestamp,
    }
    let rows: Vec<Row> = schedules
        .iter()
        .map(|schedule| Row {
            id: schedule.id(),
            name: &schedule.name,
            cron: &schedule.cron,
            job: &schedule.job,
            description: &schedule.description,
            enabled: true,
            misfire: &schedule.misfire,
            created_at: now,
        })
        .collect();
    sql!(
        run,
        session,
        "insert into schedules (id, name, cron, job, description, enabled, misfire, created_at, updated_at)
         select id, name, cron, job, description, enabled, misfire, created_at, created_at
         from rows($1 as schedules: id, name, cron, job, description, enabled, misfire, created_at)
         where true on conflict do nothing",
        Rows::new(&rows)
    )?;
    Ok(())
}

/// How much of everything there is.
pub async fn totals(session: &mut Session) -> Result<Totals> {
    let totals = sql!(one Totals, session,
        "select (select count(*) from service_phases) as phases,
                (select count(*) from service_types where parent_id is null) as service_types,
                (select count(*) from service_types where parent_id is not null) as subtypes,
                (select count(*) from templates) as templates,
                (select count(*) from orchestration_configs) as configurations,
                (select count(*) from phase_channel_configs) as cells,
                (select count(*) from schedules) as schedules"
    )?;
    Ok(totals.unwrap_or_default())
}
