//! `recado messages`: what was sent, waits or failed, the story of each, and what is done about it. Addresses are masked; looking at one
//! is written to the audit log.

mod story;

use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::db::{self, Session};
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_notifications::cancellation::{self, Cancellation};
use recado_notifications::channels::{self, Channel};
use recado_notifications::notifications::records::{self, NotificationFilter, Record};
use recado_notifications::notifications::{self, Status};
use recado_notifications::resend::{self, ResendError};
use recado_notifications::reveal;
use recado_notifications::story::Story;
use recado_notifications::system::Notifications;
use recado_queue::context::Context;
use serde_json::{Value, json};

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::{Table, shorten};
use crate::times::{When, local, parse_when, relative};

/// Characters of an error that fit into a row.
const ERROR_WIDTH: usize = 48;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List messages, the newest first; addresses are masked
    #[command(
        after_help = "Examples:\n  recado messages list --customer customer-001\n  recado messages list --status failed --channel whatsapp --since 24h\n  recado messages list --error EMAIL_SEND_FAILED --account env -n 100\n\nWhat waits in reserve, behind a message that is tried first, is listed with --status pending only."
    )]
    List(Box<List>),
    /// Tell the story of a message: what happens next and when, why these channels, and all that happened
    #[command(
        after_help = "Examples:\n  recado messages show 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a\n  recado messages show 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a --lang es --reveal\n  recado --json messages show 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a | jq .next"
    )]
    Show(Show),
    /// Tell the story of an event: everybody it reached on every channel, and why not where it reached no one
    #[command(after_help = "Example:\n  recado messages event 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Event {
        /// The event's correlation_id, as the answer to the dispatch names it
        id: Id,
        /// The language in which it tells: en or es
        #[arg(long, default_value = "en")]
        lang: Language,
    },
    /// Cancel a message before it leaves, and the channels that would come after it
    #[command(after_help = "Example:\n  recado messages cancel 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Cancel {
        /// The message's id
        id: Id,
    },
    /// Send a message again: a new one with the same words and address
    #[command(after_help = "Example:\n  recado messages resend 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Resend {
        /// The message's id
        id: Id,
    },
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Where they stand
    #[arg(long, value_parser = PossibleValuesParser::new(Status::WORDS).try_map(|word| word.parse::<Status>()))]
    status: Option<Status>,
    /// On which channel
    #[arg(long, value_parser = PossibleValuesParser::new(Channel::WORDS).try_map(|word| word.parse::<Channel>()))]
    channel: Option<Channel>,
    /// Only those of this customer, by your own identifier
    #[arg(long, value_name = "CUSTOMER_ID")]
    customer: Option<String>,
    /// Only about this, for example appointment_scheduled
    #[arg(long)]
    event_type: Option<String>,
    /// Only those of this event, by its correlation_id
    #[arg(long, value_name = "ID")]
    event: Option<Id>,
    /// Only those of this workshop
    #[arg(long, value_name = "TALLER_ID")]
    workshop: Option<String>,
    /// Only those whose last attempt met this error
    #[arg(long, value_name = "CODE")]
    error: Option<String>,
    /// Only those that this account took, or was tried last
    #[arg(long)]
    account: Option<String>,
    /// Accepted since then: a time (2026-01-20T08:00:00Z), or how long ago (90s, 30m, 6h, 2d)
    #[arg(long, value_parser = parse_when)]
    since: Option<When>,
    /// Accepted before then
    #[arg(long, value_parser = parse_when)]
    until: Option<When>,
    /// Only messages that are older than this one
    #[arg(long, value_name = "ID")]
    before: Option<Id>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The message's id, or that of its task, as the answer to the dispatch names it
    id: Id,
    /// Show the address and what providers answered; the audit log keeps that it was looked at
    #[arg(long)]
    reveal: bool,
    /// The language in which it tells: en or es
    #[arg(long, default_value = "en")]
    lang: Language,
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::List(options) => list(&context, *options, json).await,
        Command::Show(options) => show(&context, options, json).await,
        Command::Event { id, lang } => story::of_event(&context, id, lang, json).await,
        Command::Cancel { id } => cancel(&context, id, json).await,
        Command::Resend { id } => resend(&context, id, json).await,
    }
}

fn actor() -> Actor {
    Actor::command("recado messages")
}

impl List {
    fn filter(&self, now: Timestamp) -> NotificationFilter {
        NotificationFilter {
            customer_id: self.customer.clone(),
            status: self.status,
            channel: self.channel,
            event_type: self.event_type.clone(),
            correlation_id: self.event,
            task_id: None,
            taller_id: self.workshop.clone(),
            error_code: self.error.clone(),
            provider: self.account.clone(),
            from: self.since.map(|since| since.before(now)),
            to: self.until.map(|until| until.before(now)),
        }
    }
}

async fn list(context: &Context, options: List, json: bool) -> Outcome {
    let now = context.clock.now();
    let cursor = options.before.map_or(Cursor::Start, Cursor::After);
    let mut session = context.db.read().await?;
    let (found, has_more) = records::keyset(&mut session, &options.filter(now), cursor, options.limit).await?;
    if json {
        print_json(&found.iter().map(|record| as_json(record, false)).collect::<Vec<_>>())?;
    } else if found.is_empty() {
        say("no such messages");
    } else {
        print(&table(&found, now));
    }
    if let Some(last) = found.last().filter(|_| has_more) {
        // Beside the list, which may be JSON.
        eprintln!("there are more; go on with --before {}", last.id);
    }
    Ok(ExitCode::SUCCESS)
}

fn table(found: &[Record], now: Timestamp) -> String {
    let mut table = Table::new(&["ID", "CHANNEL", "STATUS", "EVENT", "CUSTOMER", "TO", "CREATED", "ERROR"]);
    for record in found {
        table.row([
            record.id.to_string(),
            record.channel.to_string(),
            record.status.to_string(),
            record.event_type.clone(),
            record.customer_id.clone(),
            address_of(record, false).unwrap_or_else(|| "-".to_owned()),
            relative(record.created_at, now),
            shorten(record.error_code.as_deref().unwrap_or_default(), ERROR_WIDTH),
        ]);
    }
    table.render()
}

async fn show(context: &Context, Show { id, reveal, lang }: Show, json: bool) -> Outcome {
    let system = Notifications::new(context.clone());
    let mut session = context.db.read().await?;
    let id = message_named(&mut session, id).await?;
    let story = Story::of(&system, &mut session, id).await?.ok_or_else(|| unknown(id))?;
    drop(session);
    if reveal {
        // Nothing is shown before it is written who looked.
        let mut session = context.db.begin().await?;
        reveal::addresses(&mut session, id, &actor(), context.clock.now()).await?;
        session.commit().await?;
    }
    let view = story::StoryView { story: &story, id, language: lang, reveals: reveal, context };
    if json {
        print_json(&view.as_json())?;
    } else {
        print(&view.describe());
    }
    Ok(ExitCode::SUCCESS)
}

/// A message by its own id, or the first of a task's chain.
async fn message_named(session: &mut Session, id: Id) -> db::Result<Id> {
    let chain = notifications::chains(session, &[id]).await?;
    Ok(chain.first().map_or(id, |message| message.id))
}

fn unknown(id: Id) -> String {
    format!("there is no message {id}, and no task with messages; see `recado messages list`")
}

async fn cancel(context: &Context, id: Id, json: bool) -> Outcome {
    let reason = match cancellation::cancel_delivery(context, id, &actor()).await? {
        Cancellation::Cancelled => {
            if json {
                print_json(&json!({ "cancelled": id }))?;
            } else {
                say(&format!("{id} will not leave, and nothing that would come after it"));
            }
            return Ok(ExitCode::SUCCESS);
        }
        Cancellation::Unknown => format!("there is no message {id}; see `recado messages list`"),
        Cancellation::Leaving => format!(
            "{id} is being handed over, or its provider has not said yet whether it took it; look again in a moment with `recado messages show {id}`"
        ),
        Cancellation::TooLate(chain) => too_late(id, &chain, context),
    };
    Err(reason.into())
}

fn too_late(id: Id, chain: &[Record], context: &Context) -> String {
    let sent = chain.iter().find(|record| record.status.is_sent() || record.sent_at.is_some());
    match sent {
        Some(sent) => {
            let at = local(sent.sent_at.unwrap_or(sent.updated_at), &context.config.time_zone);
            format!("{id} left by {} at {at}; what was sent stays sent", sent.channel)
        }
        None => format!("{id} failed already, so there is nothing to cancel"),
    }
}

async fn resend(context: &Context, id: Id, json: bool) -> Outcome {
    let system = Notifications::new(context.clone());
    let accepted = match resend::resend(&system, id, None, &actor()).await {
        Ok(accepted) => accepted,
        Err(error) => return Err(why_not(id, error)),
    };
    if json {
        print_json(&accepted.receipt)?;
        return Ok(ExitCode::SUCCESS);
    }
    let new = accepted.receipt.notifications.first().map_or(id, |planned| planned.id);
    say(&format!("{id} is sent again as {new}; follow it with `recado messages show {new}`"));
    ledger::say_when_it_is_noticed(context);
    Ok(ExitCode::SUCCESS)
}

fn why_not(id: Id, error: ResendError) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        ResendError::Unknown => format!("there is no message {id}; see `recado messages list`").into(),
        ResendError::OnItsWay => format!("{id} is still on its way; wait, or `recado messages cancel {id}`").into(),
        ResendError::Erased => format!("the words or the address of {id} were erased").into(),
        ResendError::Refused { reason: "suppressed", .. } => format!(
            "the address of {id} is suppressed; see `recado suppressions list`, and lift it if it takes mail again"
        )
        .into(),
        ResendError::Refused { .. } => format!("the customer of {id} has switched this channel off since").into(),
        other => other.into(),
    }
}

/// Where a message goes; nothing for pushes, which go to all devices, and for what was erased.
fn address_of(record: &Record, reveals: bool) -> Option<String> {
    if record.channel == Channel::Push || record.recipient_address.is_empty() {
        return None;
    }
    if reveals {
        return Some(record.recipient_address.clone());
    }
    channels::mask(record.channel, &record.recipient_address)
}

/// What went wrong, with the address masked that providers repeat.
fn reason_of(record: &Record, reveals: bool) -> Option<String> {
    let reason = record.error_reason.as_deref()?;
    Some(match reveals {
        true => reason.to_owned(),
        false => channels::without(record.channel, &record.recipient_address, reason),
    })
}

/// The same fields as `GET /api/v1/notifications/`.
fn as_json(record: &Record, reveals: bool) -> Value {
    let mut value = json!(record);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("preferred");
        fields.insert("parent_log".to_owned(), json!(record.parent()));
        fields.insert("recipient_address".to_owned(), json!(address_of(record, reveals)));
        fields.insert("error_reason".to_owned(), json!(reason_of(record, reveals)));
    }
    value
}
