//! `recado webhooks`: what was sent to partners, sending it again, and why a signature is not believed.

mod endpoints;
mod verify;

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_partners::connections;
use recado_queue::context::Context;
use recado_webhooks::deliveries::attempts::{self, Attempt};
use recado_webhooks::deliveries::{self, Delivery, DeliveryFilter, Status};
use recado_webhooks::endpoints::{self as stored, DisabledReason, Endpoint, Status as EndpointStatus};
use recado_webhooks::operations;
use recado_webhooks::replays::{self, Conditions};
use serde_json::{Value, json};

use self::endpoints::{Allow, Endpoints};
use crate::ledger;
use crate::output::{Outcome, count, print, print_json, say};
use crate::table::{Table, shorten};
use crate::times::{When, parse_when, relative, relative_or_dash, span};

/// Characters of a reason or of a type that fit into a row.
const TEXT_WIDTH: usize = 60;

/// How often a replay is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List webhooks that were sent, the newest first
    #[command(
        after_help = "Examples:\n  recado webhooks list --status failed --since 24h\n  recado webhooks list --partner findyourwork --event-type event.updated\n  recado webhooks list --endpoint 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a --limit 100"
    )]
    List(List),
    /// Show a webhook with every attempt: what was sent, and how it was answered
    #[command(
        after_help = "Example:\n  recado webhooks show 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a\n\nValues of headers that are secret are masked, as they are in the database."
    )]
    Show {
        /// The delivery's id, as the list shows it
        id: Id,
    },
    /// Send webhooks again: the same bytes under the same webhook-id, so that who has one already can tell
    #[command(
        after_help = "Examples:\n  recado webhooks replay 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a         one\n  recado webhooks replay --partner findyourwork --failed --since 6h   what never arrived since this morning\n  recado webhooks replay --partner findyourwork --since 2026-01-20T08:00:00Z --yes --wait\n\nWithout --yes it says how many there are, and sends none. A replay runs as a task, in steps; --wait shows how far it is."
    )]
    Replay(Replay),
    /// List where webhooks go, and how each endpoint took them
    #[command(
        after_help = "Examples:\n  recado webhooks endpoints --status disabled\n  recado webhooks endpoints --search findyourwork"
    )]
    Endpoints(Endpoints),
    /// Let the webhooks of one endpoint go into private networks that are closed to all others
    #[command(
        after_help = "Examples:\n  recado webhooks allow --partner findyourwork 10.20.0.0/16\n  recado webhooks allow --endpoint 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a 10.20.0.7 10.30.0.0/24\n  recado webhooks allow --partner findyourwork --none\n\nOUTBOUND_ALLOWED_NETWORKS opens networks to all endpoints. A link-local address or a metadata service counts only when it is\nwritten alone. The audit log keeps who allowed what."
    )]
    Allow(Allow),
    /// Say why the signature of a webhook is believed or not, and what its sender should change
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Verify),
}

/// Which deliveries.
#[derive(Args, Debug, Default)]
struct Which {
    /// Only those to this partner: its slug, its partner_id, or its id in the registry
    #[arg(long, conflicts_with = "endpoint")]
    partner: Option<String>,
    /// Only those to this endpoint
    #[arg(long)]
    endpoint: Option<Id>,
    /// Only this type of event
    #[arg(long)]
    event_type: Option<String>,
    /// Only those that were made since then: a time (2026-01-20T08:00:00Z), or how long ago (90s, 30m, 6h, 2d)
    #[arg(long, value_parser = parse_when)]
    since: Option<When>,
    /// Only those that were made before then
    #[arg(long, value_parser = parse_when)]
    until: Option<When>,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// pending, delivered, failed, cancelled or skipped
    #[arg(long, value_parser = PossibleValuesParser::new(Status::WORDS).try_map(|word| word.parse::<Status>()))]
    status: Option<Status>,
    #[command(flatten)]
    which: Which,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// One delivery, in place of a filter
    #[arg(value_name = "ID", conflicts_with_all = ["partner", "endpoint", "event_type", "since", "until", "failed", "status"])]
    id: Option<Id>,
    /// Only those that never arrived
    #[arg(long, conflicts_with = "status")]
    failed: bool,
    /// Only this status
    #[arg(long, value_parser = PossibleValuesParser::new(Status::WORDS).try_map(|word| word.parse::<Status>()))]
    status: Option<Status>,
    #[command(flatten)]
    which: Which,
    /// Send them; without it they are only counted
    #[arg(long)]
    yes: bool,
    /// Wait until all have been handed over, and show how far it is
    #[arg(long)]
    wait: bool,
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    match command {
        Command::Verify(options) => verify::run(options, json).await,
        Command::List(options) => list(&ledger::open().await?, options, json).await,
        Command::Endpoints(options) => endpoints::list(&ledger::open().await?, options, json).await,
        Command::Allow(options) => endpoints::allow(&ledger::open().await?, options, json).await,
        Command::Show { id } => show(&ledger::open().await?, id, json).await,
        Command::Replay(options) => replay(&ledger::open().await?, options, json).await,
    }
}

impl Which {
    async fn filter(
        &self,
        session: &mut Session,
        status: Option<Status>,
        now: Timestamp,
    ) -> Result<DeliveryFilter, Error> {
        let endpoint_id = match &self.partner {
            Some(partner) => Some(endpoint_of_partner(session, partner).await?),
            None => self.endpoint,
        };
        Ok(DeliveryFilter {
            endpoint_id,
            status,
            event_type: self.event_type.clone(),
            created_from: self.since.map(|since| since.before(now)),
            created_until: self.until.map(|until| until.before(now)),
            ..DeliveryFilter::default()
        })
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The endpoint of a partner by whatever it is called.
pub(crate) async fn endpoint_of_partner(session: &mut Session, partner: &str) -> Result<Id, Error> {
    let found = match (connections::find(session, partner).await?, partner.parse::<Id>()) {
        (Some(found), _) => Some(found),
        (None, Ok(id)) => connections::of_partner(session, id).await?,
        (None, Err(_)) => None,
    };
    let found =
        found.ok_or_else(|| format!("no partner with webhooks is called {partner}; see `recado partners list`"))?;
    Ok(found.endpoint_id)
}

async fn list(context: &Context, List { status, which, limit }: List, json: bool) -> Outcome {
    let now = context.clock.now();
    let mut session = context.db.read().await?;
    let filter = which.filter(&mut session, status, now).await?;
    let (found, total) = deliveries::list(&mut session, &filter, limit, 0).await?;
    let mut needed: Vec<Id> = found.iter().map(|delivery| delivery.endpoint_id).collect();
    needed.sort_unstable();
    needed.dedup();
    let endpoints = stored::all(&mut session, &needed).await?;
    if json {
        print_json(&found.iter().map(|delivery| as_json(delivery, &endpoints)).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let mut table =
        Table::new(&["ID", "ENDPOINT", "EVENT", "STATUS", ">ATTEMPTS", ">ANSWER", "MADE", "NEXT", "REASON"]);
    for delivery in found {
        table.row([
            delivery.id.to_string(),
            shorten(name_of(delivery.endpoint_id, &endpoints), TEXT_WIDTH),
            shorten(&delivery.event_type, TEXT_WIDTH),
            delivery.status.to_string(),
            delivery.attempts.to_string(),
            delivery.last_status_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
            relative(delivery.created_at, now),
            relative_or_dash(delivery.next_attempt_at, now),
            shorten(delivery.reason.as_deref().unwrap_or_default(), TEXT_WIDTH),
        ]);
    }
    if table.is_empty() {
        say("no such webhooks");
    } else {
        print(&table.render());
    }
    if total > shown {
        eprintln!("{} more; see --limit", total - shown);
    }
    Ok(ExitCode::SUCCESS)
}

fn name_of(id: Id, endpoints: &[Endpoint]) -> &str {
    endpoints.iter().find(|endpoint| endpoint.id == id).map_or("(deleted)", |endpoint| &endpoint.name)
}

fn as_json(delivery: &Delivery, endpoints: &[Endpoint]) -> Value {
    json!({
        "id": delivery.id,
        "endpoint_id": delivery.endpoint_id,
        "endpoint": name_of(delivery.endpoint_id, endpoints),
        "message_id": delivery.message_id,
        "event_type": delivery.event_type,
        "subject": delivery.subject,
        "status": delivery.status,
        "reason": delivery.reason,
        "is_test": delivery.is_test,
        "attempt_count": delivery.attempts,
        "last_status_code": delivery.last_status_code,
        "next_attempt_at": delivery.next_attempt_at,
        "replay_of": delivery.replay_of,
        "created_at": delivery.created_at,
        "finished_at": delivery.finished_at,
    })
}

async fn show(context: &Context, id: Id, json: bool) -> Outcome {
    let now = context.clock.now();
    let mut session = context.db.read().await?;
    let Some(delivery) = deliveries::find(&mut session, id).await? else {
        return Err(format!("there is no webhook {id}; see `recado webhooks list`").into());
    };
    let endpoints = stored::all(&mut session, &[delivery.endpoint_id]).await?;
    let attempts = attempts::of(&mut session, id).await?;
    if json {
        let mut shown = as_json(&delivery, &endpoints);
        shown["body"] = delivery.body.clone().into();
        shown["attempts"] = attempts.iter().map(attempt_as_json).collect();
        print_json(&shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&describe(&delivery, &endpoints, now));
    for attempt in &attempts {
        say("");
        print(&describe_attempt(attempt, now));
    }
    say("");
    say(delivery.body.as_deref().unwrap_or("(the body is no longer kept)"));
    Ok(ExitCode::SUCCESS)
}

fn describe(delivery: &Delivery, endpoints: &[Endpoint], now: Timestamp) -> String {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let endpoint = format!("{} ({})", name_of(delivery.endpoint_id, endpoints), delivery.endpoint_id);
    let mut table = Table::new(&["WEBHOOK", ""]);
    for (what, value) in [
        ("id", delivery.id.to_string()),
        ("endpoint", endpoint),
        ("webhook-id", delivery.message_id.to_string()),
        ("event", delivery.event_type.clone()),
        ("about", or_dash(&delivery.subject)),
        ("status", delivery.status.to_string()),
        ("reason", or_dash(&delivery.reason)),
        ("attempts", delivery.attempts.to_string()),
        ("next attempt", relative_or_dash(delivery.next_attempt_at, now)),
        ("made", relative(delivery.created_at, now)),
        ("ended", relative_or_dash(delivery.finished_at, now)),
        ("repeats", delivery.replay_of.map_or_else(|| "-".to_owned(), |id| id.to_string())),
    ] {
        table.row([what.to_owned(), value]);
    }
    table.render()
}

fn describe_attempt(attempt: &Attempt, now: Timestamp) -> String {
    let took = span(Duration::from_millis(attempt.duration_ms.unsigned_abs().into()));
    let answer = match (attempt.status_code, &attempt.error) {
        (Some(code), None) => format!("HTTP {code}"),
        (_, Some(error)) => error.clone(),
        (None, None) => "-".to_owned(),
    };
    let mut table = Table::new(&["ATTEMPT", ""]);
    table.row([attempt.number.to_string(), format!("{}, took {took}: {answer}", relative(attempt.started_at, now))]);
    for (name, value) in attempt.request_headers.as_object().into_iter().flatten() {
        table.row([format!("> {name}"), value.as_str().map_or_else(|| value.to_string(), str::to_owned)]);
    }
    if let Some(response) = attempt.response.as_deref().filter(|response| !response.is_empty()) {
        table.row(["< body".to_owned(), shorten(response, 500)]);
    }
    table.render()
}

fn attempt_as_json(attempt: &Attempt) -> Value {
    json!({
        "number": attempt.number,
        "started_at": attempt.started_at,
        "duration_ms": attempt.duration_ms,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "request_headers": attempt.request_headers.0,
        "response": attempt.response,
    })
}

async fn replay(context: &Context, options: Replay, json: bool) -> Outcome {
    let now = context.clock.now();
    if let Some(id) = options.id {
        return replay_one(context, id, json).await;
    }
    let status = if options.failed { Some(Status::Failed) } else { options.status };
    let mut session = context.db.read().await?;
    let filter = options.which.filter(&mut session, status, now).await?;
    drop(session);
    let Some(endpoint_id) = filter.endpoint_id else {
        eprintln!("say whose webhooks: an ID, --partner or --endpoint");
        return Ok(ExitCode::from(2));
    };
    let conditions = Conditions {
        status: filter.status,
        event_type: filter.event_type,
        created_from: filter.created_from,
        created_until: filter.created_until,
        finished_from: None,
    };
    replay_many(context, endpoint_id, conditions, options.yes, options.wait, json).await
}

/// Counts what fits, and sends it again when it is wanted.
pub(crate) async fn replay_many(
    context: &Context,
    endpoint_id: Id,
    conditions: Conditions,
    yes: bool,
    wait: bool,
    json: bool,
) -> Outcome {
    let mut session = context.db.begin().await?;
    let endpoint = stored::find(&mut session, endpoint_id).await?;
    let endpoint = endpoint.ok_or_else(|| format!("there is no endpoint {endpoint_id}"))?;
    let now = context.clock.now();
    let number = replays::count(&mut session, endpoint_id, &conditions, now).await?;
    let noun = count(usize::try_from(number).unwrap_or(usize::MAX), "webhook");
    if !yes || number == 0 {
        if json {
            print_json(&json!({ "endpoint_id": endpoint_id, "found": number, "replay_id": null }))?;
        } else if number == 0 {
            say(&format!("nothing to send again to {}", endpoint.name));
        } else {
            say(&format!("{noun} would be sent again to {}; --yes sends them", endpoint.name));
        }
        return Ok(ExitCode::SUCCESS);
    }
    check_active(&endpoint)?;
    let actor = Actor::command("recado webhooks replay");
    let (id, rings) =
        operations::replay_many(&mut session, endpoint_id, &conditions, &actor, context.clock.now()).await?;
    session.commit().await?;
    context.ring(&rings).await;
    if !json {
        say(&format!("{noun} of {} will be sent again (replay {id})", endpoint.name));
        ledger::say_when_it_is_noticed(context);
    }
    let replayed = if wait { Some(wait_for(context, id, number, json).await?) } else { None };
    if json {
        print_json(&json!({
            "endpoint_id": endpoint_id, "found": number, "replay_id": id, "replayed": replayed,
        }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows how far a replay is until it has handed all over.
async fn wait_for(context: &Context, id: Id, number: i64, json: bool) -> Result<i32, Error> {
    let mut shown = -1;
    loop {
        let replay = replays::find(&mut context.db.read().await?, id).await?;
        let Some(replay) = replay else { return Err("the replay no longer exists".into()) };
        if !json && replay.replayed != shown {
            eprintln!("{} of {number}", replay.replayed);
            shown = replay.replayed;
        }
        if replay.finished_at.is_some() {
            return Ok(replay.replayed);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn replay_one(context: &Context, id: Id, json: bool) -> Outcome {
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let Some(delivery) = deliveries::find(&mut session, id).await? else {
        return Err(format!("there is no webhook {id}; see `recado webhooks list`").into());
    };
    let endpoint = stored::find(&mut session, delivery.endpoint_id).await?;
    let endpoint = endpoint.ok_or("its endpoint was deleted")?;
    check_active(&endpoint)?;
    if delivery.body.is_none() {
        return Err("its body is no longer kept (WEBHOOK_RETENTION_DAYS)".into());
    }
    let actor = Actor::command("recado webhooks replay");
    let (again, rings) = operations::replay_one(&mut session, &delivery, &actor, now).await?;
    session.commit().await?;
    context.ring(&rings).await;
    if json {
        print_json(&as_json(&again, std::slice::from_ref(&endpoint)))?;
    } else {
        say(&format!("it goes to {} again, as {}", endpoint.name, again.id));
        ledger::say_when_it_is_noticed(context);
    }
    Ok(ExitCode::SUCCESS)
}

/// What is sent to a disabled endpoint would be cancelled at once.
fn check_active(endpoint: &Endpoint) -> Result<(), String> {
    let name = &endpoint.name;
    match (endpoint.status, endpoint.disabled_reason) {
        (EndpointStatus::Active, _) => Ok(()),
        (EndpointStatus::Paused, _) => {
            eprintln!("{name} is paused: they wait until it is resumed");
            Ok(())
        }
        (EndpointStatus::Disabled, Some(DisabledReason::Owner)) => {
            Err(format!("{name} is not active: its partner is suspended, inactive, deleted or revoked"))
        }
        (EndpointStatus::Disabled, _) => {
            Err(format!("{name} is disabled; resume it first: POST /api/v1/webhooks/endpoints/{}/resume/", endpoint.id))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_or_spans() {
        let now = Timestamp::from_micros(1_000_000_000_000);
        let before = |text: &str| parse_when(text).map(|moment| now.since(moment.before(now)).as_secs());
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("6h", 21_600), ("2d", 172_800)] {
            assert_eq!(before(text), Ok(seconds), "{text}");
        }
        assert!(matches!(parse_when("2026-01-20T08:00:00-05:00"), Ok(When::At(_))));
        for text in ["", "h", "6", "6w", "-6h", "2026-01-20", "99999999999999999999d", "6ñ"] {
            assert!(parse_when(text).is_err(), "{text}");
        }
    }
}
