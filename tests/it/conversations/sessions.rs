//! The session of the bridge: what it says, and whether a message would leave.

use std::time::Duration;

use recado_conversations::jobs::WatchSession;
use recado_kernel::telemetry;
use recado_sandbox::{BridgeFault, Webhook};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, SECRET_KEY};
use crate::harness::pair::story;

const STATUS: &str = "/api/v1/superadmin/whatsapp/status/";
const HEALTH: &str = "/api/v1/superadmin/whatsapp/health/";
const QR: &str = "/api/v1/superadmin/whatsapp/qr/";
const SEND: &str = "/api/v1/superadmin/whatsapp/send-message/";
const MESSAGE: &str = "/api/v1/whatsapp/webhook/process-message/";
const ALERT: (&str, &str) = ("WHATSAPP_ALERT_EMAIL", "turno@example.com");

impl App {
    async fn whatsapp_status(&self) -> Value {
        self.get(STATUS).await.must_be(200)
    }

    /// The worker looks at the session now, and at whatever follows from it.
    async fn look_at_session(&self) {
        self.later(Duration::from_secs(45)).await;
    }

    async fn gauge(&self) -> bool {
        telemetry::start_metrics();
        let metrics = self.get("/metrics").await.text;
        metrics.contains("recado_whatsapp_session_connected 1")
    }
}

// S003-4, S003-2: ready is connected; not ready is not, though the public bridge never tells of a loss (d31a).
story!(a_session_is_what_the_bridge_says_at_this_moment, async |app| {
    let status = app.whatsapp_status().await;
    assert_eq!(status["service_status"]["isReady"], true, "{status}");
    assert_eq!(status["service_status"]["phone_number"], "593999000111");
    let session = &status["session"];
    assert_eq!((&session["status"], &session["phone_number"]), (&json!("connected"), &json!("593999000111")));
    for field in ["id", "name", "last_seen", "qr_code"] {
        assert!(session.get(field).is_some(), "{field}: {session}");
    }
    app.sandbox.bridge.disconnects();
    let status = app.whatsapp_status().await;
    assert_eq!(
        (&status["service_status"]["isReady"], &status["session"]["status"]),
        (&json!(false), &json!("disconnected"))
    );
    assert_eq!(status["health"]["sound"], false);
    app.sandbox.bridge.connects();
    assert_eq!(app.whatsapp_status().await["session"]["status"], "connected");
});

// S003-28: a bridge that cannot be asked is not ready, and no error.
story!(a_bridge_that_does_not_answer_is_not_ready, [("WHATSAPP_SERVICE_TIMEOUT", "0.2")], async |app| {
    app.whatsapp_status().await;
    for fault in [BridgeFault::Hang, BridgeFault::Drop, BridgeFault::Nonsense, BridgeFault::status(500)] {
        app.sandbox.bridge.misbehave(fault.clone());
        let status = app.whatsapp_status().await;
        assert_eq!(status["service_status"]["isReady"], false, "{fault:?}");
        assert_ne!(status["session"]["status"], "connected", "{fault:?}: no message would leave");
        assert_eq!(app.get(QR).await.must_be(200)["qr"], json!(null), "{fault:?}");
    }
});

story!(without_a_bridge_nothing_is_ready, [("WHATSAPP_SERVICE_URL", "")], async |app| {
    let status = app.whatsapp_status().await;
    assert_eq!((&status["service_status"]["isReady"], &status["session"]), (&json!(false), &json!(null)));
    assert_eq!(app.get(QR).await.must_be(200), json!({"qr": null}));
    app.post(SEND, &json!({"chat_id": "593991234567@c.us", "text": "Hola"})).await.must_be(503);
    app.post("/api/v1/superadmin/whatsapp/restart/", &json!({})).await.must_be(503);
});

// S003-5: the code as text, as SVG and as PNG.
story!(a_qr_code_is_text_and_pictures, async |app| {
    assert_eq!(app.get(QR).await.must_be(200), json!({"qr": null}));
    app.get(&format!("{QR}?format=svg")).await.must_be(404);
    app.sandbox.bridge.shows_qr("2@mJx,abc==");
    let answer = app.get(QR).await;
    assert_eq!(answer.header("cache-control"), "no-store", "who has it gets in");
    assert_eq!(answer.must_be(200), json!({"qr": "2@mJx,abc=="}));
    assert_eq!(app.whatsapp_status().await["session"]["status"], "qr_pending");
    for (query, accept, kind) in [
        ("?format=svg", "*/*", "image/svg+xml"),
        ("", "image/svg+xml", "image/svg+xml"),
        ("?format=png", "*/*", "image/png"),
        ("", "image/png", "image/png"),
        ("", "text/html,image/png", "application/json"),
    ] {
        let answer = app.send(app.request(Method::GET, &format!("{QR}{query}")).header("Accept", accept)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{query} {accept}");
    }
    app.get(&format!("{QR}?format=gif")).await.must_be(400);
});

// d21: only `admin` may look, write and fetch.
story!(
    a_key_that_only_dispatches_sees_nothing,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-key-of-the-stories-of-32-letters")],
    async |app| {
        let admin = "a-key-of-the-stories-of-32-letters";
        let made = app.request(Method::POST, "/api/v1/notifications/api-keys/").bearer_auth(admin);
        let made = app.send(made.json(&json!({"name": "envios", "scopes": ["dispatch"]}))).await.must_be(201);
        let key = made["key"].as_str().expect("it is shown once");
        for (method, path) in [
            (Method::GET, STATUS),
            (Method::GET, QR),
            (Method::GET, "/api/v1/superadmin/whatsapp/chats/"),
            (Method::GET, "/api/v1/superadmin/whatsapp/groups/"),
            (Method::POST, "/api/v1/superadmin/whatsapp/chats/sync/"),
            (Method::POST, SEND),
        ] {
            let body = json!({"chat_id": "593991234567@c.us", "text": "Hola"});
            let request = app.request(method.clone(), path).json(&body);
            app.send(request.try_clone().expect("no stream").bearer_auth(key)).await.must_be(403);
            app.send(request).await.must_be(401);
        }
        app.send(app.request(Method::GET, STATUS).bearer_auth(admin)).await.must_be(200);
    }
);

// The bridge's session is started again on request.
story!(a_session_starts_again, async |app| {
    app.post("/api/v1/superadmin/whatsapp/restart/", &json!({})).await.must_be(202);
    assert_eq!(app.sandbox.bridge.restarts(), 1);
    app.sandbox.bridge.misbehave(BridgeFault::status(404));
    app.post("/api/v1/superadmin/whatsapp/restart/", &json!({})).await.must_be(503);
});

// A loss is noticed, told, and what was said meanwhile takes effect when it is back: that, and only that.
story!(a_session_that_was_lost_catches_up, [ALERT], async |app| {
    app.live_now();
    app.enqueue(&WatchSession {}).await;
    app.drain().await;
    assert!(app.gauge().await);
    let told = app.sandbox.bridge.message("593991230001", "RES-GALAPA-20260120-0A1B2C3D antes");
    app.post(MESSAGE, &told).await.must_be(200);

    app.sandbox.bridge.disconnects();
    app.look_at_session().await;
    assert!(!app.gauge().await);
    assert_eq!(app.mails().len(), 1, "who is on duty is told");
    app.look_at_session().await;
    assert_eq!(app.mails().len(), 1, "once");

    // No one posts these.
    app.sandbox.bridge.message("593991230002", "Quiero RES-GALAPA-20260120-11112222 para 3 personas");
    app.sandbox.bridge.message("593991230001", "gracias");
    app.sandbox.bridge.connects();
    app.look_at_session().await;
    assert!(app.gauge().await);
    assert_eq!(app.mails().len(), 2, "it is back");
    let requests = app.get("/api/v1/superadmin/whatsapp/reservations/").await.must_be(200);
    let codes: Vec<_> =
        requests["reservations"].as_array().expect("a list").iter().map(|row| row["tour_code"].clone()).collect();
    assert_eq!(codes, ["RES-GALAPA-20260120-11112222", "RES-GALAPA-20260120-0A1B2C3D"], "each once");
    let late = app.sandbox.bridge.hears(recado_sandbox::Writes {
        chat_id: "593991230002@c.us".to_owned(),
        text: "tarde".to_owned(),
        ..recado_sandbox::Writes::default()
    });
    app.post(MESSAGE, &late).await.must_be(200);
    app.look_at_session().await;
    let requests = app.get("/api/v1/superadmin/whatsapp/reservations/").await.must_be(200);
    assert_eq!(requests["reservations"].as_array().map(Vec::len), Some(2));
    app.leave_work();
});

// What becomes of a session is told to endpoints that name the event, once each, no matter who asked for its state first; and a monitor
// sees it without the bridge being asked.
story!(what_becomes_of_a_session_is_told_to_endpoints, [SECRET_KEY, ALERT], async |app| {
    let wanted = ["lost", "zombie", "silent", "recovered"].map(|word| format!("whatsapp_session.{word}"));
    let url = |path: &str| format!("{}{path}", app.sandbox.partner.url());
    for (name, path, events) in [("Turno", "/turno/", json!(wanted)), ("Otro", "/otro/", json!(["event.updated"]))] {
        let body = json!({"partner_name": name, "webhook_url": url(path), "events": events, "contact_email": "dev@example.com"});
        app.post("/partners/register", &body).await.must_be(201);
    }
    let told =
        || -> Vec<Value> { app.webhooks().iter().filter(|one| one.path == "/turno/").map(Webhook::json).collect() };
    let types =
        || told().iter().map(|event| event["event_type"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    let health = async || app.get(HEALTH).await;
    assert_eq!(health().await.must_be(503)["warnings"], json!(["not_connected"]));
    app.enqueue(&WatchSession {}).await;
    app.drain().await;
    assert_eq!((types().len(), health().await.status), (0, 200), "it was never in trouble");

    app.sandbox.bridge.disconnects();
    // Staff see it before the worker does.
    assert_eq!(app.whatsapp_status().await["session"]["status"], "disconnected");
    app.look_at_session().await;
    app.look_at_session().await;
    assert_eq!((types(), app.mails().len()), (vec!["whatsapp_session.lost".to_owned()], 1));
    let event = told().remove(0);
    assert_eq!(
        (&event["data"]["session"], &event["data"]["standing"], &event["data"]["before"]),
        (&json!("bridge"), &json!("lost"), &json!("sound"))
    );
    assert!(event["data"]["since"].is_string() && !event.to_string().contains("593999"), "states, no numbers: {event}");
    health().await.must_be(503);

    app.sandbox.bridge.connects();
    app.whatsapp_status().await;
    app.look_at_session().await;
    assert_eq!((types().last().map(String::as_str), types().len()), (Some("whatsapp_session.recovered"), 2));
    health().await.must_be(200);
    assert!(app.webhooks().iter().all(|one| one.path != "/otro/"), "only who asked for it is told");

    // Thirty messages make a rhythm, and four hours without one are no part of it.
    for number in 0..30 {
        let body = json!({"id": format!("R{number}"), "chat_id": "593991234567@c.us", "text": "hola"});
        app.post(MESSAGE, &body).await.must_be(200);
    }
    app.later(Duration::from_secs(4 * 60 * 60)).await;
    assert_eq!(types().last().map(String::as_str), Some("whatsapp_session.silent"), "{:?}", types());
    assert_eq!(health().await.must_be(200)["warnings"], json!(["silent"]));
    app.post(MESSAGE, &json!({"id": "R30", "chat_id": "593991234567@c.us", "text": "hola"})).await.must_be(200);
    app.look_at_session().await;
    assert_eq!((types().last().map(String::as_str), types().len()), (Some("whatsapp_session.recovered"), 4));
    assert_eq!(app.mails().len(), 4);

    app.clock.advance(Duration::from_secs(301));
    assert_eq!(health().await.must_be(503)["warnings"], json!(["not_watched"]));
});

// Connected means that a message would leave: one that calls itself so while nothing comes back is a zombie, is announced, rests,
// and comes back by itself.
story!(a_zombie_is_found_out_and_comes_back, [ALERT], async |app| {
    app.enqueue(&WatchSession {}).await;
    app.drain().await;
    app.post(SEND, &json!({"chat_id": "593991234567@c.us", "text": "uno"})).await.must_be(200);
    for echo in app.sandbox.bridge.echoes() {
        app.post(MESSAGE, &echo).await.must_be(200);
    }
    app.clock.advance(Duration::from_secs(1));
    app.sandbox.bridge.misbehave_for("/api/send-message", BridgeFault::Zombie);
    for text in ["dos", "tres", "cuatro"] {
        app.post(SEND, &json!({"chat_id": "593991234567@c.us", "text": text})).await.must_be(200);
    }
    app.look_at_session().await;
    assert!(app.gauge().await, "they may still come back");
    app.later(Duration::from_secs(120)).await;
    let status = app.whatsapp_status().await;
    assert_eq!(status["session"]["status"], "connected", "by its own word: {status}");
    assert_eq!(
        (&status["health"]["sound"], &status["health"]["warnings"]),
        (&json!(false), &json!(["zombie"])),
        "{status}"
    );
    assert!(!app.gauge().await);
    assert_eq!(app.mails().len(), 1);

    app.later(Duration::from_secs(15 * 60)).await;
    assert_eq!(app.whatsapp_status().await["health"]["warnings"], json!(["on_trial"]));
    app.sandbox.bridge.behave();
    app.post(SEND, &json!({"chat_id": "593991234567@c.us", "text": "cinco"})).await.must_be(200);
    for echo in app.sandbox.bridge.echoes() {
        app.post(MESSAGE, &echo).await.must_be(200);
    }
    app.look_at_session().await;
    let health = app.whatsapp_status().await["health"].clone();
    assert_eq!(
        (&health["sound"], &health["warnings"], &health["zombie_since"]),
        (&json!(true), &json!([]), &json!(null))
    );
    assert!(app.gauge().await);
    assert_eq!(app.mails().len(), 2, "and that it is back");
});
