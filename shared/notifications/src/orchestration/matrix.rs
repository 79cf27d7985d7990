//! A configuration with its cells, changed as one: what staff staged is written together, with one entry in the audit log, and that
//! entry gives it back.

use std::collections::HashMap;

use recado_kernel::audit::{self, Act, Actor, Entry};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{AwaitedReceipt, Cell, Orchestration, cells, find, insert_row, replace_row, write_cells};
use crate::channels::Channel;
use crate::targets::Target;

/// A configuration and its cells.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub config: Orchestration,
    pub cells: Vec<Cell>,
}

/// What the audit log keeps of a cell, under `phase.channel`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct CellFacts {
    enabled: bool,
    template: Option<Id>,
    await_receipt: Option<AwaitedReceipt>,
    await_seconds: Option<i32>,
}

impl From<&Cell> for CellFacts {
    fn from(cell: &Cell) -> Self {
        Self {
            enabled: cell.enabled,
            template: cell.template_id,
            await_receipt: cell.await_receipt,
            await_seconds: cell.await_seconds,
        }
    }
}

impl Matrix {
    pub async fn find(session: &mut Session, config: Id) -> Result<Option<Self>> {
        let Some(config) = find(session, config).await? else { return Ok(None) };
        let cells = cells(session, config.id).await?;
        Ok(Some(Self { config, cells }))
    }

    /// The cell of a phase on a channel, where there is one.
    pub fn cell(&self, phase: Id, channel: Channel) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.phase_id == phase && cell.channel == channel)
    }

    pub(super) async fn facts(&self, session: &mut Session) -> Result<Value> {
        Ok(self.facts_with(&slugs(session).await?))
    }

    fn facts_with(&self, slugs: &HashMap<Id, String>) -> Value {
        let mut facts = self.config.facts();
        if let Value::Object(fields) = &mut facts {
            fields.extend(self.cells.iter().filter_map(|cell| Some((key(slugs, cell)?, json!(CellFacts::from(cell))))));
        }
        facts
    }
}

/// How phases are called, which is what people read in the log.
async fn slugs(session: &mut Session) -> Result<HashMap<Id, String>> {
    let slugs: Vec<(Id, String)> = sql!(all(Id, String), session, "select id, slug from service_phases")?;
    Ok(slugs.into_iter().collect())
}

fn key(slugs: &HashMap<Id, String>, cell: &Cell) -> Option<String> {
    Some(format!("{}.{}", slugs.get(&cell.phase_id)?, cell.channel))
}

/// Makes a matrix that is not there yet. A second one for the same service, audience and workshop violates
/// `orchestration_configs_key`.
pub async fn make(session: &mut Session, matrix: &Matrix, actor: &Actor, now: Timestamp) -> Result<()> {
    insert_row(session, &matrix.config).await?;
    write_cells(session, matrix.config.id, &matrix.cells, now).await?;
    let act = Act::new("create", "orchestration", matrix.config.id).made(matrix.facts(session).await?);
    audit::write(session, actor, &act, now).await
}

/// Writes the settings of a matrix and those of its cells that `after` has; the others stay. `before` is it as it was read in this
/// transaction. Returns the entry in the audit log from which it can be [given back](give_back).
pub async fn save(session: &mut Session, before: &Matrix, after: &Matrix, actor: &Actor, now: Timestamp) -> Result<Id> {
    let id = before.config.id;
    replace_row(session, &Orchestration { updated_at: now, ..after.config.clone() }).await?;
    write_cells(session, id, &after.cells, now).await?;
    let slugs = slugs(session).await?;
    // A cell that was not there was a cell that is switched off.
    let was = |cell: &Cell| {
        let new = || Cell { id: cell.id, ..Cell::new(id, cell.phase_id, cell.channel, now) };
        before.cell(cell.phase_id, cell.channel).cloned().unwrap_or_else(new)
    };
    let before = Matrix { config: before.config.clone(), cells: after.cells.iter().map(was).collect() };
    let act = Act::new("change", "orchestration", id).changed(before.facts_with(&slugs), after.facts_with(&slugs));
    audit::write_known(session, actor, &act, now).await
}

/// Makes a matrix what it was before an entry of the audit log, as far as that entry changed it; also one that was deleted. Returns the
/// configuration and the entry that takes this back, where there is one. `None`: there is nothing to give back.
pub async fn give_back(
    session: &mut Session,
    entry: &Entry,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<(Orchestration, Option<Id>)>> {
    let (Ok(id), Some(Value::Object(facts))) = (entry.subject.parse::<Id>(), entry.before.as_ref().map(|one| &one.0))
    else {
        return Ok(None);
    };
    if entry.subject_kind != "orchestration" {
        return Ok(None);
    }
    let phases: HashMap<String, Id> = slugs(session).await?.into_iter().map(|(id, slug)| (slug, id)).collect();
    let matrix = Matrix::find(session, id).await?;
    let before = match &matrix {
        Some(matrix) => matrix.config.clone(),
        None => match deleted(id, facts, now) {
            Some(config) => config,
            None => return Ok(None),
        },
    };
    let config = overlaid(before, facts);
    let templates = templates(session, facts).await?;
    let cells = facts.iter().filter_map(|(name, value)| read_cell(id, name, value, &phases, &templates, now)).collect();
    let after = Matrix { config, cells };
    let undone_by = match &matrix {
        Some(matrix) => Some(save(session, matrix, &after, actor, now).await?),
        None => {
            make(session, &after, actor, now).await?;
            None
        }
    };
    Ok(Some((after.config, undone_by)))
}

/// The templates among facts that are still there: one that was deleted cannot be named again.
async fn templates(session: &mut Session, facts: &Map<String, Value>) -> Result<Vec<Id>> {
    let named = facts.values().filter_map(|value| value.get("template")?.as_str()?.parse().ok());
    let named: Vec<Id> = named.collect();
    Ok(crate::templates::find_many(session, &named).await?.into_iter().map(|template| template.id).collect())
}

fn read_cell(
    config: Id,
    name: &str,
    value: &Value,
    phases: &HashMap<String, Id>,
    templates: &[Id],
    now: Timestamp,
) -> Option<Cell> {
    let (slug, channel) = name.rsplit_once('.')?;
    let (phase, channel): (Id, Channel) = (*phases.get(slug)?, channel.parse().ok()?);
    let facts: CellFacts = serde_json::from_value(value.clone()).ok()?;
    Some(Cell {
        enabled: facts.enabled,
        template_id: facts.template.filter(|id| templates.contains(id)),
        await_receipt: facts.await_receipt,
        await_seconds: facts.await_seconds,
        ..Cell::new(config, phase, channel, now)
    })
}

/// The configuration of facts that tell all of it, as those of a deletion do.
fn deleted(id: Id, facts: &Map<String, Value>, now: Timestamp) -> Option<Orchestration> {
    let service_type_id = facts.get("service_type")?.as_str()?.parse().ok()?;
    let target: Target = facts.get("target")?.as_str()?.parse().ok()?;
    let taller_id = facts.get("taller_id").and_then(Value::as_str).map(str::to_owned);
    Some(Orchestration {
        id,
        service_type_id,
        target,
        taller_id,
        is_active: true,
        description: String::new(),
        delivery_mode: super::DeliveryMode::default(),
        created_at: now,
        updated_at: now,
    })
}

/// A configuration with the settings that these facts name. Whose it is stays.
fn overlaid(mut config: Orchestration, facts: &Map<String, Value>) -> Orchestration {
    let text = |name: &str| facts.get(name).and_then(Value::as_str);
    if let Some(is_active) = facts.get("is_active").and_then(Value::as_bool) {
        config.is_active = is_active;
    }
    if let Some(mode) = text("delivery_mode").and_then(|word| word.parse().ok()) {
        config.delivery_mode = mode;
    }
    if let Some(description) = text("description") {
        description.clone_into(&mut config.description);
    }
    config
}
