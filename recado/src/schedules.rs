//! `recado schedules`: recurring work.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use recado_kernel::audit::Actor;
use recado_kernel::language::Language;
use recado_queue::context::Context;
use recado_queue::operations::{self, RunScheduleError};
use recado_queue::schedules::cron::CronExpression;
use recado_queue::schedules::wording::in_words;
use recado_queue::schedules::{self, Change, Zone};

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
    /// Change when a schedule ticks; it begins with its next tick
    #[command(
        after_help = "Examples:\n  recado schedules set check_maintenance_reminders --cron '30 9 * * 1-5'\n  recado schedules set cleanup --time-zone Europe/Madrid\n  recado schedules set cleanup --time-zone installation"
    )]
    Set(Set),
}

#[derive(Args, Debug)]
pub(crate) struct Set {
    name: String,
    #[command(flatten)]
    what: What,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct What {
    /// Minute, hour, day of month, month, weekday: '0 8 * * *' is every day at 08:00
    #[arg(long, value_name = "EXPRESSION")]
    cron: Option<CronExpression>,
    /// By whose clocks, e.g. Europe/Madrid; `installation` follows TIME_ZONE
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    time_zone: Option<Zone>,
    /// Whether it ticks at all
    #[arg(long, value_name = "true|false")]
    enabled: Option<bool>,
}

fn parse_zone(text: &str) -> Result<Zone, String> {
    if text == "installation" {
        return Ok(Zone::Installation);
    }
    let remedy = "name a zone of the IANA database, e.g. America/Guayaquil, or write installation";
    text.parse().map(Zone::Own).map_err(|_| remedy.to_owned())
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::List => list(&context, json).await,
        Command::Run { name } => run_now(&context, &name, json).await,
        Command::Set(set) => change(&context, set).await,
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
    let mut table =
        Table::new(&["NAME", "CRON", "IN WORDS", "TIME ZONE", "ENABLED", "LAST RUN", "NEXT RUN", "WHAT IT DOES"]);
    for schedule in schedules {
        let zone = schedule.zone(context.config.time_zone).unwrap_or(context.config.time_zone);
        let whose = if schedule.time_zone.is_none() { " (TIME_ZONE)" } else { "" };
        let next = match schedule.next_run_at.filter(|_| schedule.enabled) {
            Some(next) => format!("{} ({})", relative(next, now), local(next, &zone)),
            None if schedule.enabled => "when a scheduler runs".to_owned(),
            None => "-".to_owned(),
        };
        let words = schedule.cron.parse().map(|cron| in_words(&cron, Language::English)).unwrap_or_default();
        table.row([
            schedule.name,
            schedule.cron,
            words,
            format!("{}{whose}", zone.name()),
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
    let task = match operations::run_schedule(context, name, &Actor::command("recado schedules")).await {
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
    if !schedules::set_enabled(&mut session, name, enabled, &Actor::command("recado schedules"), context.clock.now())
        .await?
    {
        drop(session);
        return unknown(context, name).await;
    }
    session.commit().await?;
    say(&format!("{name} is {}", if enabled { "enabled" } else { "disabled" }));
    Ok(ExitCode::SUCCESS)
}

async fn change(context: &Context, set: Set) -> Outcome {
    let Set { name, what: What { cron, time_zone: zone, enabled } } = set;
    let (now, installation) = (context.clock.now(), context.config.time_zone);
    let mut session = context.db.begin().await?;
    if !schedules::change(
        &mut session,
        &name,
        &Change { cron, zone, enabled },
        &Actor::command("recado schedules"),
        now,
    )
    .await?
    {
        drop(session);
        return unknown(context, &name).await;
    }
    let schedule = schedules::find(&mut session, &name).await?.ok_or("the schedule is gone")?;
    session.commit().await?;
    let zone = schedule.zone(installation)?;
    let next = match schedule.due(now, installation)?.next {
        Some(next) if schedule.enabled => format!("runs next {} ({})", relative(next, now), local(next, &zone)),
        _ => "does not tick".to_owned(),
    };
    say(&format!("{name}: `{}` in {}; it {next}", schedule.cron, zone.name()));
    Ok(ExitCode::SUCCESS)
}

async fn unknown(context: &Context, name: &str) -> Outcome {
    let known = schedules::all(&mut context.db.read().await?).await?;
    let known: Vec<&str> = known.iter().map(|schedule| schedule.name.as_str()).collect();
    Err(format!("there is no schedule `{name}`; there are: {}", known.join(", ")).into())
}
