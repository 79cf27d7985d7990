//! What goes out to partners, signed so that the real ones accept it, and what stops it.

use recado_sandbox::PartnerFault;
use reqwest::Method;
use serde_json::{Value, json};

use super::integrations::KEY;
use super::registration::SECRET;
use super::registry::text;
use crate::harness::app::{App, SECRET_KEY, seconds};
use crate::harness::pair::story;

const NOTIFY: &str = "/partners/findyourwork/notify-event";
const TEST: &str = "/partners/findyourwork/send-webhook";

/// The document's own request.
fn reservation() -> Value {
    json!({
        "reservation_id": "RES-2026-001", "event_name": "Cena Corporativa TechCorp", "date": "2026-02-15",
        "time": "19:00", "guests": 50, "contact_name": "María García", "contact_phone": "0991234567",
        "contact_email": "maria@techcorp.com", "services_requested": ["dj", "decoracion", "fotografia"],
        "notes": "Celebración de aniversario",
    })
}

async fn stats(app: &App) -> Value {
    app.get("/partners/findyourwork/status").await.must_be(200)["stats"].clone()
}

// S000-6, S000-10 to S000-14, S000-16, d1, d2: the document's request arrives, and its real verifiers accept it.
story!(a_reservation_is_told_at_once, KEY, async |app: &App| {
    app.findyourwork().await;
    let answer = app.working(app.post(NOTIFY, &reservation())).await.must_be(200);
    assert_eq!(
        (&answer["success"], &answer["message"], &answer["event_type"], &answer["reservation_id"]),
        (
            &json!(true),
            &json!("Webhook enviado a FindyourWork"),
            &json!("event.reservation_confirmed"),
            &json!("RES-2026-001")
        )
    );
    let [told] = app.webhooks().try_into().expect("one webhook");
    assert_eq!(answer["webhook_url"], json!(format!("{}{}", app.sandbox.partner.url(), told.path)));
    assert!(told.verdict.raw && told.verdict.rewritten && told.verdict.standard, "{:?}", told.verdict);
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-partner-id", "chuwue-grill"),
        ("x-webhook-source", "chuwue-grill"),
        ("x-hmac-signature", told.header("x-partner-signature").expect("signed")),
    ] {
        assert_eq!(told.header(name), Some(value), "{name}");
    }
    let body = told.json();
    assert_eq!((&body["source"], &body["version"]), (&json!("chuwue-grill"), &json!("1.0")));
    assert!(text(&body["timestamp"]).ends_with('Z'), "{body}");
    let mut expected = reservation();
    expected["budget_range"] = Value::Null;
    assert_eq!(body["data"], expected);
    let stats = stats(app).await;
    assert_eq!((&stats["webhooks_sent"], &stats["webhooks_failed"]), (&json!(1), &json!(0)));
    assert!(text(&stats["last_webhook"]).ends_with('Z'), "{stats}");
});

// d8, S000-16: a partner that is down gets it later, and the task of the answer is known.
story!(a_partner_that_is_down_gets_it_later, KEY, async |app: &App| {
    app.findyourwork().await;
    app.sandbox.partner.misbehave(PartnerFault::status(503));
    let answer = app.working(app.post(NOTIFY, &reservation())).await.must_be(202);
    assert_eq!((&answer["success"], &answer["message"]), (&json!(true), &json!("Webhook encolado")));
    assert_eq!(stats(app).await["webhooks_failed"], 1);
    let task = app.status(text(&answer["task_id"]).parse().expect("an id")).await;
    assert_eq!(task["ready"], false, "{task}");
    app.sandbox.partner.behave();
    app.later(seconds(10)).await;
    let stats = stats(app).await;
    assert_eq!((&stats["webhooks_sent"], &stats["webhooks_failed"]), (&json!(1), &json!(1)));
});

// S000-15: what it did not subscribe is recorded as skipped, and not sent; a test goes out all the same (S000-7).
story!(what_was_not_subscribed_is_skipped, KEY, async |app: &App| {
    app.findyourwork().await;
    let event = json!({"event_type": "event.unknown", "data": {"reservation_id": "R"}});
    let skipped = app.post("/partners/findyourwork/events", &event).await.must_be(200);
    assert_eq!(
        (&skipped["success"], &skipped["skipped"], &skipped["task_id"]),
        (&json!(false), &json!(true), &Value::Null)
    );
    let url = format!("/api/v1/webhooks/deliveries/{}/", text(&skipped["delivery_id"]));
    assert_eq!(app.get(&url).await.must_be(200)["status"], "skipped");
    app.drain().await;
    assert_eq!(app.webhooks().len(), 0);
    assert_eq!(app.working(app.post(TEST, &event)).await.must_be(200)["success"], true);
});

// S000-13: every event of the document goes out the durable way.
story!(every_event_of_the_document_goes_out, KEY, async |app: &App| {
    app.findyourwork().await;
    for event_type in ["event.updated", "event.cancelled", "payment.success"] {
        let event = json!({"event_type": event_type, "data": {"reservation_id": "RES-1", "reason": "lluvia"}});
        let sent = app.working(app.post("/partners/partner_findyourwork/events", &event)).await.must_be(200);
        assert_eq!(sent["message"], "Webhook enviado a FindyourWork");
    }
    let types: Vec<_> = app.webhooks().iter().map(|one| text(&one.json()["event_type"])).collect();
    assert_eq!(types, ["event.updated", "event.cancelled", "payment.success"]);
});

// S000-7: one attempt at once, no retries, and 500 characters of the answer.
story!(a_test_is_one_attempt, KEY, async |app: &App| {
    app.findyourwork().await;
    let event =
        json!({"event_type": "event.reservation_confirmed", "data": {"reservation_id": "RES-TEST-001", "guests": 30}});
    let body = "ñ".repeat(600);
    app.sandbox.partner.misbehave(PartnerFault::Status { status: 500, body, retry_after: None });
    let failed = app.working(app.post(TEST, &event)).await.must_be(200);
    assert_eq!((&failed["success"], &failed["status_code"]), (&json!(false), &json!(500)));
    assert_eq!(text(&failed["response"]).chars().count(), 500);
    app.sandbox.partner.misbehave(PartnerFault::Drop);
    let silent = app.working(app.post(TEST, &event)).await.must_be(200);
    assert_eq!(silent["success"], false);
    assert!(silent["error"].is_string() && silent.get("status_code").is_none(), "{silent}");
    app.sandbox.partner.behave();
    app.later(seconds(3_600)).await;
    assert_eq!(app.webhooks().len(), 2, "nothing is tried again");
    let taken = app.working(app.post(TEST, &event)).await.must_be(200);
    assert_eq!(taken, json!({"success": true, "status_code": 200, "response": "{\"status\":\"ack\"}"}));
});

// d4: the new secret signs, and Standard Webhooks lists both for a day.
story!(a_secret_is_rotated, KEY, async |app: &App| {
    app.findyourwork().await;
    let rotated = app.act_on("/partners/findyourwork/rotate-secret").await;
    let secret = text(&rotated["shared_secret"]);
    assert!(rotated["partner_id"] == "partner_findyourwork" && secret != SECRET, "{rotated}");
    // The partner still has the former one.
    app.working(app.post(NOTIFY, &reservation())).await.must_be(200);
    app.sandbox.partner.set_secret(&secret);
    app.working(app.post(NOTIFY, &reservation())).await.must_be(200);
    app.later(seconds(90_000)).await;
    app.sandbox.partner.set_secret(SECRET);
    app.working(app.post(NOTIFY, &reservation())).await.must_be(200);
    let verdicts: Vec<_> = app.webhooks().iter().map(|one| (one.verdict.raw, one.verdict.standard)).collect();
    assert_eq!(verdicts, [(false, true), (true, true), (false, false)]);
});

// d22: what stops a partner, what it is answered, and that what was being tried stops.
story!(a_partner_that_is_stopped_gets_nothing, KEY, async |app: &App| {
    app.findyourwork().await;
    let found = app.get("/api/v1/partners?nombre=FindyourWork").await.must_be(200)["partners"][0].clone();
    let partner = format!("/api/v1/partners/{}", text(&found["id"]));
    for (estado, status) in [("SUSPENDIDO", 403), ("INACTIVO", 409)] {
        app.sandbox.partner.misbehave(PartnerFault::status(503));
        let waiting = app.working(app.post(NOTIFY, &reservation())).await.must_be(202);
        app.sandbox.partner.behave();
        app.put(&partner, &json!({"estado": estado})).await.must_be(200);
        let before = app.webhooks().len();
        for path in [NOTIFY, TEST] {
            let body = if path == TEST { json!({"event_type": "a", "data": {}}) } else { reservation() };
            app.post(path, &body).await.must_be(status)["detail"].as_str().expect("a sentence");
        }
        app.later(seconds(3_600)).await;
        assert_eq!(app.webhooks().len(), before, "{estado}");
        let url = format!("/api/v1/webhooks/deliveries/{}/", text(&waiting["delivery_id"]));
        assert_eq!(app.get(&url).await.must_be(200)["status"], "cancelled", "{estado}");
        assert_eq!(app.get("/partners/findyourwork").await.must_be(200)["is_active"], false);
        assert_eq!(app.get("/partners/findyourwork/status").await.must_be(200)["is_active"], false);
        app.put(&partner, &json!({"estado": "ACTIVO"})).await.must_be(200);
        app.working(app.post(NOTIFY, &reservation())).await.must_be(200);
    }
    // Revoked: another registration makes another integration, with a secret of its own.
    let integration = app.get(&partner).await.must_be(200)["partner"]["integraciones"][0]["id"].clone();
    let revoke = format!("/api/v1/partners/integraciones/{}/revocar", text(&integration));
    app.put(&revoke, &json!({})).await.must_be(200);
    app.post(NOTIFY, &reservation()).await.must_be(410);
    app.findyourwork().await;
    app.working(app.post(NOTIFY, &reservation())).await.must_be(200);
    // Deleted: its row stays, and the next registration is a new partner.
    app.send(app.request(Method::DELETE, &partner)).await.must_be(200);
    app.post(NOTIFY, &reservation()).await.must_be(410);
    assert_eq!(app.get("/partners/findyourwork/status").await.must_be(200)["is_active"], false);
    app.findyourwork().await;
    app.working(app.post(NOTIFY, &reservation())).await.must_be(200);
    app.post("/partners/nobody/notify-event", &reservation()).await.must_be(404);
    app.drain().await;
});

// Appendix 2: 410 ends it.
story!(a_partner_that_is_gone_gets_nothing, KEY, async |app: &App| {
    app.findyourwork().await;
    app.sandbox.partner.misbehave(PartnerFault::status(410));
    app.working(app.post(NOTIFY, &reservation())).await.must_be(410);
    app.sandbox.partner.behave();
    app.post(NOTIFY, &reservation()).await.must_be(410);
    let status = app.get("/partners/findyourwork/status").await.must_be(200);
    assert_eq!((&status["is_active"], &status["status"]), (&json!(false), &json!("gone")));
    app.later(seconds(3_600)).await;
    assert_eq!(app.webhooks().len(), 1);

    // It stays gone through a suspension, and while it is suspended an operator cannot wake it.
    let partners = app.get("/api/v1/partners?nombre=FindyourWork").await.must_be(200);
    let partner = format!("/api/v1/partners/{}", text(&partners["partners"][0]["id"]));
    let endpoints = app.get("/api/v1/webhooks/endpoints/").await.must_be(200);
    let resume = format!("/api/v1/webhooks/endpoints/{}/resume/", text(&endpoints["results"][0]["id"]));
    app.put(&partner, &json!({"estado": "SUSPENDIDO"})).await.must_be(200);
    let refused = app.send(app.request(Method::POST, &resume)).await.must_be(409);
    assert_eq!(refused["code"], "owner_inactive");
    app.put(&partner, &json!({"estado": "ACTIVO"})).await.must_be(200);
    app.drain().await;
    assert_eq!(app.get("/partners/findyourwork/status").await.must_be(200)["status"], "gone");
    app.send(app.request(Method::POST, &resume)).await.must_be(200);
    assert_eq!(app.get("/partners/findyourwork/status").await.must_be(200)["is_active"], true);
});

// d22: with PARTNER_REQUIRE_KYC nothing goes out before the approval.
story!(
    verification_comes_first_where_it_is_demanded,
    [SECRET_KEY, ("PARTNER_REQUIRE_KYC", "true")],
    async |app: &App| {
        assert_eq!(app.findyourwork().await["status"], "kyc_pending");
        app.post(NOTIFY, &reservation()).await.must_be(403);
        let found = app.get("/api/v1/partners?nombre=FindyourWork").await.must_be(200)["partners"][0].clone();
        let kyc = format!("/api/v1/partners/{}/kyc", text(&found["id"]));
        app.put(&kyc, &json!({"estado_kyc": "APROBADO"})).await.must_be(200);
        app.working(app.post(NOTIFY, &reservation())).await.must_be(200);
        app.put(&kyc, &json!({"estado_kyc": "RECHAZADO"})).await.must_be(200);
        app.post(NOTIFY, &reservation()).await.must_be(403);
        app.drain().await;
    }
);

// d23: what is wrong with an event is named.
story!(bad_events_name_the_field, KEY, async |app: &App| {
    app.findyourwork().await;
    let table = [
        ("date", json!("mañana")),
        ("time", json!("25:00")),
        ("guests", json!("many")),
        ("guests", json!(0)),
        ("reservation_id", json!(null)),
        ("services_requested", json!("dj")),
        ("contact_name", json!("a\u{7}")),
    ];
    for (field, value) in table {
        let mut body = reservation();
        body[field] = value;
        let answer = app.post(NOTIFY, &body).await.must_be(422);
        assert_eq!(answer["detail"][0]["loc"], json!(["body", field]), "{answer}");
    }
    for body in [json!({"data": {}}), json!({"event_type": "a"}), json!({"event_type": "", "data": {}}), json!([])] {
        app.post(TEST, &body).await.must_be(422);
    }
    app.drain().await;
    assert_eq!(app.webhooks().len(), 0);
});
