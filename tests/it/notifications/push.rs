//! Browsers subscribe, are reached, and disappear.

use futures::future::join_all;
use recado_kernel::clock::Clock;
use recado_notifications::channels::Channel;
use recado_queue::tasks::State;
use recado_sandbox::PushFault;
use recado_worker::{Options, Worker};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::app::{App, SUBSCRIBE, WAIT_TIMEOUT, seconds, until};
use crate::harness::pair::{Pair, story};
use crate::harness::sample::{self, likes};

impl App {
    /// Carlos wants to be reached by push, and only then by mail.
    async fn prefer_push(&self) {
        self.know_carlos().await;
        self.prefer("customer-001", &[likes(Channel::Push, 1), likes(Channel::Email, 2)]).await;
    }

    async fn push_status(&self, customer_id: &str) -> (u16, Value) {
        let answer = self.get(&format!("/api/v1/notifications/push/status/{customer_id}/")).await;
        (answer.status, answer.json())
    }
}

fn devices(count: u32) -> (u16, Value) {
    (200, json!({"has_subscription": count > 0, "subscription_count": count}))
}

// S002-25 to S002-27, S002-55, d16: 201 on create and on update, 204 once, 404 for a stranger.
story!(a_browser_subscribes_and_leaves, async |app: &App| {
    assert_eq!(app.push_status("customer-001").await.0, 404);
    let browser = app.subscribe("customer-001").await;
    assert_eq!(app.push_status("customer-001").await, devices(1), "a PWA may subscribe before the customer is synced");
    let again = json!({"customer_id": "customer-001", "subscription": browser.to_json(), "user_agent": "Firefox"});
    app.post(SUBSCRIBE, &again).await.must_be(201);
    assert_eq!(app.push_status("customer-001").await, devices(1));

    let farewell = json!({"endpoint": browser.endpoint});
    app.delete(SUBSCRIBE, &farewell).await.must_be(204);
    app.delete(SUBSCRIBE, &farewell).await.must_be(404);
    assert_eq!(app.push_status("customer-001").await.0, 404);
    app.know_carlos().await;
    assert_eq!(app.push_status("customer-001").await, devices(0));
});

// S002-25: bad keys and endpoints are named.
story!(a_bad_subscription_is_refused, [("OUTBOUND_ALLOW_PRIVATE_NETWORKS", "false")], async |app: &App| {
    let good = app.sandbox.push.subscribe();
    let body = |endpoint: &str, p256dh: &str, auth: &str| {
        let keys = json!({"p256dh": p256dh, "auth": auth});
        json!({"customer_id": "customer-001", "subscription": {"endpoint": endpoint, "keys": keys}})
    };
    const ENDPOINT: &str = "https://push.example.com/1";
    for (body, pointer) in [
        (body(ENDPOINT, "AAAA", &good.auth), "/subscription/keys/p256dh/0"),
        (body(ENDPOINT, &good.p256dh, "AAAA"), "/subscription/keys/auth/0"),
        (body("not a url", &good.p256dh, &good.auth), "/subscription/endpoint/0"),
        (body("http://push.example.com/1", &good.p256dh, &good.auth), "/subscription/endpoint/0"),
        (body("https://127.0.0.1/1", &good.p256dh, &good.auth), "/subscription/endpoint/0"),
        (body("https://169.254.169.254/latest/", &good.p256dh, &good.auth), "/subscription/endpoint/0"),
        // Browsers without a push service hand this out (discourse/discourse#39804, vm0-ai/vm0#32459).
        (
            body("https://permanently-removed.invalid/fcm/send/abc", &good.p256dh, &good.auth),
            "/subscription/endpoint/0",
        ),
        // 65 bytes that are no point of the curve (Couchers-org/couchers#8212).
        (body(ENDPOINT, &format!("{}AAAA", &good.p256dh[..83]), &good.auth), "/subscription/keys/p256dh/0"),
        (json!({"customer_id": "customer-001"}), "/subscription/0"),
        (json!({"customer_id": "customer-001", "subscription": {"endpoint": ENDPOINT}}), "/subscription/keys/0"),
    ] {
        let answer = app.post(SUBSCRIBE, &body).await.must_be(400);
        assert!(answer.pointer(pointer).is_some_and(Value::is_string), "{body}: {answer}");
    }
    app.post(SUBSCRIBE, &body(ENDPOINT, &good.p256dh, &good.auth)).await.must_be(201);
});

// Every device is reached; one that is gone is forgotten, and the message counts as sent.
story!(every_device_is_reached, async |app: &App| {
    app.prefer_push().await;
    let (_, gone, _) =
        (app.subscribe("customer-001").await, app.subscribe("customer-001").await, app.subscribe("customer-001").await);
    app.sandbox.push.expire(&gone.endpoint);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;

    assert_eq!(app.pushes().len(), 2);
    let payload: Value = serde_json::from_str(&app.pushes()[0].payload).expect("JSON for the service worker");
    assert!(
        payload.to_string().contains("Mantenimiento agendado") && payload.to_string().contains("Haval H6 2024"),
        "{payload}"
    );
    assert_eq!(app.chain(task).await[0], "push sent");
    assert_eq!(app.push_status("customer-001").await, devices(2));
    assert!(app.mails().is_empty());
});

// S002-71: when all devices are gone, the next channel takes over at once.
story!(devices_that_are_gone_fall_back, async |app: &App| {
    app.prefer_push().await;
    let browser = app.subscribe("customer-001").await;
    app.sandbox.push.expire(&browser.endpoint);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.chain(task).await, ["push failed PUSH_SUBSCRIPTION_EXPIRED", "email sent", "whatsapp pending"]);
    assert_eq!(app.push_status("customer-001").await, devices(0));

    let browser = app.subscribe("customer-001").await;
    app.sandbox.push.forget(&browser.endpoint);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.chain(task).await[0], "push failed PUSH_SUBSCRIPTION_NOT_FOUND");
});

// A device that was taken before and can never be reached: no attempt is repeated for it, and it is gone after the first
// (Couchers-org/couchers#8212).
story!(a_device_that_leads_nowhere_is_removed, async |app: &App| {
    app.prefer_push().await;
    app.subscribe("customer-001").await;
    app.sql("update push_subscriptions set endpoint = 'https://permanently-removed.invalid/fcm/send/abc'").await;
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.chain(task).await[..2], ["push failed WEBPUSH_ERROR", "email sent"]);
    assert_eq!(app.attempts(task).await, ["push permanent", "email sent 250"]);
    assert_eq!(app.push_status("customer-001").await, devices(0));
});

// What speaks against a device without proof is counted: a server that speaks no TLS is gone after the third failure, and the
// next channel never waits for it. One push that arrives forgives what was counted.
story!(a_device_that_fails_is_removed_after_the_third_time, async |app: &App| {
    app.prefer_push().await;
    let browser = app.subscribe("customer-001").await;
    for left in [1, 1, 0] {
        app.sql("update push_subscriptions set endpoint = replace(endpoint, 'http:', 'https:')").await;
        let task = app.task_for(&sample::event()).await;
        app.drain().await;
        assert_eq!(app.chain(task).await[..2], ["push failed WEBPUSH_ERROR", "email sent"]);
        assert_eq!(app.push_status("customer-001").await, devices(left));
    }
    app.post(SUBSCRIBE, &json!({"customer_id": "customer-001", "subscription": browser.to_json()})).await.must_be(201);
    for endpoint in ["https:", "https:", "http:", "https:", "https:"] {
        match endpoint {
            "https:" => app.sql("update push_subscriptions set endpoint = replace(endpoint, 'http:', 'https:')").await,
            _ => app.sql("update push_subscriptions set endpoint = replace(endpoint, 'https:', 'http:')").await,
        }
        app.task_for(&sample::event()).await;
        app.drain().await;
        assert_eq!(app.push_status("customer-001").await, devices(1), "{endpoint}");
    }
    assert_eq!(app.pushes().len(), 1);
});

// A device that nothing reaches for a week is removed, and from the second hour on the next channel does not wait for it.
story!(a_device_that_stays_silent_is_removed, async |app: &App| {
    app.prefer_push().await;
    app.subscribe("customer-001").await;
    app.sandbox.push.misbehave(PushFault::Drop);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    app.until_due(task).await;
    app.until_due(task).await;
    assert_eq!(app.chain(task).await[..2], ["push failed WEBPUSH_ERROR", "email sent"]);

    app.clock.advance(seconds(2 * 60 * 60));
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.attempts(task).await, ["push permanent", "email sent 250"]);
    assert_eq!(app.push_status("customer-001").await, devices(1));

    app.clock.advance(seconds(7 * 24 * 60 * 60));
    app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.push_status("customer-001").await, devices(0));
});

// One customer with 200 devices made the others wait: of more than twenty, those go that were heard of longest ago.
story!(a_customer_has_so_many_devices_and_no_more, async |app: &App| {
    app.prefer_push().await;
    let first = app.subscribe("customer-001").await;
    let mut last = first.clone();
    for _ in 0..24 {
        app.clock.advance(seconds(1));
        last = app.subscribe("customer-001").await;
    }
    assert_eq!(app.push_status("customer-001").await, devices(20));
    app.delete(SUBSCRIBE, &json!({"endpoint": first.endpoint})).await.must_be(404);
    app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.pushes().len(), 20);
    app.delete(SUBSCRIBE, &json!({"endpoint": last.endpoint})).await.must_be(204);
});

// One customer with 200 devices that accept and never answer made the others wait 74 s for their pushes. Devices are asked at
// once, so that a message takes no longer than one of them may; and of one customer's messages so many are under way that the
// others have room. Nothing here waits for a time limit: it is longer than the story.
async fn devices_that_never_answer_delay_no_one_else(pair: Pair) {
    /// Of one customer, at once; see the worker's shares.
    const MESSAGES: usize = 4;
    const DEVICES: usize = 20;
    const OTHERS: usize = 30;
    let settings = [("WORKER_CONCURRENCY", "8"), ("PUSH_TIMEOUT", "600")];
    let app = App::start_at(pair, &settings, Clock::system()).await;
    app.prefer_push().await;
    for _ in 0..200 {
        let browser = app.subscribe("customer-001").await;
        app.sandbox.push.misbehave_for(&browser.endpoint, PushFault::Hang);
    }
    let other = |number: usize| format!("other-{number}");
    for number in 0..OTHERS {
        let customer = sample::customer_with(json!({
            "customer_id": other(number),
            "email": format!("other{number}@example.com"),
            "phone": format!("+5939912345{number:02}"),
        }));
        app.sync_customer(&customer).await;
        app.prefer(&other(number), &[likes(Channel::Push, 1)]).await;
        app.subscribe(&other(number)).await;
    }
    let event = sample::event();
    let hanging = join_all((0..50).map(|_| app.task_for(&event))).await;
    let worker = Worker::new(app.context.clone(), Options::from(&app.context)).expect("the settings work");
    let working = tokio::spawn(worker.run(CancellationToken::new()));
    until("as much hangs as may", async || app.sandbox.push.hanging() >= MESSAGES * DEVICES).await;

    let events: Vec<Value> =
        (0..OTHERS).map(|number| sample::event_with(json!({"customer_id": other(number)}))).collect();
    let tasks = join_all(events.iter().map(|event| app.task_for(event))).await;
    assert_eq!(app.sandbox.push.wait_for(OTHERS, WAIT_TIMEOUT).await.len(), OTHERS, "the others have their pushes");
    for task in tasks {
        until("it is done", async || app.task(task).await.state == State::Success).await;
    }
    assert_eq!(app.sandbox.push.hanging(), MESSAGES * DEVICES, "and nothing else was asked meanwhile, or has ended");
    for task in hanging {
        assert!(!app.task(task).await.state.is_final());
    }
    // A stop would wait for what hangs.
    working.abort();
    app.leave_work();
    app.finish().await;
}

mod devices_that_never_answer_delay_no_one_else {
    #[tokio::test]
    async fn postgres_redis() {
        super::devices_that_never_answer_delay_no_one_else(super::Pair::PostgresRedis).await;
    }

    #[tokio::test]
    async fn embedded() {
        super::devices_that_never_answer_delay_no_one_else(super::Pair::Embedded).await;
    }
}

// The same customer's message has its end, and the next channel its turn: after the time limit of one device, however many
// there are.
story!(devices_that_never_answer_are_given_up, [("PUSH_TIMEOUT", "0.2")], async |app: &App| {
    app.prefer_push().await;
    for _ in 0..20 {
        app.subscribe("customer-001").await;
    }
    app.sandbox.push.misbehave(PushFault::Hang);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.attempts(task).await, ["push transient"], "twenty devices are one attempt");
    for _ in 0..2 {
        app.until_due(task).await;
    }
    assert_eq!(app.chain(task).await[..2], ["push failed WEBPUSH_ERROR", "email sent"]);
});

// S002-71: the browser left between the dispatch and the push.
story!(a_browser_may_leave_in_between, async |app: &App| {
    app.prefer_push().await;
    let browser = app.subscribe("customer-001").await;
    let task = app.task_for(&sample::event()).await;
    app.delete(SUBSCRIBE, &json!({"endpoint": browser.endpoint})).await.must_be(204);
    app.drain().await;
    assert_eq!(app.chain(task).await[..2], ["push failed NO_PUSH_SUBSCRIPTION", "email sent"]);
});

// A push service that is busy is asked again later.
story!(a_busy_push_service_is_asked_again, async |app: &App| {
    app.prefer_push().await;
    app.subscribe("customer-001").await;
    app.sandbox.push.misbehave_times(PushFault::Status { status: 503, retry_after: Some(300) }, 1);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.until_due(task).await.as_secs(), 300);
    assert_eq!(app.attempts(task).await, ["push transient 503", "push sent 201"]);
});

// What a browser needs to subscribe.
story!(
    the_public_key_is_public,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-key-of-the-stories")],
    async |app: &App| {
        let answer = app.get("/api/v1/notifications/push/vapid-public-key/").await.must_be(200);
        assert_eq!(answer["public_key"].as_str().expect("a key").len(), 87);
    }
);
