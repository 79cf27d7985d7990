//! Whole stories: each document from registering to sending again, and partners that are away for a while.

use std::collections::HashMap;
use std::time::Duration;

use recado_sandbox::PartnerFault;
use reqwest::Method;
use serde_json::{Value, json};

use super::registry::{PARTNERS, text};
use crate::harness::app::{App, CRM_TOKEN, SECRET_KEY, at, seconds};
use crate::harness::pair::story;
use crate::harness::program::{built, words};

const DELIVERIES: &str = "/api/v1/webhooks/deliveries/";
const NOTIFY: &str = "/partners/findyourwork/notify-event";
const INBOUND: &str = "/webhooks/partner/findyourwork";

/// The longest time that a story waits for the sandbox's partner, which works in its own time.
const LIMIT: Duration = Duration::from_secs(60);

fn reservation(id: &str) -> Value {
    json!({
        "reservation_id": id, "event_name": "Cena Corporativa TechCorp", "date": "2026-02-15", "time": "19:00", "guests": 50,
        "contact_name": "María García", "contact_phone": "0991234567", "services_requested": ["dj"],
    })
}

async fn deliveries(app: &App, query: &str) -> Vec<Value> {
    let page = app.get(&format!("{DELIVERIES}?page_size=100&{query}")).await.must_be(200);
    page["results"].as_array().expect("a page").clone()
}

async fn replay(app: &App, delivery: &str) -> Value {
    app.send(app.request(Method::POST, &format!("{DELIVERIES}{delivery}/replay/"))).await.must_be(202)
}

// C-000: the scenario of the document in its four steps, and then what an operator does: the secret is changed, a webhook sent
// again, the partner leaves.
story!(document_000_from_registration_to_replay, [SECRET_KEY], async |app: &App| {
    app.findyourwork().await;
    let marketplace = &app.sandbox.partner;
    marketplace.answer_to(&format!("{}{INBOUND}", app.url));
    let told = app.working(app.post(NOTIFY, &reservation("RES-2026-001"))).await.must_be(200);
    let sold = marketplace.told().wait_for(1, LIMIT).await;
    assert_eq!(sold[0].status, Some(200), "{sold:?}");
    app.drain().await;
    let [confirmed, updated] = app.webhooks().try_into().expect("the reservation and the itinerary");
    for webhook in [&confirmed, &updated] {
        assert!(webhook.verdict.raw && webhook.verdict.rewritten && webhook.verdict.standard, "{webhook:?}");
    }
    let services = &updated.json()["data"]["updates"]["services"];
    let dj = json!({"service_id": 123, "name": "DJ Profesional", "provider": "DJ Sounds Pro", "price": 250.0, "time": "19:00", "status": "confirmed"});
    assert_eq!((&updated.json()["event_type"], services), (&json!("event.updated"), &json!([dj])));

    // A new secret: the partner still has the former one, and the list of Standard Webhooks has both (d4).
    let rotated = app.act_on("/partners/findyourwork/rotate-secret").await;
    replay(app, &text(&told["delivery_id"])).await;
    app.drain().await;
    let again = app.webhooks().pop().expect("it came again");
    assert_eq!((&again.body, again.header("webhook-id")), (&confirmed.body, confirmed.header("webhook-id")));
    assert!(again.verdict.standard && !again.verdict.raw, "{:?}", again.verdict);
    // What it sold for the reservation before is the same service: its itinerary has it once.
    marketplace.set_secret(&text(&rotated["shared_secret"]));
    replay(app, &text(&told["delivery_id"])).await;
    app.drain().await;
    let sold = marketplace.told().wait_for(2, LIMIT).await;
    assert_eq!(sold[1].status, Some(200), "signed with the new secret: {sold:?}");
    app.drain().await;
    let last = app.webhooks().pop().expect("webhooks");
    assert!(last.verdict.raw, "{last:?}");
    let stats = app.get("/partners/findyourwork/status").await.must_be(200)["stats"].clone();
    assert_eq!(stats["webhooks_failed"], 0, "{stats}");
    if last.json()["event_type"] == "event.updated" {
        assert_eq!(last.json()["data"]["updates"]["services"].as_array().map(Vec::len), Some(1), "{last:?}");
    }

    app.send(app.request(Method::DELETE, "/partners/findyourwork")).await.must_be(200);
    let refused = app.post(NOTIFY, &reservation("RES-2026-002")).await;
    assert!(matches!(refused.status, 403 | 404 | 409 | 410), "{}", refused.text);
    app.send(app.request(Method::POST, &format!("{DELIVERIES}{}/replay/", text(&told["delivery_id"]))))
        .await
        .must_be(409);
    app.drain().await;
});

// S000-6, d8, appendix 2: down for an hour, in which six reservations are told. When it is back it gets every one, once, in the
// order in which the schedule has them.
story!(a_partner_that_is_down_for_an_hour_gets_everything, [SECRET_KEY], async |app: &App| {
    app.findyourwork().await;
    app.sandbox.partner.misbehave(PartnerFault::Drop);
    for number in 0..6 {
        app.working(app.post(NOTIFY, &reservation(&format!("RES-{number}")))).await;
        for _ in 0..10 {
            app.later(seconds(60)).await;
        }
    }
    let waiting = deliveries(app, "status=pending").await;
    assert_eq!(waiting.len(), 6);
    let planned: HashMap<String, String> =
        waiting.iter().map(|one| (text(&one["subject"]), text(&one["next_attempt_at"]))).collect();

    app.sandbox.partner.behave();
    app.sandbox.partner.clear();
    // Two hours is the longest wait that the schedule has for them.
    for _ in 0..6 * 60 {
        app.later(seconds(30)).await;
    }
    let delivered = deliveries(app, "status=delivered").await;
    assert_eq!(delivered.len(), 6, "{delivered:?}");
    let subjects: Vec<String> = app.webhooks().iter().map(|one| text(&one.json()["data"]["reservation_id"])).collect();
    assert_eq!(subjects.len(), 6, "each once: {subjects:?}");
    // The clock goes on by half a minute: what falls due in the same one leaves together, in any order.
    let half_minute = |moment: &String| (at(moment).as_micros() + 29_999_999) / 30_000_000;
    let plans: Vec<&String> = subjects.iter().map(|subject| &planned[subject]).collect();
    assert!(plans.is_sorted_by_key(|moment| half_minute(moment)), "{subjects:?} came in the order of {plans:?}");
    assert!(app.webhooks().iter().all(|one| one.verdict.raw && one.verdict.rewritten && one.verdict.standard));
    let stats = app.get("/partners/findyourwork/status").await.must_be(200)["stats"].clone();
    assert_eq!(stats["webhooks_sent"], 6, "{stats}");
});

// C-001: a partner is registered, verified, connected, disconnected and deleted. Another hears of each step, and of one again.
story!(document_001_from_registration_to_replay, [SECRET_KEY], async |app: &App| {
    let events = [
        "PartnerCreado",
        "PartnerActualizado",
        "KYCVerificado",
        "IntegracionCreada",
        "IntegracionRevocada",
        "PartnerEliminado",
    ];
    let hooks = format!("{}/registry/", app.sandbox.partner.url());
    let listener = json!({"partner_name": "Auditoría", "webhook_url": hooks, "events": events});
    let registered = app.post("/partners/register", &listener).await.must_be(201);
    app.sandbox.partner.set_secret(&text(&registered["shared_secret"]));
    app.drain().await;
    app.sandbox.partner.clear();

    let made =
        app.post(PARTNERS, &json!({"nombre": "Empresa ABC", "email": "contacto@empresaabc.com"})).await.must_be(201);
    let id = text(&made["partner"]["id"]);
    let url = format!("{PARTNERS}/{id}");
    app.put(&url, &json!({"telefono": "+57 300 123 4567"})).await.must_be(200);
    app.put(&format!("{url}/kyc"), &json!({"estado_kyc": "APROBADO"})).await.must_be(200);
    let integration = json!({"tipo": "API", "nombre": "REST", "configuracion": {"api_key": "secret_key_here"}});
    let integration = app.post(&format!("{url}/integraciones"), &integration).await.must_be(201);
    let integration = text(&integration["integracion"]["id"]);
    app.put(&format!("{PARTNERS}/integraciones/{integration}/revocar"), &json!({"motivo": "Cambio"}))
        .await
        .must_be(200);
    app.send(app.request(Method::DELETE, &url)).await.must_be(200);
    app.drain().await;

    let heard: Vec<String> = app.webhooks().iter().map(|one| text(&one.json()["event_type"])).collect();
    for event in events {
        assert_eq!(heard.iter().filter(|one| *one == event).count(), 1, "{event}: {heard:?}");
    }
    assert!(app.webhooks().iter().all(|one| one.verdict.raw && one.json()["data"]["partner_id"] == id));
    let verified = deliveries(app, "event_type=KYCVerificado").await;
    replay(app, &text(&verified[0]["id"])).await;
    app.drain().await;
    let again = app.webhooks().pop().expect("it came again").json();
    assert_eq!(again["event_type"], "KYCVerificado");
    assert_eq!(
        (&again["data"]["estado_kyc_anterior"], &again["data"]["estado_kyc_nuevo"]),
        (&json!("PENDIENTE"), &json!("APROBADO"))
    );
});

// C-004: the CRM's end tells of an appointment, the application's end takes it; the application is away for an hour; what is sent
// again is no second presence.
story!(document_004_from_appointment_to_replay, [SECRET_KEY], async |app: &App| {
    let appointment = json!({
        "estado": "Realizada",
        "lead": {"id": "7", "nombre": "Juan Pérez", "celular": "999888777", "distrito": "Lima", "medio": "OPC"},
        "appointment": {"fecha_hora": "2024-01-15T14:30:00", "lugar": "Sala de ventas"},
    });
    app.sandbox.partner.misbehave(PartnerFault::Drop);
    let kept = app.post("/api/v1/crm/appointments/123/status/", &appointment).await.must_be(202);
    app.drain().await;
    for _ in 0..60 {
        app.later(seconds(60)).await;
    }
    app.sandbox.partner.behave();
    app.sandbox.partner.clear();
    for _ in 0..120 {
        app.later(seconds(60)).await;
    }
    let [told] = app.webhooks().try_into().expect("it came, once");

    // What the CRM's end sends, the application's end takes as it is.
    let take = async |body: &str| {
        let request = app.request(Method::POST, "/api/webhook-presencia-crm/").header("X-CRM-Webhook-Token", CRM_TOKEN);
        app.send(request.header("Content-Type", "application/json").body(body.to_owned())).await.must_be(200)
    };
    let first = take(&told.body).await;
    replay(app, &text(&kept["delivery_id"])).await;
    app.drain().await;
    let again = app.webhooks().pop().expect("it came again");
    assert_eq!(again.header("webhook-id"), told.header("webhook-id"));
    assert_eq!(take(&again.body).await["id_presencia"], first["id_presencia"]);
    let page = app.get("/api/v1/crm/presencias/?id_presencia_crm=CRM-123").await.must_be(200);
    assert_eq!(page["count"], 1);
    assert_eq!(page["results"][0]["fecha_hora_presencia"], "2024-01-15T19:30:00.000000Z");
    assert_eq!(page["results"][0]["cliente"]["nombres_completos_razon_social"], "Juan Pérez");
});

// The exchange that newcomers see, and how it ends when the partner wants nothing.
#[tokio::test]
async fn a_demo_shows_the_exchange() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = async |arguments: &[&str]| {
        let mut program = tokio::process::Command::new(built("recado"));
        program.env_clear().current_dir(folder.path()).args(["demo", "partners"]).args(arguments).kill_on_drop(true);
        let output = program.output().await.expect("it runs");
        (output.status.code(), words(&output))
    };
    let (status, shown) = demo(&["--fault", "500", "--times", "1"]).await;
    assert_eq!(status, Some(0), "{shown}");
    for line in
        ["attempt 1 after", "attempt 2 after", "HTTP 500", "X-HMAC-Signature: HTTP 200", "DJ Sounds Pro for 250.0"]
    {
        assert!(shown.contains(line), "{line} is missing in:\n{shown}");
    }
    let (status, shown) = demo(&["--fault", "410"]).await;
    assert!(status == Some(1) && shown.contains("event.reservation_confirmed did not arrive: HTTP 410."), "{shown}");
}
