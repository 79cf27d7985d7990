//! `recado tasks`: what the ledger holds, and what an operator does about it.

use chrono_tz::Tz;
use recado_systems::SYSTEMS;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_kernel::words::UnknownWord;
use recado_notifications::journal::{self, Line};
use recado_notifications::notifications::attempts::{self, Attempt};
use recado_notifications::notifications::records;
use recado_notifications::notifications::{self, Notification};
use recado_notifications::retry::{self, Group, How, USUAL_TRIAL};
use recado_notifications::timeline;
use recado_queue::bulk::{self, Action, MOST_TRIED, Plan, Selection};
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::operations;
use recado_queue::tasks::{self, Listed, MOST_LOOKED_AT, State, Task, TaskFilter};
use serde::Serialize;

use crate::ledger;
use crate::output::{Outcome, count, print, print_json, say};
use crate::table::{Table, shorten};
use crate::times::{relative, relative_or_dash, span};

/// Characters of an error that fit into a row.
const ERROR_WIDTH: usize = 60;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List tasks, the newest first
    #[command(
        after_help = "Examples:\n  recado tasks list --state dead\n  recado tasks list --queue notifications --limit 100"
    )]
    List(List),
    /// Show the whole story of a task: its state, its messages and every attempt
    #[command(after_help = "Example:\n  recado tasks show 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Show {
        /// The task's id, as the answer to the dispatch names it
        id: Id,
    },
    /// Give dead or cancelled tasks a new life: a delivery begins at its first channel again
    #[command(
        after_help = "Examples:\n  recado tasks retry 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a\n  recado tasks retry --all-dead --queue sync\n  recado tasks retry --where lane=notifications.email --where error=timeout --trial 5 --pace 60\n  recado tasks retry --cause whatsapp:env:WHATSAPP_API_ERROR --dry-run"
    )]
    Retry(Retry),
    /// Cancel tasks that are not finished; what was sent stays sent
    #[command(after_help = "Example:\n  recado tasks cancel 0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a")]
    Cancel {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<Id>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// scheduled, queued, started, success, dead or cancelled
    #[arg(long, value_parser = parse_state)]
    state: Option<State>,
    /// A queue, such as webhooks, or a lane, such as notifications.email
    #[arg(long, short = 'Q', value_parser = parse_queue)]
    queue: Option<Queue>,
    /// For example send_notification
    #[arg(long)]
    kind: Option<String>,
    /// Only tasks that are older than this one
    #[arg(long, value_name = "ID")]
    before: Option<Id>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Args, Debug)]
pub(crate) struct Retry {
    #[arg(required_unless_present_any = ["all_dead", "filter", "cause"], value_name = "ID")]
    ids: Vec<Id>,
    /// Every dead task instead of named ones
    #[arg(long, conflicts_with = "ids")]
    all_dead: bool,
    /// With --all-dead: only those of this queue
    #[arg(long, short = 'Q', requires = "all_dead", value_parser = parse_queue)]
    queue: Option<Queue>,
    /// Many, as an operation that a worker carries out: state, lane, kind or error, e.g. lane=sync. May be given more than once
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = parse_condition, conflicts_with_all = ["ids", "all_dead", "cause"])]
    filter: Vec<Condition>,
    /// All messages that failed alike: channel:account:CODE, as `recado doctor` and the console name them
    #[arg(long, conflicts_with_all = ["ids", "all_dead"])]
    cause: Option<Group>,
    /// With --where or --cause: written within so many hours
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=720), conflicts_with_all = ["ids", "all_dead"])]
    hours: u64,
    /// So many go first, and the rest only if most of them do well; 5 with --cause, else none
    #[arg(long, value_parser = clap::value_parser!(u16).range(0..=i64::from(MOST_TRIED)), conflicts_with_all = ["ids", "all_dead"])]
    trial: Option<u16>,
    /// Then so many a minute; 0: as fast as it goes
    #[arg(long, default_value_t = 0, conflicts_with_all = ["ids", "all_dead"])]
    pace: u16,
    /// Only say how many would go, and with --cause why others would not
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
}

/// One condition of a filter, as it is typed.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    State(State),
    Lanes(Vec<Lane>),
    Kind(String),
    Error(String),
}

fn parse_condition(text: &str) -> Result<Condition, String> {
    let (field, value) = text.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or("write FIELD=VALUE")?;
    match field {
        "state" => parse_state(value).map(Condition::State),
        "lane" | "queue" => parse_queue(value).map(|queue| Condition::Lanes(queue.0)),
        "kind" => Ok(Condition::Kind(value.to_owned())),
        "error" => Ok(Condition::Error(value.to_owned())),
        _ => Err("the field is one of state, lane, kind, error".to_owned()),
    }
}

/// The lanes that a name on the command line means.
#[derive(Clone, Debug)]
pub(crate) struct Queue(Vec<Lane>);

fn parse_queue(word: &str) -> Result<Queue, String> {
    match SYSTEMS.lanes_named(word) {
        lanes if lanes.is_empty() => {
            let known: Vec<&str> = SYSTEMS.lanes().into_iter().map(Lane::as_str).collect();
            let queues = SYSTEMS.queues().join(", ");
            Err(format!("no such queue; choose {queues}, or one of {}", known.join(", ")))
        }
        lanes => Ok(Queue(lanes)),
    }
}

fn parse_state(word: &str) -> Result<State, String> {
    word.parse().map_err(|error: UnknownWord| error.to_string())
}

pub(crate) async fn run(command: Command, json: bool) -> Outcome {
    let context = ledger::open().await?;
    let actor = Actor::command("recado tasks");
    match command {
        Command::List(options) => list(&context, options, json).await,
        Command::Show { id } => show(&context, id, json).await,
        Command::Retry(Retry { all_dead: true, queue, dry_run, .. }) => {
            let lanes = queue.map(|queue| queue.0).unwrap_or_default();
            if dry_run {
                let dead = TaskFilter { state: Some(State::Dead), lanes, ..TaskFilter::default() };
                return would_retry(json, tasks::count(&mut context.db.read().await?, &dead).await?);
            }
            let revived = operations::retry_all_dead(&context, &lanes, &actor).await?;
            if json {
                print_json(&serde_json::json!({ "retried": revived }))?;
            } else {
                say(&format!("{} retried", count(revived, "task")));
                ledger::say_when_it_is_noticed(&context);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Retry(options) if options.cause.is_some() => retry_cause(&context, &options, &actor, json).await,
        Command::Retry(options) if !options.filter.is_empty() => retry_where(&context, options, &actor, json).await,
        Command::Retry(Retry { ids, .. }) => {
            let revived = operations::retry(&context, &ids, &actor).await?;
            if !revived.is_empty() {
                ledger::say_when_it_is_noticed(&context);
            }
            report(&context, "retried", &ids, &revived, json).await
        }
        Command::Cancel { ids } => {
            let cancelled = operations::cancel(&context, &ids, &actor).await?;
            report(&context, "cancelled", &ids, &cancelled, json).await
        }
    }
}

/// Has a worker retry all messages that failed of one cause.
async fn retry_cause(context: &Context, options: &Retry, actor: &Actor, json: bool) -> Outcome {
    let Some(cause) = &options.cause else { return Ok(ExitCode::SUCCESS) };
    let (now, since) = window(context, options);
    if !options.dry_run {
        let how = How { trial: options.trial.unwrap_or(USUAL_TRIAL), pace: options.pace };
        if let Some((id, _)) = retry::start(context, cause, since, now, how, actor).await? {
            return say_begun(context, id, json).await;
        }
    }
    let weighed = retry::weigh(&mut context.db.read().await?, cause, since, now).await?;
    let mut text = format!("{} would be retried", count(weighed.tasks.len(), "task"));
    for (reason, number) in &weighed.refused {
        text.push_str(&format!("\n{number} would not: {reason}"));
    }
    let told =
        serde_json::json!({ "total": weighed.tasks.len(), "is_more": weighed.is_more, "left_out": weighed.refused });
    tell_many(json, &told, &text)
}

/// Has a worker retry all tasks that fit.
async fn retry_where(context: &Context, options: Retry, actor: &Actor, json: bool) -> Outcome {
    let (now, since) = window(context, &options);
    let mut filter = TaskFilter { state: Some(State::Dead), since: Some(since), ..TaskFilter::default() };
    for condition in options.filter {
        match condition {
            Condition::State(state) => filter.state = Some(state),
            Condition::Lanes(lanes) => filter.lanes.extend(lanes),
            Condition::Kind(kind) => filter.kind = Some(kind),
            Condition::Error(error) => filter.error = Some(error),
        }
    }
    if let Some(state) = filter.state.filter(|state| !state.can_be_retried()) {
        return Err(format!("only dead and cancelled tasks can be retried, and not those that are {state}").into());
    }
    let selection = Selection::of(&filter, now);
    let total = tasks::count(&mut context.db.read().await?, &selection.filter()).await?;
    if options.dry_run || total == 0 {
        return would_retry(json, total);
    }
    let plan = Plan {
        action: Action::Retry,
        selection: &selection,
        pace: options.pace,
        trial: options.trial.unwrap_or_default(),
        left_out: &BTreeMap::new(),
    };
    let id = bulk::begin(context, &plan, &[], actor).await?;
    say_begun(context, id, json).await
}

/// Now, and since when tasks are meant.
fn window(context: &Context, options: &Retry) -> (Timestamp, Timestamp) {
    let now = context.clock.now();
    (now, now - Duration::from_secs(options.hours * 3600))
}

/// An operation is on its way.
async fn say_begun(context: &Context, id: Id, json: bool) -> Outcome {
    let made = bulk::find(&mut context.db.read().await?, id).await?.ok_or("the operation is gone")?;
    ledger::say_when_it_is_noticed(context);
    let text = format!("{} to retry; follow it with `recado bulk show {id}`", made.total);
    tell_many(json, &crate::bulk::as_json(&made), &text)
}

fn would_retry(json: bool, total: i64) -> Outcome {
    let number = usize::try_from(total).unwrap_or_default();
    let text = format!("{} would be retried", count(number, "task"));
    tell_many(json, &serde_json::json!({ "total": total }), &text)
}

fn tell_many(json: bool, value: &serde_json::Value, text: &str) -> Outcome {
    if json {
        print_json(value)?;
    } else {
        say(text);
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context, options: List, json: bool) -> Outcome {
    let filter = TaskFilter {
        state: options.state,
        lanes: options.queue.map(|queue| queue.0).unwrap_or_default(),
        kind: options.kind,
        before: options.before,
        ..TaskFilter::default()
    };
    let Listed { tasks, back_to } = tasks::list(&mut context.db.read().await?, &filter, options.limit).await?;
    if let Some((id, created_at)) = back_to {
        let back_to = created_at.to_utc().format("%Y-%m-%d %H:%M:%S UTC");
        // Beside the list, which may be JSON.
        eprintln!(
            "only the newest {MOST_LOOKED_AT} tasks were looked at, back to {back_to}; go on with --before {id}, or narrow the list with --state"
        );
    }
    if json {
        print_json(&tasks)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let mut table = Table::new(&["ID", "KIND", "LANE", "STATE", ">ATTEMPT", "CREATED", "DUE", "ERROR"]);
    for task in tasks {
        let due = if task.state == State::Scheduled { relative(task.run_at, now) } else { String::new() };
        table.row([
            task.id.to_string(),
            task.kind,
            task.lane,
            task.state.as_str().to_owned(),
            task.attempt.to_string(),
            relative(task.created_at, now),
            due,
            shorten(task.error.as_deref().unwrap_or_default(), ERROR_WIDTH),
        ]);
    }
    if table.is_empty() {
        say("no tasks");
    } else {
        print(&table.render());
    }
    Ok(ExitCode::SUCCESS)
}

/// All that is known about a task.
#[derive(Serialize)]
pub(crate) struct TaskDetails {
    pub(crate) task: Task,
    pub(crate) notifications: Vec<Notification>,
    pub(crate) attempts: Vec<Attempt>,
    /// Events that belong to no attempt, with their reasons.
    pub(crate) journal: Vec<Line>,
}

impl TaskDetails {
    pub(crate) async fn read(session: &mut Session, id: Id) -> recado_kernel::db::Result<Option<Self>> {
        let Some(task) = tasks::find(session, id).await? else {
            return Ok(None);
        };
        let notifications = notifications::chains(session, &[id]).await?;
        let attempts = attempts::of_task(session, id).await?;
        let mut journal = records::skipped(session, &[id]).await?;
        journal.extend(journal::of_task(session, id).await?);
        Ok(Some(Self { task, notifications, attempts, journal }))
    }
}

async fn show(context: &Context, id: Id, json: bool) -> Outcome {
    let Some(details) = TaskDetails::read(&mut context.db.read().await?, id).await? else {
        return Err(format!("there is no task {id}; finished ones are deleted after TASK_RETENTION_DAYS").into());
    };
    if json {
        print_json(&details)?;
    } else {
        print(&describe(&details, context.clock.now(), context.config.time_zone));
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(details: &TaskDetails, now: Timestamp, zone: Tz) -> String {
    let mut text = describe_task(&details.task, now);
    if !details.notifications.is_empty() {
        text.push_str("\nMessages, in the order in which they are tried\n");
        text.push_str(&describe_chain(&details.notifications, now));
    }
    if !details.attempts.is_empty() {
        text.push_str("\nAttempts\n");
        text.push_str(&describe_attempts(&details.attempts, now));
    }
    if !details.journal.is_empty() {
        text.push_str("\nJournal\n");
        text.push_str(&describe_journal(&details.journal, now, zone));
    }
    text
}

fn describe_task(task: &Task, now: Timestamp) -> String {
    let mut text = format!("Task {}\n", task.id);
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:<9} {value}\n"));
    line("state", format!("{}, attempt {}, {} lost leases", task.state.as_str(), task.attempt, task.lost_leases));
    line("kind", task.kind.clone());
    line("lane", task.lane.clone());
    line("created", format!("{} ({})", relative(task.created_at, now), task.created_at));
    if task.state == State::Scheduled {
        line("due", format!("{} ({})", relative(task.run_at, now), task.run_at));
    }
    if let Some(started_at) = task.started_at {
        line("started", format!("{} ({started_at})", relative(started_at, now)));
    }
    if let Some(finished_at) = task.finished_at {
        let took = span(finished_at.since(task.created_at));
        line("finished", format!("{}, {took} after it was created", relative(finished_at, now)));
    }
    if let Some(worker) = &task.worker {
        line("worker", format!("{worker}, lease ends {}", relative_or_dash(task.lease_until, now)));
    }
    if let Some(error) = &task.error {
        line("error", error.clone());
    }
    if let Some(result) = &task.result {
        line("result", result.to_string());
    }
    line("payload", task.payload.to_string());
    text
}

fn describe_chain(notifications: &[Notification], now: Timestamp) -> String {
    let mut table = Table::new(&["  CHANNEL", "STATUS", "TO", ">FAILED", "NEXT RETRY", "TEMPLATE", "REASON"]);
    for notification in notifications {
        let reason = [&notification.error_code, &notification.error_reason].into_iter().flatten();
        table.row([
            format!("  {}", notification.channel),
            notification.status.as_str().to_owned(),
            // A push has no address: it goes to the browsers that have subscribed by then.
            Some(notification.recipient_address.clone()).filter(|to| !to.is_empty()).unwrap_or_else(|| "-".to_owned()),
            format!("{}/{}", notification.retry_count, notification.max_retries),
            relative_or_dash(notification.next_retry_at, now),
            notification.template_name.clone(),
            reason.cloned().collect::<Vec<_>>().join(": "),
        ]);
    }
    table.render()
}

fn describe_attempts(attempts: &[Attempt], now: Timestamp) -> String {
    let mut table = Table::new(&["  WHEN", "CHANNEL", "OUTCOME", ">TOOK", ">CODE", "REASON"]);
    for attempt in attempts {
        let reason = [&attempt.error_code, &attempt.error_reason].into_iter().flatten();
        table.row([
            format!("  {}", relative(attempt.started_at, now)),
            attempt.channel.to_string(),
            attempt.outcome.to_string(),
            format!("{} ms", attempt.duration_ms),
            attempt.provider_status.map_or_else(|| "-".to_owned(), |code| code.to_string()),
            reason.cloned().collect::<Vec<_>>().join(": "),
        ]);
    }
    table.render()
}

fn describe_journal(journal: &[Line], now: Timestamp, zone: Tz) -> String {
    let mut table = Table::new(&["  WHEN", "CHANNEL", "WHAT", "DETAIL"]);
    for line in journal {
        table.row([
            format!("  {}", relative(line.at, now)),
            line.channel.clone().unwrap_or_else(|| "-".to_owned()),
            line.kind.clone(),
            timeline::text(line, zone, Language::English),
        ]);
    }
    table.render()
}

/// Says what became of each task that was named. Status 1 when one of them was left alone.
async fn report(context: &Context, done: &str, named: &[Id], changed: &[Id], json: bool) -> Outcome {
    let left: Vec<Id> = named.iter().filter(|id| !changed.contains(id)).copied().collect();
    if json {
        print_json(&serde_json::json!({ done: changed, "unchanged": left }))?;
    } else {
        for id in changed {
            say(&format!("{id} {done}"));
        }
        let filter = TaskFilter { ids: left.clone(), ..TaskFilter::default() };
        let known = match left.len() {
            0 => Vec::new(),
            many => tasks::list(&mut context.db.read().await?, &filter, many as i64).await?.tasks,
        };
        for id in &left {
            let state = known.iter().find(|task| task.id == *id).map(|task| task.state.as_str());
            let reason = state.map_or_else(|| "there is no such task".to_owned(), |state| format!("it is {state}"));
            eprintln!("{id} not {done}: {reason}");
        }
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use recado_queue::lanes::SYNC;

    use super::*;

    #[test]
    fn queues_are_named_as_celery_names_them() {
        assert_eq!(parse_queue("sync").expect("a queue").0, [SYNC]);
        assert_eq!(parse_queue("notifications").expect("a queue").0.len(), 3);
        let error = parse_queue("emails").expect_err("no queue");
        assert!(error.contains("notifications.email") && error.contains("sync"), "{error}");
    }
}
