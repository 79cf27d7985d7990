//! `recado whatsapp …`: the bridge and its session, chats, and what customers asked for; and the syncs by the names that Django
//! gave them (S003-21).

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use recado_conversations::bridge::{Bridge, Failure, Target};
use recado_conversations::chats::listing::{self, Counts};
use recado_conversations::operations;
use recado_conversations::pacing::Pacing;
use recado_conversations::sessions::{self, BRIDGE, Opinion, Status, WhatsappSession};
use recado_conversations::sync::runs::{self, Run, What};
use recado_conversations::sync::{Followed, Histories};
use recado_conversations::{sends, sync};
use recado_kernel::audit::Actor;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_kernel::qr::Drawing;
use recado_queue::context::Context;
use recado_queue::tasks;
use serde_json::json;

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::{Table, shorten};
use crate::times::relative_or_dash;

/// Characters of a text that fit into a row.
const TEXT_WIDTH: usize = 48;

const NO_BRIDGE: &str = "there is no bridge; set WHATSAPP_SERVICE_URL, e.g. http://127.0.0.1:3001";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Ask the bridge how its session is, and say whether a message would leave; status 0 when it would
    #[command(after_help = "Example:\n  recado whatsapp status || recado whatsapp qr")]
    Status,
    /// Draw the QR code that waits to be scanned
    Qr,
    /// List chats, those in which something was said last first
    #[command(after_help = "Examples:\n  recado whatsapp chats\n  recado whatsapp chats --groups --refresh")]
    Chats(Chats),
    /// Send a text into a chat
    #[command(after_help = "Example:\n  recado whatsapp send 593991234567@c.us 'Su reserva está confirmada'")]
    Send {
        /// WhatsApp's id of the chat
        chat_id: String,
        /// What it says
        text: String,
    },
    /// Fetch chats from the bridge, or the history of one, or of all; one that is cut off goes on where it was
    #[command(
        after_help = "Examples:\n  recado whatsapp sync\n  recado whatsapp sync 593991234567@c.us --limit 200\n  recado whatsapp sync --histories"
    )]
    Sync(SyncOne),
    /// List what was fetched from the bridge, and how far each sync is
    Syncs {
        /// How many at most
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// List reservation requests, the newest first
    #[command(after_help = "Example:\n  recado whatsapp requests -n 20")]
    Requests {
        /// How many at most
        #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Start the bridge's session again
    Restart,
}

#[derive(Args, Debug)]
pub(crate) struct Chats {
    /// Only groups
    #[arg(long)]
    groups: bool,
    /// Ask the bridge first
    #[arg(long)]
    refresh: bool,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Args, Debug)]
pub(crate) struct SyncOne {
    /// WhatsApp's id of the chat whose history is fetched; without it all chats are
    chat_id: Option<String>,
    /// The histories of all chats, one after the other
    #[arg(long, conflicts_with = "chat_id")]
    histories: bool,
    /// Begin again, and do not go on with what was cut off
    #[arg(long, requires = "histories")]
    again: bool,
    /// How many of the newest messages of a chat
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// `recado sync_whatsapp_messages`
#[derive(Args, Debug)]
pub(crate) struct SyncMessages {
    /// WhatsApp's id of the chat
    chat_id: String,
    /// How many of its newest messages
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::Status => status(&context, json).await,
        Command::Qr => qr(&context, json).await,
        Command::Chats(options) => chats(&context, options, json).await,
        Command::Send { chat_id, text } => send(&context, &chat_id, &text, json).await,
        Command::Sync(SyncOne { histories: true, again, limit, .. }) => {
            sync_histories(&context, limit, again, json).await
        }
        Command::Sync(SyncOne { chat_id: None, .. }) => sync_all(&context, json).await,
        Command::Sync(SyncOne { chat_id: Some(chat_id), limit, .. }) => sync_one(&context, &chat_id, limit, json).await,
        Command::Syncs { limit } => syncs(&context, limit, json).await,
        Command::Requests { limit } => requests(&context, limit, json).await,
        Command::Restart => restart(&context, json).await,
    }
}

/// `recado sync_whatsapp_chats`: status 0 and the counts, or 1 with the reason.
pub(crate) async fn sync_chats(json: bool) -> Outcome {
    sync_all(&ledger::open().await?, json).await
}

/// `recado sync_whatsapp_messages <chat_id>`: the same of one chat's history.
pub(crate) async fn sync_messages(options: SyncMessages, json: bool) -> Outcome {
    sync_one(&ledger::open().await?, &options.chat_id, options.limit, json).await
}

fn bridge(context: &Context) -> Result<Bridge, Box<dyn std::error::Error + Send + Sync>> {
    Bridge::new(&context.config)?.ok_or_else(|| NO_BRIDGE.into())
}

async fn sync_all(context: &Context, json: bool) -> Outcome {
    let bridge = bridge(context)?;
    let synced = sync::follow_chats(context, &bridge, followed(context)).await;
    ended();
    show_counts(synced?.counts, "chats", json)
}

async fn sync_one(context: &Context, chat_id: &str, limit: u32, json: bool) -> Outcome {
    let bridge = bridge(context)?;
    let synced = sync::follow_messages(context, &bridge, (chat_id, limit), followed(context)).await;
    ended();
    show_counts(synced?.counts, "messages", json)
}

/// Chat by chat, for as long as it takes.
async fn sync_histories(context: &Context, limit: u32, again: bool, json: bool) -> Outcome {
    let bridge = bridge(context)?;
    let cut_off = if again { None } else { cut_off(context, limit).await? };
    if let Some(run) = &cut_off {
        eprintln!("going on behind chat {} of {}; --again begins at the first", run.chats_done, run.chats_total);
    }
    let followed = match cut_off {
        Some(run) => Followed::Run { id: run.id, shown: show_progress },
        None => followed(context),
    };
    let synced = sync::histories(context, &bridge, limit, (followed, Duration::MAX / 4)).await;
    ended();
    match synced? {
        Histories::Done(progress) if json => print_json(&progress)?,
        Histories::Done(progress) => {
            let (chats, counts) = (progress.chats_total.unwrap_or_default(), progress.counts);
            say(&format!("{chats} chats, {} messages: {} created", counts.total, counts.created));
        }
        Histories::GoesOn(progress) => {
            let (done, total) = (progress.chats_done.unwrap_or_default(), progress.chats_total.unwrap_or_default());
            return Err(format!(
                "the bridge failed after {done} of {total} chats; `recado whatsapp sync --histories` goes on there, and `recado whatsapp syncs` says what went wrong"
            )
            .into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The latest such sync of a command, if it did not come to its end. Those of tasks go on by themselves.
async fn cut_off(context: &Context, limit: u32) -> db::Result<Option<Run>> {
    let mut session = context.db.read().await?;
    let wanted = i32::try_from(limit).unwrap_or(i32::MAX);
    for run in runs::newest(&mut session, runs::SHOWN).await? {
        let is_like_it = run.what == What::Histories && run.message_limit == Some(wanted);
        if is_like_it && tasks::find(&mut session, run.id).await?.is_none() {
            return Ok(Some(run).filter(|run| run.finished_at.is_none()));
        }
    }
    Ok(None)
}

fn followed(context: &Context) -> Followed {
    Followed::Run { id: Id::new(context.clock.now()), shown: show_progress }
}

/// On a terminal, a line that changes.
fn show_progress(run: &Run) {
    if !io::stderr().is_terminal() {
        return;
    }
    let of_chats = match run.what {
        What::Histories => format!("chat {} of {}, ", run.chats_done, run.chats_total),
        What::Chats | What::Groups | What::Messages => String::new(),
    };
    eprint!("\r{of_chats}{} told, {} created, {} updated ", run.total, run.created, run.updated);
}

fn ended() {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

async fn syncs(context: &Context, limit: i64, json: bool) -> Outcome {
    let found = runs::newest(&mut context.db.read().await?, limit).await?;
    if json {
        let rows: Vec<_> = found
            .iter()
            .map(|run| {
                json!({
                    "id": run.id, "what": run.what.as_str(), "chat_id": run.chat_id, "chats_done": run.chats_done,
                    "chats_total": run.chats_total, "created": run.created, "updated": run.updated, "total": run.total,
                    "problem": run.problem, "started_at": run.started_at, "updated_at": run.updated_at,
                    "finished_at": run.finished_at,
                })
            })
            .collect();
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let mut table = Table::new(&["WHAT", "CHAT", ">CHATS", ">CREATED", ">UPDATED", ">TOLD", "BEGAN", "END", "PROBLEM"]);
    for run in found {
        let chats = match run.what {
            What::Histories => format!("{} of {}", run.chats_done, run.chats_total),
            What::Chats | What::Groups | What::Messages => "-".to_owned(),
        };
        table.row([
            run.what.to_string(),
            run.chat_id.unwrap_or_else(|| "-".to_owned()),
            chats,
            run.created.to_string(),
            run.updated.to_string(),
            run.total.to_string(),
            relative_or_dash(Some(run.started_at), now),
            relative_or_dash(run.finished_at, now),
            shorten(run.problem.as_deref().unwrap_or("-"), TEXT_WIDTH),
        ]);
    }
    if table.is_empty() {
        say("nothing was fetched yet; `recado whatsapp sync` fetches all chats");
    } else {
        print(&table.render());
    }
    Ok(ExitCode::SUCCESS)
}

fn show_counts(counts: Counts, what: &str, json: bool) -> Outcome {
    if json {
        print_json(&counts)?;
    } else {
        say(&format!("{} {what}: {} created, {} updated", counts.total, counts.created, counts.updated));
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(context: &Context, json: bool) -> Outcome {
    let bridge = bridge(context)?;
    let asked = bridge.status().await;
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    match &asked {
        Ok(status) => sessions::observe(&mut session, BRIDGE, status, now).await?,
        Err(_) => sessions::miss(&mut session, BRIDGE, now).await?,
    }
    let known = sessions::find(&mut session, BRIDGE).await?;
    let opinion = match &known {
        Some(known) if known.status == Status::Connected => Some(sessions::judge(&mut session, known, now).await?),
        _ => None,
    };
    let lately = sends::lately(&mut session, BRIDGE, now).await?;
    session.commit().await?;
    let (pacing, since) = (Pacing::of(&context.config.conversations), known.as_ref().map(|known| known.created_at));
    let limit = pacing.limit_at(since, now);
    let is_sound = opinion.is_some_and(|opinion| opinion.verdict.is_used());
    let warnings = opinion.as_ref().map_or_else(|| vec!["not_connected"], Opinion::warnings);
    if json {
        print_json(&json!({
            "sound": is_sound,
            "status": known.as_ref().map(|known| known.status.as_str()),
            "phone_number": known.as_ref().and_then(|known| known.phone_number.clone()),
            "warnings": warnings,
            "sent_last_24_hours": lately.last_day,
            "limit_24_hours": limit,
            "reserved_for_operators": limit.map(|_| pacing.reserve_at(since, now)),
            "error": asked.as_ref().err().map(Failure::to_string),
        }))?;
    } else {
        let sent = match limit {
            Some(limit) => format!("{} of {limit}, {} for operators", lately.last_day, pacing.reserve_at(since, now)),
            None => lately.last_day.to_string(),
        };
        print(&describe(known.as_ref(), &warnings, sent, context));
        if let Err(failure) = &asked {
            eprintln!("recado: {failure}");
        }
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(known: Option<&WhatsappSession>, warnings: &[&str], sent: String, context: &Context) -> String {
    let now = context.clock.now();
    let mut table = Table::new(&["WHATSAPP", ""]);
    let or_dash = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
    let warnings = if warnings.is_empty() { "-".to_owned() } else { warnings.join(", ") };
    for (what, value) in [
        ("session", known.map_or_else(|| "never heard of".to_owned(), |known| known.status.to_string())),
        ("number", or_dash(known.and_then(|known| known.phone_number.as_ref()))),
        ("name", or_dash(known.and_then(|known| known.push_name.as_ref()))),
        ("last seen", relative_or_dash(known.and_then(|known| known.last_seen_at), now)),
        ("connected", relative_or_dash(known.and_then(|known| known.connected_at), now)),
        ("lost", relative_or_dash(known.and_then(|known| known.lost_at), now)),
        ("sent in 24 h", sent),
        ("warnings", warnings),
    ] {
        table.row([what.to_owned(), value]);
    }
    table.render()
}

async fn qr(context: &Context, json: bool) -> Outcome {
    let qr = bridge(context)?.qr().await?;
    if json {
        print_json(&json!({ "qr": qr }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let drawing = qr.as_deref().and_then(Drawing::of);
    let drawing = drawing.ok_or("no QR code waits to be scanned; `recado whatsapp status` says how the session is")?;
    print(&drawing.terminal());
    say("WhatsApp on the telephone: Linked devices, Link a device. The code changes every 20 seconds or so.");
    Ok(ExitCode::SUCCESS)
}

async fn chats(context: &Context, Chats { groups, refresh, limit }: Chats, json: bool) -> Outcome {
    if refresh {
        sync::chats(context, &bridge(context)?).await?;
    }
    let (found, total) = listing::list(&mut context.db.read().await?, groups, limit, 0).await?;
    if json {
        let rows: Vec<_> = found
            .iter()
            .map(|chat| {
                json!({
                    "id": chat.id, "chat_id": chat.chat_id, "type": chat.kind, "name": chat.name,
                    "whatsapp_name": chat.whatsapp_name, "phone": chat.phone, "last_message_at": chat.last_message_at,
                    "last_message_preview": chat.last_message_preview, "message_count": chat.message_count,
                    "unread_count": chat.unread_count,
                })
            })
            .collect();
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let mut table = Table::new(&["NAME", "CHAT", "TYPE", "LAST", ">UNREAD", "SAID"]);
    let shown = i64::try_from(found.len()).unwrap_or(i64::MAX);
    for chat in found {
        let name = chat.nickname.or(chat.name).or(chat.whatsapp_name).unwrap_or_else(|| "-".to_owned());
        table.row([
            shorten(&name, 32),
            chat.chat_id,
            chat.kind.to_string(),
            relative_or_dash(chat.last_message_at, now),
            chat.unread_count.to_string(),
            shorten(&chat.last_message_preview.unwrap_or_default(), TEXT_WIDTH),
        ]);
    }
    if table.is_empty() {
        say("no chats are known; `recado whatsapp sync` fetches them");
    } else {
        print(&table.render());
    }
    if total > shown {
        eprintln!("{} more; see --limit", total - shown);
    }
    Ok(ExitCode::SUCCESS)
}

async fn send(context: &Context, chat_id: &str, text: &str, json: bool) -> Outcome {
    let target = Target::of(chat_id).ok_or_else(|| {
        format!("`{chat_id}` is no id of a chat; write e.g. 593991234567@c.us or 120363041234567890@g.us")
    })?;
    if text.trim().is_empty() {
        return Err("the text is empty".into());
    }
    let actor = Actor::command("recado whatsapp send");
    let given = operations::send(context, &bridge(context)?, &target, text, &actor).await?;
    let is_certain = given.is_certain;
    let message_id = given.whatsapp_id.unwrap_or_else(|| given.message.to_string());
    if json {
        print_json(&json!({ "message_id": message_id, "certain": is_certain }))?;
    } else if is_certain {
        say(&format!("sent, message {message_id}"));
    } else {
        say(&format!("the bridge did not answer in time; it may have left, as message {message_id}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn requests(context: &Context, limit: i64, json: bool) -> Outcome {
    let filter = recado_conversations::requests::RequestFilter::default();
    let (found, _) = recado_conversations::requests::list(&mut context.db.read().await?, &filter, limit, 0).await?;
    if json {
        let rows: Vec<_> = found
            .iter()
            .map(|request| {
                json!({
                    "id": request.id, "tour_code": request.code, "status": request.status.as_str(),
                    "passengers": request.passengers, "created_at": request.created_at,
                })
            })
            .collect();
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let mut table = Table::new(&["CODE", "STATUS", ">PASSENGERS", "ASKED", "ID"]);
    for request in found {
        table.row([
            request.code,
            request.status.to_string(),
            request.passengers.to_string(),
            relative_or_dash(Some(request.created_at), now),
            request.id.to_string(),
        ]);
    }
    if table.is_empty() {
        say("no customer has asked for anything yet");
    } else {
        print(&table.render());
    }
    Ok(ExitCode::SUCCESS)
}

async fn restart(context: &Context, json: bool) -> Outcome {
    operations::restart(context, &bridge(context)?, &Actor::command("recado whatsapp restart")).await?;
    if json {
        print_json(&json!({ "restarted": true }))?;
    } else {
        say("the session starts again; `recado whatsapp status` and `recado whatsapp qr` say how it goes on");
    }
    Ok(ExitCode::SUCCESS)
}
