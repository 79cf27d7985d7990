//! `recado queues`: what waits in each lane, which workers serve it, and pauses.

use recado_systems::SYSTEMS;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::errors::explain;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::pauses::{self, Pause};
use recado_queue::ring::Queue;
use recado_queue::tasks::{self, Count, State};
use recado_queue::workers::{self, WorkerRow};
use serde::Serialize;

use crate::ledger;
use crate::output::{Outcome, print, print_json, say};
use crate::table::Table;
use crate::times::{relative, relative_or_dash};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Let no worker take tasks from a queue or a lane for a while; nothing is lost
    #[command(
        after_help = "Examples:\n  recado queues pause notifications.whatsapp --reason 'session is down'\n  recado queues pause sync --reason 'core system is being updated' --until 2h\n  recado queues pause sync --reason 'holiday' --until 2026-12-26T08:00:00-05:00"
    )]
    Pause(PauseArgs),
    /// End a pause
    #[command(after_help = "Example:\n  recado queues resume notifications.whatsapp")]
    Resume {
        /// The queue or lane, as it was paused
        queue: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct PauseArgs {
    /// A lane, or a queue with all its lanes; `recado queues` lists them
    queue: String,
    /// Why, for those who find it paused
    #[arg(long)]
    reason: String,
    /// Then it ends by itself: a moment with its offset, or how long, e.g. 30m, 2h, 1d
    #[arg(long, value_parser = parse_until)]
    until: Option<Until>,
}

/// The end of a pause, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    At(Timestamp),
    In(Duration),
}

fn parse_until(text: &str) -> Result<Until, String> {
    if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(Until::At(moment.to_utc().into()));
    }
    let unit = [("m", 60), ("h", 3_600), ("d", 86_400)].into_iter().find_map(|(letter, seconds)| {
        let number: u64 = text.strip_suffix(letter)?.parse().ok()?;
        (1..=366 * 24 * 60).contains(&number).then(|| Duration::from_secs(number * seconds))
    });
    unit.map(Until::In).ok_or_else(|| "write 30m, 2h or 1d, or a moment such as 2026-01-20T14:30:00-05:00".to_owned())
}

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
    /// The pause that holds for it, its own or its queue's.
    paused: Option<Pause>,
}

#[derive(Serialize)]
struct Report {
    lanes: Vec<LaneReport>,
    workers: Vec<WorkerRow>,
    /// Queues that no live worker reads (d28).
    unattended: Vec<&'static str>,
}

pub(crate) async fn run(command: Option<Command>, json: bool) -> Outcome {
    let context = ledger::open().await?;
    match command {
        None => show(&context, json).await,
        Some(Command::Pause(options)) => pause(&context, options, json).await,
        Some(Command::Resume { queue }) => resume(&context, &queue).await,
    }
}

async fn pause(context: &Context, options: PauseArgs, json: bool) -> Outcome {
    let now = context.clock.now();
    let until = options.until.map(|until| match until {
        Until::At(moment) => moment,
        Until::In(time) => now + time,
    });
    let pause = Pause::new(context.systems, &options.queue, &options.reason, COMMAND_LINE, until, now)?;
    let mut session = context.db.begin().await?;
    pauses::pause(&mut session, &pause, &Actor::command(COMMAND_LINE)).await?;
    session.commit().await?;
    if json {
        print_json(&pause)?;
        return Ok(ExitCode::SUCCESS);
    }
    let end = pause.until.map_or_else(
        || format!("until `recado queues resume {}`", pause.queue),
        |until| format!("it goes on {}", relative(until, now)),
    );
    let within = context.config.worker.lease.as_secs() / 3;
    say(&format!("{} is paused; workers hear of it within {within} s; {end}", pause.queue));
    Ok(ExitCode::SUCCESS)
}

async fn resume(context: &Context, queue: &str) -> Outcome {
    pauses::check_name(context.systems, queue)?;
    let mut session = context.db.begin().await?;
    let ended = pauses::resume(&mut session, queue, &Actor::command(COMMAND_LINE), context.clock.now()).await?;
    session.commit().await?;
    if ended.is_none() {
        return Err(
            format!("{queue} has no pause of its own; `recado queues` shows what is paused by which name").into()
        );
    }
    say(&format!("{queue} goes on"));
    Ok(ExitCode::SUCCESS)
}

/// Who pauses from here: a person who may use the command line may use the database too.
const COMMAND_LINE: &str = "recado queues";

async fn show(context: &Context, json: bool) -> Outcome {
    let report = read(context).await?;
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
    let pauses = pauses::in_force(&mut session, context.clock.now()).await?;
    drop(session);
    let (now, lease) = (context.clock.now(), context.config.worker.lease);
    let depths = depths(&context.queue).await;
    let lanes = SYSTEMS.lanes().into_iter().map(|lane| {
        let readers = workers
            .iter()
            .filter(|worker| worker.takes_tasks(now, lease) && worker.lanes(context.systems).contains(&lane));
        let report = lane_report(lane, &counts, depths.get(&lane).copied(), readers.count());
        LaneReport { paused: pauses::of_lane(&pauses, lane).cloned(), ..report }
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
        paused: None,
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
    let mut paused: Vec<&Pause> = report.lanes.iter().filter_map(|lane| lane.paused.as_ref()).collect();
    paused.dedup();
    for pause in paused {
        let end = pause.until.map_or_else(String::new, |until| format!(", goes on {}", relative(until, now)));
        let since = relative(pause.paused_at, now);
        text.push_str(&format!(
            "\n‖ {} was paused {since} by {}{end}: {}\n",
            pause.queue, pause.paused_by, pause.reason
        ));
    }
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
    let mut table =
        Table::new(&["WORKER", "READS", ">CONCURRENCY", ">HOLDS", ">RUNS", "VERSION", "STARTED", "SEEN", ""]);
    for worker in workers {
        table.row([
            worker.id.clone(),
            worker.queues.clone(),
            worker.concurrency.to_string(),
            worker.held.to_string(),
            worker.running.to_string(),
            worker.version.clone(),
            relative(worker.started_at, now),
            relative(worker.seen_at, now),
            match (worker.is_live(now, lease), worker.drain_since) {
                (false, _) => "fell silent",
                (true, Some(_)) => "drains",
                (true, None) => "",
            }
            .to_owned(),
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
    fn the_end_of_a_pause_is_a_moment_or_a_time() {
        assert_eq!(parse_until("30m"), Ok(Until::In(Duration::from_secs(1_800))));
        assert_eq!(parse_until("2h"), Ok(Until::In(Duration::from_secs(7_200))));
        assert_eq!(parse_until("1970-01-01T00:00:07Z"), Ok(Until::At(Timestamp::from_micros(7_000_000))));
        for wrong in ["", "h", "2", "0m", "-1h", "2w", "2026-01-20", "99999999999999999999d"] {
            assert!(parse_until(wrong).is_err(), "{wrong}");
        }
    }

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
