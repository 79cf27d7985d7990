//! Many events at once.

use recado_queue::tasks::State;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::{App, BULK};
use crate::harness::pair::story;
use crate::harness::sample;

impl App {
    async fn bulk(&self, key: &str, events: &[Value]) -> Answer {
        let request = self.request(Method::POST, BULK).header("Idempotency-Key", key);
        self.send(request.json(&json!({ "events": events }))).await
    }
}

fn statuses(body: &Value) -> Vec<u64> {
    let results = body["results"].as_array().expect("a list").iter();
    results.map(|item| item["status"].as_u64().expect("a status")).collect()
}

// S002-1, S002-42: each event has the answer that it would have alone, in its own place.
story!(each_event_has_its_own_answer, async |app: &App| {
    app.know_carlos().await;
    let events = [
        sample::event(),
        sample::event_with(json!({"customer_id": "nobody"})),
        json!("not an event"),
        sample::event_with(json!({"event_type": "party", "target": 5})),
        sample::event_with(json!({"context": {"hora": null}})),
        sample::event_with(json!({"context": {"hora": "15:00"}})),
    ];
    let body = app.post(BULK, &json!({ "events": events })).await.must_be(202);
    assert_eq!(statuses(&body), [202, 400, 400, 400, 400, 202]);
    assert_eq!((&body["success"], &body["accepted"], &body["rejected"]), (&json!(true), &json!(2), &json!(4)));
    for (index, item) in body["results"].as_array().expect("a list").iter().enumerate() {
        assert_eq!(item["index"], json!(index));
    }
    for index in [1, 3, 4] {
        let mut alone = app.dispatch(&events[index]).await.must_be(400);
        alone["index"] = json!(index);
        alone["status"] = json!(400);
        assert_eq!(body["results"][index], alone);
    }
    assert!(body["results"][2]["non_field_errors"][0].is_string(), "{body}");
    assert_eq!(body["results"][0]["notifications"][0]["channel"], "email");
    app.drain().await;
    assert_eq!(app.mails().len(), 2);
});

story!(nothing_accepted_is_a_refusal_with_the_same_body, async |app: &App| {
    let body = app.post(BULK, &json!({"events": [sample::event(), {}]})).await.must_be(400);
    assert_eq!((statuses(&body), &body["success"]), (vec![400, 400], &json!(false)));
    assert!(body["results"][1]["customer_id"][0].is_string(), "{body}");
    for wrong in [json!({}), json!({"events": []}), json!({"events": {}}), json!({"events": vec![json!({}); 1001]})] {
        assert!(app.post(BULK, &wrong).await.must_be(400)["events"][0].is_string());
    }
});

// More than one batch, and more than a single event may have in its body.
story!(a_thousand_events_are_one_request, async |app: &App| {
    app.know_carlos().await;
    let filler = "x".repeat(2_000);
    let events: Vec<Value> = (0..1_000)
        .map(|n| sample::event_with(json!({"context": {"placa": format!("P{n}"), "nota": filler}})))
        .collect();
    let body = app.post(BULK, &json!({ "events": events })).await.must_be(202);
    assert_eq!((&body["accepted"], &body["rejected"]), (&json!(1_000), &json!(0)));
    assert_eq!(app.counts(&[State::Queued]).await, [("notifications.email".to_owned(), 1_000)]);

    let events = vec![sample::event_with(json!({"context": {"nota": "x".repeat(5_000)}})); 1_000];
    assert_eq!(app.post(BULK, &json!({ "events": events })).await.status, 413);
    app.leave_work();
});

// draft-ietf-httpapi-idempotency-key-header: a repeated request accepts what is missing, and nothing twice.
story!(a_repeated_list_is_accepted_once, async |app: &App| {
    app.know_carlos().await;
    let mut events = [sample::event(), sample::event_with(json!({"customer_id": "c-2"}))];
    let first = app.bulk("lote-1", &events).await.must_be(202);
    assert_eq!(statuses(&first), [202, 400]);
    app.sync_customer(&sample::customer_with(json!({"customer_id": "c-2"}))).await;
    let second = app.bulk("lote-1", &events).await.must_be(202);
    assert_eq!(statuses(&second), [202, 202]);
    assert_eq!(first["results"][0], second["results"][0]);
    events[0]["context"]["hora"] = json!("16:00");
    let third = app.bulk("lote-1", &events).await.must_be(202);
    assert_eq!(statuses(&third), [422, 202]);
    assert_eq!(third["results"][0]["code"], "idempotency_key_reused");
    app.drain().await;
    assert_eq!(app.mails().len(), 2);
});
