//! What is wrong, over HTTP and from the command line.

use recado_sandbox::SmtpFault;
use serde_json::{Value, json};

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::program::words;
use crate::harness::sample;

const DIAGNOSIS: &str = "/api/v1/operations/diagnosis/";

impl App {
    async fn findings(&self) -> Vec<String> {
        let diagnosis = self.get(DIAGNOSIS).await.must_be(200);
        let findings = diagnosis["findings"].as_array().cloned().unwrap_or_default();
        findings.iter().map(|one| one["code"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn worker_row(&self) {
        self.sql(
            "insert into workers (id, queues, concurrency, held, version, started_at, seen_at, running, running_tasks, clock_ahead_ms)
             select 'host:1:a', 'notifications,webhooks,conversations,sync,maintenance', 1, 0, '0', created_at, created_at, 0, '[]', 0 from schedules where name = 'cleanup'",
        )
        .await;
    }
}

// A lane that no one reads is told with whom it hits and the remedy, in the language of the caller; it is gone when it is mended.
story!(a_lane_without_a_reader_is_told, async |app: &App| {
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    let diagnosis = app.get(&format!("{DIAGNOSIS}?lang=en")).await.must_be(200);
    assert_eq!(diagnosis["healthy"], false);
    let unread = |finding: &&Value| finding["facts"]["lane"] == "notifications.email";
    let finding = diagnosis["findings"].as_array().expect("a list").iter().find(unread).cloned().expect("it is told");
    assert_eq!(
        (&finding["code"], &finding["severity"], &finding["hits"]),
        (&json!("lane_unread"), &json!("error"), &json!(1))
    );
    assert_eq!(finding["remedy"], "Start `recado worker -Q notifications.email`.");
    let spanish = app.get(DIAGNOSIS).await.must_be(200);
    assert!(spanish["summary"].as_str().is_some_and(|text| text.starts_with("Ningún worker lee")), "{spanish}");
    app.get(&format!("{DIAGNOSIS}?lang=fr")).await.must_be(400);
    app.worker_row().await;
    app.drain().await;
    assert_eq!(app.findings().await, Vec::<String>::new());
});

// Pauses are as somebody wished, dead tasks and accounts that fail are not; a scheduler that is silent is noticed.
story!(what_fails_and_what_was_wished_are_told_apart, async |app: &App| {
    app.know_carlos().await;
    app.worker_row().await;
    app.post("/api/v1/operations/queues/sync/pause/", &json!({"reason": "cambio"})).await.must_be(200);
    let paused = app.get(DIAGNOSIS).await.must_be(200);
    assert_eq!((&paused["healthy"], &paused["findings"][0]["code"]), (&json!(true), &json!("lane_paused")));

    app.sandbox.smtp.misbehave(SmtpFault::reject_data(451));
    for number in 0..6 {
        app.accepted(&sample::event_with(json!({"context": {"placa": format!("P{number}")}}))).await;
    }
    app.drain().await;
    app.sweep().await;
    assert_eq!(app.findings().await, ["account_failing", "lane_paused"]);
    app.leave_work();
    app.clock.advance(seconds(180));
    assert!(app.findings().await.contains(&"scheduler_silent".to_owned()));
});

// The command prints one sentence first, and its status says whether something is wrong.
story!(the_doctor_says_it_in_one_sentence, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    let ill = app.recado(&["doctor", "--lang", "es"]).await;
    let first = words(&ill).lines().next().unwrap_or_default().to_owned();
    assert!(ill.status.code() == Some(1) && first.starts_with("Ningún worker lee"), "{ill:?}");
    let told = app.recado(&["--json", "doctor"]).await;
    let told: Value = serde_json::from_str(&words(&told)).expect("JSON");
    assert_eq!(told["findings"].as_array().map(Vec::len), Some(7));
    app.worker_row().await;
    app.sql("update workers set seen_at = '2999-01-01T00:00:00.000000Z'").await;
    let well = app.recado(&["doctor"]).await;
    assert_eq!((well.status.code(), words(&well).as_str()), (Some(0), "Everything works.\n"), "{well:?}");
});
