//! `recado up`: the API, a worker and the scheduler in one process.
//!
//! With the feature `sandbox`, the sandbox is the provider of all channels when none is configured, and a sample is sent.

use recado_systems::SYSTEMS;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::DirBuilderExt;
use std::process::ExitCode;

use clap::Args;
use recado_kernel::clock::Clock;
use recado_kernel::config::Config;
use recado_kernel::errors;
use recado_kernel::{addresses, api_keys, process, telemetry};
#[cfg(not(feature = "sandbox"))]
use recado_notifications::channels::Channel;
use recado_notifications::{provider_accounts, seed};
use recado_queue::context::{Context, StartError};
use recado_worker::{Options, Worker};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "sandbox")]
use crate::conversation_sample;
use crate::health::reachable;
use crate::output::{Outcome, Step, say};
#[cfg(feature = "sandbox")]
use crate::partner_sample;
use crate::provider_settings::can_reach_people;
#[cfg(not(feature = "sandbox"))]
use crate::provider_settings::is_configured;
#[cfg(feature = "sandbox")]
use crate::sample;
#[cfg(feature = "sandbox")]
use crate::stand_ins::{self, StandIns};
use crate::{database, ledger};

type Failure = Box<dyn Error + Send + Sync>;

/// What runs: each task returns its name and how it ended.
type Services = JoinSet<(&'static str, Result<(), Failure>)>;

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Where the API listens, instead of LISTEN; port 0 is any free one
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = parse_address)]
    listen: Vec<SocketAddr>,
    /// Do not send the sample message
    // Without the sandbox there is none; the flag is still accepted, so that a command line works in both builds.
    #[arg(long, hide = cfg!(not(feature = "sandbox")))]
    no_sample: bool,
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| "write host:port, e.g. 127.0.0.1:8001".to_owned())
}

pub(crate) async fn run(options: Up) -> Outcome {
    let mut config = ledger::configure()?;
    if !options.listen.is_empty() {
        config.listen = options.listen;
    }
    let stop = process::until_signal();
    let listeners = prepare(&mut config).await?;
    #[cfg(feature = "sandbox")]
    let stand_ins = StandIns::start_for(&mut config).await?;
    let installation = Box::pin(Installation::start(config, listeners, stop.clone())).await?;
    #[cfg(feature = "sandbox")]
    show(&installation, stand_ins.as_ref(), !options.no_sample).await?;
    #[cfg(not(feature = "sandbox"))]
    say_providers(&installation.context.config);
    installation.say_urls();
    #[cfg(feature = "sandbox")]
    say_what_to_try(&installation, stand_ins.as_ref());
    say("\nIn another terminal: recado tasks list, recado queues. More log: RUST_LOG=info. Ctrl-C ends.");
    installation.until_stopped().await?;
    Ok(ExitCode::SUCCESS)
}

/// Sends the sample, if it is wanted. An installation without it is as good, so an error is only printed.
#[cfg(feature = "sandbox")]
async fn show(installation: &Installation, stand_ins: Option<&StandIns>, send: bool) -> Result<(), Failure> {
    let Installation { context, url, stop, .. } = installation;
    if let Some(stand_ins) = stand_ins {
        stand_ins.connect(context, url);
    }
    sample::prepare(context, stand_ins).await?;
    if send {
        let sent = stop.run_until_cancelled(Box::pin(sample::send(context, url, stand_ins))).await;
        if let Some(Err(error)) = sent {
            say(&format!("! The sample could not be sent: {}", errors::explain(error.as_ref())));
        }
    }
    Ok(())
}

#[cfg(feature = "sandbox")]
fn say_what_to_try(installation: &Installation, stand_ins: Option<&StandIns>) {
    let url = &installation.url;
    let access = &installation.context.config.access;
    let authorization =
        if access.anonymous || access.open_on_this_machine { "" } else { " -H \"Authorization: Bearer $KEY\"" };
    if let Some(stand_ins) = stand_ins {
        say(&format!("Inbox    {url}/admin/inbox/ shows what arrived, as JSON {}messages", stand_ins.inbox_url()));
        say("\nTry it in the console");
        say(&format!("  1. {url}/admin/inbox/   switch on: Email, the mailbox does not exist (550)"));
        say(&format!("  2. {url}/admin/try/     send the sample, and watch WhatsApp take over in its story"));
        say(&format!("  3. {url}/admin/failures/ lift the fault, and retry by cause"));
    }
    say("\nSend one yourself");
    say(&format!("  curl{authorization} {url}{} --json '{}'", sample::PATH, sample::EVENT));
    if let Some(stand_ins) = stand_ins {
        let faults = format!("{}faults", stand_ins.inbox_url());
        say("\nMake a provider fail, and see the next channel take over");
        say(&format!("  curl -X PUT {faults} --json '{{\"email\": {{\"fault\": \"reject_data\", \"code\": 554}}}}'"));
        say(&format!("  curl -X DELETE {faults}"));
        say("\nExchange signed webhooks with a partner; `recado demo partners` shows all of it");
        let partner = stand_ins.partner();
        let secret = partner.make_secret();
        partner.answer_to(&format!("{url}{}", partner_sample::INBOUND));
        let body = partner_sample::registration(partner, Some(&secret));
        say(&format!("  curl{authorization} {url}{} --json '{body}'", partner_sample::REGISTER));
        say(&format!("  curl{authorization} {url}{} --json '{}'", partner_sample::NOTIFY, partner_sample::RESERVATION));
        say(&format!("  curl{authorization} {url}{}", partner_sample::RECEIVED));
        say("\nWrite to the telephone as a customer; `recado demo conversations` plays a whole reservation");
        let written = r#"{"chat_id": "593991234567@c.us", "text": "Hola, mi código es RES-ISLAS-1"}"#;
        say(&format!("  curl {}bridge --json '{written}'", stand_ins.inbox_url()));
        say(&format!("  curl{authorization} {url}{}", conversation_sample::REQUESTS));
    }
}

/// Says which channels have no provider in the settings; accounts in the database may still serve them.
#[cfg(not(feature = "sandbox"))]
fn say_providers(config: &Config) {
    let missing = Channel::ALL.into_iter().filter(|channel| !is_configured(config, *channel));
    let missing: Vec<&str> = missing.map(Channel::as_str).collect();
    if !missing.is_empty() {
        say(&format!(
            "\n! No provider is configured for {}, and this build has no sandbox to stand in: messages on these channels \
             fail unless a provider account is added. `recado config example` lists the settings.",
            missing.join(", ")
        ));
    }
}

/// Takes the addresses, the data folder and the secret key. First of all, because this is what most often fails.
pub(crate) async fn prepare(config: &mut Config) -> Result<Vec<TcpListener>, Failure> {
    telemetry::start_metrics();
    say(&format!("Recado {}: everything in one process\n", env!("CARGO_PKG_VERSION")));
    let listeners = listen(&config.listen).await?;
    create_folder(config)?;
    recado_kernel::secret_key::ensure(config)?;
    Ok(listeners)
}

/// Everything, running in this process.
pub(crate) struct Installation {
    pub(crate) context: Context,
    /// Where the API is reached.
    pub(crate) url: String,
    services: Services,
    stop: CancellationToken,
}

impl Installation {
    /// Starts everything and prints each step.
    pub(crate) async fn start(
        config: Config,
        listeners: Vec<TcpListener>,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        let addresses: Vec<SocketAddr> = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let context = open_ledger(config, &addresses).await?;
        let url = format!("http://{}", reachable(addresses[0]));
        let services = start_services(&context, listeners, &stop)?;
        say_access(&context, &url);
        Ok(Self { context, url, services, stop })
    }

    /// Waits for a signal, or until a service ends by itself, which none should.
    pub(crate) async fn until_stopped(mut self) -> Result<(), Failure> {
        let mut failure = None;
        while let Some(ended) = self.services.join_next().await {
            let was_asked = self.stop.is_cancelled();
            let (name, result) = ended?;
            match result {
                Err(error) => {
                    failure = failure.or(Some(format!("{name} failed: {}", errors::explain(error.as_ref()))));
                }
                Ok(()) if !was_asked => failure = failure.or(Some(format!("{name} ended by itself"))),
                Ok(()) => {}
            }
            self.stop.cancel();
        }
        self.context.close().await;
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Asks all services to stop and waits for them.
    #[cfg(feature = "sandbox")]
    pub(crate) async fn shut_down(self) -> Result<(), Failure> {
        self.stop.cancel();
        self.until_stopped().await
    }

    fn say_urls(&self) {
        let url = &self.url;
        say(&format!("\nConsole  {url}/admin/"));
        say(&format!("API      {url}/api/v1/    health {url}/health    metrics {url}/metrics"));
        if cfg!(debug_assertions) {
            say("Build    not optimised, for a first look; production and benchmarks: cargo build --release");
        }
    }
}

async fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(TcpListener::bind(address).await.map_err(|error| explain_bind(*address, &error))?);
    }
    Ok(listeners)
}

fn explain_bind(address: SocketAddr, error: &io::Error) -> String {
    let elsewhere = SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(8001));
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{address} is in use: another program listens there, perhaps a Recado that is still running. Choose another \
             address with --listen {elsewhere} or LISTEN"
        ),
        _ => format!("cannot listen on {address}: {error}. Choose another address with --listen {elsewhere} or LISTEN"),
    }
}

/// Only its owner may read the data folder: it holds people's addresses and a private key.
fn create_folder(config: &Config) -> Result<(), String> {
    let folder = &config.home;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| format!("RECADO_HOME={} cannot be made: {error}", folder.display()))
}

/// Opens the database, brings its schema up to date, and loads the catalogue where there is none.
async fn open_ledger(mut config: Config, addresses: &[SocketAddr]) -> Result<Context, Failure> {
    let step = Step::begin("database");
    let engine = match ledger::embedded_file(&config) {
        Some(file) => format!("SQLite in {}", file.display()),
        None => "PostgreSQL".to_owned(),
    };
    let context = Context::open(config.clone(), Clock::system(), SYSTEMS).await?;
    context.db.migrate().await.map_err(StartError::from)?;
    step.done(&format!("{engine}, schema up to date"));
    load_catalogue(&context).await?;

    let step = Step::begin("queue");
    match &config.redis_url {
        None => step.done("in this process"),
        Some(_) => match context.queue.can_write().await {
            Ok(_) => step.done("Redis"),
            Err(error) => {
                step.failed(&format!("Redis does not answer, work waits until it does: {}", errors::explain(&error)));
            }
        },
    }
    config.access.open_on_this_machine = may_stand_open(&config, addresses, way_in(&context).await?)?;
    #[cfg(feature = "sandbox")]
    stand_ins::give_bridge_a_secret(&mut config)?;
    Ok(Context { config: config.into(), ..context })
}

/// What the database says about a way in and a way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Key,
    /// No key, and an account through which messages leave this machine.
    Account,
    Nothing,
}

async fn way_in(context: &Context) -> Result<Found, StartError> {
    let mut session = context.db.read().await?;
    let has_key = !context.config.access.api_keys.is_empty() || api_keys::any(&mut session).await?;
    let leads_out = provider_accounts::lead_out(&mut session, &context.config).await?;
    Ok(if has_key {
        Found::Key
    } else if leads_out {
        Found::Account
    } else {
        Found::Nothing
    })
}

/// Whether the API is open to this machine although the settings do not say so. It is as long as there is no key, only this
/// machine can reach it, and nothing that it sends leaves this machine (d21). What the database says is asked again for each
/// request.
fn may_stand_open(config: &Config, addresses: &[SocketAddr], found: Found) -> Result<bool, NoApiKey> {
    if found == Found::Key || config.access.anonymous {
        return Ok(false);
    }
    if found == Found::Account {
        return Err(NoApiKey("messages leave through a provider account of the database"));
    }
    if can_reach_people(config) {
        return Err(NoApiKey("its messages would reach people"));
    }
    if addresses.iter().all(|address| address.ip().is_loopback()) {
        return Ok(true);
    }
    Err(NoApiKey("it listens beyond this machine"))
}

/// The API must not be open, and there is no key to call it with.
#[derive(Debug, thiserror::Error)]
#[error(
    "the API wants a key, because {0}, and there is none. Make one with `recado api-key create NAME` and start again, or \
     set API_KEYS, or open the API to all callers with ALLOW_ANONYMOUS_API=true"
)]
struct NoApiKey(&'static str);

async fn load_catalogue(context: &Context) -> Result<(), Failure> {
    let step = Step::begin("catalogue");
    let mut session = context.db.begin().await?;
    let mut totals = seed::totals(&mut session).await?;
    if totals.phases == 0 {
        seed::load(&mut session, false, context.clock.now()).await?;
        totals = seed::totals(&mut session).await?;
    }
    session.commit().await?;
    step.done(&database::describe(&totals));
    Ok(())
}

fn start_services(
    context: &Context,
    listeners: Vec<TcpListener>,
    stop: &CancellationToken,
) -> Result<Services, Failure> {
    let mut services = JoinSet::new();
    let addresses: Vec<String> =
        listeners.iter().map(|listener| Ok(format!("http://{}", listener.local_addr()?))).collect::<io::Result<_>>()?;

    let step = Step::begin("worker");
    let options = Options::from(context);
    let concurrency = options.concurrency;
    let worker = Worker::new(context.clone(), options)?;
    let stopping = stop.clone();
    services.spawn(async move {
        worker.run(stopping).await;
        ("worker", Ok(()))
    });
    step.done(&format!("up to {concurrency} jobs at once on each channel"));

    let step = Step::begin("scheduler");
    let (scheduled, stopping) = (context.clone(), stop.clone());
    services.spawn(async move {
        recado_scheduler::run(scheduled, stopping).await;
        ("scheduler", Ok(()))
    });
    step.done("retries, recurring work, lost work");

    let step = Step::begin("api");
    // So that the first request with a number does not wait for it.
    tokio::task::spawn_blocking(addresses::load_numbering_plans);
    let (served, stopping) = (context.clone(), stop.clone());
    services.spawn(async move {
        let served = recado_api::serve(served, listeners, stopping).await;
        ("api", served.map_err(Failure::from))
    });
    step.done(&addresses.join(", "));
    Ok(services)
}

fn say_access(context: &Context, url: &str) {
    let access = &context.config.access;
    if access.open_on_this_machine {
        say("\n! The API is OPEN to programs of this machine: it asks for no key until there is one.");
        say("! Before others can reach it, make a key: `recado api-key create NAME`, and restart.");
    } else if access.anonymous {
        say("\n! The API is OPEN: it asks for no key.");
        say("! Before others can reach it, make a key: `recado api-key create NAME`, and restart.");
    } else {
        say(&format!("\n{url} wants a key; `recado api-key list` shows which there are."));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_key_it_is_open_only_where_it_affects_no_one_else() {
        let open = |anonymous: &str, email_host: &str, address: &str, found| {
            let config = Config::from_pairs([
                ("ALLOW_ANONYMOUS_API", anonymous),
                ("EMAIL_HOST", email_host),
                ("DEFAULT_FROM_EMAIL", "taller@example.com"),
            ]);
            may_stand_open(&config.expect("valid"), &[address.parse().expect("an address")], found).ok()
        };
        let (here, everywhere) = ("127.0.0.1:8000", "0.0.0.0:8000");
        assert_eq!(open("", "", here, Found::Nothing), Some(true));
        // A mail server on loopback sends to people as any other does.
        assert_eq!(open("", "127.0.0.1", here, Found::Nothing), None);
        assert_eq!(open("", "", here, Found::Account), None);
        assert_eq!(open("", "", here, Found::Key), Some(false));
        assert_eq!(open("", "", everywhere, Found::Nothing), None);
        assert_eq!(open("", "smtp.example.com", here, Found::Nothing), None);
        assert_eq!(open("", "smtp.example.com", everywhere, Found::Key), Some(false));
        assert_eq!(open("true", "smtp.example.com", everywhere, Found::Nothing), Some(false), "it was asked for");
    }

    #[tokio::test]
    async fn a_port_in_use_is_explained_with_the_remedy() {
        let taken = listen(&["127.0.0.1:0".parse().expect("an address")]).await.expect("a free port");
        let address = taken[0].local_addr().expect("bound");
        let error = listen(&[address]).await.expect_err("in use").to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
    }
}
