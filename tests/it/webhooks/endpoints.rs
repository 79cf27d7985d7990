//! Endpoints: what staff change of them, and those that belong to no partner.

use recado_kernel::audit::{self, AuditFilter};
use recado_kernel::sql;
use recado_sandbox::PartnerFault;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, SECRET_KEY, seconds};
use crate::harness::pair::story;
use crate::harness::program::{errors, words};

const ENDPOINTS: &str = "/api/v1/webhooks/endpoints/";

async fn register(app: &App) -> String {
    let url = format!("{}/webhooks/partner/", app.sandbox.partner.url());
    let body = json!({"webhook_url": url, "contact_email": "dev@findyourwork.com"});
    let answer = app.post("/partners/register/findyourwork", &body).await.must_be(201);
    app.sandbox.partner.set_secret(answer["shared_secret"].as_str().expect("a secret"));
    app.get("/partners/findyourwork").await.must_be(200)["endpoint_id"].as_str().expect("an id").to_owned()
}

async fn tell(app: &App, data: &str) -> Value {
    let body = format!(r#"{{"event_type": "event.updated", "data": {data}}}"#);
    let request = app.request(Method::POST, "/partners/findyourwork/events").header("Content-Type", "application/json");
    app.working(app.send(request.body(body))).await.must_be(200)
}

// Where webhooks go, which, and how they are signed; the registry shows it too (d22).
story!(an_endpoint_is_changed, [SECRET_KEY], async |app: &App| {
    let id = register(app).await;
    let url = format!("{}/elsewhere/", app.sandbox.partner.url());
    let change = json!({
        "url": url, "events": ["event.updated"], "signature_prefix": "sha256=", "signature_headers": ["X-Hub-Signature-256"],
        "timeout_seconds": 5, "retry_schedule": [1, 2.5], "concurrency": 2, "rate_per_minute": 60,
        "inbound_strict_raw": true, "inbound_tolerance_seconds": 60,
    });
    let changed = app.patch(&format!("{ENDPOINTS}{id}/"), &change).await.must_be(200);
    for (field, value) in change.as_object().expect("fields").iter().filter(|(field, _)| !field.starts_with("inbound"))
    {
        let (value, shown) = (value.to_string().replace(".0", ""), changed[field].to_string().replace(".0", ""));
        assert_eq!(shown, value, "{field}");
    }
    assert_eq!(changed["name"], "FindyourWork", "what is left out stays");
    tell(app, r#"{"reservation_id": "RES-1"}"#).await;
    let sent = app.webhooks();
    let last = sent.last().expect("it is sent");
    let signature = last.header("x-hub-signature-256").unwrap_or_default().to_owned();
    assert!(signature.starts_with("sha256="), "{last:?}");
    let partner = app.get("/partners/findyourwork").await.must_be(200);
    assert_eq!((&partner["webhook_url"], &partner["subscribed_events"]), (&json!(url), &json!(["event.updated"])));
    let partner = app.get(&format!("/api/v1/partners/{}", partner["id"].as_str().expect("an id"))).await.must_be(200);
    assert!(partner.to_string().contains("FindyourWork"), "{partner}");
});

// All mistakes at once, and none of them is written.
story!(every_mistake_of_a_change_is_named, [SECRET_KEY], async |app: &App| {
    let id = register(app).await;
    let wrong = json!({
        "name": " ", "url": "http://169.254.169.254/", "events": [""], "canonical": "xml", "signature_prefix": "a b",
        "signature_headers": ["X-Partner-Signature"], "timeout_seconds": 0, "retry_schedule": [-1], "concurrency": 1000,
        "rate_per_minute": 0, "owner_email": "nobody", "headers": {"X": "y"}, "secret": "whsec_0123456789012345",
        "inbound_tolerance_seconds": -1,
    });
    let before = app.get(&format!("{ENDPOINTS}{id}/")).await.must_be(200);
    let answer = app.patch(&format!("{ENDPOINTS}{id}/"), &wrong).await.must_be(400);
    for field in wrong.as_object().expect("fields").keys() {
        assert!(answer.to_string().contains(&format!("\"{field}\"")), "{field}: {answer}");
    }
    assert_eq!(app.get(&format!("{ENDPOINTS}{id}/")).await.must_be(200), before);
    app.leave_work();
});

// Another URL is another server: its circuit closes, and what waited goes out at once.
story!(what_waits_goes_to_the_new_url, [SECRET_KEY], async |app: &App| {
    let id = register(app).await;
    app.sandbox.partner.misbehave_for("/webhooks/partner/", PartnerFault::status(503));
    let body = json!({"event_type": "event.updated", "data": {"reservation_id": "RES-1"}});
    app.working(app.post("/partners/findyourwork/events", &body)).await.must_be(202);
    let url = format!("{}/new/", app.sandbox.partner.url());
    app.patch(&format!("{ENDPOINTS}{id}/"), &json!({"url": url})).await.must_be(200);
    app.drain().await;
    let page = app.get(&format!("/api/v1/webhooks/deliveries/?endpoint_id={id}")).await.must_be(200);
    assert_eq!(page["results"][0]["status"], "delivered", "{page}");
});

// An endpoint of its own: made with a secret that is shown once, told of partners, given another secret, deleted.
story!(an_endpoint_without_a_partner_hears_of_partners, [SECRET_KEY], async |app: &App| {
    let url = format!("{}/accounting/", app.sandbox.partner.url());
    app.post(ENDPOINTS, &json!({"name": "x"})).await.must_be(400);
    let wish = json!({"name": "Contabilidad", "url": url, "events": ["PartnerCreado"], "headers": {"X-Token": "hidden-token"}});
    let made = app.post(ENDPOINTS, &wish).await.must_be(201);
    let (id, secret) = (made["id"].as_str().expect("an id"), made["secret"].as_str().expect("a secret"));
    app.sandbox.partner.set_secret(secret);
    let shown = app.get(&format!("{ENDPOINTS}{id}/")).await.must_be(200);
    assert!(!shown.to_string().contains(secret) && !shown.to_string().contains("hidden-token"), "{shown}");
    assert_eq!(shown["has_headers"], true);
    let partner = json!({"nombre": "ABC", "email": "abc@example.com"});
    app.post("/api/v1/partners", &partner).await.must_be(201);
    app.drain().await;
    let sent = app.webhooks();
    let told = sent.last().expect("it is told");
    assert!(told.verdict.raw && told.verdict.standard && told.header("x-token") == Some("hidden-token"), "{told:?}");
    assert_eq!(told.json()["event_type"], "PartnerCreado");
    let rotated = app.post(&format!("{ENDPOINTS}{id}/rotate-secret/"), &json!({})).await.must_be(200);
    assert_ne!(rotated["secret"], made["secret"]);
    assert_eq!(app.delete(&format!("{ENDPOINTS}{id}/"), &json!({})).await.status, 204);
    app.get(&format!("{ENDPOINTS}{id}/")).await.must_be(404);
    let of_partner = register(app).await;
    assert_eq!(app.delete(&format!("{ENDPOINTS}{of_partner}/"), &json!({})).await.status, 409);
    app.drain().await;
});

// d1: the numbers that a caller writes reach the partner digit by digit, and both ways of verifying hold.
story!(numbers_keep_their_digits, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let data = r#"{"reservation_id": "RES-1", "amount": 250.00, "id": 123456789012345678901234567890, "ratio": 1E5}"#;
    tell(app, data).await;
    let sent = app.webhooks();
    let last = sent.last().expect("it is sent");
    assert!(
        last.body.contains(r#""amount": 250.0, "id": 123456789012345678901234567890, "ratio": 100000.0"#),
        "{last:?}"
    );
    assert!(last.verdict.raw && last.verdict.standard, "{last:?}");
});

// d26: networks that are allowed to one endpoint are open to that one alone, no matter who else is called there; who allowed them is on record.
story!(
    a_network_is_allowed_to_one_endpoint,
    [SECRET_KEY, ("OUTBOUND_ALLOW_PRIVATE_NETWORKS", "false"), ("WEBHOOK_RETRY_SCHEDULE", "60")],
    async |app: &App| {
        let url = |path: &str| format!("{}/{path}/", app.sandbox.partner.url());
        let events = json!(["PartnerCreado"]);
        let make = async |name: &str, url: String, networks: Value| {
            let wish = json!({"name": name, "url": url, "events": events, "allowed_networks": networks});
            app.post(ENDPOINTS, &wish).await
        };
        let refused = make("inside", url("inside"), json!([])).await.must_be(400);
        assert!(refused["url"][0].as_str().is_some_and(|error| error.contains("allowed_networks")), "{refused}");
        let many: Vec<String> = (0..21).map(|number| format!("10.{number}.0.0/16")).collect();
        for wrong in [json!(["10.0.0.0/33"]), json!(["ñ"]), json!([1]), json!("10.0.0.0/8"), json!(many), json!([""])]
        {
            let refused = make("inside", "https://example.com/".to_owned(), wrong.clone()).await.must_be(400);
            assert!(refused.to_string().contains("allowed_networks"), "{wrong}: {refused}");
        }
        let made = make("inside", url("inside"), json!(["127.0.0.0/8"])).await.must_be(201);
        assert_eq!(made["allowed_networks"], json!(["127.0.0.0/8"]));
        let inside = made["id"].as_str().expect("an id");
        let other = make("other", "https://example.com/".to_owned(), json!([])).await.must_be(201);
        let other = other["id"].as_str().expect("an id");
        // As if its name led there by now.
        let mut session = app.begin().await;
        sql!(run, &mut session, "update webhook_endpoints set url = $1 where name = 'other'", url("other"))
            .expect("another URL");
        session.commit().await.expect("it is committed");
        app.post("/api/v1/partners", &json!({"nombre": "ABC", "email": "abc@example.com"})).await.must_be(201);
        app.drain().await;
        let paths: Vec<String> = app.webhooks().into_iter().map(|webhook| webhook.path).collect();
        assert_eq!(paths, ["/inside/"], "the network of one is closed to the other");
        let page = app.get(&format!("/api/v1/webhooks/deliveries/?endpoint_id={other}")).await.must_be(200);
        assert!(page["results"][0]["reason"].as_str().is_some_and(|why| why.contains("https://")), "{page}");

        // Allowed now, and what waited goes out at once.
        app.patch(&format!("{ENDPOINTS}{other}/"), &json!({"allowed_networks": [" 127.0.0.1 "]})).await.must_be(200);
        app.drain().await;
        assert_eq!(app.webhooks().len(), 2);
        let closed = app.patch(&format!("{ENDPOINTS}{other}/"), &json!({"allowed_networks": []})).await.must_be(400);
        assert!(closed["allowed_networks"].is_array(), "its URL would lead nowhere: {closed}");
        let metadata = json!({"url": "http://169.254.169.254/", "allowed_networks": ["169.254.0.0/16"]});
        assert!(app.patch(&format!("{ENDPOINTS}{other}/"), &metadata).await.must_be(400)["url"].is_array());
        let exact = json!({"url": "http://169.254.10.7/", "allowed_networks": ["169.254.10.7"]});
        app.patch(&format!("{ENDPOINTS}{other}/"), &exact).await.must_be(200);
        let back = json!({"url": "https://example.com/", "allowed_networks": null});
        assert_eq!(app.patch(&format!("{ENDPOINTS}{other}/"), &back).await.must_be(200)["allowed_networks"], json!([]));

        let filter = AuditFilter { action: Some("allow_networks".to_owned()), ..AuditFilter::default() };
        let log = audit::page(&mut app.begin().await, &filter, None, 100).await.expect("the log is read");
        assert_eq!(log.iter().filter(|entry| entry.subject == other).count(), 3, "{log:?}");
        let first = log.iter().find(|entry| entry.subject == inside).expect("it is on record");
        assert_eq!(first.after.as_ref().map(|after| &after.0), Some(&json!({"allowed_networks": ["127.0.0.0/8"]})));
        app.leave_work();
    }
);

// What an operator does without HTTP: count first, then send again; a new secret, shown once.
story!(the_command_line_replays_and_rotates, [SECRET_KEY], async |app: &App| {
    app.live_now();
    register(app).await;
    app.sandbox.partner.misbehave(PartnerFault::status(500));
    let test = json!({"event_type": "event.updated", "data": {}});
    app.working(app.post("/partners/findyourwork/send-webhook", &test)).await.must_be(200);
    let run = async |arguments: &[&str]| {
        let output = app.program("recado", &[SECRET_KEY]).args(arguments).output().await.expect("the program runs");
        assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
        words(&output)
    };
    let list =
        run(&["--json", "webhooks", "list", "--partner", "findyourwork", "--status", "failed", "--since", "1h"]).await;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let id = list[0]["id"].as_str().expect("one failed").to_owned();
    let shown = run(&["webhooks", "show", &id]).await;
    assert!(shown.contains("HTTP 500") && shown.contains("> X-Partner-Signature"), "{shown}");
    let counted = run(&["webhooks", "replay", "--partner", "findyourwork", "--failed"]).await;
    assert!(counted.contains("1 webhook would be sent again"), "{counted}");
    app.sandbox.partner.behave();
    run(&["webhooks", "replay", "--partner", "findyourwork", "--failed", "--yes"]).await;
    app.notice().await;
    app.drain().await;
    let delivered = run(&["--json", "webhooks", "list", "--status", "delivered"]).await;
    let delivered: Value = serde_json::from_str(&delivered).expect("JSON");
    assert_eq!(delivered[0]["replay_of"], json!(id), "{delivered}");
    run(&["webhooks", "replay", &id]).await;
    app.notice().await;
    let everything = run(&["partners", "replay", "findyourwork", "--since", "1h"]).await;
    assert!(everything.contains("would be sent again to FindyourWork"), "{everything}");
    // Beside `recado up` the key is the one that it made.
    std::fs::write(app.folder().join("secret.key"), SECRET_KEY.1).expect("the folder can be written to");
    let rotate = ["--json", "partners", "rotate", "findyourwork"];
    let rotated = app.program("recado", &[]).args(rotate).output().await.expect("the program runs");
    assert!(rotated.status.success(), "{}", errors(&rotated));
    let rotated: Value = serde_json::from_str(&words(&rotated)).expect("JSON");
    app.sandbox.partner.set_secret(rotated["shared_secret"].as_str().expect("a secret"));
    tell(app, "{}").await;
    let last = app.webhooks().pop().expect("it is sent");
    assert!(last.verdict.raw && last.verdict.standard, "{last:?}");
    assert!(run(&["partners", "show", "findyourwork"]).await.contains("FindyourWork"));
});

// d26: a network for one endpoint, on the command line.
story!(the_command_line_allows_a_network, [SECRET_KEY], async |app: &App| {
    app.live_now();
    register(app).await;
    let run = async |arguments: &[&str]| {
        app.program("recado", &[SECRET_KEY]).args(arguments).output().await.expect("the program runs")
    };
    let allow = ["webhooks", "allow", "--partner", "findyourwork"];
    for (rest, word) in [
        (&["10.0.0.0/33"][..], "10.0.0.0/33 is no network"),
        (&[][..], "NETWORK"),
        (&["10.0.0.0/8", "--none"][..], "--none"),
        (&["10.0.0.0/8", "--endpoint", "019bdbcf-fe40-75dd-bbba-d47b565d92a4"][..], "--endpoint"),
    ] {
        let output = run(&[&allow[..], rest].concat()).await;
        assert!(!output.status.success() && errors(&output).contains(word), "{rest:?}: {}", errors(&output));
    }
    let unknown = run(&["webhooks", "allow", "--partner", "nobody", "10.0.0.0/8"]).await;
    assert!(errors(&unknown).contains("recado partners list"), "{}", errors(&unknown));
    let allowed = run(&[&allow[..], &["10.20.0.0/16", "10.30.0.7"]].concat()).await;
    assert!(words(&allowed).contains("10.20.0.0/16 10.30.0.7"), "{}{}", words(&allowed), errors(&allowed));
    let listed = words(&run(&["--json", "webhooks", "endpoints"]).await);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed[0]["allowed_networks"], json!(["10.20.0.0/16", "10.30.0.7"]));
    assert!(words(&run(&["webhooks", "endpoints", "--search", "findyour"]).await).contains("10.30.0.7"));
    let none = run(&[&allow[..], &["--none"]].concat()).await;
    assert!(none.status.success(), "{}", errors(&none));
    let filter = AuditFilter { action: Some("allow_networks".to_owned()), ..AuditFilter::default() };
    let log = audit::page(&mut app.begin().await, &filter, None, 100).await.expect("the log is read");
    assert!(log.len() == 2 && log.iter().all(|entry| entry.actor == "recado webhooks allow"), "{log:?}");
    app.leave_work();
});

// What the operator watches: outcomes, durations and circuits by name, without URLs and secrets.
story!(metrics_tell_partners_apart, [SECRET_KEY], async |app: &App| {
    recado_kernel::telemetry::start_metrics();
    register(app).await;
    tell(app, "{}").await;
    app.later(seconds(10)).await;
    let text = app.get("/metrics").await.text;
    for expected in [
        r#"recado_webhook_attempts_total{system="partners",endpoint="FindyourWork",outcome="delivered"}"#,
        r#"recado_webhook_deliveries_total{system="partners",endpoint="FindyourWork",outcome="delivered"}"#,
        "recado_webhook_attempt_seconds_count",
        r#"recado_webhook_endpoint_state{system="partners",endpoint="FindyourWork",state="active"}"#,
    ] {
        assert!(text.contains(expected), "{expected}");
    }
    assert!(!text.contains("whsec_") && !text.contains(app.sandbox.partner.url()), "no secret, no URL of a partner");
});
