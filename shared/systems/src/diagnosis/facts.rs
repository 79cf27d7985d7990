//! Reads what a diagnosis needs: a handful of short statements, each bounded.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::errors::explain;
use recado_kernel::sql;
use recado_queue::context::Context;
use recado_queue::lanes::Lane;
use recado_queue::ring::Queue;
use recado_queue::samples::{self, Sample, SampleFilter};
use recado_queue::tasks::{self, Count, State};
use recado_queue::workers::{self, WorkerRow};
use recado_queue::{pauses, pauses::Pause};
use recado_webhooks::endpoints::DisabledReason;

use super::{AccountFacts, EndpointFacts, Facts, LaneFacts, WorkerFacts};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// In which the failures of an account are counted.
const LATELY: Duration = Duration::from_secs(15 * 60);

/// A receipt may take so long.
const RECEIPTS_COME: Duration = Duration::from_secs(5 * 60);

/// How long the transport may take to answer.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);

/// So many disabled endpoints are named.
const MOST_ENDPOINTS: i64 = 20;

/// What is known now.
///
/// # Errors
/// When the database does not do its part: then there is nothing to say but that.
pub async fn gather(context: &Context) -> Result<Facts> {
    let now = context.clock.now();
    let pending_migrations = context.db.pending_migrations().await?;
    // The tables that the rest asks may not be there yet.
    if !pending_migrations.is_empty() {
        return Ok(Facts { now, pending_migrations, ..Facts::default() });
    }
    let lanes = context.systems.lanes();
    let mut session = context.db.read().await?;
    let counts = tasks::count_unfinished(&mut session, &lanes).await?;
    let (overdue, overdue_tasks) = tasks::overdue(&mut session, &lanes, now).await?;
    let workers = workers::list(&mut session).await?;
    let pauses = pauses::in_force(&mut session, now).await?;
    let samples = samples::since(&mut session, now - DAY - HOUR, &SampleFilter::default()).await?;
    let (suppressed_last_day, suppressed_before) = suppressed(&mut session, now).await?;
    let disabled_endpoints = disabled_endpoints(&mut session).await?;
    drop(session);
    let lease = context.config.worker.lease;
    let (dead_last_hour, dead_day) = dead(&samples, now);
    Ok(Facts {
        now,
        lanes: lanes.iter().map(|lane| lane_facts(context, *lane, &counts, &workers, &pauses, now)).collect(),
        accounts: accounts(&samples, now),
        overdue,
        overdue_tasks,
        queue_error: queue_error(&context.queue).await,
        workers: workers.iter().map(|worker| worker_facts(worker, now, lease)).collect(),
        dead_last_hour,
        dead_usual_hour: dead_day / 24,
        dead: counts.iter().filter(|count| count.state == State::Dead).map(|count| count.count).sum(),
        suppressed_last_day,
        suppressed_usual_day: suppressed_before / 7,
        disabled_endpoints,
        pending_migrations,
        is_open_to_strangers: context.config.access.anonymous
            && context.config.listen.iter().any(|address| !address.ip().is_loopback()),
    })
}

fn lane_facts(
    context: &Context,
    lane: Lane,
    counts: &[Count],
    workers: &[WorkerRow],
    pauses: &[Pause],
    now: Timestamp,
) -> LaneFacts {
    let queued = counts.iter().find(|count| count.lane == lane.as_str() && count.state == State::Queued);
    let lease = context.config.worker.lease;
    let reads = |worker: &&WorkerRow| worker.takes_tasks(now, lease) && worker.lanes(context.systems).contains(&lane);
    LaneFacts {
        lane: lane.as_str().to_owned(),
        queued: queued.map_or(0, |count| count.count),
        oldest: queued.and_then(|count| count.oldest),
        pause: pauses::of_lane(pauses, lane).cloned(),
        readers: workers.iter().filter(reads).count(),
    }
}

fn worker_facts(worker: &WorkerRow, now: Timestamp, lease: Duration) -> WorkerFacts {
    WorkerFacts {
        id: worker.id.clone(),
        version: worker.version.clone(),
        is_live: worker.is_live(now, lease),
        held: worker.held,
        seen_at: worker.seen_at,
        drain_since: worker.drain_since,
        clock_ahead_ms: worker.clock_ahead_ms,
    }
}

async fn queue_error(queue: &Queue) -> Option<String> {
    match tokio::time::timeout(QUEUE_TIMEOUT, queue.can_write()).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(explain(&error)),
        Err(_) => Some(format!("{} s", QUEUE_TIMEOUT.as_secs())),
    }
}

/// How many were given up in the last hour, and in the day before it.
fn dead(samples: &[Sample], now: Timestamp) -> (i64, i64) {
    let (last, before): (Vec<&Sample>, Vec<&Sample>) = samples.iter().partition(|sample| sample.at >= now - HOUR);
    let sum = |samples: Vec<&Sample>| samples.iter().map(|sample| sample.figures.dead).sum();
    (sum(last), sum(before))
}

fn accounts(samples: &[Sample], now: Timestamp) -> Vec<AccountFacts> {
    let mut accounts: Vec<AccountFacts> = Vec::new();
    for sample in samples.iter().filter(|sample| !sample.account.is_empty()) {
        let known = accounts.iter().position(|one| one.lane == sample.lane && one.account == sample.account);
        let place = known.unwrap_or_else(|| {
            let (lane, account) = (sample.lane.clone(), sample.account.clone());
            accounts.push(AccountFacts { lane, account, ..AccountFacts::default() });
            accounts.len() - 1
        });
        add(&mut accounts[place], sample, now);
    }
    accounts
}

fn add(account: &mut AccountFacts, sample: &Sample, now: Timestamp) {
    let figures = &sample.figures;
    if sample.at >= now - LATELY {
        let not_sent = figures.deferred + figures.failed;
        account.sent += figures.sent;
        account.not_sent += not_sent;
        if not_sent > 0 {
            let first = account.failing_since.map_or(sample.at, |since| since.min(sample.at));
            account.failing_since = Some(first);
        }
    }
    if sample.at >= now - HOUR {
        if sample.at < now - RECEIPTS_COME {
            account.sent_last_hour += figures.sent;
        }
        account.delivered_last_hour += figures.delivered;
    } else {
        account.sent_last_day += figures.sent;
        account.delivered_last_day += figures.delivered;
    }
    if figures.delivered > 0 {
        account.last_receipt = account.last_receipt.max(Some(sample.at));
    }
}

/// Addresses that were suppressed in the last day, and in the seven days before it.
async fn suppressed(session: &mut Session, now: Timestamp) -> Result<(i64, i64)> {
    let counted: Option<(i64, i64)> = sql!(
        one(i64, i64),
        session,
        "select coalesce(sum(case when created_at >= $1 then 1 else 0 end), 0),
                coalesce(sum(case when created_at < $1 then 1 else 0 end), 0)
         from suppressions where created_at >= $2 and reason <> 'manual'",
        now - DAY,
        now - 8 * DAY
    )?;
    Ok(counted.unwrap_or_default())
}

#[derive(sqlx::FromRow)]
struct Disabled {
    name: String,
    status_changed_at: Timestamp,
    disabled_reason: Option<DisabledReason>,
}

/// Endpoints that we gave up; those that their owner stopped are as they should be.
async fn disabled_endpoints(session: &mut Session) -> Result<Vec<EndpointFacts>> {
    let disabled = sql!(all Disabled, session,
        "select name, status_changed_at, disabled_reason from webhook_endpoints
         where status = 'disabled' and disabled_reason in ('gone', 'failing') order by status_changed_at limit $1",
        MOST_ENDPOINTS
    )?;
    let facts = |one: Disabled| EndpointFacts {
        name: one.name,
        since: one.status_changed_at,
        gone: one.disabled_reason == Some(DisabledReason::Gone),
    };
    Ok(disabled.into_iter().map(facts).collect())
}

#[cfg(test)]
mod tests {
    use recado_queue::samples::Figures;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_768_919_400_000_000)
    }

    fn sample(minutes_ago: u64, sent: i64, failed: i64, delivered: i64) -> Sample {
        let figures = Figures { sent, failed, delivered, dead: failed, ..Figures::default() };
        let at = now() - Duration::from_secs(60 * minutes_ago);
        Sample { at, minutes: 1, lane: "l".into(), account: "env".into(), process: "p".into(), figures }
    }

    #[test]
    fn samples_are_told_apart_by_their_age() {
        let samples = [sample(2, 1, 2, 0), sample(10, 4, 8, 0), sample(30, 16, 32, 0), sample(90, 64, 0, 7)];
        let facts = &accounts(&samples, now())[0];
        assert_eq!((facts.sent, facts.not_sent), (5, 10));
        assert_eq!(facts.failing_since, Some(now() - Duration::from_secs(600)));
        assert_eq!((facts.sent_last_hour, facts.delivered_last_hour), (20, 0), "receipts of the last minutes may come");
        assert_eq!((facts.sent_last_day, facts.delivered_last_day), (64, 7));
        assert_eq!(facts.last_receipt, Some(now() - Duration::from_secs(5_400)));
        assert_eq!(dead(&samples, now()), (42, 0));
    }
}
