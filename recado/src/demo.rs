//! `recado demo`: `recado up` for one message, for one exchange with a partner, or for one reservation by WhatsApp, in a temporary folder.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use recado_kernel::config::Config;
use recado_kernel::{process, telemetry};

use crate::conversation_sample::{self, Play};
use crate::output::{Outcome, say};
use crate::partner_sample::{self, Misbehaviour};
use crate::sample;
use crate::stand_ins::StandIns;
use crate::temporary_folder::TemporaryFolder;
use crate::up::{self, Installation};

/// Seconds between the attempts of a webhook: short, so that retries are seen.
const RETRIES: &str = "0.5,1,2,4";

/// Seconds before the first retry of a notice to an operator, for the same reason.
const RETRY_BASE: &str = "1";

#[derive(Args, Debug)]
pub(crate) struct Demo {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Exchange signed webhooks with a partner, and print what either end saw
    #[command(
        long_about = "Exchange signed webhooks with a partner, and print what either end saw.\n\n\
                      A restaurant (Recado) registers the marketplace FindyourWork, which the sandbox plays, and tells it of a \
                      reservation. The marketplace checks the signature as the real one does, sells a service for it and tells \
                      that back, signed its own way. The restaurant puts the service into the itinerary of the event and tells \
                      the marketplace (event.updated). Status 0 when all of it was seen and every signature was right.",
        after_help = "Examples:\n  recado demo partners\n  recado demo partners --fault 500\n  \
                      recado demo partners --fault drop --times 3\n  recado demo partners --fault 410; echo $?"
    )]
    Partners(Misbehaviour),
    /// Play a reservation by WhatsApp with a bridge of the sandbox, and print its timeline
    #[command(
        long_about = "Play a reservation by WhatsApp with a bridge of the sandbox, and print its timeline.\n\n\
                      An experience, its operator and the operator's group are made known over HTTP, and a reservation code is \
                      issued. A customer names it in WhatsApp, which the sandbox's bridge posts as the Node service does; the \
                      operator is told in the group, and answers there. Status 0 when all of it was seen, up to \
                      availability_confirmed.",
        after_help = "Examples:\n  recado demo conversations\n  recado demo conversations --fault 503\n  \
                      recado demo conversations --fault 400        the number is told instead of the group\n  \
                      recado demo conversations --answer 2; echo $?"
    )]
    Conversations(Play),
}

/// Ends with 0 when the sample was delivered and with 1 otherwise. It does not read the environment: a demo must not
/// send messages through real providers.
pub(crate) async fn run(Demo { what }: Demo) -> Outcome {
    telemetry::start_logging(false, "warn");
    let folder = TemporaryFolder::create("recado-demo")?;
    let home = folder.path().to_string_lossy().into_owned();
    let mut config = Config::from_pairs([
        ("RECADO_HOME", home.as_str()),
        ("LISTEN", "127.0.0.1:0"),
        ("WORKER_DRAIN_SECONDS", "2"),
        ("WEBHOOK_RETRY_SCHEDULE", RETRIES),
        ("NOTIFICATION_RETRY_BASE_SECONDS", RETRY_BASE),
    ])?;
    let stop = process::until_signal();
    let listeners = up::prepare(&mut config).await?;
    let stand_ins = StandIns::start_for(&mut config).await?;
    let installation = Box::pin(Installation::start(config, listeners, stop.clone())).await?;
    let (context, url) = (&installation.context, &installation.url);
    if let Some(stand_ins) = &stand_ins {
        stand_ins.connect(context, url);
    }
    let shown = async {
        match (what, &stand_ins) {
            (Some(What::Partners(misbehaviour)), Some(stand_ins)) => {
                partner_sample::exchange(url, stand_ins.partner(), &misbehaviour).await
            }
            (Some(What::Conversations(how)), Some(stand_ins)) => {
                conversation_sample::play(url, stand_ins.bridge(), &how).await
            }
            _ => {
                sample::prepare(context, stand_ins.as_ref()).await?;
                let delivered = sample::send(context, url, stand_ins.as_ref()).await?;
                Ok(if delivered { Ok("Delivered.".to_owned()) } else { Err("Not delivered.".to_owned()) })
            }
        }
    };
    let shown = stop.run_until_cancelled(Box::pin(shown)).await;
    installation.shut_down().await?;
    let shown = shown.transpose()?.unwrap_or_else(|| Err("Stopped.".to_owned()));
    Ok(match shown {
        Ok(seen) => {
            say(&format!("\n{seen} Nothing is left behind; `recado up` is the same, to stay."));
            ExitCode::SUCCESS
        }
        Err(missing) => {
            say(&format!("\n{missing}"));
            ExitCode::FAILURE
        }
    })
}
