//! `recado partners`: who our partners are, how each stands, and what is done for one.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_partners::connections;
use recado_partners::events::PortalAction;
use recado_partners::integrations::{self, Integration};
use recado_partners::kyc::{self, Entry, KycStatus};
use recado_partners::partners::{self, Listed, Partner, PartnerFilter, Status};
use recado_partners::portal;
use recado_partners::registration;
use recado_queue::context::Context;
use recado_webhooks::deliveries::Status as DeliveryStatus;
use recado_webhooks::endpoints::{self, OVERLAP};
use recado_webhooks::replays::Conditions;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::ledger;
use crate::output::{Outcome, count, print, print_json, say};
use crate::table::{Table, shorten};
use crate::times::{When, parse_when, relative, relative_or_dash};
use crate::webhooks;

/// Lines of the history that are shown.
const HISTORY: i64 = 20;

/// Characters of a text that fit into a row.
const TEXT_WIDTH: usize = 60;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List partners, oldest first; deleted ones among them
    #[command(
        after_help = "Examples:\n  recado partners list --status SUSPENDIDO\n  recado partners list --kyc PENDIENTE\n  recado partners list --search abc"
    )]
    List(List),
    /// Show a partner with its integrations and who decided what about its verification
    #[command(
        after_help = "Examples:\n  recado partners show findyourwork\n  recado partners show 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a"
    )]
    Show {
        /// Its id in the registry, its slug, or its partner_id
        partner: String,
    },
    /// Give a partner with webhooks a new secret, shown this once; the one before it counts for another 24 hours
    #[command(
        after_help = "Examples:\n  recado partners rotate findyourwork\n  recado --json partners rotate findyourwork | jq -r .shared_secret\n\nIt counts both ways. Webhooks are signed with the new secret from now on, and `webhook-signature` lists both for 24 hours;\nthe partner may sign with either for as long."
    )]
    Rotate {
        /// Its slug, its partner_id, or its id in the registry
        partner: String,
    },
    /// Send a partner again what it missed, under the ids that it had
    #[command(
        after_help = "Examples:\n  recado partners replay findyourwork                       what was cancelled since it was last disabled\n  recado partners replay findyourwork --since 6h            everything of the last six hours\n  recado partners replay findyourwork --since 6h --yes --wait\n\nWithout --yes it says how many there are, and sends none. `recado webhooks replay` has more filters."
    )]
    Replay(Replay),
    /// Make a link under which a partner sees its own webhooks, without a login
    #[command(
        after_help = "Examples:\n  recado partners portal findyourwork\n  recado partners portal 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a --hours 72\n  recado partners portal findyourwork --revoke"
    )]
    Portal(PortalLink),
}

#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// Its slug, its partner_id, or its id in the registry
    partner: String,
    /// Everything since then, in place of what it missed: a time (2026-01-20T08:00:00Z), or how long ago (90s, 30m, 6h, 2d)
    #[arg(long, value_parser = parse_when)]
    since: Option<When>,
    /// Send them; without it they are only counted
    #[arg(long)]
    yes: bool,
    /// Wait until all have been handed over, and show how far it is
    #[arg(long)]
    wait: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PortalLink {
    /// The partner's id, its slug or its partner_id
    partner: String,
    /// For how many hours it is good
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=168))]
    hours: u64,
    /// Make all links useless that it was given so far, and make none
    #[arg(long, conflicts_with = "hours")]
    revoke: bool,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// How it stands with us
    #[arg(long, value_parser = PossibleValuesParser::new(Status::WORDS).try_map(|word| word.parse::<Status>()))]
    status: Option<Status>,
    /// Where its verification stands
    #[arg(long, value_parser = PossibleValuesParser::new(KycStatus::WORDS).try_map(|word| word.parse::<KycStatus>()))]
    kyc: Option<KycStatus>,
    /// Part of its name or e-mail address
    #[arg(long)]
    search: Option<String>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::List(options) => list(&context, options, json).await,
        Command::Show { partner } => show(&context, &partner, json).await,
        Command::Rotate { partner } => rotate(&context, &partner, json).await,
        Command::Replay(options) => replay(&context, options, json).await,
        Command::Portal(options) => portal_link(&context, options, json).await,
    }
}

async fn list(context: &Context, options: List, json: bool) -> Outcome {
    let List { status, kyc, search, limit } = options;
    let filter = PartnerFilter { status, kyc_status: kyc, name: None, search };
    let (found, total) = partners::list(&mut context.db.read().await?, &filter, limit, 0).await?;
    if json {
        let rows: Vec<_> = found
            .iter()
            .map(|Listed { partner, integrations }| {
                let mut row = as_json(partner);
                row["integrations"] = json!(integrations);
                row
            })
            .collect();
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let mut table = Table::new(&["NAME", "STATUS", "KYC", ">INTEGRATIONS", "REGISTERED", "ID"]);
    let shown = i64::try_from(found.len()).unwrap_or(i64::MAX);
    for Listed { partner, integrations } in found {
        table.row([
            shorten(&partner.name, TEXT_WIDTH),
            partner.status.to_string(),
            partner.kyc_status.to_string(),
            integrations.to_string(),
            relative(partner.created_at, now),
            partner.id.to_string(),
        ]);
    }
    if table.is_empty() {
        say("no such partners");
    } else {
        print(&table.render());
    }
    if total > shown {
        eprintln!("{} more; see --limit", total - shown);
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(context: &Context, named: &str, json: bool) -> Outcome {
    let mut session = context.db.read().await?;
    let found = match named.parse::<Id>() {
        Ok(id) => partners::find(&mut session, id).await?,
        Err(_) => connections::find(&mut session, named).await?.map(|connection| connection.partner),
    };
    let Some(partner) = found else {
        return Err(format!("there is no partner {named}; see `recado partners list`").into());
    };
    let id = partner.id;
    let integrations = integrations::of_partner(&mut session, id).await?;
    let (history, decisions) = kyc::history(&mut session, id, HISTORY, 0).await?;
    if json {
        let mut shown = as_json(&partner);
        shown["integrations"] = integrations.iter().map(integration_as_json).collect();
        shown["kyc_history"] = history.iter().map(entry_as_json).collect();
        print_json(&shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    print(&describe(&partner, now));
    if !integrations.is_empty() {
        say("");
        print(&integrations_table(integrations, now));
    }
    if !history.is_empty() {
        say("");
        print(&history_table(history, now));
        if decisions > HISTORY {
            let more = usize::try_from(decisions - HISTORY).unwrap_or_default();
            say(&format!("and {} before", count(more, "decision")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn rotate(context: &Context, partner: &str, json: bool) -> Outcome {
    let now = context.clock.now();
    let key = context.config.secret_key.as_ref().ok_or("SECRET_KEY is not set, so no secret can be kept")?;
    let mut session = context.db.begin().await?;
    let endpoint = webhooks::endpoint_of_partner(&mut session, partner).await?;
    let connection = connections::of_endpoint(&mut session, endpoint).await?.ok_or("its partner was deleted")?;
    // Two rotations at once would leave both ends with different secrets.
    partners::lock(&mut session, connection.partner.id).await?;
    if connection.partner.status == Status::Deleted {
        return Err(format!("{} was deleted", connection.partner.name).into());
    }
    let secret =
        registration::rotate(&mut session, &connection, key, &Actor::command("recado partners rotate"), now).await?;
    session.commit().await?;
    let secret = secret.text().expose_secret();
    if json {
        let until = now + OVERLAP;
        print_json(&json!({
            "partner_id": connection.partner.partner_id, "shared_secret": secret, "former_secret_until": until,
        }))?;
    } else {
        eprintln!(
            "The new secret of {}. It is not shown again; the former one counts for 24 hours.",
            connection.partner.name
        );
        say(secret);
    }
    Ok(ExitCode::SUCCESS)
}

async fn portal_link(context: &Context, options: PortalLink, json: bool) -> Outcome {
    let PortalLink { partner, hours, revoke } = options;
    let (config, now) = (&context.config, context.clock.now());
    let mut session = context.db.begin().await?;
    let found = match partner.parse::<Id>() {
        Ok(id) => connections::of_partner(&mut session, id).await?,
        Err(_) => connections::find(&mut session, &partner).await?,
    };
    let Some(connection) = found else {
        return Err(format!("there is no partner {partner} with webhooks; see `recado partners list`").into());
    };
    let (id, actor) = (connection.partner.id, Actor::command("recado partners portal"));
    if revoke {
        let rings = portal::revoke(&mut session, id, &actor, now).await?;
        session.commit().await?;
        context.ring(&rings).await;
        say("its links open nothing any more");
        return Ok(ExitCode::SUCCESS);
    }
    if connection.partner.status == Status::Deleted {
        return Err(format!("the partner {partner} is deleted, so it has no portal").into());
    }
    let Some(public_url) = &config.public_url else {
        return Err(
            "PUBLIC_URL is not set, so the link could not be opened; set it to where people reach the API".into()
        );
    };
    let Some(key) = &config.secret_key else {
        return Err("SECRET_KEY is not set, so the link cannot be signed; set it to that of the API".into());
    };
    let pass = portal::pass(&connection, Duration::from_secs(hours * 60 * 60), now);
    let rings = portal::record(&mut session, id, PortalAction::EnlaceCreado, None, &actor, now).await?;
    session.commit().await?;
    context.ring(&rings).await;
    let url = pass.url(public_url, key);
    if json {
        print_json(&json!({ "url": url, "expires_at": pass.expires_at }))?;
    } else {
        say(&url);
        eprintln!(
            "Good for {}. Who has it acts for the partner: send it to the partner alone.",
            count(hours as usize, "hour")
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn replay(context: &Context, Replay { partner, since, yes, wait }: Replay, json: bool) -> Outcome {
    let mut session = context.db.read().await?;
    let id = webhooks::endpoint_of_partner(&mut session, &partner).await?;
    let endpoint = endpoints::find(&mut session, id).await?.ok_or("its endpoint was deleted")?;
    drop(session);
    let conditions = match since {
        Some(since) => Conditions { created_from: Some(since.before(context.clock.now())), ..Conditions::default() },
        None => {
            let Some(disabled_at) = endpoint.disabled_at else {
                return Err(format!("{} was never disabled; --since says from when on", endpoint.name).into());
            };
            Conditions {
                status: Some(DeliveryStatus::Cancelled),
                finished_from: Some(disabled_at),
                ..Conditions::default()
            }
        }
    };
    webhooks::replay_many(context, id, conditions, yes, wait, json).await
}

fn describe(partner: &Partner, now: Timestamp) -> String {
    let mut table = Table::new(&["PARTNER", ""]);
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    for (what, value) in [
        ("id", partner.id.to_string()),
        ("name", partner.name.clone()),
        ("e-mail", or_dash(&partner.email)),
        ("contact", or_dash(&partner.contact_email)),
        ("telephone", or_dash(&partner.phone)),
        ("address", or_dash(&partner.address)),
        ("status", partner.status.to_string()),
        ("verification", partner.kyc_status.to_string()),
        ("in URLs", or_dash(&partner.slug)),
        ("registered", relative(partner.created_at, now)),
        ("changed", relative(partner.updated_at, now)),
        ("deleted", relative_or_dash(partner.deleted_at, now)),
    ] {
        table.row([what.to_owned(), value]);
    }
    table.render()
}

fn integrations_table(integrations: Vec<Integration>, now: Timestamp) -> String {
    let mut table = Table::new(&["INTEGRATION", "KIND", "MADE", "REVOKED", "WHY", "ID"]);
    for integration in integrations {
        table.row([
            shorten(&integration.name, TEXT_WIDTH),
            integration.kind.to_string(),
            relative(integration.created_at, now),
            relative_or_dash(integration.revoked_at, now),
            shorten(&integration.revocation_reason.unwrap_or_else(|| "-".to_owned()), TEXT_WIDTH),
            integration.id.to_string(),
        ]);
    }
    table.render()
}

fn history_table(history: Vec<Entry>, now: Timestamp) -> String {
    let mut table = Table::new(&["DECIDED", "FROM", "TO", "BY", "COMMENTS"]);
    for entry in history {
        table.row([
            relative(entry.at, now),
            entry.status_before.to_string(),
            entry.status_after.to_string(),
            entry.decided_by,
            shorten(&entry.comments.unwrap_or_else(|| "-".to_owned()), TEXT_WIDTH),
        ]);
    }
    table.render()
}

fn as_json(partner: &Partner) -> serde_json::Value {
    json!({
        "id": partner.id,
        "name": partner.name,
        "email": partner.email,
        "contact_email": partner.contact_email,
        "phone": partner.phone,
        "address": partner.address,
        "status": partner.status,
        "kyc_status": partner.kyc_status,
        "slug": partner.slug,
        "created_at": partner.created_at,
        "updated_at": partner.updated_at,
        "deleted_at": partner.deleted_at,
    })
}

/// Its configuration has asterisks in the place of secrets, and they stay.
fn integration_as_json(integration: &Integration) -> serde_json::Value {
    json!({
        "id": integration.id,
        "kind": integration.kind,
        "name": integration.name,
        "description": integration.description,
        "configuration": integration.configuration,
        "created_at": integration.created_at,
        "revoked_at": integration.revoked_at,
        "revocation_reason": integration.revocation_reason,
    })
}

fn entry_as_json(entry: &Entry) -> serde_json::Value {
    json!({
        "at": entry.at,
        "status_before": entry.status_before,
        "status_after": entry.status_after,
        "documents": entry.documents,
        "comments": entry.comments,
        "decided_by": entry.decided_by,
    })
}
