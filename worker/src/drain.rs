//! Runs everything that is due now, in this task, and returns: how tests and scripts work without a running worker.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use recado_shared::context::Context;
use recado_shared::queue::Lane;

use crate::channels::Providers;
use crate::completer::complete;
use crate::lane::claim;
use crate::run::{Runner, Trouble};

const BATCH: usize = 200;

/// Reads, claims, runs and completes until no lane has a ring left. Returns how many runs that took.
///
/// # Errors
/// Trouble with the queue, the database or the providers' settings.
pub async fn drain(context: &Context) -> Result<usize, Trouble> {
    let runner = Arc::new(Runner::new(context.clone(), Providers::new(&context.config, &context.clock)?));
    let mut runs = 0;
    loop {
        let mut read = 0;
        for lane in Lane::ALL {
            let mut listener = context.queue.listen(lane, "drain").await?;
            let ids = listener.read(BATCH, Duration::ZERO).await?;
            let claimed = claim(context, &ids, "drain").await?;
            listener.release().await?;
            read += ids.len();
            runs += claimed.len();
            let completions = join_all(claimed.into_iter().map(|task| runner.run(task))).await;
            complete(context, &completions).await?;
        }
        if read == 0 {
            return Ok(runs);
        }
    }
}
