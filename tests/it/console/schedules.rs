//! Recurring work in the console.

use recado_kernel::audit::{self, AuditFilter};
use recado_queue::schedules::{self, Schedule};
use recado_queue::tasks::{self, Task, TaskFilter};

use crate::harness::app::App;
use crate::harness::pair::story;

const PATH: &str = "/admin/schedules/check_maintenance_reminders/";

impl App {
    async fn reminders(&self) -> Schedule {
        let found = schedules::find(&mut self.begin().await, "check_maintenance_reminders").await;
        found.expect("it is read").expect("it is there")
    }

    async fn runs_of_reminders(&self) -> Vec<Task> {
        let filter = TaskFilter { schedule: Some(self.reminders().await.id), ..TaskFilter::default() };
        tasks::list(&mut self.begin().await, &filter, 10).await.expect("they are read").tasks
    }
}

story!(schedules_are_told_in_words_with_their_runs, async |app: &App| {
    let viewer = app.operator("viewer").await;
    let list = viewer.page("/admin/schedules/").await;
    assert!(list.contains(PATH) && list.contains("every day at 08:00") && list.contains("enabled"), "{list}");
    let page = viewer.page(PATH).await;
    for said in
        ["every day at 08:00", "0 8 * * *", "America/Guayaquil", "2026-01-21 08:00 -05:00", "It has not run yet."]
    {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert_eq!(page.matches("-05:00").count(), 5, "five runs: {page}");
    assert!(!page.contains("/run/\"") && !page.contains("/disable/\""), "{page}");
    for action in ["run", "enable", "disable"] {
        assert_eq!(viewer.post(&format!("{PATH}{action}/"), &[]).await.status, 403, "{action}");
    }
    assert_eq!(viewer.get("/admin/schedules/nothing/").await.status, 404);
    app.sql("update schedules set cron = 'every <b>day' where name = 'cleanup'").await;
    let list = viewer.page("/admin/schedules/").await;
    assert!(list.contains("Not a cron expression") && !list.contains("<b>day"), "{list}");
});

story!(a_schedule_is_run_now_and_switched_off_and_on, async |app: &App| {
    let operator = app.operator("operator").await;
    let page = operator.post_and_follow(&format!("{PATH}run/"), &[]).await;
    let runs = app.runs_of_reminders().await;
    assert!(page.contains("It runs now.") && page.contains(&format!("/admin/tasks/{}/", runs[0].id)), "{page}");
    app.drain().await;
    assert!(operator.page(PATH).await.contains("is-success"));

    let page = operator.post_and_follow(&format!("{PATH}disable/"), &[]).await;
    assert!(page.contains("The schedule is disabled.") && page.contains("None is planned"), "{page}");
    assert!(!app.reminders().await.enabled);
    assert!(operator.post_and_follow(&format!("{PATH}disable/"), &[]).await.contains("Nothing was done"));
    assert!(page.contains(&format!("action=\"{PATH}enable/\"")), "{page}");
    operator.post_and_follow(&format!("{PATH}enable/"), &[]).await;
    assert!(app.reminders().await.enabled);
    assert_eq!(operator.post("/admin/schedules/nothing/run/", &[]).await.status, 404);

    let filter = AuditFilter { subject_kind: Some("schedule".to_owned()), ..AuditFilter::default() };
    let log = audit::page(&mut app.begin().await, &filter, None, 100).await.expect("the log is read");
    let mut actions: Vec<&str> = log.iter().map(|entry| entry.action.as_str()).collect();
    // All at one moment of the story's clock, so their order is not known.
    actions.sort_unstable();
    assert_eq!(actions, ["disable", "enable", "run"]);
    assert!(log.iter().all(|entry| entry.actor == "operator-1" && entry.subject == "check_maintenance_reminders"));
});

story!(an_administrator_changes_when_a_schedule_runs, async |app: &App| {
    let admin = app.operator("admin").await;
    let page = admin.post_and_follow(PATH, &[("cron", "30 9 * * 1-5"), ("time_zone", "Europe/Madrid")]).await;
    assert!(page.contains("30 9 * * 1-5") && page.contains("Europe/Madrid"), "{page}");
    admin.undo(&page).await;
    let restored = app.reminders().await;
    assert_eq!((restored.cron.as_str(), restored.time_zone), ("0 8 * * *", None));
    let wrong = admin.post(PATH, &[("cron", "every day"), ("time_zone", "Quito")]).await;
    assert_eq!(wrong.status, 422);
    assert!(
        wrong.text.contains("id=\"cron-wrong\"") && wrong.text.contains("id=\"time_zone-wrong\""),
        "{}",
        wrong.text
    );
    assert_eq!(app.operator("operator").await.post(PATH, &[("cron", "0 0 * * *")]).await.status, 403);
    let filter = AuditFilter { subject_kind: Some("schedule".to_owned()), ..AuditFilter::default() };
    let log = audit::page(&mut app.begin().await, &filter, None, 100).await.expect("the log is read");
    assert_eq!(log.iter().filter(|entry| entry.action == "change").count(), 2);
});
