//! The program `recado-scheduler`.

use std::process::ExitCode;

use clap::Parser;
use recado_scheduler::cli::{self, SchedulerArgs};
use recado_shared::process;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "recado-scheduler", version)]
struct Program {
    #[command(flatten)]
    args: SchedulerArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Program { args } = Program::parse();
    match cli::run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recado-scheduler: {}", process::explain(&error));
            ExitCode::FAILURE
        }
    }
}
