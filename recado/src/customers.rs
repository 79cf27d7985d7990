//! `recado customers`: who is known, on which channels each can be reached now, and forgetting a person. Addresses are masked; looking
//! at one is written to the audit log.

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use recado_kernel::addresses::{mask_email, mask_phone};
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::language::Language;
use recado_notifications::customers::{self, Customer, Preference, SearchIn};
use recado_notifications::push::{self, Device};
use recado_notifications::reachability::{self, Reach};
use recado_notifications::system::Notifications;
use recado_queue::context::Context;
use recado_systems::erasure::{self, ErasedCustomer};
use serde_json::{Value, json};

use crate::ledger;
use crate::output::{Outcome, count, print, print_json, say};
use crate::table::{Table, shorten};
use crate::times::{local, relative, relative_or_dash};

/// Characters of a name that fit into a row.
const NAME_WIDTH: usize = 40;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List customers by their customer_id; addresses are masked
    #[command(
        after_help = "Examples:\n  recado customers list --search mendoza\n  recado customers list --search 'ABC-1234'\n  recado customers list --search carlos@example.com\n\nNames, identifiers and plates are found by any part of them, mail addresses and numbers as a whole, in any spelling."
    )]
    List(List),
    /// Show a customer: addresses, preferences, devices, and on which channels they can be reached now
    #[command(
        after_help = "Examples:\n  recado customers show customer-001\n  recado customers show customer-001 --reveal\n\nWhat was sent to them: recado messages list --customer customer-001"
    )]
    Show {
        /// Your own identifier of the customer
        customer_id: String,
        /// Show the addresses; the audit log keeps that they were looked at
        #[arg(long)]
        reveal: bool,
        /// The language in which it tells why not: en or es
        #[arg(long, default_value = "en")]
        lang: Language,
    },
    /// Say on which channels a customer can be reached now, and why not on the others; status 0 when on one
    #[command(
        after_help = "Examples:\n  recado customers reachable customer-001\n  recado customers reachable customer-001 --workshop taller-1 --lang es"
    )]
    Reachable {
        /// Your own identifier of the customer
        customer_id: String,
        /// The workshop that would write to them; its settings count then
        #[arg(long, value_name = "TALLER_ID")]
        workshop: Option<String>,
        /// The language in which it tells why not: en or es
        #[arg(long, default_value = "en")]
        lang: Language,
    },
    /// Forget a person: what is theirs is deleted, and their addresses and words in what was sent are emptied. It cannot be undone
    #[command(
        after_help = "Examples:\n  recado customers erase customer-001          asks for the customer_id once more\n  recado customers erase customer-001 --yes\n\nIt may be repeated until nothing is known of them: a job that runs meanwhile may write once more."
    )]
    Erase {
        /// Your own identifier of the customer
        customer_id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Part of a name, a customer_id or a plate; a whole mail address or number
    #[arg(long)]
    search: Option<String>,
    /// Only customers behind this customer_id
    #[arg(long, value_name = "CUSTOMER_ID")]
    after: Option<String>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        Command::List(options) => list(&context, options, json).await,
        Command::Show { customer_id, reveal, lang } => show(&context, &customer_id, reveal, lang, json).await,
        Command::Reachable { customer_id, workshop, lang } => {
            reachable(&context, &customer_id, workshop.as_deref(), lang, json).await
        }
        Command::Erase { customer_id, yes } => erase(&context, &customer_id, yes, json).await,
    }
}

fn actor() -> Actor {
    Actor::command("recado customers")
}

fn unknown(customer_id: &str) -> String {
    format!("there is no customer {customer_id}; see `recado customers list`")
}

async fn list(context: &Context, options: List, json: bool) -> Outcome {
    let mut session = context.db.read().await?;
    let search = options.search.as_deref().map(|search| (search, SearchIn::Whole));
    let cursor = options.after.as_deref().map_or(Cursor::Start, Cursor::After);
    let (found, has_more) = customers::page(&mut session, search, cursor, options.limit).await?;
    if json {
        let ids: Vec<String> = found.iter().map(|customer| customer.customer_id.clone()).collect();
        let mut preferences: HashMap<String, Vec<Preference>> = HashMap::new();
        for preference in customers::preferences(&mut session, &ids).await? {
            preferences.entry(preference.customer_id.clone()).or_default().push(preference);
        }
        let of = |customer: &Customer| preferences.get(&customer.customer_id).map(Vec::as_slice).unwrap_or_default();
        print_json(&found.iter().map(|one| as_json(one, of(one), false)).collect::<Vec<_>>())?;
    } else if found.is_empty() {
        say("no such customers");
    } else {
        print(&table(&found, context.clock.now()));
    }
    if let Some(last) = found.last().filter(|_| has_more) {
        // Beside the list, which may be JSON.
        eprintln!("there are more; go on with --after {}", last.customer_id);
    }
    Ok(ExitCode::SUCCESS)
}

fn table(found: &[Customer], now: Timestamp) -> String {
    let mut table = Table::new(&["CUSTOMER", "NAME", "E-MAIL", "TELEPHONE", "WHATSAPP", "CHANGED"]);
    for customer in found {
        let Addresses { email, phone, whatsapp } = Addresses::of(customer, false);
        let or_dash = |address: Option<String>| address.unwrap_or_else(|| "-".to_owned());
        table.row([
            customer.customer_id.clone(),
            shorten(&customer.full_name(), NAME_WIDTH),
            or_dash(email),
            or_dash(phone),
            or_dash(whatsapp),
            relative(customer.updated_at, now),
        ]);
    }
    table.render()
}

async fn show(context: &Context, customer_id: &str, reveal: bool, language: Language, json: bool) -> Outcome {
    let (now, system) = (context.clock.now(), Notifications::new(context.clone()));
    let mut session = context.db.read().await?;
    let customer = customers::find(&mut session, customer_id).await?.ok_or_else(|| unknown(customer_id))?;
    let preferences = customers::preferences(&mut session, &[customer_id.to_owned()]).await?;
    let devices = push::devices(&mut session, customer_id).await?;
    let reach = reachability::of_customer(&system, &mut session, customer_id, None, now).await?;
    let reach = reach.ok_or_else(|| unknown(customer_id))?;
    drop(session);
    if reveal {
        // Nothing is shown before it is written who looked.
        let mut session = context.db.begin().await?;
        customers::reveal(&mut session, customer_id, &actor(), now).await?;
        session.commit().await?;
    }
    if json {
        let mut value = as_json(&customer, &preferences, reveal);
        value["reachability"] = reach_as_json(customer_id, &reach, language, now);
        value["devices"] = devices.iter().map(device_as_json).collect();
        print_json(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = describe(&customer, context, reveal);
    text.push_str("\nReachable now\n");
    text.push_str(&reach_table(&reach, language, now).render());
    text.push_str("\nChannels in the order in which they are tried\n");
    text.push_str(&preferences_table(&preferences).render());
    if !devices.is_empty() {
        text.push_str("\nDevices\n");
        text.push_str(&devices_table(devices, now).render());
    }
    print(&text);
    Ok(ExitCode::SUCCESS)
}

fn describe(customer: &Customer, context: &Context, reveals: bool) -> String {
    let now = context.clock.now();
    let Addresses { email, phone, whatsapp } = Addresses::of(customer, reveals);
    let quiet = customer.quiet_from.zip(customer.quiet_until);
    let quiet = quiet.map_or_else(|| "-".to_owned(), |(from, until)| format!("{from} to {until}"));
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut text = format!("Customer {}\n", customer.customer_id.replace(char::is_control, " "));
    for (label, value) in [
        ("name", customer.full_name()),
        ("e-mail", or_dash(email)),
        ("telephone", or_dash(phone)),
        ("whatsapp", or_dash(whatsapp)),
        ("quiet", quiet),
        (
            "zone",
            customer.time_zone.clone().unwrap_or_else(|| format!("{}, of the workshop", context.config.time_zone)),
        ),
        ("written", relative(customer.created_at, now)),
        ("changed", relative(customer.updated_at, now)),
    ] {
        text.push_str(&format!("  {label:<9} {}\n", value.replace(char::is_control, " ")));
    }
    for field in customer.unusual() {
        text.push_str(&format!("  no numbering plan knows the number in `{field}`; it is used all the same\n"));
    }
    text
}

fn preferences_table(preferences: &[Preference]) -> Table {
    let mut table = Table::new(&[">PLACE", "CHANNEL", "WANTED", "STATED"]);
    for (place, (channel, is_on)) in customers::order(preferences).into_iter().enumerate() {
        let is_stated = preferences.iter().any(|preference| preference.channel == channel);
        let yes_or_no = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
        table.row([(place + 1).to_string(), channel.to_string(), yes_or_no(is_on), yes_or_no(is_stated)]);
    }
    table
}

fn devices_table(devices: Vec<Device>, now: Timestamp) -> Table {
    let mut table = Table::new(&["SERVICE", "BROWSER", "FAILING", "HEARD OF", "ID"]);
    for device in devices {
        table.row([
            device.service(),
            shorten(device.user_agent.as_deref().unwrap_or("-"), NAME_WIDTH),
            relative_or_dash(device.failing_since, now),
            relative(device.updated_at, now),
            device.id.to_string(),
        ]);
    }
    table
}

async fn reachable(
    context: &Context,
    customer_id: &str,
    workshop: Option<&str>,
    language: Language,
    json: bool,
) -> Outcome {
    let (now, system) = (context.clock.now(), Notifications::new(context.clone()));
    let mut session = context.db.read().await?;
    let reach = reachability::of_customer(&system, &mut session, customer_id, workshop, now).await?;
    let reach = reach.ok_or_else(|| unknown(customer_id))?;
    let first = reach.iter().find(|one| one.obstacle.is_none());
    if json {
        print_json(&reach_as_json(customer_id, &reach, language, now))?;
    } else {
        say(&match first {
            Some(first) => format!("{customer_id} can be reached now, first by {}", first.channel.display_name()),
            None => format!("{customer_id} cannot be reached now"),
        });
        print(&reach_table(&reach, language, now).render());
        if let Some(zoned) = reach.iter().filter_map(|one| one.until).min() {
            let zone = context.config.time_zone;
            say(&format!("the first obstacle ends at {} {zone}", local(zoned, &zone)));
        }
    }
    Ok(if first.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn reach_table(reach: &[Reach], language: Language, now: Timestamp) -> Table {
    let mut table = Table::new(&[">PLACE", "CHANNEL", "NOW", "ENDS", "WHY NOT"]);
    for one in reach {
        table.row([
            one.place.map_or_else(|| "-".to_owned(), |place| (place + 1).to_string()),
            one.channel.to_string(),
            one.obstacle.map_or("yes", |obstacle| obstacle.as_str()).to_owned(),
            relative_or_dash(one.until, now),
            one.obstacle.map_or("", |obstacle| obstacle.explanation(language)).to_owned(),
        ]);
    }
    table
}

async fn erase(context: &Context, customer_id: &str, yes: bool, json: bool) -> Outcome {
    if !yes {
        eprintln!(
            "This deletes {customer_id} with vehicles, reminders and devices, cancels what is on its way to them, and empties their\naddresses and words in all that was sent. It cannot be undone. Type the customer_id to go on:"
        );
        if typed().await?.trim() != customer_id {
            return Err("that was not the customer_id, so nothing was erased; --yes does not ask".into());
        }
    }
    let erased = erasure::erase(context, customer_id, &actor()).await?;
    let ErasedCustomer { erased, conversations, search_id } =
        erased.ok_or_else(|| format!("nothing is known of a customer {customer_id}"))?;
    if json {
        print_json(&json!({ "erased": erased, "conversations": conversations, "search_id": search_id }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let counted = |number: u64, noun: &str| count(usize::try_from(number).unwrap_or(usize::MAX), noun);
    say(&format!(
        "{customer_id} is forgotten: {} emptied, {} deleted, {} cancelled",
        counted(erased.notifications + conversations.messages, "message"),
        counted(erased.vehicles, "vehicle"),
        counted(erased.cancelled + conversations.cancelled, "job"),
    ));
    say(&format!("what partners and a CRM were told is searched by task {search_id}: recado tasks show {search_id}"));
    ledger::say_when_it_is_noticed(context);
    Ok(ExitCode::SUCCESS)
}

/// A line of standard input; empty at its end.
async fn typed() -> io::Result<String> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    read.await.map_err(io::Error::other)?
}

/// The addresses of a customer, masked or not.
struct Addresses {
    email: Option<String>,
    phone: Option<String>,
    whatsapp: Option<String>,
}

impl Addresses {
    fn of(customer: &Customer, reveals: bool) -> Self {
        let shown = |address: &Option<String>, mask: fn(&str) -> String| {
            address.as_deref().map(|address| if reveals { address.to_owned() } else { mask(address) })
        };
        Self {
            email: shown(&customer.email, mask_email),
            phone: shown(&customer.phone, mask_phone),
            whatsapp: shown(&customer.whatsapp, mask_phone),
        }
    }
}

/// The same fields as `GET /api/v1/notifications/customers/{customer_id}/`.
fn as_json(customer: &Customer, preferences: &[Preference], reveals: bool) -> Value {
    let Addresses { email, phone, whatsapp } = Addresses::of(customer, reveals);
    let preference = |one: &Preference| {
        json!({
            "id": one.id,
            "channel": one.channel,
            "channel_display": one.channel.display_name(),
            "enabled": one.enabled,
            "priority": one.priority,
        })
    };
    json!({
        "id": customer.id,
        "customer_id": customer.customer_id,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "full_name": customer.full_name(),
        "email": email,
        "phone": phone,
        "whatsapp": whatsapp,
        "unusual": customer.unusual(),
        "channel_preferences": preferences.iter().map(preference).collect::<Vec<_>>(),
        "quiet_from": customer.quiet_from,
        "quiet_until": customer.quiet_until,
        "time_zone": customer.time_zone,
        "created_at": customer.created_at,
        "updated_at": customer.updated_at,
    })
}

/// The same fields as `GET /api/v1/notifications/customers/{customer_id}/reachability/`.
fn reach_as_json(customer_id: &str, reach: &[Reach], language: Language, now: Timestamp) -> Value {
    let channel = |one: &Reach| {
        json!({
            "channel": one.channel,
            "reachable": one.obstacle.is_none(),
            "place": one.place,
            "obstacle": one.obstacle,
            "explanation": one.obstacle.map(|obstacle| obstacle.explanation(language)),
            "until": one.until,
        })
    };
    json!({
        "customer_id": customer_id,
        "reachable": reach.iter().any(|one| one.obstacle.is_none()),
        "channels": reach.iter().map(channel).collect::<Vec<_>>(),
        "now": now,
    })
}

/// The same fields as `GET /api/v1/notifications/customers/{customer_id}/devices/`.
fn device_as_json(device: &Device) -> Value {
    json!({
        "id": device.id,
        "service": device.service(),
        "user_agent": device.user_agent,
        "failing_since": device.failing_since,
        "created_at": device.created_at,
        "updated_at": device.updated_at,
    })
}
