//! Lanes in the console: what waits, and pauses.

use recado_kernel::audit::{self, AuditFilter};
use recado_queue::jobs::Ping;
use recado_queue::pauses::{self, Pause};
use recado_queue::tasks::State;

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;

const SYNC: [(&str, &str); 2] = [("queue", "sync"), ("reason", "<b>mantenimiento</b>")];

impl App {
    pub(super) async fn pauses(&self) -> Vec<Pause> {
        pauses::in_force(&mut self.begin().await, self.clock.now()).await.expect("they are read")
    }
}

story!(lanes_are_told_with_what_waits, async |app: &App| {
    app.leave_work();
    app.enqueue(&Ping {}).await;
    let viewer = app.operator("viewer").await;
    let page = viewer.page("/admin/queues/").await;
    for said in ["notifications.email", "maintenance", "1 waiting", "no worker reads it"] {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert!(!page.contains("/admin/queues/pause/") && !page.contains("<button>Go on"), "no button: {page}");
    assert_eq!(viewer.post("/admin/queues/pause/", &SYNC).await.status, 403);
    assert_eq!(viewer.post("/admin/queues/sync/resume/", &[]).await.status, 403);
    assert!(app.pauses().await.is_empty());
    assert_eq!(viewer.get("/admin/queues/?queue=%3Cscript%3E").await.status, 200);
});

story!(a_queue_is_paused_and_that_undone_and_done_again, async |app: &App| {
    let operator = app.operator("operator").await;
    let page = operator.page("/admin/queues/?queue=sync").await;
    assert!(page.contains("<option selected>sync</option>"), "{page}");
    let page = operator.post_and_follow("/admin/queues/pause/", &[&SYNC[..], &[("minutes", "30")]].concat()).await;
    assert!(page.contains("The queue is paused.") && page.contains("operator-1") && page.contains("until"), "{page}");
    assert!(page.contains("mantenimiento") && !page.contains("<b>mantenimiento"), "{page}");
    let paused = app.pauses().await;
    assert_eq!((paused.len(), paused[0].until), (1, Some(app.clock.now() + seconds(1_800))));

    let page = operator.post_and_follow("/admin/queues/sync/resume/", &[]).await;
    assert!(page.contains("The queue goes on.") && app.pauses().await.is_empty(), "{page}");
    let undo = page.split("/admin/queues/pause/?").nth(1).and_then(|rest| rest.split('"').next()).expect("an undo");
    let undo = undo.replace("&#38;", "&").replace("&amp;", "&");
    operator.post_and_follow(&format!("/admin/queues/pause/?{undo}"), &[]).await;
    let again = app.pauses().await;
    assert_eq!((&again[0].reason, again[0].until), (&paused[0].reason, paused[0].until));
    operator.post_and_follow("/admin/queues/sync/resume/", &[]).await;
    assert!(operator.post_and_follow("/admin/queues/sync/resume/", &[]).await.contains("Nothing was done"));

    let filter = AuditFilter { subject_kind: Some("queue".to_owned()), ..AuditFilter::default() };
    let log = audit::page(&mut app.begin().await, &filter, None, 100).await.expect("the log is read");
    let mut actions: Vec<&str> = log.iter().map(|entry| entry.action.as_str()).collect();
    // All at one moment of the story's clock, so their order is not known.
    actions.sort_unstable();
    assert_eq!(actions, ["pause", "pause", "resume", "resume"], "what did nothing is no entry");
    assert!(log.iter().all(|entry| entry.subject == "sync" && entry.actor == "operator-1"));
});

story!(a_pause_that_cannot_be_is_told, async |app: &App| {
    let operator = app.operator("operator").await;
    let long = "x".repeat(501);
    for (queue, reason, told) in [
        ("sync", " ", "those who find it paused will ask"),
        ("party", "x", "There is no queue of this name."),
        ("sync", long.as_str(), "longer than 500 characters"),
    ] {
        let answer = operator.post("/admin/queues/pause/", &[("queue", queue), ("reason", reason)]).await;
        assert!(answer.status == 422 && answer.text.contains(told), "{queue}: {}", answer.text);
    }
    assert_eq!(operator.post("/admin/queues/party/resume/", &[]).await.status, 404);
    let over = operator.post("/admin/queues/pause/?queue=sync&reason=x&until=1", &[]).await;
    assert!(over.status == 422 && over.text.contains("Its end has passed."), "{}", over.text);
    assert!(app.pauses().await.is_empty());
    let task = app.enqueue(&Ping {}).await;
    app.drain().await;
    assert_eq!(app.task(task).await.state, State::Success);
});
