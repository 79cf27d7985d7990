//! One pass of the scheduler over a ledger of its own, with a clock that is moved by hand.

use recado_queue::jobs::Job;
use recado_queue::lanes::MAINTENANCE;
use recado_systems::SYSTEMS;
use std::path::PathBuf;
use std::time::Duration;

use recado_kernel::audit::Actor;
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::config::Config;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::jobs::SendNotification;
use recado_notifications::notifications::{self, NewNotification, Status};
use recado_notifications::seed;
use recado_notifications::targets::Target;
use recado_queue::context::Context;
use recado_queue::jobs::Ping;
use recado_queue::lanes::Lane;
use recado_queue::ring::Queue;
use recado_queue::tasks::{self, NewTask, State};
use recado_queue::{operations, schedules};
use recado_scheduler::{Swept, sweep};

const LEASE: Duration = Duration::from_secs(30);
const WORKER: &str = "host:1:test";

struct Ledger {
    context: Context,
    folder: PathBuf,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// 2026-01-20, 12:30 UTC, which is 07:30 in Guayaquil: half an hour before the reminders.
async fn ledger() -> Ledger {
    let clock = Clock::manual(Timestamp::from_micros(1_768_912_200_000_000));
    let name = Id::new(Clock::system().now()).to_string();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let config = Config::from_pairs([("RECADO_HOME", folder.to_string_lossy().as_ref())]).expect("valid");
    let context = Context::open(config, clock, SYSTEMS).await.expect("opened");
    context.db.migrate().await.expect("migrated");
    Ledger { context, folder }
}

impl Ledger {
    async fn enqueue(&self, job: &impl Job, delay: Duration) -> Id {
        let now = self.context.clock.now();
        let task = NewTask::at(Id::new(now), job, now + delay, now);
        let mut session = self.context.db.begin().await.expect("a transaction");
        tasks::insert(&mut session, std::slice::from_ref(&task)).await.expect("written");
        session.commit().await.expect("committed");
        task.id
    }

    /// A mail, with the task that delivers it.
    async fn notify(&self) -> Id {
        let now = self.context.clock.now();
        let task = NewTask::now(Id::new(now), &SendNotification { channel: Channel::Email }, now);
        let task_id = task.id;
        let notification = NewNotification {
            id: Id::new(now),
            correlation_id: Id::new(now),
            task_id,
            event_type: "vehicle_ready".into(),
            customer_id: "customer-001".into(),
            taller_id: None,
            target: Target::Clients,
            channel: Channel::Email,
            fallback_order: 0,
            status: Status::Queued,
            recipient_address: "carlos@example.com".into(),
            template_id: None,
            template_version: None,
            template_name: "t".into(),
            subject: "s".into(),
            body: "b".into(),
            is_html: false,
            max_retries: 3,
            awaits: None,
            preferred: None,
            critical: false,
            send_at: None,
            resend_of: None,
            reserve: Vec::new(),
            skipped: Vec::new(),
            decided: None,
            created_at: now,
        };
        let mut session = self.context.db.begin().await.expect("a transaction");
        notifications::insert(&mut session, &[task], &[notification]).await.expect("written");
        session.commit().await.expect("committed");
        task_id
    }

    async fn claim(&self, id: Id) -> usize {
        let mut session = self.context.db.begin().await.expect("a transaction");
        let mut claimed = 0;
        for lane in SYSTEMS.lanes() {
            let claims = tasks::claim(&mut session, lane, &[id], WORKER, self.context.clock.now(), LEASE).await;
            claimed += claims.expect("claimed").len();
        }
        session.commit().await.expect("committed");
        claimed
    }

    /// The worker begins it, which is marked of those under suspicion.
    async fn begin(&self, id: Id) {
        let mut session = self.context.db.begin().await.expect("a transaction");
        assert_eq!(tasks::begin(&mut session, &[id], WORKER).await.expect("marked"), [id]);
        session.commit().await.expect("committed");
    }

    /// What waits in the ring; reading takes it out.
    async fn rung(&self, lane: Lane) -> Vec<Id> {
        self.context.queue.listen(lane).read(100, Duration::ZERO).await.expect("read")
    }

    async fn state(&self, id: Id) -> State {
        let mut session = self.context.db.read().await.expect("a connection");
        tasks::find(&mut session, id).await.expect("read").expect("there").state
    }

    async fn sweep(&self) -> Swept {
        sweep(&self.context).await.expect("swept")
    }

    fn advance(&self, seconds: u64) {
        self.context.clock.advance(Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn a_delayed_task_is_rung_when_it_is_due_and_not_before() {
    let ledger = ledger().await;
    let id = ledger.enqueue(&Ping {}, Duration::from_secs(60)).await;
    ledger.advance(59);
    assert_eq!(ledger.sweep().await, Swept::default());
    ledger.advance(1);
    assert_eq!(ledger.sweep().await, Swept { promoted: 1, ..Swept::default() });
    assert_eq!(ledger.rung(MAINTENANCE).await, [id]);
    assert_eq!(ledger.state(id).await, State::Queued);
}

#[tokio::test]
async fn more_tasks_than_fit_a_batch_are_promoted_in_one_pass() {
    let ledger = ledger().await;
    let now = ledger.context.clock.now();
    let task = |_| NewTask::at(Id::new(now), &Ping {}, now + Duration::from_secs(1), now);
    let tasks: Vec<NewTask> = (0..2500).map(task).collect();
    let mut session = ledger.context.db.begin().await.expect("a transaction");
    tasks::insert(&mut session, &tasks).await.expect("written");
    session.commit().await.expect("committed");
    ledger.advance(1);
    assert_eq!(ledger.sweep().await.promoted, 2500);
}

#[tokio::test]
async fn a_lost_ring_is_repeated_after_the_grace_and_a_waiting_one_is_not() {
    let ledger = ledger().await;
    let id = ledger.enqueue(&Ping {}, Duration::ZERO).await;
    // It was committed and never rung: the process died in between.
    ledger.advance(4);
    assert_eq!(ledger.sweep().await.rung_again, 0);
    ledger.advance(2);
    assert_eq!(ledger.sweep().await.rung_again, 1);
    // It waits in the ring now, however long it stays unread.
    ledger.advance(3600);
    assert_eq!(ledger.sweep().await.rung_again, 0);
    assert_eq!(ledger.rung(MAINTENANCE).await, [id]);
    // The ring forgets everything, as after FLUSHALL.
    let Queue::Local(bell) = &ledger.context.queue else { panic!("embedded") };
    bell.forget_everything();
    assert_eq!(ledger.sweep().await.rung_again, 1);
}

#[tokio::test]
async fn a_task_goes_to_another_worker_when_its_own_falls_silent_and_is_dead_the_third_time() {
    let ledger = ledger().await;
    let id = ledger.notify().await;
    for _ in 1..tasks::LOST_LEASES_UNTIL_DEAD {
        assert_eq!(ledger.claim(id).await, 1);
        ledger.begin(id).await;
        assert_eq!(ledger.sweep().await.recovered, 0, "the lease is in force");
        ledger.advance(31);
        assert_eq!(ledger.sweep().await.recovered, 1);
        assert_eq!(ledger.rung(Channel::Email.lane()).await, [id]);
    }
    assert_eq!(ledger.claim(id).await, 1);
    ledger.begin(id).await;
    ledger.advance(31);
    assert_eq!(ledger.sweep().await, Swept { poisoned: 1, ..Swept::default() });
    assert_eq!(ledger.state(id).await, State::Dead);
    let chain = notifications::chains(&mut ledger.context.db.read().await.expect("a connection"), &[id]).await;
    let chain = chain.expect("read");
    assert_eq!(chain[0].status, Status::Failed);
    assert!(chain[0].error_reason.as_deref().expect("a reason").contains("three times"));

    // An operator retries it: task and message start again.
    assert_eq!(
        operations::retry_all_dead(&ledger.context, &[Channel::Email.lane()], &Actor::command("test"))
            .await
            .expect("retried"),
        1
    );
    assert_eq!(ledger.rung(Channel::Email.lane()).await, [id]);
    let chain = notifications::chains(&mut ledger.context.db.read().await.expect("a connection"), &[id]).await;
    assert_eq!(chain.expect("read")[0].status, Status::Queued);
    assert_eq!(operations::cancel(&ledger.context, &[id], &Actor::command("test")).await.expect("cancelled"), [id]);
    let chain = notifications::chains(&mut ledger.context.db.read().await.expect("a connection"), &[id]).await;
    assert_eq!(chain.expect("read")[0].status, Status::Cancelled);
}

/// S002-80: 08:00 in Guayaquil.
#[tokio::test]
async fn a_tick_becomes_one_task_however_many_schedulers_look() {
    let ledger = ledger().await;
    let now = ledger.context.clock.now();
    let mut session = ledger.context.db.begin().await.expect("a transaction");
    seed::load(&mut session, false, now).await.expect("loaded");
    for other in ["retry_failed_notifications", "cleanup"] {
        schedules::set_enabled(&mut session, other, false, &Actor::command("test"), now).await.expect("disabled");
    }
    session.commit().await.expect("committed");
    assert_eq!(ledger.sweep().await.ticked, 0);
    ledger.advance(30 * 60);
    let (one, other) = tokio::join!(sweep(&ledger.context), sweep(&ledger.context));
    assert_eq!(one.expect("swept").ticked + other.expect("swept").ticked, 1);
    assert_eq!(ledger.rung(MAINTENANCE).await.len(), 1);

    // Switched off over a day and on again: what it missed was not wanted.
    let name = "check_maintenance_reminders";
    let switch = async |enabled| {
        let mut session = ledger.context.db.begin().await.expect("a transaction");
        let now = ledger.context.clock.now();
        assert!(
            schedules::set_enabled(&mut session, name, enabled, &Actor::command("test"), now).await.expect("switched")
        );
        session.commit().await.expect("committed");
    };
    switch(false).await;
    ledger.advance(36 * 60 * 60);
    switch(true).await;
    assert_eq!(ledger.sweep().await.ticked, 0);
    ledger.advance(12 * 60 * 60);
    assert_eq!(ledger.sweep().await.ticked, 1);
    assert!(operations::run_schedule(&ledger.context, "no such", &Actor::command("test")).await.is_err());
}
