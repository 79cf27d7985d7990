//! One action on many tasks, over HTTP and from the command line.

use std::time::Duration;

use recado_kernel::clock::Clock;
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::jobs::{Job, Ping};
use recado_queue::tasks::{self, NewTask};
use recado_scheduler::Intervals;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::app::{App, seconds, until};
use crate::harness::pair::{Pair, story};
use crate::harness::program::words;

const BULK: &str = "/api/v1/operations/bulk/";

impl App {
    /// Pings that died, so many.
    async fn dead_pings(&self, count: usize) -> Vec<Id> {
        let now = self.clock.now();
        let made: Vec<NewTask> = (0..count).map(|_| NewTask::now(Id::new(now), &Ping {}, now)).collect();
        let mut session = self.begin().await;
        for some in made.chunks(1_000) {
            tasks::insert(&mut session, some).await.expect("they are written");
        }
        let ids: Vec<Id> = made.iter().map(|task| task.id).collect();
        sql!(
            run,
            &mut session,
            "update tasks set state = 'dead', finished_at = $2, error = 'it was so' where id = any($1)",
            recado_kernel::db::Ids(&ids),
            now
        )
        .expect("they die");
        session.commit().await.expect("it is committed");
        ids
    }

    async fn start_bulk(&self, body: &Value) -> String {
        let made = self.post(BULK, body).await.must_be(202);
        made["bulk_id"].as_str().expect("an id").to_owned()
    }

    async fn show_bulk(&self, id: &str) -> Value {
        self.get(&format!("{BULK}{id}/")).await.must_be(200)
    }
}

fn retry(kind: &str) -> Value {
    json!({"action": "retry", "state": "dead", "kind": kind})
}

// Begun, watched, stopped and gone on with over HTTP; what died later is no part of it.
story!(many_are_retried_over_http, async |app: &App| {
    app.dead_pings(30).await;
    let asked = json!({"action": "retry", "kind": Ping::KIND.name, "dry_run": true});
    assert_eq!(app.post(BULK, &asked).await.must_be(200), json!({"total": 30, "is_more": false, "left_out": {}}));
    let id = app.start_bulk(&json!({"action": "retry", "kind": Ping::KIND.name, "pace": 120, "trial": 3})).await;
    app.clock.advance(seconds(1));
    app.dead_pings(4).await;
    app.drain().await;
    let shown = app.show_bulk(&id).await;
    assert_eq!((&shown["state"], &shown["total"], &shown["done"]), (&json!("trying"), &json!(30), &json!(3)));
    assert_eq!(shown["tried"].as_array().map(Vec::len), Some(3));
    app.later(seconds(3)).await;
    let shown = app.show_bulk(&id).await;
    assert_eq!((&shown["state"], &shown["verdict"], &shown["done"]), (&json!("running"), &json!("passed"), &json!(13)));

    let stopped = app.post(&format!("{BULK}{id}/stop/"), &json!({})).await.must_be(200);
    assert_eq!(stopped["state"], "stopped");
    assert_eq!(app.post(&format!("{BULK}{id}/stop/"), &json!({})).await.must_be(409)["code"], "already_over");
    app.later(seconds(60)).await;
    assert_eq!(app.show_bulk(&id).await["done"], 13, "it stays stopped");
    let resumed = app.post(&format!("{BULK}{id}/resume/"), &json!({})).await.must_be(200);
    assert_eq!(resumed["state"], "waiting");
    assert_eq!(app.post(&format!("{BULK}{id}/resume/"), &json!({})).await.must_be(409)["code"], "not_stopped");
    app.drain().await;
    app.later(seconds(6)).await;
    app.later(seconds(6)).await;
    let done = app.show_bulk(&id).await;
    assert_eq!((&done["state"], &done["done"]), (&json!("done"), &json!(30)), "{done}");
    let outlook = json!({"action": "retry", "kind": Ping::KIND.name, "dry_run": true});
    assert_eq!(app.post(BULK, &outlook).await.must_be(200)["total"], 4, "those that died later");
    let listed = app.get(BULK).await.must_be(200);
    assert_eq!(listed["results"][0]["bulk_id"], json!(id));
});

story!(what_cannot_be_done_to_many_is_refused_with_the_field, async |app: &App| {
    for (body, field) in [
        (json!({}), "action"),
        (json!({"action": "retry"}), "ids"),
        (json!({"action": "retry", "ids": []}), "ids"),
        (json!({"action": "explode", "kind": "ping"}), "action"),
        (json!({"action": "retry", "kind": "ping", "cause": "email:env:X"}), "ids"),
        (json!({"action": "cancel", "cause": "email:env:X"}), "cause"),
        (json!({"action": "retry", "cause": "nonsense"}), "cause"),
        (json!({"action": "retry", "cause": "email:env:X", "hours": 0}), "hours"),
        (json!({"action": "retry", "kind": "ping", "trial": 51}), "trial"),
        (json!({"action": "retry", "kind": "ping", "pace": -1}), "pace"),
        (json!({"action": "retry", "lane": "party"}), "lane"),
        (json!({"action": "retry", "state": "success", "dry_run": true}), "state"),
        (json!({"action": "retry", "error": ""}), "ids"),
    ] {
        let refused = app.post(BULK, &body).await.must_be(400);
        assert!(refused[field][0].is_string(), "{body}: {refused}");
    }
    let nothing = app.post(BULK, &retry("ping")).await.must_be(409);
    assert_eq!(nothing["code"], "nothing_to_do");
    let nobody = Id::new(app.clock.now());
    app.get(&format!("{BULK}{nobody}/")).await.must_be(404);
    app.post(&format!("{BULK}{nobody}/stop/"), &json!({})).await.must_be(404);
});

// The command line does the same.
story!(many_are_retried_from_the_command_line, async |app: &App| {
    app.live_now();
    app.dead_pings(3).await;
    let kind = format!("kind={}", Ping::KIND.name);
    let asked = words(&app.recado(&["tasks", "retry", "--where", &kind, "--dry-run"]).await);
    assert!(asked.contains("3 tasks would be retried"), "{asked}");
    let made = app.recado_json(&["tasks", "retry", "--where", &kind, "--where", "error=so", "--trial", "2"]).await;
    let id = made["bulk_id"].as_str().expect("an id").to_owned();
    let shown = words(&app.recado(&["bulk", "show", &id]).await);
    assert!(shown.contains("waiting") && shown.contains("0 of 2 tried"), "{shown}");
    assert!(app.recado(&["bulk", "stop", &id]).await.status.success());
    assert!(!app.recado(&["bulk", "stop", &id]).await.status.success(), "it is over");
    assert!(app.recado(&["bulk", "resume", &id]).await.status.success());
    assert!(words(&app.recado(&["bulk", "list"]).await).contains(&id));
    for wrong in [["--where", "colour=red"], ["--where", "state"], ["--cause", "nonsense"]] {
        assert!(!app.recado(&["tasks", "retry", wrong[0], wrong[1]]).await.status.success(), "{wrong:?}");
    }
    app.leave_work();
});

// 10,000 dead are retried; the worker is killed in the middle, the operation stopped and gone on with, and each is retried once. None
// that died later is touched.
#[tokio::test]
async fn ten_thousand_are_retried_over_a_kill() {
    const MANY: usize = 10_000;
    let settings = [("WORKER_CONCURRENCY", "8"), ("WORKER_LEASE_SECONDS", "1"), ("RUST_LOG", "warn")];
    let app = App::start_at(Pair::PostgresRedis, &settings, Clock::system()).await;
    let first = app.dead_pings(MANY).await;
    let id = app.start_bulk(&retry(Ping::KIND.name)).await;
    let late = app.dead_pings(5).await;
    let done = async || app.show_bulk(&id).await["done"].as_u64().unwrap_or_default();

    let mut worker = app.program("recado-worker", &settings).spawn().expect("it starts");
    until("it has begun", async || done().await > 0).await;
    worker.kill().await.expect("SIGKILL reaches it");
    let midway = done().await;
    assert!(midway < MANY as u64, "it was killed in the middle");
    app.post(&format!("{BULK}{id}/stop/"), &json!({})).await.must_be(200);
    assert_eq!(app.show_bulk(&id).await["state"], "stopped");

    let stop = CancellationToken::new();
    let often = Intervals { recover: Duration::from_millis(100), ..Intervals::default() };
    let scheduler = tokio::spawn(recado_scheduler::run_with(app.context.clone(), often, stop.clone()));
    let mut second = app.program("recado-worker", &settings).spawn().expect("it starts");
    app.post(&format!("{BULK}{id}/resume/"), &json!({})).await.must_be(200);
    until("it is done", async || app.show_bulk(&id).await["state"] == "done").await;
    let shown = app.show_bulk(&id).await;
    assert_eq!((&shown["done"], &shown["skipped"]), (&json!(MANY), &json!({})), "each once");
    for task in late {
        assert_eq!(app.task(task).await.attempt, 0, "it died later");
    }
    let mut session = app.begin().await;
    let left = sql!(
        one(i64,),
        &mut session,
        "select count(*) from tasks where id = any($1) and state = 'dead'",
        recado_kernel::db::Ids(&first)
    );
    assert_eq!(left.expect("they are counted"), Some((0,)));
    drop(session);
    stop.cancel();
    scheduler.await.expect("it stops without a panic");
    second.kill().await.expect("SIGKILL reaches it");
    app.leave_work();
    app.finish().await;
}
