//! Asking what would become of an event.

use recado_kernel::api_keys;
use recado_notifications::channels::Channel;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::app::{App, BULK, DISPATCH, operator};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes, refuses};

impl App {
    async fn dry_run(&self, event: &Value) -> Value {
        self.post(&format!("{DISPATCH}?dry_run=true"), event).await.must_be(200)
    }

    /// How many rows an event could have left anywhere.
    async fn rows(&self) -> i64 {
        let mut session = self.begin().await;
        let row: Option<(i64,)> = recado_kernel::sql!(
            one(i64,),
            &mut session,
            "select (select count(*) from tasks where kind <> 'sync_customer') + (select count(*) from notifications)
                  + (select count(*) from journal) + (select count(*) from idempotency_keys) + (select count(*) from customers)"
        )
        .expect("rows are counted");
        row.expect("a row").0
    }
}

// S002-1: the same decision as the real dispatch, and nothing is left of it.
story!(a_dry_run_says_what_would_be_sent_and_leaves_nothing, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
    let before = app.rows().await;
    let preview = app.dry_run(&sample::event()).await;
    let request = app.request(Method::POST, DISPATCH).header("Idempotency-Key", "cita-7");
    let body = sample::event_with(json!({"dry_run": true, "context": {"hora": "15:00"}}));
    app.send(request.json(&body)).await.must_be(200);
    // A flag without a value is set.
    let flag = app.post(&format!("{DISPATCH}?dry_run"), &sample::event()).await.must_be(200);
    assert_eq!(flag["dry_run"], json!(true));
    app.drain().await;
    assert_eq!(app.rows().await, before);
    assert!(app.mails().is_empty() && app.whatsapps().is_empty());

    assert_eq!((&preview["dry_run"], &preview["customer_name"]), (&json!(true), &json!("Carlos Mendoza")));
    assert_eq!(preview["send_at"], "2026-01-20T14:30:00.000000Z");
    let messages = preview["messages"].as_array().expect("a list");
    let shown: Vec<_> = messages.iter().map(|m| (&m["channel"], &m["fallback_order"], &m["reason"])).collect();
    assert_eq!(
        shown,
        [
            (&json!("whatsapp"), &json!(0), &json!("Prioridad 1 en las preferencias del cliente.")),
            (&json!("email"), &json!(1), &json!("Prioridad 2 en las preferencias del cliente.")),
        ]
    );
    assert_eq!(preview["skipped"][0]["reason"], "no_push_subscription");

    // The key was not remembered, so another event may carry it; and the words are the same.
    let request = app.request(Method::POST, DISPATCH).header("Idempotency-Key", "cita-7");
    app.send(request.json(&sample::event())).await.must_be(202);
    app.drain().await;
    assert_eq!(json!(app.whatsapps()[0].text), messages[0]["body"]);
});

// S002-42: mistakes are the same as in earnest.
story!(a_dry_run_finds_the_same_mistakes, async |app: &App| {
    app.know_carlos().await;
    for patch in [
        json!({"customer_id": "nobody"}),
        json!({"phase_id": "phase-party"}),
        json!({"context": {"hora": null}}),
        json!({"event_type": "party"}),
        json!({"send_at": "2036-01-01T00:00:00Z"}),
    ] {
        let event = sample::event_with(patch.clone());
        let asked = app.post(&format!("{DISPATCH}?dry_run=true"), &event).await.must_be(400);
        assert_eq!(asked, app.dispatch(&event).await.must_be(400), "{patch}");
    }
    let wrong = app.post(&format!("{DISPATCH}?dry_run=maybe"), &sample::event()).await.must_be(400);
    assert!(wrong["dry_run"][0].is_string(), "{wrong}");
});

story!(a_dry_run_of_many, async |app: &App| {
    app.know_carlos().await;
    let before = app.rows().await;
    let events = json!({"events": [sample::event(), {"customer_id": 5}], "dry_run": true});
    let body = app.post(BULK, &events).await.must_be(200);
    assert_eq!((&body["results"][0]["status"], &body["results"][1]["status"]), (&json!(200), &json!(400)));
    assert_eq!(body["results"][0]["messages"][0]["channel"], "email");
    assert_eq!(app.rows().await, before);
});

// d14: no one is made for a question.
story!(a_dry_run_makes_no_customer, [("DISPATCH_UNKNOWN_CUSTOMER", "create")], async |app: &App| {
    let before = app.rows().await;
    let event = sample::event_with(json!({"context": {"email": "carlos@example.com"}}));
    assert_eq!(app.dry_run(&event).await["messages"][0]["channel"], "email");
    assert_eq!(app.rows().await, before);
});

story!(a_dry_run_for_a_customer_who_may_come, [("DISPATCH_UNKNOWN_CUSTOMER", "defer")], async |app: &App| {
    let preview = app.dry_run(&sample::event()).await;
    assert_eq!((&preview["customer_name"], &preview["messages"]), (&Value::Null, &json!([])));
});

// Someone who may send need not learn where people are reached.
story!(addresses_are_for_admins, [("ALLOW_ANONYMOUS_API", "false")], async |app: &App| {
    app.know_carlos().await;
    let mut session = app.begin().await;
    let mut keys = Vec::new();
    for scope in ["dispatch", "admin"] {
        let (_, key) = api_keys::create(&mut session, scope, &scope.to_owned().into(), &operator(), app.clock.now())
            .await
            .expect("a key");
        keys.push(key.expose_secret().to_owned());
    }
    session.commit().await.expect("kept");
    for (key, expected) in keys.iter().zip(["c***@example.com", "carlos@example.com"]) {
        let request = app.request(Method::POST, &format!("{DISPATCH}?dry_run=1")).bearer_auth(key);
        let preview = app.send(request.json(&sample::event())).await.must_be(200);
        assert_eq!(preview["messages"][0]["recipient_address"], expected);
    }
});

story!(what_is_skipped_is_skipped_in_the_dry_run_too, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[refuses(Channel::Email), refuses(Channel::Whatsapp)]).await;
    let preview = app.dry_run(&sample::event()).await;
    assert_eq!(preview["messages"], json!([]));
    assert_eq!(preview["skipped"].as_array().map(Vec::len), Some(3));
});
