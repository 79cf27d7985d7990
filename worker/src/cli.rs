//! `recado worker` and `recado-worker`.

use std::error::Error;

use clap::Args;
use recado_shared::process;
use recado_shared::queue::Lane;
use recado_shared::telemetry;

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
    fn lanes(&self) -> Result<Vec<Lane>, String> {
        let mut lanes = Vec::new();
        for word in &self.queues {
            let named = Lane::named(word.trim());
            if named.is_empty() {
                let known = Lane::ALL.map(Lane::as_str).join(", ");
                return Err(format!(
                    "`{word}` is no queue; choose notifications, sync, maintenance, or one of {known}"
                ));
            }
            lanes.extend(named);
        }
        lanes.sort_unstable();
        lanes.dedup();
        Ok(if lanes.is_empty() { Lane::ALL.to_vec() } else { lanes })
    }
}

/// Works until a signal, then drains.
pub async fn run(args: WorkerArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = process::configure("info,sqlx=warn")?;
    let lanes = args.lanes()?;
    let metrics_listen = config.metrics_listen;
    let concurrency = args.concurrency.unwrap_or(config.worker.concurrency).max(1);
    let context = process::open_for_fleet(config).await?;
    let stop = process::until_signal();
    if let Some(address) = metrics_listen {
        telemetry::serve(address, stop.clone()).await?;
    }
    Worker::new(context, Options { lanes, concurrency })?.run(stop).await;
    Ok(())
}
