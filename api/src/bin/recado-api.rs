//! `recado-api`: the HTTP API as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use recado_api::cli::{self, ApiArgs};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(version, about = "Serves Recado's HTTP API")]
struct Cli {
    #[command(flatten)]
    args: ApiArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(Cli::parse().args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recado-api: {}", recado_kernel::errors::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
