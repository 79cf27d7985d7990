//! No-op jobs: what the ledger and the queue cost by themselves.

use recado_queue::lanes::MAINTENANCE;
use std::error::Error;
use std::time::{Duration, Instant};

use recado_kernel::ids::Id;
use recado_queue::context::Context;
use recado_queue::jobs::Ping;
use recado_queue::tasks::{self, NewTask};
use recado_worker::{Options, Worker};
use tokio_util::sync::CancellationToken;

use crate::report;
use crate::stage::Stage;

const JOBS: usize = 200_000;
const BATCH: usize = 1_000;

pub(crate) async fn measure(stage: &Stage, runs: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut enqueued, mut consumed) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let started = Instant::now();
        enqueue(&stage.context).await?;
        enqueued.push(JOBS as f64 / started.elapsed().as_secs_f64());

        let stop = CancellationToken::new();
        let options = Options { lanes: vec![MAINTENANCE], concurrency: 200 };
        let worker = Worker::new(stage.context.clone(), options)?;
        let started = Instant::now();
        let working = tokio::spawn(worker.run(stop.clone()));
        until_done(&stage.context).await?;
        consumed.push(JOBS as f64 / started.elapsed().as_secs_f64());
        stop.cancel();
        working.await?;
        clear(&stage.context).await?;
    }
    report("no-op jobs enqueued (row + ring)", "/s", enqueued);
    report("no-op jobs claimed, run and completed", "/s", consumed);
    Ok(())
}

async fn enqueue(context: &Context) -> Result<(), Box<dyn Error + Send + Sync>> {
    for _ in 0..JOBS / BATCH {
        let now = context.clock.now();
        let tasks: Vec<NewTask> = (0..BATCH).map(|_| NewTask::now(Id::new(now), &Ping {}, now)).collect();
        let mut session = context.db.begin().await?;
        let inserted = tasks::insert(&mut session, &tasks).await?;
        session.commit().await?;
        context.ring(&inserted.rings).await;
    }
    Ok(())
}

/// Looks every few milliseconds whether anything is left; the index on open tasks makes that cheap.
async fn until_done(context: &Context) -> Result<(), Box<dyn Error + Send + Sync>> {
    loop {
        let mut session = context.db.read().await?;
        let open: Option<(i32,)> = recado_kernel::sql!(
            one(i32,),
            &mut session,
            "select 1 from tasks where rung_at is not null and finished_at is null limit 1"
        )?;
        drop(session);
        if open.is_none() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn clear(context: &Context) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut session = context.db.begin().await?;
    recado_kernel::sql!(run, &mut session, "truncate table tasks")?;
    session.commit().await?;
    Ok(())
}
