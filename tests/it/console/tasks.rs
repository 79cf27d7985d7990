//! Tasks in the console: what is seen of them, and what is done to one and to many.

use recado_kernel::audit::{self, Actor, AuditFilter};
use recado_kernel::ids::Id;
use recado_queue::bulk::{self, Action, BulkState, Next, Selection};
use recado_queue::jobs::{Job, Kind, Ping};
use recado_queue::lanes::SYNC;
use recado_queue::tasks::{self, NewTask, State, TaskFilter};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::harness::app::App;
use crate::harness::pair::story;

/// A job that no one can do, so that it dies.
#[derive(Serialize, Deserialize)]
struct Hopeless {
    customer_id: String,
    note: String,
}

impl Job for Hopeless {
    const KIND: Kind = Kind::new("hopeless", SYNC);
}

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}maria@example.com";

impl App {
    /// Dead tasks, so many.
    async fn dead_tasks(&self, count: usize) -> Vec<Id> {
        let now = self.clock.now();
        let job = || Hopeless { customer_id: "c-1".to_owned(), note: HOSTILE.to_owned() };
        let made: Vec<NewTask> = (0..count).map(|_| NewTask::now(Id::new(now), &job(), now)).collect();
        let mut session = self.begin().await;
        tasks::insert(&mut session, &made).await.expect("they are written");
        session.commit().await.expect("it is committed");
        self.sql(
            "update tasks set state = 'dead', finished_at = created_at, error = '550 <maria@example.com> refused <b>you</b>'
             where kind = 'hopeless' and state = 'queued'",
        )
        .await;
        made.iter().map(|task| task.id).collect()
    }

    async fn audit(&self, action: &str) -> Vec<audit::Entry> {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        audit::page(&mut self.begin().await, &filter, None, 100).await.expect("the log is read")
    }

    async fn dead(&self) -> usize {
        let filter = TaskFilter { state: Some(State::Dead), ..TaskFilter::default() };
        tasks::count(&mut self.begin().await, &filter).await.expect("they are counted") as usize
    }
}

story!(tasks_are_listed_and_told_without_words_of_people, async |app: &App| {
    let viewer = app.operator("viewer").await;
    assert!(viewer.page("/admin/tasks/").await.contains("No task fits"), "an empty page teaches");
    let dead = app.dead_tasks(3).await;
    let list = viewer.page("/admin/tasks/?state=dead&error=REFUSED").await;
    assert_eq!(list.matches("<tr id=").count(), 3);
    assert!(!list.contains("name=\"action\"") && !list.contains("maria@"), "no button, no address: {list}");
    assert!(list.contains("of the last 24 hours"));
    assert!(!viewer.page("/admin/tasks/?error=100%25").await.contains("<tr id="), "a per cent sign is a letter");
    let task = viewer.page(&format!("/admin/tasks/{}/", dead[0])).await;
    for hostile in ["<script>alert", "<img src=x", "maria@example.com", "<b>you"] {
        assert!(!task.contains(hostile) && !list.contains(hostile), "{hostile} in {task}");
    }
    assert!(task.contains("c-1") && task.contains("•••"), "{task}");
    assert!(viewer.page("/admin/tasks/count?state=dead").await.contains("3 tasks"));
    assert_eq!(viewer.get(&format!("/admin/tasks/{}/", Id::new(app.clock.now()))).await.status, 404);
    for odd in [
        "?state=lost&after=x&before=y&lane=nowhere&window=year",
        "?id=1&id=2",
        "?kind=%00&error=%ff%fe",
        "?error=%5C%25_",
    ] {
        assert_eq!(viewer.get(&format!("/admin/tasks/{odd}")).await.status, 200, "{odd}");
    }
});

story!(a_list_is_turned_in_both_directions, async |app: &App| {
    app.dead_tasks(120).await;
    let viewer = app.operator("viewer").await;
    let link = |page: &str, rel: &str| {
        let before =
            page.split(&format!("\" rel=\"{rel}\"")).next().filter(|_| page.contains(&format!("rel=\"{rel}\"")))?;
        Some(before.rsplit("href=\"").next()?.replace("&#38;", "&").replace("&amp;", "&"))
    };
    let ids = |page: &str| page.split("<tr id=\"").skip(1).map(|rest| rest[..9].to_owned()).collect::<Vec<_>>();
    let first = viewer.page("/admin/tasks/?state=dead").await;
    let second = viewer.page(&link(&first, "next").expect("an older page")).await;
    let third = viewer.page(&link(&second, "next").expect("an older page")).await;
    assert_eq!((ids(&first).len(), ids(&second).len(), ids(&third).len()), (50, 50, 20));
    assert!(link(&first, "prev").is_none() && link(&third, "next").is_none());
    let back = viewer.page(&link(&third, "prev").expect("a newer page")).await;
    assert_eq!(ids(&back), ids(&second));
});

story!(one_task_is_retried_cancelled_and_that_undone, async |app: &App| {
    let operator = app.operator("operator").await;
    let task = app.enqueue(&Ping {}).await;
    let page = operator.page(&format!("/admin/tasks/{task}/")).await;
    assert!(page.contains("/cancel/") && !page.contains("/retry/"), "{page}");
    let after = operator.post_and_follow(&format!("/admin/tasks/{task}/cancel/"), &[]).await;
    assert!(after.contains("The task is cancelled.") && after.contains("Undo"), "{after}");
    assert_eq!(app.task(task).await.state, State::Cancelled);
    let again = operator.post_and_follow(&format!("/admin/tasks/{task}/cancel/"), &[]).await;
    assert!(again.contains("its state is another by now"), "{again}");
    operator.post_and_follow(&format!("/admin/tasks/{task}/retry/"), &[]).await;
    app.drain().await;
    assert_eq!(app.task(task).await.state, State::Success);

    let (cancelled, retried) = (app.audit("cancel").await, app.audit("retry").await);
    assert_eq!((cancelled.len(), retried.len()), (1, 1), "what did nothing is no entry");
    let entry = &cancelled[0];
    assert_eq!((entry.actor.as_str(), entry.subject.as_str()), ("operator-1", task.to_string().as_str()));
    assert!(!entry.request_id.is_empty() && entry.address == "127.0.0.1");
    assert!(operator.page(&format!("/admin/audit/of/task/{task}")).await.contains("operator-1"));
    let admin = app.operator("admin").await;
    let log = admin.page("/admin/audit/?action=cancel").await;
    assert!(log.contains(&task.to_string()) && log.contains("operator-1"), "{log}");
});

// A word that means nothing here would leave all tasks: nothing is offered.
story!(many_are_offered_only_for_words_that_are_known, async |app: &App| {
    let operator = app.operator("operator").await;
    app.dead_tasks(2).await;
    for wrong in ["state=DEAD", "status=dead", "lane=email", "window=year", "action=delete", "id=7"] {
        assert_eq!(operator.get(&format!("/admin/tasks/bulk/?action=cancel&{wrong}")).await.status, 400, "{wrong}");
    }
    assert!(operator.page("/admin/tasks/bulk/?action=retry&state=dead&lane=&kind=&error=").await.contains("2 tasks"));
    let nothing = operator.get("/admin/tasks/nada/").await;
    assert_eq!(nothing.status, 404);
    assert!(nothing.text.contains("<html"), "{}", nothing.text);
});

story!(many_are_retried_and_none_that_failed_later, async |app: &App| {
    let operator = app.operator("operator").await;
    app.dead_tasks(30).await;
    let list = operator.page("/admin/tasks/?state=dead").await;
    let asof =
        list.split("name=\"asof\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("when it was drawn");
    app.clock.advance(std::time::Duration::from_secs(1));
    let late = app.dead_tasks(5).await;
    let confirm = operator.page(&format!("/admin/tasks/bulk/?action=retry&state=dead&asof={asof}")).await;
    assert!(confirm.contains("30 tasks") && confirm.contains("Retry (30)") && confirm.contains("Type 30"), "{confirm}");
    let selection = json!({"state": "dead", "frozen_at_us": asof.parse::<i64>().expect("a number")}).to_string();
    let fields = |typed: &'static str| [("action", "retry"), ("total", "30"), ("typed", typed)];
    let with = |typed| [&fields(typed)[..], &[("selection", selection.as_str())]].concat();
    assert_eq!(operator.post("/admin/tasks/bulk/", &with("29")).await.status, 422);
    assert_eq!(app.dead().await, 35, "nothing was done");
    let page = operator.post_and_follow("/admin/tasks/bulk/", &with("30")).await;
    assert!(page.contains("The operation is on its way."), "{page}");
    app.drain().await;
    for task in late {
        assert_eq!(app.task(task).await.attempt, 0, "it came later");
    }
    let mut session = app.begin().await;
    let operations = bulk::page(&mut session, None, 10).await.expect("they are read");
    // SQLite has one writer, and the log is read with it.
    drop(session);
    assert_eq!((operations.len(), operations[0].state, operations[0].done), (1, BulkState::Done, 30));
    assert_eq!(app.audit("retry").await.len(), 1, "one entry for the operation");
    assert!(operator.page(&format!("/admin/bulk/{}/", operations[0].id)).await.contains("30 of 30"));
});

story!(an_operation_is_stopped_and_goes_on_where_it_was, async |app: &App| {
    app.leave_work();
    app.dead_tasks(30).await;
    let now = app.clock.now();
    let filter = TaskFilter { state: Some(State::Dead), ..TaskFilter::default() };
    let (selection, actor) = (Selection::of(&filter, now + std::time::Duration::from_secs(1)), Actor::command("story"));
    let id = bulk::start(&app.context, Action::Cancel, &selection, 120, &actor).await.expect("it is made");
    let find = async || bulk::find(&mut app.begin().await, id).await.expect("it is read").expect("it is there");
    let first = find().await;
    // A worker that dies after a chunk has written how far it came.
    assert!(matches!(bulk::step(&app.context, id, first.task_id).await.expect("a chunk"), Next::More(_)));
    let operator = app.operator("operator").await;
    let page = operator.post_and_follow(&format!("/admin/bulk/{id}/stop/"), &[]).await;
    assert!(page.contains("The operation is stopped.") && page.contains("Undo"), "{page}");
    assert_eq!(bulk::step(&app.context, id, first.task_id).await.expect("nothing"), Next::Over);
    let stopped = find().await;
    // They are dead already: nothing to cancel, and it says so.
    assert_eq!((stopped.state, stopped.seen(), stopped.skipped.0["dead"]), (BulkState::Stopped, 10, 10));
    operator.post_and_follow(&format!("/admin/bulk/{id}/resume/"), &[]).await;
    assert_eq!(bulk::step(&app.context, id, first.task_id).await.expect("replaced"), Next::Over, "the old job is out");
    let task = find().await.task_id;
    while bulk::step(&app.context, id, task).await.expect("a chunk") != Next::Over {}
    let done = find().await;
    assert_eq!((done.state, done.seen()), (BulkState::Done, 30));
});

// The stream begins with what there is, and ends with the server.
story!(a_page_is_live, async |app: &App| {
    let viewer = app.operator("viewer").await;
    app.dead_tasks(2).await;
    let request = viewer.request(reqwest::Method::GET, "/admin/live?topics=tasks&topics=nonsense");
    let mut answer = request.send().await.expect("it answers");
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["content-type"].as_bytes()),
        (200, &b"text/event-stream"[..])
    );
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let mut said = String::new();
    while !said.contains("\n\n") {
        said.push_str(&String::from_utf8_lossy(&answer.chunk().await.expect("it goes on").expect("more")));
    }
    assert!(said.starts_with("data: <hx-partial hx-target=\"#counts\"") && said.contains("<b>2</b>"), "{said}");
});
