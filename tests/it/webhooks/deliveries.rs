//! Webhooks on their way: attempts, circuits, endpoints that are paused or given up, and sending again. Told with presences of
//! a CRM, which every installation can send.

use recado_kernel::sql;
use recado_queue::jobs::Cleanup;
use recado_sandbox::PartnerFault;
use recado_webhooks::deliveries;
use recado_webhooks::signature::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, SECRET_KEY, seconds};
use crate::harness::pair::story;

const ENDPOINTS: &str = "/api/v1/webhooks/endpoints/";
const DELIVERIES: &str = "/api/v1/webhooks/deliveries/";
const DAY: u64 = 86_400;

/// A presence on its way; returns its delivery.
async fn send(app: &App, id: u32) -> String {
    let body = json!({
        "estado": "Realizada",
        "lead": {"nombre": "Juan Pérez", "celular": "999888777"},
        "appointment": {"fecha_hora": "2024-01-15T14:30:00"},
    });
    let kept = app.post(&format!("/api/v1/crm/appointments/{id}/status/"), &body).await.must_be(202);
    kept["delivery_id"].as_str().expect("a delivery").to_owned()
}

async fn delivery(app: &App, id: &str) -> Value {
    app.get(&format!("{DELIVERIES}{id}/")).await.must_be(200)
}

async fn endpoint(app: &App) -> Value {
    app.get(ENDPOINTS).await.must_be(200)["results"][0].clone()
}

async fn act(app: &App, what: &str) -> Value {
    let id = endpoint(app).await["id"].as_str().expect("an id").to_owned();
    let answer = app.send(app.request(Method::POST, &format!("{ENDPOINTS}{id}/{what}/"))).await;
    answer.must_be(200)
}

// Appendix 2: the schedule, one id, a time stamp per attempt; every attempt is kept with its answer.
story!(every_attempt_is_kept, [SECRET_KEY, ("WEBHOOK_RETRY_SCHEDULE", "5,300")], async |app: &App| {
    let body = "nunca ".repeat(2_000);
    app.sandbox.partner.misbehave(PartnerFault::Status { status: 503, body, retry_after: None });
    let id = send(app, 1).await;
    app.drain().await;
    let waiting = delivery(app, &id).await;
    assert_eq!((&waiting["status"], &waiting["attempts"].as_array().map(Vec::len)), (&json!("pending"), &Some(1)));
    assert!(waiting["next_attempt_at"].is_string(), "{waiting}");
    app.later(seconds(6)).await;
    app.later(seconds(360)).await;
    let ended = delivery(app, &id).await;
    assert_eq!(ended["status"], "failed", "two waits are three attempts: {ended}");
    let attempts = ended["attempts"].as_array().expect("attempts");
    let told: Vec<_> = attempts.iter().map(|one| (&one["number"], &one["status_code"], &one["error"])).collect();
    let expected = json!("HTTP 503");
    assert_eq!(
        told,
        [1, 2, 3]
            .map(|number| (json!(number), json!(503), expected.clone()))
            .iter()
            .map(|(a, b, c)| (a, b, c))
            .collect::<Vec<_>>()
    );
    assert!(attempts.iter().all(|one| one["response"].as_str().is_some_and(|text| text.len() == 4_096)));
    let sent: Vec<_> = app.webhooks().iter().map(|one| one.header("webhook-timestamp").map(str::to_owned)).collect();
    assert!(sent[0] < sent[1] && sent[1] < sent[2], "{sent:?}");
    app.later(seconds(DAY)).await;
    assert_eq!(app.webhooks().len(), 3);
});

// d7: a redirect is a failure and is not followed.
story!(a_redirect_is_not_followed, [SECRET_KEY], async |app: &App| {
    let to = format!("{}/elsewhere/", app.sandbox.partner.url());
    app.sandbox.partner.misbehave_for("/presencias/", PartnerFault::Redirect { to });
    let id = send(app, 1).await;
    app.drain().await;
    assert_eq!(app.webhooks().len(), 1, "the other path was not called");
    let reason = delivery(app, &id).await["reason"].to_string();
    assert!(reason.contains("redirects are not followed"), "{reason}");
    app.sandbox.partner.behave();
    app.later(seconds(7)).await;
    assert_eq!(delivery(app, &id).await["status"], "delivered");
});

// Appendix 2: Retry-After, in seconds and as a date, where it is longer.
story!(an_endpoint_may_ask_for_time, [SECRET_KEY], async |app: &App| {
    for (number, retry_after) in [(1, "120"), (2, "Tue, 20 Jan 2026 18:30:00 GMT")] {
        let fault =
            PartnerFault::Status { status: 429, body: String::new(), retry_after: Some(retry_after.to_owned()) };
        app.sandbox.partner.misbehave_times(fault, 1);
        let id = send(app, number).await;
        app.drain().await;
        let before = app.webhooks().len();
        app.later(seconds(100)).await;
        assert_eq!(app.webhooks().len(), before, "{retry_after}: the schedule alone would have tried after 5 s");
        app.later(seconds(7_200)).await;
        assert_eq!(delivery(app, &id).await["status"], "delivered", "{retry_after}");
    }
});

// Appendix 2: 410 ends it at once, and whatever waits.
story!(an_endpoint_that_is_gone_gets_nothing_more, [SECRET_KEY], async |app: &App| {
    app.sandbox.partner.misbehave_times(PartnerFault::status(500), 1);
    let waiting = send(app, 1).await;
    app.drain().await;
    app.sandbox.partner.misbehave(PartnerFault::status(410));
    let gone = send(app, 2).await;
    app.drain().await;
    assert_eq!(delivery(app, &gone).await["status"], "failed");
    assert_eq!(delivery(app, &waiting).await["status"], "cancelled");
    let disabled = endpoint(app).await;
    assert_eq!((&disabled["status"], &disabled["disabled_reason"]), (&json!("disabled"), &json!("gone")));

    let missed = send(app, 3).await;
    app.later(seconds(DAY)).await;
    assert_eq!(app.webhooks().len(), 2);
    assert_eq!(delivery(app, &missed).await["status"], "cancelled", "it is recorded, to be replayed");

    // It is back: everything since it was disabled, and nothing twice.
    app.sandbox.partner.behave();
    act(app, "resume").await;
    let id = endpoint(app).await["id"].as_str().expect("an id").to_owned();
    let url = format!("{ENDPOINTS}{id}/replays/");
    app.post(&url, &json!({"since_disabled": true})).await.must_be(202);
    app.drain().await;
    let replay = app.get(&url).await.must_be(200);
    assert_eq!((&replay[0]["replayed"], replay[0]["finished_at"].is_string()), (&json!(2), true), "{replay}");
    let again = app.webhooks().split_off(2);
    let mut ids: Vec<_> = again.iter().map(|one| one.header("webhook-id").unwrap_or_default().to_owned()).collect();
    ids.sort_unstable();
    let mut expected = [waiting, missed];
    expected.sort_unstable();
    assert_eq!(ids, expected, "under the ids that they had");
});

// An endpoint that was away for long has more waiting than one transaction may change. What is too much follows in steps, whether it
// gives up or is active again.
story!(more_than_one_transaction_may_change_follows_its_endpoint, [SECRET_KEY], async |app: &App| {
    let pending =
        async || app.get(&format!("{DELIVERIES}?status=pending&page_size=1")).await.must_be(200)["count"].clone();
    let make_many = async |appointment: u32| {
        let sent = send(app, appointment).await.parse().expect("an id");
        let mut session = app.begin().await;
        let one = deliveries::find(&mut session, sent).await;
        let one = one.expect("it is read").expect("it is there");
        let now = app.clock.now();
        let many: Vec<_> = (0..1_200).map(|_| one.again(now)).collect();
        let rings = deliveries::send(&mut session, &many, now).await.expect("they are written");
        session.commit().await.expect("it is committed");
        rings
    };
    app.sandbox.partner.misbehave(PartnerFault::status(410));
    make_many(1).await;
    app.drain().await;
    assert_eq!(endpoint(app).await["disabled_reason"], "gone");
    app.later(seconds(10)).await;
    assert_eq!((pending().await, app.webhooks().len()), (json!(0), 1));

    app.sandbox.partner.behave();
    act(app, "resume").await;
    act(app, "pause").await;
    let rings = make_many(2).await;
    app.context.ring(&rings).await;
    app.drain().await;
    assert_eq!((pending().await, app.webhooks().len()), (json!(1_201), 1));
    // They have their turn, a few at a time.
    let paused = async || {
        let soon = app.clock.now() + seconds(60);
        let waiting: Option<(i64,)> = sql!(
            one(i64,),
            &mut app.begin().await,
            "select count(*) from webhook_deliveries where status = 'pending' and next_attempt_at > $1",
            soon
        )
        .expect("they are counted");
        waiting.expect("a count").0
    };
    assert_eq!(paused().await, 1_201);
    act(app, "resume").await;
    app.drain().await;
    assert_eq!((paused().await, app.webhooks().len() > 1), (0, true));
    app.leave_work();
});

// Appendix 2: after five failures in a row one probe goes after a minute, and the rest waits for its answer.
story!(
    a_circuit_opens_and_closes,
    [SECRET_KEY, ("WEBHOOK_RETRY_SCHEDULE", "1,1,1,1,1,1,1,1,1,1")],
    async |app: &App| {
        app.sandbox.partner.misbehave(PartnerFault::status(500));
        for number in 0..10 {
            send(app, number).await;
        }
        app.drain().await;
        let opened = endpoint(app).await;
        assert!(opened["health"]["open_until"].is_string(), "{opened}");
        let calls = app.webhooks().len();
        for _ in 0..20 {
            app.later(seconds(2)).await;
        }
        assert_eq!(app.webhooks().len(), calls, "while it is open nothing goes");
        app.sandbox.partner.behave();
        for _ in 0..20 {
            app.later(seconds(15)).await;
        }
        let page = app.get(&format!("{DELIVERIES}?status=delivered")).await.must_be(200);
        assert_eq!(page["count"], 10, "{page}");
        assert!(endpoint(app).await["health"]["open_until"].is_null());
    }
);

// Appendix 2: five days without one success.
story!(an_endpoint_that_takes_nothing_for_days_is_disabled, [SECRET_KEY], async |app: &App| {
    app.sandbox.partner.misbehave(PartnerFault::status(500));
    send(app, 1).await;
    app.drain().await;
    app.later(seconds(5 * DAY)).await;
    assert_eq!(endpoint(app).await["disabled_reason"], "failing");
    act(app, "resume").await;
    assert_eq!(endpoint(app).await["health"]["consecutive_failures"], 0, "it begins again with a clean record");
});

// A paused endpoint loses nothing.
story!(webhooks_wait_while_their_endpoint_is_paused, [SECRET_KEY], async |app: &App| {
    send(app, 1).await;
    app.drain().await;
    act(app, "pause").await;
    let waiting = send(app, 2).await;
    app.drain().await;
    app.later(seconds(2 * DAY)).await;
    assert_eq!(app.webhooks().len(), 1);
    act(app, "resume").await;
    app.drain().await;
    assert_eq!(delivery(app, &waiting).await["status"], "delivered");
    assert_eq!(delivery(app, &waiting).await["attempts"].as_array().map(Vec::len), Some(1), "waiting costs no attempt");
});

// One delivery again, by hand.
story!(a_delivery_is_sent_again, [SECRET_KEY], async |app: &App| {
    let id = send(app, 1).await;
    app.drain().await;
    let url = format!("{DELIVERIES}{id}/replay/");
    let again = app.send(app.request(Method::POST, &url)).await.must_be(202);
    assert_eq!((&again["replay_of"], &again["message_id"]), (&json!(id), &json!(id)));
    app.drain().await;
    let [first, second] = app.webhooks().try_into().expect("both arrived");
    assert_eq!((&first.body, first.header("webhook-id")), (&second.body, second.header("webhook-id")));
    app.send(app.request(Method::POST, &format!("{DELIVERIES}00000000-0000-0000-0000-000000000000/replay/")))
        .await
        .must_be(404);
});

// d26: the guard counts when the address is called, too.
story!(
    private_addresses_are_not_called_unless_allowed,
    [SECRET_KEY, ("OUTBOUND_ALLOW_PRIVATE_NETWORKS", "false"), ("WEBHOOK_RETRY_SCHEDULE", "1")],
    async |app: &App| {
        let id = send(app, 1).await;
        app.drain().await;
        assert_eq!(app.webhooks().len(), 0);
        let attempt = &delivery(app, &id).await["attempts"][0];
        assert!(attempt["error"].as_str().is_some_and(|error| error.contains("https://")), "{attempt}");
        app.leave_work();
    }
);

// d26: a network that the operator lists is reached, and no other; a URL that became forbidden later is not called either.
story!(
    webhooks_reach_the_networks_that_are_listed,
    [
        SECRET_KEY,
        ("OUTBOUND_ALLOW_PRIVATE_NETWORKS", "false"),
        ("OUTBOUND_ALLOWED_NETWORKS", "127.0.0.0/8,169.254.0.0/16"),
        ("WEBHOOK_RETRY_SCHEDULE", "60,60"),
    ],
    async |app: &App| {
        for url in ["https://10.0.0.1/hook", "https://169.254.169.254/", "http://example.com/hook"] {
            let refused = app.post("/partners/register/findyourwork", &json!({"webhook_url": url})).await.must_be(422);
            assert_eq!(refused["detail"][0]["loc"], json!(["body", "webhook_url"]), "{url}");
        }
        let refused = app.post("/partners/register/findyourwork", &json!({"webhook_url": "https://10.0.0.1/"})).await;
        assert!(refused.text.contains("OUTBOUND_ALLOWED_NETWORKS"), "the remedy is named: {}", refused.text);

        let id = send(app, 1).await;
        app.drain().await;
        assert_eq!(
            delivery(app, &id).await["status"],
            "delivered",
            "over http, for the host is an address that is listed"
        );
        for (url, reason) in [
            ("http://example.com/", "https://"),
            ("https://10.0.0.1/", "not on the public internet"),
            ("https://169.254.169.254/", "never connected to"),
        ] {
            let mut session = app.begin().await;
            sql!(run, &mut session, "update webhook_endpoints set url = $1", url).expect("another URL");
            session.commit().await.expect("it is committed");
            let id = send(app, 100 + url.len() as u32).await;
            app.drain().await;
            let attempt = delivery(app, &id).await["attempts"][0].clone();
            assert!(attempt["error"].as_str().is_some_and(|error| error.contains(reason)), "{url}: {attempt}");
        }
        assert_eq!(app.webhooks().len(), 1);
        app.leave_work();
    }
);

// Bodies and answers go after WEBHOOK_RETENTION_DAYS, both ways; that they were exchanged stays on record for longer.
story!(bodies_are_kept_for_a_while, [SECRET_KEY, ("WEBHOOK_RETENTION_DAYS", "10")], async |app: &App| {
    let id = send(app, 1).await;
    let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let registration = json!({"webhook_url": "https://a.example.com/", "shared_secret": secret});
    app.post("/partners/register/findyourwork", &registration).await.must_be(201);
    let told = json!({"event_type": "other.type", "data": {}}).to_string();
    let signature = Secret::stated(secret).expect("a secret").hex(told.as_bytes());
    let request = app.request(Method::POST, "/webhooks/partner/findyourwork").header("X-Partner-Signature", signature);
    app.send(request.header("Content-Type", "application/json").body(told.clone())).await.must_be(200);
    let forged = app.request(Method::POST, "/webhooks/partner/findyourwork").header("X-Partner-Signature", "00");
    app.send(forged.header("Content-Type", "application/json").body(told)).await.must_be(401);
    app.drain().await;
    let clean_after = async |days: u64| {
        app.clock.advance(seconds(days * DAY));
        app.enqueue(&Cleanup {}).await;
        app.drain().await;
    };
    let inbound = async || app.get("/api/v1/webhooks/inbound/").await.must_be(200)["count"].clone();

    clean_after(9).await;
    assert!(delivery(app, &id).await["body"].is_string());
    assert_eq!(inbound().await, 1, "what is not signed is not kept at all");
    clean_after(2).await;
    let old = delivery(app, &id).await;
    assert_eq!(
        (&old["body"], &old["attempts"][0]["response"], &old["status"]),
        (&Value::Null, &Value::Null, &json!("delivered"))
    );
    assert_eq!(inbound().await, 0);
    clean_after(180).await;
    app.get(&format!("{DELIVERIES}{id}/")).await.must_be(404);
});
