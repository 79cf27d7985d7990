//! Who may do what (d21): every operation of the document, with each kind of key.

use recado_sandbox::SmtpFault;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::{App, DISPATCH, SECRET, SUBSCRIBE, SYNC_CUSTOMER, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

const KEYS: &str = "/api/v1/notifications/api-keys/";
const MASTER: &str = "a-key-of-the-environment";
const CLOSED: [(&str, &str); 2] = [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", MASTER)];

/// Operations that are asked with POST because their question is long; who may look may ask.
const QUESTIONS: [&str; 4] = ["/preview/", "/variables/", "/for_context/", "/webhooks/verify/"];

/// What senders do besides sending: the subscriptions of browsers, what became of a message, and what a CRM or a restaurant tells.
const SENDERS: [&str; 11] = [
    "/events",
    "/push/subscribe/",
    "/push/tokens/",
    "/cancel/",
    "/resend/",
    "/retry/",
    "/crm/appointments/",
    "/crm/leads/",
    "/notify-event",
    "/send-webhook",
    "/generate-reservation-code/",
];

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
    let subscribe = app.make_key(&["subscribe"]).await;
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
        // A key in a browser needs to do one thing only.
        assert_eq!(passes(&subscribe).await, operation.is_one_of(&["/push/subscribe/"]), "{name} with a browser's key");
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

// S002-63: without a secret of ours no one gets in, unless the whole API is open.
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

// A PWA needed `dispatch` and `read` to subscribe. A key of scope `subscribe` can do that and nothing else, and a token does it for
// one customer, for a while.
story!(
    a_browser_needs_no_key_of_the_house,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", MASTER), ("SECRET_KEY", "a-secret-key-of-thirty-two-letters")],
    async |app: &App| {
        const TOKENS: &str = "/api/v1/notifications/push/tokens/";
        let (dispatch, browser) = (app.make_key(&["dispatch"]).await, app.make_key(&["subscribe"]).await);
        let send = async |method: Method, path: &str, key: &str, body: &Value| {
            app.send(app.with_key(&method, path, Some(key)).json(body)).await
        };
        let of = |customer: &str| {
            let subscription = app.sandbox.push.subscribe().to_json();
            json!({"customer_id": customer, "subscription": subscription})
        };
        let ends = |subscription: &Value| json!({"endpoint": subscription["subscription"]["endpoint"]});
        let (carlos, maria) = (of("customer-001"), of("customer-002"));
        for body in [&carlos, &maria] {
            send(Method::POST, SUBSCRIBE, &browser, body).await.must_be(201);
        }
        let wish = json!({"customer_id": "customer-001", "expires_in": 600});
        send(Method::POST, TOKENS, &browser, &wish).await.must_be(403);
        for (wrong, field) in [
            (json!({}), "customer_id"),
            (json!({"customer_id": " "}), "customer_id"),
            (json!({"customer_id": "a", "expires_in": 59}), "expires_in"),
            (json!({"customer_id": "a", "expires_in": 86_401}), "expires_in"),
        ] {
            let refusal = send(Method::POST, TOKENS, &dispatch, &wrong).await.must_be(400);
            assert!(refusal[field][0].is_string(), "{refusal}");
        }
        let made = send(Method::POST, TOKENS, &dispatch, &wish).await.must_be(201);
        let token = made["token"].as_str().expect("a token").to_owned();
        assert_eq!(made["expires_at"], "2026-01-20T14:40:00.000000Z");

        send(Method::POST, SUBSCRIBE, &token, &of("customer-001")).await.must_be(201);
        send(Method::POST, SUBSCRIBE, &token, &of("customer-002")).await.must_be(403);
        send(Method::DELETE, SUBSCRIBE, &token, &ends(&maria)).await.must_be(404);
        send(Method::DELETE, SUBSCRIBE, &token, &ends(&carlos)).await.must_be(204);
        for path in [DISPATCH, TOKENS, "/api/v1/notifications/customers/"] {
            assert_eq!(send(Method::POST, path, &token, &json!({})).await.status, 401, "{path}");
        }
        app.clock.advance(seconds(600));
        send(Method::POST, SUBSCRIBE, &token, &of("customer-001")).await.must_be(401);
    }
);

// `read` saw full addresses in `customers/` where other views masked them. Now they are masked, and cannot be searched for, without
// `contacts` or `admin`.
story!(addresses_are_for_those_who_need_them, CLOSED, async |app: &App| {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(550), 1);
    app.send(app.with_key(&Method::POST, DISPATCH, Some(MASTER)).json(&sample::event())).await.must_be(202);
    app.drain().await;
    let (read, contacts) = (app.make_key(&["read"]).await, app.make_key(&["read", "contacts"]).await);
    let get = async |path: &str, key: &str| app.send(app.with_key(&Method::GET, path, Some(key))).await;
    let suppressions = get("/api/v1/notifications/suppressions/", MASTER).await.must_be(200);
    let suppression =
        format!("/api/v1/notifications/suppressions/{}/", suppressions["results"][0]["id"].as_str().expect("an id"));
    let message = get("/api/v1/notifications/?channel=email", MASTER).await.must_be(200)["results"][0].clone();
    let of_message = format!("/api/v1/notifications/{}/", message["id"].as_str().expect("an id"));
    let of_event = format!("/api/v1/notifications/events/{}/", message["correlation_id"].as_str().expect("an id"));
    for path in [
        "/api/v1/notifications/customers/",
        "/api/v1/notifications/customers/customer-001/",
        "/api/v1/notifications/suppressions/",
        suppression.as_str(),
        of_message.as_str(),
        of_event.as_str(),
    ] {
        let (masked, full, admin) = (get(path, &read).await, get(path, &contacts).await, get(path, MASTER).await);
        assert!(full.text.contains("carlos@example.com") && admin.text.contains("carlos@example.com"), "{path}");
        assert!(!masked.text.contains("carlos@") && !masked.text.contains("991234567"), "{path}: {}", masked.text);
        assert!(masked.text.contains("c***@example.com"), "{path}: {}", masked.text);
        assert_eq!(masked.header("cache-control"), "no-store", "{path}");
    }
    let task = format!("/api/v1/tasks/{}/", message["task_id"].as_str().expect("an id"));
    assert!(!get(&task, MASTER).await.text.contains("carlos@"), "a task's status is for all who may ask");

    let found = async |path: &str, key: &str| get(path, key).await.must_be(200)["count"].clone();
    for (part, everywhere) in [("carlos@ex", 1), ("99123", 1), ("Mendoza", 1), ("customer-001", 1), ("nobody", 0)] {
        let path = format!("/api/v1/notifications/customers/?search={part}");
        let is_name = ["Mendoza", "customer-001"].contains(&part);
        assert_eq!(found(&path, &contacts).await, everywhere, "{part}");
        assert_eq!(found(&path, &read).await, i32::from(is_name), "{part}");
    }
    let part_of_suppressed = "/api/v1/notifications/suppressions/?search=carlos";
    assert_eq!(
        (found(part_of_suppressed, &contacts).await, found(part_of_suppressed, &read).await),
        (json!(1), json!(0))
    );
    assert_eq!(found("/api/v1/notifications/suppressions/?search=carlos@example.com", &read).await, 1);
});

// 500 guesses of a key and of the internal secret were all answered at once. They are slowed and then not looked at; who is known
// from there goes on, and so does who comes from elsewhere through a proxy that is trusted.
story!(
    guesses_are_not_answered_without_end,
    [
        ("ALLOW_ANONYMOUS_API", "false"),
        ("API_KEYS", MASTER),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("EVOLUTION_WEBHOOK_TOKEN", "token-of-the-stories"),
    ],
    async |app: &App| {
        const VEHICLES: &str = "/api/v1/notifications/vehicles/";
        let key = async |from: &str, key: &str| {
            let request = app.with_key(&Method::GET, VEHICLES, Some(key)).header("X-Forwarded-For", from);
            app.send(request).await
        };
        let secret = async |from: &str, secret: &str| {
            let url = format!("{}{SYNC_CUSTOMER}", app.url);
            let mut request = reqwest::Request::new(Method::POST, url.parse().expect("a URL"));
            request.headers_mut().insert("X-Internal-Secret", secret.parse().expect("a value"));
            request.headers_mut().insert("X-Forwarded-For", from.parse().expect("a value"));
            app.execute(request).await
        };
        let (office, home) = ("203.0.113.7", "198.51.100.1");
        assert_eq!(key(office, MASTER).await.status, 200);
        let mut refused = 0;
        for number in 0..50 {
            let answer = match number % 2 {
                0 => key(office, &format!("rk_guess-{number}")).await,
                _ => secret(office, &format!("guess-{number}")).await,
            };
            match answer.status {
                401 => refused += 1,
                429 => assert!((1..=6).contains(&answer.header("retry-after").parse().expect("seconds"))),
                other => panic!("{other}: {}", answer.text),
            }
        }
        assert_eq!(refused, 20);
        assert_eq!(key(office, MASTER).await.status, 200, "it was good from there before");
        assert_eq!(secret(office, SECRET).await.status, 429, "nobody used it from there");
        assert_eq!((key(home, MASTER).await.status, key(home, "rk_wrong").await.status), (200, 401));
        // Evolution would repeat a webhook after 429.
        let webhook = app.request(Method::POST, "/api/v1/webhooks/evolution/?token=wrong").json(&json!({}));
        assert_eq!(app.send(webhook.header("X-Forwarded-For", office)).await.status, 401);
        let metrics = app.get("/metrics").await.text;
        for answer in ["refused", "throttled"] {
            let line = format!("recado_auth_failures_total{{credential=\"api_key\",answer=\"{answer}\"}}");
            assert!(metrics.is_empty() || metrics.contains(&line), "{line}");
        }
        app.clock.advance(seconds(6));
        assert_eq!(secret(office, SECRET).await.status, 400, "it is looked at again, and good");
    }
);
