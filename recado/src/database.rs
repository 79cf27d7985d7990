//! `recado migrate` and `recado seed_initial_data`, by the names that Django gave them (S002-P5).

use recado_systems::SYSTEMS;
use std::process::ExitCode;

use clap::Args;
use recado_kernel::clock::Clock;
use recado_notifications::seed::{self, Totals};
use recado_queue::context::{Context, StartError};

use crate::ledger;
use crate::output::{Outcome, print_json, say};

#[derive(Args, Debug)]
pub(crate) struct Seed {
    /// Write what came from the seed again; what staff changed in it is lost
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CollectStatic {
    #[arg(long = "noinput", visible_alias = "no-input")]
    _no_input: bool,
}

pub(crate) async fn migrate() -> Outcome {
    open_migrated().await?;
    say("the schema is up to date");
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn seed(options: Seed, json: bool) -> Outcome {
    let context = open_migrated().await?;
    let mut session = context.db.begin().await?;
    seed::load(&mut session, options.force, context.clock.now()).await?;
    let totals = seed::totals(&mut session).await?;
    session.commit().await?;
    if json {
        print_json(&totals)?;
    } else {
        say(&describe(&totals));
    }
    Ok(ExitCode::SUCCESS)
}

/// Accepted because deployments call it; the static files are part of the program.
pub(crate) fn collect_static() -> Outcome {
    say("0 static files copied: they are part of the program");
    Ok(ExitCode::SUCCESS)
}

/// S002-51: the totals that the seed promises.
pub(crate) fn describe(totals: &Totals) -> String {
    let Totals { phases, service_types, subtypes, templates, configurations, cells, schedules } = totals;
    format!(
        "{phases} phases, {service_types} service types, {subtypes} subtypes, {templates} templates, \
         {configurations} orchestration configs, {cells} phase channel configs, {schedules} schedules"
    )
}

/// Opens the database, makes it where it is the embedded one and absent, and brings its schema up to date.
async fn open_migrated() -> Result<Context, Box<dyn std::error::Error + Send + Sync>> {
    let config = ledger::configure()?;
    let context = Context::open(config, Clock::system(), SYSTEMS).await?;
    context.db.migrate().await.map_err(StartError::from)?;
    Ok(context)
}
