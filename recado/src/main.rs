//! The one binary: `recado up` runs everything, and the rest are the operator's commands.

mod api_keys;
mod audit;
mod bulk;
#[cfg(feature = "sandbox")]
mod conversation_sample;
mod customers;
mod database;
#[cfg(feature = "sandbox")]
mod demo;
mod doctor;
mod failures;
mod health;
mod ledger;
mod matrix;
mod messages;
mod operators;
mod output;
#[cfg(feature = "sandbox")]
mod partner_sample;
mod partners;
mod provider_settings;
mod providers;
mod queues;
#[cfg(feature = "sandbox")]
mod sample;
mod schedules;
mod search;
mod settings;
#[cfg(feature = "sandbox")]
mod stand_ins;
mod suppressions;
mod table;
mod tasks;
mod templates;
#[cfg(feature = "sandbox")]
mod temporary_folder;
mod times;
mod up;
mod users;
mod vapid;
mod webhooks;
mod whatsapp;
mod workers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use recado_kernel::errors::explain;

use crate::output::Outcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  recado up                          everything in one process, nothing to configure
  recado doctor                      what is wrong, and what to do about it
  recado messages show ID            why María did not get her message, and what happens next
  recado tasks list --state dead     what went wrong
  recado tasks retry --all-dead      try it again
  recado config example > .env       every setting, with its default and meaning

The environment (and a file .env) configures everything; `recado config` shows what it decided.
Exit status: 0 it went well, 1 it did not, 2 the command line is wrong.";

/// Background jobs and notifications: by e-mail, WhatsApp and Web Push
#[derive(Parser)]
#[command(name = "recado", version, about, after_help = EXAMPLES, arg_required_else_help = true)]
struct Program {
    /// Print JSON instead of tables, where a command prints data
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process: the API, a worker, the scheduler, and stand-ins for missing providers
    #[cfg_attr(
        not(feature = "sandbox"),
        command(about = "Run everything in one process: the API, a worker and the scheduler")
    )]
    #[command(
        after_help = "Examples:\n  recado up\n  recado up --listen 127.0.0.1:8001 --no-sample\n  DATABASE_URL=postgresql://… REDIS_URL=redis://… recado up"
    )]
    Up(up::Up),
    /// Send one sample message in a temporary folder, exchange webhooks with a partner, or play a reservation by WhatsApp; status 0 when it arrived
    #[cfg(feature = "sandbox")]
    #[command(
        after_help = "Examples:\n  recado demo && echo it works\n  recado demo partners\n  recado demo partners --fault 500\n  recado demo conversations"
    )]
    Demo(demo::Demo),
    /// Send one sample message; not in this build, which has no sandbox
    #[cfg(not(feature = "sandbox"))]
    Demo {
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        _what: Vec<String>,
    },
    /// Serve the HTTP API; the same program as recado-api
    #[command(
        after_help = "Example:\n  DATABASE_URL=postgresql://… REDIS_URL=redis://… LISTEN=0.0.0.0:8000 recado api"
    )]
    Api(recado_api::cli::ApiArgs),
    /// Run jobs; the same program as recado-worker
    #[command(
        after_help = "Examples:\n  recado worker\n  recado worker --concurrency 64\n  recado worker -Q notifications,webhooks"
    )]
    Worker(recado_worker::cli::WorkerArgs),
    /// Decide when things happen; the same program as recado-scheduler
    #[command(after_help = "Examples:\n  recado scheduler\n  recado scheduler --once")]
    Scheduler(recado_scheduler::cli::SchedulerArgs),
    /// Bring the database's schema up to date
    #[command(after_help = "Example:\n  DATABASE_URL=postgresql://… recado migrate")]
    Migrate,
    /// Load the catalogue that a workshop starts with; what is there already stays
    #[command(
        name = "seed_initial_data",
        alias = "seed-initial-data",
        after_help = "Examples:\n  recado seed_initial_data\n  recado seed_initial_data --force"
    )]
    SeedInitialData(database::Seed),
    /// Do nothing: the static files are part of the program
    #[command(name = "collectstatic", hide = true)]
    CollectStatic(database::CollectStatic),
    /// Find customers, vehicles, messages, tasks, partners and whatever has an id; status 0 when something was found
    #[command(
        after_help = "Examples:\n  recado search mendoza\n  recado search '099 123 4567'\n  recado search RES-ABC123\n  recado search 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a"
    )]
    Search(search::Search),
    /// Look at messages and at the story of each, cancel one, send one again
    #[command(subcommand)]
    Messages(messages::Command),
    /// Look at customers, say whether one can be reached now, forget one
    #[command(subcommand)]
    Customers(customers::Command),
    /// Look at templates, compare and restore their versions, send one to yourself
    #[command(subcommand)]
    Templates(templates::Command),
    /// Show on which channels each phase speaks, and in which words
    #[command(
        after_help = "Examples:\n  recado matrix\n  recado matrix mantenimiento-preventivo --target clients\n  recado matrix mantenimiento-preventivo --workshop taller-1"
    )]
    Matrix(matrix::Matrix),
    /// Look at addresses to which nothing is sent, suppress one, lift it
    #[command(subcommand)]
    Suppressions(suppressions::Command),
    /// Say why messages did not arrive, by cause, and what to do about each
    #[command(after_help = "Examples:\n  recado failures\n  recado failures --hours 168 --lang es")]
    Failures(failures::Failures),
    /// List provider accounts; have a worker try one
    #[command(subcommand)]
    Providers(providers::Command),
    /// Look at tasks, retry them, cancel them
    #[command(subcommand)]
    Tasks(tasks::Command),
    /// Follow actions on many tasks; stop one, and let it go on
    #[command(subcommand)]
    Bulk(bulk::Command),
    /// Show where work waits and who does it; pause and resume queues
    #[command(
        after_help = "Examples:\n  recado queues\n  recado queues pause notifications.whatsapp --reason 'session is down' --until 2h\n  watch recado queues\n  recado --json queues | jq '.unattended'"
    )]
    Queues {
        #[command(subcommand)]
        command: Option<queues::Command>,
    },
    /// List workers with what each runs; ask one to take nothing more
    #[command(subcommand)]
    Workers(workers::Command),
    /// Say what is wrong, since when, whom it hits and what to do; status 0 when nothing is
    #[command(
        after_help = "Examples:\n  recado doctor\n  recado doctor --lang es\n  recado --json doctor | jq .summary"
    )]
    Doctor(doctor::Doctor),
    /// Look at partners, give one a new secret, send again what it missed
    #[command(subcommand)]
    Partners(partners::Command),
    /// Give every organizer with an experience an operator: one without an organizer that has its name or address, else a new one
    #[command(
        name = "migrate_operators_to_organizers",
        alias = "migrate-operators-to-organizers",
        after_help = "Examples:\n  recado migrate_operators_to_organizers --dry-run\n  recado migrate_operators_to_organizers"
    )]
    MigrateOperators(operators::Migrate),
    /// Look at webhooks, send them again, find out why a signature is not believed
    #[command(subcommand)]
    Webhooks(webhooks::Command),
    /// WhatsApp of a tour operator: its session, chats, and what customers asked for
    #[command(subcommand)]
    Whatsapp(whatsapp::Command),
    /// Fetch all chats from the WhatsApp bridge
    #[command(
        name = "sync_whatsapp_chats",
        alias = "sync-whatsapp-chats",
        after_help = "Example:\n  recado --json sync_whatsapp_chats"
    )]
    SyncWhatsappChats,
    /// Fetch the history of one chat from the WhatsApp bridge
    #[command(
        name = "sync_whatsapp_messages",
        alias = "sync-whatsapp-messages",
        after_help = "Example:\n  recado sync_whatsapp_messages 593991234567@c.us"
    )]
    SyncWhatsappMessages(whatsapp::SyncMessages),
    /// List recurring work, run it, switch it on and off
    #[command(subcommand)]
    Schedules(schedules::Command),
    /// Make, list and revoke keys of the API
    #[command(name = "api-key", subcommand)]
    ApiKey(api_keys::Command),
    /// Make, list, reset and disable people who use the console
    #[command(subcommand)]
    User(users::Command),
    /// Say who changed what, when and from where, the newest first
    #[command(
        after_help = "Examples:\n  recado audit --since 24h\n  recado audit --kind template --subject 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a\n  recado audit --action reveal --actor ana@example.com"
    )]
    Audit(audit::Audit),
    /// Generate a pair of keys for Web Push
    #[command(after_help = "Example:\n  recado vapid-keys >> .env")]
    VapidKeys,
    /// Ask a process whether it is ready; status 0 when it answers 200
    #[command(after_help = "Examples:\n  recado health\n  recado health http://127.0.0.1:9100")]
    Health(health::Health),
    /// Show the configuration in force, with secrets masked
    #[command(after_help = "Examples:\n  recado config\n  recado config example > .env")]
    Config {
        #[command(subcommand)]
        command: Option<settings::Command>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Program { json, command } = Program::parse();
    match Box::pin(run(command, json)).await {
        Ok(status) => status,
        Err(error) => {
            eprintln!("recado: {}", explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command, json: bool) -> Outcome {
    match command {
        Command::Up(options) => up::run(options).await,
        #[cfg(feature = "sandbox")]
        Command::Demo(options) => demo::run(options).await,
        #[cfg(not(feature = "sandbox"))]
        Command::Demo { .. } => {
            Err("this build has no sandbox, which `recado demo` sends its message to. Run `make demo` in a \
                              clone of the repository, or build with the cargo feature `sandbox`"
                .into())
        }
        Command::Api(args) => {
            recado_api::cli::run(args).await.map_err(|error| explain(error.as_ref()))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Worker(args) => recado_worker::cli::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Scheduler(args) => {
            recado_scheduler::cli::run(&args).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Migrate => database::migrate().await,
        Command::SeedInitialData(options) => database::seed(options, json).await,
        Command::CollectStatic(_) => database::collect_static(),
        Command::Search(options) => search::run(options, json).await,
        Command::Messages(command) => messages::run(command, json).await,
        Command::Customers(command) => customers::run(command, json).await,
        Command::Templates(command) => templates::run(command, json).await,
        Command::Matrix(options) => matrix::run(options, json).await,
        Command::Suppressions(command) => suppressions::run(command, json).await,
        Command::Failures(options) => failures::run(options, json).await,
        Command::Providers(command) => providers::run(command, json).await,
        Command::Tasks(command) => tasks::run(command, json).await,
        Command::Bulk(command) => bulk::run(command, json).await,
        Command::Queues { command } => queues::run(command, json).await,
        Command::Workers(command) => workers::run(command, json).await,
        Command::Doctor(options) => doctor::run(options, json).await,
        Command::Partners(command) => partners::run(command, json).await,
        Command::MigrateOperators(options) => operators::migrate(options, json).await,
        Command::Webhooks(command) => webhooks::run(command, json).await,
        Command::Whatsapp(command) => whatsapp::run(command, json).await,
        Command::SyncWhatsappChats => whatsapp::sync_chats(json).await,
        Command::SyncWhatsappMessages(options) => whatsapp::sync_messages(options, json).await,
        Command::Schedules(command) => schedules::run(command, json).await,
        Command::ApiKey(command) => api_keys::run(command, json).await,
        Command::User(command) => users::run(command, json).await,
        Command::Audit(options) => audit::run(options, json).await,
        Command::VapidKeys => vapid::run(json),
        Command::Health(options) => health::run(options).await,
        Command::Config { command } => settings::run(command.as_ref(), json),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Program::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in Program::command().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.len() > 10, "{} says nothing", command.get_name());
        }
    }
}
