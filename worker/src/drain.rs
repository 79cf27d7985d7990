//! A worker without a loop: it runs what is due when it is told to, and returns. Tests work with it.

use std::time::Duration;

use futures::future::join_all;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::pauses;
use tokio::sync::OnceCell;

use crate::channels::ProviderError;
use crate::completer::complete;
use crate::jobs;
use crate::lane::claim;
use crate::run::Runner;

const LARGEST_BATCH: usize = 200;

/// The queue or the database failed.
pub type DrainError = Box<dyn std::error::Error + Send + Sync>;

/// What such a worker holds between two calls: its connections to the providers.
pub struct Drain {
    context: Context,
    runner: Runner,
    prepared: OnceCell<()>,
}

impl Drain {
    /// # Errors
    /// A setting of a provider that cannot work.
    pub fn new(context: Context) -> Result<Self, ProviderError> {
        Ok(Self { runner: Runner::new(context.clone(), jobs::all(&context)?), prepared: OnceCell::new(), context })
    }

    /// Reads, claims, runs and completes until no lane has a ring left. Returns how many runs that took.
    ///
    /// # Errors
    /// The queue or the database failed.
    pub async fn run(&self) -> Result<usize, DrainError> {
        self.prepared.get_or_try_init(|| jobs::prepare(&self.context)).await?;
        let mut runs = 0;
        let pauses = pauses::in_force(&mut self.context.db.read().await?, self.context.clock.now()).await?;
        let lanes: Vec<Lane> = self.context.systems.lanes();
        let open: Vec<Lane> = lanes.into_iter().filter(|lane| pauses::of_lane(&pauses, *lane).is_none()).collect();
        loop {
            let mut read = 0;
            for lane in open.iter().copied() {
                let (rings, claims) = self.lane(lane).await?;
                read += rings;
                runs += claims;
            }
            if read == 0 {
                return Ok(runs);
            }
        }
    }

    /// One batch of a lane. Returns how many rings there were, and how many of them could be claimed.
    async fn lane(&self, lane: Lane) -> Result<(usize, usize), DrainError> {
        let rung = self.context.queue.listen(lane).read(LARGEST_BATCH, Duration::ZERO).await?;
        if rung.is_empty() {
            return Ok((0, 0));
        }
        let claimed = claim(&self.context, lane, &rung, "drain").await?;
        let completions = join_all(claimed.into_iter().map(|task| self.runner.run(task))).await;
        let again = complete(&self.context, &completions).await?;
        self.context.ring(&again).await;
        Ok((rung.len(), completions.len()))
    }
}
