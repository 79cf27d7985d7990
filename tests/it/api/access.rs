//! Who may do what (d21): every operation of the document, with each kind of key.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::{App, DISPATCH, SYNC_CUSTOMER, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

const KEYS: &str = "/api/v1/notifications/api-keys/";
const MASTER: &str = "a-key-of-the-environment";
const CLOSED: [(&str, &str); 2] = [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", MASTER)];

/// Operations that are asked with POST because their question is long; who may look may ask.
const QUESTIONS: [&str; 3] = ["/preview/", "/variables/", "/for_context/"];

/// What senders do besides sending: the subscriptions of browsers, and what became of a message.
const SENDERS: [&str; 5] = ["/events/", "/push/subscribe/", "/cancel/", "/resend/", "/retry/"];

struct Operation {
    method: Method,
    path: String,
}

impl App {
    fn with_key(&self, method: &Method, path: &str, key: Option<&str>) -> RequestBuilder {
        let request = self.request(method.clone(), path);
        match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn make_key(&self, scopes: &[&str]) -> String {
        let body = json!({"name": scopes.join(" "), "scopes": scopes});
        let answer = self.send(self.with_key(&Method::POST, KEYS, Some(MASTER)).json(&body)).await.must_be(201);
        answer["key"].as_str().expect("the key").to_owned()
    }

    /// Every operation for which the document asks for a key, with made-up values in its URL.
    async fn operations(&self) -> Vec<Operation> {
        let document = self.get("/api/schema/").await.must_be(200);
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, one) in item.as_object().expect("methods") {
                let schemes = one["security"].as_array().into_iter().flatten();
                if schemes.clone().any(|scheme| scheme.get("apiKey").is_some()) {
                    let method = method.to_uppercase().parse().expect("a method");
                    operations.push(Operation { method, path: filled(path) });
                }
            }
        }
        operations
    }

    async fn ask(&self, operation: &Operation, key: Option<&str>) -> Answer {
        let request = self.with_key(&operation.method, &operation.path, key);
        let has_body = operation.method != Method::GET && operation.method != Method::DELETE;
        self.send(if has_body { request.json(&json!({})) } else { request }).await
    }
}

/// The path with something in the place of each variable.
fn filled(path: &str) -> String {
    let part = |part: &str| {
        if part.starts_with('{') { "0198c0de-0000-7000-8000-000000000000".to_owned() } else { part.to_owned() }
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

impl Operation {
    fn is_one_of(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.path.contains(part))
    }
}

// d21: without a key 401, with one that lacks the scope 403, whatever the operation.
story!(every_operation_asks_for_a_key_with_its_scope, CLOSED, async |app: &App| {
    let (dispatch, read, admin) =
        (app.make_key(&["dispatch"]).await, app.make_key(&["read"]).await, app.make_key(&["admin"]).await);
    let operations = app.operations().await;
    assert!(operations.len() >= 20, "the document has {} operations with a key", operations.len());
    for operation in &operations {
        let name = format!("{} {}", operation.method, operation.path);
        for wrong in [None, Some("rk_wrong")] {
            let answer = app.ask(operation, wrong).await;
            assert_eq!(answer.status, 401, "{name}: {}", answer.text);
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{name}");
        }
        let passes = async |key: &str| ![401, 403].contains(&app.ask(operation, Some(key)).await.status);
        assert!(passes(&admin).await && passes(MASTER).await, "{name} is closed to admin");
        let looks = operation.method == Method::GET || operation.is_one_of(&QUESTIONS);
        if !looks {
            assert!(!passes(&read).await, "{name} changes something, and a key that may only read passed");
        }
        if !looks && !operation.is_one_of(&SENDERS) {
            assert!(!passes(&dispatch).await, "{name} changes settings, and a key that may only send passed");
        }
    }
    app.leave_work();
});

// d21: the scopes of one flow, one by one.
story!(each_scope_opens_its_own_doors, CLOSED, async |app: &App| {
    app.know_carlos().await;
    let (dispatch, read) = (app.make_key(&["dispatch"]).await, app.make_key(&["read"]).await);
    let send = async |key: &str| {
        app.send(app.with_key(&Method::POST, DISPATCH, Some(key)).json(&sample::event())).await.status
    };
    assert_eq!((send(&dispatch).await, send(&read).await, send(MASTER).await), (202, 403, 202));
    app.drain().await;
    let list = async |path: &str, key: &str| app.send(app.with_key(&Method::GET, path, Some(key))).await.status;
    let vehicles = "/api/v1/notifications/vehicles/";
    assert_eq!((list(vehicles, &read).await, list(vehicles, &dispatch).await), (200, 403));
    let accounts = "/api/v1/notifications/provider-accounts/";
    assert_eq!((list(accounts, &read).await, list(accounts, MASTER).await), (403, 200));
});

// d21: a key is shown once, works at once, and opens nothing when it was revoked.
story!(the_life_of_a_key, CLOSED, async |app: &App| {
    let ask = async |method: &Method, path: &str, body: &Value| {
        app.send(app.with_key(method, path, Some(MASTER)).json(body)).await
    };
    let made = ask(&Method::POST, KEYS, &json!({"name": "crm", "scopes": ["read"]})).await.must_be(201);
    let key = made["key"].as_str().expect("the key").to_owned();
    let listed = ask(&Method::GET, KEYS, &json!({})).await;
    assert!(!listed.text.contains(&key), "it was shown once");
    let listed = listed.must_be(200);
    assert_eq!((&listed["count"], &listed["results"][0]["scopes"]), (&json!(1), &json!(["read"])));
    let vehicles =
        async || app.send(app.with_key(&Method::GET, "/api/v1/notifications/vehicles/", Some(&key))).await.status;
    assert_eq!(vehicles().await, 200);
    let url = format!("{KEYS}{}/", made["id"].as_str().expect("an id"));
    ask(&Method::DELETE, &url, &json!({})).await.must_be(204);
    assert_eq!(vehicles().await, 401, "this process forgets it at once");
    ask(&Method::DELETE, &url, &json!({})).await.must_be(404);
    let revoked = ask(&Method::GET, KEYS, &json!({})).await.must_be(200);
    assert!(revoked["results"][0]["revoked_at"].is_string(), "{revoked}");

    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": " ", "scopes": ["read"]}), "name"),
        (json!({"name": "crm", "scopes": []}), "scopes"),
        (json!({"name": "crm", "scopes": ["root"]}), "scopes"),
        (json!({"name": "crm", "scopes": "read"}), "scopes"),
    ] {
        let answer = ask(&Method::POST, KEYS, &body).await.must_be(400);
        assert!(answer[field][0].is_string(), "{body}: {answer}");
    }
});

// S002-63: without a secret of ours nobody gets in, unless the whole API is open.
story!(
    internal_endpoints_are_closed_without_a_secret,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", MASTER), ("INTERNAL_API_SECRET_KEY", "")],
    async |app: &App| {
        app.post(SYNC_CUSTOMER, &sample::customer()).await.must_be(401);
        let with_key = app.with_key(&Method::POST, SYNC_CUSTOMER, Some(MASTER)).json(&sample::customer());
        app.send(with_key).await.must_be(401);
        app.get("/health").await.must_be(200);
        app.later(seconds(1)).await;
    }
);
