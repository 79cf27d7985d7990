//! Workers in the console: what runs, and the wish that one takes nothing more.

use recado_kernel::audit::{self, AuditFilter};
use recado_kernel::ids::Id;
use recado_queue::workers::{self, RunningTask, WorkerRow};
use sqlx::types::Json;

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;

const BUSY: &str = "host-1:17:0c8f4e1f";

impl App {
    /// A worker that was heard of so many seconds ago.
    async fn heard_of(&self, id: &str, version: &str, seconds_ago: u64, running: Vec<RunningTask>) {
        let now = self.clock.now();
        let row = WorkerRow {
            id: id.to_owned(),
            queues: "notifications,maintenance".to_owned(),
            concurrency: 4,
            held: 3,
            version: version.to_owned(),
            started_at: now - seconds(600),
            seen_at: now - seconds(seconds_ago),
            running: running.len() as i32,
            running_tasks: Json(running),
            drain_since: None,
            drain_by: None,
            clock_ahead_ms: 7_000,
        };
        let mut session = self.begin().await;
        workers::upsert(&mut session, &row).await.expect("it is written");
        session.commit().await.expect("it is kept");
    }

    async fn drains(&self, id: &str) -> Option<String> {
        workers::find(&mut self.begin().await, id).await.expect("it is read").expect("it is there").drain_by
    }
}

story!(workers_are_told_with_what_they_run, async |app: &App| {
    app.leave_work();
    let viewer = app.operator("viewer").await;
    assert!(viewer.page("/admin/workers/").await.contains("No worker works"), "an empty page teaches");
    let task = RunningTask {
        task_id: Id::new(app.clock.now()),
        kind: "send_notification".to_owned(),
        lane: "notifications.email".to_owned(),
        since: app.clock.now(),
    };
    app.heard_of(BUSY, "0.1.0", 1, vec![task.clone()]).await;
    app.heard_of("<script>alert(1)</script>:1:a", "0.0.9", 600, Vec::new()).await;
    app.heard_of("host-2:1:a", "0.2.0", 1, Vec::new()).await;
    let page = viewer.page("/admin/workers/").await;
    let link = format!("/admin/tasks/{}/", task.task_id);
    for said in [
        BUSY,
        link.as_str(),
        "1 running, 3 held",
        "silent",
        "Different versions work",
        "differs by 7,000 ms",
        "<code>sync</code>",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert!(!page.contains("<script>alert") && !page.contains("/drain/\"><button"), "{page}");
    assert_eq!(viewer.post(&format!("/admin/workers/{BUSY}/drain/"), &[]).await.status, 403);
    assert_eq!(app.drains(BUSY).await, None);
});

story!(a_worker_is_drained_and_that_undone, async |app: &App| {
    app.leave_work();
    app.heard_of(BUSY, "0.1.0", 1, Vec::new()).await;
    let operator = app.operator("operator").await;
    let page = operator.page("/admin/workers/").await;
    let drain = page.split("action=\"").filter_map(|rest| rest.split('"').next()).find(|url| url.ends_with("/drain/"));
    let page = operator.post_and_follow(drain.expect("a button"), &[]).await;
    assert!(page.contains("The worker drains.") && page.contains("Draining since"), "{page}");
    assert_eq!(app.drains(BUSY).await.as_deref(), Some("operator-1"));
    assert!(operator.post_and_follow(drain.expect("a button"), &[]).await.contains("Nothing was done"));
    let back =
        page.split("action=\"").filter_map(|rest| rest.split('"').next()).find(|url| url.ends_with("/take-back/"));
    operator.post_and_follow(back.expect("an undo"), &[]).await;
    assert_eq!(app.drains(BUSY).await, None);
    assert_eq!(operator.post("/admin/workers/nobody:1:a/drain/", &[]).await.status, 404);
    let filter = AuditFilter { subject_kind: Some("worker".to_owned()), ..AuditFilter::default() };
    let log = audit::page(&mut app.begin().await, &filter, None, 100).await.expect("the log is read");
    let mut told: Vec<(&str, &str)> = log.iter().map(|entry| (entry.action.as_str(), entry.subject.as_str())).collect();
    // Both at one moment of the story's clock, so their order is not known.
    told.sort_unstable();
    assert_eq!(told, [("drain", BUSY), ("take_back", BUSY)]);
});
