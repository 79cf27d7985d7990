//! `recado audit`: who changed what, when and from where.

use std::process::ExitCode;

use clap::Args;
use recado_kernel::audit::{self, AuditFilter, Entry};
use recado_kernel::ids::Id;
use serde_json::{Value, json};

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::{Table, shorten};
use crate::times::{When, parse_when, relative};

/// Characters of a change that fit into a row; `--json` has all of it.
const CHANGE_WIDTH: usize = 80;

#[derive(Args, Debug)]
pub(crate) struct Audit {
    /// Only what this person, key or command did, as the list names them
    #[arg(long)]
    actor: Option<String>,
    /// Only this action: change, retry, reveal, …
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to things of this kind: task, template, customer, user, …
    #[arg(long)]
    kind: Option<String>,
    /// Only what was done to the thing with this id or name
    #[arg(long)]
    subject: Option<String>,
    /// Only what was done since then: a time (2026-01-20T08:00:00Z), or how long ago (90s, 30m, 6h, 2d)
    #[arg(long, value_parser = parse_when)]
    since: Option<When>,
    /// Only entries that are older than this one
    #[arg(long, value_name = "ID")]
    before: Option<Id>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

pub(crate) async fn run(options: Audit, json: bool) -> Outcome {
    let context = ledger::open().await?;
    let now = context.clock.now();
    let filter = AuditFilter {
        actor: options.actor,
        action: options.action,
        subject_kind: options.kind,
        subject: options.subject,
        since: options.since.map(|since| since.before(now)),
    };
    let mut found =
        audit::page(&mut context.db.read().await?, &filter, options.before, options.limit.saturating_add(1)).await?;
    let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|entry| entry.id);
    if json {
        print_json(&found.iter().map(as_json).collect::<Vec<_>>())?;
    } else if found.is_empty() {
        say("nothing was done that fits");
    } else {
        let mut table = Table::new(&["WHEN", "WHO", "FROM", "ACTION", "KIND", "SUBJECT", "CHANGE"]);
        for entry in found {
            let change = change_of(&entry);
            table.row([
                relative(entry.at, now),
                format!("{} ({})", entry.actor, entry.actor_kind),
                if entry.address.is_empty() { "-".to_owned() } else { entry.address },
                entry.action,
                entry.subject_kind,
                entry.subject,
                shorten(&change, CHANGE_WIDTH),
            ]);
        }
        print(&table.render());
    }
    if let Some(last) = last.filter(|_| has_more) {
        // Beside the list, which may be JSON.
        eprintln!("there are more; go on with --before {last}");
    }
    Ok(ExitCode::SUCCESS)
}

/// `{"active":true} → {"active":false}`.
fn change_of(entry: &Entry) -> String {
    let shown = |value: &Value| value.to_string();
    let (before, after) =
        (entry.before.as_ref().map(|one| shown(&one.0)), entry.after.as_ref().map(|one| shown(&one.0)));
    match (before, after) {
        (Some(before), Some(after)) => format!("{before} → {after}"),
        (Some(before), None) => format!("{before} →"),
        (None, Some(after)) => after,
        (None, None) => String::new(),
    }
}

/// The same fields as `GET /api/v1/operations/audit/`.
fn as_json(entry: &Entry) -> Value {
    let said = |text: &str| Some(text).filter(|text| !text.is_empty()).map(str::to_owned);
    json!({
        "id": entry.id,
        "at": entry.at,
        "actor_kind": entry.actor_kind,
        "actor": entry.actor,
        "address": said(&entry.address),
        "action": entry.action,
        "subject_kind": entry.subject_kind,
        "subject": entry.subject,
        "before": entry.before.as_ref().map(|before| &before.0),
        "after": entry.after.as_ref().map(|after| &after.0),
        "request_id": said(&entry.request_id),
    })
}
