//! What is wrong with an installation, since when, whom it hits and what to do: facts in, findings out. Pure; [`facts`] reads them and
//! [`sentences`] says it in two languages.

pub mod facts;
pub mod sentences;

use std::collections::BTreeSet;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::word_enum;
use recado_queue::pauses::Pause;
use serde::Serialize;
use utoipa::ToSchema;

/// What is known of an installation at a moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub now: Timestamp,
    pub lanes: Vec<LaneFacts>,
    pub accounts: Vec<AccountFacts>,
    /// The oldest task that is due and was not queued.
    pub overdue: Option<Timestamp>,
    /// How many tasks are due and not queued, as far as that is known.
    pub overdue_tasks: i64,
    /// What the transport said when it was asked; `None`: it works.
    pub queue_error: Option<String>,
    pub workers: Vec<WorkerFacts>,
    /// Tasks that were given up in the last hour, and in an hour of the day before.
    pub dead_last_hour: i64,
    pub dead_usual_hour: i64,
    pub dead: i64,
    pub suppressed_last_day: i64,
    /// In a day of the week before.
    pub suppressed_usual_day: i64,
    pub disabled_endpoints: Vec<EndpointFacts>,
    pub pending_migrations: Vec<String>,
    /// No key is asked for, and other machines reach it.
    pub is_open_to_strangers: bool,
}

#[derive(Clone, Debug, Default)]
pub struct LaneFacts {
    pub lane: String,
    pub queued: i64,
    /// Since when the oldest queued task is due.
    pub oldest: Option<Timestamp>,
    pub pause: Option<Pause>,
    /// Live workers that take tasks from it.
    pub readers: usize,
}

/// An account of a channel in the last minutes.
#[derive(Clone, Debug, Default)]
pub struct AccountFacts {
    pub lane: String,
    pub account: String,
    /// Attempts of the last quarter of an hour.
    pub sent: i64,
    pub not_sent: i64,
    /// The first minute of that time in which an attempt was not taken.
    pub failing_since: Option<Timestamp>,
    /// Of the last hour, without its last minutes, in which receipts may still come.
    pub sent_last_hour: i64,
    pub delivered_last_hour: i64,
    /// Of the day before that.
    pub sent_last_day: i64,
    pub delivered_last_day: i64,
    /// The last minute with a receipt.
    pub last_receipt: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
pub struct WorkerFacts {
    pub id: String,
    pub version: String,
    pub is_live: bool,
    pub held: i32,
    pub seen_at: Timestamp,
    pub drain_since: Option<Timestamp>,
    pub clock_ahead_ms: i64,
}

#[derive(Clone, Debug, Default)]
pub struct EndpointFacts {
    pub name: String,
    pub since: Timestamp,
    pub gone: bool,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "lowercase", const_into_str)]
#[schema(as = DiagnosisSeverity, rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work, or will not soon.
    #[strum(serialize = "error")]
    #[schema(rename = "error")]
    Fault,
    /// It works, and somebody should look.
    Warning,
    /// As somebody wished it.
    Note,
}

word_enum!(Severity, "a severity");

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub severity: Severity,
    pub what: What,
    pub since: Option<Timestamp>,
    /// How many tasks, messages or parts it hits.
    pub hits: i64,
}

/// What is wrong, and with what. The name of the variant is the code that programs read.
#[derive(Clone, Debug, PartialEq, Serialize, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[serde(untagged)]
pub enum What {
    /// There are programs of a newer version than the schema.
    PendingMigrations {
        migrations: Vec<String>,
    },
    QueueDown {
        error: String,
    },
    /// Nothing that becomes due is queued.
    SchedulerSilent,
    /// No worker reads the lane.
    LaneUnread {
        lane: String,
    },
    LaneSlow {
        lane: String,
        waits_s: u64,
    },
    LanePaused {
        queue: String,
        reason: String,
        by: String,
        until: Option<Timestamp>,
    },
    AccountFailing {
        lane: String,
        account: String,
        percent: i64,
    },
    ReceiptsStopped {
        lane: String,
        account: String,
    },
    WorkerSilent {
        worker: String,
    },
    WorkerDraining {
        worker: String,
    },
    MixedVersions {
        versions: Vec<String>,
    },
    ClockOff {
        worker: String,
        ahead_ms: i64,
    },
    DeadGrowing {
        last_hour: i64,
        usual: i64,
    },
    DeadTasks,
    SuppressionsSpike {
        last_day: i64,
        usual: i64,
    },
    EndpointDisabled {
        endpoint: String,
        gone: bool,
    },
    OpenToStrangers,
}

impl What {
    /// For programs.
    pub fn code(&self) -> &'static str {
        self.into()
    }
}

/// A queued task waits this long before somebody should look, and this long before something is broken.
const SLOW: Duration = Duration::from_secs(60);
const STUCK: Duration = Duration::from_secs(10 * 60);

/// What is due is queued within a second or so; a scheduler that has not done it for this long is silent.
const SILENT: Duration = Duration::from_secs(60);

/// Fewer attempts than this say nothing about an account.
const FEWEST_ATTEMPTS: i64 = 5;

/// Attempts in 100 that may fail before somebody should look, and before it is broken.
const MANY_FAIL: i64 = 20;
const MOST_FAIL: i64 = 50;

/// Fewer messages than this say nothing about receipts.
const FEWEST_SENT: i64 = 10;

/// A host's clock may differ by this much: then certificates, signatures and logs begin to be wrong.
const CLOCK_OFF_MS: i64 = 5_000;

/// More than this many times the usual, and at least so many, is a spike.
const SPIKE: i64 = 3;
const FEWEST_DEAD: i64 = 10;
const FEWEST_SUPPRESSED: i64 = 20;

/// What is wrong, the worst first.
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(of_ground(facts));
    findings.extend(facts.lanes.iter().filter_map(|lane| of_lane(lane, facts.now)));
    findings.extend(of_pauses(facts));
    findings.extend(facts.accounts.iter().flat_map(of_account));
    findings.extend(of_workers(facts));
    findings.extend(of_counts(facts));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Whether everything works, apart from what somebody wished.
pub fn is_well(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity == Severity::Note)
}

fn finding(severity: Severity, what: What, since: Option<Timestamp>, hits: i64) -> Finding {
    Finding { severity, what, since, hits }
}

fn of_ground(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let queued: i64 = facts.lanes.iter().map(|lane| lane.queued).sum();
    if !facts.pending_migrations.is_empty() {
        let migrations = facts.pending_migrations.clone();
        let hits = count(migrations.len());
        findings.push(finding(Severity::Fault, What::PendingMigrations { migrations }, None, hits));
    }
    if let Some(error) = &facts.queue_error {
        findings.push(finding(Severity::Fault, What::QueueDown { error: error.clone() }, None, queued));
    }
    if let Some(since) = facts.overdue.filter(|since| facts.now.since(*since) >= SILENT) {
        findings.push(finding(Severity::Fault, What::SchedulerSilent, Some(since), facts.overdue_tasks));
    }
    if facts.is_open_to_strangers {
        findings.push(finding(Severity::Warning, What::OpenToStrangers, None, 0));
    }
    findings
}

/// One finding per lane: of a lane that is paused nothing else is said, and a lane without a reader is slow for that reason.
fn of_lane(lane: &LaneFacts, now: Timestamp) -> Option<Finding> {
    if lane.pause.is_some() {
        return None;
    }
    let waits = lane.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
    if lane.readers == 0 {
        let severity = if lane.queued > 0 { Severity::Fault } else { Severity::Warning };
        return Some(finding(severity, What::LaneUnread { lane: lane.lane.clone() }, lane.oldest, lane.queued));
    }
    let severity = if waits >= STUCK { Severity::Fault } else { Severity::Warning };
    let what = What::LaneSlow { lane: lane.lane.clone(), waits_s: waits.as_secs() };
    (waits >= SLOW).then(|| finding(severity, what, lane.oldest, lane.queued))
}

/// A pause of a queue is one finding, however many lanes it has.
fn of_pauses(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for lane in &facts.lanes {
        let Some(pause) = &lane.pause else { continue };
        let is_same =
            |finding: &&mut Finding| matches!(&finding.what, What::LanePaused { queue, .. } if *queue == pause.queue);
        if let Some(known) = findings.iter_mut().find(is_same) {
            known.hits += lane.queued;
            continue;
        }
        let what = What::LanePaused {
            queue: pause.queue.clone(),
            reason: pause.reason.clone(),
            by: pause.paused_by.clone(),
            until: pause.until,
        };
        findings.push(finding(Severity::Note, what, Some(pause.paused_at), lane.queued));
    }
    findings
}

fn of_account(account: &AccountFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (lane, name) = (account.lane.clone(), account.account.clone());
    let all = account.sent + account.not_sent;
    let percent = if all > 0 { account.not_sent * 100 / all } else { 0 };
    if all >= FEWEST_ATTEMPTS && percent >= MANY_FAIL {
        let severity = if percent >= MOST_FAIL { Severity::Fault } else { Severity::Warning };
        let what = What::AccountFailing { lane: lane.clone(), account: name.clone(), percent };
        findings.push(finding(severity, what, account.failing_since, account.not_sent));
    }
    // Only where receipts usually come: of ten messages at least one.
    let usually_come = account.sent_last_day >= FEWEST_SENT && account.delivered_last_day * 10 >= account.sent_last_day;
    if usually_come && account.sent_last_hour >= FEWEST_SENT && account.delivered_last_hour == 0 {
        let what = What::ReceiptsStopped { lane, account: name };
        findings.push(finding(Severity::Fault, what, account.last_receipt, account.sent_last_hour));
    }
    findings
}

fn of_workers(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let live = || facts.workers.iter().filter(|worker| worker.is_live);
    for worker in facts.workers.iter().filter(|worker| !worker.is_live) {
        let what = What::WorkerSilent { worker: worker.id.clone() };
        findings.push(finding(Severity::Warning, what, Some(worker.seen_at), worker.held.into()));
    }
    for worker in live() {
        if let Some(since) = worker.drain_since {
            let what = What::WorkerDraining { worker: worker.id.clone() };
            findings.push(finding(Severity::Note, what, Some(since), worker.held.into()));
        }
        if worker.clock_ahead_ms.abs() >= CLOCK_OFF_MS {
            let what = What::ClockOff { worker: worker.id.clone(), ahead_ms: worker.clock_ahead_ms };
            findings.push(finding(Severity::Warning, what, None, 1));
        }
    }
    let versions: BTreeSet<&str> = live().map(|worker| worker.version.as_str()).collect();
    if versions.len() > 1 {
        let hits = count(live().count());
        let versions = versions.into_iter().map(str::to_owned).collect();
        findings.push(finding(Severity::Warning, What::MixedVersions { versions }, None, hits));
    }
    findings
}

fn of_counts(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (last_hour, usual) = (facts.dead_last_hour, facts.dead_usual_hour);
    if last_hour >= FEWEST_DEAD && last_hour > SPIKE * usual {
        findings.push(finding(Severity::Fault, What::DeadGrowing { last_hour, usual }, None, last_hour));
    } else if facts.dead > 0 {
        findings.push(finding(Severity::Warning, What::DeadTasks, None, facts.dead));
    }
    let (last_day, usual) = (facts.suppressed_last_day, facts.suppressed_usual_day);
    if last_day >= FEWEST_SUPPRESSED && last_day > SPIKE * usual {
        findings.push(finding(Severity::Warning, What::SuppressionsSpike { last_day, usual }, None, last_day));
    }
    for endpoint in &facts.disabled_endpoints {
        let what = What::EndpointDisabled { endpoint: endpoint.name.clone(), gone: endpoint.gone };
        findings.push(finding(Severity::Warning, what, Some(endpoint.since), 1));
    }
    findings
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    const NOW: i64 = 1_000_000;

    fn lane(queued: i64, waits_s: i64, readers: usize) -> LaneFacts {
        let oldest = (queued > 0).then(|| at(NOW - waits_s));
        LaneFacts { lane: "sync".into(), queued, oldest, readers, pause: None }
    }

    fn paused(queue: &str, lane: LaneFacts) -> LaneFacts {
        let pause = Pause {
            queue: queue.into(),
            reason: "sesión caída".into(),
            paused_by: "op-1".into(),
            paused_at: at(NOW - 60),
            until: None,
        };
        LaneFacts { pause: Some(pause), ..lane }
    }

    fn worker(id: &str, version: &str) -> WorkerFacts {
        WorkerFacts {
            id: id.into(),
            version: version.into(),
            is_live: true,
            seen_at: at(NOW - 3),
            ..WorkerFacts::default()
        }
    }

    fn account(sent: i64, not_sent: i64) -> AccountFacts {
        AccountFacts { lane: "whatsapp".into(), account: "env".into(), sent, not_sent, ..AccountFacts::default() }
    }

    fn receipts(sent_hour: i64, delivered_hour: i64, sent_day: i64, delivered_day: i64) -> AccountFacts {
        AccountFacts {
            sent_last_hour: sent_hour,
            delivered_last_hour: delivered_hour,
            sent_last_day: sent_day,
            delivered_last_day: delivered_day,
            ..account(0, 0)
        }
    }

    /// Severity, code and whom it hits, in a word each.
    fn told(facts: Facts) -> Vec<String> {
        let findings = diagnose(&Facts { now: at(NOW), ..facts });
        findings.iter().map(|one| format!("{} {} {}", one.severity, one.what.code(), one.hits)).collect()
    }

    #[test]
    fn each_fact_has_its_finding_and_its_limit() {
        let of = Facts::default;
        let lanes = |lanes: &[LaneFacts]| Facts { lanes: lanes.to_vec(), ..of() };
        let accounts = |account: AccountFacts| Facts { accounts: vec![account], ..of() };
        let workers = |workers: &[WorkerFacts]| Facts { workers: workers.to_vec(), ..of() };
        let table: Vec<(Facts, &[&str])> = vec![
            (of(), &[]),
            (Facts { pending_migrations: vec!["0102 samples".into()], ..of() }, &["error pending_migrations 1"]),
            (Facts { queue_error: Some("silent".into()), lanes: vec![lane(7, 0, 1)], ..of() }, &["error queue_down 7"]),
            (Facts { overdue: Some(at(NOW - 59)), overdue_tasks: 3, ..of() }, &[]),
            (Facts { overdue: Some(at(NOW - 60)), overdue_tasks: 3, ..of() }, &["error scheduler_silent 3"]),
            (Facts { is_open_to_strangers: true, ..of() }, &["warning open_to_strangers 0"]),
            (lanes(&[lane(5, 59, 1)]), &[]),
            (lanes(&[lane(5, 60, 1)]), &["warning lane_slow 5"]),
            (lanes(&[lane(5, 600, 1)]), &["error lane_slow 5"]),
            (lanes(&[lane(0, 0, 0)]), &["warning lane_unread 0"]),
            (lanes(&[lane(5, 700, 0)]), &["error lane_unread 5"]),
            (lanes(&[paused("sync", lane(5, 700, 0))]), &["note lane_paused 5"]),
            (lanes(&[paused("all", lane(5, 700, 0)), paused("all", lane(2, 1, 1))]), &["note lane_paused 7"]),
            (accounts(account(0, 4)), &[]),
            (accounts(account(0, 5)), &["error account_failing 5"]),
            (accounts(account(8, 2)), &["warning account_failing 2"]),
            (accounts(account(81, 19)), &[]),
            (accounts(receipts(10, 0, 100, 10)), &["error receipts_stopped 10"]),
            (accounts(receipts(10, 1, 100, 10)), &[]),
            (accounts(receipts(9, 0, 100, 10)), &[]),
            (accounts(receipts(10, 0, 100, 9)), &[]),
            (workers(&[WorkerFacts { is_live: false, held: 4, ..worker("a", "1") }]), &["warning worker_silent 4"]),
            (workers(&[worker("a", "1"), worker("b", "1")]), &[]),
            (workers(&[worker("a", "1"), worker("b", "2")]), &["warning mixed_versions 2"]),
            (
                workers(&[worker("a", "1"), WorkerFacts { is_live: false, ..worker("b", "2") }]),
                &["warning worker_silent 0"],
            ),
            (
                workers(&[WorkerFacts { drain_since: Some(at(NOW)), held: 2, ..worker("a", "1") }]),
                &["note worker_draining 2"],
            ),
            (workers(&[WorkerFacts { clock_ahead_ms: -5_000, ..worker("a", "1") }]), &["warning clock_off 1"]),
            (workers(&[WorkerFacts { clock_ahead_ms: 4_999, ..worker("a", "1") }]), &[]),
            (Facts { dead: 3, ..of() }, &["warning dead_tasks 3"]),
            (Facts { dead: 30, dead_last_hour: 30, dead_usual_hour: 9, ..of() }, &["error dead_growing 30"]),
            (Facts { dead: 30, dead_last_hour: 30, dead_usual_hour: 10, ..of() }, &["warning dead_tasks 30"]),
            (Facts { dead: 9, dead_last_hour: 9, ..of() }, &["warning dead_tasks 9"]),
            (Facts { suppressed_last_day: 20, suppressed_usual_day: 6, ..of() }, &["warning suppressions_spike 20"]),
            (Facts { suppressed_last_day: 20, suppressed_usual_day: 7, ..of() }, &[]),
            (Facts { suppressed_last_day: 19, ..of() }, &[]),
            (
                Facts {
                    disabled_endpoints: vec![EndpointFacts { name: "p".into(), ..EndpointFacts::default() }],
                    ..of()
                },
                &["warning endpoint_disabled 1"],
            ),
        ];
        for (facts, expected) in table {
            let shown = format!("{facts:?}");
            assert_eq!(told(facts), expected, "{shown}");
        }
    }

    #[test]
    fn the_worst_comes_first_and_a_wish_is_no_fault() {
        let facts = Facts {
            lanes: vec![paused("sync", lane(1, 0, 1))],
            dead: 1,
            queue_error: Some("x".into()),
            ..Facts::default()
        };
        assert_eq!(told(facts), ["error queue_down 1", "warning dead_tasks 1", "note lane_paused 1"]);
        let wished = Facts { lanes: vec![paused("sync", lane(1, 0, 1))], ..Facts::default() };
        assert!(is_well(&diagnose(&wished)) && is_well(&[]));
    }
}
