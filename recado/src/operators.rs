//! `recado migrate_operators_to_organizers`, by the name that Django gave it (seed 003).

use std::process::ExitCode;

use clap::Args;
use recado_conversations::operators::{self, Step};
use recado_conversations::organizers;
use serde_json::json;

use crate::ledger;
use crate::output::{Outcome, print_json, say};

#[derive(Args, Debug)]
pub(crate) struct Migrate {
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn migrate(Migrate { dry_run }: Migrate, json: bool) -> Outcome {
    let context = ledger::open().await?;
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let unlinked = operators::unlinked(&mut session).await?;
    let orphans = organizers::without_operator(&mut session).await?;
    let steps = operators::plan(orphans.into_iter().filter(|one| one.experiences > 0).collect(), unlinked);
    if !dry_run {
        for step in &steps {
            operators::carry_out(&mut session, step, now).await?;
        }
        session.commit().await?;
    }
    let linked = steps.iter().filter(|step| matches!(step, Step::Link { .. })).count();
    let created = steps.len() - linked;
    if json {
        print_json(&json!({ "linked": linked, "created": created, "total": steps.len(), "dry_run": dry_run }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for step in &steps {
        say(&describe(step, dry_run));
    }
    let done = if dry_run { "would be linked" } else { "linked" };
    say(&format!("{linked} {done}, {created} made; {} organizers had none", steps.len()));
    Ok(ExitCode::SUCCESS)
}

fn describe(step: &Step, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    match step {
        Step::Link { organizer, operator, name } => {
            format!("{} ({}): {would}linked with operator {name} ({operator})", organizer.name, organizer.id)
        }
        Step::Make { organizer } => format!("{} ({}): {would}given a new operator", organizer.name, organizer.id),
    }
}
