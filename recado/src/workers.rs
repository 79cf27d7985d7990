//! `recado workers`: who works now and on what, and the wish that one takes nothing more.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_queue::context::Context;
use recado_queue::workers::{self, Wish, WorkerRow};

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::Table;
use crate::times::{relative, span};

/// Who asks from here: a person who may use the command line may use the database too.
const COMMAND_LINE: &str = "recado workers";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List workers as their last heartbeats described them, with what each runs
    #[command(after_help = "Examples:\n  recado workers list\n  watch recado workers list")]
    List,
    /// Ask a worker to finish what it holds and take nothing more
    #[command(
        after_help = "Examples:\n  recado workers drain host-1:4711:a1b2c3\n  recado workers drain host-1:4711:a1b2c3 --undo\n\nIt hears of it at its next heartbeat, and stays idle until it is stopped or this is taken back."
    )]
    Drain {
        /// Id of the worker, as the list shows it
        id: String,
        /// Let it take tasks again
        #[arg(long)]
        undo: bool,
    },
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::List => list(&context, json).await,
        Command::Drain { id, undo } => drain(&context, &id, !undo, json).await,
    }
}

async fn list(context: &Context, json: bool) -> Outcome {
    let found = workers::list(&mut context.db.read().await?).await?;
    if json {
        print_json(&found)?;
    } else if found.is_empty() {
        say("no workers; start one with `recado worker`");
    } else {
        print(&describe(&found, context.clock.now(), context.config.worker.lease));
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(found: &[WorkerRow], now: Timestamp, lease: Duration) -> String {
    let mut table = Table::new(&["WORKER", "STATE", "READS", ">HOLDS", ">RUNS", "VERSION", "STARTED", "SEEN"]);
    let mut running = Table::new(&["WORKER", "TASK", "KIND", "FOR"]);
    for worker in found {
        let state = match (worker.is_live(now, lease), worker.drain_since) {
            (false, _) => "fell silent".to_owned(),
            (true, Some(_)) => format!("drains, asked by {}", worker.drain_by.as_deref().unwrap_or("-")),
            (true, None) => "works".to_owned(),
        };
        table.row([
            worker.id.clone(),
            state,
            worker.queues.clone(),
            worker.held.to_string(),
            worker.running.to_string(),
            worker.version.clone(),
            relative(worker.started_at, now),
            relative(worker.seen_at, now),
        ]);
        for task in &worker.running_tasks.0 {
            running.row([worker.id.clone(), task.task_id.to_string(), task.kind.clone(), span(now.since(task.since))]);
        }
    }
    let runs = if running.is_empty() { String::new() } else { format!("\n{}", running.render()) };
    format!("{}{runs}", table.render())
}

async fn drain(context: &Context, id: &str, drains: bool, json: bool) -> Outcome {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let wish = if drains { Wish::Drain } else { Wish::TakeBack };
    let wished = workers::wish(&mut session, id, wish, &Actor::command(COMMAND_LINE), now).await?;
    let (worker, _) = wished.ok_or_else(|| format!("there is no worker {id}; see `recado workers list`"))?;
    session.commit().await?;
    if json {
        print_json(&worker)?;
        return Ok(ExitCode::SUCCESS);
    }
    let within = context.config.worker.lease.as_secs() / 3;
    let what = if drains { "finishes what it holds and takes nothing more" } else { "takes tasks again" };
    say(&format!("{id} {what}; it hears of it within {within} s"));
    Ok(ExitCode::SUCCESS)
}
