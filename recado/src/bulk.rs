//! `recado bulk`: actions on many tasks, how far each is, and how it is stopped.

use std::process::ExitCode;

use clap::Subcommand;
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_queue::bulk::{self, Bulk, Verdict};
use recado_queue::context::Context;
use serde_json::{Value, json};

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::Table;
use crate::times::relative;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List operations, the newest first
    #[command(after_help = "Example:\n  recado bulk list -n 5")]
    List {
        /// How many at most
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1_000))]
        limit: i64,
    },
    /// Show how far an operation is, what was passed over and why
    #[command(after_help = "Example:\n  watch recado bulk show 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Show {
        /// The operation's id
        id: Id,
    },
    /// Stop an operation after the chunk that is under way; what was done stays done
    #[command(after_help = "Example:\n  recado bulk stop 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Stop {
        /// The operation's id
        id: Id,
    },
    /// Go on with an operation that was stopped, from where it was
    #[command(after_help = "Example:\n  recado bulk resume 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Resume {
        /// The operation's id
        id: Id,
    },
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    let actor = Actor::command("recado bulk");
    match command {
        Command::List { limit } => list(&context, limit, json).await,
        Command::Show { id } => show(&context, id, json).await,
        Command::Stop { id } => {
            let stopped = bulk::stop(&context, id, &actor).await?;
            tell(&context, id, stopped, "stopped", "it is over already", json).await
        }
        Command::Resume { id } => {
            let resumed = bulk::resume(&context, id, &actor).await?;
            if resumed {
                ledger::say_when_it_is_noticed(&context);
            }
            tell(&context, id, resumed, "goes on", "it is not stopped", json).await
        }
    }
}

async fn list(context: &Context, limit: i64, json: bool) -> Outcome {
    let found = bulk::page(&mut context.db.read().await?, None, limit).await?;
    if json {
        print_json(&found.iter().map(as_json).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let mut table = Table::new(&["ID", "ACTION", "STATE", ">DONE", ">SEEN", ">TOTAL", "BY", "CREATED"]);
    for one in found {
        table.row([
            one.id.to_string(),
            one.action.as_str().to_owned(),
            one.state.as_str().to_owned(),
            one.done.to_string(),
            one.seen().to_string(),
            one.total.to_string(),
            one.actor.clone(),
            relative(one.created_at, now),
        ]);
    }
    if table.is_empty() {
        say("no operations");
    } else {
        print(&table.render());
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(context: &Context, id: Id, json: bool) -> Outcome {
    let found = find(context, id).await?;
    if json {
        print_json(&as_json(&found))?;
    } else {
        print(&describe(&found, context.clock.now()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn tell(context: &Context, id: Id, is_done: bool, done: &str, not: &str, json: bool) -> Outcome {
    let found = find(context, id).await?;
    if json {
        print_json(&as_json(&found))?;
    } else if is_done {
        say(&format!("{id} {done}: {} of {} were looked at", found.seen(), found.total));
    } else {
        say(&format!("{id} is {}: {not}", found.state));
    }
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn find(context: &Context, id: Id) -> Result<Bulk, Box<dyn std::error::Error + Send + Sync>> {
    let found = bulk::find(&mut context.db.read().await?, id).await?;
    found.ok_or_else(|| format!("there is no operation {id}; `recado bulk list` has them").into())
}

fn describe(bulk: &Bulk, now: Timestamp) -> String {
    let mut text = format!("Operation {}\n", bulk.id);
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:<9} {value}\n"));
    line("state", format!("{}, by {}, {}", bulk.state, bulk.actor, relative(bulk.created_at, now)));
    line("action", bulk.action.as_str().to_owned());
    line("progress", format!("{} of {}, {} done", bulk.seen(), bulk.total, bulk.done));
    if bulk.pace > 0 {
        line("pace", format!("{} a minute", bulk.pace));
    }
    if bulk.trial > 0 {
        let ended = match bulk.verdict {
            None => "result awaited",
            Some(Verdict::Passed) => "most of them did well",
            Some(Verdict::Failed) => "most of them failed again, so it was stopped",
            Some(Verdict::Silent) => "no result came in time, so it was stopped",
        };
        line("trial", format!("{} of {} tried; {ended}", bulk.tried.0.len(), bulk.trial));
    }
    for (label, reasons) in [("skipped", &bulk.skipped.0), ("left out", &bulk.left_out.0)] {
        for (reason, count) in reasons {
            line(label, format!("{count} {reason}"));
        }
    }
    text
}

pub(crate) fn as_json(bulk: &Bulk) -> Value {
    json!({
        "bulk_id": bulk.id, "action": bulk.action, "state": bulk.state, "selection": bulk.selection.0, "actor": bulk.actor,
        "created_at": bulk.created_at, "total": bulk.total, "done": bulk.done, "skipped": bulk.skipped.0,
        "left_out": bulk.left_out.0, "pace": bulk.pace, "trial": bulk.trial, "tried": bulk.tried.0, "verdict": bulk.verdict,
        "finished_at": bulk.finished_at,
    })
}
