//! `recado queues`: what waits in each lane, and which workers serve it.

use recado_systems::SYSTEMS;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::errors::explain;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::ring::Queue;
use recado_queue::tasks::{self, Count, State};
use recado_queue::workers::{self, WorkerRow};
use serde::Serialize;

use crate::ledger;
use crate::output::{Outcome, print, print_json};
use crate::table::Table;
use crate::times::{relative, relative_or_dash};

/// A lane at a glance.
#[derive(Serialize)]
struct LaneReport {
    queue: &'static str,
    lane: &'static str,
    /// Rings that no worker has read; unknown when the ring is in another process.
    waiting: Option<u64>,
    queued: i64,
    scheduled: i64,
    started: i64,
    dead: i64,
    /// Since when the oldest queued task is due.
    oldest: Option<Timestamp>,
    workers: usize,
}

#[derive(Serialize)]
struct Report {
    lanes: Vec<LaneReport>,
    workers: Vec<WorkerRow>,
    /// Queues that no live worker reads (d28).
    unattended: Vec<&'static str>,
}

pub(crate) async fn run(json: bool) -> Outcome {
    let context = ledger::open().await?;
    let report = read(&context).await?;
    if json {
        print_json(&report)?;
    } else {
        print(&describe(&report, context.clock.now(), context.config.worker.lease));
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(context: &Context) -> recado_kernel::db::Result<Report> {
    let mut session = context.db.read().await?;
    let counts = tasks::count_unfinished(&mut session, &SYSTEMS.lanes()).await?;
    let workers = workers::list(&mut session).await?;
    drop(session);
    let (now, lease) = (context.clock.now(), context.config.worker.lease);
    let depths = depths(&context.queue).await;
    let lanes = SYSTEMS.lanes().into_iter().map(|lane| {
        let readers =
            workers.iter().filter(|worker| worker.is_live(now, lease) && worker.lanes(context.systems).contains(&lane));
        lane_report(lane, &counts, depths.get(&lane).copied(), readers.count())
    });
    let lanes = lanes.collect();
    let unattended = workers::unattended(context.systems, &workers, now, lease).into_iter().map(Lane::as_str).collect();
    Ok(Report { lanes, workers, unattended })
}

/// What waits in the ring; nothing when it is in another process's memory.
async fn depths(queue: &Queue) -> HashMap<Lane, u64> {
    if matches!(queue, Queue::Local(_)) {
        return HashMap::new();
    }
    match queue.depths().await {
        Ok(depths) => depths.into_iter().collect(),
        Err(error) => {
            eprintln!("the queue cannot be looked at: {}", explain(&error));
            HashMap::new()
        }
    }
}

fn lane_report(lane: Lane, counts: &[Count], waiting: Option<u64>, workers: usize) -> LaneReport {
    let of = |state| counts.iter().find(|count| count.lane == lane.as_str() && count.state == state);
    let count = |state| of(state).map_or(0, |count| count.count);
    LaneReport {
        queue: lane.queue(),
        lane: lane.as_str(),
        waiting,
        queued: count(State::Queued),
        scheduled: count(State::Scheduled),
        started: count(State::Started),
        dead: count(State::Dead),
        oldest: of(State::Queued).and_then(|count| count.oldest),
        workers,
    }
}

fn describe(report: &Report, now: Timestamp, lease: Duration) -> String {
    let mut lanes =
        Table::new(&["LANE", ">WAITING", ">QUEUED", ">SCHEDULED", ">STARTED", ">DEAD", "OLDEST QUEUED", ">WORKERS"]);
    for lane in &report.lanes {
        lanes.row([
            lane.lane.to_owned(),
            lane.waiting.map_or_else(|| "-".to_owned(), |waiting| waiting.to_string()),
            lane.queued.to_string(),
            lane.scheduled.to_string(),
            lane.started.to_string(),
            lane.dead.to_string(),
            relative_or_dash(lane.oldest, now),
            lane.workers.to_string(),
        ]);
    }
    let mut text = lanes.render();
    if !report.workers.is_empty() {
        text.push('\n');
        text.push_str(&describe_workers(&report.workers, now, lease));
    }
    if !report.unattended.is_empty() {
        let queues = report.unattended.join(", ");
        let words = report.unattended.join(",");
        text.push_str(&format!(
            "\n! No worker reads {queues}: what is queued there waits. Start `recado worker -Q {words}`.\n"
        ));
    }
    if report.lanes.iter().any(|lane| lane.dead > 0) {
        text.push_str("\nDead tasks: `recado tasks list --state dead`, then `recado tasks retry --all-dead`.\n");
    }
    text
}

fn describe_workers(workers: &[WorkerRow], now: Timestamp, lease: Duration) -> String {
    let mut table = Table::new(&["WORKER", "READS", ">CONCURRENCY", ">HOLDS", "VERSION", "STARTED", "SEEN", ""]);
    for worker in workers {
        table.row([
            worker.id.clone(),
            worker.queues.clone(),
            worker.concurrency.to_string(),
            worker.held.to_string(),
            worker.version.clone(),
            relative(worker.started_at, now),
            relative(worker.seen_at, now),
            if worker.is_live(now, lease) { String::new() } else { "fell silent".to_owned() },
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use recado_notifications::channels::Channel;
    use recado_queue::lanes::SYNC;

    use super::*;

    #[test]
    fn a_queue_without_a_reader_is_named_with_the_remedy() {
        let counts =
            [Count { lane: "sync".into(), state: State::Queued, count: 7, oldest: Some(Timestamp::from_micros(0)) }];
        let report = Report {
            lanes: vec![lane_report(SYNC, &counts, None, 0), lane_report(Channel::Email.lane(), &counts, Some(3), 2)],
            workers: Vec::new(),
            unattended: vec!["sync"],
        };
        let text = describe(&report, Timestamp::from_micros(65_000_000), Duration::from_secs(30));
        let expected = "\
LANE                 WAITING  QUEUED  SCHEDULED  STARTED  DEAD  OLDEST QUEUED  WORKERS
sync                       -       7          0        0     0  1 min ago            0
notifications.email        3       0          0        0     0  -                    2

! No worker reads sync: what is queued there waits. Start `recado worker -Q sync`.
";
        assert_eq!(text, expected);
    }
}
