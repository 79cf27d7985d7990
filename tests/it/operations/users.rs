//! People who log in to the console, over the API: made, let out, and let in again.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::App;
use crate::harness::browser::PASSWORD;
use crate::harness::pair::story;

const USERS: &str = "/api/v1/operations/users/";
const MASTER: &str = "a-key-of-the-environment";
const KEYED: [(&str, &str); 2] = [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", MASTER)];

async fn ask(app: &App, method: Method, path: &str, key: &str) -> Answer {
    app.send(app.request(method, path).bearer_auth(key)).await
}

async fn post(app: &App, path: &str, body: Value) -> Answer {
    app.send(app.request(Method::POST, path).bearer_auth(MASTER).json(&body)).await
}

async fn get(app: &App, path: &str) -> Answer {
    ask(app, Method::GET, path, MASTER).await
}

/// The page of the console to which a link leads.
fn page_of(answer: &Value) -> String {
    let link = answer["link"].as_str().expect("a link");
    link[link.find("/admin/password/").expect("it leads to the console")..].to_owned()
}

story!(a_person_is_made_and_sets_a_password, KEYED, async |app: &App| {
    let made = post(app, USERS, json!({"name": " Ana@Example.com ", "roles": ["operator", "operator"]})).await;
    let made = made.must_be(201);
    assert_eq!((&made["name"], &made["roles"]), (&json!("ana@example.com"), &json!(["operator"])));
    assert_eq!(
        (&made["has_password"], &made["link_expires_at"]),
        (&json!(false), &json!("2026-01-21T14:30:00.000000Z"))
    );
    let mut ana = app.browser();
    let page = page_of(&made);
    assert_eq!(ana.post(&page, &[("password", PASSWORD)]).await.status, 303);
    assert_eq!(ana.get(&page).await.status, 404, "it opens once");
    assert!(ana.log_in("ana@example.com", PASSWORD).await);

    let id = made["id"].as_str().expect("an id");
    let by_name = get(app, &format!("{USERS}ANA@example.com/")).await.must_be(200);
    assert_eq!(by_name, get(app, &format!("{USERS}{id}/")).await.must_be(200));
    assert_eq!((&by_name["has_password"], &by_name["disabled_at"]), (&json!(true), &Value::Null));
    let listed = get(app, USERS).await;
    assert!(!listed.text.contains("link") && !listed.text.contains("argon2"), "{}", listed.text);
    assert_eq!((&listed.json()["count"], &listed.json()["results"][0]), (&json!(1), &by_name));

    let log = app.audited("user").await;
    assert_eq!((log[0].action.as_str(), log[0].subject.as_str()), ("create", "ana@example.com"));
    assert!(log[0].actor.starts_with("env:") && !log[0].request_id.is_empty(), "{log:?}");
    assert!(!format!("{log:?}").contains(page.split('/').nth(3).expect("the token")), "no entry holds a link");
});

story!(what_is_wrong_with_a_person_is_named, KEYED, async |app: &App| {
    let wrong = async |body: Value| post(app, USERS, body).await.must_be(400);
    let nothing = wrong(json!({})).await;
    assert!(nothing["name"][0].is_string() && nothing["roles"][0].is_string(), "{nothing}");
    let blanks = wrong(json!({"name": "ana maría", "roles": []})).await;
    assert!(blanks["name"][0].is_string() && blanks["roles"][0].is_string(), "{blanks}");
    let king = wrong(json!({"name": "ana", "roles": ["king"]})).await;
    assert!(king["roles"][0].as_str().is_some_and(|error| error.contains("viewer, operator, editor, admin")), "{king}");

    post(app, USERS, json!({"name": "ana", "roles": ["viewer"]})).await.must_be(201);
    assert!(wrong(json!({"name": "ANA", "roles": ["viewer"]})).await["name"][0].is_string());
    assert!(post(app, &format!("{USERS}ana/roles/"), json!({"roles": []})).await.must_be(400)["roles"][0].is_string());
    for (method, path) in [(Method::GET, "luis/"), (Method::POST, "luis/reset/"), (Method::POST, "luis/disable/")] {
        let answer = ask(app, method, &format!("{USERS}{path}"), MASTER).await.must_be(404);
        assert!(answer["detail"].is_string(), "{answer}");
    }
    assert_eq!(app.acts("user").await, ["create"]);
});

// A link is shown once, also when the request is repeated.
story!(a_person_is_made_once, KEYED, async |app: &App| {
    let make = async |name: &str| {
        let body = json!({"name": name, "roles": ["viewer"]});
        let request = app.request(Method::POST, USERS).bearer_auth(MASTER).header("idempotency-key", "k");
        app.send(request.json(&body)).await
    };
    make("ana").await.must_be(201);
    assert_eq!(make("ana").await.must_be(409)["code"], "link_shown_once");
    make("luis").await.must_be(422);
    assert_eq!(get(app, USERS).await.must_be(200)["count"], 1);
});

story!(a_person_is_let_out_and_in_again, KEYED, async |app: &App| {
    app.person("boss", "admin").await;
    app.person("ana", "operator").await;
    let mut ana = app.browser();
    assert!(ana.log_in("ana", PASSWORD).await);
    let act = async |what: &str| post(app, &format!("{USERS}ana/{what}/"), json!({})).await;

    let changed = post(app, &format!("{USERS}ana/roles/"), json!({"roles": ["editor", "operator"]})).await.must_be(200);
    assert_eq!(changed["roles"], json!(["operator", "editor"]));
    let first = page_of(&act("reset").await.must_be(200));
    let second = page_of(&act("reset").await.must_be(200));
    assert_eq!((ana.get(&first).await.status, ana.get(&second).await.status), (404, 200), "the later one counts");

    assert!(act("disable").await.must_be(200)["disabled_at"].is_string());
    assert_eq!(ana.get("/admin/tasks/").await.status, 303, "her session has ended");
    assert_eq!(ana.get(&second).await.status, 404, "and so has her link");
    assert!(!ana.log_in("ana", PASSWORD).await);
    assert_eq!(act("reset").await.must_be(409)["code"], "user_disabled");
    act("disable").await.must_be(200);
    assert_eq!(act("enable").await.must_be(200)["disabled_at"], Value::Null);
    assert!(ana.log_in("ana", PASSWORD).await);
    assert_eq!(
        app.acts("user").await,
        ["change", "create", "create", "disable", "enable", "reset", "reset"],
        "what was so already is no change"
    );
});

story!(the_last_administrator_is_kept, KEYED, async |app: &App| {
    app.person("boss", "admin").await;
    let boss = format!("{USERS}boss/");
    assert_eq!(post(app, &format!("{boss}disable/"), json!({})).await.must_be(409)["code"], "last_admin");
    let demoted = post(app, &format!("{boss}roles/"), json!({"roles": ["viewer"]})).await.must_be(409);
    assert!(demoted["detail"].as_str().is_some_and(|detail| detail.contains("boss")), "{demoted}");
    app.person("second", "admin").await;
    post(app, &format!("{boss}roles/"), json!({"roles": ["viewer"]})).await.must_be(200);
});

// The code of a phone that is lost.
story!(codes_are_forgotten_over_the_api, KEYED, async |app: &App| {
    app.person("ana", "operator").await;
    app.sql("update users set code_secret = 'sealed', codes_since = created_at").await;
    let ana = format!("{USERS}ana/");
    assert_eq!(get(app, &ana).await.must_be(200)["has_codes"], true);
    for _ in 0..2 {
        assert_eq!(post(app, &format!("{ana}forget-codes/"), json!({})).await.must_be(200)["has_codes"], false);
    }
    assert!(app.browser().log_in("ana", PASSWORD).await);
    assert_eq!(app.acts("user").await, ["create", "forget_codes"]);
});

// An API that is open to all does not say who may log in: a key with all scopes does.
story!(an_open_api_lets_no_one_into_the_console, [("API_KEYS", MASTER)], async |app: &App| {
    app.person("ana", "admin").await;
    let keys = "/api/v1/notifications/api-keys/";
    let made = app.post(keys, &json!({"name": "panel", "scopes": ["read", "dispatch"]})).await.must_be(201);
    let reader = made["key"].as_str().expect("a key");
    let operations = [
        (Method::GET, ""),
        (Method::POST, ""),
        (Method::GET, "ana/"),
        (Method::POST, "ana/roles/"),
        (Method::POST, "ana/reset/"),
        (Method::POST, "ana/disable/"),
        (Method::POST, "ana/enable/"),
        (Method::POST, "ana/forget-codes/"),
    ];
    for (method, path) in operations {
        let path = format!("{USERS}{path}");
        let anonymous = app.send(app.request(method.clone(), &path)).await;
        assert_eq!((anonymous.status, anonymous.header("www-authenticate")), (401, "Bearer"), "{path}");
        let forbidden = ask(app, method, &path, reader).await.must_be(403);
        assert!(forbidden["detail"].as_str().is_some_and(|detail| detail.contains("admin")), "{path}: {forbidden}");
    }
    get(app, USERS).await.must_be(200);
    assert_eq!(app.acts("user").await, ["create"]);
});
