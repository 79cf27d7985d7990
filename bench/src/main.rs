//! How fast Recado is, on the machine where this runs: `make bench`.
//!
//! PostgreSQL runs with its durable defaults (`fsync` on) and Redis beside it, on the same processors as Recado itself. Each
//! figure is the median of several runs.

mod analytics;
mod dispatch;
mod queue;
mod stage;

use std::error::Error;

use clap::{Parser, ValueEnum};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Measure Recado against private PostgreSQL and Redis servers (TEST_DATABASE_URL, TEST_REDIS_URL)")]
struct Cli {
    /// What to measure. Default: everything.
    #[arg(value_enum)]
    what: Vec<What>,

    /// Counted runs; the median is printed.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// No-op jobs through the ledger and Redis: enqueue, then claim, run and complete by one worker.
    Queue,
    /// Events through the door: customers, plan, words, commit and ring.
    Door,
    /// From the door to the SMTP server, one at a time on an idle machine.
    Latency,
    /// A thousand events and more, from the door to the SMTP server, as fast as one worker delivers.
    Delivery,
    /// Figures over a million notifications, over HTTP, and the plans of the statements that every day needs.
    Analytics,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let Cli { what, runs } = Cli::parse();
    let all = what.is_empty();
    let wanted = |one| all || what.contains(&one);
    let stage = stage::Stage::set().await?;
    if wanted(What::Queue) {
        queue::measure(&stage, runs).await?;
    }
    if wanted(What::Door) {
        dispatch::measure_door(&stage, runs).await?;
    }
    if wanted(What::Latency) {
        dispatch::measure_latency(&stage).await?;
    }
    if wanted(What::Delivery) {
        dispatch::measure_delivery(&stage, runs).await?;
    }
    if wanted(What::Analytics) {
        analytics::measure(&stage, runs).await?;
    }
    Ok(())
}

/// Prints the median of the runs between the slowest and the fastest.
fn report(name: &str, unit: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let (slowest, median, fastest) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
    println!("{name:<44} {median:>12.1} {unit:<6} ({slowest:.1} to {fastest:.1}, {} runs)", figures.len());
}
