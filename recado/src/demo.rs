//! `recado demo`: `recado up` for one message, with nothing left behind.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use recado_kernel::clock::Clock;
use recado_kernel::config::Config;
use recado_kernel::ids::Id;
use recado_kernel::{process, telemetry};

use crate::output::{Outcome, say};
use crate::sample;
use crate::up::{Installation, SAMPLE_PATIENCE};

/// Ends with 0 when the sample was delivered and with 1 otherwise. The environment is not asked: a demo that sent
/// messages through somebody's real providers would be none.
pub(crate) async fn run() -> Outcome {
    telemetry::start_logging(false, "warn");
    let folder = TemporaryFolder::create("recado-demo")?;
    let home = folder.path().to_string_lossy().into_owned();
    let config =
        Config::from_pairs([("RECADO_HOME", home.as_str()), ("LISTEN", "127.0.0.1:0"), ("WORKER_DRAIN_SECONDS", "2")])?;
    let stop = process::until_signal();
    let installation = Box::pin(Installation::start(config, stop.clone())).await?;
    let sent = stop.run_until_cancelled(Box::pin(sample::send(&installation, SAMPLE_PATIENCE))).await;
    installation.shut_down().await?;
    let delivered = sent.transpose()?.unwrap_or_default();
    say(if delivered {
        "\nDelivered. Nothing is left behind; `recado up` is the same, to stay."
    } else {
        "\nNot delivered."
    });
    Ok(if delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A folder that nobody else can read, gone when it is dropped.
pub(crate) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    pub(crate) fn create(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("{name}-{}", Id::new(Clock::system().now())));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} cannot be removed: {error}", self.0.display());
        }
    }
}
