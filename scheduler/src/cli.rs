//! The command line of `recado-scheduler`, which is `recado scheduler` too.

use std::net::SocketAddr;

use clap::Args;
use recado_kernel::process;
use recado_kernel::telemetry;
use recado_queue::context::{Context, StartError};
use recado_systems::SYSTEMS;
use tokio_util::sync::CancellationToken;

use crate::Swept;

/// Decides when things happen: recurring work, delayed tasks, and the recovery of what dead workers held
#[derive(Args, Clone, Debug)]
pub struct SchedulerArgs {
    /// Do one pass over everything and end; for cron, or to see what it would find
    #[arg(long)]
    pub once: bool,
}

/// The scheduler cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Process(#[from] StartError),
    #[error("METRICS_LISTEN={address} cannot be used")]
    Metrics { address: SocketAddr, source: std::io::Error },
    #[error("the pass did not end well")]
    Pass(#[from] sqlx::Error),
}

/// Runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the configuration is wrong, the database cannot be opened, or the port of the metrics is taken.
pub async fn run(args: &SchedulerArgs) -> Result<(), RunError> {
    let config = process::configure("info,sqlx=warn").map_err(StartError::from)?;
    let metrics_listen = config.metrics_listen.filter(|_| !args.once);
    let context = Context::open_for_fleet(config, SYSTEMS).await?;
    if args.once {
        let Swept { ticked, promoted, recovered, poisoned, rung_again } = crate::sweep(&context).await?;
        println!(
            "ticked {ticked}, promoted {promoted}, recovered {recovered}, poisoned {poisoned}, rung again {rung_again}"
        );
        return Ok(());
    }
    let stop = process::until_signal();
    serve_metrics(metrics_listen, &context, &stop).await?;
    crate::run(context.clone(), stop).await;
    context.close().await;
    Ok(())
}

async fn serve_metrics(
    address: Option<SocketAddr>,
    context: &Context,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let Some(address) = address else { return Ok(()) };
    let serving = telemetry::serve(address, context.health.clone(), stop.clone()).await;
    let bound = serving.map_err(|source| RunError::Metrics { address, source })?;
    tracing::info!("metrics on http://{bound}/metrics");
    Ok(())
}
