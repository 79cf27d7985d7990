//! `recado webhooks endpoints` and `recado webhooks allow`: where webhooks go, and into which networks one of them may.

use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::networks::Network;
use recado_queue::context::Context;
use recado_webhooks::deliveries;
use recado_webhooks::endpoints::{self, Endpoint, EndpointFilter, Status};
use serde_json::{Value, json};

use super::{TEXT_WIDTH, endpoint_of_partner};
use crate::output::{Outcome, print, print_json, say};
use crate::table::{Table, shorten};
use crate::times::{relative_or_dash, span};

#[derive(Args, Debug)]
pub(crate) struct Endpoints {
    /// active, paused or disabled
    #[arg(long, value_parser = PossibleValuesParser::new(Status::WORDS).try_map(|word| word.parse::<Status>()))]
    status: Option<Status>,
    /// Part of the name or of the URL
    #[arg(long)]
    search: Option<String>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false, id = "whose")]
pub(crate) struct Whose {
    /// The endpoint of this partner: its slug, its partner_id, or its id in the registry
    #[arg(long, group = "whose")]
    partner: Option<String>,
    /// This endpoint
    #[arg(long, group = "whose")]
    endpoint: Option<Id>,
}

#[derive(Args, Debug)]
pub(crate) struct Allow {
    #[command(flatten)]
    whose: Whose,
    /// Addresses or networks, e.g. 10.20.0.0/16; they replace those of before
    #[arg(value_name = "NETWORK", required_unless_present = "none", num_args = 1..=20)]
    networks: Vec<String>,
    /// Allow none besides those of the installation
    #[arg(long, conflicts_with = "networks")]
    none: bool,
}

pub(crate) async fn list(context: &Context, options: Endpoints, json: bool) -> Outcome {
    let Endpoints { status, search, limit } = options;
    let filter = EndpointFilter { status, search, system: None };
    let (found, total) = endpoints::list(&mut context.db.read().await?, &filter, limit, 0).await?;
    if json {
        print_json(&found.iter().map(as_json).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (now, shown) = (context.clock.now(), i64::try_from(found.len()).unwrap_or(i64::MAX));
    let mut table =
        Table::new(&["NAME", "STATUS", ">SENT", ">FAILED", "LAST SUCCESS", "CIRCUIT", "NETWORKS", "URL", "ID"]);
    for endpoint in found {
        table.row([
            shorten(&endpoint.name, TEXT_WIDTH),
            standing(&endpoint),
            endpoint.health.sent_count.to_string(),
            endpoint.health.failed_count.to_string(),
            relative_or_dash(endpoint.health.last_success_at, now),
            circuit(&endpoint, now),
            shorten(&or_dash(endpoint.allowed_networks().join(" ")), TEXT_WIDTH),
            shorten(without_query(&endpoint.url), TEXT_WIDTH),
            endpoint.id.to_string(),
        ]);
    }
    if table.is_empty() {
        say("no such endpoints");
    } else {
        print(&table.render());
    }
    if total > shown {
        eprintln!("{} more; see --limit", total - shown);
    }
    Ok(ExitCode::SUCCESS)
}

fn standing(endpoint: &Endpoint) -> String {
    match endpoint.disabled_reason {
        Some(reason) => format!("{} ({reason})", endpoint.status),
        None => endpoint.status.to_string(),
    }
}

fn circuit(endpoint: &Endpoint, now: Timestamp) -> String {
    match endpoint.health.open_until.filter(|until| now < *until) {
        Some(until) => format!("open for {}", span(until.since(now))),
        None => "closed".to_owned(),
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// What stands behind the path may be secret.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn as_json(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id,
        "system": endpoint.system,
        "name": endpoint.name,
        "url": without_query(&endpoint.url),
        "events": endpoint.events.as_ref().map(|events| &events.0),
        "status": endpoint.status,
        "disabled_reason": endpoint.disabled_reason,
        "allowed_networks": endpoint.allowed_networks(),
        "sent": endpoint.health.sent_count,
        "failed": endpoint.health.failed_count,
        "last_success_at": endpoint.health.last_success_at,
        "open_until": endpoint.health.open_until,
    })
}

pub(crate) async fn allow(context: &Context, options: Allow, json: bool) -> Outcome {
    let Allow { whose, networks, none: _ } = options;
    if let Some(wrong) = networks.iter().find(|network| network.parse::<Network>().is_err()) {
        return Err(format!("{wrong} is no network; write an address or a network, e.g. 10.20.0.0/16").into());
    }
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let id = match (&whose.partner, whose.endpoint) {
        (Some(partner), _) => endpoint_of_partner(&mut session, partner).await?,
        (None, id) => id.ok_or("say whose: --partner or --endpoint")?,
    };
    let before = endpoints::lock(&mut session, id).await?;
    let before = before.ok_or_else(|| format!("there is no endpoint {id}; see `recado webhooks endpoints`"))?;
    let actor = Actor::command("recado webhooks allow");
    let changed = endpoints::allow_networks(&mut session, &before, &networks, &actor, now).await?;
    // What waited because its address was refused goes out at once.
    let rings = if changed && before.status == Status::Active {
        deliveries::resume(&mut session, id, now).await?
    } else {
        Vec::new()
    };
    let after = endpoints::find(&mut session, id).await?.ok_or("the endpoint was deleted")?;
    session.commit().await?;
    context.ring(&rings).await;
    if let Err(error) = after.reach(&context.config.reach_of_webhooks()).check_url(&after.url) {
        eprintln!("{} is not reached as things stand: {error}", without_query(&after.url));
    }
    if json {
        print_json(&as_json(&after))?;
    } else if networks.is_empty() {
        say(&format!("webhooks of {} go no further than the installation's", after.name));
    } else {
        say(&format!("webhooks of {} may go into {} too", after.name, networks.join(" ")));
    }
    Ok(ExitCode::SUCCESS)
}
