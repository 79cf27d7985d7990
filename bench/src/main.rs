//! How fast Recado is, on the machine where this runs: `make bench`.
//!
//! PostgreSQL runs with its durable defaults (`fsync` on) and Redis beside it, on the same processors as Recado itself. Each
//! figure is the median of several runs.

mod against;
mod analytics;
mod console;
mod conversations;
mod dispatch;
mod fleet;
mod http;
mod load;
mod million;
mod processes;
mod queue;
mod servers;
mod stage;
mod statements;
mod webhooks;

use std::error::Error;
use std::io;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  make bench                                    everything, of this version
  make bench ARGS=\"http --statements\"          over HTTP, and what PostgreSQL spends its time on
  make bench ARGS=\"--against main\"             this version and main in turn, and a table of both
  make bench ARGS=\"http --against v1 --runs 9\"  nine pairs, HTTP alone
  make bench ARGS=\"http --programs DIR\"        the programs in another folder

`make bench` checks the revision of --against out below target/against/ and builds it there, the first time for some minutes.";

/// Measure Recado against private PostgreSQL and Redis servers (TEST_DATABASE_URL, TEST_REDIS_URL)
#[derive(Parser)]
#[command(after_help = EXAMPLES)]
struct Cli {
    /// What to measure. Default: everything; with --against http, intake, delivery and queue, and nothing else.
    #[arg(value_enum)]
    what: Vec<What>,

    /// Counted runs, of which the median is printed; with --against the pairs. Default: 5, and 3 pairs.
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    runs: Option<usize>,

    /// Folder of recado, recado-api, recado-worker and recado-scheduler for HTTP. Default: where this program is.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,

    /// Measure an older version and this one in turn, and print old, new and new/old. A git revision for `make bench`; for
    /// this program the folder of the older version's programs, recado-bench among them.
    #[arg(long, value_name = "REVISION")]
    against: Option<PathBuf>,

    /// Events of each run over HTTP.
    #[arg(long, default_value_t = 10_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    events: usize,

    /// Print PostgreSQL's time by statement in the last run over HTTP, in the last of webhooks, and under the console's pages
    /// (pg_stat_statements). Counting slows it down a little.
    #[arg(long)]
    statements: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Events over HTTP on 32 and on 128 kept connections, while a worker delivers: the product's programs as processes.
    Http,
    /// No-op jobs through the ledger and Redis: enqueue, then claim, run and complete by one worker.
    Queue,
    /// Events at intake, in the process: customers, plan, words, commit and ring.
    // The other name is the one that older versions know, and both are asked alike.
    #[value(alias = "door")]
    Intake,
    /// From intake to the SMTP server, one at a time on an idle machine.
    Latency,
    /// A thousand events and more, from intake to the SMTP server, as fast as one worker delivers.
    Delivery,
    /// Webhooks to a partner on loopback, signed and durable, beside as many mails; and to a hundred of which one hangs.
    Webhooks,
    /// Messages that a WhatsApp bridge tells of, signed, beside events of the same run; and the histories of 200 chats.
    Conversations,
    /// Figures over a million notifications, over HTTP, and the plans of the statements that every day needs.
    Analytics,
    /// Every page of the console over a million notifications and 200,000 customers, while fifty people look.
    Console,
}

impl What {
    /// What any version's `recado-bench` calls it.
    fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Queue => "queue",
            Self::Intake => "door",
            Self::Latency => "latency",
            Self::Delivery => "delivery",
            Self::Webhooks => "webhooks",
            Self::Conversations => "conversations",
            Self::Analytics => "analytics",
            Self::Console => "console",
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let Cli { what, runs, programs, against, events, statements } = Cli::parse();
    let programs = match programs {
        Some(folder) => folder.canonicalize()?,
        None => folder_of_this_program()?,
    };
    if let Some(old) = against {
        let (old, pairs) = (old.canonicalize()?, runs.unwrap_or(3));
        let comparison = against::Comparison { old: &old, new: &programs, what: &what, pairs, events, statements };
        return against::measure(comparison).await;
    }
    let runs = runs.unwrap_or(5);
    let wanted = |one| what.is_empty() || what.contains(&one);
    if wanted(What::Http) {
        http::measure(&programs, runs, events, statements).await?;
    }
    if wanted(What::Conversations) {
        conversations::measure(&programs, runs, events).await?;
    }
    if what.iter().all(|one| matches!(one, What::Http | What::Conversations)) && !what.is_empty() {
        return Ok(());
    }
    let stage = stage::Stage::set().await?;
    if wanted(What::Queue) {
        queue::measure(&stage, runs).await?;
    }
    if wanted(What::Intake) {
        dispatch::measure_intake(&stage, runs).await?;
    }
    if wanted(What::Latency) {
        dispatch::measure_latency(&stage).await?;
    }
    if wanted(What::Delivery) {
        dispatch::measure_delivery(&stage, runs).await?;
    }
    if wanted(What::Webhooks) {
        webhooks::measure(&stage, runs, statements).await?;
    }
    if wanted(What::Analytics) || wanted(What::Console) {
        million::fill(&stage).await?;
    }
    if wanted(What::Console) {
        console::measure(&stage, statements).await?;
    }
    if wanted(What::Analytics) {
        analytics::measure(&stage, runs).await?;
    }
    Ok(())
}

/// Cargo puts all programs of a workspace beside each other.
fn folder_of_this_program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    program.parent().map(Into::into).ok_or_else(|| io::Error::other("this program is in no folder"))
}

/// Something measured once.
#[derive(Debug, PartialEq)]
struct Figure {
    name: String,
    unit: &'static str,
    value: f64,
}

/// Figures of several runs, by name, in the order in which they came.
#[derive(Default)]
struct Series {
    rows: Vec<(String, &'static str, Vec<f64>)>,
}

impl Series {
    fn add(&mut self, Figure { name, unit, value }: Figure) {
        match self.rows.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, _, values)) => values.push(value),
            None => self.rows.push((name, unit, vec![value])),
        }
    }

    fn report(self) {
        for (name, unit, values) in self.rows {
            report(&name, unit, values);
        }
    }
}

/// Prints the median of the runs between the slowest and the fastest.
fn report(name: &str, unit: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    println!("{}", line(name, unit, &figures));
}

/// The same for how many of one there are for each of another.
fn report_ratios(name: &str, mut ratios: Vec<f64>) {
    ratios.sort_by(f64::total_cmp);
    let (lowest, median, highest) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    println!("{name:<52} {median:>12.2}        ({lowest:.2} to {highest:.2}, {} runs)", ratios.len());
}

/// The figures are sorted. Another version's program reads this line, so its form stays.
fn line(name: &str, unit: &str, figures: &[f64]) -> String {
    let (lowest, median, highest) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
    format!("{name:<52} {median:>12.1} {unit:<6} ({lowest:.1} to {highest:.1}, {} runs)", figures.len())
}

/// The upper one of the two in the middle where their number is even.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
