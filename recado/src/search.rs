//! `recado search`: one question that finds everything.

use std::process::ExitCode;

use clap::Args;
use recado_notifications::system::Notifications;
use recado_systems::search::{self, Found, Kind, LONGEST, Sought};
use serde_json::json;

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::Table;

#[derive(Args, Debug)]
pub(crate) struct Search {
    /// A name, a whole mail address or number in any spelling, a plate, a RES- code, or any id, ours or a provider's
    text: String,
}

pub(crate) async fn run(Search { text }: Search, json: bool) -> Outcome {
    if text.trim().is_empty() || text.chars().count() > LONGEST {
        return Err(format!("look for something of 1 to {LONGEST} characters").into());
    }
    let context = ledger::open().await?;
    let system = Notifications::new(context.clone());
    let mut session = context.db.read().await?;
    let catalogue = system.catalogue.current(&mut session).await?;
    let sought = Sought { text: &text, sees_addresses: false };
    let answer = search::find(&mut session, &catalogue, sought).await?;
    let is_found = !answer.found.is_empty();
    let more: Vec<Kind> = answer.more.into_iter().collect();
    if json {
        let shown = |one: &Found| json!({ "kind": one.kind, "key": one.key, "name": one.name, "detail": one.detail });
        print_json(&json!({ "results": answer.found.iter().map(shown).collect::<Vec<_>>(), "more_of": more }))?;
    } else if is_found {
        let mut table = Table::new(&["KIND", "KEY", "NAME", "DETAIL"]);
        for one in answer.found {
            table.row([one.kind.to_string(), one.key, one.name, one.detail]);
        }
        print(&table.render());
        for kind in more {
            eprintln!("there is more of the kind {kind}; say more of what you look for");
        }
    } else {
        say("nothing was found");
    }
    Ok(if is_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
