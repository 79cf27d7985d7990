//! Who changed what, over the API and from the command line.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::program::words;

const AUDIT: &str = "/api/v1/operations/audit/";
const SUPPRESSIONS: &str = "/api/v1/notifications/suppressions/";

async fn suppress(app: &App, address: &str) -> String {
    let made = app.post(SUPPRESSIONS, &json!({"channel": "email", "address": address})).await.must_be(201);
    made["id"].as_str().expect("an id").to_owned()
}

fn actions(page: &Value) -> Vec<&str> {
    let entries = page["results"].as_array().expect("entries").iter();
    entries.map(|entry| entry["action"].as_str().expect("a word")).collect()
}

// Filtered, a page at a time, and the same from the command line.
story!(what_was_done_is_listed, async |app: &App| {
    app.live_now();
    let first = suppress(app, "uno@example.com").await;
    suppress(app, "dos@example.com").await;
    app.clock.advance(seconds(60));
    let lifted_at = app.clock.now();
    app.delete(&format!("{SUPPRESSIONS}{first}/"), &json!({})).await.must_be(204);

    let of = async |query: &str| app.get(&format!("{AUDIT}?subject_kind=suppression{query}")).await.must_be(200);
    let all = of("").await;
    assert_eq!((actions(&all), &all["next"]), (vec!["lift", "suppress", "suppress"], &Value::Null));
    let lift = &all["results"][0];
    assert_eq!((&lift["actor_kind"], &lift["subject"]), (&json!("anonymous"), &json!(first)));
    assert_eq!((&lift["before"]["channel"], &lift["after"]), (&json!("email"), &json!({})));
    assert!(lift["request_id"].is_string() && !all.to_string().contains("example.com"), "{all}");

    let page = of("&page_size=2").await;
    let next = page["next"].as_str().expect("there is more");
    let rest = app.get(&next[next.find("/api/").expect("a URL of ours")..]).await.must_be(200);
    assert_eq!((actions(&page).len(), actions(&rest).len(), &rest["next"]), (2, 1, &Value::Null));
    assert_eq!(actions(&of("&action=lift").await), ["lift"]);
    assert_eq!(actions(&of(&format!("&from={}", json!(lifted_at).as_str().expect("a text"))).await), ["lift"]);
    assert!(actions(&of("&actor=ana").await).is_empty());
    let history = app.get(&format!("{AUDIT}suppression/{first}/")).await.must_be(200);
    assert_eq!(actions(&history), ["lift", "suppress"]);
    assert!(actions(&app.get(&format!("{AUDIT}unicorn/{first}/")).await.must_be(200)).is_empty());

    for (query, field) in [("from=ayer", "from"), ("after=x", "after")] {
        assert!(app.get(&format!("{AUDIT}?{query}")).await.must_be(400)[field][0].is_string(), "{query}");
    }

    let told = app.recado_json(&["audit", "--kind", "suppression"]).await;
    assert_eq!(told, all["results"]);
    let table = words(&app.recado(&["audit", "--kind", "suppression", "--subject", &first, "-n", "1"]).await);
    assert!(table.contains("lift") && table.contains("anonymous") && !table.contains("suppress "), "{table}");
    assert!(words(&app.recado(&["audit", "--actor", "ana"]).await).contains("nothing was done"));
    assert_eq!(app.recado(&["audit", "--since", "yesterday"]).await.status.code(), Some(2));
});

// The log is for administrators; the history of one thing is for all who may look, as in the console.
story!(
    the_log_is_for_administrators,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-key-of-the-environment")],
    async |app: &App| {
        let body = json!({"name": "panel", "scopes": ["read"]});
        let request =
            app.request(Method::POST, "/api/v1/notifications/api-keys/").bearer_auth("a-key-of-the-environment");
        let made = app.send(request.json(&body)).await.must_be(201);
        let (id, reader) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
        let get = async |path: &str, key: &str| app.send(app.request(Method::GET, path).bearer_auth(key)).await;
        app.get(AUDIT).await.must_be(401);
        assert!(get(AUDIT, reader).await.must_be(403)["detail"].is_string());
        assert_eq!(actions(&get(AUDIT, "a-key-of-the-environment").await.must_be(200)), ["create"]);
        let history = get(&format!("{AUDIT}api_key/{id}/"), reader).await.must_be(200);
        assert_eq!(actions(&history), ["create"]);
    }
);
