//! What happened in each minute, by lane and account. Each process counts in memory and writes once a minute, so that a busy
//! system writes no more rows than a quiet one, and a page of an hour reads some hundred of them.
//!
//! ```text
//! minutes, 1 h ──► ten minutes, 24 h ──► hours, 30 days       joined by the scheduler: [`join_old`]
//! ```

mod counter;
mod histogram;
mod series;

use std::collections::BTreeMap;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, columns, filter};
use recado_kernel::{columns, sql};
use sqlx::types::Json;

pub use self::counter::{Attempted, Counter, Ran};
pub use self::histogram::{BOUNDS_MS, Histogram};
pub use self::series::{Point, Summary, Window, by_lane, series};
use crate::lanes::Lane;

/// Figures of a lane, or of one account of it, in some span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Figures {
    pub accepted: i64,
    pub done: i64,
    pub retried: i64,
    pub dead: i64,
    pub sent: i64,
    pub deferred: i64,
    pub failed: i64,
    pub delivered: i64,
    /// The highest that was seen.
    pub depth: Option<i64>,
    pub oldest_ms: Option<i64>,
    #[sqlx(json)]
    pub waits: Histogram,
    #[sqlx(json)]
    pub runs: Histogram,
    #[sqlx(json)]
    pub sends: Histogram,
}

impl Figures {
    /// Adds what others counted of the same lane, at the same time or another.
    pub fn join(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.done += other.done;
        self.retried += other.retried;
        self.dead += other.dead;
        self.sent += other.sent;
        self.deferred += other.deferred;
        self.failed += other.failed;
        self.delivered += other.delivered;
        self.depth = self.depth.max(other.depth);
        self.oldest_ms = self.oldest_ms.max(other.oldest_ms);
        self.waits.join(&other.waits);
        self.runs.join(&other.runs);
        self.sends.join(&other.sends);
    }

    /// Adds another lane of the same time: what waits in both waits.
    pub fn join_lane(&mut self, other: &Self) {
        let depth = match (self.depth, other.depth) {
            (Some(own), Some(others)) => Some(own + others),
            (own, others) => own.or(others),
        };
        self.join(other);
        self.depth = depth;
    }
}

/// A row: figures with their place.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Sample {
    pub at: Timestamp,
    pub minutes: i16,
    pub lane: String,
    pub account: String,
    pub process: String,
    #[sqlx(flatten)]
    pub figures: Figures,
}

columns!(Sample {
    at: timestamptz = |sample| sample.at,
    minutes: int2 = |sample| sample.minutes,
    lane: text = |sample| sample.lane.as_str(),
    account: text = |sample| sample.account.as_str(),
    process: text = |sample| sample.process.as_str(),
    accepted: int8 = |sample| sample.figures.accepted,
    done: int8 = |sample| sample.figures.done,
    retried: int8 = |sample| sample.figures.retried,
    dead: int8 = |sample| sample.figures.dead,
    sent: int8 = |sample| sample.figures.sent,
    deferred: int8 = |sample| sample.figures.deferred,
    failed: int8 = |sample| sample.figures.failed,
    delivered: int8 = |sample| sample.figures.delivered,
    depth: int8 = |sample| sample.figures.depth,
    oldest_ms: int8 = |sample| sample.figures.oldest_ms,
    waits: jsonb = |sample| Json(sample.figures.waits),
    runs: jsonb = |sample| Json(sample.figures.runs),
    sends: jsonb = |sample| Json(sample.figures.sends),
});

const COLUMNS: &str =
    "at, minutes, lane, account, process, accepted, done, retried, dead, sent, deferred, failed, delivered,
    depth, oldest_ms, waits, runs, sends";

/// Writes samples. What stands there of the same process and minute is replaced, so writing twice is harmless.
pub async fn write(session: &mut Session, samples: &[Sample]) -> Result<()> {
    if samples.is_empty() {
        return Ok(());
    }
    columns::run(
        session,
        "insert into samples ({columns}) select {columns} from {rows} r where true
         on conflict (at, minutes, lane, account, process) do update set
             accepted = excluded.accepted, done = excluded.done, retried = excluded.retried, dead = excluded.dead,
             sent = excluded.sent, deferred = excluded.deferred, failed = excluded.failed, delivered = excluded.delivered,
             depth = excluded.depth, oldest_ms = excluded.oldest_ms, waits = excluded.waits, runs = excluded.runs,
             sends = excluded.sends",
        samples,
    )
    .await?;
    Ok(())
}

/// Which samples are asked for. No lane means all, and so does no account.
#[derive(Clone, Debug, Default)]
pub struct SampleFilter {
    pub lanes: Vec<Lane>,
    pub account: Option<String>,
}

/// The samples since a moment, oldest first.
pub async fn since(session: &mut Session, since: Timestamp, filter: &SampleFilter) -> Result<Vec<Sample>> {
    let mut asked = filter::Filter::default();
    asked.when("at >= ?", Some(since));
    let lanes: Vec<&str> = filter.lanes.iter().map(|lane| lane.as_str()).collect();
    asked.when("lane = any(?)", (!lanes.is_empty()).then_some(lanes));
    asked.equal("account", filter.account.as_deref());
    asked
        .all(session, &format!("select {COLUMNS} from samples where {asked} order by at, minutes, lane, account"))
        .await
}

/// Which rows are joined into which: those of so many minutes that are older than this.
const JOINS: [(i16, i16, Duration); 2] =
    [(1, 10, Duration::from_secs(60 * 60)), (10, 60, Duration::from_secs(24 * 60 * 60))];

/// Samples that began longer ago are deleted.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// So many spans are joined at once; what is left has its turn a minute later.
const LARGEST_BATCH: usize = 50;

/// Joins minutes into ten minutes and those into hours, as they grow old, and deletes what is older than [`KEPT`]. Call it in
/// a transaction. A second scheduler that comes meanwhile finds the rows locked, passes over them, and has nothing to join.
pub async fn join_old(session: &mut Session, now: Timestamp) -> Result<()> {
    for (from, to, after) in JOINS {
        let before = floor(now - after, to);
        let first: Option<(Option<Timestamp>,)> = sql!(
            one(Option<Timestamp>),
            session,
            "select min(at) from samples where minutes = $1 and at < $2",
            from,
            before
        )?;
        let Some(first) = first.and_then(|(first,)| first) else { continue };
        let batch = Duration::from_secs(60 * to.unsigned_abs() as u64) * LARGEST_BATCH as u32;
        let until = before.min(floor(first, to) + batch);
        join(session, from, to, until).await?;
    }
    sql!(run, session, "delete from samples where at < $1", now - KEPT)?;
    Ok(())
}

async fn join(session: &mut Session, from: i16, to: i16, until: Timestamp) -> Result<()> {
    let old: Vec<Sample> = sql!(all Sample, session,
        (&format!("select {COLUMNS} from samples where minutes = $1 and at < $2 order by at for update skip locked")),
        from, until
    )?;
    let joined = joined(&old, to);
    let Some(first) = joined.first().map(|sample| sample.at) else { return Ok(()) };
    // A minute that was written late belongs to a span that was joined before.
    let there: Vec<Sample> = sql!(all Sample, session,
        (&format!("select {COLUMNS} from samples where minutes = $1 and at >= $2 and at < $3 and process = '' for update")),
        to, first, until
    )?;
    let joined = self::joined(&[there, joined].concat(), to);
    write(session, &joined).await?;
    columns::run(
        session,
        "delete from samples where exists (select 1 from {rows} r where r.at = samples.at and r.minutes = samples.minutes
             and r.lane = samples.lane and r.account = samples.account and r.process = samples.process)",
        &old,
    )
    .await?;
    Ok(())
}

/// The same figures in longer spans, of no process in particular.
fn joined(samples: &[Sample], minutes: i16) -> Vec<Sample> {
    let mut spans: BTreeMap<(Timestamp, &str, &str), Figures> = BTreeMap::new();
    for sample in samples {
        spans.entry((floor(sample.at, minutes), &sample.lane, &sample.account)).or_default().join(&sample.figures);
    }
    let row = |((at, lane, account), figures): ((Timestamp, &str, &str), Figures)| Sample {
        at,
        minutes,
        lane: lane.to_owned(),
        account: account.to_owned(),
        process: String::new(),
        figures,
    };
    spans.into_iter().map(row).collect()
}

/// The beginning of the span of so many minutes in which a moment lies.
pub(crate) fn floor(at: Timestamp, minutes: i16) -> Timestamp {
    let span = i64::from(minutes) * 60_000_000;
    Timestamp::from_micros(at.as_micros().div_euclid(span) * span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(minute: i64, lane: &str, process: &str, accepted: i64, depth: i64) -> Sample {
        let figures = Figures { accepted, depth: Some(depth), ..Figures::default() };
        let at = Timestamp::from_micros(minute * 60_000_000);
        Sample { at, minutes: 1, lane: lane.into(), account: String::new(), process: process.into(), figures }
    }

    #[test]
    fn what_is_joined_adds_up_by_lane_and_span() {
        let minutes = [
            sample(9, "sync", "a", 1, 0),
            sample(10, "sync", "a", 2, 7),
            sample(11, "sync", "b", 3, 5),
            sample(11, "maintenance", "b", 4, 1),
        ];
        let joined = joined(&minutes, 10);
        let told: Vec<_> = joined
            .iter()
            .map(|one| (one.at.as_micros() / 60_000_000, one.lane.as_str(), one.figures.accepted, one.figures.depth))
            .collect();
        assert_eq!(told, [(0, "sync", 1, Some(0)), (10, "maintenance", 4, Some(1)), (10, "sync", 5, Some(7))]);
        assert!(joined.iter().all(|one| one.process.is_empty() && one.minutes == 10));
    }
}
