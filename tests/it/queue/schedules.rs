//! Recurring work.

use futures::future::join_all;
use recado_queue::operations;
use recado_queue::schedules::{self, Change, Zone};
use recado_queue::tasks::{self, Task, TaskFilter};

use crate::harness::app::{App, at, seconds};
use crate::harness::pair::story;

impl App {
    async fn tasks_of(&self, kind: &str) -> Vec<Task> {
        let filter = TaskFilter { kind: Some(kind.to_owned()), ..TaskFilter::default() };
        tasks::list(&mut self.begin().await, &filter, 100).await.expect("the ledger is read").tasks
    }

    async fn next_run(&self, name: &str) -> String {
        let schedule = schedules::find(&mut self.begin().await, name).await.expect("it is read").expect("it exists");
        schedule.next_run_at.expect("it is planned").to_string()
    }
}

// S002-80 to S002-82: 08:00 and Sunday midnight are Guayaquil's, five hours behind UTC.
story!(the_seed_plans_recurring_work, async |app: &App| {
    app.sweep().await;
    assert_eq!(app.next_run("check_maintenance_reminders").await, "2026-01-21T13:00:00.000000Z");
    assert_eq!(app.next_run("retry_failed_notifications").await, "2026-01-20T14:45:00.000000Z");
    assert_eq!(app.next_run("cleanup").await, "2026-01-25T05:00:00.000000Z");
    assert_eq!(app.next_run("count_analytics").await, "2026-01-20T15:07:00.000000Z");
});

// TIME_ZONE was copied into the rows by the seed, which has its own: 08:00 of Madrid was 08:00 of Guayaquil
// (django-celery-beat#625, #194, #134).
story!(schedules_run_by_the_clocks_of_the_installation, [("TIME_ZONE", "Europe/Madrid")], async |app: &App| {
    app.sweep().await;
    assert_eq!(app.next_run("check_maintenance_reminders").await, "2026-01-21T07:00:00.000000Z");
    // The setting changes, and the programs start again.
    let restart_in = async |zone| {
        let mut session = app.begin().await;
        schedules::tick(&mut session, app.context.systems, zone, app.clock.now()).await.expect("it ticks");
        session.commit().await.expect("it is committed");
    };
    restart_in(chrono_tz::America::Guayaquil).await;
    assert_eq!(app.next_run("check_maintenance_reminders").await, "2026-01-21T13:00:00.000000Z");

    // What staff chose stays.
    let zone = Some(Zone::Own(chrono_tz::Pacific::Galapagos));
    let change = Change { cron: Some("30 9 * * *".parse().expect("a cron expression")), zone, enabled: None };
    let mut session = app.begin().await;
    let known = schedules::change(&mut session, "check_maintenance_reminders", &change, app.clock.now()).await;
    session.commit().await.expect("it is committed");
    assert!(known.expect("it is written"));
    for zone in [chrono_tz::Europe::Madrid, chrono_tz::America::Guayaquil] {
        restart_in(zone).await;
        assert_eq!(app.next_run("check_maintenance_reminders").await, "2026-01-20T15:30:00.000000Z");
    }
});

// However many schedulers look at the same time, a tick becomes one task.
story!(a_tick_is_one_task, async |app: &App| {
    app.sweep().await;
    for ticks in 1..=3 {
        app.clock.advance(seconds(15 * 60));
        join_all((0..4).map(|_| app.sweep())).await;
        assert_eq!(app.tasks_of("retry_failed_notifications").await.len(), ticks);
    }
    app.drain().await;
});

// What nobody saw is made up for once, or not at all, as the schedule says.
story!(missed_ticks_are_made_up_for_once, async |app: &App| {
    app.sweep().await;
    app.clock.set(at("2026-01-24T20:05:00Z"));
    app.sweep().await;
    assert_eq!(app.tasks_of("check_maintenance_reminders").await.len(), 1, "run_once");
    assert_eq!(app.tasks_of("retry_failed_notifications").await.len(), 0, "skip");
    assert_eq!(app.next_run("check_maintenance_reminders").await, "2026-01-25T13:00:00.000000Z");
    app.drain().await;
});

// An operator switches a schedule off and on; what it missed meanwhile was not wanted.
story!(a_disabled_schedule_does_not_run, async |app: &App| {
    let enable = async |enabled| {
        let mut session = app.begin().await;
        let known = schedules::set_enabled(&mut session, "check_maintenance_reminders", enabled, app.clock.now()).await;
        session.commit().await.expect("it is committed");
        assert!(known.expect("it is written"));
    };
    app.sweep().await;
    enable(false).await;
    app.clock.set(at("2026-01-22T20:05:00Z"));
    app.sweep().await;
    enable(true).await;
    app.sweep().await;
    assert!(app.tasks_of("check_maintenance_reminders").await.is_empty());
    assert_eq!(app.next_run("check_maintenance_reminders").await, "2026-01-23T13:00:00.000000Z");
});

// An operator runs one by hand; its plan stays as it is.
story!(a_schedule_can_be_run_by_hand, async |app: &App| {
    app.sweep().await;
    let planned = app.next_run("cleanup").await;
    let task = operations::run_schedule(&app.context, "cleanup").await.expect("it runs");
    app.drain().await;
    assert_eq!(app.status(task).await["status"], "SUCCESS");
    assert_eq!(app.next_run("cleanup").await, planned);
    operations::run_schedule(&app.context, "party").await.expect_err("there is none");
});
