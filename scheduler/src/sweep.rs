//! One pass: what is due, and what was lost. Each step is a short transaction of its own.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::Result;
use recado_kernel::errors;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::ring::QueueError;
use recado_queue::systems::End;
use recado_queue::tasks::State;
use recado_queue::{pauses, samples, schedules, tasks, workers};
use tokio::time::Instant;

use crate::{Intervals, SHORTEST_WAIT};

/// Rows per transaction: few enough that locks are short, many enough that a burst is over soon.
const BATCH: i64 = 1000;

/// Lost leases per transaction. Who is suspected depends on all that a worker held, so it is more than a lane may have in flight.
const LOST_AT_ONCE: i64 = 10_000;

/// A ring is not looked for before this has passed: the process that committed the row may be about to ring.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is counted how much waits.
const SAMPLE_EVERY: Duration = Duration::from_secs(60);

/// While Redis is down, the log says so once in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A worker that was last heard of this long ago is no longer shown as lost.
const FORGET_WORKER_AFTER: Duration = Duration::from_secs(3600);

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Ticks of schedules that became tasks.
    pub ticked: usize,
    /// Scheduled tasks whose time had come.
    pub promoted: usize,
    /// Tasks taken from workers whose lease ran out, to be tried by others.
    pub recovered: usize,
    /// Tasks that lost their worker too often and are dead now.
    pub poisoned: usize,
    /// Tasks whose ring was lost.
    pub rung_again: usize,
}

pub(crate) struct Sweeper {
    context: Context,
    lanes: Vec<Lane>,
    intervals: Intervals,
    recovered_at: Option<Instant>,
    /// What waits was looked through for times of the future.
    has_brought_back_due: bool,
    forgot_workers_at: Option<Instant>,
    sampled_at: Option<Instant>,
    warned_at: Option<Instant>,
}

impl Sweeper {
    pub(crate) fn new(context: Context, intervals: Intervals) -> Self {
        Self {
            lanes: context.systems.lanes(),
            context,
            intervals,
            recovered_at: None,
            has_brought_back_due: false,
            forgot_workers_at: None,
            sampled_at: None,
            warned_at: None,
        }
    }

    /// Does what is due, and says how long to wait.
    pub(crate) async fn pass(&mut self) -> Result<Duration> {
        self.tick_schedules().await?;
        self.promote_due().await?;
        if is_over(self.recovered_at, self.intervals.recover) {
            self.recover(&mut Swept::default()).await?;
            self.recovered_at = Some(Instant::now());
        }
        if is_over(self.forgot_workers_at, self.intervals.forget_workers) {
            self.forget_workers().await?;
            self.forgot_workers_at = Some(Instant::now());
        }
        if is_over(self.sampled_at, SAMPLE_EVERY) {
            self.sample().await?;
            self.sampled_at = Some(Instant::now());
        }
        self.wait().await
    }

    /// Does everything, due or not.
    pub(crate) async fn everything(mut self) -> Result<Swept> {
        let mut swept =
            Swept { ticked: self.tick_schedules().await?, promoted: self.promote_due().await?, ..Swept::default() };
        self.recover(&mut swept).await?;
        self.forget_workers().await?;
        // What is over is written before old minutes are joined: written once more afterwards, it would count twice.
        self.context.samples.write(&self.context.db, false).await?;
        self.sample().await?;
        self.context.samples.write(&self.context.db, true).await?;
        Ok(swept)
    }

    async fn tick_schedules(&self) -> Result<usize> {
        let mut session = self.context.db.begin().await?;
        let Context { systems, config, clock, .. } = &self.context;
        let rings = schedules::tick(&mut session, *systems, config.time_zone, clock.now()).await?;
        session.commit().await?;
        self.context.ring(&rings).await;
        metrics::counter!("recado_scheduler_ticks_total").increment(rings.len() as u64);
        Ok(rings.len())
    }

    async fn promote_due(&self) -> Result<usize> {
        let mut promoted = 0;
        loop {
            let mut session = self.context.db.begin().await?;
            let rings = tasks::promote_due(&mut session, &self.lanes, self.context.clock.now(), BATCH).await?;
            session.commit().await?;
            self.context.ring(&rings).await;
            metrics::counter!("recado_scheduler_promoted_total").increment(rings.len() as u64);
            promoted += rings.len();
            if is_last(rings.len()) {
                return Ok(promoted);
            }
        }
    }

    async fn recover(&mut self, swept: &mut Swept) -> Result<()> {
        self.bring_back().await?;
        // Leases are judged by the time by which they are written. When that has jumped, their workers must first have had
        // the time to write them again.
        if self.context.clock.is_steady_for(self.context.config.worker.lease) {
            self.expire_leases(swept).await?;
        }
        if let Err(error) = self.context.queue.can_write().await {
            self.warn_of_queue(&error);
            return Ok(());
        }
        self.context.health.notice("queue", true);
        for lane in self.lanes.clone() {
            match self.context.queue.oldest_waiting(lane).await {
                Ok(oldest) => swept.rung_again += self.ring_lost(lane, oldest).await?,
                Err(error) => {
                    self.warn_of_queue(&error);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Looks what time it is, and brings back what was written in what is the future now.
    async fn bring_back(&mut self) -> Result<()> {
        self.context.follow_time().await?;
        let (now, lease) = (self.context.clock.now(), self.context.config.worker.lease);
        let mut session = self.context.db.begin().await?;
        let mut brought_back = tasks::bring_back(&mut session, &self.lanes, now, lease, BATCH).await?;
        let is_steady = self.context.clock.is_steady_for(lease);
        if !is_steady || !self.has_brought_back_due {
            brought_back += tasks::bring_back_due(&mut session, now, BATCH).await?;
        }
        session.commit().await?;
        self.has_brought_back_due = is_steady;
        if brought_back > 0 {
            tracing::warn!(
                tasks = brought_back,
                "the time was set back: {brought_back} tasks of the future are brought back"
            );
        }
        Ok(())
    }

    async fn expire_leases(&self, swept: &mut Swept) -> Result<()> {
        loop {
            let now = self.context.clock.now();
            let mut session = self.context.db.begin().await?;
            let expired =
                tasks::expire_leases(&mut session, &self.lanes, now, self.context.config.worker.lease, LOST_AT_ONCE)
                    .await?;
            if !expired.dead.is_empty() {
                self.context.systems.ended(&mut session, &expired.dead, End::Poisoned, now).await?;
            }
            session.commit().await?;
            self.context.ring(&expired.rings).await;
            metrics::counter!("recado_scheduler_leases_expired_total").increment(expired.rings.len() as u64);
            metrics::counter!("recado_scheduler_poisoned_total").increment(expired.dead.len() as u64);
            for id in &expired.dead {
                tracing::error!(task = %id, "task {id} is dead: its workers died or fell silent three times");
            }
            swept.recovered += expired.rings.len();
            swept.poisoned += expired.dead.len();
            if expired.rings.len() + expired.dead.len() < LOST_AT_ONCE as usize {
                return Ok(());
            }
        }
    }

    async fn ring_lost(&self, lane: Lane, oldest_waiting: Option<Timestamp>) -> Result<usize> {
        let now = self.context.clock.now();
        let age = oldest_waiting.map_or(Duration::ZERO, |oldest| now.since(oldest));
        metrics::gauge!("recado_queue_oldest_seconds", "lane" => lane.as_str()).set(age.as_secs_f64());
        let mut rung = 0;
        loop {
            let mut session = self.context.db.begin().await?;
            let rings = tasks::ring_lost(&mut session, lane, oldest_waiting, now, GRACE, BATCH).await?;
            session.commit().await?;
            self.context.ring(&rings).await;
            metrics::counter!("recado_scheduler_rung_again_total").increment(rings.len() as u64);
            rung += rings.len();
            if is_last(rings.len()) {
                break;
            }
        }
        if rung > 0 {
            tracing::info!(lane = lane.as_str(), tasks = rung, "{rung} tasks of {lane} had lost their ring");
        }
        Ok(rung)
    }

    /// Rows of workers that died without removing them.
    async fn forget_workers(&mut self) -> Result<()> {
        let mut session = self.context.db.begin().await?;
        workers::forget_gone(&mut session, self.context.clock.now() - FORGET_WORKER_AFTER).await?;
        session.commit().await?;
        Ok(())
    }

    /// How much waits in each lane, for the minute that is under way; old minutes are joined, and pauses forgotten that are over.
    async fn sample(&self) -> Result<()> {
        let mut session = self.context.db.read().await?;
        let counts = tasks::count_unfinished(&mut session, &self.lanes).await?;
        drop(session);
        let now = self.context.clock.now();
        for lane in &self.lanes {
            let queued = counts.iter().find(|count| count.lane == lane.as_str() && count.state == State::Queued);
            let oldest = queued.and_then(|count| count.oldest).map_or(Duration::ZERO, |oldest| now.since(oldest));
            self.context.samples.waits(*lane, queued.map_or(0, |count| count.count), oldest);
        }
        let mut session = self.context.db.begin().await?;
        samples::join_old(&mut session, now).await?;
        pauses::forget_over(&mut session, now).await?;
        session.commit().await
    }

    fn warn_of_queue(&mut self, error: &QueueError) {
        metrics::counter!("recado_scheduler_queue_errors_total").increment(1);
        self.context.health.notice("queue", false);
        if is_over(self.warned_at, WARN_EVERY) {
            self.warned_at = Some(Instant::now());
            let reason = errors::explain(error);
            tracing::warn!(error = %reason, "lost rings are looked for when Redis is back: {reason}");
        }
    }

    async fn wait(&self) -> Result<Duration> {
        let mut session = self.context.db.read().await?;
        let task = tasks::next_due(&mut session).await?;
        let schedule = schedules::next_due(&mut session).await?;
        Ok(wait_for(task, schedule, self.context.clock.now(), self.intervals.longest_wait))
    }
}

/// A batch that is not full was the last.
fn is_last(rows: usize) -> bool {
    rows < BATCH as usize
}

fn is_over(last: Option<Instant>, interval: Duration) -> bool {
    last.is_none_or(|at| at.elapsed() >= interval)
}

/// How long until the next task or schedule is due. A schedule that is overdue after the pass cannot run (its row says
/// why in the log), and is no reason to hurry.
fn wait_for(task: Option<Timestamp>, schedule: Option<Timestamp>, now: Timestamp, longest: Duration) -> Duration {
    let schedule = schedule.filter(|due| *due > now);
    let next = [task, schedule].into_iter().flatten().min();
    next.map_or(longest, |due| due.since(now)).clamp(SHORTEST_WAIT, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(1);

    #[test]
    fn the_next_due_moment_ends_the_wait() {
        let at = |millis: i64| Timestamp::from_micros(millis * 1000);
        let now = at(10_000);
        let millis = Duration::from_millis;
        assert_eq!(wait_for(None, None, now, LONGEST), LONGEST);
        assert_eq!(wait_for(Some(at(10_200)), None, now, LONGEST), millis(200));
        assert_eq!(wait_for(Some(at(10_200)), Some(at(10_100)), now, LONGEST), millis(100));
        assert_eq!(wait_for(Some(at(10_001)), None, now, LONGEST), SHORTEST_WAIT);
        assert_eq!(wait_for(Some(at(9_000)), None, now, LONGEST), SHORTEST_WAIT);
        assert_eq!(wait_for(Some(at(99_000)), None, now, LONGEST), LONGEST);
        // A schedule that cannot run.
        assert_eq!(wait_for(None, Some(at(9_000)), now, LONGEST), LONGEST);
    }
}
