//! Is it up, and who may ask.

use reqwest::Method;
use serde_json::json;

use crate::harness::app::{App, DISPATCH};
use crate::harness::pair::story;
use crate::harness::sample;

// S002-31, S002-59.
story!(the_database_describes_itself, async |app: &App| {
    let health = app.get("/api/v1/health/database/").await.must_be(200);
    assert_eq!(health["status"], "healthy");
    let database = &health["database"];
    let keys: Vec<&str> = database.as_object().expect("an object").keys().map(String::as_str).collect();
    for key in ["engine", "name", "host", "port", "user", "version", "is_supabase"] {
        assert!(keys.contains(&key), "{key} is missing in {keys:?}");
    }
    if app.context.config.is_embedded() {
        assert_eq!((&database["engine"], &database["port"]), (&json!("sqlite"), &json!(0)));
    } else {
        assert_eq!((&database["engine"], &database["host"]), (&json!("postgresql"), &json!("127.0.0.1")));
        assert!(database["version"].as_str().expect("a text").starts_with("PostgreSQL"), "{database}");
    }
    assert_eq!(database["is_supabase"], false);
    assert_eq!(health["connection"], json!({"max_age": 600, "health_checks_enabled": true}));
});

// S002-59: the queue, and how many rings wait.
story!(the_queue_describes_itself, async |app: &App| {
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    let health = app.get("/api/v1/health/redis/").await.must_be(200);
    let mode = if app.context.config.is_embedded() { "in-process" } else { "redis" };
    assert_eq!((&health["status"], &health["mode"]), (&json!("healthy"), &json!(mode)));
    let waiting = json!({"notifications": 1, "webhooks": 0, "conversations": 0, "sync": 0, "maintenance": 0});
    assert_eq!(health["queues"], waiting);
    app.drain().await;
    let health = app.get("/api/v1/health/redis/").await.must_be(200);
    assert_eq!(health["queues"]["notifications"], 0, "what is claimed does not wait");
    assert_eq!(app.get("/health").await.must_be(200)["status"], "ok");
});

// S002-31: without its database the service is unhealthy, and tells no secret.
story!(a_lost_database_is_said, async |app: &App| {
    app.context.db.close().await;
    for path in ["/health", "/api/v1/health/database/"] {
        let answer = app.get(path).await.must_be(503);
        assert_eq!(answer["status"], "unhealthy");
    }
    let answer = app.dispatch(&sample::event()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.json()["success"], false);
    app.leave_work();
});

// What Prometheus scrapes: requests by route, and the ledger by state.
story!(metrics_are_counted, async |app: &App| {
    recado_kernel::telemetry::start_metrics();
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    let text = app.get("/metrics").await.text;
    for line in ["recado_tasks{", "recado_queue_depth{", "route=\"/api/v1/notifications/events/dispatch\""] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    assert!(!text.contains("customer-001") && !text.contains("carlos"), "no personal data");
    app.drain().await;
});

// d21, d23: with keys configured, no one gets in without one; probes need none.
story!(
    a_key_is_asked_for,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-key-of-the-stories")],
    async |app: &App| {
        app.know_carlos().await;
        for (key, status) in [
            ("", 401),
            ("Bearer wrong-key-of-the-stories", 401),
            ("Basic YTpi", 401),
            ("Bearer a-key-of-the-stories", 202),
        ] {
            let mut request = app.request(Method::POST, DISPATCH).json(&sample::event());
            if !key.is_empty() {
                request = request.header("Authorization", key);
            }
            let answer = app.send(request).await;
            assert_eq!(answer.status, status, "{key}");
            assert_eq!(answer.header("www-authenticate"), if status == 401 { "Bearer" } else { "" });
        }
        app.get("/api/v1/notifications/catalog/").await.must_be(401);
        for probe in ["/health", "/api/v1/health/database/", "/api/v1/health/redis/"] {
            app.get(probe).await.must_be(200);
        }
        app.drain().await;
    }
);

// Every answer carries the id by which the logs are searched.
story!(a_request_has_an_id, async |app: &App| {
    let own = app.request(Method::GET, "/health").header("X-Request-Id", "cita-7");
    assert_eq!(app.send(own).await.header("x-request-id"), "cita-7");
    for path in ["/health", "/nowhere", "/api/v1/notifications/catalog/"] {
        assert!(!app.get(path).await.header("x-request-id").is_empty(), "{path}");
    }
    let silly = app.request(Method::GET, "/health").header("X-Request-Id", "x".repeat(500));
    assert!(app.send(silly).await.header("x-request-id").len() <= 128);
    let answer = app.get("/nowhere").await;
    assert_eq!((answer.status, answer.json()), (404, json!({"detail": "No encontrado."})));
    let answer = app.get(DISPATCH).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
});
