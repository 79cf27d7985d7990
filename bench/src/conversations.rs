//! A WhatsApp bridge: how many messages it may tell of in a second, beside the events of the same run; and what it takes to fetch the
//! histories of a telephone that was used for years.
//!
//! The product runs as its own programs; the load generator, the mail server and the stand-in bridge run in this process, and all of
//! it on the same processors.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use recado_sandbox::{Bridge, BridgeOptions, Smtp, SmtpOptions};
use serde_json::{Value, json};

use crate::fleet::{Fleet, Settings};
use crate::load;
use crate::servers::Servers;
use crate::{Figure, Series};

type Failure = Box<dyn Error + Send + Sync>;

/// What the bridge signs with.
const SECRET: &str = "the-secret-of-the-bridge-of-the-benchmarks";

/// Connections that are kept, each with one request at a time.
const CONNECTIONS: usize = 32;

/// Not counted.
const WARM_UP: usize = 1_000;

/// Chats of the messages: most are of persons.
const CHATS: usize = 1_000;

/// One message of so many names a code, which becomes a request.
const ONE_NAMES_A_CODE: usize = 20;

/// The telephone whose histories are fetched.
const HISTORIES: usize = 200;
const MESSAGES_OF_EACH: usize = 1_000;

/// Until a sync is over.
const SYNC_TIMEOUT: Duration = Duration::from_secs(600);

const LOOK_EVERY: Duration = Duration::from_millis(20);

const SUPERADMIN: &str = "/api/v1/superadmin/whatsapp";

pub(crate) async fn measure(programs: &Path, runs: usize, events: usize) -> Result<(), Failure> {
    let mut servers = Servers::open().await?;
    let mut series = Series::default();
    for _ in 0..runs {
        for figure in take(&mut servers, programs, events).await? {
            series.add(figure);
        }
        for figure in sync(&mut servers, programs).await? {
            series.add(figure);
        }
    }
    series.report();
    Ok(())
}

fn figure(name: &str, unit: &'static str, value: f64) -> Figure {
    Figure { name: name.to_owned(), unit, value }
}

/// Events, then as many messages, of the same programs.
async fn take(servers: &mut Servers, programs: &Path, events: usize) -> Result<Vec<Figure>, Failure> {
    let name = format!("bench_bridge_{}", std::process::id());
    let database_url = servers.begin(&name).await?;
    let smtp = Smtp::start(SmtpOptions { keep: 0, ..SmtpOptions::default() }).await?;
    let bridge = Bridge::start(BridgeOptions::default()).await?;
    let settings = settings(&database_url, servers, &smtp, &bridge);
    let fleet = Fleet::start(programs, &settings).await?;
    load::post_customers(fleet.address).await?;
    load::post_events(fleet.address, CONNECTIONS, 0..WARM_UP).await?;
    load::post_all(fleet.address, CONNECTIONS, signed_messages(0..WARM_UP)?).await?;

    let by_event = load::post_events(fleet.address, CONNECTIONS, 0..events).await?;
    smtp.wait_for(WARM_UP + events, Duration::from_secs(120)).await;
    let messages = signed_messages(WARM_UP..WARM_UP + events)?;
    let by_message = load::post_all(fleet.address, CONNECTIONS, messages.clone()).await?;
    let again = load::post_all(fleet.address, CONNECTIONS, messages).await?;
    let kept = load::get(fleet.address, &format!("{SUPERADMIN}/chats/?page_size=100&page=1")).await?;
    if kept["total"].as_u64() != Some(CHATS as u64) {
        return Err(format!("{} chats are kept, and not {CHATS}", kept["total"]).into());
    }
    let memory = fleet.peak_memory_of_api()?;
    fleet.stop().await?;
    servers.drop_database(&name).await?;

    let rate = |within: Duration| events as f64 / within.as_secs_f64();
    let (event, message) = (rate(by_event.within), rate(by_message.within));
    Ok(vec![
        figure("events accepted", "/s", event),
        figure("events: answer, p99", "ms", by_event.quantile_ms(0.99)),
        figure("messages of WhatsApp taken", "/s", message),
        figure("messages for each event", "", message / event),
        figure("messages: answer, p50", "ms", by_message.quantile_ms(0.50)),
        figure("messages: answer, p99", "ms", by_message.quantile_ms(0.99)),
        figure("the same messages told again", "/s", rate(again.within)),
        figure("peak memory, API", "MiB", memory),
    ])
}

fn settings<'s>(database_url: &'s str, servers: &'s Servers, smtp: &Smtp, bridge: &'s Bridge) -> Settings<'s> {
    let redis_url = &servers.redis_url;
    Settings { database_url, redis_url, smtp: smtp.addr(), bridge: Some((bridge.url(), SECRET)) }
}

/// The webhooks `process-message`, signed.
fn signed_messages(numbers: std::ops::Range<usize>) -> Result<Vec<Vec<u8>>, Failure> {
    numbers.map(|number| signed(&message(number).to_string())).collect()
}

fn signed(body: &str) -> Result<Vec<u8>, Failure> {
    let key = PKey::hmac(SECRET.as_bytes())?;
    let code = Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(body.as_bytes())?;
    let mut signature = String::from("sha256=");
    for byte in code {
        write!(signature, "{byte:02x}")?;
    }
    let length = body.len();
    let head =
        "POST /api/v1/whatsapp/webhook/process-message/ HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json";
    Ok(format!("{head}\r\nX-Hub-Signature-256: {signature}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes())
}

/// What a customer writes, as the Node service tells of it.
fn message(number: usize) -> Value {
    let chat = number % CHATS;
    let phone = format!("59399{chat:07}");
    let text = match number % ONE_NAMES_A_CODE {
        0 => format!("Hola, mi código es RES-BENCH-20260120-{number:08X}, somos 4 personas"),
        _ => format!("¿Todavía hay cupo para el sábado por la mañana? Somos {} personas.", number % 9 + 1),
    };
    json!({
        "id": format!("3EB0{number:018X}"),
        "phone": phone,
        "chat_id": format!("{phone}@c.us"),
        "chat_type": "individual",
        "chat_name": "Ana Paredes",
        "whatsapp_name": "Anita",
        "profile_picture_url": null,
        "text": text,
        "timestamp": 1_768_919_400 + number,
        "from_me": false,
        "sender_name": "Ana Paredes",
        "sender_phone": phone,
        "media_type": "chat",
        "reply_to_whatsapp_id": null,
    })
}

/// All histories of a telephone, fetched by the worker.
async fn sync(servers: &mut Servers, programs: &Path) -> Result<Vec<Figure>, Failure> {
    let name = format!("bench_bridge_{}", std::process::id());
    let database_url = servers.begin(&name).await?;
    let smtp = Smtp::start(SmtpOptions { keep: 0, ..SmtpOptions::default() }).await?;
    let bridge = Bridge::start(BridgeOptions::default()).await?;
    bridge.fill(HISTORIES, MESSAGES_OF_EACH);
    let settings = settings(&database_url, servers, &smtp, &bridge);
    let fleet = Fleet::start(programs, &settings).await?;
    run(&fleet, "chats/sync", HISTORIES as u64).await?;
    let before = fleet.peak_memory_of_worker()?;
    let Synced { within, peak_at_a_tenth } =
        run(&fleet, "messages/sync", (HISTORIES * MESSAGES_OF_EACH) as u64).await?;
    let at_the_end = fleet.peak_memory_of_worker()?;
    let again = run(&fleet, "messages/sync", 0).await?.within;
    fleet.stop().await?;
    servers.drop_database(&name).await?;
    let messages = (HISTORIES * MESSAGES_OF_EACH) as f64;
    Ok(vec![
        figure("a sync of 200 chats × 1,000: messages stored", "/s", messages / within.as_secs_f64()),
        figure("the same again: messages compared", "/s", messages / again.as_secs_f64()),
        figure("peak memory of the worker before", "MiB", before),
        figure("— when a tenth of the chats was done", "MiB", peak_at_a_tenth),
        figure("— at the end", "MiB", at_the_end),
    ])
}

struct Synced {
    within: Duration,
    /// Of the worker, in MiB; 0 where it is no sync of histories.
    peak_at_a_tenth: f64,
}

/// Runs a sync that must store so much.
async fn run(fleet: &Fleet, path: &str, created: u64) -> Result<Synced, Failure> {
    let started = Instant::now();
    let mut peak_at_a_tenth = 0.0;
    let accepted = load::ask(fleet.address, &format!("{SUPERADMIN}/{path}/"), &json!({})).await?;
    let task = accepted["task_id"].as_str().ok_or("no task was accepted")?.to_owned();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Unknown until a worker has begun it.
        let sync = load::get(fleet.address, &format!("{SUPERADMIN}/syncs/{task}/")).await.unwrap_or_default();
        if peak_at_a_tenth == 0.0 && sync["chats_done"].as_u64().is_some_and(|done| done >= HISTORIES as u64 / 10) {
            peak_at_a_tenth = fleet.peak_memory_of_worker()?;
        }
        if sync["finished_at"].is_string() {
            let found = sync["created"].as_u64();
            return if found == Some(created) {
                Ok(Synced { within: started.elapsed(), peak_at_a_tenth })
            } else {
                Err(format!("{found:?} were stored, and not {created}").into())
            };
        }
        if started.elapsed() > SYNC_TIMEOUT {
            return Err(format!("the sync does not end: {sync}. {}", fleet.told_by_worker()).into());
        }
    }
}
