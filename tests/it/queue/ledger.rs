//! Tasks and failures as operators look for them over HTTP.

use std::collections::BTreeSet;
use std::path::Path;

use recado_kernel::sql;
use recado_notifications::failures::{CODES, Code};
use recado_sandbox::{EvolutionFault, SmtpFault};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

const TASKS: &str = "/api/v1/operations/tasks/";

impl App {
    async fn ledger(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("{TASKS}{query}")).await.must_be(200);
        page["results"].as_array().cloned().expect("a page")
    }
}

story!(tasks_are_found_by_what_is_known_of_them, async |app: &App| {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
    let dead = app.accepted(&sample::event()).await.task_id.expect("a task");
    app.drain().await;
    app.clock.advance(seconds(60));
    let since = app.clock.now();
    app.sandbox.smtp.behave();
    app.accepted(&sample::event_with(json!({"context": {"placa": "ABC-1"}}))).await;
    app.drain().await;
    for (query, count) in [
        ("?state=dead".to_owned(), 1),
        ("?state=success&kind=send_notification".to_owned(), 1),
        ("?lane=notifications&state=dead&error=email".to_owned(), 1),
        ("?error=100%25".to_owned(), 0),
        (format!("?kind=send_notification&since={since}"), 1),
        (format!("?kind=send_notification&until={since}"), 1),
        ("?kind=send_notification".to_owned(), 2),
    ] {
        assert_eq!(app.ledger(&query).await.len(), count, "{query}");
    }
    let shown = app.get(&format!("{TASKS}{dead}/")).await.must_be(200);
    assert_eq!((&shown["state"], &shown["kind"]), (&json!("dead"), &json!("send_notification")));
    assert!(!shown.to_string().contains("carlos@example.com"), "{shown}");
    for wrong in ["?state=tired", "?lane=party", "?since=ayer", "?after=x"] {
        app.get(&format!("{TASKS}{wrong}")).await.must_be(400);
    }

    let retried = app.post(&format!("{TASKS}{dead}/retry/"), &json!({})).await.must_be(200);
    assert_eq!(retried["state"], "queued");
    let again = app.post(&format!("{TASKS}{dead}/retry/"), &json!({})).await;
    assert_eq!(again.header("content-type"), "application/problem+json");
    assert_eq!(again.must_be(409)["code"], "not_dead");
    let cancelled = app.post(&format!("{TASKS}{dead}/cancel/"), &json!({})).await.must_be(200);
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(app.post(&format!("{TASKS}{dead}/cancel/"), &json!({})).await.must_be(409)["code"], "already_ended");
    app.get(&format!("{TASKS}0194830c-7d5a-7000-8000-000000000001/")).await.must_be(404);
    app.drain().await;
});

// What operators do is told in the audit log, over the API and from the command line: who, what, to which task.
story!(what_operators_do_is_told, async |app: &App| {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
    let dead = app.task_for(&sample::event()).await;
    app.drain().await;
    app.post(&format!("{TASKS}{dead}/retry/"), &json!({})).await.must_be(200);
    assert!(app.recado(&["tasks", "cancel", &dead.to_string()]).await.status.success());
    assert!(app.recado(&["schedules", "run", "cleanup"]).await.status.success());
    let told: Vec<(String, String, String, String)> = sql!(
        all(String, String, String, String),
        &mut app.begin().await,
        "select actor_kind, actor, action, subject_kind from audit order by id"
    )
    .expect("it is read");
    let told: Vec<String> = told.iter().map(|(kind, who, what, to)| format!("{kind} {who} {what} {to}")).collect();
    assert_eq!(
        told,
        ["anonymous anonymous retry task", "command recado tasks cancel task", "command recado schedules run schedule"]
    );
    app.leave_work();
});

// A page leads to the next; what is written meanwhile moves nothing.
story!(the_ledger_is_turned_page_by_page, async |app: &App| {
    app.know_carlos().await;
    for number in 0..5 {
        app.accepted(&sample::event_with(json!({"context": {"placa": format!("P{number}")}}))).await;
    }
    app.drain().await;
    let mut seen = BTreeSet::new();
    let mut next = Some(format!("{}{TASKS}?kind=send_notification&page_size=2", app.url));
    while let Some(url) = next {
        let page = app.get(url.strip_prefix(&app.url).expect("it is ours")).await.must_be(200);
        for task in page["results"].as_array().expect("a page") {
            assert!(seen.insert(task["task_id"].to_string()), "twice: {task}");
        }
        app.clock.advance(seconds(1));
        app.accepted(&sample::event_with(json!({"context": {"placa": "NEW"}}))).await;
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen.len(), 5);
    app.drain().await;
});

// Looking needs `read`, acting needs `admin`.
story!(operators_need_their_scopes, [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "")], async |app: &App| {
    let key = app.recado_json(&["api-key", "create", "panel", "--scopes", "read"]).await;
    let key = key["key"].as_str().expect("a key").to_owned();
    let status = async |method: Method, path: &str| {
        app.send(app.request(method, path).bearer_auth(&key).json(&json!({"reason": "x"}))).await.status
    };
    let base = "/api/v1/operations";
    for path in [
        "diagnosis",
        "samples",
        "failures",
        "failures/codes",
        "tasks",
        "queues",
        "workers",
        "schedules",
        "schedules/cleanup",
        "schedules/cleanup/runs",
    ] {
        let path = format!("{base}/{path}/");
        assert_eq!(status(Method::GET, &path).await, 200, "{path}");
        assert_eq!(app.get(&path).await.status, 401, "{path}");
    }
    // Errors may name an address, which a search would tell letter by letter.
    assert_eq!(status(Method::GET, &format!("{base}/tasks/?error=carlos")).await, 403);
    let task = "0194830c-7d5a-7000-8000-000000000001";
    for (method, path) in [
        (Method::POST, "queues/sync/pause".to_owned()),
        (Method::DELETE, "queues/sync/pause".to_owned()),
        (Method::POST, "workers/a:1:b/drain".to_owned()),
        (Method::DELETE, "workers/a:1:b/drain".to_owned()),
        (Method::POST, "schedules/cleanup/run".to_owned()),
        (Method::PATCH, "schedules/cleanup".to_owned()),
        (Method::POST, format!("tasks/{task}/retry")),
        (Method::POST, format!("tasks/{task}/cancel")),
    ] {
        assert_eq!(status(method, &format!("{base}/{path}/")).await, 403, "{path}");
    }
});

// Failures are grouped by their cause, each with what it means and what to do.
story!(failures_are_told_by_cause, async |app: &App| {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
    for number in 0..3 {
        app.accepted(&sample::event_with(json!({"context": {"placa": format!("P{number}")}}))).await;
        app.drain().await;
        app.clock.advance(seconds(3_600));
    }
    let failures = app.get("/api/v1/operations/failures/?lang=en").await.must_be(200);
    let of = |channel: &str| {
        failures["causes"].as_array().expect("causes").iter().find(|one| one["channel"] == channel).cloned()
    };
    let email = of("email").expect("email failed");
    assert_eq!(
        (&email["code"], &email["count"], &email["account"]),
        (&json!("EMAIL_SEND_FAILED"), &json!(3), &json!("env"))
    );
    let series: Vec<i64> = email["series"].as_array().expect("a series").iter().filter_map(Value::as_i64).collect();
    assert_eq!((series.len(), series.iter().sum::<i64>(), series.iter().max()), (24, 3, Some(&1)));
    assert!(email["meaning"].as_str().is_some_and(|text| text.contains("SMTP server")), "{email}");
    assert_eq!(of("whatsapp").expect("whatsapp failed")["code"], "WHATSAPP_API_ERROR");
    let last_hours = app.get("/api/v1/operations/failures/?hours=2").await.must_be(200);
    assert!(
        last_hours["causes"].as_array().is_some_and(|causes| causes.iter().all(|one| one["count"] == 2)),
        "{last_hours}"
    );
    app.get("/api/v1/operations/failures/?hours=721").await.must_be(400);
    assert_eq!(
        app.get("/api/v1/operations/failures/codes/").await.must_be(200).as_array().map(Vec::len),
        Some(CODES.len())
    );
});

/// What providers say in the same spelling.
const OF_OTHERS: [&str; 3] = ["SERVER_ACK", "DELIVERY_ACK", "MESSAGES_UPDATE"];

/// Every code that stands in the sources of the channels and of a delivery is explained. A word is a code when it is written as one,
/// is no setting, and no word of a provider.
#[test]
fn every_code_that_the_product_gives_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut sources = Vec::new();
    for folder in ["worker/src/channels", "worker/src/jobs/notifications", "shared/notifications/src"] {
        read_sources(&root.join(folder), &mut sources);
    }
    let settings = std::fs::read_to_string(root.join("shared/kernel/src/config/variables.rs")).expect("the settings");
    let mut codes: BTreeSet<String> = BTreeSet::new();
    for source in &sources {
        codes.extend(source.split('"').filter(|word| is_code(word)).map(str::to_owned));
    }
    codes.retain(|code| !settings.contains(&format!("\"{code}\"")) && !OF_OTHERS.contains(&code.as_str()));
    assert!(codes.contains("EMAIL_SEND_FAILED") && codes.contains("OPTED_OUT") && codes.len() > 10, "{codes:?}");
    let unexplained: Vec<&String> = codes.iter().filter(|code| Code::find(code).is_none()).collect();
    assert!(unexplained.is_empty(), "say what these mean in shared/notifications/src/failures.rs: {unexplained:?}");
}

fn is_code(word: &str) -> bool {
    word.contains('_') && word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn read_sources(folder: &Path, sources: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            read_sources(&entry, sources);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            sources.push(std::fs::read_to_string(&entry).expect("a source"));
        }
    }
}
