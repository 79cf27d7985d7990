//! `recado workers`: who works, and a worker that is asked to take nothing more.

use recado_kernel::ids::Id;
use recado_queue::workers::{self, RunningTask, WorkerRow};
use serde_json::{Value, json};
use sqlx::types::Json;

use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::program::{errors, words};

const WORKER: &str = "host-1:4711:a1b2c3";

story!(a_worker_is_asked_to_drain_and_to_go_on, async |app: &App| {
    app.live_now();
    assert!(words(&app.recado(&["workers", "list"]).await).contains("no workers"));
    let now = app.clock.now();
    let task = RunningTask { task_id: Id::new(now), kind: "cleanup".into(), lane: "maintenance".into(), since: now };
    let row = WorkerRow {
        id: WORKER.to_owned(),
        queues: "maintenance".to_owned(),
        concurrency: 1,
        held: 1,
        version: "0".to_owned(),
        started_at: now,
        seen_at: now,
        running: 1,
        running_tasks: Json(vec![task.clone()]),
        drain_since: None,
        drain_by: None,
        clock_ahead_ms: 0,
    };
    let mut session = app.begin().await;
    workers::upsert(&mut session, &row).await.expect("it is written");
    session.commit().await.expect("it is kept");

    let listed = words(&app.recado(&["workers", "list"]).await);
    assert!(listed.contains("works") && listed.contains(&task.task_id.to_string()), "{listed}");
    let drained = app.recado_json(&["workers", "drain", WORKER]).await;
    assert_eq!(drained["drain_by"], "recado workers");
    let api = app.get("/api/v1/operations/workers/").await.must_be(200);
    assert_eq!((&api["workers"][0]["id"], &api["workers"][0]["drain_by"]), (&json!(WORKER), &json!("recado workers")));
    assert!(words(&app.recado(&["workers", "list"]).await).contains("drains, asked by recado workers"));
    assert_eq!(app.recado_json(&["workers", "drain", WORKER, "--undo"]).await["drain_since"], Value::Null);
    assert_eq!(app.acts("worker").await, ["drain", "take_back"]);
    let unknown = app.recado(&["workers", "drain", "nobody"]).await;
    assert!(
        unknown.status.code() == Some(1) && errors(&unknown).contains("recado workers list"),
        "{}",
        errors(&unknown)
    );
});
