//! `recado failures`: why messages did not arrive, by cause, and what to do about each.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use recado_kernel::clock::Timestamp;
use recado_kernel::language::Language;
use recado_notifications::failures::{self, Cause, Code};
use recado_notifications::retry::Group;
use serde_json::{Value, json};

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::Table;
use crate::times::relative;

#[derive(Args, Debug)]
pub(crate) struct Failures {
    /// How far back, in hours
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=720))]
    hours: u64,
    /// The language in which codes are explained: en or es
    #[arg(long, default_value = "en")]
    lang: Language,
}

pub(crate) async fn run(Failures { hours, lang }: Failures, json: bool) -> Outcome {
    let context = ledger::open().await?;
    let (now, window) = (context.clock.now(), Duration::from_secs(hours * 3600));
    let causes = failures::causes(&mut context.db.read().await?, window, now).await?;
    if json {
        let causes: Vec<Value> = causes.iter().map(|cause| as_json(cause, lang)).collect();
        print_json(&json!({ "hours": hours, "since": now - window, "causes": causes }))?;
    } else if causes.is_empty() {
        say(&format!("nothing failed within {hours} hours"));
    } else {
        print(&describe(&causes, lang, now));
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(causes: &[Cause], language: Language, now: Timestamp) -> String {
    let mut table = Table::new(&[">MESSAGES", "CAUSE", "FIRST", "LAST", "EXAMPLE"]);
    for cause in causes {
        table.row([
            cause.count.to_string(),
            Group::of(cause).to_string(),
            relative(cause.first, now),
            relative(cause.last, now),
            cause.example.to_string(),
        ]);
    }
    let mut text = table.render();
    let mut told: Vec<&str> = Vec::new();
    for code in causes.iter().filter_map(|cause| Code::find(cause.code.as_deref()?)) {
        if !told.contains(&code.code) {
            told.push(code.code);
            text.push_str(&format!("\n{}: {}\n  → {}\n", code.code, code.meaning(language), code.remedy(language)));
        }
    }
    text.push_str("\nTry one again: recado tasks retry --cause CAUSE, with --dry-run to see how many go.\n");
    text
}

/// The same fields as `GET /api/v1/operations/failures/`, and the cause as `recado tasks retry --cause` takes it.
fn as_json(cause: &Cause, language: Language) -> Value {
    let code = cause.code.as_deref().and_then(Code::find);
    json!({
        "cause": Group::of(cause).to_string(),
        "channel": cause.channel,
        "account": cause.account,
        "code": cause.code,
        "count": cause.count,
        "first_at": cause.first,
        "last_at": cause.last,
        "example_id": cause.example,
        "series": cause.series,
        "meaning": code.map(|code| code.meaning(language)),
        "remedy": code.map(|code| code.remedy(language)),
    })
}
