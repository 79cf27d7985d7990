//! `recado matrix`: on which channels each phase speaks, and in which words.

use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use recado_notifications::catalogue::Catalogue;
use recado_notifications::channels::Channel;
use recado_notifications::orchestration::{Cell, Orchestration};
use recado_notifications::system::Notifications;
use recado_notifications::targets::Target;
use serde_json::{Value, json};

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::{Table, shorten};

/// Characters of a template's name that fit into a cell.
const NAME_WIDTH: usize = 36;

#[derive(Args, Debug)]
pub(crate) struct Matrix {
    /// A type or subtype of service, by slug or id; without it all are listed
    service: Option<String>,
    /// Only for this audience
    #[arg(long, value_parser = PossibleValuesParser::new(Target::WORDS).try_map(|word| word.parse::<Target>()))]
    target: Option<Target>,
    /// Only the matrices of this workshop's own
    #[arg(long, value_name = "TALLER_ID")]
    workshop: Option<String>,
}

pub(crate) async fn run(options: Matrix, json: bool) -> Outcome {
    let context = ledger::open().await?;
    let system = Notifications::new(context.clone());
    let catalogue = system.catalogue.current(&mut context.db.read().await?).await?;
    let found: Vec<&Orchestration> =
        catalogue.configurations().into_iter().filter(|config| options.takes(config, &catalogue)).collect();
    if let Some(service) = options.service.as_deref().filter(|service| !is_known(service, &catalogue)) {
        return Err(format!("there is no type of service {service}; `recado matrix` lists them").into());
    }
    if json {
        print_json(&found.into_iter().map(|config| as_json(config, &catalogue)).collect::<Vec<_>>())?;
    } else if found.is_empty() {
        say("no matrix of its own; a subtype without one has its type's");
    } else if options.service.is_none() {
        print(&overview(&found, &catalogue));
    } else {
        let grids: Vec<String> = found.into_iter().map(|config| grid(config, &catalogue)).collect();
        print(&grids.join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

impl Matrix {
    fn takes(&self, config: &Orchestration, catalogue: &Catalogue) -> bool {
        self.target.is_none_or(|target| config.target == target)
            && (self.workshop.is_none() || config.taller_id == self.workshop)
            && self.service.as_deref().is_none_or(|reference| is_named(config, reference, catalogue))
    }
}

/// Whether a slug or an id means the service of this matrix.
fn is_named(config: &Orchestration, reference: &str, catalogue: &Catalogue) -> bool {
    let service = catalogue.service(config.service_type_id);
    config.service_type_id.to_string() == reference || service.is_some_and(|service| service.slug == reference)
}

fn is_known(reference: &str, catalogue: &Catalogue) -> bool {
    catalogue.service_types.iter().any(|service| service.slug == reference || service.id.to_string() == reference)
}

fn overview(found: &[&Orchestration], catalogue: &Catalogue) -> String {
    let mut table = Table::new(&["SERVICE", "TARGET", "WORKSHOP", "MODE", "USED", ">CELLS ON", "ID"]);
    for config in found {
        let on = catalogue.matrix(config.id).filter(|cell| cell.enabled).count();
        table.row([
            catalogue.service(config.service_type_id).map(|service| service.slug.clone()).unwrap_or_default(),
            config.target.to_string(),
            config.taller_id.clone().unwrap_or_else(|| "any".to_owned()),
            config.delivery_mode.to_string(),
            if config.is_active { "yes" } else { "no" }.to_owned(),
            on.to_string(),
            config.id.to_string(),
        ]);
    }
    table.render()
}

/// A line for each phase, a column for each channel.
fn grid(config: &Orchestration, catalogue: &Catalogue) -> String {
    let service = catalogue.service(config.service_type_id).map(|service| service.slug.as_str()).unwrap_or_default();
    let workshop = config.taller_id.as_deref().map(|workshop| format!(", of {workshop}")).unwrap_or_default();
    let is_off = if config.is_active { "" } else { "; not in use" };
    let mut table = Table::new(&["PHASE", "EMAIL", "WHATSAPP", "PUSH"]);
    for phase in &catalogue.phases {
        let cells = Channel::ALL.map(|channel| {
            catalogue
                .cell(config.id, phase.id, channel)
                .map_or_else(|| "-".to_owned(), |cell| told(cell, config, catalogue))
        });
        table.row([phase.slug.clone()].into_iter().chain(cells));
    }
    let (target, mode) = (config.target, config.delivery_mode);
    let lines: String = table.render().lines().map(|line| format!("  {line}\n")).collect();
    format!("{service} for {target}{workshop}, {mode}{is_off}\n{lines}")
}

/// Whether a cell is on, and what it sends.
fn told(cell: &Cell, config: &Orchestration, catalogue: &Catalogue) -> String {
    if !cell.enabled {
        return "off".to_owned();
    }
    let words = match catalogue.effective(config, cell, None) {
        Some(template) => shorten(&template.name, NAME_WIDTH),
        None => "no text, so it is skipped".to_owned(),
    };
    let named = if cell.template_id.is_some() { " (named)" } else { "" };
    let awaits =
        cell.awaited_on(cell.channel).map(|awaited| format!(", {} within {} s", awaited.receipt, awaited.seconds));
    format!("{words}{named}{}", awaits.unwrap_or_default())
}

/// The fields of `GET /api/v1/notifications/orchestration/{id}/`, without what is sent to single subtypes.
fn as_json(config: &Orchestration, catalogue: &Catalogue) -> Value {
    let name = |id| catalogue.template(id).map(|template| template.name.clone());
    let cell = |cell: &Cell| {
        let effective = catalogue.effective(config, cell, None);
        let phase = catalogue.phases.iter().find(|phase| phase.id == cell.phase_id);
        json!({
            "id": cell.id,
            "phase": cell.phase_id,
            "phase_name": phase.map(|phase| &phase.name),
            "channel": cell.channel,
            "enabled": cell.enabled,
            "template": cell.template_id,
            "template_name": cell.template_id.and_then(name),
            "effective_template": effective.map(|template| template.id),
            "effective_template_name": effective.map(|template| &template.name),
            "await_receipt": cell.await_receipt,
            "await_seconds": cell.await_seconds,
        })
    };
    json!({
        "id": config.id,
        "service_type": config.service_type_id,
        "service_type_name": catalogue.service(config.service_type_id).map(|service| &service.name),
        "target": config.target,
        "taller_id": config.taller_id,
        "is_active": config.is_active,
        "description": config.description,
        "delivery_mode": config.delivery_mode,
        "phase_configs": catalogue.matrix(config.id).map(cell).collect::<Vec<_>>(),
        "created_at": config.created_at,
        "updated_at": config.updated_at,
    })
}
