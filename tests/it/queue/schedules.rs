//! Recurring work.

use futures::future::join_all;
use recado_queue::operations;
use recado_queue::schedules::{self, Change, Zone};
use recado_queue::tasks::{self, Task, TaskFilter};
use serde_json::json;

use crate::harness::app::{App, at, operator, seconds};
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
    let known =
        schedules::change(&mut session, "check_maintenance_reminders", &change, &operator(), app.clock.now()).await;
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

// What no one saw is made up for once, or not at all, as the schedule says.
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
        let known =
            schedules::set_enabled(&mut session, "check_maintenance_reminders", enabled, &operator(), app.clock.now())
                .await;
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
    let task = operations::run_schedule(&app.context, "cleanup", &operator()).await.expect("it runs");
    app.drain().await;
    assert_eq!(app.status(task).await["status"], "SUCCESS");
    assert_eq!(app.next_run("cleanup").await, planned);
    operations::run_schedule(&app.context, "party", &operator()).await.expect_err("there is none");
});

// Over HTTP: in words, with the next five runs and the last ones; changed, refused with the field, run by hand.
story!(schedules_are_looked_at_and_changed_over_http, async |app: &App| {
    app.sweep().await;
    let schedules = "/api/v1/operations/schedules/";
    let listed = app.get(schedules).await.must_be(200);
    assert_eq!(
        (listed.as_array().map(Vec::len), &listed[0]["in_words"]),
        (Some(4), &json!("todos los días a las 08:00"))
    );
    assert_eq!(app.get(&format!("{schedules}?lang=en")).await.must_be(200)[0]["in_words"], "every day at 08:00");

    let cleanup = format!("{schedules}cleanup/");
    let patch = json!({"cron": "30 2 * * 0", "time_zone": "Europe/Madrid"});
    let changed = app.patch(&cleanup, &patch).await.must_be(200);
    assert_eq!((&changed["in_words"], &changed["has_own_zone"]), (&json!("los domingos a las 02:30"), &json!(true)));
    assert_eq!(changed["next_runs"].as_array().map(Vec::len), Some(5));
    // 02:30 does not exist on the day on which Madrid's clocks go forward.
    app.clock.set(at("2026-03-28T12:00:00Z"));
    let next = app.get(&cleanup).await.must_be(200)["next_runs"][0].clone();
    assert_eq!(
        (&next["local"], &next["clock_change"]),
        (&json!("2026-03-29T03:00:00+02:00"), &json!("moved_behind_gap"))
    );
    assert_eq!(app.patch(&cleanup, &json!({"time_zone": null})).await.must_be(200)["time_zone"], "America/Guayaquil");
    let refused = app.patch(&cleanup, &json!({"cron": "61 * * * *", "time_zone": "Quito"})).await.must_be(400);
    assert!(refused["cron"][0].is_string() && refused["time_zone"][0].is_string(), "{refused}");
    assert_eq!(app.patch(&cleanup, &json!({"enabled": false})).await.must_be(200)["next_runs"], json!([]));

    let run = app.post(&format!("{cleanup}run/"), &json!({})).await.must_be(202);
    app.drain().await;
    let runs = app.get(&format!("{cleanup}runs/")).await.must_be(200);
    assert_eq!((runs["results"].as_array().map(Vec::len), &runs["results"][0]["task_id"]), (Some(1), &run["task_id"]));
    assert_eq!(app.get(&cleanup).await.must_be(200)["last_runs"][0]["state"], "success");
    for path in ["party/", "party/runs/"] {
        app.get(&format!("{schedules}{path}")).await.must_be(404);
    }
    app.post(&format!("{schedules}party/run/"), &json!({})).await.must_be(404);
    app.patch(&format!("{schedules}party/"), &json!({"enabled": true})).await.must_be(404);
});

// A tick knows its schedule, so that its runs are found.
story!(a_tick_is_a_run_of_its_schedule, async |app: &App| {
    app.sweep().await;
    app.clock.advance(seconds(15 * 60));
    app.sweep().await;
    app.drain().await;
    let runs = app.get("/api/v1/operations/schedules/retry_failed_notifications/runs/").await.must_be(200);
    assert_eq!(
        (runs["results"].as_array().map(Vec::len), &runs["results"][0]["kind"]),
        (Some(1), &json!("retry_failed_notifications"))
    );
});
