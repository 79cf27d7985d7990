//! The program `recado-scheduler`.

use std::process::ExitCode;

use clap::Parser;
use recado_kernel::errors;
use recado_scheduler::cli::{self, SchedulerArgs};

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
            eprintln!("recado-scheduler: {}", errors::explain(&error));
            ExitCode::FAILURE
        }
    }
}
