//! `recado schedules`: recurring work.

use std::process::ExitCode;

use clap::Subcommand;
use recado_queue::context::Context;
use recado_queue::operations::{self, RunScheduleError};
use recado_queue::schedules;

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::Table;
use crate::times::{local, relative, relative_or_dash};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List recurring work with its last and next runs
    List,
    /// Run the job of a schedule now; its next tick stays as it is
    #[command(after_help = "Example:\n  recado schedules run check_maintenance_reminders")]
    Run { name: String },
    /// Let a schedule tick; it begins with its next tick, what it missed is not made up for
    Enable { name: String },
    /// Stop a schedule from ticking
    Disable { name: String },
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::List => list(&context, json).await,
        Command::Run { name } => run_now(&context, &name, json).await,
        Command::Enable { name } => set_enabled(&context, &name, true).await,
        Command::Disable { name } => set_enabled(&context, &name, false).await,
    }
}

async fn list(context: &Context, json: bool) -> Outcome {
    let schedules = schedules::all(&mut context.db.read().await?).await?;
    if json {
        print_json(&schedules)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let mut table = Table::new(&["NAME", "CRON", "TIME ZONE", "ENABLED", "LAST RUN", "NEXT RUN", "WHAT IT DOES"]);
    for schedule in schedules {
        let zone = schedule.time_zone.parse().unwrap_or(context.config.time_zone);
        let next = match schedule.next_run_at.filter(|_| schedule.enabled) {
            Some(next) => format!("{} ({})", relative(next, now), local(next, &zone)),
            None if schedule.enabled => "when a scheduler runs".to_owned(),
            None => "-".to_owned(),
        };
        table.row([
            schedule.name,
            schedule.cron,
            schedule.time_zone,
            if schedule.enabled { "yes" } else { "no" }.to_owned(),
            relative_or_dash(schedule.last_run_at, now),
            next,
            schedule.description,
        ]);
    }
    if table.is_empty() {
        say("no schedules; `recado seed_initial_data` brings the usual ones");
    } else {
        print(&table.render());
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_now(context: &Context, name: &str, json: bool) -> Outcome {
    let task = match operations::run_schedule(context, name).await {
        Ok(task) => task,
        Err(RunScheduleError::Unknown) => return unknown(context, name).await,
        Err(error) => return Err(error.into()),
    };
    if json {
        print_json(&serde_json::json!({ "task_id": task }))?;
    } else {
        say(&format!("{name} is queued as task {task}; see `recado tasks show {task}`"));
        ledger::say_when_it_is_noticed(context);
    }
    Ok(ExitCode::SUCCESS)
}

async fn set_enabled(context: &Context, name: &str, enabled: bool) -> Outcome {
    let mut session = context.db.begin().await?;
    if !schedules::set_enabled(&mut session, name, enabled, context.clock.now()).await? {
        drop(session);
        return unknown(context, name).await;
    }
    session.commit().await?;
    say(&format!("{name} is {}", if enabled { "enabled" } else { "disabled" }));
    Ok(ExitCode::SUCCESS)
}

async fn unknown(context: &Context, name: &str) -> Outcome {
    let known = schedules::all(&mut context.db.read().await?).await?;
    let known: Vec<&str> = known.iter().map(|schedule| schedule.name.as_str()).collect();
    Err(format!("there is no schedule `{name}`; there are: {}", known.join(", ")).into())
}
