//! `recado suppressions`: addresses to which nothing is sent. They are masked.

use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use recado_kernel::addresses::normalise_phone;
use recado_kernel::audit::Actor;
use recado_kernel::db::Violation;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::ids::Id;
use recado_notifications::channels::{self, Channel};
use recado_notifications::suppressions::{self, Reason, Suppression, SuppressionDraft, SuppressionFilter};
use recado_queue::context::Context;
use serde_json::{Value, json};

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::{Table, shorten};
use crate::times::relative;

/// Characters of a detail that fit into a row.
const DETAIL_WIDTH: usize = 60;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List suppressed addresses, the newest first
    #[command(
        after_help = "Examples:\n  recado suppressions list --reason bounced\n  recado suppressions list --search maria@example.com\n\nAn address is found as a whole only, and shown masked."
    )]
    List(List),
    /// Send nothing to an address any more
    #[command(
        after_help = "Example:\n  recado suppressions add email maria@example.com --detail 'asked us by telephone not to write'"
    )]
    Add {
        /// email or whatsapp
        #[arg(value_parser = PossibleValuesParser::new(["email", "whatsapp"]).try_map(|word| word.parse::<Channel>()))]
        channel: Channel,
        /// A mail address, or a telephone number
        address: String,
        /// Why, for those who read the list later
        #[arg(long, default_value = "")]
        detail: String,
    },
    /// Write to an address again, from the next event on
    #[command(
        after_help = "Example:\n  recado suppressions lift 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a\n\nWithin an hour `recado suppressions restore` takes it back."
    )]
    Lift {
        /// Id of the suppression, as the list shows it
        id: Id,
    },
    /// Take it back that a suppression was lifted within the last hour
    #[command(after_help = "Example:\n  recado suppressions restore 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Restore {
        /// Id of the suppression that was lifted
        id: Id,
    },
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only this channel's
    #[arg(long, value_parser = PossibleValuesParser::new(["email", "whatsapp"]).try_map(|word| word.parse::<Channel>()))]
    channel: Option<Channel>,
    /// Only those with this reason
    #[arg(long, value_parser = PossibleValuesParser::new(Reason::WORDS).try_map(|word| word.parse::<Reason>()))]
    reason: Option<Reason>,
    /// Only this address, as a whole
    #[arg(long)]
    search: Option<String>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::List(options) => list(&context, options, json).await,
        Command::Add { channel, address, detail } => add(&context, channel, address, detail, json).await,
        Command::Lift { id } => lift(&context, id, json).await,
        Command::Restore { id } => restore(&context, id, json).await,
    }
}

fn actor() -> Actor {
    Actor::command("recado suppressions")
}

async fn list(context: &Context, List { channel, reason, search, limit }: List, json: bool) -> Outcome {
    // A number is kept in one spelling.
    let country = &context.config.default_country;
    let search = search.map(|address| normalise_phone(&address, country).unwrap_or(address));
    let filter = SuppressionFilter { channel, reason, search, is_whole: true };
    let (found, has_more) = suppressions::page(&mut context.db.read().await?, &filter, Cursor::Start, limit).await?;
    if json {
        print_json(&found.iter().map(as_json).collect::<Vec<_>>())?;
    } else if found.is_empty() {
        say("no such suppressions");
    } else {
        let now = context.clock.now();
        let mut table = Table::new(&["ID", "CHANNEL", "ADDRESS", "REASON", "SINCE", "DETAIL"]);
        for one in &found {
            table.row([
                one.id.to_string(),
                one.channel.to_string(),
                masked(one),
                one.reason.to_string(),
                relative(one.created_at, now),
                shorten(&detail(one), DETAIL_WIDTH),
            ]);
        }
        print(&table.render());
    }
    if has_more {
        eprintln!("there are more; see --limit");
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(context: &Context, channel: Channel, address: String, detail: String, json: bool) -> Outcome {
    let draft = SuppressionDraft { channel: Some(channel), address, detail };
    let draft = draft.checked(&context.config.default_country).map_err(|errors| {
        errors.into_iter().map(|(field, error)| format!("{field}: {error}")).collect::<Vec<_>>().join(" ")
    })?;
    let mut session = context.db.begin().await?;
    let made = match suppressions::insert(&mut session, &draft, &actor(), context.clock.now()).await {
        Err(error) if error.violates("suppressions_key", "suppressions.channel, suppressions.address") => {
            return Err(
                "this address is suppressed already; `recado suppressions list --search ADDRESS` shows why".into()
            );
        }
        made => made?,
    };
    session.commit().await?;
    tell(&made, "nothing is sent to it any more", json)
}

async fn lift(context: &Context, id: Id, json: bool) -> Outcome {
    let mut session = context.db.begin().await?;
    let lifted = suppressions::lift(&mut session, id, &actor(), context.clock.now()).await?;
    let lifted = lifted.ok_or_else(|| format!("there is no suppression {id}; see `recado suppressions list`"))?;
    session.commit().await?;
    tell(&lifted, "it is written to again from the next event on", json)
}

async fn restore(context: &Context, id: Id, json: bool) -> Outcome {
    let mut session = context.db.begin().await?;
    let restored = suppressions::restore(&mut session, id, &actor(), context.clock.now()).await?;
    let restored =
        restored.ok_or_else(|| format!("{id} was not lifted within the last hour; add the address again"))?;
    session.commit().await?;
    tell(&restored, "nothing is sent to it any more", json)
}

fn tell(one: &Suppression, what: &str, json: bool) -> Outcome {
    if json {
        print_json(&as_json(one))?;
    } else {
        say(&format!("{} {}: {what} ({})", one.channel, masked(one), one.id));
    }
    Ok(ExitCode::SUCCESS)
}

fn masked(one: &Suppression) -> String {
    channels::mask(one.channel, &one.address).unwrap_or_else(|| "***".to_owned())
}

/// What the provider said, or staff noted: providers repeat the address.
fn detail(one: &Suppression) -> String {
    channels::without(one.channel, &one.address, &one.detail)
}

/// The same fields as `GET /api/v1/notifications/suppressions/{id}/`, masked.
fn as_json(one: &Suppression) -> Value {
    json!({
        "id": one.id,
        "channel": one.channel,
        "address": masked(one),
        "reason": one.reason,
        "detail": detail(one),
        "notification_id": one.notification_id,
        "created_at": one.created_at,
    })
}
