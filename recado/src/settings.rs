//! `recado config`: the settings in force.

use std::process::ExitCode;

use clap::Subcommand;
use recado_kernel::config::{self, VARIABLES};
use recado_kernel::server_urls;
use serde_json::{Map, Value};

use crate::ledger;
use crate::output::{Outcome, print, print_json};
use crate::table::Table;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Print a .env file with every variable, its default and its meaning
    #[command(after_help = "Example:\n  recado config example > .env")]
    Example,
}

pub(crate) fn run(command: Option<&Command>, json: bool) -> Outcome {
    match command {
        Some(Command::Example) => print(&config::example()),
        None => show(json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(json: bool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Fails with what is wrong and how to fix it.
    let config = ledger::configure()?;
    let settings = VARIABLES.iter().map(|variable| {
        let set = set_in_environment(variable.name);
        let default = match variable.name {
            // Its default depends on RECADO_HOME.
            "DATABASE_URL" => config.database_url.shown(),
            _ => variable.default.to_owned(),
        };
        let value = masked(variable.name, &set.clone().unwrap_or(default));
        (variable.name, value, set.is_some())
    });
    if json {
        let object: Map<String, Value> = settings.map(|(name, value, _)| (name.to_owned(), value.into())).collect();
        print_json(&object)?;
        return Ok(());
    }
    let mut table = Table::new(&["VARIABLE", "VALUE", "FROM"]);
    for (name, value, is_set) in settings {
        let from = if is_set { "environment" } else { "default" };
        table.row([name.to_owned(), if value.is_empty() { "-".to_owned() } else { value }, from.to_owned()]);
    }
    print(&table.render());
    Ok(())
}

fn set_in_environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "it shows what was read, and decides nothing by it")]
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// A value that may be shown: of secrets only that they are there, of URLs everything but the password.
fn masked(name: &str, value: &str) -> String {
    if value.is_empty() {
        String::new()
    } else if is_secret(name) {
        "********".to_owned()
    } else {
        server_urls::without_password(value)
    }
}

fn is_secret(name: &str) -> bool {
    let says_so = |word| name.contains(word);
    name != "VAPID_PUBLIC_KEY" && (says_so("KEY") || says_so("PASSWORD") || says_so("SECRET") || says_so("TOKEN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_the_rest_is_not() {
        assert_eq!(masked("EMAIL_HOST_PASSWORD", "hunter2"), "********");
        assert_eq!(masked("API_KEYS", ""), "");
        assert_eq!(masked("VAPID_PUBLIC_KEY", "BPub"), "BPub");
        assert_eq!(masked("LISTEN", "127.0.0.1:8000"), "127.0.0.1:8000");
        assert_eq!(masked("DATABASE_URL", "postgresql://u:hunter2@h:5432/d"), "postgresql://u:********@h:5432/d");
        assert_eq!(masked("REDIS_URL", "redis://:hunter2@h/0"), "redis://:********@h/0");
    }

    #[test]
    fn the_example_file_is_the_table_of_variables() {
        let file = include_str!("../../.env.example");
        assert!(file == config::example(), "write it again: cargo run --bin recado config example > .env.example");
    }
}
