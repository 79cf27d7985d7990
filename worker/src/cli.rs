//! `recado worker` and `recado-worker`.

use std::error::Error;

use clap::Args;
use recado_kernel::process;
use recado_kernel::telemetry;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::systems::Systems;
use recado_systems::SYSTEMS;

use crate::{Options, Worker};

/// Take tasks from the queues and run them.
#[derive(Args, Clone, Debug)]
pub struct WorkerArgs {
    // All systems of the program name them.
    #[arg(short = 'Q', long = "queues", value_delimiter = ',', value_name = "QUEUE", help = queues_help(SYSTEMS))]
    pub queues: Vec<String>,

    /// Jobs at once, per lane. Default: WORKER_CONCURRENCY.
    #[arg(short, long, value_name = "N")]
    pub concurrency: Option<usize>,
}

impl WorkerArgs {
    fn lanes(&self, systems: Systems) -> Result<Vec<Lane>, String> {
        let mut lanes = Vec::new();
        for word in &self.queues {
            let named = systems.lanes_named(word.trim());
            if named.is_empty() {
                let (queues, lanes) = (systems.queues().join(", "), listed(&systems.lanes()));
                return Err(format!("`{word}` is no queue; choose {queues}, or one of {lanes}"));
            }
            lanes.extend(named);
        }
        lanes.sort_unstable();
        lanes.dedup();
        Ok(if lanes.is_empty() { systems.lanes() } else { lanes })
    }
}

fn queues_help(systems: Systems) -> String {
    let queues = systems.queues().join(", ");
    format!("Queues to serve: {queues}, or a single lane such as notifications.email. Default: all")
}

fn listed(lanes: &[Lane]) -> String {
    lanes.iter().copied().map(Lane::as_str).collect::<Vec<_>>().join(", ")
}

/// Works until a signal, then drains.
pub async fn run(args: WorkerArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = process::configure("info,sqlx=warn")?;
    let lanes = args.lanes(SYSTEMS)?;
    let metrics_listen = config.metrics_listen;
    let left: Vec<Lane> = SYSTEMS.lanes().into_iter().filter(|lane| !lanes.contains(lane)).collect();
    if !left.is_empty() {
        let left = listed(&left);
        tracing::info!(left, "other workers must serve {left}");
    }
    let concurrency = args.concurrency.unwrap_or(config.worker.concurrency).max(1);
    let context = Context::open_for_fleet(config, SYSTEMS).await?;
    let stop = process::until_signal();
    if let Some(address) = metrics_listen {
        telemetry::serve(address, context.health.clone(), stop.clone()).await?;
    }
    Worker::new(context, Options { lanes, concurrency })?.run(stop).await;
    Ok(())
}
