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
    /// Queues to serve: notifications, sync, maintenance, or a single lane such as notifications.email. Default: all.
    #[arg(short = 'Q', long = "queues", value_delimiter = ',', value_name = "QUEUE")]
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
                let lanes: Vec<&str> = systems.lanes().into_iter().map(Lane::as_str).collect();
                let mut queues: Vec<&str> = systems.lanes().into_iter().map(Lane::queue).collect();
                queues.dedup();
                return Err(format!(
                    "`{word}` is no queue; choose {}, or one of {}",
                    queues.join(", "),
                    lanes.join(", ")
                ));
            }
            lanes.extend(named);
        }
        lanes.sort_unstable();
        lanes.dedup();
        Ok(if lanes.is_empty() { systems.lanes() } else { lanes })
    }
}

/// Works until a signal, then drains.
pub async fn run(args: WorkerArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = process::configure("info,sqlx=warn")?;
    let lanes = args.lanes(SYSTEMS)?;
    let metrics_listen = config.metrics_listen;
    let concurrency = args.concurrency.unwrap_or(config.worker.concurrency).max(1);
    let context = Context::open_for_fleet(config, SYSTEMS).await?;
    let stop = process::until_signal();
    if let Some(address) = metrics_listen {
        telemetry::serve(address, context.health.clone(), stop.clone()).await?;
    }
    Worker::new(context, Options { lanes, concurrency })?.run(stop).await;
    Ok(())
}
