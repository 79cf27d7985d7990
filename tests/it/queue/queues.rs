//! Queues as operators see them: what waits, and pauses.

use recado_queue::tasks::State;
use recado_worker::{Options, Worker};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::app::{App, seconds, until};
use crate::harness::pair::story;
use crate::harness::program::{errors, words};
use crate::harness::sample;

const QUEUES: &str = "/api/v1/operations/queues/";
const PAUSE_EMAIL: &str = "/api/v1/operations/queues/notifications.email/pause/";

impl App {
    async fn lane(&self, lane: &str) -> Value {
        let lanes = self.get(QUEUES).await.must_be(200);
        let found = lanes.as_array().expect("a list").iter().find(|one| one["lane"] == lane).cloned();
        found.unwrap_or_else(|| panic!("{lane} is not in {lanes}"))
    }
}

// A paused lane is not worked on, whatever comes; what waited goes on by itself when the pause ends.
story!(a_pause_keeps_work_and_ends_by_itself, async |app: &App| {
    app.know_carlos().await;
    let until = app.clock.now() + seconds(600);
    let pause = json!({"reason": "  el servidor de correo cambia  ", "until": until});
    let made = app.post(PAUSE_EMAIL, &pause).await.must_be(200);
    assert_eq!(
        (&made["queue"], &made["reason"]),
        (&json!("notifications.email"), &json!("el servidor de correo cambia"))
    );
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    app.later(seconds(300)).await;
    assert_eq!((app.mails().len(), app.task(task).await.state), (0, State::Queued));
    assert_eq!(app.lane("notifications.email").await["paused"]["until"], json!(until));
    assert_eq!(app.lane("notifications.push").await["paused"], Value::Null);
    assert_eq!(app.get(PAUSE_EMAIL).await.must_be(200)["reason"], made["reason"]);

    app.later(seconds(300)).await;
    assert_eq!((app.mails().len(), app.task(task).await.state), (1, State::Success));
    app.get(PAUSE_EMAIL).await.must_be(404);
});

// A queue is paused with all its lanes, and resumed by the name by which it was paused.
story!(a_queue_is_paused_with_its_lanes, async |app: &App| {
    app.know_carlos().await;
    let queue = "/api/v1/operations/queues/notifications/pause/";
    app.post(queue, &json!({"reason": "mantenimiento"})).await.must_be(200);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 0);
    let by_another_name = app.delete(PAUSE_EMAIL, &json!({})).await;
    assert!(by_another_name.must_be(404)["detail"].as_str().is_some_and(|text| text.contains("con qué nombre")));
    assert_eq!(app.delete(queue, &json!({})).await.status, 204);
    app.drain().await;
    assert_eq!((app.mails().len(), app.task(task).await.state), (1, State::Success));
    let log = app.audited("queue").await;
    let facts = json!({"reason": "mantenimiento", "until": null});
    assert_eq!(app.acts("queue").await, ["pause", "resume"]);
    assert_eq!((log[0].after.as_deref(), log[1].before.as_deref()), (Some(&facts), Some(&facts)), "{log:?}");
});

story!(a_pause_that_cannot_be_is_refused_with_the_remedy, async |app: &App| {
    let past = app.clock.now();
    for (body, field) in [
        (json!({}), "reason"),
        (json!({"reason": " "}), "reason"),
        (json!({"reason": "x".repeat(501)}), "reason"),
        (json!({"reason": "x", "until": past}), "until"),
        (json!({"reason": "x", "until": "mañana"}), "until"),
    ] {
        let refused = app.post(PAUSE_EMAIL, &body).await.must_be(400);
        assert!(refused[field][0].is_string(), "{refused}");
    }
    let unknown = app.post("/api/v1/operations/queues/party/pause/", &json!({"reason": "x"})).await.must_be(404);
    assert!(unknown["detail"].as_str().is_some_and(|text| text.contains("notifications.email")), "{unknown}");
});

// The command line does the same, and shows it.
story!(queues_are_paused_from_the_command_line, async |app: &App| {
    app.live_now();
    let pause = ["queues", "pause", "sync", "--reason", "core cambia", "--until", "2h"];
    let paused = app.recado(&pause).await;
    assert!(words(&paused).contains("sync is paused"), "{paused:?}");
    let shown = words(&app.recado(&["queues"]).await);
    assert!(shown.contains("sync was paused") && shown.contains("core cambia"), "{shown}");
    let report = app.recado_json(&["queues"]).await;
    let sync = report["lanes"].as_array().expect("lanes").iter().find(|lane| lane["lane"] == "sync").cloned();
    assert_eq!(sync.expect("it is there")["paused"]["reason"], "core cambia");
    assert!(app.recado(&["queues", "resume", "sync"]).await.status.success());
    let again = app.recado(&["queues", "resume", "sync"]).await;
    assert!(again.status.code() == Some(1) && errors(&again).contains("no pause of its own"), "{again:?}");
    assert_eq!(app.acts("queue").await, ["pause", "resume"]);
    for (arguments, status) in [
        (&["queues", "pause", "party", "--reason", "x"][..], 1),
        (&["queues", "pause", "sync"], 2),
        (&["queues", "pause", "sync", "--reason", "x", "--until", "later"], 2),
    ] {
        assert_eq!(app.recado(arguments).await.status.code(), Some(status), "{arguments:?}");
    }
});

// A worker that runs hears of a pause, of its end, and of the wish to drain, with its heartbeats; and says what it runs.
story!(a_running_worker_follows_pauses_and_drains, [("WORKER_LEASE_SECONDS", "0.9")], async |app: &App| {
    app.know_carlos().await;
    app.post(PAUSE_EMAIL, &json!({"reason": "antes de empezar"})).await.must_be(200);
    let stop = CancellationToken::new();
    let worker = Worker::new(app.context.clone(), Options::from(&app.context)).expect("its settings work");
    let working = tokio::spawn(worker.run(stop.clone()));
    let first = async || app.get("/api/v1/operations/workers/").await.must_be(200)["workers"][0].clone();
    until("it lives", async || first().await["state"] == "working").await;

    let task = app.task_for(&sample::event()).await;
    // Another lane works meanwhile.
    app.post("/api/internal/v1/customers/sync/", &sample::customer()).await.must_be(202);
    until("sync works", async || app.counts(&[State::Queued]).await == [("notifications.email".to_owned(), 1)]).await;
    assert_eq!(app.task(task).await.attempt, 0, "nothing is claimed from a paused lane");
    assert_eq!(app.delete(PAUSE_EMAIL, &json!({})).await.status, 204);
    until("it goes on", async || app.task(task).await.state == State::Success).await;

    let id = first().await["id"].as_str().expect("an id").to_owned();
    let drain = format!("/api/v1/operations/workers/{id}/drain/");
    assert_eq!(app.post(&drain, &json!({})).await.must_be(200)["state"], "draining");
    let seen = first().await["seen_at"].clone();
    app.clock.advance(std::time::Duration::from_millis(100));
    until("it has heard of it", async || first().await["seen_at"] != seen).await;
    let waiting = app.task_for(&sample::event_with(json!({"context": {"placa": "ABC-1"}}))).await;
    app.clock.advance(std::time::Duration::from_millis(100));
    let seen = first().await["seen_at"].clone();
    until("another heartbeat", async || first().await["seen_at"] != seen).await;
    assert_eq!(app.task(waiting).await.state, State::Queued);
    assert_eq!(
        app.get("/api/v1/operations/workers/").await.must_be(200)["unattended"].as_array().map(Vec::len),
        Some(7)
    );
    assert_eq!(app.delete(&drain, &json!({})).await.must_be(200)["state"], "working");
    until("it works again", async || app.task(waiting).await.state == State::Success).await;
    app.post("/api/v1/operations/workers/none:1:a/drain/", &json!({})).await.must_be(404);
    stop.cancel();
    working.await.expect("it stops without a panic");
});

// How fast a lane goes stands beside what waits in it.
story!(a_lane_tells_its_pace, async |app: &App| {
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    app.drain().await;
    app.sweep().await;
    let email = app.lane("notifications.email").await;
    assert_eq!((&email["queued"], &email["empty_in_seconds"]), (&json!(0), &json!(0)));
    assert_eq!((&email["accepted_per_minute"], &email["lately"]["sent"]), (&json!(0.1), &json!(1)));
    assert!(email["lately"]["run_p95_ms"].is_number(), "{email}");
});
