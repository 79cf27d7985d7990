//! A write whose answer was lost: what the caller is told, and that asking again does nothing twice.

use recado_kernel::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::{App, START, at};
use crate::harness::pair::{Pair, Storage, story};
use crate::harness::proxy::Proxy;
use crate::harness::sample;

const REMINDERS: &str = "/api/v1/notifications/reminders/";

impl App {
    async fn post_once(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await
    }

    async fn total(&self, path: &str) -> u64 {
        self.get(path).await.must_be(200)["count"].as_u64().expect("a page counts")
    }

    /// A vehicle of Carlos's, and a reminder of it as one would write it.
    async fn reminder(&self) -> Value {
        self.know_carlos().await;
        let vehicle = json!({"customer_id": "customer-001", "brand": "Haval", "model": "H6", "plate": "ABC123"});
        let vehicle = self.post("/api/v1/notifications/vehicles/", &vehicle).await.must_be(201);
        json!({"vehicle": vehicle["id"], "type": "date", "description": "Cambio de aceite", "target_date": "2026-03-01"})
    }
}

// draft-ietf-httpapi-idempotency-key-header, as for events: every POST that makes something makes it once for a key.
story!(
    what_is_made_is_made_once_for_a_key,
    [("SECRET_KEY", "a-secret-key-for-stories-of-32-or-more")],
    async |app: &App| {
        let reminder = app.reminder().await;
        let account = json!({"channel": "email", "name": "second", "priority": 1, "settings": {
            "host": "127.0.0.1", "port": 25, "security": "plain", "from_email": "taller@example.com"
        }});
        for (path, body) in [
            (REMINDERS, reminder),
            ("/api/v1/notifications/customers/", json!({"customer_id": "customer-002", "first_name": "Eva"})),
            (
                "/api/v1/notifications/vehicles/",
                json!({"customer_id": "customer-001", "brand": "Haval", "model": "H6", "plate": "XYZ789"}),
            ),
            (
                "/api/v1/notifications/templates/",
                json!({"name": "Otra", "channel": "email", "subject": "Hola", "body": "Hola {{ Nombre }}", "target": "clients",
                   "service_type": null, "phase": null}),
            ),
            ("/api/v1/notifications/suppressions/", json!({"channel": "email", "address": "no@example.com"})),
            ("/api/v1/notifications/workshops/", json!({"taller_id": "norte", "name": "Norte"})),
            ("/api/v1/notifications/provider-accounts/", account),
        ] {
            let before = app.total(path).await;
            let first = app.post_once(path, "clave-1", &body).await;
            assert_eq!((first.status, first.header("idempotent-replayed")), (201, ""), "{path}: {}", first.text);
            let again = app.post_once(path, "clave-1", &body).await;
            assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"), "{path}: {}", again.text);
            assert_eq!(first.json(), again.json(), "{path}");
            assert_eq!(app.total(path).await, before + 1, "{path}");
            let mut other = body.clone();
            other["notes"] = json!("x");
            let reused = app.post_once(path, "clave-1", &other).await;
            assert_eq!((reused.status, &reused.json()["code"]), (422, &json!("idempotency_key_reused")), "{path}");
            // The next path has its keys for itself.
            app.sql("delete from idempotency_keys").await;
        }
    }
);

// A key of the API is shown once. Asked for again, it is named and not shown, and no second one is made.
story!(an_api_key_is_made_once, async |app: &App| {
    let keys = "/api/v1/notifications/api-keys/";
    let body = json!({"name": "taller", "scopes": ["read"]});
    let made = app.post_once(keys, "clave-1", &body).await.must_be(201);
    let again = app.post_once(keys, "clave-1", &body).await.must_be(409);
    assert_eq!(again["code"], "api_key_shown_once");
    assert!(again["detail"].as_str().expect("a sentence").contains(made["id"].as_str().expect("an id")), "{again}");
    assert!(!again.to_string().contains(made["key"].as_str().expect("a key")));
    assert_eq!(app.total(keys).await, 1);
});

// What is refused may be mended under the same key.
story!(a_refused_request_leaves_its_key_free, async |app: &App| {
    let reminder = app.reminder().await;
    let mut wrong = reminder.clone();
    wrong["target_date"] = json!("mañana");
    app.post_once(REMINDERS, "clave-1", &wrong).await.must_be(400);
    app.post_once(REMINDERS, "clave-1", &reminder).await.must_be(201);
    app.post_once(REMINDERS, "", &reminder).await.must_be(400);
});

// The connection ends between PostgreSQL's commit and its answer. The caller is told that it is not known what became of it, and
// how to find out; the same request again carries nothing out a second time.
#[tokio::test]
async fn a_lost_commit_is_told_and_not_repeated() {
    let clock = Clock::manual(at(START));
    let storage = Storage::create(Pair::PostgresRedis, clock.now()).await;
    let proxy = Proxy::before(&storage.database_url.parse().expect("a URL")).await;
    let url = proxy.url().to_string();
    let app = App::start_in(storage, &[("DATABASE_URL", url.as_str())], clock).await;
    let reminder = app.reminder().await;
    let task = app.task_for(&sample::event()).await;
    let receipt = app.accepted(&sample::event()).await;
    let message = receipt.notifications[0].id;
    let lost = async |path: &str, body: &Value| {
        proxy.lose_commits(true);
        let answer = app.post_once(path, "clave-1", body).await;
        proxy.lose_commits(false);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{path}: {}", answer.text);
        assert!(
            answer.text.contains("No se sabe") && answer.text.contains("Idempotency-Key"),
            "{path}: {}",
            answer.text
        );
    };

    lost(REMINDERS, &reminder).await;
    assert_eq!(app.total(REMINDERS).await, 1, "it was carried out");
    app.post_once(REMINDERS, "clave-1", &reminder).await.must_be(201);
    assert_eq!(app.total(REMINDERS).await, 1, "and not twice");
    app.sql("delete from idempotency_keys").await;

    let cancel = format!("/api/v1/notifications/{message}/cancel/");
    lost(&cancel, &json!({})).await;
    app.post_once(&cancel, "clave-1", &json!({})).await.must_be(200);
    app.drain().await;
    assert_eq!((app.mails().len(), app.chain(task).await[0].as_str()), (1, "email sent"));

    let resend = format!("/api/v1/notifications/{message}/resend/");
    lost(&resend, &json!({})).await;
    let again = app.post_once(&resend, "clave-1", &json!({})).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (202, "true"), "{}", again.text);
    app.later(crate::harness::app::seconds(6)).await;
    assert_eq!(app.mails().len(), 2);
    app.finish().await;
}
