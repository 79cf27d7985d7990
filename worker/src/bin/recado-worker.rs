//! The worker alone; `recado worker` is the same program.

use clap::Parser;
use recado_worker::cli::{WorkerArgs, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "recado-worker", version, about = "Take tasks from the queues and run them")]
struct Cli {
    #[command(flatten)]
    args: WorkerArgs,
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match run(Cli::parse().args).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recado-worker: {}", recado_kernel::errors::explain(error.as_ref()));
            std::process::ExitCode::FAILURE
        }
    }
}
