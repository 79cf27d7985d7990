//! What survives: lost rings, dead workers, a queue that is away.

use recado_systems::SYSTEMS;
use std::collections::HashMap;
use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use recado_kernel::clock::Clock;
use recado_kernel::config::Config;
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_notifications::channels::Channel;
use recado_queue::context::Context;
use recado_queue::operations;
use recado_queue::tasks::{self, Claimed, Finish, State};
use recado_sandbox::{EvolutionFault, SmtpFault};
use recado_scheduler::Intervals;
use recado_worker::{Drain, Options, Worker};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::app::{App, WAIT_TIMEOUT, operator, seconds, until};
use crate::harness::pair::{Pair, story};
use crate::harness::sample;

/// A worker takes the task, and then one never hears of it again.
async fn claim(app: &App, task: Id, worker: &str) -> Option<Claimed> {
    let mut session = app.begin().await;
    let (now, lease) = (app.clock.now(), app.context.config.worker.lease);
    let mut claimed = None;
    for lane in SYSTEMS.lanes() {
        let claims = tasks::claim(&mut session, lane, &[task], worker, now, lease).await;
        claimed = claimed.or(claims.expect("the ledger is written").pop());
    }
    session.commit().await.expect("it is committed");
    claimed
}

// A crash between commit and ring, a FLUSHALL, a failover, a restart without persistence: one rule for all.
story!(a_lost_ring_is_rung_again, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.lose_rings().await;
    assert_eq!(app.drain().await, 0, "nobody knows of the task");

    app.later(seconds(4)).await;
    assert!(app.mails().is_empty(), "the process that committed it may be about to ring");
    app.later(seconds(2)).await;
    assert_eq!(app.mails().len(), 1);
    assert_eq!(app.chain(task).await[0], "email sent");
});

// A reader takes a ring out of its list and dies before the claim. The ring behind it still waits, and tells that this one is lost.
story!(a_ring_that_went_with_its_reader_is_rung_again, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    let taken = app.context.queue.listen(Channel::Email.lane()).read(1, Duration::ZERO).await.expect("it is read");
    assert_eq!(taken, [task]);
    app.clock.advance(seconds(10));
    app.accepted(&sample::event()).await;
    assert_eq!(app.sweep().await.rung_again, 1, "the younger ring is in its list");
    app.drain().await;
    assert_eq!(app.mails().len(), 2);
    assert_eq!(app.chain(task).await[0], "email sent");
});

// Ringing twice is harmless.
story!(a_ring_too_many_changes_nothing, async |app: &App| {
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    app.clock.advance(seconds(60));
    for _ in 0..3 {
        app.sweep().await;
    }
    app.drain().await;
    app.later(seconds(60)).await;
    assert_eq!(app.mails().len(), 1);
});

// The lease of a dead worker runs out, and another one delivers.
story!(a_dead_workers_task_is_taken_over, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    claim(app, task, "dead").await.expect("it is free");
    assert_eq!(app.status(task).await["status"], "STARTED");
    assert_eq!(app.drain().await, 0, "it is somebody's");

    app.later(seconds(29)).await;
    assert!(app.mails().is_empty(), "the lease holds 30 s");
    app.later(seconds(2)).await;
    assert_eq!(app.mails().len(), 1);
    assert_eq!(app.task(task).await.lost_leases, 1);
});

// A task that takes its workers down with it does not do so for ever.
story!(a_poisonous_task_is_dead_after_three_workers, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    for worker in ["first", "second", "third"] {
        claim(app, task, worker).await.expect("it is free again");
        begin(app, task, worker).await;
        app.clock.advance(seconds(31));
        app.sweep().await;
    }
    app.drain().await;
    let status = app.status(task).await;
    assert_eq!(status["status"], "FAILURE");
    assert!(status["error"].as_str().expect("a reason").contains("three times"), "{status}");
    assert_eq!(app.chain(task).await, ["email failed", "whatsapp failed"]);
    assert!(app.mails().is_empty());
});

/// The worker marks a task under suspicion, and begins it.
async fn begin(app: &App, task: Id, worker: &str) {
    let mut session = app.begin().await;
    assert_eq!(tasks::begin(&mut session, &[task], worker).await.expect("it is written"), [task]);
    session.commit().await.expect("it is committed");
}

/// A worker takes all of these.
async fn claim_all(app: &App, tasks: &[Id], worker: &str) {
    for task in tasks {
        claim(app, *task, worker).await.expect("it is free");
    }
}

// A lost lease counts against the one task that had begun, and never against what its worker merely held.
story!(neighbours_of_a_poisonous_task_do_not_die_with_it, async |app: &App| {
    app.know_carlos().await;
    let tasks = accept_many(app, 5).await;
    let (poison, neighbours) = tasks.split_first().expect("there are five");
    let dies = async || {
        app.clock.advance(seconds(31));
        app.sweep().await
    };
    claim_all(app, &tasks, "first").await;
    assert_eq!(dies().await.recovered, 5);
    for task in &tasks {
        assert_eq!(app.task(*task).await.lost_leases, 0, "it may have been any of them");
    }
    for (worker, times) in [("second", 1), ("third", 2), ("fourth", 3)] {
        claim_all(app, &tasks, worker).await;
        begin(app, *poison, worker).await;
        let swept = dies().await;
        assert_eq!((app.task(*poison).await.lost_leases, swept.recovered), (times, 5 - usize::from(times == 3)));
    }
    app.drain().await;
    assert_eq!(app.task(*poison).await.state, State::Dead);
    for task in neighbours {
        let row = app.task(*task).await;
        assert_eq!((row.state, row.lost_leases), (State::Success, 0));
    }
    assert_eq!(app.mails().len(), 4);
});

// 31 mails in the hands of a worker that is killed, three times over: all of them arrive.
#[tokio::test]
async fn what_a_dying_worker_holds_arrives() {
    const HELD: usize = 31;
    let settings = [("WORKER_CONCURRENCY", "32"), ("WORKER_LEASE_SECONDS", "1"), ("RUST_LOG", "warn")];
    let app = App::start_at(Pair::PostgresRedis, &settings, Clock::system()).await;
    app.know_carlos().await;
    let tasks = accept_many(&app, HELD).await;
    let stop = CancellationToken::new();
    let often = Intervals { recover: Duration::from_millis(100), ..Intervals::default() };
    let scheduler = tokio::spawn(recado_scheduler::run_with(app.context.clone(), often, stop.clone()));
    app.sandbox.smtp.misbehave(SmtpFault::Slow { delay: seconds(60) });
    for _ in 0..4 {
        let mut worker = app.program("recado-worker", &settings).spawn().expect("it starts");
        until("it holds them", async || !app.counts(&[State::Started]).await.is_empty()).await;
        worker.kill().await.expect("SIGKILL reaches it");
        until("they are free again", async || app.counts(&[State::Started]).await.is_empty()).await;
    }
    app.sandbox.smtp.behave();
    let mut last = app.program("recado-worker", &settings).spawn().expect("it starts");
    until("everything is worked off", async || app.counts(&[State::Queued, State::Started]).await.is_empty()).await;
    for task in tasks {
        assert_eq!(app.task(task).await.state, State::Success);
    }
    assert_eq!(arrivals(&app).len(), HELD);
    stop.cancel();
    scheduler.await.expect("it stops without a panic");
    last.kill().await.expect("SIGKILL reaches it");
    app.finish().await;
}

const HOUR: Duration = Duration::from_secs(3600);

// The clock goes back an hour, and a worker dies: what it held is free after a lease, and not when the hour has passed.
story!(a_clock_that_is_set_back_holds_no_lease, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    claim(app, task, "dead").await.expect("it is free");
    app.clock.set(app.clock.now() - HOUR);
    app.sweep().await;
    app.later(seconds(31)).await;
    assert_eq!(app.mails().len(), 1);
});

// The same for a task whose ring is lost, and for a retry: it comes a minute later, and not an hour and a minute.
story!(a_clock_that_is_set_back_delays_nothing, async |app: &App| {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    app.accepted(&sample::event()).await;
    app.drain().await;
    app.accepted(&sample::event()).await;
    app.lose_rings().await;
    app.clock.set(app.clock.now() - HOUR);
    app.sweep().await;
    app.later(seconds(6)).await;
    assert_eq!(app.mails().len(), 1, "its ring was lost");
    app.later(seconds(75)).await;
    assert_eq!(app.mails().len(), 2, "it is tried again after a minute");
});

// Hosts whose clocks are an hour off, ahead and behind, work together: no one takes a task from another that lives, and a
// retry comes when it is due.
async fn hosts_that_disagree_on_the_time(pair: Pair) {
    let settings = [("WORKER_LEASE_SECONDS", "0.9"), ("NOTIFICATION_RETRY_BASE_SECONDS", "0.2")];
    let app = App::start_at(pair, &settings, Clock::system()).await;
    app.know_carlos().await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    let now = app.clock.now();
    for wrong in [now - HOUR, now + HOUR] {
        let host = restarted_at(&app, &settings, Clock::running_from(wrong)).await;
        // A queue that lives in a process rings for no other.
        let host = Context { queue: app.context.queue.clone(), ..host };
        let right = host.clock.now().since(app.clock.now()).max(app.clock.now().since(host.clock.now()));
        assert!(right < seconds(1), "it asks the database what time it is");
        let stop = CancellationToken::new();
        let often = Intervals { recover: Duration::from_millis(50), ..Intervals::punctual_for(seconds(0)) };
        let scheduler = tokio::spawn(recado_scheduler::run_with(app.context.clone(), often, stop.clone()));
        let worker = Running::start(&host);
        let task = app.task_for(&sample::event()).await;
        until("it is sent", async || app.task(task).await.state == State::Success).await;
        assert_eq!(app.task(task).await.lost_leases, 0);
        stop.cancel();
        scheduler.await.expect("it stops without a panic");
        worker.stop().await;
        host.db.close().await;
    }
    assert_eq!(app.mails().len(), 2);
    app.finish().await;
}

mod hosts_that_disagree_on_the_time {
    #[tokio::test]
    async fn postgres_redis() {
        super::hosts_that_disagree_on_the_time(super::Pair::PostgresRedis).await;
    }

    #[tokio::test]
    async fn embedded() {
        super::hosts_that_disagree_on_the_time(super::Pair::Embedded).await;
    }
}

// One completion that the database refuses, whatever is in it, holds up none that is written with it, and is not tried for ever.
async fn a_refused_completion_stands_alone(pair: Pair) {
    let app = App::start_at(pair, &[], Clock::system()).await;
    app.know_carlos().await;
    let tasks = accept_many(&app, 20).await;
    let refused = tasks[7];
    let mut session = app.begin().await;
    let of_task = format!("task_id = '{refused}'");
    let statement = match pair {
        Pair::PostgresRedis => {
            format!("alter table notifications add constraint no check (not ({of_task} and status = 'sent'))")
        }
        Pair::Embedded => format!(
            "create trigger no before update on notifications when new.{of_task} and new.status = 'sent'
             begin select raise(abort, 'no'); end"
        ),
    };
    sql!(run, &mut session, (&statement)).expect("it is done");
    session.commit().await.expect("it is committed");
    let worker = Running::start(&app.context);
    until("everything has ended", async || app.counts(&[State::Queued, State::Started]).await.is_empty()).await;
    worker.stop().await;

    for task in tasks.iter().filter(|task| **task != refused) {
        assert_eq!(app.task(*task).await.state, State::Success);
        assert_eq!(app.chain(*task).await[0], "email sent");
    }
    let row = app.task(refused).await;
    assert_eq!(row.state, State::Dead);
    assert!(row.error.as_deref().is_some_and(|error| error.contains("cannot be written")), "{row:?}");
    assert_eq!(app.mails().len(), 20, "each was sent once");
    app.finish().await;
}

mod a_refused_completion_stands_alone {
    #[tokio::test]
    async fn postgres_redis() {
        super::a_refused_completion_stands_alone(super::Pair::PostgresRedis).await;
    }

    #[tokio::test]
    async fn embedded() {
        super::a_refused_completion_stands_alone(super::Pair::Embedded).await;
    }
}

// Fencing: a worker that comes back late decides nothing any more.
story!(a_late_worker_cannot_finish, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    let late = claim(app, task, "late").await.expect("it is free");
    app.clock.advance(seconds(31));
    app.sweep().await;
    let current = claim(app, task, "current").await.expect("it is free again");

    let finish = |claimed: &Claimed| Finish {
        id: claimed.id,
        attempt: claimed.attempt,
        state: State::Success,
        run_at: app.clock.now(),
        rung_at: None,
        lane: "notifications.email",
        failures: 0,
        cut_off: false,
        error: None,
        result: None,
        finished_at: Some(app.clock.now()),
    };
    let mut session = app.begin().await;
    let accepted = tasks::finish(&mut session, &[finish(&late)]).await.expect("the ledger is written");
    assert_eq!(accepted, []);
    let accepted = tasks::finish(&mut session, &[finish(&current)]).await.expect("the ledger is written");
    assert_eq!(accepted, [task]);
    session.commit().await.expect("it is committed");
});

// A worker that was told to stop gives back what it holds; that costs no attempt and no lost lease.
story!(what_is_handed_back_is_free_at_once, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    claim(app, task, "stopping").await.expect("it is free");
    let mut session = app.begin().await;
    let rings = tasks::hand_back(&mut session, &[task], "stopping", false, app.clock.now()).await.expect("written");
    session.commit().await.expect("it is committed");
    app.context.ring(&rings).await;
    app.drain().await;

    let row = app.task(task).await;
    assert_eq!((row.state, row.failures, row.lost_leases), (State::Success, 0, 0));
    assert_eq!(app.mails().len(), 1);
});

// d27: the worker was stopped while the provider held its answer back. The next one asks before it sends.
story!(a_message_that_was_cut_off_is_not_sent_twice, [("WORKER_DRAIN_SECONDS", "0")], async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.evolution.misbehave_times(EvolutionFault::AcceptThenHang, 1);
    let worker = Running::start(&app.context);
    app.sandbox.evolution.wait_for(1, WAIT_TIMEOUT).await;
    worker.stop().await;
    assert_eq!(app.task(task).await.state, State::Queued, "it was handed back");

    app.drain().await;
    assert_eq!(app.whatsapps().len(), 1);
    assert_eq!(app.chain(task).await, ["whatsapp sent"]);
});

// An operator cancels while the provider hangs: the worker is told by its heartbeat and lets go.
story!(a_running_task_can_be_cancelled, [("WORKER_LEASE_SECONDS", "0.3")], async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.evolution.misbehave_times(EvolutionFault::AcceptThenHang, 1);
    let worker = Running::start(&app.context);
    app.sandbox.evolution.wait_for(1, WAIT_TIMEOUT).await;
    operations::cancel(&app.context, &[task], &operator()).await.expect("cancelled");
    // It would wait 25 s for what still runs, and the provider never answers.
    tokio::time::timeout(seconds(20), worker.stop()).await.expect("nothing runs any more");
    assert_eq!(app.task(task).await.state, State::Cancelled);
    assert_eq!(app.chain(task).await, ["whatsapp cancelled"]);

    // The provider had taken it. Who retries what was cancelled asks it first.
    app.sandbox.evolution.behave();
    operations::retry(&app.context, &[task], &operator()).await.expect("it begins again");
    app.drain().await;
    assert_eq!((app.chain(task).await, app.whatsapps().len()), (vec!["whatsapp sent".to_owned()], 1));
});

// d27: a provider may take longer than a lease. The heartbeat renews it, and no one else sends the message too.
async fn a_slow_job_keeps_its_lease(pair: Pair) {
    let app = App::start_at(pair, &[("WORKER_LEASE_SECONDS", "0.6")], Clock::system()).await;
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.evolution.misbehave(EvolutionFault::Slow { delay: seconds(3) });
    let stop = CancellationToken::new();
    let often = Intervals { recover: Duration::from_millis(50), ..Intervals::default() };
    let scheduler = tokio::spawn(recado_scheduler::run_with(app.context.clone(), often, stop.clone()));
    let (first, second) = (Running::start(&app.context), Running::start(&app.context));
    until("it is sent", async || app.task(task).await.state == State::Success).await;

    let row = app.task(task).await;
    assert_eq!((row.attempt, row.lost_leases, app.whatsapps().len()), (1, 0, 1));
    stop.cancel();
    scheduler.await.expect("it stops without a panic");
    first.stop().await;
    second.stop().await;
    app.finish().await;
}

mod a_slow_job_keeps_its_lease {
    #[tokio::test]
    async fn postgres_redis() {
        super::a_slow_job_keeps_its_lease(super::Pair::PostgresRedis).await;
    }

    #[tokio::test]
    async fn embedded() {
        super::a_slow_job_keeps_its_lease(super::Pair::Embedded).await;
    }
}

// Redis may be down: the request is safe without it, and delivered when it is back.
story!(an_event_is_accepted_while_redis_is_down, [("REDIS_URL", "redis://127.0.0.1:1/")], async |app: &App| {
    app.post(crate::harness::app::SYNC_CUSTOMER, &sample::customer()).await.must_be(202);
    app.sweep().await;
    let health = app.get("/health").await.must_be(200);
    assert_eq!(health["status"], "degraded");
    app.get("/api/v1/health/redis/").await.must_be(503);

    let recovered = restarted(app, &[]).await;
    let worker = Drain::new(recovered.clone()).expect("the settings work");
    app.clock.advance(seconds(6));
    recado_scheduler::sweep(&recovered).await.expect("the scheduler passes");
    worker.run().await.expect("the worker works");
    app.accepted(&sample::event()).await;
    app.clock.advance(seconds(6));
    recado_scheduler::sweep(&recovered).await.expect("the scheduler passes");
    worker.run().await.expect("the worker works");
    assert_eq!(app.mails().len(), 1);
    recovered.db.close().await;
});

/// The same installation, seen by a process that starts now with these settings.
async fn restarted(app: &App, settings: &[(&str, &str)]) -> Context {
    restarted_at(app, settings, app.clock.clone()).await
}

/// On a host with this clock.
async fn restarted_at(app: &App, settings: &[(&str, &str)], clock: Clock) -> Context {
    let variables = app.environment(settings);
    let config = Config::read(|name| variables.get(name).cloned()).expect("the settings are valid");
    Context::open(config, clock, SYSTEMS).await.expect("database and queue open")
}

/// A worker that runs beside the story.
struct Running {
    stop: CancellationToken,
    working: JoinHandle<()>,
}

impl Running {
    fn start(context: &Context) -> Self {
        let stop = CancellationToken::new();
        let worker = Worker::new(context.clone(), Options::from(context)).expect("the settings work");
        Self { working: tokio::spawn(worker.run(stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.working.await.expect("it stops without a panic");
    }
}

/// Accepts many events; each names its own plate.
async fn accept_many(app: &App, count: usize) -> Vec<Id> {
    let events: Vec<Value> =
        (0..count).map(|number| sample::event_with(json!({"context": {"placa": format!("P{number:03}")}}))).collect();
    join_all(events.iter().map(|event| app.task_for(event))).await
}

/// How often each mail arrived, by its Message-ID.
fn arrivals(app: &App) -> HashMap<String, usize> {
    let mut arrivals = HashMap::new();
    for mail in app.mails() {
        *arrivals.entry(mail.message_id().expect("every mail has one").to_owned()).or_default() += 1;
    }
    arrivals
}

// Graceful stop: a real worker is stopped in the middle, another goes on, and everything arrives exactly once.
async fn workers_come_and_go(pair: Pair) {
    let app = App::start_at(pair, &[("WORKER_CONCURRENCY", "8")], Clock::system()).await;
    app.know_carlos().await;
    let tasks = accept_many(&app, 200).await;
    // A worker claims what it can begin within a second, and a stop lets it finish that: 80 of them.
    app.sandbox.smtp.misbehave(SmtpFault::Slow { delay: Duration::from_millis(100) });
    let first = Running::start(&app.context);
    app.sandbox.smtp.wait_for(40, WAIT_TIMEOUT).await;
    first.stop().await;
    let midway = app.mails().len();
    assert!((40..200).contains(&midway), "{midway}");
    assert_eq!(app.counts(&[State::Started]).await, [], "a worker that stopped holds nothing");

    let second = Running::start(&app.context);
    app.sandbox.smtp.wait_for(200, WAIT_TIMEOUT).await;
    second.stop().await;
    assert_eq!(app.mails().len(), 200);
    assert_eq!(arrivals(&app).len(), 200);
    for task in tasks {
        assert_eq!(app.task(task).await.state, State::Success);
    }
    app.finish().await;
}

mod workers_come_and_go {
    #[tokio::test]
    async fn postgres_redis() {
        super::workers_come_and_go(super::Pair::PostgresRedis).await;
    }

    #[tokio::test]
    async fn embedded() {
        super::workers_come_and_go(super::Pair::Embedded).await;
    }
}

/// Enough that the middle is a place where much is under way.
const THOUSAND: usize = 1_000;

// FLUSHALL in the middle: the bell forgets everything, and everything that was accepted arrives, once.
async fn a_flush_in_the_middle_loses_nothing(pair: Pair) {
    let app = App::start_at(pair, &[("WORKER_CONCURRENCY", "8")], Clock::system()).await;
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::Slow { delay: Duration::from_millis(20) });
    accept_many(&app, THOUSAND).await;
    let stop = CancellationToken::new();
    let scheduler = tokio::spawn(recado_scheduler::run(app.context.clone(), stop.clone()));
    let worker = Running::start(&app.context);
    app.sandbox.smtp.wait_for(50, WAIT_TIMEOUT).await;
    app.lose_rings().await;
    let midway = app.mails().len();
    assert!((50..THOUSAND).contains(&midway), "{midway}");

    app.sandbox.smtp.wait_for(THOUSAND, WAIT_TIMEOUT).await;
    worker.stop().await;
    stop.cancel();
    scheduler.await.expect("it stops without a panic");
    assert_eq!(arrivals(&app).len(), THOUSAND, "every accepted message arrives");
    assert_eq!(app.mails().len(), THOUSAND, "and none arrives twice");
    app.finish().await;
}

mod a_flush_in_the_middle_loses_nothing {
    #[tokio::test]
    async fn postgres_redis() {
        super::a_flush_in_the_middle_loses_nothing(super::Pair::PostgresRedis).await;
    }

    #[tokio::test]
    async fn embedded() {
        super::a_flush_in_the_middle_loses_nothing(super::Pair::Embedded).await;
    }
}

// A newer version adds columns while this one runs and has its statements prepared: nothing breaks until it is replaced.
story!(a_migration_of_a_newer_version_is_survived, async |app: &App| {
    let vehicle = json!({"customer_id": "customer-001", "brand": "Haval", "model": "H6", "plate": "ABC123"});
    let everything = async || {
        app.know_carlos().await;
        app.dispatch(&sample::event()).await.must_be(202);
        app.drain().await;
        for noun in
            ["customers", "vehicles", "templates", "orchestration", "suppressions", "workshops", "provider-accounts"]
        {
            app.get(&format!("/api/v1/notifications/{noun}/")).await.must_be(200);
        }
        app.get("/api/v1/notifications/").await.must_be(200);
    };
    app.post("/api/v1/notifications/vehicles/", &vehicle).await.must_be(400);
    everything().await;
    app.post("/api/v1/notifications/vehicles/", &vehicle).await.must_be(201);
    everything().await;
    for statement in [
        "alter table customers add column newer text",
        "alter table vehicles add column newer text",
        "alter table templates add column newer text",
        "alter table orchestration_configs add column newer text",
        "alter table suppressions add column newer text",
        "alter table workshops add column newer text",
        "alter table provider_accounts add column newer text",
        "alter table notifications add column newer text",
        "alter table tasks add column newer text",
    ] {
        let mut session = app.begin().await;
        sql!(run, &mut session, (statement)).expect(statement);
        session.commit().await.expect("it is committed");
    }
    for _ in 0..6 {
        everything().await;
    }
});

// kill -9 in the middle: nothing that was accepted is lost. What was just being sent, or was sent and not yet written
// down, arrives again; a mailbox knows it by its Message-ID.
#[tokio::test]
async fn a_killed_worker_loses_nothing() {
    const CONCURRENCY: usize = 4;
    let settings = [("WORKER_CONCURRENCY", "4"), ("WORKER_LEASE_SECONDS", "2"), ("RUST_LOG", "warn")];
    let app = App::start_at(Pair::PostgresRedis, &settings, Clock::system()).await;
    app.know_carlos().await;
    let tasks = accept_many(&app, THOUSAND).await;
    app.sandbox.smtp.misbehave(SmtpFault::Slow { delay: Duration::from_millis(5) });

    let mut first = app.program("recado-worker", &settings).spawn().expect("it starts");
    app.sandbox.smtp.wait_for(THOUSAND / 5, WAIT_TIMEOUT).await;
    first.kill().await.expect("SIGKILL reaches it");
    let midway = arrivals(&app).len();
    assert!((1..THOUSAND).contains(&midway), "{midway}");

    let stop = CancellationToken::new();
    let scheduler = tokio::spawn(recado_scheduler::run(app.context.clone(), stop.clone()));
    let mut second = app.program("recado-worker", &settings).spawn().expect("it starts");
    until("everything is worked off", async || app.counts(&[State::Queued, State::Started]).await.is_empty()).await;

    let arrivals = arrivals(&app);
    assert_eq!(arrivals.len(), THOUSAND, "every accepted message arrives");
    let again: usize = arrivals.values().map(|times| times - 1).sum();
    assert!(again <= 3 * CONCURRENCY, "{again} messages arrived again; only {CONCURRENCY} were sent at a time");
    let states: HashSet<_> =
        join_all(tasks.iter().map(|task| app.status(*task))).await.iter().map(|s| s["status"].to_string()).collect();
    assert_eq!(states, HashSet::from(["\"SUCCESS\"".to_owned()]));

    stop.cancel();
    scheduler.await.expect("it stops without a panic");
    second.kill().await.expect("SIGKILL reaches it");
    app.finish().await;
}
