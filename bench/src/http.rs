//! What a caller meets: events over HTTP, while a worker delivers at the same time.
//!
//! The product runs as its own programs, of whichever version. The load generator and the mail server run in this
//! process, and all of it on the same processors.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use recado_sandbox::{Smtp, SmtpOptions};
use sqlx::PgPool;

use crate::fleet::{Fleet, Settings};
use crate::load;
use crate::processes::processor_time;
use crate::servers::Servers;
use crate::{Figure, Series, statements};

/// Connections that are kept, each with one request at a time.
pub(crate) const CONNECTIONS: [usize; 2] = [32, 128];

/// Not counted: connections are opened, statements prepared, pages read.
const WARM_UP: usize = 1_000;

/// Until all mails have arrived.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// How a run is done.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    /// The folder of recado, recado-api, recado-worker and recado-scheduler.
    pub(crate) programs: &'a Path,
    pub(crate) connections: usize,
    pub(crate) events: usize,
    /// Print PostgreSQL's statements under this title.
    pub(crate) statements: Option<&'a str>,
}

/// Runs the programs of a folder, and prints the medians.
pub(crate) async fn measure(
    programs: &Path,
    runs: usize,
    events: usize,
    with_statements: bool,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut servers = Servers::open().await?;
    for connections in CONNECTIONS {
        let mut series = Series::default();
        let title = title(connections);
        for number in 1..=runs {
            let statements = (with_statements && number == runs).then_some(title.as_str());
            let run = Run { programs, connections, events, statements };
            for figure in run_once(&mut servers, run).await? {
                series.add(figure);
            }
        }
        series.report();
    }
    Ok(())
}

pub(crate) fn title(connections: usize) -> String {
    format!("HTTP, {connections} connections")
}

/// One run, with a database and processes of its own.
pub(crate) async fn run_once(servers: &mut Servers, run: Run<'_>) -> Result<Vec<Figure>, Box<dyn Error + Send + Sync>> {
    let name = format!("bench_http_{}", std::process::id());
    let database_url = servers.begin(&name).await?;
    let smtp = Smtp::start(SmtpOptions { keep: 0, ..SmtpOptions::default() }).await?;
    let settings =
        Settings { database_url: &database_url, redis_url: &servers.redis_url, smtp: smtp.addr(), bridge: None };
    let fleet = Fleet::start(run.programs, &settings).await?;
    load::post_customers(fleet.address).await?;
    load::post_events(fleet.address, run.connections, 0..WARM_UP).await?;
    until_delivered(&smtp, &fleet, WARM_UP).await?;
    smtp.clear();

    let statements = match run.statements {
        Some(title) => Some((PgPool::connect(&database_url).await?, title)),
        None => None,
    };
    if let Some((pool, _)) = &statements {
        statements::reset(pool).await?;
    }
    let figures = count(servers, &fleet, &smtp, run).await?;
    if let Some((pool, title)) = statements {
        statements::print(&pool, title).await?;
        pool.close().await;
    }
    fleet.stop().await?;
    servers.drop_database(&name).await?;
    Ok(figures)
}

/// The part of a run that counts.
async fn count(
    servers: &Servers,
    fleet: &Fleet,
    smtp: &Smtp,
    run: Run<'_>,
) -> Result<Vec<Figure>, Box<dyn Error + Send + Sync>> {
    let times = || {
        Ok::<_, std::io::Error>([
            fleet.processor_time()?,
            servers.processor_time()?,
            processor_time(std::process::id())?,
        ])
    };
    let before = times()?;
    let started = Instant::now();
    let answered = load::post_events(fleet.address, run.connections, 0..run.events).await?;
    until_delivered(smtp, fleet, run.events).await?;
    let delivered_within = started.elapsed();
    let after = times()?;

    let events = run.events as f64;
    let per_thousand =
        |place: usize| after[place].saturating_sub(before[place]).as_secs_f64() * 1_000.0 / (events / 1_000.0);
    let title = title(run.connections);
    let figure = |what: &str, unit, value| Figure { name: format!("{title}: {what}"), unit, value };
    Ok(vec![
        figure("events accepted", "/s", events / answered.within.as_secs_f64()),
        figure("mails delivered", "/s", events / delivered_within.as_secs_f64()),
        figure("answer, p50", "ms", answered.quantile_ms(0.50)),
        figure("answer, p99", "ms", answered.quantile_ms(0.99)),
        figure("our CPU per 1,000", "ms", per_thousand(0)),
        figure("servers' CPU per 1,000", "ms", per_thousand(1)),
        figure("load and SMTP CPU per 1,000", "ms", per_thousand(2)),
        figure("peak memory, API", "MiB", fleet.peak_memory_of_api()?),
        figure("peak memory, worker", "MiB", fleet.peak_memory_of_worker()?),
    ])
}

async fn until_delivered(smtp: &Smtp, fleet: &Fleet, mails: usize) -> Result<(), String> {
    smtp.wait_for(mails, DELIVERY_TIMEOUT).await;
    match smtp.received() {
        received if received == mails => Ok(()),
        received => Err(format!("{received} of {mails} mails arrived. {}", fleet.told_by_worker())),
    }
}
