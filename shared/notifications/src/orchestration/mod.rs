//! Who is told what, on which channels: the matrix of phase × channel that a workshop configures.

mod matrix;
mod selection;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

pub use self::matrix::{Matrix, give_back, make, save};
pub use self::selection::{Channels, Person, SkipReason, SkippedChannel, choose, reason};
use crate::channels::Channel;
use crate::targets::Target;
use crate::templates::Template;
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Rows, Session};
use recado_kernel::fields::{Wrong, between, check_text};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sql;
use recado_kernel::word_enum;

/// Whether the channels of an event are tried one after the other, or all at once (d12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(rename_all = "snake_case")]
pub enum DeliveryMode {
    /// The next channel is tried when one has failed.
    #[default]
    Fallback,
    /// Every channel carries the message.
    All,
}

word_enum!(DeliveryMode, "a delivery mode");

/// The sign that a message arrived. A cell may wait for it before it tries the next channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(rename_all = "snake_case")]
pub enum AwaitedReceipt {
    /// It reached the device or the mailbox.
    Delivered,
    /// The recipient opened it.
    Read,
}

word_enum!(AwaitedReceipt, "a receipt");

/// A receipt for which a message waits: without it so many seconds after it was sent, the next channel is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    pub receipt: AwaitedReceipt,
    pub seconds: i32,
}

/// The configuration of a type or subtype of service for one audience.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Orchestration {
    pub id: Id,
    pub service_type_id: Id,
    pub target: Target,
    pub taller_id: Option<String>,
    pub is_active: bool,
    pub description: String,
    pub delivery_mode: DeliveryMode,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// One cell of its matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Cell {
    pub id: Id,
    pub config_id: Id,
    pub phase_id: Id,
    pub channel: Channel,
    pub enabled: bool,
    /// This template and no other; `None` for the best match.
    pub template_id: Option<Id>,
    /// Without this receipt [`await_seconds`](Self::await_seconds) after the message was sent, the next channel is tried.
    /// `None`: that it was sent is enough.
    pub await_receipt: Option<AwaitedReceipt>,
    /// How long to wait for the receipt, 1 to [`LONGEST_AWAIT`]; there when `await_receipt` is.
    pub await_seconds: Option<i32>,
}

impl Cell {
    /// The receipt that a message on this channel waits for, and for how many seconds. Where providers send no receipts
    /// (email, push), waiting would always end in vain, so the setting counts as absent.
    pub fn awaited_on(&self, channel: Channel) -> Option<Awaited> {
        let awaited = Awaited { receipt: self.await_receipt?, seconds: self.await_seconds? };
        channel.has_receipts().then_some(awaited)
    }
}

/// The longest that a message may wait for its receipt, in seconds: a week.
pub const LONGEST_AWAIT: i32 = 7 * 24 * 60 * 60;

/// The most cells that one request may change: several times the matrix of the longest flow.
pub const MOST_CELLS: usize = 1_000;

impl Cell {
    /// A cell that is not switched on yet.
    pub fn new(config_id: Id, phase_id: Id, channel: Channel, now: Timestamp) -> Self {
        Self {
            id: Id::new(now),
            config_id,
            phase_id,
            channel,
            enabled: false,
            template_id: None,
            await_receipt: None,
            await_seconds: None,
        }
    }

    /// What is wrong with it; every error names its field.
    pub fn errors(&self) -> Wrong {
        let error = match (self.await_receipt, self.await_seconds) {
            (None, None) => return Wrong::new(),
            (Some(_), Some(seconds)) if (1..=LONGEST_AWAIT).contains(&seconds) => return Wrong::new(),
            (Some(_), Some(_)) => between(1, LONGEST_AWAIT),
            (Some(_), None) => Sentence::new(
                format!("Indique cuántos segundos esperar `await_receipt`, de 1 a {LONGEST_AWAIT}."),
                format!("Say how many seconds to wait for `await_receipt`, from 1 to {LONGEST_AWAIT}."),
            ),
            (None, Some(_)) => Sentence::new(
                "Indique también `await_receipt`: delivered o read.",
                "Say `await_receipt` as well: delivered or read.",
            ),
        };
        vec![("await_seconds", error)]
    }

    /// Why the cell cannot name this template; `None` when it can.
    pub fn refuses(&self, template: &Template, target: Target) -> Option<Sentence> {
        if template.channel != self.channel {
            let (theirs, ours) = (template.channel, self.channel);
            return Some(Sentence::new(
                format!("La plantilla es del canal {theirs} y la celda es del canal {ours}."),
                format!("The template is for the channel {theirs}, and the cell is for the channel {ours}."),
            ));
        }
        let theirs = template.target;
        (theirs != target).then(|| {
            Sentence::new(
                format!("La plantilla es para {theirs} y la configuración es para {target}."),
                format!("The template is for {theirs}, and the configuration is for {target}."),
            )
        })
    }
}

/// What staff write about a configuration (S002-49). Its matrix is written apart.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = OrchestrationWrite)]
pub struct OrchestrationDraft {
    /// The type of service, or a subtype, by UUID or slug. A slug that both carry means the type.
    #[schema(examples("mantenimiento-preventivo"))]
    pub service_type: String,
    /// Whom its messages address.
    #[schema(required = false, default = "clients")]
    pub target: Target,
    /// Only for this workshop; null for all that have none of their own.
    #[schema(max_length = 100)]
    pub taller_id: Option<String>,
    /// Whether events may use it.
    #[schema(required = false, default = true)]
    pub is_active: bool,
    /// A note for staff.
    #[schema(max_length = 1000, required = false)]
    pub description: String,
    /// One channel after the other, or all at once.
    #[schema(required = false, default = "fallback")]
    pub delivery_mode: DeliveryMode,
}

impl Default for OrchestrationDraft {
    fn default() -> Self {
        Self {
            service_type: String::new(),
            target: Target::default(),
            taller_id: None,
            is_active: true,
            description: String::new(),
            delivery_mode: DeliveryMode::default(),
        }
    }
}

impl OrchestrationDraft {
    /// What is wrong with the fields by themselves; every error names its field.
    pub fn errors(&self) -> Wrong {
        let mut errors = Wrong::new();
        check_text(&mut errors, "service_type", Some(&self.service_type), 100);
        check_text(&mut errors, "taller_id", self.taller_id.as_deref(), 100);
        check_text(&mut errors, "description", Some(&self.description), 1_000);
        errors
    }
}

impl OrchestrationDraft {
    /// The configuration that the draft makes.
    fn of_service(&self, id: Id, service: Id, now: Timestamp) -> Orchestration {
        Orchestration {
            id,
            service_type_id: service,
            target: self.target,
            taller_id: self.taller_id.clone(),
            is_active: self.is_active,
            description: self.description.clone(),
            delivery_mode: self.delivery_mode,
            created_at: now,
            updated_at: now,
        }
    }
}

impl Orchestration {
    /// What the audit log keeps of it, besides its cells.
    fn facts(&self) -> Value {
        json!({
            "service_type": self.service_type_id, "target": self.target, "taller_id": self.taller_id,
            "is_active": self.is_active, "description": self.description, "delivery_mode": self.delivery_mode,
        })
    }
}

impl From<Orchestration> for OrchestrationDraft {
    fn from(config: Orchestration) -> Self {
        Self {
            service_type: config.service_type_id.to_string(),
            target: config.target,
            taller_id: config.taller_id,
            is_active: config.is_active,
            description: config.description,
            delivery_mode: config.delivery_mode,
        }
    }
}

/// Which configurations to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct OrchestrationFilter {
    pub service_type_id: Option<Id>,
    pub target: Option<Target>,
    /// `Some(None)`: those that belong to no workshop.
    pub taller_id: Option<Option<String>>,
}

impl OrchestrationFilter {
    /// Whether a configuration is one of those that are looked for.
    pub fn takes(&self, config: &Orchestration) -> bool {
        self.service_type_id.is_none_or(|service| service == config.service_type_id)
            && self.target.is_none_or(|target| target == config.target)
            && self.taller_id.as_ref().is_none_or(|taller| *taller == config.taller_id)
    }
}

/// Which cells chose the channels of a chain: those of this phase in this matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Decided {
    pub config_id: Id,
    pub phase_id: Id,
    /// The subtype that the event named; its own templates go before others.
    pub subtype_id: Option<Id>,
}

/// The columns of an [`Orchestration`], by name: a star would break the prepared statements of running processes when a newer
/// version adds one.
const COLUMNS: &str =
    "id, service_type_id, target, taller_id, is_active, description, delivery_mode, created_at, updated_at";

/// The columns of a [`Cell`].
const CELL_COLUMNS: &str = "id, config_id, phase_id, channel, enabled, template_id, await_receipt, await_seconds";

/// Every configuration and every cell.
pub async fn all(session: &mut Session) -> Result<(Vec<Orchestration>, Vec<Cell>)> {
    let configs = sql!(all Orchestration, session,
        (&format!("select {COLUMNS} from orchestration_configs"))
    )?;
    let cells = sql!(all Cell, session,
        (&format!("select {CELL_COLUMNS} from phase_channel_configs"))
    )?;
    Ok((configs, cells))
}

/// One configuration.
pub async fn find(session: &mut Session, id: Id) -> Result<Option<Orchestration>> {
    sql!(one Orchestration, session, (&format!("select {COLUMNS} from orchestration_configs where id = $1")), id)
}

/// The configuration of exactly this service, audience and workshop, in force or not.
pub async fn find_own(
    session: &mut Session,
    service: Id,
    target: Target,
    taller_id: Option<&str>,
) -> Result<Option<Orchestration>> {
    sql!(one Orchestration, session,
        (&format!("select {COLUMNS} from orchestration_configs
                   where service_type_id = $1 and target = $2 and coalesce(taller_id, '') = $3")),
        service, target, taller_id.unwrap_or_default()
    )
}

/// The cells of one configuration.
pub async fn cells(session: &mut Session, config: Id) -> Result<Vec<Cell>> {
    sql!(all Cell, session, (&format!("select {CELL_COLUMNS} from phase_channel_configs where config_id = $1")), config)
}

/// Writes a new configuration without cells, and returns its id. A second one for the same service, audience and workshop
/// violates `orchestration_configs_key`.
pub async fn insert(
    session: &mut Session,
    draft: &OrchestrationDraft,
    service: Id,
    actor: &Actor,
    now: Timestamp,
) -> Result<Id> {
    let id = Id::new(now);
    insert_row(session, &draft.of_service(id, service, now)).await?;
    let act = Act::new("create", "orchestration", id).made(json!(draft.of_service(id, service, now).facts()));
    audit::write(session, actor, &act, now).await?;
    Ok(id)
}

async fn insert_row(session: &mut Session, config: &Orchestration) -> Result<()> {
    sql!(run, session,
        "insert into orchestration_configs (id, service_type_id, target, taller_id, is_active, description, delivery_mode,
             created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        config.id, config.service_type_id, config.target, config.taller_id.as_deref(), config.is_active,
        config.description.as_str(), config.delivery_mode, config.created_at, config.updated_at
    )?;
    Ok(())
}

/// Replaces a configuration as it was read in this transaction. Another one for the same service, audience and workshop violates
/// `orchestration_configs_key`.
pub async fn replace(
    session: &mut Session,
    config: &Orchestration,
    draft: &OrchestrationDraft,
    service: Id,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let written = draft.of_service(config.id, service, now);
    replace_row(session, &written).await?;
    let act = Act::new("change", "orchestration", config.id).changed(config.facts(), written.facts());
    audit::write(session, actor, &act, now).await
}

async fn replace_row(session: &mut Session, config: &Orchestration) -> Result<()> {
    sql!(run, session,
        "update orchestration_configs set service_type_id = $2, target = $3, taller_id = $4, is_active = $5, description = $6,
             delivery_mode = $7, updated_at = $8
         where id = $1",
        config.id, config.service_type_id, config.target, config.taller_id.as_deref(), config.is_active,
        config.description.as_str(), config.delivery_mode, config.updated_at
    )?;
    Ok(())
}

/// Deletes a configuration with its cells. Returns the entry in the audit log from which it can be [given back](give_back); `None` when
/// there is none.
pub async fn delete(session: &mut Session, id: Id, actor: &Actor, now: Timestamp) -> Result<Option<Id>> {
    let Some(matrix) = Matrix::find(session, id).await? else { return Ok(None) };
    let facts = matrix.facts(session).await?;
    sql!(run, session, "delete from orchestration_configs where id = $1", id)?;
    let act = Act::new("delete", "orchestration", id).changed(facts, json!({}));
    audit::write_known(session, actor, &act, now).await.map(Some)
}

/// Writes cells of one configuration, whether they are there or not.
async fn write_cells(session: &mut Session, config: Id, cells: &[Cell], now: Timestamp) -> Result<()> {
    sql!(run, session,
        "insert into phase_channel_configs (id, config_id, phase_id, channel, enabled, template_id, await_receipt, await_seconds)
         select id, config_id, phase_id, channel, enabled, template_id, await_receipt, await_seconds
         from rows($1 as phase_channel_configs: id, config_id, phase_id, channel, enabled, template_id, await_receipt,
             await_seconds)
         where true
         on conflict (config_id, phase_id, channel) do update set enabled = excluded.enabled,
             template_id = excluded.template_id, await_receipt = excluded.await_receipt,
             await_seconds = excluded.await_seconds",
        Rows::new(cells)
    )?;
    sql!(run, session, "update orchestration_configs set updated_at = $2 where id = $1", config, now)?;
    Ok(())
}

/// Writes those of the cells that are not there yet, and returns how many that were.
pub async fn add_cells(
    session: &mut Session,
    config: Id,
    cells: &[Cell],
    actor: &Actor,
    now: Timestamp,
) -> Result<u64> {
    let added = sql!(
        run,
        session,
        "insert into phase_channel_configs (id, config_id, phase_id, channel, enabled)
         select id, config_id, phase_id, channel, enabled
         from rows($1 as phase_channel_configs: id, config_id, phase_id, channel, enabled)
         where true on conflict (config_id, phase_id, channel) do nothing",
        Rows::new(cells)
    )?;
    if added > 0 {
        let act = Act::new("initialize", "orchestration", config).made(json!({ "cells_added": added }));
        audit::write(session, actor, &act, now).await?;
    }
    Ok(added)
}

/// Takes away the names of templates that are for another channel or audience than their cell, after one or the other has
/// changed. Such a cell goes back to the best match, as when its template is deleted.
pub async fn forget_misfits(session: &mut Session) -> Result<()> {
    sql!(
        run,
        session,
        "update phase_channel_configs set template_id = null
         where template_id is not null and not exists (
             select 1 from templates t join orchestration_configs c on c.target = t.target
             where t.id = phase_channel_configs.template_id and c.id = phase_channel_configs.config_id
                 and t.channel = phase_channel_configs.channel)"
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_waits_for_a_receipt_and_says_how_long() {
        let cell = |await_receipt, await_seconds| Cell {
            await_receipt,
            await_seconds,
            ..Cell::new(Id::of_name("c"), Id::of_name("p"), Channel::Whatsapp, Timestamp::from_micros(0))
        };
        for (receipt, seconds, is_good) in [
            (None, None, true),
            (Some(AwaitedReceipt::Delivered), Some(1), true),
            (Some(AwaitedReceipt::Read), Some(604_800), true),
            (Some(AwaitedReceipt::Read), Some(604_801), false),
            (Some(AwaitedReceipt::Read), Some(0), false),
            (Some(AwaitedReceipt::Read), None, false),
            (None, Some(60), false),
        ] {
            let errors = cell(receipt, seconds).errors();
            assert_eq!(errors.is_empty(), is_good, "{receipt:?} {seconds:?}");
            assert!(errors.iter().all(|(field, _)| *field == "await_seconds"));
        }
    }
}
