//! `recado api-key`: the keys of the API.

use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use recado_kernel::api_keys::{self, Scope, Scopes};
use recado_kernel::audit::Actor;
use recado_queue::context::Context;
use secrecy::ExposeSecret;

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::Table;
use crate::times::{relative, relative_or_dash};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a key and show it once; only a digest of it is kept
    #[command(
        after_help = "Examples:\n  recado api-key create crm\n  KEY=$(recado api-key create dashboard --scopes read)\n  curl -H \"Authorization: Bearer $KEY\" http://127.0.0.1:8000/api/v1/notifications/catalog/"
    )]
    Create {
        /// Who will use it
        name: String,
        /// What it may do
        #[arg(long, value_delimiter = ',', default_value = "dispatch,read", value_parser = PossibleValuesParser::new(Scope::WORDS).try_map(|word| word.parse::<Scope>()))]
        scopes: Vec<Scope>,
    },
    /// List keys; what is shown of each is only its beginning
    List,
    /// Revoke a key; requests with it get 401 from now on
    #[command(after_help = "Example:\n  recado api-key revoke rk_Zm9vYmF")]
    Revoke {
        /// Its id, or its beginning as `recado api-key list` shows it
        #[arg(value_name = "ID|PREFIX")]
        reference: String,
    },
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::Create { name, scopes } => create(&context, &name, Scopes(scopes), json).await,
        Command::List => list(&context, json).await,
        Command::Revoke { reference } => revoke(&context, &reference).await,
    }
}

async fn create(context: &Context, name: &str, scopes: Scopes, json: bool) -> Outcome {
    if name.trim().is_empty() {
        return Err("the name is blank: write who will use the key".into());
    }
    let mut session = context.db.begin().await?;
    let (id, key) =
        api_keys::create(&mut session, name, &scopes, &Actor::command("recado api-key"), context.clock.now()).await?;
    session.commit().await?;
    if json {
        print_json(&serde_json::json!({ "id": id, "name": name, "scopes": scopes.0, "key": key.expose_secret() }))?;
    } else {
        // The key alone on standard output, so that $(recado api-key create …) is the key.
        eprintln!(
            "Key for {name} ({}). It is shown now and never again:",
            scopes.0.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")
        );
        say(key.expose_secret());
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context, json: bool) -> Outcome {
    let keys = api_keys::list(&mut context.db.read().await?).await?;
    if json {
        print_json(&keys)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let mut table = Table::new(&["PREFIX", "NAME", "SCOPES", "CREATED", "LAST USED", "REVOKED", "ID"]);
    for key in keys {
        table.row([
            key.prefix,
            key.name,
            key.scopes.to_string(),
            relative(key.created_at, now),
            relative_or_dash(key.last_used_at, now),
            relative_or_dash(key.revoked_at, now),
            key.id.to_string(),
        ]);
    }
    if table.is_empty() {
        say("no keys; make one with `recado api-key create NAME`");
    } else {
        print(&table.render());
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(context: &Context, reference: &str) -> Outcome {
    let mut session = context.db.begin().await?;
    let actor = Actor::command("recado api-key");
    if api_keys::revoke(&mut session, reference, &actor, context.clock.now()).await?.is_none() {
        return Err(format!("no key in force has the id or prefix `{reference}`; see `recado api-key list`").into());
    }
    session.commit().await?;
    say(&format!("{reference} is revoked"));
    Ok(ExitCode::SUCCESS)
}
