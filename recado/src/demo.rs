//! `recado demo`: `recado up` for one message, in a temporary folder.

use std::process::ExitCode;

use recado_kernel::config::Config;
use recado_kernel::{process, telemetry};

use crate::output::{Outcome, say};
use crate::sample;
use crate::stand_ins::StandIns;
use crate::temporary_folder::TemporaryFolder;
use crate::up::{self, Installation};

/// Ends with 0 when the sample was delivered and with 1 otherwise. It does not read the environment: a demo must not
/// send messages through real providers.
pub(crate) async fn run() -> Outcome {
    telemetry::start_logging(false, "warn");
    let folder = TemporaryFolder::create("recado-demo")?;
    let home = folder.path().to_string_lossy().into_owned();
    let mut config =
        Config::from_pairs([("RECADO_HOME", home.as_str()), ("LISTEN", "127.0.0.1:0"), ("WORKER_DRAIN_SECONDS", "2")])?;
    let stop = process::until_signal();
    let listeners = up::prepare(&mut config).await?;
    let stand_ins = StandIns::start_for(&mut config).await?;
    let installation = Box::pin(Installation::start(config, listeners, stop.clone())).await?;
    let (context, url) = (&installation.context, &installation.url);
    sample::prepare(context, stand_ins.as_ref()).await?;
    let sent = stop.run_until_cancelled(Box::pin(sample::send(context, url, stand_ins.as_ref()))).await;
    installation.shut_down().await?;
    let delivered = sent.transpose()?.unwrap_or_default();
    say(if delivered {
        "\nDelivered. Nothing is left behind; `recado up` is the same, to stay."
    } else {
        "\nNot delivered."
    });
    Ok(if delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
