//! What the owner of an endpoint is told, once each, by mail and as an event.

use recado_sandbox::PartnerFault;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, SECRET_KEY, seconds};
use crate::harness::pair::story;

const SETTINGS: [(&str, &str); 2] = [SECRET_KEY, ("PUBLIC_URL", "https://avisos.example.com")];
const OPERATORS: &str = "/operators/";

/// Where the partner takes webhooks. What stands behind the question mark may be a secret.
const UNO: &str = "/uno/?token=of-the-url";

async fn register(app: &App, name: &str, path: &str, events: &[&str]) -> Value {
    let url = format!("{}{path}", app.sandbox.partner.url());
    let contact = format!("dev@{}.example.com", name.to_lowercase());
    let body = json!({"partner_name": name, "webhook_url": url, "events": events, "contact_email": contact});
    app.post("/partners/register", &body).await.must_be(201)
}

/// A partner, and an endpoint of the operators that wants to hear of all.
async fn partners(app: &App) {
    let wanted = ["endpoint.disabled", "endpoint.failing", "endpoint.recovered", "endpoint.enabled"];
    register(app, "Operadores", OPERATORS, &wanted).await;
    register(app, "Uno", UNO, &["event.updated"]).await;
    app.drain().await;
}

async fn tell(app: &App, times: usize) {
    for number in 0..times {
        let event = json!({"event_type": "event.updated", "data": {"reservation_id": format!("RES-{number}")}});
        app.working(app.post("/partners/uno/events", &event)).await;
    }
}

/// The types of the events that the operators heard.
fn heard(app: &App) -> Vec<String> {
    let told = app.webhooks().into_iter().filter(|one| one.path.starts_with(OPERATORS));
    told.map(|one| one.json()["event_type"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn resume(app: &App) {
    let found = app.get("/api/v1/webhooks/endpoints/?search=Uno").await.must_be(200);
    let url = format!("/api/v1/webhooks/endpoints/{}/resume/", found["results"][0]["id"].as_str().expect("an id"));
    app.send(app.request(Method::POST, &url)).await.must_be(200);
}

// Appendix 2: the consumer is notified by another channel when its endpoint is disabled; once, however many webhooks waited.
story!(an_owner_is_told_that_its_endpoint_is_gone_and_back, SETTINGS, async |app: &App| {
    partners(app).await;
    app.sandbox.partner.misbehave_for(UNO, PartnerFault::status(500));
    tell(app, 3).await;
    app.sandbox.partner.misbehave_for(UNO, PartnerFault::status(410));
    app.later(seconds(10)).await;
    app.later(seconds(10)).await;
    app.later(seconds(3600)).await;
    let [mail] = app.mails().try_into().expect("one mail");
    assert_eq!(mail.to(), ["dev@uno.example.com"]);
    assert!(mail.subject().is_some_and(|subject| subject.contains("Desactivamos los webhooks de Uno")), "{mail:?}");
    let text = mail.text().unwrap_or_default().to_owned();
    for part in
        ["410", "Sin entregas desde", "HTTP 410", "reactívelo", "https://avisos.example.com/portal/enter/", "/uno/"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("of-the-url"), "what may be secret in a URL is left out");
    assert_eq!(heard(app), ["endpoint.disabled"]);
    let event = app.webhooks().into_iter().find(|one| one.path.starts_with(OPERATORS)).expect("it was told").json();
    assert_eq!((&event["data"]["reason"], &event["data"]["last_status_code"]), (&json!("gone"), &json!(410)));
    assert!(!event.to_string().contains("example.com"), "ids and states, no addresses: {event}");

    // The link of the mail works.
    let link = text.split_whitespace().find(|word| word.starts_with("https://avisos")).expect("a link");
    assert_eq!(app.get(link.trim_start_matches("https://avisos.example.com")).await.status, 200);

    app.sandbox.partner.behave();
    resume(app).await;
    app.later(seconds(2)).await;
    app.later(seconds(2)).await;
    assert_eq!(heard(app), ["endpoint.disabled", "endpoint.enabled"]);
    assert_eq!(app.mails().len(), 2);
});

// An outage is told after an hour, once, and its end too.
story!(
    an_owner_is_told_of_a_long_outage_and_of_its_end,
    [
        SECRET_KEY,
        ("PUBLIC_URL", "https://avisos.example.com"),
        ("WEBHOOK_RETRY_SCHEDULE", "1,1,1,1,1800,1800,1800,1800,1800")
    ],
    async |app: &App| {
        partners(app).await;
        app.sandbox.partner.misbehave_for(UNO, PartnerFault::status(503));
        tell(app, 1).await;
        for _ in 0..5 {
            app.later(seconds(90)).await;
        }
        assert_eq!(app.mails().len(), 0, "a short outage is nobody's business");
        for _ in 0..3 {
            app.later(seconds(2400)).await;
        }
        app.later(seconds(2)).await;
        assert_eq!((heard(app), app.mails().len()), (vec!["endpoint.failing".to_owned()], 1));
        assert!(app.mails()[0].text().is_some_and(|text| text.contains("HTTP 503")));
        app.sandbox.partner.behave();
        app.later(seconds(2400)).await;
        app.later(seconds(2)).await;
        assert_eq!(heard(app), ["endpoint.failing", "endpoint.recovered"]);
        assert_eq!(app.mails().len(), 2);
    }
);

// What its own partner stopped is no news to it.
story!(a_partner_that_left_is_told_nothing, SETTINGS, async |app: &App| {
    partners(app).await;
    app.send(app.request(Method::DELETE, "/partners/uno")).await.must_be(200);
    app.later(seconds(10)).await;
    assert_eq!((heard(app).len(), app.mails().len()), (0, 0));
});
