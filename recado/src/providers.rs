//! `recado providers`: the accounts through which messages leave, and whether one would take a message now.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use recado_kernel::audit::{Act, Actor};
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_notifications::channels::Channel;
use recado_notifications::failures::Code;
use recado_notifications::jobs::CheckAccount;
use recado_notifications::provider_accounts::{self, ENVIRONMENT, ProviderAccount, ProviderAccountFilter};
use recado_queue::context::Context;
use recado_queue::operations;
use recado_queue::tasks::{self, Task};
use serde_json::{Value, json};

use crate::ledger;
use crate::output::{Outcome, count, print, print_json, printable, say};
use crate::table::Table;
use crate::times::relative;

/// How often a check is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List provider accounts in the order in which they are tried; secrets are never shown
    #[command(
        after_help = "Examples:\n  recado providers list\n  recado providers list --channel email --workshop taller-1"
    )]
    List(List),
    /// Have a worker try whether an account would take a message now; nothing is sent
    #[command(
        after_help = "Examples:\n  recado providers check email\n  recado providers check whatsapp sucursal-norte --wait && echo it works\n\nWith --wait it tells what the worker found; status 0 when the account works."
    )]
    Check {
        /// The channel of the account
        #[arg(value_parser = PossibleValuesParser::new(["email", "whatsapp"]).try_map(|word| word.parse::<Channel>()))]
        channel: Channel,
        /// Its name; env is the account of the environment
        #[arg(default_value = ENVIRONMENT)]
        account: String,
        /// Wait until a worker has tried it
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only this channel's
    #[arg(long, value_parser = PossibleValuesParser::new(Channel::WORDS).try_map(|word| word.parse::<Channel>()))]
    channel: Option<Channel>,
    /// Only those of this workshop
    #[arg(long, value_name = "TALLER_ID")]
    workshop: Option<String>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::List(options) => list(&context, options, json).await,
        Command::Check { channel, account, wait } => check(&context, channel, account, wait, json).await,
    }
}

async fn list(context: &Context, List { channel, workshop, limit }: List, json: bool) -> Outcome {
    let filter = ProviderAccountFilter { taller_id: workshop, channel };
    let (found, total) = provider_accounts::list(&mut context.db.read().await?, &filter, limit, 0).await?;
    if json {
        print_json(&found.iter().map(as_json).collect::<Vec<_>>())?;
    } else {
        print(&describe(&found, context));
    }
    let more = total.saturating_sub(i64::try_from(found.len()).unwrap_or(i64::MAX));
    if more > 0 {
        eprintln!("{} more; see --limit", count(usize::try_from(more).unwrap_or(usize::MAX), "account"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The accounts of the database, and before them that of the environment on each channel.
fn describe(found: &[ProviderAccount], context: &Context) -> String {
    let (now, config) = (context.clock.now(), &context.config);
    let of_environment = [(Channel::Email, config.email.is_some()), (Channel::Whatsapp, config.whatsapp.is_some())];
    let mut table = Table::new(&["CHANNEL", "NAME", "WORKSHOP", ">PRIORITY", "ON", "SECRET", "WRITTEN", "ID"]);
    for account in found {
        let yes_or_no = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
        table.row([
            account.channel.to_string(),
            account.name.clone(),
            account.taller_id.clone().unwrap_or_else(|| "any".to_owned()),
            account.priority.to_string(),
            yes_or_no(account.is_enabled),
            if account.secret.is_some() { "kept" } else { "none" }.to_owned(),
            relative(account.updated_at, now),
            account.id.to_string(),
        ]);
    }
    let mut text = if table.is_empty() { "no accounts in the database\n".to_owned() } else { table.render() };
    for (channel, is_set) in of_environment {
        let is = if is_set { "is set" } else { "is not set" };
        text.push_str(&format!("the account of the environment for {channel} {is}\n"));
    }
    text
}

async fn check(context: &Context, channel: Channel, account: String, wait: bool, json: bool) -> Outcome {
    if account != ENVIRONMENT {
        let found = provider_accounts::named(&mut context.db.read().await?, &account).await?;
        if found.is_none_or(|found| found.channel != channel) {
            return Err(format!("there is no account {account} for {channel}; see `recado providers list`").into());
        }
    }
    let act = Act::new("check", "provider_account", format!("{channel} {account}"));
    let job = CheckAccount { channel, account };
    let id = operations::enqueue(context, &job, act, &Actor::command("recado providers")).await?;
    if !wait {
        if json {
            print_json(&json!({ "task_id": id }))?;
        } else {
            say(&format!("a worker tries it; `recado --json tasks show {id}` has what it found"));
            ledger::say_when_it_is_noticed(context);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let task = ended(context, id).await?;
    let result = task.result.map(|result| result.0).unwrap_or_default();
    let works = result["works"] == true;
    if json {
        print_json(&json!({ "task_id": id, "works": works, "code": result["code"], "said": result["said"] }))?;
    } else {
        say(&told(&job, &result, task.error.as_deref()));
    }
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The task, when it has ended.
async fn ended(context: &Context, id: Id) -> Result<Task, Box<dyn std::error::Error + Send + Sync>> {
    loop {
        let task = tasks::find(&mut context.db.read().await?, id).await?;
        let task = task.ok_or_else(|| format!("the task {id} is gone"))?;
        if task.state.is_final() {
            return Ok(task);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn told(job: &CheckAccount, result: &Value, error: Option<&str>) -> String {
    let CheckAccount { channel, account } = job;
    let said = printable(result["said"].as_str().or(error).unwrap_or_default());
    if result["works"] == true {
        return format!("the account {account} would take a {channel} now: {said}");
    }
    let code = result["code"].as_str().unwrap_or("no code");
    let remedy = Code::find(code).map(|code| format!("\n  → {}", code.remedy(Language::English))).unwrap_or_default();
    format!("the account {account} would not take a {channel}: {code}: {said}{remedy}")
}

/// The same fields as `GET /api/v1/notifications/provider-accounts/{id}/`.
fn as_json(account: &ProviderAccount) -> Value {
    json!({
        "id": account.id,
        "taller_id": account.taller_id,
        "channel": account.channel,
        "name": account.name,
        "priority": account.priority,
        "is_enabled": account.is_enabled,
        "settings": account.settings.0,
        "has_secret": account.secret.is_some(),
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    })
}
